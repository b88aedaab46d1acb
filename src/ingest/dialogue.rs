//! The dialogue with a daemon that wants every message confirmed (rsyslog documentation, omprog, `confirmMessages` and
//! `useTransactions`).
//!
//! The daemon writes a message, waits for one line in reply, and only then writes the next. So a read that empties the
//! pipe and ends with a newline is one message, whatever newlines are in it. The message is read into memory that
//! the guard holds as well, and where it stands is in the session's record: when this process is killed, the next worker
//! goes on at that very point, and the daemon does not notice.

use crate::env::input::Input;
use crate::env::record::{Record, Step};
use crate::env::replies::Reply;
use crate::env::slate::Buffer;
use crate::error::Result;
use crate::ingest::End;
pub use crate::ingest::pulse::{DOT, Pulse};
use crate::spool::proof::{Kept, Synced};
use std::sync::Arc;
use std::time::Duration;

/// Size of the buffer, in bytes. Only what is used of it takes memory. A longer message is kept in pieces.
pub const BUFFER: usize = 16 << 20;

/// What keeps the messages.
pub trait Keeper {
    /// Keeps a message, however long that takes. `None`: the program leaves, and the message is not kept.
    fn keep(&self, message: &[u8]) -> Option<Kept>;
    /// Makes what was kept since the last commit durable. An error: it is not, and has to come again. `None` as above.
    fn commit(&self) -> Option<Result<Synced>>;
}

/// The marks around a transaction, each with the newline at its end.
#[derive(Clone, Debug)]
pub struct Marks {
    /// `beginTransactionMark`.
    pub begin: Vec<u8>,
    /// `commitTransactionMark`.
    pub commit: Vec<u8>,
}

/// How messages are told apart, and whether they are answered.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Each message is answered.
    Messages,
    /// Each is answered, and they come in transactions.
    Transactions(Marks),
    /// Each line is a message; none is answered.
    Silent,
}

/// One side of the dialogue: ours.
pub struct Dialogue<'a> {
    input: &'a Input,
    session: Record,
    buffer: Buffer,
    pulse: Arc<Pulse>,
    mode: Mode,
    keeper: &'a dyn Keeper,
    /// Bytes in the buffer.
    have: usize,
    /// The last reply, if one was sent.
    last: Option<Reply>,
    /// The last reply was not read, and the session's record says so.
    unread: bool,
}

/// Whether the dialogue goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    On,
    Leave,
}

impl<'a> Dialogue<'a> {
    /// A dialogue about `input`; `session` and `buffer` may be those of an earlier worker.
    pub fn new(
        input: &'a Input,
        (session, buffer): (Record, Buffer),
        pulse: Arc<Pulse>,
        mode: Mode,
        keeper: &'a dyn Keeper,
    ) -> Self {
        Self { input, session, buffer, pulse, mode, keeper, have: 0, last: None, unread: false }
    }

    /// Speaks until the daemon leaves, or the program does. `taken_over`: an earlier worker has begun the session.
    pub fn run(mut self, taken_over: bool) -> Result<End> {
        let mut drained = false;
        if taken_over {
            if self.take_over() == Next::Leave {
                return Ok(End::Drained);
            }
            drained = !self.input.wait(None, Some(Duration::ZERO))?.input;
        } else if !self.is_silent() {
            // Ready.
            self.reply(Reply::Ok, false, 0);
        }
        while self.read(&mut drained)? {
            if self.take_in() == Next::Leave {
                return Ok(End::Drained);
            }
        }
        self.at_the_end();
        Ok(End::Input)
    }

    fn is_silent(&self) -> bool {
        matches!(self.mode, Mode::Silent)
    }

    /// Goes on where another worker was killed.
    fn take_over(&mut self) -> Next {
        let known = self.session.have();
        // It may have read more than it wrote down: the rest of the buffer is 0.
        let rest = &self.buffer.bytes()[known..];
        self.have = known + memchr::memchr(0, rest).unwrap_or(rest.len());
        match self.session.step() {
            Step::Read => {
                self.cleared_if_done();
                Next::On
            }
            Step::Append | Step::Kept | Step::Again | Step::Commit => self.take_in(),
            Step::Refused if self.is_commit() => {
                self.refused("the disk failed to keep it");
                Next::On
            }
            Step::Refused => {
                self.session.next_at(0);
                self.take_in()
            }
            // Not even the greeting was about to be sent.
            Step::Ok if self.session.ready() == 0 && self.pulse.lock().counted() => {
                self.reply(Reply::Ok, false, 0);
                Next::On
            }
            step @ (Step::Ok | Step::Defer) => {
                let reply = if step == Step::Ok { Reply::Ok } else { Reply::Defer };
                let mut replies = self.pulse.lock();
                // Where they are not counted, it counts as sent: the daemon asks again if it was not.
                let sent = replies.sent(reply, self.session.ready()).unwrap_or(true) || replies.send(reply, || ());
                drop(replies);
                self.replied(reply, sent);
                Next::On
            }
        }
    }

    /// Whether the message at hand is the mark that commits.
    fn is_commit(&self) -> bool {
        matches!(&self.mode, Mode::Transactions(marks) if self.buffer.bytes()[..self.have] == marks.commit)
    }

    /// Reads until a message is there: false at the end of the input. `drained`: the pipe was found empty.
    fn read(&mut self, drained: &mut bool) -> Result<bool> {
        loop {
            let all = self.buffer.bytes();
            let message = &all[self.session.at()..self.have];
            let whole = match self.mode {
                Mode::Silent => memchr::memchr(b'\n', message).is_some(),
                _ => *drained && message.last() == Some(&b'\n'),
            };
            if whole || self.have == all.len() {
                return Ok(true);
            }
            let room = all.len() - self.have;
            match self.input.read(&mut self.buffer.bytes_mut()[self.have..])? {
                Some(0) => return Ok(false),
                Some(n) => {
                    self.have += n;
                    self.session.set_have(self.have);
                    *drained = n < room;
                }
                None => {
                    *drained = true;
                    self.input.wait(None, None)?;
                }
            }
        }
    }

    /// Takes in what is in the buffer.
    fn take_in(&mut self) -> Next {
        if !self.is_silent() {
            return self.message(0, self.have);
        }
        loop {
            let at = self.session.at();
            let line = memchr::memchr(b'\n', &self.buffer.bytes()[at..self.have]);
            let end = match line {
                Some(len) => at + len + 1,
                None if self.have == self.buffer.bytes().len() => self.have,
                None => return Next::On,
            };
            if self.message(at, end) == Next::Leave {
                return Next::Leave;
            }
            self.session.next_at(end);
            if self.cleared_if_done() {
                return Next::On;
            }
        }
    }

    /// One message, or a piece of one that is longer than the buffer.
    fn message(&mut self, from: usize, to: usize) -> Next {
        if std::mem::take(&mut self.unread) {
            // More comes although nobody hears: what was unread before is not known for sure any more.
            self.session.replied();
        }
        self.pulse.begins();
        let text = &self.buffer.bytes()[from..to];
        let done = match &self.mode {
            Mode::Silent => return self.keeper.keep(text).map_or(Next::Leave, |_kept| Next::On),
            _ if to == self.buffer.bytes().len() => {
                let kept = self.keeper.keep(text);
                self.clear();
                self.session.next_at(0);
                return kept.map_or(Next::Leave, |_kept| Next::On);
            }
            Mode::Transactions(marks) if text == marks.begin => {
                // Nothing hangs on that.
                self.reply(Reply::Ok, true, 0);
                Some(())
            }
            Mode::Transactions(marks) if text == marks.commit => self.commit(),
            _ => self.keep(to),
        };
        done.map_or(Next::Leave, |()| Next::On)
    }

    /// Keeps the message at hand and says so.
    fn keep(&mut self, end: usize) -> Option<()> {
        self.pulse.owe();
        loop {
            let kept = self.keeper.keep(&self.buffer.bytes()[..end])?;
            if self.session.in_transaction() {
                self.deferred(&kept);
                return Some(());
            }
            match self.keeper.commit()? {
                Ok(synced) => {
                    self.confirmed(&kept, &synced);
                    return Some(());
                }
                Err(e) => {
                    tracing::error!("{e}; the message goes to another file");
                    self.session.next_at(0);
                }
            }
        }
    }

    fn commit(&mut self) -> Option<()> {
        self.pulse.owe();
        self.session.commits();
        match self.keeper.commit()? {
            Ok(synced) => self.committed(&synced),
            Err(e) => {
                tracing::error!("{e}; the daemon is asked to send the transaction again");
                self.refused(&e.to_string());
            }
        }
        Some(())
    }

    fn deferred(&mut self, _: &Kept) {
        self.reply(Reply::Defer, true, self.session.count() + 1);
    }

    fn confirmed(&mut self, _: &Kept, _: &Synced) {
        self.reply(Reply::Ok, false, 0);
        self.count(1);
    }

    fn committed(&mut self, _: &Synced) {
        let count = self.session.count();
        self.reply(Reply::Ok, false, 0);
        self.count(count);
    }

    /// So many messages have got their answer, if it was sent.
    fn count(&self, messages: u64) {
        if !self.unread {
            self.pulse.confirms(messages);
        }
    }

    /// The one error that is sent: everything since the last commit comes again, and nothing of it is kept.
    fn refused(&mut self, why: &str) {
        let mut replies = self.pulse.lock();
        self.pulse.owes_nothing();
        replies.error(why);
        drop(replies);
        self.last = None;
        self.clear();
        self.session.fails();
    }

    /// `open`, `count`: whether a transaction is open from then on, and how many lines are in it.
    fn reply(&mut self, reply: Reply, open: bool, count: u64) {
        let step = if reply == Reply::Ok { Step::Ok } else { Step::Defer };
        let mut replies = self.pulse.lock();
        self.pulse.owes_nothing();
        let ready = replies.ready(reply);
        self.session.replies(ready, open, count);
        let session = &self.session;
        let sent = replies.send(reply, || session.confirms(step));
        drop(replies);
        self.replied(reply, sent);
    }

    fn replied(&mut self, reply: Reply, sent: bool) {
        self.clear();
        if sent {
            self.last = Some(reply);
            self.session.replied();
        } else {
            self.last = None;
            self.unread = true;
            self.session.unread();
        }
    }

    fn clear(&mut self) {
        self.buffer.clear(self.have);
        self.have = 0;
        self.session.set_have(0);
    }

    /// Empties a buffer of which every line is taken in.
    fn cleared_if_done(&mut self) -> bool {
        let at = self.session.at();
        let done = at >= self.have;
        if done {
            self.have = at.max(self.have);
            self.clear();
            self.session.next_at(0);
        }
        done
    }

    /// The end of the input: a message without its end was never confirmed, and a reply that nobody read did not arrive.
    fn at_the_end(&mut self) {
        let rest = self.have - self.session.at();
        if rest > 0 && self.is_silent() {
            self.buffer.bytes_mut()[self.have] = b'\n';
            self.have += 1;
            self.take_in();
        } else if rest > 0 {
            tracing::warn!("the last {rest} bytes of the input are no whole message and were not confirmed; left out");
        }
        if self.last.is_some_and(|reply| self.pulse.lock().unread(reply)) {
            self.session.unread();
        }
    }
}
