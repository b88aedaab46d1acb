//! The hour file that grows is packed behind its writer, block by block, on a thread of its own at low priority. At its end
//! little is left to do. The parts that are whole go to the far end meanwhile, and so does a checkpoint now and then. The
//! writer knows nothing of all this and waits for nobody.

use super::ahead::{Grown, Sender};
use super::checkpoint::Checkpoints;
use super::packing::Packing;
use super::{Archive, Codec};
use crate::env::fs::File;
use crate::env::growth::Growth;
use crate::env::threads;
use crate::error::{Error, Kind, Result};
use crate::format::name::LogName;
use crate::format::state::Stage;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether the hour file has grown by a block.
const LOOK: Duration = Duration::from_millis(250);
/// How long a failure is waited out. Whatever it is, the end of the hour tries again.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How many archives in the making wait in memory for the end of their hour.
const MOST_ENDED: usize = 4;
/// How long the thread keeps out of the way of somebody who wants what it has.
const ASIDE: Duration = Duration::from_millis(1);

/// An hour file that its writer has begun, or goes on with.
#[derive(Clone)]
pub struct Growing {
    /// Its name.
    pub name: LogName,
    /// The file.
    pub file: Arc<dyn File>,
    /// What its writer says of it.
    pub growth: Arc<Growth>,
    /// Length of its period in seconds.
    pub seconds: u64,
}

/// What is followed, shared between the thread and those who begin and end it.
#[derive(Default)]
pub struct Following {
    /// Held for a moment only: the writer sets it.
    growing: Mutex<Option<Growing>>,
    begun: Condvar,
    /// Held while a block is packed.
    state: Mutex<State>,
    /// How many wait for that.
    wanted: AtomicUsize,
    sender: OnceLock<Box<dyn Sender>>,
}

#[derive(Default)]
struct State {
    /// The archive in the making, and the hour file that it is made of.
    packing: Option<(LogName, Packing)>,
    /// Archives in the making whose hour has ended, by their names.
    ended: BTreeMap<LogName, Packing>,
    /// Not before.
    due: Option<Instant>,
}

impl State {
    /// Nothing more is packed behind the writer; what is packed is kept for the end of the hour.
    fn put_aside(&mut self, codec: Codec) {
        if let Some((hour, packing)) = self.packing.take() {
            self.ended.insert(hour.with_ending(codec.ending()), packing);
        }
        while self.ended.len() > MOST_ENDED {
            // It is gone on with from the disk.
            self.ended.pop_first();
        }
    }
}

impl Following {
    fn growing(&self) -> MutexGuard<'_, Option<Growing>> {
        self.growing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, before the thread takes its next block.
    fn wanted(&self) -> MutexGuard<'_, State> {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let state = self.state();
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Who sends what is packed.
    pub fn send_by(&self, sender: impl Sender + 'static) {
        let _ = self.sender.set(Box::new(sender));
    }

    /// The hour file to follow from now on. Does not wait for what is being packed.
    pub fn begin(&self, growing: Growing) {
        *self.growing() = Some(growing);
        self.begun.notify_one();
    }

    /// Its hour has ended: it is not followed any more once this returns. To be called before its lock goes.
    pub fn end(&self, hour: &LogName, codec: Codec) {
        self.growing().take_if(|growing| growing.name == *hour);
        let mut state = self.wanted();
        if state.packing.as_ref().is_some_and(|(name, _)| name == hour) {
            state.put_aside(codec);
        }
    }

    /// What was packed of an hour that has ended.
    pub fn take(&self, packed: &LogName) -> Option<Packing> {
        self.wanted().ended.remove(packed)
    }

    /// Lets go of everything: this process leaves.
    pub fn leave(&self) {
        *self.growing() = None;
        *self.wanted() = State::default();
    }

    /// Waits until there is something to follow.
    fn wait(&self) {
        let none = |growing: &mut Option<Growing>| growing.is_none();
        drop(self.begun.wait_while(self.growing(), none).unwrap_or_else(PoisonError::into_inner));
    }
}

/// Starts the thread. It ends when the program leaves.
pub fn start(archive: Archive, following: Arc<Following>, checkpoints: Option<Checkpoints>) -> Result<()> {
    let run = move || {
        threads::lower_priority();
        let mut follower = Follower { archive, following, checkpoints };
        while !follower.archive.leaving.load(Ordering::Relaxed) {
            follower.following.wait();
            let busy = follower.step();
            let wanted = follower.following.wanted.load(Ordering::Relaxed) > 0;
            match (wanted, busy) {
                (true, _) => follower.archive.env.clock.nap(ASIDE),
                (false, true) => {}
                (false, false) => follower.archive.env.clock.nap(LOOK),
            }
        }
    };
    let thread = std::thread::Builder::new().name("pack".into()).spawn(run);
    thread.map(|_| ()).map_err(|e| Error::io("start", "the packing thread", &e))
}

/// The thread's own side. A test may drive it step by step.
pub struct Follower {
    /// The archive it packs for.
    pub archive: Archive,
    /// What it follows.
    pub following: Arc<Following>,
    /// What it writes for other hosts.
    pub checkpoints: Option<Checkpoints>,
}

impl Follower {
    /// Packs what is due, at most a few blocks. Whether there may be more.
    pub fn step(&mut self) -> bool {
        let following = Arc::clone(&self.following);
        let mut state = following.state();
        // Under the lock: who ends an hour waits for it.
        let growing = following.growing().clone().filter(|growing| !growing.growth.is_over());
        if state.packing.as_ref().is_some_and(|(name, _)| growing.as_ref().is_none_or(|growing| growing.name != *name))
        {
            state.put_aside(self.archive.codec);
            state.due = None;
        }
        let Some(growing) = growing else {
            // Its writer has let go of it without a word: somebody else may have it by now.
            following.growing().take_if(|growing| growing.growth.is_over());
            return false;
        };
        let now = self.archive.env.clock.steady();
        let pressed = self.archive.pressed.load(Ordering::Relaxed);
        if pressed || state.due.is_some_and(|due| due > now) {
            return false;
        }
        match self.work(&mut state, &growing) {
            Ok(more) => {
                self.archive.env.mended(Stage::Ahead);
                more
            }
            Err(e) => {
                if e.kind != Kind::Busy {
                    self.archive.env.trouble(Stage::Ahead, &e, AFTER_FAILURE);
                    tracing::warn!("{e}; what is left to pack is packed at the end of the hour, if not before");
                }
                // What is on the disk is compared when it is gone on with.
                state.packing = None;
                state.due = Some(now + AFTER_FAILURE);
                false
            }
        }
    }

    fn work(&mut self, state: &mut State, growing: &Growing) -> Result<bool> {
        let archive = &self.archive;
        let checkpoint = self.checkpoints.as_mut().is_some_and(|checkpoints| checkpoints.is_due(archive, growing));
        let settled = growing.growth.settled();
        if state.packing.is_none() && settled < archive.block && !checkpoint {
            return Ok(false);
        }
        let packing = match &mut state.packing {
            Some((_, packing)) => packing,
            none => {
                let packed = growing.name.with_ending(archive.codec.ending());
                let packing = Packing::open(archive, &packed, &*growing.file, settled, &archive.leaving)?;
                &mut none.insert((growing.name.clone(), packing)).1
            }
        };
        let more = packing.advance(&*growing.file, settled, archive.threads)?.is_continue();
        let Some(sender) = self.following.sender.get() else { return Ok(more) };
        if more {
            let name = growing.name.with_ending(archive.codec.ending());
            let (work, source) = (Arc::clone(packing.work()), Arc::clone(&growing.file));
            sender.grown(Grown { name, work, source, len: packing.packed() });
        }
        let reach = settled.min(packing.plain() + archive.block - 1);
        if let Some(checkpoints) =
            self.checkpoints.as_mut().filter(|checkpoints| checkpoint && checkpoints.is_reached(reach))
        {
            match checkpoints.write(archive, growing, packing, settled) {
                Ok(Some((key, body))) => sender.checkpoint(&key, body),
                Ok(None) => {}
                Err(e) => tracing::warn!("{e}; the next checkpoint is tried in its time"),
            }
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Sources;
    use crate::env::Env;
    use crate::env::fs::append_all;
    use crate::env::store::Body;
    use crate::format::layout::Layout;

    const CODEC: Codec = Codec::Gzip(6);
    const BLOCK: u64 = 16;

    /// Whoever sends the parts: it keeps what it sends open.
    struct Keep(Arc<Mutex<Vec<Grown>>>);

    impl Sender for Keep {
        fn grown(&self, grown: Grown) {
            self.0.lock().unwrap().push(grown);
        }

        fn checkpoint(&self, _: &str, _: Body) {}
    }

    fn growing(archive: &Archive, name: &str, text: &[u8]) -> Growing {
        let name = LogName::parse(name).unwrap();
        let file = archive.env.fs.create(&archive.layout.hour(&name)).unwrap();
        append_all(&*file, text).unwrap();
        let growth = Arc::<Growth>::default();
        growth.settle(text.len() as u64);
        Growing { name, file, growth, seconds: 3600 }
    }

    fn followed(dir: &std::path::Path) -> (Follower, Growing) {
        let following = Arc::<Following>::default();
        let mut archive = Archive::new(Env::real(), Layout::new(dir), Sources::Sealed, CODEC);
        (archive.block, archive.following) = (BLOCK, Some(Arc::clone(&following)));
        archive.make_dirs().unwrap();
        let one = growing(&archive, "syslog-20261128T0600Z-x.log", &[b'x'; 2 * BLOCK as usize + 5]);
        following.begin(one.clone());
        let mut follower = Follower { archive, following, checkpoints: None };
        while follower.step() {}
        (follower, one)
    }

    #[test]
    fn what_is_packed_of_an_hour_is_kept_for_its_end_when_the_next_hour_begins_before_that_is_heard_of() {
        let dir = tempfile::tempdir().unwrap();
        let (mut follower, one) = followed(dir.path());
        let other = growing(&follower.archive, "syslog-20261128T0700Z-x.log", &[b'y'; BLOCK as usize]);
        follower.following.begin(other.clone());
        while follower.step() {}
        follower.following.end(&one.name, CODEC);
        let packing = follower.following.take(&one.name.with_ending(CODEC.ending())).unwrap();
        assert_eq!(packing.plain(), 2 * BLOCK);
        follower.following.end(&other.name, CODEC);
        let packing = follower.following.take(&other.name.with_ending(CODEC.ending())).unwrap();
        assert_eq!(packing.plain(), BLOCK);
    }

    #[test]
    fn an_hour_that_ends_before_it_is_looked_at_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut follower, one) = followed(dir.path());
        let other = growing(&follower.archive, "syslog-20261128T0700Z-x.log", &[b'y'; BLOCK as usize]);
        follower.following.end(&one.name, CODEC);
        follower.following.begin(other.clone());
        follower.following.end(&other.name, CODEC);
        assert!(!follower.step());
        assert!(follower.following.take(&other.name.with_ending(CODEC.ending())).is_none());
    }

    #[test]
    fn what_is_let_go_can_be_packed_by_others_while_its_parts_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let (mut follower, one) = followed(dir.path());
        let kept = Arc::default();
        follower.following.send_by(Keep(Arc::clone(&kept)));
        one.growth.settle(2 * BLOCK + 5);
        append_all(&*one.file, &[b'z'; BLOCK as usize]).unwrap();
        one.growth.settle(3 * BLOCK + 5);
        while follower.step() {}
        assert_eq!(kept.lock().unwrap().len(), 1);
        let open = |archive: &Archive| {
            let packed = one.name.with_ending(CODEC.ending());
            Packing::open(archive, &packed, &*one.file, 3 * BLOCK + 5, &archive.leaving).map(|packing| packing.plain())
        };
        assert!(open(&follower.archive).is_err_and(|e| e.kind == Kind::Busy));
        follower.following.leave();
        assert_eq!(open(&follower.archive).unwrap(), 3 * BLOCK);
    }
}
