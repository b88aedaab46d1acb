//! What a whole process of tests shares. Nothing drops a static: a directory of temporary files that hangs on one would stay behind.
#![allow(clippy::disallowed_methods)] // A harness uses the file system.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const ROOT: &str = env!("CARGO_TARGET_TMPDIR");
const PREFIX: &str = "shared-";

/// A directory, and the lock on it that the process holds until it ends.
static SHARED: LazyLock<(PathBuf, File)> = LazyLock::new(|| {
    let root = Path::new(ROOT);
    let turn = File::create(root.join("turn")).unwrap();
    turn.lock().unwrap();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let ours = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        if ours && File::open(&path).unwrap().try_lock().is_ok() {
            fs::remove_dir_all(&path).unwrap();
        }
    }
    let path = new(PREFIX, root);
    let held = File::open(&path).unwrap();
    held.lock().unwrap();
    (path, held)
});

/// A new directory, which some later process of tests removes.
pub fn directory() -> PathBuf {
    new("", &SHARED.0)
}

fn new(prefix: &str, within: &Path) -> PathBuf {
    tempfile::Builder::new().prefix(prefix).tempdir_in(within).unwrap().keep()
}
