//! Storing an object in parts.

use super::S3;
use super::abilities::Ways;
use super::body::Sending;
use super::errors::Fault;
use super::put::{ALGORITHM, agrees, is_small};
use crate::env::store::{Body, Part, Stored};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use std::time::Duration;

impl S3 {
    pub(super) async fn begin_upload(&self, key: &str, content_type: &str) -> Result<String, Fault> {
        let relevant = Ways { checksum: true, condition: false };
        self.any_way(relevant, |ways| self.begin_once(key, content_type, ways)).await
    }

    async fn begin_once(&self, key: &str, content_type: &str, ways: Ways) -> Result<String, Fault> {
        let small = is_small(content_type, false);
        let send = |client: Client| {
            client
                .create_multipart_upload()
                .bucket(&self.options.bucket)
                .key(key)
                .content_type(content_type)
                .set_checksum_algorithm(ways.checksum.then_some(ChecksumAlgorithm::Crc64Nvme))
                .set_checksum_type(ways.checksum.then_some(ChecksumType::FullObject))
                .set_server_side_encryption(self.sse())
                .set_ssekms_key_id(self.options.kms_key_id.clone())
                .set_storage_class(self.storage_class(small))
                .set_tagging(self.tagging())
                .set_metadata(self.metadata(small))
                .customize()
                // Not tried again here: if its answer got lost, an upload is open whose identity nobody knows. Who asked has to
                // hear of that.
                .config_override(self.limits(0, Duration::ZERO).retry_config(RetryConfig::disabled()))
                .send()
        };
        let output = self.call(None, send).await?;
        output.upload_id.ok_or_else(|| Fault::Garbled("it names no upload".to_owned()))
    }

    pub(super) async fn send_part(&self, key: &str, upload: &str, number: i32, body: &Body) -> Result<Part, Fault> {
        let relevant = Ways { checksum: true, condition: false };
        self.any_way(relevant, |ways| self.send_once(key, upload, number, body, ways)).await
    }

    async fn send_once(&self, key: &str, upload: &str, number: i32, body: &Body, ways: Ways) -> Result<Part, Fault> {
        let digests = self.digests(body, ways).await?;
        let sending = Sending::new(body, self.bandwidth.as_ref());
        let send = |client: Client| {
            client
                .upload_part()
                .bucket(&self.options.bucket)
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .content_length(i64::try_from(body.len).unwrap_or(i64::MAX))
                .set_checksum_crc64_nvme(digests.checksum.clone())
                .set_content_md5(digests.md5.clone())
                .body(sending.stream())
                .customize()
                .config_override(self.limits(body.len, Duration::ZERO))
                .send()
        };
        let output = self.call(Some(&sending), send).await?;
        let etag = output.e_tag.ok_or_else(|| Fault::Garbled("it names no entity tag".to_owned()))?;
        let checksum = self.verified(&digests, output.checksum_crc64_nvme).await?;
        Ok(Part { number, etag, checksum, crc: digests.crc })
    }

    pub(super) async fn complete_upload(
        &self,
        key: &str,
        upload: &str,
        parts: &[Part],
        crc: &str,
    ) -> Result<Stored, Fault> {
        self.must_be_free(key).await?;
        // Checksums of some parts only are worse than none: the server would miss the others.
        let checksums = parts.iter().all(|part| part.checksum.is_some());
        let relevant = Ways { checksum: checksums, condition: true };
        let crc = Some(crc).filter(|_| checksums);
        self.any_way(relevant, |ways| self.complete_once(key, upload, parts, crc, ways)).await
    }

    /// `crc`: the checksum of the whole, if all parts have one.
    async fn complete_once(
        &self,
        key: &str,
        upload: &str,
        parts: &[Part],
        crc: Option<&str>,
        ways: Ways,
    ) -> Result<Stored, Fault> {
        let part = |part: &Part| {
            let checksum = part.checksum.clone().filter(|_| crc.is_some());
            let done = CompletedPart::builder().part_number(part.number).e_tag(&part.etag);
            done.set_checksum_crc64_nvme(checksum).build()
        };
        let list = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect())).build();
        let send = |client: Client| {
            client
                .complete_multipart_upload()
                .bucket(&self.options.bucket)
                .key(key)
                .upload_id(upload)
                .set_checksum_type(crc.map(|_| ChecksumType::FullObject))
                .set_checksum_crc64_nvme(crc.filter(|_| ways.checksum).map(str::to_owned))
                .set_if_none_match(ways.condition.then(|| "*".to_owned()))
                .multipart_upload(list.clone())
                .customize()
                .config_override(self.limits(0, self.options.assembly))
                .send()
        };
        let output = self.call(None, send).await?;
        if let Some(crc) = crc {
            agrees(crc, output.checksum_crc64_nvme.as_deref())?;
        }
        let checksum = output.checksum_crc64_nvme.map(|value| format!("{ALGORITHM}:{value}"));
        Ok(Stored { etag: output.e_tag, checksum })
    }

    pub(super) async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Fault> {
        let send = |client: Client| {
            let request = client.abort_multipart_upload().bucket(&self.options.bucket).key(key).upload_id(upload);
            request.customize().config_override(self.limits(0, Duration::ZERO)).send()
        };
        match self.call(None, send).await {
            Err(fault) if !fault.is_absence() => Err(fault),
            _ => self.is_closed(key, upload).await,
        }
    }

    /// An upload counts as closed when the server does not list it any more, whatever it answered to the abort: what stays open
    /// is paid for, and nobody would ask again. Who may not list, or where nothing is listed, has to believe the answer.
    async fn is_closed(&self, key: &str, upload: &str) -> Result<(), Fault> {
        match self.uploads_to(key).await {
            Ok(open) if open.iter().any(|id| id == upload) => {
                Err(Fault::Lost("the upload is listed as open after its abort".to_owned()))
            }
            Err(fault) if !fault.is_denial() && !matches!(fault.status(), 405 | 501) => Err(fault),
            _ => Ok(()),
        }
    }

    /// The open uploads to exactly this key.
    pub(super) async fn uploads_to(&self, key: &str) -> Result<Vec<String>, Fault> {
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let list = |client: Client| {
                let request = client.list_multipart_uploads().bucket(&self.options.bucket).prefix(key);
                let request = request.set_key_marker(key_marker.clone()).set_upload_id_marker(id_marker.clone());
                request.customize().config_override(self.limits(0, Duration::ZERO)).send()
            };
            let output = self.call(None, list).await?;
            let same =
                output.uploads.unwrap_or_default().into_iter().filter(|upload| upload.key.as_deref() == Some(key));
            found.extend(same.filter_map(|upload| upload.upload_id));
            let next = (output.next_key_marker, output.next_upload_id_marker);
            // A server that does not go on from the marker would never come to an end.
            if output.is_truncated != Some(true) || next.0.is_none() || next == (key_marker, id_marker) {
                return Ok(found);
            }
            (key_marker, id_marker) = next;
        }
    }
}
