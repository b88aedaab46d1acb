//! What `verify` finds.

use chrono::{DateTime, Utc};
use serde::Serialize;
use std::fmt;

/// What kind of finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Fault {
    /// Something that is told of is not there.
    Missing,
    /// Something is not what it was, or not where it belongs.
    Altered,
    /// Nobody watched the stream.
    Gap,
    /// Something that nothing tells of.
    Extra,
    /// A manifest bears no signature of a known key.
    Unsigned,
    /// Nothing has come for too long.
    Late,
}

impl Fault {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Altered => "ALTERED",
            Self::Gap => "GAP",
            Self::Extra => "EXTRA",
            Self::Unsigned => "UNSIGNED",
            Self::Late => "LATE",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind it is.
    pub kind: Fault,
    /// The period that it concerns, if it is known.
    #[serde(serialize_with = "period")]
    pub period: Option<DateTime<Utc>>,
    /// The key that it concerns.
    pub key: String,
    /// What is the matter, in words.
    pub detail: String,
}

fn period<S: serde::Serializer>(period: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    period.map(minute).serialize(serializer)
}

/// A key as it can be shown: names are what somebody has given, and are not to move a cursor.
pub fn printable(key: &str) -> String {
    key.replace(char::is_control, "\u{fffd}")
}

/// A time, to the minute, as findings have it.
pub fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%MZ").to_string()
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = self.period.map_or_else(|| "-".to_owned(), minute);
        write!(f, "{} {period} {}: {}", self.kind.word(), printable(&self.key), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        let mut finding = Finding {
            kind: Fault::Missing,
            period: "2026-11-22T15:00:00Z".parse().ok(),
            key: "a/b\nc".into(),
            detail: "it is not there".into(),
        };
        assert_eq!(finding.to_string(), "MISSING 2026-11-22T15:00Z a/b\u{fffd}c: it is not there");
        let json = r#"{"kind":"MISSING","period":"2026-11-22T15:00Z","key":"a/b\nc","detail":"it is not there"}"#;
        assert_eq!(serde_json::to_string(&finding).unwrap(), json);
        (finding.period, finding.key) = (None, "k".into());
        assert_eq!(finding.to_string(), "MISSING - k: it is not there");
        assert!(serde_json::to_string(&finding).unwrap().contains(r#""period":null"#));
    }
}
