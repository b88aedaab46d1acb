//! The two codecs, and the rule that makes their output depend on nothing but the input.
//!
//! The input is cut into blocks of 4 MiB at offsets that are its multiples, and each block is compressed from an empty state
//! to a whole number of bytes: a full flush ends it (gzip, RFC 1951), or its frame does (Zstandard). So a block's bytes depend
//! on the block alone: who was interrupted goes on with the next one, several may be compressed at once, a reader may begin
//! at any, and what stands after any block is whole once an ending of a few bytes is put behind it. Within a block zlib's
//! output depends on how the input is cut into calls, so that is cut by rule, too: slices of [`SLICE`] bytes. gzip is one
//! member with a fixed header (RFC 1952: no name, no time, OS unknown).

use crate::error::{Error, Kind, Result};
use crate::format::layout::{BLOCK, GZIP, ZSTD};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{Encoder as ZstdEncoder, InBuffer, Operation, OutBuffer};

/// How much input one call gets, in bytes.
pub const SLICE: usize = 64 << 10;

const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Room that is made for output at a time, in bytes.
const ROOM: usize = 32 << 10;

/// How files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// gzip at a level from 1 to 9.
    Gzip(u32),
    /// Zstandard at a level from 1 to 19.
    Zstd(i32),
}

impl Codec {
    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip(_) => GZIP,
            Self::Zstd(_) => ZSTD,
        }
    }

    /// The codec of an archive of this name: this one, if it has that ending, or the other one with its default level.
    pub fn of(self, archive: &str) -> Self {
        match self {
            Self::Gzip(_) if archive.ends_with(ZSTD) => Self::Zstd(3),
            Self::Zstd(_) if archive.ends_with(GZIP) => Self::Gzip(6),
            same => same,
        }
    }

    /// Its name, in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
        }
    }

    /// A number for codec and level, to tell work of another one.
    pub fn number(self) -> u64 {
        match self {
            Self::Gzip(level) => u64::from(level),
            Self::Zstd(level) => 256 + u64::from(level.unsigned_abs()),
        }
    }

    /// What stands before the first block.
    pub fn header(self) -> &'static [u8] {
        match self {
            Self::Gzip(_) => &GZIP_HEADER,
            Self::Zstd(_) => &[],
        }
    }

    /// What stands after the last block: `crc` is the CRC-32 and `len` the length of the whole input.
    pub fn trailer(self, crc: u32, len: u64) -> Vec<u8> {
        match self {
            // RFC 1952: the length modulo 2^32.
            Self::Gzip(_) => [crc.to_le_bytes(), ((len & 0xffff_ffff) as u32).to_le_bytes()].concat(),
            Self::Zstd(_) => Vec::new(),
        }
    }
}

/// The media type of an archive, by its name (RFC 6713, RFC 8878).
pub fn content_type(archive: &str) -> &'static str {
    match archive {
        name if name.ends_with(GZIP) => "application/gzip",
        name if name.ends_with(ZSTD) => "application/zstd",
        _ => "application/octet-stream",
    }
}

/// Compresses one block after another.
pub struct Encoder {
    inner: Inner,
}

enum Inner {
    Gzip(Compress),
    Zstd(Box<ZstdEncoder<'static>>),
}

impl Encoder {
    /// Ready for a block.
    pub fn new(codec: Codec) -> Result<Self> {
        let inner = match codec {
            Codec::Gzip(level) => Inner::Gzip(Compress::new(Compression::new(level), false)),
            Codec::Zstd(level) => {
                let encoder = ZstdEncoder::new(level).and_then(|mut encoder| {
                    encoder.set_parameter(zstd::stream::raw::CParameter::ChecksumFlag(true))?;
                    Ok(encoder)
                });
                Inner::Zstd(Box::new(encoder.map_err(|e| failed(&e))?))
            }
        };
        Ok(Self { inner })
    }

    /// Compresses the next slice of a block: [`SLICE`] bytes, less only at its end.
    pub fn push(&mut self, slice: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match &mut self.inner {
            Inner::Gzip(z) => deflate(z, slice, FlushCompress::None, out),
            Inner::Zstd(z) => feed(z, slice, out),
        }
    }

    /// Ends a block, and is ready for another. `last`: nothing but the trailer follows.
    pub fn end(&mut self, last: bool, out: &mut Vec<u8>) -> Result<()> {
        match &mut self.inner {
            Inner::Gzip(z) => {
                let flush = if last { FlushCompress::Finish } else { FlushCompress::Full };
                deflate(z, &[], flush, out)?;
                z.reset();
                Ok(())
            }
            Inner::Zstd(z) => {
                end_frame(z, out)?;
                z.reinit().map_err(|e| failed(&e))
            }
        }
    }
}

/// Packs a text in memory.
pub struct Packer {
    codec: Codec,
    encoder: Encoder,
    crc: crc32fast::Hasher,
    /// Bytes that are compressed.
    len: u64,
    /// Those behind them: less than a slice.
    slice: Vec<u8>,
    out: Vec<u8>,
}

impl Packer {
    /// Of an empty text.
    pub fn new(codec: Codec) -> Result<Self> {
        let (encoder, out) = (Encoder::new(codec)?, codec.header().to_vec());
        Ok(Self { codec, encoder, crc: crc32fast::Hasher::new(), len: 0, slice: Vec::with_capacity(SLICE), out })
    }

    /// The text goes on.
    pub fn push(&mut self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            let (now, later) = text.split_at(text.len().min(SLICE - self.slice.len()));
            self.slice.extend_from_slice(now);
            text = later;
            if self.slice.len() == SLICE {
                self.squeeze()?;
                if self.len.is_multiple_of(BLOCK) {
                    self.encoder.end(false, &mut self.out)?;
                }
            }
        }
        Ok(())
    }

    fn squeeze(&mut self) -> Result<()> {
        self.crc.update(&self.slice);
        self.encoder.push(&self.slice, &mut self.out)?;
        self.len += self.slice.len() as u64;
        self.slice.clear();
        Ok(())
    }

    /// All of it, packed.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.squeeze()?;
        self.encoder.end(true, &mut self.out)?;
        self.out.extend(self.codec.trailer(self.crc.finalize(), self.len));
        Ok(self.out)
    }
}

fn failed(e: &dyn std::fmt::Display) -> Error {
    Error::stop("compress", "a file", Kind::Other, e)
}

fn deflate(z: &mut Compress, mut input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) -> Result<()> {
    loop {
        out.reserve(ROOM);
        let before = z.total_in();
        let status = z.compress_vec(input, out, flush).map_err(|e| failed(&e))?;
        input = &input[(z.total_in() - before) as usize..];
        let room_left = out.len() < out.capacity();
        match (flush, status) {
            (FlushCompress::Finish, Status::StreamEnd) => return Ok(()),
            (FlushCompress::Finish, _) => {}
            // zlib is done with a call when it leaves room in the output (zlib.h, deflate).
            _ if input.is_empty() && room_left => return Ok(()),
            _ => {}
        }
    }
}

fn feed(z: &mut ZstdEncoder<'static>, slice: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut input = InBuffer::around(slice);
    while input.pos() < slice.len() {
        with_room(out, |room| z.run(&mut input, room).map(|_| ()))?;
    }
    Ok(())
}

fn end_frame(z: &mut ZstdEncoder<'static>, out: &mut Vec<u8>) -> Result<()> {
    let mut left = 1;
    while left > 0 {
        with_room(out, |room| {
            left = z.finish(room, true)?;
            Ok(())
        })?;
    }
    Ok(())
}

fn with_room(out: &mut Vec<u8>, run: impl FnOnce(&mut OutBuffer<'_, [u8]>) -> std::io::Result<()>) -> Result<()> {
    let start = out.len();
    out.resize(start + ROOM, 0);
    let mut room = OutBuffer::around(&mut out[start..]);
    let done = run(&mut room);
    let written = room.pos();
    out.truncate(start + written);
    done.map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn lines(bytes: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(bytes + 64);
        let mut n = 7_u64;
        while data.len() < bytes {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            data.extend_from_slice(format!("host-{} GET /{} {}\n", n >> 60, n >> 44, n >> 20).as_bytes());
        }
        data.truncate(bytes);
        data
    }

    fn pack(codec: Codec, data: &[u8]) -> Vec<u8> {
        let mut packer = Packer::new(codec).unwrap();
        data.chunks(99_991).for_each(|piece| packer.push(piece).unwrap());
        packer.finish().unwrap()
    }

    fn squeeze(encoder: &mut Encoder, block: &[u8], last: bool, out: &mut Vec<u8>) {
        for slice in block.chunks(SLICE) {
            encoder.push(slice, out).unwrap();
        }
        encoder.end(last, out).unwrap();
    }

    const SIZES: [usize; 7] = [0, 1, SLICE - 1, SLICE, SLICE + 1, BLOCK as usize, 2 * BLOCK as usize + 12_345];

    #[test]
    fn gzip_is_one_member_that_comes_back_byte_for_byte() {
        for size in SIZES {
            let data = lines(size);
            let packed = pack(Codec::Gzip(6), &data);
            // This decoder reads the first member only.
            let mut decoder = flate2::bufread::GzDecoder::new(&packed[..]);
            let mut back = Vec::new();
            decoder.read_to_end(&mut back).unwrap();
            assert!(back == data, "{size} bytes");
            assert!(decoder.into_inner().is_empty(), "{size} bytes: something follows the member");
        }
    }

    #[test]
    fn zstd_comes_back_byte_for_byte() {
        for size in SIZES {
            let data = lines(size);
            assert!(zstd::decode_all(&pack(Codec::Zstd(3), &data)[..]).unwrap() == data, "{size} bytes");
        }
    }

    #[test]
    fn a_block_depends_on_nothing_before_it() {
        let data = lines(2 * BLOCK as usize + 999);
        for codec in [Codec::Gzip(1), Codec::Gzip(6), Codec::Zstd(3)] {
            let mut joined = codec.header().to_vec();
            for (at, block) in data.chunks(BLOCK as usize).enumerate() {
                squeeze(&mut Encoder::new(codec).unwrap(), block, at == 2, &mut joined);
            }
            joined.extend(codec.trailer(crc32fast::hash(&data), data.len() as u64));
            assert!(joined == pack(codec, &data), "{codec:?}");
        }
    }

    #[test]
    fn gzip_can_be_entered_at_every_block() {
        let data = lines(2 * BLOCK as usize + 999);
        let packed = pack(Codec::Gzip(6), &data);
        let mut out = Codec::Gzip(6).header().to_vec();
        squeeze(&mut Encoder::new(Codec::Gzip(6)).unwrap(), &data[..BLOCK as usize], false, &mut out);
        assert_eq!(packed[..out.len()], out);
        let mut back = Vec::new();
        flate2::bufread::DeflateDecoder::new(&packed[out.len()..]).read_to_end(&mut back).unwrap();
        assert!(back == data[BLOCK as usize..]);
    }

    #[test]
    fn the_header_is_fixed() {
        assert_eq!(pack(Codec::Gzip(6), b"")[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }
}
