//! What the system says of itself, of this process, and of a file system.

use crate::error::{Error, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::statfs::statfs;
use std::path::{Path, PathBuf};

/// The largest text that is read, in bytes: settings of other programs.
const LARGEST: u64 = 1 << 20;

/// The kinds of file system that matter here, by their magic numbers (statfs(2), linux/magic.h).
const KINDS: [(i64, &str); 13] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e_u32 as i64, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    (0x794c_7630, "overlayfs"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb3"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
];

/// The kind of the file system that a path is on; its magic number in hexadecimal if it is none of the common ones.
///
/// # Errors
/// Of statfs(2).
pub fn file_system(path: &Path) -> Result<String> {
    let told = statfs(path).map_err(|e| Error::io("look at the file system of", path.display(), &e.into()))?;
    let magic = told.filesystem_type().0 as i64 & 0xffff_ffff;
    let known = KINDS.iter().find(|(number, _)| number & 0xffff_ffff == magic);
    Ok(known.map_or_else(|| format!("0x{magic:x}"), |(_, name)| (*name).to_owned()))
}

/// How many files this process may have open: now, and at most.
///
/// # Errors
/// Of getrlimit(2).
pub fn open_files() -> Result<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| Error::io("read", "the limit of open files", &e.into()))
}

/// Lets this process have as many files open as it may.
pub fn raise_open_files() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(e) = raised {
        tracing::debug!("the limit of open files stays as it is: {e}");
    }
}

/// The user that this process acts as: its number, and its name if it has one.
pub fn user() -> (u32, Option<String>) {
    let uid = nix::unistd::geteuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    (uid.as_raw(), name)
}

/// The same for a message: the name, or the number of a user that has none.
pub fn user_name() -> String {
    let (uid, name) = user();
    name.unwrap_or_else(|| uid.to_string())
}

/// Owner, group and mode of what has a name.
///
/// # Errors
/// Of stat(2).
pub fn rights(path: &Path) -> Result<(u32, u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).map_err(|e| Error::io("look at", path.display(), &e))?;
    Ok((meta.uid(), meta.gid(), meta.mode() & 0o7777))
}

/// Whether something has a name, or the name that a link gives.
pub fn is_there(path: &Path) -> bool {
    path.exists()
}

/// A path that means the same in whatever directory a process is. Without the slash that would let a link at its end be followed.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components().collect()
}

/// The same without the links in what stands of it.
pub fn real(path: &Path) -> PathBuf {
    let path = absolute(path);
    let mut above = path.ancestors();
    let found = above.find_map(|above| Some((std::fs::canonicalize(above).ok()?, path.strip_prefix(above).ok()?)));
    found.map_or_else(|| path.clone(), |(real, below)| real.join(below))
}

/// Removes a directory if it is there, and nothing is in it.
pub fn remove_empty(dir: &Path) {
    let _ = std::fs::remove_dir(dir);
}

/// A text file, such as the settings of another program; `None`: it is not there, can't be read, or is too large.
pub fn text(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    if !meta.is_file() || meta.len() > LARGEST {
        return None;
    }
    Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned())
}

/// What is in a directory, by name, whole paths; nothing if it can't be read.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}
