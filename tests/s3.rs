//! What `logjam::env::s3` promises of a bucket, against a real S3 server over HTTP and HTTPS.

#![allow(clippy::disallowed_methods)] // Tests look at the real clock and disk.

#[path = "support/alone.rs"]
mod alone;
#[path = "s3/clones.rs"]
mod clones;
#[path = "support/far.rs"]
mod far;
#[path = "s3/faults.rs"]
mod faults;
#[path = "s3/objects.rs"]
mod objects;
#[path = "support/s3.rs"]
mod server;
#[path = "s3/settings.rs"]
mod settings;
#[path = "support/shared.rs"]
mod shared;
#[path = "s3/wire.rs"]
mod wire;

use logjam::env::checksum;
use logjam::env::disk::Disk;
use logjam::env::fs::Fs;
use logjam::env::s3::{Options, S3};
use logjam::env::store::{Body, Multipart, Part, Store};
use logjam::error::{Class, Error, Kind, Result};
use server::{Fault, S3Server, Seen};
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

const GZIP: &str = "application/gzip";
const MIB: usize = 1 << 20;

/// The environment that all tests share.
fn environment() {
    static ONCE: Once = Once::new();
    // SAFETY: every test comes here first, and none reads the environment before.
    ONCE.call_once(|| {
        server::environment().into_iter().for_each(|(name, value)| unsafe { std::env::set_var(name, value) });
    });
}

fn run<T>(test: impl Future<Output = T>) -> T {
    environment();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Runs a test in a process of its own, with more environment; a value of `-` unsets a variable.
fn alone(name: &str, variables: &[(&str, &str)], test: impl FnOnce()) {
    let setting = |child: &mut Command| {
        child.envs(server::environment());
        for (name, value) in variables {
            if *value == "-" {
                child.env_remove(name)
            } else {
                child.env(name, value)
            };
        }
    };
    alone::alone(name, setting, test);
}

fn both() -> [S3Server; 2] {
    let servers = [S3Server::start(), S3Server::start_tls()];
    servers.iter().for_each(|server| server.create_bucket("logs"));
    servers
}

fn http() -> S3Server {
    let server = S3Server::start();
    server.create_bucket("logs");
    server
}

fn options(server: &S3Server) -> Options {
    Options {
        endpoint_url: Some(server.endpoint()),
        region: Some("us-east-1".to_owned()),
        patience: Duration::from_secs(5),
        ..Options::new("logs")
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut step).flatten().take(len).collect()
}

/// A file with the data, some bytes before it and some behind.
fn body(dir: &Path, data: &[u8]) -> Body {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = dir.join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    std::fs::write(&path, [b"before", data, b"behind"].concat()).unwrap();
    Body { file: Disk.open_read(&path).unwrap(), offset: 6, len: data.len() as u64 }
}

/// Stores an object of this content.
async fn store(s3: &S3, key: &str, data: &[u8]) -> Result<logjam::env::store::Stored> {
    let dir = tempfile::tempdir().unwrap();
    s3.create(key, body(dir.path(), data), GZIP).await
}

/// Sends parts of 5 MiB: the upload and what is to complete it.
async fn send_parts(s3: &S3, key: &str, data: &[u8]) -> Result<(String, Vec<Part>)> {
    let dir = tempfile::tempdir().unwrap();
    let upload = s3.begin(key, GZIP).await?;
    let mut parts: Vec<Part> = Vec::new();
    for (index, piece) in data.chunks(5 * MIB).enumerate() {
        let at = (index * 5 * MIB) as u64;
        let part = s3.send(key, &upload, index as i32 + 1, at, body(dir.path(), piece)).await?;
        assert_eq!(part.crc, crc(piece));
        parts.push(part);
    }
    Ok((upload, parts))
}

/// Stores an object in parts of 5 MiB.
async fn store_in_parts(s3: &S3, key: &str, data: &[u8]) -> Result<logjam::env::store::Stored> {
    let (upload, parts) = send_parts(s3, key, data).await?;
    s3.complete(key, &upload, &parts, &crc(data)).await
}

fn crc(data: &[u8]) -> String {
    checksum::encode(checksum::of(data))
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> (Class, Kind) {
    let e = result.unwrap_err();
    (e.class, e.kind)
}

/// What the program itself logged at `warn` and above while the test ran.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u8>>>);

impl Warnings {
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let warnings = Self::default();
        let log = warnings.clone();
        let format = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        let guard = tracing::subscriber::set_default(format.with_writer(move || log.clone()).finish());
        (warnings, guard)
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(" logjam::")).map(str::to_owned).collect()
    }
}

impl std::io::Write for Warnings {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_object_arrives_whole_whatever_its_size_over_http_and_https() {
    run(async {
        for server in both() {
            let s3 = S3::new(options(&server));
            for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 3 * MIB + 1] {
                let key = format!("a b+c/é/{len}.gz");
                let data = noise(len);
                let stored = store(&s3, &key, &data).await.unwrap();
                let object = server.object("logs", &key).unwrap();
                assert!(object.data() == data, "{len}");
                assert_eq!(stored.etag.unwrap().trim_matches('"'), object.etag);
                assert_eq!(stored.checksum.unwrap(), format!("CRC64NVME:{}", object.checksum.unwrap()));
            }
        }
    });
}

#[test]
fn an_object_carries_the_type_tags_metadata_encryption_and_class_that_were_asked_for() {
    run(async {
        for server in both() {
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let s3 = S3::new(Options {
                sse: Some("aws:kms".to_owned()),
                kms_key_id: Some("alias/logs".to_owned()),
                storage_class: Some("STANDARD_IA".to_owned()),
                tags: vec![pair("team", "a&b"), pair("keep", "7 years")],
                metadata: vec![pair("origin", "web-1")],
                ..options(&server)
            });
            store(&s3, "whole", b"x").await.unwrap();
            store_in_parts(&s3, "parts", &noise(6 * MIB)).await.unwrap();
            for key in ["whole", "parts"] {
                let said = server.object("logs", key).unwrap().said;
                assert_eq!(said.content_type.as_deref(), Some(GZIP));
                assert_eq!(said.content_encoding, None);
                assert_eq!(said.sse.as_deref(), Some("aws:kms"));
                assert_eq!(said.kms_key_id.as_deref(), Some("alias/logs"));
                assert_eq!(said.storage_class.as_deref(), Some("STANDARD_IA"));
                assert_eq!(said.tags.as_deref(), Some("team=a%26b&keep=7%20years"));
                assert_eq!(said.metadata.get("origin").map(String::as_str), Some("web-1"));
            }
        }
    });
}

#[test]
fn parts_in_any_order_sent_twice_and_by_another_process_make_one_verified_object() {
    run(async {
        for server in both() {
            let dir = tempfile::tempdir().unwrap();
            let data = noise(10 * MIB + 3);
            let part = |index: usize| body(dir.path(), data.chunks(5 * MIB).nth(index).unwrap());
            let (s3, other) = (S3::new(options(&server)), S3::new(options(&server)));
            let upload = s3.begin("k", GZIP).await.unwrap();
            let third = s3.send("k", &upload, 3, 10 << 20, part(2)).await.unwrap();
            s3.send("k", &upload, 1, 0, part(1)).await.unwrap();
            let first = other.send("k", &upload, 1, 0, part(0)).await.unwrap();
            let second = other.send("k", &upload, 2, 5 << 20, part(1)).await.unwrap();
            assert!([&first, &second, &third].iter().all(|part| part.checksum.is_some()));
            let stored = other.complete("k", &upload, &[first, second, third], &crc(&data)).await.unwrap();
            let object = server.object("logs", "k").unwrap();
            assert!(object.data() == data);
            assert_eq!(stored.checksum.unwrap(), format!("CRC64NVME:{}", object.checksum.unwrap()));
            assert!(server.open_uploads().is_empty());
        }
    });
}

#[test]
fn what_stands_in_the_bucket_is_never_overwritten() {
    run(async {
        for server in both() {
            server.put_object("logs", "k", b"old");
            // Also where the look before the upload is not allowed, the condition holds.
            for forbidden in [false, true] {
                if forbidden {
                    server.set_fault(|seen| match seen.method.as_str() {
                        "HEAD" => Fault::refuse(403, ""),
                        _ => Fault::None,
                    });
                }
                let s3 = S3::new(options(&server));
                assert_eq!(kind(store(&s3, "k", b"new").await), (Class::Stop, Kind::Exists));
                assert_eq!(kind(store_in_parts(&s3, "k", b"new").await), (Class::Stop, Kind::Exists));
                assert_eq!(server.object("logs", "k").unwrap().data(), b"old");
            }
            for seen in server.requests().iter().filter(|seen| seen.is_complete()) {
                assert_eq!(seen.header("if-none-match"), Some("*"));
            }
        }
    });
}

#[test]
fn an_object_is_recognised_by_its_content_alone() {
    run(async {
        for server in both() {
            let s3 = S3::new(options(&server));
            let (dir, data) = (tempfile::tempdir().unwrap(), noise(2 * MIB + 5));
            let mut other = data.clone();
            other[MIB + 1] ^= 1;
            server.put_object("logs", "k", &data);
            server.put_object("logs", "empty", b"");
            assert!(s3.matches("k", body(dir.path(), &data)).await.unwrap());
            assert!(!s3.matches("k", body(dir.path(), &other)).await.unwrap());
            assert!(!s3.matches("k", body(dir.path(), &data[1..])).await.unwrap());
            assert!(s3.matches("empty", body(dir.path(), b"")).await.unwrap());
            assert_eq!(kind(s3.matches("absent", body(dir.path(), b"")).await).1, Kind::NotFound);
        }
    });
}

#[test]
fn checksums_travel_as_headers_and_no_content_encoding_is_set() {
    run(async {
        for server in both() {
            let s3 = S3::new(options(&server));
            store(&s3, "k", b"x").await.unwrap();
            store(&s3, "l", b"x").await.unwrap();
            let put = server.requests().into_iter().rfind(Seen::is_upload).unwrap();
            assert!(put.header("x-amz-checksum-crc64nvme").is_some());
            assert_eq!(put.header("content-md5"), None, "no longer once the server has verified the other");
            assert_eq!((put.header("content-encoding"), put.header("x-amz-trailer")), (None, None));
            assert_eq!(put.header("content-length"), Some("1"));
        }
    });
}
