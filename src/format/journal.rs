//! The journal of an upload in parts: one JSON object a line, the upload first, then each part that the far end took.
//! A torn last line (a crash in the middle of a write) is ignored: that part is sent again.
//!
//! The first line is written before the upload is begun, and again with the upload's identity once the far end has told it. A
//! journal whose last such line has none tells that an upload may be open that nobody knows.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 2;

/// So many parts have the same size; then it doubles. So 10,000 parts suffice for 5 TiB, whatever the first one's size.
const STEP: u64 = 1_000;
/// The largest part, in bytes (Amazon S3 User Guide, "multipart upload limits").
const LARGEST: u64 = 5 << 30;

/// First line: the upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Version of this format.
    pub version: u32,
    /// The place it goes to: another place is another upload.
    pub store: String,
    /// The object's key.
    pub key: String,
    /// The identity that the far end gave it; absent: it has not told it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Whether, before that one, an upload was asked for whose identity got lost.
    #[serde(default)]
    pub doubt: bool,
    /// Which file it is (device, inode number): parts of another one of the same name are of no use.
    pub file: (u64, u64),
    /// Size of the first parts, in bytes: see [`Upload::end`].
    pub part_size: u64,
}

/// A part that the far end took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent<P> {
    /// What the far end said.
    #[serde(flatten)]
    pub part: P,
    /// The process that sent it: what another one sent has to be compared with the archive first, since the power may have been
    /// cut meanwhile.
    pub life: u64,
}

impl Upload {
    /// Where part `number` ends, in bytes from the beginning of the archive, if the archive is that long.
    pub fn end(&self, number: i32) -> u64 {
        let mut left = u64::from(number.max(0).unsigned_abs());
        let mut size = self.part_size.min(LARGEST);
        let mut end = 0_u64;
        while left > 0 {
            let parts = left.min(STEP);
            end = end.saturating_add(parts.saturating_mul(size));
            left -= parts;
            size = size.saturating_mul(2).min(LARGEST);
        }
        end
    }

    /// How many parts are whole in an archive of `bytes`; `last`: the last one, which may be shorter, included.
    pub fn count(&self, bytes: u64, last: bool) -> i32 {
        let mut number = 0;
        while self.end(number + 1) <= bytes {
            number += 1;
        }
        number + i32::from(last && self.end(number) < bytes)
    }
}

/// One line of a journal.
pub fn line(record: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Reads a journal: the upload and its parts; `None` if not even the first line is whole.
pub fn read<P: DeserializeOwned>(data: &[u8]) -> Option<(Upload, Vec<Sent<P>>)> {
    let mut lines = data.split_inclusive(|b| *b == b'\n').filter(|l| l.ends_with(b"\n")).peekable();
    let mut upload: Upload = serde_json::from_slice(lines.next()?).ok()?;
    while let Some(next) = lines.peek().and_then(|line| serde_json::from_slice(line).ok()) {
        upload = next;
        lines.next();
    }
    if upload.part_size == 0 {
        return None;
    }
    Some((upload, lines.map_while(|l| serde_json::from_slice(l).ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Part {
        number: i32,
    }

    fn sent(number: i32) -> Sent<Part> {
        Sent { part: Part { number }, life: 3 }
    }

    fn upload(id: Option<&str>) -> Upload {
        Upload {
            version: VERSION,
            store: "s3://b".into(),
            key: "k".into(),
            upload: id.map(Into::into),
            doubt: false,
            file: (1, 2),
            part_size: 9,
        }
    }

    #[test]
    fn a_torn_last_line_is_ignored() {
        let mut data = line(&upload(None));
        let text = r#"{"version":2,"store":"s3://b","key":"k","doubt":false,"file":[1,2],"part_size":9}"#;
        assert_eq!(String::from_utf8_lossy(&data), format!("{text}\n"));
        assert_eq!(read::<Part>(&data), Some((upload(None), vec![])));
        data.extend(line(&upload(Some("u"))));
        data.extend(line(&sent(7)));
        assert!(data.ends_with(b"{\"number\":7,\"life\":3}\n"));
        let whole = data.len();
        data.extend(line(&sent(8)));
        for end in whole..data.len() {
            assert_eq!(read(&data[..end]), Some((upload(Some("u")), vec![sent(7)])), "cut at {end}");
        }
        assert_eq!(read(&data), Some((upload(Some("u")), vec![sent(7), sent(8)])));
        assert_eq!(read::<Part>(&data[..20]), None);
    }

    #[test]
    fn ten_thousand_parts_always_suffice() {
        let of = |part_size| Upload { part_size, ..upload(None) };
        assert_eq!([0, 1, 1_000, 1_001, 2_001].map(|n| of(9).end(n)), [0, 9, 9_000, 9_018, 27_036]);
        for size in [5 << 20, 8 << 20, 5 << 30] {
            let upload = of(size);
            // The largest object (Amazon S3 User Guide), less for the smallest part by 2.4 %.
            let most = if size == 5 << 20 { 4_995 << 30 } else { 5_u64 << 40 };
            assert!(upload.end(10_000) >= most, "{size}: {}", upload.end(10_000) >> 30);
            assert!((1..10_000).all(|n| upload.end(n + 1) - upload.end(n) <= LARGEST));
        }
    }

    #[test]
    fn parts_are_counted_whole_or_with_the_last() {
        let upload = upload(None);
        let both = |bytes| (upload.count(bytes, false), upload.count(bytes, true));
        assert_eq!(
            [0, 1, 9, 10, 9_000, 9_017, 9_018].map(both),
            [(0, 0), (0, 1), (1, 1), (1, 2), (1_000, 1_000), (1_000, 1_001), (1_001, 1_001),]
        );
    }
}
