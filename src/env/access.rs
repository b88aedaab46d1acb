//! Who may read what is made: modes and a group, instead of those that umask and process would give.

use super::disk::Disk;
use super::fs::{Entry, File, Fs, Space};
use crate::error::{Error, Result};
use crate::format::layout::PRIVATE;
use nix::libc;
use nix::sys::stat::{Mode, fchmod, fstat};
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Once};

/// Mode of a file, unless it is set.
pub const FILE_MODE: u32 = 0o640;
/// Mode of a directory, unless it is set.
pub const DIR_MODE: u32 = 0o750;
/// In a directory with this bit, whatever is made belongs to the directory's group (inode(7)).
const SETGID: u32 = libc::S_ISGID;
/// All of a mode but the kind of file.
const BITS: u32 = 0o7777;

/// Modes and group of what is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Mode of files.
    pub file_mode: u32,
    /// Mode of directories.
    pub dir_mode: u32,
    /// Their group; `None`: that of the process, or of a setgid directory in which they are made.
    pub group: Option<u32>,
}

impl Default for Access {
    fn default() -> Self {
        Self { file_mode: FILE_MODE, dir_mode: DIR_MODE, group: None }
    }
}

/// The disk, with all that is made below one directory as [`Access`] says. Its `.logjam` keeps mode 0750 and the group of the
/// process. Files in there get mode and group too: they are finished there, and linked to where they are read.
pub struct Shared {
    root: PathBuf,
    access: Access,
}

impl Shared {
    /// The disk below `root`, which is DIR or where a `file://` DEST begins; it need not stand yet. Without a group, that of a
    /// setgid `root` counts.
    ///
    /// # Errors
    /// If files can't be given to that group.
    pub fn below(root: &Path, mut access: Access) -> Result<Self> {
        static TOLD: Once = Once::new();
        let there = std::fs::metadata(root).ok().filter(std::fs::Metadata::is_dir);
        let inherits = there.as_ref().filter(|meta| meta.mode() & SETGID != 0);
        if let Some(group) = access.group
            && there.is_some()
        {
            try_group(root, group).map_err(|e| {
                Error::usage(format!("--group={}", name_of(group)), format!("files in {} can't be given to it: {e}", root.display()))
                    .mend("give a group that this user is in (usermod -a -G GROUP USER, then start it anew), or run it as root")
            })?;
        } else if let Some(meta) = inherits {
            match try_group(root, meta.gid()) {
                Ok(()) => access.group = Some(meta.gid()),
                Err(e) => TOLD.call_once(|| {
                    tracing::warn!(
                        "{}: belongs to group {} and is setgid, but files can't be given to that: {e}; archives get the group of this user",
                        root.display(),
                        name_of(meta.gid()),
                    );
                }),
            }
        }
        if inherits.is_some() {
            access.dir_mode |= SETGID;
        }
        Ok(Self { root: root.to_owned(), access })
    }

    fn is_private(&self, path: &Path) -> bool {
        let below = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        below.components().any(|part| part == Component::Normal(PRIVATE.as_ref()))
    }

    /// Group first: to give a file away takes bits of its mode (chown(2)).
    fn give(&self, path: &Path, fd: BorrowedFd<'_>, group: Option<u32>, mode: u32) -> Result<()> {
        if let Some(group) = group {
            fchown(fd, None, Some(group)).map_err(|e| {
                Error::io("give", format!("{} to group {}", path.display(), name_of(group)), &e)
                    .mend("give --group=GROUP that this user is in, or run it as root")
            })?;
        }
        let failed = |e: nix::Error| Error::io("chmod", path.display(), &e.into());
        // A directory that has inherited the bit is left alone: where nobody may set it, nobody could give it back.
        if fstat(fd).map_err(failed)?.st_mode & BITS == mode {
            return Ok(());
        }
        let set = |mode| fchmod(fd, Mode::from_bits_truncate(mode));
        set(mode)
            .or_else(|e| match e {
                // Under systemd's RestrictSUIDSGID=. Files and directories are given to the group one by one.
                nix::Error::EPERM if mode & SETGID != 0 => set(mode & !SETGID),
                e => Err(e),
            })
            .map_err(failed)
    }
}

/// A group by its name or number; `None` if there is no such name.
pub fn group(name: &str) -> Result<Option<u32>> {
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let found =
        nix::unistd::Group::from_name(name).map_err(|e| Error::io("look up", format!("group {name}"), &e.into()));
    Ok(found?.map(|group| group.gid.as_raw()))
}

fn name_of(group: u32) -> String {
    let found = nix::unistd::Group::from_gid(group.into()).ok().flatten();
    found.map_or_else(|| group.to_string(), |group| group.name)
}

/// Whether a file in `dir` can be given to a group, tried with one that has no name. Where there is no such thing it is not known yet.
fn try_group(dir: &Path, group: u32) -> std::io::Result<()> {
    let unnamed = OpenOptions::new().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir);
    match unnamed {
        // In a setgid directory it has that group already, and may keep it. What is made elsewhere has the user's.
        Ok(file) => {
            fchown(&file, None, Some(nix::unistd::getegid().as_raw())).and_then(|()| fchown(&file, None, Some(group)))
        }
        // Whether anything can be made there is another question.
        Err(_) => Ok(()),
    }
}

impl Fs for Shared {
    fn create(&self, path: &Path) -> Result<Arc<dyn File>> {
        let file = Disk.create(path)?;
        let Access { file_mode, group, .. } = self.access;
        if (group, file_mode) != (None, FILE_MODE)
            && let Some(fd) = file.fd()
            && let Err(e) = self.give(path, fd, group, file_mode)
        {
            return Disk.remove(path).and(Err(e));
        }
        Ok(file)
    }

    fn make_dir(&self, path: &Path) -> Result<bool> {
        let made = Disk.make_dir(path)?;
        let (group, mode) = match self.is_private(path) {
            // Not that of a setgid directory around it.
            true => (Some(nix::unistd::getegid().as_raw()), DIR_MODE),
            false => (self.access.group, self.access.dir_mode),
        };
        if made {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY);
            let dir = options.open(path).map_err(|e| Error::io("open", path.display(), &e))?;
            if let Err(e) = self.give(path, dir.as_fd(), group, mode) {
                // Otherwise the next try would find it, and take it as it is.
                let _ = std::fs::remove_dir(path);
                return Err(e);
            }
        }
        Ok(made)
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>> {
        Disk.open(path)
    }

    fn open_read(&self, path: &Path) -> Result<Arc<dyn File>> {
        Disk.open_read(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<Entry>> {
        Disk.list(dir)
    }

    fn stat(&self, path: &Path) -> Result<Option<Entry>> {
        Disk.stat(path)
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        Disk.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        Disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        Disk.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> Result<Space> {
        Disk.space(dir)
    }

    fn boot(&self) -> String {
        Disk.boot()
    }
}
