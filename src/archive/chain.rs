//! The manifest of what is stored, and of periods without a line. It is made once its object stands: it names the manifest
//! that was made before it in the stream. It is a file first, then an object; the newest one of a stream stays as a file.

use super::upload::Outcome;
use super::{Archive, summary};
use crate::env::fs::{EntryKind, Fs, locked, open_or_create, publish_bytes, read_whole};
use crate::env::store::{Body, Store, read_small};
use crate::error::{Error, Kind, Result};
use crate::format::checkpoint::Ready;
use crate::format::key::{Dest, manifest_key};
use crate::format::manifest::{LARGEST, Link, Manifest, Summary, VERSION, sha256};
use crate::format::name::{DUPLICATES, LogName};
use crate::format::receipt::Receipt;
use crate::format::seal::Ended;
use crate::format::sign::Signed;
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// The media type of manifests.
pub(super) const JSON: &str = "application/json";

/// Makes and stores the manifest of a name, if that is left to do.
pub(super) async fn settle(archive: &Archive, store: &dyn Store, dest: &Dest, name: &LogName) -> Result<Outcome> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    if fs.stat(&layout.manifest(name))?.is_none() {
        let Some(summary) = summary::written(archive, name)? else { return Ok(Outcome::Skipped) };
        let Some(key) = key_of(archive, dest, name, &summary)? else {
            // The archive is gone, and was not stored as far as anybody knows.
            fs.remove(&layout.summary(name))?;
            return Ok(Outcome::Skipped);
        };
        make(archive, name, key, summary)?;
    }
    fs.remove(&layout.summary(name))?;
    store_one(archive, store, dest, name).await.map(|()| Outcome::Stored)
}

/// Where the object is; of a period without a line, where it would be. `None`: nobody knows.
pub(super) fn key_of(archive: &Archive, dest: &Dest, name: &LogName, summary: &Summary) -> Result<Option<String>> {
    if summary.packed.is_none() {
        return Ok(Some(dest.key(name)));
    }
    let data = match read_whole(&*archive.env.fs, &archive.layout.receipt(name)) {
        Err(e) if e.kind == Kind::NotFound => return Ok(None),
        read => read?,
    };
    // The life that wrote it may have been killed before this.
    archive.env.fs.sync_dir(&archive.layout.receipts())?;
    let receipt = serde_json::from_slice::<Receipt>(&data).ok();
    Ok(receipt.and_then(|receipt| receipt.stored.strip_prefix(&dest.url("")).map(str::to_owned)))
}

/// The manifest of something that ends the chain as it is now; signed, where there is a key.
pub(super) fn next(archive: &Archive, name: &LogName, key: String, summary: Summary) -> Result<Manifest> {
    let head = head(archive, name)?;
    let manifest = Manifest {
        version: VERSION,
        host: archive.host.clone(),
        prefix: name.prefix().to_owned(),
        suffix: name.suffix().map(str::to_owned),
        start: name.stamp(),
        name: name.to_string(),
        key,
        summary,
        number: head.as_ref().map_or(0, |head| head.manifest.number) + 1,
        previous: head.map(|head| Link { key: manifest_key(&head.manifest.key), sha256: sha256(&head.bytes) }),
        at: archive.env.clock.now(),
        signed_by: None,
        signature: None,
    };
    Ok(match &archive.signer {
        Some(signer) => manifest.signed(signer),
        None => manifest,
    })
}

/// Makes a manifest, one at a time.
fn make(archive: &Archive, name: &LogName, key: String, summary: Summary) -> Result<()> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let _alone = alone(archive)?;
    let manifest = next(archive, name, key, summary)?;
    let draft = layout.draft("manifest", std::process::id(), name);
    match publish_bytes(&**fs, &manifest.bytes(), &draft, &layout.manifest(name)) {
        Err(e) if e.kind == Kind::Exists => Ok(()),
        made => made,
    }
}

fn alone(archive: &Archive) -> Result<impl Sized + use<>> {
    let (fs, path) = (&archive.env.fs, archive.layout.chain_lock());
    let busy = || Error::retry("make", "a manifest", Kind::Busy, "another process makes one");
    locked(&**fs, &path, open_or_create(&**fs, &path))?.ok_or_else(busy)
}

struct Head {
    path: PathBuf,
    manifest: Manifest,
    bytes: Vec<u8>,
}

/// Whether this DIR has made a manifest of the stream.
pub(super) fn is_begun(archive: &Archive, name: &LogName) -> Result<bool> {
    Ok(head(archive, name)?.is_some())
}

/// The last manifest of a stream that was made here.
fn head(archive: &Archive, name: &LogName) -> Result<Option<Head>> {
    let mut all = all(archive, &archive.layout.manifests(), name)?;
    all.extend(self::all(archive, &archive.layout.chains(), name)?);
    Ok(all.into_iter().max_by_key(|head| head.manifest.number))
}

fn all(archive: &Archive, dir: &Path, name: &LogName) -> Result<Vec<Head>> {
    let fs = &archive.env.fs;
    let mut found = Vec::new();
    for entry in fs.list(dir)?.into_iter().filter(|entry| entry.kind == EntryKind::File) {
        let of_stream = |other: &LogName| other.prefix() == name.prefix() && other.suffix() == name.suffix();
        if LogName::parse(&entry.name).as_ref().is_none_or(|other| !of_stream(other)) {
            continue;
        }
        let path = dir.join(&entry.name);
        match read_whole(&**fs, &path) {
            Ok(bytes) => found.extend(Manifest::parse(&bytes).map(|manifest| Head { path, manifest, bytes })),
            Err(e) if e.kind == Kind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The manifests of a stream that are made and not stored yet, in their order.
pub(super) fn waiting(archive: &Archive, name: &LogName) -> Result<Vec<Ready>> {
    let found = all(archive, &archive.layout.manifests(), name)?;
    let mut waiting: Vec<_> = found.into_iter().filter_map(|head| Ready::parse(&head.bytes)).collect();
    waiting.sort_by_key(|manifest| manifest.number);
    Ok(waiting)
}

/// Stores a manifest that is made.
async fn store_one(archive: &Archive, store: &dyn Store, dest: &Dest, name: &LogName) -> Result<()> {
    let (fs, path) = (&archive.env.fs, archive.layout.manifest(name));
    let bytes = match read_whole(&**fs, &path) {
        Err(e) if e.kind == Kind::NotFound => return Ok(()),
        read => read?,
    };
    let Some(manifest) = Manifest::parse(&bytes) else {
        // Torn by a power cut before it was durable: nothing was made of it.
        return fs.remove(&path);
    };
    // The life that linked it may have been killed before this.
    fs.sync_dir(&archive.layout.manifests())?;
    let file = fs.open_read(&path)?;
    let body = Body { offset: 0, len: file.len()?, file };
    let others = (0..DUPLICATES).map(|n| dest.key(&name.duplicate(n)));
    for key in std::iter::once(manifest.key.clone()).chain(others) {
        let key = manifest_key(&key);
        match store.create(&key, body.clone(), JSON).await {
            Err(e) if e.kind == Kind::Exists => {}
            stored => {
                stored?;
                return stored_one(archive, name, &manifest, None);
            }
        }
        match there(store, &key, &body).await? {
            There::Same => return stored_one(archive, name, &manifest, None),
            There::Other(data)
                if Manifest::parse(&data).is_some_and(|other| is_rescue_of(&other, &manifest))
                    && is_own(archive, &data)
                    && is_last(archive, name, &manifest)? =>
            {
                return stored_one(archive, name, &manifest, Some(&data));
            }
            There::Other(_) => {
                tracing::warn!(
                    "{}: another manifest stands there; it stays, and this gets another name",
                    dest.url(&key)
                );
            }
        }
    }
    Err(Error::stop("store", dest.url(&manifest.key), Kind::Other, "its manifest finds no free name")
        .mend("look through the bucket"))
}

enum There {
    Same,
    Other(Bytes),
}

/// Whether a rescue has made the other one of the same archive, in the same place of the chain.
fn is_rescue_of(other: &Manifest, own: &Manifest) -> bool {
    other.summary.ended == Ended::Rescue && other.name == own.name && other.previous == own.previous
}

/// Whether nobody but this host can have made a manifest: where it signs its own, another one does not get into its chain.
fn is_own(archive: &Archive, data: &[u8]) -> bool {
    archive.signer.as_ref().is_none_or(|own| Signed::of(data).is_some_and(|signed| own.public().verifies(&signed)))
}

/// What stands where a manifest belongs.
async fn there(store: &dyn Store, key: &str, body: &Body) -> Result<There> {
    match store.matches(key, body.clone()).await {
        Ok(true) => return Ok(There::Same),
        Ok(false) => {}
        // Not allowed to read.
        Err(e) if e.kind == Kind::Denied => return Ok(There::Other(Bytes::new())),
        Err(e) => return Err(e),
    }
    match read_small(store, key, LARGEST).await? {
        Some((_, data)) => Ok(There::Other(data)),
        None => Err(Error::retry("store", key, Kind::Other, "what stood there is gone")),
    }
}

fn is_last(archive: &Archive, name: &LogName, manifest: &Manifest) -> Result<bool> {
    Ok(head(archive, name)?.is_none_or(|head| head.manifest.number <= manifest.number))
}

/// A manifest is stored: it stays as the head of its stream, or `instead` does, which a rescue has stored in its place.
fn stored_one(archive: &Archive, name: &LogName, manifest: &Manifest, instead: Option<&[u8]>) -> Result<()> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let _alone = alone(archive)?;
    let (path, chained) = (layout.manifest(name), layout.chain(name));
    if is_last(archive, name, manifest)? {
        let linked = match instead {
            None => fs.link(&path, &chained),
            Some(other) => {
                let draft = layout.draft("chain", std::process::id(), name);
                publish_bytes(&**fs, other, &draft, &chained)
            }
        };
        match linked {
            Err(e) if e.kind != Kind::Exists => return Err(e),
            _ => fs.sync_dir(&layout.chains())?,
        }
        forget(&**fs, all(archive, &layout.chains(), name)?, &chained)?;
    }
    // It tells that its summary is used up: that one must not come back without it.
    fs.sync_dir(&layout.summaries())?;
    fs.remove(&path)?;
    match instead {
        None => Ok(()),
        // Once the chain has gone on behind the other one, this one would find no place any more.
        Some(_) => fs.sync_dir(&layout.manifests()),
    }
}

fn forget(fs: &dyn Fs, heads: Vec<Head>, but: &Path) -> Result<()> {
    heads.iter().filter(|head| head.path != but).try_for_each(|head| fs.remove(&head.path))
}
