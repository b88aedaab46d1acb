//! The other side of the dialogue: a daemon that speaks as rsyslog's omprog does, with the logjam binary as its child.
#![allow(clippy::disallowed_methods)] // A harness uses the file system and the clock.

use crate::cli;
use crate::far;
pub use cli::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub const BEGIN: &[u8] = b"BEGIN TRANSACTION\n";
pub const COMMIT: &[u8] = b"COMMIT TRANSACTION\n";
pub const OK: &str = "OK\n";
pub const DEFER: &str = "DEFER_COMMIT\n";

/// A DIR, and a place for objects beside it.
pub struct Place(cli::Spool);

impl Place {
    pub fn new() -> Self {
        Self(cli::Spool::new())
    }

    /// DIR.
    pub fn dir(&self) -> PathBuf {
        self.0.dir()
    }

    /// Something beside DIR.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.beside(name)
    }

    /// The arguments of `logjam pipe` on this place.
    pub fn arguments(&self, options: &[&str]) -> Vec<String> {
        let dest = format!("file://{}/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", self.beside("dest").display());
        let all = ["pipe", &self.0.arg(), &dest, "--suffix=host"];
        all.iter().chain(options).map(|text| (*text).to_owned()).collect()
    }

    /// `logjam pipe` on this place.
    pub fn command(&self, options: &[&str]) -> Command {
        self.connected(cli::logjam(self.arguments(options)))
    }

    /// The same below another program, which is given its path and arguments behind its own.
    pub fn command_below(&self, program: &str, own: &[&str], options: &[&str]) -> Command {
        let mut command = cli::clean(program);
        command.args(own).arg(cli::LOGJAM).args(self.arguments(options));
        self.connected(command)
    }

    fn connected(&self, mut command: Command) -> Command {
        let said = std::fs::OpenOptions::new().create(true).append(true).open(self.beside("said")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said);
        command
    }

    /// A confirming child that has said it is ready.
    #[track_caller]
    pub fn start(&self, options: &[&str]) -> Omprog {
        self.ready(self.command(&[&["--confirm-messages"], options].concat()))
    }

    /// The same for a command of [`Self::command_below`].
    #[track_caller]
    pub fn ready(&self, command: Command) -> Omprog {
        let mut omprog = Omprog::spawn(command);
        assert_eq!(omprog.reply(), Some(OK.to_owned()), "{}", self.said());
        omprog
    }

    /// What the children said on stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.beside("said")).unwrap_or_default()
    }

    /// The hour files in DIR, by name.
    pub fn hours(&self) -> Vec<String> {
        cli::names(&self.dir()).into_iter().filter(|name| name.ends_with(".log")).collect()
    }

    /// The lines in the hour files.
    pub fn open_text(&self) -> Vec<u8> {
        self.hours()
            .iter()
            .map(|name| std::fs::read(self.0.path(name)).unwrap_or_default())
            .collect::<Vec<_>>()
            .concat()
    }

    /// Ends everything, and reads what is stored: by period, and of one period the plain name first.
    #[track_caller]
    pub fn stored_text(&self) -> Vec<u8> {
        cli::run(cli::logjam(self.arguments(&["--once"]))).code_is(0);
        let mut stored: Vec<_> = far::proved_below(&self.beside("dest"), &[]).into_iter().collect();
        stored.sort_by_key(|(path, _)| {
            let name = path.rsplit('/').next().unwrap_or_default();
            (name[.."syslog-20130704T0000Z".len()].to_owned(), name.len(), name.to_owned())
        });
        stored.iter().map(|(path, data)| cli::unpack(path, data)).collect::<Vec<_>>().concat()
    }

    /// The archives that are stored now.
    pub fn stored_now(&self) -> Vec<String> {
        far::archives_below(&self.beside("dest"))
    }

    /// The files in a directory of logjam's own.
    pub fn own(&self, dir: &str) -> Vec<String> {
        cli::names(&self.0.path(".logjam").join(dir))
    }
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
