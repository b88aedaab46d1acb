//! What a file that is being written tells those who read behind its writer.

use chrono::{DateTime, Utc};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// Shared between the writer and its readers. What it says may be a moment old, and never more than what is true.
#[derive(Debug, Default)]
pub struct Growth {
    settled: AtomicU64,
    /// Microseconds since 1970; 0: none came.
    first: AtomicI64,
    last: AtomicI64,
    durable: AtomicU64,
    over: AtomicBool,
}

impl Growth {
    /// Nothing of the first `len` bytes will be taken back, unless the power is cut.
    pub fn settle(&self, len: u64) {
        self.settled.store(len, std::sync::atomic::Ordering::Release);
    }

    /// How many bytes will not be taken back.
    pub fn settled(&self) -> u64 {
        self.settled.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Notes that bytes came.
    pub fn arrived(&self, now: DateTime<Utc>) {
        let now = now.timestamp_micros();
        if self.first.load(Relaxed) == 0 {
            self.first.store(now, Relaxed);
        }
        self.last.store(now, Relaxed);
    }

    /// When the first and the last bytes came in this life.
    pub fn arrivals(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let time = |at: &AtomicI64| DateTime::from_timestamp_micros(at.load(Relaxed)).filter(|_| at.load(Relaxed) != 0);
        (time(&self.first), time(&self.last))
    }

    /// Notes that a sync has made the first `len` bytes durable: how many of them are so anew.
    pub fn made_durable(&self, len: u64) -> u64 {
        len.saturating_sub(self.durable.fetch_max(len, Relaxed))
    }

    /// The writer has let go of the file: somebody else may have it.
    pub fn let_go(&self) {
        self.over.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Whether it has.
    pub fn is_over(&self) -> bool {
        self.over.load(std::sync::atomic::Ordering::Acquire)
    }
}
