//! Wires the rooms of `logjam pipe`: the intake on the calling thread, the archivist (seal, recover, pack, retire) and the
//! uploader on threads of their own. The intake never waits for either.

mod archivist;
mod confirm;

use crate::archive::Archive;
use crate::archive::checkpoint::Checkpoints;
use crate::archive::follow::{self, Following, Growing};
use crate::archive::uploader::Uploader;
use crate::config::check_dir;
use crate::env::input::Input;
use crate::env::signals::{Asked, Signals};
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::format::seal::Ended;
use crate::ingest::{self, End, Sink};
use crate::log::LogFile;
use crate::spool::reserve::Reserve;
use crate::spool::{self, Hour, Spool};
pub use confirm::Speech;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How many ended files may wait to be sealed. One more is left to recovery: the intake does not wait.
const ENDED_LIMIT: usize = 64;
/// How long the program may take to leave when nothing needs to be finished.
const LEAVE: Duration = Duration::from_millis(1500);

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
    /// What is written for other hosts, and how often.
    pub checkpoints: Option<(Dest, Duration)>,
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
    let mut spool = Spool::open(
        pipe.archive.env.clone(),
        pipe.archive.layout.clone(),
        pipe.spool.clone(),
        input.identity(),
        session,
        archivist::handover(sender.clone()),
    )?;
    if let Some(following) = &pipe.archive.following {
        spool.tell(told(Arc::clone(following)));
        start_follower(&pipe, following)?;
    }
    let room = Room {
        reserve: Reserve::new(pipe.archive.env.clone(), pipe.archive.layout.dir(), pipe.reserve),
        pressed: Arc::clone(&pipe.archive.pressed),
        archivist: sender.clone(),
    };
    let reports = archivist::start(&pipe, own, events, start_uploader)?;
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
    if let Some(following) = &pipe.archive.following {
        following.leave();
    }
    if pipe.once {
        // What was stored just now may have been kept for its time already.
        pipe.archive.pass(|_| {})?;
    }
    read.map(|_| left)
}

/// Each hour file is packed while it grows.
fn told(following: Arc<Following>) -> spool::Told {
    Box::new(move |hour| {
        let length = hour.period().end - hour.period().start;
        following.begin(Growing {
            name: hour.name().clone(),
            file: Arc::clone(hour.file()),
            growth: Arc::clone(hour.growth()),
            seconds: length.num_seconds().unsigned_abs(),
        });
    })
}

fn start_follower(pipe: &Pipe, following: &Arc<Following>) -> Result<()> {
    let begin = |(dest, every): &(Dest, Duration)| {
        Checkpoints::begin(&pipe.archive, dest.clone(), &pipe.spool.prefix, &pipe.spool.suffix, *every)
    };
    let checkpoints = match pipe.checkpoints.as_ref().map(begin).transpose() {
        Ok(checkpoints) => checkpoints,
        Err(e) => {
            tracing::warn!("{e}; this process writes none");
            None
        }
    };
    follow::start(pipe.archive.clone(), Arc::clone(following), checkpoints)
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
