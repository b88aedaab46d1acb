//! The end of an hour file: complete its last line, make it durable, say in a seal what it holds. The order is: the
//! newline, the content, the name of the hour file, the seal.

use super::hour::Hour;
use super::tail::{self, Tail, ends_inside_a_line};
use super::{claim, ids, resend, tally};
use crate::env::Env;
use crate::env::fs::{EntryKind, File, append_all, locked, publish_bytes, read_whole};
use crate::error::{Error, Kind, Result};
use crate::format::layout::Layout;
use crate::format::name::LogName;
use crate::format::period::Period;
use crate::format::seal::{Ended, Seal, VERSION};
use std::time::Duration;

/// Seals a file that this process wrote; its lock goes when `hour` does.
pub fn seal(env: &Env, layout: &Layout, hour: &Hour, ended: Ended) -> Result<()> {
    let file = &**hour.file();
    if ends_inside_a_line(file)? {
        append_all(file, b"\n")?;
    }
    let (first, last) = hour.arrivals();
    let seconds = u64::try_from((hour.period().end - hour.period().start).num_seconds()).ok();
    let tally = tally::of(env, layout, hour.name())?;
    // What is noted of the file was noted a moment after its first bytes came.
    let first = tally.began.into_iter().chain(first).min();
    let seal = Seal { version: VERSION, ended, bytes: file.len()?, seconds, counts: tally.counts, first, last };
    write(env, layout, hour.name(), file, &seal)?;
    env.watch.synced_bytes.add(hour.growth().made_durable(seal.bytes));
    Ok(())
}

/// Seals every hour file of the stream with this prefix that an earlier life left behind: not owned by anybody, not of
/// the running period or followed by a newer one. `own`: the session of this process. `last`: nobody comes after this life,
/// so that nothing waits any more. Returns why files stay as they are; those of the living are left alone ([`Kind::Busy`]).
pub fn recover(
    env: &Env,
    layout: &Layout,
    prefix: &str,
    every: Duration,
    own: Option<&str>,
    last: bool,
) -> Result<Vec<Error>> {
    // Before a file goes that tells what became of a session's last line.
    resend::settle(env, layout)?;
    let boot = env.fs.boot();
    let mut names: Vec<LogName> = (env.fs.list(layout.dir())?.into_iter())
        .filter(|entry| entry.kind == EntryKind::File)
        .filter_map(|entry| LogName::parse(&entry.name))
        .filter(|name| name.is_hour() && name.prefix() == prefix)
        .collect();
    names.sort_by(|a, b| {
        (a.suffix(), a.stamp(), a.extension().len(), a).cmp(&(b.suffix(), b.stamp(), b.extension().len(), b))
    });
    let now = env.clock.now();
    let mut stay = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let newer = names.get(at + 1).is_some_and(|next| next.suffix() == name.suffix());
        // Whatever the period's length was when it was begun: what a start does not continue has ended.
        let current = name.stamp() == Period::of(now, every).start;
        if current && !newer && !last {
            continue;
        }
        // A line that has begun waits for its pipe to come back with another process, as long as its period lasts.
        let waits = !last && Period::from_start(name.stamp(), every).end > now;
        if let Err(e) = recover_one(env, layout, name, every, &boot, own, waits) {
            if e.kind != Kind::Busy {
                tracing::warn!("{e}; tried again later");
            }
            stay.push(e);
        }
    }
    Ok(stay)
}

fn recover_one(
    env: &Env,
    layout: &Layout,
    name: &LogName,
    every: Duration,
    boot: &str,
    own: Option<&str>,
    waits: bool,
) -> Result<()> {
    if is_sealed(env, layout, name)? {
        return Ok(());
    }
    let path = layout.hour(name);
    let busy = || {
        Error::retry("seal", path.display(), Kind::Busy, "another process has it open")
            .mend("that process has to end it, or to leave")
    };
    // Opened for reading only: a handle of ours that writes would hide whether somebody else's does.
    let Some(file) = locked(&*env.fs, &path, env.fs.open_read(&path))? else {
        return if env.fs.stat(&path)?.is_none() { Ok(()) } else { Err(busy()) };
    };
    if is_sealed(env, layout, name)? {
        return Ok(());
    }
    let mark = claim::mark(env, layout, name)?;
    if file.has_writer() == Some(true) || claim::is_lived_in(env, layout, mark.as_ref(), boot, own)? {
        return Err(busy());
    }
    // Whoever wrote to it last did so when the last bytes came.
    let last = env.fs.stat(&path)?.map(|entry| entry.modified);
    let mut tail = tail::examine(&*file, mark.as_ref(), boot)?;
    if tail == Tail::Inside && waits && claim::waits(mark.as_ref(), boot) {
        return Ok(());
    }
    while let Tail::Torn(keep) = tail {
        tail::cut(env, layout, name, &*env.fs.open(&path)?, keep)?;
        tail = tail::examine(&*file, mark.as_ref(), boot)?;
    }
    if file.is_empty()? {
        env.fs.remove(&path)?;
        env.fs.remove(&layout.tally(name))?;
        return env.fs.remove(&layout.input(name));
    }
    if tail == Tail::Inside {
        append_all(&*env.fs.open(&path)?, b"\n")?;
        tracing::info!("{}: the last line had no newline and got one", path.display());
    }
    let bytes = file.len()?;
    let mut tally = tally::of(env, layout, name)?;
    tally.counts.recovered += 1;
    let seal = Seal {
        version: VERSION,
        ended: Ended::Recovered,
        bytes,
        seconds: tally.seconds.or(Some(every.as_secs())),
        counts: tally.counts,
        first: tally.began,
        last,
    };
    write(env, layout, name, &*file, &seal)?;
    tracing::info!("{}: left behind by an earlier life, {bytes} bytes; archived now", path.display());
    Ok(())
}

fn write(env: &Env, layout: &Layout, name: &LogName, file: &dyn File, seal: &Seal) -> Result<()> {
    ids::settle(env, layout, name, seal.bytes)?;
    file.sync()?;
    env.fs.sync_dir(layout.dir())?;
    let text = serde_json::to_vec(seal).unwrap_or_default();
    let draft = layout.draft("seal", std::process::id(), name);
    match publish_bytes(&*env.fs, &text, &draft, &layout.seal(name)) {
        Err(e) if e.kind != Kind::Exists => Err(e),
        _ => env.fs.remove(&layout.input(name)),
    }
}

/// The seal of a file, if it has ended; one that can't be read counts as none, and is taken away.
fn is_sealed(env: &Env, layout: &Layout, name: &LogName) -> Result<bool> {
    let path = layout.seal(name);
    match read_whole(&*env.fs, &path) {
        Ok(data) if serde_json::from_slice::<Seal>(&data).is_ok() => Ok(true),
        Ok(_) => env.fs.remove(&path).map(|()| false),
        Err(e) if e.kind == Kind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
