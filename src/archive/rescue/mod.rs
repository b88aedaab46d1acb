//! Finishes the hours of hosts that are gone, from their checkpoints: the parts that the far end holds, with the tail behind
//! them, become the object. Nothing that stands is touched, so that two rescues, or a host that was only cut off, do no harm:
//! who finds the object there takes it for what it is. One that does not hold the lines of a checkpoint is somebody else's, of a
//! host that began its hour anew without its disk: then they go beside it.

mod held;
mod told;

use crate::env::Env;
use crate::env::store::{Found, Listed, Part, Store, in_memory, read_small};
use crate::error::{Error, Kind, Result};
use crate::format::checkpoint::{self, Checkpoint, Rescued, Unfinished, VERSION};
use crate::format::journal;
use crate::format::key::{CHECKPOINTS, PROBES};
use crate::format::name::{DUPLICATES, LogName};
use crate::format::sign::Signer;
use bytes::Bytes;
use chrono::TimeDelta;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use told::Chained;

/// How often an object is tried again whose upload changed meanwhile: another rescue is at it, or its host lives.
const TRIES: u32 = 3;

/// A rescue.
pub struct Rescue {
    /// The doors.
    pub env: Env,
    /// The far end.
    pub store: Arc<dyn Store>,
    /// Its name, in front of keys: `s3://BUCKET/`.
    pub place: String,
    /// The name of this host.
    pub host: String,
    /// Signs manifests that their host has not signed.
    pub signer: Option<Arc<Signer>>,
    /// Only streams whose last checkpoint is at least that old.
    pub older_than: Duration,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What became of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was finished now.
    Saved,
    /// It would be.
    WouldSave,
    /// It stood there already.
    Stands,
}

/// What was found and done.
#[derive(Debug, Default)]
pub struct Report {
    /// Objects that were finished, or would be.
    pub saved: usize,
    /// Objects that stood there already.
    pub stand: usize,
    /// Streams whose host lives, as far as their checkpoint tells.
    pub living: usize,
    /// Streams that were rescued before.
    pub done: usize,
    /// What could not be done.
    pub failed: Vec<Error>,
    /// Keys where what a checkpoint told of stands now, or something that took its place.
    ended: BTreeSet<String>,
    /// Uploads of what could not be finished.
    kept: BTreeSet<String>,
}

/// Where an unfinished object belongs.
enum Place {
    /// Nothing stands at this key.
    Free(String),
    /// It stands there, or (`false`) one that begins with its lines.
    Taken(String, bool),
    /// A beginning of its lines stands there, which an earlier rescue made: this is the rest.
    Begun(String, Box<Unfinished<Part>>, Bytes),
}

/// What was done about one object.
struct Done {
    fate: Fate,
    key: String,
    /// How much it is, in words.
    what: String,
}

impl Done {
    fn of(unfinished: &Unfinished<Part>, key: String, fate: Fate) -> Self {
        let summary = &unfinished.manifest.summary;
        Self { fate, key, what: format!("{} lines, {} bytes", summary.lines, summary.bytes) }
    }
}

impl Rescue {
    /// Looks at every checkpoint. `say` gets a line for each stream and object.
    pub async fn run(&self, mut say: impl FnMut(&str)) -> Result<Report> {
        let mut report = Report::default();
        let (mut after, mut later): (Option<String>, _) = (None, Vec::new());
        loop {
            let page = self.store.list(CHECKPOINTS, after.as_deref()).await?;
            for listed in page.keys.iter().filter(|listed| !listed.key.starts_with(PROBES)) {
                if let Err(e) = self.stream(listed, Some(&mut later), &mut report, &mut say).await {
                    report.failed.push(e);
                }
            }
            after = page.keys.into_iter().next_back().map(|last| last.key).filter(|_| page.more);
            if after.is_none() {
                break;
            }
        }
        for listed in &later {
            if let Err(e) = self.stream(listed, None, &mut report, &mut say).await {
                report.failed.push(e);
            }
        }
        for key in &report.ended {
            self.close(key, &report.kept).await;
        }
        Ok(report)
    }

    /// `later`: takes those that tell of no parts, which can become one object only.
    async fn stream(
        &self,
        listed: &Listed,
        later: Option<&mut Vec<Listed>>,
        report: &mut Report,
        say: &mut impl FnMut(&str),
    ) -> Result<()> {
        let age = self.env.clock.now().signed_duration_since(listed.modified);
        if age < TimeDelta::from_std(self.older_than).unwrap_or(TimeDelta::MAX) {
            report.living += 1;
            return Ok(());
        }
        let Some((found, data)) = read_small(&*self.store, &listed.key, checkpoint::LARGEST).await? else {
            return Ok(());
        };
        let Some((checkpoint, tails)) = checkpoint::read::<Part>(&data) else {
            return Err(Error::stop("read", &listed.key, Kind::Other, "it is no checkpoint that this version knows"));
        };
        if let Some(rescued) = &checkpoint.rescued {
            tracing::debug!("{}: rescued by {} at {}", listed.key, rescued.by, rescued.at);
            report.done += 1;
            return Ok(());
        }
        if let Some(later) = later
            && checkpoint.unfinished.iter().all(|unfinished| unfinished.upload.is_none())
        {
            later.push(listed.clone());
            return Ok(());
        }
        let before = report.failed.len();
        let mut last = None;
        for (unfinished, tail) in checkpoint.unfinished.iter().zip(tails) {
            let done = match unfinished.stored {
                true => self.see_told(unfinished, &mut last).await,
                false => self.finish(unfinished, data.slice(tail), &mut last).await,
            };
            match done {
                Ok(done) => {
                    match done.fate {
                        Fate::Saved | Fate::WouldSave => report.saved += 1,
                        Fate::Stands => report.stand += 1,
                    }
                    if !unfinished.stored {
                        report.ended.insert(unfinished.manifest.key.clone());
                    }
                    say(&self.line(&checkpoint, &done));
                }
                Err(e) => {
                    report.kept.extend(unfinished.upload.clone());
                    report.failed.push(e);
                }
            }
        }
        if report.failed.len() == before && !self.dry_run {
            self.mark(&listed.key, &found, checkpoint).await?;
        }
        Ok(())
    }

    fn line(&self, checkpoint: &Checkpoint<Part>, Done { fate, key, what }: &Done) -> String {
        let place = &self.place;
        let done = match fate {
            Fate::Saved => "saved",
            Fate::WouldSave => "would save",
            Fate::Stands => return format!("{place}{key}: stands already"),
        };
        format!("{place}{key}: {done} {what}, up to {}", checkpoint.at.format("%FT%TZ"))
    }

    /// Sees to the manifest of what its host has stored.
    async fn see_told(&self, unfinished: &Unfinished<Part>, last: &mut Option<Chained>) -> Result<Done> {
        let (ready, place) = (&unfinished.manifest, &unfinished.manifest_key);
        let fate = match self.store.look(place).await? {
            Some(_) => Fate::Stands,
            None if self.dry_run => Fate::WouldSave,
            None => Fate::Saved,
        };
        if !self.dry_run {
            *last = self.told(unfinished, &ready.key, true, last.take()).await?;
        }
        Ok(Done { fate, key: place.clone(), what: "the manifest of what its host had stored".to_owned() })
    }

    /// Makes the object, and then its manifest. `last`: what stands of the one before it in the checkpoint.
    async fn finish(&self, unfinished: &Unfinished<Part>, tail: Bytes, last: &mut Option<Chained>) -> Result<Done> {
        let ready = &unfinished.manifest;
        let (mut fate, mut failed, mut tries) = (Fate::Stands, None::<Error>, 0);
        let (key, exact) = loop {
            let key = match self.place(unfinished, &tail).await? {
                Place::Free(key) => key,
                Place::Begun(key, rest, tail) => {
                    *last = self.told(unfinished, &key, false, last.take()).await?;
                    return Box::pin(self.finish(&rest, tail, last)).await;
                }
                Place::Taken(key, exact) => {
                    // Whatever was answered: what stands there now tells what became of it.
                    if failed.is_some() && exact {
                        fate = Fate::Saved;
                    }
                    break (key, exact);
                }
            };
            match failed.take() {
                Some(e) if e.kind == Kind::NotFound => {
                    let lost = format!("the upload with its first {} bytes is gone", unfinished.sent);
                    return Err(
                        Error::stop("rescue", &key, Kind::NotFound, lost).mend("its host may have them on its disk")
                    );
                }
                Some(e) if tries >= TRIES => return Err(e),
                _ => {}
            }
            if unfinished.upload.is_some() && key != ready.key {
                let cause = format!(
                    "an object without these lines stands there, and their first {} packed bytes are parts of an upload that can \
                     only become that object",
                    unfinished.sent
                );
                let mend = "copy that object and its manifest to other keys, remove them, and rescue again";
                return Err(Error::stop("rescue", &ready.key, Kind::Exists, cause).mend(mend));
            }
            if self.dry_run {
                return Ok(Done::of(unfinished, key, Fate::WouldSave));
            }
            tries += 1;
            match self.make(unfinished, &key, tail.clone()).await {
                Ok(()) => {
                    fate = Fate::Saved;
                    break (key, true);
                }
                Err(e) => failed = Some(e),
            }
        };
        if !self.dry_run {
            *last = self.told(unfinished, &key, exact, last.take()).await?;
        }
        Ok(Done::of(unfinished, key, fate))
    }

    /// Where an unfinished object stands or belongs: its key, or that of the first duplicate where nothing stands, if something else
    /// does at the ones before.
    async fn place(&self, unfinished: &Unfinished<Part>, tail: &Bytes) -> Result<Place> {
        let ready = &unfinished.manifest;
        let name = LogName::parse(&ready.name);
        let duplicates = (0..DUPLICATES).filter_map(|n| Some(name.as_ref()?.duplicate(n).to_string()));
        let mut free = None;
        for key in
            std::iter::once(ready.key.clone()).chain(duplicates.map(|name| ready.key.replace(&ready.name, &name)))
        {
            match self.store.look(&key).await? {
                // Its own key may have been left to another object, which was not made.
                None if free.is_none() && key == ready.key => free = Some(key),
                None => return Ok(Place::Free(free.unwrap_or(key))),
                Some(found) if is_this(&found, unfinished) => return Ok(Place::Taken(key, true)),
                Some(_) if held::begins_with(&*self.store, &key, ready).await? => return Ok(Place::Taken(key, false)),
                Some(_) => {
                    if self.may_be_rescued(&key, ready).await?
                        && let Some((rest, tail)) = held::rest(&*self.store, &key, unfinished, tail).await?
                    {
                        return Ok(Place::Begun(key, Box::new(rest), tail));
                    }
                }
            }
        }
        let cause = "other content stands there, and at all 25 names for duplicates";
        free.map(Place::Free).ok_or_else(|| Error::stop("rescue", &ready.key, Kind::Exists, cause))
    }

    /// Gives up what is open to a key where an object stands, and nobody can complete any more. Without the rights for that, a
    /// lifecycle rule has to.
    async fn close(&self, key: &str, kept: &BTreeSet<String>) {
        let Some(parts) = self.store.parts().filter(|_| !self.dry_run) else { return };
        let open = parts.open(key).await.unwrap_or_default();
        for id in open.iter().filter(|id| !kept.contains(*id)) {
            if let Err(e) = parts.abort(key, id).await {
                tracing::debug!("{e}; an upload that nobody can complete may stay open");
            }
        }
    }

    async fn make(&self, unfinished: &Unfinished<Part>, key: &str, tail: Bytes) -> Result<()> {
        match &unfinished.upload {
            Some(upload) => self.complete(unfinished, upload, tail).await,
            None => self.store.create(key, in_memory(tail), &unfinished.content_type).await.map(|_| ()),
        }
    }

    async fn complete(&self, unfinished: &Unfinished<Part>, upload: &str, tail: Bytes) -> Result<()> {
        let key = &unfinished.manifest.key;
        let parts = self.store.parts();
        let parts = parts.ok_or_else(|| Error::stop("rescue", key, Kind::Other, "the store takes no parts"))?;
        let (sent, tail) = (unfinished.sent, in_memory(tail));
        parts.finish(key, upload, &unfinished.parts, sent, tail, &unfinished.crc).await.map(|_| ())
    }

    /// Says that nothing in the checkpoint is left to do, unless its host has written another one meanwhile.
    async fn mark(&self, key: &str, found: &Found, checkpoint: Checkpoint<Part>) -> Result<()> {
        let rescued = Some(Rescued { by: self.host.clone(), at: self.env.clock.now() });
        let marked = Checkpoint { version: VERSION, rescued, unfinished: Vec::new(), ..checkpoint };
        let body = in_memory(journal::line(&marked).into());
        match self.store.replace(key, body, "application/octet-stream", found.etag.as_deref()).await {
            Err(e) if e.kind == Kind::Exists => self.marked_otherwise(key).await,
            put => put.map(|_| ()),
        }
    }
}

impl Rescue {
    /// Another checkpoint stands there. It may be this one's mark, whose answer got lost, or another rescue's.
    async fn marked_otherwise(&self, key: &str) -> Result<()> {
        let there = read_small(&*self.store, key, checkpoint::LARGEST).await?;
        let marked =
            there.and_then(|(_, data)| checkpoint::read::<Part>(&data)).is_some_and(|(c, _)| c.rescued.is_some());
        if !marked {
            tracing::warn!(
                "{key}: its host has written another checkpoint meanwhile: it lives, and stores what is left"
            );
        }
        Ok(())
    }
}

/// Whether an object is the one that is meant, as far as the far end tells.
fn is_this(found: &Found, unfinished: &Unfinished<Part>) -> bool {
    let len = unfinished.sent + unfinished.tail;
    found.len == len && found.checksum.as_deref().is_none_or(|checksum| checksum == unfinished.crc)
}
