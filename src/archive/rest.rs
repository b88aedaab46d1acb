//! A host that was cut off comes back, and another one has finished its hour meanwhile: the object that stands at the key is a
//! beginning of the archive. Then only the rest is left to store: it becomes an archive of its own, whose name is made of what
//! it is the rest of, so that it is the same however often this is begun.

use super::packing::Packing;
use super::{Archive, summary};
use crate::env::fs::{append_all, publish};
use crate::env::plain;
use crate::env::store::{Body, Store};
use crate::error::{Error, Kind, Result};
use crate::format::layout::{GZIP, ZSTD};
use crate::format::manifest::{Counts, Packed, Summary, hex};
use crate::format::name::LogName;
use crate::format::seal::Ended;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much is compared at a time, in bytes.
const CHUNK: usize = 64 << 10;
/// How many digits of the hash of what is left out are in the name of the rest.
const HASH: usize = 12;

/// What an object holds that an archive begins with, or is a beginning of.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Plain bytes of the object.
    plain: u64,
    /// Its lines.
    lines: u64,
    /// BLAKE3 of its plain text, in hex.
    blake3: String,
    /// The last byte that both have.
    last: u8,
    /// Size of the object, in bytes.
    pub object: u64,
    /// Its SHA-256, in hex.
    sha256: String,
}

/// What a text and the object at `key` have in common, if that is all that one of them holds.
pub(super) async fn common(
    store: &dyn Store,
    key: &str,
    name: &LogName,
    own: Box<dyn Read + Send>,
) -> Result<Option<Common>> {
    let packed = [GZIP, ZSTD].iter().any(|ending| name.extension().ends_with(ending));
    if name.token().is_none() || !packed {
        return Ok(None);
    }
    let Some((found, mut content)) = store.fetch(key, 0).await? else { return Ok(None) };
    let mut compare = Compare { own, buffer: vec![0; CHUNK], common: Common::default(), blake3: blake3::Hasher::new() };
    let mut sha256 = Sha256::new();
    let same = plain::unpack(&mut *content, name.extension(), &mut compare, &mut |piece| sha256.update(piece)).await?;
    let Compare { common, blake3, .. } = compare;
    Ok((same && common.last == b'\n' && common.plain > 0).then(|| Common {
        object: found.len,
        sha256: hex(&sha256.finalize()),
        blake3: blake3.finalize().to_hex().to_string(),
        ..common
    }))
}

/// Makes an archive of what an object does not hold, if there is any: its name. What is written down of the archive is then what
/// the object holds.
pub(super) fn begin(archive: &Archive, name: &LogName, body: &Body, common: &Common) -> Result<Option<LogName>> {
    let path = archive.layout.archive(name);
    let whole = summary::of_archive(archive, name, &body.file)?;
    if whole.ended == Ended::Rescue {
        // A life that was killed before the receipt came this far.
        return Ok(match named(name, &common.blake3) {
            Some(rest) if is_made(archive, &rest)? => Some(rest),
            _ => None,
        });
    }
    let mut text = plain::reader(Arc::clone(&body.file), name, &path)?;
    let rest = if common.plain < whole.bytes { write_rest(archive, name, &whole, common, &mut *text)? } else { None };
    if rest.is_none() {
        tracing::info!("{name}: all of its lines were stored by a rescue");
    }
    let codec = whole.packed.as_ref().map_or_else(String::new, |packed| packed.codec.clone());
    let object = Summary {
        ended: Ended::Rescue,
        lines: common.lines,
        bytes: common.plain,
        blake3: common.blake3.clone(),
        last: None,
        packed: Some(Packed { codec, bytes: common.object, sha256: common.sha256.clone() }),
        ..whole
    };
    summary::write(archive, name, &object)?;
    Ok(rest)
}

/// Skips what the object holds, and writes what comes then as an archive.
fn write_rest(
    archive: &Archive,
    name: &LogName,
    whole: &Summary,
    common: &Common,
    text: &mut dyn Read,
) -> Result<Option<LogName>> {
    let skipped = std::io::copy(&mut text.take(common.plain), &mut std::io::sink());
    if skipped.map_err(|e| Error::io("read", archive.layout.archive(name).display(), &e))? < common.plain {
        return Ok(None);
    }
    let Some(other) = named(name, &common.blake3) else { return Ok(None) };
    if is_made(archive, &other)? {
        return Ok(Some(other));
    }
    archive.has_room(whole.bytes - common.plain)?;
    tracing::warn!("{name}: a rescue stored the first {} of its lines; the rest is stored as {other}", common.lines);
    write(archive, &other, whole, text)?;
    Ok(Some(other))
}

/// The name of what is behind a text with this BLAKE3.
pub(super) fn named(name: &LogName, blake3: &str) -> Option<LogName> {
    name.rest(&blake3.chars().take(HASH).collect::<String>())
}

/// Whether an earlier life made it: it may be stored by now, with its manifest.
fn is_made(archive: &Archive, rest: &LogName) -> Result<bool> {
    let stands = |path: PathBuf| archive.env.fs.stat(&path).map(|entry| entry.is_some());
    Ok(stands(archive.layout.archive(rest))? || stands(archive.layout.receipt(rest))?)
}

/// Writes what is left of `text` as an archive. In the clear first: that is how the packer takes it.
fn write(archive: &Archive, other: &LogName, whole: &Summary, text: &mut dyn Read) -> Result<()> {
    let (fs, draft) = (&archive.env.fs, archive.layout.draft("rest", std::process::id(), other));
    fs.remove(&draft)?;
    let written = pack(archive, other, whole, text, &draft);
    // Also where that failed: or what nobody needs would keep a full disk full.
    fs.remove(&draft)?;
    written
}

fn pack(archive: &Archive, other: &LogName, whole: &Summary, text: &mut dyn Read, draft: &Path) -> Result<()> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let packed_path = layout.work(other);
    let source = fs.create(draft)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = plain::fill(text, &mut buffer).map_err(|e| Error::io("read", other, &e))?;
        append_all(&*source, &buffer[..n])?;
        if n < buffer.len() {
            break;
        }
    }
    let len = source.len()?;
    let archive = &Archive { codec: archive.codec.of(&other.to_string()), ..archive.clone() };
    let mut packing = Packing::open(archive, other, &*source, len, &archive.leaving)?;
    while packing.advance(&*source, len, archive.threads)?.is_continue() {}
    let (file, ending) = packing.finish(&*source, len)?;
    let summary = Summary {
        lines: ending.lines,
        bytes: ending.plain,
        blake3: ending.blake3,
        packed: Some(ending.packed),
        // They are told of by the other one.
        counts: Counts::default(),
        ..whole.clone()
    };
    summary::write(archive, other, &summary)?;
    match publish(&**fs, &*file, &packed_path, &layout.archive(other)) {
        // By an earlier try.
        Err(e) if e.kind == Kind::Exists => {}
        published => published?,
    }
    fs.remove(&layout.progress(other))?;
    fs.remove(&packed_path)
}

/// Takes the plain text of an object, and fails where the archive's is another.
struct Compare {
    own: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    common: Common,
    blake3: blake3::Hasher,
}

impl Write for Compare {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let most = text.len().min(self.buffer.len());
        let n = plain::fill(&mut *self.own, &mut self.buffer[..most])?;
        if self.buffer[..n] != text[..n] {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        // Behind the end of the archive the object may go on: a power cut took that away here.
        self.common.plain += most as u64;
        self.common.lines += memchr::memchr_iter(b'\n', &text[..most]).count() as u64;
        self.blake3.update(&text[..most]);
        if n > 0 {
            self.common.last = text[n - 1];
        }
        Ok(most)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
