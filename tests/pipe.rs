//! `logjam pipe` as a sysadmin meets it: the real binary as a child, with real pipes, signals and faults.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::cli;
use crate::far;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

const LOGJAM: &str = env!("CARGO_BIN_EXE_logjam");

/// A place with a spool and a directory as the far end.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("spool")).unwrap();
        Self(root)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn dest(&self) -> String {
        format!("file://{}/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", self.path("dest").display())
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(LOGJAM);
        command.env_clear().arg("pipe").arg(self.path("spool")).arg(self.dest()).arg("--suffix=host").args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, options: &[&str]) -> Life {
        let mut child = self.command(options).spawn().unwrap();
        let stdin = child.stdin.take();
        Life { child, stdin }
    }

    /// All of a life: what it said on stderr.
    fn live(&self, input: &[u8], options: &[&str]) -> String {
        let mut life = self.start(options);
        life.write(input);
        let (status, said) = life.end();
        assert_eq!(status, Some(0), "{said}");
        said
    }

    fn open_files(&self) -> Vec<PathBuf> {
        files(&self.path("spool")).into_iter().filter(|p| p.extension().is_some_and(|e| e == "log")).collect()
    }

    fn open_text(&self) -> Vec<u8> {
        self.open_files().iter().flat_map(|p| std::fs::read(p).unwrap_or_default()).collect()
    }

    /// What is stored, by name, with the manifests proved.
    #[track_caller]
    fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        let name = |key: &str| key.rsplit('/').next().unwrap().to_owned();
        let found = far::proved_below(&self.path("dest"), &[]);
        found.into_iter().map(|(key, data)| (name(&key), unpacked(&key, &data))).collect()
    }

    /// How many archives are stored by now, all with their manifests; `None` while one's is on its way.
    fn told(&self) -> Option<usize> {
        let keys = far::keys_below(&self.path("dest"));
        far::is_told(&keys).then(|| keys.iter().filter(|key| far::is_archive(key)).count())
    }

    /// Everything that was stored, in the order of the names.
    fn stored_text(&self) -> Vec<u8> {
        self.stored().into_values().flatten().collect()
    }
}

struct Life {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Life {
    fn write(&mut self, data: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(data).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Reads what is said on stderr until a text is in it.
    fn hears(&mut self, text: &str) -> String {
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(text.as_bytes()) {
            let n = self.child.stderr.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(n, 1, "it ended without {text:?}: {}", String::from_utf8_lossy(&said));
            said.extend(byte);
        }
        String::from_utf8(said).unwrap()
    }

    /// Closes the input and waits: exit status and what was said.
    fn end(mut self) -> (Option<i32>, String) {
        self.stdin = None;
        self.wait()
    }

    /// SIGKILL, and waits.
    fn end_now(mut self) -> (Option<i32>, String) {
        self.child.kill().unwrap();
        self.wait()
    }

    fn wait(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert_eq!(out, "", "something was said on stdout");
        (self.child.wait().unwrap().code(), said)
    }
}

/// Regular files below a directory, hidden ones left out, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).into_iter().flatten() {
        let path = item.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with('.') {
            continue;
        }
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn unpacked(name: &str, data: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match name.rsplit('.').next().unwrap() {
        "gz" => {
            let mut decoder = flate2::bufread::GzDecoder::new(data);
            decoder.read_to_end(&mut text).unwrap();
            assert!(decoder.into_inner().is_empty(), "{name}: more than one member");
        }
        "zst" => text = zstd::decode_all(data).unwrap(),
        other => panic!("{name}: {other}"),
    }
    text
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn lines_are_kept_byte_for_byte() {
    let house = House::new();
    let mut input = b"plain\n\n\ncr\r\nnul\0nul\n\xff\xfe not utf-8 \xc3\x28\n\t\x1b[0m\n".to_vec();
    input.extend(std::iter::repeat_n(b'x', 5 << 20));
    input.extend(b"\n\nlast without newline");
    house.live(&input, &["--once"]);
    input.push(b'\n');
    assert!(house.stored_text() == input);
    let name = house.stored().into_keys().next().unwrap();
    let shape: String = name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "syslog-00000000T0000Z-host.log.gz");
}

#[test]
fn input_that_is_no_pipe_is_kept_as_well() {
    let house = House::new();
    let text = b"from a file\nwithout an end";
    std::fs::write(house.path("input"), text).unwrap();
    let input = std::fs::File::open(house.path("input")).unwrap();
    let status = house.command(&["--once"]).stdin(input).status().unwrap();
    assert!(status.success());
    assert_eq!(house.stored_text(), b"from a file\nwithout an end\n");
}

#[test]
fn zstd_and_levels_are_choices() {
    let house = House::new();
    house.live(b"a\n", &["--once", "--codec=zstd"]);
    house.live(b"b\n", &["--once", "--codec=zstd", "--level=9"]);
    house.live(b"c\n", &["--once", "--level=1"]);
    let mut all = house.stored_text();
    all.sort_unstable();
    assert_eq!(all, b"\n\n\nabc");
    assert_eq!(house.stored().keys().filter(|name| name.ends_with(".zst")).count(), 2);
}

#[test]
fn sigusr1_ends_the_file_now_and_begins_another() {
    let house = House::new();
    let mut life = house.start(&[]);
    life.write(b"one\n");
    until("the line", || house.open_text() == b"one\n");
    life.signal(Signal::SIGUSR1);
    until("the object", || house.told() == Some(1));
    assert_eq!(house.stored_text(), b"one\n");
    life.write(b"two\n");
    until("the second line", || house.open_text() == b"two\n");
    life.signal(Signal::SIGUSR1);
    until("the second object", || house.told() == Some(2));
    let (status, said) = life.end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(house.stored().into_values().collect::<Vec<_>>(), [b"two\n", b"one\n"]);
}

#[test]
fn an_hour_that_is_packed_before_its_sync_was_due_is_nothing_to_speak_of() {
    let house = House::new();
    let mut life = house.start(&["--sync=500ms"]);
    life.write(b"one\n");
    until("the line", || house.open_text() == b"one\n");
    life.signal(Signal::SIGUSR1);
    until("the object", || house.told() == Some(1));
    // Longer than the sync of that line may take to come.
    std::thread::sleep(Duration::from_secs(1));
    let (status, said) = life.end();
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
}

#[test]
fn a_period_ends_by_itself_on_the_real_clock_also_after_its_worker_was_killed() {
    let house = House::new();
    let mut life = house.start(&["--every=1m"]);
    life.write(b"a quiet minute\n");
    until("the line", || house.open_text() == b"a quiet minute\n" || house.told() != Some(0));
    let guard = life.child.id();
    let children = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
    kill(Pid::from_raw(children.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    let end = Instant::now() + Duration::from_secs(65);
    while house.told() != Some(1) {
        assert!(Instant::now() < end, "the minute did not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let late = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() % 60;
    assert!(late < 10, "the minute ended {late} s late");
    assert_eq!(house.stored_text(), b"a quiet minute\n");
    life.end();
}

#[test]
fn sigterm_and_sigint_drain_the_pipe_first() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let house = House::new();
        let mut life = house.start(&["--no-guard"]);
        life.write(b"begun\n");
        until("the first line", || !house.open_text().is_empty());
        // Stopped, so that the pipe is full when the signal comes.
        life.signal(Signal::SIGSTOP);
        let lines: Vec<u8> = (0..5000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        life.write(&lines);
        life.signal(signal);
        life.signal(Signal::SIGCONT);
        life.write(b"after the signal\n");
        until("the lines", || house.open_text().ends_with(b"after the signal\n"));
        // The writer stays: the program leaves once nothing has come for a while.
        let stdin = life.stdin.take();
        let (status, said) = life.wait();
        drop(stdin);
        assert_eq!(status, Some(0), "{said}");
        assert_eq!(house.open_text(), [b"begun\n".as_slice(), &lines, b"after the signal\n"].concat());
    }
}

#[test]
fn sighup_reopens_the_log_file_and_nothing_else() {
    let house = House::new();
    let log = house.path("own.log");
    let option = format!("--log-to={}", log.display());
    let mut life = house.start(&[&option]);
    life.write(b"a\n");
    until("the line", || house.open_text() == b"a\n");
    life.signal(Signal::SIGUSR1);
    until("a message", || std::fs::read_to_string(&log).is_ok_and(|t| t.contains("stored file://")));
    std::fs::rename(&log, house.path("own.log.1")).unwrap();
    life.signal(Signal::SIGHUP);
    until("the new file", || log.exists());
    life.write(b"b\n");
    life.signal(Signal::SIGUSR1);
    until("a message in it", || std::fs::read_to_string(&log).is_ok_and(|t| t.contains("stored file://")));
    let (status, said) = life.end();
    assert_eq!((status, said.as_str()), (Some(0), ""));
}

#[test]
fn kill_9_at_any_moment_loses_no_line_that_was_in_the_pipe() {
    let house = House::new();
    let kills = std::env::var("LOGJAM_STORM_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    // The test holds both ends of the pipe, so that it outlives the program.
    let (reader, mut writer) = std::io::pipe().unwrap();
    let feeder = std::thread::spawn(move || {
        let mut n = 0_u64;
        let mut lines = Vec::new();
        let end = Instant::now() + Duration::from_millis(60) * kills;
        while Instant::now() < end {
            lines.clear();
            for _ in 0..500 {
                writeln!(lines, "{n} some text that makes the line longer than it would be").unwrap();
                n += 1;
            }
            writer.write_all(&lines).unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
        n
    });
    let mut wait = 1_u64;
    while !feeder.is_finished() {
        let mut command = house.command(&["--no-guard"]);
        command.stdin(reader.try_clone().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        wait = wait * 13 % 67;
        std::thread::sleep(Duration::from_millis(wait));
        if wait.is_multiple_of(3) {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGUSR1);
            std::thread::sleep(Duration::from_millis(wait / 4));
        }
        child.kill().unwrap();
        // By the kill, by a SIGUSR1 before it was ready for one, or at the end of the input.
        let status = child.wait().unwrap();
        assert!(matches!((status.signal(), status.code()), (Some(9 | 10), _) | (_, Some(0))), "{status}");
        for key in far::archives_below(&house.path("dest")) {
            unpacked(&key, &std::fs::read(house.path("dest").join(&key)).unwrap());
        }
    }
    let sent = feeder.join().unwrap();
    let status = house.command(&["--once"]).stdin(reader).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    let text = String::from_utf8(house.stored_text()).unwrap();
    let mut seen: Vec<u64> = text
        .lines()
        .map(|line| match line.split_once(' ') {
            Some((n, "some text that makes the line longer than it would be")) => n.parse().unwrap(),
            _ => panic!("a line that nobody sent: {line:?}"),
        })
        .collect();
    println!("{} kills, {sent} lines sent, {} stored", kills, seen.len());
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..sent), "lines are missing, or stored twice");
}

#[test]
fn the_end_of_input_needs_no_bucket() {
    let house = House::new();
    // Nobody listens there.
    let mut command = Command::new(LOGJAM);
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "us-east-1")];
    command.env_clear().envs(keys).arg("pipe").arg(house.path("spool"));
    command.args(["s3://logs/{prefix}/{year}{month}{day}/{filename}", "--endpoint-url=http://127.0.0.1:9"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    until("the line", || house.open_text() == b"a\n");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGUSR1).unwrap();
    until("the archive", || !files(&house.path("spool/archive")).is_empty());
    let start = Instant::now();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(4), "it took {:?}", start.elapsed());
    // The next start stores what this one could not.
    house.live(b"", &["--once"]);
    assert_eq!(house.stored_text(), b"a\n");
}

#[test]
fn without_a_destination_archives_wait_for_the_uploader() {
    let house = House::new();
    let mut command = Command::new(LOGJAM);
    command.env_clear().arg("pipe").arg(house.path("spool")).args(["--once", "--suffix=host", "--prefix=app"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    assert!(child.wait().unwrap().success());
    let archives = files(&house.path("spool/archive"));
    assert_eq!(archives.len(), 1);
    assert_eq!(unpacked(archives[0].to_str().unwrap(), &std::fs::read(&archives[0]).unwrap()), b"a\n");
    let mut upload = Command::new(LOGJAM);
    upload.env_clear().arg("upload").arg(house.path("spool/archive")).arg(house.dest()).arg("--once");
    assert!(upload.status().unwrap().success());
    assert_eq!(house.stored_text(), b"a\n");
}

#[test]
fn files_and_directories_have_the_promised_modes_whatever_the_umask() {
    let house = House::new();
    let mut command = house.command(&["--once"]);
    // SAFETY: umask(2) is async-signal-safe, and touches nothing but the child.
    unsafe {
        command.pre_exec(|| {
            nix::sys::stat::umask(nix::sys::stat::Mode::empty());
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    assert!(child.wait().unwrap().success());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in files(&house.path("dest")).into_iter().chain(files(&house.path("spool/archive"))) {
        assert_eq!(mode(&path), 0o640, "{}", path.display());
    }
    for dir in ["spool/archive", "spool/archive/.uploaded", "spool/.logjam", "dest", "dest/syslog"] {
        assert_eq!(mode(&house.path(dir)), 0o750, "{dir}");
    }
}

#[test]
fn wrong_settings_are_refused_with_the_option_the_value_and_the_mend() {
    let house = House::new();
    let cases: &[(&[&str], &str)] = &[
        (&["--prefix=a/b"], "--prefix=\"a/b\": holds a `/`; use letters"),
        (&["--prefix=a.b"], "holds a dot"),
        (&["--prefix="], "is empty"),
        (&["--prefix=20130704T0000Z-x", "--suffix=20130704T0000Z"], "read as another stream's"),
        (&["--prefix=a\nb"], "control character"),
        (&["--every=7m"], "a divisor of one hour"),
        (&["--every=30s"], "a divisor of one hour"),
        (&["--keep=soon"], "write a number and a unit"),
        (&["--reserve=lots"], "write a number and a unit"),
        (&["--sync=commit"], "--sync=commit: there are no commits; add --use-transactions"),
        (&["--use-transactions"], "--confirm-messages"),
        (&["--confirm-messages", "--begin-mark=x"], "--use-transactions"),
        (&["--confirm-messages", "--use-transactions", "--begin-mark="], "--begin-mark: must be the text of one line"),
        (&["--confirm-messages", "--use-transactions", "--begin-mark=x", "--commit-mark=x"], "are the same"),
        (&["--level=10"], "levels 1 to 9"),
        (&["--codec=lzma"], "[possible values: gzip, zstd]"),
        (&["--log-to=here"], "write stderr, syslog, or the absolute path"),
        (&["--nonsense"], "unexpected argument '--nonsense'"),
        (&["--sse=AES256"], "--sse: goes with an s3:// DEST only"),
        (&["--part-size=1MiB"], "5MiB to 5GiB"),
    ];
    for (options, expected) in cases {
        let mut command = Command::new(LOGJAM);
        command.env_clear().arg("pipe").arg(house.path("spool")).arg(house.dest()).args(*options);
        let (status, said) = refused(&mut command);
        assert_eq!(status, Some(2), "{options:?}: {said}");
        assert!(said.contains(expected), "{options:?}: {said}");
    }
    let (status, said) =
        refused(Command::new(LOGJAM).env_clear().arg("pipe").arg(house.path("spool")).arg("s3://b/{day}"));
    assert_eq!(status, Some(2), "{said}");
    let (status, said) = refused(
        Command::new(LOGJAM).env_clear().arg("pipe").arg(house.path("spool")).arg("s3://logs/{year}/{month}/{day}"),
    );
    assert_eq!(status, Some(2));
    assert!(said.contains("upload_uri lacks mandatory fields: filename, prefix"), "{said}");
    assert_eq!(files(&house.path("spool")).len(), 0);
}

#[test]
fn settings_come_from_the_environment_and_flags_win() {
    let house = House::new();
    let mut command = house.command(&["--once"]);
    command.env("LOGJAM_PREFIX", "fromenv").env("LOGJAM_CODEC", "zstd").env("LOGJAM_PATH_STYLE", "0");
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    assert!(child.wait().unwrap().success());
    let mut command = house.command(&["--prefix=fromflag"]);
    let mut child = command.env("LOGJAM_PREFIX", "fromenv").env("LOGJAM_ONCE", "1").spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"b\n").unwrap();
    assert!(child.wait().unwrap().success());
    let names: Vec<_> = house.stored().into_keys().collect();
    assert!(names[0].starts_with("fromenv-") && names[0].ends_with(".zst"), "{names:?}");
    assert!(names[1].starts_with("fromflag-") && names[1].ends_with(".gz"), "{names:?}");
}

#[test]
fn a_directory_that_will_not_do_is_named_with_the_mend() {
    let house = House::new();
    std::fs::write(house.path("file"), "").unwrap();
    std::os::unix::fs::symlink(house.path("spool"), house.path("link")).unwrap();
    std::fs::create_dir(house.path("inner")).unwrap();
    std::os::unix::fs::symlink("/usr", house.path("inner/archive")).unwrap();
    let slash = format!("{}/", house.path("link").display());
    for (dir, expected, exit) in [
        (house.path("missing"), "does not exist; mkdir -p", 2),
        (house.path("file"), "is not a directory", 2),
        (house.path("link"), "is a symbolic link", 2),
        (PathBuf::from(slash), "is a symbolic link", 2),
        (house.path("inner"), "archive: a symbolic link; links are refused here", 1),
    ] {
        let (status, said) = refused(Command::new(LOGJAM).env_clear().arg("pipe").arg(&dir).arg(house.dest()));
        assert_eq!(status, Some(exit), "{}: {said}", dir.display());
        assert!(said.contains(expected), "{}: {said}", dir.display());
    }
}

#[test]
fn a_held_start_goes_on_when_the_fault_is_mended_and_keeps_every_line() {
    let house = House::new();
    std::fs::remove_dir(house.path("spool")).unwrap();
    let mut life = house.start(&["--on-error=hold", "--once"]);
    life.write(b"one\n");
    let mut said = vec![0; 64];
    life.child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    // Whoever leaves now, the line is in the pipe: neither a signal nor the end of the input ends the program.
    life.signal(Signal::SIGTERM);
    life.stdin = None;
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(life.child.try_wait().unwrap(), None);
    std::fs::create_dir(house.path("spool")).unwrap();
    let (status, said) = life.end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(house.stored_text(), b"one\n");
}

#[test]
fn a_held_command_line_that_is_wrong_reads_nothing_and_leaves_with_its_writer() {
    let house = House::new();
    let mut life = house.start(&["--on-error=hold", "--nonsense"]);
    life.write(b"one\n");
    let mut said = vec![0; 16];
    life.child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(life.child.try_wait().unwrap(), None);
    let (status, _) = life.end();
    assert_eq!(status, Some(2));
}

#[test]
fn a_held_start_with_nothing_to_keep_leaves_when_asked() {
    let house = House::new();
    std::fs::remove_dir(house.path("spool")).unwrap();
    let mut life = house.start(&["--on-error=hold"]);
    let mut said = vec![0; 64];
    life.child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    life.signal(Signal::SIGTERM);
    let stdin = life.stdin.take();
    let (status, said) = life.wait();
    drop(stdin);
    assert_eq!(status, Some(2), "{said}");
}

#[test]
fn closed_standard_streams_do_no_harm() {
    let house = House::new();
    let script =
        format!("exec {LOGJAM} pipe {} '{}' --suffix=host --once", house.path("spool").display(), house.dest());
    let sh = |line: String| Command::new("/bin/sh").env_clear().arg("-c").arg(line).status().unwrap();
    assert!(sh(format!("printf 'a\\n' | (exec >&- 2>&-; {script})")).success());
    assert_eq!(house.stored_text(), b"a\n");
    assert!(sh(format!("exec <&-; {script}")).success());
    assert!(sh(format!("{script} </dev/null")).success());
    assert_eq!(house.stored_text(), b"a\n");
}

#[test]
fn intake_waits_when_file_descriptors_run_out_and_goes_on() {
    let house = House::new();
    let mut command = house.command(&["--no-guard"]);
    // SAFETY: setrlimit(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 6, 64)?;
            Ok(())
        });
    }
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    let mut life = Life { child, stdin };
    life.write(b"a\n");
    let said = life.hears("Too many open files");
    let mut limits = Command::new("prlimit");
    let raised = limits.arg(format!("--pid={}", life.child.id())).arg("--nofile=64:64").status().unwrap();
    assert!(raised.success());
    until("the line", || house.open_text() == b"a\n");
    let (status, rest) = life.end();
    assert_eq!(status, Some(0), "{said}{rest}");
}

#[test]
fn a_full_disk_stops_the_intake_and_loses_nothing() {
    let house = House::new();
    // A file system of its own, 6 MiB large.
    let spool = house.path("spool");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "none"]).arg(&spool).status().unwrap();
    assert!(mount.success(), "mounting a tmpfs needs root");
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0).status();
        }
    }
    let _mounted = Mounted(&spool);
    std::fs::write(spool.join("ballast"), vec![1; 3 << 20]).unwrap();
    // Once with a reserve, once to the last byte.
    for reserve in ["--reserve=1MiB", "--reserve=0"] {
        let mut life = house.start(&[reserve, "--once"]);
        let mut stdin = life.stdin.take().unwrap();
        let text: Vec<u8> = (0..80_000).flat_map(|n| format!("{n:064}\n").into_bytes()).collect();
        let sent = text.clone();
        let feeder = std::thread::spawn(move || stdin.write_all(&sent));
        let mut said = [0; 60];
        life.child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert!(!feeder.is_finished(), "{}", String::from_utf8_lossy(&said));
        std::fs::write(spool.join("ballast"), []).unwrap();
        feeder.join().unwrap().unwrap();
        let (status, rest) = life.wait();
        assert_eq!(status, Some(0), "{rest}");
        assert!(rest.contains("goes on"), "{rest}");
        assert!(house.stored_text() == text);
        std::fs::remove_dir_all(house.path("dest")).unwrap();
        for own in ["archive", ".logjam/chain"] {
            let _ = std::fs::remove_dir_all(spool.join(own));
        }
        std::fs::write(spool.join("ballast"), vec![1; 3 << 20]).unwrap();
    }
}

#[test]
fn the_first_line_does_not_wait_for_a_backlog() {
    let house = House::new();
    let line = b"a line of an hour that an earlier life left behind, and that is long enough to be one\n";
    let text = line.repeat(600_000);
    for hour in 0..4 {
        std::fs::write(house.path(&format!("spool/syslog-20200101T0{hour}00Z-host.log")), &text).unwrap();
    }
    let mut life = house.start(&["--no-guard"]);
    life.write(b"first\n");
    until("the line", || {
        let new = house.open_files().into_iter().find(|path| !path.to_str().unwrap().contains("20200101"));
        new.is_some_and(|path| std::fs::read(path).unwrap() == b"first\n")
    });
    assert!(far::archives_below(&house.path("dest")).len() < 4, "the line came after the backlog");
    life.child.kill().unwrap();
}

#[test]
fn an_instance_can_give_the_name() {
    use std::io::{BufRead, BufReader};
    let house = House::new();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut first = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut first).unwrap();
            let mut header = String::new();
            while reader.read_line(&mut header).unwrap() > 2 {
                header.clear();
            }
            let body = match first.split(' ').nth(1).unwrap() {
                "/latest/api/token" => "token",
                "/latest/meta-data/placement/region" => "us-west-2",
                "/latest/meta-data/instance-id" => "i-ae23fega",
                other => panic!("{other}"),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    let mut command = Command::new(LOGJAM);
    command.env_clear().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
    command.arg("pipe").arg(house.path("spool")).arg(house.dest()).args(["--suffix=ec2", "--prefix=haproxy", "--once"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    assert!(child.wait().unwrap().success());
    let names: Vec<_> = house.stored().into_keys().collect();
    assert!(names[0].starts_with("haproxy-") && names[0].ends_with("Z-us-west-2-i-ae23fega.log.gz"), "{names:?}");
}

#[test]
fn its_own_messages_can_go_to_syslog() {
    let house = House::new();
    let log = house.path("log");
    let socket = std::os::unix::net::UnixDatagram::bind(&log).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A /dev of its own, in which /dev/log is the test's.
    let script = "mount -t tmpfs none /dev && touch /dev/log && mount --bind \"$0\" /dev/log && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.env_clear().args(["--mount", "/bin/sh", "-c", script]).arg(&log).arg(LOGJAM).arg("pipe");
    command.arg(house.path("spool")).arg(house.dest()).args(["--once", "--suffix=host", "--log-to=syslog"]);
    let mut child = command.env("PATH", "/usr/bin:/bin").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\n").unwrap();
    let mut message = [0; 1024];
    let n = socket.recv(&mut message).unwrap();
    let message = String::from_utf8_lossy(&message[..n]);
    // RFC 3164: facility daemon (3), severity notice (5).
    assert!(message.starts_with("<29>") && message.contains("logjam["), "{message}");
    assert!(message.contains("stored file://"), "{message}");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_sends_stored_archives_away_before_their_time() {
    let house = House::new();
    house.live(b"a\n", &["--once"]);
    assert_eq!(files(&house.path("spool/archive")).len(), 1);
    // A reserve that no disk has: nothing may be read.
    let life = house.start(&["--reserve=1000TiB", "--no-guard"]);
    until("the archive's end", || files(&house.path("spool/archive")).is_empty());
    let (status, said) = life.end_now();
    assert_eq!(status, None, "{said}");
    assert!(said.contains("free space is down to --reserve"), "{said}");
    assert_eq!(house.stored_text(), b"a\n");
}

#[test]
fn a_directory_that_may_not_be_written_is_named_with_the_user() {
    let house = House::new();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(house.0.path(), 0o755);
    let copy = house.path("logjam");
    cli::install(LOGJAM, &copy);
    let mut command = Command::new(&copy);
    command.env_clear().arg("pipe").arg(house.path("spool")).arg(house.dest()).uid(65534).gid(65534);
    let (status, said) = refused(&mut command);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("Permission denied") && said.contains("user 65534 must be able to write in"), "{said}");
}

#[test]
fn a_line_that_a_killed_process_had_begun_waits_for_its_own_pipe() {
    let house = House::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let fed = |options: &[&str]| {
        let mut command = house.command(options);
        command.arg("--no-guard");
        command.stdin(reader.try_clone().unwrap()).spawn().unwrap()
    };
    let mut first = fed(&[]);
    writer.write_all(b"first\nhalf-").unwrap();
    until("half a line", || house.open_text() == b"first\nhalf-");
    first.kill().unwrap();
    first.wait().unwrap();
    // Another process on the same stream, with a pipe of its own, keeps its hands off that line.
    let mut other = house.start(&["--no-guard"]);
    other.write(b"other\n");
    until("the other line", || house.open_files().len() == 2);
    let mut second = fed(&["--once"]);
    writer.write_all(b"line\nnext\n").unwrap();
    let joined = || String::from_utf8(house.open_text()).unwrap().contains("first\nhalf-line\nnext\n");
    until("the rest of the line", joined);
    // Or the second would wait for it.
    other.end();
    drop(writer);
    drop(reader);
    assert!(second.wait().unwrap().success());
    house.live(b"", &["--once"]);
    let mut stored: Vec<_> = house.stored().into_values().collect();
    stored.sort();
    assert_eq!(stored, [b"first\nhalf-line\nnext\n".to_vec(), b"other\n".to_vec()]);
}

#[test]
fn sigterm_drains_into_the_reserve() {
    let house = House::new();
    // A reserve that no disk has: nothing is read, until the program has to leave.
    let mut life = house.start(&["--reserve=1000TiB", "--no-guard"]);
    life.write(b"kept\n");
    let mut said = [0; 60];
    life.child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(house.open_text(), b"");
    life.signal(Signal::SIGTERM);
    let stdin = life.stdin.take();
    let (status, said) = life.wait();
    drop(stdin);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(house.open_text(), b"kept\n");
}

#[test]
fn a_file_that_may_not_grow_is_a_full_disk() {
    let house = House::new();
    let mut command = house.command(&["--once", "--no-guard"]);
    // SAFETY: setrlimit(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            let size = nix::sys::resource::Resource::RLIMIT_FSIZE;
            Ok(nix::sys::resource::setrlimit(size, 4096, nix::sys::resource::RLIM_INFINITY)?)
        });
    }
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    let mut life = Life { child, stdin };
    let text = b"a line\n".repeat(2000);
    life.write(&text);
    let mut said = [0; 60];
    life.child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    let mut limits = Command::new("prlimit");
    assert!(limits.arg(format!("--pid={}", life.child.id())).arg("--fsize=unlimited").status().unwrap().success());
    let (status, said) = life.end();
    assert_eq!(status, Some(0), "{said}");
    assert!(house.stored_text() == text);
}

#[test]
fn a_file_name_cannot_forge_a_message() {
    let house = House::new();
    std::fs::create_dir_all(house.path("spool/archive")).unwrap();
    std::fs::write(house.path("spool/archive/syslog-20200101T0000Z-a\nforged.log.gz"), b"").unwrap();
    let said = house.live(b"", &["--once"]);
    assert!(said.contains("a?forged.log.gz"), "{said}");
    assert!(said.lines().all(|line| !line.starts_with("forged")), "{said}");
}
