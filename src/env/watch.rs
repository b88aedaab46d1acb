//! What this process tells those who watch it: counts that move only on proof, and the troubles that it has right now. Whoever
//! does something, or meets something, says it here. That costs an addition, and nobody waits for it: writing it down
//! and handing it out is for others.

use crate::error::Error;
use crate::format::state::{Stage, Trouble};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A trouble whose words change at each try is told of anew that often.
const VARIATION: TimeDelta = TimeDelta::seconds(60);

/// A count, from 0 at the start of the process.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// As many as somebody else has counted.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is counted, and what fails.
#[derive(Debug, Default)]
pub struct Watch {
    /// Bytes in hour files: as write(2) and splice(2) said.
    pub received_bytes: Count,
    /// Messages in hour files, where they are told apart.
    pub received_messages: Count,
    /// Messages that came again and were not kept twice.
    pub resent_messages: Count,
    /// Messages whose `OK` was written.
    pub confirmed_messages: Count,
    /// Bytes of hour files that a sync has made durable.
    pub synced_bytes: Count,
    /// Hour files whose archive is whole and durable.
    pub archived_files: Count,
    /// Their lines.
    pub archived_lines: Count,
    /// Their bytes, before they were packed.
    pub archived_bytes: Count,
    /// Their bytes, packed.
    pub archived_packed_bytes: Count,
    /// Archives that have a receipt.
    pub stored_files: Count,
    /// Their bytes.
    pub stored_bytes: Count,
    /// What failed, by [`Stage::ALL`].
    failures: [Count; Stage::ALL.len()],
    /// Which stages have a trouble: a bit for each. Asked far more often than it changes.
    troubled: AtomicU32,
    state: Mutex<Told>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    /// With the time of the last change.
    troubles: BTreeMap<Stage, (Trouble, DateTime<Utc>)>,
    confined: Option<String>,
    /// Of changes.
    number: u64,
    leaving: bool,
}

/// What is to be written down.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Of the change that it tells of.
    pub number: u64,
    /// What fails right now.
    pub troubles: Vec<Trouble>,
    /// What was given up.
    pub confined: Option<String>,
    /// Nothing more will come.
    pub leaving: bool,
}

impl Watch {
    /// Notes that something failed; it is tried again after `retry` at the most.
    pub fn trouble(&self, now: DateTime<Utc>, stage: Stage, e: &Error, retry: Duration) {
        self.failures[stage as usize].add(1);
        let retry = retry.as_secs() + u64::from(retry.subsec_nanos() > 0);
        let mut trouble = Trouble { stage, error: e.to_string(), since: now.trunc_subsecs(0), retry };
        let mut told = self.lock();
        if let Some((known, changed)) = told.troubles.get(&stage) {
            let same = known.error == trouble.error || (now - *changed).abs() < VARIATION;
            if same && known.retry == retry {
                return;
            }
            trouble.since = known.since;
        }
        told.troubles.insert(stage, (trouble, now));
        self.troubled.fetch_or(bit(stage), Relaxed);
        self.tell(told);
    }

    /// Notes that it works. Cheap where nothing was the matter.
    pub fn mended(&self, stage: Stage) {
        if self.troubled.load(Relaxed) & bit(stage) == 0 {
            return;
        }
        let mut told = self.lock();
        told.troubles.remove(&stage);
        self.troubled.fetch_and(!bit(stage), Relaxed);
        self.tell(told);
    }

    /// Takes over what an earlier life has met, and this one will meet again or mend.
    pub fn inherit(&self, troubles: Vec<Trouble>) {
        let mut told = self.lock();
        for trouble in troubles.into_iter().filter(|trouble| trouble.stage.is_inherited()) {
            self.troubled.fetch_or(bit(trouble.stage), Relaxed);
            told.troubles.entry(trouble.stage).or_insert((trouble, DateTime::UNIX_EPOCH));
        }
    }

    /// Notes what this process has given up for good, in words that `logjam status` shows.
    pub fn confined(&self, what: impl Into<String>) {
        let mut told = self.lock();
        told.confined = Some(what.into());
        self.tell(told);
    }

    /// Whether a stage has a trouble.
    pub fn is_troubled(&self, stage: Stage) -> bool {
        self.troubled.load(Relaxed) & bit(stage) != 0
    }

    /// How often something failed.
    pub fn failures(&self, stage: Stage) -> u64 {
        self.failures[stage as usize].get()
    }

    /// Waits for a change after that of this number; without one it is told what is.
    pub fn wait(&self, known: Option<u64>) -> News {
        let none = |told: &mut Told| known == Some(told.number) && !told.leaving;
        let told = self.changed.wait_while(self.lock(), none).unwrap_or_else(PoisonError::into_inner);
        told.news()
    }

    /// Waits that long, or until nothing more comes.
    pub fn rest(&self, time: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), time, |told| !told.leaving));
    }

    /// There is somebody who writes it down.
    pub fn begin(&self) {
        self.lock().leaving = false;
    }

    /// Nothing more will come.
    pub fn leave(&self) {
        let mut told = self.lock();
        told.leaving = true;
        self.tell(told);
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, mut told: MutexGuard<'_, Told>) {
        told.number += 1;
        drop(told);
        self.changed.notify_all();
    }
}

impl Told {
    fn news(&self) -> News {
        News {
            number: self.number,
            troubles: self.troubles.values().map(|(trouble, _)| trouble.clone()).collect(),
            confined: self.confined.clone(),
            leaving: self.leaving,
        }
    }
}

fn bit(stage: Stage) -> u32 {
    1 << stage as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn error(cause: &str) -> Error {
        Error::retry("put", "x", Kind::Unreachable, cause)
    }

    #[test]
    fn a_trouble_is_told_of_when_it_comes_changes_and_goes_and_not_at_each_try() {
        let watch = Watch::default();
        let try_at = |second, cause: &str, retry| {
            watch.trouble(at(second), Stage::Upload, &error(cause), Duration::from_millis(retry));
            watch.lock().number
        };
        assert_eq!(try_at(0, "gone", 500), 1);
        assert_eq!(try_at(1, "gone", 500), 1);
        assert_eq!(try_at(2, "gone, request 2", 1000), 1, "only its words have changed");
        assert_eq!(try_at(3, "gone", 2000), 2);
        assert_eq!(try_at(64, "gone, request 3", 2000), 3);
        let news = watch.wait(None);
        let trouble = &news.troubles[0];
        assert_eq!((trouble.since, trouble.retry), (at(0), 2));
        assert_eq!(trouble.error, "put x: gone, request 3");
        assert_eq!((watch.failures(Stage::Upload), watch.failures(Stage::Pack)), (5, 0));
        watch.mended(Stage::Pack);
        assert_eq!(watch.lock().number, 3);
        watch.mended(Stage::Upload);
        assert!(watch.wait(None).troubles.is_empty() && !watch.is_troubled(Stage::Upload));
    }

    #[test]
    fn what_an_earlier_life_met_lasts_until_this_one_mends_it() {
        let watch = Watch::default();
        let old = |stage| Trouble { stage, error: "old".into(), since: at(0), retry: 1 };
        watch.inherit(vec![old(Stage::Upload), old(Stage::Intake)]);
        assert!(watch.is_troubled(Stage::Upload) && !watch.is_troubled(Stage::Intake));
        watch.trouble(at(9), Stage::Upload, &error("new"), Duration::from_secs(1));
        let news = watch.wait(None);
        assert_eq!((news.troubles[0].since, &*news.troubles[0].error), (at(0), "put x: new"));
    }
}
