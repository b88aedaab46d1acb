//! What `logjam status` promises, with the binary as a child, on directories that others work in.
#![allow(clippy::disallowed_methods)] // Tests use the file system and the clock.

use crate::cli::{self, Running, Spool, clean, files_below, logjam, minutes_ago, run, until};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const MIB: usize = 1 << 20;

fn dest(spool: &Spool) -> String {
    format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", spool.beside("dest").display())
}

/// `logjam status DIR OPTIONS`.
fn status(spool: &Spool, options: &[&str]) -> Command {
    let mut command = logjam(["status", &spool.arg()]);
    command.args(options);
    command
}

fn json(spool: &Spool) -> Value {
    let output = status(spool, &["--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// Waits until the status is as it should be, and returns it.
#[track_caller]
fn until_status(spool: &Spool, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let ready = cli::within(cli::PATIENCE, || {
        last = json(spool);
        ready(&last)
    });
    assert!(ready, "waited in vain until {what}: {last}");
    last
}

/// `logjam pipe DIR DEST OPTIONS` in a process group of its own, with the end of the pipe that feeds it.
fn pipe(spool: &Spool, options: &[&str]) -> (Running, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = logjam(["pipe", &spool.arg(), &dest(spool), "--suffix=web-1"]);
    command.args(options).stdin(reader).process_group(0);
    (Running::start(command), writer)
}

#[test]
fn a_host_at_work_is_shown_and_so_is_one_where_nothing_runs_any_more() {
    let spool = Spool::new();
    let (running, mut input) = pipe(&spool, &[]);
    input.write_all(b"one\ntwo\nthr").unwrap();
    let seen = until_status(&spool, "the lines are there and the process is seen", |seen| {
        seen["streams"][0]["open"][0]["bytes"] == 11 && seen["processes"][0]["running"] == true
    });
    let stream = &seen["streams"][0];
    assert_eq!((&stream["prefix"], &stream["suffix"]), (&"syslog".into(), &"web-1".into()));
    let open = &stream["open"][0];
    assert_eq!((&open["lines"], &open["packed"]), (&2.into(), &Value::Null));
    assert_eq!(stream["oldest"]["file"], open["name"]);
    assert_eq!(seen["oldest"], stream["oldest"]);
    assert!(stream["oldest"]["age_seconds"].as_u64().unwrap() < 60);
    assert_eq!(
        (&stream["period_seconds"], &stream["state"], &seen["state"]),
        (&3600.into(), &"ok".into(), &"ok".into())
    );
    assert_eq!((&stream["warning_seconds"], &stream["critical_seconds"]), (&4500.into(), &9000.into()));
    assert_eq!((&seen["archived"], &seen["unread"]), (&"stored".into(), &Value::Array(Vec::new())));
    let process = &seen["processes"][0];
    assert_eq!((&process["command"], &process["dest"]), (&"pipe".into(), &dest(&spool).into()));
    let space = |name: &str| seen["space"][name].as_u64().unwrap();
    assert!(space("used_bytes") >= 11 && space("free_bytes") <= space("total_bytes"));
    let text = run(status(&spool, &[])).code_is(0);
    let text = text.says("syslog web-1").says("OLDEST NOT ARCHIVED").says("runs since").says(&dest(&spool));
    text.says(open["name"].as_str().unwrap());
    input.write_all(b"ee\n").unwrap();
    running.signal(Signal::SIGUSR1);
    let seen = until_status(&spool, "it is stored", |seen| seen["streams"][0]["stored"]["files_24h"] == 1);
    let stored = seen["streams"][0]["stored"]["last"].as_str().unwrap().to_owned();
    assert!(Path::new(stored.strip_prefix("file://").unwrap()).exists(), "{stored}");
    until_status(&spool, "nothing is left to archive", |seen| seen["oldest"].is_null());
    drop(input);
    running.end().code_is(0);
    let seen = json(&spool);
    assert_eq!(seen["processes"][0]["running"], false);
    assert!(seen["processes"][0]["ended"].is_string(), "{seen}");
    run(status(&spool, &[])).code_is(0).says("does not run: it left at");
    // One that is killed has not left by itself.
    let (running, _input) = pipe(&spool, &[]);
    until_status(&spool, "it runs", |seen| seen["processes"][0]["running"] == true);
    running.kill_group();
    until_status(&spool, "it is gone", |seen| seen["processes"][0]["running"] == false);
    assert!(json(&spool)["processes"][0]["ended"].is_null());
    run(status(&spool, &[])).code_is(0).says("it was killed, or the system went down");
}

#[test]
fn of_a_large_file_the_lines_are_counted_and_what_is_packed_ahead_is_shown() {
    let spool = Spool::new();
    let (running, mut input) = pipe(&spool, &[]);
    let line = format!("{}\n", "x".repeat(99));
    let lines = 5 * MIB / line.len();
    input.write_all(line.repeat(lines).as_bytes()).unwrap();
    let open = |seen: &Value| seen["streams"][0]["open"][0].clone();
    let seen = until_status(&spool, "a block is packed", |seen| open(seen)["packed"]["bytes"] == 4 * MIB);
    let open = open(&seen);
    assert_eq!((&open["lines"], &open["bytes"]), (&lines.into(), &(lines * line.len()).into()));
    assert_eq!(open["packed"]["lines"], 4 * MIB / line.len());
    assert!(open["packed"]["packed_bytes"].as_u64().unwrap() < 4 * MIB as u64 / 10);
    drop(input);
    running.end().code_is(0);
}

#[test]
fn an_open_hour_is_no_alarm_and_what_waits_for_too_long_is() {
    let spool = Spool::new();
    let open = format!("syslog-{}-web-1.log", minutes_ago(59));
    let old = |minutes: i64| {
        let name = format!("syslog-{}-web-1.log.gz", minutes_ago(minutes));
        let path = spool.write(&format!("archive/{name}"), "x");
        (name, path)
    };
    spool.write(&open, "a line\n");
    spool.write("archive/.uploaded/other-20260101T0000Z-web-1.log.gz", "");
    let is = |options: &[&str], code: i32, word: &str| {
        let plugin = run(status(&spool, &[&["--nagios"], options].concat())).code_is(code);
        assert!(plugin.said.starts_with(&format!("LOGJAM {word} - ")), "{}", plugin.said);
        assert_eq!(plugin.said.lines().count(), 1, "{}", plugin.said);
        run(status(&spool, options)).code_is(i32::from(code != 0)).says("syslog web-1");
        plugin.said
    };
    let said = is(&[], 0, "OK");
    assert!(
        said.contains("oldest line not archived came 59m") && said.contains(", in syslog web-1 | oldest="),
        "{said}"
    );
    is(&["--warning=58m"], 1, "WARNING");
    is(&["--warning=10m"], 2, "CRITICAL");
    is(&["--warning=10m", "--critical=1h30m"], 1, "WARNING");
    is(&["--critical=50m"], 2, "CRITICAL");
    let (_, path) = old(100);
    let said = is(&[], 1, "WARNING");
    assert!(
        said.contains("came 1h 40m") && said.contains(";4800;9600;0 waiting=1;;;0 waiting_bytes=1B;;;0 used="),
        "{said}"
    );
    assert!(
        said.contains(" 'oldest syslog web-1'=60") && said.contains(" 'oldest other web-1'=0s;4800;9600;0"),
        "{said}"
    );
    is(&["--warning=4h"], 0, "OK");
    fs::remove_file(path).unwrap();
    let (name, _) = old(200);
    is(&[], 2, "CRITICAL");
    assert_eq!(json(&spool)["oldest"]["file"], format!("archive/{name}"));
    // Its receipt, an empty one of the old tool too, says that it is stored.
    spool.write(&format!("archive/.uploaded/{name}"), "");
    is(&[], 0, "OK");
}

#[test]
fn where_nothing_was_ever_uploaded_a_line_is_archived_once_it_is_packed() {
    let spool = Spool::new();
    spool.write(&format!("archive/app-{}-web-1.log.gz", minutes_ago(3000)), "x");
    spool.write(&format!("app-{}-web-1.log", minutes_ago(130)), "left behind\n");
    spool.write(&format!("app-{}-web-1.log", minutes_ago(10)), "open\n");
    let seen = json(&spool);
    let stream = &seen["streams"][0];
    assert_eq!(
        (&seen["archived"], &stream["waiting"]["files"], &stream["ended"]["files"]),
        (&"packed".into(), &0.into(), &1.into())
    );
    assert_eq!((&stream["ended"]["bytes"], stream["open"].as_array().unwrap().len()), (&12.into(), 1));
    assert_eq!(stream["oldest"]["age_seconds"].as_u64().unwrap() / 60, 130);
    run(status(&spool, &[])).code_is(1).says("nothing was uploaded from here");
}

#[test]
fn what_fails_is_told_with_the_next_try_also_when_nothing_runs_and_forgotten_once_it_works() {
    let spool = Spool::new();
    let name = format!("app-{}-web-1.log.gz", minutes_ago(10));
    spool.write(&format!("archive/{name}"), "x");
    // DEST lies below what is no directory.
    fs::write(spool.beside("dest"), "in the way").unwrap();
    let archive = spool.archive("").display().to_string();
    let start = || Running::start(logjam(["upload", archive.trim_end_matches('/'), &dest(&spool)]));
    let running = start();
    let trouble = |seen: &Value| seen["processes"][0]["troubles"][0].clone();
    let seen = until_status(&spool, "the trouble is told", |seen| trouble(seen)["stage"] == "upload");
    let error = trouble(&seen)["error"].as_str().unwrap().to_owned();
    assert!(error.contains("Not a directory"), "{error}");
    assert!(trouble(&seen)["since"].is_string() && trouble(&seen)["retry"].is_u64(), "{seen}");
    run(status(&spool, &[])).code_is(0).says(&error).says("tried again within");
    run(status(&spool, &["--nagios"])).code_is(0).says("upload: ").says("Not a directory");
    running.kill();
    let left = json(&spool);
    assert_eq!((&trouble(&left)["error"], &left["processes"][0]["running"]), (&error.into(), &false.into()));
    run(status(&spool, &[])).code_is(0).says("the next start tries again");
    fs::remove_file(spool.beside("dest")).unwrap();
    let running = start();
    let seen = until_status(&spool, "it is stored and forgotten", |seen| {
        seen["oldest"].is_null() && trouble(seen).is_null() && seen["processes"][0]["running"] == true
    });
    assert_eq!(seen["streams"][0]["stored"]["files_24h"], 1);
    running.signal(Signal::SIGTERM);
    running.end().code_is(0);
}

#[test]
fn an_archive_that_another_process_has_for_long_is_told_and_forgotten_once_it_is_stored() {
    let spool = Spool::new();
    let name = format!("app-{}-web-1.log.gz", minutes_ago(10));
    spool.write(&format!("archive/{name}"), "x");
    let file = fs::File::open(spool.archive(&name)).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e).unwrap();
    let archive = spool.archive("").display().to_string();
    let running = Running::start(logjam(["upload", archive.trim_end_matches('/'), &dest(&spool)]));
    until_status(&spool, "it is told", |seen| {
        let trouble = &seen["processes"][0]["troubles"][0];
        trouble["stage"] == "upload" && trouble["error"].as_str().unwrap().contains("another process is storing it")
    });
    drop(lock);
    until_status(&spool, "it is stored and forgotten", |seen| {
        seen["oldest"].is_null() && seen["processes"][0]["troubles"][0].is_null()
    });
    running.signal(Signal::SIGTERM);
    running.end().code_is(0);
}

#[test]
fn a_process_that_takes_no_line_is_critical_as_long_as_it_runs() {
    let spool = Spool::new();
    // A reserve that no disk has.
    let (running, mut input) = pipe(&spool, &["--reserve=1000TiB"]);
    input.write_all(b"waits\n").unwrap();
    until_status(&spool, "it is told", |seen| seen["processes"][0]["troubles"][0]["stage"] == "space");
    run(status(&spool, &["--nagios"])).code_is(2).says("LOGJAM CRITICAL - no line is taken in: ").says("--reserve");
    run(status(&spool, &[])).code_is(1).says("free some space");
    running.kill_group();
    until_status(&spool, "it is gone", |seen| seen["state"] == "ok");
}

#[test]
fn a_start_that_is_held_is_shown_with_its_reason_until_it_succeeds() {
    let spool = Spool::new();
    let in_the_way = spool.write("archive", "no directory");
    let (running, mut input) = pipe(&spool, &["--on-error=hold"]);
    input.write_all(b"waits\n").unwrap();
    let seen = until_status(&spool, "it is told", |seen| seen["processes"][0]["troubles"][0]["stage"] == "start");
    assert_eq!((&seen["state"], &seen["processes"][0]["running"]), (&"critical".into(), &true.into()));
    run(status(&spool, &["--nagios"])).code_is(2).says("no line is taken in: mkdir").says("Not a directory");
    fs::remove_file(in_the_way).unwrap();
    let seen = until_status(&spool, "the line is taken", |seen| seen["streams"][0]["open"][0]["bytes"] == 6);
    assert_eq!((&seen["state"], seen["processes"].as_array().unwrap().len()), (&"ok".into(), 1));
    drop(input);
    running.end().code_is(0);
}

#[test]
fn nothing_is_changed_by_a_look() {
    let spool = Spool::new();
    let (running, mut input) = pipe(&spool, &[]);
    input.write_all(b"a\n").unwrap();
    until_status(&spool, "a line is there", |seen| seen["streams"][0]["open"][0]["bytes"] == 2);
    running.signal(Signal::SIGUSR1);
    until_status(&spool, "an hour is stored", |seen| seen["streams"][0]["stored"]["files_24h"] == 1);
    input.write_all(b"b\n").unwrap();
    until_status(&spool, "another is open", |seen| seen["streams"][0]["open"][0]["bytes"] == 2);
    running.kill_group();
    let all = || -> Vec<_> {
        let of = |path: &Path| {
            fs::symlink_metadata(path).map(|m| (m.ino(), m.len(), m.mtime_nsec(), m.ctime_nsec())).unwrap()
        };
        files_below(&spool.dir()).into_iter().map(|name| (of(&spool.path(&name)), name)).collect()
    };
    let before = all();
    assert!(before.len() > 5, "{before:?}");
    for options in [&[][..], &["--json"], &["--nagios"]] {
        run(status(&spool, options)).code_is(0);
    }
    assert_eq!(all(), before);
}

#[test]
fn who_may_not_read_all_of_it_is_told_what() {
    let spool = Spool::new();
    let open = spool.write(&format!("app-{}-web-1.log", minutes_ago(10)), "open\n");
    spool.write("archive/.uploaded/x", "");
    spool.write(".logjam/seal/x", "");
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let copy = spool.beside("logjam");
    cli::install(cli::LOGJAM, &copy);
    for path in [spool.beside(""), spool.dir(), spool.path("archive")] {
        mode(&path, 0o755);
    }
    let stranger = |options: &[&str]| {
        let mut command = clean(&copy);
        command.args(["status", &spool.arg()]).args(options).uid(65534).gid(65534);
        command
    };
    run(stranger(&[])).code_is(0).says("app web-1");
    mode(&spool.path("archive"), 0o700);
    mode(&spool.path(".logjam"), 0o700);
    let shown = run(stranger(&[])).code_is(1).says("app web-1").says("not read: list ").says("Permission denied");
    // A guess would be no help.
    let shown = shown.says("; what was stored can't be read").says(" unknown  ");
    assert!(!shown.said.contains("nothing was uploaded"), "{}", shown.said);
    run(stranger(&["--nagios"])).code_is(3).says("LOGJAM UNKNOWN - not all could be read: list ");
    let output = stranger(&["--json"]).output().unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&seen["state"], &seen["archived"]), (&"unknown".into(), &"unknown".into()));
    let unread: Vec<_> = seen["unread"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(
        unread.iter().any(|text| text.contains("/archive:")) && unread.iter().any(|text| text.contains("/.logjam")),
        "{unread:?}"
    );
    // Nor is it said that nothing waits where no file of a stream is seen.
    fs::remove_file(open).unwrap();
    let shown = run(stranger(&[])).code_is(1).said;
    assert!(!shown.contains("No log file lies here") && shown.contains("not read: list "), "{shown}");
    let line = run(stranger(&["--nagios"])).code_is(3).said;
    assert!(!line.contains("every line is archived"), "{line}");
    mode(&spool.dir(), 0o700);
    run(stranger(&[])).code_is(1).says("Permission denied");
    run(stranger(&["--nagios"])).code_is(3).says("LOGJAM UNKNOWN - ");
}

#[test]
fn a_dir_that_is_none_and_usage_that_is_wrong_are_refused_with_the_mend() {
    let spool = Spool::new();
    run(status(&spool, &[])).code_is(0).says("No log file lies here");
    run(status(&spool, &["--nagios"])).code_is(0).says("LOGJAM OK - every line is archived | oldest=0s;;;0 waiting=0");
    assert_eq!(json(&spool)["streams"], Value::Array(Vec::new()));
    let missing = spool.beside("missing").display().to_string();
    run(logjam(["status", &missing])).code_is(2).says("does not exist; mkdir -p");
    run(logjam(["status", &missing, "--nagios"])).code_is(3).says("LOGJAM UNKNOWN - DIR").says("does not exist");
    let file = spool.write("file", "").display().to_string();
    run(logjam(["status", &file])).code_is(2).says("is not a directory");
    run(status(&spool, &["--warning=2h", "--critical=1h"])).code_is(2).says("--critical: is shorter than --warning");
    run(status(&spool, &["--watch", "--nagios"])).code_is(3).says("cannot be used with");
    run(status(&spool, &["--warning=soon", "--nagios"])).code_is(3).says("--warning");
    let mut by_variable = status(&spool, &["--warning=soon"]);
    by_variable.env("LOGJAM_NAGIOS", "1");
    run(by_variable).code_is(3).says("LOGJAM UNKNOWN - ");
    // What a monitoring system shows is standard output.
    let shown = status(&spool, &["--warning=soon", "--nagios"]).output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.starts_with("LOGJAM UNKNOWN - invalid value 'soon' for '--warning"), "{shown}");
    run(status(&spool, &["--watch=1ms"])).code_is(2).says("at least 100ms");
}

#[test]
fn thousands_of_archives_and_names_that_are_not_ours_are_no_trouble() {
    let spool = Spool::new();
    spool.write("archive/.uploaded/x", "");
    for n in 0..4000 {
        spool.write(&format!("archive/app-{}-web-{}.log.gz", minutes_ago(60 * (n / 2)), n % 2), "xx");
    }
    for name in [
        "messages",
        "app-20260101T0000.log",
        ".hidden-20260101T0000Z-x.log",
        "archive/a b|c",
        ".logjam/state/nonsense.json",
    ] {
        spool.write(name, "not ours");
    }
    fs::create_dir(spool.path("app-20260101T0000Z-dir.log")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", spool.path("app-20260101T0000Z-link.log")).unwrap();
    let odd = "e\u{1b}[31m|'\n-20260101T0000Z-x.log";
    spool.write(odd, "odd\n");
    let seen = json(&spool);
    let streams: Vec<_> = seen["streams"].as_array().unwrap().iter().map(|stream| &stream["prefix"]).collect();
    assert_eq!(streams, ["app", "app", "e\u{1b}[31m|'\n"]);
    for n in 0..2 {
        let stream = &seen["streams"][n];
        assert_eq!(stream["waiting"], serde_json::json!({"files": 2000, "bytes": 4000}));
        let oldest = format!("archive/app-{}-web-{n}.log.gz", minutes_ago(60 * 1999));
        assert!(oldest == stream["oldest"]["file"] || minutes_ago(0) != minutes_ago(0), "{stream}");
    }
    let text = run(status(&spool, &[])).code_is(1).says("2000 (");
    assert!(!text.said.contains('\u{1b}'), "{:?}", text.said);
    let plugin = run(status(&spool, &["--nagios"])).code_is(2);
    assert_eq!((plugin.said.lines().count(), plugin.said.matches('|').count()), (1, 1), "{}", plugin.said);
}

#[test]
fn a_full_disk_is_shown_like_any_other() {
    struct Mounted(std::path::PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let spool = Spool::new();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(spool.dir()).status().unwrap();
    assert!(mount.success(), "mounting a tmpfs needs root");
    let _mounted = Mounted(spool.dir());
    // One that works when the disk runs full, and says so: it has kept some room for that.
    let (running, mut input) = pipe(&spool, &["--reserve=0", "--prefix=full"]);
    input.write_all(b"fits\n").unwrap();
    until_status(&spool, "it is at work", |seen| {
        seen["processes"][0]["running"] == true && seen["streams"][0]["prefix"] == "full"
    });
    let mut ballast = fs::File::create(spool.path("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    let line = [vec![b'x'; 8191], b"\n".to_vec()].concat();
    input.write_all(&line).unwrap();
    until_status(&spool, "it is told", |seen| seen["processes"][0]["troubles"][0]["stage"] == "intake");
    run(status(&spool, &["--nagios"])).code_is(2).says("CRITICAL").says("No space left");
    drop(ballast);
    fs::remove_file(spool.path("ballast")).unwrap();
    until_status(&spool, "it is over", |seen| seen["processes"][0]["troubles"][0].is_null());
    drop(input);
    running.end().code_is(0);
    for name in cli::names(&spool.dir()).iter().filter(|name| name.starts_with("full-")) {
        fs::remove_file(spool.path(name)).unwrap();
    }
    spool.write(&format!("app-{}-web-1.log", minutes_ago(10)), "open\n");
    // As much as goes in.
    let mut ballast = fs::File::create(spool.path("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    let seen = json(&spool);
    assert_eq!((&seen["space"]["free_bytes"], &seen["space"]["total_bytes"]), (&0.into(), &MIB.into()));
    run(status(&spool, &[])).code_is(0).says("0 B of 1.0 MiB left");
    // Whoever can't write down what it is works on all the same.
    let (running, mut input) = pipe(&spool, &["--reserve=0"]);
    input.write_all(b"waits\n").unwrap();
    drop(ballast);
    fs::remove_file(spool.path("ballast")).unwrap();
    drop(input);
    running.end().code_is(0);
    until("the line is there", || {
        let names = cli::names(&spool.dir());
        names
            .iter()
            .filter(|name| name.starts_with("syslog-"))
            .any(|name| fs::read(spool.path(name)).unwrap() == b"waits\n")
    });
}

#[test]
fn watch_shows_it_again_and_again_until_nobody_looks() {
    let spool = Spool::new();
    let mut child = status(&spool, &["--watch=100ms", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let streams = |line: String| serde_json::from_str::<Value>(&line).unwrap()["streams"].as_array().unwrap().len();
    assert_eq!(streams(lines.next().unwrap().unwrap()), 0);
    spool.write(&format!("app-{}-web-1.log", minutes_ago(10)), "open\n");
    assert!(lines.by_ref().any(|line| streams(line.unwrap()) == 1));
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
