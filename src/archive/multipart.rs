//! Sending an archive in parts, also while it grows. Each part that the far end took is written to the upload's journal, so
//! that the next try, in this life or another, goes on from there: nothing is paid for twice, and nothing is left open.

use super::{Archive, chain};
use crate::env::checksum;
use crate::env::fs::{File, append_all, read_whole};
use crate::env::store::{Body, Multipart, Part, Store, Stored};
use crate::error::{Class, Error, Kind, Result};
use crate::format::journal::{self, Sent, Upload, VERSION};
use crate::format::name::LogName;
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An archive on its way to its key.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub archive: &'a Archive,
    pub store: &'a dyn Store,
    pub parts: &'a dyn Multipart,
    pub name: &'a LogName,
    pub key: &'a str,
    pub content_type: &'a str,
}

/// An upload that is open.
struct Open {
    upload: Upload,
    id: String,
    done: BTreeMap<i32, Part>,
    journal: Arc<dyn File>,
}

/// Sends an archive in parts, and makes the object of them.
pub(super) async fn send(way: Way<'_>, body: Body) -> Result<Stored> {
    let sent = send_all(way, &body).await;
    match sent {
        Err(e) if e.kind == Kind::NotFound => {
            abandon(way.archive, way.store, way.name).await?;
            // Gone: completed by a try whose answer got lost, finished by a rescue, or expired. The object itself tells which.
            match way.store.matches(way.key, body).await {
                Ok(true) => Ok(Stored::default()),
                Ok(false) => Err(Error::stop("upload", way.name, Kind::Exists, "something else stands at the key")),
                Err(e) if e.kind == Kind::Denied => Err(e),
                Err(_) => {
                    Err(Error::retry("upload", way.name, Kind::NotFound, "the upload in parts is not known any more"))
                }
            }
        }
        Err(e) if e.kind == Kind::Exists => {
            abandon(way.archive, way.store, way.name).await?;
            Err(e)
        }
        other => other,
    }
}

async fn send_all(way: Way<'_>, body: &Body) -> Result<Stored> {
    let mut open = open(way, body).await?;
    let count = open.upload.count(body.len, true);
    send_parts(way, &mut open, body, count).await?;
    let all: Vec<Part> = open.done.into_values().collect();
    let lens = (1..=count).map(|n| open.upload.end(n).min(body.len) - open.upload.end(n - 1));
    let crcs: Vec<_> = all.iter().map(|part| part.crc.as_str()).zip(lens).collect();
    // As if the upload were not known: it is begun again.
    let damaged = || Error::retry("upload", way.name, Kind::NotFound, "its journal is damaged");
    let crc = checksum::combine(&crcs).ok_or_else(damaged)?;
    let stored = way.parts.complete(way.key, &open.id, &all, &crc).await?;
    if open.upload.doubt {
        // If that fails, the next try finds the upload completed, and looks again.
        close_others(way.parts, way.key, Some(&open.id)).await?;
    }
    way.archive.env.fs.remove(&way.archive.layout.journal(way.name))?;
    Ok(stored)
}

/// Sends the parts that are whole in an archive that grows and is `body.len` bytes long so far: how many bytes the far end holds
/// then. `None` if there is no use in that: something stands at the key.
pub(super) async fn grow(way: Way<'_>, body: &Body) -> Result<Option<u64>> {
    if body.len < way.parts.part_size() {
        return Ok(Some(0));
    }
    let sent = async {
        let mut open = open(way, body).await?;
        let count = open.upload.count(body.len, false);
        send_parts(way, &mut open, body, count).await?;
        Ok::<u64, Error>(open.upload.end(count))
    };
    match sent.await {
        Err(e) if e.kind == Kind::NotFound => {
            abandon(way.archive, way.store, way.name).await?;
            match way.store.look(way.key).await {
                Ok(Some(_)) => Ok(None),
                // Not allowed to know: the end of the hour will tell.
                Err(looked) if looked.kind != Kind::Denied => Err(looked),
                // Begun again in a while: a server that forgets each upload is not to be asked without end.
                _ => Err(Error::retry("upload", way.name, Kind::NotFound, e)),
            }
        }
        sent => sent.map(Some),
    }
}

/// Whether somebody else is sending to a key: a host of this name that lost its disk, and whose hour a rescue can finish at that
/// key only. The first hour of a DIR is asked about, no other one can meet that.
pub(super) async fn is_taken(archive: &Archive, store: &dyn Store, name: &LogName, key: &str) -> Result<bool> {
    let Some(parts) = store.parts() else { return Ok(false) };
    if archive.env.fs.stat(&archive.layout.journal(name))?.is_some() || chain::is_begun(archive, name)? {
        return Ok(false);
    }
    match parts.open(key).await {
        // Without the right to look: then a rescue says what to do.
        Err(e) if e.class != Class::Retry => Ok(false),
        open => Ok(!open?.is_empty()),
    }
}

/// Gives up the upload that a journal tells of, and removes the journal.
pub(super) async fn abandon(archive: &Archive, store: &dyn Store, name: &LogName) -> Result<()> {
    let path = archive.layout.journal(name);
    let data = match read_whole(&*archive.env.fs, &path) {
        Err(e) if e.kind == Kind::NotFound => return Ok(()),
        other => other?,
    };
    if let (Some((upload, _)), Some(parts)) = (journal::read::<Part>(&data), store.parts())
        && upload.store == store.name()
    {
        close(parts, &upload).await?;
    }
    archive.env.fs.remove(&path)
}

/// What the far end holds of an archive.
pub(super) struct Ahead {
    /// The upload's identity.
    pub id: String,
    /// The parts, from the first on without a gap, and their lengths in bytes.
    pub parts: Vec<(Part, u64)>,
}

impl Ahead {
    /// How many bytes that are.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, len)| len).sum()
    }
}

/// What the journal tells of as sent by this life.
pub(super) fn sent(archive: &Archive, name: &LogName) -> Result<Option<Ahead>> {
    let data = match read_whole(&*archive.env.fs, &archive.layout.journal(name)) {
        Err(e) if e.kind == Kind::NotFound => return Ok(None),
        other => other?,
    };
    let Some((upload, sent)) = journal::read::<Part>(&data) else { return Ok(None) };
    let Some(id) = upload.upload.clone() else { return Ok(None) };
    let own = sent.into_iter().filter(|sent| sent.life == archive.life).map(|sent| (sent.part.number, sent.part));
    let own: BTreeMap<i32, Part> = own.collect();
    let parts: Vec<(Part, u64)> = (own.into_iter().zip(1..))
        .map_while(|((n, part), at)| (n == at).then(|| (part, upload.end(n) - upload.end(n - 1))))
        .collect();
    Ok((!parts.is_empty()).then_some(Ahead { id, parts }))
}

/// Aborts an upload, and what may be open instead of one whose identity got lost.
async fn close(parts: &dyn Multipart, upload: &Upload) -> Result<()> {
    if let Some(id) = &upload.upload {
        parts.abort(&upload.key, id).await?;
    }
    if upload.upload.is_none() || upload.doubt {
        close_others(parts, &upload.key, None).await?;
    }
    Ok(())
}

/// Aborts what is open to a key beside an upload. Without the right to look, a lifecycle rule has to; where looking fails for now,
/// it is tried again.
async fn close_others(parts: &dyn Multipart, key: &str, own: Option<&str>) -> Result<()> {
    let found = match parts.open(key).await {
        Err(e) if e.class != Class::Retry => {
            tracing::debug!("{e}; an upload that nobody knows may stay open");
            return Ok(());
        }
        found => found?,
    };
    for id in found.iter().filter(|id| Some(id.as_str()) != own) {
        parts.abort(key, id).await?;
    }
    Ok(())
}

/// The upload that the journal tells of, if it is the one of this archive; else another one.
async fn open(way: Way<'_>, body: &Body) -> Result<Open> {
    let fs = &way.archive.env.fs;
    let path = way.archive.layout.journal(way.name);
    let data = match read_whole(&**fs, &path) {
        Err(e) if e.kind == Kind::NotFound => Vec::new(),
        other => other?,
    };
    let file = body.file.id()?;
    let mut doubt = false;
    if let Some((upload, sent)) = journal::read::<Part>(&data)
        && upload.store == way.store.name()
    {
        let same = upload.version == VERSION && upload.key == way.key && upload.file == file;
        if let (Some(id), true) = (upload.upload.clone(), same) {
            let journal = fs.open(&path)?;
            let done = still_true(way, &upload, sent, body, &*journal)?;
            return Ok(Open { upload, id, done, journal });
        }
        close(way.parts, &upload).await?;
        doubt = upload.upload.is_none() || upload.doubt;
    }
    fs.remove(&path)?;
    let upload = Upload {
        version: VERSION,
        store: way.store.name().to_owned(),
        key: way.key.to_owned(),
        upload: None,
        doubt,
        file,
        part_size: way.parts.part_size(),
    };
    begin(way, upload).await
}

/// Before it is asked for the journal says that it may be open: the answer may get lost.
async fn begin(way: Way<'_>, mut upload: Upload) -> Result<Open> {
    let fs = &way.archive.env.fs;
    let path = way.archive.layout.journal(way.name);
    let journal = fs.create(&path)?;
    append_all(&*journal, &journal::line(&upload))?;
    journal.sync()?;
    fs.sync_dir(&way.archive.layout.journals())?;
    let id = way.parts.begin(way.key, way.content_type).await?;
    upload.upload = Some(id.clone());
    let written = append_all(&*journal, &journal::line(&upload)).and_then(|()| journal.sync());
    if let Err(e) = written {
        way.parts.abort(way.key, &id).await?;
        return Err(e);
    }
    Ok(Open { upload, id, done: BTreeMap::new(), journal })
}

/// The parts whose bytes are still those of the archive, taken over by this life. Who was here before may have sent what a power
/// cut then took away.
fn still_true(
    way: Way<'_>,
    upload: &Upload,
    sent: Vec<Sent<Part>>,
    body: &Body,
    journal: &dyn File,
) -> Result<BTreeMap<i32, Part>> {
    let mut done = BTreeMap::new();
    for Sent { part, life } in sent {
        done.insert(part.number, (part, life));
    }
    let mut kept = BTreeMap::new();
    for (number, (part, life)) in done {
        if life != way.archive.life {
            let (from, to) = (upload.end(number - 1), upload.end(number).min(body.len));
            let range = Body { offset: body.offset + from, len: to.saturating_sub(from), ..body.clone() };
            if from >= to || checksum::encode(checksum::of_body(&range)?) != part.crc {
                continue;
            }
            append_all(journal, &journal::line(&Sent { part: part.clone(), life: way.archive.life }))?;
        }
        kept.insert(number, part);
    }
    Ok(kept)
}

async fn send_parts(way: Way<'_>, open: &mut Open, body: &Body, count: i32) -> Result<()> {
    open.done.retain(|number, _| *number <= count);
    let missing: Vec<i32> = (1..=count).filter(|n| !open.done.contains_key(n)).collect();
    let (upload, id) = (&open.upload, &open.id);
    let sending = stream::iter(missing).map(|number| {
        let from = upload.end(number - 1);
        let len = upload.end(number).min(body.len) - from;
        let range = Body { offset: body.offset + from, len, ..body.clone() };
        way.parts.send(way.key, id, number, from, range)
    });
    let mut sending = sending.buffer_unordered(way.parts.concurrency());
    while let Some(part) = sending.next().await {
        let part = part?;
        append_all(&*open.journal, &journal::line(&Sent { part: part.clone(), life: way.archive.life }))?;
        open.done.insert(part.number, part);
    }
    Ok(())
}
