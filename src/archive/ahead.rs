//! What is sent while its hour lasts: the parts of the growing archive that are whole, and checkpoints. Both only spare the
//! end of the hour work and another host loss: whatever fails here is tried again, or left to the end.

use super::multipart::{self, Way};
use super::{Archive, codec};
use crate::env::fs::File;
use crate::env::store::{Body, Store};
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::format::name::LogName;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The media type of checkpoints.
const CHECKPOINT: &str = "application/octet-stream";

/// Takes what is to be sent ahead.
pub trait Sender: Send + Sync {
    /// So much of an archive that grows is packed.
    fn grown(&self, grown: Grown);
    /// This is to be put at its fixed key. One that still waits there is not sent any more.
    fn checkpoint(&self, key: &str, body: Body);
}

/// An archive that grows.
#[derive(Clone)]
pub struct Grown {
    /// Its name.
    pub name: LogName,
    /// The archive so far.
    pub work: Arc<dyn File>,
    /// The hour file that it is made of.
    pub source: Arc<dyn File>,
    /// How long the archive is so far, in bytes.
    pub len: u64,
}

/// One thing to send.
pub enum What {
    /// The parts that are whole.
    Parts(Grown),
    /// A checkpoint: its key, and what it says.
    Checkpoint(String, Body),
}

/// What became of it.
pub enum Done {
    /// How many bytes of the archive the far end holds in whole parts; `None`: there is no use in sending more.
    Parts(LogName, Result<Option<u64>>),
    /// A checkpoint.
    Checkpoint(String, Body, Result<()>),
}

impl Done {
    pub(super) fn failure(&self) -> Option<&Error> {
        match self {
            Self::Parts(_, done) => done.as_ref().err(),
            Self::Checkpoint(_, _, done) => done.as_ref().err(),
        }
    }
}

/// Sends it.
pub async fn send(archive: &Archive, store: &dyn Store, dest: &Dest, what: What) -> Done {
    match what {
        What::Parts(grown) => {
            let sent = send_parts(archive, store, dest, &grown).await;
            Done::Parts(grown.name, sent)
        }
        What::Checkpoint(key, body) => {
            let put = store.replace(&key, body.clone(), CHECKPOINT, None).await.map(|_| ());
            Done::Checkpoint(key, body, put)
        }
    }
}

async fn send_parts(archive: &Archive, store: &dyn Store, dest: &Dest, grown: &Grown) -> Result<Option<u64>> {
    let Some(parts) = store.parts() else { return Ok(None) };
    let key = dest.key(&grown.name);
    if multipart::is_taken(archive, store, &grown.name, &key).await? {
        return Ok(None);
    }
    // What leaves is on the disk here: after a power cut this host knows every line that is at the far end.
    grown.source.sync()?;
    archive.env.fs.sync_dir(archive.layout.dir())?;
    let content_type = codec::content_type(&grown.name.to_string());
    let body = Body { file: Arc::clone(&grown.work), offset: 0, len: grown.len };
    multipart::grow(Way { archive, store, parts, name: &grown.name, key: &key, content_type }, &body).await
}

/// What waits, and what is under way.
#[derive(Default)]
pub(super) struct Ahead {
    growing: Option<Grown>,
    /// Size of a part, in bytes.
    part_size: u64,
    /// What the far end holds of it.
    sent: u64,
    sending: Option<LogName>,
    /// An archive whose parts nobody wants.
    useless: Option<LogName>,
    checkpoint: Option<(String, Body)>,
    checkpointing: bool,
    tries: u32,
    due: Option<Instant>,
}

impl Ahead {
    /// Notes how far an archive has grown: whether there is a part to send.
    pub fn grown(&mut self, grown: Grown, part_size: u64) -> bool {
        if self.useless.as_ref() == Some(&grown.name) {
            return false;
        }
        if self.growing.as_ref().is_none_or(|growing| growing.name != grown.name) {
            self.sent = 0;
        }
        self.part_size = part_size;
        self.growing = Some(grown);
        self.has_part()
    }

    fn has_part(&self) -> bool {
        self.sending.is_none()
            && self.growing.as_ref().is_some_and(|grown| grown.len.saturating_sub(self.sent) >= self.part_size)
    }

    /// Its hour has ended: the rest of it is sent with the whole.
    pub fn ended(&mut self, name: &LogName) {
        self.growing.take_if(|growing| growing.name == *name);
    }

    pub fn checkpoint(&mut self, key: &str, body: Body) {
        self.checkpoint = Some((key.to_owned(), body));
    }

    pub fn is_sending(&self, name: &LogName) -> bool {
        self.sending.as_ref() == Some(name)
    }

    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// When there is something to do.
    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.has_part() || (self.checkpoint.is_some() && !self.checkpointing))
    }

    /// What is to be sent now.
    pub fn next_due(&mut self, now: Instant) -> Option<What> {
        if self.due.is_some_and(|due| due > now) {
            return None;
        }
        if !self.checkpointing
            && let Some((key, body)) = self.checkpoint.take()
        {
            self.checkpointing = true;
            return Some(What::Checkpoint(key, body));
        }
        if !self.has_part() {
            return None;
        }
        let grown = self.growing.clone()?;
        self.sending = Some(grown.name.clone());
        Some(What::Parts(grown))
    }

    /// Notes what became of it.
    pub fn settle(&mut self, done: Done, now: Instant, back_off: impl Fn(u32) -> Duration) {
        if done.failure().is_some() {
            self.due = Some(now + back_off(self.tries));
            self.tries += 1;
        } else {
            self.due = None;
            self.tries = 0;
        }
        match done {
            Done::Parts(name, done) => {
                self.sending = None;
                let current = self.growing.as_ref().is_some_and(|growing| growing.name == name);
                match done {
                    Ok(Some(sent)) if current => self.sent = sent,
                    Ok(None) => {
                        self.ended(&name);
                        self.useless = Some(name);
                    }
                    _ => {}
                }
            }
            Done::Checkpoint(key, body, done) => {
                self.checkpointing = false;
                if done.is_err() && self.checkpoint.is_none() {
                    self.checkpoint = Some((key, body));
                }
            }
        }
    }
}
