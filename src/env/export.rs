//! A file that other programs read at any moment: whole, and readable by everybody. It tells of a moment, so it is not synced.

use crate::error::{Error, Kind, Result};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// Everybody may read it.
const MODE: u32 = 0o644;
/// A file in the making that is older than this was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(60);

/// Puts a file in the place of the one that has that name: written beside it, mode 0644, and renamed (rename(2)).
///
/// # Errors
/// Also if what has that name is no file, or another process writes there this moment ([`Kind::Exists`]).
pub fn replace(path: &Path, data: &[u8]) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("write", path.display(), &e);
    may_be_replaced(path)?;
    // Whoever collects such files goes by their ending.
    let work = path.with_added_extension("next");
    let age = |meta: std::fs::Metadata| meta.modified().ok().and_then(|at| at.elapsed().ok());
    if std::fs::symlink_metadata(&work).ok().and_then(age).is_some_and(|age| age > ABANDONED) {
        std::fs::remove_file(&work).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&work).map_err(failed)?;
    let done = file.set_permissions(std::fs::Permissions::from_mode(MODE)).and_then(|()| file.write_all(data));
    done.and_then(|()| std::fs::rename(&work, path)).map_err(|e| {
        let _ = std::fs::remove_file(&work);
        failed(e)
    })
}

/// Tries whether [`replace`] would succeed, by way of another name beside it, of which nothing stays.
///
/// # Errors
/// As [`replace`].
pub fn probe(path: &Path) -> Result<()> {
    may_be_replaced(path)?;
    let name = path.with_file_name(format!(".logjam-check.{:08x}", fastrand::u32(..)));
    replace(&name, b"")?;
    std::fs::remove_file(&name).map_err(|e| Error::io("remove", name.display(), &e))
}

/// Only a file is replaced.
fn may_be_replaced(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_file() => {
            Err(Error::stop("write", path.display(), Kind::Exists, "what stands there is no file"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, metadata, read, set_permissions, write};

    #[test]
    fn a_file_is_replaced_as_a_whole_and_everybody_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logjam.prom");
        write(&path, "old").unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_replaced_and_what_a_killed_process_left_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logjam.prom");
        let work = path.with_added_extension("next");
        write(&work, "half").unwrap();
        assert_eq!(replace(&path, b"new").unwrap_err().kind, Kind::Exists);
        let file = std::fs::File::open(&work).unwrap();
        file.set_modified(std::time::SystemTime::now() - 2 * ABANDONED).unwrap();
        replace(&path, b"new").unwrap();
        create_dir(dir.path().join("dir")).unwrap();
        for way in [|path: &Path| replace(path, b"x"), probe] {
            assert!(way(&dir.path().join("dir")).is_err());
            assert!(way(&dir.path().join("none/x.prom")).is_err());
        }
        probe(&path).unwrap();
        assert_eq!(read(&path).unwrap(), b"new", "it stands as it stood");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
