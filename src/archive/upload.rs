//! One archive to one object. What stands at a key is never overwritten: the same content is success, other content gives
//! the archive another name.

use super::{Archive, codec, multipart};
use crate::env::fs::{locked, publish_bytes};
use crate::env::store::{Body, Store, Stored};
use crate::error::{Error, Kind, Result};
use crate::format::key::{Dest, KEY_LIMIT};
use crate::format::name::{DUPLICATES, LogName};
use crate::format::receipt::{Receipt, VERSION};

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, and the receipt is written.
    Stored,
    /// It was stored before, or it is gone.
    Skipped,
}

/// Stores an archive and writes its receipt.
pub async fn upload(archive: &Archive, store: &dyn Store, dest: &Dest, name: &LogName) -> Result<Outcome> {
    let (fs, layout) = (&archive.env.fs, &archive.layout);
    let path = layout.archive(name);
    let Some(file) = locked(&**fs, &path, fs.open_read(&path))? else {
        // Gone, or another process has it: then only its receipt tells that it is stored.
        if fs.stat(&path)?.is_none() {
            multipart::abandon(archive, store, name).await?;
        } else if fs.stat(&layout.receipt(name))?.is_none() {
            return Err(Error::retry("store", path.display(), Kind::Busy, "another process is storing it"));
        }
        return Ok(Outcome::Skipped);
    };
    if fs.stat(&layout.receipt(name))?.is_some() {
        multipart::abandon(archive, store, name).await?;
        return Ok(Outcome::Skipped);
    }
    let body = Body { offset: 0, len: file.len()?, file };
    let (key, stored) = place(archive, store, dest, name, &body).await?;
    let receipt = Receipt {
        version: VERSION,
        stored: dest.url(&key),
        bytes: body.len,
        checksum: stored.checksum,
        etag: stored.etag,
        at: archive.env.clock.now(),
    };
    let text = serde_json::to_vec(&receipt).unwrap_or_default();
    match publish_bytes(&**fs, &text, &layout.draft("receipt", std::process::id(), name), &layout.receipt(name)) {
        Err(e) if e.kind != Kind::Exists => return Err(e),
        _ => {}
    }
    tracing::info!("stored {} ({} bytes)", receipt.stored, receipt.bytes);
    Ok(Outcome::Stored)
}

/// Finds the key that is free or has this content already, and stores the archive there.
async fn place(
    archive: &Archive,
    store: &dyn Store,
    dest: &Dest,
    name: &LogName,
    body: &Body,
) -> Result<(String, Stored)> {
    let candidates = std::iter::once(name.clone()).chain((0..DUPLICATES).map(|n| name.duplicate(n)));
    for candidate in candidates {
        let key = dest.key(&candidate);
        if key.len() > KEY_LIMIT {
            let cause = format!("the key is {} bytes long, and {KEY_LIMIT} is the most that S3 takes", key.len());
            return Err(Error::stop("store", dest.url(&key), Kind::Other, cause).mend("shorten DEST or the prefix"));
        }
        match send(archive, store, name, &key, body).await {
            Err(e) if e.kind == Kind::Exists => match store.matches(&key, body.clone()).await {
                Ok(true) => return Ok((key, Stored::default())),
                Ok(false) => {
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
            stored => return stored.map(|stored| (key, stored)),
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
            multipart::send(archive, store, parts, name, key, content_type, body.clone()).await
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
