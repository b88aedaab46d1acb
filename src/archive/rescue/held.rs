//! What an object holds of what a checkpoint tells of: its host may have stored the hour, with what came since; an earlier rescue
//! may have stored a beginning of it.

use crate::archive::codec::{Codec, Packer};
use crate::archive::rest;
use crate::env::checksum::{self, Running};
use crate::env::plain::unpack;
use crate::env::store::{Content, Later, Part, Store};
use crate::error::Result;
use crate::format::checkpoint::Unfinished;
use crate::format::key::manifest_key;
use crate::format::manifest::{Counts, Manifest, Packed, Summary, hex, sha256};
use crate::format::name::LogName;
use crate::format::seal::Ended;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io::Write;

/// How hard a rest is compressed.
const LEVEL: u32 = 6;

/// Whether the text of an object begins with the one that a manifest tells of. It is read no further than that.
pub(super) async fn begins_with(store: &dyn Store, key: &str, manifest: &Manifest) -> Result<bool> {
    let Some((_, mut content)) = store.fetch(key, 0).await? else { return Ok(false) };
    let mut beginning = Beginning { left: manifest.summary.bytes, text: Text::default() };
    // What can't be unpacked further than that is no matter here.
    unpack(&mut *content, &manifest.name, &mut beginning, &mut |_| ()).await?;
    Ok(beginning.left == 0 && beginning.text.blake3() == manifest.summary.blake3)
}

/// What an object holds: the summary of one that a rescue or its host has made of an hour. `None` if it can't be unpacked.
pub(super) async fn summary(store: &dyn Store, key: &str, manifest: &Manifest) -> Result<Option<Summary>> {
    let Some((found, mut content)) = store.fetch(key, 0).await? else { return Ok(None) };
    let (mut text, mut digest) = (Text::default(), Sha256::new());
    let whole = unpack(&mut *content, &manifest.name, &mut text, &mut |piece| digest.update(piece)).await?;
    let codec = manifest.summary.packed.as_ref().map_or_else(String::new, |packed| packed.codec.clone());
    Ok(whole.then(|| Summary {
        ended: Ended::Rescue,
        lines: text.lines,
        bytes: text.bytes,
        blake3: text.blake3(),
        last: None,
        packed: Some(Packed { codec, bytes: found.len, sha256: hex(&digest.finalize()) }),
        ..manifest.summary.clone()
    }))
}

/// What the object at `key` does not hold, if it is a beginning of an unfinished one: unfinished itself, with its tail. Its name is
/// the one that its host would give to it.
pub(super) async fn rest(
    store: &dyn Store,
    key: &str,
    unfinished: &Unfinished<Part>,
    tail: &Bytes,
) -> Result<Option<(Unfinished<Part>, Bytes)>> {
    let ready = &unfinished.manifest;
    let Some(name) = LogName::parse(&ready.name) else { return Ok(None) };
    let Some((_, mut content)) = store.fetch(key, 0).await? else { return Ok(None) };
    let mut there = Text::default();
    if !unpack(&mut *content, &ready.name, &mut there, &mut |_| ()).await? || there.bytes == 0 || there.last != b'\n' {
        return Ok(None);
    }
    let Some((_, head)) = store.fetch(key, 0).await? else { return Ok(None) };
    let mut whole = Whole { head, left: unfinished.sent, tail: Some(tail.clone()) };
    let codec = Codec::Gzip(LEVEL).of(&ready.name);
    let beginning = Beginning { left: there.bytes, text: Text::default() };
    let mut behind = Behind { beginning, there, rest: Text::default(), packer: Packer::new(codec)? };
    let mut crc = Running::default();
    let same = unpack(&mut whole, &ready.name, &mut behind, &mut |piece| crc.update(piece)).await?;
    let Some(other) = rest::named(&name, &behind.there.blake3()) else { return Ok(None) };
    if !same || behind.rest.bytes == 0 || checksum::encode(crc.value()) != unfinished.crc {
        return Ok(None);
    }
    let packed = behind.packer.finish()?;
    let summary = Summary {
        lines: behind.rest.lines,
        bytes: behind.rest.bytes,
        blake3: behind.rest.blake3(),
        packed: Some(Packed { codec: codec.name().to_owned(), bytes: packed.len() as u64, sha256: sha256(&packed) }),
        // They are told of by the other one.
        counts: Counts::default(),
        ..ready.summary.clone()
    };
    let key = ready.key.replace(&ready.name, &other.to_string());
    let rest = Unfinished {
        upload: None,
        parts: Vec::new(),
        sent: 0,
        tail: packed.len() as u64,
        tail_sha256: sha256(&packed),
        crc: checksum::encode(checksum::of(&packed)),
        manifest_key: manifest_key(&key),
        manifest: Manifest {
            name: other.to_string(),
            key,
            summary,
            // That is on the whole.
            signature: None,
            signed_by: None,
            ..Manifest::clone(ready)
        }
        .into(),
        ..unfinished.clone()
    };
    Ok(Some((rest, packed.into())))
}

/// An unfinished archive: what an object has of it, and the tail.
struct Whole {
    head: Box<dyn Content>,
    /// Bytes of the object that are left.
    left: u64,
    tail: Option<Bytes>,
}

impl Content for Whole {
    fn next(&mut self) -> Later<'_, Option<Bytes>> {
        Box::pin(async move {
            if self.left == 0 {
                return Ok(self.tail.take());
            }
            let piece = self.head.next().await?.map(|mut piece| {
                piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                piece
            });
            // One that is shorter is another one.
            self.left -= piece.as_ref().map_or(self.left, |piece| piece.len() as u64);
            Ok(piece)
        })
    }
}

/// What a text is.
#[derive(Default)]
struct Text {
    bytes: u64,
    lines: u64,
    last: u8,
    blake3: blake3::Hasher,
}

impl Text {
    fn blake3(&self) -> String {
        self.blake3.finalize().to_hex().to_string()
    }
}

impl Write for Text {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.bytes += text.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', text).count() as u64;
        self.last = text.last().copied().unwrap_or(self.last);
        self.blake3.update(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Takes the beginning of a text, and no more.
struct Beginning {
    left: u64,
    text: Text,
}

impl Write for Beginning {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(text.len());
        self.left -= most as u64;
        self.text.write(&text[..most])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Takes a text, as long as it begins with the one that is there, and packs what is behind that.
struct Behind {
    there: Text,
    beginning: Beginning,
    rest: Text,
    packer: Packer,
}

impl Write for Behind {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        if self.beginning.left > 0 {
            return self.beginning.write(text);
        }
        if self.rest.bytes == 0 && self.beginning.text.blake3() != self.there.blake3() {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        self.packer.push(text).map_err(std::io::Error::other)?;
        self.rest.write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
