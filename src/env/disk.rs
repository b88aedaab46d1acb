//! The real disk.

use super::access::{DIR_MODE, FILE_MODE};
use super::fs::{Entry, EntryKind, File, FileId, Fs, Space};
use super::slate::Slate;
use crate::error::{Error, Kind, Result};
use chrono::{DateTime, Utc};
use nix::fcntl::{SpliceFFlags, splice};
use nix::libc;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file system of this machine.
pub struct Disk;

struct Opened {
    file: std::fs::File,
    path: String,
    /// Whether the file position is known to be at the end: writing leaves it there.
    at_end: AtomicBool,
    /// Whether the lock was taken and not given back.
    locked: AtomicBool,
}

impl Drop for Opened {
    /// A child that was forked and has not yet called exec(2) holds the same open file, and would keep the lock a moment
    /// longer: only unlocking takes it from all of them (flock(2)).
    fn drop(&mut self) {
        if self.locked.load(Ordering::Relaxed) {
            self.unlock();
        }
    }
}

fn failed(op: &'static str, path: &Path, e: &std::io::Error) -> Error {
    if e.raw_os_error() == Some(libc::ELOOP) {
        return Error::stop(op, path.display(), Kind::Denied, "a symbolic link; links are refused here")
            .mend("put a directory or file in its place");
    }
    Error::io(op, path.display(), e)
}

/// A file that another process opened; `path` is for messages.
pub fn adopted(fd: std::os::fd::OwnedFd, path: &Path) -> Arc<dyn File> {
    Arc::new(Opened::new(fd.into(), path))
}

fn open(op: &'static str, path: &Path, options: &mut OpenOptions) -> Result<Opened> {
    // Without O_NONBLOCK the open of a pipe that somebody put there would wait for its writer.
    let file = options
        .read(true)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| failed(op, path, &e))?;
    let kind = file.metadata().map_err(|e| failed(op, path, &e))?.file_type();
    if !kind.is_file() {
        return Err(Error::stop(op, path.display(), Kind::Denied, "not a regular file"));
    }
    Ok(Opened::new(file, path))
}

impl Fs for Disk {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        let file = open("create", path, OpenOptions::new().write(true).create_new(true))?;
        // The mode is a promise; the umask that the daemon happens to have is not. By the file, not by its name: that may
        // be another one's by now.
        let mode = std::fs::Permissions::from_mode(FILE_MODE);
        file.file.set_permissions(mode).map_err(|e| failed("chmod", path, &e))?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        Ok(Arc::new(open("open", path, OpenOptions::new().write(true))?))
    }

    fn open_read(&self, path: &Path) -> Result<Arc<dyn File>> {
        Ok(Arc::new(open("open", path, &mut OpenOptions::new())?))
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for item in std::fs::read_dir(dir).map_err(|e| failed("list", dir, &e))? {
            let item = item.map_err(|e| failed("list", dir, &e))?;
            if let Ok(name) = item.file_name().into_string() {
                entries.extend(self.stat(&dir.join(name))?);
            }
        }
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(entry(path, &meta))),
            // Below what is no directory nothing stands either.
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(failed("stat", path, &e)),
        }
    }

    fn make_dir(&self, path: &Path) -> Result<bool> {
        match std::fs::DirBuilder::new().mode(DIR_MODE).create(path) {
            Ok(()) => {
                let has = std::fs::symlink_metadata(path).map_err(|e| failed("stat", path, &e))?.mode();
                // It would also take a setgid bit away that the directory has inherited.
                if has & 0o777 != DIR_MODE {
                    let mode = std::fs::Permissions::from_mode(DIR_MODE);
                    std::fs::set_permissions(path, mode).map_err(|e| failed("chmod", path, &e))?;
                }
                Ok(true)
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => match self.stat(path)?.map(|e| e.kind) {
                Some(EntryKind::Dir) => Ok(false),
                Some(EntryKind::Link) => Err(failed("mkdir", path, &std::io::Error::from_raw_os_error(libc::ELOOP))),
                _ => Err(failed("mkdir", path, &std::io::Error::from_raw_os_error(libc::ENOTDIR))),
            },
            Err(e) => Err(failed("mkdir", path, &e)),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::hard_link(from, to).map_err(|e| failed("link", to, &e))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to).map_err(|e| failed("rename", to, &e))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|e| failed("remove", path, &e)),
        }
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let file = std::fs::File::open(dir).map_err(|e| failed("open", dir, &e))?;
        file.sync_all().map_err(|e| failed("sync", dir, &e))
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        let v = nix::sys::statvfs::statvfs(dir).map_err(|e| failed("statvfs", dir, &e.into()))?;
        let block = v.fragment_size();
        Ok(Space { total: v.blocks() * block, free: v.blocks_available() * block })
    }

    fn boot(&self) -> String {
        // Without /proc nothing is known: then every start counts as the first one after a power cut.
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        id.map(|id| id.trim().to_owned()).unwrap_or_else(|_| format!("unknown-{}", std::process::id()))
    }
}

fn entry(path: &Path, meta: &std::fs::Metadata) -> Entry {
    let kind = match meta.file_type() {
        t if t.is_file() => EntryKind::File,
        t if t.is_dir() => EntryKind::Dir,
        t if t.is_symlink() => EntryKind::Link,
        t => {
            debug_assert!(t.is_fifo() || t.is_socket() || t.is_char_device() || t.is_block_device());
            EntryKind::Other
        }
    };
    Entry {
        name: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        kind,
        len: meta.len(),
        id: (meta.dev(), meta.ino()),
        modified: DateTime::from_timestamp(meta.mtime(), 0).unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
    }
}

impl Opened {
    fn new(file: std::fs::File, path: &Path) -> Self {
        Self { file, path: path.display().to_string(), at_end: AtomicBool::new(false), locked: AtomicBool::new(false) }
    }

    /// Not with O_APPEND: splice(2) refuses such a file. Only one handle at a time writes to a file, so once is enough.
    fn to_end(&self) -> Result<()> {
        if !self.at_end.load(Ordering::Relaxed) {
            std::io::Seek::seek(&mut &self.file, std::io::SeekFrom::End(0)).map_err(|e| self.failed("seek", &e))?;
            self.at_end.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn failed(&self, op: &'static str, e: &std::io::Error) -> Error {
        Error::io(op, &self.path, e)
    }
}

impl File for Opened {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        loop {
            match self.file.read_at(buf, offset) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.map_err(|e| self.failed("read", &e)),
            }
        }
    }

    fn append(&self, data: &[u8]) -> Result<usize> {
        self.to_end()?;
        loop {
            match std::io::Write::write(&mut &self.file, data) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(self.failed("write", &std::io::Error::from_raw_os_error(libc::ENOSPC))),
                other => return other.map_err(|e| self.failed("write", &e)),
            }
        }
    }

    fn splice_from(&self, pipe: BorrowedFd<'_>, most: usize) -> Result<Option<usize>> {
        use nix::errno::Errno;
        self.to_end()?;
        match splice(pipe, None, &self.file, None, most, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Some(0)),
            Err(Errno::EINVAL | Errno::ENOSYS) => Ok(None),
            Err(e) => Err(self.failed("write", &e.into())),
        }
    }

    fn len(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| self.failed("stat", &e))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| self.failed("sync", &e))
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.at_end.store(false, Ordering::Relaxed);
        self.file.set_len(len).map_err(|e| self.failed("truncate", &e))
    }

    fn try_lock(&self) -> Result<bool> {
        match self.file.try_lock() {
            Ok(()) => {
                self.locked.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(e)) => Err(self.failed("lock", &e)),
        }
    }

    fn lock(&self) -> Result<()> {
        self.file.lock().map_err(|e| self.failed("lock", &e))?;
        self.locked.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn unlock(&self) {
        // Nothing is lost if that fails: the lock goes with the last handle.
        let _ = self.file.unlock();
        self.locked.store(false, Ordering::Relaxed);
    }

    fn id(&self) -> Result<FileId> {
        self.file.metadata().map(|m| (m.dev(), m.ino())).map_err(|e| self.failed("stat", &e))
    }

    fn has_writer(&self) -> Option<bool> {
        // A read lease is refused with EAGAIN while anybody has the file open for writing (fcntl(2), "Leases"). It is
        // given back at once, so that nobody is ever told of it.
        let lease = |kind: libc::c_int| {
            // SAFETY: F_SETLEASE takes an int and touches no memory of ours; the descriptor is open.
            unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, kind) }
        };
        if lease(libc::F_RDLCK) == 0 {
            lease(libc::F_UNLCK);
            return Some(false);
        }
        (std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)).then_some(true)
    }

    fn allocate(&self, len: u64) -> Result<()> {
        let keep = nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match nix::fcntl::fallocate(&self.file, keep, 0, i64::try_from(len).unwrap_or(i64::MAX)) {
            Err(nix::errno::Errno::EOPNOTSUPP) => Ok(()),
            other => other.map_err(|e| self.failed("allocate", &e.into())),
        }
    }

    fn map(&self, words: usize) -> Result<Slate> {
        let len = words * size_of::<u64>();
        if self.len()? < len as u64 {
            // A page without room on the disk would end the process at its first use (SIGBUS).
            let none = nix::fcntl::FallocateFlags::empty();
            match nix::fcntl::fallocate(&self.file, none, 0, i64::try_from(len).unwrap_or(i64::MAX)) {
                Err(nix::errno::Errno::EOPNOTSUPP) => {
                    self.file.write_all_at(&vec![0; len], 0).map_err(|e| self.failed("write", &e))?
                }
                other => other.map_err(|e| self.failed("allocate", &e.into()))?,
            }
        }
        Slate::map(&self.file, words, &self.path)
    }

    fn is_linked(&self) -> Result<bool> {
        self.file.metadata().map(|m| m.nlink() > 0).map_err(|e| self.failed("stat", &e))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_goes_with_its_handle_whoever_was_forked_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = Disk.create(&path).unwrap();
        assert!(file.try_lock().unwrap());
        // What a forked child has until it calls exec(2).
        let inherited = file.fd().unwrap().try_clone_to_owned().unwrap();
        let second = Disk.open(&path).unwrap();
        assert!(!second.try_lock().unwrap());
        drop(file);
        assert!(second.try_lock().unwrap());
        drop(inherited);
    }
}
