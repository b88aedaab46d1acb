//! A period without a line is told of by a manifest of its own, so that silence and loss differ. It is noted once the period
//! is over, by whoever was there to take its lines.

use super::{Archive, summary};
use crate::error::Result;
use crate::format::layout::{GZIP, ZSTD};
use crate::format::manifest::{Counts, Summary};
use crate::format::name::LogName;
use crate::format::period::Period;
use crate::format::seal::Ended;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::{Duration, Instant};

/// How far wall clock and steady clock may drift apart between two looks: more means that the clock was set, or that the
/// machine slept.
const DRIFT: TimeDelta = TimeDelta::seconds(30);
/// How long after its end a period counts as over: the clock may be set back a little, and a file may just be ending.
const SETTLED: TimeDelta = TimeDelta::seconds(5);

/// Watches the periods of one stream go by.
pub struct Silence {
    prefix: String,
    suffix: String,
    every: Duration,
    /// Since when somebody is there to take lines.
    since: DateTime<Utc>,
    /// The first period that was not judged yet.
    next: Period,
    looked: (DateTime<Utc>, Instant),
}

impl Silence {
    /// Begins to watch.
    pub fn watch(archive: &Archive, prefix: &str, suffix: &str, every: Duration) -> Self {
        let looked = (archive.env.clock.now(), archive.env.clock.steady());
        let next = Period::of(looked.0, every);
        Self { prefix: prefix.to_owned(), suffix: suffix.to_owned(), every, since: looked.0, next, looked }
    }

    /// Notes the periods that are over and had no line; `told` hears of each. How long until the next one is over.
    pub fn look(&mut self, archive: &Archive, mut told: impl FnMut(&LogName)) -> Result<Duration> {
        let now = archive.env.clock.now();
        let steady = archive.env.clock.steady();
        let passed = TimeDelta::from_std(steady.duration_since(self.looked.1)).unwrap_or(TimeDelta::MAX);
        if ((now - self.looked.0) - passed).abs() > DRIFT {
            self.since = now;
            self.next = Period::of(now, self.every);
        }
        self.looked = (now, steady);
        while self.next.end + SETTLED <= now {
            if let Some(name) = self.judge(archive)? {
                told(&name);
            }
            self.next = Period::from_start(self.next.end, self.every);
        }
        Ok((self.next.end + SETTLED - now).to_std().unwrap_or(Duration::ZERO))
    }

    fn judge(&self, archive: &Archive) -> Result<Option<LogName>> {
        let (fs, layout) = (&archive.env.fs, &archive.layout);
        let hour = LogName::hour(&self.prefix, self.next.start, &self.suffix, None);
        let name = hour.with_ending(archive.codec.ending());
        let mut paths = vec![layout.hour(&hour), layout.seal(&hour)];
        for packed in [GZIP, ZSTD].map(|ending| hour.with_ending(ending)) {
            paths.extend([layout.summary(&packed), layout.archive(&packed), layout.receipt(&packed)]);
            paths.push(layout.manifest(&packed));
        }
        for path in paths {
            if fs.stat(&path)?.is_some() {
                return Ok(None);
            }
        }
        let silent = Summary {
            ended: Ended::Period,
            seconds: Some(self.every.as_secs()),
            lines: 0,
            bytes: 0,
            blake3: blake3::hash(b"").to_hex().to_string(),
            first: None,
            last: None,
            watched: Some(self.since.max(self.next.start)),
            counts: Counts::default(),
            packed: None,
        };
        summary::write(archive, &name, &silent).map(|()| Some(name))
    }
}
