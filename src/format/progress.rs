//! How far the packing of an hour file has come: records of 32 bytes, little-endian. The first says what is packed and how;
//! each other one is written after a whole block was appended to the archive in the making.
//!
//! | bytes | first record | other records |
//! |---|---|---|
//! | 0 to 7 | [`MAGIC`] | length of the archive with this block |
//! | 8 to 15 | size of a block | CRC-32 of the block's plain bytes, then of its packed ones |
//! | 16 to 23 | number of codec and level | lines in the block |
//! | 24 to 31 | check: SipHash-1-3 (64 bit, key 0) of the bytes before | the same |

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Size of a record, in bytes.
pub const SIZE: usize = 32;
/// In the first record: what this is, and its version.
pub const MAGIC: u64 = 0x6c6f_676a_616d_5001;

/// What is packed how: work of another kind is begun again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Size of a block, in bytes.
    pub block: u64,
    /// Number of codec and level.
    pub codec: u64,
}

/// A block that is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Length of the archive with it, in bytes.
    pub to: u64,
    /// CRC-32 of its plain bytes.
    pub plain: u32,
    /// CRC-32 of its packed bytes.
    pub packed: u32,
    /// Its lines: newlines.
    pub lines: u64,
}

impl Kind {
    /// As it is written.
    pub fn bytes(&self) -> [u8; SIZE] {
        record(MAGIC, self.block, self.codec)
    }
}

impl Block {
    /// As it is written.
    pub fn bytes(&self) -> [u8; SIZE] {
        record(self.to, u64::from(self.plain) | (u64::from(self.packed) << 32), self.lines)
    }

    fn of([to, sums, lines]: [u64; 3]) -> Self {
        let half = |shift: u32| ((sums >> shift) & 0xffff_ffff) as u32;
        Self { to, plain: half(0), packed: half(32), lines }
    }
}

/// Reads what was written: the blocks, up to the first record that is not whole; `None` if it is about another kind of work.
pub fn read(data: &[u8], kind: Kind) -> Option<Vec<Block>> {
    let mut records = data.chunks(SIZE).map_while(parse);
    (records.next()? == [MAGIC, kind.block, kind.codec]).then(|| records.map(Block::of).collect())
}

/// Reads what was written, whatever work it is about: what is packed how, and the blocks.
pub fn read_any(data: &[u8]) -> Option<(Kind, Vec<Block>)> {
    let [magic, block, codec] = parse(data.get(..SIZE)?)?;
    let kind = Kind { block, codec };
    (magic == MAGIC).then(|| Some((kind, read(data, kind)?)))?
}

fn record(one: u64, two: u64, three: u64) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    for (at, word) in [one, two, three].into_iter().enumerate() {
        bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
    }
    let check = check(&bytes[..24]);
    bytes[24..].copy_from_slice(&check.to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<[u64; 3]> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
    let words = [word(0)?, word(1)?, word(2)?];
    (word(3)? == check(&bytes[..24])).then_some(words)
}

fn check(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_up_to_the_first_that_is_not_whole() {
        let kind = Kind { block: 4 << 20, codec: 6 };
        let blocks = [
            Block { to: 258, plain: 1, packed: u32::MAX, lines: 3 },
            Block { to: 1 << 40, plain: u32::MAX, packed: 2, lines: 0 },
        ];
        let mut data = kind.bytes().to_vec();
        assert_eq!(data[..16], *b"\x01\x50\x6d\x61\x6a\x67\x6f\x6c\x00\x00\x40\x00\x00\x00\x00\x00");
        blocks.iter().for_each(|block| data.extend(block.bytes()));
        assert_eq!(data[40..48], [1, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(read(&data, kind).as_deref(), Some(&blocks[..]));
        assert_eq!(read(&data[..95], kind).as_deref(), Some(&blocks[..1]));
        data[70] ^= 1;
        assert_eq!(read(&data, kind).as_deref(), Some(&blocks[..1]));
        assert_eq!(read(&data, Kind { codec: 5, ..kind }), None);
        assert_eq!(read(&data[..31], kind), None);
        assert_eq!(read_any(&data), Some((kind, blocks[..1].to_vec())));
        assert_eq!(read_any(&data[..31]), None);
    }
}
