//! The seal of an hour file: a small JSON object that says the file has ended and what it holds. Once it stands, the
//! hour file is never written to again.

use super::manifest::Counts;
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
    /// Its host was gone, and another one finished it (manifests only).
    Rescue,
    /// Nobody wrote that down: another program made the archive (manifests only).
    Unknown,
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
    /// Length of the period in seconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What happened to its lines on their way.
    #[serde(flatten)]
    pub counts: Counts,
    /// Arrival of the first byte, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<DateTime<Utc>>,
    /// Arrival of the last byte, if known: of a file that was left behind, when it was last written to.
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
            seconds: Some(3600),
            counts: Counts { cut: 5, ..Counts::default() },
            first: "2026-11-22T15:00:00Z".parse().ok(),
            last: None,
        };
        let text = serde_json::to_string(&seal).unwrap();
        let first = r#""first":"2026-11-22T15:00:00Z"}"#;
        let counts = r#""recovered":0,"cut":5,"resent":0"#;
        assert_eq!(text, format!(r#"{{"version":1,"ended":"period","bytes":12,"seconds":3600,{counts},{first}"#));
        assert_eq!(serde_json::from_str::<Seal>(&text).unwrap(), seal);
    }
}
