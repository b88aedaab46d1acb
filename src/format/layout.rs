//! Where everything lies under DIR.
//!
//! ```text
//! DIR/NAME                        an hour file
//! DIR/archive/NAME.gz             compressed, whole, waiting or kept
//! DIR/archive/.uploaded/NAME.gz   its receipt
//! DIR/.logjam/seal/NAME           the hour file has ended: its seal
//! DIR/.logjam/input/NAME          what an open hour file is fed from: its mark
//! DIR/.logjam/session/TOKEN       where the dialogue with a daemon stands
//! DIR/.logjam/id/NAME.NUMBER      identities of the lines in an hour file
//! DIR/.logjam/work/NAME.gz        an archive in the making; any small file before it gets its final name
//! DIR/.logjam/pack/NAME.gz        how far the packing of an hour file has come: its progress
//! DIR/.logjam/upload/NAME.gz      journal of an upload in parts
//! DIR/.logjam/tally/NAME          what happened to an hour file's lines on their way
//! DIR/.logjam/summary/NAME.gz     what an archive holds, for its manifest
//! DIR/.logjam/manifest/NAME.gz    a manifest that is to be stored
//! DIR/.logjam/chain/NAME.gz       the newest manifest of a stream that is stored
//! DIR/.logjam/checkpoint/STREAM.N the last checkpoint of a stream
//! DIR/.logjam/state/COMMAND.N     a process that works on DIR: its state
//! ```

use super::name::LogName;
use std::path::{Path, PathBuf};

/// Name of the directory of archives; `logjam upload` insists on it.
pub const ARCHIVE: &str = "archive";
const UPLOADED: &str = ".uploaded";
/// Name of the directory of what is logjam's own, in DIR and at a `file://` DEST.
pub const PRIVATE: &str = ".logjam";

/// Ending of the state of a process.
const STATE: &str = "json";

/// Ending of a gzip archive.
pub const GZIP: &str = ".gz";
/// Ending of a Zstandard archive.
pub const ZSTD: &str = ".zst";

/// The plain text of an archive is cut into blocks at multiples of this, in bytes. Each is packed from an empty state, so that it
/// can be read without the ones before it; that costs 0.14 % of size.
pub const BLOCK: u64 = 4 << 20;

/// The paths under one DIR.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// DIR itself, where the hour files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// An hour file.
    pub fn hour(&self, name: &LogName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// The directory of archives.
    pub fn archives(&self) -> PathBuf {
        self.dir.join(ARCHIVE)
    }

    /// An archive, by its full name.
    pub fn archive(&self, name: &LogName) -> PathBuf {
        self.archives().join(name.to_string())
    }

    /// The directory of receipts.
    pub fn receipts(&self) -> PathBuf {
        self.archives().join(UPLOADED)
    }

    /// The receipt of an archive.
    pub fn receipt(&self, name: &LogName) -> PathBuf {
        self.receipts().join(name.to_string())
    }

    /// The directory of what is logjam's own.
    pub fn private(&self) -> PathBuf {
        self.dir.join(PRIVATE)
    }

    /// The directory of seals.
    pub fn seals(&self) -> PathBuf {
        self.private().join("seal")
    }

    /// The seal of an hour file.
    pub fn seal(&self, name: &LogName) -> PathBuf {
        self.seals().join(name.to_string())
    }

    /// The directory of input marks.
    pub fn inputs(&self) -> PathBuf {
        self.private().join("input")
    }

    /// The mark of an open hour file.
    pub fn input(&self, name: &LogName) -> PathBuf {
        self.inputs().join(name.to_string())
    }

    /// The directory of sessions.
    pub fn sessions(&self) -> PathBuf {
        self.private().join("session")
    }

    /// The record of a session.
    pub fn session(&self, token: &str) -> PathBuf {
        self.sessions().join(token)
    }

    /// The directory of identities.
    pub fn ids(&self) -> PathBuf {
        self.private().join("id")
    }

    /// Identities of lines in an hour file; a further file of them has a higher number.
    pub fn id(&self, name: &LogName, number: u32) -> PathBuf {
        self.ids().join(format!("{name}.{number}"))
    }

    /// What a name in the directory of identities says.
    pub fn parse_id(name: &str) -> Option<(LogName, u32)> {
        let (name, number) = name.rsplit_once('.')?;
        Some((LogName::parse(name).filter(LogName::is_hour)?, number.parse().ok()?))
    }

    /// Who holds its lock may look at the identities of all processes, and add one.
    pub fn id_lock(&self) -> PathBuf {
        self.ids().join(".lock")
    }

    /// The directory of unfinished work.
    pub fn works(&self) -> PathBuf {
        self.private().join("work")
    }

    /// An archive in the making.
    pub fn work(&self, name: &LogName) -> PathBuf {
        self.works().join(name.to_string())
    }

    /// A small file in the making: `kind` tells whose, `id` keeps processes apart. It fits wherever `name` itself fits.
    pub fn draft(&self, kind: &str, id: u32, name: &LogName) -> PathBuf {
        let name = crc32fast::hash(name.to_string().as_bytes());
        self.works().join(format!(".{kind}-{id}-{name:08x}"))
    }

    /// The directory of the progress of packing.
    pub fn progresses(&self) -> PathBuf {
        self.private().join("pack")
    }

    /// How far an archive in the making has come.
    pub fn progress(&self, name: &LogName) -> PathBuf {
        self.progresses().join(name.to_string())
    }

    /// The directory of tallies.
    pub fn tallies(&self) -> PathBuf {
        self.private().join("tally")
    }

    /// The tally of an hour file.
    pub fn tally(&self, name: &LogName) -> PathBuf {
        self.tallies().join(name.to_string())
    }

    /// The directory of summaries.
    pub fn summaries(&self) -> PathBuf {
        self.private().join("summary")
    }

    /// The summary of an archive.
    pub fn summary(&self, name: &LogName) -> PathBuf {
        self.summaries().join(name.to_string())
    }

    /// The directory of manifests that are to be stored.
    pub fn manifests(&self) -> PathBuf {
        self.private().join("manifest")
    }

    /// A manifest that is to be stored.
    pub fn manifest(&self, name: &LogName) -> PathBuf {
        self.manifests().join(name.to_string())
    }

    /// The directory of the newest stored manifests.
    pub fn chains(&self) -> PathBuf {
        self.private().join("chain")
    }

    /// A stored manifest that the next one of its stream points to.
    pub fn chain(&self, name: &LogName) -> PathBuf {
        self.chains().join(name.to_string())
    }

    /// Who holds its lock may make a manifest.
    pub fn chain_lock(&self) -> PathBuf {
        self.chains().join(".lock")
    }

    /// The directory of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.private().join("checkpoint")
    }

    /// The last checkpoint of a stream; who holds the lock of one with this `slot` may write it.
    pub fn checkpoint(&self, prefix: &str, suffix: &str, slot: u32) -> PathBuf {
        self.checkpoints().join(format!("{prefix}.{suffix}.{slot}"))
    }

    /// The directory of the states of processes.
    pub fn states(&self) -> PathBuf {
        self.private().join("state")
    }

    /// What shows that a process lives; its state lies beside it. `stream`: the one that it writes. `slot` keeps processes apart.
    pub fn life(&self, command: &str, stream: Option<(&str, &str)>, slot: u32) -> PathBuf {
        let stream = stream.map_or(String::new(), |(prefix, suffix)| format!(".{prefix}.{suffix}"));
        self.states().join(format!("{command}{stream}.{slot}"))
    }

    /// The state of the process that lives by this.
    pub fn state(life: &Path) -> PathBuf {
        life.with_added_extension(STATE)
    }

    /// The state of that process in the making.
    pub fn state_draft(life: &Path) -> PathBuf {
        life.with_added_extension("next")
    }

    /// What shows that the process lives whose state has this name; `None` if no state has.
    pub fn life_of(&self, state: &str) -> Option<PathBuf> {
        let life = state.strip_suffix(STATE)?.strip_suffix('.')?;
        (!life.is_empty() && !life.starts_with('.')).then(|| self.states().join(life))
    }

    /// The directory of upload journals.
    pub fn journals(&self) -> PathBuf {
        self.private().join("upload")
    }

    /// The journal of an upload in parts.
    pub fn journal(&self, name: &LogName) -> PathBuf {
        self.journals().join(name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_place_of_its_own_and_its_state_lies_beside_it() {
        let layout = Layout::new("/d");
        let life = layout.life("pipe", Some(("syslog", "web-1")), 3);
        assert_eq!(life, Path::new("/d/.logjam/state/pipe.syslog.web-1.3"));
        assert_eq!(Layout::state(&life), Path::new("/d/.logjam/state/pipe.syslog.web-1.3.json"));
        assert_eq!(Layout::state_draft(&life), Path::new("/d/.logjam/state/pipe.syslog.web-1.3.next"));
        assert_eq!(layout.life_of("pipe.syslog.web-1.3.json"), Some(life));
        assert_eq!(layout.life("upload", None, 0), Path::new("/d/.logjam/state/upload.0"));
        for name in ["upload.0", ".json", "x.next", "json", ".hidden.json"] {
            assert_eq!(layout.life_of(name), None, "{name}");
        }
    }
}
