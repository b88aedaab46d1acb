//! Identities of lines, as they are remembered: records of 32 bytes, one behind the other, each little-endian.
//!
//! | bytes | content |
//! |---|---|
//! | 0 to 15 | SipHash-1-3 (128 bit, key 0) of identity, blank and line; all ones: the file has ended |
//! | 16 to 23 | length of the hour file with this line; at the file's end, its length |
//! | 24 to 31 | check: SipHash-1-3 (64 bit, key 0) of the bytes before |

use siphasher::sip::SipHasher13;
use siphasher::sip128::Hasher128;
use std::hash::Hasher;

/// Size of a record, in bytes.
pub const SIZE: usize = 32;
/// Stands for the end of the file.
pub const END: u128 = u128::MAX;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Hash of the message, its identity included, or [`END`].
    pub hash: u128,
    /// Length of the hour file with its line.
    pub to: u64,
}

impl Identity {
    /// The hash of a message.
    pub fn hash_of(message: &[u8]) -> u128 {
        let mut hasher = siphasher::sip128::SipHasher13::new();
        hasher.write(message);
        hasher.finish128().as_u128()
    }

    /// As it is written.
    pub fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..16].copy_from_slice(&self.hash.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.to.to_le_bytes());
        let check = check(&bytes[..24]);
        bytes[24..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads one; `None` if it is none, as after a power cut.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk::<16>()?;
        let (to, rest) = rest.split_first_chunk::<8>()?;
        let (sum, _) = rest.split_first_chunk::<8>()?;
        (u64::from_le_bytes(*sum) == check(&bytes[..24]))
            .then(|| Self { hash: u128::from_le_bytes(*hash), to: u64::from_le_bytes(*to) })
    }
}

fn check(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Takes the identity off a message: identity and line. `None` if it begins with a blank or holds none.
pub fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = memchr::memchr(b' ', message).filter(|at| *at > 0)?;
    Some((&message[..blank], &message[blank + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_this() {
        let identity = Identity { hash: Identity::hash_of(b"4F8A"), to: 258 };
        let bytes = identity.bytes();
        assert_eq!(bytes[16..24], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Identity::hash_of(b""), 0xb91c_5ed0_31fb_3303_2134_935d_61d9_b40d_u128);
        assert_eq!(Identity::parse(&bytes), Some(identity));
        assert_eq!(Identity::parse(&[0; SIZE]), None);
        assert_eq!(Identity::parse(&bytes[..31]), None);
    }

    #[test]
    fn the_first_word_is_taken_off() {
        assert_eq!(split(b"id a line\n"), Some((&b"id"[..], &b"a line\n"[..])));
        assert_eq!(split(b"id \n"), Some((&b"id"[..], &b"\n"[..])));
        assert_eq!(split(b"id  x\n"), Some((&b"id"[..], &b" x\n"[..])));
        assert_eq!(split(b" x\n"), None);
        assert_eq!(split(b"word\n"), None);
    }
}
