//! The real rsyslogd and the real syslog-ng as children of a test, with the logjam binary under them.
//!
//! A [`Site`] is one test's private place on the disk: the spool, the bucket (`file://`), the daemon's state. Nothing here
//! sleeps where there is something to wait for; every wait has a deadline and says what it waited for.
#![allow(clippy::disallowed_methods)] // A harness uses the file system and the clock.

use crate::far;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

pub const LOGJAM: &str = env!("CARGO_BIN_EXE_logjam");
pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// The longest that anything may take before a test gives up on it: generous, for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// Polls until `ready` gives something. Panics after [`PATIENCE`] with the name of what did not come.
#[track_caller]
pub fn wait_for<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, ready)
}

#[track_caller]
pub fn wait_within<T>(patience: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(result) = ready() {
            return result;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(POLL);
    }
}

/// How many lines the storms send: `LOGJAM_STORM_LINES`, or 100,000.
pub fn storm_lines() -> usize {
    std::env::var("LOGJAM_STORM_LINES").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

// --------------------------------------------------------------------------------------------------------------- Site

pub struct Site {
    root: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Site {
    pub fn new() -> Site {
        let root = tempfile::Builder::new().prefix("logjam-site-").tempdir().expect("a temporary directory");
        let path = root.path().to_path_buf();
        for folder in ["state", "spool"] {
            fs::create_dir(path.join(folder)).expect("the daemon's state, logjam's DIR");
        }
        Site { root: Some(root), path }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The same as text, for configuration files.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a UTF-8 path").to_owned()
    }

    /// Logjam's DIR.
    pub fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    /// Logjam's DEST.
    pub fn dest(&self) -> String {
        format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", self.text("bucket"))
    }

    /// A command line for `binary=`: no quotes, no blanks within an argument.
    pub fn pipe(&self, options: &str) -> String {
        format!("{LOGJAM} pipe {} {} --suffix=test {options}", self.text("spool"), self.dest()).trim_end().to_owned()
    }

    /// The same for a shell, which would take the braces of DEST for its own.
    pub fn shell_pipe(&self, options: &str) -> String {
        self.pipe(options).replace(&self.dest(), &format!("'{}'", self.dest()))
    }

    pub fn read(&self, name: &str) -> String {
        fs::read(self.path(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Ends the open hours of one stream and archives all that is left: a start is recovery.
    pub fn finish(&self, options: &str) -> Output {
        let command = self.pipe(&format!("--once {options}"));
        let mut words = command.split(' ');
        let output = Command::new(words.next().expect("a program"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .expect("logjam pipe --once runs");
        assert!(output.status.success(), "{command}: {output:?}");
        output
    }

    /// Waits until no logjam of this site runs, then archives everything and returns all lines of the bucket, object by object.
    #[track_caller]
    pub fn archived_lines(&self) -> Vec<Vec<u8>> {
        self.archived_lines_of("")
    }

    /// The same for a stream that is named by `--prefix` or other options.
    #[track_caller]
    pub fn archived_lines_of(&self, options: &str) -> Vec<Vec<u8>> {
        self.wait_until_no_child();
        self.finish(options);
        self.bucket_lines()
    }

    /// All lines of the bucket's objects in the order in which these were begun, each object being exactly one gzip member that ends in a newline,
    /// with its manifest beside it.
    #[track_caller]
    pub fn bucket_lines(&self) -> Vec<Vec<u8>> {
        let mut objects: Vec<_> = far::proved_below(&self.path("bucket"), &[]).into_iter().collect();
        // A period's plain name is older than those with a token.
        objects.sort_by_key(|(key, _)| key.trim_end_matches(".log.gz").to_owned());
        let mut lines = Vec::new();
        for (key, packed) in objects {
            let mut text = Vec::new();
            let mut member = flate2::bufread::GzDecoder::new(&packed[..]);
            member.read_to_end(&mut text).unwrap_or_else(|e| panic!("{key}: {e}"));
            assert!(member.into_inner().is_empty(), "{key}: bytes after the gzip member");
            assert_eq!(text.last(), Some(&b'\n'), "{key}: empty, or its last line has no end");
            text.pop();
            lines.extend(text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec));
        }
        lines
    }

    /// The logjam processes that work on this site's spool.
    pub fn children(&self) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| process.arguments.get(1).is_some_and(|argument| argument == "pipe"));
        found
    }

    /// The only logjam child, once it is there. A guard and its worker count as one: the guard.
    #[track_caller]
    pub fn child(&self) -> Process {
        wait_for("one logjam child", || {
            let children = self.children();
            let mut outer = children.iter().filter(|child| children.iter().all(|other| other.pid != child.parent));
            match (outer.next(), outer.next()) {
                (Some(only), None) => Some(only.clone()),
                _ => None,
            }
        })
    }

    /// The process of the only child that reads the lines: the worker, where there is a guard.
    #[track_caller]
    pub fn worker(&self) -> Process {
        let outer = self.child();
        self.children().into_iter().find(|process| process.parent == outer.pid).unwrap_or(outer)
    }

    #[track_caller]
    pub fn wait_until_no_child(&self) {
        wait_for("the end of the logjam processes", || {
            (self.children().is_empty() && !pids().any(Process::is_dying)).then_some(())
        });
    }

    /// Waits until logjam has written so many lines into its files, whatever stage these are in. Returns how many there are.
    #[track_caller]
    pub fn wait_for_lines(&self, count: usize) -> usize {
        let mut tally = Tally::default();
        let mut seen = 0;
        let mut quiet = Instant::now();
        loop {
            let now = tally.lines(&self.path);
            if now >= count {
                return now;
            }
            if now != seen {
                (seen, quiet) = (now, Instant::now());
            }
            assert!(
                quiet.elapsed() < PATIENCE,
                "{seen} of {count} lines are in the files, and no more come; of the numbered ones these are missing: {:?}",
                self.missing(count),
            );
            std::thread::sleep(POLL);
        }
    }

    /// Of the messages with the numbers 0 to `count`, those that are in no hour file; at most 20.
    fn missing(&self, count: usize) -> Vec<usize> {
        let mut there = vec![false; count];
        for file in log_files(&self.spool(), ".log") {
            let text = fs::read(file).unwrap_or_default();
            let numbers = text.split(|&byte| byte == b'\n').filter_map(number);
            numbers.for_each(|n| there.get_mut(n).into_iter().for_each(|there| *there = true));
        }
        (0..count).filter(|&n| !there[n]).take(20).collect()
    }

    /// Waits until a text is in the open hour files.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) {
        let within =
            |path: &PathBuf| fs::read(path).is_ok_and(|file| memchr::memmem::find(&file, text.as_bytes()).is_some());
        wait_for(&format!("{text:?} in an hour file"), || {
            log_files(&self.spool(), ".log").iter().any(within).then_some(())
        });
    }

    /// Waits until logjam has said a text.
    #[track_caller]
    pub fn wait_until_it_says(&self, text: &str) {
        wait_for(&format!("{text:?} in logjam.err"), || self.read("logjam.err").contains(text).then_some(()));
    }

    /// Every process, whoever its parent, that carries this site's path in its command line.
    fn processes(&self) -> Vec<Process> {
        let mark = self.path.to_str().expect("a UTF-8 path");
        let mut found = Vec::new();
        for process in pids().filter_map(Process::read) {
            if process.arguments.iter().any(|argument| argument.contains(mark)) {
                found.push(process);
            }
        }
        found
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let processes = self.processes();
        if std::thread::panicking() {
            self.print_logs();
            processes.iter().for_each(Process::print);
        }
        for process in processes {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        if std::env::var_os("LOGJAM_KEEP_SITES").is_some()
            && let Some(root) = self.root.take()
        {
            eprintln!("kept: {}", root.keep().display());
        }
    }
}

impl Site {
    /// What a failed test leaves to read.
    fn print_logs(&self) {
        for name in ["rsyslogd.log", "rsyslogd.err", "syslog-ng.err", "logjam.err"] {
            let text = self.read(name);
            let tail = text.char_indices().rev().nth(3000).map_or(0, |(start, _)| start);
            if !text.is_empty() {
                eprintln!("---- end of {name}\n{}", &text[tail..]);
            }
        }
        eprintln!("---- files");
        for path in all_files(&self.path) {
            let size = fs::metadata(&path).map_or(0, |meta| meta.len());
            eprintln!("{size:>10} {}", path.strip_prefix(&self.path).unwrap_or(&path).display());
        }
    }
}

#[derive(Debug, Clone)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub arguments: Vec<String>,
}

fn pids() -> impl Iterator<Item = i32> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

nix::ioctl_read_bad!(fionread, nix::libc::FIONREAD, nix::libc::c_int);

/// Bytes that lie in a pipe.
fn lying(pipe: &fs::File) -> Option<i32> {
    let mut count = 0;
    // SAFETY: FIONREAD writes one int (pipe(7)).
    unsafe { fionread(pipe.as_raw_fd(), &raw mut count) }.ok()?;
    Some(count)
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = line.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        // "PID (NAME) STATE PARENT ...", and the name may hold anything.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        Some(Process { pid, parent, arguments })
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap_or_else(|e| panic!("{signal} to {}: {e}", self.pid));
    }

    pub fn is_alive(&self) -> bool {
        Process::read(self.pid).is_some_and(|now| now.arguments == self.arguments) || Process::is_dying(self.pid)
    }

    /// Whether it waits in read(2) for the next message.
    pub fn reads(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        threads.map(|thread| thread.path()).any(|thread| {
            let read = |name| fs::read_to_string(thread.join(name)).unwrap_or_default();
            read("comm").trim() == "dialogue" && read("syscall").starts_with(&format!("{} ", nix::libc::SYS_read))
        })
    }

    /// Whether it is a process of logjam whose end has begun: its command line is gone then, while it may still hold pipes and files.
    fn is_dying(pid: i32) -> bool {
        let proc = Path::new("/proc").join(pid.to_string());
        let empty = fs::read(proc.join("cmdline")).is_ok_and(|line| line.is_empty());
        let ours = || fs::read_to_string(proc.join("comm")).is_ok_and(|name| name.starts_with("logjam"));
        if !empty || !ours() {
            return false;
        }
        // A zombie holds nothing, once all of its threads are through.
        let zombie = fs::read_to_string(proc.join("status")).is_ok_and(|status| status.contains("\nState:\tZ"));
        let threads = fs::read_dir(proc.join("task")).map_or(0, Iterator::count);
        threads > if zombie { 1 } else { 0 }
    }

    /// What its threads do, and how much lies in its standard input.
    fn print(&self) {
        let proc = Path::new("/proc").join(self.pid.to_string());
        let input = fs::File::open(proc.join("fd/0")).ok().and_then(|input| lying(&input));
        eprintln!("---- process {}, child of {}, {input:?} bytes in its standard input", self.pid, self.parent);
        for thread in fs::read_dir(proc.join("task")).into_iter().flatten().flatten() {
            let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default().trim().to_owned();
            eprintln!("{}: {}; {}", read("comm"), read("wchan"), read("syscall"));
        }
    }

    #[track_caller]
    pub fn wait_until_gone(&self) {
        wait_for(&format!("the end of process {}", self.pid), || (!self.is_alive()).then_some(()));
    }
}

/// All files under a directory, in the order of their paths.
pub fn all_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// The hour files under a directory, in the order of their paths; what lies in a hidden directory is logjam's own affair.
pub fn log_files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let mut files = all_files(directory);
    files.retain(|path| {
        let inner = path.strip_prefix(directory).unwrap_or(path);
        path.to_string_lossy().ends_with(end)
            && !inner.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
    });
    files
}

/// Counts lines in growing files without reading them again and again.
#[derive(Default)]
pub struct Tally {
    read: HashMap<PathBuf, (u64, usize)>,
}

impl Tally {
    /// Each hour file once, by its name, in whichever of its stages it is met first.
    pub fn lines(&mut self, root: &Path) -> usize {
        let mut by_name: HashMap<String, usize> = HashMap::new();
        for (directory, end) in [("spool", ".log"), ("spool/archive", ".log.gz"), ("bucket", ".log.gz")] {
            for file in log_files(&root.join(directory), end) {
                let name = file.file_name().unwrap_or_default().to_string_lossy().trim_end_matches(".gz").to_owned();
                if !by_name.contains_key(&name)
                    && let Some(count) = self.count(&file)
                {
                    by_name.insert(name, count);
                }
            }
        }
        by_name.values().sum()
    }

    fn count(&mut self, file: &Path) -> Option<usize> {
        use std::io::{Seek, SeekFrom};
        let mut open = fs::File::open(file).ok()?;
        let (done, lines) = self.read.entry(file.to_path_buf()).or_default();
        if file.extension().is_some_and(|end| end == "gz") {
            if *done == 0 {
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(open).read_to_end(&mut text).ok()?;
                (*done, *lines) = (1, memchr(&text));
            }
            return Some(*lines);
        }
        open.seek(SeekFrom::Start(*done)).ok()?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match open.read(&mut buffer).ok()? {
                0 => return Some(*lines),
                n => {
                    *done += n as u64;
                    *lines += memchr(&buffer[..n]);
                }
            }
        }
    }
}

fn memchr(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

// -------------------------------------------------------------------------------------------------------------- Daemon

/// A running rsyslogd or syslog-ng, leader of a process group of its own; killed when dropped.
pub struct Daemon {
    process: Child,
    pub port: u16,
}

impl Daemon {
    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the daemon takes a signal");
    }

    /// To the daemon and whoever is in its process group, as `systemctl kill` does with a service.
    pub fn signal_service(&self, signal: Signal) {
        killpg(Pid::from_raw(self.pid()), signal).expect("the service takes a signal");
    }

    /// SIGTERM, and waits for its end. Returns how long that took.
    #[track_caller]
    pub fn stop(mut self) -> Duration {
        let start = Instant::now();
        self.signal(Signal::SIGTERM);
        self.wait();
        start.elapsed()
    }

    /// SIGTERM to daemon and children at once, which is what systemd does.
    #[track_caller]
    pub fn stop_service(mut self) -> Duration {
        let start = Instant::now();
        self.signal_service(Signal::SIGTERM);
        self.wait();
        start.elapsed()
    }

    /// SIGKILL to the daemon alone.
    pub fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    #[track_caller]
    fn wait(&mut self) {
        wait_for("the end of the daemon", || self.process.try_wait().expect("the daemon's status"));
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("the daemon's status").is_none()
    }

    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    pub fn connect(&self) -> TcpStream {
        // It tells its port a moment before it listens.
        wait_for("the daemon to take a connection", || TcpStream::connect(("127.0.0.1", self.port)).ok())
    }

    /// Sends lines, each with a LF, and returns when the daemon has taken in the last of them: it closes the connection then.
    pub fn send<L: AsRef<[u8]>>(&self, lines: impl IntoIterator<Item = L>) {
        self.write(lines, |out, line| {
            out.write_all(line)?;
            out.write_all(b"\n")
        });
    }

    /// The same with octet counting (RFC 6587), which allows a LF within a message.
    pub fn send_counted<L: AsRef<[u8]>>(&self, messages: impl IntoIterator<Item = L>) {
        self.write(messages, |out, message| {
            write!(out, "{} ", message.len())?;
            out.write_all(message)
        });
    }

    fn write<L: AsRef<[u8]>>(
        &self,
        lines: impl IntoIterator<Item = L>,
        put: impl Fn(&mut BufWriter<&TcpStream>, &[u8]) -> std::io::Result<()>,
    ) {
        let connection = self.connect();
        let mut out = BufWriter::with_capacity(1 << 16, &connection);
        for line in lines {
            put(&mut out, line.as_ref()).expect("the daemon reads");
        }
        out.flush().expect("the daemon reads");
        drop(out);
        connection.shutdown(std::net::Shutdown::Write).expect("an open connection");
        connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let rest = (&connection).read(&mut [0; 64]);
        assert!(matches!(rest, Ok(0)), "the daemon did not take in all that was sent: {rest:?}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            let _ = self.process.wait();
        }
    }
}

fn spawn(mut command: Command, environment: &[(&str, &str)], log: &Path) -> Child {
    let log = fs::OpenOptions::new().append(true).create(true).open(log).expect("the daemon's log");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOGJAM_") {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().copied());
    command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Reads a shipped file and sets in it what a user would set: every pair is a piece of text that must be there.
#[track_caller]
pub fn shipped(file: &str, edits: &[(&str, &str)]) -> String {
    let path = Path::new(REPOSITORY).join("contrib").join(file);
    let mut text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for (from, to) in edits {
        assert!(text.contains(from), "{}: no {from:?} in it", path.display());
        text = text.replace(from, to);
    }
    text
}

// ------------------------------------------------------------------------------------------------------------ rsyslogd

/// What an rsyslogd is given beside its rules.
#[derive(Default, Clone)]
pub struct Setup {
    /// Settings within `global()`.
    pub globals: String,
    /// Those within `main_queue()`; where empty, a queue in memory with one worker.
    pub main_queue: String,
    /// Variables for it and for its children.
    pub environment: Vec<(String, String)>,
    /// Whether it has a /dev of its own, with the system's log in it: what syslog(3) says in it and in its children comes to it.
    pub dev_log: bool,
}

/// A /dev with what a daemon and logjam need, in a mount namespace, and /dev/log for rsyslogd to make.
const OWN_DEV: &str = r#"mkdir "$0" && for device in null zero random urandom; do : >"$0/$device" && mount --bind "/dev/$device" "$0/$device" || exit; done
mount --rbind "$0" /dev && exec "$@""#;

/// Starts the real rsyslogd with `rules`, the text of a file such as one would put into /etc/rsyslog.d.
///
/// What rsyslogd says of itself goes to `rsyslogd.log` in the site, and not to the rules.
#[track_caller]
pub fn start_rsyslogd(site: &Site, rules: &str) -> Daemon {
    start_rsyslogd_with(site, &Setup::default(), rules)
}

/// The same with settings outside of the rules.
#[track_caller]
pub fn start_rsyslogd_with(site: &Site, setup: &Setup, rules: &str) -> Daemon {
    for left in ["port", "rsyslogd.pid"] {
        let _ = fs::remove_file(site.path(left));
    }
    fs::write(site.path("rules.conf"), rules).expect("the rules");
    let main_queue = match setup.main_queue.as_str() {
        "" => r#"queue.type="LinkedList" queue.size="200000" queue.workerThreads="1" queue.timeoutShutdown="30000""#,
        settings => settings,
    };
    let main = format!(
        r#"global(workDirectory="{root}/state" processInternalMessages="on" reportChildProcessExits="all" {globals})
{system}module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{root}/port")
main_queue({main_queue})
if $programname startswith "rsyslogd" then {{
    action(type="omfile" file="{root}/rsyslogd.log")
    stop
}}
include(file="{root}/rules.conf")
"#,
        root = site.text("").trim_end_matches('/'),
        globals = setup.globals,
        system = if setup.dev_log { "module(load=\"imuxsock\" SysSock.RateLimit.Interval=\"0\")\n" } else { "" },
    );
    fs::write(site.path("rsyslog.conf"), main).expect("the configuration");

    let mut command = Command::new(if setup.dev_log { "unshare" } else { rsyslogd() });
    if setup.dev_log {
        command.args(["--mount", "/bin/sh", "-c", OWN_DEV]).arg(site.path("dev")).arg(rsyslogd());
    }
    command.arg("-n").arg("-f").arg(site.path("rsyslog.conf")).arg("-i").arg(site.path("rsyslogd.pid"));
    let environment: Vec<_> = setup.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut daemon = Daemon { process: spawn(command, &environment, &site.path("rsyslogd.err")), port: 0 };
    daemon.port = wait_for("rsyslogd's port", || {
        assert!(daemon.is_running(), "rsyslogd does not start: {}", site.read("rsyslogd.err"));
        site.read("port").trim().parse().ok().filter(|&port: &u16| port != 0)
    });
    daemon
}

/// The program.
#[track_caller]
pub fn rsyslogd() -> &'static str {
    let program = ["/usr/sbin/rsyslogd", "/usr/local/sbin/rsyslogd"].into_iter().find(|path| Path::new(path).exists());
    program.expect("rsyslogd is not installed: run tests/install-debian")
}

// ----------------------------------------------------------------------------------------------------------- syslog-ng

/// Where `tests/install-debian` unpacks it.
fn syslog_ng_root() -> PathBuf {
    std::env::var_os("LOGJAM_SYSLOG_NG").map_or(Path::new(REPOSITORY).join("target/syslog-ng"), PathBuf::from)
}

/// Starts the real syslog-ng with `rules`, the text of a file such as one would put into /etc/syslog-ng/conf.d.
///
/// The rules find a source `s_src`: RFC 5424 over TCP with octet counting ([`Daemon::send_counted`]). What syslog-ng says goes to `syslog-ng.err` in the site.
#[track_caller]
pub fn start_syslog_ng(site: &Site, options: &str, rules: &str) -> Daemon {
    let root = syslog_ng_root();
    let program = root.join("usr/sbin/syslog-ng");
    assert!(program.exists(), "{} is not there: run tests/install-debian", program.display());
    let libraries: Vec<PathBuf> =
        all_files(&root).into_iter().filter(|path| path.to_string_lossy().contains(".so")).collect();
    let mut folders: Vec<&Path> = libraries.iter().filter_map(|path| path.parent()).collect();
    folders.dedup();
    let modules = libraries.iter().find(|path| path.ends_with("libafprog.so")).and_then(|path| path.parent());

    let port = free_port();
    fs::write(site.path("rules.conf"), rules).expect("the rules");
    let main = format!(
        r#"@version: 3.35
options {{ keep-hostname(yes); {options} }};
source s_src {{ syslog(ip("127.0.0.1") port({port}) transport("tcp") max-connections(32)); }};
@include "{}"
"#,
        site.text("rules.conf"),
    );
    fs::write(site.path("syslog-ng.conf"), main).expect("the configuration");

    let mut command = Command::new(&program);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(&folders).expect("library paths"));
    command.arg("--foreground").arg("--no-caps").arg("--stderr").arg("--verbose");
    command.arg("--module-path").arg(modules.expect("libafprog.so beside syslog-ng"));
    command.arg("--cfgfile").arg(site.path("syslog-ng.conf"));
    command.arg("--persist-file").arg(site.path("state/syslog-ng.persist"));
    command.arg("--pidfile").arg(site.path("syslog-ng.pid"));
    command.arg("--control").arg(site.path("syslog-ng.ctl"));
    let mut daemon = Daemon { process: spawn(command, &[], &site.path("syslog-ng.err")), port };
    wait_for("syslog-ng's port", || {
        assert!(daemon.is_running(), "syslog-ng does not start: {}", site.read("syslog-ng.err"));
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    daemon
}

/// A port that was free a moment ago (syslog-ng cannot be asked to pick one), never the same again: HAProxy shares the port
/// of another HAProxy instead of failing.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return port;
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------- lines

/// Messages as they go over the wire (RFC 5424), and the lines that the shipped templates make of them.
pub struct Lines {
    pub sent: Vec<String>,
    pub by_rsyslog: Vec<String>,
    pub by_syslog_ng: Vec<String>,
}

/// `count` different messages of uneven length, numbered from `from`.
pub fn lines(from: usize, count: usize) -> Lines {
    let numbers = from..from + count;
    Lines {
        sent: numbers.clone().map(sent).collect(),
        by_rsyslog: numbers.clone().map(by_rsyslog).collect(),
        by_syslog_ng: numbers.map(|n| format!("{} web-1 haproxy[4242]: {}", stamp(n), text(n))).collect(),
    }
}

/// Message number `n` as it goes over the wire.
pub fn sent(n: usize) -> String {
    format!("<134>1 {} web-1 haproxy 4242 - - {}", stamp(n), text(n))
}

/// The line that the shipped templates for rsyslog make of it.
pub fn by_rsyslog(n: usize) -> String {
    format!("{} web-1 haproxy[4242] {}", stamp(n), text(n))
}

/// The number of a message, out of its line.
pub fn number(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?;
    line.split("frontend request ").nth(1)?.split(' ').next()?.parse().ok()
}

fn stamp(n: usize) -> String {
    format!("2013-07-04T{:02}:{:02}:{:02}.{:06}+00:00", n / 3600 % 24, n / 60 % 60, n % 60, n % 1_000_000)
}

fn text(n: usize) -> String {
    let filler = "0123456789abcdefghijklmnopqrstuvwxyz /?&=%{}[]\"'\\ caf\u{e9} ".repeat(4);
    let length = n * 7919 % 180;
    let end = filler.char_indices().nth(length).map_or(filler.len(), |(at, _)| at);
    format!("frontend request {n} {}.", &filler[..end])
}

/// Compares what arrived with what should have, whatever the order; says what is missing, what is too many.
#[track_caller]
pub fn assert_same_lines<A: AsRef<[u8]>, B: AsRef<[u8]>>(arrived: &[A], expected: &[B]) {
    let mut balance: HashMap<&[u8], i64> = HashMap::with_capacity(expected.len());
    expected.iter().for_each(|line| *balance.entry(line.as_ref()).or_default() += 1);
    arrived.iter().for_each(|line| *balance.entry(line.as_ref()).or_default() -= 1);
    let pick = |sign: i64| {
        let mut lines: Vec<_> = balance
            .iter()
            .filter(|(_, n)| **n * sign > 0)
            .map(|(line, n)| (String::from_utf8_lossy(line), n.abs()))
            .collect();
        lines.sort();
        lines
    };
    let (missing, extra) = (pick(1), pick(-1));
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{} arrived, {} expected; {} missing: {:#?}; {} too many: {:#?}",
        arrived.len(),
        expected.len(),
        missing.len(),
        &missing[..missing.len().min(5)],
        extra.len(),
        &extra[..extra.len().min(5)],
    );
}

/// The same, and in this order.
#[track_caller]
pub fn assert_same_lines_in_order<A: AsRef<[u8]>, B: AsRef<[u8]>>(arrived: &[A], expected: &[B]) {
    assert_same_lines(arrived, expected);
    let first = arrived.iter().zip(expected).position(|(one, other)| one.as_ref() != other.as_ref());
    assert_eq!(first, None, "the lines are all there, but from this one on not in order");
}
