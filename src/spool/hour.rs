//! One open hour file.

use crate::env::fs::{File, Fs};
use crate::error::Result;
use crate::format::layout::Layout;
use crate::format::name::LogName;
use crate::format::period::Period;
use crate::format::seal::{Ended, Seal, VERSION};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Instant;

/// An hour file that this process owns: it holds the lock as long as this lives.
pub struct Hour {
    name: LogName,
    period: Period,
    file: Arc<dyn File>,
    /// `None` for a file that an earlier life began: counted when it is sealed.
    counts: Option<(u64, u64)>,
    partial: bool,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    touched: Instant,
}

impl Hour {
    /// A file just created, empty and locked.
    pub(super) fn fresh(name: LogName, period: Period, file: Arc<dyn File>, now: Instant) -> Self {
        Self { name, period, file, counts: Some((0, 0)), partial: false, first: None, last: None, touched: now }
    }

    /// A file of an earlier life, locked, that ends with a newline or is empty.
    pub(super) fn continued(name: LogName, period: Period, file: Arc<dyn File>, now: Instant) -> Self {
        Self { counts: None, ..Self::fresh(name, period, file, now) }
    }

    /// The file's name.
    pub fn name(&self) -> &LogName {
        &self.name
    }

    /// The file itself.
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Its period.
    pub fn period(&self) -> Period {
        self.period
    }

    /// Whether the last line has no newline yet.
    pub fn partial(&self) -> bool {
        self.partial
    }

    /// When it was last written to, by the steady clock.
    pub(super) fn touched(&self) -> Instant {
        self.touched
    }

    /// Appends what the system takes of `data` (not empty): how many bytes that was.
    pub(super) fn append(&mut self, data: &[u8], now: DateTime<Utc>, steady: Instant) -> Result<usize> {
        let n = self.file.append(data)?;
        self.partial = data[n - 1] != b'\n';
        if let Some((bytes, lines)) = &mut self.counts {
            *bytes += n as u64;
            *lines += memchr::memchr_iter(b'\n', &data[..n]).count() as u64;
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.touched = steady;
        Ok(n)
    }

    /// Makes content and name durable.
    pub(super) fn make_durable(&self, fs: &dyn Fs, layout: &Layout) -> Result<()> {
        self.file.sync()?;
        fs.sync_dir(layout.dir())
    }

    /// The seal as far as this life knows it, for a file whose last line is whole; counts are missing for a
    /// file that an earlier life began.
    pub(super) fn counted(&self, ended: Ended) -> Option<Seal> {
        let (bytes, lines) = self.counts?;
        Some(Seal { version: VERSION, ended, bytes, lines, first: self.first, last: self.last })
    }

    /// First and last arrival in this life.
    pub(super) fn arrivals(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        (self.first, self.last)
    }
}
