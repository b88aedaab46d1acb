//! Whether that is well.

use super::{Process, Status, Stream, UNKNOWN_PERIOD};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// How much longer than its period the oldest line may wait before it is a warning, in seconds: an hour that ends is packed
/// and stored in that time.
const GRACE: u64 = 15 * 60;
/// Critical is so many times a warning.
const CRITICAL: u64 = 2;

/// As monitoring plugins name it. Ordered by how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All is well.
    Ok,
    /// Something is late.
    Warning,
    /// Something could not be read: nobody knows.
    Unknown,
    /// Something is very late, or no line is taken in.
    Critical,
}

impl State {
    /// The exit status of a monitoring plugin (Monitoring Plugins Development Guidelines, "Plugin Return Codes").
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Ages of the oldest line; `None`: by the stream's period.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// From this age on it is a warning.
    pub warning: Option<Duration>,
    /// From this one on it is critical.
    pub critical: Option<Duration>,
}

impl Limits {
    fn of(self, stream: &Stream) -> (u64, u64) {
        let own = stream.period_seconds.unwrap_or(UNKNOWN_PERIOD) + GRACE;
        let critical = self.critical.map(|limit| limit.as_secs());
        let warning = self.warning.map(|limit| limit.as_secs());
        match (warning, critical) {
            (Some(warning), critical) => (warning, critical.unwrap_or(warning.saturating_mul(CRITICAL))),
            (None, Some(critical)) => (own.min(critical), critical),
            (None, None) => (own, own.saturating_mul(CRITICAL)),
        }
    }
}

/// Judges each stream by its oldest line, and the whole by the worst there is.
pub fn judge(status: &mut Status, limits: Limits) {
    for stream in &mut status.streams {
        (stream.warning_seconds, stream.critical_seconds) = limits.of(stream);
        let age = stream.oldest.as_ref().map_or(0, |oldest| oldest.age_seconds);
        stream.state = match age {
            _ if stream.oldest.is_none() => State::Ok,
            age if age >= stream.critical_seconds => State::Critical,
            age if age >= stream.warning_seconds => State::Warning,
            _ => State::Ok,
        };
    }
    let unread = if status.unread.is_empty() { State::Ok } else { State::Unknown };
    let held = |process: &Process| if process.held_up().is_some() { State::Critical } else { State::Ok };
    let all = status.streams.iter().map(|stream| stream.state).chain(status.processes.iter().map(held));
    status.state = all.chain([unread]).max().unwrap_or(State::Ok);
}

/// One line, as monitoring plugins write it: a verdict, then what to draw (the same guidelines, "Performance data").
pub fn plugin_line(status: &Status) -> String {
    let waiting = |count: fn(&Stream) -> u64| status.streams.iter().map(count).sum::<u64>();
    let files = waiting(|stream| stream.waiting.files + stream.ended.files);
    let bytes = waiting(|stream| stream.waiting.bytes + stream.ended.bytes);
    let mut line = format!("LOGJAM {} - ", status.state.word());
    let held = status.processes.iter().find_map(Process::held_up);
    // A stream may be within its limits and have an older line than one that is not.
    let worst = (status.streams.iter().filter(|stream| stream.oldest.is_some()))
        .max_by_key(|stream| (stream.state, stream.oldest.as_ref().map_or(0, |oldest| oldest.age_seconds)));
    if let Some(e) = held {
        let _ = write!(line, "no line is taken in: {}; ", plain(e));
    } else if let Some(unread) = status.unread.first() {
        let _ = write!(line, "not all could be read: {}; ", plain(unread));
    }
    match worst.and_then(|stream| Some((stream, stream.oldest.as_ref()?))) {
        Some((stream, oldest)) => {
            let age = humantime::format_duration(Duration::from_secs(oldest.age_seconds));
            let _ = write!(line, "oldest line not archived came {age} ago, in {}", name(stream));
        }
        None if status.unread.is_empty() => line.push_str("every line is archived"),
        None => line.push_str("no line was seen that is not archived"),
    }
    if let Some(trouble) = status.processes.iter().flat_map(|process| &process.state.troubles).next() {
        let _ = write!(line, "; {}: {}", trouble.stage.word(), plain(&trouble.error));
    }
    let age = |stream: Option<&Stream>| stream.and_then(|s| s.oldest.as_ref()).map_or(0, |oldest| oldest.age_seconds);
    let limits = |stream: &Stream| format!("{};{}", stream.warning_seconds, stream.critical_seconds);
    let oldest = status.streams.iter().max_by_key(|stream| age(Some(stream)));
    let _ = write!(line, " | oldest={}s;{};0", age(oldest), worst.or(oldest).map_or(";".to_owned(), limits));
    let _ = write!(line, " waiting={files};;;0 waiting_bytes={bytes}B;;;0");
    if let Some(space) = status.space {
        let _ = write!(line, " used={}B;;;0 free={}B;;;0;{}", space.used_bytes, space.free_bytes, space.total_bytes);
    }
    for stream in &status.streams {
        let label = name(stream).replace('\'', "''").replace('=', "_");
        let _ = write!(line, " 'oldest {label}'={}s;{};0", age(Some(stream)), limits(stream));
    }
    line
}

/// A stream, as it is shown.
pub fn name(stream: &Stream) -> String {
    plain(&match &stream.suffix {
        Some(suffix) => format!("{} {suffix}", stream.prefix),
        None => stream.prefix.clone(),
    })
}

/// Text that is to be one line on a terminal, and no beginning of performance data.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}").replace('|', "/")
}
