//! What stands at a far end, a bucket or a directory: archives, a manifest beside each, and logjam's own. Whoever asks here
//! for the archives has the manifests proved.
#![allow(clippy::disallowed_methods, dead_code)] // A harness uses the file system; no test file uses all of it.

use logjam::format::key::manifest_key;
use logjam::format::layout::PRIVATE;
use logjam::format::manifest::{Manifest, sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Objects by their keys.
pub type Objects = BTreeMap<String, Vec<u8>>;

/// Whether a key is that of an archive: not a manifest's, and none of logjam's own.
pub fn is_archive(key: &str) -> bool {
    !is_manifest(key) && !is_own(key)
}

/// Whether a key is that of a manifest.
pub fn is_manifest(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    name.starts_with('_') && name.ends_with(".json") && !is_own(key)
}

/// Whether a key lies below logjam's own prefix: checkpoints; in a directory also what is not finished yet.
fn is_own(key: &str) -> bool {
    key.split('/').next() == Some(PRIVATE)
}

/// The keys of everything in a directory but what is not finished yet, sorted.
pub fn keys_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![String::new()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(root.join(&dir)).into_iter().flatten().map(Result::unwrap) {
            let key = format!("{dir}{}", entry.file_name().into_string().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true if is_own(&key) => {}
                true => dirs.push(format!("{key}/")),
                false => found.push(key),
            }
        }
    }
    found.sort();
    found
}

/// The keys of the archives in a directory, sorted. For who waits: nothing is proved.
pub fn archives_below(root: &Path) -> Vec<String> {
    keys_below(root).into_iter().filter(|key| is_archive(key)).collect()
}

/// The archives in a directory, proved; `others` as in [`proved`].
#[track_caller]
pub fn proved_below(root: &Path, others: &[&str]) -> Objects {
    let read = |key: String| {
        let data = std::fs::read(root.join(&key)).unwrap_or_else(|e| panic!("{key}: {e}"));
        (key, data)
    };
    proved(keys_below(root).into_iter().map(read).collect(), others)
}

/// Whether each archive among these keys has a manifest beside it. For who waits: nothing is proved.
pub fn is_told(keys: &[String]) -> bool {
    keys.iter().filter(|key| is_archive(key)).all(|key| keys.contains(&manifest_key(key)))
}

/// The archives among all that stands at a far end. Asserts that each has exactly one manifest, which lies beside it and tells
/// what it holds; that all other manifests are of periods without a line; and that each names the one before it. What a test
/// has put there itself (`others`) needs none.
#[track_caller]
pub fn proved(all: Objects, others: &[&str]) -> Objects {
    let manifests: BTreeMap<&String, Manifest> = (all.iter().filter(|(key, _)| is_manifest(key)))
        .map(|(key, data)| {
            let text = || String::from_utf8_lossy(data);
            (key, Manifest::parse(data).unwrap_or_else(|| panic!("{key} is no manifest: {}", text())))
        })
        .collect();
    for (key, data) in all.iter().filter(|(key, _)| is_archive(key)) {
        let of_it: Vec<_> = manifests.iter().filter(|(_, manifest)| manifest.key == *key).collect();
        match of_it[..] {
            [(at, manifest)] => {
                assert_eq!(**at, manifest_key(key), "the manifest of {key} does not lie beside it");
                assert_tells(manifest, key, data);
            }
            [] if others.contains(&key.as_str()) => {}
            _ => panic!("{key} has not one manifest but {}: {of_it:?}\n{:?}", of_it.len(), all.keys()),
        }
    }
    for (at, manifest) in &manifests {
        assert!(
            all.contains_key(&manifest.key) || manifest.summary.packed.is_none(),
            "{at} is the manifest of nothing: {manifest:?}"
        );
        assert_follows(manifest, at, &all, &manifests);
    }
    all.into_iter().filter(|(key, _)| is_archive(key)).collect()
}

/// Asserts that a manifest tells what an archive holds.
#[track_caller]
fn assert_tells(manifest: &Manifest, key: &str, data: &[u8]) {
    let summary = &manifest.summary;
    let packed = summary.packed.as_ref().unwrap_or_else(|| panic!("{key} holds something: {manifest:?}"));
    assert_eq!((packed.bytes, &packed.sha256), (data.len() as u64, &sha256(data)), "{key}: {manifest:?}");
    let plain = readable(key, data);
    let lines = plain.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!((summary.lines, summary.bytes), (lines as u64, plain.len() as u64), "{key}: {manifest:?}");
    assert_eq!(summary.blake3, blake3::hash(&plain).to_hex().as_str(), "{key}: {manifest:?}");
}

/// Asserts that a manifest names the one before it.
#[track_caller]
fn assert_follows(manifest: &Manifest, at: &str, all: &Objects, manifests: &BTreeMap<&String, Manifest>) {
    let Some(previous) = &manifest.previous else {
        assert_eq!(manifest.number, 1, "{at}: {manifest:?}");
        return;
    };
    let before =
        manifests.get(&previous.key).unwrap_or_else(|| panic!("{at}: the one before is missing: {manifest:?}"));
    assert_eq!(sha256(&all[&previous.key]), previous.sha256, "{at}: the one before is another: {manifest:?}");
    assert_eq!(manifest.number, before.number + 1, "{at}: {manifest:?}");
    assert_eq!((&manifest.prefix, &manifest.suffix), (&before.prefix, &before.suffix), "{at}: {manifest:?}");
}

/// What can be read of an archive: nothing of one that a test has filled with anything but an archive.
fn readable(key: &str, data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match key {
        _ if key.ends_with(".zst") => _ = zstd::Decoder::new(data).unwrap().read_to_end(&mut plain),
        _ if key.ends_with(".gz") => _ = flate2::read::MultiGzDecoder::new(data).read_to_end(&mut plain),
        _ => plain.extend_from_slice(data),
    }
    plain
}
