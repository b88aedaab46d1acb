//! The journal of an upload in parts: one JSON object a line, the upload first, then each part that the far end took.
//! A torn last line (a crash in the middle of a write) is ignored: that part is sent again.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 1;

/// First line: the upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Version of this format.
    pub version: u32,
    /// The place it goes to: another place is another upload.
    pub store: String,
    /// The object's key.
    pub key: String,
    /// The identity that the far end gave it.
    pub upload: String,
    /// Size of the archive, in bytes.
    pub bytes: u64,
    /// Which file it is (device, inode number): parts of another one of the same name are of no use.
    pub file: (u64, u64),
    /// Size of every part but the last, in bytes.
    pub part_size: u64,
}

/// One line of a journal.
pub fn line(record: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Reads a journal: the upload and its parts; `None` if not even the first line is whole.
pub fn read<P: DeserializeOwned>(data: &[u8]) -> Option<(Upload, Vec<P>)> {
    let mut lines = data.split_inclusive(|b| *b == b'\n').filter(|l| l.ends_with(b"\n"));
    let upload: Upload = serde_json::from_slice(lines.next()?).ok()?;
    if upload.version != VERSION || upload.part_size == 0 {
        return None;
    }
    Some((upload, lines.map_while(|l| serde_json::from_slice(l).ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_ignored() {
        let upload = Upload {
            version: VERSION,
            store: "s3://b".into(),
            key: "k".into(),
            upload: "u".into(),
            bytes: 20,
            file: (1, 2),
            part_size: 9,
        };
        let mut data = line(&upload);
        let text = r#"{"version":1,"store":"s3://b","key":"k","upload":"u","bytes":20,"file":[1,2],"part_size":9}"#;
        assert_eq!(String::from_utf8_lossy(&data), format!("{text}\n"));
        data.extend(line(&7));
        let whole = data.len();
        data.extend(line(&8));
        for end in whole..data.len() {
            assert_eq!(read::<i32>(&data[..end]), Some((upload.clone(), vec![7])), "cut at {end}");
        }
        assert_eq!(read::<i32>(&data).map(|(_, p)| p), Some(vec![7, 8]));
        assert_eq!(read::<i32>(&data[..20]), None);
    }
}
