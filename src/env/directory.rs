//! A directory as the far end: `file://`. The same promises as a bucket: whole or absent, never overwritten, synced.

use super::fs::{File, Fs, append_all, locked, publish};
use super::store::{Body, Later, Multipart, Store, Stored};
use crate::error::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much is copied or compared at a time, in bytes.
const CHUNK: usize = 128 << 10;

/// Objects as files below a directory. Unfinished ones are in `ROOT/.logjam/`.
pub struct Directory {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    name: String,
    private: &'static str,
    /// Directories whose names are known to be durable.
    durable: Mutex<BTreeSet<PathBuf>>,
    cleared: AtomicBool,
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
        }
    }

    fn create_now(&self, key: &str, body: &Body) -> Result<Stored> {
        let to = self.root.join(key);
        let private = self.root.join(self.private);
        // One name for one key: what a dead process left unfinished is begun again, and nothing piles up.
        let work = private.join(format!("{:08x}-{}.part", crc32fast::hash(key.as_bytes()), key.len()));
        if let Some(there) = self.fs.stat(&to)? {
            if self.fs.stat(&work)?.is_some_and(|entry| entry.id == there.id) {
                self.fs.remove(&work)?;
            }
            return Err(Error::stop("create", to.display(), Kind::Exists, "something stands there already"));
        }
        self.make_dirs(to.parent().unwrap_or(&self.root))?;
        self.fs.make_dir(&private)?;
        if !self.cleared.swap(true, Ordering::Relaxed) {
            self.clear(&private)?;
        }
        let busy = || Error::retry("create", to.display(), Kind::Busy, "another process is storing it");
        if self.fs.stat(&work)?.is_some() && locked(&*self.fs, &work, self.fs.open(&work))?.is_none() {
            return Err(busy());
        }
        self.fs.remove(&work)?;
        let created = match self.fs.create(&work) {
            Err(e) if e.kind == Kind::Exists => return Err(busy()),
            created => created,
        };
        // Who clears up may have found it without a lock.
        let file = locked(&*self.fs, &work, created)?.ok_or_else(busy)?;
        let done = self.fill(&*file, body).and_then(|()| publish(&*self.fs, &*file, &work, &to));
        self.fs.remove(&work)?;
        done.map(|()| Stored::default())
    }

    /// Removes what dead processes left behind, once in a life.
    fn clear(&self, private: &Path) -> Result<()> {
        for entry in self.fs.list(private)?.into_iter().filter(|entry| entry.name.ends_with(".part")) {
            let path = private.join(entry.name);
            if locked(&*self.fs, &path, self.fs.open(&path))?.is_some() {
                self.fs.remove(&path)?;
            }
        }
        Ok(())
    }

    fn fill(&self, file: &dyn File, body: &Body) -> Result<()> {
        each_chunk(body, |chunk| append_all(file, chunk).map(|()| true)).map(|_| ())
    }

    /// Makes a directory and those above it, each made durable in its parent.
    fn make_dirs(&self, dir: &Path) -> Result<()> {
        let Some(parent) = dir.parent() else { return Ok(()) };
        if self.durable().contains(dir) {
            return Ok(());
        }
        self.make_dirs(parent)?;
        let made = self.fs.stat(dir)?.is_none() && self.fs.make_dir(dir)?;
        // Also one that stood already: the life that made it may have been killed before this.
        match self.fs.sync_dir(parent) {
            Err(e) if e.kind != Kind::Denied || made => return Err(e),
            _ => {}
        }
        self.durable().insert(dir.to_owned());
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
        each_chunk(body, |chunk| {
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

/// Hands the body over in pieces until `take` says no; whether it never did.
fn each_chunk(body: &Body, mut take: impl FnMut(&[u8]) -> Result<bool>) -> Result<bool> {
    let mut buf = vec![0; CHUNK];
    let (mut at, end) = (body.offset, body.offset + body.len);
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let n = body.file.read_at(&mut buf[..want], at)?;
        if n == 0 {
            return Err(Error::retry("read", "an archive", Kind::Other, "it is shorter than it was"));
        }
        if !take(&buf[..n])? {
            return Ok(false);
        }
        at += n as u64;
    }
    Ok(true)
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

    fn parts(&self) -> Option<&dyn Multipart> {
        None
    }
}
