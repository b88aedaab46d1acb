//! What must be true of a machine: at every start, and when the last life is over.

use super::life::{DIR, FAR, FOREIGN, Far, Ledger, Setup};
use super::said;
use crate::cut::{Machine, Survivor};
use logjam::format::layout::Layout;
use logjam::format::manifest::{self, Manifest};
use logjam::format::receipt::Receipt;
use logjam::format::seal::Ended;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

/// Between the prefix and the time of what had to take another name.
const DUPLICATE: &str = "-logjam-compress-duplicate-timestamp";

type Files = BTreeMap<String, Vec<u8>>;

/// What counts as a fault, given what the medium did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    /// The medium forgot an earlier name of a file and kept a later one: an archive may be there twice.
    pub twice: bool,
    /// Another host has stored a beginning of an hour: its manifests may lie beside the chain.
    pub rescued: bool,
    /// An operation failed: the files of one hour may have been written in another order than that of their names.
    pub unordered: bool,
}

impl Leave {
    pub fn after(survivors: &[Survivor]) -> Self {
        Self { twice: survivors.iter().any(|how| matches!(how, Survivor::Loose(_))), ..Self::default() }
    }
}

/// The archives at the far end, by key.
pub fn objects(machine: &Machine, setup: &Setup) -> Files {
    all(machine, setup).into_iter().filter(|(key, _)| !is_manifest(key)).collect()
}

/// The manifests at the far end, by key.
pub fn manifests(machine: &Machine, setup: &Setup) -> Files {
    all(machine, setup).into_iter().filter(|(key, _)| is_manifest(key)).collect()
}

fn all(machine: &Machine, setup: &Setup) -> Files {
    let files = match setup.far {
        Far::Directory => {
            let files = machine.fs.files(FAR).into_iter();
            files.map(|(path, data)| (path[FAR.len() + 1..].to_owned(), data)).collect()
        }
        Far::Bucket | Far::Parts => machine.bucket.objects(),
    };
    files.into_iter().filter(|(key, _): &(String, _)| !key.starts_with(".logjam/")).collect()
}

fn is_manifest(key: &str) -> bool {
    key.ends_with(".json")
}

/// Each manifest tells the truth about an object of its own.
fn manifests_are_true(setup: &Setup, objects: &Files, manifests: &Files) -> Result<(), String> {
    for (key, data) in manifests {
        let manifest = Manifest::parse(data).ok_or_else(|| format!("a manifest is not whole: {key}"))?;
        let Some(packed) = &manifest.summary.packed else { return Err(format!("a manifest of silence: {key}")) };
        let object = objects.get(&manifest.key).ok_or_else(|| format!("a manifest without its object: {key}"))?;
        let plain = plain(setup, &manifest.key, object)?;
        let lines = plain.iter().filter(|byte| **byte == b'\n').count() as u64;
        let there = (object.len() as u64, manifest::sha256(object), plain.len() as u64, lines);
        let (sha256, summary) = (packed.sha256.clone(), &manifest.summary);
        if there != (packed.bytes, sha256, summary.bytes, summary.lines) {
            return Err(format!("a manifest does not tell what its object holds: {key}"));
        }
        if summary.blake3 != blake3::hash(&plain).to_hex().as_str() {
            return Err(format!("a manifest of something else: {key}"));
        }
    }
    Ok(())
}

/// Every object has a manifest, and each names the one before it: one chain from the first to the last.
fn chain(machine: &Machine, setup: &Setup, leave: Leave) -> Result<(), String> {
    let (objects, manifests) = (objects(machine, setup), manifests(machine, setup));
    let mut all: Vec<(Manifest, String)> =
        manifests.values().filter_map(|data| Some((Manifest::parse(data)?, manifest::sha256(data)))).collect();
    let told: BTreeSet<_> = all.iter().map(|(manifest, _)| &manifest.key).collect();
    let foreign = setup.foreign_key();
    if let Some(key) = objects.keys().find(|key| !told.contains(key) && foreign.as_ref() != Some(key)) {
        return Err(format!("an object without its manifest: {key}"));
    }
    if leave.rescued {
        return fork(machine, &all);
    }
    if told.len() < all.len() && !leave.twice {
        return Err("an object with two manifests".to_owned());
    }
    all.sort_by_key(|(manifest, _)| manifest.number);
    let mut before: Option<&String> = None;
    for ((manifest, own), number) in all.iter().zip(1..) {
        let previous = manifest.previous.as_ref().map(|link| &link.sha256);
        if manifest.number != number || previous != before {
            return Err(format!("the chain is broken: at number {number}, {}", manifest.key));
        }
        before = Some(own);
    }
    Ok(())
}

/// What a rescue leaves of the chain: each manifest names one that stands, and has the next number. The host's last one, and all
/// that it follows, are one line: beside that there are only a rescue's.
fn fork(machine: &Machine, all: &[(Manifest, String)]) -> Result<(), String> {
    let known: BTreeMap<&String, &Manifest> = all.iter().map(|(manifest, own)| (own, manifest)).collect();
    for (manifest, _) in all {
        let before = match &manifest.previous {
            None => 0,
            Some(link) => match known.get(&link.sha256) {
                Some(before) => before.number,
                None => return Err(format!("the chain is broken: the one before {manifest:?} is missing")),
            },
        };
        if manifest.number != before + 1 {
            return Err(format!("the chain is broken: another number: {manifest:?}"));
        }
    }
    let head = heads(machine).into_values().next().map(|data| manifest::sha256(&data));
    let (mut line, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut at = head.as_ref();
    while let Some((own, manifest)) = at.and_then(|own| known.get_key_value(own)) {
        line.insert(*own);
        if !keys.insert(&manifest.key) {
            return Err(format!("an object with two manifests: {}", manifest.key));
        }
        at = manifest.previous.as_ref().map(|link| &link.sha256);
    }
    let beside = all.iter().find(|(manifest, own)| !line.contains(own) && manifest.summary.ended != Ended::Rescue);
    match beside {
        Some((manifest, _)) => Err(format!("the chain forks, and not by a rescue: {manifest:?}")),
        None => Ok(()),
    }
}

/// The last manifest of the stream, as the host knows it.
fn heads(machine: &Machine) -> Files {
    let layout = Layout::new(DIR);
    let mut files = machine.fs.files(&text(&layout.chains()));
    files.remove(&text(&layout.chain_lock()));
    files
}

/// True at every moment: archives and objects are whole, no object has changed, a receipt tells the truth.
pub fn any_time(machine: &Machine, setup: &Setup, before: &Files) -> Result<(), String> {
    let objects = objects(machine, setup);
    for (key, data) in before {
        match objects.get(key) {
            Some(now) if now != data => return Err(format!("an object was overwritten: {key}")),
            None if setup.far != Far::Directory => return Err(format!("an object is gone: {key}")),
            _ => {}
        }
    }
    manifests_are_true(setup, &objects, &manifests(machine, setup))?;
    for (key, data) in &objects {
        plain(setup, key, data).map_err(|e| format!("an object is not whole: {key}: {e}"))?;
    }
    let layout = Layout::new(DIR);
    let (archives, receipts) = (text(&layout.archives()), text(&layout.receipts()));
    for (path, data) in machine.fs.files(&archives) {
        if !path.starts_with(&receipts) {
            plain(setup, &path, &data).map_err(|e| format!("an archive is not whole: {path}: {e}"))?;
            continue;
        }
        let receipt: Receipt =
            serde_json::from_slice(&data).map_err(|e| format!("a receipt is not whole: {path}: {e}"))?;
        let key = receipt.stored.trim_start_matches("s3://bucket/").trim_start_matches("file:///far/");
        match objects.get(key) {
            Some(object) if object.len() as u64 == receipt.bytes => {}
            Some(_) => return Err(format!("a receipt tells of another size: {path}")),
            None => return Err(format!("a receipt without its object: {path}")),
        }
    }
    Ok(())
}

/// True when the last life is over: every line is stored once and in order, nothing is left on the disk but receipts.
pub fn at_the_end(machine: &Machine, setup: &Setup, ledger: &Ledger, leave: Leave) -> Result<(), String> {
    chain(machine, setup, leave)?;
    if let Some(talk) = setup.talk {
        said::at_the_end(&objects(machine, setup), setup, talk.two || leave.unordered, &ledger.daemons)?;
        return leftovers(machine);
    }
    let mut found: Vec<Option<usize>> = vec![None; ledger.lines.len()];
    for (key, data) in objects(machine, setup) {
        if setup.foreign_key().as_ref() == Some(&key) {
            continue;
        }
        let foreign = setup.foreign_key().map(|key| key.replace("p-2026", &format!("p{DUPLICATE}-2026")));
        let duplicate = key.contains(DUPLICATE);
        if duplicate && !leave.twice && foreign.as_ref() != Some(&key) {
            return Err(format!("a name was used twice: {key}"));
        }
        let mut last = None;
        for line in plain(setup, &key, &data)?.split_inclusive(|byte| *byte == b'\n') {
            let (at, length) = known(ledger, line)?;
            if last.is_some_and(|last| at <= last) {
                return Err(format!("lines are not in order: {key}"));
            }
            last = Some(at);
            if found[at].is_some() && !leave.twice {
                return Err(format!("a line is stored twice: {:?}, again in {key}", ledger.lines[at]));
            }
            found[at] = found[at].max(Some(length));
        }
    }
    for (line, length) in ledger.lines.iter().zip(found) {
        // A newline is added to what has none.
        let length = length.unwrap_or(0);
        if length < line.sure || length > line.given.max(line.sure) {
            return Err(format!("a line is lost or torn: {line:?}: {length} bytes are there"));
        }
    }
    leftovers(machine)
}

/// Which line this is, and how many of its bytes are there.
fn known(ledger: &Ledger, line: &[u8]) -> Result<(usize, usize), String> {
    let shown = String::from_utf8_lossy(line);
    let Some(inside) = line.strip_suffix(b"\n") else { return Err(format!("a line without its end: {shown:?}")) };
    let at = ledger.lines.iter().position(|known| inside.first() == known.text.as_bytes().first());
    let at = at.ok_or_else(|| format!("a line that nobody wrote: {shown:?}"))?;
    let text = ledger.lines[at].text.as_bytes();
    match text.strip_prefix(inside) {
        Some(b"\n") => Ok((at, text.len().min(ledger.lines[at].given))),
        Some(_) => Ok((at, inside.len())),
        None => Err(format!("a line that nobody wrote: {shown:?}")),
    }
}

pub fn leftovers(machine: &Machine) -> Result<(), String> {
    let layout = Layout::new(DIR);
    let stays = [layout.receipts(), layout.chains(), layout.checkpoints()].map(|dir| text(&dir));
    let files = machine.fs.files(DIR);
    if let Some(path) = files.keys().find(|path| !stays.iter().any(|dir| path.starts_with(dir))) {
        return Err(format!("something is left: {path}"));
    }
    if heads(machine).len() > 1 {
        return Err("something is left: more than one manifest".to_owned());
    }
    let mut far = machine.fs.files("/far/.logjam").into_keys();
    if let Some(path) = far.find(|path| !path.starts_with("/far/.logjam/checkpoint/")) {
        return Err(format!("something is left: {path}"));
    }
    match machine.bucket.open_uploads() {
        0 => Ok(()),
        open => Err(format!("something is left: {open} open uploads")),
    }
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// What an archive holds.
pub fn plain(setup: &Setup, name: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    if setup.foreign_key().as_deref() == Some(name) {
        return if data == FOREIGN { Ok(Vec::new()) } else { Err("somebody else's object has changed".into()) };
    }
    UNPACKED.with_borrow_mut(|known| {
        if let Some(plain) = known.get(data) {
            return plain.clone();
        }
        let plain = unpacked(name, data);
        known.insert(data.to_vec(), plain.clone());
        plain
    })
}

/// Archives, and their plain text or why they have none.
type Unpacked = HashMap<Vec<u8>, Result<Vec<u8>, String>>;

thread_local! {
    /// Most lives make the same few archives.
    static UNPACKED: RefCell<Unpacked> = RefCell::default();
}

fn unpacked(name: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let read = if name.ends_with(".zst") {
        zstd::stream::read::Decoder::new(data).and_then(|mut decoder| decoder.read_to_end(&mut plain))
    } else {
        flate2::read::GzDecoder::new(data).read_to_end(&mut plain)
    };
    read.map_err(|e| e.to_string()).map(|_| plain)
}
