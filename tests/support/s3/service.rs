//! The operations of S3, with S3's own refusals.

use super::bucket::{Buckets, Ignored, Object, Pending, Said, Saving, Stored, assemble, hex};
use super::listing;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

/// The smallest part but the last, as on S3.
const LEAST_PART: u64 = 5 << 20;
/// What is read at once.
const PIECE: u64 = 128 << 10;

pub struct Service(pub Arc<Buckets>);

/// Whether the request's server knows a header.
fn knows<T>(request: &S3Request<T>, name: &str) -> bool {
    request.extensions.get::<Ignored>().is_none_or(|ignored| !ignored.0.contains(&name))
}

/// Keeps a body, if it is what the client said it is. Checksums come as headers or trailers.
async fn keep<T>(all: &Buckets, body: Option<StreamingBlob>, request: &S3Request<T>) -> S3Result<Stored> {
    let mut saving = Saving::new(all.path());
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    while let Some(piece) = body.next().await {
        saving.write(&piece.map_err(|_| s3_error!(IncompleteBody, "the body broke off"))?);
    }
    let (mut stored, sums) = saving.done();
    let text = |headers: &hyper::HeaderMap, name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    let sent = |name: &str| {
        let trailing = || request.trailing_headers.as_ref()?.read(|headers| text(headers, name)).flatten();
        text(&request.headers, name).or_else(trailing)
    };
    let md5 = Some(STANDARD.encode(stored.md5));
    for (name, right) in [
        ("content-md5", &md5),
        ("x-amz-checksum-crc64nvme", &sums.checksum_crc64nvme),
        ("x-amz-checksum-crc32", &sums.checksum_crc32),
        ("x-amz-checksum-crc32c", &sums.checksum_crc32c),
    ] {
        let Some(sent) = sent(name).filter(|_| knows(request, name)) else { continue };
        if Some(&sent) != right.as_ref() {
            return Err(s3_error!(BadDigest, "The {name} you specified did not match what we received"));
        }
        stored.checked |= name == "x-amz-checksum-crc64nvme";
    }
    Ok(stored)
}

/// A piece of an object, read as it is sent.
fn content(object: &Object, from: u64, to: u64) -> StreamingBlob {
    let mut at = 0;
    let mut pieces: Vec<(PathBuf, u64, u64)> = Vec::new();
    for (path, len) in object.files() {
        let (begin, end) = (from.max(at), to.min(at + len));
        let mut next = begin;
        while next < end {
            let size = PIECE.min(end - next);
            pieces.push((path.clone(), next - at, size));
            next += size;
        }
        at += len;
    }
    let read = |(path, at, size): (PathBuf, u64, u64)| {
        let mut data = vec![0; size as usize];
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut data)?;
        Ok::<_, std::io::Error>(bytes::Bytes::from(data))
    };
    StreamingBlob::wrap(stream::iter(pieces).map(read))
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.0.state.lock().unwrap().bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let condition = req.input.if_none_match.is_some() && knows(&req, "if-none-match");
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let expected = match req.input.if_match.take().filter(|_| knows(&req, "if-match")) {
            Some(ETagCondition::ETag(etag)) => Some(etag.value().to_owned()),
            Some(ETagCondition::Any) => return Err(s3_error!(NotImplemented, "If-Match: * is not implemented")),
            None => None,
        };
        self.0.state.lock().unwrap().must_be_free(&bucket, &key, condition)?;
        let body = req.input.body.take();
        let stored = keep(&self.0, body, &req).await?;
        let input = req.input;
        let said = Said {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            tags: input.tagging,
            sse: input.server_side_encryption.map(|sse| sse.as_str().to_owned()),
            kms_key_id: input.ssekms_key_id,
            storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
        };
        let checked = stored.checked;
        let object = assemble(vec![stored], said, false, checked);
        let output = PutObjectOutput {
            e_tag: Some(ETag::Strong(object.etag.clone())),
            checksum_crc64nvme: object.checksum.clone(),
            ..Default::default()
        };
        let mut state = self.0.state.lock().unwrap();
        state.must_be_free(&bucket, &key, condition)?;
        state.must_be_same(&bucket, &key, expected.as_deref())?;
        state.bucket(&bucket)?.insert(key, object);
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut state = self.0.state.lock().unwrap();
        let Some(object) = state.bucket(&req.input.bucket)?.get(&req.input.key) else {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist"));
        };
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(object.len as i64),
            content_type: object.said.content_type.clone(),
            content_encoding: object.said.content_encoding.clone(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.modified.into()),
            metadata: Some(object.said.metadata.clone().into_iter().collect()),
            checksum_crc64nvme: req.input.checksum_mode.clone().and(object.checksum.clone()),
            checksum_type: req.input.checksum_mode.and(object.checksum_type()),
            ..Default::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let mut state = self.0.state.lock().unwrap();
        let Some(object) = state.bucket(&req.input.bucket)?.get(&req.input.key) else {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist"));
        };
        let asked = req.input.range.map(|range| range.check(object.len)).transpose();
        let asked = asked.map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
        let range = asked.clone().unwrap_or(0..object.len);
        let of = |range: std::ops::Range<u64>| format!("bytes {}-{}/{}", range.start, range.end - 1, object.len);
        Ok(S3Response::new(GetObjectOutput {
            body: Some(content(object, range.start, range.end)),
            content_length: Some((range.end - range.start) as i64),
            content_range: asked.map(of),
            content_type: object.said.content_type.clone(),
            content_encoding: object.said.content_encoding.clone(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.modified.into()),
            metadata: Some(object.said.metadata.clone().into_iter().collect()),
            checksum_crc64nvme: req.input.checksum_mode.clone().and(object.checksum.clone()),
            checksum_type: req.input.checksum_mode.and(object.checksum_type()),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.state.lock().unwrap().bucket(&req.input.bucket)?.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let mut state = self.0.state.lock().unwrap();
        let objects = state.bucket(&req.input.bucket)?;
        Ok(S3Response::new(listing::objects(objects, req.input, self.0.page())))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let known = knows(&req, "x-amz-checksum-crc64nvme");
        let input = req.input;
        let mut state = self.0.state.lock().unwrap();
        state.bucket(&input.bucket)?;
        let id = format!("upload-{}", self.0.unique());
        let algorithm = input.checksum_algorithm.filter(|_| known);
        let pending = Pending {
            bucket: input.bucket,
            key: input.key,
            checksummed: algorithm.is_some(),
            said: Said {
                content_type: input.content_type,
                content_encoding: input.content_encoding,
                metadata: input.metadata.unwrap_or_default().into_iter().collect(),
                tags: input.tagging,
                sse: input.server_side_encryption.map(|sse| sse.as_str().to_owned()),
                kms_key_id: input.ssekms_key_id,
                storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
            },
            parts: Default::default(),
        };
        let output = CreateMultipartUploadOutput {
            bucket: Some(pending.bucket.clone()),
            key: Some(pending.key.clone()),
            upload_id: Some(id.clone()),
            checksum_type: input.checksum_type.filter(|_| algorithm.is_some()),
            checksum_algorithm: algorithm,
            ..Default::default()
        };
        state.uploads.insert(id, pending);
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, mut req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.0.state.lock().unwrap().upload(&req.input.upload_id, &req.input.key)?;
        let body = req.input.body.take();
        let stored = keep(&self.0, body, &req).await?;
        let mut state = self.0.state.lock().unwrap();
        let upload = state.upload(&req.input.upload_id, &req.input.key)?;
        if upload.checksummed != stored.checked {
            let name = |is: bool| if is { "crc64nvme" } else { "null" };
            let (expected, actual) = (name(upload.checksummed), name(stored.checked));
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
            ));
        }
        let output = UploadPartOutput {
            e_tag: Some(ETag::Strong(hex(&stored.md5))),
            checksum_crc64nvme: stored.checked.then(|| stored.crc.clone()),
            ..Default::default()
        };
        upload.parts.insert(req.input.part_number, stored);
        Ok(S3Response::new(output))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let condition = req.input.if_none_match.is_some() && knows(&req, "if-none-match");
        let known = knows(&req, "x-amz-checksum-crc64nvme");
        let input = req.input;
        let mut state = self.0.state.lock().unwrap();
        let upload = state.upload(&input.upload_id, &input.key)?.clone();
        let named = input.multipart_upload.and_then(|list| list.parts).unwrap_or_default();
        let files = chosen(&upload, &named)?;
        state.must_be_free(&input.bucket, &input.key, condition)?;
        let object = assemble(files, upload.said, true, upload.checksummed);
        let whole = input.checksum_crc64nvme.filter(|_| known);
        if whole.is_some() && whole != object.checksum {
            return Err(s3_error!(BadDigest, "The CRC64NVME you specified did not match the calculated checksum."));
        }
        let output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            checksum_type: object.checksum_type(),
            checksum_crc64nvme: object.checksum.clone(),
            ..Default::default()
        };
        state.bucket(&input.bucket)?.insert(input.key, object);
        state.uploads.remove(&input.upload_id);
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut state = self.0.state.lock().unwrap();
        state.upload(&req.input.upload_id, &req.input.key)?;
        state.uploads.remove(&req.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let mut state = self.0.state.lock().unwrap();
        let upload = state.upload(&req.input.upload_id, &req.input.key)?.clone();
        Ok(S3Response::new(listing::parts(&upload, req.input)))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let mut state = self.0.state.lock().unwrap();
        state.bucket(&req.input.bucket)?;
        Ok(S3Response::new(listing::uploads(&state.uploads, &req.input, self.0.page())))
    }
}

/// The parts that a request to complete names, if it names them rightly.
fn chosen(upload: &Pending, named: &[CompletedPart]) -> S3Result<Vec<Stored>> {
    if named.is_empty() || !named.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order"));
    }
    let mut files = Vec::new();
    for (index, part) in named.iter().enumerate() {
        let stored = part.part_number.and_then(|number| upload.parts.get(&number));
        let wrong = || s3_error!(InvalidPart, "One or more of the specified parts could not be found");
        let stored = stored.ok_or_else(wrong)?;
        let tag = part.e_tag.as_ref().map(ETag::value);
        let sum = part.checksum_crc64nvme.as_ref();
        if tag != Some(&hex(&stored.md5)) || sum.is_some_and(|sum| !stored.checked || *sum != stored.crc) {
            return Err(wrong());
        }
        if stored.len < LEAST_PART && index + 1 < named.len() {
            return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
        }
        files.push(stored.clone());
    }
    Ok(files)
}
