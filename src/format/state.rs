//! What a process writes down about itself, for who looks at DIR: who it is, and what troubles it has right now. A JSON object on
//! one line, without a newline.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 1;

/// What a trouble holds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The start: it is held until that is mended (`--on-error=hold`).
    Start,
    /// Taking lines: a write fails.
    Intake,
    /// Taking lines: the reserve is reached.
    Space,
    /// Forcing lines to the disk.
    Sync,
    /// Sealing hour files that have ended.
    Seal,
    /// Packing them, and clearing up behind.
    Pack,
    /// Packing the hour file that grows.
    Ahead,
    /// Storing archives, parts and checkpoints.
    Upload,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 8] =
        [Self::Start, Self::Intake, Self::Space, Self::Sync, Self::Seal, Self::Pack, Self::Ahead, Self::Upload];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Intake => "intake",
            Self::Space => "space",
            Self::Sync => "sync",
            Self::Seal => "seal",
            Self::Pack => "pack",
            Self::Ahead => "ahead",
            Self::Upload => "upload",
        }
    }

    /// Whether no line is taken in meanwhile.
    pub fn stops_intake(self) -> bool {
        matches!(self, Self::Start | Self::Intake | Self::Space)
    }

    /// Whether a later life finds it anew, and says when it is over.
    pub fn is_inherited(self) -> bool {
        matches!(self, Self::Seal | Self::Pack | Self::Upload)
    }
}

/// Something that fails, and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What it holds up.
    pub stage: Stage,
    /// What was said of it last.
    pub error: String,
    /// Since when that stage has not been without trouble.
    pub since: DateTime<Utc>,
    /// How long it waits at the most before it is tried again, in seconds, rounded up.
    pub retry: u64,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this format.
    pub version: u32,
    /// `pipe`, `compress`, `upload`.
    pub command: String,
    /// Its number.
    pub pid: u32,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it left by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
    /// The stream that it writes, if it writes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Length of that stream's periods in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Where it stores archives, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dest: Option<String>,
    /// What it gave up after its start, in words; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confined: Option<String>,
    /// What fails right now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
}

impl State {
    /// A process that has just begun.
    pub fn begun(command: &str, pid: u32, started: DateTime<Utc>) -> Self {
        Self {
            version: VERSION,
            command: command.to_owned(),
            pid,
            started: started.trunc_subsecs(0),
            ended: None,
            prefix: None,
            suffix: None,
            seconds: None,
            dest: None,
            confined: None,
            troubles: Vec::new(),
        }
    }

    /// The stream that it writes, if it writes one.
    pub fn stream(&self) -> Option<(&str, &str)> {
        Some((self.prefix.as_deref()?, self.suffix.as_deref()?))
    }

    /// As it is written.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads one; `None` if it is none, as after a power cut.
    pub fn parse(data: &[u8]) -> Option<Self> {
        serde_json::from_slice(data).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_this() {
        let at = "2026-11-28T13:00:00Z".parse().unwrap();
        let mut state = State::begun("pipe", 7, at);
        assert_eq!(
            String::from_utf8(state.bytes()).unwrap(),
            r#"{"version":1,"command":"pipe","pid":7,"started":"2026-11-28T13:00:00Z"}"#
        );
        state.ended = Some(at);
        (state.prefix, state.suffix, state.seconds) = (Some("syslog".into()), Some("web-1".into()), Some(3600));
        (state.dest, state.confined) = (Some("s3://b/{filename}".into()), Some("no_new_privs".into()));
        let error = "put s3://b/x: denied".into();
        state.troubles.push(Trouble { stage: Stage::Upload, error, since: at, retry: 60 });
        let text = String::from_utf8(state.bytes()).unwrap();
        let about = r#""ended":"2026-11-28T13:00:00Z","prefix":"syslog","suffix":"web-1","seconds":3600"#;
        let place = r#""dest":"s3://b/{filename}","confined":"no_new_privs""#;
        let trouble = r#"{"stage":"upload","error":"put s3://b/x: denied","since":"2026-11-28T13:00:00Z","retry":60}"#;
        let head = r#"{"version":1,"command":"pipe","pid":7,"started":"2026-11-28T13:00:00Z""#;
        assert_eq!(text, format!(r#"{head},{about},{place},"troubles":[{trouble}]}}"#));
        assert_eq!(State::parse(text.as_bytes()), Some(state.clone()));
        assert_eq!(state.stream(), Some(("syslog", "web-1")));
        for broken in [&b""[..], b"\0\0\0", b"{\"version\":1", b"[]"] {
            assert_eq!(State::parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_stage_is_written_as_it_is_named() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_string(&stage).unwrap(), format!("\"{}\"", stage.word()));
        }
    }
}
