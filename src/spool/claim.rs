//! Which file a process writes to: one that it continues, or one whose name was never used.

use super::hour::Hour;
use super::{Settings, seal};
use crate::env::Env;
use crate::env::fs::{EntryKind, File, append_all, locked};
use crate::error::{Error, Kind, Result};
use crate::format::layout::{GZIP, Layout, ZSTD};
use crate::format::name::{LogName, token};
use crate::format::period::Period;
use std::sync::Arc;

/// How many names are tried before it is called an error.
const TRIES: u32 = 16;

/// The newest file of this stream and period that nobody owns and that has not ended; its last line is completed.
pub(super) fn continued(env: &Env, layout: &Layout, settings: &Settings, period: Period) -> Result<Option<Hour>> {
    let mut names: Vec<LogName> = (env.fs.list(layout.dir())?.into_iter())
        .filter(|entry| entry.kind == EntryKind::File)
        .filter_map(|entry| LogName::parse(&entry.name))
        .filter(|name| name.is_hour() && name.stamp() == period.start)
        .filter(|name| name.prefix() == settings.prefix && name.suffix() == Some(&settings.suffix))
        .collect();
    names.sort_by_key(|name| (name.extension().len(), name.extension().to_owned()));
    for name in names.into_iter().rev() {
        let path = layout.hour(&name);
        let Some(file) = locked(&*env.fs, &path, env.fs.open(&path))? else { continue };
        // Looked at under the lock: whoever sealed it had the lock then.
        if env.fs.stat(&layout.seal(&name))?.is_some() {
            continue;
        }
        if seal::ends_inside_a_line(&*file)? {
            append_all(&*file, b"\n")?;
        }
        return Ok(Some(Hour::new(name, period, file, env.clock.steady())));
    }
    Ok(None)
}

/// A new file for `period`: the plain name if it was never used, else one with a token.
pub(super) fn begun(env: &Env, layout: &Layout, settings: &Settings, period: Period) -> Result<Hour> {
    let mut tag = None;
    for _ in 0..TRIES {
        let name = LogName::hour(&settings.prefix, period.start, &settings.suffix, tag.as_deref());
        if let Some(file) = create(env, layout, &name)? {
            return Ok(Hour::new(name, period, file, env.clock.steady()));
        }
        tag = Some(token(env.clock.now(), fastrand::u32(..)));
    }
    Err(Error::retry("create", layout.dir().display(), Kind::Exists, "no unused file name was found"))
}

fn create(env: &Env, layout: &Layout, name: &LogName) -> Result<Option<Arc<dyn File>>> {
    let path = layout.hour(name);
    let file = match env.fs.create(&path) {
        Err(e) if e.kind == Kind::Exists => return Ok(None),
        other => other?,
    };
    if !file.try_lock()? {
        // A process that starts this instant took the empty file over: it is that one's now.
        return Ok(None);
    }
    // In this order: a retired hour's archive stands before its hour file goes, and its receipt before its archive does.
    let fs = &env.fs;
    let used = |ending: &str| -> Result<bool> {
        let packed = name.with_ending(ending);
        Ok(fs.stat(&layout.archive(&packed))?.is_some() || fs.stat(&layout.receipt(&packed))?.is_some())
    };
    if fs.stat(&layout.seal(name))?.is_some() || used(GZIP)? || used(ZSTD)? {
        fs.remove(&path)?;
        return Ok(None);
    }
    Ok(Some(file))
}
