//! What a check makes in a directory that is the far end. It is taken away again: who archives there may be another user, who could
//! not write where the first one has made a directory.

use crate::env::fs::Fs;
use crate::env::host;
use crate::format::key::probe_key;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};

/// What is to be taken away.
pub struct Traces<'a> {
    fs: &'a dyn Fs,
    probe: PathBuf,
    /// Those that did not stand there before, the deepest first.
    dirs: Vec<PathBuf>,
}

impl<'a> Traces<'a> {
    /// Looks at what stands there before the check. `key` is that of the archive that is tried.
    pub fn before(fs: &'a dyn Fs, root: &Path, key: &str, host: &str) -> Self {
        let probe = root.join(probe_key(host));
        let tried = root.join(key);
        let around = probe.ancestors().skip(1).chain(tried.ancestors().skip(1));
        let mut dirs: Vec<_> = around.filter(|dir| matches!(fs.stat(dir), Ok(None))).map(Path::to_owned).collect();
        dirs.sort_by_key(|dir| Reverse(dir.components().count()));
        Self { fs, probe, dirs }
    }

    /// Takes it away, but what somebody else has put something into.
    pub fn clear(self) {
        // What can't be removed was not made, and that has been said.
        let _ = self.fs.remove(&self.probe);
        self.dirs.iter().for_each(|dir| host::remove_empty(dir));
    }
}
