//! Signals as events: blocked for the whole process and read from a descriptor (signalfd(2)), so that none of them
//! can end the program in the middle of something.

use crate::error::{Error, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT: leave, once the input is drained.
    Leave,
    /// SIGHUP: reopen the log file.
    Reopen,
    /// SIGUSR1: end the open file now.
    EndFile,
}

/// The signals that this process has blocked.
pub struct Signals(SignalFd);

const ASKED: [(Signal, Asked); 4] = [
    (Signal::SIGTERM, Asked::Leave),
    (Signal::SIGINT, Asked::Leave),
    (Signal::SIGHUP, Asked::Reopen),
    (Signal::SIGUSR1, Asked::EndFile),
];

impl Signals {
    /// Blocks the signals. To be called before the first thread is started: threads inherit the mask.
    pub fn block() -> Result<Self> {
        let set: SigSet = ASKED.iter().map(|(signal, _)| *signal).collect();
        // A file that may not grow is a full disk: the write says so, and the program goes on.
        // SAFETY: no handler is installed, the signal is only ignored.
        let _ = unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
        let failed = |e: nix::errno::Errno| Error::io("block", "signals", &e.into());
        set.thread_block().map_err(failed)?;
        SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map(Self).map_err(failed)
    }

    /// Lets the signals do again what they do by themselves: for a command that has nothing to bring to an end.
    pub fn release(&self) -> Result<()> {
        let set: SigSet = ASKED.iter().map(|(signal, _)| *signal).collect();
        set.thread_unblock().map_err(|e| Error::io("unblock", "signals", &e.into()))
    }

    /// Waits for the next signal.
    pub fn wait(&self) -> Option<Asked> {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        self.next()
    }

    /// Waits for the next signal, for a bell, or for `timeout` to pass.
    pub fn wait_with(&self, bell: &Bell, timeout: Duration) -> Option<Asked> {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN), PollFd::new(bell.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, timeout);
        self.next()
    }

    /// The next signal that is pending.
    pub fn next(&self) -> Option<Asked> {
        let info = self.0.read_signal().ok()??;
        let number = i32::try_from(info.ssi_signo).ok()?;
        ASKED.iter().find(|(signal, _)| *signal as i32 == number).map(|(_, asked)| *asked)
    }
}

/// Wakes up who waits for signals (eventfd(2)).
pub struct Bell(EventFd);

impl Bell {
    /// A bell that has not been rung.
    pub fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        EventFd::from_value_and_flags(0, flags).map(Self).map_err(|e| Error::io("create", "an event", &e.into()))
    }

    /// Rings it, for good.
    pub fn ring(&self) {
        // Full is rung.
        let _ = self.0.write(1);
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
