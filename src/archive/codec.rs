//! The two codecs, and the rule that makes their output depend on nothing but the input.
//!
//! zlib's output depends on how the input is cut into calls, so the input is cut by rule: slices of [`SLICE`] bytes at
//! offsets that are its multiples, and a full flush (gzip) or a new frame (Zstandard) every [`BLOCK`] bytes. gzip is one
//! member with a fixed header (RFC 1952: no name, no time, OS unknown).

use crate::error::{Error, Kind, Result};
use crate::format::layout::{GZIP, ZSTD};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{Encoder as ZstdEncoder, InBuffer, Operation, OutBuffer};

/// How much input one call gets, in bytes.
pub const SLICE: usize = 64 << 10;
/// How much input lies between two points where decompression may begin, in bytes.
pub const BLOCK: u64 = 4 << 20;

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
}

/// The media type of an archive, by its name (RFC 6713, RFC 8878).
pub fn content_type(archive: &str) -> &'static str {
    match archive {
        name if name.ends_with(GZIP) => "application/gzip",
        name if name.ends_with(ZSTD) => "application/zstd",
        _ => "application/octet-stream",
    }
}

/// A stream being compressed.
pub struct Encoder {
    inner: Inner,
    crc: crc32fast::Hasher,
    taken: u64,
}

enum Inner {
    Gzip(Compress),
    Zstd(Box<ZstdEncoder<'static>>),
}

impl Encoder {
    /// Begins a stream; its header goes to `out`.
    pub fn new(codec: Codec, out: &mut Vec<u8>) -> Result<Self> {
        let inner = match codec {
            Codec::Gzip(level) => {
                out.extend_from_slice(&GZIP_HEADER);
                Inner::Gzip(Compress::new(Compression::new(level), false))
            }
            Codec::Zstd(level) => {
                let encoder = ZstdEncoder::new(level).and_then(|mut encoder| {
                    encoder.set_parameter(zstd::stream::raw::CParameter::ChecksumFlag(true))?;
                    Ok(encoder)
                });
                Inner::Zstd(Box::new(encoder.map_err(|e| failed(&e))?))
            }
        };
        Ok(Self { inner, crc: crc32fast::Hasher::new(), taken: 0 })
    }

    /// Compresses the next slice: [`SLICE`] bytes, less only at the end.
    pub fn push(&mut self, slice: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match &mut self.inner {
            Inner::Gzip(z) => {
                self.crc.update(slice);
                deflate(z, slice, FlushCompress::None, out)?;
            }
            Inner::Zstd(z) => feed(z, slice, out)?,
        }
        self.taken += slice.len() as u64;
        if self.taken.is_multiple_of(BLOCK) {
            match &mut self.inner {
                Inner::Gzip(z) => deflate(z, &[], FlushCompress::Full, out)?,
                Inner::Zstd(z) => {
                    end_frame(z, out)?;
                    z.reinit().map_err(|e| failed(&e))?;
                }
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<()> {
        match &mut self.inner {
            Inner::Gzip(z) => {
                deflate(z, &[], FlushCompress::Finish, out)?;
                out.extend_from_slice(&self.crc.finalize().to_le_bytes());
                // RFC 1952: the length modulo 2^32.
                out.extend_from_slice(&((self.taken & 0xffff_ffff) as u32).to_le_bytes());
                Ok(())
            }
            // At a block's end the frame is ended already; an empty input is one empty frame.
            Inner::Zstd(_) if self.taken > 0 && self.taken.is_multiple_of(BLOCK) => Ok(()),
            Inner::Zstd(z) => end_frame(z, out),
        }
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
        let mut out = Vec::new();
        let mut encoder = Encoder::new(codec, &mut out).unwrap();
        for slice in data.chunks(SLICE) {
            encoder.push(slice, &mut out).unwrap();
        }
        encoder.finish(&mut out).unwrap();
        out
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
    fn gzip_can_be_entered_at_every_block() {
        let data = lines(2 * BLOCK as usize + 999);
        let packed = pack(Codec::Gzip(6), &data);
        let mut out = Vec::new();
        let mut encoder = Encoder::new(Codec::Gzip(6), &mut out).unwrap();
        for slice in data[..BLOCK as usize].chunks(SLICE) {
            encoder.push(slice, &mut out).unwrap();
        }
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
