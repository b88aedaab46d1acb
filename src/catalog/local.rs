//! What DIR has that may not be archived yet.

use super::find::Local;
use super::item::{Item, Place};
use super::select::Selection;
use crate::env::fs::{EntryKind, File, Fs};
use crate::error::{Kind, Result};
use crate::format::key::Dest;
use crate::format::layout::{GZIP, Layout, ZSTD};
use crate::format::name::{LOG, LogName};
use std::path::Path;
use std::sync::Arc;

/// How much of the end of a file is looked through at a time for the end of a line, in bytes.
const PEEK: usize = 64 << 10;

/// Looks at DIR while files move from one stage to the next.
const LOOKS: u32 = 5;

/// Opens what is asked for and has no receipt. The archive of an hour file counts in its place.
///
/// # Errors
/// If DIR can't be read.
pub fn open(fs: &dyn Fs, layout: &Layout, dest: &Dest, selection: &Selection) -> Result<Vec<Local>> {
    for _ in 1..LOOKS {
        if let Some(found) = look(fs, layout, dest, selection)? {
            return Ok(found);
        }
    }
    Ok(look(fs, layout, dest, selection)?.unwrap_or_default())
}

/// `None`: something went to another place meanwhile.
fn look(fs: &dyn Fs, layout: &Layout, dest: &Dest, selection: &Selection) -> Result<Option<Vec<Local>>> {
    let receipts: Vec<String> =
        fs.list(&layout.receipts()).or_else(absent)?.into_iter().map(|entry| entry.name).collect();
    let mut found = Vec::new();
    // Hour files first: one that is archived meanwhile is found again there, and counts once.
    let hours = fs.list(layout.dir())?.into_iter().map(|entry| (entry, false));
    let archives = fs.list(&layout.archives()).or_else(absent)?.into_iter().map(|entry| (entry, true));
    for (entry, is_archive) in hours.chain(archives) {
        let Some(name) = LogName::parse(&entry.name).filter(|_| entry.kind == EntryKind::File) else { continue };
        let packed = match is_archive {
            true => vec![name.clone()],
            false => [GZIP, ZSTD].map(|ending| name.with_ending(ending)).into(),
        };
        let is_asked = is_archive || name.extension().ends_with(LOG);
        if !is_asked || !selection.takes(&name) || packed.iter().any(|name| receipts.contains(&name.to_string())) {
            continue;
        }
        let path = if is_archive { layout.archive(&name) } else { layout.hour(&name) };
        let Some((file, len)) = opened(fs, &path, is_archive)? else { return Ok(None) };
        let keys: Vec<String> = packed.iter().map(|name| dest.key(name)).collect();
        if is_archive {
            found.retain(|other: &Local| !other.keys.contains(&keys[0]));
        }
        let item = Item { name, shown: path.display().to_string(), len, place: Place::Local(file) };
        found.push(Local { item, keys });
    }
    Ok(Some(found))
}

fn absent<T: Default>(e: crate::error::Error) -> Result<T> {
    if e.kind == Kind::NotFound { Ok(T::default()) } else { Err(e) }
}

/// The file, and how much of it counts: of an hour file whole lines. `None`: it is gone, to where it is found otherwise.
fn opened(fs: &dyn Fs, path: &Path, is_archive: bool) -> Result<Option<(Arc<dyn File>, u64)>> {
    let file = match fs.open_read(path) {
        Err(e) if e.kind == Kind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = file.len()?;
    let len = if is_archive { len } else { whole_lines(&*file, len)? };
    Ok(Some((file, len)))
}

/// Where the last whole line within the first `len` bytes ends.
fn whole_lines(file: &dyn File, len: u64) -> Result<u64> {
    let mut buffer = vec![0; PEEK];
    let mut end = len;
    while end > 0 {
        let from = end.saturating_sub(PEEK as u64);
        let most = usize::try_from(end - from).unwrap_or(PEEK);
        let got = file.read_at(&mut buffer[..most], from)?;
        if let Some(at) = memchr::memrchr(b'\n', &buffer[..got]) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}
