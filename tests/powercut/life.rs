//! Lives of the program on a machine in memory, driven step by step in one thread, as the threads of `logjam pipe` would
//! do it: lines in, hours over, sealed, packed, stored, retired.

use super::talk::{self, Daemons, Talk};
use crate::cut::{Machine, Mistake, PowerIsCut, Survivor};
use logjam::archive::ahead::{self, Done, Grown, Sender, What};
use logjam::archive::checkpoint::Checkpoints;
use logjam::archive::follow::{Follower, Following, Growing};
use logjam::archive::rescue::Rescue;
use logjam::archive::{Archive, Codec, Sources, upload};
use logjam::env::Env;
use logjam::env::directory::Directory;
use logjam::env::fs::Fs;
use logjam::env::store::{Body, Store};
use logjam::format::key::Dest;
use logjam::format::layout::{Layout, PRIVATE};
use logjam::format::seal::Ended;
use logjam::spool::session::Session;
use logjam::spool::{self, Hour, Spool, SyncPolicy, seal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const DIR: &str = "/dir";
pub const FAR: &str = "/far";
/// When the first life begins.
pub const BEGIN: &str = "2026-11-22T10:20:00Z";
/// What somebody else has put where the second hour's archive belongs.
pub const FOREIGN: &[u8] = b"somebody else's";

pub const HOUR: Duration = Duration::from_secs(3600);
const KEEP: Duration = Duration::from_secs(600);
/// What is packed at a time, in bytes.
const BLOCK: u64 = 16;
/// Size of a part in a directory, in bytes.
const PART: u64 = 48;
/// How often a life tries to finish what is left.
pub const ROUNDS: u32 = 8;
/// Each line begins with a letter of its own, so that even one byte of it is known.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Where archives go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    /// A bucket that takes objects whole.
    Bucket,
    /// A bucket that takes them in parts.
    Parts,
    /// A directory on the same disk, cut with it.
    Directory,
}

/// How the program is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub far: Far,
    pub codec: Codec,
    /// Whether the input is a pipe that has an identity.
    pub pipe: bool,
    /// Whether a second process writes to the same DIR.
    pub two: bool,
    /// Whether something stands where the second hour's archive belongs.
    pub taken: bool,
    /// Whether the lines come as messages that are confirmed, and how.
    pub talk: Option<Talk>,
}

impl Setup {
    /// The key at which somebody else's object stands.
    pub fn foreign_key(&self) -> Option<String> {
        let key = format!("p/2026/11/22/p-20261122T1100Z-s.log{}", self.codec.ending());
        self.taken.then_some(key)
    }

    fn dest(&self) -> Dest {
        let place = if self.far == Far::Directory { "file:///far" } else { "s3://bucket" };
        Dest::parse(&format!("{place}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}")).unwrap()
    }
}

/// A line that somebody wrote to the program.
#[derive(Clone, Debug)]
pub struct Line {
    pub text: String,
    /// How many of its bytes were handed over, at most.
    pub given: usize,
    /// How many of its bytes are certain: the program had taken and synced them.
    pub sure: usize,
}

/// Everything that was written to the program, in its order.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub lines: Vec<Line>,
    /// Who speaks to it, and what they said.
    pub daemons: Daemons,
}

/// A piece of what is written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    Whole,
    Head,
    Tail,
}
use Piece::{Head, Tail, Whole};

/// What a life does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Everything: partial lines, a restart, the end of an hour, SIGUSR1, a retired archive, more lines in the same hour.
    First,
    /// Some lines and the end of an hour.
    Second,
    /// One line; then all is stored and retired.
    Last,
    /// [`Script::First`], and at its end all is stored and retired.
    Only,
}

/// One life.
pub struct Life<'a> {
    pub machine: &'a Machine,
    ledger: &'a mut Ledger,
    pub archive: Archive,
    store: Arc<dyn Store>,
    dest: Dest,
    pub spool: spool::Settings,
    input: Option<String>,
    pub ended: Arc<Mutex<Vec<(Hour, Ended)>>>,
    pub writers: [Option<Spool>; 2],
    /// The line that each writer is in the middle of.
    begun: [Option<usize>; 2],
    /// Packs behind the first writer, and what it has to send.
    follower: Option<Follower>,
    ahead: Arc<Waiting>,
}

/// What waits to be sent while the hour lasts.
#[derive(Default)]
struct Waiting(Mutex<Vec<What>>);

struct Collect(Arc<Waiting>);

impl Sender for Collect {
    fn grown(&self, grown: Grown) {
        self.0.0.lock().unwrap().push(What::Parts(grown));
    }

    fn checkpoint(&self, key: &str, body: Body) {
        self.0.0.lock().unwrap().push(What::Checkpoint(key.to_owned(), body));
    }
}

/// Runs a life to its end, or up to the cut. An error is a panic of the program.
pub fn live(machine: &Machine, setup: &Setup, ledger: &mut Ledger, script: Script, number: u64) -> Result<(), String> {
    // Tokens of names are random: the same ones in each run.
    fastrand::seed(number);
    let run = AssertUnwindSafe(|| {
        if let Some(talk) = setup.talk {
            let mut daemons = std::mem::take(&mut ledger.daemons);
            // They keep what they know, however this life ends.
            let done = catch_unwind(AssertUnwindSafe(|| {
                talk::live(Life::new(machine, setup, ledger, number), talk, &mut daemons, script)
            }));
            ledger.daemons = daemons;
            return done.unwrap_or_else(|reason| std::panic::resume_unwind(reason));
        }
        let mut life = Life::new(machine, setup, ledger, number);
        match script {
            Script::First => life.first(setup.two).and_then(|()| life.park(0)),
            Script::Second => life.second(),
            Script::Last => life.last(),
            Script::Only => life.first(setup.two).and_then(|()| life.finish()),
        }
    });
    match catch_unwind(run) {
        Ok(_) => Ok(()),
        Err(reason) if reason.is::<PowerIsCut>() => Ok(()),
        Err(reason) => Err(reason.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".into())),
    }
}

/// `None` once the power is cut: nothing after that counts.
pub type On = Option<()>;

impl<'a> Life<'a> {
    pub fn new(machine: &'a Machine, setup: &Setup, ledger: &'a mut Ledger, number: u64) -> Self {
        let env = Env::of(Arc::clone(&machine.clock) as _, Arc::clone(&machine.fs) as Arc<dyn Fs>);
        let sync = if machine.mistake == Mistake::LinesNotSynced { SyncPolicy::Never } else { SyncPolicy::Message };
        let sync = setup.talk.map_or(sync, |talk| talk.sync);
        let store: Arc<dyn Store> = match setup.far {
            Far::Directory => Arc::new(Directory::new(Arc::clone(&env.fs), FAR, PRIVATE).with_parts_of(PART)),
            Far::Bucket | Far::Parts => Arc::clone(&machine.bucket) as _,
        };
        let archive = Archive {
            uploads: true,
            keep: KEEP,
            block: BLOCK,
            // Random otherwise: the same one in each run.
            life: number,
            following: Some(Arc::default()),
            host: "host".into(),
            ..Archive::new(env, Layout::new(DIR), Sources::Sealed, setup.codec)
        };
        Self {
            machine,
            ledger,
            archive,
            store,
            dest: setup.dest(),
            spool: spool::Settings { prefix: "p".into(), suffix: "s".into(), every: HOUR, sync, ids: false },
            // Who is started again by its guard has the pipe of the one before.
            input: setup
                .pipe
                .then(|| format!("pipe-{}", if machine.came.is_some_and(Survivor::is_guarded) { 0 } else { number })),
            ended: Arc::default(),
            writers: [None, None],
            begun: [None, None],
            follower: None,
            ahead: Arc::default(),
        }
    }

    pub fn on(&self) -> On {
        (!self.machine.power.is_cut()).then_some(())
    }

    pub fn start(&mut self, writer: usize) -> On {
        self.start_with(writer, |_| None)
    }

    /// With the session that `session` begins once the directories stand.
    pub fn start_with(&mut self, writer: usize, session: impl FnOnce(&Archive) -> Option<Arc<Session>>) -> On {
        // Whoever runs the program starts it again when it fails.
        for _ in 0..ROUNDS {
            if self.archive.make_dirs().is_ok() {
                break;
            }
            self.on()?;
        }
        let ended = Arc::clone(&self.ended);
        if writer == 0 {
            self.archive.following = Some(Arc::default());
        }
        let following = self.archive.following.clone().filter(|_| writer == 0);
        let (told, codec) = (following.clone(), self.archive.codec);
        let handover = Box::new(move |hour: Hour, why| {
            if let Some(following) = &following {
                following.end(hour.name(), codec);
            }
            ended.lock().unwrap().push((hour, why));
        });
        let (env, layout) = (self.archive.env.clone(), self.archive.layout.clone());
        let input = self.input.as_ref().map(|input| format!("{input}-{writer}"));
        let session = session(&self.archive);
        self.on()?;
        let mut spool = Spool::open(env, layout, self.spool.clone(), input, session, handover).unwrap();
        if let Some(following) = told {
            self.follow(&mut spool, following);
        }
        self.writers[writer] = Some(spool);
        self.on()
    }

    /// As the program does it on a thread of its own.
    fn follow(&mut self, spool: &mut Spool, following: Arc<Following>) {
        following.send_by(Collect(Arc::clone(&self.ahead)));
        let told = Arc::clone(&following);
        spool.tell(Box::new(move |hour| {
            let (file, growth) = (Arc::clone(hour.file()), Arc::clone(hour.growth()));
            told.begin(Growing { name: hour.name().clone(), file, growth, seconds: HOUR.as_secs() });
        }));
        let (archive, dest) = (&self.archive, self.dest.clone());
        let begun = Checkpoints::begin(archive, dest, &self.spool.prefix, &self.spool.suffix, Duration::ZERO);
        let checkpoints = begun.ok();
        self.follower = Some(Follower { archive: archive.clone(), following, checkpoints });
    }

    /// The process leaves, and its handles with it.
    pub fn unfollow(&mut self, writer: usize) {
        if writer == 0 {
            self.follower = None;
            self.archive.following = None;
            self.ahead.0.lock().unwrap().clear();
        }
    }

    /// Packs what has come, and sends what is whole.
    fn pack(&mut self) -> On {
        if let Some(follower) = &mut self.follower {
            while follower.step() {}
        }
        let waiting = std::mem::take(&mut *self.ahead.0.lock().unwrap());
        for what in waiting {
            let sent = ahead::send(&self.archive, &*self.store, &self.dest, what);
            if let Done::Checkpoint(key, body, Err(_)) = RUNTIME.with(|runtime| runtime.block_on(sent)) {
                self.ahead.0.lock().unwrap().push(What::Checkpoint(key, body));
            }
        }
        self.on()
    }

    fn take(&mut self, writer: usize, pieces: &[Piece]) -> On {
        let mut chunk = Vec::new();
        let mut touched = Vec::new();
        for piece in pieces {
            let at = if *piece == Tail { self.begun[writer].take().unwrap() } else { self.new_line() };
            let line = &mut self.ledger.lines[at];
            let to = if *piece == Head { line.text.len() / 2 } else { line.text.len() };
            chunk.extend_from_slice(&line.text.as_bytes()[line.given..to]);
            line.given = to;
            touched.push(at);
            if *piece == Head {
                self.begun[writer] = Some(at);
            }
        }
        if self.machine.mistake == Mistake::KeptBeforeWritten {
            self.sure(&touched);
        }
        self.writers[writer].as_mut().unwrap().take(&chunk);
        self.on()?;
        self.sure(&touched);
        self.pack()
    }

    fn sure(&mut self, touched: &[usize]) {
        for at in touched {
            let line = &mut self.ledger.lines[*at];
            line.sure = line.given;
        }
    }

    fn new_line(&mut self) -> usize {
        let at = self.ledger.lines.len();
        let letter = char::from(LETTERS[at]);
        let text = format!("{letter} line {at} {}\n", "x".repeat(at % 13));
        self.ledger.lines.push(Line { text, given: 0, sure: 0 });
        at
    }

    /// What the archive thread and the uploader do in one round: how much failed.
    fn tidy(&mut self) -> Option<usize> {
        self.tidy_as(None)
    }

    /// `own`: the session of the process that does it.
    pub fn tidy_as(&mut self, own: Option<&str>) -> Option<usize> {
        self.pack()?;
        let archive = &self.archive;
        let (env, layout) = (&archive.env, &archive.layout);
        let mut failed = 0;
        self.ended.lock().unwrap().retain(|(hour, why)| {
            let done = seal::seal(env, layout, hour, *why);
            failed += usize::from(done.is_err());
            done.is_err()
        });
        failed += usize::from(seal::recover(env, layout, &self.spool.prefix, self.spool.every, own, false).is_err());
        let mut offered = Vec::new();
        match archive.pass(|name| offered.extend(name.cloned())) {
            Ok(pass) => failed += pass.failed.len() + pass.busy.len(),
            Err(_) => failed += 1,
        }
        for name in offered {
            let sent = upload::upload(archive, &*self.store, &self.dest, &name);
            failed += usize::from(RUNTIME.with(|runtime| runtime.block_on(sent)).is_err());
        }
        self.on().map(|()| failed)
    }

    fn park(&mut self, writer: usize) -> On {
        self.unfollow(writer);
        // A failure ends the process all the same.
        let _ = self.writers[writer].take().map(|spool| spool.park(false));
        self.on()
    }

    pub fn pass(&self, time: Duration) {
        self.machine.clock.pass(time);
    }

    fn first(&mut self, two: bool) -> On {
        self.start(0)?;
        self.take(0, &[Whole, Head])?;
        if two {
            self.start(1)?;
            self.take(1, &[Whole])?;
        }
        self.take(0, &[Tail, Whole])?;
        self.tidy()?;
        // The same pipe goes on in the middle of a line; without one, a start ends the line that it finds.
        let (before, after): (&[Piece], &[Piece]) =
            if self.input.is_some() { (&[Head], &[Tail, Head]) } else { (&[Whole], &[Head]) };
        self.take(0, before)?;
        self.park(0)?;
        self.start(0)?;
        self.take(0, after)?;
        self.pass(Duration::from_secs(41 * 60));
        self.take(0, &[Tail, Whole])?;
        if two {
            self.take(1, &[Whole])?;
        }
        self.tidy()?;
        self.writers[0].as_mut().unwrap().end_soon(Ended::Signal);
        self.tidy()?;
        self.pass(KEEP);
        self.tidy()?;
        // Its archive is stored and retired; the hour goes on.
        self.take(0, &[Whole])?;
        self.take(0, &[Head])
    }

    fn second(&mut self) -> On {
        self.start(0)?;
        if self.machine.mistake == Mistake::LineRepeated {
            let again =
                self.ledger.lines.iter().rfind(|line| line.sure == line.text.len()).map(|line| line.text.clone());
            self.writers[0].as_mut().unwrap().take(again.unwrap_or_default().as_bytes());
        }
        self.take(0, &[Whole])?;
        self.tidy()?;
        self.take(0, &[Head])?;
        self.pass(HOUR);
        self.take(0, &[Tail, Whole])?;
        self.tidy()?;
        self.park(0)
    }

    fn last(&mut self) -> On {
        self.start(0)?;
        self.take(0, &[Whole])?;
        self.finish()
    }

    /// Until nothing fails any more; then everything's time is over.
    pub fn finish(&mut self) -> On {
        for writer in &mut self.writers {
            if let Some(mut spool) = writer.take() {
                spool.end(Ended::Input);
            }
        }
        for time in [Duration::ZERO, KEEP, 2 * HOUR, HOUR, HOUR] {
            self.pass(time);
            for _ in 0..ROUNDS {
                if self.tidy()? == 0 {
                    break;
                }
            }
        }
        Some(())
    }
}

/// Another host finishes what this one did not, while it is away: how many objects.
pub fn rescue(machine: &Machine, setup: &Setup) -> Result<u64, String> {
    let env = Env::of(Arc::clone(&machine.clock) as _, Arc::clone(&machine.fs) as Arc<dyn Fs>);
    let rescue = Rescue {
        env,
        store: Arc::clone(&machine.bucket) as _,
        place: setup.dest().url(""),
        host: "another".into(),
        signer: None,
        older_than: Duration::ZERO,
        dry_run: false,
    };
    let report = RUNTIME.with(|runtime| runtime.block_on(rescue.run(|_| {})));
    match report {
        Ok(report) if report.failed.is_empty() => Ok(report.saved as u64),
        Ok(report) => Err(format!("the rescue failed: {}", report.failed[0])),
        Err(e) => Err(format!("the rescue failed: {e}")),
    }
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
}
