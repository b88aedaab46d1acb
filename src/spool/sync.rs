//! When content is forced to the disk. Group commit: a thread of its own makes everything durable that was written
//! before it began, so that the intake never waits for the disk.

use crate::env::Env;
use crate::env::fs::File;
use crate::env::growth::Growth;
use crate::error::{Error, Kind, Result};
use crate::format::layout::Layout;
use crate::format::state::Stage;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The share of the allowed time that passes before a sync begins; the rest is for the sync itself.
const SHARE: f64 = 0.75;

/// When lines are forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before the next one is read.
    Message,
    /// Before a transaction counts as committed.
    Commit,
    /// At most that long after they came.
    Within(Duration),
    /// When their file ends.
    Never,
}

/// An hour file, and the list of identities that is synced before it.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub file: &'a Arc<dyn File>,
    pub list: Option<&'a Arc<dyn File>>,
    pub growth: &'a Arc<Growth>,
}

impl Written<'_> {
    fn is(self, other: Self) -> bool {
        let same = match (self.list, other.list) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        same && Arc::ptr_eq(self.file, other.file)
    }
}

/// The same, to be kept.
struct Dirty {
    file: Arc<dyn File>,
    list: Option<Arc<dyn File>>,
    growth: Arc<Growth>,
}

impl Dirty {
    fn of(what: Written<'_>) -> Self {
        Self { file: Arc::clone(what.file), list: what.list.cloned(), growth: Arc::clone(what.growth) }
    }

    fn what(&self) -> Written<'_> {
        Written { file: &self.file, list: self.list.as_ref(), growth: &self.growth }
    }
}

#[derive(Default)]
struct State {
    /// Written to since their last sync: the current file, and perhaps the one before it.
    dirty: Vec<Dirty>,
    /// The file that is written to; `None`: it was handed over.
    current: Option<Weak<dyn File>>,
    /// The file whose sync failed: what the kernel did with its content is not known any more.
    failed: Option<Arc<dyn File>>,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Whether there is a failed file: asked before each line.
    failed: AtomicBool,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_failed(&self, file: Option<Arc<dyn File>>) {
        let mut state = self.lock();
        self.failed.store(file.is_some(), Relaxed);
        state.failed = file;
    }
}

/// Applies a [`SyncPolicy`] to what the spool writes.
pub(super) struct Syncer {
    policy: SyncPolicy,
    env: Env,
    layout: Layout,
    /// The file whose name is known to be durable.
    named: Option<Weak<dyn File>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(policy: SyncPolicy, env: &Env, layout: &Layout) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = match policy {
            SyncPolicy::Within(interval) => {
                let (shared, env, layout) = (Arc::clone(&shared), env.clone(), layout.clone());
                let run = move || run(&shared, &env, &layout, interval);
                let thread = std::thread::Builder::new().name("sync".into()).stack_size(256 << 10).spawn(run);
                Some(thread.map_err(|e| Error::io("start", "the sync thread", &e))?)
            }
            _ => None,
        };
        Ok(Self { policy, env: env.clone(), layout: layout.clone(), named: None, shared, thread })
    }

    /// To be called after each write. A failed sync is told by [`Self::failed`]: the content is written, and to write it
    /// again would double it.
    pub(super) fn written(&mut self, what: Written<'_>) {
        match self.policy {
            SyncPolicy::Never | SyncPolicy::Commit => {}
            SyncPolicy::Within(_) => {
                let mut state = self.shared.lock();
                if !state.dirty.last().is_some_and(|last| last.what().is(what)) {
                    state.dirty.push(Dirty::of(what));
                    state.current = Some(Arc::downgrade(what.file));
                    self.shared.wake.notify_one();
                }
            }
            SyncPolicy::Message => {
                if !is_well(&self.env, &force(&self.env, &self.layout, what, &mut self.named)) {
                    self.shared.set_failed(Some(Arc::clone(what.file)));
                }
            }
        }
    }

    /// Makes a file durable now.
    pub(super) fn force(&mut self, what: Written<'_>) -> Result<()> {
        force(&self.env, &self.layout, what, &mut self.named)
    }

    /// Whether a sync of this file failed: nothing more should be written to it.
    pub(super) fn failed(&self, file: &Arc<dyn File>) -> bool {
        self.policy != SyncPolicy::Never
            && self.shared.failed.load(Relaxed)
            && self.shared.lock().failed.as_ref().is_some_and(|failed| Arc::ptr_eq(failed, file))
    }

    /// The current file is handed over. Its end makes it durable, or the sync that is due, whichever comes first.
    pub(super) fn forget(&mut self) {
        self.shared.set_failed(None);
        self.shared.lock().current = None;
        self.named = None;
    }

    pub(super) fn stop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A sync that hangs must not keep the program from leaving: what it holds is the kernel's by now.
            drop(thread);
        }
    }
}

fn run(shared: &Shared, env: &Env, layout: &Layout, interval: Duration) {
    let mut named: Option<Weak<dyn File>> = None;
    loop {
        let mut state = shared.lock();
        while state.dirty.is_empty() && !state.stop {
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stop {
            return;
        }
        drop(state);
        env.clock.nap(interval.mul_f64(SHARE));
        let files = std::mem::take(&mut shared.lock().dirty);
        for dirty in files {
            let done = force(env, layout, dirty.what(), &mut named);
            // One that was handed over is packed and gone by now: that made its lines durable.
            let gone = done.as_ref().is_err_and(|e| e.kind == Kind::NotFound);
            let is_current =
                |state: &State| state.current.as_ref().is_some_and(|c| c.ptr_eq(&Arc::downgrade(&dirty.file)));
            if gone && !is_current(&shared.lock()) {
                continue;
            }
            if !is_well(env, &done) {
                shared.set_failed(Some(dirty.file));
            }
        }
    }
}

/// Whether a sync succeeded. A failure is said here, once: the kernel may have dropped what it could not write, so that a
/// second try proves nothing.
fn is_well(env: &Env, done: &Result<()>) -> bool {
    match done {
        Ok(()) => env.mended(Stage::Sync),
        Err(e) => {
            tracing::error!("{e}; what came since the last sync may be lost in a power cut; another file is begun");
            env.trouble(Stage::Sync, e, Duration::ZERO);
        }
    }
    done.is_ok()
}

/// Syncs content, and the name unless `named` says it is durable.
fn force(env: &Env, layout: &Layout, what: Written<'_>, named: &mut Option<Weak<dyn File>>) -> Result<()> {
    // In this order: a line that is there is known to be, and what is known but not there is cut off by recovery.
    what.list.map_or(Ok(()), |list| list.sync())?;
    if !what.file.is_linked()? {
        let dir = layout.dir().display();
        return Err(Error::stop("sync", format!("the open file in {dir}"), Kind::NotFound, "somebody removed it"));
    }
    let len = what.file.len().unwrap_or(0);
    what.file.sync()?;
    if !named.as_ref().is_some_and(|n| n.ptr_eq(&Arc::downgrade(what.file))) {
        env.fs.sync_dir(layout.dir())?;
        *named = Some(Arc::downgrade(what.file));
    }
    env.watch.synced_bytes.add(what.growth.made_durable(len));
    Ok(())
}
