//! Listings, in pages.

use super::bucket::{Object, Pending, hex};
use s3s::dto::*;
use std::collections::BTreeMap;
use std::ops::Bound;

pub fn objects(all: &BTreeMap<String, Object>, input: ListObjectsV2Input, page: usize) -> ListObjectsV2Output {
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input.continuation_token.clone().or(input.start_after.clone()).unwrap_or_default();
    let most = (input.max_keys.unwrap_or(1000).max(0) as usize).min(page);
    let encoded = input.encoding_type.as_ref().is_some_and(|kind| kind.as_str() == EncodingType::URL);
    let spelled = |text: &str| if encoded { encode(text) } else { text.to_owned() };
    let (mut contents, mut groups, mut last) = (Vec::new(), Vec::<String>::new(), String::new());
    let mut truncated = false;
    for (key, object) in all.range::<str, _>((Bound::Excluded(after.as_str()), Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(&prefix) else { continue };
        let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let group = delimiter.and_then(|d| rest.find(d).map(|at| format!("{prefix}{}", &rest[..at + d.len()])));
        if let Some(group) = &group
            && (groups.last() == Some(group) || after.starts_with(group.as_str()))
        {
            last = key.clone();
            continue;
        }
        if contents.len() + groups.len() == most {
            truncated = true;
            break;
        }
        last = key.clone();
        match group {
            Some(group) => groups.push(group),
            None => contents.push(s3s::dto::Object {
                key: Some(spelled(key)),
                size: Some(object.len as i64),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                last_modified: Some(object.modified.into()),
                ..Default::default()
            }),
        }
    }
    ListObjectsV2Output {
        name: Some(input.bucket),
        common_prefixes: Some(groups.iter().map(|prefix| CommonPrefix { prefix: Some(spelled(prefix)) }).collect()),
        encoding_type: input.encoding_type.clone(),
        prefix: input.prefix.as_deref().map(spelled),
        delimiter: input.delimiter,
        max_keys: Some(most as i32),
        key_count: Some((contents.len() + groups.len()) as i32),
        is_truncated: Some(truncated),
        continuation_token: input.continuation_token,
        next_continuation_token: truncated.then_some(last),
        contents: Some(contents),
        ..Default::default()
    }
}

/// As S3 spells a key that is asked for with `encoding-type=url`.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*/".contains(&byte);
    let spell = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(spell).collect()
}

pub fn parts(upload: &Pending, input: ListPartsInput) -> ListPartsOutput {
    let after = input.part_number_marker.unwrap_or(0);
    let most = input.max_parts.unwrap_or(1000).clamp(1, 1000) as usize;
    let mut rest = upload.parts.range(after + 1..);
    let describe = |(number, part): (&i32, &super::bucket::Stored)| Part {
        part_number: Some(*number),
        size: Some(part.len as i64),
        e_tag: Some(ETag::Strong(hex(&part.md5))),
        checksum_crc64nvme: part.checked.then(|| part.crc.clone()),
        ..Default::default()
    };
    let parts: Vec<Part> = rest.by_ref().take(most).map(describe).collect();
    ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        max_parts: Some(most as i32),
        is_truncated: Some(rest.next().is_some()),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        parts: Some(parts),
        ..Default::default()
    }
}

pub fn uploads(
    all: &BTreeMap<String, Pending>,
    input: &ListMultipartUploadsInput,
    page: usize,
) -> ListMultipartUploadsOutput {
    let prefix = input.prefix.clone().unwrap_or_default();
    let marker = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone().unwrap_or_default());
    let most = (input.max_uploads.unwrap_or(1000).max(1) as usize).min(page);
    let mut found: Vec<(String, String)> = all
        .iter()
        .filter(|(_, upload)| upload.bucket == input.bucket && upload.key.starts_with(&prefix))
        .map(|(id, upload)| (upload.key.clone(), id.clone()))
        .filter(|place| *place > marker)
        .collect();
    found.sort();
    let truncated = found.len() > most;
    found.truncate(most);
    let last = found.last().filter(|_| truncated).cloned();
    let describe =
        |(key, id): (String, String)| MultipartUpload { key: Some(key), upload_id: Some(id), ..Default::default() };
    ListMultipartUploadsOutput {
        bucket: Some(input.bucket.clone()),
        prefix: input.prefix.clone(),
        is_truncated: Some(truncated),
        next_key_marker: last.as_ref().map(|(key, _)| key.clone()),
        next_upload_id_marker: last.map(|(_, id)| id),
        uploads: Some(found.into_iter().map(describe).collect()),
        ..Default::default()
    }
}
