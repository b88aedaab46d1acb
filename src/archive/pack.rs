//! One hour file to one archive. The order: the whole archive under a work name, its content and final name made durable,
//! then the hour file goes, then its seal, then the work name. A crash leaves the hour file or the archive or both; when
//! both stand, the work name tells whose archive it is: it is the same file.

use super::codec::{Encoder, SLICE};
use super::{Archive, Sources};
use crate::env::fs::{File, FileId, append_all, locked, publish};
use crate::error::{Error, Kind, Result};
use crate::format::name::{DUPLICATES, LogName};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::Ordering;

/// How much output is gathered before it is written, in bytes.
const WRITE: usize = 128 << 10;
/// Where the system can't tell whether a file is open: how long it must have been left alone, in seconds.
const UNTOUCHED: i64 = 60;

/// Packs an hour file: the archive's name, or `None` if somebody else has the file or it is gone.
pub fn pack(archive: &Archive, name: &LogName) -> Result<Option<LogName>> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let path = layout.hour(name);
    let Some(source) = locked(&**fs, &path, fs.open_read(&path))? else { return Ok(None) };
    let packed = name.with_ending(archive.codec.ending());
    let work = layout.work(&packed);
    if let Some(entry) = fs.stat(&work)? {
        if let Some(there) = published(archive, entry.id)?
            && holds(archive, &there, &*source)?
        {
            // The life that linked it may have been killed before this.
            fs.sync_dir(&layout.archives())?;
            retire_source(archive, name, &*source, &work)?;
            return Ok(Some(there));
        }
        fs.remove(&work)?;
    }
    at_rest(archive, &*source, &path, None)?;
    let file = fs.create(&work)?;
    let done = compress(archive, &*source, &*file).and_then(|len| {
        at_rest(archive, &*source, &path, Some(len))?;
        place(archive, &packed, &*file, &work)
    });
    match done {
        Ok(there) => {
            retire_source(archive, name, &*source, &work)?;
            tracing::debug!("{}: packed as {there}", path.display());
            Ok(Some(there))
        }
        Err(e) => {
            // Once it has its final name, the work name is what tells the next try so.
            if published(archive, file.id()?)?.is_none() {
                fs.remove(&work)?;
            }
            Err(e)
        }
    }
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

/// Compresses all of `source`: how many bytes that was.
fn compress(archive: &Archive, source: &dyn File, to: &dyn File) -> Result<u64> {
    let mut out = Vec::with_capacity(2 * WRITE);
    let mut encoder = Encoder::new(archive.codec, &mut out)?;
    let mut slice = vec![0; SLICE];
    let mut at = 0;
    loop {
        if archive.leaving.load(Ordering::Relaxed) {
            return Err(Error::retry("compress", "a file", Kind::Busy, "leaving"));
        }
        let n = fill(source, &mut slice, at)?;
        if n > 0 {
            encoder.push(&slice[..n], &mut out)?;
            at += n as u64;
        }
        if out.len() >= WRITE {
            append_all(to, &out)?;
            out.clear();
        }
        if n < SLICE {
            break;
        }
    }
    encoder.finish(&mut out)?;
    append_all(to, &out)?;
    Ok(at)
}

/// Reads until the slice is full or the file ends.
fn fill(source: &dyn File, slice: &mut [u8], at: u64) -> Result<usize> {
    let mut got = 0;
    while got < slice.len() {
        match source.read_at(&mut slice[got..], at + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// Gives the archive its final name: its own, or the first free one of a duplicate.
fn place(archive: &Archive, packed: &LogName, file: &dyn File, work: &Path) -> Result<LogName> {
    let candidates = std::iter::once(packed.clone()).chain((0..DUPLICATES).map(|n| packed.duplicate(n)));
    for name in candidates {
        match publish(&*archive.env.fs, file, work, &archive.layout.archive(&name)) {
            Ok(()) => {
                if name != *packed {
                    tracing::warn!("{packed} stands already in the archive; it stays, and the new one is {name}");
                }
                return Ok(name);
            }
            Err(e) if e.kind == Kind::Exists => {}
            Err(e) => return Err(e),
        }
    }
    Err(Error::stop("archive", packed, Kind::Exists, "it stands already, and so do all 25 names for duplicates")
        .mend(format!("look through {}", archive.layout.archives().display())))
}

/// The archive that is the same file as `work`, if a life before this one came that far.
fn published(archive: &Archive, work: FileId) -> Result<Option<LogName>> {
    let entries = archive.env.fs.list(&archive.layout.archives())?;
    Ok(entries.into_iter().find(|entry| entry.id == work).and_then(|entry| LogName::parse(&entry.name)))
}

/// Whether an archive holds exactly this source.
fn holds(archive: &Archive, there: &LogName, source: &dyn File) -> Result<bool> {
    let path = archive.layout.archive(there);
    let file = archive.env.fs.open_read(&path)?;
    let reader = FileReader { file: &*file, at: 0 };
    let text = there.to_string();
    let mut plain: Box<dyn Read> = if text.ends_with(crate::format::layout::ZSTD) {
        let decoder = zstd::stream::read::Decoder::new(reader);
        Box::new(decoder.map_err(|e| Error::io("read", path.display(), &e))?)
    } else {
        Box::new(flate2::read::MultiGzDecoder::new(reader))
    };
    let (mut one, mut other, mut at) = (vec![0; SLICE], vec![0; SLICE], 0);
    loop {
        let n = fill(source, &mut one, at)?;
        let mut got = 0;
        while got < SLICE {
            match plain.read(&mut other[got..]) {
                Ok(0) => break,
                Ok(m) => got += m,
                Err(_) => return Ok(false),
            }
        }
        if one[..n] != other[..got] {
            return Ok(false);
        }
        if n < SLICE {
            return Ok(true);
        }
        at += n as u64;
    }
}

struct FileReader<'a> {
    file: &'a dyn File,
    at: u64,
}

impl Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buf, self.at).map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Takes the source away, if its name still names it, and what was needed to get here.
fn retire_source(archive: &Archive, name: &LogName, source: &dyn File, work: &Path) -> Result<()> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let id = source.id()?;
    if fs.stat(&layout.hour(name))?.is_some_and(|entry| entry.id == id) {
        fs.remove(&layout.hour(name))?;
        fs.sync_dir(layout.dir())?;
    }
    fs.remove(&layout.seal(name))?;
    fs.remove(work)
}
