//! Reading within the limits of a process: open files, threads.

use super::{Far, read};
use crate::cli::{self, LOGJAM, Running};
use crate::growing::LONG;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

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
