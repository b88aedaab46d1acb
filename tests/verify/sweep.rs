//! Every single change of a small archive is found: what is deleted, changed, swapped, replaced by an older one, and every run of
//! hours that is removed.

use super::made::{Made, Place};
use crate::far::{Objects, is_archive, is_manifest};
use logjam::format::manifest::{Manifest, sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// What it takes to find a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Manifests and listings, of an archive that nobody signs.
    Chain,
    /// The objects' content.
    Deep,
    /// The key that manifests are signed with.
    Key,
    /// The known heads.
    Heads,
}

const LEVELS: [Level; 4] = [Level::Chain, Level::Deep, Level::Key, Level::Heads];

struct Change {
    what: String,
    objects: Objects,
    /// What is allowed to be needed.
    most: Level,
}

/// Checks an archive after each change: how many were found by what. Each must be found by what it may take, and by everything
/// above that.
fn sweep(changes: Vec<Change>, place: impl Fn(&Objects) -> Place + Sync) -> BTreeMap<&'static str, usize> {
    let made = Made::get();
    let found: Mutex<BTreeMap<&'static str, usize>> = Mutex::default();
    let queue = Mutex::new(changes.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let place = place(&made.objects);
                loop {
                    let Some(change) = queue.lock().unwrap().next() else { break };
                    place.change(&made.objects, &change.objects);
                    let level = LEVELS.into_iter().find(|level| is_found(made, &place, *level));
                    let level = level.unwrap_or_else(|| panic!("{}: not found", change.what));
                    assert!(level <= change.most, "{}: found by {level:?} only", change.what);
                    place.change(&change.objects, &made.objects);
                    let name = ["chain", "deep", "key", "heads"][level as usize];
                    *found.lock().unwrap().entry(name).or_default() += 1;
                }
            });
        }
    });
    found.into_inner().unwrap()
}

fn is_found(made: &Made, place: &Place, level: Level) -> bool {
    let heads = made.heads(place);
    let options = match level {
        Level::Chain => vec![],
        Level::Deep => vec!["--deep".to_owned()],
        Level::Key => vec![made.public_key()],
        Level::Heads => vec![heads.option()],
    };
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let ended = place.verify(&options);
    match ended.code {
        Some(0) => false,
        Some(1) => true,
        _ => panic!("{}", ended.said),
    }
}

fn parsed() -> BTreeMap<String, Manifest> {
    let manifests = Made::get().objects.iter().filter(|(key, _)| is_manifest(key));
    manifests.map(|(key, data)| (key.clone(), Manifest::parse(data).unwrap())).collect()
}

/// Whether no manifest names this one.
fn is_head(key: &str) -> bool {
    let sha256 = sha256(&Made::get().objects[key]);
    !parsed().values().any(|manifest| manifest.previous.as_ref().is_some_and(|link| link.sha256 == sha256))
}

/// What it takes at the most to find that this one is not what it was, with the same size.
fn to_see_a_change(key: &str) -> Level {
    match () {
        () if is_archive(key) => Level::Deep,
        () if is_head(key) => Level::Key,
        () => Level::Chain,
    }
}

fn changed(what: String, most: Level, change: impl FnOnce(&mut Objects)) -> Change {
    let mut objects = Made::get().objects.clone();
    change(&mut objects);
    assert!(objects != Made::get().objects, "{what}: nothing is changed");
    Change { what, objects, most }
}

fn keys() -> Vec<String> {
    Made::get().objects.keys().cloned().collect()
}

fn deletions() -> Vec<Change> {
    let one = |key: String| changed(format!("{key} removed"), Level::Chain, |objects| _ = objects.remove(&key));
    keys().into_iter().map(one).collect()
}

#[test]
fn each_deletion_is_found_in_a_bucket() {
    let found = sweep(deletions(), Place::bucket);
    assert_eq!(found, BTreeMap::from([("chain", 24)]));
}

#[test]
fn each_deletion_is_found_in_a_directory() {
    let found = sweep(deletions(), Place::directory);
    assert_eq!(found, BTreeMap::from([("chain", 24)]));
}

#[test]
fn each_changed_byte_is_found() {
    let mut changes = Vec::new();
    for key in keys() {
        let len = Made::get().objects[&key].len();
        for at in [0, 4, len / 5, len / 3, len / 2, len * 2 / 3, len * 4 / 5, len - 6, len - 1] {
            for bit in [0, 5] {
                let what = format!("{key}: bit {bit} of byte {at} of {len}");
                let flip = |objects: &mut Objects| objects.get_mut(&key).unwrap()[at] ^= 1 << bit;
                changes.push(changed(what, to_see_a_change(&key), flip));
            }
        }
        let what = format!("{key}: shorter");
        let most = if is_archive(&key) { Level::Chain } else { to_see_a_change(&key) };
        changes.push(changed(what, most, |objects| _ = objects.get_mut(&key).unwrap().pop()));
    }
    let found = sweep(changes, Place::directory);
    println!("{found:?}");
    assert_eq!(found.values().sum::<usize>(), 24 * 19);
}

#[test]
fn each_swap_is_found() {
    let (all, objects, parsed) = (keys(), &Made::get().objects, parsed());
    let mut changes = Vec::new();
    for (at, one) in all.iter().enumerate() {
        for two in all[at + 1..].iter().filter(|two| is_archive(one) == is_archive(two)) {
            let same = objects[one].len() == objects[two].len();
            let most = match () {
                () if is_archive(one) && same => Level::Deep,
                // Manifests of the same archive, one of them at the place of a duplicate: either could lie at either.
                () if is_manifest(one) && parsed[one].name == parsed[two].name => Level::Heads,
                () => Level::Chain,
            };
            changes.push(changed(format!("{one} and {two} swapped"), most, |to| {
                to.insert(one.clone(), objects[two].clone());
                to.insert(two.clone(), objects[one].clone());
            }));
        }
    }
    let found = sweep(changes, Place::directory);
    println!("{found:?}");
    assert_eq!(found.values().sum::<usize>(), 13 * 12 / 2 + 11 * 10 / 2);
}

#[test]
fn each_replacement_by_another_one_is_found() {
    let (all, objects) = (keys(), &Made::get().objects);
    let mut changes = Vec::new();
    for key in &all {
        // The one before it, of objects and of manifests.
        let before = all.iter().take_while(|other| *other != key).filter(|other| is_archive(other) == is_archive(key));
        let Some(before) = before.last() else { continue };
        let same = objects[key].len() == objects[before].len();
        let most = if is_archive(key) && same { Level::Deep } else { Level::Chain };
        let what = format!("{key} replaced by {before}");
        changes.push(changed(what, most, |to| _ = to.insert(key.clone(), objects[before].clone())));
        let what = format!("{before} also at the key of {key}, which is gone");
        changes.push(changed(what, Level::Chain, |to| {
            to.insert(key.clone(), objects[before].clone());
            to.remove(before);
        }));
        if key.contains("duplicate") {
            continue;
        }
        let extra = key.replace("syslog-2", "syslog-logjam-compress-duplicate-timestamp-07-2");
        let what = format!("{key} also at {extra}");
        changes.push(changed(what, Level::Chain, |to| _ = to.insert(extra, objects[key].clone())));
    }
    let found = sweep(changes, Place::directory);
    println!("{found:?}");
    assert_eq!(found.values().sum::<usize>(), 3 * 22 - 3);
}

/// The keys of each hour of a stream, in the order of time: objects, manifests.
fn hours(suffix: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let mut hours: BTreeMap<_, (Vec<String>, Vec<String>)> = BTreeMap::new();
    for (key, manifest) in parsed().into_iter().filter(|(_, manifest)| manifest.suffix.as_deref() == Some(suffix)) {
        let hour = hours.entry(manifest.start).or_default();
        hour.1.push(key);
        hour.0.extend(manifest.summary.packed.map(|_| manifest.key));
    }
    hours.into_values().collect()
}

/// Whether the manifests of a chain that are left do not name any that is removed: then nothing in the archive tells of it.
fn is_an_end(removed: &BTreeSet<String>) -> bool {
    let objects = &Made::get().objects;
    let gone: BTreeSet<_> = removed.iter().filter(|key| is_manifest(key)).map(|key| sha256(&objects[key])).collect();
    let left = parsed().into_iter().filter(|(key, _)| !removed.contains(key));
    let told = left.filter_map(|(_, manifest)| manifest.previous).all(|link| !gone.contains(&link.sha256));
    told && !gone.is_empty()
}

#[test]
fn each_run_of_hours_that_is_removed_is_found() {
    let mut changes = Vec::new();
    for suffix in ["web-1", "web-2"] {
        let hours = hours(suffix);
        for from in 0..hours.len() {
            for to in from..hours.len() {
                let all = || hours[from..=to].iter();
                let objects: BTreeSet<_> = all().flat_map(|hour| hour.0.clone()).collect();
                let manifests: BTreeSet<_> = all().flat_map(|hour| hour.1.clone()).collect();
                let both = objects.union(&manifests).cloned().collect();
                for (what, keys) in [("objects", objects), ("manifests", manifests), ("objects and manifests", both)] {
                    if keys.is_empty() {
                        continue;
                    }
                    let end = keys.iter().any(|key| is_archive(key)) && is_an_end(&keys);
                    let most = if end { Level::Heads } else { Level::Chain };
                    let what = format!("{what} of the hours {from} to {to} of {suffix} removed");
                    changes.push(changed(what, most, |to| to.retain(|key, _| !keys.contains(key))));
                }
            }
        }
    }
    let number = changes.len();
    let found = sweep(changes, Place::directory);
    println!("{found:?}");
    assert_eq!(found.values().sum::<usize>(), number);
    assert!(found["heads"] >= 4, "the newest ones: {found:?}");
}
