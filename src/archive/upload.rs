//! One archive to one object, and its manifest beside it. What stands at a key is never overwritten: the same content is
//! success, a beginning of it leaves the rest to be stored, other content gives the archive another name.

use super::multipart::{self, Way};
use super::rest::{self, Common};
use super::{Archive, chain, codec, summary};
use crate::env::fs::{locked, publish_bytes};
use crate::env::plain;
use crate::env::store::{Body, Store, Stored};
use crate::error::{Error, Kind, Result};
use crate::format::key::{Dest, KEY_LIMIT, manifest_key};
use crate::format::name::{DUPLICATES, LogName};
use crate::format::receipt::{Receipt, VERSION};
use std::path::PathBuf;
use std::sync::Arc;

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, and the receipt is written.
    Stored,
    /// The far end held a beginning of it; the rest is an archive of this name, which is to be stored as well.
    Split(LogName),
    /// It was stored before, or it is gone.
    Skipped,
}

/// Stores an archive, writes its receipt, and stores its manifest: whatever of that is left to do.
pub async fn upload(archive: &Archive, store: &dyn Store, dest: &Dest, name: &LogName) -> Result<Outcome> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let path = layout.archive(name);
    let Some(file) = locked(&**fs, &path, fs.open_read(&path))? else {
        // Gone, or another process has it: then its receipt tells that it is stored, and its summary that its manifest is not.
        if fs.stat(&path)?.is_none() {
            multipart::abandon(archive, store, name).await?;
            return chain::settle(archive, store, dest, name).await;
        }
        let stands = |path: PathBuf| fs.stat(&path).map(|entry| entry.is_some());
        return match stands(layout.receipt(name))? && !stands(layout.summary(name))? && !stands(layout.manifest(name))?
        {
            false => Err(Error::retry("store", path.display(), Kind::Busy, "another process is storing it")),
            true => Ok(Outcome::Skipped),
        };
    };
    if fs.stat(&layout.receipt(name))?.is_some() {
        multipart::abandon(archive, store, name).await?;
        return chain::settle(archive, store, dest, name).await;
    }
    summary::of_archive(archive, name, &file)?;
    let body = Body { offset: 0, len: file.len()?, file };
    let rest = match place(archive, store, dest, name, &body).await? {
        Placed::At(key, stored) => {
            receive(archive, dest.url(&key), name, body.len, stored)?;
            tracing::info!("stored {} ({} bytes)", dest.url(&key), body.len);
            None
        }
        Placed::Begun(key, common) => {
            let rest = rest::begin(archive, name, &body, &common)?;
            receive(archive, dest.url(&key), name, common.object, Stored::default())?;
            rest
        }
    };
    chain::settle(archive, store, dest, name).await?;
    Ok(rest.map_or(Outcome::Stored, Outcome::Split))
}

/// Writes the receipt.
fn receive(archive: &Archive, stored: String, name: &LogName, bytes: u64, said: Stored) -> Result<()> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let at = archive.env.clock.now();
    let receipt = Receipt { version: VERSION, stored, bytes, checksum: said.checksum, etag: said.etag, at };
    let text = serde_json::to_vec(&receipt).unwrap_or_default();
    match publish_bytes(&**fs, &text, &layout.draft("receipt", std::process::id(), name), &layout.receipt(name)) {
        Err(e) if e.kind != Kind::Exists => Err(e),
        Err(_) => Ok(()),
        Ok(()) => {
            archive.env.watch.stored_files.add(1);
            archive.env.watch.stored_bytes.add(bytes);
            Ok(())
        }
    }
}

/// What became of an archive at the far end.
enum Placed {
    /// It is the object at this key.
    At(String, Stored),
    /// The object at this key is a beginning of it, which a rescue has stored, or all of it and more.
    Begun(String, Common),
}

/// Finds the key that is free or has this content already, and stores the archive there.
async fn place(archive: &Archive, store: &dyn Store, dest: &Dest, name: &LogName, body: &Body) -> Result<Placed> {
    let candidates = std::iter::once(name.clone()).chain((0..DUPLICATES).map(|n| name.duplicate(n)));
    for candidate in candidates {
        let key = dest.key(&candidate);
        let longest = manifest_key(&key).len();
        if longest > KEY_LIMIT {
            let cause =
                format!("the key of its manifest is {longest} bytes long, and {KEY_LIMIT} is the most that S3 takes");
            return Err(Error::stop("store", dest.url(&key), Kind::Other, cause).mend("shorten DEST or the prefix"));
        }
        if multipart::is_taken(archive, store, name, &key).await? {
            tracing::warn!("{}: an upload of another life is open to it; this gets another name", dest.url(&key));
            continue;
        }
        match send(archive, store, name, &key, body).await {
            Err(e) if e.kind == Kind::Exists => match store.matches(&key, body.clone()).await {
                Ok(true) => return Ok(Placed::At(key, Stored::default())),
                Ok(false) => {
                    let own = plain::reader(Arc::clone(&body.file), name, &archive.layout.archive(name))?;
                    if let Some(common) = rest::common(store, &key, name, own).await? {
                        return Ok(Placed::Begun(key, common));
                    }
                    tracing::warn!(
                        "{}: other content stands there; it stays, and this gets another name",
                        dest.url(&key)
                    );
                }
                Err(e) if e.kind == Kind::Denied => {
                    tracing::warn!("{e}; what stands there can't be compared, so this gets another name");
                }
                Err(e) => return Err(e),
            },
            stored => return stored.map(|stored| Placed::At(key, stored)),
        }
    }
    let cause = "other content stands there, and at all 25 names for duplicates";
    Err(Error::stop("store", dest.url(&dest.key(name)), Kind::Other, cause).mend("look through the bucket"))
}

async fn send(archive: &Archive, store: &dyn Store, name: &LogName, key: &str, body: &Body) -> Result<Stored> {
    let text = name.to_string();
    let content_type = codec::content_type(&text);
    match store.parts() {
        Some(parts) if body.len > parts.part_size() => {
            multipart::send(Way { archive, store, parts, name, key, content_type }, body.clone()).await
        }
        parts => {
            if parts.is_some() {
                // Begun in parts by a life with other settings.
                multipart::abandon(archive, store, name).await?;
            }
            store.create(key, body.clone(), content_type).await
        }
    }
}
