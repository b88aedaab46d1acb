//! What DIR tells of itself: per stream what is open, ended, waiting and stored, the oldest line that is not archived, and who
//! works on it. By reading alone: no lock is taken, nothing is changed, and nobody needs to run.

mod look;
pub mod verdict;

pub use look::{Counting, look};

use crate::format::state::{Stage, State};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// The longest time that a stream of unknown period may go on in one file: `logjam compress` takes it then. In seconds.
pub const UNKNOWN_PERIOD: u64 = 65 * 60;

/// All of it. Its JSON is a promise: fields may be added, and none is renamed or removed.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// When it was looked at.
    pub at: DateTime<Utc>,
    /// DIR.
    pub dir: String,
    /// What counts as archived.
    pub archived: Archived,
    /// The worst of the streams, of the processes, and of what could not be read.
    pub state: verdict::State,
    /// The oldest line that is not archived, of all streams.
    pub oldest: Option<Oldest>,
    /// Space, where it can be told.
    pub space: Option<Space>,
    /// By prefix and suffix.
    pub streams: Vec<Stream>,
    /// Those that work on DIR, and those that did.
    pub processes: Vec<Process>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// What counts as archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archived {
    /// What is stored at DEST: archives are, or were, uploaded from here.
    Stored,
    /// What is whole in DIR/archive: nothing was ever uploaded from here.
    Packed,
    /// What was stored could not be read: no archive counts as waiting.
    Unknown,
}

/// Space, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Space {
    /// What the files in DIR take, as far as they could be read.
    pub used_bytes: u64,
    /// What may still be written on the file system.
    pub free_bytes: u64,
    /// Size of the file system.
    pub total_bytes: u64,
}

/// A line that is not archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oldest {
    /// When it came; of files of other programs, when their period began.
    pub at: DateTime<Utc>,
    /// How long ago that is.
    pub age_seconds: u64,
    /// The file that it is in, below DIR.
    pub file: String,
}

/// One stream.
#[derive(Clone, Debug, Serialize)]
pub struct Stream {
    /// Prefix of its names.
    pub prefix: String,
    /// Suffix of its names, if they have one.
    pub suffix: Option<String>,
    /// What its oldest line means.
    pub state: verdict::State,
    /// From this age of the oldest line on it is a warning.
    pub warning_seconds: u64,
    /// From this one on it is critical.
    pub critical_seconds: u64,
    /// The oldest line that is not archived.
    pub oldest: Option<Oldest>,
    /// Length of its periods, where it is known.
    pub period_seconds: Option<u64>,
    /// Files that are written to.
    pub open: Vec<Open>,
    /// Hour files that have ended, and are to be packed.
    pub ended: Pile,
    /// Archives that are to be stored.
    pub waiting: Pile,
    /// Manifests that are to be stored.
    pub manifests_waiting: u64,
    /// What was stored, by the receipts.
    pub stored: Stored,
}

/// Some files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pile {
    /// How many.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

/// An hour file that is written to.
#[derive(Clone, Debug, Serialize)]
pub struct Open {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Newlines; `None`: too many to count, or not counted.
    pub lines: Option<u64>,
    /// When its first line came.
    pub began: DateTime<Utc>,
    /// How long ago that is.
    pub age_seconds: u64,
    /// What is packed of it already.
    pub packed: Option<Packed>,
}

/// What is packed of a file that is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// So many bytes of it.
    pub bytes: u64,
    /// And lines.
    pub lines: u64,
    /// The size that they have now.
    pub packed_bytes: u64,
}

/// What was stored.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stored {
    /// Receipts of the last 24 hours.
    pub files_24h: u64,
    /// When the last one was stored.
    pub last_at: Option<DateTime<Utc>>,
    /// Where.
    pub last: Option<String>,
}

/// A process that works on DIR, or did.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Whether it runs; `None`: that could not be told.
    pub running: Option<bool>,
    /// What it wrote down.
    #[serde(flatten)]
    pub state: State,
}

impl Process {
    /// What keeps it from taking lines, if it runs.
    pub fn held_up(&self) -> Option<&str> {
        let stops = |stage: Stage| stage.stops_intake();
        let trouble = self.state.troubles.iter().find(|trouble| stops(trouble.stage));
        trouble.filter(|_| self.running != Some(false)).map(|trouble| trouble.error.as_str())
    }
}
