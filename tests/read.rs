//! `logjam ls`, `cat` and `grep`: the real binary, a directory and a real server over HTTP.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

mod limits;

use crate::cli::{self, Spool, logjam, run, shell};
use crate::growing::{self, Host, LONG, far_from_the_turn, lines};
use crate::server::{Fault, S3Server, Seen};
use logjam::format::key::Dest;
use nix::sys::signal::{SigHandler, Signal};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

const TEMPLATE: &str = "{prefix}/{year}/{month}/{day}/{filename}";

/// A far end with archives.
struct Far {
    spool: Spool,
    server: Option<S3Server>,
}

impl Far {
    fn directory() -> Self {
        Self { spool: Spool::new(), server: None }
    }

    fn bucket() -> Self {
        let server = S3Server::start();
        server.create_bucket("logs");
        Self { spool: Spool::new(), server: Some(server) }
    }

    fn dest(&self) -> String {
        match self.server {
            Some(_) => format!("s3://logs/{TEMPLATE}"),
            None => format!("file://{}/{TEMPLATE}", self.spool.beside("far").display()),
        }
    }

    /// Stores files as `logjam upload` does.
    fn store(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            self.spool.write(&format!("archive/{name}"), packed(name, text.as_bytes()));
        }
        let archive = self.spool.path("archive").display().to_string();
        run(self.command(["upload", &archive, &self.dest(), "--once"])).code_is(0);
    }

    /// `logjam ARGUMENTS`, with the settings for the far end.
    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = logjam(arguments);
        if let Some(server) = &self.server {
            command.envs(server.environment());
        }
        command
    }

    /// `logjam COMMAND DEST OPTIONS`: its standard output, its messages, its exit status.
    fn read(&self, command: &[&str], options: &[&str]) -> (String, String, i32) {
        let dest = self.dest();
        read(self.command(command.iter().copied().chain([dest.as_str()]).chain(options.iter().copied())))
    }

    #[track_caller]
    fn reads(&self, command: &[&str], options: &[&str]) -> String {
        let (out, said, code) = self.read(command, options);
        assert_eq!((code, said.as_str()), (0, ""), "{command:?} {options:?}: {out}");
        out
    }
}

fn read(mut command: Command) -> (String, String, i32) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

fn packed(name: &str, text: &[u8]) -> Vec<u8> {
    let gzip = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    match name {
        _ if name.ends_with(".zst") => zstd::encode_all(text, 3).unwrap(),
        // Two members, as a tool makes them that appends.
        _ if name.ends_with(".gz") => {
            let middle = text.len() / 2;
            [gzip(&text[..middle]), gzip(&text[middle..])].concat()
        }
        _ => text.to_vec(),
    }
}

/// An archive of a few streams: each file holds its own name twice.
const NAMES: [&str; 9] = [
    "app-20261122T0400Z-web-1.log.gz",
    "app-20261122T0500Z-db-1.log.gz",
    "app-20261122T0500Z-web-1.log.gz",
    "app-20261122T0500Z-web-1.1f0c3k9a2bxyz.log.zst",
    "app-20261122T0600Z-web-1.log.gz",
    "app-logjam-compress-duplicate-timestamp-20261122T0500Z-web-1.log.gz",
    "app-2026-11-23T05:00Z-web-1.log.gz",
    "app-20261123T0500Z-web-1.log",
    "nginx-20261122T0500Z-web-1.log.gz",
];

fn filled(far: Far) -> Far {
    let texts: Vec<_> = NAMES.iter().map(|name| (*name, format!("{name} one\n{name} two\n"))).collect();
    far.store(&texts.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
    far
}

/// The names whose lines these are, each line once, in their order.
#[track_caller]
fn names(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().collect();
    let pairs = lines.chunks(2).map(|pair| {
        let name = pair[0].strip_suffix(" one").unwrap_or_else(|| panic!("{pair:?}"));
        assert_eq!(pair[1], format!("{name} two"));
        name
    });
    pairs.collect()
}

#[test]
fn cat_gives_the_lines_of_some_time_and_streams_in_the_order_of_their_keys() {
    for far in [filled(Far::directory()), filled(Far::bucket())] {
        let cat = |options: &[&str]| far.reads(&["cat"], options);
        let mut all = NAMES.to_vec();
        all.sort_unstable();
        let mut found = cat(&[]);
        assert_eq!(
            {
                let mut names = names(&found);
                names.sort_unstable();
                names
            },
            all
        );
        found = cat(&["--from=2026-11-22T05:00", "--to=2026-11-22T06:00", "--prefix=app"]);
        assert_eq!(names(&found), [NAMES[1], NAMES[2], NAMES[3], NAMES[5]]);
        found = cat(&["--from=2026-11-22T05:30", "--to=2026-11-22T05:45", "--suffix=web-*"]);
        assert_eq!(names(&found), [NAMES[2], NAMES[3], NAMES[5], NAMES[8]]);
        found = cat(&["--prefix=nginx"]);
        assert_eq!(names(&found), [NAMES[8]]);
        found = cat(&["--from=2026-11-23", "--suffix=web-1"]);
        assert_eq!(names(&found), [NAMES[6], NAMES[7]]);
        found = cat(&["--suffix=db-*", "--jobs=1"]);
        assert_eq!(names(&found), [NAMES[1]]);
        assert_eq!(cat(&["--prefix=none"]), "");
        assert_eq!(cat(&["--from", "-2h"]), "");
    }
}

#[test]
fn of_shorter_periods_only_those_are_read_that_reach_into_the_time() {
    let far = Far::directory();
    let name = |minute: u32| format!("app-20261122T05{minute:02}Z-h.log.gz");
    let texts: Vec<_> = (0..60).map(|minute| (name(minute), format!("{minute}\n"))).collect();
    far.store(&texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>());
    let cat = |from: &str, to: &str| {
        far.reads(&["cat"], &[&format!("--from=2026-11-22T{from}"), &format!("--to=2026-11-22T{to}")])
    };
    assert_eq!(cat("05:10", "05:12"), "10\n11\n");
    assert_eq!(cat("05:10:30", "05:11:01"), "10\n11\n");
    assert_eq!(cat("05:59:30", "07:00"), "59\n");
}

#[test]
fn the_first_line_of_an_hour_comes_after_three_requests() {
    let server = S3Server::start();
    server.create_bucket("logs");
    for (day, hour, host) in (20..25).flat_map(|d| (0..24).flat_map(move |h| (0..20).map(move |host| (d, h, host)))) {
        let name = format!("app-202611{day}T{hour:02}00Z-web-{host:02}.log.gz");
        let dir = format!("app/2026/11/{day}");
        server.put_object(
            "logs",
            &format!("{dir}/{name}"),
            &packed(&name, format!("{day} {hour} {host}\n").as_bytes()),
        );
        server.put_object("logs", &format!("{dir}/_{name}.json"), b"{}");
    }
    let far = Far { spool: Spool::new(), server: Some(server) };
    let server = far.server.as_ref().unwrap();
    server.clear_requests();
    let found = far.reads(&["cat"], &["--prefix=app", "--from=2026-11-22T05:00", "--to=2026-11-22T06:00"]);
    let expected: String = (0..20).map(|host| format!("22 5 {host}\n")).collect();
    assert_eq!(found, expected);
    let requests = server.requests();
    let first = requests.iter().position(|seen| seen.key.ends_with(".log.gz")).unwrap();
    assert!(first < 3, "{requests:?}");
    let gets = requests.iter().filter(|seen| !seen.key.is_empty()).count();
    assert_eq!(gets, 20);
    assert!(requests.len() - gets <= 3, "{} listings", requests.len() - gets);

    // The same when no stream is named.
    server.clear_requests();
    let found = far.reads(&["cat"], &["--from=2026-11-22T05:00", "--to=2026-11-22T06:00"]);
    assert_eq!(found, expected);
    let requests = server.requests();
    let first = requests.iter().position(|seen| seen.key.ends_with(".log.gz")).unwrap();
    assert!(first < 4, "{:?}", &requests[..first]);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let far = Far::directory();
    let text: String = (0..200_000).map(|i| format!("line {i}\n")).collect();
    far.store(&[("app-20261122T0400Z-h.log.gz", &text), ("app-20261122T0500Z-h.log.gz", &text)]);
    for (line, arguments) in [
        ("\"$@\" | head -n 1; echo ${PIPESTATUS[0]}", vec!["cat", &far.dest()]),
        ("\"$@\" | head -n 1; echo ${PIPESTATUS[0]}", vec!["grep", "line", &far.dest()]),
        ("\"$@\" | head -n 1; echo ${PIPESTATUS[0]}", vec!["cat", &far.dest(), "--merge"]),
    ] {
        let mut command = cli::clean("bash");
        let bash = shell("", &arguments);
        command.args(["-c", line, "bash"]).args(bash.get_args().skip(3));
        let (out, said, code) = read(command);
        assert_eq!((out.as_str(), said.as_str(), code), ("line 0\n0\n", "", 0), "{arguments:?}");
    }
}

#[test]
fn what_breaks_off_is_taken_up_where_it_broke() {
    let far = Far::bucket();
    let text = lines(3 << 20, 7);
    let text = String::from_utf8(text).unwrap();
    far.store(&[("app-20261122T0400Z-h.log.gz", &text)]);
    let server = far.server.as_ref().unwrap();
    let broken = std::sync::Arc::new(AtomicUsize::new(0));
    let count = broken.clone();
    server.set_fault(move |seen: &Seen| match seen.method.as_str() {
        "GET" if seen.key.ends_with(".gz") && count.fetch_add(1, Ordering::SeqCst) < 3 => Fault::CutBody(100_000),
        _ => Fault::None,
    });
    let (out, said, code) = far.read(&["cat"], &[]);
    assert_eq!((out.len(), code, said.as_str()), (text.len(), 0, ""), "{:?}", server.requests());
    assert!(out == text, "not what was stored");
    assert_eq!(broken.load(Ordering::SeqCst), 4);
    let asked: Vec<_> = server.requests().iter().filter_map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(asked, ["bytes=100000-", "bytes=200000-", "bytes=300000-"]);
}

#[test]
fn what_can_not_be_read_is_named_and_the_rest_is_read() {
    let far = filled(Far::directory());
    let key = "app/2026/11/22/app-20261122T0500Z-db-1.log.gz";
    let path = far.spool.beside("far").join(key);
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
    let (out, said, code) = far.read(&["cat"], &["--prefix=app", "--to=2026-11-22T06:00"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(key) && said.contains("can't be read") && said.lines().count() == 1, "{said}");
    // Also of the damaged one, what can be unpacked.
    for name in [NAMES[0], NAMES[1], NAMES[2], NAMES[3], NAMES[5]] {
        assert!(out.contains(&format!("{name} two\n")), "{name}: {out}");
    }
    let (_, _, code) = far.read(&["grep", "two"], &["--prefix=app"]);
    assert_eq!(code, 2);
}

#[test]
fn a_checkpoint_that_is_damaged_costs_no_line_of_what_is_stored() {
    for far in [filled(Far::directory()), filled(Far::bucket())] {
        let (cat, merged, ls) = (far.reads(&["cat"], &[]), far.reads(&["cat"], &["--merge"]), far.reads(&["ls"], &[]));
        let key = &Dest::parse(&far.dest()).unwrap().checkpoint_key("nginx", "web-1", 0);
        match &far.server {
            Some(server) => server.put_object("logs", key, b"garbage"),
            None => {
                let path = far.spool.beside("far").join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, b"garbage").unwrap();
            }
        }
        for (command, whole) in [(["cat", "--merge"], &merged), (["cat", "--jobs=4"], &cat), (["ls", "--"], &ls)] {
            let (out, said, code) = far.read(&command[..1], &command[1..]);
            assert!(said.contains(key) && said.lines().count() == 1, "{said}");
            assert_eq!((&out, code), (whole, 1), "{command:?}");
        }
        let (out, _, code) = far.read(&["grep", "two", "-c"], &[]);
        assert_eq!((out.lines().count(), code), (NAMES.len(), 2), "{out}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_no_empty_archive() {
    let far = Far::directory();
    let verify = [(&["verify"][..], 1), (&["verify", "--from=-1d"], 1), (&["verify", "--max-age=1h"], 1)];
    for (command, status) in [(&["cat"][..], 1), (&["ls"], 1), (&["grep", "x"], 2)].into_iter().chain(verify) {
        let (out, said, code) = far.read(command, &[]);
        assert_eq!((out.as_str(), code), ("", status), "{said}");
        assert!(said.contains("there is no such directory"), "{said}");
    }
    let page = far.spool.beside("page").display().to_string();
    assert_eq!(far.read(&["report"], &[&format!("--html={page}")]).2, 1);
    // Where DIR has lines that are not archived yet, that is so.
    far.spool.write("syslog-20261122T0500Z-web-1.log", "a line\n");
    assert_eq!(far.read(&["cat"], &[&far.spool.arg()]).0, "a line\n");
}

#[test]
fn lines_of_several_streams_are_merged_by_the_time_that_they_tell() {
    let far = Far::directory();
    far.store(&[
        ("app-20261122T0500Z-a.log.gz", "2026-11-22T05:00:01Z a1\n  more of a1\n2026-11-22T05:10:00Z a2\n"),
        ("app-20261122T0500Z-b.log.zst", "Nov 22 05:00:00 b b1\nNov 22 05:09:59 b b2"),
        ("web-20261122T0500Z-c.log", "::1 - - [22/Nov/2026:06:05:00 +0100] \"GET /c1\"\n1795324230 c2\n"),
        ("app-20261122T0400Z-a.log.gz", "2026-11-22T04:59:59Z a0\n"),
    ]);
    let found = far.reads(&["cat"], &["--merge", "--from=2026-11-22T04:00", "--to=2026-11-22T07:00"]);
    let words: Vec<_> = found.lines().collect();
    let expected = ["a0", "b1", "a1", "more of a1", "c1", "b2", "a2", "c2"];
    assert_eq!(words.len(), expected.len(), "{found}");
    for (line, word) in words.iter().zip(expected) {
        assert!(line.contains(word), "{word}: {found}");
    }
}

#[test]
fn grep_finds_what_grep_finds() {
    let far = Far::bucket();
    let text = String::from_utf8(lines(1 << 20, 3)).unwrap() + "the [last] line of all";
    far.store(&[("app-20261122T0400Z-h.log.gz", &text), ("app-20261122T0500Z-h.log.gz", "Other\nline 7\n")]);
    let plain = far.spool.beside("plain");
    std::fs::write(&plain, format!("{text}\nOther\nline 7\n")).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "7"),
        (&[], "line"),
        (&[], "^[0-9a-f]+ "),
        (&["-i"], "OTHER"),
        (&["-v"], "[0-4]"),
        (&["-F"], "[last]"),
        (&["-i", "-v"], "LINE"),
        (&[], "7$"),
        (&[], "nothing like it"),
    ];
    for (options, pattern) in cases {
        let real = Command::new("grep")
            .env("LC_ALL", "C")
            .args(["-a", "-E"])
            .args(options.iter().filter(|o| **o != "-F"))
            .args(if options.contains(&"-F") { ["-F", pattern] } else { ["-e", pattern] })
            .arg(&plain)
            .output();
        let real = real.unwrap();
        // grep takes only one kind of pattern.
        let real = if options.contains(&"-F") {
            Command::new("grep").args(["-a", "-F", pattern]).arg(&plain).output().unwrap()
        } else {
            real
        };
        let (out, said, code) = far.read(&["grep", pattern], options);
        assert_eq!((code, said.as_str()), (real.status.code().unwrap(), ""), "{options:?} {pattern}");
        assert!(out.as_bytes() == real.stdout, "{options:?} {pattern}: {} and {} bytes", out.len(), real.stdout.len());
    }
    let key = |hour: u32| format!("s3://logs/app/2026/11/22/app-20261122T0{hour}00Z-h.log.gz");
    assert_eq!(far.reads(&["grep", "-H", "Other"], &[]), format!("{}:Other\n", key(5)));
    let newlines = text.lines().count();
    assert_eq!(far.reads(&["grep", "-c", ""], &[]), format!("{}:{newlines}\n{}:2\n", key(4), key(5)));
    assert_eq!(far.reads(&["grep", "-c", "--no-filename", "^Other$"], &[]), "0\n1\n");
    let (_, said, code) = far.read(&["grep", "a(b"], &[]);
    assert!(code == 2 && said.contains("PATTERN `a(b`"), "{said}");
}

#[test]
fn ls_tells_what_there_is_and_where() {
    let far = filled(Far::bucket());
    let out = far.reads(&["ls"], &["--prefix=nginx"]);
    assert!(out.starts_with("2026-11-22T05:00Z "), "{out}");
    assert!(out.ends_with("  s3://logs/nginx/2026/11/22/nginx-20261122T0500Z-web-1.log.gz\n"), "{out}");
    let out = far.reads(&["ls"], &["--json", "--suffix=db-1"]);
    let line: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&line["prefix"], &line["suffix"], &line["state"]), (&"app".into(), &"db-1".into(), &"stored".into()));
    assert!(line["bytes"].as_u64().is_some_and(|bytes| bytes > 40), "{out}");
    let (_, said, code) = far.read(&["ls"], &["--from=now", "--to=-1h"]);
    assert!(code == 2 && said.contains("--from and --to"), "{said}");
    let (_, said, code) = far.read(&["ls"], &["--from=yesterday"]);
    assert!(code == 2 && said.contains("2026-11-22T15:00"), "{said}");
    let (_, said, code) = read(far.command(["ls", "s3://none/{prefix}/{year}/{month}/{day}/{filename}"]));
    assert!(code == 1 && said.contains("bucket"), "{said}");
}

/// What a read gives of numbered lines: how often each came.
fn numbers(text: &str) -> BTreeMap<usize, usize> {
    let mut seen = BTreeMap::new();
    for line in text.lines() {
        *seen.entry(line.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"))).or_default() += 1;
    }
    seen
}

#[test]
fn with_dir_what_came_a_moment_ago_is_there_and_each_line_once_while_hours_end() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let running = host.start(&["--every=1h", "--checkpoint=1s"]);
    let (dir, dest) = (host.spool.arg(), growing::DEST);
    let mut fed = 0;
    for round in 0..12 {
        for _ in 0..200 {
            host.feed(format!("{fed} line\n").as_bytes());
            fed += 1;
        }
        running.until("the lines are in the hour file", || {
            let mut command = logjam(["cat", dest, &dir]);
            let (out, said, code) =
                read(std::mem::replace(command.envs(host.server.environment()), Command::new("true")));
            assert_eq!((code, said.as_str()), (0, ""), "{out}");
            let seen = numbers(&out);
            assert!(seen.values().all(|times| *times == 1), "round {round}: {seen:?}");
            assert!(seen.keys().copied().eq(0..seen.len()), "round {round}: {seen:?}");
            seen.len() == fed
        });
        if round % 3 == 2 {
            running.signal(Signal::SIGUSR1);
        }
    }
    host.end_input();
    running.end_within(LONG).code_is(0);
}

#[test]
fn without_dir_the_checkpoint_tells_of_the_hour_that_is_not_over() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let running = host.start(&["--checkpoint=1s"]);
    host.feed(b"0 line\n1 line\n");
    let cat = |options: &[&str]| {
        let mut command = logjam(["cat", growing::DEST].iter().chain(options));
        command.envs(host.server.environment());
        read(command)
    };
    running.until("a checkpoint has the lines", || cat(&[]).0 == "0 line\n1 line\n");
    let ls = |options: &[&str]| {
        let mut command = logjam(["ls", growing::DEST].iter().chain(options));
        command.envs(host.server.environment());
        read(command).0
    };
    let line: serde_json::Value = serde_json::from_str(&ls(&["--json"])).unwrap();
    assert_eq!(line["state"], "checkpoint");
    assert!(
        line["url"].as_str().is_some_and(|url| url.starts_with("s3://logs/") && url.ends_with(".log.gz")),
        "{line}"
    );
    assert!(ls(&[]).contains(".log.gz (so far, in .logjam/checkpoint/syslog/host."), "{}", ls(&[]));
    assert_eq!(cat(&["--prefix=other"]).0, "");
    assert_eq!(cat(&["--to=-30d"]).0, "");

    // A larger hour is sent in parts, which nobody can read: its end is in the checkpoint.
    let more = lines(14 << 20, 5);
    host.feed(&more);
    host.until_parts(&running, 1);
    running.until("a checkpoint has the last lines", || {
        let (out, said, code) = cat(&[]);
        let whole: Vec<u8> = [b"0 line\n1 line\n".as_slice(), &more].concat();
        assert!(code == 0 && whole.ends_with(out.as_bytes()) || out == "0 line\n1 line\n", "{code} {said}");
        out.len() > 100 && said.contains("can't be read before its hour has ended")
    });
    host.end_input();
    running.end_within(LONG).code_is(0);
}

#[test]
fn several_objects_are_fetched_at_a_time_and_come_out_in_order() {
    let far = Far::bucket();
    let text = |hour: usize| String::from_utf8(lines(2 << 20, hour as u64)).unwrap();
    let all: Vec<_> = (0..6).map(|hour| (format!("app-20261122T0{hour}00Z-h.log.gz"), text(hour))).collect();
    far.store(&all.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>());
    let server = far.server.as_ref().unwrap();
    server.clear_requests();
    let mut child = far.command(["cat", &far.dest()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // Nobody takes more than the first byte: no object can be at its end, and others are fetched all the same.
    let mut first = [0];
    out.read_exact(&mut first).unwrap();
    let fetched = |seen: &[Seen]| seen.iter().filter(|seen| seen.key.ends_with(".log.gz")).count();
    assert!(server.wait_until(LONG, |seen| fetched(seen) == 4), "{:?}", server.requests());
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    let expected: String = all.iter().map(|(_, text)| text.as_str()).collect();
    assert!([&first[..], &rest].concat() == expected.as_bytes(), "in order");
    assert_eq!(fetched(&server.requests()), 6);
}

#[test]
fn a_progress_bar_moves_on_a_terminal_while_it_lasts_and_goes_to_no_file() {
    let far = Far::bucket();
    let text = String::from_utf8(lines(3 << 20, 7)).unwrap();
    far.store(&[("app-20261122T0400Z-h.log.gz", &text)]);
    let server = far.server.as_ref().unwrap();
    let asked = AtomicUsize::new(0);
    // The second half does not come.
    server.set_fault(move |seen: &Seen| match seen.key.ends_with(".gz") {
        true if asked.fetch_add(1, Ordering::SeqCst) == 0 => Fault::CutBody(1 << 20),
        true => Fault::Stall,
        false => Fault::None,
    });
    let (out, screen) = (far.spool.beside("out"), far.spool.beside("screen"));
    // `script` gives it a terminal.
    let line = format!("'{}' cat '{}' >'{}'", env!("CARGO_BIN_EXE_logjam"), far.dest(), out.display());
    let mut command = cli::clean("script");
    command.args(["-qefc", &line]).arg(&screen).envs(server.environment()).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let shown = || String::from_utf8_lossy(&std::fs::read(&screen).unwrap_or_default()).into_owned();
    // A MiB came, of what the listing says there is.
    let len = server.object("logs", "app/2026/11/22/app-20261122T0400Z-h.log.gz").unwrap().len;
    let total = format!("of {:.2} MiB", len as f64 / f64::from(1 << 20));
    cli::until("the bar says how far it is", || shown().contains("1.00 MiB") && shown().contains(&total));
    server.clear_fault();
    server.stop();
    child.kill().unwrap();
    child.wait().unwrap();
    let written = std::fs::read(&out).unwrap();
    assert!(text.as_bytes().starts_with(&written) && !written.is_empty(), "lines only");
}

#[test]
fn a_full_disk_is_said_by_every_command_that_writes() {
    let far = filled(Far::directory());
    let dest = far.dest();
    let ddl = format!("--dest={dest}");
    std::fs::remove_file(far.spool.beside("far").join("app/2026/11/22/app-20261122T0500Z-db-1.log.gz")).unwrap();
    let key = far.spool.beside("key").display().to_string();
    for (arguments, expected) in [
        (vec!["cat", &dest, "--prefix=nginx"], 1),
        (vec!["ls", &dest], 1),
        (vec!["grep", "one", &dest, "--prefix=nginx"], 2),
        (vec!["verify", &dest], 1),
        (vec!["verify", &dest, "--json"], 1),
        (vec!["report", &dest, "--html=-"], 1),
        (vec!["ddl", "duckdb", &ddl], 1),
        (vec!["keygen", &key], 1),
    ] {
        let mut command = far.command(arguments.iter().copied());
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {said}");
        assert!(said.contains("write standard output: No space left"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_signal_ends_it() {
    let far = filled(Far::bucket());
    let server = far.server.as_ref().unwrap();
    server.set_fault(|seen: &Seen| if seen.key.ends_with(".gz") { Fault::Stall } else { Fault::None });
    let mut command = far.command(["cat", &far.dest()]);
    // Whoever starts the tests in the background has it ignored, and so would whoever they start.
    let heed = || {
        // SAFETY: SIG_DFL is no handler.
        unsafe { nix::sys::signal::signal(Signal::SIGINT, SigHandler::SigDfl) }.map(|_| ()).map_err(Into::into)
    };
    // SAFETY: signal(2) may be called between fork and exec.
    let mut child = unsafe { command.pre_exec(heed) }.stdout(Stdio::piped()).spawn().unwrap();
    assert!(server.wait_until(LONG, |seen| seen.iter().any(|seen| seen.key.ends_with(".gz"))));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out.as_str().lines().next(), None);
    assert!(!child.wait().unwrap().success());
}
