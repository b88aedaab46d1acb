//! Wires the rooms of `logjam pipe`: the intake on the calling thread, the archivist (seal, recover, pack, retire) and the
//! uploader on threads of their own. The intake never waits for either.

mod confirm;

use crate::archive::uploader::Uploader;
use crate::archive::{Archive, Pass};
use crate::config::check_dir;
use crate::env::input::Input;
use crate::env::signals::{Asked, Signals};
use crate::error::{Class, Error, Kind, Result};
use crate::format::seal::Ended;
use crate::ingest::{self, End, Sink};
use crate::log::LogFile;
use crate::spool::reserve::Reserve;
use crate::spool::{self, Handover, Hour, Spool};
pub use confirm::Speech;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How many ended files may wait to be sealed. One more is left to recovery: the intake does not wait.
const ENDED_LIMIT: usize = 64;
/// How often DIR is looked at when nothing happens.
const RESCAN: Duration = Duration::from_secs(60);
/// How soon a failed seal is tried again.
const SEAL_RETRY: Duration = Duration::from_secs(1);
/// How soon an uploader that could not be started is tried again.
const START_RETRY: Duration = Duration::from_secs(1);
/// How long the program may take to leave when nothing needs to be finished.
const LEAVE: Duration = Duration::from_millis(1500);
/// With `--once`: how often a failed pass is tried again, a second apart.
const ONCE_TRIES: u32 = 10;

/// Everything that `logjam pipe` needs.
pub struct Pipe {
    /// The archive side, also the doors and DIR.
    pub archive: Archive,
    /// The spool's settings.
    pub spool: spool::Settings,
    /// Free space never used up, in bytes; `None`: the default.
    pub reserve: Option<u64>,
    /// At the end of the input: end the open file too, and archive everything.
    pub once: bool,
    /// The program's own log file, to be reopened on SIGHUP.
    pub log: LogFile,
}

enum Event {
    Ended(Box<Hour>, Ended),
    /// The disk is full: what can be removed is removed.
    Pressed,
    Finish,
}

/// What is left undone at the end.
#[derive(Debug, Default)]
pub struct Left(pub Vec<Error>);

/// Checks DIR and makes the directories in it: what a start needs.
pub fn prepare(pipe: &Pipe) -> Result<()> {
    check_dir(&*pipe.archive.env.fs, pipe.archive.layout.dir())?;
    pipe.archive.make_dirs()
}

/// Runs from the first line to the last. `dialogue`: if messages are confirmed, or told apart by their identity. `start_uploader` is called off the intake's path.
pub fn run(
    pipe: Pipe,
    dialogue: Option<Speech>,
    input: &Input,
    signals: &Signals,
    start_uploader: impl Fn() -> Result<Option<Uploader>> + Send + 'static,
) -> Result<Left> {
    let (sender, events) = sync_channel(ENDED_LIMIT);
    let session = dialogue.as_ref().map(|speech| Arc::clone(&speech.session));
    let own = session.as_deref().map(|session| session.token().to_owned());
    let spool = Spool::open(
        pipe.archive.env.clone(),
        pipe.archive.layout.clone(),
        pipe.spool.clone(),
        input.identity(),
        session,
        handover(sender.clone()),
    )?;
    let room = Room {
        reserve: Reserve::new(pipe.archive.env.clone(), pipe.archive.layout.dir(), pipe.reserve),
        pressed: Arc::clone(&pipe.archive.pressed),
        archivist: sender.clone(),
    };
    let reports = start_archivist(&pipe, own, events, start_uploader)?;
    let (read, spool) = match dialogue {
        None => {
            let mut intake = Intake { spool, room, log: pipe.log.clone() };
            let read = ingest::run(&pipe.archive.env, input, Some(signals), &mut intake);
            (read, Some(intake.spool))
        }
        Some(speech) => speech.run(&pipe, input, signals, spool, room),
    };
    if !pipe.once {
        pipe.archive.leaving.store(true, Ordering::Relaxed);
    }
    match spool {
        Some(mut spool) if pipe.once => spool.end(Ended::Input),
        Some(spool) => spool.park(matches!(read, Ok(End::Input)))?,
        None => {}
    }
    let _ = sender.send(Event::Finish);
    let left = if pipe.once { finish(&reports, signals) } else { leave(&reports) };
    if pipe.once {
        // What was stored just now may have been kept for its time already.
        pipe.archive.pass(|_| {})?;
    }
    read.map(|_| left)
}

fn start_archivist(
    pipe: &Pipe,
    own: Option<String>,
    events: Receiver<Event>,
    start_uploader: impl Fn() -> Result<Option<Uploader>> + Send + 'static,
) -> Result<Reports> {
    let (report, reports) = sync_channel(1);
    let archivist = Archivist {
        pipe: pipe.archive.clone(),
        spool: pipe.spool.clone(),
        own,
        events,
        waiting: Vec::new(),
        finishing: false,
    };
    let once = pipe.once;
    let run = move || {
        // Short of file descriptors, say: the hours wait on the disk meanwhile.
        let mut said = String::new();
        let uploader = loop {
            match start_uploader() {
                Ok(uploader) => break uploader,
                Err(e) if e.to_string() == said => {}
                Err(e) => {
                    said = e.to_string();
                    tracing::warn!("{e}; archives wait on the disk, and it is tried again every second");
                }
            }
            archivist.pipe.env.clock.nap(START_RETRY);
        };
        let left = archivist.run(uploader.as_ref(), once);
        let _ = report.send((left, uploader));
    };
    let thread = std::thread::Builder::new().name("archive".into()).spawn(run);
    thread.map(|_| reports).map_err(|e| Error::io("start", "the archive thread", &e))
}

type Reports = Receiver<(Left, Option<Uploader>)>;

fn leave(reports: &Reports) -> Left {
    if reports.recv_timeout(LEAVE).is_err() {
        tracing::info!("leaving now; what is not archived yet is finished by the next start");
    }
    Left::default()
}

/// Waits until everything is stored or given up; a signal to leave cuts that short.
fn finish(reports: &Reports, signals: &Signals) -> Left {
    let cut =
        || Error::retry("archive", "what is left", crate::error::Kind::Other, "told to leave before it was stored");
    let (mut left, uploader) = loop {
        match reports.recv_timeout(Duration::from_millis(100)) {
            Ok(done) => break done,
            Err(RecvTimeoutError::Timeout) if signals.next() == Some(Asked::Leave) => return Left(vec![cut()]),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Left(vec![cut()]),
        }
    };
    if let Some(uploader) = uploader {
        loop {
            let (empty, failed) = uploader.wait_empty(Duration::from_millis(100));
            if empty {
                left.0.extend(failed.into_iter().map(|(_, e)| e));
                break;
            }
            if signals.next() == Some(Asked::Leave) {
                left.0.push(cut());
                break;
            }
        }
    }
    left
}

fn handover(sender: SyncSender<Event>) -> Handover {
    Box::new(move |hour, ended| {
        // If the archivist is that far behind, the file is left to recovery: its lock goes with it.
        let _ = sender.try_send(Event::Ended(Box::new(hour), ended));
    })
}

/// The space that the intake may use.
struct Room {
    reserve: Reserve,
    pressed: Arc<AtomicBool>,
    archivist: SyncSender<Event>,
}

impl Room {
    /// How many bytes may be written now, up to `most`.
    fn allows(&mut self, most: usize) -> usize {
        let allowed = self.reserve.allows(most as u64);
        self.noted(allowed, most)
    }

    /// The same as of the last look: somebody has to call [`Self::allows`] now and then.
    fn left(&mut self, most: usize) -> usize {
        let left = self.reserve.left(most as u64);
        self.noted(left, most)
    }

    /// At the reserve, the archive is asked to make room.
    fn noted(&mut self, allowed: u64, most: usize) -> usize {
        let pressed = allowed == 0;
        if self.pressed.load(Ordering::Relaxed) != pressed && !self.pressed.swap(pressed, Ordering::Relaxed) && pressed
        {
            let _ = self.archivist.try_send(Event::Pressed);
        }
        usize::try_from(allowed).unwrap_or(most)
    }
}

struct Intake {
    spool: Spool,
    room: Room,
    log: LogFile,
}

impl Sink for Intake {
    fn ready(&mut self, most: usize) -> usize {
        self.room.allows(most)
    }

    fn pull(&mut self, input: &Input, most: usize) -> Option<usize> {
        let moved = self.spool.pull(input, most);
        self.room.reserve.used(moved.unwrap_or(0) as u64);
        moved
    }

    fn take(&mut self, chunk: &[u8]) {
        self.spool.take(chunk);
        self.room.reserve.used(chunk.len() as u64);
    }

    fn tick(&mut self) {
        self.spool.tick();
    }

    fn due(&self) -> Option<Duration> {
        self.spool.due()
    }

    fn asked(&mut self, asked: Asked) {
        match asked {
            Asked::EndFile => self.spool.end_soon(Ended::Signal),
            Asked::Reopen => self.log.reopen(),
            Asked::Leave => {}
        }
    }
}

struct Archivist {
    pipe: Archive,
    spool: spool::Settings,
    /// The session of this process.
    own: Option<String>,
    events: Receiver<Event>,
    /// Ended, not sealed yet.
    waiting: Vec<(Box<Hour>, Ended)>,
    finishing: bool,
}

impl Archivist {
    /// Runs until it is told to finish: what could not be done by then.
    fn run(mut self, uploader: Option<&Uploader>, once: bool) -> Left {
        let mut pause = Duration::ZERO;
        let mut last_tries = 0;
        loop {
            match self.events.recv_timeout(pause) {
                Ok(event) => self.note(event),
                Err(RecvTimeoutError::Disconnected) => self.finishing = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.seal_waiting();
            // What is sealed or asked for during a pass is not in its plan.
            let last = self.finishing;
            let (again, pass) = self.pass(uploader, once && last);
            pause = match (again, self.waiting.is_empty()) {
                (true, _) => Duration::ZERO,
                (false, true) => RESCAN,
                (false, false) => SEAL_RETRY,
            };
            if !last || again {
                continue;
            }
            let retry = pass.failed.iter().any(|e| e.class == Class::Retry) || !self.waiting.is_empty();
            last_tries += 1;
            if !once || !retry || last_tries > ONCE_TRIES {
                return Left(pass.failed);
            }
            pause = SEAL_RETRY;
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Ended(hour, ended) => self.waiting.push((hour, ended)),
            Event::Pressed => {}
            Event::Finish => self.finishing = true,
        }
    }

    /// Seals what has ended: whether anything was there to seal or to note.
    fn seal_waiting(&mut self) -> bool {
        let before = (self.waiting.len(), self.finishing);
        while let Ok(event) = self.events.try_recv() {
            self.note(event);
        }
        let news = before != (self.waiting.len(), self.finishing);
        let (env, layout) = (&self.pipe.env, &self.pipe.layout);
        self.waiting.retain(|(hour, ended)| match spool::seal::seal(env, layout, hour, *ended) {
            Ok(()) => false,
            Err(e) => {
                tracing::warn!("{e}; tried again");
                true
            }
        });
        news
    }

    /// One pass: whether there is reason for another at once, and what it did.
    fn pass(&mut self, uploader: Option<&Uploader>, last: bool) -> (bool, Pass) {
        let archive = self.pipe.clone();
        let (settings, own) = (&self.spool, self.own.as_deref());
        let recovered =
            spool::seal::recover(&archive.env, &archive.layout, &settings.prefix, settings.every, own, last);
        if let Err(e) = recovered {
            tracing::warn!("{e}; tried again later");
        }
        let mut again = false;
        let done = archive.pass(|packed| match (packed, uploader) {
            (Some(name), Some(uploader)) => uploader.offer(name),
            // Between two steps: an hour that ended meanwhile must not wait for the backlog.
            _ => again |= self.seal_waiting(),
        });
        let pass = done.unwrap_or_else(|e| {
            if e.kind == Kind::NotFound {
                // Somebody emptied DIR.
                let _ = archive.make_dirs();
            }
            tracing::warn!("{e}; tried again later");
            Pass { failed: vec![e], ..Pass::default() }
        });
        (again, pass)
    }
}
