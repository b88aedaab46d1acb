//! One error for the whole program: what was done, to what, why it failed, and what follows.

use std::fmt;

/// What the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Waiting may mend it: try again later.
    Retry,
    /// Waiting will not mend it by itself; somebody has to act. A daemon goes on trying, rarely.
    Stop,
    /// The settings are wrong: exit status 2.
    Usage,
}

/// What kind of failure it was, for code that branches on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something stands under that name already.
    Exists,
    /// Nothing stands under that name.
    NotFound,
    /// The file system is full, or a quota is.
    Full,
    /// Not permitted, or wrong credentials.
    Denied,
    /// The bucket does not exist.
    NoBucket,
    /// The other side cannot be reached, or does not answer.
    Unreachable,
    /// The other side asks for patience.
    Throttled,
    /// Somebody else holds it.
    Busy,
    /// Anything else.
    Other,
}

/// An operation that failed: what was done (`op`), to what (`subject`), why (`cause`), and what mends it.
#[derive(Clone, Debug)]
pub struct Error {
    /// What the caller should do.
    pub class: Class,
    /// What kind of failure it was.
    pub kind: Kind,
    /// The operation, as a verb: `open`, `sync`, `put`.
    pub op: &'static str,
    /// The path, key or option it was done to.
    pub subject: String,
    /// Why it failed.
    pub cause: String,
    /// What the user can do about it, if known.
    pub mend: Option<String>,
}

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of class [`Class::Retry`].
    pub fn retry(op: &'static str, subject: impl fmt::Display, kind: Kind, cause: impl fmt::Display) -> Self {
        Self::new(Class::Retry, kind, op, subject, cause)
    }

    /// A failure of class [`Class::Stop`].
    pub fn stop(op: &'static str, subject: impl fmt::Display, kind: Kind, cause: impl fmt::Display) -> Self {
        Self::new(Class::Stop, kind, op, subject, cause)
    }

    /// A wrong setting: the option or argument, and what is wrong with it.
    pub fn usage(subject: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Class::Usage, Kind::Other, "setting", subject, cause)
    }

    fn new(class: Class, kind: Kind, op: &'static str, subject: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self { class, kind, op, subject: subject.to_string(), cause: one_line(&cause.to_string()), mend: None }
    }

    /// Classifies an error of the operating system by its number (errno(3)).
    pub fn io(op: &'static str, subject: impl fmt::Display, e: &std::io::Error) -> Self {
        use nix::errno::Errno as E;
        let number = e.raw_os_error().map(E::from_raw);
        let (class, kind) = match number {
            Some(E::EEXIST) => (Class::Stop, Kind::Exists),
            Some(E::ENOENT) => (Class::Stop, Kind::NotFound),
            Some(E::ENOSPC | E::EDQUOT | E::EFBIG) => (Class::Retry, Kind::Full),
            Some(E::EWOULDBLOCK) => (Class::Retry, Kind::Busy),
            Some(E::EMFILE | E::ENFILE | E::ENOMEM | E::EINTR | E::EIO) => (Class::Retry, Kind::Other),
            Some(E::EACCES | E::EPERM | E::EROFS) => (Class::Stop, Kind::Denied),
            _ => (Class::Stop, Kind::Other),
        };
        Self::new(class, kind, op, subject, e)
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn mend(mut self, mend: impl fmt::Display) -> Self {
        self.mend = Some(mend.to_string());
        self
    }
}

/// A message is a line, whatever a library or a server says.
fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").replace(|c: char| c.is_control(), " ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.class == Class::Usage {
            write!(f, "{}: {}", self.subject, self.cause)?;
        } else {
            write!(f, "{} {}: {}", self.op, self.subject, self.cause)?;
        }
        match &self.mend {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
