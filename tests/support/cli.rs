//! The logjam binary as a child of a test, in an environment of the test's making, and a spool for it to work in.
//!
//! Every wait polls a condition and has a deadline; a child that a test forgets is killed.
#![allow(clippy::disallowed_methods)] // A harness uses the file system and the clock.

use logjam::format::manifest::Manifest;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const LOGJAM: &str = env!("CARGO_BIN_EXE_logjam");
pub const MIB: usize = 1 << 20;

/// The longest that anything may take before a test gives up on it: generous, for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// Waits until a condition holds. Panics after [`PATIENCE`] with the name of what did not come.
#[track_caller]
pub fn until(what: &str, ready: impl FnMut() -> bool) {
    assert!(within(PATIENCE, ready), "waited {PATIENCE:?} in vain until {what}");
}

/// Waits until a condition holds; false if it does not within `limit`.
pub fn within(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if ready() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// A command with nothing of the tester's environment but PATH, and credentials that open nothing.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command.env("AWS_ACCESS_KEY_ID", "AKIATESTTESTTESTTEST").env("AWS_SECRET_ACCESS_KEY", "not-a-secret-at-all");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "us-east-1");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

/// `logjam ARGUMENTS`.
pub fn logjam<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = clean(LOGJAM);
    command.args(arguments);
    command
}

/// A shell line in which `"$@"` is `logjam ARGUMENTS`.
pub fn shell<I: AsRef<std::ffi::OsStr>>(line: &str, arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = clean("sh");
    command.args(["-c", line, "sh", LOGJAM]).args(arguments);
    command
}

/// How a child ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` if a signal killed it.
    pub code: Option<i32>,
    /// What it said on stderr, and on stdout.
    pub said: String,
}

impl Ended {
    /// Asserts an exit status, and shows what the child said if it is another.
    #[track_caller]
    pub fn code_is(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self
    }

    /// Asserts that a text was said.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.said.contains(text), "{text:?} is missing in:\n{}", self.said);
        self
    }
}

/// Puts a program where everybody may run it. By a process of its own: one that a test has open for writing is busy (execve(2),
/// ETXTBSY) for as long as a child that another test starts at that moment has not become another program yet.
pub fn install(program: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("install").args(["-m", "0755"]).arg(program.as_ref()).arg(to.as_ref()).status();
    assert!(status.unwrap().success(), "install {}", to.as_ref().display());
}

/// A child that runs.
pub struct Running {
    child: Child,
    said: tempfile::NamedTempFile,
}

impl Running {
    /// Starts a command. What it says goes to a file, so that no pipe can fill up.
    pub fn start(mut command: Command) -> Self {
        let said = tempfile::NamedTempFile::new().unwrap();
        let file = || said.as_file().try_clone().unwrap();
        let child = command.stdout(file()).stderr(file()).spawn().unwrap();
        Self { child, said }
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.said.path()).unwrap()).into_owned()
    }

    /// How many lines that hold a text it said so far.
    pub fn count(&self, text: &str) -> usize {
        self.said().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until a condition holds; shows what the child said if it never does.
    #[track_caller]
    pub fn until(&self, what: &str, ready: impl FnMut() -> bool) {
        assert!(within(PATIENCE, ready), "waited {PATIENCE:?} in vain until {what}; said so far:\n{}", self.said());
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs still.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Sends a signal to it and all that it started. It must have been started in a process group of its own.
    pub fn signal_group(&self, signal: Signal) {
        kill(Pid::from_raw(-i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// `kill -9` of it and all that it started.
    pub fn kill_group(mut self) {
        self.signal_group(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    #[track_caller]
    pub fn end_within(mut self, limit: Duration) -> Ended {
        let ended = within(limit, || self.child.try_wait().unwrap().is_some());
        assert!(ended, "still running after {limit:?}; said so far:\n{}", self.said());
        let code = self.child.wait().unwrap().code();
        Ended { code, said: self.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

/// Runs a command while `take` reads what it writes to standard output: its exit status, and its peak RSS in KiB.
pub fn peak(mut command: Command, take: impl FnOnce(ChildStdout)) -> (Option<i32>, u64) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let peak = std::thread::spawn(move || {
        let mut peak = 0;
        // Until it is reaped: a dead process has no such line.
        while let Ok(text) = fs::read_to_string(&status) {
            let found =
                text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            match found {
                Some(now) => peak = now,
                None => break,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    take(child.stdout.take().unwrap());
    let code = child.wait().unwrap().code();
    (code, peak.join().unwrap())
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: Command) -> Ended {
    Running::start(command).end()
}

// -------------------------------------------------------------------------------------------------------------- spool

/// A DIR of its own for a test.
pub struct Spool {
    root: tempfile::TempDir,
}

impl Spool {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("logjam-spool-").tempdir().unwrap();
        fs::create_dir(root.path().join("logs")).unwrap();
        Self { root }
    }

    /// Something beside DIR.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// DIR.
    pub fn dir(&self) -> PathBuf {
        self.beside("logs")
    }

    /// DIR, as an argument.
    pub fn arg(&self) -> String {
        self.dir().display().to_string()
    }

    /// Something in DIR.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Something in DIR/archive.
    pub fn archive(&self, name: &str) -> PathBuf {
        self.dir().join("archive").join(name)
    }

    /// Something in DIR/archive/.uploaded.
    pub fn receipt(&self, name: &str) -> PathBuf {
        self.archive(".uploaded").join(name)
    }

    /// Writes a file into DIR.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Every file below DIR, sorted, but for what processes say of themselves.
    pub fn files(&self) -> Vec<String> {
        let mut files = files_below(&self.dir());
        files.retain(|name| !name.starts_with(".logjam/state/"));
        files
    }

    /// Everything in DIR/archive, sorted, hidden names too.
    pub fn archived(&self) -> Vec<String> {
        names(&self.dir().join("archive"))
    }

    /// The plain content of an archive.
    #[track_caller]
    pub fn plain(&self, name: &str) -> Vec<u8> {
        let data = fs::read(self.archive(name)).unwrap_or_else(|e| panic!("archive/{name}: {e}"));
        unpack(name, &data)
    }

    /// Makes small files that are not finished older than they are.
    pub fn age_drafts(&self, by: Duration) {
        for name in names(&self.path(".logjam/work")).iter().filter(|name| name.starts_with('.')) {
            let file = fs::File::open(self.path(".logjam/work").join(name)).unwrap();
            file.set_modified(file.metadata().unwrap().modified().unwrap() - by).unwrap();
        }
    }

    /// Asserts that nothing unfinished is left in DIR/.logjam: there is at the most a summary of each archive that nobody has
    /// stored, the last manifest of each stream, checkpoints with their locks, and what processes say of themselves.
    #[track_caller]
    pub fn assert_tidy(&self) {
        let mut streams = BTreeSet::new();
        let mut left = files_below(&self.path(".logjam"));
        left.retain(|path| match path.split_once('/') {
            Some(("summary", name)) => !self.archive(name).exists() || self.receipt(name).exists(),
            Some(("chain", ".lock")) | Some(("checkpoint" | "state", _)) => false,
            Some(("chain", _)) => {
                let manifest = Manifest::parse(&fs::read(self.path(".logjam").join(path)).unwrap());
                !manifest.is_some_and(|manifest| streams.insert((manifest.prefix, manifest.suffix)))
            }
            _ => true,
        });
        assert!(left.is_empty(), "left over: {left:?}");
    }
}

/// What is in a directory, sorted; nothing if it does not exist.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every file below a directory, relative to it, sorted.
pub fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(dir) {
        let path = dir.join(&name);
        if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            found.extend(files_below(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found
}

/// The permission bits of a path.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o7777
}

/// The inode number of a path.
pub fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).ino()
}

// ------------------------------------------------------------------------------------------------------------ content

/// The time of an hour file that began so many minutes ago, in the basic form.
pub fn minutes_ago(minutes: i64) -> String {
    (chrono::Utc::now() - chrono::TimeDelta::minutes(minutes)).format("%Y%m%dT%H%MZ").to_string()
}

/// Bytes that no compressor makes smaller, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = Vec::with_capacity(len + 8);
    while data.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(len);
    data
}

/// What an archive holds. A gzip archive must be a single member with a header that tells no time and no name.
#[track_caller]
pub fn unpack(name: &str, data: &[u8]) -> Vec<u8> {
    if Path::new(name).extension().is_some_and(|end| end == "zst") {
        return zstd::decode_all(data).unwrap();
    }
    assert_eq!(data.get(..10), Some(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..]), "{name}: the header");
    let mut rest = data;
    let mut plain = Vec::new();
    flate2::bufread::GzDecoder::new(&mut rest).read_to_end(&mut plain).unwrap();
    assert!(rest.is_empty(), "{name}: {} bytes behind the first member", rest.len());
    plain
}
