//! Reading within the limits of a process: open files, threads, memory.

use super::{Far, TEMPLATE, read};
use crate::cli::{self, LOGJAM, Running, logjam};
use crate::growing::{LONG, far_from_the_turn};
use crate::server::{Fault, S3Server, Seen};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use logjam::env::store::Part;
use logjam::format::checkpoint::{Checkpoint, Ready, Unfinished, VERSION};
use logjam::format::key::{Dest, manifest_key};
use logjam::format::manifest::{Manifest, sha256};
use logjam::format::name::LogName;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A user of its own, whose processes nobody else's count among.
const USER: u32 = 54_321;
/// More bytes than lie ready of an object that nobody takes.
const LARGE: usize = 3 << 20;

/// Lines of 1 KiB that tell times within a minute, in their order.
fn minute(minute: usize, bytes: usize) -> String {
    let lines = bytes >> 10;
    let line = |n: usize| {
        let millis = 60_000 * n / lines;
        let time = format!("2026-11-22T05:{minute:02}:{:02}.{:03}Z", millis / 1000, millis % 1000);
        format!("{time} {:x<998}\n", format!("{n} "))
    };
    (0..lines).map(line).collect()
}

/// Where the objects of a day are, in a directory.
fn day(far: &Far) -> PathBuf {
    let day = far.spool.beside("far").join("app/2026/11/22");
    std::fs::create_dir_all(&day).unwrap();
    day
}

/// Objects of one hour and content, of so many streams.
fn streams(far: &Far, streams: usize, content: &str) {
    let name = |stream: usize| day(far).join(format!("app-20261122T0500Z-s{stream:02}.log"));
    std::fs::write(name(0), content).unwrap();
    (1..streams).for_each(|stream| std::fs::hard_link(name(0), name(stream)).unwrap());
}

/// The command, as `prlimit` starts it.
fn limited(limit: &str, far: &Far) -> Command {
    let mut command = cli::clean("prlimit");
    command.args([limit, LOGJAM, "cat", "--merge", &far.dest()]);
    command
}

#[test]
fn the_files_of_a_stream_are_open_one_after_the_other_while_its_lines_are_merged() {
    let far = Far::directory();
    for n in 0..24 {
        std::fs::write(day(&far).join(format!("app-20261122T05{n:02}Z-h.log")), minute(n, LARGE)).unwrap();
    }
    let other: String = (0..24).map(|n| format!("2026-11-22T05:{n:02}:30.001Z other\n")).collect();
    std::fs::write(day(&far).join("app-20261122T0500Z-other.log"), other).unwrap();
    let (out, said, code) = read(limited("--nofile=20:20", &far));
    assert_eq!((code, said.as_str()), (0, ""));
    let times: Vec<_> = out.lines().map(|line| &line[..24]).collect();
    assert_eq!((times.len(), out.matches(" other\n").count()), (24 * (LARGE >> 10) + 24, 24));
    assert!(times.is_sorted(), "not in their order");
}

#[test]
fn as_many_files_are_open_as_the_system_grants() {
    let far = Far::directory();
    streams(&far, 24, &minute(0, LARGE));
    let (out, said, code) = read(limited("--nofile=20:4096", &far));
    assert_eq!((out.lines().count(), code, said.as_str()), (24 * (LARGE >> 10), 0, ""));
}

#[test]
fn what_no_thread_can_be_had_for_is_named_and_the_rest_is_read() {
    let far = Far::directory();
    streams(&far, 12, &minute(0, 1 << 20));
    // The program and the objects, for everybody.
    std::fs::set_permissions(far.spool.beside(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = far.spool.beside("logjam");
    cli::install(LOGJAM, &copy);
    let mut command = cli::clean("setpriv");
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups", "prlimit", "--nproc=6"]);
    command.arg(&copy).args(["cat", "--merge", &far.dest()]);
    let ended = Running::start(command).end_within(LONG).code_is(1);
    let failed = ended.said.lines().filter(|line| line.contains("Resource temporarily unavailable")).count();
    let read = ended.said.lines().filter(|line| line.starts_with("2026-")).count();
    assert!((1..12).contains(&failed), "{failed} have none");
    assert_eq!(read, (12 - failed) << 10);
    ended.says(": begin to read file://");
}

// -------------------------------------------------------------------------------------------------------- checkpoints

/// What a checkpoint tells of.
struct Hour {
    /// The key of the checkpoint.
    at: String,
    /// The key of the object.
    key: String,
    data: Vec<u8>,
}

impl Hour {
    /// The hour that is not over, of a host that has sent these lines.
    fn of(dest: &str, suffix: &str, lines: &str) -> Self {
        let dest = Dest::parse(dest).unwrap();
        let start = Utc::now().duration_trunc(TimeDelta::hours(1)).unwrap();
        let name = LogName::hour("app", start, suffix, None).with_ending(".gz");
        let key = dest.key(&name);
        let manifest = format!(
            r#"{{"version":1,"host":"{suffix}","prefix":"app","suffix":"{suffix}","start":"{}","name":"{name}","key":"{key}",
            "ended":"rescue","lines":{},"bytes":{},"blake3":"","number":1,"at":"{0}"}}"#,
            start.format("%FT%TZ"),
            lines.lines().count(),
            lines.len(),
        );
        let tail = gzip(lines);
        let unfinished = Unfinished {
            stored: false,
            content_type: "application/gzip".to_owned(),
            upload: None,
            parts: Vec::new(),
            sent: 0,
            tail: tail.len() as u64,
            tail_sha256: sha256(&tail),
            crc: String::new(),
            manifest_key: manifest_key(&key),
            manifest: Ready::from(Manifest::parse(manifest.as_bytes()).unwrap()),
        };
        let at = dest.checkpoint_key("app", suffix, 7);
        let data = [line(suffix, start, vec![unfinished]), tail].concat();
        Self { at, key, data }
    }
}

/// The first line of a checkpoint.
fn line(suffix: &str, at: DateTime<Utc>, unfinished: Vec<Unfinished<Part>>) -> Vec<u8> {
    let (host, prefix, suffix) = (suffix.to_owned(), "app".to_owned(), suffix.to_owned());
    let checkpoint = Checkpoint { version: VERSION, host, prefix, suffix, at, rescued: None, unfinished };
    let mut line = serde_json::to_vec(&checkpoint).unwrap();
    line.push(b'\n');
    line
}

/// As large as its text.
fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn checkpoints_of_many_hosts_do_not_add_up_in_memory() {
    far_from_the_turn(LONG);
    let far = Far::directory();
    let text = minute(0, LARGE);
    for host in 0..40 {
        let hour = Hour::of(&far.dest(), &format!("h{host:02}"), &text);
        let path = far.spool.beside("far").join(&hour.at);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &hour.data).unwrap();
    }
    let mut listed = String::new();
    let (code, peak) = cli::peak(logjam(["ls", &far.dest()]), |mut out| _ = out.read_to_string(&mut listed).unwrap());
    assert_eq!((code, listed.matches(".logjam/checkpoint/app/h").count()), (Some(0), 40), "{listed}");
    assert!(peak < 40 * 1024, "ls: {peak} KiB");
    let mut first = String::new();
    let (_, peak) =
        cli::peak(logjam(["cat", &far.dest()]), |out| _ = BufReader::new(out).read_line(&mut first).unwrap());
    assert!(first.starts_with("2026-11-22T05:00:00.000Z 0 "), "{first}");
    assert!(peak < 72 * 1024, "cat: {peak} KiB");
    let (code, peak) = cli::peak(logjam(["cat", &far.dest()]), |out| {
        assert_eq!(BufReader::new(out).lines().count(), 40 * (LARGE >> 10));
    });
    assert!(code == Some(0) && peak < 72 * 1024, "cat, all of it: {code:?}, {peak} KiB");
}

/// What becomes of an hour between the look at its checkpoint and the reading of that.
enum Meanwhile {
    /// It is stored, and its checkpoint removed.
    Gone,
    /// It is stored, and its checkpoint tells of nothing any more.
    Another,
    /// Its checkpoint is removed.
    Lost,
}

#[test]
fn an_hour_that_is_stored_after_its_checkpoint_was_found_is_read_where_it_is() {
    far_from_the_turn(LONG);
    for meanwhile in [Meanwhile::Gone, Meanwhile::Another, Meanwhile::Lost] {
        let server = Arc::new(S3Server::start());
        server.create_bucket("logs");
        let dest = format!("s3://logs/{TEMPLATE}");
        let hour = Hour::of(&dest, "h", "one\ntwo\n");
        server.put_object("logs", &hour.at, &hour.data);
        let run = |command: &str| {
            let mut command = logjam([command, &dest]);
            command.envs(server.environment());
            read(command)
        };
        assert_eq!(run("cat"), ("one\ntwo\n".to_owned(), String::new(), 0));
        let (asked, there, lost) = (AtomicUsize::new(0), Arc::downgrade(&server), hour.key.clone());
        let is_lost = matches!(meanwhile, Meanwhile::Lost);
        server.set_fault(move |seen: &Seen| {
            if seen.key == hour.at && asked.fetch_add(1, Ordering::SeqCst) == 1 {
                let there = there.upgrade().unwrap();
                if !matches!(meanwhile, Meanwhile::Lost) {
                    there.put_object("logs", &hour.key, &gzip("one\ntwo\nthree\n"));
                }
                match meanwhile {
                    Meanwhile::Another => there.put_object("logs", &hour.at, &line("h", Utc::now(), Vec::new())),
                    _ => there.remove_object("logs", &hour.at),
                }
            }
            Fault::None
        });
        let (out, said, code) = run("cat");
        if is_lost {
            assert_eq!((out.as_str(), code), ("", 1));
            assert!(said.contains(&lost) && said.contains("gone"), "{said}");
        } else {
            assert_eq!((out.as_str(), said.as_str(), code), ("one\ntwo\nthree\n", "", 0));
        }
        server.clear_fault();
    }
}
