//! The queue of archives that wait to be stored. It never gives up and never wedges: each archive has its own back-off, a
//! far end that is down as a whole is tried with one archive at a time, in turn, and a change of its state is said once.

use super::Archive;
use super::ahead::{self, Ahead, Grown, Sender};
use super::upload::{Outcome, upload};
use crate::env::store::{Body, Store};
use crate::error::{Class, Error, Kind, Result};
use crate::format::key::Dest;
use crate::format::name::LogName;
use crate::format::state::Stage;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How many archives are under way at once.
const AT_ONCE: usize = 2;
/// The first back-off, and the longest: doubled from one to the other, then jittered down by up to half.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// How long a queue that somebody waits for goes on without any success.
const PATIENCE: Duration = Duration::from_secs(15);
/// While requests are denied: how soon the next archive gets its first try. The denial may concern one key only.
const FIRST_TRY: Duration = Duration::from_millis(50);
/// After how many tries in vain it is noted that another process has an archive, some 5 s later.
const BUSY: u32 = 4;

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<LogName, Turn>,
    running: BTreeMap<LogName, u32>,
    /// Somebody waits for the queue to empty, since then: what waiting does not mend is given up.
    finishing: Option<Instant>,
    /// What was given up.
    failed: Vec<(LogName, Error)>,
    /// Why the far end as a whole can't be used, and when it is tried next.
    down: Option<(Error, Turn)>,
    /// What is sent while its hour lasts.
    ahead: Ahead,
}

impl Queue {
    /// How many archives may be under way: while the far end is down, only one.
    fn most(&self) -> usize {
        if self.down.is_some() { 1 } else { AT_ONCE }
    }
}

enum Job {
    Upload(LogName, u32),
    Ahead(ahead::What),
}

enum Done {
    Upload(LogName, u32, Result<Outcome>),
    Ahead(ahead::Done),
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    tries: u32,
    due: Instant,
}

/// A handle on the queue, for all threads.
#[derive(Clone)]
pub struct Uploader {
    queue: Arc<(Mutex<Queue>, Condvar)>,
    wake: Arc<Notify>,
    archive: Archive,
    store: Arc<dyn Store>,
    dest: Arc<Dest>,
}

impl Uploader {
    /// Starts the queue on a thread of its own.
    pub fn start(archive: Archive, store: Arc<dyn Store>, dest: Dest) -> Result<Self> {
        let uploader = Self { queue: Arc::default(), wake: Arc::default(), archive, store, dest: Arc::new(dest) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
        let runtime = runtime.map_err(|e| Error::io("start", "the uploader", &e))?;
        let run = uploader.clone();
        std::thread::Builder::new()
            .name("upload".into())
            .spawn(move || runtime.block_on(run.run()))
            .map_err(|e| Error::io("start", "the uploader", &e))?;
        Ok(uploader)
    }

    /// Puts an archive into the queue; one that is there already stays where it is.
    pub fn offer(&self, name: &LogName) {
        let mut queue = self.lock();
        queue.ahead.ended(name);
        if !queue.waiting.contains_key(name) && !queue.running.contains_key(name) {
            queue.waiting.insert(name.clone(), Turn { tries: 0, due: self.archive.env.clock.steady() });
            drop(queue);
            self.wake.notify_one();
        }
    }

    /// Waits until the queue is empty, at most `limit`: whether it is, and then what was given up. From the first call
    /// on, what waiting will not mend is given up at once, and everything after a while without any success.
    pub fn wait_empty(&self, limit: Duration) -> (bool, Vec<(LogName, Error)>) {
        let now = self.archive.env.clock.steady();
        let mut queue = self.lock();
        if queue.finishing.is_none() {
            queue.finishing = Some(now);
            queue.waiting.values_mut().for_each(|turn| turn.due = now);
            if let Some((_, probe)) = &mut queue.down {
                probe.due = now;
            }
            self.wake.notify_one();
        }
        let busy = |queue: &mut Queue| !(queue.waiting.is_empty() && queue.running.is_empty());
        let waited = self.queue.1.wait_timeout_while(queue, limit, busy);
        let (mut queue, time) = waited.unwrap_or_else(PoisonError::into_inner);
        match time.timed_out() {
            true => (false, Vec::new()),
            false => (true, std::mem::take(&mut queue.failed)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self) {
        let mut tasks = JoinSet::new();
        let mut progress = self.archive.env.clock.steady();
        loop {
            while let Some(job) = self.next_job() {
                let run = self.clone();
                tasks.spawn(async move { run.work(job).await });
            }
            let pause = self.until_due();
            tokio::select! {
                Some(done) = tasks.join_next() => match done {
                    Ok(Done::Upload(name, tries, done)) => self.settle(&name, tries, done, &mut progress),
                    Ok(Done::Ahead(done)) => self.settle_ahead(done),
                    Err(e) => tracing::error!("an upload ended: {e}; tried again later"),
                },
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        if let Some((name, tries)) = self.next_due() {
            return Some(Job::Upload(name, tries));
        }
        let now = self.archive.env.clock.steady();
        self.lock().ahead.next_due(now).map(Job::Ahead)
    }

    async fn work(&self, job: Job) -> Done {
        match job {
            Job::Upload(name, tries) => {
                let done = upload(&self.archive, &*self.store, &self.dest, &name).await;
                Done::Upload(name, tries, done)
            }
            Job::Ahead(what) => Done::Ahead(ahead::send(&self.archive, &*self.store, &self.dest, what).await),
        }
    }

    fn settle_ahead(&self, done: ahead::Done) {
        let now = self.archive.env.clock.steady();
        let mut queue = self.lock();
        match done.failure() {
            None if queue.waiting.is_empty() && queue.running.is_empty() && queue.down.take().is_some() => {
                tracing::info!("{}: it works again", self.store.name());
            }
            None => {}
            Some(e) => {
                let tries = queue.ahead.tries();
                self.note(&mut queue, e, tries, now);
            }
        }
        queue.ahead.settle(done, now, back_off);
        self.note_mended(&queue);
    }

    /// Takes the next archive whose turn it is; while the far end is down, only one at a time.
    fn next_due(&self) -> Option<(LogName, u32)> {
        let mut queue = self.lock();
        if queue.running.len() >= queue.most() {
            return None;
        }
        let now = self.archive.env.clock.steady();
        if queue.down.as_ref().is_some_and(|(_, probe)| probe.due > now) {
            return None;
        }
        // While it is down those that were never tried go first, then the one that waited longest, so that a bad archive
        // holds up no other.
        // What is being sent ahead is left to that.
        let mut free = queue.waiting.iter().filter(|(name, _)| !queue.ahead.is_sending(name));
        let name = match queue.down {
            Some(_) => free.min_by_key(|(_, turn)| (turn.tries > 0, turn.due)),
            None => free.find(|(_, turn)| turn.due <= now),
        };
        let name = name.filter(|(_, turn)| turn.due <= now).map(|(name, _)| name.clone())?;
        let turn = queue.waiting.remove(&name)?;
        queue.running.insert(name.clone(), turn.tries);
        Some((name, turn.tries))
    }

    fn until_due(&self) -> Duration {
        let queue = self.lock();
        if !queue.running.is_empty() && queue.running.len() >= queue.most() {
            return BACK_OFF.1;
        }
        let now = self.archive.env.clock.steady();
        let free = queue.waiting.iter().filter(|(name, _)| !queue.ahead.is_sending(name));
        let next = free.map(|(_, turn)| turn.due.saturating_duration_since(now)).min();
        let probe = queue.down.as_ref().map(|(_, probe)| probe.due.saturating_duration_since(now));
        let next = next.map(|next| next.max(probe.unwrap_or_default()));
        let ahead = queue.ahead.due().map(|due| due.saturating_duration_since(now));
        next.into_iter().chain(ahead).min().unwrap_or(BACK_OFF.1).max(Duration::from_millis(20))
    }

    fn settle(&self, name: &LogName, tries: u32, done: Result<Outcome>, progress: &mut Instant) {
        let now = self.archive.env.clock.steady();
        let mut queue = self.lock();
        queue.running.remove(name);
        let overdue = queue.finishing.is_some_and(|since| now.duration_since(since.max(*progress)) >= PATIENCE);
        match done {
            Ok(outcome) => {
                *progress = now;
                if let Outcome::Split(rest) = &outcome {
                    queue.waiting.insert(rest.clone(), Turn { tries: 0, due: now });
                }
                if outcome != Outcome::Skipped && queue.down.take().is_some() {
                    tracing::info!("{}: it works again", self.store.name());
                    for turn in queue.waiting.values_mut() {
                        turn.due = now;
                    }
                }
            }
            Err(e) if e.kind == Kind::Busy && !overdue => {
                if tries >= BUSY {
                    self.archive.env.trouble(Stage::Upload, &e, full_back_off(tries));
                }
                queue.waiting.insert(name.clone(), Turn { tries: tries + 1, due: now + back_off(tries) });
            }
            Err(e) => {
                let hopeless = overdue || (queue.finishing.is_some() && e.class != Class::Retry);
                // What is denied for good may be denied for this key only.
                let alone = e.kind == Kind::Denied && e.class == Class::Stop;
                let whole = self.note(&mut queue, &e, tries, now) && !alone;
                queue.waiting.insert(name.clone(), Turn { tries: tries + 1, due: now + back_off(tries) });
                if hopeless && whole {
                    let all = std::mem::take(&mut queue.waiting);
                    queue.failed.extend(all.into_keys().map(|name| {
                        let subject = self.dest.url(&self.dest.key(&name));
                        (name, Error { subject, ..e.clone() })
                    }));
                } else if hopeless {
                    queue.waiting.remove(name);
                    queue.failed.push((name.clone(), e));
                }
            }
        }
        self.note_mended(&queue);
        drop(queue);
        self.queue.1.notify_all();
    }

    /// Notes that nothing waits that has failed.
    fn note_mended(&self, queue: &Queue) {
        let failed = queue.waiting.values().map(|turn| turn.tries).chain(queue.running.values().copied());
        if queue.down.is_none() && queue.ahead.tries() == 0 && failed.max().unwrap_or(0) == 0 {
            self.archive.env.mended(Stage::Upload);
        }
    }

    /// Notes a failure, and says it in one line when it changes the state: of the far end as a whole, or of an archive
    /// at its first failure. Whether it concerns the far end as a whole.
    fn note(&self, queue: &mut Queue, e: &Error, tries: u32, now: Instant) -> bool {
        let general = matches!(e.kind, Kind::Denied | Kind::NoBucket | Kind::Unreachable | Kind::Throttled);
        let known = queue.down.take();
        let tried = known.as_ref().map_or(tries, |(_, probe)| probe.tries);
        self.archive.env.trouble(Stage::Upload, e, full_back_off(tried));
        // An archive that fails while others are stored has a fault of its own, whatever its kind.
        if general && (tries == 0 || known.is_some()) {
            let first = e.kind == Kind::Denied && tries == 0;
            let (tries, same) = match &known {
                Some((old, probe)) => (probe.tries + u32::from(!first), old.kind == e.kind && old.cause == e.cause),
                None => (0, false),
            };
            if !same {
                tracing::warn!("{e}; archives wait on the disk, and it is tried again until it works");
            }
            let pause = if first { FIRST_TRY } else { back_off(tries) };
            queue.down = Some((e.clone(), Turn { tries, due: now + pause }));
            return true;
        }
        queue.down = known;
        if tries == 0 {
            let hope = if e.class == Class::Retry { "it is tried again" } else { "it waits for somebody to mend that" };
            tracing::warn!("{e}; {hope}");
        }
        false
    }
}

/// Capped, exponential, with jitter.
fn back_off(tries: u32) -> Duration {
    full_back_off(tries).mul_f64(1.0 - fastrand::f64() / 2.0)
}

fn full_back_off(tries: u32) -> Duration {
    BACK_OFF.0.saturating_mul(1 << tries.min(16)).min(BACK_OFF.1)
}

impl Sender for Uploader {
    fn grown(&self, grown: Grown) {
        let Some(parts) = self.store.parts() else { return };
        if self.lock().ahead.grown(grown, parts.part_size()) {
            self.wake.notify_one();
        }
    }

    fn checkpoint(&self, key: &str, body: Body) {
        self.lock().ahead.checkpoint(key, body);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_is_capped_and_jittered() {
        for tries in 0..100 {
            let time = back_off(tries);
            assert!(time >= BACK_OFF.0 / 2 && time <= BACK_OFF.1, "{tries}: {time:?}");
        }
        let times: Vec<_> = (0..20).map(|_| back_off(20)).collect();
        assert!(times.iter().any(|t| t != &times[0]));
    }
}
