//! The system's log, as syslog(3) speaks to it, except that it never waits: under rsyslog it may be this program that rsyslog
//! waits for.

use chrono::Local;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where the system's log listens (syslog(3), `_PATH_LOG`).
pub const PLACE: &str = "/dev/log";
/// Facility daemon (RFC 3164, 4.1.1), as it stands in the priority.
const DAEMON: u8 = 3 << 3;

/// A connection, made when there is something to say, and anew when the log was started anew.
pub struct Syslog {
    place: PathBuf,
    tag: &'static str,
    socket: Mutex<Option<Socket>>,
}

struct Socket {
    fd: OwnedFd,
    /// Messages are told apart by a 0 byte, where the log has no datagrams.
    stream: bool,
}

impl Syslog {
    /// The system's log, to which this program is `tag`.
    pub fn new(tag: &'static str) -> Self {
        Self::at(Path::new(PLACE), tag)
    }

    fn at(place: &Path, tag: &'static str) -> Self {
        Self { place: place.to_owned(), tag, socket: Mutex::default() }
    }

    /// Says something with a severity (RFC 3164: 3 error, 4 warning, 5 notice, 6 informational). False if nobody takes it now.
    pub fn say(&self, severity: u8, text: &[u8]) -> bool {
        let time = Local::now().format("%b %e %H:%M:%S");
        let head = format!("<{}>{time} {}[{}]: ", DAEMON | severity, self.tag, std::process::id());
        let message = [head.as_bytes(), text].concat();
        let mut held = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // Once more where the log that was spoken to last is gone.
        for _ in 0..2 {
            if held.is_none() {
                *held = Socket::to(&self.place).ok();
            }
            match held.as_ref().map(|socket| socket.put(&message)) {
                None => return false,
                Some(Ok(())) => return true,
                Some(Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EMSGSIZE)) => return false,
                Some(Err(_)) => *held = None,
            }
        }
        false
    }
}

impl Socket {
    fn to(place: &Path) -> nix::Result<Self> {
        match Self::of_kind(place, SockType::Datagram) {
            Err(Errno::EPROTOTYPE) => Self::of_kind(place, SockType::Stream),
            other => other,
        }
    }

    fn of_kind(place: &Path, kind: SockType) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, kind, flags, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(place)?)?;
        Ok(Self { fd, stream: kind == SockType::Stream })
    }

    fn put(&self, message: &[u8]) -> nix::Result<()> {
        let end: &[u8] = if self.stream { &[0] } else { &[] };
        let message = [message, end].concat();
        match send(self.fd.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL)? {
            sent if sent == message.len() => Ok(()),
            // Half a message on a stream: another connection begins with a whole one.
            _ => Err(Errno::EPIPE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    #[test]
    fn a_log_that_is_full_is_not_waited_for_and_one_that_is_new_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("log");
        let syslog = Syslog::at(&place, "logjam");
        assert!(!syslog.say(5, b"nobody is there"));
        let log = UnixDatagram::bind(&place).unwrap();
        let mut taken = 0;
        while syslog.say(5, b"a") {
            taken += 1;
            assert!(taken < 1_000_000, "a socket without an end");
        }
        assert!(taken > 0);
        drop(log);
        std::fs::remove_file(&place).unwrap();
        let log = UnixDatagram::bind(&place).unwrap();
        assert!(syslog.say(4, b"b"));
        let mut message = [0; 200];
        let n = log.recv(&mut message).unwrap();
        let message = String::from_utf8_lossy(&message[..n]);
        assert!(message.starts_with("<28>"), "{message}");
        assert!(message.ends_with(&format!(" logjam[{}]: b", std::process::id())), "{message}");
    }

    #[test]
    fn a_log_that_listens_for_connections_is_spoken_to_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("log");
        let log = UnixListener::bind(&place).unwrap();
        let syslog = Syslog::at(&place, "logjam");
        assert!(syslog.say(3, b"a") && syslog.say(3, b"b"));
        drop(syslog);
        let mut said = String::new();
        log.accept().unwrap().0.read_to_string(&mut said).unwrap();
        assert_eq!(said.matches(": a\0").count() + said.matches(": b\0").count(), 2, "{said:?}");
    }
}
