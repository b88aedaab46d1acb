//! Which times of a stream its manifests tell of, and where nobody watched.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;

/// A time without a manifest, between two that have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where it begins.
    pub from: DateTime<Utc>,
    /// Where it ends.
    pub to: DateTime<Utc>,
    /// The key of a manifest that begins behind it.
    pub key: String,
}

#[derive(Clone, Debug)]
struct Range {
    end: DateTime<Utc>,
    /// Nobody knows how long its last period was.
    open: bool,
    /// The key of a manifest that begins it, and whether the one before that is known.
    key: String,
    linked: bool,
}

/// The times that one stream's manifests tell of.
#[derive(Debug, Default)]
pub struct Cover {
    /// By their beginnings; they do not touch.
    ranges: BTreeMap<DateTime<Utc>, Range>,
}

impl Cover {
    /// A manifest of the period that begins at `start` and is so long. `linked`: the one before it in its chain is known, so that
    /// what lies in front of it is no loss.
    pub fn add(&mut self, start: DateTime<Utc>, seconds: Option<u64>, key: &str, linked: bool) {
        let length = seconds.and_then(|seconds| TimeDelta::try_seconds(i64::try_from(seconds).ok()?));
        let end = length.and_then(|length| start.checked_add_signed(length)).unwrap_or(start);
        let mut range = Range { end, open: length.is_none(), key: key.to_owned(), linked };
        let mut begin = start;
        if let Some((&before, known)) = self.ranges.range_mut(..=start).next_back()
            && known.end >= start
        {
            if before == start {
                known.linked |= linked;
            }
            if known.end >= end && !(known.end == end && range.open) {
                return;
            }
            range = Range { end, open: range.open, ..known.clone() };
            begin = before;
        }
        while let Some(next) = self.ranges.range(begin..).map(|(next, _)| *next).find(|next| *next != begin)
            && next <= range.end
        {
            if let Some(known) = self.ranges.remove(&next)
                && known.end >= range.end
            {
                (range.end, range.open) = (known.end, known.open);
            }
        }
        self.ranges.insert(begin, range);
    }

    /// The gaps so far. Nothing that begins before their ends is to come: they are told once.
    pub fn close(&mut self) -> Vec<Gap> {
        let ranges = std::mem::take(&mut self.ranges);
        let mut gaps = Vec::new();
        let mut whole: Option<(DateTime<Utc>, Range)> = None;
        for (start, range) in ranges {
            let Some((_, last)) = &mut whole else {
                whole = Some((start, range));
                continue;
            };
            if !last.open && range.linked {
                gaps.push(Gap { from: last.end, to: start, key: range.key.clone() });
            }
            (last.end, last.open) = (range.end, range.open);
        }
        self.ranges.extend(whole);
        gaps
    }

    /// Where it ends, if it is known.
    pub fn end(&self) -> Option<DateTime<Utc>> {
        self.ranges.last_key_value().map(|(_, range)| range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
    }

    fn gaps(hours: &[(i64, Option<u64>, bool)]) -> Vec<(i64, i64)> {
        let mut cover = Cover::default();
        for (hour, seconds, linked) in hours {
            cover.add(at(*hour), *seconds, &hour.to_string(), *linked);
        }
        let hours = |time: DateTime<Utc>| (time - at(0)).num_hours();
        let gaps = cover.close().into_iter().map(|gap| (hours(gap.from), hours(gap.to))).collect();
        assert_eq!(cover.close(), [], "they are told once");
        gaps
    }

    const HOUR: Option<u64> = Some(3600);

    #[test]
    fn hours_one_behind_the_other_leave_no_gap_in_whatever_order_they_come() {
        assert_eq!(gaps(&[(0, HOUR, true), (1, HOUR, true), (2, HOUR, true), (2, HOUR, false)]), []);
        assert_eq!(gaps(&[(2, HOUR, true), (0, HOUR, true), (1, HOUR, true)]), []);
        assert_eq!(gaps(&[(0, Some(3 * 3600), true), (1, HOUR, true), (3, HOUR, true)]), []);
        assert_eq!(gaps(&[(1, HOUR, true), (0, Some(5 * 3600), true), (5, HOUR, true)]), []);
    }

    #[test]
    fn hours_in_which_nobody_watched_are_a_gap() {
        assert_eq!(gaps(&[(0, HOUR, true), (3, HOUR, true), (4, HOUR, true), (6, HOUR, true)]), [(1, 3), (5, 6)]);
        assert_eq!(gaps(&[(3, HOUR, true), (0, HOUR, true)]), [(1, 3)]);
    }

    #[test]
    fn what_lies_before_a_broken_chain_or_behind_a_period_of_unknown_length_is_none() {
        assert_eq!(gaps(&[(0, HOUR, true), (3, HOUR, false)]), []);
        assert_eq!(gaps(&[(0, HOUR, true), (3, HOUR, false), (3, HOUR, true)]), [(1, 3)]);
        assert_eq!(gaps(&[(0, None, true), (3, HOUR, true), (5, HOUR, true)]), [(4, 5)]);
    }
}
