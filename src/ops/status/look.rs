//! The look itself. What moves meanwhile moves from hour file to archive to receipt, so it is looked at in that order: nothing is
//! missed, and what is seen twice counts where it is further.

use super::verdict::State as Verdict;
use super::{Archived, Oldest, Open, Packed, Process, Space, Status, Stored, Stream};
use crate::env::fs::{Entry, EntryKind, File, FileId, Fs, read_whole};
use crate::env::{Env, alive};
use crate::error::{Error, Kind, Result};
use crate::format::layout::{GZIP, Layout, ZSTD};
use crate::format::manifest::Summary;
use crate::format::name::LogName;
use crate::format::receipt::Receipt;
use crate::format::seal::Seal;
use crate::format::state::State;
use crate::format::{progress, tally};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// How much of a file is read at the most to count lines that no record counts, in bytes.
const COUNTED: u64 = 64 << 20;
/// How much is read at a time, in bytes.
const SLICE: usize = 256 << 10;

/// Whether the lines of open files are counted: that may mean to read some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// They are.
    Lines,
    /// They are not.
    Nothing,
}

type Streams = BTreeMap<(String, Option<String>), Stream>;

/// Looks at DIR.
///
/// # Errors
/// If DIR itself can't be listed. What else can't be read is named in what comes back.
pub fn look(env: &Env, layout: &Layout, counting: Counting) -> Result<Status> {
    let mut look = Look {
        fs: &*env.fs,
        layout,
        counting,
        now: env.clock.now().trunc_subsecs(0),
        streams: Streams::new(),
        ids: HashSet::new(),
        used: 0,
        unread: Vec::new(),
    };
    // A process that begins or ends meanwhile: better one that has gone than one that is not seen.
    let processes = look.processes();
    let hours = look.names(env.fs.list(layout.dir())?);
    let sealed = look.listed(&layout.seals());
    let mut archives = look.listed(&layout.archives());
    let waits = look.manifests();
    look.hours(hours, &sealed, &archives);
    let archived = look.receipts(&mut archives);
    if archived == Archived::Stored {
        look.waiting(archives);
    }
    for (name, count) in waits {
        look.stream(&name).manifests_waiting = count;
    }
    for state in processes.iter().map(|process| &process.state) {
        if let (Some((prefix, suffix)), Some(seconds)) = (state.stream(), state.seconds) {
            let key = (prefix.to_owned(), Some(suffix.to_owned()));
            let stream = look.streams.entry(key.clone()).or_insert_with(|| blank(key));
            stream.period_seconds = stream.period_seconds.max(Some(seconds));
        }
    }
    look.rest();
    let space = env.fs.space(layout.dir()).map_err(|e| look.unread.push(e.to_string())).ok();
    let used_bytes = look.used;
    let streams: Vec<_> = look.streams.into_values().collect();
    Ok(Status {
        at: look.now,
        dir: layout.dir().display().to_string(),
        archived,
        state: Verdict::Ok,
        oldest: streams.iter().filter_map(|stream| stream.oldest.clone()).min_by_key(|oldest| oldest.at),
        space: space.map(|space| Space { used_bytes, free_bytes: space.free, total_bytes: space.total }),
        streams,
        processes,
        unread: look.unread,
    })
}

struct Look<'a> {
    fs: &'a dyn Fs,
    layout: &'a Layout,
    counting: Counting,
    now: DateTime<Utc>,
    streams: Streams,
    /// Files whose size is added up: some have two names.
    ids: HashSet<FileId>,
    used: u64,
    unread: Vec<String>,
}

impl Look<'_> {
    /// What is in a directory; what is not there, or may not be read, holds nothing.
    fn list(&mut self, dir: &Path) -> Vec<Entry> {
        match self.fs.list(dir) {
            Ok(entries) => entries,
            Err(e) => self.passed_over(&e),
        }
    }

    fn passed_over<T: Default>(&mut self, e: &Error) -> T {
        if e.kind != Kind::NotFound {
            self.unread.push(e.to_string());
        }
        T::default()
    }

    fn listed(&mut self, dir: &Path) -> BTreeMap<LogName, Entry> {
        let entries = self.list(dir);
        self.names(entries)
    }

    /// Files of ours. Their size is added up, and that of files which are not.
    fn names(&mut self, entries: Vec<Entry>) -> BTreeMap<LogName, Entry> {
        let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
        let named = files.inspect(|entry| {
            if self.ids.insert(entry.id) {
                self.used += entry.len;
            }
        });
        named.filter_map(|entry| Some((LogName::parse(&entry.name)?, entry))).collect()
    }

    /// Reads a small file; what is not there, or can't be read, is nothing.
    fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        read_whole(self.fs, path).map_err(|e| self.passed_over::<()>(&e)).ok()
    }

    fn json<T: DeserializeOwned>(&mut self, path: &Path) -> Option<T> {
        serde_json::from_slice(&self.read(path)?).ok()
    }

    fn stream(&mut self, name: &LogName) -> &mut Stream {
        let key = (name.prefix().to_owned(), name.suffix().map(str::to_owned));
        self.streams.entry(key.clone()).or_insert_with(|| blank(key))
    }

    fn age(&self, at: DateTime<Utc>) -> u64 {
        u64::try_from((self.now - at).num_seconds()).unwrap_or(0)
    }

    /// Notes when the oldest line of a file came.
    fn note(&mut self, name: &LogName, at: DateTime<Utc>, path: &Path) {
        let file = path.strip_prefix(self.layout.dir()).unwrap_or(path).display().to_string();
        let age_seconds = self.age(at);
        let stream = self.stream(name);
        if stream.oldest.as_ref().is_none_or(|oldest| at < oldest.at) {
            stream.oldest = Some(Oldest { at, age_seconds, file });
        }
    }

    fn hours(
        &mut self,
        hours: BTreeMap<LogName, Entry>,
        sealed: &BTreeMap<LogName, Entry>,
        archives: &BTreeMap<LogName, Entry>,
    ) {
        let group = |name: &LogName| (name.prefix().to_owned(), name.suffix().map(str::to_owned));
        let mut newest: BTreeMap<_, DateTime<Utc>> = BTreeMap::new();
        for name in hours.keys() {
            let stamp = newest.entry(group(name)).or_insert(name.stamp());
            *stamp = name.stamp().max(*stamp);
        }
        for (name, entry) in &hours {
            // What is packed already is looked at there.
            let is_packed = [GZIP, ZSTD].iter().any(|ending| archives.contains_key(&name.with_ending(ending)));
            if is_packed || entry.len == 0 {
                continue;
            }
            let (began, seconds) = self.began(name, sealed.contains_key(name));
            let began = began.unwrap_or_else(|| name.stamp().min(entry.modified));
            self.note(name, began, &self.layout.hour(name));
            let is_open = !sealed.contains_key(name) && newest.get(&group(name)) == Some(&name.stamp());
            let open = is_open.then(|| self.open(name, entry, began));
            let stream = self.stream(name);
            stream.period_seconds = stream.period_seconds.max(seconds);
            match open {
                Some(open) => stream.open.push(open),
                None => {
                    stream.ended.files += 1;
                    stream.ended.bytes += entry.len;
                }
            }
        }
    }

    /// When the first line of an hour file came, and how long its period is.
    fn began(&mut self, name: &LogName, sealed: bool) -> (Option<DateTime<Utc>>, Option<u64>) {
        let tally = self.read(&self.layout.tally(name)).map(|data| tally::read(&data)).unwrap_or_default();
        let seal: Option<Seal> = if sealed { self.json(&self.layout.seal(name)) } else { None };
        let first = seal.as_ref().and_then(|seal| seal.first);
        (tally.began.or(first), tally.seconds.or(seal.and_then(|seal| seal.seconds)))
    }

    fn open(&mut self, name: &LogName, entry: &Entry, began: DateTime<Utc>) -> Open {
        let packed = [GZIP, ZSTD].iter().find_map(|ending| self.packed(&name.with_ending(ending), entry.len));
        let lines = if self.counting == Counting::Lines { self.lines(name, packed) } else { None };
        let age_seconds = self.age(began);
        Open { name: name.to_string(), bytes: entry.len, lines, began, age_seconds, packed }
    }

    /// What the packer has written down.
    fn packed(&mut self, archive: &LogName, len: u64) -> Option<Packed> {
        let (kind, blocks) = progress::read_any(&self.read(&self.layout.progress(archive))?)?;
        let last = blocks.last()?;
        Some(Packed {
            bytes: kind.block.saturating_mul(blocks.len() as u64).min(len),
            lines: blocks.iter().map(|block| block.lines).sum(),
            packed_bytes: last.to,
        })
    }

    /// The lines that the packer has counted, and those behind.
    fn lines(&mut self, name: &LogName, packed: Option<Packed>) -> Option<u64> {
        let (from, known) = packed.map_or((0, 0), |packed| (packed.bytes, packed.lines));
        let counted = self.fs.open_read(&self.layout.hour(name)).and_then(|file| count(&*file, from));
        counted.map_err(|e| self.passed_over::<()>(&e)).ok().flatten().map(|lines| lines + known)
    }

    /// What has a receipt is stored; what is left of `archives` is not, if there are receipts.
    fn receipts(&mut self, archives: &mut BTreeMap<LogName, Entry>) -> Archived {
        let entries = match self.fs.list(&self.layout.receipts()) {
            Ok(entries) => entries,
            Err(e) if e.kind == Kind::NotFound => return Archived::Packed,
            Err(e) => {
                self.passed_over::<()>(&e);
                return Archived::Unknown;
            }
        };
        let since = self.now - TimeDelta::hours(24);
        let mut last: BTreeMap<_, (DateTime<Utc>, LogName)> = BTreeMap::new();
        for (name, entry) in self.names(entries) {
            archives.remove(&name);
            let stream = self.stream(&name);
            stream.stored.files_24h += u64::from(entry.modified >= since);
            let key = (stream.prefix.clone(), stream.suffix.clone());
            let newest = last.entry(key).or_insert_with(|| (entry.modified, name.clone()));
            if (entry.modified, &name) > (newest.0, &newest.1) {
                *newest = (entry.modified, name);
            }
        }
        for (modified, name) in last.into_values() {
            let receipt: Option<Receipt> = self.json(&self.layout.receipt(&name));
            let stored: &mut Stored = &mut self.stream(&name).stored;
            stored.last_at = Some(receipt.as_ref().map_or(modified, |receipt| receipt.at));
            stored.last = receipt.map(|receipt| receipt.stored);
        }
        Archived::Stored
    }

    /// Archives without a receipt.
    fn waiting(&mut self, archives: BTreeMap<LogName, Entry>) {
        let mut first: BTreeMap<_, Vec<(LogName, DateTime<Utc>)>> = BTreeMap::new();
        for (name, entry) in archives {
            let stream = self.stream(&name);
            stream.waiting.files += 1;
            stream.waiting.bytes += entry.len;
            let key = (stream.prefix.clone(), stream.suffix.clone());
            let oldest = first.entry(key).or_default();
            // No line of a later period is older: one look suffices, however many wait.
            match oldest.first().map(|(other, _)| other.stamp().cmp(&name.stamp())) {
                Some(std::cmp::Ordering::Less) => {}
                Some(std::cmp::Ordering::Equal) => oldest.push((name, entry.modified)),
                _ => *oldest = vec![(name, entry.modified)],
            }
        }
        for (name, modified) in first.into_values().flatten() {
            let summary: Option<Summary> = self.json(&self.layout.summary(&name));
            let at = summary.as_ref().and_then(|summary| summary.first);
            self.note(&name, at.unwrap_or_else(|| name.stamp().min(modified)), &self.layout.archive(&name));
            let stream = self.stream(&name);
            stream.period_seconds = stream.period_seconds.max(summary.and_then(|summary| summary.seconds));
        }
    }

    /// How many manifests of each stream wait, by one of their names.
    fn manifests(&mut self) -> Vec<(LogName, u64)> {
        let mut waits: BTreeMap<_, (LogName, u64)> = BTreeMap::new();
        for name in self.listed(&self.layout.manifests()).into_keys() {
            let key = (name.prefix().to_owned(), name.suffix().map(str::to_owned));
            waits.entry(key).or_insert((name, 0)).1 += 1;
        }
        waits.into_values().collect()
    }

    fn processes(&mut self) -> Vec<Process> {
        let states = self.layout.states();
        let names: BTreeSet<_> = self.list(&states).into_iter().map(|entry| entry.name).collect();
        let mut found = Vec::new();
        for name in names {
            let Some(life) = self.layout.life_of(&name) else { continue };
            let Some(state) = self.read(&states.join(&name)).and_then(|data| State::parse(&data)) else { continue };
            let running = match self.fs.open_read(&life) {
                Ok(file) => alive::is_shown(&*file),
                Err(e) if e.kind == Kind::NotFound => Some(false),
                Err(e) => self.passed_over(&e),
            };
            found.push(Process { running, state });
        }
        found
    }

    /// Adds up the size of what is logjam's own.
    fn rest(&mut self) {
        let private = self.list(&self.layout.private());
        for dir in private.into_iter().filter(|entry| entry.kind == EntryKind::Dir) {
            let path = self.layout.private().join(dir.name);
            // What can't be listed was named before, if it matters.
            if let Ok(entries) = self.fs.list(&path) {
                self.names(entries);
            }
        }
        self.unread.sort();
        self.unread.dedup();
    }
}

fn blank((prefix, suffix): (String, Option<String>)) -> Stream {
    Stream {
        prefix,
        suffix,
        state: Verdict::Ok,
        warning_seconds: 0,
        critical_seconds: 0,
        oldest: None,
        period_seconds: None,
        open: Vec::new(),
        ended: super::Pile::default(),
        waiting: super::Pile::default(),
        manifests_waiting: 0,
        stored: Stored::default(),
    }
}

/// Newlines from there on; `None` if that is too much to read.
fn count(file: &dyn File, from: u64) -> Result<Option<u64>> {
    if file.len()?.saturating_sub(from) > COUNTED {
        return Ok(None);
    }
    let (mut buffer, mut at, mut lines) = (vec![0; SLICE], from, 0);
    // It may grow meanwhile, and faster than it is read.
    while at - from <= COUNTED {
        match file.read_at(&mut buffer, at)? {
            0 => break,
            n => {
                lines += memchr::memchr_iter(b'\n', &buffer[..n]).count() as u64;
                at += n as u64;
            }
        }
    }
    Ok(Some(lines))
}
