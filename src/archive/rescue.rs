//! Finishes the hours of hosts that are gone, from their checkpoints: the parts that the far end holds, with the tail behind
//! them, become the object. Nothing that stands is touched, so that two rescues, or a host that was only cut off, do no harm:
//! who finds the object there takes it for what it is.

use super::chain::JSON;
use crate::env::Env;
use crate::env::store::{Found, Listed, Part, Store, in_memory, read_small};
use crate::error::{Error, Kind, Result};
use crate::format::checkpoint::{self, Checkpoint, Ready, Rescued, Unfinished, VERSION};
use crate::format::journal;
use crate::format::key::{CHECKPOINTS, PROBES};
use crate::format::manifest::{self, Link, Manifest, sha256};
use crate::format::sign::Signer;
use bytes::Bytes;
use chrono::TimeDelta;
use std::sync::Arc;
use std::time::Duration;

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
}

/// A manifest that stands. The host made all of a checkpoint's as if each of them came next; stored, they are a chain.
struct Chained {
    /// What the checkpoint's names as the one before it.
    named: Option<Link>,
    link: Link,
    number: u64,
}

impl Chained {
    fn of(manifest: &Manifest, key: &str, data: &[u8]) -> Option<Self> {
        let link = Link { key: key.to_owned(), sha256: sha256(data) };
        Some(Self { named: manifest.previous.clone(), link, number: Manifest::parse(data)?.number })
    }
}

impl Rescue {
    /// Looks at every checkpoint. `say` gets a line for each stream and object.
    pub async fn run(&self, mut say: impl FnMut(&str)) -> Result<Report> {
        let mut report = Report::default();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.list(CHECKPOINTS, after.as_deref()).await?;
            for listed in page.keys.iter().filter(|listed| !listed.key.starts_with(PROBES)) {
                if let Err(e) = self.stream(listed, &mut report, &mut say).await {
                    report.failed.push(e);
                }
            }
            after = page.keys.into_iter().next_back().map(|last| last.key).filter(|_| page.more);
            if after.is_none() {
                return Ok(report);
            }
        }
    }

    async fn stream(&self, listed: &Listed, report: &mut Report, say: &mut impl FnMut(&str)) -> Result<()> {
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
        let before = report.failed.len();
        let mut last = None;
        for (unfinished, tail) in checkpoint.unfinished.iter().zip(tails) {
            match self.finish(unfinished, data.slice(tail), &mut last).await {
                Ok(fate) => {
                    match fate {
                        Fate::Saved | Fate::WouldSave => report.saved += 1,
                        Fate::Stands => report.stand += 1,
                    }
                    say(&self.line(&checkpoint, unfinished, fate));
                }
                Err(e) => report.failed.push(e),
            }
        }
        if report.failed.len() == before && !self.dry_run {
            self.mark(&listed.key, &found, checkpoint).await?;
        }
        Ok(())
    }

    fn line(&self, checkpoint: &Checkpoint<Part>, unfinished: &Unfinished<Part>, fate: Fate) -> String {
        let (manifest, place) = (&unfinished.manifest, &self.place);
        let what = match fate {
            Fate::Saved => "saved",
            Fate::WouldSave => "would save",
            Fate::Stands => return format!("{place}{}: stands already", manifest.key),
        };
        format!(
            "{place}{}: {what} {} lines, {} bytes, up to {}",
            manifest.key,
            manifest.summary.lines,
            manifest.summary.bytes,
            checkpoint.at.format("%FT%TZ")
        )
    }

    /// Makes the object, and then its manifest. `last`: what stands of the one before it in the checkpoint.
    async fn finish(&self, unfinished: &Unfinished<Part>, tail: Bytes, last: &mut Option<Chained>) -> Result<Fate> {
        let manifest = &unfinished.manifest;
        let len = unfinished.sent + unfinished.tail;
        let there = self.store.look(&manifest.key).await?;
        let is_other = there.as_ref().is_some_and(|found| !is_this(found, len, &unfinished.crc));
        let fate = match there {
            Some(_) => Fate::Stands,
            None if self.dry_run => return Ok(Fate::WouldSave),
            None => self.make(unfinished, tail, len).await?,
        };
        if self.dry_run {
            return Ok(fate);
        }
        self.close(&manifest.key).await;
        // Also when the object was made by a rescue that came no further.
        let stands = if is_other { None } else { self.tell(unfinished, last.take()).await? };
        let stands = match stands {
            None => read_small(&*self.store, &unfinished.manifest_key, manifest::LARGEST).await?.map(|(_, data)| data),
            told => told,
        };
        *last = stands.and_then(|data| Chained::of(manifest, &unfinished.manifest_key, &data));
        Ok(fate)
    }

    /// Stores the manifest, behind the one before it: `None` if one stands there.
    async fn tell(&self, unfinished: &Unfinished<Part>, last: Option<Chained>) -> Result<Option<Bytes>> {
        let data = Bytes::from(self.line_of(&unfinished.manifest, last));
        match self.store.create(&unfinished.manifest_key, in_memory(data.clone()), JSON).await {
            Err(e) if e.kind == Kind::Exists => Ok(None),
            stored => stored.map(|_| Some(data)),
        }
    }

    /// The manifest to store. What its host has signed stays as it is, byte for byte, and names what the host knew as the one before
    /// it; otherwise only its place in the chain is another, so that two rescues store the same.
    fn line_of(&self, ready: &Ready, last: Option<Chained>) -> Vec<u8> {
        if ready.signature.is_some() {
            return ready.line();
        }
        let line = match last.filter(|last| last.named == ready.previous) {
            Some(last) => {
                Manifest { number: last.number + 1, previous: Some(last.link), ..Manifest::clone(ready) }.bytes()
            }
            None => ready.line(),
        };
        self.signer.as_ref().map_or_else(|| line.clone(), |signer| signer.sign_line(&line))
    }

    /// Gives up what is open to a key where an object stands: nobody can complete it any more. Without the rights for that, a
    /// lifecycle rule has to.
    async fn close(&self, key: &str) {
        let Some(parts) = self.store.parts().filter(|_| !self.dry_run) else { return };
        for id in parts.open(key).await.unwrap_or_default() {
            if let Err(e) = parts.abort(key, &id).await {
                tracing::debug!("{e}; an upload that nobody can complete may stay open");
            }
        }
    }

    async fn make(&self, unfinished: &Unfinished<Part>, tail: Bytes, len: u64) -> Result<Fate> {
        let key = &unfinished.manifest.key;
        let mut tries = 0;
        loop {
            let made = match &unfinished.upload {
                Some(upload) => self.complete(unfinished, upload, tail.clone()).await,
                None => {
                    let created = self.store.create(key, in_memory(tail.clone()), &unfinished.content_type).await;
                    created.map(|_| ())
                }
            };
            tries += 1;
            let e = match made {
                Ok(()) => return Ok(Fate::Saved),
                Err(e) => e,
            };
            // Whatever was answered: what stands there now tells what became of it.
            match self.store.look(key).await? {
                Some(found) if is_this(&found, len, &unfinished.crc) => return Ok(Fate::Saved),
                Some(_) => return Ok(Fate::Stands),
                None if e.kind == Kind::NotFound => {
                    let lost = format!("the upload with its first {} bytes is gone", unfinished.sent);
                    return Err(
                        Error::stop("rescue", key, Kind::NotFound, lost).mend("its host may have them on its disk")
                    );
                }
                None if tries >= TRIES => return Err(e),
                None => {}
            }
        }
    }

    async fn complete(&self, unfinished: &Unfinished<Part>, upload: &str, tail: Bytes) -> Result<()> {
        let key = &unfinished.manifest.key;
        let parts = self.store.parts();
        let parts = parts.ok_or_else(|| Error::stop("rescue", key, Kind::Other, "the store takes no parts"))?;
        let number = i32::try_from(unfinished.parts.len()).unwrap_or(i32::MAX).saturating_add(1);
        let mut all = unfinished.parts.clone();
        all.push(parts.send(key, upload, number, unfinished.sent, in_memory(tail)).await?);
        parts.complete(key, upload, &all, &unfinished.crc).await.map(|_| ())
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
fn is_this(found: &Found, len: u64, crc: &str) -> bool {
    found.len == len && found.checksum.as_deref().is_none_or(|checksum| checksum == crc)
}
