//! The other side of the dialogue: a daemon that speaks as rsyslog's omprog does, with the logjam binary as its child.
#![allow(clippy::disallowed_methods, dead_code)] // A harness uses the file system and the clock; no test file uses all of it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

pub const LOGJAM: &str = env!("CARGO_BIN_EXE_logjam");
pub const BEGIN: &[u8] = b"BEGIN TRANSACTION\n";
pub const COMMIT: &[u8] = b"COMMIT TRANSACTION\n";
pub const OK: &str = "OK\n";
pub const DEFER: &str = "DEFER_COMMIT\n";

/// The longest that anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A directory with a spool and a place for objects.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("spool")).unwrap();
        Self(root)
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// `logjam pipe` on this place.
    pub fn command(&self, options: &[&str]) -> Command {
        let dest = format!("file://{}/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", self.path("dest").display());
        let mut command = Command::new(LOGJAM);
        command.env_clear().arg("pipe").arg(self.path("spool")).arg(dest).arg("--suffix=host").args(options);
        let said = std::fs::OpenOptions::new().create(true).append(true).open(self.path("said")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said);
        command
    }

    /// A confirming child that has said it is ready.
    #[track_caller]
    pub fn start(&self, options: &[&str]) -> Omprog {
        let mut omprog = Omprog::spawn(self.command(&[&["--confirm-messages"], options].concat()));
        assert_eq!(omprog.reply(), Some(OK.to_owned()), "{}", self.said());
        omprog
    }

    /// What the children said on stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    /// The lines in the hour files.
    pub fn open_text(&self) -> Vec<u8> {
        let logs = files(&self.path("spool")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.flat_map(|path| std::fs::read(path).unwrap_or_default()).collect()
    }

    /// Ends everything, and reads what is stored, in the order of the names.
    #[track_caller]
    pub fn stored_text(&self) -> Vec<u8> {
        let status = self.command(&["--once"]).stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "{}", self.said());
        // In their order: of one period, the plain name comes first.
        let mut stored = files(&self.path("dest"));
        stored.sort_by_key(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name.split_at("syslog-20130704T0000Z".len()).0.to_owned(), name.len(), name)
        });
        stored
            .iter()
            .flat_map(|path| {
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
                text
            })
            .collect()
    }

    /// The objects that are stored now.
    pub fn stored_now(&self) -> Vec<PathBuf> {
        files(&self.path("dest"))
    }

    /// The files in a directory of logjam's own.
    pub fn own(&self, dir: &str) -> Vec<PathBuf> {
        files(&self.path("spool/.logjam").join(dir))
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = item.path();
        if path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            continue;
        }
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The daemon, and its child.
pub struct Omprog {
    pub child: Child,
    pub input: Option<ChildStdin>,
    pub output: ChildStdout,
}

impl Omprog {
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// The next reply, dots and all; `None` at the end, or if a part of a reply came only.
    pub fn reply(&mut self) -> Option<String> {
        let mut all = String::new();
        while !all.ends_with('\n') {
            let mut some = [0; 256];
            match self.output.read(&mut some) {
                Ok(0) | Err(_) => return None,
                Ok(n) => all.push_str(std::str::from_utf8(&some[..n]).unwrap()),
            }
        }
        Some(all)
    }

    /// Writes without waiting for an answer; false if nobody is there.
    pub fn write(&mut self, message: &[u8]) -> bool {
        self.input.as_mut().is_some_and(|input| input.write_all(message).is_ok())
    }

    /// A message and its reply.
    pub fn try_say(&mut self, message: &[u8]) -> Option<String> {
        if self.write(message) { self.reply() } else { None }
    }

    #[track_caller]
    pub fn say(&mut self, message: &[u8], expected: &str) {
        assert_eq!(self.try_say(message).as_deref(), Some(expected), "{:?}", String::from_utf8_lossy(message));
    }

    /// Closes the pipe and waits: the exit status.
    pub fn end(mut self) -> Option<i32> {
        self.input = None;
        self.child.wait().unwrap().code()
    }

    /// The guard.
    pub fn guard(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The worker, if there is one just now.
    pub fn worker(&self) -> Option<Pid> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
    }

    /// The worker, once it is there and speaks for itself.
    #[track_caller]
    pub fn wait_for_worker(&self) -> Pid {
        let mut found = None;
        until("there is a worker", || {
            found = self.worker();
            found.is_some()
        });
        found.unwrap()
    }

    /// SIGKILL to both, whoever is first.
    pub fn kill_both(&mut self, guard_first: bool) {
        let worker = self.wait_for_worker();
        let both = if guard_first { [self.guard(), worker] } else { [worker, self.guard()] };
        for pid in both {
            let _ = kill(pid, Signal::SIGKILL);
        }
        self.child.wait().unwrap();
        // The guard may have been quicker, and has started another.
        let _ = kill(worker, Signal::SIGKILL);
    }
}

/// So many kills: `LOGJAM_STORM_KILLS`, or `default`.
pub fn storm_kills(default: usize) -> usize {
    std::env::var("LOGJAM_STORM_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}
