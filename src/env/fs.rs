//! The door to the disk: what the program asks of a file system, and the one order in which a file becomes visible.

use super::slate::Slate;
use crate::error::{Error, Kind, Result};
use chrono::{DateTime, Utc};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// Which file it is, whatever its name: device and inode number (stat(2)).
pub type FileId = (u64, u64);

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link: refused wherever it is met.
    Link,
    /// A socket, pipe or device.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The last component of its path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes.
    pub len: u64,
    /// Which file it is.
    pub id: FileId,
    /// When its content last changed.
    pub modified: DateTime<Utc>,
}

/// Space on the file system that holds a directory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// What this user may still write.
    pub free: u64,
}

/// A file system. Every path is absolute or relative to the working directory; no operation follows a symbolic link
/// in the last component. Errors are of [`crate::error::Error::io`].
pub trait Fs: Send + Sync {
    /// Creates a file that does not exist (`O_EXCL`), mode 0640 unless [`super::access`] says otherwise, for reading and appending. One process at a time may append.
    fn create(&self, path: &Path) -> Result<Arc<dyn File>>;
    /// Opens a regular file for reading and appending.
    fn open(&self, path: &Path) -> Result<Arc<dyn File>>;
    /// Opens a regular file for reading only.
    fn open_read(&self, path: &Path) -> Result<Arc<dyn File>>;
    /// What is in a directory, in no particular order; names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> Result<Vec<Entry>>;
    /// What stands at a path, or `None`.
    fn stat(&self, path: &Path) -> Result<Option<Entry>>;
    /// Creates a directory, mode 0750 unless [`super::access`] says otherwise; one that stands already is success. True if it was created.
    fn make_dir(&self, path: &Path) -> Result<bool>;
    /// Gives a file another name; [`Kind::Exists`] if the name is taken.
    fn link(&self, from: &Path, to: &Path) -> Result<()>;
    /// Moves a file to a name in one step (rename(2)): whatever file had the name loses it, and at no moment does nothing
    /// stand there. Only for what is replaced in a store, and by [`replace_bytes`]; everything else gets its final name by [`publish`].
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Takes a name away; one that is not there is success.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> Result<()>;
    /// Space on the file system that holds `dir`.
    fn space(&self, dir: &Path) -> Result<Space>;
    /// Which life of the system it is (proc(5), `boot_id`), without blanks: what was not synced does not outlive it.
    fn boot(&self) -> String;
}

/// An open file.
pub trait File: Send + Sync {
    /// Reads at an offset; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// Appends; returns how many bytes were taken, at least one.
    fn append(&self, data: &[u8]) -> Result<usize>;
    /// Moves bytes from a pipe to the end of the file inside the kernel (splice(2)): at any moment each byte is in the
    /// pipe or in the file, so that not even SIGKILL loses one. Returns how many were moved, 0 if the pipe is empty;
    /// `None` if this pair of files can't do that.
    fn splice_from(&self, _pipe: BorrowedFd<'_>, _most: usize) -> Result<Option<usize>> {
        Ok(None)
    }
    /// Size in bytes.
    fn len(&self) -> Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Makes the content durable (fdatasync(2)).
    fn sync(&self) -> Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> Result<()>;
    /// Takes the exclusive lock (flock(2)) if nobody else has it. It is released when the last handle is dropped.
    fn try_lock(&self) -> Result<bool>;
    /// Takes the exclusive lock, and waits for it.
    fn lock(&self) -> Result<()>;
    /// Gives the lock back before the last handle is dropped.
    fn unlock(&self);
    /// Which file it is.
    fn id(&self) -> Result<FileId>;
    /// Whether some process, also this one, has the file open for writing; `None` where the system can't tell.
    fn has_writer(&self) -> Option<bool>;
    /// Whether it still has a name.
    fn is_linked(&self) -> Result<bool> {
        Ok(true)
    }
    /// Has room on the disk for the first `len` bytes, which does not make it longer (fallocate(2)), where the system can do that.
    fn allocate(&self, _len: u64) -> Result<()> {
        Ok(())
    }
    /// Makes the file `words` words of 8 bytes long, with room on the disk for all of them, and maps it.
    fn map(&self, words: usize) -> Result<Slate>;
    /// The descriptor, where there is one, to be handed to another process.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Appends all of `data`.
pub fn append_all(file: &dyn File, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let taken = file.append(data)?;
        data = &data[taken..];
    }
    Ok(())
}

/// Reads a whole small file.
pub fn read_whole(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    let mut data = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    let mut at = 0;
    while at < data.len() {
        match file.read_at(&mut data[at..], at as u64)? {
            0 => break,
            n => at += n,
        }
    }
    data.truncate(at);
    Ok(data)
}

/// The one order of syncs: the content, then the final name, then the directory. Afterwards both names stand; the
/// caller takes the old one away once nothing depends on it.
///
/// # Errors
/// [`Kind::Exists`] if the final name is taken: nothing is ever overwritten.
pub fn publish(fs: &dyn Fs, file: &dyn File, work: &Path, to: &Path) -> Result<()> {
    file.sync()?;
    fs.link(work, to)?;
    fs.sync_dir(to.parent().unwrap_or(Path::new("/")))
}

/// Writes a small file whole under its final name: as `work` first, then [`publish`].
///
/// # Errors
/// [`Kind::Exists`] if the final name is taken.
pub fn publish_bytes(fs: &dyn Fs, data: &[u8], work: &Path, to: &Path) -> Result<()> {
    fs.remove(work)?;
    let file = fs.create(work)?;
    let done = append_all(&*file, data).and_then(|()| publish(fs, &*file, work, to));
    fs.remove(work)?;
    done
}

/// Writes a file whole in the place of whatever file has that name: under another one beside it first.
///
/// # Errors
/// Also if what has that name is no file: a device, or a link, would be lost.
pub fn replace_bytes(fs: &dyn Fs, data: &[u8], to: &Path) -> Result<()> {
    if fs.stat(to)?.is_some_and(|entry| entry.kind != EntryKind::File) {
        return Err(Error::stop("replace", to.display(), Kind::Exists, "what stands there is no file")
            .mend("give the name of a file, or one where nothing stands"));
    }
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let work = dir.join(format!(".{name}.{:08x}", fastrand::u32(..)));
    let file = fs.create(&work)?;
    let done = append_all(&*file, data).and_then(|()| file.sync()).and_then(|()| fs.rename(&work, to));
    if done.is_err() {
        fs.remove(&work)?;
    }
    done.and_then(|()| fs.sync_dir(dir))
}

/// Opens a file, and creates it if there is none.
pub fn open_or_create(fs: &dyn Fs, path: &Path) -> Result<Arc<dyn File>> {
    match fs.open(path) {
        Err(e) if e.kind == Kind::NotFound => match fs.create(path) {
            // By another process, this moment.
            Err(e) if e.kind == Kind::Exists => fs.open(path),
            created => created,
        },
        opened => opened,
    }
}

/// Takes the lock of a file just opened at `path`, and makes sure that `path` still names it then.
///
/// `None` if somebody else holds the lock, or the name went away meanwhile.
pub fn locked(fs: &dyn Fs, path: &Path, opened: Result<Arc<dyn File>>) -> Result<Option<Arc<dyn File>>> {
    let file = match opened {
        Err(e) if e.kind == Kind::NotFound => return Ok(None),
        other => other?,
    };
    if !file.try_lock()? {
        return Ok(None);
    }
    let id = file.id()?;
    let still = fs.stat(path)?.is_some_and(|entry| entry.id == id);
    Ok(still.then_some(file))
}
