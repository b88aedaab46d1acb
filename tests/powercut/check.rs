//! What must be true of a machine: at every start, and when the last life is over.

use super::cut::{Machine, Survivor};
use super::life::{DIR, FAR, FOREIGN, Far, Ledger, Setup};
use super::said;
use logjam::format::layout::Layout;
use logjam::format::receipt::Receipt;
use std::collections::BTreeMap;
use std::io::Read;

/// Between the prefix and the time of what had to take another name.
const DUPLICATE: &str = "-logjam-compress-duplicate-timestamp";

type Files = BTreeMap<String, Vec<u8>>;

/// What counts as a fault, given what the medium did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    /// The medium forgot an earlier name of a file and kept a later one: an archive may be there twice.
    pub twice: bool,
    /// An operation failed: the files of one hour may have been written in another order than that of their names.
    pub unordered: bool,
}

impl Leave {
    pub fn after(survivors: &[Survivor]) -> Self {
        Self { twice: survivors.iter().any(|how| matches!(how, Survivor::Loose(_))), unordered: false }
    }
}

/// The objects at the far end, by key.
pub fn objects(machine: &Machine, setup: &Setup) -> Files {
    if setup.far != Far::Directory {
        return machine.bucket.objects();
    }
    let files = machine.fs.files(FAR).into_iter();
    let below = files.map(|(path, data)| (path[FAR.len() + 1..].to_owned(), data));
    below.filter(|(key, _)| !key.starts_with(".logjam/")).collect()
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
    let receipts = text(&Layout::new(DIR).receipts());
    if let Some(path) = machine.fs.files(DIR).keys().find(|path| !path.starts_with(&receipts)) {
        return Err(format!("something is left: {path}"));
    }
    if let Some(path) = machine.fs.files("/far/.logjam").keys().next() {
        return Err(format!("something is left: {path}"));
    }
    Ok(())
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// What an archive holds.
pub fn plain(setup: &Setup, name: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    if setup.foreign_key().as_deref() == Some(name) {
        return if data == FOREIGN { Ok(Vec::new()) } else { Err("somebody else's object has changed".into()) };
    }
    let mut plain = Vec::new();
    let read = if name.ends_with(".zst") {
        zstd::stream::read::Decoder::new(data).and_then(|mut decoder| decoder.read_to_end(&mut plain))
    } else {
        flate2::read::GzDecoder::new(data).read_to_end(&mut plain)
    };
    read.map_err(|e| e.to_string()).map(|_| plain)
}
