//! One hour file to one archive. The order: the whole archive under a work name, its content and final name made durable,
//! then the hour file goes, then its seal, then the work name. A crash leaves the hour file or the archive or both; when
//! both stand, the work name tells whose archive it is: it is the same file.

use super::codec::SLICE;
use super::packing::{Ending, Packing, fill};
use super::{Archive, Sources, summary};
use crate::env::fs::{File, FileId, locked, publish};
use crate::env::plain;
use crate::error::{Error, Kind, Result};
use crate::format::name::{DUPLICATES, LogName};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where the system can't tell whether a file is open: how long it must have been left alone, in seconds.
const UNTOUCHED: i64 = 60;

/// Packs an hour file: the archive's name, or `None` if it is gone. `told` hears the name as soon as the archive stands.
///
/// # Errors
/// [`Kind::Busy`] if somebody else has the file.
pub fn pack(archive: &Archive, name: &LogName, mut told: impl FnMut(&LogName)) -> Result<Option<LogName>> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let path = layout.hour(name);
    let Some(source) = locked(&**fs, &path, fs.open_read(&path))? else {
        let busy = || Error::retry("pack", path.display(), Kind::Busy, "another process is at it");
        return if fs.stat(&path)?.is_none() { Ok(None) } else { Err(busy()) };
    };
    let packed = name.with_ending(archive.codec.ending());
    let begun = archive.following.as_ref().and_then(|following| following.take(&packed));
    if let Some(there) = earlier(archive, &packed, &*source)? {
        told(&there);
        retire_source(archive, name, &*source, &packed)?;
        return Ok(Some(there));
    }
    at_rest(archive, &*source, &path, None)?;
    let done = compress(archive, &packed, &*source, begun).and_then(|(file, len, ending)| {
        let placed =
            at_rest(archive, &*source, &path, Some(len)).and_then(|()| place(archive, name, &packed, &*file, &ending));
        // Whoever stores it wants it, or whoever tries again; and who sends it in parts may still have it open.
        file.unlock();
        placed
    });
    match done {
        Ok(there) => {
            told(&there);
            retire_source(archive, name, &*source, &packed)?;
            tracing::debug!("{}: packed as {there}", path.display());
            Ok(Some(there))
        }
        Err(e) => {
            // Whoever only had to leave is gone on with. What failed is begun again, and may be in the way until then. (Once it has
            // its final name, its work name is what tells the next try so.)
            let work = layout.work(&packed);
            if e.kind != Kind::Busy
                && let Some(entry) = fs.stat(&work)?
                && published(archive, entry.id)?.is_none()
            {
                fs.remove(&work)?;
                fs.remove(&layout.progress(&packed))?;
            }
            Err(e)
        }
    }
}

/// The archive of this source that an earlier life made, if it came that far. Another one under the work name is not gone on with.
fn earlier(archive: &Archive, packed: &LogName, source: &dyn File) -> Result<Option<LogName>> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let work = layout.work(packed);
    let Some(entry) = fs.stat(&work)? else { return Ok(None) };
    let Some(there) = published(archive, entry.id)? else { return Ok(None) };
    if holds(archive, &there, source)? {
        // The life that linked it may have been killed before this.
        fs.sync_dir(&layout.archives())?;
        return Ok(Some(there));
    }
    fs.remove(&work)?;
    fs.remove(&layout.progress(packed)).map(|()| None)
}

/// Fails with [`Kind::Busy`] while somebody has the file open for writing, or it is not `len` bytes long, or its name
/// belongs to another file by now.
fn at_rest(archive: &Archive, source: &dyn File, path: &Path, len: Option<u64>) -> Result<()> {
    if archive.sources != Sources::Superseded {
        return Ok(());
    }
    let busy = match source.has_writer() {
        Some(open) => open,
        None => {
            let now = archive.env.clock.now();
            archive.env.fs.stat(path)?.is_some_and(|entry| (now - entry.modified).num_seconds() < UNTOUCHED)
        }
    };
    let entry = archive.env.fs.stat(path)?;
    let moved = !entry.is_some_and(|entry| source.id().is_ok_and(|id| id == entry.id));
    if busy || moved || len.is_some_and(|len| source.len().is_ok_and(|now| now != len)) {
        return Err(Error::retry("compress", path.display(), Kind::Busy, "somebody still writes to it"));
    }
    Ok(())
}

/// Compresses all of `source`, or what is left to do of it: the archive, how many bytes that was, and what it holds.
fn compress(
    archive: &Archive,
    packed: &LogName,
    source: &dyn File,
    begun: Option<Packing>,
) -> Result<(Arc<dyn File>, u64, Ending)> {
    let len = source.len()?;
    let mut packing = match begun {
        Some(packing) if packing.stands(archive)? && packing.plain() <= len => packing,
        other => {
            // Its lock goes.
            drop(other);
            Packing::open(archive, packed, source, len, &archive.leaving)?
        }
    };
    loop {
        if archive.leaving.load(Ordering::Relaxed) {
            return Err(Error::retry("compress", "a file", Kind::Busy, "leaving"));
        }
        if packing.advance(source, len, archive.threads)?.is_break() {
            break;
        }
    }
    let (file, ending) = packing.finish(source, len)?;
    Ok((file, len, ending))
}

/// Gives the archive its final name: its own, or the first free one of a duplicate. What it holds is written down before.
fn place(archive: &Archive, name: &LogName, packed: &LogName, file: &dyn File, ending: &Ending) -> Result<LogName> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let summary = summary::of_hour(archive, name, ending)?;
    let candidates = std::iter::once(packed.clone()).chain((0..DUPLICATES).map(|n| packed.duplicate(n)));
    for name in candidates {
        if fs.stat(&layout.archive(&name))?.is_some() {
            continue;
        }
        summary::write(archive, &name, &summary)?;
        match publish(&**fs, file, &layout.work(packed), &layout.archive(&name)) {
            Ok(()) => {
                let watch = &archive.env.watch;
                watch.archived_files.add(1);
                watch.archived_lines.add(ending.lines);
                watch.archived_bytes.add(ending.plain);
                watch.archived_packed_bytes.add(ending.packed.bytes);
                if name != *packed {
                    tracing::warn!("{packed} stands already in the archive; it stays, and the new one is {name}");
                }
                return Ok(name);
            }
            Err(e) if e.kind == Kind::Exists => {}
            Err(e) => return Err(e),
        }
    }
    // Nothing will come of it, and it is as large as an archive.
    fs.remove(&layout.work(packed))?;
    fs.remove(&layout.progress(packed))?;
    Err(Error::stop("archive", packed, Kind::Exists, "it stands already, and so do all 25 names for duplicates")
        .mend(format!("look through {}", layout.archives().display())))
}

/// The archive that is the same file as `work`, if a life before this one came that far.
fn published(archive: &Archive, work: FileId) -> Result<Option<LogName>> {
    let entries = archive.env.fs.list(&archive.layout.archives())?;
    Ok(entries.into_iter().find(|entry| entry.id == work).and_then(|entry| LogName::parse(&entry.name)))
}

/// Whether an archive holds exactly this source.
fn holds(archive: &Archive, there: &LogName, source: &dyn File) -> Result<bool> {
    let path = archive.layout.archive(there);
    let mut plain = plain::reader(archive.env.fs.open_read(&path)?, there, &path)?;
    let (mut one, mut other, mut at) = (vec![0; SLICE], vec![0; SLICE], 0);
    loop {
        let n = fill(source, &mut one, at)?;
        let Ok(got) = plain::fill(&mut *plain, &mut other) else { return Ok(false) };
        if one[..n] != other[..got] {
            return Ok(false);
        }
        if n < SLICE {
            return Ok(true);
        }
        at += n as u64;
    }
}

/// Takes the source away, if its name still names it, and what was needed to get here.
fn retire_source(archive: &Archive, name: &LogName, source: &dyn File, packed: &LogName) -> Result<()> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let id = source.id()?;
    if fs.stat(&layout.hour(name))?.is_some_and(|entry| entry.id == id) {
        fs.remove(&layout.hour(name))?;
        fs.sync_dir(layout.dir())?;
    }
    fs.remove(&layout.seal(name))?;
    fs.remove(&layout.tally(name))?;
    fs.remove(&layout.progress(packed))?;
    fs.remove(&layout.work(packed))
}
