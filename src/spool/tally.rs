//! Counts what happens to an hour file's lines on their way: see [`crate::format::tally`].

use super::Spool;
use crate::env::Env;
use crate::env::fs::{append_all, open_or_create, read_whole};
use crate::error::{Kind, Result};
use crate::format::layout::Layout;
use crate::format::name::LogName;
use crate::format::tally::{self, Event, Tally};

/// Notes an event. One that can't be noted is passed over: a count is no reason to keep a line waiting.
pub(super) fn note(env: &Env, layout: &Layout, name: &LogName, event: Event) {
    let path = layout.tally(name);
    if let Err(e) = open_or_create(&*env.fs, &path).and_then(|file| append_all(&*file, event.line().as_bytes())) {
        tracing::debug!("{e}; a count of what happened to {name} is lost");
    }
}

/// What was noted of an hour file.
pub(super) fn of(env: &Env, layout: &Layout, name: &LogName) -> Result<Tally> {
    match read_whole(&*env.fs, &layout.tally(name)) {
        Ok(data) => Ok(tally::read(&data)),
        Err(e) if e.kind == Kind::NotFound => Ok(Tally::default()),
        Err(e) => Err(e),
    }
}

impl Spool {
    /// Counts lines that came again for the file that is open.
    pub(super) fn count_resent(&mut self) {
        if self.resent > 0
            && let Some(open) = &self.open
        {
            note(&self.env, &self.layout, open.name(), Event::Resent(std::mem::take(&mut self.resent)));
        }
    }
}
