//! Random stories of a daemon that wants its messages confirmed, told by the real dialogue over real pipes, on a disk in
//! memory: messages and transactions as they come, deaths of the worker and of its guard at any operation, power cuts, a full
//! disk, hours that end, a clock that steps back. Beside it a plain list of what was said. In the end what is stored is that list.
//!
//! `LOGJAM_MODEL_RUNS`: how many stories (a number), `LOGJAM_MODEL_SEED`: the first of them. A story that fails says its seed.

use crate::cut::{Machine, Manual, MemFs, Mistake, Power, PowerIsCut, Survivor};
use crate::powercut::check::{self, Leave};
use crate::powercut::life::{BEGIN, DIR, Far, Ledger, Life, Setup};
use crate::powercut::talk::{self, Daemon, Item, Reply, Talk};
use fastrand::Rng;
use logjam::archive::Codec;
use logjam::env::fs::File;
use logjam::env::input::Input;
use logjam::env::record::Record;
use logjam::env::replies::{Replies, Tokens};
use logjam::env::slate::Buffer;
use logjam::error::Result;
use logjam::format::seal::Ended;
use logjam::format::session::Step;
use logjam::ingest::End;
use logjam::ingest::dialogue::{Dialogue, Keeper, Marks, Mode, Pulse};
use logjam::spool::proof::{Kept, Synced};
use logjam::spool::session::Session;
use logjam::spool::{Spool, SyncPolicy};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Size of the buffer here.
const BUFFER: usize = 256 << 10;
/// How long anything may take.
const PATIENCE: u16 = 20_000;
/// How often the daemon acts in a story.
const ACTS: u32 = 48;
/// Lines of a transaction, at most: the disk in memory has room for that many.
const BATCH: usize = 12;

/// Does something. `None`: the power was cut, and it could only wait.
fn up_to_the_cut<T>(act: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => Some(done),
        Err(reason) if reason.is::<PowerIsCut>() => None,
        Err(reason) => resume_unwind(reason),
    }
}

/// Takes the messages of one worker, until the power is cut.
struct Store {
    spool: Mutex<Option<Spool>>,
    power: Arc<Power>,
    clock: Arc<Manual>,
    fs: Arc<MemFs>,
}

impl Store {
    fn spool(&self) -> MutexGuard<'_, Option<Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Spool) -> T) -> Option<T> {
        // A spool that waits after a cut unwinds.
        let done = up_to_the_cut(|| self.spool().as_mut().map(act)).flatten();
        done.filter(|_| !self.power.is_cut())
    }
}

impl Keeper for Store {
    fn keep(&self, message: &[u8]) -> Option<Kept> {
        loop {
            if let Ok(kept) = self.with(|spool| spool.keep(message))? {
                return Some(kept);
            }
            // Somebody frees space.
            self.clock.pass(Duration::from_millis(250));
            self.fs.set_room(None);
        }
    }

    fn commit(&self) -> Option<Result<Synced>> {
        self.with(Spool::commit)
    }
}

/// What the guard holds.
struct Guard {
    tokens: &'static Tokens,
    token: Option<String>,
    buffer: OwnedFd,
}

/// A worker that runs.
struct Worker {
    store: Arc<Store>,
    session: Arc<Session>,
    messages: PipeWriter,
    thread: JoinHandle<Option<End>>,
    /// Its other end goes with the worker.
    dead: PipeReader,
}

struct Story {
    random: Rng,
    setup: Setup,
    talk: Talk,
    ledger: Ledger,
    guard: Guard,
    replies: PipeReader,
    output: PipeWriter,
    /// Which life it is.
    number: u64,
    acts: u32,
    /// Of two files of one hour, the later one may have the earlier name.
    unordered: bool,
    counts: BTreeMap<&'static str, u64>,
    /// What each life did to the disk, if that is wanted.
    traces: Option<Vec<String>>,
}

type Told<T = ()> = std::result::Result<T, String>;

thread_local! {
    /// Replies that are ready are there as long as the process is.
    static TOKENS: OnceLock<&'static Tokens> = const { OnceLock::new() };
}

fn guard() -> Guard {
    let (_, buffer) = Buffer::create(BUFFER).unwrap();
    let tokens = TOKENS.with(|tokens| *tokens.get_or_init(|| Box::leak(Box::new(Tokens::new().unwrap()))));
    Guard { tokens, token: None, buffer }
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let policies = [SyncPolicy::Message, SyncPolicy::Commit, SyncPolicy::Never];
        let talk = Talk { transactions: random.bool(), sync: policies[random.usize(..3)], two: false };
        let (far, codec, talk) = (Far::Bucket, Codec::Gzip(1), talk);
        let setup = Setup { far, codec, pipe: true, two: false, taken: false, talk: Some(talk) };
        let (replies, output) = std::io::pipe().unwrap();
        Self {
            random,
            setup,
            talk,
            ledger: Ledger::default(),
            guard: guard(),
            replies,
            output,
            number: 0,
            acts: 0,
            unordered: false,
            counts: BTreeMap::new(),
            traces: None,
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn daemon(&mut self) -> &mut Daemon {
        &mut self.ledger.daemons.all[0]
    }

    /// From the first life to the last.
    fn tell(&mut self) -> Told {
        let cut = self.next_cut();
        let mut machine = Machine::new(BEGIN, &[DIR], false, self.power(cut), Mistake::None);
        loop {
            let lived = self.live(&machine);
            if let Some(traces) = &mut self.traces {
                traces.push(machine.power.trace().join("\n    "));
            }
            lived?;
            if self.acts >= ACTS && !machine.power.is_cut() {
                break;
            }
            let objects = check::objects(&machine, &self.setup);
            let how = self.death();
            let outage = [1, 60, 3600][self.random.usize(..3)];
            let cut = self.next_cut();
            machine = machine.after(how, Duration::from_secs(outage), self.power(cut));
            if let Some(traces) = &mut self.traces {
                traces.push(format!("{how:?}, {outage} s"));
            }
            check::any_time(&machine, &self.setup, &objects)?;
            self.meet(&machine, how);
        }
        self.end(&machine)
    }

    /// The archive finishes what is left; then it is looked at.
    fn end(&self, machine: &Machine) -> Told {
        let machine = machine.after(Survivor::Killed, Duration::ZERO, Power::cut_at(None));
        let mut ledger = Ledger::default();
        let mut life = Life::new(&machine, &self.setup, &mut ledger, self.number + 1);
        life.finish();
        life.pass(talk::FORGOTTEN);
        life.finish();
        drop(life);
        let leave = Leave { unordered: self.unordered, ..Leave::default() };
        check::any_time(&machine, &self.setup, &BTreeMap::new())?;
        check::at_the_end(&machine, &self.setup, &self.ledger, leave)
    }

    fn power(&self, cut: Option<u64>) -> Arc<Power> {
        let power = Power::cut_at(cut);
        if self.traces.is_some() { power.traced() } else { power }
    }

    /// Where the next life is cut.
    fn next_cut(&mut self) -> Option<u64> {
        let at = self.random.u64(18..200);
        (self.acts < ACTS).then_some(at)
    }

    fn death(&mut self) -> Survivor {
        let seed = self.random.u64(..);
        let (how, name) = match self.random.u8(..10) {
            0..5 => (Survivor::Guarded, "worker killed"),
            5..8 => (Survivor::Killed, "both killed"),
            8 => (Survivor::Torn(seed), "power cut"),
            _ => (Survivor::Coin(seed), "power cut"),
        };
        self.count(name);
        how
    }

    /// The daemon, and the guard if it lives, see the death of the life before.
    fn meet(&mut self, machine: &Machine, how: Survivor) {
        self.number += 1;
        // A name that was not synced may be gone, and be given again to what comes later.
        self.unordered |= !how.is_kill() && self.talk.sync == SyncPolicy::Never;
        if how.is_guarded() {
            return;
        }
        if let Some(token) = self.guard.token.take() {
            let mut ledger = Ledger::default();
            let archive = Life::new(machine, &self.setup, &mut ledger, 0).archive;
            let session = Session::open(&archive.env, &archive.layout, &token).ok().flatten();
            self.daemon().commits = session.is_some_and(|session| session.step() == Step::Commit);
        }
        let transactions = self.talk.transactions;
        self.daemon().meets(how, transactions);
        self.guard = guard();
    }

    /// One life of a worker, up to the cut or to the last act.
    fn live(&mut self, machine: &Machine) -> Told {
        fastrand::seed(self.number);
        let mut ledger = Ledger::default();
        let setup = self.setup;
        let mut life = Life::new(machine, &setup, &mut ledger, self.number);
        let _lock = self.lock(&life);
        let Some(worker) = self.start(&mut life) else { return Ok(()) };
        let told = self.acts(&mut life, &worker);
        let Worker { store, session, messages, thread, .. } = worker;
        drop(messages);
        let end = thread.join().map_err(|_| "the dialogue has panicked".to_owned())?;
        told?;
        if machine.power.is_cut() {
            return Ok(());
        }
        if end != Some(End::Input) {
            return Err(format!("it left by itself: {end:?}"));
        }
        self.leave(&life, &store, &session);
        Ok(())
    }

    /// The lock of the session, as the guard holds it.
    fn lock(&self, life: &Life<'_>) -> Option<Arc<dyn File>> {
        let path = life.archive.layout.session(self.guard.token.as_ref()?);
        let file = life.archive.env.fs.open_read(&path).ok()?;
        file.try_lock().is_ok_and(|locked| locked).then_some(file)
    }

    /// As the program starts. `None`: the power was cut.
    fn start(&mut self, life: &mut Life<'_>) -> Option<Worker> {
        let left = self.guard.token.clone();
        let mut session = None;
        let mut taken_over = false;
        up_to_the_cut(|| {
            life.start_with(0, |archive| {
                let (env, layout) = (&archive.env, &archive.layout);
                let found = left.and_then(|token| Session::open(env, layout, &token).ok().flatten());
                taken_over = found.is_some();
                session = found.or_else(|| Session::begin(env, layout).ok()).map(Arc::new);
                session.clone()
            })
        });
        let session = session?;
        self.guard.token = Some(session.token().to_owned());
        life.on()?;
        let store = Arc::new(Store {
            spool: Mutex::new(life.writers[0].take()),
            power: Arc::clone(&life.machine.power),
            clock: Arc::clone(&life.machine.clock),
            fs: Arc::clone(&life.machine.fs),
        });
        let (input, messages) = std::io::pipe().unwrap();
        let (dead, alive) = std::io::pipe().unwrap();
        let replies = Replies::new(self.output.try_clone().unwrap().into(), Some(self.guard.tokens));
        let buffer = Buffer::open(&self.guard.buffer, BUFFER).unwrap();
        let mode = match self.talk.transactions {
            true => Mode::Transactions(Marks { begin: talk::BEGIN.into(), commit: talk::COMMIT.into() }),
            false => Mode::Messages,
        };
        let pulse = Pulse::new(replies, life.archive.env.clock.steady());
        let owned = (Record::clone(&session), buffer);
        let keeper = Arc::clone(&store);
        let thread = std::thread::spawn(move || {
            let input = Input::new(input.into());
            let end = Dialogue::new(&input, owned, pulse, mode, &*keeper).run(taken_over).ok();
            drop(alive);
            end
        });
        Some(Worker { store, session, messages, thread, dead })
    }

    /// What happens while a worker lives.
    fn acts(&mut self, life: &mut Life<'_>, worker: &Worker) -> Told {
        if !self.daemon().greeted && !self.hears(worker)? {
            return Ok(());
        }
        while self.exchange(worker)? && life.on().is_some() && self.acts < ACTS {
            self.acts += 1;
            life.pass(Duration::from_millis(1));
            match self.random.u8(..24) {
                0..2 => {
                    self.count("archive passes");
                    worker.store.with(Spool::tick);
                    up_to_the_cut(|| life.tidy_as(Some(worker.session.token())));
                }
                2 => {
                    self.count("times passing");
                    life.pass(Duration::from_secs(60 * self.random.u64(5..70)));
                    self.daemon().spans = true;
                }
                3 => {
                    self.count("files ended by a signal");
                    worker.store.with(|spool| spool.end_soon(Ended::Signal));
                    self.daemon().spans = true;
                }
                4 if self.random.u8(..4) == 0 => {
                    self.count("clocks set back");
                    life.machine.clock.set_back(Duration::from_secs(60 * self.random.u64(1..90)));
                    self.unordered = true;
                    self.daemon().spans = true;
                }
                5 => {
                    self.count("disks full");
                    life.machine.fs.set_room(Some(self.random.u32(..3)));
                    self.says();
                }
                6 => {
                    self.count("restarts");
                    return Ok(());
                }
                _ => self.says(),
            }
            if life.on().is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Something comes into the daemon's queue.
    fn says(&mut self) {
        let text = self.text();
        let transactions = self.talk.transactions;
        let kind = self.random.u8(..10);
        let daemon = self.daemon();
        let open = daemon.transaction || daemon.broken;
        let item = match kind {
            _ if daemon.batch.len() >= BATCH => Item::Commit,
            0..2 if transactions && open => Item::Commit,
            2 if transactions => Item::Commit,
            3 if transactions => Item::Begin,
            4..9 if transactions && !open => Item::Begin,
            _ => Item::Line(daemon.new_line(&text), false),
        };
        daemon.adds(&[item]);
        self.count("messages");
    }

    fn text(&mut self) -> String {
        let number = self.ledger.daemons.all[0].said().len();
        match self.random.u8(..16) {
            0..6 => format!("message {number}\n"),
            6..11 => "same\n".to_owned(),
            11 => "\n".to_owned(),
            12 => format!("two lines, the first of {number}\nand the second\n"),
            13 => format!("{number} {}\n", "x".repeat(self.random.usize(..150_000))),
            14 => "OK\n".to_owned(),
            _ => " BEGIN TRANSACTION\n".to_owned(),
        }
    }

    /// Until the daemon has said everything. False: the worker died over it.
    fn exchange(&mut self, worker: &Worker) -> Told<bool> {
        while !self.daemon().todo.is_empty() {
            if !self.daemon().sent {
                let text = self.daemon().sends().unwrap_or_default();
                (&worker.messages).write_all(text.as_bytes()).map_err(|e| e.to_string())?;
            }
            if !self.hears(worker)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One reply. False: the worker died before it.
    fn hears(&mut self, worker: &Worker) -> Told<bool> {
        let mut fds =
            [PollFd::new(self.replies.as_fd(), PollFlags::POLLIN), PollFd::new(worker.dead.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(PATIENCE)).map_err(|e| e.to_string())?;
        let said = fds.map(|fd| fd.any().unwrap_or(false));
        if !said[0] {
            return if said[1] { Ok(false) } else { Err("no reply, and the worker lives".into()) };
        }
        let mut text = [0; 64];
        let n = self.replies.read(&mut text).map_err(|e| e.to_string())?;
        let reply = match &text[..n] {
            b"OK\n" => Reply::Ok,
            b"DEFER_COMMIT\n" => Reply::Defer,
            text if text.starts_with(b"Error") => Reply::Error,
            text => return Err(format!("no reply: {:?}", String::from_utf8_lossy(text))),
        };
        let sync = self.talk.sync;
        self.daemon().hears(reply, sync).map(|()| true)
    }

    /// The daemon has left, and the program leaves.
    fn leave(&mut self, life: &Life<'_>, store: &Store, session: &Session) {
        if let Some(mut spool) = store.spool().take() {
            spool.give_up();
            let _ = spool.park(true);
        }
        if session.step() == Step::Read && life.on().is_some() {
            let _ = session.end(&life.archive.env, &life.archive.layout);
        }
        if life.on().is_some() {
            let transactions = self.talk.transactions;
            self.daemon().meets(Survivor::Killed, transactions);
            self.guard = guard();
        }
    }
}

/// How many stories, and the first one's seed.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_random_daemons_say_is_stored_once_and_in_order_whatever_happens() {
    let (runs, first) = (number("LOGJAM_MODEL_RUNS", 150), number("LOGJAM_MODEL_SEED", 0));
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + runs {
        let mut story = Story::new(seed);
        if let Err(what) = story.tell() {
            let mut again = Story::new(seed);
            again.traces = Some(Vec::new());
            let _ = again.tell();
            println!("    {}", again.traces.unwrap_or_default().join("\n    "));
            panic!("LOGJAM_MODEL_SEED={seed} LOGJAM_MODEL_RUNS=1: {:?}: {what}", story.talk);
        }
        for (what, count) in story.counts {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{runs} stories: {counts:?}");
}
