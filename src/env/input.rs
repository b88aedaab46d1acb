//! The input: a pipe, file, socket or terminal on standard input, waited for together with signals.

use super::signals::Signals;
use crate::error::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The size that a pipe is given, in bytes: what an unprivileged process may ask for (pipe(7), `pipe-max-size`).
pub const PIPE_SIZE: usize = 1 << 20;

/// What there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read; of what is no pipe, perhaps the end.
    pub input: bool,
    /// All writers are gone; there may still be something to read.
    pub hung_up: bool,
    /// A signal is pending.
    pub signal: bool,
}

/// The input.
pub struct Input {
    fd: OwnedFd,
    pipe: Option<usize>,
}

impl Input {
    /// Standard input; a pipe is made as large as it may be.
    pub fn stdin() -> Result<Self> {
        let fd = std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| Error::io("open", "standard input", &e))?;
        Ok(Self::new(fd))
    }

    /// Any descriptor; a pipe is made as large as it may be.
    pub fn new(fd: OwnedFd) -> Self {
        let size = || fcntl(&fd, FcntlArg::F_GETPIPE_SZ).ok().and_then(|n| usize::try_from(n).ok());
        let before = size();
        if before.is_some_and(|n| n < PIPE_SIZE) {
            // Refused to a user with many large pipes (pipe(7)): the small one works, only dearer.
            let _ = fcntl(&fd, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE as i32));
        }
        let pipe = size();
        Self { fd, pipe }
    }

    /// Another handle of the same input.
    pub fn again(&self) -> Result<Self> {
        let fd = self.fd.try_clone().map_err(|e| Error::io("open", "standard input", &e))?;
        Ok(Self { fd, pipe: self.pipe })
    }

    /// The pipe's size in bytes; `None` if the input is no pipe.
    pub fn pipe_size(&self) -> Option<usize> {
        self.pipe
    }

    /// Which pipe it is: device and inode number, without blanks. A later process that is given the same pipe, in the same
    /// life of the system, goes on in the same stream of bytes. `None` if the input is no pipe.
    pub fn identity(&self) -> Option<String> {
        self.pipe?;
        let stat = nix::sys::stat::fstat(&self.fd).ok()?;
        Some(format!("{}:{}", stat.st_dev, stat.st_ino))
    }

    /// Waits until there is something to do, or `timeout` is over (`None`: for ever).
    pub fn wait(&self, signals: Option<&Signals>, timeout: Option<Duration>) -> Result<Ready> {
        self.poll(PollFlags::POLLIN, signals, timeout)
    }

    fn poll(&self, events: PollFlags, signals: Option<&Signals>, timeout: Option<Duration>) -> Result<Ready> {
        let timeout = match timeout {
            None => PollTimeout::NONE,
            // Rounded up: a wait must not end before its time.
            Some(time) => PollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX),
        };
        let mut fds = vec![PollFd::new(self.fd.as_fd(), events)];
        fds.extend(signals.map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(e) => return Err(Error::io("poll", "standard input", &e.into())),
        }
        let input = fds[0].revents().unwrap_or(PollFlags::empty());
        let signal = fds.get(1).and_then(PollFd::any).unwrap_or(false);
        let readable = input.intersects(PollFlags::POLLIN | PollFlags::POLLERR | PollFlags::POLLNVAL);
        Ok(Ready { input: readable, hung_up: input.intersects(PollFlags::POLLHUP), signal })
    }

    /// Waits at most `timeout` without looking at the input: whether all writers left, or a signal is pending.
    pub fn wait_writer_gone(&self, signals: Option<&Signals>, timeout: Duration) -> Result<Ready> {
        self.poll(PollFlags::empty(), signals, Some(timeout))
    }

    /// Looks at what is in the pipe without taking it (tee(2)): how many bytes of `buf` were filled.
    pub fn peek(&self, buf: &mut [u8]) -> Result<usize> {
        let failed = |e: Errno| Error::io("peek", "standard input", &e.into());
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        match tee(&self.fd, &writer, buf.len(), SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(0) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Ok(there) => nix::unistd::read(&reader, &mut buf[..there]).map_err(failed),
            Err(e) => Err(failed(e)),
        }
    }

    /// Reads what is there. `Ok(None)`: nothing is there after all. `Ok(Some(0))`: the end.
    pub fn read(&self, buf: &mut [u8]) -> Result<Option<usize>> {
        match nix::unistd::read(&self.fd, buf) {
            Ok(n) => Ok(Some(n)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(e) => Err(Error::io("read", "standard input", &e.into()).mend("give it a pipe, or a file to read")),
        }
    }
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
