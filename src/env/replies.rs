//! Replies to the daemon (rsyslog, omprog, `confirmMessages="on"`): whole, in one system call each, and countable.
//!
//! With a guard the replies lie ready in pipes that the guard holds too ([`Tokens`]), and splice(2) moves one of them to
//! standard output. It is in the one pipe or in the other, so a worker that takes over knows whether its predecessor had sent it: a
//! reply sent twice would confirm a message that nobody has yet.

use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::libc;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Ready; kept; committed.
    Ok,
    /// Kept, in a transaction.
    Defer,
}

impl Reply {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Ok, Self::Defer];

    /// As it is sent (rsyslog documentation, omprog, "confirmMessages" and "useTransactions").
    pub fn text(self) -> &'static [u8] {
        match self {
            Self::Ok => b"OK\n",
            Self::Defer => b"DEFER_COMMIT\n",
        }
    }
}

/// How much is put into a pipe of replies at a time, in bytes: no more than fits into a pipe of one page (pipe(7)).
const FILL: usize = 4096;

nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);

/// Bytes that lie in a pipe; asked at either end. 0 for what is no pipe.
fn lying(fd: BorrowedFd<'_>) -> usize {
    let mut count = 0;
    // SAFETY: FIONREAD writes one int (pipe(7)).
    match unsafe { fionread(fd.as_raw_fd(), &raw mut count) } {
        Ok(_) => usize::try_from(count).unwrap_or(0),
        Err(_) => 0,
    }
}

/// Pipes of replies that are ready to be sent.
pub struct Tokens([(OwnedFd, OwnedFd); 2]);

impl Tokens {
    /// Two empty pipes.
    pub fn new() -> Option<Self> {
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok();
        Some(Self([pipe()?, pipe()?]))
    }

    fn pipe(&self, reply: Reply) -> &(OwnedFd, OwnedFd) {
        &self.0[reply as usize]
    }

    /// How many of these are left.
    pub fn left(&self, reply: Reply) -> u64 {
        (lying(self.pipe(reply).0.as_fd()) / reply.text().len()) as u64
    }

    /// Fills an empty pipe: how many there are now.
    fn fill(&self, reply: Reply) -> std::result::Result<u64, Errno> {
        let some = reply.text().repeat(FILL / reply.text().len());
        nix::unistd::write(&self.pipe(reply).1, &some)?;
        Ok(self.left(reply))
    }
}

/// Where replies go.
pub struct Replies {
    out: OwnedFd,
    tokens: Option<&'static Tokens>,
    /// How many of each kind lie ready.
    left: [u64; 2],
    gone: bool,
}

impl Replies {
    /// Replies to standard output, before the first `OK`.
    pub fn early() -> Result<Self> {
        let out = std::io::stdout().as_fd().try_clone_to_owned();
        out.map(|out| Self::new(out, None)).map_err(|e| Error::io("open", "standard output", &e))
    }

    /// Replies to standard output. From now on nothing else of this process reaches it.
    pub fn stdout(tokens: Option<&'static Tokens>) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io("open", "standard output", &e);
        let out = Self::early()?.out;
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").map_err(failed)?;
        nix::unistd::dup2_stdout(&null).map_err(|e| failed(e.into()))?;
        Ok(Self::new(out, tokens))
    }

    /// Replies to any descriptor.
    pub fn new(out: OwnedFd, tokens: Option<&'static Tokens>) -> Self {
        let left = tokens.map_or([0, 0], |tokens| Reply::ALL.map(|reply| tokens.left(reply)));
        Self { out, tokens, left, gone: false }
    }

    /// How many replies of a kind lie ready, after filling up if there are none; 0 if they are not counted.
    pub fn ready(&mut self, reply: Reply) -> u64 {
        let Some(tokens) = self.tokens else { return 0 };
        let left = &mut self.left[reply as usize];
        if *left == 0 {
            *left = tokens.fill(reply).unwrap_or(0);
        }
        if *left == 0 {
            self.tokens = None;
        }
        self.left[reply as usize]
    }

    /// Whether they are counted.
    pub fn counted(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whether a reply was sent, given how many lay ready before; `None` if they are not counted.
    pub fn sent(&self, reply: Reply, before: u64) -> Option<bool> {
        self.tokens.map(|tokens| tokens.left(reply) < before)
    }

    /// Sends one. Whoever calls this must hold the proof that the message is kept. `before` is called at the last moment
    /// before the system call: if the process is killed earlier, the reply was not sent. False if nobody is there to read
    /// it: then nobody ever will be.
    pub fn send(&mut self, reply: Reply, before: impl FnOnce()) -> bool {
        let text = reply.text();
        let Some(tokens) = self.tokens else {
            before();
            return self.write(text);
        };
        let (from, to, flags) = (&tokens.pipe(reply).0, &self.out, SpliceFFlags::empty());
        before();
        loop {
            match splice(from, None, to, None, text.len(), flags) {
                Ok(n) if n == text.len() => {
                    self.left[reply as usize] -= 1;
                    return true;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE) => {
                    self.gone = true;
                    return false;
                }
                // Standard output is no pipe.
                _ => {
                    self.tokens = None;
                    return self.write(text);
                }
            }
        }
    }

    /// Says that this takes a while: the daemon waits on (rsyslog documentation, omprog, "confirmTimeout").
    pub fn dot(&mut self) {
        self.write(b".");
    }

    /// One short line that is no `OK`: what it answers has failed.
    pub fn error(&mut self, text: &str) {
        let line: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        self.write(format!("Error: {line}\n").as_bytes());
    }

    fn write(&mut self, text: &[u8]) -> bool {
        loop {
            match nix::unistd::write(&self.out, text) {
                Ok(_) => return true,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.gone = true;
                    return false;
                }
            }
        }
    }

    /// Whether the reader was found to be gone.
    pub fn gone(&self) -> bool {
        self.gone
    }

    /// Whether the last reply still lies in the pipe: nobody has read it.
    pub fn unread(&self, reply: Reply) -> bool {
        let pipe = nix::fcntl::fcntl(&self.out, nix::fcntl::FcntlArg::F_GETPIPE_SZ).is_ok();
        pipe && lying(self.out.as_fd()) >= reply.text().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_left_tells_what_was_sent() {
        let tokens: &'static Tokens = Box::leak(Box::new(Tokens::new().unwrap()));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut replies = Replies::new(writer.into(), Some(tokens));
        let mut all = Vec::new();
        for n in 0..3000 {
            let reply = Reply::ALL[n % 2];
            let before = replies.ready(reply);
            assert_eq!(replies.sent(reply, before), Some(false));
            assert!(replies.send(reply, || ()));
            assert_eq!(replies.sent(reply, before), Some(true));
            assert!(replies.unread(reply));
            let mut said = vec![0; 64];
            let n = reader.read(&mut said).unwrap();
            assert_eq!(&said[..n], reply.text());
            assert!(!replies.unread(reply));
            all.push(reply);
        }
        drop(reader);
        let before = replies.ready(Reply::Ok);
        assert!(!replies.send(Reply::Ok, || ()) && replies.gone());
        assert_eq!(replies.sent(Reply::Ok, before), Some(false));
    }

    #[test]
    fn what_is_no_pipe_gets_the_same_words() {
        let tokens: &'static Tokens = Box::leak(Box::new(Tokens::new().unwrap()));
        let file = tempfile::tempfile().unwrap();
        let mut replies = Replies::new(file.try_clone().unwrap().into(), Some(tokens));
        replies.dot();
        replies.ready(Reply::Ok);
        assert!(replies.send(Reply::Ok, || ()) && replies.send(Reply::Defer, || ()));
        replies.error("no\nroom");
        let mut said = String::new();
        std::io::Seek::rewind(&mut &file).unwrap();
        (&file).read_to_string(&mut said).unwrap();
        assert_eq!(said, ".OK\nDEFER_COMMIT\nError: noroom\n");
    }
}
