//! What `logjam::env::s3` promises of a bucket, against a real S3 server over HTTP and HTTPS.

#[path = "support/s3.rs"]
mod server;

use logjam::env::disk::Disk;
use logjam::env::fs::{File, FileId, Fs};
use logjam::env::s3::{Options, S3};
use logjam::env::store::{Body, Multipart, Part, Store};
use logjam::error::{Class, Error, Kind, Result};
use server::{Fault, S3Server, Seen};
use std::future::Future;
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
    if std::env::var("TEST_ALONE").is_ok_and(|alone| alone == name) {
        return test();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([name, "--exact", "--nocapture"]).env("TEST_ALONE", name).envs(server::environment());
    for (name, value) in variables {
        if *value == "-" {
            child.env_remove(name)
        } else {
            child.env(name, value)
        };
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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

/// Stores an object in parts of 5 MiB.
async fn store_in_parts(s3: &S3, key: &str, data: &[u8]) -> Result<logjam::env::store::Stored> {
    let dir = tempfile::tempdir().unwrap();
    let upload = s3.begin(key, GZIP).await?;
    let mut parts: Vec<Part> = Vec::new();
    for (index, piece) in data.chunks(5 * MIB).enumerate() {
        parts.push(s3.send(key, &upload, index as i32 + 1, body(dir.path(), piece)).await?);
    }
    s3.complete(key, &upload, &parts).await
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
            let third = s3.send("k", &upload, 3, part(2)).await.unwrap();
            s3.send("k", &upload, 1, part(1)).await.unwrap();
            let first = other.send("k", &upload, 1, part(0)).await.unwrap();
            let second = other.send("k", &upload, 2, part(1)).await.unwrap();
            assert!([&first, &second, &third].iter().all(|part| part.checksum.is_some()));
            let stored = other.complete("k", &upload, &[first, second, third]).await.unwrap();
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

/// A file whose content changes between one reading and the next.
struct Rotting(AtomicUsize);

impl File for Rotting {
    fn read_at(&self, buf: &mut [u8], _: u64) -> Result<usize> {
        buf.fill(self.0.fetch_add(1, Ordering::Relaxed) as u8);
        Ok(buf.len())
    }
    fn append(&self, _: &[u8]) -> Result<usize> {
        unimplemented!()
    }
    fn len(&self) -> Result<u64> {
        unimplemented!()
    }
    fn sync(&self) -> Result<()> {
        unimplemented!()
    }
    fn truncate(&self, _: u64) -> Result<()> {
        unimplemented!()
    }
    fn try_lock(&self) -> Result<bool> {
        unimplemented!()
    }
    fn id(&self) -> Result<FileId> {
        unimplemented!()
    }
    fn has_writer(&self) -> Option<bool> {
        None
    }
}

#[test]
fn content_that_changes_on_its_way_is_refused_by_the_server() {
    run(async {
        for server in both() {
            let s3 = S3::new(options(&server));
            let rotting = Body { file: Arc::new(Rotting(AtomicUsize::new(0))), offset: 0, len: 1000 };
            let e = s3.create("k", rotting.clone(), GZIP).await.unwrap_err();
            assert_eq!((e.class, e.cause.contains("BadDigest")), (Class::Retry, true), "{e}");
            let upload = s3.begin("k", GZIP).await.unwrap();
            assert_eq!(kind(s3.send("k", &upload, 1, rotting).await).0, Class::Retry);
            assert!(server.keys("logs").is_empty());
        }
    });
}

#[test]
fn a_missing_bucket_is_named_and_found_once_it_is_there() {
    run(async {
        let server = S3Server::start();
        let s3 = S3::new(options(&server));
        let e = store(&s3, "k", b"x").await.unwrap_err();
        assert_eq!((e.class, e.kind, e.cause.as_str()), (Class::Stop, Kind::NoBucket, "Failed to find bucket logs"));
        server.create_bucket("logs");
        store(&s3, "k", b"x").await.unwrap();
    });
}

#[test]
fn an_upload_that_is_gone_is_told_apart_and_may_be_given_up_again() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        let dir = tempfile::tempdir().unwrap();
        let upload = s3.begin("k", GZIP).await.unwrap();
        let part = s3.send("k", &upload, 1, body(dir.path(), b"x")).await.unwrap();
        s3.abort("k", &upload).await.unwrap();
        s3.abort("k", &upload).await.unwrap();
        assert!(server.open_uploads().is_empty());
        assert_eq!(kind(s3.send("k", &upload, 2, body(dir.path(), b"x")).await).1, Kind::NotFound);
        assert_eq!(kind(s3.complete("k", &upload, &[part]).await).1, Kind::NotFound);
    });
}

#[test]
fn a_server_that_is_away_is_named_at_once_and_used_again_when_it_is_back() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        store(&s3, "before", b"x").await.unwrap();
        server.stop();
        let e = store(&s3, "during", b"x").await.unwrap_err();
        assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable));
        assert!(e.cause.contains("Connection refused") && e.cause.contains(&server.endpoint()), "{e}");
        server.resume();
        store(&s3, "during", b"x").await.unwrap();
        assert_eq!(server.keys("logs"), ["before", "during"]);
    });
}

#[test]
fn an_unknown_host_and_a_certificate_of_nobody_are_told_apart() {
    run(async {
        let server = S3Server::start_tls();
        let plain = format!("http://{}", server.endpoint().trim_start_matches("https://"));
        for (url, word) in [("https://no-such-host.invalid", "lookup"), (plain.as_str(), "http")] {
            let s3 = S3::new(Options { endpoint_url: Some(url.to_owned()), ..options(&server) });
            let e = store(&s3, "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable), "{e}");
            assert!(e.cause.contains(word), "{e}");
        }
    });
}

#[test]
fn a_certificate_that_nobody_signed_is_refused_with_its_reason() {
    alone("a_certificate_that_nobody_signed_is_refused_with_its_reason", &[], || {
        // SAFETY: this process has one test, and no other thread uses the environment.
        let system = "/etc/ssl/certs/ca-certificates.crt";
        unsafe { std::env::set_var("SSL_CERT_FILE", system) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = S3Server::start_tls();
            let e = store(&S3::new(options(&server)), "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable), "{e}");
            assert!(e.cause.contains("certificate") || !Path::new(system).exists(), "{e}");
        });
    });
}

#[test]
fn a_server_that_falls_silent_is_given_up_after_the_patience() {
    run(async {
        for (fault, first) in [(Fault::Stall, "took nothing"), (Fault::Swallow, "said nothing")] {
            let server = http();
            server.set_fault(move |seen: &Seen| if seen.method == "PUT" { fault.clone() } else { Fault::None });
            let s3 = S3::new(Options { patience: Duration::from_millis(300), ..options(&server) });
            let start = Instant::now();
            let e = store(&s3, "k", &noise(4 * MIB)).await.unwrap_err();
            assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable));
            assert!(e.cause.contains(first), "{e}");
            assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
            server.clear_fault();
            store(&s3, "k", b"x").await.unwrap();
        }
    });
}

#[test]
fn a_silent_answer_to_a_small_request_is_given_up_too() {
    run(async {
        let server = http();
        server.set_fault(|_| Fault::Stall);
        let s3 = S3::new(Options { patience: Duration::from_millis(100), ..options(&server) });
        let dir = tempfile::tempdir().unwrap();
        for result in [s3.abort("k", "u").await, s3.matches("k", body(dir.path(), b"x")).await.map(|_| ())] {
            assert_eq!(kind(result), (Class::Retry, Kind::Unreachable));
        }
    });
}

#[test]
fn a_cut_connection_is_made_again_and_the_body_sent_from_its_beginning() {
    run(async {
        for server in both() {
            let cuts = AtomicUsize::new(0);
            server.set_fault(move |seen| match seen.is_upload() && cuts.fetch_add(1, Ordering::Relaxed) == 0 {
                true => Fault::Cut,
                false => Fault::None,
            });
            let data = noise(MIB);
            store(&S3::new(options(&server)), "k", &data).await.unwrap();
            assert!(server.object("logs", "k").unwrap().data() == data);
        }
    });
}

#[test]
fn an_upload_whose_answer_got_lost_is_found_to_be_done() {
    run(async {
        let server = http();
        let lost = AtomicUsize::new(0);
        server.set_fault(move |seen| match seen.is_upload() && lost.fetch_add(1, Ordering::Relaxed) == 0 {
            true => Fault::DropAnswer,
            false => Fault::None,
        });
        let s3 = S3::new(options(&server));
        assert_eq!(kind(store(&s3, "k", b"data").await).1, Kind::Exists);
        let dir = tempfile::tempdir().unwrap();
        assert!(s3.matches("k", body(dir.path(), b"data")).await.unwrap());
    });
}

#[test]
fn refusals_say_whether_waiting_helps() {
    run(async {
        let server = http();
        for (status, code, class, kind, mend) in [
            (403, "AccessDenied", Class::Stop, Kind::Denied, "policy iam"),
            (403, "InvalidAccessKeyId", Class::Stop, Kind::Denied, "access key"),
            (400, "ExpiredToken", Class::Retry, Kind::Denied, "renew"),
            (409, "ConditionalRequestConflict", Class::Retry, Kind::Busy, ""),
            (503, "SlowDown", Class::Retry, Kind::Throttled, ""),
        ] {
            server.set_fault(move |seen| match seen.method.as_str() {
                "PUT" => Fault::refuse(status, code),
                _ => Fault::None,
            });
            let e = store(&S3::new(options(&server)), "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (class, kind), "{e}");
            assert!(e.to_string().contains(mend) && e.cause.contains(code), "{e}");
        }
    });
}

#[test]
fn a_wrong_clock_is_said_to_be_the_matter() {
    run(async {
        let server = http();
        server.set_fault(|_| Fault::refuse(403, "RequestTimeTooSkewed"));
        let s3 = S3::new(options(&server));
        let e = s3.begin("k", GZIP).await.unwrap_err();
        assert_eq!(e.class, Class::Retry);
        assert!(e.to_string().contains("NTP"), "{e}");
    });
}

/// A server whose buckets are all in `eu-west-1`, and say so in a way of their own.
fn elsewhere(redirect: impl Fn(&Seen) -> Fault + Send + Sync + 'static) -> S3Server {
    let server = http();
    server.set_fault(move |seen| if seen.region() == Some("eu-west-1") { Fault::None } else { redirect(seen) });
    server
}

#[test]
fn the_region_is_found_from_the_bucket_however_the_server_tells_it() {
    run(async {
        let header = || vec![("x-amz-bucket-region", "eu-west-1")];
        let told = elsewhere(move |_| Fault::Refuse { status: 301, code: "PermanentRedirect", headers: header() });
        let malformed =
            elsewhere(move |_| Fault::Refuse { status: 400, code: "AuthorizationHeaderMalformed", headers: header() });
        let asked = elsewhere(move |seen| match seen.key.is_empty() {
            true => Fault::Refuse { status: 403, code: "", headers: header() },
            false => Fault::refuse(301, "PermanentRedirect"),
        });
        for server in [told, malformed, asked] {
            let s3 = S3::new(options(&server));
            store(&s3, "k", b"x").await.unwrap();
            server.clear_requests();
            store(&s3, "l", b"x").await.unwrap();
            assert!(server.requests().iter().all(|seen| seen.region() == Some("eu-west-1")), "it is remembered");
        }
    });
}

#[test]
fn a_server_that_refuses_checksums_gets_content_md5_and_one_warning() {
    run(async {
        for server in both() {
            server.set_fault(server::without_checksums);
            let (warnings, _guard) = Warnings::listen();
            let s3 = S3::new(options(&server));
            let data = noise(6 * MIB);
            store_in_parts(&s3, "parts", &data).await.unwrap();
            for key in ["a", "b"] {
                assert_eq!(store(&s3, key, &data[..MIB]).await.unwrap().checksum, None);
            }
            assert!(server.object("logs", "parts").unwrap().data() == data);
            assert!(server.object("logs", "b").unwrap().data() == data[..MIB]);
            let lines = warnings.lines();
            assert!(lines.len() == 1 && lines[0].contains("Content-MD5"), "{lines:?}");
            let uploads = server.requests().into_iter().filter(|seen| seen.is_upload() && seen.key == "b");
            assert!(uploads.clone().count() == 1 && uploads.clone().all(|seen| seen.header("content-md5").is_some()));
            assert_eq!(kind(store(&s3, "a", b"other").await).1, Kind::Exists);
        }
    });
}

#[test]
fn a_server_that_refuses_conditions_is_looked_at_first_and_warned_of_once() {
    run(async {
        let server = http();
        server.set_fault(server::without_conditions);
        let (warnings, _guard) = Warnings::listen();
        let s3 = S3::new(options(&server));
        assert!(store(&s3, "k", b"old").await.unwrap().checksum.is_some());
        store_in_parts(&s3, "l", b"old").await.unwrap();
        assert_eq!(kind(store(&s3, "k", b"new").await).1, Kind::Exists);
        assert_eq!(kind(store_in_parts(&s3, "l", b"new").await).1, Kind::Exists);
        let lines = warnings.lines();
        assert!(lines.len() == 1 && lines[0].contains("If-None-Match"), "{lines:?}");
    });
}

#[test]
fn a_server_that_refuses_both_gets_the_object_all_the_same() {
    run(async {
        let server = http();
        server.set_fault(server::without_both);
        let (warnings, _guard) = Warnings::listen();
        let s3 = S3::new(options(&server));
        store(&s3, "k", b"old").await.unwrap();
        store_in_parts(&s3, "l", &noise(6 * MIB)).await.unwrap();
        assert_eq!(kind(store(&s3, "k", b"new").await).1, Kind::Exists);
        let lines = warnings.lines();
        assert!(lines.len() == 1, "{lines:?}");
        assert!(lines[0].contains("If-None-Match") && lines[0].contains("Content-MD5"), "{lines:?}");
    });
}

#[test]
fn a_server_that_ignores_what_it_does_not_know_is_found_out() {
    run(async {
        let server = http();
        server.set_fault(|_| Fault::Ignore(&["if-none-match", "x-amz-checksum-crc64nvme"]));
        let (warnings, _guard) = Warnings::listen();
        let s3 = S3::new(options(&server));
        assert_eq!(store(&s3, "k", b"old").await.unwrap().checksum, None);
        assert_eq!(kind(store(&s3, "k", b"new").await).1, Kind::Exists);
        store_in_parts(&s3, "l", &noise(6 * MIB)).await.unwrap();
        assert_eq!(server.object("logs", "k").unwrap().data(), b"old");
        assert_eq!(warnings.lines().len(), 1, "{:?}", warnings.lines());
        let unprotected = |seen: &&Seen| seen.is_upload() && seen.header("content-md5").is_none();
        assert_eq!(server.requests().iter().filter(unprotected).count(), 0);
    });
}

#[test]
fn a_refusal_for_another_reason_is_reported_as_the_server_said_it() {
    run(async {
        let server = http();
        server.set_fault(|seen| match seen.is_upload() {
            true => Fault::refuse(400, "InvalidStorageClass"),
            false => Fault::None,
        });
        let (warnings, _guard) = Warnings::listen();
        let e = store(&S3::new(options(&server)), "k", b"x").await.unwrap_err();
        assert!(e.class == Class::Stop && e.cause.contains("InvalidStorageClass"), "{e}");
        assert!(warnings.lines().is_empty());
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

#[test]
fn uploads_keep_to_the_bandwidth_together() {
    run(async {
        let server = http();
        let s3 = S3::new(Options { max_bandwidth: Some(MIB as u64), ..options(&server) });
        let start = Instant::now();
        let data = noise(MIB / 2);
        let (a, b) = tokio::join!(store(&s3, "a", &data), store(&s3, "b", &data));
        a.and(b).unwrap();
        let took = start.elapsed();
        assert!((900..3000).contains(&took.as_millis()), "{took:?}");
    });
}

#[test]
fn memory_stays_bounded_whatever_the_size() {
    alone("memory_stays_bounded_whatever_the_size", &[], || {
        let server = http();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(256 * MIB as u64).unwrap();
        run(async {
            let s3 = S3::new(options(&server));
            store(&s3, "small", b"x").await.unwrap();
            let peak = || {
                let status = std::fs::read_to_string("/proc/self/status").unwrap();
                let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
                line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
            };
            let before = peak();
            let whole = Body { file: Disk.open_read(file.path()).unwrap(), offset: 0, len: 256 * MIB as u64 };
            s3.create("large", whole, GZIP).await.unwrap();
            let grown = peak() - before;
            assert!(grown < 16 << 10, "{grown} KiB, client and server together");
        });
        assert_eq!(server.object("logs", "large").unwrap().len, 256 * MIB as u64);
    });
}

#[test]
fn a_wrong_secret_is_refused_and_the_mend_named() {
    let name = "a_wrong_secret_is_refused_and_the_mend_named";
    alone(name, &[("AWS_SECRET_ACCESS_KEY", "wrong")], || {
        let server = http();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let e: Error = runtime.block_on(store(&S3::new(options(&server)), "k", b"x")).unwrap_err();
        assert_eq!((e.class, e.kind), (Class::Stop, Kind::Denied));
        assert!(e.to_string().contains("secret"), "{e}");
    });
}

#[test]
fn credentials_that_come_later_are_found_without_a_restart() {
    let name = "credentials_that_come_later_are_found_without_a_restart";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials");
    let variables = [
        ("AWS_ACCESS_KEY_ID", "-"),
        ("AWS_SECRET_ACCESS_KEY", "-"),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ];
    alone(name, &variables, || {
        let server = http();
        let s3 = S3::new(options(&server));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let e = store(&s3, "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (Class::Retry, Kind::Denied), "{e}");
            assert!(e.to_string().contains("AWS_ACCESS_KEY_ID"), "{e}");
            let (id, secret) = (server::ACCESS_KEY, server::SECRET_KEY);
            let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
            std::fs::write(std::env::var("AWS_SHARED_CREDENTIALS_FILE").unwrap(), text).unwrap();
            store(&s3, "k", b"x").await.unwrap();
        });
    });
}

#[test]
fn endpoint_region_and_profile_come_from_where_other_tools_take_them() {
    let name = "endpoint_region_and_profile_come_from_where_other_tools_take_them";
    let server = http();
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = "[default]\nregion = eu-west-2\n[profile other]\nregion = eu-west-3\n";
    std::fs::write(file.path(), config).unwrap();
    let (url, file) = (server.endpoint(), file.path().to_str().unwrap());
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("AWS_REGION", "ap-east-1"), ("AWS_DEFAULT_REGION", "x")], "ap-east-1"),
        (&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "ap-east-2")], "ap-east-2"),
        (&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "")], "us-east-1"),
        (&[("AWS_REGION", "-"), ("AWS_DEFAULT_REGION", "-"), ("AWS_CONFIG_FILE", file)], "eu-west-2"),
        (&[("AWS_REGION", "-"), ("AWS_CONFIG_FILE", file), ("AWS_PROFILE", "other")], "eu-west-3"),
        (&[("AWS_REGION", "-"), ("AWS_CONFIG_FILE", file), ("TEST_PROFILE", "other")], "eu-west-3"),
    ];
    for (index, (variables, region)) in cases.into_iter().enumerate() {
        let endpoint = if index % 2 == 0 { "AWS_ENDPOINT_URL" } else { "AWS_ENDPOINT_URL_S3" };
        server.clear_requests();
        alone(name, &[variables, &[(endpoint, &url)]].concat(), || {
            let s3 = S3::new(Options { profile: std::env::var("TEST_PROFILE").ok(), ..Options::new("logs") });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let key = format!("{:?}", Instant::now());
            runtime.block_on(store(&s3, &key, b"x")).unwrap();
        });
        if std::env::var("TEST_ALONE").is_ok() {
            return;
        }
        assert!(server.requests().iter().any(Seen::is_upload), "{variables:?}");
        assert!(server.requests().iter().all(|seen| seen.region() == Some(region)), "{variables:?}");
    }
}

#[test]
fn a_bucket_is_made_without_network_and_without_a_runtime() {
    let s3 = S3::new(Options { endpoint_url: Some("http://127.0.0.1:1".to_owned()), ..Options::new("logs") });
    assert_eq!(s3.name(), "s3://logs");
    assert_eq!((s3.part_size(), s3.concurrency()), (8 << 20, 4));
}
