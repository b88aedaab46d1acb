//! Messages that are confirmed one by one. Where each of them stands is in the session's record before it is in the file,
//! so that at any moment the record and the file's length tell whether the message is kept.

use super::claim;
use super::hour::Hour;
use super::ids::Ids;
use super::proof::{Kept, Synced};
use super::resend::{self, Resends};
use super::session::Session;
use super::{Spool, SyncPolicy, written_of};
use crate::env::record::{Place, Step};
use crate::error::{Error, Kind, Result};
use crate::format::identity::{self, Identity};
use crate::format::seal::Ended;
use std::sync::Arc;

impl Spool {
    /// Keeps a message, the newline at its end included. On an error it is not kept, or not wholly: the same message has to
    /// be given again, until it is.
    pub fn keep(&mut self, message: &[u8]) -> Result<Kept> {
        let session = self.dialogue()?;
        self.look()?;
        let kept = match session.step() {
            Step::Again | Step::Kept => Ok(Kept(())),
            _ if self.settings.ids => self.keep_once(&session, message),
            Step::Append => self.append(&session, message, None),
            _ if self.is_resent(&session, message)? => Ok(Kept(())),
            _ => self.append(&session, message, None),
        };
        if kept.is_ok() {
            self.went_well();
            if self.settings.sync != SyncPolicy::Commit
                && let Some(open) = &self.open
            {
                open.settle();
            }
        }
        kept
    }

    /// Makes what was kept since the last commit durable, as far as `--sync` asks for it before a commit.
    ///
    /// # Errors
    /// The disk failed to keep it: then none of it is in the open file any more, and all of it has to come again.
    pub fn commit(&mut self) -> Result<Synced> {
        let session = self.dialogue()?;
        if self.settings.sync == SyncPolicy::Commit {
            let synced = match (self.unsynced.take(), &self.open) {
                (Some(e), _) => Err(e),
                (None, Some(open)) if open.len() > self.committed => {
                    self.syncer.force(written_of(open, self.ids.as_ref()))
                }
                (None, _) => Ok(()),
            };
            if let Err(e) = synced {
                self.take_back(&session, self.committed);
                return Err(e);
            }
        }
        self.committed = self.open.as_ref().map_or(0, Hour::len);
        if let Some(open) = &self.open {
            open.settle();
        }
        session.set_committed(self.committed);
        Ok(Synced(()))
    }

    /// A message that is in its file in part only will not be kept after all: its sender still has it. (One that is there as
    /// a whole may be about to be confirmed.)
    pub fn give_up(&mut self) {
        let Some(session) = self.session.clone() else { return };
        if let Some(place) = session.place()
            && self.begun_at(&place).is_some_and(|done| (done as u64) < place.bytes)
            && self.open.as_mut().is_some_and(|open| open.truncate(place.from).is_ok())
        {
            session.appends_not();
        }
    }

    fn dialogue(&self) -> Result<Arc<Session>> {
        self.session.clone().ok_or_else(none)
    }

    /// At the first look: goes on in the file where this session's earlier worker was killed, and reads what dead sessions left.
    pub(super) fn look_back(&mut self) -> Result<()> {
        let Some(session) = self.session.clone() else { return Ok(()) };
        if self.open.is_none() {
            self.reopen(&session)?;
        }
        if self.settings.ids && self.ids.is_none() {
            session.set_identified();
            self.ids = Some(Ids::open(&self.env, &self.layout)?);
        }
        if self.resends.is_none() && !self.settings.ids {
            self.resends = Some(Resends::load(&self.env, &self.layout, &session)?);
        }
        Ok(())
    }

    /// Goes on in the file where an earlier worker of this session was killed.
    fn reopen(&mut self, session: &Session) -> Result<()> {
        let refused = session.step() == Step::Refused;
        if !refused {
            // What that worker kept in a transaction is part of its commit.
            resend::make_durable(&self.env, &self.layout, session)?;
        }
        if refused || session.step() == Step::Append {
            let (name, id) = session.file_named();
            self.open = claim::reopened(&self.env, &self.layout, &self.settings, &name, id)?;
        }
        if refused {
            self.take_back(session, session.committed());
        }
        Ok(())
    }

    /// How long the open file was at the last commit: an earlier worker of this session may have written more to it.
    pub(super) fn was_committed(&self) -> Result<u64> {
        let Some(open) = &self.open else { return Ok(0) };
        match &self.session {
            Some(session) if session.file_named().1 == open.file().id()? => Ok(session.committed()),
            _ => Ok(open.len()),
        }
    }

    fn is_resent(&mut self, session: &Session, message: &[u8]) -> Result<bool> {
        let (env, layout) = (&self.env, &self.layout);
        let resent = match &mut self.resends {
            Some(resends) => resends.recognises(env, layout, message, session)?,
            None => false,
        };
        if resent {
            self.resent += 1;
            self.env.watch.resent_messages.add(1);
            tracing::debug!("a message that was kept before and not confirmed came again; it is not kept twice");
        }
        Ok(resent)
    }

    /// Keeps a line unless its identity is known.
    fn keep_once(&mut self, session: &Session, message: &[u8]) -> Result<Kept> {
        let piece = session.place().is_none() && self.open.as_ref().is_some_and(Hour::partial);
        if self.dropping {
            self.dropping = message.last() != Some(&b'\n');
            return Ok(Kept(()));
        }
        let split = if piece { None } else { identity::split(message) };
        let Some((identity, line)) = split else {
            if !piece && !std::mem::replace(&mut self.nameless, true) {
                tracing::warn!("a line came without an identity in front of it; such lines are kept as they are");
            }
            return self.append(session, message, None);
        };
        // With its text: where rsyslog can't make identities, all lines have the same one.
        let hash = Identity::hash_of(message);
        self.note_identity(identity, hash);
        let Some(ids) = &mut self.ids else { return Err(none()) };
        if ids.knows(&self.settings, hash)? {
            if session.place().is_some_and(|place| self.begun_at(&place).is_some_and(|done| done > 0)) {
                return self.append(session, line, None);
            }
            tracing::debug!("a line came again; it is not kept twice");
            self.resent += 1;
            self.env.watch.resent_messages.add(1);
            session.appends_not();
            self.dropping = message.last() != Some(&b'\n');
            return Ok(Kept(()));
        }
        let kept = self.append(session, line, Some(hash));
        if let Some(ids) = &mut self.ids {
            if kept.is_ok() {
                ids.add(hash);
            }
            ids.release();
        }
        kept
    }

    fn note_identity(&mut self, identity: &[u8], message: u128) {
        let both = (Identity::hash_of(identity), message);
        let twice = self.last_identity.replace(both).is_some_and(|last| last.0 == both.0 && last.1 != both.1);
        if twice && !std::mem::replace(&mut self.nameless, true) {
            let shown = String::from_utf8_lossy(&identity[..identity.len().min(40)]).into_owned();
            tracing::warn!("two lines in a row have the identity {shown:?}, and are not the same; both are kept");
        }
    }

    fn append(&mut self, session: &Session, message: &[u8], identity: Option<u128>) -> Result<Kept> {
        let now = self.env.clock.now();
        // A file that has ended in the middle of the message is finished with it.
        let mut done = match session.place() {
            Some(place) => self.begun_at(&place).unwrap_or(0),
            None => 0,
        };
        if session.place().is_none() || done == 0 {
            if let Some(ended) =
                self.open.as_ref().filter(|open| !open.partial()).and_then(|open| self.over_at(open, now))
            {
                self.end(ended);
            }
            let committed = self.committed;
            let open = self.current()?;
            if !open.recorded() {
                let id = open.file().id()?;
                // Not while the record still tells of the file before.
                session.appends_not();
                session.names(&open.name().to_string(), id, committed);
                open.set_recorded();
            }
            session.appends(message, open.len());
        }
        if let (Some(hash), Some(ids), Some(open)) = (identity, &mut self.ids, &self.open)
            && let Some(place) = session.place()
        {
            ids.note(open.name(), hash, place.from, place.from + place.bytes)?;
        }
        while done < message.len() {
            let open = self.current()?;
            // When it was touched matters to lines without a dialogue only.
            let touched = open.touched();
            let taken = open.append(&message[done..], now, touched)?;
            done += taken;
            self.env.watch.received_bytes.add(taken as u64);
        }
        self.env.watch.received_messages.add(1);
        self.written();
        self.synced_message(session)
    }

    /// How much of the message at hand is in the open file; `None` if it is another file.
    fn begun_at(&self, place: &Place) -> Option<usize> {
        let open = self.open.as_ref().filter(|open| open.name().to_string() == place.name)?;
        usize::try_from(open.len().checked_sub(place.from)?.min(place.bytes)).ok()
    }

    /// With `--sync=message`: if the sync failed, the message goes to another file.
    fn synced_message(&mut self, session: &Session) -> Result<Kept> {
        let failed = self.settings.sync == SyncPolicy::Message
            && self.open.as_ref().is_some_and(|open| self.syncer.failed(open.file()));
        if failed {
            let from = session.place().map_or(0, |place| place.from);
            self.take_back(session, from);
            session.appends_not();
            return Err(Error::retry("sync", "the last message", Kind::Other, "not known to be on the disk"));
        }
        Ok(Kept(()))
    }

    /// The open file lost what came after `len`, as far as anybody knows: takes it out, and ends the file.
    fn take_back(&mut self, session: &Session, len: u64) {
        // Before anything else: a second sync would prove nothing, also to the next worker.
        session.refuses(len);
        if let Some(open) = &mut self.open
            && let Err(e) = open.truncate(len)
        {
            tracing::error!("{e}; what comes again now may be there twice");
        }
        if let Some(ids) = &mut self.ids
            && let Err(e) = ids.cut(len)
        {
            tracing::error!("{e}; what comes again now may be taken for known");
        }
        // An empty one is left to recovery, which removes it.
        match self.open.take_if(|open| open.len() == 0) {
            Some(_) => self.committed = 0,
            None => self.end(Ended::Fault),
        }
        self.unsynced = None;
    }
}

fn none() -> Error {
    Error::stop("confirm", "a message", Kind::Other, "there is no dialogue")
}
