//! What is in the bucket: one object, its content as it streams by, and listings.

use super::S3;
use super::abilities::Ways;
use super::errors::{Fault, judge};
use crate::env::store::{Content, Found, Later, Listed, Page};
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use bytes::Bytes;
use std::time::Duration;

/// The most keys of one answer to a listing.
const PAGE: i32 = 1_000;

impl S3 {
    pub(super) async fn found(&self, key: &str) -> Result<Option<Found>, Fault> {
        let relevant = Ways { checksum: true, condition: false };
        let Some(head) = self.any_way(relevant, |ways| self.head(key, ways.checksum)).await? else { return Ok(None) };
        let (kind, crc) = (head.checksum_type.as_ref(), head.checksum_crc64_nvme);
        found(head.content_length, head.e_tag, head.last_modified, kind, crc).map(Some)
    }

    /// `checksum`: asks for that too, which a foreign server may refuse.
    pub(super) async fn head(&self, key: &str, checksum: bool) -> Result<Option<HeadObjectOutput>, Fault> {
        let head = |client: Client| {
            let request = client.head_object().bucket(&self.options.bucket).key(key);
            let request = request.set_checksum_mode(checksum.then_some(ChecksumMode::Enabled)).customize();
            request.config_override(self.limits(0, Duration::ZERO)).send()
        };
        present(self.call(None, head).await)
    }

    /// An object and its content from a byte on; `None`: nothing stands there.
    pub(super) async fn content(&self, key: &str, from: u64) -> Result<Option<(Found, Box<dyn Content>)>, Fault> {
        let relevant = Ways { checksum: true, condition: false };
        let Some(output) = present(self.any_way(relevant, |ways| self.get(key, from, ways.checksum)).await)? else {
            return Ok(None);
        };
        if from > 0 && output.content_range.is_none() {
            return Err(Fault::Garbled(format!("a part was asked for, from byte {from} on, and all of it came")));
        }
        let (kind, crc) = (output.checksum_type.as_ref(), output.checksum_crc64_nvme);
        let found = found(output.content_length, output.e_tag, output.last_modified, kind, crc)?;
        let pieces = Pieces { body: output.body, patience: self.options.patience };
        let content = Fetched { pieces, bucket: self.options.bucket.clone(), key: key.to_owned() };
        Ok(Some((found, Box::new(content))))
    }

    /// What is told of an object, and its content.
    pub(super) async fn pieces(&self, key: &str) -> Result<(Found, Pieces), Fault> {
        let output = self.get(key, 0, false).await?;
        let found = found(output.content_length, output.e_tag, output.last_modified, None, None)?;
        Ok((found, Pieces { body: output.body, patience: self.options.patience }))
    }

    /// The checksum of the whole is of no use for a part.
    async fn get(&self, key: &str, from: u64, checksum: bool) -> Result<GetObjectOutput, Fault> {
        let checksum = checksum && from == 0;
        let get = |client: Client| {
            let request = client.get_object().bucket(&self.options.bucket).key(key);
            let request = request.set_range((from > 0).then(|| format!("bytes={from}-")));
            let request = request.set_checksum_mode(checksum.then_some(ChecksumMode::Enabled)).customize();
            // The time limit is that of the answer's head: the content is waited for piece by piece.
            request.config_override(self.limits(0, Duration::ZERO)).send()
        };
        self.call(None, get).await
    }

    pub(super) async fn listed(&self, prefix: &str, after: Option<&str>) -> Result<Page, Fault> {
        let mut token = None;
        loop {
            let list = |client: Client| {
                let request = client.list_objects_v2().bucket(&self.options.bucket).prefix(prefix).max_keys(PAGE);
                let request = request.set_start_after(after.map(str::to_owned)).set_continuation_token(token.clone());
                request.customize().config_override(self.limits(0, Duration::ZERO)).send()
            };
            let output = self.call(None, list).await?;
            let next = output.next_continuation_token.filter(|_| output.is_truncated == Some(true));
            let page = output.contents.unwrap_or_default().into_iter().map(|object| {
                let found = found(object.size, None, object.last_modified, None, None)?;
                let key = object.key.ok_or_else(|| Fault::Garbled("a key of the listing has no name".to_owned()))?;
                Ok(Listed { key, len: found.len, modified: found.modified })
            });
            let keys = page.collect::<Result<Vec<Listed>, Fault>>()?;
            // A page may be empty although more follow: all that it would show was deleted.
            if !keys.is_empty() || next.is_none() || next == token {
                return Ok(Page { keys, more: next.is_some() });
            }
            token = next;
        }
    }
}

/// What is not there is no fault.
fn present<T>(answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(fault) if fault.is_absence() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// What an answer tells of an object. Of its checksums only one of the whole object counts: that of an object made of parts
/// may be one of their checksums.
fn found(
    len: Option<i64>,
    etag: Option<String>,
    modified: Option<DateTime>,
    kind: Option<&ChecksumType>,
    crc: Option<String>,
) -> Result<Found, Fault> {
    let time = |at: DateTime| chrono::DateTime::from_timestamp(at.secs(), at.subsec_nanos());
    match (len.and_then(|len| len.try_into().ok()), modified.and_then(time)) {
        (Some(len), Some(modified)) => {
            let checksum = crc.filter(|_| kind == Some(&ChecksumType::FullObject));
            Ok(Found { len, etag, modified, checksum })
        }
        _ => Err(Fault::Garbled("the answer tells no size or no time of the object".to_owned())),
    }
}

/// The content of an object, as it comes.
pub(super) struct Pieces {
    body: ByteStream,
    patience: Duration,
}

impl Pieces {
    /// The next piece, never empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let piece = tokio::time::timeout(self.patience, self.body.next()).await;
            let piece = piece.map_err(|_| Fault::Lost("the object's content stopped coming".to_owned()))?;
            let piece = piece.transpose();
            let piece = piece.map_err(|e| Fault::Lost(format!("the object's content broke off: {e}")))?;
            if piece.as_ref().is_none_or(|piece| !piece.is_empty()) {
                return Ok(piece);
            }
        }
    }
}

struct Fetched {
    pieces: Pieces,
    bucket: String,
    key: String,
}

impl Content for Fetched {
    fn next(&mut self) -> Later<'_, Option<Bytes>> {
        Box::pin(
            async move { self.pieces.next().await.map_err(|fault| judge("fetch", &self.bucket, &self.key, &fault)) },
        )
    }
}
