//! `logjam pipe --confirm-messages`: what is confirmed is kept, once, whoever is killed.
#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::omprog::*;
use nix::sys::signal::{Signal, kill};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_message_is_in_its_file_when_it_is_confirmed() {
    let place = Place::new();
    let mut omprog = place.start(&[]);
    let long = [vec![b'x'; 3 << 20], b"\n".to_vec()].concat();
    let mut all = Vec::new();
    for message in [&b"one\n"[..], b"\n", b"caf\xe9 \xff\n", b"two\nlines in one\n", &long, b"OK\n", b"\n"] {
        omprog.say(message, OK);
        all.extend_from_slice(message);
        assert!(place.open_text() == all, "not there: {} bytes", message.len());
    }
    assert_eq!(omprog.end(), Some(0));
    assert!(place.stored_text() == all);
    assert!(place.own("session").is_empty(), "nothing is left of the dialogue");
}

#[test]
fn transactions_are_taken_as_they_come() {
    for sync in ["--sync=commit", "--sync=message", "--sync=1s", "--sync=never"] {
        let place = Place::new();
        let mut omprog = place.start(&["--use-transactions", sync]);
        let dialogue: &[(&[u8], &str)] = &[
            (b"before\n", OK),
            (BEGIN, OK),
            (b"one\n", DEFER),
            (b"two\n", DEFER),
            (COMMIT, OK),
            (COMMIT, OK),
            (BEGIN, OK),
            (BEGIN, OK),
            (b"three\n", DEFER),
            (BEGIN, OK),
            (b"four\n", DEFER),
            (COMMIT, OK),
            (b"after\n", OK),
            (BEGIN, OK),
            (COMMIT, OK),
            (BEGIN, OK),
            (b"open\n", DEFER),
        ];
        for (message, reply) in dialogue {
            omprog.say(message, reply);
        }
        assert_eq!(omprog.end(), Some(0));
        assert_eq!(place.stored_text(), b"before\none\ntwo\nthree\nfour\nafter\nopen\n");
    }
}

#[test]
fn only_a_whole_message_is_a_mark() {
    let place = Place::new();
    let mut omprog = place.start(&["--use-transactions", "--begin-mark=B", "--commit-mark=C"]);
    omprog.say(b"B\n", OK);
    for message in [&b"C \n"[..], b" C\n", b"x\nC\n", b"C\nx\n", b"COMMIT TRANSACTION\n", b"CC\n"] {
        omprog.say(message, DEFER);
    }
    omprog.say(b"C\n", OK);
    omprog.end();
    assert_eq!(place.stored_text(), b"C \n C\nx\nC\nC\nx\nCOMMIT TRANSACTION\nCC\n");
}

#[test]
fn a_message_that_was_kept_and_not_confirmed_is_recognised_when_it_comes_again() {
    let place = Place::new();
    let mut omprog = place.start(&[]);
    omprog.say(b"same\n", OK);
    // Kept; but the daemon dies before it reads the reply.
    assert!(omprog.write(b"same\n"));
    until("it is in the file", || place.open_text() == b"same\nsame\n");
    omprog.end();
    let mut omprog = place.start(&[]);
    omprog.say(b"same\n", OK);
    assert_eq!(place.open_text(), b"same\nsame\n", "kept twice");
    // From now on the same text is a new line each time.
    omprog.say(b"same\n", OK);
    omprog.say(b"same\n", OK);
    omprog.end();
    assert_eq!(place.stored_text(), b"same\n".repeat(4));
}

#[test]
fn a_transaction_that_comes_again_line_by_line_is_recognised_also_halfway_and_after_its_hour() {
    let place = Place::new();
    let options = ["--use-transactions"];
    let lines: Vec<Vec<u8>> = (0..40).map(|n| format!("line {}\n", n / 2).into_bytes()).collect();
    let mut omprog = place.start(&options);
    omprog.say(BEGIN, OK);
    for line in &lines {
        omprog.say(line, DEFER);
    }
    assert!(omprog.write(COMMIT));
    // The commit's reply lies in the pipe when the daemon dies.
    until("the commit is answered", || unread(&omprog) > 0);
    omprog.end();
    let again = |omprog: &mut Omprog, line: &[u8]| {
        omprog.say(BEGIN, OK);
        omprog.say(line, DEFER);
        omprog.say(COMMIT, OK);
    };
    let mut omprog = place.start(&options);
    for line in &lines[..10] {
        again(&mut omprog, line);
    }
    // A second death in the middle of it, with a line kept and not confirmed; and its hour is archived.
    omprog.say(BEGIN, OK);
    assert!(omprog.write(&lines[10]));
    until("the line is answered", || unread(&omprog) > 0);
    omprog.end();
    place.stored_text();
    let mut omprog = place.start(&options);
    for line in &lines[10..] {
        again(&mut omprog, line);
    }
    again(&mut omprog, b"line 19\n");
    omprog.end();
    let mut expected = lines.concat();
    expected.extend(b"line 19\n");
    assert_eq!(String::from_utf8(place.stored_text()), String::from_utf8(expected));
    assert!(place.own("session").is_empty());
}

/// Bytes in the pipe of replies.
fn unread(omprog: &Omprog) -> i32 {
    use std::os::fd::AsRawFd;
    let mut count = 0;
    // SAFETY: FIONREAD writes one int.
    assert_eq!(unsafe { nix::libc::ioctl(omprog.output.as_raw_fd(), nix::libc::FIONREAD, &raw mut count) }, 0);
    count
}

#[test]
fn half_a_message_is_not_kept() {
    let place = Place::new();
    let mut omprog = place.start(&[]);
    omprog.say(b"whole\n", OK);
    assert!(omprog.write(b"half"));
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"whole\n");
    assert!(place.said().contains("the last 4 bytes of the input are no whole message"), "{}", place.said());
}

#[test]
fn while_it_has_to_wait_it_says_so_with_dots_and_after_sigterm_the_reserve_is_used() {
    let place = Place::new();
    let mut omprog = place.start(&["--reserve=1000TiB"]);
    assert!(omprog.write(b"a\n"));
    assert_eq!(read_some(&mut omprog).as_deref(), Some("."));
    assert_eq!(read_some(&mut omprog).as_deref(), Some("."));
    kill(omprog.guard(), Signal::SIGTERM).unwrap();
    let begun = Instant::now();
    assert_eq!(omprog.reply().unwrap().trim_start_matches('.'), OK);
    assert_eq!(read_some(&mut omprog), None);
    assert_eq!(omprog.child.wait().unwrap().code(), Some(0), "{}", place.said());
    assert!(begun.elapsed() < Duration::from_secs(6), "it left after {:?}", begun.elapsed());
    assert_eq!(place.open_text(), b"a\n");
}

fn read_some(omprog: &mut Omprog) -> Option<String> {
    use std::io::Read;
    let mut some = [0; 64];
    let n = omprog.output.read(&mut some).unwrap();
    (n > 0).then(|| String::from_utf8_lossy(&some[..n]).into_owned())
}

#[test]
fn a_message_waits_with_dots_while_another_hangs_with_the_lock_of_the_identities() {
    let place = Place::new();
    let mut omprog = place.start(&["--id"]);
    omprog.say(b"1 a\n", OK);
    let lock = std::fs::File::open(place.dir().join(".logjam/id/.lock")).unwrap();
    lock.lock().unwrap();
    omprog.write(b"2 b\n");
    assert_eq!(read_some(&mut omprog).as_deref(), Some("."));
    // Also while it is asked for what it can't do at once.
    kill(omprog.guard(), Signal::SIGUSR1).unwrap();
    assert_eq!(read_some(&mut omprog).as_deref(), Some("."));
    assert_eq!(read_some(&mut omprog).as_deref(), Some("."));
    lock.unlock().unwrap();
    assert_eq!(omprog.reply().as_deref(), Some(OK));
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"a\nb\n");
}

#[test]
fn a_start_that_cannot_succeed_says_error_or_holds_with_dots() {
    let place = Place::new();
    std::fs::remove_dir(place.dir()).unwrap();
    let mut refused = Omprog::spawn(place.command(&["--confirm-messages"]));
    let reply = refused.reply().unwrap();
    assert!(reply.starts_with("Error: ") && reply.contains("does not exist"), "{reply:?}");
    assert_eq!(refused.end(), Some(2));
    let mut refused = Omprog::spawn(place.command(&["--confirm-messages", "--nonsense"]));
    assert!(refused.reply().unwrap().starts_with("Error: "));
    assert_eq!(refused.end(), Some(2));

    let mut holding = Omprog::spawn(place.command(&["--confirm-messages", "--on-error=hold"]));
    assert_eq!(read_some(&mut holding).as_deref(), Some("."));
    std::fs::create_dir(place.dir()).unwrap();
    let ready = holding.reply().unwrap();
    assert_eq!(ready.trim_start_matches('.'), OK);
    holding.say(b"a\n", OK);
    assert_eq!(holding.end(), Some(0));
    assert_eq!(place.stored_text(), b"a\n");
}

#[test]
fn several_processes_on_one_directory_recognise_what_any_of_them_kept() {
    let place = Place::new();
    let mut some: Vec<Omprog> = (0..4).map(|_| place.start(&[])).collect();
    for (n, omprog) in some.iter_mut().enumerate() {
        omprog.say(format!("of {n}\n").as_bytes(), OK);
        assert!(omprog.write(format!("in flight {n}\n").as_bytes()));
    }
    for omprog in &some {
        until("the reply is there", || unread(omprog) > 0);
    }
    some.into_iter().for_each(|omprog| assert_eq!(omprog.end(), Some(0)));
    // The daemon's workers start theirs in another order.
    let mut some: Vec<Omprog> = (0..4).map(|_| place.start(&[])).collect();
    for (n, omprog) in some.iter_mut().rev().enumerate() {
        omprog.say(format!("in flight {n}\n").as_bytes(), OK);
        omprog.say(format!("in flight {n}\n").as_bytes(), OK);
    }
    some.into_iter().for_each(|omprog| assert_eq!(omprog.end(), Some(0)));
    let text = String::from_utf8(place.stored_text()).unwrap();
    for n in 0..4 {
        assert_eq!(text.matches(&format!("of {n}\n")).count(), 1);
        assert_eq!(text.matches(&format!("in flight {n}\n")).count(), 2, "{text}");
    }
}

#[test]
fn identities_are_taken_off_and_a_line_that_comes_again_is_dropped_in_every_mode() {
    for options in [&["--id"][..], &["--id", "--use-transactions"]] {
        let place = Place::new();
        let deferred = options.len() > 1;
        let mut omprog = place.start(options);
        let say = |omprog: &mut Omprog, message: &[u8]| {
            if deferred {
                omprog.say(BEGIN, OK);
                omprog.say(message, DEFER);
                omprog.say(COMMIT, OK);
            } else {
                omprog.say(message, OK);
            }
        };
        for message in [&b"4F one\n"[..], b"50 one\n", b"4F one\n", b"51 \n", b"51 \n", b" blank first\n", b"50 one\n"]
        {
            say(&mut omprog, message);
        }
        omprog.kill_both(true);
        // Another process, and a third one beside it, after the hour is archived.
        place.stored_text();
        let mut omprog = place.start(options);
        let mut other = place.start(options);
        for message in [&b"51 \n"[..], b"52 two\n", b"4F one\n"] {
            say(&mut omprog, message);
            say(&mut other, message);
        }
        omprog.end();
        other.end();
        assert_eq!(String::from_utf8(place.stored_text()).unwrap(), "one\none\n\n blank first\ntwo\n");
    }
}

#[test]
fn the_same_identity_with_another_text_is_another_line() {
    let place = Place::new();
    let mut omprog = place.start(&["--id"]);
    for line in [&b"none one\n"[..], b"none two\n", b"none one\n", b"none three\n"] {
        omprog.say(line, OK);
    }
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"one\ntwo\nthree\n");
    assert_eq!(place.said().matches("two lines in a row have the identity \"none\"").count(), 1, "{}", place.said());
}

#[test]
fn identities_work_on_a_plain_pipe() {
    let place = Place::new();
    let mut plain = Omprog::spawn(place.command(&["--id"]));
    assert!(plain.write(b"1 one\n2 two\n1 one\n3 thr"));
    until("the lines", || place.open_text() == b"one\ntwo\n");
    kill(plain.wait_for_worker(), Signal::SIGKILL).unwrap();
    assert!(plain.write(b"ee\n2 two\n4 no end"));
    assert_eq!(plain.end(), Some(0));
    assert_eq!(place.stored_text(), b"one\ntwo\nthree\nno end\n");
}

/// What a storm sent and what became of it.
struct Storm {
    sent: Vec<String>,
    workers: usize,
    both: usize,
}

/// Sends messages one by one, as omprog does in message mode, while somebody kills: `both` of ten times worker and guard.
fn storm(place: &Place, kills: usize, both: u8, options: &[&str]) -> Storm {
    let (guard, over, killed) = (AtomicI32::new(0), AtomicBool::new(false), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    let mut random = fastrand::Rng::new();
    let seed = random.get_seed();
    println!("seed {seed}");
    let mut sent = Vec::new();
    let ids = options.contains(&"--id");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            let worker = |guard: i32| {
                let path = format!("/proc/{guard}/task/{guard}/children");
                std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse::<i32>().ok()
            };
            let end = |pid: i32| kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).is_ok();
            let mut done = 0;
            while done < kills {
                std::thread::sleep(Duration::from_micros(random.u64(500..40_000)));
                let pid = guard.load(Ordering::SeqCst);
                let Some(worker) = (pid != 0).then(|| worker(pid)).flatten() else { continue };
                let together = random.u8(0..10) < both;
                if together {
                    guard.store(0, Ordering::SeqCst);
                    if random.bool() {
                        end(pid);
                    } else {
                        // The worker first; the guard must not be quicker.
                        let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGSTOP);
                    }
                }
                let killed_now = end(worker) | together;
                if together {
                    end(pid);
                }
                if killed_now {
                    killed[usize::from(together)].fetch_add(1, Ordering::SeqCst);
                    done += 1;
                }
            }
            over.store(true, Ordering::SeqCst);
        });
        let mut omprog = place.start(options);
        guard.store(omprog.guard().as_raw(), Ordering::SeqCst);
        while !over.load(Ordering::SeqCst) {
            let n = sent.len();
            let line = if random.u8(0..3) == 0 { "the same again\n".to_owned() } else { format!("line {n}\n") };
            let message = if ids { format!("{n:x} {line}") } else { line.clone() };
            loop {
                match omprog.try_say(message.as_bytes()) {
                    Some(reply) => {
                        assert_eq!(reply, OK);
                        break;
                    }
                    None => {
                        omprog.child.wait().unwrap();
                        omprog = place.start(options);
                        guard.store(omprog.guard().as_raw(), Ordering::SeqCst);
                    }
                }
            }
            sent.push(line);
        }
        if guard.swap(0, Ordering::SeqCst) == 0 {
            // The last kill came after the last answer.
            omprog.child.wait().unwrap();
            omprog = place.start(options);
        }
        assert_eq!(omprog.end(), Some(0), "{}", place.said());
    });
    Storm { sent, workers: killed[0].load(Ordering::SeqCst), both: killed[1].load(Ordering::SeqCst) }
}

#[track_caller]
fn assert_once(place: &Place, storm: &Storm, mode: &str) {
    let text = String::from_utf8(place.stored_text()).unwrap();
    let Storm { sent, workers, both } = storm;
    let stored = text.lines().count();
    println!(
        "{mode}: {workers} workers killed, {both} with their guard; {} messages sent, {stored} stored",
        sent.len()
    );
    assert!(text == sent.concat(), "not every line once and in order: {} sent, {stored} stored", sent.len());
}

#[test]
fn the_death_of_workers_is_not_noticed_and_doubles_nothing() {
    let place = Place::new();
    let storm = storm(&place, storm_kills(30), 0, &[]);
    assert_once(&place, &storm, "messages");
}

#[test]
fn the_death_of_workers_and_guards_loses_nothing_and_doubles_nothing() {
    let place = Place::new();
    let storm = storm(&place, storm_kills(30), 5, &[]);
    assert_once(&place, &storm, "messages, guards too");
}

#[test]
fn with_identities_every_death_is_survived_as_well() {
    let place = Place::new();
    let storm = storm(&place, storm_kills(30), 5, &["--id"]);
    assert_once(&place, &storm, "messages with --id");
}

#[test]
fn nothing_but_replies_reaches_standard_output() {
    let place = Place::new();
    let mut omprog = place.start(&["--log-level=debug"]);
    for n in 0..100 {
        omprog.say(format!("{n}\n").as_bytes(), OK);
        kill(omprog.guard(), Signal::SIGUSR1).unwrap();
        kill(omprog.guard(), Signal::SIGHUP).unwrap();
    }
    omprog.input = None;
    assert_eq!(read_some(&mut omprog), None);
    assert_eq!(omprog.child.wait().unwrap().code(), Some(0));
    assert_eq!(place.stored_text().iter().filter(|byte| **byte == b'\n').count(), 100);
}

#[test]
fn without_a_guard_the_dialogue_is_the_same() {
    let place = Place::new();
    let mut omprog = place.start(&["--no-guard"]);
    assert_eq!(omprog.worker(), None);
    omprog.say(b"a\n", OK);
    omprog.child.kill().unwrap();
    omprog.child.wait().unwrap();
    let mut omprog = place.start(&["--no-guard"]);
    omprog.say(b"b\n", OK);
    assert_eq!(omprog.end(), Some(0));
    // What is no pipe gets the same words.
    let out = std::fs::File::create(place.beside("out")).unwrap();
    let mut command = place.command(&["--confirm-messages"]);
    let mut child = command.stdin(Stdio::piped()).stdout(out).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"c\n").unwrap();
    until("the reply", || std::fs::read(place.beside("out")).unwrap() == b"OK\nOK\n");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(place.stored_text(), b"a\nb\nc\n");
}

#[test]
fn what_somebody_removes_is_begun_again_and_no_answer_is_given_twice() {
    let place = Place::new();
    let mut omprog = place.start(&["--sync=message"]);
    omprog.say(b"one\n", OK);
    std::fs::remove_dir_all(place.dir()).unwrap();
    std::fs::create_dir(place.dir()).unwrap();
    // The file has no name any more: another one is begun before this is confirmed.
    omprog.say(b"two\n", OK);
    assert_eq!(place.open_text(), b"two\n");
    std::fs::remove_dir_all(place.dir()).unwrap();
    std::fs::create_dir(place.dir()).unwrap();
    kill(omprog.wait_for_worker(), Signal::SIGKILL).unwrap();
    omprog.say(b"three\n", OK);
    omprog.say(b"four\n", OK);
    omprog.input = None;
    assert_eq!(read_some(&mut omprog), None, "an answer to nothing");
    assert_eq!(omprog.child.wait().unwrap().code(), Some(0));
    assert_eq!(place.stored_text(), b"three\nfour\n");
    assert!(place.said().contains("somebody removed it"), "{}", place.said());
}

#[test]
fn a_start_on_a_full_disk_waits_with_dots() {
    let place = Place::new();
    let small = place.dir();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&small).status();
    assert!(mounted.unwrap().success(), "the tests run as root");
    let ballast = small.join("ballast");
    let mut full = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write(&mut full, &[b'x'; 4096]).is_ok() {}
    let mut omprog = Omprog::spawn(place.command(&["--confirm-messages", "--reserve=0B"]));
    assert_eq!(read_some(&mut omprog).as_deref(), Some("."));
    drop(full);
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(omprog.reply().unwrap().trim_start_matches('.'), OK);
    omprog.say(b"a\n", OK);
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"a\n");
    assert!(place.own("session").is_empty());
    assert!(std::process::Command::new("umount").arg("-l").arg(&small).status().unwrap().success());
}

/// A confirming logjam below strace(1), which writes down what it does with files.
fn traced(place: &Place, options: &[&str], own: &[&str]) -> Omprog {
    let trace = place.beside("trace").display().to_string();
    let own = [&["-f", "-y", "-o", &trace, "-e", "trace=write,splice,fdatasync,fsync"], own].concat();
    place.ready(place.command_below("strace", &own, &[&["--confirm-messages", "--no-guard"], options].concat()))
}

/// The same, and the first sync of the plain hour file fails.
fn failing(place: &Place, options: &[&str]) -> Omprog {
    let hours = [0, 60].map(|minutes| {
        let time = chrono::Utc::now() + chrono::TimeDelta::minutes(minutes);
        place.dir().join(format!("syslog-{}-host.log", time.format("%Y%m%dT%H00Z"))).display().to_string()
    });
    traced(place, options, &["-P", &hours[0], "-P", &hours[1], "-e", "inject=fdatasync:error=EIO:when=1"])
}

/// What was done with hour files and replies, in its order: `w`rite, `s`ync of the file, `d`irectory, `O`K, `D`EFER_COMMIT.
fn deeds(place: &Place) -> String {
    let dir = format!("<{}>", place.dir().display());
    let trace = std::fs::read_to_string(place.beside("trace")).unwrap();
    let deed = |line: &str| match line {
        _ if line.contains("resumed") || line.contains("INJECTED") => None,
        _ if line.contains(".log>") && line.contains(" write(") => Some('w'),
        _ if line.contains(".log>") && line.contains(" fdatasync(") => Some('s'),
        _ if line.contains(&dir) && line.contains(" fsync(") => Some('d'),
        _ if line.contains("\"OK\\n\"") => Some('O'),
        _ if line.contains("\"DEFER_COMMIT\\n\"") => Some('D'),
        _ => None,
    };
    let deeds: String = trace.lines().filter(|line| !line.contains("/.logjam/")).filter_map(deed).collect();
    // The start makes directories.
    deeds.trim_start_matches('d').to_owned()
}

#[test]
fn an_ok_comes_after_the_syncs_that_sync_asks_for_and_a_commit_costs_one() {
    let place = Place::new();
    let mut omprog = traced(&place, &["--sync=message"], &[]);
    omprog.say(b"one\n", OK);
    omprog.say(b"two\n", OK);
    omprog.say(b"three\n", OK);
    // The first one of a file is followed by that of its name.
    assert!(deeds(&place).starts_with("OwsdOwsOwsO"), "{}", deeds(&place));
    omprog.end();

    let place = Place::new();
    let mut omprog = traced(&place, &["--use-transactions"], &[]);
    for lines in [3, 1, 0, 5] {
        omprog.say(BEGIN, OK);
        for n in 0..lines {
            omprog.say(format!("{n}\n").as_bytes(), DEFER);
        }
        omprog.say(COMMIT, OK);
    }
    assert!(deeds(&place).starts_with("OOwDwDwDsdOOwDsOOOOwDwDwDwDwDsO"), "{}", deeds(&place));
    omprog.end();
}

#[test]
fn with_a_time_lines_reach_the_disk_by_themselves_and_no_answer_waits_for_it() {
    let place = Place::new();
    let mut omprog = traced(&place, &["--sync=200ms"], &[]);
    omprog.say(b"one\n", OK);
    assert!(deeds(&place).starts_with("OwO"), "{}", deeds(&place));
    until("it is on the disk", || deeds(&place) == "OwOsd");
    omprog.say(b"two\n", OK);
    until("that too", || deeds(&place) == "OwOsdwOs");
    omprog.end();
}

#[test]
fn a_commit_whose_sync_fails_is_refused_and_what_comes_again_is_kept_once() {
    let place = Place::new();
    let mut omprog = failing(&place, &["--use-transactions"]);
    omprog.say(BEGIN, OK);
    for line in [b"one\n", b"two\n"] {
        omprog.say(line, DEFER);
    }
    let refusal = omprog.try_say(COMMIT).unwrap();
    assert!(refusal.starts_with("Error: sync ") && refusal.contains("Input/output error"), "{refusal:?}");
    // Each again, in a transaction of its own.
    for line in [b"one\n", b"two\n"] {
        omprog.say(BEGIN, OK);
        omprog.say(line, DEFER);
        omprog.say(COMMIT, OK);
    }
    assert_eq!(omprog.end(), Some(0), "{}", place.said());
    assert_eq!(place.stored_text(), b"one\ntwo\n", "{}", place.said());
}

#[test]
fn a_message_whose_sync_fails_goes_to_another_file_before_it_is_confirmed() {
    let place = Place::new();
    let mut omprog = failing(&place, &["--sync=message"]);
    omprog.say(b"one\n", OK);
    omprog.say(b"two\n", OK);
    assert_eq!(place.hours().len(), 2, "{:?}", place.hours());
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"one\ntwo\n", "{}", place.said());
}

/// Makes DIR look as after a power cut: an open hour file with this content, and a mark of another life of the system.
fn after_a_power_cut(place: &Place, content: &[u8], session: &str) {
    std::fs::create_dir_all(place.dir().join(".logjam/input")).unwrap();
    let name = format!("syslog-{}-host.log", chrono::Utc::now().format("%Y%m%dT%H00Z"));
    std::fs::write(place.dir().join(&name), content).unwrap();
    std::fs::write(place.dir().join(".logjam/input").join(name), format!("8:1 another-life {session}")).unwrap();
}

#[test]
fn what_a_power_cut_tore_is_cut_off_and_said() {
    for (content, session, kept, cut) in [
        (&b"one\ntwo\nhal"[..], "1m82jkwjbrt3p", &b"one\ntwo\n"[..], 3),
        (b"one\n\0\0\0\0", "1m82jkwjbrt3p", b"one\n", 4),
        (b"one\n\0\0\0\0", "-", b"one\n", 4),
        // Half a line from a plain pipe does not come again: the text is worth keeping, the zeros are not.
        (b"one\nhal\0\0", "-", b"one\nhal\n", 2),
    ] {
        let place = Place::new();
        after_a_power_cut(&place, content, session);
        let mut omprog = place.start(&[]);
        omprog.say(b"next\n", OK);
        assert_eq!(omprog.end(), Some(0));
        let expected = [kept, b"next\n"].concat();
        assert_eq!(place.stored_text(), expected, "{:?}", String::from_utf8_lossy(content));
        let said = place.said();
        let lines: Vec<_> = said.lines().filter(|line| line.contains("are cut off")).collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].contains(&format!(".log: {cut} bytes at its end")), "{said}");
    }
}

#[test]
fn an_identity_whose_line_a_power_cut_took_does_not_count() {
    let place = Place::new();
    let mut omprog = place.start(&["--id"]);
    for line in [&b"1 one\n"[..], b"2 two\n", b"3 three\n"] {
        omprog.say(line, OK);
    }
    assert_eq!(omprog.end(), Some(0));
    // The list was on the disk, the last line was not.
    after_a_power_cut(&place, b"one\ntwo\nth", "1m82jkwjbrt3p");
    let mut omprog = place.start(&["--id"]);
    for line in [&b"2 two\n"[..], b"3 three\n", b"3 three\n", b"4 four\n", b"1 one\n"] {
        omprog.say(line, OK);
    }
    assert_eq!(omprog.end(), Some(0));
    assert_eq!(place.stored_text(), b"one\ntwo\nthree\nfour\n");
}
