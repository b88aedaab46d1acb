//! Storing an object in one request.

use super::S3;
use super::abilities::Ways;
use super::body::{Progress, stream};
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

impl S3 {
    pub(super) async fn put(&self, key: &str, body: &Body, content_type: &str) -> Result<Stored, Fault> {
        self.look(key).await?;
        let relevant = Ways { checksum: true, condition: true };
        let attempt = |ways| self.put_once(key, body, content_type, ways);
        self.any_way(relevant, attempt).await
    }

    /// Where another server than Amazon's may ignore the condition: whether something stands at the key.
    pub(super) async fn look(&self, key: &str) -> Result<(), Fault> {
        if !self.link().await?.foreign {
            return Ok(());
        }
        let head = |client: aws_sdk_s3::Client| {
            let request = client.head_object().bucket(&self.options.bucket).key(key).customize();
            request.config_override(self.limits(0, Duration::ZERO)).send()
        };
        match self.call(None, head).await {
            Ok(_) => Err(Fault::answer(412, Some("PreconditionFailed"), "an object stands at the key already")),
            // Absent, or not allowed to know, or not known how to look: the upload itself will tell.
            Err(fault) if (400..500).contains(&fault.status()) && fault.status() != 429 => Ok(()),
            Err(fault) if fault.status() == 501 => Ok(()),
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

    async fn put_once(&self, key: &str, body: &Body, content_type: &str, ways: Ways) -> Result<Stored, Fault> {
        let digests = self.digests(body, ways).await?;
        let progress = Progress::new();
        let send = |client: aws_sdk_s3::Client| {
            client
                .put_object()
                .bucket(&self.options.bucket)
                .key(key)
                .content_type(content_type)
                .content_length(i64::try_from(body.len).unwrap_or(i64::MAX))
                .set_checksum_crc64_nvme(digests.crc.clone())
                .set_content_md5(digests.md5.clone())
                .set_if_none_match(ways.condition.then(|| "*".to_owned()))
                .set_server_side_encryption(self.sse())
                .set_ssekms_key_id(self.options.kms_key_id.clone())
                .set_storage_class(self.storage_class())
                .set_tagging(self.tagging())
                .set_metadata(self.metadata())
                .body(stream(body, self.bandwidth.as_ref(), &progress))
                .customize()
                .config_override(self.limits(body.len, Duration::ZERO))
                .send()
        };
        let output: PutObjectOutput = self.call(Some(&progress), send).await?;
        let checksum = self.verified(&digests, output.checksum_crc64_nvme).await?;
        Ok(Stored { etag: output.e_tag, checksum: checksum.map(|value| format!("{ALGORITHM}:{value}")) })
    }

    /// The checksums to send with a body. A foreign server gets MD5 too until it has shown that it verifies the other.
    pub(super) async fn digests(&self, body: &Body, ways: Ways) -> Result<Digests, Fault> {
        let foreign = self.link().await?.foreign;
        let md5 = !ways.checksum || (foreign && !self.abilities.checksum_works());
        digest::of(body, Wanted { crc: ways.checksum, md5 }).await
    }

    /// What the server verified, given what it was sent and what it says.
    pub(super) async fn verified(&self, sent: &Digests, echo: Option<String>) -> Result<Option<String>, Fault> {
        let Some(sent) = &sent.crc else { return Ok(None) };
        if let Some(echo) = &echo
            && echo != sent
        {
            let text = format!("the server computed the checksum {echo}, and {sent} was sent");
            return Err(Fault::answer(400, Some("BadDigest"), &text));
        }
        if self.link().await?.foreign {
            self.abilities.checksum_seen(&self.name, echo.is_some());
        }
        Ok(echo)
    }

    pub(super) fn sse(&self) -> Option<ServerSideEncryption> {
        self.options.sse.as_deref().map(ServerSideEncryption::from)
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.options.storage_class.as_deref().map(StorageClass::from)
    }

    pub(super) fn metadata(&self) -> Option<HashMap<String, String>> {
        let metadata = &self.options.metadata;
        (!metadata.is_empty()).then(|| metadata.iter().cloned().collect())
    }

    /// The tags as a query string.
    pub(super) fn tagging(&self) -> Option<String> {
        let pair = |(name, value): &(String, String)| format!("{}={}", escape(name), escape(value));
        let tags: Vec<String> = self.options.tags.iter().map(pair).collect();
        (!tags.is_empty()).then(|| tags.join("&"))
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
