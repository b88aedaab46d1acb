//! Writes down what a process is and what troubles it has, for who looks at DIR. On a thread of its own, and only when something
//! has changed: nobody waits for it, and nothing depends on it. It is not synced: it tells of a moment.

use crate::env::fs::{File, Fs, append_all, open_or_create, read_whole};
use crate::env::{Env, alive};
use crate::error::{Error, Kind, Result};
use crate::format::layout::Layout;
use crate::format::state::State;
use chrono::SubsecRound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// How many processes of a kind, on one stream, are told apart.
const SLOTS: u32 = 64;
/// The shortest time between two writes.
const PAUSE: Duration = Duration::from_secs(1);
/// How soon it is tried again where that failed.
const RETRY: Duration = Duration::from_secs(10);
/// The room on the disk that is kept for the next write, in bytes.
const ROOM: u64 = 4096;
/// How long the end of a process waits for the last one.
const LAST: Duration = Duration::from_millis(200);

/// Writes as long as it is held; a clean end is written down when it is dropped.
pub struct Keeper {
    env: Env,
    done: Receiver<()>,
}

impl Keeper {
    /// Begins. `state` is this process without its troubles.
    ///
    /// # Errors
    /// Only if there can be no thread.
    pub fn start(env: &Env, layout: &Layout, state: State) -> Result<Self> {
        env.watch.begin();
        let (tell, done) = sync_channel(1);
        let (env, layout) = (env.clone(), layout.clone());
        let mut writer = Writer { env: env.clone(), layout, state, seat: None, known: None };
        let run = move || {
            writer.run();
            // The seat is free then.
            drop(writer);
            let _ = tell.send(());
        };
        let thread = std::thread::Builder::new().name("state".into()).stack_size(256 << 10).spawn(run);
        thread.map(|_| Self { env, done }).map_err(|e| Error::io("start", "the state thread", &e))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.env.watch.leave();
        let _ = self.done.recv_timeout(LAST);
    }
}

struct Writer {
    env: Env,
    layout: Layout,
    state: State,
    seat: Option<Seat>,
    /// The change that is written down; `None`: nothing is, or it did not succeed.
    known: Option<u64>,
}

/// Where it is written. The open file shows that this process lives.
struct Seat {
    life: PathBuf,
    _shown: Arc<dyn File>,
}

impl Writer {
    fn run(&mut self) {
        let mut said = String::new();
        loop {
            let mut news = self.env.watch.wait(self.known);
            let done = self.sit_down().and_then(|life| {
                // Now with what an earlier life has left there.
                news = self.env.watch.wait(None);
                self.state.confined = news.confined.take();
                self.state.troubles = std::mem::take(&mut news.troubles);
                self.state.ended = news.leaving.then(|| self.env.clock.now().trunc_subsecs(0));
                write(&*self.env.fs, &life, &self.state.bytes(), !news.leaving)
            });
            if news.leaving {
                return;
            }
            self.known = done.is_ok().then_some(news.number);
            let pause = match done {
                Ok(()) => PAUSE,
                Err(e) => {
                    if e.kind == Kind::NotFound {
                        // Somebody emptied DIR.
                        self.seat = None;
                    }
                    if said != e.to_string() {
                        said = e.to_string();
                        tracing::debug!("{e}; `logjam status` does not see this process meanwhile");
                    }
                    RETRY
                }
            };
            self.env.watch.rest(pause);
        }
    }

    /// Takes the first seat that is free, and what the one who sat there had to say.
    fn sit_down(&mut self) -> Result<PathBuf> {
        let fs = &*self.env.fs;
        if let Some(seat) = &self.seat {
            return Ok(seat.life.clone());
        }
        fs.make_dir(&self.layout.private())?;
        fs.make_dir(&self.layout.states())?;
        for slot in 0..SLOTS {
            let life = self.layout.life(&self.state.command, self.state.stream(), slot);
            let file = open_or_create(fs, &life)?;
            // Somebody may have cleared it away meanwhile.
            if alive::show(&*file) && fs.stat(&life)?.is_some_and(|entry| file.id().is_ok_and(|id| id == entry.id)) {
                match read_whole(fs, &Layout::state(&life)) {
                    Ok(data) => self.env.watch.inherit(State::parse(&data).map_or(Vec::new(), |old| old.troubles)),
                    Err(e) if e.kind == Kind::NotFound => {}
                    Err(e) => return Err(e),
                }
                self.clear_behind(slot)?;
                self.seat = Some(Seat { life: life.clone(), _shown: file });
                return Ok(life);
            }
        }
        Err(Error::retry("show", "that this process lives", Kind::Busy, format!("{SLOTS} others like it do so")))
    }

    /// Takes away what the dead have left in the seats behind: nobody comes to mend what they met.
    fn clear_behind(&self, taken: u32) -> Result<()> {
        let fs = &*self.env.fs;
        for slot in taken + 1..SLOTS {
            let life = self.layout.life(&self.state.command, self.state.stream(), slot);
            let file = match fs.open(&life) {
                Err(e) if e.kind == Kind::NotFound => continue,
                opened => opened?,
            };
            if alive::show(&*file) {
                fs.remove(&Layout::state(&life))?;
                fs.remove(&life)?;
            }
        }
        Ok(())
    }
}

/// Writes it down. `goes_on`: has room ready for the next time, which may be when the disk is full.
fn write(fs: &dyn Fs, life: &Path, data: &[u8], goes_on: bool) -> Result<()> {
    let draft = Layout::state_draft(life);
    let file = match fs.open(&draft) {
        Ok(file) if file.is_empty()? => file,
        Err(e) if e.kind == Kind::NotFound => fs.create(&draft)?,
        _ => {
            fs.remove(&draft)?;
            fs.create(&draft)?
        }
    };
    append_all(&*file, data).and_then(|()| fs.rename(&draft, &Layout::state(life))).inspect_err(|_| {
        let _ = fs.remove(&draft);
    })?;
    if goes_on {
        let room = (2 * data.len() as u64).max(ROOM);
        // Without it, a full disk is told when it is full no more.
        let _ = fs.create(&draft).and_then(|file| file.allocate(room));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::state::Stage;

    fn keep(env: &Env, layout: &Layout) -> Keeper {
        Keeper::start(env, layout, State::begun("upload", std::process::id(), env.clock.now())).unwrap()
    }

    /// Waits for a state that is as it should be.
    fn until(layout: &Layout, slot: u32, ready: impl Fn(&State) -> bool) -> State {
        let path = Layout::state(&layout.life("upload", None, slot));
        for _ in 0..2000 {
            let state = read_whole(&*Env::real().fs, &path).ok().and_then(|data| State::parse(&data));
            if let Some(state) = state.filter(&ready) {
                return state;
            }
            Env::real().clock.nap(Duration::from_millis(10));
        }
        panic!("waited in vain for {}", path.display());
    }

    #[test]
    fn a_trouble_is_written_down_and_taken_over_and_cleared_by_who_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let env = Env::real();
        let keeper = keep(&env, &layout);
        until(&layout, 0, |state| state.troubles.is_empty());
        env.trouble(Stage::Upload, &Error::retry("put", "x", Kind::Unreachable, "away"), Duration::from_secs(60));
        drop(keeper);
        let left = until(&layout, 0, |state| state.ended.is_some());
        assert_eq!((left.troubles[0].stage, &*left.troubles[0].error), (Stage::Upload, "put x: away"));
        // Another life, beside one that goes on.
        let env = Env::real();
        let _other = keep(&env, &layout);
        let again = until(&layout, 0, |state| state.ended.is_none());
        assert_eq!(again.troubles, left.troubles);
        let beside = Env::real();
        let _beside = keep(&beside, &layout);
        until(&layout, 1, |state| state.ended.is_none() && state.troubles.is_empty());
        env.mended(Stage::Upload);
        until(&layout, 0, |state| state.troubles.is_empty());
    }

    #[test]
    fn a_place_that_cannot_be_written_to_holds_up_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("not-there"));
        let env = Env::real();
        let keeper = keep(&env, &layout);
        env.trouble(Stage::Pack, &Error::retry("pack", "x", Kind::Full, "full"), RETRY);
        drop(keeper);
        assert!(env.fs.stat(layout.dir()).unwrap().is_none());
    }
}
