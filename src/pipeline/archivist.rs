//! The archive's own thread in `logjam pipe`: seals what has ended, recovers, packs, retires, and tells of silence.

use super::{Event, Left, Pipe, Reports};
use crate::archive::silence::Silence;
use crate::archive::uploader::Uploader;
use crate::archive::{Archive, Pass};
use crate::env::confine;
use crate::error::{Class, Error, Kind, Result};
use crate::format::name::LogName;
use crate::format::seal::Ended;
use crate::format::state::Stage;
use crate::spool::{self, Handover, Hour};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// How often DIR is looked at when nothing happens.
const RESCAN: Duration = Duration::from_secs(60);
/// How soon a failed seal is tried again.
const SEAL_RETRY: Duration = Duration::from_secs(1);
/// How soon an uploader that could not be started is tried again.
const START_RETRY: Duration = Duration::from_secs(1);
/// With `--once`: how often a pass that left something undone is made again, a second apart.
const ONCE_TRIES: u32 = 10;

pub(super) fn start(
    pipe: &Pipe,
    own: Option<String>,
    events: Receiver<Event>,
    start_uploader: impl Fn() -> Result<Option<Uploader>> + Send + 'static,
) -> Result<Reports> {
    let (report, reports) = sync_channel(1);
    let silence = Silence::watch(&pipe.archive, &pipe.spool.prefix, &pipe.spool.suffix, pipe.spool.every);
    let archivist = Archivist {
        silence: (!pipe.once).then_some(silence),
        pipe: pipe.archive.clone(),
        spool: pipe.spool.clone(),
        own,
        events,
        waiting: Vec::new(),
        unsealed: Vec::new(),
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
                    archivist.pipe.env.trouble(Stage::Upload, &e, START_RETRY);
                    tracing::warn!("{e}; archives wait on the disk, and it is tried again every second");
                }
            }
            archivist.pipe.env.clock.nap(START_RETRY);
        };
        if let (Some(uploader), Some(following)) = (&uploader, &archivist.pipe.following) {
            following.send_by(uploader.clone());
        }
        let left = archivist.run(uploader.as_ref(), once);
        let _ = report.send((left, uploader));
    };
    let thread = std::thread::Builder::new().name("archive".into()).spawn(run);
    thread.map(|_| reports).map_err(|e| Error::io("start", "the archive thread", &e))
}

pub(super) fn handover(sender: SyncSender<Event>) -> Handover {
    Box::new(move |hour, ended| {
        // If the archivist is that far behind, the file is left to recovery: its lock goes with it.
        let _ = sender.try_send(Event::Ended(Box::new(hour), ended));
    })
}

struct Archivist {
    /// Periods without a line.
    silence: Option<Silence>,
    pipe: Archive,
    spool: spool::Settings,
    /// The session of this process.
    own: Option<String>,
    events: Receiver<Event>,
    /// Ended, not sealed yet.
    waiting: Vec<(Box<Hour>, Ended)>,
    /// Why not.
    unsealed: Vec<Error>,
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
            // After what has ended is written down: another worker would go on with the file of this period.
            confine::look_after();
            // What is sealed or asked for during a pass is not in its plan.
            let last = self.finishing;
            let (again, undone) = self.pass(uploader, once && last);
            let quiet = self.look_for_silence(uploader);
            pause = match (again, self.waiting.is_empty()) {
                (true, _) => Duration::ZERO,
                (false, true) => quiet.min(RESCAN),
                (false, false) => SEAL_RETRY,
            };
            if !last || again {
                continue;
            }
            let retry = undone.iter().any(|e| e.class == Class::Retry);
            last_tries += 1;
            if !once || !retry || last_tries > ONCE_TRIES {
                return Left(undone);
            }
            if let Some(e) = undone.iter().find(|e| e.kind == Kind::Busy).filter(|_| last_tries == 1) {
                tracing::info!("{e}; waiting for it, {ONCE_TRIES} s at the most");
            }
            pause = SEAL_RETRY;
        }
    }

    /// Tells of periods without a line: how long until the next one may be over.
    fn look_for_silence(&mut self, uploader: Option<&Uploader>) -> Duration {
        let Some(silence) = &mut self.silence else { return RESCAN };
        let told = |name: &LogName| {
            if let Some(uploader) = uploader {
                uploader.offer(name);
            }
        };
        silence.look(&self.pipe, told).unwrap_or_else(|e| {
            tracing::warn!("{e}; tried again later");
            SEAL_RETRY
        })
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Ended(hour, ended) => {
                if let Some(following) = &self.pipe.following {
                    following.end(hour.name(), self.pipe.codec);
                }
                self.waiting.push((hour, ended));
            }
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
        self.unsealed.clear();
        self.waiting.retain(|(hour, ended)| match spool::seal::seal(env, layout, hour, *ended) {
            Ok(()) => false,
            Err(e) => {
                tracing::warn!("{e}; tried again");
                env.trouble(Stage::Seal, &e, SEAL_RETRY);
                self.unsealed.push(e);
                true
            }
        });
        if self.waiting.is_empty() {
            env.mended(Stage::Seal);
        }
        news
    }

    /// One pass: whether there is reason for another at once, and what could not be done. `last`: also what others keep this
    /// process from.
    fn pass(&mut self, uploader: Option<&Uploader>, last: bool) -> (bool, Vec<Error>) {
        let archive = self.pipe.clone();
        let (settings, own) = (&self.spool, self.own.as_deref());
        let recovered =
            spool::seal::recover(&archive.env, &archive.layout, &settings.prefix, settings.every, own, last);
        let stay = recovered.unwrap_or_else(|e| {
            tracing::warn!("{e}; tried again later");
            vec![e]
        });
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
        let mut undone = pass.failed;
        if last {
            // Those of this process are told of by their own.
            let ours = |e: &Error| {
                let path = |(hour, _): &(Box<Hour>, Ended)| archive.layout.hour(hour.name()).display().to_string();
                self.waiting.iter().any(|waiting| path(waiting) == e.subject)
            };
            undone.extend(stay.into_iter().filter(|e| !ours(e)).chain(pass.busy));
            undone.extend(self.unsealed.iter().cloned());
        }
        (again, undone)
    }
}
