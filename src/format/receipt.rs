//! The receipt of a stored archive: a small JSON object that says where it is and what the far end verified.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 1;

/// Where an archive is stored. The seed's markers are empty files of the same name: they count as receipts that say
/// nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this format.
    pub version: u32,
    /// The place and key: `s3://bucket/key` or `file:///path`.
    pub stored: String,
    /// Size of the object in bytes.
    pub bytes: u64,
    /// `ALGORITHM:VALUE` that the far end verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// The object's entity tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it was known to be stored.
    pub at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_this() {
        let receipt = Receipt {
            version: VERSION,
            stored: "s3://b/k".into(),
            bytes: 5,
            checksum: Some("CRC64NVME:AAAA".into()),
            etag: None,
            at: "2026-11-22T15:00:00Z".parse().unwrap(),
        };
        let text = serde_json::to_string(&receipt).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"stored":"s3://b/k","bytes":5,"checksum":"CRC64NVME:AAAA","at":"2026-11-22T15:00:00Z"}"#
        );
        assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), receipt);
    }
}
