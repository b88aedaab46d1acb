//! The files of keys, which the user names: a secret one that nobody else may read, and beside it what is public of it.

use crate::error::{Error, Kind, Result};
use crate::format::sign::{PUBLIC, PublicKey, Signer};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The largest file of keys, in bytes.
const LARGEST: u64 = 1 << 20;
/// Modes of the two files, and what the first must not have.
const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
const OTHERS: u32 = 0o077;

/// Reads a secret key. `option` is for messages.
///
/// # Errors
/// Of class usage: it can't be read, is no such key, or somebody else may read it.
pub fn read_secret(option: &str, path: &Path) -> Result<Signer> {
    let subject = format!("{option}={}", path.display());
    let (text, mode) = read(&subject, path)?;
    let mend = "make a pair with `logjam keygen FILE`, or `openssl genpkey -algorithm ed25519`";
    let signer = Signer::parse(&text).map_err(|cause| Error::usage(&subject, cause).mend(mend))?;
    if mode & OTHERS != 0 {
        let cause = format!("others may read it (mode {:04o})", mode & 0o7777);
        return Err(Error::usage(subject, cause).mend(format!("chmod 600 {}", path.display())));
    }
    Ok(signer)
}

/// Reads public keys, one or several in a file. `option` is for messages.
///
/// # Errors
/// Of class usage: it can't be read, or is no such key.
pub fn read_public(option: &str, path: &Path) -> Result<Vec<PublicKey>> {
    let subject = format!("{option}={}", path.display());
    let (text, _) = read(&subject, path)?;
    let mend = "give the FILE.pub of a pair that `logjam keygen FILE` made";
    PublicKey::parse_all(&text).map_err(|cause| Error::usage(subject, cause).mend(mend))
}

fn read(subject: &str, path: &Path) -> Result<(String, u32)> {
    let failed = |e: std::io::Error| Error::usage(subject, e);
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(failed)?;
    // What is no file, such as the pipe of `<(…)`, has no mode that says anything.
    Ok((text, if meta.is_file() { meta.permissions().mode() } else { 0 }))
}

/// Makes a pair: `path`, which only its owner may read, and `path` with `.pub` behind it. Nothing is overwritten. The key, and
/// where its public half is.
///
/// # Errors
/// [`Kind::Exists`] if one of them stands.
pub fn create_pair(path: &Path) -> Result<(Signer, PathBuf)> {
    let public = path.with_added_extension(PUBLIC);
    for path in [path, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(taken(path));
        }
    }
    let failed = |cause: String| Error::stop("make", path.display(), Kind::Other, cause);
    let signer = Signer::generate().map_err(failed)?;
    create(path, SECRET_MODE, &signer.pem().map_err(failed)?)?;
    create(&public, PUBLIC_MODE, &signer.public().pem()).map_err(|e| {
        let mend = format!("openssl pkey -in {} -pubout -out {}", path.display(), public.display());
        e.mend(mend)
    })?;
    Ok((signer, public))
}

fn taken(path: &Path) -> Error {
    Error::stop("make", path.display(), Kind::Exists, "it stands already, and a key is never overwritten")
        .mend("give another name")
}

/// Makes a small file under its final name at once, as a whole and durable.
fn create(path: &Path, mode: u32, text: &str) -> Result<()> {
    let failed = |op| move |e: std::io::Error| Error::io(op, path.display(), &e);
    let draft = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).map_err(failed("create"))?;
    let mut publish = || {
        // Whatever the umask.
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed("chmod"))?;
        file.write_all(text.as_bytes()).map_err(failed("write"))?;
        file.sync_all().map_err(failed("sync"))?;
        match std::fs::hard_link(&draft, path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(taken(path)),
            linked => linked.map_err(failed("link")),
        }
    };
    let done = publish();
    std::fs::remove_file(&draft).map_err(failed("remove"))?;
    done?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let (signer, public) = create_pair(&path).unwrap();
        assert_eq!(public, dir.path().join("key.pub"));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(&public)), (0o600, 0o644));
        let (own, open) = (read_secret("--x", &path).unwrap(), read_public("--x", &public).unwrap());
        assert_eq!(own.public().fingerprint(), signer.public().fingerprint());
        assert_eq!(open[0].fingerprint(), signer.public().fingerprint());
        let before = std::fs::read(&path).unwrap();
        assert_eq!(create_pair(&path).unwrap_err().kind, Kind::Exists);
        std::fs::remove_file(&public).unwrap();
        assert_eq!(create_pair(&path).unwrap_err().kind, Kind::Exists);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_secret_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create_pair(&path).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o610] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = read_secret("--sign-key", &path).unwrap_err().to_string();
            assert!(said.contains("others may read it") && said.contains("chmod 600"), "{mode:o}: {said}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read_secret("--sign-key", &path).is_ok());
        let said = read_secret("--sign-key", &dir.path().join("none")).unwrap_err().to_string();
        assert!(said.starts_with("--sign-key=") && said.contains("No such file"), "{said}");
    }
}
