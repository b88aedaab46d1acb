//! An object in parts: they are appended to one file, each synced before it counts, so that a try that was cut off is gone on
//! with. The name of the file is the upload's identity.

use super::{CHUNK, Directory, busy, fill, mark, taken};
use crate::env::checksum::{self, Running, combine, decode, encode};
use crate::env::fs::{File, append_all, publish};
use crate::env::store::{Body, Later, Multipart, Part, Stored};
use crate::error::{Error, Kind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Size of a part, in bytes, unless it is set.
pub(super) const SIZE: u64 = 8 << 20;
/// What ends the name of an upload: `HASH-LENGTH-TOKEN.parts`.
pub(super) const PARTS: &str = ".parts";

fn unknown(upload: &str, cause: &str) -> Error {
    Error::stop("go on with upload", upload, Kind::NotFound, cause)
}

/// The entity tag of a part: where it begins and ends, and its checksum.
fn tag(at: u64, end: u64, crc: u64) -> String {
    format!("{at}-{end}-{crc:016x}")
}

/// Where a part begins and ends.
fn extent(part: &Part) -> Option<(u64, u64)> {
    let mut fields = part.etag.split('-').map(|field| field.parse().ok());
    let (at, end) = (fields.next()??, fields.next()??);
    (part.etag == tag(at, end, decode(&part.crc)?) && at <= end).then_some((at, end))
}

/// Where parts end that follow each other from the first byte on, and with what is behind them (its checksum and length) are
/// what `crc` says.
fn end_of(parts: &[Part], behind: Option<(&str, u64)>, crc: &str) -> Option<u64> {
    let mut whole = 0;
    let mut crcs = Vec::new();
    for part in parts {
        let (at, end) = extent(part).filter(|(at, _)| *at == whole)?;
        crcs.push((part.crc.as_str(), end - at));
        whole = end;
    }
    crcs.extend(behind);
    combine(&crcs).filter(|combined| combined == crc).map(|_| whole)
}

fn wrong(upload: &str) -> Error {
    Error::stop("complete upload", upload, Kind::Other, "the parts do not make the object")
}

impl Directory {
    /// The file of an upload; `None` if it is none to this key.
    fn upload(&self, key: &str, upload: &str) -> Option<PathBuf> {
        let token = upload.strip_prefix(&mark(key))?.strip_prefix('-')?.strip_suffix(PARTS)?;
        let is_token = token.len() == 16 && token.bytes().all(|c| c.is_ascii_hexdigit());
        is_token.then(|| self.private().join(upload))
    }

    fn begin_now(&self, key: &str) -> Result<String> {
        let private = self.private();
        self.make_dirs(&private)?;
        let upload = format!("{}-{:016x}{PARTS}", mark(key), fastrand::u64(..));
        let work = private.join(&upload);
        let file = match self.fs.create(&work) {
            Err(e) if e.kind == Kind::Exists => return Err(busy(&work)),
            created => created?,
        };
        match file.sync().and_then(|()| self.fs.sync_dir(&private)) {
            Ok(()) => Ok(upload),
            Err(e) => self.fs.remove(&work).and(Err(e)),
        }
    }

    /// The file of an upload that is open, locked.
    fn claim(&self, key: &str, upload: &str) -> Result<(PathBuf, Arc<dyn File>)> {
        let work = self.upload(key, upload).ok_or_else(|| unknown(upload, "it is none to this key"))?;
        let file = self.fs.open(&work)?;
        if !file.try_lock()? {
            return Err(Error::retry("go on with upload", upload, Kind::Busy, "another process is at it"));
        }
        if !self.is_at(&*file, &work)? {
            return Err(unknown(upload, "it is completed or given up"));
        }
        Ok((work, file))
    }

    fn is_at(&self, file: &dyn File, path: &Path) -> Result<bool> {
        let id = file.id()?;
        Ok(self.fs.stat(path)?.is_some_and(|entry| entry.id == id))
    }

    fn send_now(&self, key: &str, upload: &str, number: i32, at: u64, body: &Body) -> Result<Part> {
        let (_, file) = self.claim(key, upload)?;
        if self.is_at(&*file, &self.root.join(key))? {
            // Its life ended before it took this name away: the object must not be touched any more.
            return Err(unknown(upload, "it is completed"));
        }
        let len = file.len()?;
        if len < at {
            return Err(unknown(upload, "a part before this one is missing"));
        }
        if len > at {
            file.truncate(at)?;
        }
        let mut crc = Running::default();
        body.each(CHUNK, |chunk| {
            crc.update(chunk);
            append_all(&*file, chunk).map(|()| true)
        })?;
        file.sync()?;
        let (end, crc) = (at + body.len, crc.value());
        Ok(Part { number, etag: tag(at, end, crc), checksum: None, crc: encode(crc) })
    }

    fn complete_now(&self, key: &str, upload: &str, parts: &[Part], crc: &str) -> Result<Stored> {
        let (work, file) = self.claim(key, upload)?;
        let to = self.root.join(key);
        if self.fs.stat(&to)?.is_some() {
            if self.is_at(&*file, &to)? {
                self.remove_for_good(&work)?;
            }
            return Err(taken(&to));
        }
        let end = end_of(parts, None, crc).ok_or_else(|| wrong(upload))?;
        let len = file.len()?;
        if len < end {
            return Err(unknown(upload, "the last of its parts are missing"));
        }
        if len > end {
            file.truncate(end)?;
        }
        self.make_dirs(to.parent().unwrap_or(&self.root))?;
        publish(&*self.fs, &*file, &work, &to)?;
        self.remove_for_good(&work).map(|()| Stored::default())
    }

    /// In a file of its own: what another host has appended, and counts on, stays as it is until the object stands.
    fn finish_now(&self, key: &str, upload: &str, parts: &[Part], tail: &Body, crc: &str) -> Result<Stored> {
        let (theirs, file) = self.claim(key, upload)?;
        let ending = encode(checksum::of_body(tail)?);
        let sent = end_of(parts, Some((&ending, tail.len)), crc).ok_or_else(|| wrong(upload))?;
        if file.len()? < sent {
            return Err(unknown(upload, "the last of its parts are missing"));
        }
        let copy = |made: &dyn File| {
            for part in parts {
                let (offset, end) = extent(part).unwrap_or_default();
                let mut crc = Running::default();
                Body { file: Arc::clone(&file), offset, len: end - offset }.each(CHUNK, |chunk| {
                    crc.update(chunk);
                    append_all(made, chunk).map(|()| true)
                })?;
                if encode(crc.value()) != part.crc {
                    return Err(unknown(upload, "a part is not what was sent"));
                }
            }
            fill(made, tail)
        };
        self.create_by(key, copy)?;
        self.remove_for_good(&theirs).map(|()| Stored::default())
    }

    /// Nobody will look for it again: it must not come back with a power cut.
    fn remove_for_good(&self, work: &Path) -> Result<()> {
        self.fs.remove(work)?;
        self.fs.sync_dir(&self.private())
    }

    fn open_now(&self, key: &str) -> Result<Vec<String>> {
        let entries = match self.fs.list(&self.private()) {
            Err(e) if e.kind == Kind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let names = entries.into_iter().map(|entry| entry.name);
        Ok(names.filter(|name| self.upload(key, name).is_some()).collect())
    }
}

impl Multipart for Directory {
    fn part_size(&self) -> u64 {
        self.part_size
    }

    /// Each part is appended to the one before it.
    fn concurrency(&self) -> usize {
        1
    }

    fn begin<'a>(&'a self, key: &'a str, _content_type: &'a str) -> Later<'a, String> {
        Box::pin(async move { self.begin_now(key) })
    }

    fn send<'a>(&'a self, key: &'a str, upload: &'a str, number: i32, at: u64, body: Body) -> Later<'a, Part> {
        Box::pin(async move { self.send_now(key, upload, number, at, &body) })
    }

    fn complete<'a>(&'a self, key: &'a str, upload: &'a str, parts: &'a [Part], crc: &'a str) -> Later<'a, Stored> {
        Box::pin(async move { self.complete_now(key, upload, parts, crc) })
    }

    fn finish<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: &'a [Part],
        _at: u64,
        tail: Body,
        crc: &'a str,
    ) -> Later<'a, Stored> {
        Box::pin(async move { self.finish_now(key, upload, parts, &tail, crc) })
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Later<'a, ()> {
        Box::pin(async move { self.upload(key, upload).map_or(Ok(()), |work| self.remove_for_good(&work)) })
    }

    fn open<'a>(&'a self, key: &'a str) -> Later<'a, Vec<String>> {
        Box::pin(async move { self.open_now(key) })
    }
}
