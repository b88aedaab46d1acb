//! The tally of an hour file: what happened to its lines on their way, a line for each event, so that the counts outlive the
//! processes that counted. `began TIME SECONDS`, `recovered 1`, `cut BYTES`, `resent LINES`. What is no such line is passed over.

use super::manifest::Counts;
use chrono::{DateTime, SecondsFormat, Utc};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first bytes came, in a period of so many seconds.
    Began(DateTime<Utc>, u64),
    /// A later life took the hour file over.
    Recovered,
    /// So many bytes were cut off.
    Cut(u64),
    /// So many lines came again and were not kept twice.
    Resent(u64),
}

impl Event {
    /// As it is written.
    pub fn line(self) -> String {
        match self {
            Self::Began(at, seconds) => {
                format!("began {} {seconds}\n", at.to_rfc3339_opts(SecondsFormat::Micros, true))
            }
            Self::Recovered => "recovered 1\n".to_owned(),
            Self::Cut(bytes) => format!("cut {bytes}\n"),
            Self::Resent(lines) => format!("resent {lines}\n"),
        }
    }
}

/// What a tally says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// When the first bytes came.
    pub began: Option<DateTime<Utc>>,
    /// Length of the period in seconds.
    pub seconds: Option<u64>,
    /// The events, added up.
    pub counts: Counts,
}

/// Adds a tally up.
pub fn read(data: &[u8]) -> Tally {
    let mut tally = Tally::default();
    for line in String::from_utf8_lossy(data).lines() {
        let Some((word, value)) = line.split_once(' ') else { continue };
        let number = value.parse().unwrap_or(0);
        match word {
            "began" => {
                let (time, seconds) = value.split_once(' ').unwrap_or((value, ""));
                tally.began = tally.began.or(time.parse().ok());
                tally.seconds = tally.seconds.or(seconds.parse().ok());
            }
            "recovered" => tally.counts.recovered += number,
            "cut" => tally.counts.cut += number,
            "resent" => tally.counts.resent += number,
            _ => {}
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_added_up() {
        let at = "2026-11-22T15:00:00.5Z".parse().unwrap();
        let events =
            [Event::Began(at, 600), Event::Recovered, Event::Cut(7), Event::Resent(2), Event::Resent(3), Event::Cut(1)];
        let text: String = events.map(Event::line).concat();
        assert_eq!(text, "began 2026-11-22T15:00:00.500000Z 600\nrecovered 1\ncut 7\nresent 2\nresent 3\ncut 1\n");
        let counts = Counts { recovered: 1, cut: 8, resent: 5 };
        assert_eq!(read(text.as_bytes()), Tally { began: Some(at), seconds: Some(600), counts });
        assert_eq!(read(b"\0\0\ncut x\ncut 4").counts, Counts { cut: 4, ..Counts::default() });
    }
}
