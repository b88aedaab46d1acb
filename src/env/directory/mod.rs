//! A directory as the far end: `file://`. The same promises as a bucket: whole or absent, never overwritten, synced.

mod list;
mod parts;

use super::checksum;
use super::fs::{EntryKind, File, Fs, append_all, locked, publish};
use super::store::{Body, Content, Found, Later, Multipart, Page, Store, Stored};
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much is copied or compared at a time, in bytes.
const CHUNK: usize = 128 << 10;
/// Up to this size, in bytes, the entity tag of an object is that of its content.
const SMALL: u64 = 1 << 20;
/// What ends the name of an object in the making.
const PART: &str = ".part";

/// Objects as files below a directory. Unfinished ones are in `ROOT/.logjam/`.
pub struct Directory {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    name: String,
    private: &'static str,
    /// Directories whose names are known to be durable.
    durable: Mutex<BTreeSet<PathBuf>>,
    cleared: AtomicBool,
    /// Size of a part, in bytes.
    part_size: u64,
}

/// What stands for a key in the names of its unfinished files, whatever characters it has: `HASH-LENGTH`.
fn mark(key: &str) -> String {
    format!("{:08x}-{}", crc32fast::hash(key.as_bytes()), key.len())
}

fn taken(to: &Path) -> Error {
    Error::stop("create", to.display(), Kind::Exists, "something stands there already")
}

fn busy(to: &Path) -> Error {
    Error::retry("create", to.display(), Kind::Busy, "another process is storing it")
}

impl Directory {
    /// `root` and what is below it is made as needed. `private` is the name of the directory for unfinished objects.
    pub fn new(fs: Arc<dyn Fs>, root: impl Into<PathBuf>, private: &'static str) -> Self {
        let root = root.into();
        Self {
            fs,
            name: format!("file://{}", root.display()),
            root,
            private,
            durable: Mutex::default(),
            cleared: AtomicBool::new(false),
            part_size: parts::SIZE,
        }
    }

    /// With parts of another size, in bytes.
    #[must_use]
    pub fn with_parts_of(self, part_size: u64) -> Self {
        Self { part_size, ..self }
    }

    fn private(&self) -> PathBuf {
        self.root.join(self.private)
    }

    /// Where an object is written. One name for one key: what a dead process left unfinished is begun again, and nothing
    /// piles up.
    fn work(&self, key: &str) -> PathBuf {
        self.private().join(mark(key) + PART)
    }

    fn create_now(&self, key: &str, body: &Body) -> Result<Stored> {
        self.create_by(key, |file| fill(file, body)).map(|()| Stored::default())
    }

    /// An object that `write` writes.
    fn create_by(&self, key: &str, write: impl FnOnce(&dyn File) -> Result<()>) -> Result<()> {
        let (to, work) = (self.root.join(key), self.work(key));
        if let Some(there) = self.fs.stat(&to)? {
            if self.fs.stat(&work)?.is_some_and(|entry| entry.id == there.id) {
                self.discard(&work)?;
            }
            return Err(taken(&to));
        }
        let file = self.begin_file(&to, &work)?;
        let done = write(&*file).and_then(|()| publish(&*self.fs, &*file, &work, &to));
        self.fs.remove(&work)?;
        done
    }

    /// Whoever has the lock of the work file is the only one who stores at the key: so what is found to stand there
    /// stands there until it is replaced.
    fn replace_now(&self, key: &str, body: &Body, only_if: Option<&str>) -> Result<String> {
        let (to, work) = (self.root.join(key), self.work(key));
        let file = self.begin_file(&to, &work)?;
        let ready = || {
            if let Some(etag) = only_if
                && self.found(key)?.and_then(|(found, _)| found.etag).as_deref() != Some(etag)
            {
                let cause = "another object stands there, or none";
                return Err(Error::stop("replace", to.display(), Kind::Exists, cause));
            }
            fill(&*file, body)?;
            file.sync()?;
            let modified = self.fs.stat(&work)?.map(|entry| entry.modified).unwrap_or_default();
            let etag = tag(&file, body.len, modified)?;
            self.fs.rename(&work, &to).map(|()| etag)
        };
        let etag = match ready() {
            Ok(etag) => etag,
            // Not after the rename: by then the name may be another process's.
            Err(e) => return self.fs.remove(&work).and(Err(e)),
        };
        self.fs.sync_dir(to.parent().unwrap_or(&self.root)).map(|()| etag)
    }

    /// A new work file for the object at `to`, locked.
    fn begin_file(&self, to: &Path, work: &Path) -> Result<Arc<dyn File>> {
        self.make_dirs(to.parent().unwrap_or(&self.root))?;
        self.fs.make_dir(&self.private())?;
        if !self.cleared.swap(true, Ordering::Relaxed) {
            self.clear()?;
        }
        if !self.discard(work)? {
            return Err(busy(to));
        }
        let created = match self.fs.create(work) {
            Err(e) if e.kind == Kind::Exists => return Err(busy(to)),
            created => created,
        };
        match locked(&*self.fs, work, created) {
            // Who clears up may have found it without a lock.
            Ok(file) => file.ok_or_else(|| busy(to)),
            Err(e) => self.fs.remove(work).and(Err(e)),
        }
    }

    /// Removes a work file, unless somebody has its lock; whether there is none now. Never without the lock: the name may
    /// stand for what another process has just begun.
    fn discard(&self, work: &Path) -> Result<bool> {
        match locked(&*self.fs, work, self.fs.open(work))? {
            Some(_lock) => self.fs.remove(work).map(|()| true),
            None => Ok(self.fs.stat(work)?.is_none()),
        }
    }

    /// Removes what dead processes left behind, once in a life. Uploads in parts stay: they can be gone on with.
    fn clear(&self) -> Result<()> {
        let private = self.private();
        for entry in self.fs.list(&private)?.into_iter().filter(|entry| entry.name.ends_with(PART)) {
            self.discard(&private.join(entry.name))?;
        }
        Ok(())
    }

    /// What stands at a key, opened. What is no file is no object, as in a listing.
    fn found(&self, key: &str) -> Result<Option<(Found, Arc<dyn File>)>> {
        let path = self.root.join(key);
        let Some(entry) = self.fs.stat(&path)?.filter(|entry| entry.kind == EntryKind::File) else { return Ok(None) };
        let file = match self.fs.open_read(&path) {
            Err(e) if e.kind == Kind::NotFound => return Ok(None),
            opened => opened?,
        };
        let len = file.len()?;
        let etag = tag(&file, len, entry.modified)?;
        Ok(Some((Found { len, etag: Some(etag), modified: entry.modified, checksum: None }, file)))
    }

    /// Makes a directory and those above it, each made durable in its parent.
    fn make_dirs(&self, dir: &Path) -> Result<()> {
        let Some(parent) = dir.parent() else { return Ok(()) };
        if self.durable().contains(dir) {
            return Ok(());
        }
        self.make_dirs(parent)?;
        let there = self.fs.stat(dir)?.map(|entry| entry.kind);
        let made = there.is_none() && self.fs.make_dir(dir)?;
        // Also one that stood already: the life that made it may have been killed before this.
        match self.fs.sync_dir(parent) {
            Err(e) if e.kind != Kind::Denied || made => return Err(e),
            _ => {}
        }
        // What is in the way may be taken away, and a directory made in its place.
        if there != Some(EntryKind::File) {
            self.durable().insert(dir.to_owned());
        }
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is found to match is made durable: the life that linked it may have been killed before that.
    fn matches_now(&self, key: &str, body: &Body) -> Result<bool> {
        let same = self.compare(key, body)?;
        if same {
            let to = self.root.join(key);
            let dir = to.parent().unwrap_or(&self.root);
            self.make_dirs(dir)?;
            self.fs.sync_dir(dir)?;
        }
        Ok(same)
    }

    fn compare(&self, key: &str, body: &Body) -> Result<bool> {
        let there = self.fs.open_read(&self.root.join(key))?;
        if there.len()? != body.len {
            return Ok(false);
        }
        let mut at = 0;
        let mut other = vec![0; CHUNK];
        body.each(CHUNK, |chunk| {
            let mut got = 0;
            while got < chunk.len() {
                match there.read_at(&mut other[got..chunk.len()], at + got as u64)? {
                    0 => return Ok(false),
                    n => got += n,
                }
            }
            at += got as u64;
            Ok(other[..got] == *chunk)
        })
    }
}

fn fill(file: &dyn File, body: &Body) -> Result<()> {
    body.each(CHUNK, |chunk| append_all(file, chunk).map(|()| true)).map(|_| ())
}

/// The entity tag of a file. Of a small one it is made of its content. A large one is not read for it: it has another inode
/// number than the one before it, whose name it took, and no one replaces large ones.
fn tag(file: &Arc<dyn File>, len: u64, modified: DateTime<Utc>) -> Result<String> {
    if len > SMALL {
        return Ok(format!("{len:x}-{:x}-{:x}", file.id()?.1, modified.timestamp()));
    }
    let crc = checksum::of_body(&Body { file: Arc::clone(file), offset: 0, len })?;
    Ok(format!("{len:x}-{crc:016x}"))
}

/// The content of an object, as it stood when it was opened.
struct Reading {
    file: Arc<dyn File>,
    at: u64,
    end: u64,
}

impl Reading {
    fn piece(&mut self) -> Result<Option<Bytes>> {
        let len = (self.end - self.at).min(CHUNK as u64);
        let mut piece = Vec::new();
        Body { file: Arc::clone(&self.file), offset: self.at, len }.each(CHUNK, |part| {
            piece.extend_from_slice(part);
            Ok(true)
        })?;
        self.at += len;
        Ok((len > 0).then(|| piece.into()))
    }
}

impl Content for Reading {
    fn next(&mut self) -> Later<'_, Option<Bytes>> {
        Box::pin(async move { self.piece() })
    }
}

impl Store for Directory {
    fn name(&self) -> &str {
        &self.name
    }

    fn create<'a>(&'a self, key: &'a str, body: Body, _content_type: &'a str) -> Later<'a, Stored> {
        Box::pin(async move { self.create_now(key, &body) })
    }

    fn matches<'a>(&'a self, key: &'a str, body: Body) -> Later<'a, bool> {
        Box::pin(async move { self.matches_now(key, &body) })
    }

    fn look<'a>(&'a self, key: &'a str) -> Later<'a, Option<Found>> {
        Box::pin(async move { Ok(self.found(key)?.map(|(found, _)| found)) })
    }

    fn fetch<'a>(&'a self, key: &'a str, from: u64) -> Later<'a, Option<(Found, Box<dyn Content>)>> {
        Box::pin(async move {
            let Some((found, file)) = self.found(key)? else { return Ok(None) };
            let content: Box<dyn Content> = Box::new(Reading { file, at: from.min(found.len), end: found.len });
            Ok(Some((found, content)))
        })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        body: Body,
        _content_type: &'a str,
        only_if: Option<&'a str>,
    ) -> Later<'a, Option<String>> {
        Box::pin(async move { self.replace_now(key, &body, only_if).map(Some) })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Later<'a, Page> {
        Box::pin(async move { self.listed(prefix, after.unwrap_or_default()) })
    }

    fn parts(&self) -> Option<&dyn Multipart> {
        Some(self)
    }
}
