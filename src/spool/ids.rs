//! Identities: which lines this stream has kept, so that one that comes again is dropped, whoever kept it.
//!
//! Each hour file has its list of identities beside it ([`crate::format::identity`]). An identity is written there before
//! its line is appended; it counts once the hour file is as long as it says. All processes of a DIR look and write
//! under one lock, which covers the append.

use super::Settings;
use crate::env::Env;
use crate::env::fs::{EntryKind, File, append_all};
use crate::error::{Kind, Result};
use crate::format::identity::{END, Identity, SIZE};
use crate::format::layout::Layout;
use crate::format::name::LogName;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashSet;
use std::sync::Arc;

/// Identities in a list before another one is begun; then the list before that goes. So of each hour file this many are
/// remembered at the least, and twice as many at the most.
pub const LIST: u64 = 65_536;
/// Of how many hour files of the stream, the newest ones, identities are remembered.
pub const FILES: usize = 16;
/// How many are read at a start, lists of the newest files first; when twice as many are known, it is done again.
pub const MOST: usize = 1 << 18;
/// Entries that are read at a time.
const BLOCK: usize = 2048;

type Key = (LogName, u32);

struct List {
    key: Key,
    file: Arc<dyn File>,
    /// Bytes that were read.
    read: u64,
}

/// The list that this process writes.
struct Own {
    key: Key,
    file: Arc<dyn File>,
    count: u64,
    last: Option<Identity>,
}

/// What is known of the identities of one stream.
pub(super) struct Ids {
    env: Env,
    layout: Layout,
    lock: Arc<dyn File>,
    known: HashSet<u128>,
    lists: Vec<List>,
    own: Option<Own>,
    listed: Option<DateTime<Utc>>,
}

impl Ids {
    pub(super) fn open(env: &Env, layout: &Layout) -> Result<Self> {
        let path = layout.id_lock();
        let lock = match env.fs.create(&path) {
            Err(e) if e.kind == Kind::Exists => env.fs.open(&path)?,
            created => created?,
        };
        let (env, layout) = (env.clone(), layout.clone());
        Ok(Self { env, layout, lock, known: HashSet::new(), lists: Vec::new(), own: None, listed: None })
    }

    /// Whether this identity's line is kept. From here to [`Self::release`] no other process looks or writes.
    pub(super) fn knows(&mut self, settings: &Settings, hash: u128) -> Result<bool> {
        self.lock.lock()?;
        let known = self.refresh(settings).map(|()| self.known.contains(&hash));
        if !matches!(known, Ok(false)) {
            self.release();
        }
        known
    }

    /// The line is kept, or has failed.
    pub(super) fn release(&self) {
        self.lock.unlock();
    }

    /// Before a line is appended to `name`, which is `from` bytes long and will have `to`. A second time is harmless.
    pub(super) fn note(&mut self, name: &LogName, hash: u128, from: u64, to: u64) -> Result<()> {
        let identity = Identity { hash, to };
        if self.own.as_ref().is_none_or(|own| own.key.0 != *name || own.count >= LIST) {
            self.begin(name, from)?;
        }
        let Some(own) = &mut self.own else { return Ok(()) };
        if own.last != Some(identity) {
            append_all(&*own.file, &identity.bytes())?;
            own.last = Some(identity);
            own.count += 1;
        }
        Ok(())
    }

    /// The line is kept.
    pub(super) fn add(&mut self, hash: u128) {
        self.known.insert(hash);
    }

    /// The list that goes with the open hour file, to be synced before it.
    pub(super) fn list(&self) -> Option<&Arc<dyn File>> {
        self.own.as_ref().map(|own| &own.file)
    }

    /// The hour file was cut to `len` bytes: the lines behind that are not kept.
    pub(super) fn cut(&mut self, len: u64) -> Result<()> {
        if let Some(own) = self.own.take() {
            let mut all = entries(&*own.file)?;
            all.retain(|identity| identity.to <= len);
            // Under another number, so that other processes notice.
            self.create(&own.key.0, own.key.1 + 1, &all)?;
            self.env.fs.remove(&self.layout.id(&own.key.0, own.key.1))?;
        }
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.known.clear();
        self.lists.clear();
        self.listed = None;
    }

    /// Goes on in the last list of this hour file, or begins another.
    fn begin(&mut self, name: &LogName, len: u64) -> Result<()> {
        let numbers = numbers(&self.env, &self.layout, name)?;
        let last = numbers.last().copied();
        if let (Some(number), true) = (last, self.own.as_ref().is_none_or(|own| own.key.0 != *name)) {
            let file = self.env.fs.open(&self.layout.id(name, number))?;
            let valid = valid(&*file, len)?;
            let count = valid / SIZE as u64;
            self.own = Some(Own { key: (name.clone(), number), file, count, last: None });
            if count < LIST {
                return Ok(());
            }
        }
        self.create(name, last.map_or(0, |number| number + 1), &[])?;
        for old in numbers.iter().rev().skip(1) {
            self.env.fs.remove(&self.layout.id(name, *old))?;
        }
        Ok(())
    }

    fn create(&mut self, name: &LogName, number: u32, all: &[Identity]) -> Result<()> {
        let file = self.env.fs.create(&self.layout.id(name, number))?;
        let bytes: Vec<u8> = all.iter().flat_map(Identity::bytes).collect();
        append_all(&*file, &bytes)?;
        self.env.fs.sync_dir(&self.layout.ids())?;
        let (count, last) = (all.len() as u64, all.last().copied());
        self.own = Some(Own { key: (name.clone(), number), file, count, last });
        Ok(())
    }

    /// Reads what others have written since the last look.
    fn refresh(&mut self, settings: &Settings) -> Result<()> {
        let changed = self.env.fs.stat(&self.layout.ids())?.map(|entry| entry.modified);
        // The time of a change is in whole seconds: a second one may hide in it.
        let quiet = self.listed.is_some_and(|at| changed.is_some_and(|then| then + TimeDelta::seconds(2) < at));
        if !quiet || self.known.len() > 2 * MOST {
            self.relist(settings)?;
        }
        let own = self.own.as_ref().map(|own| own.key.clone());
        for list in &mut self.lists {
            if Some(&list.key) != own.as_ref() {
                read(&self.env, &self.layout, list, &mut self.known)?;
            }
        }
        Ok(())
    }

    fn relist(&mut self, settings: &Settings) -> Result<()> {
        let now = self.env.clock.now();
        let mut keys: Vec<Key> = (self.env.fs.list(&self.layout.ids())?.into_iter())
            .filter(|entry| entry.kind == EntryKind::File)
            .filter_map(|entry| Layout::parse_id(&entry.name))
            .filter(|(name, _)| name.prefix() == settings.prefix && name.suffix() == Some(&settings.suffix))
            .collect();
        keys.sort_by_key(|(name, number)| (name.stamp(), name.extension().len(), name.to_string(), *number));
        keys.reverse();
        let mut names: Vec<LogName> = keys.iter().map(|(name, _)| name.clone()).collect();
        names.dedup();
        let old = names.split_off(names.len().min(FILES));
        let (keys, too_old): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(|(name, _)| !old.contains(name));
        for (name, number) in too_old {
            self.env.fs.remove(&self.layout.id(&name, number))?;
        }
        if self.known.len() > 2 * MOST || self.lists.iter().any(|list| !keys.contains(&list.key)) {
            self.forget();
        }
        for key in keys {
            if self.known.len() >= MOST {
                break;
            }
            if self.lists.iter().all(|list| list.key != key) {
                let file = self.env.fs.open_read(&self.layout.id(&key.0, key.1))?;
                let mut list = List { key, file, read: 0 };
                read(&self.env, &self.layout, &mut list, &mut self.known)?;
                self.lists.push(list);
            }
        }
        self.listed = Some(now);
        Ok(())
    }
}

/// An hour file has ended, `len` bytes long: from now on that is what its list says, too.
pub(super) fn settle(env: &Env, layout: &Layout, name: &LogName, len: u64) -> Result<()> {
    for number in numbers(env, layout, name)? {
        let file = env.fs.open(&layout.id(name, number))?;
        valid(&*file, len)?;
        append_all(&*file, &Identity { hash: END, to: len }.bytes())?;
        file.sync()?;
    }
    Ok(())
}

/// The numbers of an hour file's lists, in their order.
fn numbers(env: &Env, layout: &Layout, name: &LogName) -> Result<Vec<u32>> {
    let entries = match env.fs.list(&layout.ids()) {
        Err(e) if e.kind == Kind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let keys = entries.iter().filter_map(|entry| Layout::parse_id(&entry.name));
    let mut numbers: Vec<u32> = keys.filter(|(of, _)| of == name).map(|(_, number)| number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// All entries of a list, up to the first that is none.
fn entries(file: &dyn File) -> Result<Vec<Identity>> {
    let (mut all, mut at) = (Vec::new(), 0);
    loop {
        let some = block(file, at)?;
        if some.is_empty() {
            return Ok(all);
        }
        at += (some.len() * SIZE) as u64;
        all.extend(some);
    }
}

fn block(file: &dyn File, at: u64) -> Result<Vec<Identity>> {
    let mut bytes = vec![0; BLOCK * SIZE];
    let n = file.read_at(&mut bytes, at)?;
    Ok(bytes[..n].chunks_exact(SIZE).map_while(Identity::parse).collect())
}

/// Cuts off what a list says of lines that are not in the hour file: how long it is then.
fn valid(file: &dyn File, len: u64) -> Result<u64> {
    let count = entries(file)?.iter().take_while(|identity| identity.to <= len && identity.hash != END).count();
    let bytes = (count * SIZE) as u64;
    if file.len()? != bytes {
        file.truncate(bytes)?;
    }
    Ok(bytes)
}

/// Reads on in a list, as far as its lines are in the hour file.
fn read(env: &Env, layout: &Layout, list: &mut List, known: &mut HashSet<u128>) -> Result<()> {
    let mut bound = None;
    loop {
        let some = block(&*list.file, list.read)?;
        if some.is_empty() {
            return Ok(());
        }
        let bound = match bound {
            Some(bound) => bound,
            None => *bound.insert(length(env, layout, list)?),
        };
        let there = some.iter().take_while(|identity| identity.to <= bound).count();
        known.extend(some[..there].iter().map(|identity| identity.hash));
        list.read += (there * SIZE) as u64;
        if there < some.len() {
            return Ok(());
        }
    }
}

/// How long the hour file of a list is, or was when it ended; 0 if that is not known.
fn length(env: &Env, layout: &Layout, list: &List) -> Result<u64> {
    let mut last = [0; SIZE];
    let at = (list.file.len()? / SIZE as u64).saturating_sub(1) * SIZE as u64;
    let n = list.file.read_at(&mut last, at)?;
    match Identity::parse(&last[..n]) {
        Some(Identity { hash: END, to }) => Ok(to),
        _ => Ok(env.fs.stat(&layout.hour(&list.key.0))?.map_or(0, |entry| entry.len)),
    }
}
