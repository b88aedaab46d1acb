//! Storing an object in one request.

use super::S3;
use super::abilities::Ways;
use super::body::Sending;
use super::digest::{self, Digests, Wanted};
use super::errors::Fault;
use crate::env::store::{Body, Stored};
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

/// The name of the checksum, in what is written down of an object.
pub(super) const ALGORITHM: &str = "CRC64NVME";

/// What must hold of the key for an object to take its place.
#[derive(Clone, Copy, Debug)]
enum Condition<'a> {
    /// Nothing stands there.
    Free,
    /// The object with this entity tag stands there.
    Same(&'a str),
    /// None.
    Any,
}

impl S3 {
    pub(super) async fn put(&self, key: &str, body: &Body, content_type: &str) -> Result<Stored, Fault> {
        self.must_be_free(key).await?;
        let relevant = Ways { checksum: true, condition: true };
        let attempt = |ways| self.put_once(key, body, content_type, Condition::Free, ways);
        self.any_way(relevant, attempt).await
    }

    /// Stores an object whatever stands there, or only if that has the entity tag `only_if`.
    pub(super) async fn put_over(
        &self,
        key: &str,
        body: &Body,
        content_type: &str,
        only_if: Option<&str>,
    ) -> Result<Option<String>, Fault> {
        if let Some(etag) = only_if {
            self.must_be_same(key, etag).await?;
        }
        let condition = only_if.map_or(Condition::Any, Condition::Same);
        let relevant = Ways { checksum: true, condition: only_if.is_some() };
        let attempt = |ways| self.put_once(key, body, content_type, condition, ways);
        match self.any_way(relevant, attempt).await {
            // What was to be replaced is gone.
            Err(fault) if only_if.is_some() && fault.is_absence() => Err(refusal("nothing stands at the key any more")),
            stored => stored.map(|stored| stored.etag),
        }
    }

    /// Where another server than Amazon's may ignore the condition: whether something stands at the key.
    pub(super) async fn must_be_free(&self, key: &str) -> Result<(), Fault> {
        match self.look_first(key).await? {
            Some(Some(_)) => Err(refusal("an object stands at the key already")),
            _ => Ok(()),
        }
    }

    /// The same for an object that is to be replaced.
    async fn must_be_same(&self, key: &str, etag: &str) -> Result<(), Fault> {
        match self.look_first(key).await? {
            Some(found) if found.as_deref().map(bare) != Some(bare(etag)) => {
                Err(refusal("another object stands at the key, or none"))
            }
            _ => Ok(()),
        }
    }

    /// The entity tag of what stands at the key, `Some(None)` for nothing; `None` if it is not known, or not asked for.
    async fn look_first(&self, key: &str) -> Result<Option<Option<String>>, Fault> {
        if !self.link().await?.foreign {
            return Ok(None);
        }
        match self.head(key, false).await {
            Ok(head) => Ok(Some(head.map(|head| head.e_tag.unwrap_or_default()))),
            // Not allowed to know, or not known how to look: the upload itself will tell.
            Err(fault) if (400..500).contains(&fault.status()) && fault.status() != 429 => Ok(None),
            Err(fault) if fault.status() == 501 => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Tries with less what a foreign server refuses as unknown.
    pub(super) async fn any_way<T, Fut>(&self, relevant: Ways, attempt: impl Fn(Ways) -> Fut) -> Result<T, Fault>
    where
        Fut: Future<Output = Result<T, Fault>>,
    {
        if self.link().await?.foreign {
            self.abilities.degrade(&self.name, relevant, attempt).await
        } else {
            attempt(Ways { checksum: true, condition: true }).await
        }
    }

    async fn put_once(
        &self,
        key: &str,
        body: &Body,
        content_type: &str,
        condition: Condition<'_>,
        ways: Ways,
    ) -> Result<Stored, Fault> {
        let small = is_small(content_type, !matches!(condition, Condition::Free));
        let (free, same) = match condition {
            Condition::Free => (Some("*".to_owned()), None),
            Condition::Same(etag) => (None, Some(etag.to_owned())),
            Condition::Any => (None, None),
        };
        let digests = self.digests(body, ways).await?;
        let sending = Sending::new(body, self.bandwidth.as_ref());
        let send = |client: aws_sdk_s3::Client| {
            client
                .put_object()
                .bucket(&self.options.bucket)
                .key(key)
                .content_type(content_type)
                .content_length(i64::try_from(body.len).unwrap_or(i64::MAX))
                .set_checksum_crc64_nvme(digests.checksum.clone())
                .set_content_md5(digests.md5.clone())
                .set_if_none_match(free.clone().filter(|_| ways.condition))
                .set_if_match(same.clone().filter(|_| ways.condition))
                .set_server_side_encryption(self.sse())
                .set_ssekms_key_id(self.options.kms_key_id.clone())
                .set_storage_class(self.storage_class(small))
                .set_tagging(self.tagging())
                .set_metadata(self.metadata(small))
                .body(sending.stream())
                .customize()
                .config_override(self.limits(body.len, Duration::ZERO))
                .send()
        };
        let output: PutObjectOutput = self.call(Some(&sending), send).await?;
        // Every server gives one: something else has answered, and nothing may be stored.
        let etag = output.e_tag.ok_or_else(|| Fault::Garbled("it names no entity tag".to_owned()))?;
        let checksum = self.verified(&digests, output.checksum_crc64_nvme).await?;
        Ok(Stored { etag: Some(etag), checksum: checksum.map(|value| format!("{ALGORITHM}:{value}")) })
    }

    /// The checksums to send with a body. A foreign server gets MD5 too until it has shown that it verifies the other.
    pub(super) async fn digests(&self, body: &Body, ways: Ways) -> Result<Digests, Fault> {
        let foreign = self.link().await?.foreign;
        let md5 = !ways.checksum || (foreign && !self.abilities.checksum_works());
        digest::of(body, Wanted { crc: ways.checksum, md5 }).await
    }

    /// What the server verified, given what it was sent and what it says.
    pub(super) async fn verified(&self, sent: &Digests, echo: Option<String>) -> Result<Option<String>, Fault> {
        let Some(sent) = &sent.checksum else { return Ok(None) };
        agrees(sent, echo.as_deref())?;
        if self.link().await?.foreign {
            self.abilities.checksum_seen(&self.name, echo.is_some());
        }
        Ok(echo)
    }

    pub(super) fn sse(&self) -> Option<ServerSideEncryption> {
        self.options.sse.as_deref().map(ServerSideEncryption::from)
    }

    /// That of the settings; a small object has the bucket's standard one: see [`is_small`].
    pub(super) fn storage_class(&self, small: bool) -> Option<StorageClass> {
        self.options.storage_class.as_deref().filter(|_| !small).map(StorageClass::from)
    }

    /// That of the settings; a small object has none: see [`is_small`].
    pub(super) fn metadata(&self, small: bool) -> Option<HashMap<String, String>> {
        let metadata = &self.options.metadata;
        (!small && !metadata.is_empty()).then(|| metadata.iter().cloned().collect())
    }

    /// The tags as a query string.
    pub(super) fn tagging(&self) -> Option<String> {
        let pair = |(name, value): &(String, String)| format!("{}={}", escape(name), escape(value));
        let tags: Vec<String> = self.options.tags.iter().map(pair).collect();
        (!tags.is_empty()).then(|| tags.join("&"))
    }
}

/// Whether an object is one of the program's own notes beside the archives: JSON, or one that may be replaced. They are small and
/// short-lived, so they never get `--storage-class` (the cheaper classes charge for a least size and a least time, and some
/// do not let an object be read at once) nor user metadata, which speaks of archives. Encryption and tags they get: those
/// are rules of the bucket's owner for all that is in it.
pub(super) fn is_small(content_type: &str, replaceable: bool) -> bool {
    replaceable || content_type == "application/json"
}

/// What a server says that knows conditions.
fn refusal(message: &str) -> Fault {
    Fault::answer(412, Some("PreconditionFailed"), message)
}

/// An entity tag without its quotes, which some servers leave out.
fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// Whether the checksum that the server says is the one that was sent. One that says nothing does not disagree, nor does one
/// that says the checksum of the parts' checksums, which has their number behind a dash.
pub(super) fn agrees(sent: &str, echo: Option<&str>) -> Result<(), Fault> {
    match echo.filter(|echo| *echo != sent && !echo.contains('-')) {
        None => Ok(()),
        Some(echo) => {
            let text = format!("the server computed the checksum {echo}, and {sent} was sent");
            Err(Fault::answer(400, Some("BadDigest"), &text))
        }
    }
}

/// Percent-encoding of everything but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn tags_may_hold_any_character() {
        assert_eq!(super::escape("a b&c=d/é~"), "a%20b%26c%3Dd%2F%C3%A9~");
    }
}
