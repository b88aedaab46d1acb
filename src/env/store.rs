//! The door to the archive's far end: a bucket, or a directory. Both promise the same: an object is whole or absent,
//! and one that stands is never overwritten.

use super::fs::File;
use crate::error::Result;
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
    /// Its checksum in base64, of the algorithm that the store uses; absent where the server knows none.
    pub checksum: Option<String>,
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
    /// Sends one part.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] if the upload is not known (completed, aborted, or expired).
    fn send<'a>(&'a self, key: &'a str, upload: &'a str, number: i32, body: Body) -> Later<'a, Part>;
    /// Makes the object of its parts, if nothing stands at the key.
    ///
    /// # Errors
    /// [`crate::error::Kind::Exists`] and [`crate::error::Kind::NotFound`] as above.
    fn complete<'a>(&'a self, key: &'a str, upload: &'a str, parts: &'a [Part]) -> Later<'a, Stored>;
    /// Gives an upload up; one that is not known is success.
    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Later<'a, ()>;
}
