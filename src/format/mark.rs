//! The mark of an open hour file: what feeds it, and in which life of the system.

use std::fmt;

/// Stands for what there is not.
const NONE: &str = "-";

/// What feeds an hour file. On the disk: three words on one line, `-` for what there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The pipe, as `DEVICE:INODE`; `None` if the input is no pipe.
    pub pipe: Option<String>,
    /// The life of the system (`boot_id`).
    pub boot: String,
    /// The session whose lines are confirmed one by one, if they are.
    pub session: Option<String>,
}

impl Mark {
    /// Reads a mark; `None` if it is none, as after a power cut.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(data).ok()?.split(' ');
        let mut word = || words.next().filter(|word| !word.is_empty() && !word.contains('\0'));
        let (pipe, boot, session) = (word()?, word()?, word()?);
        let some = |word: &str| (word != NONE).then(|| word.to_owned());
        Some(Self { pipe: some(pipe), boot: boot.to_owned(), session: some(session) })
    }

    /// Whether both are of one pipe in one life of the system: what comes now goes on where the other ended.
    pub fn same_pipe(&self, other: &Self) -> bool {
        self.pipe.is_some() && self.pipe == other.pipe && self.boot == other.boot
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pipe, session) = (self.pipe.as_deref(), self.session.as_deref());
        write!(f, "{} {} {}", pipe.unwrap_or(NONE), self.boot, session.unwrap_or(NONE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_this() {
        let mark = Mark { pipe: Some("8:17".into()), boot: "b-1".into(), session: None };
        assert_eq!(mark.to_string(), "8:17 b-1 -");
        assert_eq!(Mark::parse(b"8:17 b-1 -"), Some(mark.clone()));
        let other = Mark { pipe: None, boot: "b-1".into(), session: Some("t".into()) };
        assert_eq!(Mark::parse(other.to_string().as_bytes()), Some(other.clone()));
        assert!(mark.same_pipe(&mark) && !other.same_pipe(&other) && !mark.same_pipe(&other));
        for broken in [&b""[..], b"8:17 b-1", b"\0\0\0\0", b"8:17 b\0 -", b"8:17  -", b"\xff a b"] {
            assert_eq!(Mark::parse(broken), None, "{broken:?}");
        }
    }
}
