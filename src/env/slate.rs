//! Shared memory that outlives a process: what was written to it is there for the next one, whenever the first was killed.
//!
//! A [`Slate`] is a row of 64-bit words in a mapped file. It is memory to the process and costs no system call; the
//! kernel keeps it in its cache. A power cut leaves nothing of it that could be relied on.

use crate::error::{Error, Result};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A mapping, private to nobody.
struct Map {
    at: NonNull<c_void>,
    len: usize,
}

// SAFETY: the memory stays where it is until the last handle goes; who may touch which part of it is said by the types
// that hold a `Map`.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    fn new(fd: impl AsFd, len: usize, subject: &str) -> Result<Self> {
        let size = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let at = unsafe { mmap(None, size, rights, MapFlags::MAP_SHARED, fd, 0) };
        at.map(|at| Self { at, len }).map_err(|e| Error::io("map", subject, &e.into()))
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by us, with this length; nobody has a reference into it without a handle.
        let _ = unsafe { munmap(self.at, self.len) };
    }
}

enum Words {
    Mapped(Map),
    Memory(Box<[AtomicU64]>),
}

/// Words in shared memory.
#[derive(Clone)]
pub struct Slate(Arc<Words>);

impl Slate {
    /// Maps `words` words of a file that is at least so long, all of it allocated.
    pub(super) fn map(fd: impl AsFd, words: usize, subject: &str) -> Result<Self> {
        Map::new(fd, words * size_of::<AtomicU64>(), subject).map(|map| Self(Arc::new(Words::Mapped(map))))
    }

    /// Words in this process's memory: what a disk in memory has.
    pub fn memory(words: usize) -> Self {
        Self(Arc::new(Words::Memory((0..words).map(|_| AtomicU64::new(0)).collect())))
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        match &*self.0 {
            // SAFETY: the mapping is page-aligned, of this length, and lives as long as `self`; whoever else maps the file
            // uses atomic words, too.
            Words::Mapped(map) => unsafe {
                std::slice::from_raw_parts(map.at.cast::<AtomicU64>().as_ptr(), map.len / size_of::<AtomicU64>())
            },
            Words::Memory(words) => words,
        }
    }
}

/// Bytes that the worker after this one can read. All of them are 0 in the beginning.
pub struct Buffer(Map);

/// What is more than this is given back to the system after use, in bytes.
const KEPT: usize = 1 << 20;

impl Buffer {
    /// A buffer without a name in any file system (memfd_create(2)), and its descriptor.
    pub fn create(len: usize) -> Result<(Self, std::os::fd::OwnedFd)> {
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let failed = |e: nix::errno::Errno| Error::io("create", "the line buffer", &e.into());
        let fd = memfd_create(c"logjam", MFdFlags::MFD_CLOEXEC).map_err(failed)?;
        nix::unistd::ftruncate(&fd, i64::try_from(len).unwrap_or(i64::MAX)).map_err(failed)?;
        Ok((Self::open(&fd, len)?, fd))
    }

    /// The same buffer in a later process.
    pub fn open(fd: impl AsFd, len: usize) -> Result<Self> {
        Map::new(fd, len, "the line buffer").map(Self)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped with this length. Only the process that owns the buffer writes to it, through `&mut self`; an
        // earlier owner is dead.
        unsafe { std::slice::from_raw_parts(self.0.at.cast::<u8>().as_ptr(), self.0.len) }
    }

    /// The bytes, to be written to.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.0.at.cast::<u8>().as_ptr(), self.0.len) }
    }

    /// Sets the first `used` bytes to 0.
    pub fn clear(&mut self, used: usize) {
        let keep = used.min(KEPT);
        self.bytes_mut()[..keep].fill(0);
        if used > KEPT {
            let rest = self.0.len - KEPT;
            // SAFETY: within the mapping, page-aligned; the pages read as 0 afterwards (madvise(2), MADV_REMOVE).
            let done = unsafe { madvise(self.0.at.byte_add(KEPT), rest, MmapAdvise::MADV_REMOVE) };
            if done.is_err() {
                self.bytes_mut()[KEPT..used].fill(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn words_are_there_for_whoever_maps_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let one = Slate::map(&file, 512, "x").unwrap();
        let other = Slate::map(&file, 512, "x").unwrap();
        one.words()[511].store(7, Ordering::Relaxed);
        assert_eq!(other.words()[511].load(Ordering::Relaxed), 7);
        drop(one);
        assert_eq!(other.words().len(), 512);
    }

    #[test]
    fn a_buffer_is_empty_again_after_use() {
        let (mut buffer, fd) = Buffer::create(4 << 20).unwrap();
        for used in [1, 4096, KEPT, KEPT + 1, 4 << 20] {
            buffer.bytes_mut()[..used].fill(b'x');
            assert!(Buffer::open(&fd, 4 << 20).unwrap().bytes()[..used].iter().all(|b| *b == b'x'));
            buffer.clear(used);
            assert!(buffer.bytes().iter().all(|b| *b == 0), "{used}");
        }
    }
}
