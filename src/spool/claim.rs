//! Which file a process writes to: one that it continues, or one whose name was never used.

use super::hour::Hour;
use super::{Settings, seal};
use crate::env::Env;
use crate::env::fs::{EntryKind, File, append_all, locked, read_whole};
use crate::error::{Error, Kind, Result};
use crate::format::layout::{GZIP, Layout, ZSTD};
use crate::format::name::{LogName, token};
use crate::format::period::Period;
use std::path::PathBuf;
use std::sync::Arc;

/// How many names are tried before it is called an error.
const TRIES: u32 = 16;

/// The newest file of this stream that nobody owns, that has not ended, and that is of this period or ends inside a line
/// of the same input. One that ends inside a line of another pipe is left to that; a line whose input has ended is
/// completed: what comes now is not its rest.
pub(super) fn continued(
    env: &Env,
    layout: &Layout,
    settings: &Settings,
    period: Period,
    input: Option<&str>,
) -> Result<Option<Hour>> {
    let mut names: Vec<LogName> = (env.fs.list(layout.dir())?.into_iter())
        .filter(|entry| entry.kind == EntryKind::File)
        .filter_map(|entry| LogName::parse(&entry.name))
        .filter(|name| name.is_hour() && name.stamp() <= period.start)
        .filter(|name| name.prefix() == settings.prefix && name.suffix() == Some(&settings.suffix))
        .collect();
    names.sort_by_key(|name| (name.stamp(), name.extension().len(), name.extension().to_owned()));
    for name in names.into_iter().rev() {
        let path = layout.hour(&name);
        let mark = mark(env, layout, &name)?;
        let fed = input.is_some() && mark.as_deref() == input;
        if name.stamp() != period.start && !fed {
            continue;
        }
        let Some(file) = locked(&*env.fs, &path, env.fs.open(&path))? else { continue };
        let partial = seal::ends_inside_a_line(&*file)?;
        // Looked at under the lock: whoever sealed it had the lock then.
        // A file that a life made and died before it saw that the name was used is left to recovery.
        if used(env, layout, &name)? || (name.stamp() != period.start && !partial) {
            continue;
        }
        // The rest of that line may still come, by its own pipe.
        if partial && !fed && mark.is_some() {
            continue;
        }
        if partial && !fed {
            append_all(&*file, b"\n")?;
        }
        if !fed {
            set_mark(env, layout, &name, input)?;
        }
        let period = Period::from_start(name.stamp(), settings.every);
        return Ok(Some(Hour::continued(name, period, file, env.clock.steady(), partial && fed)));
    }
    Ok(None)
}

/// Which input a file is fed from, as far as it is known.
fn mark(env: &Env, layout: &Layout, name: &LogName) -> Result<Option<String>> {
    match read_whole(&*env.fs, &layout.input(name)) {
        Ok(data) => Ok(String::from_utf8(data).ok()),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Not synced: a pipe does not outlive the system.
fn set_mark(env: &Env, layout: &Layout, name: &LogName, input: Option<&str>) -> Result<()> {
    let path = layout.input(name);
    env.fs.remove(&path)?;
    match input {
        Some(input) => append_all(&*env.fs.create(&path)?, input.as_bytes()),
        None => Ok(()),
    }
}

/// A new file for `period`: the plain name if it was never used, else one with a token.
pub(super) fn begun(
    env: &Env,
    layout: &Layout,
    settings: &Settings,
    period: Period,
    input: Option<&str>,
) -> Result<Hour> {
    let mut tag = None;
    for _ in 0..TRIES {
        let name = LogName::hour(&settings.prefix, period.start, &settings.suffix, tag.as_deref());
        if let Some(file) = create(env, layout, &name)? {
            set_mark(env, layout, &name, input)?;
            return Ok(Hour::new(name, period, file, env.clock.steady()));
        }
        tag = Some(token(env.clock.now(), fastrand::u32(..)));
    }
    Err(Error::retry("create", layout.dir().display(), Kind::Exists, "no unused file name was found"))
}

fn create(env: &Env, layout: &Layout, name: &LogName) -> Result<Option<Arc<dyn File>>> {
    // Before, so that a death in between leaves nothing under a used name; again below, since an hour may end meanwhile.
    if used(env, layout, name)? {
        return Ok(None);
    }
    let path = layout.hour(name);
    let file = match env.fs.create(&path) {
        Err(e) if e.kind == Kind::Exists => return Ok(None),
        other => other?,
    };
    if !file.try_lock()? {
        // A process that starts this instant took the empty file over: it is that one's now.
        return Ok(None);
    }
    if used(env, layout, name)? {
        env.fs.remove(&path)?;
        return Ok(None);
    }
    Ok(Some(file))
}

/// Whether an hour of this name has ended. Looked at in this order: a retired hour's archive stands before its hour file
/// goes, and its receipt before its archive does.
fn used(env: &Env, layout: &Layout, name: &LogName) -> Result<bool> {
    let stands = |path: PathBuf| env.fs.stat(&path).map(|entry| entry.is_some());
    let packed = |ending| {
        let packed = name.with_ending(ending);
        Ok(stands(layout.archive(&packed))? || stands(layout.receipt(&packed))?)
    };
    Ok(stands(layout.seal(name))? || packed(GZIP)? || packed(ZSTD)?)
}
