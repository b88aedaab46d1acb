//! Whether a process lives, for who may only look: it holds a lock of the kind that can be asked about without being taken
//! (fcntl(2), "Open file description locks"). The kernel takes it back with the process.

use super::fs::File;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

fn whole(kind: libc::c_int) -> libc::flock {
    // SAFETY: plain numbers, for all of which 0 is a value: from the start of the file to its end, no process.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).unwrap_or_default();
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default();
    lock
}

/// Shows that this process lives, as long as `file` (open for writing) is open. False if another one does so, or if it can't be
/// shown here.
pub fn show(file: &dyn File) -> bool {
    file.fd().is_some_and(|fd| fcntl(fd, FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK))).is_ok())
}

/// Whether some process shows by this file that it lives; `None` if that can't be told.
pub fn is_shown(file: &dyn File) -> Option<bool> {
    let mut lock = whole(libc::F_WRLCK);
    fcntl(file.fd()?, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
    Some(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::disk::Disk;
    use crate::env::fs::Fs;

    #[test]
    fn whoever_may_read_sees_who_lives_and_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let shown = Disk.create(&path).unwrap();
        assert_eq!(is_shown(&*Disk.open_read(&path).unwrap()), Some(false));
        assert!(show(&*shown));
        for _ in 0..2 {
            assert_eq!(is_shown(&*Disk.open_read(&path).unwrap()), Some(true));
        }
        assert!(!show(&*Disk.open(&path).unwrap()));
        drop(shown);
        assert_eq!(is_shown(&*Disk.open_read(&path).unwrap()), Some(false));
        assert!(show(&*Disk.open(&path).unwrap()));
    }
}
