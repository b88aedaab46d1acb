//! The manifest of a period of a stream: a small JSON object beside the archive, one also for a period without a line. Each
//! names the one that was stored before it in the same stream, by SHA-256: a chain. It may be signed.

use super::name::LogName;
use super::seal::Ended;
use super::sign::Signer;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The version that is written.
pub const VERSION: u32 = 1;
/// The largest manifest that is read, in bytes.
pub const LARGEST: usize = 64 << 10;

/// What an archive holds, as far as its content tells. It is written down when the archive is made (`summary`), and becomes
/// part of the manifest when that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How the period came to its end.
    pub ended: Ended,
    /// Length of the period in seconds, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Lines: newlines.
    pub lines: u64,
    /// Bytes of the plain text.
    pub bytes: u64,
    /// BLAKE3 of the plain text, in hex.
    pub blake3: String,
    /// Arrival of the first bytes, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<DateTime<Utc>>,
    /// Arrival of the last bytes, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<DateTime<Utc>>,
    /// Of a period without a line: since when somebody was there to take one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched: Option<DateTime<Utc>>,
    /// What happened on the way.
    #[serde(flatten)]
    pub counts: Counts,
    /// Size of the object in bytes, and its SHA-256 in hex; `None`: there is none, since no line came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
}

/// The object, as it is packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// `gzip`, `zstd`, or `unknown`.
    pub codec: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256, in hex.
    pub sha256: String,
}

/// What happened to the lines of a period on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// How often a later life took the hour file over.
    pub recovered: u64,
    /// Bytes that were cut off as torn or unconfirmed.
    pub cut: u64,
    /// Lines that came again and were not kept twice.
    pub resent: u64,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub version: u32,
    /// The host whose lines they are.
    pub host: String,
    /// The stream's prefix.
    pub prefix: String,
    /// The stream's suffix, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Start of the period.
    pub start: DateTime<Utc>,
    /// Name of the archive; of a period without a line, the name that it would have.
    pub name: String,
    /// Key of the object; of a period without a line, the key that it would have.
    pub key: String,
    /// What it holds.
    #[serde(flatten)]
    pub summary: Summary,
    /// Place in the chain, from 1.
    pub number: u64,
    /// The manifest before it in the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Link>,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// Fingerprint of the public key that checks the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Signature of the line up to the comma before this field, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A manifest that another one points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its key.
    pub key: String,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Manifest {
    /// As it is stored: one line of JSON, with a newline.
    pub fn bytes(&self) -> Vec<u8> {
        super::journal::line(self)
    }

    /// The same one, signed.
    #[must_use]
    pub fn signed(self, signer: &Signer) -> Self {
        let mut signed = Self { signed_by: Some(signer.public().fingerprint().to_owned()), signature: None, ..self };
        let line = signed.bytes();
        // Without the brace and the newline at the end.
        signed.signature = Some(signer.sign(&line[..line.len().saturating_sub(2)]));
        signed
    }

    /// Reads one.
    pub fn parse(data: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(data).ok().filter(|manifest| manifest.version == VERSION)
    }

    /// Whether it is of the same stream as a name.
    pub fn is_of_stream(&self, name: &LogName) -> bool {
        self.prefix == name.prefix() && self.suffix.as_deref() == name.suffix()
    }
}

/// SHA-256, in hex.
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// Bytes as small hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(packed: Option<Packed>) -> Manifest {
        let silent = packed.is_none();
        Manifest {
            version: VERSION,
            host: "web-1".into(),
            prefix: "syslog".into(),
            suffix: Some("web-1".into()),
            start: "2026-11-22T15:00:00Z".parse().unwrap(),
            name: "syslog-20261122T1500Z-web-1.log.gz".into(),
            key: "syslog/2026/11/22/syslog-20261122T1500Z-web-1.log.gz".into(),
            summary: Summary {
                ended: Ended::Period,
                seconds: Some(3600),
                lines: 2,
                bytes: 12,
                blake3: "b3".into(),
                first: "2026-11-22T15:00:00.5Z".parse().ok().filter(|_| !silent),
                last: "2026-11-22T15:59:59Z".parse().ok().filter(|_| !silent),
                watched: "2026-11-22T15:10:00Z".parse().ok().filter(|_| silent),
                counts: Counts { recovered: 1, cut: 20, resent: 3 },
                packed,
            },
            number: 7,
            previous: Some(Link { key: "k".into(), sha256: "5a".into() }),
            at: "2026-11-22T16:00:01Z".parse().unwrap(),
            signed_by: None,
            signature: None,
        }
    }

    #[test]
    fn the_format_is_this() {
        let with = manifest(Some(Packed { codec: "gzip".into(), bytes: 34, sha256: "ab".into() }));
        let text = concat!(
            r#"{"version":1,"host":"web-1","prefix":"syslog","suffix":"web-1","start":"2026-11-22T15:00:00Z","#,
            r#""name":"syslog-20261122T1500Z-web-1.log.gz","#,
            r#""key":"syslog/2026/11/22/syslog-20261122T1500Z-web-1.log.gz","ended":"period","seconds":3600,"#,
            r#""lines":2,"bytes":12,"blake3":"b3","first":"2026-11-22T15:00:00.500Z","last":"2026-11-22T15:59:59Z","#,
            r#""recovered":1,"cut":20,"resent":3,"packed":{"codec":"gzip","bytes":34,"sha256":"ab"},"number":7,"#,
            r#""previous":{"key":"k","sha256":"5a"},"at":"2026-11-22T16:00:01Z"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(with.bytes()).unwrap(), text);
        assert_eq!(Manifest::parse(text.as_bytes()), Some(with));
    }

    #[test]
    fn a_signed_one_is_the_same_line_with_two_fields_behind() {
        // RFC 8410, section 10.3.
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let signer = Signer::parse(key).unwrap();
        let signed = manifest(None).signed(&signer);
        let text = String::from_utf8(signed.bytes()).unwrap();
        let plain = String::from_utf8(manifest(None).bytes()).unwrap();
        let end = concat!(
            r#","signed_by":"a1e9156054e04fac","signature":"#,
            r#""e6X1JOd0xn2oGfNlguxvuqbfup4z6erPKLbtWm7Uzhv7EtQ5N+DHvRn6kPAKmHQHvFI1V5e3mabPuwOuQqd1Bg=="}"#,
            "\n"
        );
        assert_eq!(text, plain.replace("}\n", end));
        assert_eq!(Manifest::parse(text.as_bytes()), Some(signed.clone()));
        assert_eq!(signer.sign_line(&manifest(None).bytes()), text.as_bytes());
        assert_eq!(signed.clone().signed(&signer), signed, "by the same key it is the same");
    }

    #[test]
    fn a_period_without_a_line_has_no_object() {
        let silent = manifest(None);
        let text = String::from_utf8(silent.bytes()).unwrap();
        assert!(text.contains(r#""watched":"2026-11-22T15:10:00Z","recovered":1"#), "{text}");
        assert!(!text.contains("packed") && !text.contains("first"), "{text}");
        assert_eq!(Manifest::parse(text.as_bytes()), Some(silent));
    }

    #[test]
    fn another_version_is_not_read() {
        let other = Manifest { version: 2, ..manifest(None) };
        assert_eq!(Manifest::parse(&other.bytes()), None);
    }

    #[test]
    fn digests_are_written_in_hex() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
