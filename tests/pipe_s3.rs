//! `logjam pipe` with a bucket: the real binary, a real S3 server over HTTP and HTTPS, and what goes wrong between them.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::cli::{self, MIB, Running, Spool, noise, unpack, within};
use crate::server::{self, Fault, Object, S3Server, Seen};
use logjam::env::store::Part;
use logjam::format::journal;
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{PipeWriter, Write};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const DEST: &str = "s3://logs/{prefix}/{year}{month}{day}/{filename}";
/// What is said once when the far end can't be used, and once when it can again.
const DOWN: &str = "archives wait on the disk";
const UP: &str = "it works again";

/// A server with a bucket, and a host that stores there.
struct Host {
    server: S3Server,
    spool: Spool,
}

impl Host {
    fn new() -> Self {
        Self::at(S3Server::start())
    }

    fn at(server: S3Server) -> Self {
        server.create_bucket("logs");
        Self { server, spool: Spool::new() }
    }

    fn command(&self, options: &[&str]) -> Command {
        // The shell leaves the number of its process, which becomes that of `logjam`.
        let line = format!("echo $$ >{}; exec \"$@\"", self.spool.beside("pid").display());
        let mut command = cli::shell(&line, ["pipe", &self.spool.arg(), DEST, "--suffix=host"]);
        // The process that the shell was is the one that does the work.
        command.args(options).arg("--no-guard").envs(self.server.environment());
        command
    }

    fn start(&self, options: &[&str]) -> Life<'_> {
        self.start_command(self.command(options))
    }

    fn start_command(&self, mut command: Command) -> Life<'_> {
        let (reader, input) = std::io::pipe().unwrap();
        command.stdin(reader);
        Life { host: self, running: Running::start(command), input }
    }

    /// What is in the open hour files.
    fn open_text(&self) -> Vec<u8> {
        let names = cli::names(&self.spool.dir());
        let logs = names.iter().filter(|name| name.ends_with(".log"));
        logs.flat_map(|name| std::fs::read(self.spool.path(name)).unwrap_or_default()).collect()
    }

    fn archives(&self) -> Vec<String> {
        self.spool.archived().into_iter().filter(|name| name.ends_with(".gz")).collect()
    }

    /// The archives that are stored, with the manifests proved.
    #[track_caller]
    fn objects(&self) -> BTreeMap<String, Object> {
        let keys = self.server.keys("logs").into_iter();
        keys.map(|key| (key.clone(), self.server.object("logs", &key).unwrap())).collect()
    }

    /// The contents of the stored hours.
    #[track_caller]
    fn stored(&self) -> BTreeSet<Vec<u8>> {
        self.objects().into_iter().map(|(key, object)| unpack(&key, &object.data())).collect()
    }

    /// The requests that stored archives.
    fn uploads(&self) -> Vec<Seen> {
        self.server.requests().into_iter().filter(Seen::is_upload).collect()
    }

    /// The requests that stored manifests.
    fn manifests(&self) -> Vec<Seen> {
        self.server.requests().into_iter().filter(Seen::is_manifest).collect()
    }

    /// Asserts that each archive is one object of the same bytes, and that its receipt says so.
    #[track_caller]
    fn assert_archived(&self, hours: usize) {
        let (archives, objects) = (self.archives(), self.objects());
        assert_eq!((archives.len(), objects.len()), (hours, hours), "{archives:?} {:?}", objects.keys());
        for name in archives {
            let (key, object) = objects.iter().find(|(key, _)| key.ends_with(&format!("/{name}"))).unwrap();
            assert!(object.data() == std::fs::read(self.spool.archive(&name)).unwrap(), "{name} differs");
            let receipt = self.receipt(&name);
            assert_eq!(receipt["stored"], format!("s3://logs/{key}"));
            assert_eq!(receipt["bytes"], object.len);
        }
        assert!(self.server.open_uploads().is_empty(), "{:?}", self.server.open_uploads());
    }

    fn receipt(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.spool.receipt(name)).unwrap()).unwrap()
    }

    fn receipts(&self) -> usize {
        cli::names(&self.spool.archive(".uploaded")).len()
    }
}

/// A running `logjam pipe`, and the end of the pipe that is the test's.
struct Life<'a> {
    host: &'a Host,
    running: Running,
    input: PipeWriter,
}

impl Life<'_> {
    /// Writes lines, and waits until they are in the hour file.
    #[track_caller]
    fn write(&mut self, text: &[u8]) {
        self.input.write_all(text).unwrap();
        self.running.until("the lines are in the hour file", || self.host.open_text().ends_with(text));
    }

    /// An hour of these lines, ended and packed.
    #[track_caller]
    fn hour(&mut self, text: &[u8]) {
        self.write(text);
        let before = self.host.archives().len();
        self.running.signal(Signal::SIGUSR1);
        self.running.until("the hour is packed", || self.host.archives().len() > before);
    }

    /// Waits until so many hours have a receipt, and all that is stored has its manifest.
    #[track_caller]
    fn until_stored(&self, hours: usize) {
        self.running.until("the hours are stored", || self.host.receipts() == hours);
        self.running.until("their manifests are stored", || self.host.server.is_told("logs"));
    }

    /// Ends the input and waits for the program: what it said.
    #[track_caller]
    fn end(self) -> String {
        drop(self.input);
        self.running.end().code_is(0).said
    }
}

/// `partNumber` of an `UploadPart`.
fn part(seen: &Seen) -> Option<u32> {
    let (_, number) = seen.query.split_once("partNumber=")?;
    number.split('&').next()?.parse().ok()
}

/// Whether a request begins an upload in parts.
fn begins(seen: &Seen) -> bool {
    seen.method == "POST" && seen.query.starts_with("uploads")
}

fn warnings(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.contains("WARN")).collect()
}

// ------------------------------------------------------------------------------------------------------------- stored

#[test]
fn an_hour_becomes_one_object_with_the_bytes_of_its_archive() {
    for server in [S3Server::start(), S3Server::start_tls()] {
        let host = Host::at(server);
        let mut life = host.start(&["--once"]);
        life.write(b"one\n\xff\0two\n");
        let said = life.end();
        host.assert_archived(1);
        assert!(said.contains("stored s3://logs/syslog/"), "{said}");
        assert_eq!(host.stored(), [b"one\n\xff\0two\n".to_vec()].into());
        let (key, object) = host.objects().pop_first().unwrap();
        assert_eq!(object.said.content_type.as_deref(), Some("application/gzip"));
        assert_eq!(object.said.content_encoding, None);
        let checksum = object.checksum.expect("a checksum that the server verified");
        let receipt = host.receipt(key.rsplit('/').next().unwrap());
        assert_eq!(receipt["checksum"], format!("CRC64NVME:{checksum}"));
        assert_eq!(receipt["etag"].as_str().unwrap().trim_matches('"'), object.etag);
        let uploads = host.uploads();
        assert_eq!((uploads.len(), host.manifests().len()), (1, 1));
        assert_eq!(uploads[0].header("if-none-match"), Some("*"));
        assert_eq!(uploads[0].header("content-encoding").filter(|coding| *coding != "aws-chunked"), None);
        assert_eq!(uploads[0].header("x-amz-checksum-crc64nvme"), Some(checksum.as_str()));
        host.spool.assert_tidy();
    }
}

#[test]
fn zstd_has_its_own_content_type() {
    let host = Host::new();
    let mut life = host.start(&["--once", "--codec=zstd"]);
    life.write(b"one\n");
    life.end();
    let (key, object) = host.objects().pop_first().unwrap();
    assert!(key.ends_with("Z-host.log.zst"), "{key}");
    assert_eq!(object.said.content_type.as_deref(), Some("application/zstd"));
    assert_eq!(unpack(&key, &object.data()), b"one\n");
}

#[test]
fn a_large_hour_goes_up_in_parts_and_a_killed_pipe_goes_on_from_its_journal() {
    for server in [S3Server::start(), S3Server::start_tls()] {
        let host = Host::at(server);
        let options = ["--part-size=5MiB", "--concurrency=1", "--level=1"];
        host.server.set_fault(|seen| if part(seen) == Some(3) { Fault::Stall } else { Fault::None });
        let mut life = host.start(&options);
        let mut text = noise(17 * MIB, 1);
        text.push(b'\n');
        life.hour(&text);
        life.running.until("the third part is under way", || host.uploads().iter().any(|seen| part(seen) == Some(3)));
        let name = &host.archives()[0];
        let journal = host.spool.path(".logjam/upload").join(name);
        life.running.until("two parts are in the journal", || {
            let known = std::fs::read(&journal).ok().and_then(|text| journal::read::<Part>(&text));
            known.is_some_and(|(_, sent)| sent.len() == 2)
        });
        life.running.kill();
        assert_eq!(host.server.open_uploads().len(), 1);
        assert!(host.objects().is_empty());

        host.server.clear_fault();
        host.server.clear_requests();
        let life = host.start(&[&options[..], &["--once"]].concat());
        life.end();
        host.assert_archived(1);
        assert!(host.stored() == [text].into());
        assert_eq!(host.objects().values().map(|object| object.parts).collect::<Vec<_>>(), [4]);
        let sent: BTreeSet<_> = host.uploads().iter().filter_map(part).collect();
        assert_eq!(sent, [3, 4].into(), "only what was missing is sent");
        assert!(!host.server.requests().iter().any(begins), "the upload that was begun is gone on with");
        let checksum = host.objects().pop_first().unwrap().1.checksum.unwrap();
        assert_eq!(host.receipt(name)["checksum"], format!("CRC64NVME:{checksum}"));
        host.spool.assert_tidy();
    }
}

#[test]
fn a_pipe_that_is_killed_before_it_hears_of_its_success_knows_it_afterwards() {
    let host = Host::new();
    let options = ["--part-size=5MiB", "--level=1"];
    // Both the small and the large hour are stored, and nobody is told.
    host.server.set_fault(|seen| match seen.is_complete() || (seen.is_upload() && part(seen).is_none()) {
        true => Fault::DropAnswer,
        false => Fault::None,
    });
    let mut life = host.start(&options);
    let mut text = noise(6 * MIB, 2);
    text.push(b'\n');
    life.hour(&text);
    life.hour(b"small\n");
    life.running.until("both objects stand", || host.server.archives("logs").len() == 2);
    assert_eq!(host.receipts(), 0);
    life.running.kill();
    host.server.clear_fault();
    host.start(&[&options[..], &["--once"]].concat()).end();
    host.assert_archived(2);
    assert!(host.stored() == [text, b"small\n".to_vec()].into());
    host.spool.assert_tidy();
}

#[test]
fn two_processes_on_one_directory_store_each_hour_once() {
    let host = Host::new();
    let mut lives = [host.start(&["--every=1m"]), host.start(&["--every=1m"])];
    let mut sent = Vec::new();
    for round in 0..5 {
        for (index, life) in lives.iter_mut().enumerate() {
            let line = format!("process {index}, line {round}\n");
            life.input.write_all(line.as_bytes()).unwrap();
            let open = || String::from_utf8(host.open_text()).unwrap();
            life.running.until("the line is in an hour file", || open().contains(&line));
            life.running.signal(Signal::SIGUSR1);
            life.running.until("its hour has ended", || !open().contains(&line));
            sent.push(line.into_bytes());
        }
    }
    // A third finishes what is left, beside the two.
    host.start(&["--once"]).end();
    lives[0].until_stored(10);
    host.assert_archived(10);
    assert_eq!(host.stored(), sent.into_iter().collect());
    let mut keys: Vec<_> = host.uploads().into_iter().chain(host.manifests()).map(|seen| seen.key).collect();
    keys.sort();
    assert_eq!(keys, host.server.all_keys("logs"), "nothing is sent twice");
    for life in lives {
        let said = life.end();
        assert!(warnings(&said).is_empty(), "{said}");
    }
}

#[test]
fn memory_stays_small_whatever_the_size_of_the_hour() {
    let host = Host::new();
    let mut life = host.start(&["--level=1", "--keep=0s"]);
    let mut sent = 0;
    for seed in 0..50 {
        let mut piece = noise(4 * MIB, seed);
        piece.push(b'\n');
        life.input.write_all(&piece).unwrap();
        sent += piece.len();
    }
    let size = || {
        let names = cli::names(&host.spool.dir());
        let logs = names.iter().filter(|name| name.ends_with(".log"));
        logs.map(|name| std::fs::metadata(host.spool.path(name)).map_or(0, |meta| meta.len())).sum::<u64>()
    };
    life.running.until("all of it is in the hour file", || size() == sent as u64);
    life.running.signal(Signal::SIGUSR1);
    let stored = || host.receipts() == 1 && host.server.is_told("logs");
    assert!(within(Duration::from_secs(60), stored), "{}", life.running.said());
    let pid = std::fs::read_to_string(host.spool.beside("pid")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    // Without the code, of which a build for tests has more than the real one: 10 MiB of the 32 that `benches/run` grants that.
    let peak = kib("VmHWM:") - kib("RssFile:");
    let object = host.objects().pop_first().unwrap().1;
    println!("peak of {peak} KiB with an object of {} bytes in {} parts", object.len, object.parts);
    assert!(object.parts > 20 && object.len > 190 << 20);
    assert!(peak < 22 << 10, "peak of {peak} KiB");
    life.end();
}

// ------------------------------------------------------------------------------------------------------------- faults

#[test]
fn a_server_that_is_away_while_hours_end_gets_them_all_when_it_is_back() {
    let host = Host::new();
    let mut life = host.start(&[]);
    host.server.stop();
    life.hour(b"one\n");
    life.running.until("the state is said", || life.running.count(DOWN) == 1);
    life.hour(b"two\n");
    life.hour(b"three\n");
    life.write(b"the next hour goes on\n");
    assert!(host.objects().is_empty());
    host.server.resume();
    life.until_stored(3);
    host.assert_archived(3);
    let said = life.end();
    assert_eq!(warnings(&said).len(), 1, "{said}");
    assert_eq!(said.matches(UP).count(), 1, "{said}");
    assert_eq!(host.stored(), [b"one\n".to_vec(), b"two\n".to_vec(), b"three\n".to_vec()].into());
    assert_eq!(host.open_text(), b"the next hour goes on\n");
}

#[test]
fn a_call_that_stalls_holds_up_neither_the_other_hours_nor_the_intake_nor_the_end() {
    let host = Host::new();
    let mut life = host.start(&[]);
    let stuck = Arc::new(Mutex::new(None::<String>));
    let first = stuck.clone();
    host.server.set_fault(move |seen| {
        let mut first = first.lock().unwrap();
        // Not the look at what is open.
        let key = first.get_or_insert_with(|| seen.key.clone()).clone();
        if key.is_empty() {
            *first = None;
        }
        if !key.is_empty() && key == seen.key { Fault::Stall } else { Fault::None }
    });
    life.hour(b"stuck\n");
    life.running.until("it is stuck", || stuck.lock().unwrap().is_some());
    life.hour(b"two\n");
    life.hour(b"three\n");
    life.until_stored(2);
    life.write(b"the next hour goes on\n");
    assert_eq!(host.stored(), [b"two\n".to_vec(), b"three\n".to_vec()].into());
    let start = Instant::now();
    life.end();
    assert!(start.elapsed() < Duration::from_secs(4), "the end took {:?}", start.elapsed());
    // The next start stores what was stuck.
    host.server.clear_fault();
    let life = host.start(&[]);
    life.until_stored(3);
    life.end();
    assert_eq!(host.objects().len(), 3);
}

#[test]
fn a_server_that_answers_nothing_at_all_stops_no_line() {
    for fault in [Fault::Stall, Fault::Swallow] {
        let host = Host::new();
        let mut life = host.start(&[]);
        host.server.set_fault(move |_| fault.clone());
        for hour in 0..4 {
            life.hour(format!("hour {hour}\n").as_bytes());
        }
        assert!(host.server.wait_until(Duration::from_secs(10), |log| log.len() == 2));
        for line in 0..100 {
            life.write(format!("line {line}\n").as_bytes());
        }
        assert!(host.objects().is_empty());
        // Its connections break, as when it is restarted: everything goes on by itself.
        host.server.clear_fault();
        host.server.stop();
        host.server.resume();
        life.until_stored(4);
        host.assert_archived(4);
        life.end();
    }
}

#[test]
fn hours_whose_answers_get_lost_are_stored_once_and_known_to_be_stored() {
    let host = Host::new();
    let lost = Arc::new(AtomicUsize::new(0));
    let count = lost.clone();
    // Of each four answers that say that something is stored, three get lost: as many as one call waits for.
    host.server.set_fault(move |seen| {
        let stores = seen.is_complete() || seen.is_upload();
        match stores && count.fetch_add(1, Ordering::Relaxed) % 4 != 3 {
            true => Fault::DropAnswer,
            false => Fault::None,
        }
    });
    let mut life = host.start(&["--part-size=5MiB", "--level=1"]);
    let mut large = noise(6 * MIB, 3);
    large.push(b'\n');
    life.hour(&large);
    life.hour(b"one\n");
    life.hour(b"two\n");
    life.until_stored(3);
    life.write(b"the next hour goes on\n");
    assert!(lost.load(Ordering::Relaxed) > 4);
    host.assert_archived(3);
    assert!(host.stored() == [b"one\n".to_vec(), b"two\n".to_vec(), large].into());
    life.end();
}

#[test]
fn one_key_that_is_refused_holds_up_no_other() {
    let host = Host::new();
    let mut life = host.start(&[]);
    let refused = Arc::new(Mutex::new(None::<String>));
    let first = refused.clone();
    host.server.set_fault(move |seen| {
        let mut first = first.lock().unwrap();
        // Not the look at what is open.
        let key = first.get_or_insert_with(|| seen.key.clone()).clone();
        if key.is_empty() {
            *first = None;
        }
        if !key.is_empty() && key == seen.key { Fault::refuse(403, "AccessDenied") } else { Fault::None }
    });
    life.hour(b"refused\n");
    life.running.until("it is said", || life.running.count("AccessDenied") == 1);
    for hour in 0..5 {
        life.hour(format!("hour {hour}\n").as_bytes());
    }
    life.until_stored(5);
    assert!(!host.stored().contains(&b"refused\n"[..]));
    assert!(life.running.count("AccessDenied") <= 2, "{}", life.running.said());
    host.server.clear_fault();
    life.until_stored(6);
    host.assert_archived(6);
    life.end();
}

#[test]
fn a_missing_bucket_is_named_and_gets_its_hours_once_it_is_there() {
    let host = Host::new();
    host.server.remove_bucket("logs");
    let mut life = host.start(&[]);
    life.hour(b"one\n");
    life.running.until("it is said", || life.running.count("Failed to find bucket logs") == 1);
    life.hour(b"two\n");
    host.server.create_bucket("logs");
    life.until_stored(2);
    host.assert_archived(2);
    let said = life.end();
    assert_eq!((warnings(&said).len(), said.matches(UP).count()), (1, 1), "{said}");
}

#[test]
fn trouble_that_passes_is_said_once_and_waited_for() {
    let passes = |status, code| {
        let host = Host::new();
        let tries = AtomicUsize::new(0);
        host.server.set_fault(move |seen| match seen.is_upload() && tries.fetch_add(1, Ordering::Relaxed) < 4 {
            true => Fault::refuse(status, code),
            false => Fault::None,
        });
        let mut life = host.start(&[]);
        life.hour(b"one\n");
        life.until_stored(1);
        host.assert_archived(1);
        let said = life.end();
        assert!(warnings(&said).len() <= 1, "{code}: {said}");
    };
    std::thread::scope(|threads| {
        threads.spawn(|| passes(503, "SlowDown"));
        threads.spawn(|| passes(500, "InternalError"));
        threads.spawn(|| passes(400, "ExpiredToken"));
        threads.spawn(|| passes(403, "RequestTimeTooSkewed"));
        threads.spawn(|| passes(409, "ConditionalRequestConflict"));
    });
}

#[test]
fn a_server_whose_certificate_nobody_vouches_for_gets_nothing() {
    let host = Host::at(S3Server::start_tls());
    let mut command = host.command(&[]);
    command.env_remove("SSL_CERT_FILE");
    let mut life = host.start_command(command);
    life.hour(b"one\n");
    life.running.until("it is said", || life.running.count("certificate") == 1);
    assert!(host.server.requests().is_empty());
    let said = life.end();
    assert_eq!(warnings(&said).len(), 1, "{said}");
    assert_eq!(host.archives().len(), 1);
}

#[test]
fn an_object_of_somebody_else_is_never_overwritten() {
    let host = Host::new();
    let mut life = host.start(&["--keep=0s"]);
    life.write(b"ours\n");
    let name = cli::names(&host.spool.dir()).into_iter().find(|name| name.ends_with(".log")).unwrap();
    let date = name.strip_prefix("syslog-").unwrap().split('T').next().unwrap();
    let key = format!("syslog/{date}/{name}.gz");
    host.server.put_object("logs", &key, b"theirs");
    life.running.signal(Signal::SIGUSR1);
    life.until_stored(1);
    let said = life.end();
    let mut objects = host.objects();
    assert_eq!(objects.remove(&key).unwrap().data(), b"theirs");
    let (other, object) = objects.pop_first().unwrap();
    assert_eq!(unpack(&other, &object.data()), b"ours\n");
    assert!(objects.is_empty() && other.contains("duplicate"), "{other}");
    let said = warnings(&said);
    assert!(said.len() == 1 && said[0].contains(&key) && said[0].contains("other content"), "{said:?}");
    assert_eq!(host.receipt(&format!("{name}.gz"))["stored"], format!("s3://logs/{other}"));
}

#[test]
fn a_server_that_knows_less_than_s3_works_with_one_warning() {
    let ignores: fn(&Seen) -> Fault = |_| Fault::Ignore(&["if-none-match", "x-amz-checksum-crc64nvme"]);
    for hook in [server::without_both, server::without_checksums, server::without_conditions, ignores] {
        let host = Host::new();
        host.server.set_fault(hook);
        let mut life = host.start(&["--part-size=5MiB", "--level=1"]);
        let mut large = noise(6 * MIB, 4);
        large.push(b'\n');
        life.hour(b"one\n");
        life.hour(&large);
        life.hour(b"three\n");
        life.until_stored(3);
        host.assert_archived(3);
        assert!(host.stored() == [b"one\n".to_vec(), large, b"three\n".to_vec()].into());
        let said = life.end();
        assert_eq!(warnings(&said).len(), 1, "{said}");
        assert!(said.contains("the server offers less than S3"), "{said}");
        host.spool.assert_tidy();
    }
}

// ------------------------------------------------------------------------------------------------------------ settings

#[test]
fn what_the_options_ask_for_reaches_the_object_whether_whole_or_in_parts() {
    let host = Host::new();
    let options = [
        "--once",
        "--level=1",
        "--part-size=5MiB",
        "--tag=team=a b",
        "--tag=cost=4/5,kind=log",
        "--metadata=host=web-1",
        "--metadata=origin=rsyslog",
        "--sse=aws:kms",
        "--kms-key-id=arn:aws:kms:eu-west-1:1:key/k",
    ];
    for text in [b"small\n".to_vec(), noise(6 * MIB, 5)] {
        // An option counts the same from its variable.
        let mut command = host.command(&options);
        command.env("LOGJAM_STORAGE_CLASS", "STANDARD_IA");
        let mut life = host.start_command(command);
        life.write(&text);
        life.end();
    }
    let objects = host.objects();
    assert_eq!(objects.values().map(|object| object.parts).collect::<BTreeSet<_>>(), [1, 2].into());
    for object in objects.into_values() {
        assert_eq!(object.said.tags.as_deref(), Some("team=a%20b&cost=4%2F5&kind=log"));
        let metadata: Vec<_> = object.said.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(metadata, ["host=web-1", "origin=rsyslog"]);
        assert_eq!(object.said.sse.as_deref(), Some("aws:kms"));
        assert_eq!(object.said.kms_key_id.as_deref(), Some("arn:aws:kms:eu-west-1:1:key/k"));
        assert_eq!(object.said.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(object.said.content_encoding, None);
    }
}

#[test]
fn concurrency_says_how_many_parts_are_under_way() {
    let host = Host::new();
    let options = ["--part-size=5MiB", "--concurrency=2", "--level=1"];
    // Nothing is sent while the hour grows: then its parts would be due one by one.
    host.server.stop();
    let mut life = host.start(&options);
    life.hour(&[noise(21 * MIB, 6), b"\n".to_vec()].concat());
    life.end();
    host.server.set_fault(|seen| if part(seen).is_some() { Fault::Stall } else { Fault::None });
    host.server.resume();
    let life = host.start(&options);
    let parts = |log: &[Seen]| log.iter().filter_map(part).count();
    assert!(host.server.wait_until(cli::PATIENCE, |log| parts(log) == 2));
    assert!(!host.server.wait_until(Duration::from_millis(500), |log| parts(log) > 2));
    life.running.kill();
}

#[test]
fn max_bandwidth_slows_the_upload_down() {
    let host = Host::new();
    let mut life = host.start(&["--max-bandwidth=1MiB", "--level=1"]);
    life.hour(&[noise(2 * MIB, 7), b"\n".to_vec()].concat());
    let start = Instant::now();
    assert!(host.server.wait_until(cli::PATIENCE, |log| log.iter().any(Seen::is_upload)));
    life.until_stored(1);
    assert!(start.elapsed() > Duration::from_millis(1500), "2 MiB took {:?}", start.elapsed());
    host.assert_archived(1);
    life.end();
}
