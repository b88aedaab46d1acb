//! Periods: the UTC clock cut into equal lengths.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// A stretch of time `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first instant that belongs to it.
    pub start: DateTime<Utc>,
    /// The first instant that does not.
    pub end: DateTime<Utc>,
}

impl Period {
    /// The period of length `every` (a divisor of a day, in whole seconds) that `now` falls into.
    pub fn of(now: DateTime<Utc>, every: Duration) -> Self {
        let length = i64::try_from(every.as_secs()).unwrap_or(3600).max(1);
        let second = now.timestamp().div_euclid(length) * length;
        let start = DateTime::from_timestamp(second, 0).unwrap_or(now);
        Self { start, end: start + TimeDelta::seconds(length) }
    }

    /// The period that starts at `start`.
    pub fn from_start(start: DateTime<Utc>, every: Duration) -> Self {
        Self { start, end: start + TimeDelta::from_std(every).unwrap_or(TimeDelta::hours(1)) }
    }

    /// How long after `now` it ends; zero if it is over.
    pub fn remaining(&self, now: DateTime<Utc>) -> Duration {
        (self.end - now).to_std().unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_aligned_to_the_utc_clock() {
        let now = "2026-11-22T15:59:59.999Z".parse().unwrap();
        let hour = Period::of(now, Duration::from_secs(3600));
        assert_eq!(hour.start.to_rfc3339(), "2026-11-22T15:00:00+00:00");
        assert_eq!(hour.end.to_rfc3339(), "2026-11-22T16:00:00+00:00");
        assert_eq!(hour.remaining(now), Duration::from_millis(1));
        let quarter = Period::of(hour.end, Duration::from_secs(900));
        assert_eq!(quarter.start, hour.end);
        assert_eq!(quarter.remaining(quarter.end), Duration::ZERO);
    }

    #[test]
    fn times_before_1970_have_a_period_too() {
        let period = Period::of("1969-12-31T23:30:00Z".parse().unwrap(), Duration::from_secs(3600));
        assert_eq!(period.start.to_rfc3339(), "1969-12-31T23:00:00+00:00");
    }
}
