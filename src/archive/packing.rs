//! An archive in the making. It grows by whole blocks behind the hour file, which may grow as well, and is ended when that
//! is. What is appended is a whole number of blocks at any time, so an ending of a few bytes makes a whole archive of it.
//! Its progress tells, block by block, what was packed: whoever comes later, after a crash or a power cut, compares that
//! with both files and goes on behind the last block that is as it should be, to the same bytes.

use super::codec::{Encoder, SLICE};
use super::{Archive, Codec};
use crate::env::fs::{File, append_all, locked, open_or_create, read_whole};
use crate::error::{Error, Kind, Result};
use crate::format::manifest::{Packed, hex};
use crate::format::name::LogName;
use crate::format::progress::{self, Block, SIZE};
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// After so many bytes the archive in the making is forced to the disk, so that little is left to do at its end.
const SYNC_EVERY: u64 = 16 << 20;

/// An archive in the making, and the lock of it.
pub struct Packing {
    codec: Codec,
    /// Size of a block, in bytes.
    block: u64,
    path: PathBuf,
    work: Arc<dyn File>,
    progress: Arc<dyn File>,
    sums: Sums,
    encoders: Vec<Encoder>,
    /// The last block's buffer, to be used again: it may have grown large.
    spare: Vec<u8>,
    /// How much of it was forced to the disk.
    synced: u64,
    /// Whether this holds the lock of `work`. Others may still have that open, to send it.
    locked: bool,
}

/// What is packed so far.
#[derive(Clone)]
struct Sums {
    plain: u64,
    packed: u64,
    lines: u64,
    crc: crc32fast::Hasher,
    blake3: blake3::Hasher,
    sha256: Sha256,
}

/// The end of an archive, and what it holds with it.
pub struct Ending {
    /// What belongs behind the blocks that are packed.
    pub bytes: Vec<u8>,
    /// Lines of the whole.
    pub lines: u64,
    /// Plain bytes of the whole.
    pub plain: u64,
    /// BLAKE3 of the plain text, in hex.
    pub blake3: String,
    /// The whole object.
    pub packed: Packed,
}

struct Squeezed {
    out: Vec<u8>,
    crc: crc32fast::Hasher,
    lines: u64,
}

impl Packing {
    /// Goes on with an archive in the making, as far as it is that of `source`'s first `len` bytes, or begins one.
    ///
    /// # Errors
    /// [`Kind::Busy`] if somebody else is at it, or if `stop` is set.
    pub fn open(archive: &Archive, packed: &LogName, source: &dyn File, len: u64, stop: &AtomicBool) -> Result<Self> {
        let (fs, layout, codec) = (&archive.env.fs, &archive.layout, archive.codec);
        let (path, progress_path) = (layout.work(packed), layout.progress(packed));
        let kind = progress::Kind { block: archive.block, codec: codec.number() };
        let busy = || Error::retry("pack", path.display(), Kind::Busy, "another process is at it");
        let work = locked(&**fs, &path, open_or_create(&**fs, &path))?.ok_or_else(busy)?;
        let known = match read_whole(&**fs, &progress_path) {
            Ok(data) => progress::read(&data, kind),
            Err(e) if e.kind == Kind::NotFound => None,
            Err(e) => return Err(e),
        };
        let progress = match &known {
            Some(_) => fs.open(&progress_path)?,
            None => {
                fs.remove(&progress_path)?;
                let file = fs.create(&progress_path)?;
                append_all(&*file, &kind.bytes())?;
                file
            }
        };
        let mut packing = Self {
            codec,
            block: archive.block,
            path,
            work,
            progress,
            sums: Sums::new(codec),
            encoders: Vec::new(),
            spare: Vec::new(),
            synced: 0,
            locked: true,
        };
        packing.go_on(&known.unwrap_or_default(), source, len, stop)?;
        Ok(packing)
    }

    /// Compares what is there with what should be, and cuts off the rest.
    fn go_on(&mut self, known: &[Block], source: &dyn File, len: u64, stop: &AtomicBool) -> Result<()> {
        let header = self.codec.header();
        let mut start = vec![0; header.len()];
        let whole = fill(&*self.work, &mut start, 0)? == header.len() && start == header;
        let mut blocks = 0;
        for block in known.iter().take_while(|_| whole) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::retry("pack", self.path.display(), Kind::Busy, "leaving"));
            }
            if self.sums.plain + self.block > len || !self.matches(block, source)? {
                break;
            }
            blocks += 1;
        }
        if !whole {
            self.work.truncate(0)?;
            append_all(&*self.work, header)?;
        } else if self.work.len()? > self.sums.packed {
            self.work.truncate(self.sums.packed)?;
        }
        let records = (1 + blocks) * SIZE as u64;
        if self.progress.len()? > records {
            self.progress.truncate(records)?;
        }
        Ok(())
    }

    /// Whether the next block is as its record says; then it counts.
    fn matches(&mut self, block: &Block, source: &dyn File) -> Result<bool> {
        let mut sums = self.sums.clone();
        let mut crc = crc32fast::Hasher::new();
        let mut lines = 0;
        let read = each_slice(source, sums.plain, self.block, |slice| {
            crc.update(slice);
            sums.blake3.update(slice);
            lines += count(slice);
            Ok(())
        })?;
        let (len, mut packed) = (block.to.saturating_sub(sums.packed), crc32fast::Hasher::new());
        let there = each_slice(&*self.work, sums.packed, len, |slice| {
            packed.update(slice);
            sums.sha256.update(slice);
            Ok(())
        })?;
        let same = (read, there) == (self.block, len)
            && (crc.clone().finalize(), packed.finalize(), lines) == (block.plain, block.packed, block.lines);
        if same {
            sums.add(&crc, self.block, lines);
            sums.packed = block.to;
            self.sums = sums;
        }
        Ok(same)
    }

    /// How many plain bytes are packed.
    pub fn plain(&self) -> u64 {
        self.sums.plain
    }

    /// How long the archive is so far, in bytes.
    pub fn packed(&self) -> u64 {
        self.sums.packed
    }

    /// The archive so far.
    pub fn work(&self) -> &Arc<dyn File> {
        &self.work
    }

    /// Whether the file under its work name is still this one, as long as this knows it.
    pub fn stands(&self, archive: &Archive) -> Result<bool> {
        let entry = archive.env.fs.stat(&self.path)?;
        let id = self.work.id()?;
        Ok(entry.is_some_and(|entry| entry.id == id && entry.len == self.sums.packed))
    }

    /// Packs up to `threads` blocks of the first `len` bytes of `source`; breaks when none is whole.
    pub fn advance(&mut self, source: &dyn File, len: u64, threads: usize) -> Result<ControlFlow<()>> {
        let whole = len.saturating_sub(self.sums.plain) / self.block;
        let blocks = usize::try_from(whole).unwrap_or(usize::MAX).min(threads.max(1));
        if blocks == 0 {
            return Ok(ControlFlow::Break(()));
        }
        let mut sums = self.sums.clone();
        while self.encoders.len() < blocks {
            self.encoders.push(Encoder::new(self.codec)?);
        }
        let mut squeezed = match &mut self.encoders[..blocks] {
            [encoder] => {
                let out = std::mem::take(&mut self.spare);
                vec![squeeze(encoder, source, sums.plain, self.block, false, out, |slice| {
                    sums.blake3.update(slice);
                })?]
            }
            encoders => {
                let squeezed = squeeze_at_once(encoders, source, sums.plain, self.block)?;
                each_slice(source, sums.plain, self.block * blocks as u64, |slice| {
                    sums.blake3.update(slice);
                    Ok(())
                })?;
                squeezed
            }
        };
        for block in &squeezed {
            sums.add(&block.crc, self.block, block.lines);
            sums.pack(&block.out);
        }
        self.append(&squeezed, sums)?;
        if let Some(block) = squeezed.pop() {
            self.spare = block.out;
            self.spare.clear();
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Appends blocks, and then says that they are there.
    fn append(&mut self, blocks: &[Squeezed], sums: Sums) -> Result<()> {
        let mut to = self.sums.packed;
        let mut records = Vec::new();
        for block in blocks {
            to += block.out.len() as u64;
            let record = Block {
                to,
                plain: block.crc.clone().finalize(),
                packed: crc32fast::hash(&block.out),
                lines: block.lines,
            };
            records.extend(record.bytes());
        }
        let written = blocks.iter().try_for_each(|block| append_all(&*self.work, &block.out));
        if let Err(e) = written.and_then(|()| append_all(&*self.progress, &records)) {
            // So that what is there stays a whole number of blocks, as far as is known.
            self.work.truncate(self.sums.packed)?;
            return Err(e);
        }
        self.sums = sums;
        if self.sums.packed - self.synced >= SYNC_EVERY {
            self.work.sync()?;
            self.synced = self.sums.packed;
        }
        Ok(())
    }

    /// What would end the archive if the first `len` bytes of `source` were all: less than a block of them is not packed yet.
    pub fn ending(&mut self, source: &dyn File, len: u64) -> Result<Ending> {
        let mut sums = self.sums.clone();
        if self.encoders.is_empty() {
            self.encoders.push(Encoder::new(self.codec)?);
        }
        let rest = len.saturating_sub(sums.plain);
        let out = std::mem::take(&mut self.spare);
        let last = squeeze(&mut self.encoders[0], source, sums.plain, rest, true, out, |slice| {
            sums.blake3.update(slice);
        })?;
        sums.add(&last.crc, rest, last.lines);
        let mut bytes = last.out;
        bytes.extend(self.codec.trailer(sums.crc.clone().finalize(), sums.plain));
        sums.pack(&bytes);
        let sha256 = hex(&sums.sha256.finalize());
        let packed = Packed { codec: self.codec.name().to_owned(), bytes: sums.packed, sha256 };
        let blake3 = sums.blake3.finalize().to_hex().to_string();
        Ok(Ending { bytes, lines: sums.lines, plain: sums.plain, blake3, packed })
    }

    /// Ends the archive with the first `len` bytes of `source`. It is still locked then.
    pub fn finish(mut self, source: &dyn File, len: u64) -> Result<(Arc<dyn File>, Ending)> {
        let ending = self.ending(source, len)?;
        append_all(&*self.work, &ending.bytes)?;
        self.locked = false;
        Ok((Arc::clone(&self.work), ending))
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        if self.locked {
            self.work.unlock();
        }
    }
}

impl Sums {
    fn new(codec: Codec) -> Self {
        let mut sums = Self {
            plain: 0,
            packed: 0,
            lines: 0,
            crc: crc32fast::Hasher::new(),
            blake3: blake3::Hasher::new(),
            sha256: Sha256::new(),
        };
        sums.pack(codec.header());
        sums
    }

    /// Counts plain bytes, all but their BLAKE3.
    fn add(&mut self, crc: &crc32fast::Hasher, bytes: u64, lines: u64) {
        self.crc.combine(crc);
        self.plain += bytes;
        self.lines += lines;
    }

    fn pack(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.packed += bytes.len() as u64;
    }
}

/// Compresses `len` bytes of `source` as one block, into `out`, which is empty.
fn squeeze(
    encoder: &mut Encoder,
    source: &dyn File,
    at: u64,
    len: u64,
    last: bool,
    out: Vec<u8>,
    mut watch: impl FnMut(&[u8]),
) -> Result<Squeezed> {
    let mut block = Squeezed { out, crc: crc32fast::Hasher::new(), lines: 0 };
    let read = each_slice(source, at, len, |slice| {
        block.crc.update(slice);
        block.lines += count(slice);
        watch(slice);
        encoder.push(slice, &mut block.out)
    });
    // Also after a failure: the encoder is to be ready for another block.
    let ended = encoder.end(last, &mut block.out);
    if read? < len {
        return Err(Error::retry("pack", "an hour file", Kind::Other, "it is shorter than it was"));
    }
    ended.map(|()| block)
}

/// Compresses one block with each encoder, each on a thread of its own.
fn squeeze_at_once(encoders: &mut [Encoder], source: &dyn File, at: u64, block: u64) -> Result<Vec<Squeezed>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (encoders.iter_mut().enumerate())
            .map(|(number, encoder)| {
                let at = at + block * number as u64;
                scope.spawn(move || squeeze(encoder, source, at, block, false, Vec::new(), |_| {}))
            })
            .collect();
        let panicked = |_| Err(Error::stop("pack", "a block", Kind::Other, "its thread has panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    })
}

/// Hands over `len` bytes from `at` on, slice by slice: how many there were.
pub(super) fn each_slice(file: &dyn File, at: u64, len: u64, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let mut slice = vec![0; SLICE.min(usize::try_from(len).unwrap_or(SLICE))];
    let mut done = 0;
    while done < len {
        let want = usize::try_from(len - done).unwrap_or(SLICE).min(SLICE);
        let n = fill(file, &mut slice[..want], at + done)?;
        if n > 0 {
            take(&slice[..n])?;
        }
        done += n as u64;
        if n < want {
            break;
        }
    }
    Ok(done)
}

/// Reads until the slice is full or the file ends.
pub(super) fn fill(source: &dyn File, slice: &mut [u8], at: u64) -> Result<usize> {
    let mut got = 0;
    while got < slice.len() {
        match source.read_at(&mut slice[got..], at + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

fn count(slice: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', slice).count() as u64
}
