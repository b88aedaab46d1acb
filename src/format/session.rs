//! The record of a session, which is one dialogue with one daemon: where it stands, so that whoever takes over goes on from there. It is
//! a row of 64-bit words in shared memory; each is written by itself, and [`STEP`] is written last.

/// In the first word: what this is, and its version.
pub const MAGIC: u64 = 0x6c6f_676a_616d_0001;
/// How many lines that are not surely confirmed are remembered: those of one transaction.
pub const LINES: usize = 16_384;

/// [`MAGIC`], once everything else is in place.
pub const BEGUN: usize = 0;
/// Hash of the system's `boot_id`, 2 words: in another life of the system nothing here counts.
pub const BOOT: usize = 1;
/// Key of the lines' hashes (SipHash-1-3, 128 bit), 2 words.
pub const KEY: usize = 3;
/// Where the dialogue stands: [`Step`].
pub const STEP: usize = 5;
/// How many replies lay ready before this one is sent.
pub const READY: usize = 6;
/// Bytes of the message in the buffer, as far as that was written down.
pub const HAVE: usize = 7;
/// Where in the buffer the message begins.
pub const AT: usize = 17;
/// The file that the message is appended to: device, inode.
pub const FILE: usize = 8;
/// Its length before.
pub const FROM: usize = 10;
/// Bytes that are appended.
pub const BYTES: usize = 11;
/// Lines of this transaction so far; outside of one, 0.
pub const COUNT: usize = 12;
/// Whether a transaction is open.
pub const OPEN: usize = 13;
/// [`COUNT`] and [`OPEN`] once the reply is sent.
pub const THEN: usize = 14;
/// Lines that a later session has recognised.
pub const SEEN: usize = 16;
/// What the last reply was about: [`Step`] and [`COUNT`] before it.
pub const LAST: usize = 18;
/// Length of the file's name in bytes, then the name.
pub const NAME: usize = 20;
/// Words of the name.
pub const NAME_WORDS: usize = 32;
/// Length of that file at the last commit.
pub const COMMITTED: usize = 54;
/// Whether lines have identities.
pub const IDENTIFIED: usize = 53;
/// Hashes of the lines of this transaction, or of the one message, 2 words each.
pub const HASHES: usize = 64;
/// All of it.
pub const WORDS: usize = HASHES + 2 * LINES;

/// Where the dialogue stands. The number is what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Step {
    /// A message is read, or waited for. Nothing is owed.
    Read = 0,
    /// A message is being appended: it is kept if the file has grown by its length. No reply was sent.
    Append = 1,
    /// The message is kept, and its reply has surely not been read.
    Kept = 2,
    /// The message was kept in an earlier session. No reply was sent.
    Again = 3,
    /// The transaction is being committed. No reply was sent.
    Commit = 4,
    /// A sync failed. What was to be confirmed with it is not to be kept; a commit is to be answered with an error.
    Refused = 7,
    /// `OK` is sent, or was.
    Ok = 5,
    /// `DEFER_COMMIT` is sent, or was.
    Defer = 6,
}

impl Step {
    /// The step with this number.
    pub fn from_word(word: u64) -> Option<Self> {
        use Step::{Again, Append, Commit, Defer, Kept, Ok, Read, Refused};
        [Read, Append, Kept, Again, Commit, Ok, Defer, Refused].into_iter().find(|step| *step as u64 == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        const { assert!(NAME + 1 + NAME_WORDS <= IDENTIFIED && COMMITTED < HASHES) };
        for (at, after) in [(BOOT, KEY), (KEY, STEP), (FILE, FROM), (THEN, SEEN), (LAST, NAME)] {
            assert_eq!(at + 2, after);
        }
        assert_eq!(Step::from_word(Step::Defer as u64), Some(Step::Defer));
        assert_eq!(Step::from_word(8), None);
    }
}
