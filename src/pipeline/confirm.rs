//! Wires the dialogue: it runs on a thread of its own and blocks in read(2); this thread hears signals, ends files in
//! time, and keeps the daemon patient.

use super::{Pipe, Room};
use crate::env::Env;
use crate::env::disk::adopted;
use crate::env::guard;
use crate::env::input::Input;
use crate::env::record::{Record, Step};
use crate::env::replies::Replies;
use crate::env::signals::{Asked, Bell, Signals};
use crate::env::slate::Buffer;
use crate::error::{Error, Kind, Result};
use crate::format::seal::Ended;
use crate::ingest::dialogue::{BUFFER, Dialogue, Keeper, Mode, Pulse};
use crate::ingest::{End, QUIET};
use crate::log::LogFile;
use crate::spool::proof::{Kept, Synced};
use crate::spool::session::Session;
use crate::spool::{self, Spool};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// The longest sleep of the thread that watches: dots and the clock are looked at that often.
const WATCH: Duration = Duration::from_millis(500);
/// How soon it is tried again to end a file while a message was being kept.
const SOON: Duration = Duration::from_millis(20);
/// How soon a message that could not be kept is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// A dialogue that is about to begin, or to go on.
pub struct Speech {
    pub(super) session: Arc<Session>,
    buffer: Buffer,
    taken_over: bool,
    mode: Mode,
}

impl Speech {
    /// The session that an earlier worker left with the guard, or a new one, which is left with it.
    pub fn begin(pipe: &Pipe, mode: Mode) -> Result<Self> {
        let (env, layout) = (&pipe.archive.env, &pipe.archive.layout);
        let held = guard::held();
        if let Some(left) = held.and_then(guard::Held::left)
            && let Some(session) = Session::of(env, &left.token, adopted(left.record, &layout.session(&left.token)))?
        {
            let buffer = Buffer::open(left.buffer, BUFFER)?;
            return Ok(Self { session: Arc::new(session), buffer, taken_over: true, mode });
        }
        let session = Session::begin(env, layout)?;
        let (buffer, fd) = Buffer::create(BUFFER)?;
        if let (Some(held), Some(lock)) = (held, session.file().fd())
            && !held.leave(session.token(), [fd.as_raw_fd(), lock.as_raw_fd()])
        {
            tracing::warn!("the guard can't take the session over: if this process is killed, the daemon will notice");
        }
        Ok(Self { session: Arc::new(session), buffer, taken_over: false, mode })
    }

    /// Speaks to the end. The spool comes back.
    pub(super) fn run(
        self,
        pipe: &Pipe,
        input: &Input,
        signals: &Signals,
        spool: Spool,
        room: Room,
    ) -> (Result<End>, Option<Spool>) {
        let env = pipe.archive.env.clone();
        let session = Arc::clone(&self.session);
        let store = input.again().map(|input| {
            let (spool, room) = (Mutex::new(Some(spool)), Mutex::new(room));
            Arc::new(Store {
                env: env.clone(),
                input,
                spool,
                room,
                leaving: AtomicBool::new(false),
                ending: AtomicBool::new(false),
            })
        });
        let store = match store {
            Ok(store) => store,
            Err(e) => return (Err(e), None),
        };
        let read = self.speak(&env, input, signals, &store, &pipe.log);
        let mut spool = store.spool().take();
        if let Some(spool) = &mut spool {
            spool.give_up();
        }
        if session.step() == Step::Read
            && let Err(e) = session.end(&env, &pipe.archive.layout)
        {
            tracing::warn!("{e}; the next start removes it");
        }
        (read, spool)
    }

    fn speak(self, env: &Env, input: &Input, signals: &Signals, store: &Arc<Store>, log: &LogFile) -> Result<End> {
        let bell = Arc::new(Bell::new()?);
        let tokens = guard::held().and_then(|held| held.tokens.as_ref());
        let pulse = Pulse::new(Replies::stdout(tokens)?, env.clock.steady());
        let done = Arc::new(Mutex::new(None));
        let run = {
            let (bell, done) = (Arc::clone(&bell), Arc::clone(&done));
            let record = Record::clone(&self.session);
            let (store, pulse, input) = (Arc::clone(store), Arc::clone(&pulse), input.again()?);
            move || {
                let owned = (record, self.buffer);
                let read = Dialogue::new(&input, owned, pulse, self.mode, &*store).run(self.taken_over);
                *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
                bell.ring();
            }
        };
        let thread = std::thread::Builder::new().name("dialogue".into()).spawn(run);
        let thread = thread.map_err(|e| Error::io("start", "the dialogue's thread", &e))?;
        let mut watch = Watch { env, store, pulse: &pulse, log, leaving: None };
        loop {
            watch.once(signals, &bell);
            // In this order: it leaves its result before it ends.
            let over = thread.is_finished();
            let done = done.lock().unwrap_or_else(PoisonError::into_inner).take();
            env.watch.confirmed_messages.set(pulse.confirmed());
            match done {
                Some(read) => {
                    // What was asked for last.
                    store.tick();
                    return read;
                }
                None if over => {
                    return Err(Error::stop("run", "the dialogue", Kind::Other, "its thread has panicked"));
                }
                None if watch.is_quiet() => return Ok(End::Drained),
                None => {}
            }
        }
    }
}

struct Watch<'a> {
    env: &'a Env,
    store: &'a Store,
    pulse: &'a Pulse,
    log: &'a LogFile,
    /// Since when it is asked to leave, and no message has come; how many had come by then.
    leaving: Option<(Instant, u64)>,
}

impl Watch<'_> {
    fn once(&mut self, signals: &Signals, bell: &Bell) {
        let due = self.store.tick().unwrap_or(if self.store.ending() { SOON } else { WATCH });
        // Not while a message is being kept, however long that takes: dots are due.
        if let Ok(mut room) = self.store.room.try_lock() {
            room.allows(0);
        }
        self.pulse.keep_alive(self.env.clock.steady());
        let Some(asked) = signals.wait_with(bell, due.min(WATCH)) else { return };
        match asked {
            Asked::EndFile => self.store.ending.store(true, Ordering::Relaxed),
            Asked::Reopen => self.log.reopen(),
            Asked::Leave => {
                tracing::info!("asked to leave: draining the input first");
                self.store.leaving.store(true, Ordering::Relaxed);
                self.leaving.get_or_insert((self.env.clock.steady(), self.pulse.messages()));
            }
        }
    }

    /// Whether it is asked to leave and nothing more comes.
    fn is_quiet(&mut self) -> bool {
        let Some((since, messages)) = self.leaving else { return false };
        let now = (self.env.clock.steady(), self.pulse.messages());
        if now.1 != messages {
            self.leaving = Some(now);
            return false;
        }
        now.0.duration_since(since) >= QUIET
    }
}

/// The spool and the space for it, for two threads. The spool is gone once the program leaves.
struct Store {
    env: Env,
    input: Input,
    spool: Mutex<Option<Spool>>,
    room: Mutex<Room>,
    /// It was asked to leave.
    leaving: AtomicBool,
    /// It was asked to end the open file.
    ending: AtomicBool,
}

impl Store {
    fn spool(&self) -> MutexGuard<'_, Option<Spool>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what is due or was asked for; how long until more is. Not while a message is being kept: that looks at the time
    /// itself, and dots are due meanwhile.
    fn tick(&self) -> Option<Duration> {
        let mut spool = match self.spool.try_lock() {
            Ok(spool) => spool,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let spool = spool.as_mut()?;
        if self.ending.swap(false, Ordering::Relaxed) {
            spool.end_soon(Ended::Signal);
        }
        spool.tick();
        spool.due()
    }

    fn ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Tries once to keep a message. `None`: not now.
    fn try_keep(&self, spool: &mut Spool, message: &[u8]) -> Option<Kept> {
        let mut room = self.room();
        // The last message is what the reserve is for: who sent it leaves, too, and may not send it again.
        let last = || {
            self.leaving.load(Ordering::Relaxed)
                || self.input.wait_writer_gone(None, Duration::ZERO).is_ok_and(|ready| ready.hung_up)
        };
        if room.left(message.len()) < message.len() && !last() {
            return None;
        }
        match spool.keep(message) {
            Ok(kept) => {
                room.reserve.used(message.len() as u64);
                Some(kept)
            }
            Err(e) => {
                spool.complain(&e);
                None
            }
        }
    }
}

impl Keeper for Store {
    fn keep(&self, message: &[u8]) -> Option<Kept> {
        loop {
            let kept = self.try_keep(self.spool().as_mut()?, message);
            if kept.is_some() {
                return kept;
            }
            self.env.clock.nap(RETRY);
        }
    }

    fn commit(&self) -> Option<Result<Synced>> {
        self.spool().as_mut().map(spool::Spool::commit)
    }
}
