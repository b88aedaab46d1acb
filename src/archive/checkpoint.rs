//! Checkpoints: now and then one small object says what another host needs to finish the hours of this one. What it holds is
//! on this host's disk before it leaves: a host that comes back knows every line of it.

use super::follow::Growing;
use super::packing::{Packing, each_slice, fill};
use super::{Archive, chain, codec, multipart, summary};
use crate::env::checksum;
use crate::env::fs::{EntryKind, File, append_all, locked, open_or_create, read_whole};
use crate::env::store::{Body, Part, in_memory};
use crate::error::{Error, Kind, Result};
use crate::format::checkpoint::{self, Checkpoint, Ready, Unfinished, VERSION};
use crate::format::journal;
use crate::format::key::{Dest, manifest_key};
use crate::format::manifest::{Counts, Summary, hex, sha256};
use crate::format::name::LogName;
use crate::format::seal::Ended;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many processes of a host may write checkpoints of one stream.
const SLOTS: u32 = 16;
/// The longest tail of an object that is worth a checkpoint, in bytes: normally less than a part and a block.
const LONGEST_TAIL: u64 = 64 << 20;
/// How many unfinished objects a checkpoint holds: the newest ones.
const MOST: usize = 8;
/// How many manifests a checkpoint holds of what is stored: the newest ones.
const MOST_TOLD: usize = 100;
/// How much is copied at a time, in bytes.
const CHUNK: usize = 128 << 10;

/// Writes the checkpoints of one process.
pub struct Checkpoints {
    dest: Dest,
    every: Duration,
    prefix: String,
    suffix: String,
    /// Whose lock keeps other processes from this slot.
    _slot: Arc<dyn File>,
    path: PathBuf,
    key: String,
    /// What the last one held: the hour file, and how much of it.
    last: Option<(LogName, u64)>,
    due: Option<Instant>,
    aim: Option<Aim>,
}

/// What the next one is to hold at least. The packer may have to catch up first.
struct Aim {
    name: LogName,
    settled: u64,
    /// When that was certain.
    at: DateTime<Utc>,
}

/// An unfinished object, and the pieces that its tail is made of.
struct Entry {
    unfinished: Unfinished<Part>,
    tail: Vec<Body>,
}

impl Entry {
    /// Of what is stored but for its manifest.
    fn stored(manifest: Ready) -> Self {
        let unfinished = Unfinished {
            stored: true,
            content_type: codec::content_type(&manifest.name).to_owned(),
            upload: None,
            parts: Vec::new(),
            sent: 0,
            tail: 0,
            tail_sha256: sha256(b""),
            crc: String::new(),
            manifest_key: manifest_key(&manifest.key),
            manifest,
        };
        Self { unfinished, tail: Vec::new() }
    }
}

impl Checkpoints {
    /// Takes the first free slot of the stream. Its key is of this DIR: a checkpoint that a lost disk left is not overwritten.
    ///
    /// # Errors
    /// [`Kind::Busy`] if none is free.
    pub fn begin(archive: &Archive, dest: Dest, prefix: &str, suffix: &str, every: Duration) -> Result<Self> {
        let fs = &archive.env.fs;
        for slot in 0..SLOTS {
            let path = archive.layout.checkpoint(prefix, suffix, slot);
            if let Some(lock) = locked(&**fs, &path, open_or_create(&**fs, &path))? {
                return Ok(Self {
                    key: dest.checkpoint_key(prefix, suffix, identity(&*lock)?),
                    dest,
                    every,
                    prefix: prefix.to_owned(),
                    suffix: suffix.to_owned(),
                    _slot: lock,
                    path,
                    last: None,
                    due: None,
                    aim: None,
                });
            }
        }
        Err(Error::retry("write", "checkpoints", Kind::Busy, format!("{SLOTS} processes do so for this stream")))
    }

    /// Whether it is time for one: there is something new to say, and there has been for as long as was asked for.
    pub(super) fn is_due(&mut self, archive: &Archive, growing: &Growing) -> bool {
        if self.aim.as_ref().is_some_and(|aim| aim.name == growing.name) {
            return true;
        }
        self.aim = None;
        let settled = growing.growth.settled();
        let new = self.last.as_ref().is_none_or(|(name, len)| *name != growing.name || *len < settled);
        if settled == 0 || !new {
            return false;
        }
        let now = archive.env.clock.steady();
        if now < *self.due.get_or_insert(now + self.every) {
            return false;
        }
        // In this order: what was certain by then is in it.
        let at = archive.env.clock.now();
        self.aim = Some(Aim { name: growing.name.clone(), settled: growing.growth.settled(), at });
        true
    }

    /// Whether one that holds the first `len` bytes of the hour file holds what is due.
    pub(super) fn is_reached(&self, len: u64) -> bool {
        self.aim.as_ref().is_some_and(|aim| aim.settled <= len)
    }

    /// Writes one: its key, and what it says. `None`: there is nothing to say.
    pub(super) fn write(
        &mut self,
        archive: &Archive,
        growing: &Growing,
        packing: &mut Packing,
        settled: u64,
    ) -> Result<Option<(String, Body)>> {
        self.due = None;
        let at = self.aim.take().map_or_else(|| archive.env.clock.now(), |aim| aim.at);
        // The rest is packed for it alone.
        let upto = settled.min(packing.plain() + archive.block - 1);
        let entry = self.entry(archive, growing, packing, upto)?;
        let mut entries =
            self.carried(archive, entry.as_ref().map_or("", |entry| entry.unfinished.manifest.name.as_str()))?;
        let nothing_new = entry.is_none();
        entries.extend(entry);
        entries.drain(..entries.len().saturating_sub(MOST));
        // After those that name them as the ones before them: by now they are stored, or they are here.
        let mut untold = untold(archive, &growing.name)?.peekable();
        if nothing_new && untold.peek().is_none() {
            return Ok(None);
        }
        entries.splice(..0, untold);
        let file = self.draft(archive, &entries, at)?;
        self.last = Some((growing.name.clone(), upto));
        Ok(Some((self.key.clone(), Body { offset: 0, len: file.len()?, file })))
    }

    /// The hour file that is open, up to the end of the last line in its first `upto` bytes. `None`: nothing of it is worth one.
    fn entry(&self, archive: &Archive, growing: &Growing, packing: &mut Packing, upto: u64) -> Result<Option<Entry>> {
        let Some(upto) = line_end(&*growing.file, packing.plain(), upto)? else { return Ok(None) };
        // Before it leaves.
        growing.file.sync()?;
        archive.env.fs.sync_dir(archive.layout.dir())?;
        let ending = packing.ending(&*growing.file, upto)?;
        let name = growing.name.with_ending(archive.codec.ending());
        let (first, last) = growing.growth.arrivals();
        let summary = Summary {
            ended: Ended::Rescue,
            seconds: Some(growing.seconds),
            lines: ending.lines,
            bytes: ending.plain,
            blake3: ending.blake3,
            first,
            last,
            watched: None,
            counts: Counts::default(),
            packed: Some(ending.packed),
        };
        let work = Body { file: Arc::clone(packing.work()), offset: 0, len: packing.packed() };
        self.unfinished(archive, &name, summary, vec![work, in_memory(ending.bytes.into())])
    }

    /// What is to be said of an object of which `content` is all; `None` if too much of it is not at the far end yet.
    fn unfinished(
        &self,
        archive: &Archive,
        name: &LogName,
        summary: Summary,
        mut content: Vec<Body>,
    ) -> Result<Option<Entry>> {
        let ahead = multipart::sent(archive, name)?.filter(|ahead| ahead.bytes() <= content[0].len);
        let sent = ahead.as_ref().map_or(0, multipart::Ahead::bytes);
        let (upload, parts) = ahead.map_or((None, Vec::new()), |ahead| (Some(ahead.id), ahead.parts));
        content[0].offset += sent;
        content[0].len -= sent;
        let tail: u64 = content.iter().map(|body| body.len).sum();
        if tail > LONGEST_TAIL {
            return Ok(None);
        }
        let mut sha256 = Sha256::new();
        for body in &content {
            each_piece(body, |piece| {
                sha256.update(piece);
                Ok(())
            })?;
        }
        let mut crcs: Vec<(String, u64)> = parts.iter().map(|(part, len)| (part.crc.clone(), *len)).collect();
        for body in &content {
            crcs.push((checksum::encode(checksum::of_body(body)?), body.len));
        }
        let key = self.dest.key(name);
        let unfinished = Unfinished {
            stored: false,
            content_type: codec::content_type(&name.to_string()).to_owned(),
            upload,
            parts: parts.into_iter().map(|(part, _)| part).collect(),
            sent,
            tail,
            tail_sha256: hex(&sha256.finalize()),
            crc: checksum::combine(&crcs).unwrap_or_default(),
            manifest_key: manifest_key(&key),
            manifest: chain::next(archive, name, key, summary)?.into(),
        };
        Ok(Some(Entry { unfinished, tail: content }))
    }

    /// What the last checkpoint held of hours that have ended meanwhile, and are not stored yet.
    fn carried(&self, archive: &Archive, but: &str) -> Result<Vec<Entry>> {
        let path = self.content();
        let data = match read_whole(&*archive.env.fs, &path) {
            Err(e) if e.kind == Kind::NotFound => return Ok(Vec::new()),
            read => bytes::Bytes::from(read?),
        };
        let Some((checkpoint, tails)) = checkpoint::read::<Part>(&data) else { return Ok(Vec::new()) };
        let mut entries: Vec<Entry> = Vec::new();
        let mut names = BTreeSet::from([but.to_owned()]);
        for (unfinished, tail) in checkpoint.unfinished.into_iter().zip(tails) {
            let Some(name) = LogName::parse(&unfinished.manifest.name).filter(|name| names.insert(name.to_string()))
            else {
                continue;
            };
            if unfinished.stored || archive.env.fs.stat(&archive.layout.receipt(&name))?.is_some() {
                entries.extend(self.unmade(archive, &name)?);
            } else {
                let now = self.ended(archive, &name)?;
                entries.push(now.unwrap_or_else(|| Entry { unfinished, tail: vec![in_memory(data.slice(tail))] }));
            }
            // A rescue has stored its beginning.
            for rest in rests(archive, &name)?.into_iter().filter(|rest| names.insert(rest.to_string())) {
                entries.extend(self.ended(archive, &rest)?);
            }
        }
        Ok(entries)
    }

    /// What is stored, and has no manifest yet.
    fn unmade(&self, archive: &Archive, name: &LogName) -> Result<Option<Entry>> {
        if archive.env.fs.stat(&archive.layout.manifest(name))?.is_some() {
            return Ok(None);
        }
        let Some(summary) = summary::written(archive, name)? else { return Ok(None) };
        let Some(key) = chain::key_of(archive, &self.dest, name, &summary)? else { return Ok(None) };
        let summary = Summary { ended: Ended::Rescue, ..summary };
        chain::next(archive, name, key, summary).map(|manifest| Some(Entry::stored(manifest.into())))
    }

    /// An hour that is packed, and not stored yet.
    fn ended(&self, archive: &Archive, name: &LogName) -> Result<Option<Entry>> {
        let file = match archive.env.fs.open_read(&archive.layout.archive(name)) {
            Err(e) if e.kind == Kind::NotFound => return Ok(None),
            file => file?,
        };
        // Of one that a rescue stored a beginning of, it tells of that.
        let Some(summary) = summary::written(archive, name)?.filter(|summary| summary.ended != Ended::Rescue) else {
            return Ok(None);
        };
        let whole = Body { offset: 0, len: file.len()?, file };
        self.unfinished(archive, name, Summary { ended: Ended::Rescue, ..summary }, vec![whole])
    }

    /// Where the last one lies.
    fn content(&self) -> PathBuf {
        self.path.with_added_extension("json")
    }

    /// Writes it to a file of its own, which takes the last one's place.
    fn draft(&self, archive: &Archive, entries: &[Entry], at: DateTime<Utc>) -> Result<Arc<dyn File>> {
        let fs = &archive.env.fs;
        let draft = self.path.with_added_extension("next");
        fs.remove(&draft)?;
        let line = journal::line(&Checkpoint {
            version: VERSION,
            host: archive.host.clone(),
            prefix: self.prefix.clone(),
            suffix: self.suffix.clone(),
            at,
            rescued: None,
            unfinished: entries.iter().map(|entry| entry.unfinished.clone()).collect(),
        });
        let tails = || entries.iter().flat_map(|entry| &entry.tail);
        archive.has_room(line.len() as u64 + tails().map(|body| body.len).sum::<u64>())?;
        let file = fs.create(&draft)?;
        let written = append_all(&*file, &line)
            .and_then(|()| tails().try_for_each(|body| each_piece(body, |piece| append_all(&*file, piece))))
            .and_then(|()| fs.rename(&draft, &self.content()));
        if let Err(e) = written {
            // Or what nobody needs would keep a full disk full.
            fs.remove(&draft)?;
            return Err(e);
        }
        Ok(file)
    }
}

/// Manifests that are not stored yet, of what is.
fn untold(archive: &Archive, name: &LogName) -> Result<impl Iterator<Item = Entry>> {
    let waiting = chain::waiting(archive, name)?;
    let old = waiting.len().saturating_sub(MOST_TOLD);
    Ok(waiting.into_iter().skip(old).map(Entry::stored))
}

/// The archives of what a rescue did not have of an hour, not stored yet.
fn rests(archive: &Archive, name: &LogName) -> Result<Vec<LogName>> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let mut found = Vec::new();
    for entry in fs.list(&layout.archives())?.into_iter().filter(|entry| entry.kind == EntryKind::File) {
        if let Some(rest) = LogName::parse(&entry.name).filter(|other| other.is_rest_of(name))
            && fs.stat(&layout.receipt(&rest))?.is_none()
        {
            found.push(rest);
        }
    }
    Ok(found)
}

/// What the file of a slot says: a number that no other DIR has.
fn identity(file: &dyn File) -> Result<u32> {
    let mut digits = [0; 8];
    let n = fill(file, &mut digits, 0)?;
    if let Some(known) = std::str::from_utf8(&digits[..n]).ok().and_then(|text| u32::from_str_radix(text, 16).ok())
        && n == digits.len()
    {
        return Ok(known);
    }
    let id = fastrand::u32(..);
    file.truncate(0)?;
    append_all(file, format!("{id:08x}").as_bytes())?;
    file.sync()?;
    Ok(id)
}

/// The end of the last line within `from..to`.
fn line_end(file: &dyn File, from: u64, to: u64) -> Result<Option<u64>> {
    let mut end = to;
    let mut chunk = vec![0; CHUNK];
    while end > from {
        let len = usize::try_from(end - from).unwrap_or(CHUNK).min(CHUNK);
        let n = fill(file, &mut chunk[..len], end - len as u64)?;
        if let Some(at) = memchr::memrchr(b'\n', &chunk[..n]) {
            return Ok(Some(end - len as u64 + at as u64 + 1));
        }
        end -= len as u64;
    }
    // What is packed may end with a line as well; if it does not, the last line is longer than a block.
    let mut last = [0];
    Ok((from > 0 && file.read_at(&mut last, from - 1)? == 1 && last == *b"\n").then_some(from))
}

fn each_piece(body: &Body, take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    match each_slice(&*body.file, body.offset, body.len, take)? {
        done if done < body.len => Err(Error::retry("read", "an archive", Kind::Other, "it is shorter than it was")),
        _ => Ok(()),
    }
}
