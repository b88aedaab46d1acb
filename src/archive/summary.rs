//! What an archive holds, written down when it is made. It stands until the archive's manifest does; one without an archive
//! tells of a period without a line.

use super::Archive;
use super::codec::SLICE;
use super::packing::{Ending, each_slice};
use crate::env::fs::{File, publish_bytes, read_whole};
use crate::env::plain;
use crate::error::{Error, Kind, Result};
use crate::format::layout::{GZIP, ZSTD};
use crate::format::manifest::{Counts, Packed, Summary, hex};
use crate::format::name::LogName;
use crate::format::seal::{Ended, Seal};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an hour file holds that has just been packed.
pub(super) fn of_hour(archive: &Archive, name: &LogName, ending: &Ending) -> Result<Summary> {
    let seal = match read_whole(&*archive.env.fs, &archive.layout.seal(name)) {
        Ok(data) => serde_json::from_slice::<Seal>(&data).ok(),
        Err(e) if e.kind == Kind::NotFound => None,
        Err(e) => return Err(e),
    };
    Ok(Summary {
        ended: seal.as_ref().map_or(Ended::Unknown, |seal| seal.ended),
        seconds: seal.as_ref().and_then(|seal| seal.seconds),
        lines: ending.lines,
        bytes: ending.plain,
        blake3: ending.blake3.clone(),
        first: seal.as_ref().and_then(|seal| seal.first),
        last: seal.as_ref().and_then(|seal| seal.last),
        watched: None,
        counts: seal.map_or_else(Counts::default, |seal| seal.counts),
        packed: Some(ending.packed.clone()),
    })
}

/// Writes the summary of an archive that does not stand yet.
pub(super) fn write(archive: &Archive, name: &LogName, summary: &Summary) -> Result<()> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let path = layout.summary(name);
    // Of a life that came no further.
    fs.remove(&path)?;
    let text = serde_json::to_vec(summary).unwrap_or_default();
    match publish_bytes(&**fs, &text, &layout.draft("summary", std::process::id(), name), &path) {
        Err(e) if e.kind == Kind::Exists => Ok(()),
        written => written,
    }
}

/// The summary that is written down, if there is one.
pub(super) fn written(archive: &Archive, name: &LogName) -> Result<Option<Summary>> {
    match read_whole(&*archive.env.fs, &archive.layout.summary(name)) {
        Ok(data) => Ok(serde_json::from_slice(&data).ok()),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The summary of an archive that stands: as it is written down, or by reading all of it, as for one that another program made.
pub(super) fn of_archive(archive: &Archive, name: &LogName, file: &Arc<dyn File>) -> Result<Summary> {
    let path = archive.layout.archive(name);
    let len = file.len()?;
    if let Some(summary) = written(archive, name)?
        // Of one that a rescue stored a beginning of, it tells of that.
        && (summary.ended == Ended::Rescue || summary.packed.as_ref().is_some_and(|packed| packed.bytes == len))
    {
        return Ok(summary);
    }
    let summary = read(archive, name, file, &path)?;
    write(archive, name, &summary)?;
    Ok(summary)
}

fn read(archive: &Archive, name: &LogName, file: &Arc<dyn File>, path: &Path) -> Result<Summary> {
    let leaving = || {
        let cause = "leaving";
        if archive.leaving.load(Ordering::Relaxed) {
            Err(Error::retry("read", name, Kind::Busy, cause))
        } else {
            Ok(())
        }
    };
    let mut sha256 = Sha256::new();
    let bytes = each_slice(&**file, 0, file.len()?, |slice| {
        sha256.update(slice);
        leaving()
    })?;
    let mut text = plain::reader(Arc::clone(file), name, path)?;
    let (mut buffer, mut blake3) = (vec![0; SLICE], blake3::Hasher::new());
    let (mut lines, mut plain) = (0, 0);
    loop {
        leaving()?;
        match plain::fill(&mut *text, &mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                blake3.update(&buffer[..n]);
                lines += memchr::memchr_iter(b'\n', &buffer[..n]).count() as u64;
                plain += n as u64;
            }
            Err(e) => {
                // It is stored as it is: that it can't be unpacked is no reason to lose it.
                tracing::warn!(
                    "{}: {e}; it is stored as it is, and its manifest counts what can be read",
                    path.display()
                );
                break;
            }
        }
    }
    let packed = Packed { codec: codec(name).to_owned(), bytes, sha256: hex(&sha256.finalize()) };
    Ok(Summary {
        ended: Ended::Unknown,
        seconds: None,
        lines,
        bytes: plain,
        blake3: blake3.finalize().to_hex().to_string(),
        first: None,
        last: None,
        watched: None,
        counts: Counts::default(),
        packed: Some(packed),
    })
}

fn codec(name: &LogName) -> &'static str {
    match name.extension() {
        extension if extension.ends_with(GZIP) => "gzip",
        extension if extension.ends_with(ZSTD) => "zstd",
        _ => "none",
    }
}
