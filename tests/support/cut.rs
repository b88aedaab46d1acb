//! A machine in memory whose power can be cut: a disk that keeps synced content and synced names apart from what is only
//! in the cache, a bucket that survives everything, and a clock that moves when it is told to. One [`Power`] counts what
//! they do and cuts it, or makes single operations fail.

#![allow(clippy::disallowed_methods, reason = "a clock of its own")]

#[path = "cut/bucket.rs"]
mod bucket;
#[path = "cut/disk.rs"]
mod disk;

pub use bucket::Bucket;
pub use disk::MemFs;

use chrono::{DateTime, TimeDelta, Utc};
use logjam::env::clock::Clock;
use logjam::error::{Error, Result};
use nix::libc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often one life may nap before it counts as stuck.
const MOST_NAPS: u32 = 10_000;

/// What is left of unsynced changes after a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivor {
    /// Everything, but nothing more is durable than before: the process was killed, the machine goes on.
    Killed,
    /// As [`Survivor::Killed`], but its guard lives: it holds what the process shared with it.
    Guarded,
    /// As [`Survivor::Killed`], in the middle of what it wrote to shared memory since its last operation.
    Midway(u64),
    /// The same, with the guard alive.
    GuardedMidway(u64),
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// All names, no content.
    Names,
    /// All content, no names.
    Content,
    /// Each change of a name, and each file's content, by a coin of its own.
    Coin(u64),
    /// All names; of each file's content a beginning.
    Torn(u64),
    /// All names; of each file's content a beginning, as zeros.
    Zeros(u64),
    /// As [`Survivor::Coin`], on a medium that also forgets an earlier name of a file while it keeps a later one.
    Loose(u64),
}

impl Survivor {
    /// Whether the machine goes on.
    pub fn is_kill(self) -> bool {
        self.is_guarded() || matches!(self, Self::Killed | Self::Midway(_))
    }

    pub fn is_guarded(self) -> bool {
        matches!(self, Self::Guarded | Self::GuardedMidway(_))
    }

    pub fn is_midway(self) -> bool {
        matches!(self, Self::Midway(_) | Self::GuardedMidway(_))
    }

    fn seed(self) -> u64 {
        match self {
            Self::Coin(seed) | Self::Torn(seed) | Self::Zeros(seed) | Self::Loose(seed) => seed,
            Self::Midway(seed) | Self::GuardedMidway(seed) => seed,
            _ => 0,
        }
    }
}

/// A deliberate mistake of the program, as the machine would see it. `&str`: the one directory or path it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// None.
    None,
    /// The sync of content below this path is left out.
    ContentNotSynced(&'static str),
    /// The sync of this directory is left out.
    NamesNotSynced(&'static str),
    /// The sync of every directory is left out.
    NoNamesSynced,
    /// A final name takes the place of what stands there.
    LinkOverwrites,
    /// A file that stands is created anew.
    CreateOverwrites,
    /// A name given in this directory is never made.
    LinkLost(&'static str),
    /// The old name goes before the new one is made.
    LinkMoves(&'static str),
    /// Whoever asks for a lock gets it.
    LockAlwaysGranted,
    /// A look at this directory finds nothing.
    NotSeen(&'static str),
    /// The name of what is removed here stays.
    NotRemoved(&'static str),
    /// An object takes the place of what stands at its key.
    StoreOverwrites,
    /// An object is acknowledged and not kept.
    StoreForgets,
    /// An object is cut short.
    StoreTruncates,
    /// Whatever stands at a key counts as the same content.
    StoreSaysSame,
    /// The lines are not synced before the next read.
    LinesNotSynced,
    /// Lines count as kept before they are written.
    KeptBeforeWritten,
    /// A line that was already kept is written again by the next life.
    LineRepeated,
    /// The end of every file looks like the end of a line.
    TornTakenForWhole,
    /// These words of the shared memory do not outlive a process.
    SlateLoses(usize, usize),
    /// A message is confirmed before it is kept.
    OkBeforeKept,
    /// A transaction is confirmed before it is made durable.
    OkBeforeCommit,
    /// Who takes over replies once more.
    ReplyRepeated,
    /// Who takes over takes the reply for sent.
    ReplyForgotten,
    /// A message that is equal to the one before it counts as kept.
    EqualDropped,
    /// The guard does not hold the lock of the session.
    LockNotLeft,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `EIO`.
    Broken,
    /// `ENOSPC`.
    Full,
    /// The far end did it, and the answer got lost; on the disk as [`Failure::Broken`].
    AnswerLost,
}

/// Operations that fail although the power stays on: `count` of them, from the `first`th on.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub first: u64,
    pub count: u64,
    pub how: Failure,
}

#[derive(Default)]
struct Meter {
    calls: u64,
    steps: u64,
    cut_at: Option<u64>,
    cut: bool,
    after: u64,
    fault: Option<Fault>,
    trace: Option<Vec<String>>,
}

/// Counts operations; cuts them off, or makes some fail.
#[derive(Default)]
pub struct Power(Mutex<Meter>);

/// What unwinds a life that can only wait after the cut.
pub struct PowerIsCut;

impl Power {
    /// Cut before the `step`th change (from 0).
    pub fn cut_at(step: Option<u64>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Meter { cut_at: step, ..Meter::default() })))
    }

    /// Always on, but with a fault.
    pub fn with_fault(fault: Fault) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Meter { fault: Some(fault), ..Meter::default() })))
    }

    /// Keeps a list of all changes from now on.
    pub fn traced(self: Arc<Self>) -> Arc<Self> {
        self.0.lock().unwrap().trace = Some(Vec::new());
        self
    }

    pub fn trace(&self) -> Vec<String> {
        self.0.lock().unwrap().trace.clone().unwrap_or_default()
    }

    pub fn is_cut(&self) -> bool {
        self.0.lock().unwrap().cut
    }

    /// Whether the next change is cut off.
    fn is_last(&self) -> bool {
        let meter = self.0.lock().unwrap();
        meter.cut_at == Some(meter.steps)
    }

    /// Changes so far: writes, names, syncs, what the far end was told.
    pub fn steps(&self) -> u64 {
        self.0.lock().unwrap().steps
    }

    /// Operations so far, those that change nothing included.
    pub fn calls(&self) -> u64 {
        self.0.lock().unwrap().calls
    }

    /// How many operations were tried after the cut.
    pub fn after(&self) -> u64 {
        self.0.lock().unwrap().after
    }

    /// Counts one operation: whether it fails.
    fn count(&self, op: &'static str, subject: &str, changes: bool) -> Option<Failure> {
        let mut meter = self.0.lock().unwrap();
        if changes && meter.cut_at.is_some_and(|at| meter.steps >= at) {
            meter.cut = true;
        }
        if meter.cut {
            meter.after += 1;
            return Some(Failure::Broken);
        }
        let call = meter.calls;
        meter.calls += 1;
        meter.steps += u64::from(changes);
        let failure =
            meter.fault.filter(|fault| (fault.first..fault.first + fault.count).contains(&call)).map(|fault| fault.how);
        if changes || failure.is_some() {
            let step = meter.steps;
            if let Some(trace) = &mut meter.trace {
                let mark = failure.map_or(String::new(), |how| format!(" FAILS: {how:?}"));
                trace.push(format!("{step}: {op} {subject}{mark}"));
            }
        }
        failure
    }

    /// An operation on the disk.
    fn disk(&self, op: &'static str, subject: &str, changes: bool) -> Result<()> {
        let number = match self.count(op, subject, changes) {
            None => return Ok(()),
            Some(Failure::Full) => libc::ENOSPC,
            Some(_) => libc::EIO,
        };
        Err(refused(op, subject, number))
    }
}

fn refused(op: &'static str, subject: &str, number: i32) -> Error {
    Error::io(op, subject, &std::io::Error::from_raw_os_error(number))
}

/// A clock that moves when it is told to, or when somebody naps.
pub struct Manual {
    time: Mutex<(DateTime<Utc>, Instant)>,
    naps: Mutex<u32>,
    power: Arc<Power>,
}

impl Manual {
    fn new(now: DateTime<Utc>, power: Arc<Power>) -> Arc<Self> {
        Arc::new(Self { time: Mutex::new((now, Instant::now())), naps: Mutex::new(0), power })
    }

    pub fn pass(&self, time: Duration) {
        let mut now = self.time.lock().unwrap();
        now.0 += TimeDelta::from_std(time).unwrap();
        now.1 += time;
    }
}

impl Manual {
    /// Somebody sets the clock back.
    pub fn set_back(&self, time: Duration) {
        self.time.lock().unwrap().0 -= TimeDelta::from_std(time).unwrap();
    }
}

impl Clock for Manual {
    fn now(&self) -> DateTime<Utc> {
        self.time.lock().unwrap().0
    }

    fn steady(&self) -> Instant {
        self.time.lock().unwrap().1
    }

    fn nap(&self, time: Duration) {
        if self.power.is_cut() {
            std::panic::resume_unwind(Box::new(PowerIsCut));
        }
        let mut naps = self.naps.lock().unwrap();
        *naps += 1;
        assert!(*naps < MOST_NAPS, "it naps for ever");
        drop(naps);
        self.pass(time);
    }
}

/// The machine and its far end.
pub struct Machine {
    pub power: Arc<Power>,
    pub clock: Arc<Manual>,
    pub fs: Arc<MemFs>,
    pub bucket: Arc<Bucket>,
    pub mistake: Mistake,
    /// How the life before ended.
    pub came: Option<Survivor>,
}

impl Machine {
    /// With these directories on its disk, and nothing else. `parts`: the bucket takes objects in parts.
    pub fn new(now: &str, dirs: &[&str], parts: bool, power: Arc<Power>, mistake: Mistake) -> Self {
        let clock = Manual::new(now.parse().unwrap(), Arc::clone(&power));
        Self {
            fs: MemFs::new(dirs, Arc::clone(&power), Arc::clone(&clock), mistake),
            bucket: Bucket::new(parts, Arc::clone(&power), Arc::clone(&clock), mistake),
            clock,
            power,
            mistake,
            came: None,
        }
    }

    /// The machine after a stop: a while later, nobody holds a lock, the bucket is as it was.
    pub fn after(&self, how: Survivor, outage: Duration, power: Arc<Power>) -> Self {
        let now = self.clock.now() + TimeDelta::from_std(outage).unwrap();
        let clock = Manual::new(now, Arc::clone(&power));
        Self {
            fs: self.fs.after(how, Arc::clone(&power), Arc::clone(&clock)),
            bucket: self.bucket.after(Arc::clone(&power), Arc::clone(&clock)),
            clock,
            power,
            mistake: self.mistake,
            came: Some(how),
        }
    }
}
