//! One open hour file.

use super::tail::ends_inside_a_line;
use crate::env::fs::File;
use crate::env::growth::Growth;
use crate::error::Result;
use crate::format::name::LogName;
use crate::format::period::Period;
use chrono::{DateTime, Utc};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

/// An hour file that this process owns: it holds the lock as long as this lives.
pub struct Hour {
    name: LogName,
    period: Period,
    file: Arc<dyn File>,
    /// Bytes.
    len: u64,
    /// Whether the session's record names it.
    recorded: bool,
    partial: bool,
    growth: Arc<Growth>,
    touched: Instant,
}

impl Hour {
    /// An empty file, locked.
    pub(super) fn new(name: LogName, period: Period, file: Arc<dyn File>, now: Instant) -> Self {
        Self { name, period, file, len: 0, recorded: false, partial: false, growth: Arc::default(), touched: now }
    }

    /// A file of an earlier life, locked; `partial` if its last line goes on.
    pub(super) fn continued(
        name: LogName,
        period: Period,
        file: Arc<dyn File>,
        now: Instant,
        partial: bool,
    ) -> Result<Self> {
        let mut hour = Self::new(name, period, file, now);
        hour.len = hour.file.len()?;
        // What an earlier life wrote is its affair.
        hour.growth.made_durable(hour.len);
        hour.partial = partial;
        Ok(hour)
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the session's record names it.
    pub(super) fn recorded(&self) -> bool {
        self.recorded
    }

    /// Notes that it does.
    pub(super) fn set_recorded(&mut self) {
        self.recorded = true;
    }

    /// What it tells those who follow it.
    pub fn growth(&self) -> &Arc<Growth> {
        &self.growth
    }

    /// Nothing of what is in it now will be taken back.
    pub(super) fn settle(&self) {
        self.growth.settle(self.len);
    }

    /// Cuts it to `len` bytes, the end of a line.
    pub(super) fn truncate(&mut self, len: u64) -> Result<()> {
        self.file.truncate(len)?;
        self.len = len;
        self.partial = false;
        Ok(())
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
        self.len += n as u64;
        self.partial = data[n - 1] != b'\n';
        self.arrived(now, steady);
        Ok(n)
    }

    /// Moves at most `most` bytes from a pipe: as [`File::splice_from`].
    pub(super) fn splice(
        &mut self,
        pipe: BorrowedFd<'_>,
        most: usize,
        now: DateTime<Utc>,
        steady: Instant,
    ) -> Result<Option<usize>> {
        let moved = self.file.splice_from(pipe, most)?;
        if let Some(n) = moved.filter(|n| *n > 0) {
            self.len += n as u64;
            // Until the last byte is known the line counts as unfinished: that only delays the file's end.
            self.partial = true;
            self.arrived(now, steady);
            self.partial = ends_inside_a_line(&*self.file)?;
        }
        Ok(moved)
    }

    fn arrived(&mut self, now: DateTime<Utc>, steady: Instant) {
        self.growth.arrived(now);
        self.touched = steady;
    }

    /// First and last arrival in this life.
    pub(super) fn arrivals(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        self.growth.arrivals()
    }
}

impl Drop for Hour {
    fn drop(&mut self) {
        self.growth.let_go();
        // The sync thread may still have a handle; whoever packs the file must not find it locked for that.
        self.file.unlock();
    }
}
