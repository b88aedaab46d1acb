//! A bucket of S3, or of a server that speaks its language.
//!
//! Construction is cheap and touches nothing: the first call connects, and a call that could not connect leaves it to the
//! next one. Bodies are streamed from the disk, so memory stays bounded whatever their size. Every wait has an end.
//!
//! What the server promises, and what stands in for it where the server can't:
//!
//! | promise | by | where that is not known |
//! |---|---|---|
//! | nothing is overwritten | `If-None-Match: *` | a look (`HEAD`) before each upload |
//! | only what is known is replaced | `If-Match` | the same |
//! | the content arrives unchanged | a CRC-64/NVME that the server verifies and keeps | `Content-MD5` |
//!
//! Servers other than Amazon's may ignore the condition without a word, so they are always asked with a `HEAD` as well.

mod abilities;
mod bandwidth;
mod body;
mod compare;
mod digest;
mod errors;
mod link;
mod multipart;
pub mod needs;
mod put;
mod read;
pub mod survey;

use super::store::{Body, Content, Found, Later, Multipart, Page, Part, Store, Stored};
use crate::error::{Error, Result};
use abilities::Abilities;
use bandwidth::Bandwidth;
use link::Connection;
use std::sync::Arc;
use std::time::Duration;

/// How to reach a bucket, and what to ask for each object. Unset fields leave the choice to the AWS environment and
/// configuration files, then to the bucket.
#[derive(Clone, Debug)]
pub struct Options {
    /// The bucket.
    pub bucket: String,
    /// Another server than Amazon's: `https://HOST[:PORT]`.
    pub endpoint_url: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The profile in the AWS configuration files.
    pub profile: Option<String>,
    /// Names the bucket in the path instead of the host name.
    pub path_style: bool,
    /// Encryption at rest: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub sse: Option<String>,
    /// The KMS key for it.
    pub kms_key_id: Option<String>,
    /// The storage class, as S3 spells it.
    pub storage_class: Option<String>,
    /// Object tags.
    pub tags: Vec<(String, String)>,
    /// User metadata (`x-amz-meta-*`).
    pub metadata: Vec<(String, String)>,
    /// Size of a part of a multipart upload, in bytes.
    pub part_size: u64,
    /// How many parts may be under way at once.
    pub concurrency: usize,
    /// What all uploads together may take, in bytes per second.
    pub max_bandwidth: Option<u64>,
    /// How long a server may be silent before a call is given up.
    pub patience: Duration,
    /// How long it may then take to put parts together.
    pub assembly: Duration,
}

/// How long S3 may take to put parts together (Amazon S3 API Reference, CompleteMultipartUpload: "several minutes").
const ASSEMBLY: Duration = Duration::from_secs(300);

impl Options {
    /// The defaults for a bucket.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            endpoint_url: None,
            region: None,
            profile: None,
            path_style: false,
            sse: None,
            kms_key_id: None,
            storage_class: None,
            tags: Vec::new(),
            metadata: Vec::new(),
            part_size: 8 << 20,
            concurrency: 4,
            max_bandwidth: None,
            patience: Duration::from_secs(30),
            assembly: ASSEMBLY,
        }
    }
}

/// The variables that name another server than Amazon's, as the SDK looks them up.
const VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// Refuses what the environment says of the server, as `--endpoint-url` is refused.
///
/// # Errors
/// A user or password is in it.
pub fn check_variables() -> Result<()> {
    let has_user = |name: &str| std::env::var(name).is_ok_and(|url| url.contains('@'));
    VARIABLES.into_iter().find(|name| has_user(name)).map_or(Ok(()), |name| Err(with_user(name)))
}

/// The refusal of an address with a user or password in it, which it does not show.
pub fn with_user(what: impl std::fmt::Display) -> Error {
    Error::usage(what, "has a user or password in it, which S3 has no use for, and everybody could read")
        .mend("write http://HOST[:PORT] or https://HOST[:PORT]")
}

/// A bucket.
pub struct S3 {
    options: Options,
    name: String,
    connection: Connection,
    abilities: Abilities,
    bandwidth: Option<Arc<Bandwidth>>,
}

impl S3 {
    /// A bucket, not yet connected to. Every later call must come from within a tokio runtime with time and I/O.
    pub fn new(options: Options) -> Self {
        let name = format!("s3://{}", options.bucket);
        let bandwidth = options.max_bandwidth.map(|rate| Arc::new(Bandwidth::new(rate, options.concurrency)));
        Self { name, connection: Connection::default(), abilities: Abilities::default(), bandwidth, options }
    }
}

impl Store for S3 {
    fn name(&self) -> &str {
        &self.name
    }

    fn create<'a>(&'a self, key: &'a str, body: Body, content_type: &'a str) -> Later<'a, Stored> {
        Box::pin(async move { self.put(key, &body, content_type).await.map_err(|e| self.error("store", key, &e)) })
    }

    fn matches<'a>(&'a self, key: &'a str, body: Body) -> Later<'a, bool> {
        Box::pin(async move { self.compare(key, &body).await.map_err(|e| self.error("compare", key, &e)) })
    }

    fn look<'a>(&'a self, key: &'a str) -> Later<'a, Option<Found>> {
        Box::pin(async move { self.found(key).await.map_err(|e| self.error("look at", key, &e)) })
    }

    fn fetch<'a>(&'a self, key: &'a str, from: u64) -> Later<'a, Option<(Found, Box<dyn Content>)>> {
        Box::pin(async move { self.content(key, from).await.map_err(|e| self.error("fetch", key, &e)) })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        body: Body,
        content_type: &'a str,
        only_if: Option<&'a str>,
    ) -> Later<'a, Option<String>> {
        Box::pin(async move {
            self.put_over(key, &body, content_type, only_if).await.map_err(|e| self.error("replace", key, &e))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Later<'a, Page> {
        Box::pin(async move { self.listed(prefix, after).await.map_err(|e| self.error("list", prefix, &e)) })
    }

    fn parts(&self) -> Option<&dyn Multipart> {
        Some(self)
    }
}

impl Multipart for S3 {
    fn part_size(&self) -> u64 {
        self.options.part_size
    }

    fn concurrency(&self) -> usize {
        self.options.concurrency
    }

    fn begin<'a>(&'a self, key: &'a str, content_type: &'a str) -> Later<'a, String> {
        Box::pin(async move {
            self.begin_upload(key, content_type).await.map_err(|e| self.error("begin upload of", key, &e))
        })
    }

    fn send<'a>(&'a self, key: &'a str, upload: &'a str, number: i32, _at: u64, body: Body) -> Later<'a, Part> {
        Box::pin(async move {
            self.send_part(key, upload, number, &body).await.map_err(|e| self.error("send part of", key, &e))
        })
    }

    fn complete<'a>(&'a self, key: &'a str, upload: &'a str, parts: &'a [Part], crc: &'a str) -> Later<'a, Stored> {
        Box::pin(async move {
            self.complete_upload(key, upload, parts, crc).await.map_err(|e| self.error("complete upload of", key, &e))
        })
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Later<'a, ()> {
        Box::pin(
            async move { self.abort_upload(key, upload).await.map_err(|e| self.error("abort upload of", key, &e)) },
        )
    }

    fn open<'a>(&'a self, key: &'a str) -> Later<'a, Vec<String>> {
        Box::pin(async move { self.uploads_to(key).await.map_err(|e| self.error("list uploads of", key, &e)) })
    }
}
