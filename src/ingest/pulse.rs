//! What others may know of a dialogue while it goes on: how far it is, and that the daemon is told to be patient.

use crate::env::replies::Replies;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A reply that is due for so long is announced by a dot, and by another each time it has passed again. The daemon's
/// patience (`confirmTimeout`) is 10 s by default.
pub const DOT: Duration = Duration::from_secs(1);

/// What others may know of a dialogue.
pub struct Pulse {
    replies: Mutex<Replies>,
    /// The number of the message that a reply is due for; 0: none is.
    owed: AtomicU64,
    /// What was due when it was last looked at, and since when as far as that is known.
    seen: Mutex<(u64, Instant)>,
    messages: AtomicU64,
    confirmed: AtomicU64,
}

impl Pulse {
    /// Before the dialogue.
    pub fn new(replies: Replies, began: Instant) -> Arc<Self> {
        let (owed, seen) = (AtomicU64::new(0), Mutex::new((0, began)));
        let (messages, confirmed) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { replies: Mutex::new(replies), owed, seen, messages, confirmed })
    }

    /// How many messages have come.
    pub fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// How many of them have got their `OK`, from this process.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Relaxed)
    }

    /// To be called now and then: says that the reply that is due will come.
    pub fn keep_alive(&self, now: Instant) {
        let owed = self.owed.load(Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if owed != seen.0 {
            *seen = (owed, now);
        }
        if owed == 0 || now.duration_since(seen.1) < DOT {
            return;
        }
        // Not after the reply: with that lock, none is sent meanwhile.
        let mut replies = self.lock();
        if self.owed.load(Relaxed) == owed {
            replies.dot();
            seen.1 = now;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Only the thread that speaks counts.

    pub(super) fn begins(&self) {
        self.messages.store(self.messages() + 1, Relaxed);
    }

    pub(super) fn confirms(&self, messages: u64) {
        self.confirmed.store(self.confirmed() + messages, Relaxed);
    }

    /// A reply is due for the message at hand.
    pub(super) fn owe(&self) {
        self.owed.store(self.messages(), Relaxed);
    }

    pub(super) fn owes_nothing(&self) {
        self.owed.store(0, Relaxed);
    }
}
