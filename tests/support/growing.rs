//! A host whose hour grows: the logjam binary on a DIR, a pipe that outlives it, and the S3 server that it stores to.
#![allow(clippy::disallowed_methods)] // A harness uses the file system and the clock.

use crate::cli::{self, PATIENCE, Running, Spool, unpack};
use crate::server::{S3Server, Seen};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use logjam::format::manifest::{Manifest, sha256};
use nix::sys::signal::Signal;
use std::cell::RefCell;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

pub const DEST: &str = "s3://logs/{prefix}/{year}{month}{day}/{filename}";
/// Parts as small as S3 takes them, and quick packing: parts are whole after about 7 MiB of [`lines`].
pub const SEND: &[&str] = &["--part-size=5MiB"];
pub const PACK: &[&str] = &["--level=1"];
/// How long a wait may take where several MiB are packed and sent on a loaded machine.
pub const LONG: Duration = Duration::from_secs(90);

/// Lines of text that compress to about three quarters, the same for the same seed.
pub fn lines(bytes: usize, seed: u64) -> Vec<u8> {
    let text = STANDARD.encode(cli::noise(bytes, seed));
    let mut lines = Vec::with_capacity(bytes + 128);
    for (number, piece) in text.as_bytes().chunks(100).enumerate() {
        if lines.len() >= bytes {
            break;
        }
        writeln!(lines, "{seed}.{number} {}", std::str::from_utf8(piece).unwrap()).unwrap();
    }
    lines
}

/// Waits out the turn of the hour, if it is near: a test of one hour is not to see two.
pub fn far_from_the_turn(needed: Duration) {
    loop {
        let left = 3600 - u64::try_from(chrono::Utc::now().timestamp()).unwrap() % 3600;
        if left > needed.as_secs() {
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A number from the environment, such as the length of a storm.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A host, and the server that it stores to.
pub struct Host {
    pub server: S3Server,
    pub spool: Spool,
    suffix: String,
    reader: PipeReader,
    writer: RefCell<Option<PipeWriter>>,
}

impl Host {
    pub fn new() -> Self {
        let server = S3Server::start();
        server.create_bucket("logs");
        let (reader, writer) = std::io::pipe().unwrap();
        Self { server, spool: Spool::new(), suffix: "host".to_owned(), reader, writer: RefCell::new(Some(writer)) }
    }

    /// `logjam pipe` with DEST; `options` come after the ones that keep a test small.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = cli::logjam(["pipe", &self.spool.arg(), DEST, &format!("--suffix={}", self.suffix)]);
        if !options.iter().any(|option| option.starts_with("--level")) {
            command.args(PACK);
        }
        command.args(SEND).args(options).envs(self.server.environment());
        self.attach(&mut command);
        command
    }

    /// Gives a command this host's pipe, and a process group of its own.
    pub fn attach(&self, command: &mut Command) {
        command.stdin(self.reader.try_clone().unwrap()).process_group(0);
    }

    pub fn start(&self, options: &[&str]) -> Running {
        Running::start(self.command(options))
    }

    /// The test's end of the pipe, for a thread.
    pub fn writer(&self) -> PipeWriter {
        self.writer.borrow().as_ref().unwrap().try_clone().unwrap()
    }

    /// Another handle on the reading end.
    pub fn reader(&self) -> PipeReader {
        self.reader.try_clone().unwrap()
    }

    /// Writes lines; the pipe holds 64 KiB to 1 MiB of them until somebody reads.
    pub fn feed(&self, text: &[u8]) {
        self.writer.borrow().as_ref().unwrap().write_all(text).unwrap();
    }

    /// Writes lines, and waits until the hour files hold so many bytes with them.
    #[track_caller]
    pub fn feed_until_kept(&self, running: &Running, text: &[u8], bytes: usize) {
        self.feed(text);
        running.until("the lines are in the hour file", || self.kept() == bytes as u64);
    }

    /// Ends the input, once threads have let go of their ends of it.
    pub fn end_input(&self) {
        *self.writer.borrow_mut() = None;
    }

    /// How many bytes the open hour files hold.
    pub fn kept(&self) -> u64 {
        kept(&self.spool.dir())
    }

    /// All keys but those of checkpoints.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.server.all_keys("logs");
        keys.retain(|key| !key.starts_with(".logjam/"));
        keys
    }

    /// The keys of archives.
    pub fn objects(&self) -> Vec<String> {
        let mut keys = self.keys();
        keys.retain(|key| !key.ends_with(".json"));
        keys
    }

    /// The keys of checkpoints.
    pub fn checkpoints(&self) -> Vec<String> {
        let mut keys = self.server.all_keys("logs");
        keys.retain(|key| key.starts_with(".logjam/checkpoint/"));
        keys
    }

    pub fn data(&self, key: &str) -> Vec<u8> {
        self.server.object("logs", key).unwrap_or_else(|| panic!("{key} is missing")).data()
    }

    /// `kill -9` of guard and worker. They are gone once their locks and connections are.
    #[track_caller]
    pub fn kill(&self, running: Running) {
        running.kill_group();
        let free = |name: &String| std::fs::File::open(self.spool.path(name)).is_ok_and(|file| file.try_lock().is_ok());
        let logs = || cli::names(&self.spool.dir()).into_iter().filter(|name| name.ends_with(".log"));
        cli::until("the killed host is gone", || logs().all(|name| free(&name)) && self.server.is_deserted());
    }

    /// How many hours have a receipt here and a manifest there.
    pub fn settled(&self) -> usize {
        let receipts = cli::names(&self.spool.archive(".uploaded")).len();
        let waiting = cli::names(&self.spool.path(".logjam/manifest")).len();
        let summaries = cli::names(&self.spool.path(".logjam/summary")).len();
        receipts.saturating_sub(waiting + summaries)
    }

    /// Waits until so many hours are stored, with their manifests.
    #[track_caller]
    pub fn until_settled(&self, running: &Running, hours: usize) {
        let stored = cli::within(LONG, || self.settled() == hours);
        assert!(stored, "waited in vain until it is stored: {:?}; said so far:\n{}", self.keys(), running.said());
    }

    /// Asserts that there is one object of these bytes, a manifest that is right about it, and nothing else.
    #[track_caller]
    pub fn assert_one(&self, object: &[u8]) -> Manifest {
        let keys = self.objects();
        assert_eq!(keys.len(), 1, "{:?}", self.keys());
        let data = self.data(&keys[0]);
        assert!(data == object, "{}: {} bytes, {} were expected", keys[0], data.len(), object.len());
        let manifest = self.assert_manifest(&keys[0]);
        assert_eq!(self.keys().len(), 2, "{:?}", self.keys());
        assert!(self.server.open_uploads().is_empty(), "{:?}", self.server.open_uploads());
        manifest
    }

    /// Asserts that an object's manifest is right about it.
    #[track_caller]
    pub fn assert_manifest(&self, key: &str) -> Manifest {
        let data = self.data(key);
        let plain = unpack(key, &data);
        let manifest_key = logjam::format::key::manifest_key(key);
        let manifest = Manifest::parse(&self.data(&manifest_key)).expect("a manifest");
        assert_eq!(manifest.key, key);
        let summary = &manifest.summary;
        let lines = plain.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!((summary.lines, summary.bytes), (lines as u64, plain.len() as u64), "{manifest_key}");
        assert_eq!(summary.blake3, blake3::hash(&plain).to_hex().as_str(), "{manifest_key}");
        let packed = summary.packed.as_ref().expect("an object");
        assert_eq!((packed.bytes, &packed.sha256), (data.len() as u64, &sha256(&data)), "{manifest_key}");
        manifest
    }

    /// The requests so far that are not about checkpoints.
    pub fn requests(&self) -> Vec<Seen> {
        let mut requests = self.server.requests();
        requests.retain(|seen| !seen.key.starts_with(".logjam/"));
        requests
    }

    /// Waits until the server has at least so many whole parts of an upload that is open.
    #[track_caller]
    pub fn until_parts(&self, running: &Running, count: usize) {
        let parts = || self.server.open_uploads().iter().map(|upload| upload.parts.len()).max().unwrap_or(0);
        let sent = cli::within(LONG, || parts() >= count);
        assert!(sent, "waited in vain until {count} parts are sent; said so far:\n{}", running.said());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end_input();
    }
}

/// How many bytes the open hour files in DIR hold.
pub fn kept(dir: &Path) -> u64 {
    let logs = cli::names(dir).into_iter().filter(|name| name.ends_with(".log"));
    logs.map(|name| std::fs::metadata(dir.join(name)).map_or(0, |meta| meta.len())).sum()
}

/// The archive that a life without interruption makes of these lines, somewhere else.
pub fn uninterrupted(text: &[u8], options: &[&str]) -> Vec<u8> {
    let host = Host::new();
    let mut command = cli::logjam(["pipe", &host.spool.arg(), "--suffix=host", "--once"]);
    command.args(PACK).args(options);
    host.attach(&mut command);
    let running = Running::start(command);
    host.feed(text);
    host.end_input();
    running.end_within(LONG).code_is(0);
    let archives: Vec<_> = host.spool.archived().into_iter().filter(|name| !name.starts_with('.')).collect();
    assert_eq!(archives.len(), 1, "{archives:?}");
    let archive = std::fs::read(host.spool.archive(&archives[0])).unwrap();
    assert!(unpack(&archives[0], &archive) == text);
    archive
}

/// The same as [`uninterrupted`] for a text that several tests use: it is made once.
pub struct Reference(Mutex<Option<Pair>>);

/// Lines, and the archive of them.
type Pair = std::sync::Arc<(Vec<u8>, Vec<u8>)>;

impl Reference {
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The lines, and the archive of them.
    pub fn of(&self, text: impl FnOnce() -> Vec<u8>) -> std::sync::Arc<(Vec<u8>, Vec<u8>)> {
        let mut known = self.0.lock().unwrap();
        let made = known.get_or_insert_with(|| {
            let text = text();
            let archive = uninterrupted(&text, &[]);
            std::sync::Arc::new((text, archive))
        });
        made.clone()
    }
}

/// Ends the hour now.
pub fn end_hour(running: &Running) {
    running.signal(Signal::SIGUSR1);
}

/// Waits for the program's end after that of its input.
#[track_caller]
pub fn ends(running: Running) -> String {
    running.end_within(PATIENCE.max(LONG)).code_is(0).said
}
