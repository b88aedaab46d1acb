//! Sending a large archive in parts. Each part that the far end took is written to the upload's journal, so that the next
//! try, in this life or another, goes on from there: nothing is paid for twice, and nothing is left open.

use super::Archive;
use crate::env::checksum;
use crate::env::fs::{File, append_all, read_whole};
use crate::env::store::{Body, Multipart, Part, Store, Stored};
use crate::error::{Error, Kind, Result};
use crate::format::journal::{self, Upload, VERSION};
use crate::format::name::LogName;
use futures_util::{StreamExt, stream};
use std::sync::Arc;

/// The most parts that an object may have (Amazon S3 User Guide, "multipart upload limits").
const MOST_PARTS: u64 = 10_000;
/// Part sizes are multiples of this, in bytes.
const GRAIN: u64 = 1 << 20;

/// The part size for a body of `len` bytes: what was asked for, or larger so that 10,000 parts suffice.
fn part_size(asked: u64, len: u64) -> u64 {
    asked.max(len.div_ceil(MOST_PARTS).div_ceil(GRAIN) * GRAIN).max(1)
}

/// Sends an archive to `key` in parts.
pub(super) async fn send(
    archive: &Archive,
    store: &dyn Store,
    parts: &dyn Multipart,
    name: &LogName,
    key: &str,
    content_type: &str,
    body: Body,
) -> Result<Stored> {
    let (upload, done) = match resumed(archive, store, parts, name, key, &body).await? {
        Some(found) => found,
        None => (begin(archive, store, parts, name, key, content_type, &body).await?, Vec::new()),
    };
    let path = archive.layout.journal(name);
    let journal = archive.env.fs.open(&path)?;
    let sent = send_parts(parts, &upload, done, &*journal, &body).await;
    let stored = match sent {
        Ok(all) => match whole(&all, &upload) {
            Ok(crc) => parts.complete(key, &upload.upload, &all, &crc).await,
            Err(e) => Err(e),
        },
        Err(e) => Err(e),
    };
    match stored {
        Err(e) if e.kind == Kind::NotFound => {
            archive.env.fs.remove(&path)?;
            // Gone: completed by a try whose answer got lost, or expired. The object itself tells which.
            match store.matches(key, body).await {
                Ok(true) => Ok(Stored::default()),
                _ => Err(Error::retry("upload", name, Kind::NotFound, "the upload in parts is not known any more")),
            }
        }
        Err(e) if e.kind == Kind::Exists => {
            parts.abort(key, &upload.upload).await?;
            archive.env.fs.remove(&path)?;
            Err(e)
        }
        Err(e) => Err(e),
        Ok(stored) => archive.env.fs.remove(&path).map(|()| stored),
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
        parts.abort(&upload.key, &upload.upload).await?;
    }
    archive.env.fs.remove(&path)
}

async fn resumed(
    archive: &Archive,
    store: &dyn Store,
    parts: &dyn Multipart,
    name: &LogName,
    key: &str,
    body: &Body,
) -> Result<Option<(Upload, Vec<Part>)>> {
    let path = archive.layout.journal(name);
    let data = match read_whole(&*archive.env.fs, &path) {
        Err(e) if e.kind == Kind::NotFound => return Ok(None),
        other => other?,
    };
    match journal::read::<Part>(&data) {
        Some((upload, done))
            if upload.store == store.name()
                && upload.key == key
                && upload.bytes == body.len
                && upload.file == body.file.id()? =>
        {
            Ok(Some((upload, done)))
        }
        Some((upload, _)) if upload.store == store.name() => {
            parts.abort(&upload.key, &upload.upload).await?;
            archive.env.fs.remove(&path).map(|()| None)
        }
        _ => archive.env.fs.remove(&path).map(|()| None),
    }
}

async fn begin(
    archive: &Archive,
    store: &dyn Store,
    parts: &dyn Multipart,
    name: &LogName,
    key: &str,
    content_type: &str,
    body: &Body,
) -> Result<Upload> {
    let upload = Upload {
        version: VERSION,
        store: store.name().to_owned(),
        key: key.to_owned(),
        bytes: body.len,
        file: body.file.id()?,
        upload: parts.begin(key, content_type).await?,
        part_size: part_size(parts.part_size(), body.len),
    };
    let fs = &archive.env.fs;
    let path = archive.layout.journal(name);
    let written = fs.create(&path).and_then(|file| {
        append_all(&*file, &journal::line(&upload))?;
        file.sync()?;
        fs.sync_dir(&archive.layout.journals())
    });
    if let Err(e) = written {
        // Without a journal nobody would ever close it.
        parts.abort(key, &upload.upload).await?;
        fs.remove(&path)?;
        return Err(e);
    }
    Ok(upload)
}

async fn send_parts(
    parts: &dyn Multipart,
    upload: &Upload,
    mut done: Vec<Part>,
    journal: &dyn File,
    body: &Body,
) -> Result<Vec<Part>> {
    let count = i32::try_from(body.len.div_ceil(upload.part_size)).unwrap_or(i32::MAX);
    let missing: Vec<i32> = (1..=count).filter(|n| !done.iter().any(|part| part.number == *n)).collect();
    let sending = stream::iter(missing).map(|number| {
        let offset = u64::from(number.unsigned_abs() - 1) * upload.part_size;
        let len = upload.part_size.min(body.len - offset);
        let range = Body { file: Arc::clone(&body.file), offset: body.offset + offset, len };
        parts.send(&upload.key, &upload.upload, number, offset, range)
    });
    let mut sending = sending.buffer_unordered(parts.concurrency());
    while let Some(part) = sending.next().await {
        let part = part?;
        append_all(journal, &journal::line(&part))?;
        done.push(part);
    }
    drop(sending);
    done.sort_by_key(|part| part.number);
    done.dedup_by_key(|part| part.number);
    Ok(done)
}

/// The checksum of the whole archive, of those of its parts.
fn whole(parts: &[Part], upload: &Upload) -> Result<String> {
    let begin = |part: &Part| u64::from(part.number.unsigned_abs().saturating_sub(1)) * upload.part_size;
    let len = |part: &Part| upload.part_size.min(upload.bytes.saturating_sub(begin(part)));
    let crcs: Vec<_> = parts.iter().map(|part| (&part.crc, len(part))).collect();
    let damaged =
        || Error::retry("read", "the journal of an upload", Kind::NotFound, "a checksum in it makes no sense");
    checksum::combine(&crcs).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_always_suffice() {
        let asked = 8 << 20;
        assert_eq!(part_size(asked, 1), asked);
        assert_eq!(part_size(asked, asked * MOST_PARTS), asked);
        for len in [asked * MOST_PARTS + 1, 5 << 40] {
            let size = part_size(asked, len);
            assert!(size > asked && size.is_multiple_of(GRAIN) && len.div_ceil(size) <= MOST_PARTS, "{len}: {size}");
        }
    }
}
