//! The preflight: every precondition is tried for real, and each is told in one line, with the mend.

pub mod disk;
pub mod far;
pub mod host;
pub mod rsyslog;
pub mod traces;
pub mod unit;

use crate::error::Error;
use serde::Serialize;
use std::fmt;

/// What stands for the bucket in the shipped files.
const PLACEHOLDER: &str = "://BUCKET/";

/// What is wrong with a daemon's settings that still name the placeholder.
fn without_bucket(what: &'static str, text: &str) -> Option<Line> {
    let says = "there is no bucket yet: BUCKET stands for one in the shipped file";
    text.contains(PLACEHOLDER).then(|| Line::fail(what, says, "put the bucket's name there"))
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Well.
    Ok,
    /// It works, and something is to be known about it.
    Note,
    /// It does not work, or lines may be lost.
    Fail,
}

/// One precondition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How it is.
    pub verdict: Verdict,
    /// What was tried: a word.
    pub what: &'static str,
    /// What was seen.
    pub says: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Line {
    /// Well.
    pub fn ok(what: &'static str, says: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Ok, what, says: says.to_string(), mend: None }
    }

    /// To be known; `mend` may be empty.
    pub fn note(what: &'static str, says: impl fmt::Display, mend: &str) -> Self {
        let mend = Some(mend.to_owned()).filter(|mend| !mend.is_empty());
        Self { verdict: Verdict::Note, what, says: says.to_string(), mend }
    }

    /// Not well, with what mends it.
    pub fn fail(what: &'static str, says: impl fmt::Display, mend: impl fmt::Display) -> Self {
        Self { verdict: Verdict::Fail, what, says: says.to_string(), mend: Some(mend.to_string()) }
    }

    /// What failed, in its own words.
    pub fn failed(what: &'static str, e: &Error) -> Self {
        let says = Error { mend: None, ..e.clone() }.to_string();
        Self { verdict: Verdict::Fail, what, says, mend: e.mend.clone() }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Note => "note",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{word} {}: {}", self.what, self.says)?;
        match &self.mend {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}
