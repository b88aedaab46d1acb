//! Hours that are not stored yet, as the checkpoints of their hosts have them.

use super::download::{self, Download};
use super::item::{Item, Place};
use super::select::Selection;
use crate::env::plain::unpacked;
use crate::env::store::{Content, Part, Store, Tries};
use crate::error::{Error, Kind, Result};
use crate::format::checkpoint::{self, Checkpoint, Unfinished};
use crate::format::key::{CHECKPOINTS, Dest};
use crate::format::layout::{BLOCK, ZSTD};
use crate::format::manifest::sha256;
use crate::format::name::LogName;
use bytes::Bytes;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::oneshot::{Receiver, channel};

/// Ends a block that gzip's compressor has flushed (RFC 1951, 3.2.4: an empty stored block).
const FLUSHED: &[u8] = b"\x00\x00\xff\xff";
/// Begins a frame (RFC 8878, 3.1.1).
const FRAME: &[u8] = b"\x28\xb5\x2f\xfd";
/// What stands behind the last block of a gzip member: CRC-32 and length.
const TRAILER: usize = 8;

/// An hour of which a checkpoint has lines.
pub(super) struct Found {
    /// The key that its object will have.
    pub(super) key: String,
    pub(super) item: Item,
}

/// All that are asked for, and an error for each checkpoint that can't be read. Those of another DEST in the same bucket have keys
/// that this one does not give.
pub(super) async fn all(store: &dyn Store, dest: &Dest, selection: &Selection) -> (Vec<Found>, Vec<Error>) {
    let (begin, exact) = selection.prefix.begin();
    let prefix = format!("{CHECKPOINTS}{begin}{}", if exact { "/" } else { "" });
    let (mut found, mut failed, mut after) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let page = match store.list(&prefix, after.as_deref()).await {
            Err(e) => {
                failed.push(e);
                return (found, failed);
            }
            Ok(page) => page,
        };
        for listed in &page.keys {
            // All that is in it came before it was written.
            let is_late = selection.from.is_none_or(|from| listed.modified > from);
            if is_late && dest.is_checkpoint(&listed.key, |prefix, suffix| selection.takes_stream(prefix, Some(suffix)))
            {
                match read(store, dest, selection, &listed.key).await {
                    Ok(read) => found.extend(read),
                    Err(e) => failed.push(e),
                }
            }
        }
        after = page.keys.into_iter().next_back().map(|last| last.key).filter(|_| page.more);
        if after.is_none() {
            return (found, failed);
        }
    }
}

/// What a checkpoint tells of in its first line: nothing of a tail is kept before it is to be read.
async fn read(store: &dyn Store, dest: &Dest, selection: &Selection, at: &str) -> Result<Vec<Found>> {
    let mut tries = Tries::default();
    loop {
        let Some((_, mut content)) = store.fetch(at, 0).await? else { return Ok(Vec::new()) };
        match first_line(&mut *content).await {
            Ok(Some((checkpoint, _))) => {
                return Ok(checkpoint.unfinished.iter().filter_map(|one| found(dest, selection, at, one)).collect());
            }
            Ok(None) => return Err(foreign(&dest.url(at))),
            Err(e) => tries.again(e)?,
        }
    }
}

fn foreign(at: &str) -> Error {
    Error::stop("read", at, Kind::Other, "it is no checkpoint that this version knows")
}

fn found(dest: &Dest, selection: &Selection, at: &str, unfinished: &Unfinished<Part>) -> Option<Found> {
    if unfinished.stored {
        return None;
    }
    let manifest = &unfinished.manifest;
    let name = LogName::parse(&manifest.name).filter(|name| selection.takes(name))?;
    let (shown, key) = (dest.url(&manifest.key), manifest.key.clone());
    let place = Place::Unfinished { at: at.to_owned(), key: key.clone() };
    Some(Found { key, item: Item { name, shown, len: unfinished.tail, place } })
}

/// The first line of a checkpoint, and what came behind it already. `None`: it is no checkpoint.
async fn first_line(content: &mut dyn Content) -> Result<Option<(Checkpoint<Part>, Bytes)>> {
    let mut line = Vec::new();
    while let Some(mut piece) = content.next().await? {
        let end = memchr::memchr(b'\n', &piece).map_or(piece.len(), |at| at + 1);
        line.extend_from_slice(&piece.split_to(end));
        if line.ends_with(b"\n") {
            return Ok(checkpoint::first_line(&line).map(|checkpoint| (checkpoint, piece)));
        }
        if line.len() > checkpoint::LARGEST {
            break;
        }
    }
    Ok(None)
}

/// What there is of an hour, once that is to be read.
enum There {
    /// Its archive so far.
    Whole(Vec<u8>),
    /// The end of that, and the length of the whole text.
    End(Vec<u8>, u64),
    /// It was stored since it was found.
    Stored(Download),
}

/// An hour whose checkpoint is asked for it.
pub(super) struct Asked(Receiver<Result<There>>);

/// Begins to fetch the tail of an hour. In a runtime.
pub(super) fn open(store: &Arc<dyn Store>, at: &str, key: &str, counted: &Arc<AtomicU64>) -> Asked {
    let (store, counted, at, key) = (Arc::clone(store), Arc::clone(counted), at.to_owned(), key.to_owned());
    let (answer, asked) = channel();
    tokio::spawn(async move {
        let there = tail(&*store, &at, &key).await;
        let _ = answer
            .send(there.map(|there| {
                there.unwrap_or_else(|| There::Stored(download::begin(Arc::clone(&store), key, counted)))
            }));
    });
    Asked(asked)
}

impl Asked {
    /// Its plain text, as far as it can be read. Not on the runtime's own thread.
    pub(super) fn plain(self, item: &Item) -> std::io::Result<Box<dyn Read + Send>> {
        let there = self.0.blocking_recv().map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
        let (tail, total) = match there {
            There::Whole(tail) => return unpacked(Cursor::new(tail), &item.name),
            There::Stored(object) => return unpacked(object, &item.name),
            There::End(tail, total) => (tail, total),
        };
        let lines = end_of(&tail, &item.name, total);
        let (before, shown) = (total.saturating_sub(lines.len() as u64), &item.shown);
        tracing::warn!("{shown}: it is being sent: its first {before} bytes can't be read before its hour has ended");
        Ok(Box::new(Cursor::new(lines)))
    }
}

/// The tail that a checkpoint has now of the hour whose object will have this key. `None`: it has none any more.
async fn tail(store: &dyn Store, at: &str, key: &str) -> Result<Option<There>> {
    let mut tries = Tries::default();
    loop {
        let Some((_, mut content)) = store.fetch(at, 0).await? else { return Ok(None) };
        match tail_in(&mut *content, at, key).await {
            Err(e) => tries.again(e)?,
            read => return read,
        }
    }
}

async fn tail_in(content: &mut dyn Content, at: &str, key: &str) -> Result<Option<There>> {
    let (checkpoint, piece) = first_line(content).await?.ok_or_else(|| foreign(at))?;
    let mut before = 0u64;
    for unfinished in checkpoint.unfinished {
        if unfinished.stored || unfinished.manifest.key != key {
            before = before.saturating_add(unfinished.tail);
            continue;
        }
        let tail = part(content, piece, before, unfinished.tail).await?;
        if sha256(&tail) != unfinished.tail_sha256 {
            return Err(foreign(at));
        }
        let total = unfinished.manifest.summary.bytes;
        return Ok(Some(if unfinished.sent == 0 { There::Whole(tail) } else { There::End(tail, total) }));
    }
    Ok(None)
}

/// So many bytes behind so many others, or what there is of them.
async fn part(content: &mut dyn Content, mut piece: Bytes, mut before: u64, len: u64) -> Result<Vec<u8>> {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(checkpoint::LARGEST);
    let mut part = Vec::with_capacity(len);
    loop {
        let passed = piece.len().min(usize::try_from(before).unwrap_or(usize::MAX));
        before -= passed as u64;
        piece.truncate(passed.saturating_add(len - part.len()));
        part.extend_from_slice(&piece[passed..]);
        if part.len() == len {
            return Ok(part);
        }
        match content.next().await? {
            Some(next) => piece = next,
            None => return Ok(part),
        }
    }
}

/// The lines at the end of a text that a tail holds, which begins anywhere in an archive. Each block can be read without the ones
/// before it; where one begins is known by its mark, and proved by the end: the text before it is a number of whole blocks.
fn end_of(tail: &[u8], name: &LogName, total: u64) -> Vec<u8> {
    let is_zstd = name.extension().ends_with(ZSTD);
    let mark = if is_zstd { FRAME } else { FLUSHED };
    for at in memchr::memmem::find_iter(tail, mark) {
        let text = if is_zstd { frames(&tail[at..]) } else { deflated(&tail[at + FLUSHED.len()..]) };
        if let Some(text) = text
            && (total.checked_sub(text.len() as u64)).is_some_and(|before| before % BLOCK == 0)
        {
            let begin = memchr::memchr(b'\n', &text).map_or(text.len(), |at| at + 1);
            return text[begin..].to_vec();
        }
    }
    Vec::new()
}

fn frames(packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    zstd::stream::read::Decoder::new(packed).ok()?.read_to_end(&mut text).ok()?;
    Some(text)
}

/// The text of deflate blocks up to the last one, behind which a gzip trailer ends what is there.
fn deflated(packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut decoder = flate2::bufread::DeflateDecoder::new(packed);
    decoder.read_to_end(&mut text).ok()?;
    (decoder.into_inner().len() == TRAILER).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// As it is packed: blocks from an empty state each, then the end.
    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff".to_vec();
        for block in text.chunks(usize::try_from(BLOCK).unwrap()) {
            let mut encoder = flate2::Compress::new(flate2::Compression::new(6), false);
            let mut out = Vec::with_capacity(block.len() + 1000);
            encoder.compress_vec(block, &mut out, flate2::FlushCompress::Full).unwrap();
            packed.extend(out);
        }
        packed.extend(b"\x03\x00");
        packed.extend(crc32fast::hash(text).to_le_bytes());
        packed.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        packed
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        for block in text.chunks(usize::try_from(BLOCK).unwrap()) {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(block).unwrap();
            packed.extend(encoder.finish().unwrap());
        }
        packed
    }

    #[test]
    fn the_end_of_a_text_is_read_from_a_tail_that_begins_anywhere() {
        let line = |i: u64| format!("{i} {:x}\n", i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let text: String = (0..400_000).map(line).collect();
        let text = text.as_bytes();
        assert!(text.len() as u64 > 2 * BLOCK, "{}", text.len());
        for (packed, name) in [(gzip(text), "a-20130704T0500Z-b.log.gz"), (zstd(text), "a-20130704T0500Z-b.log.zst")] {
            let name = LogName::parse(name).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for cut in [11, packed.len() / 4, packed.len() / 2, packed.len() - 100] {
                let end = end_of(&packed[cut..], &name, text.len() as u64);
                assert!(text.ends_with(&end));
                let before = text.len() - end.len();
                assert!(end.is_empty() || text[before - 1] == b'\n', "whole lines");
                seen.insert(end.len() as u64 / BLOCK);
            }
            assert!(seen.len() >= 2 && seen.contains(&0), "{seen:?}");
            assert_eq!(end_of(b"garbage \x00\x00\xff\xff and more", &name, 5), b"");
        }
    }
}
