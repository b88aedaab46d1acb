//! A limit on the bytes per second of all uploads together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The most that is read from the disk at once, in bytes.
pub const PIECE: usize = 512 << 10;

/// Hands out time slots on a line of a given rate: a body that wants to send `n` bytes waits for its slot.
pub struct Bandwidth {
    rate: u64,
    piece: usize,
    free_at: Mutex<Option<Instant>>,
}

impl Bandwidth {
    /// A line of `rate` bytes per second that `bodies` share. Pieces are small enough that each body moves several
    /// times a second: a body that pauses for long looks stalled to the server and to the SDK.
    pub fn new(rate: u64, bodies: usize) -> Self {
        let rate = rate.max(1);
        let share = rate / (4 * bodies.max(1) as u64);
        Self { rate, piece: (share.max(1)).min(PIECE as u64) as usize, free_at: Mutex::new(None) }
    }

    /// The most that one body may send at once.
    pub fn piece(&self) -> usize {
        self.piece
    }

    /// The time that `bytes` take on this line.
    pub fn time(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.rate as f64)
    }

    /// Takes the next slot for `bytes`: when it begins, or `None` if that is now.
    pub fn take(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = free_at.filter(|at| *at > now);
        *free_at = Some(begin.unwrap_or(now) + self.time(bytes as u64));
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limited_line_carries_no_more_than_its_rate_whoever_sends() {
        let line = Bandwidth::new(1_000_000, 4);
        let start = Instant::now();
        let mut last = start;
        for _ in 0..20 {
            last = line.take(100_000, start).unwrap_or(start);
        }
        assert_eq!(last - start, Duration::from_millis(1_900));
        assert_eq!(line.take(1, start + Duration::from_secs(60)), None, "an idle line saves nothing up");
    }

    #[test]
    fn on_a_slow_line_pieces_are_small_enough_to_keep_every_body_moving() {
        assert_eq!(Bandwidth::new(1_000, 4).piece(), 62);
        assert_eq!(Bandwidth::new(1, 4).piece(), 1);
        assert_eq!(Bandwidth::new(u64::MAX, 4).piece(), PIECE);
    }
}
