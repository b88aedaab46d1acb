//! Lines that an earlier session kept and that were surely not confirmed: the daemon sends them again, and they are
//! recognised, in their order, and not kept twice.
//!
//! What is expected here was never confirmed. So whichever equal line comes, the copy that is kept stands for it, and
//! no confirmed line can be lost by dropping it. What may have been confirmed is not expected: if it does come again, it is
//! kept twice.

use super::session::Session;
use crate::env::Env;
use crate::env::fs::{EntryKind, locked};
use crate::error::Result;
use crate::format::layout::Layout;
use crate::format::name::LogName;
use chrono::TimeDelta;
use std::time::Duration;

/// How many dead sessions are looked at, the newest first.
const SESSIONS: usize = 64;
/// A dead session is forgotten after that time: a daemon that has not come back with its queue by then never will.
const FORGOTTEN: TimeDelta = TimeDelta::days(7);
/// A process that is being killed holds its locks for a moment. For so many messages a session that began meanwhile
/// looks whether one that seemed to live was about to die with this very message in its hands;
const EARLY: u32 = 64;
/// and so often, with that pause, it looks again.
const LOOKS: u32 = 200;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What may come again.
pub(super) struct Resends {
    sessions: Vec<Session>,
    /// Those that seemed to live when this session began.
    living: Vec<Session>,
    messages: u32,
}

impl Resends {
    /// What the dead sessions of this DIR left.
    pub(super) fn load(env: &Env, layout: &Layout, own: &Session) -> Result<Self> {
        let (mut sessions, mut living) = (Vec::new(), Vec::new());
        for token in tokens(env, layout)?.into_iter().filter(|token| token != own.token()).take(SESSIONS) {
            match dead(env, layout, &token)? {
                Some(dead) => sessions.extend(dead),
                None => living.extend(Session::open(env, layout, &token)?),
            }
        }
        Ok(Self { sessions, living, messages: 0 })
    }

    /// Whether this line was kept by a session that died before it could confirm it. From then on it counts as seen, and
    /// the record of `own` says so.
    pub(super) fn recognises(&mut self, env: &Env, layout: &Layout, line: &[u8], own: &Session) -> Result<bool> {
        if !self.living.is_empty() {
            self.look_at_the_living(env, layout, line)?;
        }
        if self.sessions.is_empty() {
            return Ok(false);
        }
        let found = self.sessions.iter().position(|session| {
            // Several processes may look for the same line: the lock decides who has seen it.
            if !session.expects(line) || session.file().lock().is_err() {
                return false;
            }
            let still = session.expects(line);
            if !still {
                session.file().unlock();
            }
            still
        });
        let Some(at) = found else { return Ok(false) };
        let session = &self.sessions[at];
        own.again(line, || session.recognised());
        if !session.owes() {
            // One that stays is removed by recovery.
            let _ = session.end(env, layout);
            self.sessions.remove(at);
        } else {
            session.file().unlock();
        }
        Ok(true)
    }

    fn look_at_the_living(&mut self, env: &Env, layout: &Layout, line: &[u8]) -> Result<()> {
        self.messages += 1;
        let living = std::mem::take(&mut self.living);
        for session in living {
            let mut looks = 0;
            while session.holds(line) && looks < LOOKS {
                if let Some(found) = dead(env, layout, session.token())? {
                    self.sessions.extend(found);
                    break;
                }
                looks += 1;
                env.clock.nap(LOOK_AGAIN);
            }
            if looks == 0 && self.messages < EARLY && !self.sessions.iter().any(|s| s.token() == session.token()) {
                self.living.push(session);
            }
        }
        Ok(())
    }
}

/// Looks at every dead session: what became of its last append, and whether anybody still has to know of it.
pub(super) fn settle(env: &Env, layout: &Layout) -> Result<()> {
    let mut left = 0;
    for token in tokens(env, layout)? {
        if let Some(Some(session)) = dead(env, layout, &token)? {
            left += 1;
            if left > SESSIONS {
                session.end(env, layout)?;
            }
        }
    }
    Ok(())
}

/// The tokens of all sessions, the newest first.
fn tokens(env: &Env, layout: &Layout) -> Result<Vec<String>> {
    let mut entries = env.fs.list(&layout.sessions())?;
    entries.retain(|entry| entry.kind == EntryKind::File);
    entries.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

/// A session that is dead, settled, with its lock given back; `Some(None)` if nothing of it needs to be known, `None` if it
/// lives or somebody else looks at it.
fn dead(env: &Env, layout: &Layout, token: &str) -> Result<Option<Option<Session>>> {
    let path = layout.session(token);
    let Some(lock) = locked(&*env.fs, &path, env.fs.open_read(&path))? else { return Ok(None) };
    let old = env.fs.stat(&path)?.is_none_or(|entry| entry.modified + FORGOTTEN < env.clock.now());
    let Some(session) = Session::open(env, layout, token)?.filter(|_| !old) else {
        env.fs.remove(&path)?;
        return Ok(Some(None));
    };
    if !append_settled(env, layout, &session)? {
        return Ok(None);
    }
    if !session.owes() {
        env.fs.remove(&path)?;
        return Ok(Some(None));
    }
    make_durable(env, layout, &session)?;
    lock.unlock();
    Ok(Some(Some(session)))
}

/// Makes durable what a session has kept: whoever confirms it from now on does not write it again, nor sync it. (Earlier
/// files of a transaction were synced when they ended.)
pub(super) fn make_durable(env: &Env, layout: &Layout, session: &Session) -> Result<()> {
    let (name, id) = session.file_named();
    let Some(name) = LogName::parse(&name) else { return Ok(()) };
    let path = layout.hour(&name);
    if env.fs.stat(&path)?.is_some_and(|entry| entry.id == id) {
        env.fs.open_read(&path)?.sync()?;
        env.fs.sync_dir(layout.dir())?;
    }
    Ok(())
}

/// Finds out whether the message that a dead session was appending is in its file; what is there of a part of it is cut
/// off. False if the file is in use just now.
fn append_settled(env: &Env, layout: &Layout, session: &Session) -> Result<bool> {
    let Some(place) = session.place() else { return Ok(true) };
    let Some(name) = LogName::parse(&place.name) else {
        session.settle(false);
        return Ok(true);
    };
    let path = layout.hour(&name);
    if env.fs.stat(&path)?.is_none_or(|entry| entry.id != place.id) {
        // Its file was archived meanwhile, with the line or without: if it comes, it is kept once more.
        session.settle(false);
        return Ok(true);
    }
    let Some(file) = locked(&*env.fs, &path, env.fs.open(&path))? else { return Ok(false) };
    let len = file.len()?;
    let whole = len >= place.from + place.bytes;
    if !whole && len > place.from {
        super::tail::cut(env, layout, &name, &*file, place.from)?;
    }
    session.settle(whole);
    Ok(true)
}
