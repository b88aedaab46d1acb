//! Messages to syslog. Under rsyslog each of them may come back as a line to be archived: so there is an end to how many are
//! said, whatever happens.

use super::one_line;
use crate::env::clock::{Clock, System};
use crate::env::syslog::Syslog;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How many messages of a kind, that is of one place in the program, are said within [`WHILE`].
pub const MOST: u32 = 10;
/// How long that is.
pub const WHILE: Duration = Duration::from_secs(60);

/// How this program is called in the log.
const TAG: &str = "logjam";

/// What writes messages to the system's log.
pub struct Quiet {
    log: Syslog,
    said: Mutex<HashMap<Identifier, Kind>>,
}

/// What was said of a kind.
#[derive(Clone, Copy, Debug)]
struct Kind {
    since: Instant,
    said: u32,
    left_out: u32,
}

impl Kind {
    /// Whether another one may be said now; if so, how many were left out before it.
    fn admit(&mut self, now: Instant) -> Option<u32> {
        if now.duration_since(self.since) >= WHILE {
            (self.since, self.said) = (now, 0);
        }
        if self.said == MOST {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Quiet {
    /// The system's log.
    pub fn new() -> Self {
        Self { log: Syslog::new(TAG), said: Mutex::default() }
    }

    fn kind<T>(&self, kind: Identifier, with: impl FnOnce(&mut Kind) -> T) -> T {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        with(match said.entry(kind) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Kind { since: System.steady(), said: 0, left_out: 0 }),
        })
    }
}

/// Writes one message, which comes in one piece.
pub struct Message<'a> {
    log: &'a Quiet,
    kind: Option<(Identifier, u8)>,
}

impl Write for Message<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let Some((kind, severity)) = self.kind.clone() else { return Ok(text.len()) };
        let Some(left_out) = self.log.kind(kind.clone(), |kind| kind.admit(System.steady())) else {
            return Ok(text.len());
        };
        let mut line = one_line(text.trim_ascii_end());
        if left_out > 0 {
            line.extend(format!(" (and {left_out} of that kind before)").bytes());
        }
        if !self.log.log.say(severity, &line) {
            self.log.kind(kind, |kind| kind.left_out += 1 + left_out);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Quiet {
    type Writer = Message<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Message { log: self, kind: None }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        let severity = match *meta.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 5,
            Level::DEBUG => 6,
            Level::TRACE => 7,
        };
        Message { log: self, kind: Some((meta.callsite(), severity)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_kind_are_said_in_a_while_and_the_rest_is_counted() {
        let start = System.steady();
        let mut kind = Kind { since: start, said: 0, left_out: 0 };
        for _ in 0..MOST {
            assert_eq!(kind.admit(start), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(kind.admit(start + WHILE / 2), None);
        }
        assert_eq!(kind.admit(start + WHILE), Some(5));
        assert_eq!(kind.admit(start + WHILE), Some(0));
    }
}
