//! What lies in DIR right now.

use super::Archive;
use super::plan::Sources;
use crate::env::fs::{Entry, EntryKind, read_whole};
use crate::error::{Kind, Result};
use crate::format::name::LogName;
use crate::format::receipt::Receipt;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A listing of DIR, as far as names follow the grammar. Paired with what else is known of a file.
#[derive(Debug, Default)]
pub struct Seen {
    /// Hour files.
    pub hours: Vec<LogName>,
    /// Hour files that have ended.
    pub seals: BTreeSet<LogName>,
    /// Input marks.
    pub inputs: BTreeSet<LogName>,
    /// Journals of uploads in parts.
    pub journals: BTreeSet<LogName>,
    /// Tallies of hour files.
    pub tallies: BTreeSet<LogName>,
    /// The progress of archives in the making.
    pub progresses: BTreeSet<LogName>,
    /// Summaries, and when they were written.
    pub summaries: BTreeMap<LogName, DateTime<Utc>>,
    /// Manifests that are to be stored.
    pub manifests: BTreeSet<LogName>,
    /// Files in the making, and when they last changed.
    pub works: Vec<(String, DateTime<Utc>)>,
    /// Archives, sorted, with the time of their receipt if a receipt of ours says they are stored.
    pub archives: Vec<(LogName, Stage)>,
    /// Receipts whose archive is gone, and when they were written.
    pub old_receipts: Vec<(LogName, DateTime<Utc>)>,
}

/// How far an archive has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits to be stored.
    Waiting,
    /// The seed's marker says that it is stored: it is not sent again, and not removed on that word.
    Marked,
    /// It is stored since then.
    Stored(DateTime<Utc>),
}

/// Looks at DIR. Unfinished work is listed before the hour files it is made from, so that work seen without its hour
/// file is not needed any more.
pub fn look(archive: &Archive) -> Result<Seen> {
    let Archive { layout, prefix, .. } = archive;
    let wanted = |name: &LogName| prefix.as_ref().is_none_or(|p| p == name.prefix());
    let mut seen = Seen::default();
    let works = list(archive, &layout.works())?;
    seen.works = works.into_iter().map(|e| (e.name, e.modified)).collect();
    seen.progresses = names(list(archive, &layout.progresses())?).map(|(name, _)| name).collect();
    if archive.sources != Sources::None {
        seen.inputs = names(list(archive, &layout.inputs())?).map(|(name, _)| name).collect();
        seen.tallies = names(list(archive, &layout.tallies())?).map(|(name, _)| name).collect();
        seen.seals = names(list(archive, &layout.seals())?).map(|(name, _)| name).collect();
        seen.hours = names(list(archive, layout.dir())?).map(|(name, _)| name).filter(&wanted).collect();
        seen.hours.sort_by(|a, b| (a.stamp(), a).cmp(&(b.stamp(), b)));
    }
    if archive.uploads {
        seen.journals = names(list(archive, &layout.journals())?).map(|(name, _)| name).filter(&wanted).collect();
    }
    let manifests = names(list(archive, &layout.manifests())?).map(|(name, _)| name);
    seen.manifests = manifests.filter(&wanted).collect();
    let summaries = names(list(archive, &layout.summaries())?).map(|(name, entry)| (name, entry.modified));
    seen.summaries = summaries.filter(|(name, _)| wanted(name)).collect();
    let receipts: Vec<_> = names(list(archive, &layout.receipts())?).filter(|(name, _)| wanted(name)).collect();
    let mut archives = BTreeSet::new();
    for (name, _) in names(list(archive, &layout.archives())?).filter(|(name, _)| wanted(name)) {
        archives.insert(name);
    }
    for (name, entry) in receipts {
        if archives.remove(&name) {
            let stage = receipt_of(archive, &name)?;
            seen.archives.push((name, stage));
        } else {
            seen.old_receipts.push((name, entry.modified));
        }
    }
    seen.archives.extend(archives.into_iter().map(|name| (name, Stage::Waiting)));
    seen.archives.sort_by(|(a, _), (b, _)| (a.stamp(), a).cmp(&(b.stamp(), b)));
    Ok(seen)
}

fn receipt_of(archive: &Archive, name: &LogName) -> Result<Stage> {
    match read_whole(&*archive.env.fs, &archive.layout.receipt(name)) {
        Ok(data) => Ok(serde_json::from_slice::<Receipt>(&data).map_or(Stage::Marked, |r| Stage::Stored(r.at))),
        Err(e) if e.kind == Kind::NotFound => Ok(Stage::Waiting),
        Err(e) => Err(e),
    }
}

fn names(entries: Vec<Entry>) -> impl Iterator<Item = (LogName, Entry)> {
    entries.into_iter().filter_map(|entry| LogName::parse(&entry.name).map(|name| (name, entry)))
}

fn list(archive: &Archive, dir: &Path) -> Result<Vec<Entry>> {
    match archive.env.fs.list(dir) {
        Ok(entries) => Ok(entries.into_iter().filter(|e| e.kind == EntryKind::File).collect()),
        Err(e) if e.kind == Kind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}
