//! The seal of an hour file: a small JSON object that says the file has ended and what it holds. Once it stands, the
//! hour file is never written to again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 1;

/// How a file came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Its period was over.
    Period,
    /// SIGUSR1.
    Signal,
    /// The end of the input, with `--once`.
    Input,
    /// The clock stepped back out of its period.
    Clock,
    /// The disk failed to keep it.
    Fault,
    /// An earlier life left it behind.
    Recovered,
}

/// What an ended hour file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Version of this format.
    pub version: u32,
    /// How it ended.
    pub ended: Ended,
    /// Bytes, the newline included that the end may have added.
    pub bytes: u64,
    /// Arrival of the first byte in this life, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<DateTime<Utc>>,
    /// Arrival of the last byte, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_this() {
        let seal = Seal {
            version: VERSION,
            ended: Ended::Period,
            bytes: 12,
            first: "2026-11-22T15:00:00Z".parse().ok(),
            last: None,
        };
        let text = serde_json::to_string(&seal).unwrap();
        assert_eq!(text, r#"{"version":1,"ended":"period","bytes":12,"first":"2026-11-22T15:00:00Z"}"#);
        assert_eq!(serde_json::from_str::<Seal>(&text).unwrap(), seal);
    }
}
