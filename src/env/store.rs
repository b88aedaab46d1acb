//! The door to the archive's far end: a bucket, or a directory. Both promise the same: an object is whole or absent,
//! and one that stands is never overwritten.

use super::fs::{File, FileId};
use super::slate::Slate;
use crate::error::{Class, Error, Kind, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A future that can be kept behind a `dyn` trait.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Bytes to store: a range of a local file, read as it is sent.
#[derive(Clone)]
pub struct Body {
    /// The file.
    pub file: Arc<dyn File>,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// Its length, in bytes.
    pub len: u64,
}

impl Body {
    /// Hands the bytes over in pieces of at most `most` until `take` says no; whether it never did.
    pub fn each(&self, most: usize, mut take: impl FnMut(&[u8]) -> Result<bool>) -> Result<bool> {
        let mut buffer = vec![0; usize::try_from(self.len).unwrap_or(most).clamp(1, most)];
        let (mut at, end) = (self.offset, self.offset + self.len);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(most).min(buffer.len());
            let n = self.file.read_at(&mut buffer[..want], at)?;
            if n == 0 {
                return Err(Error::retry("read", "the file to store", Kind::Other, "it ended early"));
            }
            if !take(&buffer[..n])? {
                return Ok(false);
            }
            at += n as u64;
        }
        Ok(true)
    }
}

/// Bytes to store that are in no file.
pub fn in_memory(bytes: Bytes) -> Body {
    Body { offset: 0, len: bytes.len() as u64, file: Arc::new(Memory(bytes)) }
}

/// What stands in for the file of a body in memory: it can be read, and nothing else.
struct Memory(Bytes);

impl Memory {
    fn refuse<T>(op: &'static str) -> Result<T> {
        Err(Error::stop(op, "a body in memory", Kind::Denied, "it can only be read"))
    }
}

impl File for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn append(&self, _data: &[u8]) -> Result<usize> {
        Self::refuse("append to")
    }

    fn len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn sync(&self) -> Result<()> {
        Self::refuse("sync")
    }

    fn truncate(&self, _len: u64) -> Result<()> {
        Self::refuse("truncate")
    }

    fn try_lock(&self) -> Result<bool> {
        Self::refuse("lock")
    }

    fn lock(&self) -> Result<()> {
        Self::refuse("lock")
    }

    fn unlock(&self) {}

    fn id(&self) -> Result<FileId> {
        Self::refuse("identify")
    }

    fn has_writer(&self) -> Option<bool> {
        Some(false)
    }

    fn is_linked(&self) -> Result<bool> {
        Ok(false)
    }

    fn map(&self, _words: usize) -> Result<Slate> {
        Self::refuse("map")
    }
}

/// What the far end said of an object it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The entity tag, if the far end gives one.
    pub etag: Option<String>,
    /// `ALGORITHM:VALUE` of the checksum that the far end verified, in base64 as S3 writes it.
    pub checksum: Option<String>,
}

/// A part of a multipart upload that the far end took.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub number: i32,
    /// Its entity tag.
    pub etag: String,
    /// Its checksum as the far end verified it, in base64; absent where it verifies none.
    pub checksum: Option<String>,
    /// CRC-64/NVME of what was sent, in base64 (big-endian, as S3 writes it).
    pub crc: String,
}

/// What is known of an object that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Size in bytes.
    pub len: u64,
    /// The entity tag, if the far end gives one: it changes with the content.
    pub etag: Option<String>,
    /// When it was stored, by the far end's clock.
    pub modified: DateTime<Utc>,
    /// CRC-64/NVME of the whole object in base64, if the far end knows it.
    pub checksum: Option<String>,
}

/// The content of an object, read as it comes.
pub trait Content: Send {
    /// The next piece, never empty; `None` at the end.
    fn next(&mut self) -> Later<'_, Option<Bytes>>;
}

/// One key of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Size in bytes.
    pub len: u64,
    /// When it was stored, by the far end's clock.
    pub modified: DateTime<Utc>,
}

/// One answer to a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys, in the order of their bytes.
    pub keys: Vec<Listed>,
    /// Whether there may be more behind them.
    pub more: bool,
}

/// Tries in a row that bring nothing of a content that breaks off.
const TRIES: u32 = 3;

/// How often a content broke off. What [`Store::fetch`] itself says was tried often enough there.
#[derive(Debug, Default)]
pub struct Tries(u32);

impl Tries {
    /// Whether it is worth another one.
    ///
    /// # Errors
    /// What broke it off, if it is not.
    pub fn again(&mut self, e: Error) -> Result<()> {
        self.0 += 1;
        if e.class != Class::Retry || self.0 >= TRIES {
            return Err(e);
        }
        tracing::debug!("{e}; again");
        Ok(())
    }
}

/// Reads a small object whole; of one that is larger than `most` bytes, a beginning that is as well. `None`: nothing stands there.
///
/// # Errors
/// Of the store.
pub async fn read_small(store: &dyn Store, key: &str, most: usize) -> Result<Option<(Found, Bytes)>> {
    let mut tries = Tries::default();
    loop {
        let Some((found, mut content)) = store.fetch(key, 0).await? else { return Ok(None) };
        match beginning(&mut *content, most).await {
            Ok(data) => return Ok(Some((found, data))),
            Err(e) => tries.again(e)?,
        }
    }
}

async fn beginning(content: &mut dyn Content, most: usize) -> Result<Bytes> {
    let mut data = Vec::new();
    while let Some(piece) = content.next().await? {
        data.extend_from_slice(&piece);
        if data.len() > most {
            break;
        }
    }
    Ok(data.into())
}

/// Where objects are stored.
pub trait Store: Send + Sync {
    /// The place, for messages: `s3://bucket` or `file:///dir`.
    fn name(&self) -> &str;

    /// Creates an object that does not exist.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] if something stands at the key.
    fn create<'a>(&'a self, key: &'a str, body: Body, content_type: &'a str) -> Later<'a, Stored>;

    /// Whether the object at `key` has exactly this content. An object that is not there is
    /// [`crate::error::Kind::NotFound`].
    fn matches<'a>(&'a self, key: &'a str, body: Body) -> Later<'a, bool>;

    /// What stands at `key`; `None`: nothing.
    fn look<'a>(&'a self, key: &'a str) -> Later<'a, Option<Found>>;

    /// Opens an object to be read from byte `from` on, which lies within it or at its end; `None`: nothing stands there. Of what is
    /// told of it with another `from` than 0, the entity tag counts.
    fn fetch<'a>(&'a self, key: &'a str, from: u64) -> Later<'a, Option<(Found, Box<dyn Content>)>>;

    /// Puts a small object at its fixed key, whatever stands there: its entity tag. `only_if`: only if the object with this
    /// entity tag stands there still.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] if another one stands there, with `only_if`.
    fn replace<'a>(
        &'a self,
        key: &'a str,
        body: Body,
        content_type: &'a str,
        only_if: Option<&'a str>,
    ) -> Later<'a, Option<String>>;

    /// Up to 1,000 keys that begin with `prefix`, in the order of their bytes, from the first one behind `after`.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Later<'a, Page>;

    /// Sending an object in parts, where the store has that.
    fn parts(&self) -> Option<&dyn Multipart>;
}

/// Sending an object in parts, which may be sent again, in any order, by any process.
pub trait Multipart: Send + Sync {
    /// The part size that the settings ask for, in bytes. Bodies up to this size are sent whole.
    fn part_size(&self) -> u64;
    /// How many parts may be under way at once.
    fn concurrency(&self) -> usize;
    /// Begins an upload: its identity.
    fn begin<'a>(&'a self, key: &'a str, content_type: &'a str) -> Later<'a, String>;
    /// Sends one part, which begins at byte `at` of the object.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] if the upload is not known (completed, aborted, or expired).
    fn send<'a>(&'a self, key: &'a str, upload: &'a str, number: i32, at: u64, body: Body) -> Later<'a, Part>;
    /// Makes the object of its parts, if nothing stands at the key. `crc`: CRC-64/NVME of the whole object in base64, for the
    /// far end to verify where it can.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] and [`crate::error::Kind::NotFound`] as above.
    fn complete<'a>(&'a self, key: &'a str, upload: &'a str, parts: &'a [Part], crc: &'a str) -> Later<'a, Stored>;
    /// Makes the object of the first parts of an upload that another host began, and of `tail`, which follows them at byte `at`.
    /// That host may live and go on with its upload: the tail is not taken for a part of its own.
    ///
    /// # Errors
    /// As above.
    fn finish<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: &'a [Part],
        at: u64,
        tail: Body,
        crc: &'a str,
    ) -> Later<'a, Stored> {
        Box::pin(async move {
            let number = i32::try_from(parts.len()).unwrap_or(i32::MAX).saturating_add(1);
            let last = self.send(key, upload, number, at, tail).await?;
            self.complete(key, upload, &[parts, &[last]].concat(), crc).await
        })
    }
    /// Gives an upload up; one that is not known is success.
    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Later<'a, ()>;
    /// The identities of all uploads to exactly this key that are open.
    fn open<'a>(&'a self, key: &'a str) -> Later<'a, Vec<String>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_memory_is_read_like_a_file_and_can_not_be_written() {
        let mut body = in_memory(Bytes::from_static(b"0123456789"));
        assert_eq!((body.offset, body.len, body.file.len().ok()), (0, 10, Some(10)));
        (body.offset, body.len) = (2, 7);
        let mut pieces = Vec::new();
        let mut take = |piece: &[u8]| {
            pieces.push(piece.to_vec());
            Ok(true)
        };
        assert!(body.each(3, &mut take).unwrap());
        assert_eq!(pieces, [b"234".to_vec(), b"567".to_vec(), b"8".to_vec()]);
        assert_eq!(body.file.read_at(&mut [0; 4], 11).unwrap(), 0);
        assert!(body.file.append(b"x").is_err() && body.file.truncate(0).is_err() && body.file.map(1).is_err());
        body.len = 9;
        assert!(body.each(3, |_| Ok(true)).is_err(), "it ends before that");
    }
}
