//! The free space that is never used up: at the floor intake waits, it drops nothing.

use crate::config;
use crate::env::Env;
use crate::error::{Error, Kind};
use crate::format::state::Stage;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Less than this is nothing, in bytes: a page.
const LEAST: u64 = 4096;
/// How long a look at the file system holds good.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches the free space of one directory.
pub struct Reserve {
    env: Env,
    dir: PathBuf,
    /// Bytes; `None`: the default.
    floor: Option<u64>,
    /// What may be written before the next look, in bytes.
    budget: u64,
    looked: Option<Instant>,
    waiting: bool,
}

impl Reserve {
    /// Watches `dir`; `floor` in bytes, or the default.
    pub fn new(env: Env, dir: impl Into<PathBuf>, floor: Option<u64>) -> Self {
        Self { env, dir: dir.into(), floor, budget: 0, looked: None, waiting: false }
    }

    /// How many bytes may be read and written now, up to `most`; 0: none.
    pub fn allows(&mut self, most: u64) -> u64 {
        if self.floor == Some(0) {
            return most;
        }
        let now = self.env.clock.steady();
        if self.looked.is_none_or(|then| now.duration_since(then) >= LOOK_EVERY) {
            self.look(now);
        }
        self.left(most)
    }

    /// The same for who does not want to look at the clock each time: somebody else has to call [`Self::allows`] now and then.
    pub fn left(&mut self, most: u64) -> u64 {
        if self.floor == Some(0) {
            return most;
        }
        if self.budget < most {
            self.look(self.env.clock.steady());
        }
        let some = self.budget >= LEAST;
        self.say(!some);
        if some { self.budget.min(most) } else { 0 }
    }

    /// Notes that `bytes` were written.
    pub fn used(&mut self, bytes: u64) {
        self.budget = self.budget.saturating_sub(bytes);
    }

    fn look(&mut self, now: Instant) {
        self.looked = Some(now);
        self.budget = match self.env.fs.space(&self.dir) {
            Ok(space) => {
                let floor = config::reserve(self.floor, space.total);
                space.free.saturating_sub(floor)
            }
            // What can't be told can't be kept: the write itself will say when the disk is full.
            Err(_) => u64::MAX,
        };
    }

    fn say(&mut self, waiting: bool) {
        if waiting != self.waiting {
            self.waiting = waiting;
            let dir = self.dir.display();
            if waiting {
                tracing::error!(
                    "{dir}: free space is down to --reserve; intake waits and drops nothing; free some space"
                );
                let cause = "free space is down to --reserve; intake waits and drops nothing";
                let e = Error::retry("write in", dir, Kind::Full, cause).mend("free some space");
                self.env.trouble(Stage::Space, &e, LOOK_EVERY);
            } else {
                tracing::info!("{dir}: there is space again; intake goes on");
                self.env.mended(Stage::Space);
            }
        }
    }
}
