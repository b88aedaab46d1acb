//! The door to time.

use chrono::{DateTime, Utc};
use std::time::{Duration, Instant};

/// Wall-clock time (it may step either way), a steady clock, and waiting.
pub trait Clock: Send + Sync {
    /// The wall clock, in UTC.
    fn now(&self) -> DateTime<Utc>;
    /// A clock that never steps, for time-outs and back-off.
    fn steady(&self) -> Instant;
    /// Blocks the calling thread.
    fn nap(&self, time: Duration);
}

/// The system's clocks.
pub struct System;

impl Clock for System {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn steady(&self) -> Instant {
        Instant::now()
    }

    fn nap(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
