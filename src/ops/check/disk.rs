//! DIR: rights, file system, syncs, locks, space.

use super::Line;
use crate::config;
use crate::env::fs::{EntryKind, File, Fs, append_all};
use crate::env::{Env, host};
use crate::error::{Kind, Result};
use crate::format::layout::Layout;
use bytesize::ByteSize;
use std::path::Path;
use std::sync::Arc;

/// File systems whose locks and syncs are other machines' promises.
const REMOTE: [&str; 5] = ["nfs", "cifs", "smb3", "9p", "ceph"];
/// File systems that do not outlive the machine's power.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];
/// What a file is filled with that is tried, in bytes.
const TRIED: usize = 4096;
/// Room for so many hours of what came so far would be good; below this it is told, in bytes.
const LITTLE: u64 = 1 << 30;

/// Tries DIR; `reserve` as set. `false` at the end: there is nothing to go on with.
pub fn look(env: &Env, dir: &Path, reserve: Option<u64>, lines: &mut Vec<Line>) -> bool {
    if let Err(e) = config::check_dir(&*env.fs, dir) {
        lines.push(Line::failed("dir", &e));
        return false;
    }
    lines.push(owner(dir));
    lines.push(kind(dir));
    lines.extend(links(env, dir));
    match tried(&*env.fs, dir) {
        Ok(seen) => lines.extend(seen),
        Err(e) => {
            let mend = match e.kind {
                Kind::Full => "free some space".to_owned(),
                _ => format!("give it to the user that will run this, here {}", host::user_name()),
            };
            lines.push(Line { mend: e.mend.clone().or(Some(mend)), ..Line::failed("write", &e) });
        }
    }
    lines.push(space(env, dir, reserve));
    if std::env::var("LD_PRELOAD").is_ok_and(|libraries| libraries.contains("eatmydata")) {
        let says = "LD_PRELOAD names libeatmydata: what is synced is not";
        lines.push(Line::fail("sync", says, "start without it"));
    }
    true
}

fn owner(dir: &Path) -> Line {
    let (uid, _) = host::user();
    match host::rights(dir) {
        Err(e) => Line::failed("dir", &e),
        Ok((_, _, mode)) if mode & 0o002 != 0 => Line::fail(
            "dir",
            format!("{} has mode {mode:04o}: everybody may write there", dir.display()),
            format!("chmod 0750 {}", dir.display()),
        ),
        Ok((owner, group, mode)) => {
            let says =
                format!("{} has mode {mode:04o}, owner {owner}, group {group}; this user is {uid}", dir.display());
            Line::ok("dir", says)
        }
    }
}

fn kind(dir: &Path) -> Line {
    match host::file_system(dir) {
        Err(e) => Line::failed("file system", &e),
        Ok(kind) if REMOTE.contains(&kind.as_str()) => Line::fail(
            "file system",
            format!("{kind}: its locks and syncs are not those of this machine"),
            "give a directory on a local disk",
        ),
        Ok(kind) if VOLATILE.contains(&kind.as_str()) => {
            Line::note("file system", format!("{kind}: what is there is gone with the power"), "")
        }
        Ok(kind) if kind == "fuse" => {
            Line::note("file system", "fuse: what it promises depends on the program behind it", "")
        }
        Ok(kind) => Line::ok("file system", kind),
    }
}

/// Links inside DIR are refused.
fn links(env: &Env, dir: &Path) -> Vec<Line> {
    let layout = Layout::new(dir);
    let places = [layout.archives(), layout.receipts(), layout.private()];
    let other = |path: &std::path::PathBuf| {
        env.fs.stat(path).ok().flatten().filter(|entry| entry.kind != EntryKind::Dir)?;
        let says = format!("{} is no directory; links are refused inside of DIR", path.display());
        Some(Line::fail("dir", says, format!("mv {0} {0}.old", path.display())))
    };
    places.iter().filter_map(other).collect()
}

/// Does with a file what is done with an hour file and its records.
fn tried(fs: &dyn Fs, dir: &Path) -> Result<Vec<Line>> {
    let names = ["a", "b"].map(|end| dir.join(format!(".logjam-check.{:08x}.{end}", fastrand::u32(..))));
    let done = with_a_file(fs, dir, &names);
    let removed = names.iter().try_for_each(|name| fs.remove(name));
    // What failed first is what is wrong.
    done.and_then(|seen| removed.map(|()| seen))
}

fn with_a_file(fs: &dyn Fs, dir: &Path, names: &[std::path::PathBuf; 2]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let file = fs.create(&names[0])?;
    append_all(&*file, &[0; TRIED])?;
    lines.push(Line::ok("write", "a file was made and written"));
    file.sync()?;
    fs.link(&names[0], &names[1])?;
    fs.sync_dir(dir)?;
    lines.push(Line::ok("sync", "the file, its second name and the directory were synced"));
    lines.push(locks(fs, &file, &names[1])?);
    file.map(TRIED / 8)?;
    lines.push(Line::ok("map", "a record was mapped"));
    Ok(lines)
}

fn locks(fs: &dyn Fs, file: &Arc<dyn File>, name: &Path) -> Result<Line> {
    let second = fs.open(name)?;
    let (mine, others) = (file.try_lock()?, second.try_lock()?);
    Ok(match (mine, others) {
        (true, false) => Line::ok("locks", "a lock keeps others out"),
        _ => {
            let says = "two holders got the same lock: two processes would write one file";
            Line::fail("locks", says, "give a directory on a local disk")
        }
    })
}

fn space(env: &Env, dir: &Path, reserve: Option<u64>) -> Line {
    let space = match env.fs.space(dir) {
        Ok(space) => space,
        Err(e) => return Line::failed("space", &e),
    };
    let floor = config::reserve(reserve, space.total);
    let left = space.free.saturating_sub(floor);
    let size = |bytes| ByteSize::b(bytes).display().iec().to_string();
    let says =
        format!("{} free of {}, {} of them kept back by --reserve", size(space.free), size(space.total), size(floor));
    match left {
        0 => Line::fail("space", says, "free some space: nothing would be taken in"),
        left if left < LITTLE => {
            Line::note("space", says, "there is little room if the bucket can't be reached for long")
        }
        _ => Line::ok("space", says),
    }
}
