//! Which file a process writes to: one that it continues, or one whose name was never used.

use super::Settings;
use super::hour::Hour;
use super::session::Session;
use super::tail::{self, Tail};
use super::tally;
use crate::env::Env;
use crate::env::fs::{EntryKind, File, FileId, append_all, locked, read_whole};
use crate::error::{Error, Kind, Result};
use crate::format::layout::{GZIP, Layout, ZSTD};
use crate::format::mark::Mark;
use crate::format::name::{LogName, token};
use crate::format::period::Period;
use crate::format::tally::Event;
use std::path::PathBuf;
use std::sync::Arc;

/// How many names are tried before it is called an error.
const TRIES: u32 = 16;

/// The newest file of this stream that nobody owns, that has not ended, and that is of this period or ends inside a line
/// of the same pipe. One that ends inside a line of another pipe is left to that; a line whose input has ended is
/// completed: what comes now is not its rest.
pub(super) fn continued(
    env: &Env,
    layout: &Layout,
    settings: &Settings,
    period: Period,
    ours: &Mark,
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
        let theirs = mark(env, layout, &name)?;
        let fed = theirs.as_ref().is_some_and(|theirs| theirs.same_pipe(ours));
        if name.stamp() != period.start && !fed {
            continue;
        }
        if is_lived_in(env, layout, theirs.as_ref(), &ours.boot, ours.session.as_deref())? {
            continue;
        }
        let Some(file) = locked(&*env.fs, &path, env.fs.open(&path))? else { continue };
        let mut tail = tail::examine(&*file, theirs.as_ref(), &ours.boot)?;
        // Looked at under the lock: whoever sealed it had the lock then.
        // A file that a life made and died before it saw that the name was used is left to recovery.
        if used(env, layout, &name)? || (name.stamp() != period.start && tail == Tail::Whole) {
            continue;
        }
        // The rest of that line may still come, by its own pipe.
        if tail == Tail::Inside && !fed && waits(theirs.as_ref(), &ours.boot) {
            continue;
        }
        while let Tail::Torn(keep) = tail {
            tail::cut(env, layout, &name, &*file, keep)?;
            tail = tail::examine(&*file, theirs.as_ref(), &ours.boot)?;
        }
        if tail == Tail::Inside && !fed {
            append_all(&*file, b"\n")?;
        }
        // Also one that is ours already: the worker that wrote it may have been killed before it was on the disk.
        if theirs.as_ref() != Some(ours) || ours.session.is_some() {
            if ours.session.is_some() {
                // While there is no mark, nothing at its end may be torn.
                file.sync()?;
            }
            set_mark(env, layout, &name, ours)?;
        }
        tally::note(env, layout, &name, Event::Recovered);
        let period = Period::from_start(name.stamp(), settings.every);
        let partial = tail == Tail::Inside && fed;
        let hour = Hour::continued(name, period, file, env.clock.steady(), partial)?;
        // What was not to stay is cut off.
        hour.settle();
        return Ok(Some(hour));
    }
    Ok(None)
}

/// The file that an earlier worker of our session wrote: nobody else has touched it since.
pub(super) fn reopened(
    env: &Env,
    layout: &Layout,
    settings: &Settings,
    name: &str,
    id: FileId,
) -> Result<Option<Hour>> {
    let Some(name) = LogName::parse(name) else { return Ok(None) };
    let path = layout.hour(&name);
    let Some(file) = locked(&*env.fs, &path, env.fs.open(&path))? else { return Ok(None) };
    if file.id()? != id || used(env, layout, &name)? {
        return Ok(None);
    }
    let partial = tail::ends_inside_a_line(&*file)?;
    tally::note(env, layout, &name, Event::Recovered);
    let period = Period::from_start(name.stamp(), settings.every);
    Hour::continued(name, period, file, env.clock.steady(), partial).map(Some)
}

/// What a file is fed from, as far as it is known.
pub(super) fn mark(env: &Env, layout: &Layout, name: &LogName) -> Result<Option<Mark>> {
    match read_whole(&*env.fs, &layout.input(name)) {
        Ok(data) => Ok(Mark::parse(&data)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether another session than `own` feeds a file and lives, although the file has no lock: its next worker takes it up in
/// a moment.
pub(super) fn is_lived_in(
    env: &Env,
    layout: &Layout,
    theirs: Option<&Mark>,
    boot: &str,
    own: Option<&str>,
) -> Result<bool> {
    match theirs {
        Some(Mark { session: Some(token), boot: life, .. }) if *life == boot && Some(token.as_str()) != own => {
            Session::is_alive(env, layout, token)
        }
        _ => Ok(false),
    }
}

/// Whether the rest of a line may still come by another pipe.
pub(super) fn waits(theirs: Option<&Mark>, boot: &str) -> bool {
    theirs.is_some_and(|mark| mark.pipe.is_some() && mark.boot == boot && mark.session.is_none())
}

/// Says what feeds a file from now on. On the disk at once only where lines are confirmed: after a power cut it tells that
/// an unfinished one at the file's end was not.
pub(super) fn set_mark(env: &Env, layout: &Layout, name: &LogName, ours: &Mark) -> Result<()> {
    let path = layout.input(name);
    env.fs.remove(&path)?;
    let file = match env.fs.create(&path) {
        // Somebody emptied DIR.
        Err(e) if e.kind == Kind::NotFound => {
            env.fs.make_dir(&layout.private())?;
            env.fs.make_dir(&layout.inputs())?;
            env.fs.create(&path)?
        }
        created => created?,
    };
    append_all(&*file, ours.to_string().as_bytes())?;
    if ours.session.is_some() {
        file.sync()?;
        env.fs.sync_dir(&layout.inputs())?;
    }
    Ok(())
}

/// A new file for `period`: the plain name if it was never used, else one with a token.
pub(super) fn begun(env: &Env, layout: &Layout, settings: &Settings, period: Period, ours: &Mark) -> Result<Hour> {
    let mut tag = None;
    for _ in 0..TRIES {
        let name = LogName::hour(&settings.prefix, period.start, &settings.suffix, tag.as_deref());
        if let Some(file) = create(env, layout, &name)? {
            if let Err(e) = set_mark(env, layout, &name, ours) {
                // Or each further try would leave an empty file.
                env.fs.remove(&layout.hour(&name))?;
                return Err(e);
            }
            tally::note(env, layout, &name, Event::Began(env.clock.now(), settings.every.as_secs()));
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
    let created = match env.fs.create(&path) {
        Err(e) if e.kind == Kind::Exists => return Ok(None),
        created => created,
    };
    // A process that starts this instant may have taken the empty file over, or away.
    let Some(file) = locked(&*env.fs, &path, created)? else { return Ok(None) };
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
