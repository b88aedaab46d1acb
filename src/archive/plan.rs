//! What is due, given what lies in DIR. Pure.

use super::Archive;
use super::seen::{Seen, Stage};
use crate::format::layout::{GZIP, ZSTD};
use crate::format::name::LogName;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// An hour file of another program is superseded this long after its time, even without a newer one.
const SUPERSEDED_AFTER: TimeDelta = TimeDelta::minutes(65);
/// How long a receipt outlives its archive: while it stands, its name is not used again.
const RECEIPT_KEPT: TimeDelta = TimeDelta::days(400);
/// After this time a small file in the making belongs to nobody any more.
const DRAFT_ABANDONED: TimeDelta = TimeDelta::minutes(5);

/// Which hour files are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// None.
    None,
    /// Those that `logjam pipe` has sealed.
    Sealed,
    /// Those of other programs that have a newer file of their group, or are more than 1 h 5 min old.
    Superseded,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Compress an hour file.
    Pack(LogName),
    /// Store an archive.
    Upload(LogName),
    /// Remove a stored archive from the disk.
    Retire(LogName),
    /// Remove an old receipt.
    Forget(LogName),
    /// Remove what a dead process left unfinished.
    Clear(PathBuf),
}

/// The steps that are due, in the order in which they are to be done: stored archives go first, since that frees space.
pub fn plan(seen: &Seen, archive: &Archive, now: DateTime<Utc>) -> Vec<Step> {
    let keep = match archive.pressed.load(Ordering::Relaxed) {
        true => TimeDelta::zero(),
        false => TimeDelta::from_std(archive.keep).unwrap_or(TimeDelta::MAX),
    };
    let kept = |since: DateTime<Utc>, time| now.signed_duration_since(since) < time;
    let mut steps = Vec::new();
    let told = |name: &LogName| !seen.summaries.contains_key(name) && !seen.manifests.contains(name);
    for (name, stage) in &seen.archives {
        match stage {
            Stage::Stored(at) if archive.uploads && told(name) && !kept(*at, keep) && !has_source(seen, name) => {
                steps.push(Step::Retire(name.clone()))
            }
            Stage::Waiting if archive.uploads => steps.push(Step::Upload(name.clone())),
            _ if archive.uploads && !told(name) => steps.push(Step::Upload(name.clone())),
            _ => {}
        }
    }
    steps.extend(untold(seen, archive, now));
    steps.extend(due(seen, archive.sources, now).into_iter().map(Step::Pack));
    for (name, written) in &seen.old_receipts {
        if archive.uploads && !kept(*written, RECEIPT_KEPT) {
            steps.push(Step::Forget(name.clone()));
        }
    }
    steps.extend(leftovers(seen, archive, now));
    steps
}

/// Whether the hour file that an archive was made of may still stand: then the archive tells that it is packed.
fn has_source(seen: &Seen, archive: &LogName) -> bool {
    let Some(source) = [GZIP, ZSTD].iter().find_map(|ending| archive.without_ending(ending)) else { return false };
    let same = |hour: &&LogName| {
        (hour.prefix(), hour.stamp(), hour.suffix(), hour.extension())
            == (source.prefix(), source.stamp(), source.suffix(), source.extension())
    };
    seen.hours.iter().any(|hour| same(&hour))
}

/// Manifests that are left to make or to store, beside those of archives that stand.
fn untold(seen: &Seen, archive: &Archive, now: DateTime<Utc>) -> Vec<Step> {
    let stands = |name: &LogName| seen.archives.iter().any(|(archive, _)| archive == name);
    let settled = |written: DateTime<Utc>| now.signed_duration_since(written) > DRAFT_ABANDONED;
    // A summary is there before its archive is; only later it tells of one that is gone, or that never was.
    let summaries = seen.summaries.iter().filter(|(_, written)| settled(**written)).map(|(name, _)| name);
    let names: BTreeSet<_> = summaries.chain(&seen.manifests).filter(|name| archive.uploads && !stands(name)).collect();
    names.into_iter().cloned().map(Step::Upload).collect()
}

fn due(seen: &Seen, sources: Sources, now: DateTime<Utc>) -> Vec<LogName> {
    let mut newest: BTreeMap<_, DateTime<Utc>> = BTreeMap::new();
    for name in &seen.hours {
        let stamp = newest.entry(name.group()).or_insert(name.stamp());
        *stamp = name.stamp().max(*stamp);
    }
    let superseded = |name: &&LogName| {
        newest.get(&name.group()).is_some_and(|stamp| *stamp > name.stamp())
            || now.signed_duration_since(name.stamp()) > SUPERSEDED_AFTER
    };
    match sources {
        Sources::None => Vec::new(),
        Sources::Sealed => seen.hours.iter().filter(|name| seen.seals.contains(name)).cloned().collect(),
        Sources::Superseded => seen.hours.iter().filter(superseded).cloned().collect(),
    }
}

/// Work, seals and marks whose hour file is gone, and journals whose archive is: the crash came after the last step that
/// needed them. The uploader gives up the uploads of such journals.
fn leftovers(seen: &Seen, archive: &Archive, now: DateTime<Utc>) -> Vec<Step> {
    let stands = |name: &LogName| seen.archives.iter().any(|(archive, _)| archive == name);
    let growing = |name: &LogName| seen.works.iter().any(|(work, _)| *work == name.to_string());
    let journals = seen.journals.iter().filter(|name| !stands(name) && !growing(name));
    let mut steps: Vec<_> = journals.cloned().map(Step::Upload).collect();
    let packs = archive.sources != Sources::None;
    let ours = |name: &LogName| packs && archive.prefix.as_ref().is_none_or(|p| p == name.prefix());
    for (text, modified) in &seen.works {
        match LogName::parse(text) {
            None if now.signed_duration_since(*modified) > DRAFT_ABANDONED => {
                steps.push(Step::Clear(archive.layout.works().join(text)));
            }
            Some(name) if ours(&name) && !seen.hours.iter().any(|hour| text.starts_with(&format!("{hour}."))) => {
                steps.push(Step::Clear(archive.layout.work(&name)));
            }
            _ => {}
        }
    }
    for name in seen.seals.iter().filter(|name| ours(name) && !seen.hours.contains(name)) {
        steps.push(Step::Clear(archive.layout.seal(name)));
    }
    for name in seen.tallies.iter().filter(|name| ours(name) && !seen.hours.contains(name)) {
        steps.push(Step::Clear(archive.layout.tally(name)));
    }
    // Where nobody here makes manifests of them.
    let kept = if archive.sources == Sources::Superseded { DRAFT_ABANDONED } else { RECEIPT_KEPT };
    for (name, written) in seen.summaries.iter().filter(|(name, _)| !archive.uploads && ours(name) && !stands(name)) {
        if now.signed_duration_since(*written) > kept {
            steps.push(Step::Clear(archive.layout.summary(name)));
        }
    }
    let packs = |name: &&LogName| seen.hours.iter().any(|hour| name.to_string().starts_with(&format!("{hour}.")));
    for name in seen.progresses.iter().filter(|name| ours(name) && !packs(name)) {
        steps.push(Step::Clear(archive.layout.progress(name)));
    }
    for name in seen.inputs.iter().filter(|name| ours(name) && !seen.hours.contains(name)) {
        steps.push(Step::Clear(archive.layout.input(name)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<LogName> {
        texts.iter().map(|t| LogName::parse(t).unwrap()).collect()
    }

    fn superseded(texts: &[&str], now: &str) -> Vec<String> {
        let seen = Seen { hours: names(texts), ..Seen::default() };
        due(&seen, Sources::Superseded, now.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    const FLASK: [&str; 3] = [
        "flask-requests-20130727T1200Z-us-west-2-i-ae23fega.log",
        "flask-requests-20130727T1300Z-us-west-2-i-ae23fega.log",
        "flask-requests-20130727T1400Z-us-west-2-i-ae23fega.log",
    ];

    #[test]
    fn a_newer_file_of_its_group_supersedes_a_file() {
        assert_eq!(superseded(&FLASK, "2013-07-27T14:00:00Z"), FLASK[..2]);
        assert_eq!(superseded(&FLASK[2..], "2013-07-27T14:00:00Z"), [""; 0]);
    }

    #[test]
    fn a_file_is_superseded_after_an_hour_and_five_minutes() {
        assert_eq!(superseded(&FLASK[1..2], "2013-07-27T14:05:00Z"), [""; 0]);
        assert_eq!(superseded(&FLASK[1..2], "2013-07-27T14:05:01Z"), FLASK[1..2]);
    }

    #[test]
    fn groups_do_not_supersede_each_other() {
        let files = [
            "flask-requests-20130727T1200Z-us-west-2-i-ae23fega.log",
            "haproxy-20130727T1300Z-us-west-2-i-ae23fega.log",
            "haproxy-20130727T1200Z-other.log",
            "haproxy-20130727T1200Z-us-west-2-i-ae23fega.txt",
        ];
        assert_eq!(superseded(&files, "2013-07-27T12:55:00Z"), [""; 0]);
    }
}
