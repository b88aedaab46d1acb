//! The record of a session: where a dialogue with a daemon stands, in shared memory, so that whoever takes over goes on from
//! there, and knows which lines were not surely confirmed. [`crate::format::session`] says what stands where.

use super::fs::FileId;
use super::slate::Slate;
pub use crate::format::session::Step;
use crate::format::session::{
    AT, BEGUN, BOOT, BYTES, COMMITTED, COUNT, FILE, FROM, HASHES, HAVE, IDENTIFIED, KEY, LAST, LINES, MAGIC, NAME,
    NAME_WORDS, OPEN, READY, SEEN, STEP, THEN,
};
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The key of the hash of the system's life: any, as long as it stays.
const PUBLIC: (u64, u64) = (0, 0);

/// Where a message is being appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub name: String,
    /// Which file it is.
    pub id: FileId,
    /// Its length before.
    pub from: u64,
    /// The message's length.
    pub bytes: u64,
}

/// A record. All of its handles show the same one.
#[derive(Clone)]
pub struct Record(Slate);

impl Record {
    /// A new record: nothing is open, and the first `OK` has not been sent. `boot`: as [`super::fs::Fs::boot`].
    pub fn begin(slate: Slate, boot: &str) -> Self {
        let record = Self(slate);
        record.put_pair(BOOT, hash(PUBLIC, boot.as_bytes()));
        record.put_pair(KEY, [fastrand::u64(..), fastrand::u64(..)]);
        record.set_step(Step::Ok);
        record.0.words()[BEGUN].store(MAGIC, Release);
        record
    }

    /// The record that is there; `None` if it is none of this life of the system.
    pub fn open(slate: Slate, boot: &str) -> Option<Self> {
        let record = Self(slate);
        let begun = record.0.words()[BEGUN].load(Acquire) == MAGIC;
        (begun && record.pair(BOOT) == hash(PUBLIC, boot.as_bytes())).then_some(record)
    }

    fn get(&self, at: usize) -> u64 {
        self.0.words()[at].load(Relaxed)
    }

    fn put(&self, at: usize, word: u64) {
        self.0.words()[at].store(word, Relaxed);
    }

    fn pair(&self, at: usize) -> [u64; 2] {
        [self.get(at), self.get(at + 1)]
    }

    fn put_pair(&self, at: usize, pair: [u64; 2]) {
        self.put(at, pair[0]);
        self.put(at + 1, pair[1]);
    }

    /// Where it stands.
    pub fn step(&self) -> Step {
        // A number that nobody wrote: take it for the one that promises nothing.
        Step::from_word(self.0.words()[STEP].load(Acquire)).unwrap_or(Step::Read)
    }

    fn set_step(&self, step: Step) {
        self.0.words()[STEP].store(step as u64, Release);
    }

    /// Whether a message or a commit is in hand that no reply was sent to.
    pub fn is_in_hand(&self) -> bool {
        matches!(self.step(), Step::Append | Step::Kept | Step::Again | Step::Commit)
    }

    /// How many bytes of the message in the buffer are known to be there.
    pub fn have(&self) -> usize {
        usize::try_from(self.get(HAVE)).unwrap_or(0)
    }

    /// Notes that there are so many.
    pub fn set_have(&self, bytes: usize) {
        self.put(HAVE, bytes as u64);
    }

    /// Where in the buffer the message at hand begins.
    pub fn at(&self) -> usize {
        usize::try_from(self.get(AT)).unwrap_or(0)
    }

    /// The message at hand is done with, and the next one begins there.
    pub fn next_at(&self, at: usize) {
        self.put(AT, at as u64);
        self.set_step(Step::Read);
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.get(OPEN) != 0
    }

    /// Hash of a line, by this session's key.
    fn hash(&self, line: &[u8]) -> [u64; 2] {
        let [one, other] = self.pair(KEY);
        hash((one, other), line)
    }

    fn line(&self, number: u64) -> Option<[u64; 2]> {
        let number = usize::try_from(number).ok().filter(|number| *number < LINES)?;
        Some(self.pair(HASHES + 2 * number))
    }

    fn remember(&self, line: &[u8]) {
        if let Some(number) = usize::try_from(self.get(COUNT)).ok().filter(|number| *number < LINES) {
            self.put_pair(HASHES + 2 * number, self.hash(line));
        }
    }

    /// Names the file that messages are appended to from now on, and how long it was at the last commit.
    pub fn names(&self, name: &str, id: FileId, committed: u64) {
        // Until all of it is said it is about no file.
        self.put_pair(FILE, [0, 0]);
        self.set_committed(committed);
        let mut words = name.as_bytes().chunks(8);
        for at in 0..NAME_WORDS {
            let mut eight = [0; 8];
            let bytes = words.next().unwrap_or_default();
            eight[..bytes.len()].copy_from_slice(bytes);
            self.put(NAME + 1 + at, u64::from_le_bytes(eight));
        }
        self.put(NAME, name.len() as u64);
        self.put_pair(FILE, [id.0, id.1]);
    }

    /// Before a message is appended to that file, which is `from` bytes long.
    pub fn appends(&self, message: &[u8], from: u64) {
        self.remember(message);
        self.put(FROM, from);
        self.put(BYTES, message.len() as u64);
        self.set_step(Step::Append);
    }

    /// Where the message at hand is being appended, if it is.
    pub fn place(&self) -> Option<Place> {
        if self.step() != Step::Append {
            return None;
        }
        let (name, id) = self.file_named();
        Some(Place { name, id, from: self.get(FROM), bytes: self.get(BYTES) })
    }

    /// The file that was appended to last: its name and which one it is.
    pub fn file_named(&self) -> (String, FileId) {
        let bytes: Vec<u8> = (0..NAME_WORDS).flat_map(|at| self.get(NAME + 1 + at).to_le_bytes()).collect();
        let len = usize::try_from(self.get(NAME)).unwrap_or(0).min(bytes.len());
        let name = String::from_utf8_lossy(&bytes[..len]).into_owned();
        let [dev, ino] = self.pair(FILE);
        (name, (dev, ino))
    }

    /// The append did not come about, and nothing of it is in the file.
    pub fn appends_not(&self) {
        self.set_step(Step::Read);
    }

    /// The message at hand was recognised as one that is kept already. `before` is called directly before the record says so.
    pub fn again(&self, line: &[u8], before: impl FnOnce()) {
        self.remember(line);
        before();
        self.set_step(Step::Again);
    }

    /// The transaction is being committed.
    pub fn commits(&self) {
        self.set_step(Step::Commit);
    }

    /// Length of the named file at the last commit.
    pub fn committed(&self) -> u64 {
        self.get(COMMITTED)
    }

    /// Notes how long it was.
    pub fn set_committed(&self, len: u64) {
        self.put(COMMITTED, len);
    }

    /// A sync failed: what comes after `len` in the named file is not known to be on the disk, and is about to be taken out.
    pub fn refuses(&self, len: u64) {
        self.set_committed(len);
        self.set_step(Step::Refused);
    }

    /// A reply is about to be sent. `ready`: how many lie ready. `open`, `count`: whether a transaction is open afterwards,
    /// and its lines.
    pub fn replies(&self, ready: u64, open: bool, count: u64) {
        let about = match self.step() {
            Step::Commit => Step::Commit,
            Step::Append | Step::Kept | Step::Again => Step::Kept,
            // A mark, or the greeting: no line hangs on it.
            Step::Read | Step::Refused | Step::Ok | Step::Defer => Step::Read,
        };
        self.put(LAST, about as u64);
        self.put(LAST + 1, self.get(COUNT));
        self.put(READY, ready);
        self.put_pair(THEN, [count, u64::from(open)]);
    }

    /// To be called directly before the reply is sent, with `Step::Ok` or `Step::Defer`: from here on it may have been read.
    pub fn confirms(&self, step: Step) {
        self.set_step(step);
    }

    /// How many replies lay ready before the one at hand.
    pub fn ready(&self) -> u64 {
        self.get(READY)
    }

    /// Lines of this transaction.
    pub fn count(&self) -> u64 {
        self.get(COUNT)
    }

    /// The reply is sent and the buffer empty: reading goes on.
    pub fn replied(&self) {
        self.put_pair(COUNT, self.pair(THEN));
        self.set_step(Step::Read);
    }

    /// The transaction failed: none of its lines is kept.
    pub fn fails(&self) {
        self.put_pair(THEN, [0, 0]);
        self.replied();
    }

    /// The last reply was surely not read by anybody.
    pub fn unread(&self) {
        self.put(COUNT, self.get(LAST + 1));
        self.set_step(Step::from_word(self.get(LAST)).unwrap_or(Step::Read));
    }

    /// A later session looks at what became of an append: it is kept, or not.
    pub fn settle(&self, kept: bool) {
        self.set_step(if kept { Step::Kept } else { Step::Read });
    }

    /// The first and the last (exclusive) of the lines that were surely not confirmed.
    fn open_lines(&self) -> std::ops::Range<u64> {
        let count = self.get(COUNT);
        match self.step() {
            Step::Kept | Step::Again => count..count + 1,
            Step::Commit => 0..count.min(LINES as u64),
            Step::Read | Step::Append | Step::Refused | Step::Ok | Step::Defer => 0..0,
        }
    }

    /// Its lines have identities: they are recognised by these.
    pub fn set_identified(&self) {
        self.put(IDENTIFIED, 1);
    }

    /// Whether lines are left that a resend may bring again.
    pub fn owes(&self) -> bool {
        self.get(IDENTIFIED) == 0 && self.next_line().is_some()
    }

    fn next_line(&self) -> Option<[u64; 2]> {
        let lines = self.open_lines();
        let next = lines.start + self.get(SEEN);
        lines.contains(&next).then(|| self.line(next)).flatten()
    }

    /// Whether this line is in its hands, not confirmed yet; its process may be alive.
    pub fn holds(&self, line: &[u8]) -> bool {
        match self.step() {
            Step::Append => self.line(self.get(COUNT)).is_some_and(|held| held == self.hash(line)),
            _ => self.expects(line),
        }
    }

    /// Whether this is the line that comes next, should what was not confirmed come again.
    pub fn expects(&self, line: &[u8]) -> bool {
        self.next_line().is_some_and(|next| next == self.hash(line))
    }

    /// That line came, and is about to be confirmed.
    pub fn recognised(&self) {
        self.put(SEEN, self.get(SEEN) + 1);
    }
}

fn hash((one, other): (u64, u64), data: &[u8]) -> [u64; 2] {
    let mut hasher = SipHasher13::new_with_keys(one, other);
    hasher.write(data);
    let hash = hasher.finish128();
    [hash.h1, hash.h2]
}
