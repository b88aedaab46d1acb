//! From an hour file to an object: pack, also while it grows, upload, retire. Decide ([`plan`], pure), do (one file each), record (the
//! listing itself). Every step is harmless when repeated, and whoever holds the lock of a step's file may do it.

pub mod ahead;
mod chain;
pub mod checkpoint;
mod codec;
pub mod follow;
mod multipart;
pub mod pack;
mod packing;
pub mod plan;
pub mod rescue;
mod rest;
mod seen;
pub mod silence;
mod summary;
pub mod upload;
pub mod uploader;

pub use codec::Codec;
pub use plan::Sources;

use crate::env::Env;
use crate::env::fs::locked;
use crate::error::{Class, Error, Kind, Result};
use crate::format::layout::{BLOCK, Layout};
use crate::format::name::LogName;
use crate::format::sign::Signer;
use crate::format::state::Stage;
use follow::Following;
use plan::Step;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long what failed waits at the most until it is tried again: DIR is looked at that often.
const RETRY: Duration = Duration::from_secs(60);

/// What the archive does in one DIR, and how.
#[derive(Clone)]
pub struct Archive {
    /// The doors.
    pub env: Env,
    /// DIR.
    pub layout: Layout,
    /// Only files with this prefix are touched; `None`: all.
    pub prefix: Option<String>,
    /// Which hour files are packed.
    pub sources: Sources,
    /// How they are packed.
    pub codec: Codec,
    /// How much of an hour file is packed at a time, in bytes: what is packed differently is begun again.
    pub block: u64,
    /// How many blocks are packed at once.
    pub threads: usize,
    /// The hour file that is packed while it grows.
    pub following: Option<Arc<Following>>,
    /// The name of this host, for manifests.
    pub host: String,
    /// Signs manifests, where there is a key.
    pub signer: Option<Arc<Signer>>,
    /// Tells this process from those before it.
    pub life: u64,
    /// Whether archives are offered for upload.
    pub uploads: bool,
    /// How long a stored archive also stays on the disk.
    pub keep: Duration,
    /// Set while the disk is full: stored archives go, whatever `keep` says.
    pub pressed: Arc<AtomicBool>,
    /// Set when the program leaves: long steps stop where they are.
    pub leaving: Arc<AtomicBool>,
}

/// What one pass over DIR found and did.
#[derive(Debug, Default)]
pub struct Pass {
    /// How many files were packed.
    pub packed: usize,
    /// Files that somebody else still has.
    pub busy: Vec<Error>,
    /// Files that could not be packed, and why.
    pub failed: Vec<Error>,
}

impl Archive {
    /// An archive of what lies in DIR, with the defaults of everything else: nothing is uploaded.
    pub fn new(env: Env, layout: Layout, sources: Sources, codec: Codec) -> Self {
        Self {
            env,
            layout,
            prefix: None,
            sources,
            codec,
            block: BLOCK,
            threads: 1,
            following: None,
            host: String::new(),
            signer: None,
            life: fastrand::u64(..),
            uploads: false,
            keep: Duration::MAX,
            pressed: Arc::default(),
            leaving: Arc::default(),
        }
    }

    /// Whether so many bytes can be written that are only for a while, and as many are left then: what is to last comes first.
    fn has_room(&self, bytes: u64) -> Result<()> {
        match self.env.fs.space(self.layout.dir()) {
            Ok(space) if space.free < bytes.saturating_mul(2) => {
                let cause = format!("{bytes} bytes are needed, and {} are free", space.free);
                Err(Error::retry("write in", self.layout.dir().display(), Kind::Full, cause).mend("free some space"))
            }
            // What can't be told can't be asked for.
            _ => Ok(()),
        }
    }

    /// Makes the directories that it works in, parents first.
    pub fn make_dirs(&self) -> Result<()> {
        let layout = &self.layout;
        let mut dirs =
            vec![layout.archives(), layout.private(), layout.works(), layout.summaries(), layout.progresses()];
        if self.sources == Sources::Sealed {
            dirs.extend([layout.seals(), layout.inputs(), layout.sessions(), layout.ids(), layout.tallies()]);
        }
        if self.uploads {
            dirs.extend([layout.receipts(), layout.journals(), layout.manifests(), layout.chains()]);
            dirs.push(layout.checkpoints());
        }
        for dir in dirs {
            self.env.fs.make_dir(&dir).map_err(|e| match e.mend {
                Some(_) => e,
                None => e.mend(format!(
                    "user {} must be able to write in {}, on a file system mounted read-write, with nothing else of that name",
                    nix::unistd::geteuid(),
                    layout.dir().display()
                )),
            })?;
            // Also one that stood already: the life that made it may have been killed before this.
            self.env.fs.sync_dir(dir.parent().unwrap_or(layout.dir()))?;
        }
        Ok(())
    }

    /// Does everything that is due on the disk, the oldest files first. `progress` is told of each archive that waits to
    /// be stored, at once, and is called with `None` between two steps.
    pub fn pass(&self, mut progress: impl FnMut(Option<&LogName>)) -> Result<Pass> {
        let seen = seen::look(self).inspect_err(|e| self.env.trouble(Stage::Pack, e, RETRY))?;
        let mut pass = Pass::default();
        for step in plan::plan(&seen, self, self.env.clock.now()) {
            progress(None);
            if self.leaving.load(Ordering::Relaxed) {
                break;
            }
            match self.run(&step, &mut pass, &mut progress) {
                Ok(()) => {}
                Err(e) if e.kind == Kind::Busy => pass.busy.push(e),
                Err(e) => {
                    tracing::warn!("{e}{}", if e.class == Class::Retry { "; tried again later" } else { "" });
                    self.env.trouble(Stage::Pack, &e, RETRY);
                    pass.failed.push(e);
                }
            }
        }
        if pass.failed.is_empty() {
            self.env.mended(Stage::Pack);
        }
        Ok(pass)
    }

    fn run(&self, step: &Step, pass: &mut Pass, progress: &mut impl FnMut(Option<&LogName>)) -> Result<()> {
        let fs = &self.env.fs;
        match step {
            Step::Pack(name) => {
                let uploads = self.uploads;
                let packed = pack::pack(self, name, |archive| {
                    if uploads {
                        progress(Some(archive));
                    }
                })?;
                pass.packed += usize::from(packed.is_some());
                Ok(())
            }
            Step::Upload(name) => {
                progress(Some(name));
                Ok(())
            }
            Step::Retire(name) => {
                tracing::debug!("{name}: stored, and kept for its time; removed here");
                // The life that wrote the receipt may have been killed before this.
                fs.sync_dir(&self.layout.receipts())?;
                fs.remove(&self.layout.archive(name))
            }
            Step::Forget(name) => fs.remove(&self.layout.receipt(name)),
            Step::Clear(path) => self.clear(path),
        }
    }

    /// Removes what is left over, if nobody is at work on it.
    fn clear(&self, path: &Path) -> Result<()> {
        let fs = &self.env.fs;
        // Kept until it is gone. Somebody may have made the file and be about to lock it: he then finds it taken.
        let _lock = match path.parent() == Some(&self.layout.works()) {
            true => match locked(&**fs, path, fs.open_read(path))? {
                Some(lock) => Some(lock),
                None => return Ok(()),
            },
            false => None,
        };
        // It tells that the hour file is archived: that one must not come back without it.
        fs.sync_dir(self.layout.dir())?;
        fs.remove(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::fs::open_or_create;
    use std::sync::Barrier;

    /// The moments in question are microseconds apart.
    const ROUNDS: usize = 500;

    #[test]
    fn work_that_somebody_begins_is_not_cleared_from_under_him() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let archive = Archive::new(Env::real(), layout, Sources::Sealed, Codec::Gzip(1));
        archive.make_dirs().unwrap();
        let path = archive.layout.works().join("app-20260102T0300Z-host.0000000000000r0123456789ab.log.gz");
        let fs = &archive.env.fs;
        let (start, cleared) = (Barrier::new(2), Barrier::new(2));
        for _ in 0..ROUNDS {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    let held = open_or_create(&**fs, &path).and_then(|file| locked(&**fs, &path, Ok(file)));
                    cleared.wait();
                    // Gone between the two is well: it is tried again.
                    if let Ok(Some(file)) = held {
                        let there = fs.stat(&path).unwrap().expect("what is locked stands");
                        assert_eq!(there.id, file.id().unwrap());
                    }
                });
                start.wait();
                while fs.stat(&path).unwrap().is_none() {
                    std::hint::spin_loop();
                }
                archive.clear(&path).unwrap();
                cleared.wait();
            });
            fs.remove(&path).unwrap();
        }
    }
}
