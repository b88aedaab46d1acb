//! One directory of an archive: the objects in it, normally of a day, and the manifests beside them.

use super::chain::Node;
use super::content;
use super::finding::Fault;
use super::scan::Entry;
use super::verify::{MOST_YOUNG, State, StreamName, Told, Verify, name_at};
use crate::error::Result;
use crate::format::key::{Dest, manifest_key};
use crate::format::manifest::{Manifest, Packed};
use crate::format::name::{DUPLICATES, LogName};
use chrono::TimeDelta;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// How many objects are read at once.
const AT_ONCE: usize = 4;
/// A smaller object comes in one request, in bytes.
const PART: u64 = 5 << 20;
/// The usual period.
const HOUR: TimeDelta = TimeDelta::hours(1);

/// An object, as far as the listing tells.
struct Object {
    entry: Entry,
    /// A manifest tells of it.
    told: bool,
}

/// What a directory holds.
#[derive(Default)]
pub(super) struct Day {
    dir: String,
    objects: BTreeMap<String, Object>,
    manifests: Vec<Told>,
}

impl Day {
    /// The directory of a key.
    pub fn of(key: &str) -> Self {
        Self { dir: dir(key).to_owned(), ..Self::default() }
    }

    /// Whether a key lies in it.
    pub fn is_of(&self, key: &str) -> bool {
        dir(key) == self.dir
    }

    pub fn object(&mut self, entry: Entry) {
        self.objects.insert(entry.key.clone(), Object { entry, told: false });
    }

    pub fn manifest(&mut self, told: Told) {
        self.manifests.push(told);
    }

    /// Compares what is in it, and takes its manifests into their chains.
    pub async fn settle(self, verify: &Verify<'_>, state: &mut State<'_>) -> Result<()> {
        let Self { mut objects, mut manifests, .. } = self;
        manifests.sort_by_cached_key(|told| (told.manifest.as_ref().map(order), told.entry.key.clone()));
        let places: BTreeMap<&str, &str> =
            manifests.iter().map(|told| (told.entry.key.as_str(), told.sha256.as_str())).collect();
        let (mut to_read, mut doubtful, mut streams) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for told in &manifests {
            let key = told.entry.key.as_str();
            let Some(manifest) = &told.manifest else {
                let period = told.entry.name.as_ref().map(LogName::stamp);
                state.find(Fault::Altered, period, key, "it is no manifest that this version can read");
                doubtful.insert(key);
                continue;
            };
            if let Some((kind, detail)) = &told.doubt {
                state.find(*kind, Some(manifest.start), key, detail.clone());
            }
            if let Some((kind, detail)) = misplaced(verify.dest, &places, told, manifest) {
                state.find(kind, Some(manifest.start), key, detail);
                doubtful.insert(key);
            } else if let Some(packed) = &manifest.summary.packed
                && stands(&mut objects, verify, state, manifest, packed).await?
                && verify.deep
            {
                to_read.push(manifest);
            }
            streams.insert(link(verify.dest, state, told, manifest));
        }
        untold(&objects, &doubtful, state);
        read_all(&to_read, verify, state).await?;
        if verify.dest.is_in_time_order() {
            // Nothing earlier of these streams is to come.
            streams.iter().for_each(|stream| state.tell_gaps(stream));
        }
        Ok(())
    }
}

fn dir(key: &str) -> &str {
    &key[..key.rfind('/').map_or(0, |slash| slash + 1)]
}

/// In a stream, the order in which they were made, as far as a directory tells.
fn order(manifest: &Manifest) -> (String, Option<String>, chrono::DateTime<chrono::Utc>, u64) {
    (manifest.prefix.clone(), manifest.suffix.clone(), manifest.start, manifest.number)
}

/// What is wrong with the place where a manifest lies. It belongs beside its object; where another one stood there already, it
/// was given the place of the first duplicate name that was free.
fn misplaced(dest: &Dest, places: &BTreeMap<&str, &str>, told: &Told, manifest: &Manifest) -> Option<(Fault, String)> {
    let key = told.entry.key.as_str();
    let altered = |detail: String| Some((Fault::Altered, detail));
    let name = LogName::parse(&manifest.name).filter(|name| manifest.is_of_stream(name));
    let Some(name) = name.filter(|name| name.stamp() == manifest.start) else {
        return altered(format!("it contradicts itself: {:?} is no name in its stream and period", manifest.name));
    };
    let others: Vec<_> = (0..DUPLICATES).map(|n| dest.key(&name.duplicate(n))).collect();
    if manifest.key != dest.key(&name) && !others.contains(&manifest.key) {
        return altered(format!("it contradicts itself: {:?} is no key of {name}", manifest.key));
    }
    let own = manifest_key(&manifest.key);
    let mut before = Vec::new();
    for place in std::iter::once(own.clone()).chain(others.iter().map(|other| manifest_key(other))) {
        if place == key {
            break;
        }
        before.push(place);
    }
    if before.len() > others.len() {
        return altered(format!("its place is {own}"));
    }
    before.iter().find_map(|place| match places.get(place.as_str()) {
        Some(sha256) if *sha256 == told.sha256 => Some((Fault::Extra, format!("the same manifest lies at {place}"))),
        None if dir(place) == dir(key) => altered(format!("its place is {place}, where nothing lies")),
        _ => None,
    })
}

/// Whether the object that a manifest tells of stands, with the right size.
async fn stands(
    objects: &mut BTreeMap<String, Object>,
    verify: &Verify<'_>,
    state: &mut State<'_>,
    manifest: &Manifest,
    packed: &Packed,
) -> Result<bool> {
    let key = manifest.key.as_str();
    let len = match objects.get_mut(key) {
        Some(object) => {
            object.told = true;
            Some(object.entry.len)
        }
        // It may have come since it was listed.
        None => verify.store.look(key).await?.map(|found| found.len),
    };
    match len {
        None => state.find(Fault::Missing, Some(manifest.start), key, "its manifest tells of it, and it is not there"),
        Some(len) if len != packed.bytes => {
            let detail = format!("it has {len} bytes, and its manifest says {}", packed.bytes);
            state.find(Fault::Altered, Some(manifest.start), key, detail);
        }
        Some(_) => return Ok(true),
    }
    Ok(false)
}

/// Takes a manifest into its chain: its stream.
fn link(dest: &Dest, state: &mut State<'_>, told: &Told, manifest: &Manifest) -> StreamName {
    let Told { entry, sha256, .. } = told;
    if let Some(head) = state.unmet.remove(sha256)
        && head.key != entry.key
    {
        let detail = format!("it was at {} when its chain was last checked", head.key);
        state.find(Fault::Altered, Some(manifest.start), &entry.key, detail);
    }
    if entry.modified >= state.young_since && state.young.len() < MOST_YOUNG {
        state.young.insert(sha256.clone());
    }
    let name = (manifest.prefix.clone(), manifest.suffix.clone());
    let stream = state.streams.entry(name.clone()).or_default();
    let mut breaks = Vec::new();
    let linked = stream.chain.add(Node::new(&entry.key, sha256, manifest), &mut breaks);
    // The one before it is of a later period, and may come yet.
    let late = manifest.previous.as_ref().and_then(|link| name_at(dest, &link.key));
    let late = late.is_some_and(|name| name.stamp() > manifest.start);
    stream.cover.add(manifest.start, manifest.summary.seconds, &entry.key, linked || late);
    breaks.into_iter().for_each(|broken| state.tell_break(broken));
    name
}

/// Objects that no manifest tells of. Where a manifest stands beside one that is not what it was, that is said already.
fn untold(objects: &BTreeMap<String, Object>, doubtful: &BTreeSet<&str>, state: &mut State<'_>) {
    for (key, object) in objects.iter().filter(|(_, object)| !object.told) {
        if doubtful.contains(manifest_key(key).as_str()) {
            continue;
        }
        let period = object.entry.name.as_ref().map(LogName::stamp);
        // S3 dates an object that came in parts by the moment when they were begun: within its hour.
        let came = period.filter(|_| object.entry.len >= PART).map_or(object.entry.modified, |start| start + HOUR);
        // A receipt, its syncs and a request lie between an object and its manifest.
        if came.max(object.entry.modified) >= state.young_since {
            state.outcome.young += 1;
            continue;
        }
        state.find(Fault::Extra, period, key, "no manifest tells of it");
    }
}

/// Reads objects whole, several at a time.
async fn read_all(manifests: &[&Manifest], verify: &Verify<'_>, state: &mut State<'_>) -> Result<()> {
    let check = |manifest: &&Manifest| {
        let (store, key, name) = (verify.store, manifest.key.clone(), manifest.name.clone());
        let summary = manifest.summary.clone();
        let start = manifest.start;
        async move { content::check(store, &key, &name, &summary).await.map(|checked| (key, start, checked)) }
    };
    let mut checks = stream::iter(manifests.iter().map(check)).buffered(AT_ONCE);
    while let Some(checked) = checks.next().await {
        let (key, start, checked) = checked?;
        match checked {
            None => state.find(Fault::Missing, Some(start), &key, "it was listed, and is gone now"),
            Some((bytes, faults)) => {
                state.outcome.bytes += bytes;
                if !faults.is_empty() {
                    state.find(Fault::Altered, Some(start), &key, faults.join("; "));
                }
            }
        }
    }
    Ok(())
}
