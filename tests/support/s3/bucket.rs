//! What the server keeps: bodies in files of a temporary directory, everything else in memory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::dto::{Checksum, ChecksumType};
use s3s::{S3Result, s3_error};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

/// Headers that this request's server does not know (an extension of the request).
#[derive(Clone)]
pub struct Ignored(pub &'static [&'static str]);

/// A stored object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Size in bytes.
    pub len: u64,
    /// Entity tag, without quotes.
    pub etag: String,
    /// When it was stored.
    pub modified: SystemTime,
    /// How many parts it was made of; 1 for a single request.
    pub parts: usize,
    /// CRC-64/NVME in base64, if the client asked for it.
    pub checksum: Option<String>,
    /// What the client said of it.
    pub said: Said,
    /// Whether no client has stored it, but the test.
    pub put_by_test: bool,
    files: Vec<Stored>,
}

/// What the client said of an object.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Content-Type.
    pub content_type: Option<String>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// `x-amz-tagging`, as it came.
    pub tags: Option<String>,
    /// Encryption at rest.
    pub sse: Option<String>,
    /// The key for it.
    pub kms_key_id: Option<String>,
    /// The storage class.
    pub storage_class: Option<String>,
}

impl Object {
    /// That of its checksum, if it has one. An object whose checksum holds a dash has that of its parts' checksums.
    pub(super) fn checksum_type(&self) -> Option<ChecksumType> {
        let kind = |sum: &String| if sum.contains('-') { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
        self.checksum.as_ref().map(|sum| kind(sum).to_owned().into())
    }

    /// A reader of its content from an offset.
    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, u64)> {
        self.files.iter().map(|file| (&file.path, file.len))
    }

    /// Its whole content.
    pub fn data(&self) -> Vec<u8> {
        self.files.iter().map(|file| std::fs::read(&file.path).unwrap()).collect::<Vec<_>>().concat()
    }
}

/// An open multipart upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Its identity.
    pub id: String,
    /// Parts so far: number and size.
    pub parts: Vec<(i32, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    path: PathBuf,
    pub(super) len: u64,
    pub(super) md5: [u8; 16],
    /// CRC-64/NVME in base64.
    pub(super) crc: String,
    /// Whether the client sent it, and it was right.
    pub(super) checked: bool,
}

#[derive(Clone)]
pub(super) struct Pending {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) checksummed: bool,
    pub(super) said: Said,
    pub(super) parts: BTreeMap<i32, Stored>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) buckets: BTreeMap<String, BTreeMap<String, Object>>,
    pub(super) uploads: BTreeMap<String, Pending>,
}

impl State {
    pub(super) fn bucket(&mut self, name: &str) -> S3Result<&mut BTreeMap<String, Object>> {
        self.buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    pub(super) fn upload(&mut self, id: &str, key: &str) -> S3Result<&mut Pending> {
        let found = self.uploads.get_mut(id).filter(|upload| upload.key == key);
        found.ok_or_else(|| s3_error!(NoSuchUpload, "The specified upload does not exist"))
    }

    pub(super) fn must_be_free(&mut self, bucket: &str, key: &str, condition: bool) -> S3Result<()> {
        if self.bucket(bucket)?.contains_key(key) && condition {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        Ok(())
    }
}

impl State {
    /// `If-Match`: refused if another object stands there, and in another way if none does.
    pub(super) fn must_be_same(&mut self, bucket: &str, key: &str, etag: Option<&str>) -> S3Result<()> {
        let there = self.bucket(bucket)?.get(key);
        match (etag, there) {
            (Some(_), None) => Err(s3_error!(NoSuchKey, "The specified key does not exist")),
            (Some(etag), Some(there)) if there.etag != etag => {
                Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"))
            }
            _ => Ok(()),
        }
    }
}

/// All buckets of a server.
pub struct Buckets {
    dir: tempfile::TempDir,
    next: AtomicU64,
    /// The most entries of one answer to a listing.
    pub(super) page: AtomicUsize,
    pub(super) state: Mutex<State>,
}

impl Buckets {
    pub fn new() -> Self {
        let (next, page) = (AtomicU64::new(0), AtomicUsize::new(1000));
        Self { dir: tempfile::tempdir().unwrap(), next, page, state: Mutex::default() }
    }

    pub fn create(&self, name: &str) {
        self.state.lock().unwrap().buckets.entry(name.to_owned()).or_default();
    }

    pub fn remove_bucket(&self, name: &str) {
        self.state.lock().unwrap().buckets.remove(name);
    }

    pub fn put(&self, bucket: &str, key: &str, data: &[u8], modified: SystemTime) {
        let mut saving = Saving::new(self.path());
        saving.write(data);
        let mut object = assemble(vec![saving.done().0], Said::default(), false, false);
        (object.put_by_test, object.modified) = (true, modified);
        self.state.lock().unwrap().buckets.get_mut(bucket).unwrap().insert(key.to_owned(), object);
    }

    /// Says another checksum of an object than its own.
    pub fn set_checksum(&self, bucket: &str, key: &str, checksum: &str) {
        let mut state = self.state.lock().unwrap();
        state.buckets.get_mut(bucket).unwrap().get_mut(key).unwrap().checksum = Some(checksum.to_owned());
    }

    pub fn remove(&self, bucket: &str, key: &str) {
        self.state.lock().unwrap().buckets.get_mut(bucket).unwrap().remove(key);
    }

    pub fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        self.state.lock().unwrap().buckets.get(bucket)?.get(key).cloned()
    }

    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.state.lock().unwrap().buckets.get(bucket).map(|b| b.keys().cloned().collect()).unwrap_or_default()
    }

    /// What stands in a bucket, by key, and which of it the test has put there.
    pub fn all(&self, bucket: &str) -> (BTreeMap<String, Vec<u8>>, Vec<String>) {
        let objects = self.state.lock().unwrap().buckets.get(bucket).cloned().unwrap_or_default();
        let others = objects.iter().filter(|(_, object)| object.put_by_test).map(|(key, _)| key.clone()).collect();
        (objects.into_iter().map(|(key, object)| (key, object.data())).collect(), others)
    }

    /// Forgets every upload that is open, as a lifecycle rule does.
    pub fn expire_uploads(&self) {
        self.state.lock().unwrap().uploads.clear();
    }

    pub fn open_uploads(&self) -> Vec<Upload> {
        let describe = |(id, upload): (&String, &Pending)| Upload {
            bucket: upload.bucket.clone(),
            key: upload.key.clone(),
            id: id.clone(),
            parts: upload.parts.iter().map(|(number, part)| (*number, part.len)).collect(),
        };
        self.state.lock().unwrap().uploads.iter().map(describe).collect()
    }

    pub(super) fn page(&self) -> usize {
        self.page.load(Ordering::Relaxed)
    }

    /// A place for one more body.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Something that no other request gets.
    pub(super) fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// A body on its way to the disk.
pub(super) struct Saving {
    path: PathBuf,
    file: File,
    len: u64,
    md5: Md5,
    sums: ChecksumHasher,
}

impl Saving {
    pub(super) fn new(path: PathBuf) -> Self {
        let sums = ChecksumHasher {
            crc32: Some(s3s::crypto::Crc32::new()),
            crc32c: Some(s3s::crypto::Crc32c::new()),
            crc64nvme: Some(s3s::crypto::Crc64Nvme::new()),
            ..Default::default()
        };
        Self { file: File::create(&path).unwrap(), path, len: 0, md5: Md5::new(), sums }
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.file.write_all(data).unwrap();
        self.len += data.len() as u64;
        self.md5.update(data);
        self.sums.update(data);
    }

    pub(super) fn done(self) -> (Stored, Checksum) {
        let sums = self.sums.finalize();
        let crc = sums.checksum_crc64nvme.clone().unwrap();
        (Stored { path: self.path, len: self.len, md5: self.md5.finalize().into(), crc, checked: false }, sums)
    }
}

/// An object of one or several bodies.
pub(super) fn assemble(files: Vec<Stored>, said: Said, multipart: bool, checked: bool) -> Object {
    let mut crc = 0;
    for file in &files {
        let own = STANDARD.decode(&file.crc).unwrap().try_into().map(u64::from_be_bytes).unwrap();
        crc = if crc == 0 { own } else { crc_fast::checksum_combine(Crc64Nvme, crc, own, file.len) };
    }
    let etag = if multipart {
        let all: Vec<u8> = files.iter().flat_map(|file| file.md5).collect();
        format!("{}-{}", hex(&Md5::digest(all)), files.len())
    } else {
        hex(&files[0].md5)
    };
    Object {
        len: files.iter().map(|file| file.len).sum(),
        etag,
        modified: SystemTime::now(),
        parts: files.len(),
        checksum: checked.then(|| STANDARD.encode(crc.to_be_bytes())),
        said,
        put_by_test: false,
        files,
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
