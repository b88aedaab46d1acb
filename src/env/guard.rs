//! The guard of `logjam pipe`: a small process that holds standard input and starts a worker again that was killed.
//!
//! The guard is the process that the daemon started; the worker is its child and does everything. Whoever feeds the pipe
//! does not notice a worker's death: the pipe stays open, and what is in it is read by the next worker. The guard forks
//! before the program does anything else, so every worker begins like a fresh start, and it holds nothing but descriptors:
//!
//! - standard input, output and error, as it was given them;
//! - pipes full of replies ready to be sent ([`super::replies`]): what is left in them tells how many were sent;
//! - a socket in which the worker leaves descriptors for the next one ([`Held::leave`]).
//!
//! If the guard is killed, the worker goes on without one: nothing is lost until the worker is killed as well.

use super::replies::Tokens;
use nix::cmsg_space;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_name;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A worker that lived shorter than this died quickly.
const QUICK: Duration = Duration::from_secs(1);
/// So many quick deaths in a row are answered at once.
const AT_ONCE: u32 = 10;
/// So many are answered after [`SOON`], all further ones after [`LATER`].
const MANY: u32 = 100;
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(1);
/// How long a worker that lives has to end the open file.
const HEARD: Duration = Duration::from_secs(1);
/// Exit status of a Rust program whose main thread panicked.
const PANICKED: i32 = 101;
/// How many descriptors a worker leaves for the next one.
const LEFT: usize = 2;
/// Room for the name of a session, in bytes.
const TOKEN: usize = 64;

const FORWARDED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];

/// What outlives a worker.
pub struct Held {
    /// Replies ready to be sent; `None` if the system had no descriptors left.
    pub tokens: Option<Tokens>,
    socket: Option<(OwnedFd, OwnedFd)>,
    /// How the worker before this one ended, if there was one.
    pub died: Option<String>,
}

/// The session that an earlier worker left.
pub struct Left {
    /// Its name.
    pub token: String,
    /// Its buffer.
    pub buffer: OwnedFd,
    /// Its record, locked as long as this or the guard's own descriptor is open, and there even if somebody removed it.
    pub record: OwnedFd,
}

static HELD: OnceLock<Held> = OnceLock::new();
/// In a worker: the guard.
static GUARD: OnceLock<Pid> = OnceLock::new();

/// Becomes a guard with a worker, if the command line wants one: returns in the worker, or if there is none.
///
/// To be called first of all, while the process has one thread. `unwanted`: the settings file says so.
pub fn stand_by(args: &[OsString], unwanted: bool) {
    if unwanted || !wanted(args, std::env::var("LOGJAM_NO_GUARD").ok().as_deref()) {
        return;
    }
    let mut set: SigSet = FORWARDED.into_iter().collect();
    set.add(Signal::SIGCHLD);
    let Ok(signals) = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) else { return };
    if set.thread_block().is_err() {
        return;
    }
    let socket = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).ok();
    let mut held = Held { tokens: Tokens::new(), socket, died: None };
    let mut guard = Guard { signals, leaving: None, ending: None, quick: 0 };
    let me = getpid();
    loop {
        let born = Instant::now();
        // SAFETY: there is one thread, so the child may do whatever its parent could.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                drop(guard);
                // What is said to all guards is not said to a worker twice.
                let _ = set_name(c"logjam");
                // The other signals stay blocked until somebody listens to them.
                let _ = [Signal::SIGCHLD].into_iter().collect::<SigSet>().thread_unblock();
                let _ = (HELD.set(held), GUARD.set(me));
                return;
            }
            Ok(ForkResult::Parent { child }) => {
                if held.died.is_none() {
                    slim();
                }
                held.died = Some(guard.watch(child));
            }
            Err(e) if held.died.is_none() => {
                tracing::warn!("fork: {e}; running without a guard");
                let _ = set.thread_unblock();
                return;
            }
            Err(_) => {}
        }
        guard.pause(born.elapsed() < QUICK);
    }
}

/// What the guard holds for this worker; `None` without a guard.
pub fn held() -> Option<&'static Held> {
    HELD.get()
}

/// Whether there is a guard that would start another worker.
pub fn lives() -> bool {
    GUARD.get().is_some_and(|guard| *guard == getppid())
}

/// Whether this command line is one for a guard. Before anything is parsed: a wrong one is the worker's affair.
fn wanted(args: &[OsString], variable: Option<&str>) -> bool {
    args.get(1).is_some_and(|command| command == "pipe")
        && !is_yes(variable)
        && !args.iter().any(|arg| arg == "--no-guard")
}

/// Whether the variable of a switch is set, as the command line's parser would see it.
pub fn is_yes(variable: Option<&str>) -> bool {
    variable.is_some_and(|v| ["y", "yes", "t", "true", "on", "1"].contains(&v.to_lowercase().as_str()))
}

struct Guard {
    signals: SignalFd,
    /// The signal to leave, once one came: every further worker is told, too.
    leaving: Option<Signal>,
    /// When it was last asked to end the open file. A worker that dies right after that may not have come to it.
    ending: Option<Instant>,
    /// Quick deaths in a row.
    quick: u32,
}

impl Guard {
    /// Hands signals on until the worker ends; returns how it was killed. When it leaves by itself, so does the guard,
    /// with its exit status.
    fn watch(&mut self, worker: Pid) -> String {
        if let Some(signal) = self.leaving {
            let _ = kill(worker, signal);
        }
        if self.ending.is_some() {
            let _ = kill(worker, Signal::SIGUSR1);
        }
        loop {
            match self.next(PollTimeout::NONE) {
                None => {}
                Some(Signal::SIGCHLD) => {
                    let died = match waitpid(worker, Some(WaitPidFlag::WNOHANG)) {
                        Ok(WaitStatus::Exited(_, PANICKED)) => format!("worker {worker} panicked"),
                        // SAFETY: ends this process at once; it has nothing to clean up.
                        Ok(WaitStatus::Exited(_, status)) => unsafe { libc::_exit(status) },
                        Ok(WaitStatus::Signaled(_, signal, _)) => format!("worker {worker} was ended by {signal}"),
                        _ => continue,
                    };
                    self.ending.take_if(|asked| asked.elapsed() > HEARD);
                    return died;
                }
                Some(signal) => {
                    self.note(signal);
                    let _ = kill(worker, signal);
                }
            }
        }
    }

    /// Before another worker is started: a worker that cannot live must not keep the machine busy.
    fn pause(&mut self, quick: bool) {
        self.quick = if quick { self.quick + 1 } else { 0 };
        let time = match self.quick {
            0..AT_ONCE => return,
            AT_ONCE..MANY => SOON,
            _ => LATER,
        };
        let end = Instant::now() + time;
        while let Some(rest) = end.checked_duration_since(Instant::now()) {
            if let Some(signal) = self.next(PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO)) {
                self.note(signal);
            }
            if rest < Duration::from_millis(1) {
                break;
            }
        }
    }

    fn note(&mut self, signal: Signal) {
        match signal {
            Signal::SIGTERM | Signal::SIGINT => self.leaving = Some(signal),
            Signal::SIGUSR1 => self.ending = Some(Instant::now()),
            _ => {}
        }
    }

    fn next(&self, timeout: PollTimeout) -> Option<Signal> {
        let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout);
        let info = self.signals.read_signal().ok()??;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

impl Held {
    /// Leaves the name of a session, its buffer and its lock for the next worker. They live as long as worker or guard does.
    pub fn leave(&self, token: &str, fds: [RawFd; LEFT]) -> bool {
        let Some((put, _)) = &self.socket else { return false };
        let said = [IoSlice::new(token.as_bytes())];
        sendmsg::<()>(put.as_raw_fd(), &said, &[ControlMessage::ScmRights(&fds)], MsgFlags::MSG_DONTWAIT, None).is_ok()
    }

    /// The session that a worker before this one left, and its buffer. It stays there for the next one as well.
    pub fn left(&self) -> Option<Left> {
        let (_, take) = self.socket.as_ref()?;
        let mut token = [0; TOKEN];
        let mut parts = [IoSliceMut::new(&mut token)];
        let mut space = cmsg_space!([RawFd; LEFT]);
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(take.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
        let (len, mut fds) = (message.bytes, Vec::new());
        for control in message.cmsgs().ok()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel made these descriptors for this call; nobody else has them.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let mut fds = fds.into_iter();
        let token = String::from_utf8_lossy(&token[..len]).into_owned();
        Some(Left { token, buffer: fds.next()?, record: fds.next()? })
    }
}

/// Gives back what only a worker needs: the pages of the program text that the start touched (they are read again from
/// the file if need be), and says in the process list what it is.
fn slim() {
    let _ = set_name(c"logjam-guard");
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    // proc(5): address range, rights, offset, device, inode, path. Not what the linker wrote to (RELRO): its content
    // is in memory only; it is readable, with an offset other than 0.
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (range, rights, offset) = (fields.next(), fields.next(), fields.next());
        let file = fields.nth(2).is_some_and(|path| path.starts_with('/'));
        let clean = rights == Some("r-xp") || (rights == Some("r--p") && offset == Some("00000000"));
        let bounds = range.and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        if let Some((from, to)) = bounds.and_then(|(from, to)| Some((number(from)?, number(to)?)))
            && clean
            && file
        {
            // SAFETY: a private mapping of a file that nobody wrote to: its pages come back when they are needed.
            unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_for_pipe_only_and_can_be_refused() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(wanted(&args(&["logjam", "pipe", "DIR"]), None));
        assert!(wanted(&args(&["logjam", "pipe", "DIR"]), Some("no")));
        assert!(!wanted(&args(&["logjam", "pipe", "DIR"]), Some("Yes")));
        assert!(!wanted(&args(&["logjam", "pipe", "DIR", "--no-guard"]), None));
        assert!(!wanted(&args(&["logjam", "compress", "DIR"]), None));
        assert!(!wanted(&args(&["logjam"]), None));
    }

    #[test]
    fn what_a_worker_leaves_is_there_for_every_later_one() {
        let socket = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).ok();
        let held = Held { tokens: None, socket, died: None };
        assert!(held.left().is_none());
        let (reader, mut writer) = std::io::pipe().unwrap();
        assert!(held.leave("one", [reader.as_raw_fd(), writer.as_raw_fd()]));
        drop(reader);
        for _ in 0..2 {
            std::io::Write::write_all(&mut writer, b"x").unwrap();
            let left = held.left().unwrap();
            assert_eq!(left.token, "one");
            assert_eq!(nix::unistd::read(&left.buffer, &mut [0; 2]).unwrap(), 1);
        }
    }
}
