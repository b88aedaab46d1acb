//! A session: one dialogue with one daemon. It lives as long as the process that began it, or its guard: they hold the lock
//! of its record.

use crate::env::Env;
use crate::env::fs::{File, locked};
use crate::env::record::Record;
use crate::error::{Error, Kind, Result};
use crate::format::layout::Layout;
use crate::format::name::token;
use crate::format::session::WORDS;
use std::ops::Deref;
use std::sync::Arc;

/// How many tokens are tried before it is called an error.
const TRIES: u32 = 16;

/// A session, and its record.
pub struct Session {
    token: String,
    record: Record,
    file: Arc<dyn File>,
}

impl Session {
    /// Begins one: nothing is open, and the first `OK` has not been sent.
    pub fn begin(env: &Env, layout: &Layout) -> Result<Self> {
        for _ in 0..TRIES {
            let token = token(env.clock.now(), fastrand::u32(..));
            let path = layout.session(&token);
            let created = match env.fs.create(&path) {
                Err(e) if e.kind == Kind::Exists => continue,
                other => other,
            };
            // Who tidies up may have found it without a lock.
            let Some(file) = locked(&*env.fs, &path, created)? else { continue };
            let slate = match file.map(WORDS) {
                Ok(slate) => slate,
                Err(e) => {
                    env.fs.remove(&path)?;
                    return Err(e);
                }
            };
            return Ok(Self { token, record: Record::begin(slate, &env.fs.boot()), file });
        }
        Err(Error::retry("create", layout.sessions().display(), Kind::Exists, "no unused name was found"))
    }

    /// The record with this token; `None` if it is none of this life of the system.
    pub fn open(env: &Env, layout: &Layout, token: &str) -> Result<Option<Self>> {
        let path = layout.session(token);
        let file = match env.fs.open(&path) {
            Err(e) if e.kind == Kind::NotFound => return Ok(None),
            other => other?,
        };
        Self::of(env, token, file)
    }

    /// The record in this file; `None` as above.
    pub fn of(env: &Env, token: &str, file: Arc<dyn File>) -> Result<Option<Self>> {
        // A shorter one was never begun; mapping would make it long.
        if file.len()? < (WORDS * size_of::<u64>()) as u64 {
            return Ok(None);
        }
        let record = Record::open(file.map(WORDS)?, &env.fs.boot());
        Ok(record.map(|record| Self { token: token.to_owned(), record, file }))
    }

    /// Whether a session lives: its process or its guard does.
    pub fn is_alive(env: &Env, layout: &Layout, token: &str) -> Result<bool> {
        let path = layout.session(token);
        match env.fs.open_read(&path) {
            Err(e) if e.kind == Kind::NotFound => Ok(false),
            opened => Ok(!opened?.try_lock()?),
        }
    }

    /// Its name.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its file, whose descriptor keeps the lock.
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Takes its record away: nobody needs to know any more.
    pub fn end(&self, env: &Env, layout: &Layout) -> Result<()> {
        env.fs.remove(&layout.session(&self.token))
    }
}

impl Deref for Session {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}
