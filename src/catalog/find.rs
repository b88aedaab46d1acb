//! Finds what a selection asks for, in the archive, in DIR and in checkpoints: each line once.

use super::flow::Items;
use super::item::{Item, Place};
use super::scan::{Entry, Scan, Want};
use super::select::Selection;
use super::unfinished;
use crate::env::store::{Later, Store};
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::format::name::LogName;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// An hour that ended longer ago is not looked for in checkpoints, unless that is asked for; one that began longer ago is not
/// stored while it is looked for.
const RECENT: TimeDelta = TimeDelta::days(1);
/// An object that was stored since the search began is of an hour that began this long ago at the most.
const FRESH: TimeDelta = TimeDelta::hours(2);

/// What is found, in the order of keys; then what is not archived yet.
pub struct Find<'a> {
    store: &'a Arc<dyn Store>,
    dest: &'a Dest,
    selection: &'a Selection,
    /// Objects are found by this first; afterwards those that were stored meanwhile.
    scan: Scan<'a>,
    stage: Stage,
    now: DateTime<Utc>,
    /// Objects that began before the range: of each stream only the last one can reach into it.
    held: Vec<Entry>,
    ready: VecDeque<Item>,
    /// Further files of one stream and period: their keys come before that of the first one.
    further: Vec<Item>,
    local: Vec<Local>,
    /// The keys of recent objects that were found.
    seen: HashSet<String>,
    /// Hours of which a checkpoint has lines.
    unfinished: Vec<unfinished::Found>,
    checkpoints: bool,
    /// What could not be looked at: it is told when all else is found.
    failed: VecDeque<Error>,
}

/// A file in DIR, and the keys that it may be stored at.
pub struct Local {
    /// It.
    pub item: Item,
    /// The keys.
    pub keys: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Objects,
    Meanwhile,
    Rest,
}

impl<'a> Find<'a> {
    /// Begins a search at `now`. `local`: what DIR has, opened before. `checkpoints`: looks into them also for hours that ended long ago.
    pub fn new(
        store: &'a Arc<dyn Store>,
        dest: &'a Dest,
        selection: &'a Selection,
        now: DateTime<Utc>,
        local: Vec<Local>,
        checkpoints: bool,
    ) -> Self {
        Self {
            store,
            dest,
            selection,
            scan: Scan::new(&**store, dest, selection, Want::Objects),
            stage: Stage::Objects,
            now,
            held: Vec::new(),
            ready: VecDeque::new(),
            further: Vec::new(),
            local,
            seen: HashSet::new(),
            unfinished: Vec::new(),
            checkpoints: checkpoints || selection.to.is_none_or(|to| to > now - RECENT),
            failed: VecDeque::new(),
        }
    }

    async fn find(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.stage == Stage::Rest {
                return self.failed.pop_front().map_or(Ok(None), Err);
            }
            let next = self.scan.next().await.unwrap_or_else(|e| {
                // What lies in DIR is left.
                self.failed.push_back(e);
                self.stage = Stage::Meanwhile;
                None
            });
            if let Some(entry) = next {
                self.found(entry);
                continue;
            }
            self.let_go();
            self.ready.extend(self.further.drain(..));
            if self.stage == Stage::Meanwhile {
                self.stage = Stage::Rest;
                self.rest().await;
                continue;
            }
            self.stage = Stage::Meanwhile;
            if self.checkpoints {
                let (found, failed) = unfinished::all(&**self.store, self.dest, self.selection).await;
                self.unfinished = found;
                self.failed.extend(failed);
                let again = Scan::new(&**self.store, self.dest, self.selection, Want::Objects);
                self.scan = again.since(self.now - FRESH);
            }
        }
    }

    fn found(&mut self, entry: Entry) {
        let Some(name) = &entry.name else { return };
        if name.stamp() >= self.now - RECENT && !self.seen.insert(entry.key.clone()) {
            return;
        }
        self.local.retain(|local| !local.keys.contains(&entry.key));
        let before = |from: DateTime<Utc>| name.stamp() < from || name.stamp() == from && !self.held.is_empty();
        if self.selection.from.is_some_and(before) {
            let same = |held: &Entry| held.name.as_ref().map(LogName::prefix) == Some(name.prefix());
            if !self.held.last().is_none_or(same) {
                self.let_go();
            }
            self.held.push(entry);
            return;
        }
        self.let_go();
        self.put(item(self.dest, &entry));
    }

    /// Puts an item where it belongs: the first file of a period before the further ones.
    fn put(&mut self, item: Option<Item>) {
        let Some(item) = item else { return };
        let period =
            |item: &Item| (item.name.prefix().to_owned(), item.name.suffix().map(str::to_owned), item.name.stamp());
        if self.further.last().is_some_and(|last| period(last) != period(&item)) {
            self.ready.extend(self.further.drain(..));
        }
        if token(&item).is_empty() {
            self.ready.push_back(item);
            self.ready.extend(self.further.drain(..));
        } else {
            self.further.push(item);
        }
    }

    /// Of what began before the range, what a later one of its stream has not ended by then.
    fn let_go(&mut self) {
        let held = std::mem::take(&mut self.held);
        let from = self.selection.from;
        let stream = |entry: &'_ Entry| {
            entry.name.as_ref().map(|name| (name.prefix().to_owned(), name.suffix().map(str::to_owned)))
        };
        let start = |entry: &Entry| entry.name.as_ref().map(LogName::stamp);
        let last = held.iter().fold(std::collections::HashMap::new(), |mut last, entry| {
            let own = last.entry(stream(entry)).or_insert(start(entry));
            *own = (*own).max(start(entry));
            last
        });
        let reaches =
            |entry: &&Entry| start(entry) >= from || last.get(&stream(entry)).is_none_or(|last| start(entry) >= *last);
        let all: Vec<_> = held.iter().filter(reaches).map(|entry| item(self.dest, entry)).collect();
        all.into_iter().for_each(|item| self.put(item));
    }

    /// What is not archived yet.
    async fn rest(&mut self) {
        let mut local: Vec<_> = std::mem::take(&mut self.local);
        for found in std::mem::take(&mut self.unfinished) {
            let key = &found.key;
            if self.seen.contains(key) || local.iter().any(|local| local.keys.contains(key)) {
                continue;
            }
            let look = self.store.look(key).await.unwrap_or_else(|e| {
                // Where it is not known whether it is stored, its lines are better there than not.
                self.failed.push_back(e);
                None
            });
            match look {
                // Stored since the search passed by.
                Some(object) if found.item.name.stamp() >= self.now - RECENT => {
                    let name = found.item.name.clone();
                    let shown = self.dest.url(key);
                    local.push(Local {
                        item: Item { name, shown, len: object.len, place: Place::Stored(key.clone()) },
                        keys: vec![key.clone()],
                    });
                }
                Some(_) => {}
                None => local.push(Local { keys: vec![key.clone()], item: found.item }),
            }
        }
        let order = |local: &Local| {
            let (name, token) = (&local.item.name, token(&local.item).to_owned());
            (name.prefix().to_owned(), name.stamp(), name.suffix().map(str::to_owned), token)
        };
        local.sort_by_cached_key(order);
        self.ready.extend(local.into_iter().map(|local| local.item));
    }
}

/// What tells a further file of a period from the first one, and orders them; empty for that.
fn token(item: &Item) -> &str {
    item.name.token().unwrap_or_default()
}

fn item(dest: &Dest, entry: &Entry) -> Option<Item> {
    let name = entry.name.clone()?;
    Some(Item { name, shown: dest.url(&entry.key), len: entry.len, place: Place::Stored(entry.key.clone()) })
}

impl Items for Find<'_> {
    fn next(&mut self) -> Later<'_, Option<Item>> {
        Box::pin(self.find())
    }
}
