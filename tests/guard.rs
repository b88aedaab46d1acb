//! The guard of `logjam pipe`: it holds the pipe, and starts a worker again that was killed.
#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::omprog::*;
use nix::sys::signal::{Signal, kill};
use std::io::Write;
use std::time::{Duration, Instant};

fn plain(place: &Place, options: &[&str]) -> Omprog {
    Omprog::spawn(place.command(options))
}

/// Processes that have this one for a parent, the dead ones included.
fn children(omprog: &Omprog) -> Vec<String> {
    let parent = omprog.child.id().to_string();
    let mut found = Vec::new();
    for item in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(item.path().join("stat")) else { continue };
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        if fields.get(1) == Some(&parent.as_str()) {
            found.push(fields[0].to_owned());
        }
    }
    found
}

#[test]
fn a_killed_worker_loses_nothing_of_a_plain_pipe_and_the_writer_does_not_notice() {
    let place = Place::new();
    let mut omprog = plain(&place, &[]);
    let mut sent = Vec::new();
    let mut number = 0;
    for _ in 0..storm_kills(30) {
        let worker = omprog.wait_for_worker();
        for _ in 0..20 {
            let before = sent.len();
            for _ in 0..50 {
                writeln!(sent, "{number} a line that goes into a pipe and comes out of it once").unwrap();
                number += 1;
            }
            assert!(omprog.write(&sent[before..]), "the pipe broke");
        }
        // In the middle of a line as well.
        write!(sent, "{number} half").unwrap();
        assert!(omprog.write(format!("{number} half").as_bytes()));
        number += 1;
        kill(worker, Signal::SIGKILL).unwrap();
        assert!(omprog.write(b" and half\n"));
        sent.extend(b" and half\n");
        until("another worker", || omprog.worker().is_some_and(|other| other != worker));
    }
    assert_eq!(children(&omprog).iter().filter(|state| *state == "Z").count(), 0, "a zombie is left");
    assert_eq!(omprog.end(), Some(0));
    let stored = place.stored_text();
    println!("{} workers killed, {number} lines sent, {} bytes stored", storm_kills(30), stored.len());
    assert!(stored == sent, "not every line once and in order");
    assert!(place.said().contains("was ended by SIGKILL; this one goes on where it stood"));
}

#[test]
fn another_worker_is_there_within_milliseconds() {
    let place = Place::new();
    let mut omprog = place.start(&[]);
    let mut took = Vec::new();
    for n in 0..9 {
        let begun = Instant::now();
        kill(omprog.wait_for_worker(), Signal::SIGKILL).unwrap();
        omprog.say(format!("{n}\n").as_bytes(), OK);
        took.push(begun.elapsed());
    }
    took.sort();
    println!("from the kill to the next reply: {:?} to {:?}, median {:?}", took[0], took[8], took[4]);
    // rsyslog itself would have slept for a second; a debug build on a busy machine is allowed much.
    assert!(took[0] < Duration::from_millis(500));
    assert_eq!(omprog.end(), Some(0));
}

#[test]
fn without_its_guard_a_worker_goes_on_to_the_end() {
    let place = Place::new();
    let mut omprog = place.start(&[]);
    omprog.say(b"one\n", OK);
    let worker = omprog.wait_for_worker();
    kill(omprog.guard(), Signal::SIGKILL).unwrap();
    omprog.child.wait().unwrap();
    omprog.say(b"two\n", OK);
    kill(worker, Signal::SIGUSR1).unwrap();
    until("the hour is stored", || !place.stored_now().is_empty());
    omprog.say(b"three\n", OK);
    omprog.input = None;
    assert_eq!(omprog.reply(), None);
    until("the worker is gone", || kill(worker, None).is_err());
    assert_eq!(place.stored_text(), b"one\ntwo\nthree\n");
}

#[test]
fn signals_reach_the_worker_and_its_exit_status_is_the_guards() {
    let place = Place::new();
    let mut omprog = plain(&place, &[]);
    assert!(omprog.write(b"one\n"));
    until("the line", || place.open_text() == b"one\n");
    kill(omprog.guard(), Signal::SIGUSR1).unwrap();
    until("the object", || place.stored_now().len() == 1);
    assert!(omprog.write(b"two\n"));
    until("the line", || place.open_text() == b"two\n");
    // A worker that is killed after the request to leave: the next one leaves as well.
    let worker = omprog.wait_for_worker();
    kill(omprog.guard(), Signal::SIGTERM).unwrap();
    until("it is asked to leave", || place.said().contains("asked to leave"));
    kill(worker, Signal::SIGKILL).unwrap();
    let input = omprog.input.take();
    assert_eq!(omprog.child.wait().unwrap().code(), Some(0), "{}", place.said());
    drop(input);
    assert_eq!(plain(&place, &["--prefix="]).end(), Some(2));
    assert_eq!(place.stored_text(), b"one\ntwo\n");
}

#[test]
fn a_guard_is_found_by_its_name_and_no_worker_is() {
    let place = Place::new();
    let mut omprog = plain(&place, &[]);
    assert!(omprog.write(b"one\n"));
    until("the line", || place.open_text() == b"one\n");
    let worker = omprog.wait_for_worker();
    kill(worker, Signal::SIGKILL).unwrap();
    until("another worker", || omprog.worker().is_some_and(|other| other != worker));
    let worker = omprog.wait_for_worker();
    // As docs/operations.md has it, but to this one only.
    let line = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    assert_eq!(line.matches("pkill -USR1 -x logjam-guard").count(), line.matches("pkill").count());
    let found = std::process::Command::new("pgrep").args(["-x", "logjam-guard"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let is_found = |pid: nix::unistd::Pid| found.lines().any(|line| line == pid.to_string());
    assert!(is_found(omprog.guard()) && !is_found(worker), "{found}");
    kill(omprog.guard(), Signal::SIGUSR1).unwrap();
    until("the object", || place.stored_now().len() == 1);
    assert_eq!(omprog.end(), Some(0));
}

#[test]
fn a_worker_that_dies_before_it_could_end_the_file_leaves_that_to_the_next_one() {
    let place = Place::new();
    let mut omprog = plain(&place, &[]);
    let worker = omprog.wait_for_worker();
    assert!(omprog.write(b"line\n"));
    until("the line is kept", || place.open_text() == b"line\n");
    kill(worker, Signal::SIGSTOP).unwrap();
    kill(omprog.guard(), Signal::SIGUSR1).unwrap();
    // The guard has handed it on.
    until("the worker is told", || {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:\t")).unwrap();
        u64::from_str_radix(pending, 16).unwrap() & (1 << (Signal::SIGUSR1 as u64 - 1)) != 0
    });
    kill(worker, Signal::SIGKILL).unwrap();
    until("the object", || place.stored_now().len() == 1);
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"line\n");
}

#[test]
fn a_worker_that_cannot_live_does_not_keep_the_machine_busy() {
    let place = Place::new();
    let mut omprog = plain(&place, &[]);
    let mut last = None;
    let begun = Instant::now();
    for _ in 0..40 {
        until("another worker", || omprog.worker() != last && omprog.worker().is_some());
        last = omprog.worker();
        kill(last.unwrap(), Signal::SIGABRT).unwrap();
    }
    // Ten at once, then one in 10 ms.
    assert!(begun.elapsed() > Duration::from_millis(250), "40 workers in {:?}", begun.elapsed());
    assert!(omprog.write(b"still here\n"));
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"still here\n");
}

#[test]
fn no_guard_is_one_process_and_only_pipe_has_one() {
    let place = Place::new();
    let omprog = plain(&place, &["--no-guard"]);
    until("it works", || std::fs::read_dir(place.dir().join(".logjam")).is_ok());
    assert!(children(&omprog).is_empty());
    assert_eq!(omprog.end(), Some(0));
    let mut command = place.command(&[]);
    let omprog = Omprog::spawn({
        command.env("LOGJAM_NO_GUARD", "yes");
        command
    });
    until("it works", || std::fs::read_dir(place.dir().join("archive")).is_ok());
    assert!(children(&omprog).is_empty());
    assert_eq!(omprog.end(), Some(0));
}
