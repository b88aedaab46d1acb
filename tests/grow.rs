//! An hour goes to the bucket while it lasts: the real binary, the real server, and what goes wrong between them in the middle of
//! the hour. `LOGJAM_STORM` is the length of the kill storm in seconds (default 10).

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::cli::{self, MIB, Running, within};
use crate::growing::{Host, LONG, Reference, end_hour, ends, far_from_the_turn, lines, setting, uninterrupted};
use crate::server::{self, Fault, Seen};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::{PipeWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// No checkpoints: what is counted are the requests for archives.
const QUIET: &[&str] = &["--checkpoint=off", "--no-guard"];
/// Lines of which three parts are whole before the hour ends.
const LARGE: usize = 20 * MIB + 300_000;

static THREE_PARTS: Reference = Reference::new();
static ONE_PART: Reference = Reference::new();

fn three_parts() -> Arc<(Vec<u8>, Vec<u8>)> {
    THREE_PARTS.of(|| lines(LARGE, 1))
}

/// Lines of which one part is whole before the hour ends.
fn one_part() -> Arc<(Vec<u8>, Vec<u8>)> {
    ONE_PART.of(|| lines(9 * MIB, 2))
}

/// How many bytes each part was sent with, all tries together.
fn sent(requests: &[Seen]) -> BTreeMap<u32, Vec<u64>> {
    let mut sent: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for seen in requests {
        if let Some(number) = seen.part() {
            sent.entry(number).or_default().push(seen.len());
        }
    }
    sent
}

/// Whether it asks which uploads are open.
fn lists_uploads(seen: &Seen) -> bool {
    seen.method == "GET" && seen.key.is_empty() && seen.query.contains("uploads")
}

fn aborts(seen: &Seen) -> bool {
    seen.method == "DELETE" && seen.query.contains("uploadId=")
}

// ------------------------------------------------------------------------------------------------------ while it lasts

/// Whether it asks, for the first hour of a DIR, what another life of its host has begun.
fn asks(seen: &Seen) -> bool {
    seen.method == "GET" && seen.key.is_empty() && seen.query.contains("uploads")
}

#[test]
fn the_parts_of_an_hour_arrive_while_it_lasts_and_its_end_sends_the_last_one_only() {
    far_from_the_turn(LONG);
    let (text, archive) = &*three_parts();
    // What is packed of the last block comes at the end.
    let whole = (archive.len() - archive.len() * (text.len() % (4 * MIB)) / text.len()) / (5 * MIB);
    assert!(whole >= 3);
    for once in [false, true] {
        let host = Host::new();
        let running = host.start(&[QUIET, if once { &["--once"] } else { &[] }].concat());
        host.feed(text);
        host.until_parts(&running, whole);
        assert!(host.keys().is_empty(), "the hour lasts");
        let before = host.requests();
        assert_eq!(before.iter().filter(|seen| seen.is_begin()).count(), 1);
        let sends = before.iter().filter(|seen| !asks(seen)).count();
        assert_eq!(sends, 1 + whole, "the beginning and the parts: {before:?}");
        running.until("the lines are in the hour file", || host.kept() == text.len() as u64);

        host.server.clear_requests();
        let start = Instant::now();
        if !once {
            end_hour(&running);
            host.until_settled(&running, 1);
        }
        host.end_input();
        ends(running);
        let took = start.elapsed();
        let after = host.requests();
        let parts: Vec<_> = sent(&after).into_keys().collect();
        assert_eq!(parts, [1 + u32::try_from(whole).unwrap()], "only the last part is left to send");
        let complete: Vec<_> = after.iter().filter(|seen| seen.is_complete()).collect();
        assert_eq!(complete.len(), 1);
        assert_eq!(complete[0].header("if-none-match"), Some("*"));
        assert_eq!(complete[0].header("x-amz-checksum-type"), Some("FULL_OBJECT"));
        let object = host.server.object("logs", &host.objects()[0]).unwrap();
        let checksum = object.checksum.clone().expect("a checksum of the whole object");
        assert_eq!(complete[0].header("x-amz-checksum-crc64nvme"), Some(checksum.as_str()));
        assert_eq!(object.parts, 1 + whole);
        // HEAD, part, complete; HEAD and PUT of the manifest.
        let puts = after.iter().filter(|seen| seen.is_manifest()).count();
        assert_eq!(puts, 1, "the manifest: {after:?}");
        assert!(!after.iter().any(|seen| seen.is_begin() || lists_uploads(seen) || aborts(seen)), "{after:?}");
        let all: u64 = sent(&[before, after.clone()].concat()).values().flatten().sum();
        assert_eq!(all, archive.len() as u64, "no byte is sent twice");
        host.assert_one(archive);
        host.spool.assert_tidy();
        println!("once: {once}; {} bytes, at the end {} requests, {took:?}", archive.len(), after.len());
    }
}

#[test]
fn zstd_goes_up_while_the_hour_lasts_as_well() {
    far_from_the_turn(LONG);
    let text = lines(12 * MIB, 3);
    let host = Host::new();
    let options = ["--codec=zstd", "--once"];
    let running = host.start(&[QUIET, &options].concat());
    host.feed(&text);
    host.until_parts(&running, 1);
    host.end_input();
    ends(running);
    host.assert_one(&uninterrupted(&text, &["--codec=zstd"]));
    let all: u64 = sent(&host.requests()).values().flatten().sum();
    assert_eq!(all, host.data(&host.objects()[0]).len() as u64, "no byte is sent twice");
}

#[test]
fn several_packing_threads_store_the_same_object() {
    far_from_the_turn(LONG);
    let (text, archive) = &*three_parts();
    let host = Host::new();
    let running = host.start(&[QUIET, &["--once", "--pack-threads=2"]].concat());
    host.feed(text);
    host.until_parts(&running, 2);
    host.end_input();
    ends(running);
    host.assert_one(archive);
}

#[test]
fn a_small_hour_is_one_request_and_never_an_upload_in_parts() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let running = host.start(&QUIET.iter().copied().chain(["--once"]).collect::<Vec<_>>());
    // More than one block, less than one part.
    let text = lines(5 * MIB, 4);
    host.feed(&text);
    running.until("the lines are in the hour file", || host.kept() == text.len() as u64);
    host.end_input();
    ends(running);
    host.assert_one(&uninterrupted(&text, &[]));
    let requests = host.requests();
    let puts: Vec<_> = requests.iter().filter(|seen| seen.is_upload() || seen.is_manifest()).collect();
    assert_eq!(puts.len(), 2, "the object and its manifest: {requests:?}");
    assert_eq!(puts[0].header("if-none-match"), Some("*"));
    assert_eq!(requests.iter().filter(|seen| asks(seen)).count(), 1);
    assert!(requests.iter().filter(|seen| !asks(seen)).all(|seen| matches!(seen.method.as_str(), "PUT" | "HEAD")));
}

// --------------------------------------------------------------------------------------------------------------- kills

#[test]
fn an_upload_that_was_begun_by_a_life_that_never_heard_of_it_is_found_and_given_up() {
    far_from_the_turn(LONG);
    let (text, archive) = &*one_part();
    for fault in [Fault::HoldAnswer, Fault::DropAnswer] {
        let host = Host::new();
        let begun = fault.clone();
        host.server.set_fault(move |seen| if seen.is_begin() { begun.clone() } else { Fault::None });
        let running = host.start(&["--checkpoint=off"]);
        host.feed(text);
        running.until("the server has begun an upload", || !host.server.open_uploads().is_empty());
        host.kill(running);
        let leaked = host.server.open_uploads();
        host.server.clear_fault();
        host.server.clear_requests();
        let running = host.start(&["--checkpoint=off", "--once"]);
        host.end_input();
        ends(running);
        host.assert_one(archive);
        let requests = host.requests();
        assert!(requests.iter().any(lists_uploads), "it asked which uploads are open");
        for upload in &leaked {
            let id = format!("uploadId={}", upload.id);
            assert!(requests.iter().any(|seen| aborts(seen) && seen.query.contains(&id)), "{upload:?}");
        }
        println!("{fault:?}: {} uploads leaked and given up", leaked.len());
    }
}

#[test]
fn a_life_that_is_killed_between_parts_sends_none_of_them_again() {
    far_from_the_turn(LONG);
    let (text, archive) = &*three_parts();
    let host = Host::new();
    let running = host.start(&["--checkpoint=off"]);
    host.feed(text);
    host.until_parts(&running, 3);
    running.until("the lines are in the hour file", || host.kept() == text.len() as u64);
    let journal = || {
        let dir = host.spool.path(".logjam/upload");
        let name = cli::names(&dir).pop().unwrap_or_default();
        std::fs::read_to_string(dir.join(name)).unwrap_or_default().lines().count()
    };
    running.until("three parts are in the journal", || journal() == 5);
    host.kill(running);
    let running = host.start(&["--checkpoint=off", "--once"]);
    host.end_input();
    ends(running);
    host.assert_one(archive);
    let sent = sent(&host.requests());
    assert!(sent.values().all(|tries| tries.len() == 1), "{sent:?}");
    assert_eq!(sent.values().flatten().sum::<u64>(), archive.len() as u64);
    assert_eq!(host.requests().iter().filter(|seen| seen.is_begin()).count(), 1);
}

/// Writes lines until it is told to stop: all of them.
fn feeder(host: &Host, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<u8>> {
    let (mut writer, stop) = (host.writer(), stop.clone());
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut seed = 100;
        while !stop.load(Ordering::Relaxed) {
            let text = lines(64 << 10, seed);
            writer.write_all(&text).unwrap();
            all.extend_from_slice(&text);
            seed += 1;
            std::thread::sleep(Duration::from_millis(8));
        }
        all
    })
}

#[test]
fn kills_at_any_moment_store_what_an_uninterrupted_life_stores_and_leave_nothing_open() {
    let storm = Duration::from_secs(setting("LOGJAM_STORM", 10));
    far_from_the_turn(LONG + storm);
    let host = Host::new();
    let stop = Arc::new(AtomicBool::new(false));
    let feeder = feeder(&host, &stop);
    let leaks = Arc::new(AtomicUsize::new(0));
    let count = leaks.clone();
    host.server.set_fault(move |seen| {
        if !(seen.is_begin() || seen.part().is_some()) {
            return Fault::None;
        }
        match fastrand::u32(..10) {
            0..6 if seen.is_begin() => {
                count.fetch_add(1, Ordering::Relaxed);
                Fault::HoldAnswer
            }
            0 => Fault::DropAnswer,
            1 => Fault::Cut,
            2 => Fault::refuse(500, "InternalError"),
            3 => Fault::HoldAnswer,
            _ => Fault::None,
        }
    });
    let (start, mut kills) = (Instant::now(), 0);
    while start.elapsed() < storm {
        let guard = fastrand::bool();
        let running = host.start(if guard { &["--checkpoint=1s"] } else { &["--checkpoint=1s", "--no-guard"] });
        // A random moment, or right after the server has begun an upload that its client has not heard of.
        let (leaked, wait) = (leaks.load(Ordering::Relaxed), Duration::from_millis(fastrand::u64(20..1500)));
        within(wait, || leaks.load(Ordering::Relaxed) > leaked);
        host.kill(running);
        kills += 1;
    }
    stop.store(true, Ordering::Relaxed);
    // What the feeder's last write waits for is read by the last life.
    host.server.clear_fault();
    let open = host.server.open_uploads().len();
    let running = host.start(&["--once", "--checkpoint=1s"]);
    let text = feeder.join().unwrap();
    host.end_input();
    let said = ends(running);
    println!(
        "{kills} kills, {} answers held back, {open} uploads open before the last life, {} bytes of lines",
        leaks.load(Ordering::Relaxed),
        text.len()
    );
    let (open, left) = (host.server.open_uploads(), cli::files_below(&host.spool.dir()));
    assert!(open.is_empty() && host.kept() == 0, "{open:?} {:?} {left:?}\n{said}", host.keys());
    host.assert_one(&uninterrupted(&text, &[]));
}

/// A process on this host's DIR with a pipe of its own.
fn beside(host: &Host, options: &[&str]) -> (Running, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = host.command(options);
    command.stdin(reader);
    (Running::start(command), writer)
}

#[test]
fn once_ends_well_only_when_what_another_process_had_open_is_stored_as_well() {
    far_from_the_turn(LONG);
    let text = &one_part().0;
    let host = Host::new();
    let stopped = host.start(QUIET);
    host.feed_until_kept(&stopped, text, text.len());
    host.until_parts(&stopped, 1);
    stopped.signal_group(Signal::SIGSTOP);
    let mut other = 0;
    let mut once = |killed: Option<Running>| {
        let (running, mut writer) = beside(&host, &[QUIET, &["--once"]].concat());
        writer.write_all(&lines(1000, other)).unwrap();
        drop(writer);
        other += 1;
        running.until("it waits", || running.count("another process has it open; ") > 0);
        if let Some(running) = killed {
            running.kill_group();
        }
        running.end_within(LONG)
    };
    let said = once(None).code_is(1).says("another process has it open").said;
    assert!(said.contains(&host.spool.arg()) && host.objects().len() == 1, "{said}");
    once(Some(stopped)).code_is(0);
    let mut stored: Vec<_> = host.objects().iter().map(|key| cli::unpack(key, &host.data(key))).collect();
    stored.sort();
    let mut all = vec![text.clone(), lines(1000, 0), lines(1000, 1)];
    all.sort();
    assert!(stored == all, "{:?}", host.keys());
    assert!(host.server.open_uploads().is_empty() && host.kept() == 0, "{:?}", host.server.open_uploads());
    host.spool.assert_tidy();
}

// -------------------------------------------------------------------------------------------------------------- faults

/// A host in the middle of an hour of these lines, a part of which is sent; and the lines that are still to come.
fn halfway<'a>(text: &'a [u8], options: &[&str]) -> (Host, Running, &'a [u8]) {
    let (begun, rest) = text.split_at(text.len() / 2);
    let host = Host::new();
    let running = host.start(options);
    host.feed(begun);
    host.until_parts(&running, 1);
    (host, running, rest)
}

#[test]
fn a_bucket_that_goes_away_in_the_middle_of_the_hour_and_comes_back_gets_the_whole_of_it() {
    far_from_the_turn(LONG);
    let (text, archive) = &*three_parts();
    for dead in [true, false] {
        let (host, mut running, rest) = halfway(text, &["--no-guard", "--checkpoint=1s", "--once"]);
        if dead {
            host.server.stop();
        } else {
            host.server.remove_bucket("logs");
            host.server.expire_uploads();
        }
        host.feed(rest);
        running.until("the lines are in the hour file", || host.kept() == text.len() as u64);
        running.until("the state is said", || running.count("archives wait on the disk") > 0);
        assert!(running.runs());
        if dead {
            host.server.resume();
        } else {
            host.server.create_bucket("logs");
        }
        host.until_parts(&running, 3);
        host.end_input();
        let said = ends(running);
        assert!(said.contains("it works again"), "{said}");
        host.assert_one(archive);
    }
}

#[test]
fn an_upload_that_expires_in_the_middle_of_the_hour_is_begun_again() {
    far_from_the_turn(LONG);
    let (text, archive) = &*three_parts();
    let (host, running, rest) = halfway(text, &[QUIET, &["--once"]].concat());
    host.server.expire_uploads();
    host.feed(rest);
    host.until_parts(&running, 3);
    host.end_input();
    ends(running);
    host.assert_one(archive);
}

#[test]
fn a_server_that_knows_neither_checksums_nor_conditions_gets_the_parts_of_an_hour_as_well() {
    far_from_the_turn(LONG);
    let (text, archive) = &*three_parts();
    let hooks: [fn(&Seen) -> Fault; 3] = [server::without_both, server::without_checksums, server::without_conditions];
    for hook in hooks {
        let host = Host::new();
        host.server.set_fault(hook);
        let running = host.start(&["--no-guard", "--checkpoint=1s", "--once"]);
        host.feed(text);
        host.until_parts(&running, 2);
        running.until("a checkpoint is stored", || !host.checkpoints().is_empty());
        host.end_input();
        ends(running);
        host.assert_one(archive);
    }
}

#[test]
fn an_hour_that_ends_right_after_its_last_lines_raises_no_alarm() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let running = host.start(QUIET);
    let text = lines(10_000, 10);
    host.feed_until_kept(&running, &text, text.len());
    end_hour(&running);
    host.until_settled(&running, 1);
    // The sync that is due for the first hour comes before the lines of the next are due for theirs.
    for seed in 0..20 {
        host.feed(&lines(100, 20 + seed));
        std::thread::sleep(Duration::from_millis(60));
    }
    host.end_input();
    let said = ends(running);
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
}

#[test]
fn a_stopped_life_goes_on_where_it_stood() {
    far_from_the_turn(LONG);
    let (text, archive) = &*three_parts();
    let (host, running, rest) = halfway(text, &[QUIET, &["--once"]].concat());
    running.signal_group(Signal::SIGSTOP);
    let writer = {
        let (mut writer, rest) = (host.writer(), rest.to_vec());
        std::thread::spawn(move || writer.write_all(&rest).unwrap())
    };
    running.signal_group(Signal::SIGCONT);
    writer.join().unwrap();
    host.until_parts(&running, 3);
    host.end_input();
    ends(running);
    host.assert_one(archive);
    assert_eq!(sent(&host.requests()).values().flatten().sum::<u64>(), archive.len() as u64);
}

/// Two processes on one DIR have an hour file each, and an upload each.
#[test]
fn two_processes_on_one_directory_each_send_the_parts_of_their_own_hour() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let other = Host::new();
    let texts = [lines(9 * MIB, 5), lines(9 * MIB, 6)];
    let first = host.start(&["--no-guard", "--checkpoint=1s"]);
    host.feed(&texts[0]);
    host.until_parts(&first, 1);
    // The pipe of another host, the DIR of this one.
    let mut command = host.command(&["--no-guard", "--checkpoint=1s"]);
    other.attach(&mut command);
    let second = Running::start(command);
    other.feed(&texts[1]);
    second.until("both have sent a part and a checkpoint", || {
        let open = host.server.open_uploads();
        open.len() == 2 && open.iter().all(|upload| !upload.parts.is_empty()) && host.checkpoints().len() == 2
    });
    end_hour(&first);
    end_hour(&second);
    host.until_settled(&first, 2);
    host.end_input();
    other.end_input();
    for said in [ends(first), ends(second)] {
        assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    }
    let mut stored: Vec<_> = host.objects().iter().map(|key| cli::unpack(key, &host.data(key))).collect();
    stored.sort();
    let mut texts = texts.to_vec();
    texts.sort();
    assert!(stored == texts);
    for key in host.objects() {
        host.assert_manifest(&key);
    }
    assert!(host.server.open_uploads().is_empty());
    assert_eq!(host.checkpoints().len(), 2, "one of each process: {:?}", host.checkpoints());
}

#[test]
fn a_server_that_forgets_every_upload_is_asked_less_and_less_often() {
    far_from_the_turn(LONG);
    let (text, archive) = &*one_part();
    let host = Host::new();
    host.server.set_fault(|seen| match seen.part().is_some() {
        true => Fault::refuse(404, "NoSuchUpload"),
        false => Fault::None,
    });
    let start = Instant::now();
    let running = host.start(QUIET);
    host.feed_until_kept(&running, text, text.len());
    let begins = || host.requests().iter().filter(|seen| seen.is_begin()).count();
    assert!(within(LONG, || begins() >= 4), "{} times\n{}", begins(), running.said());
    // Between them were at least the halves of 0.5 s, 1 s and 2 s.
    assert!(start.elapsed() >= Duration::from_millis(1_750), "{} times in {:?}", begins(), start.elapsed());
    host.server.clear_fault();
    end_hour(&running);
    host.until_settled(&running, 1);
    host.end_input();
    ends(running);
    host.assert_one(archive);
}

#[test]
fn a_checkpoint_that_could_not_be_written_is_written_once_that_is_possible() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let in_the_way = host.spool.path(".logjam/checkpoint/syslog.host.0.next");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let running = host.start(&["--checkpoint=1s"]);
    let text = lines(9_000, 42);
    host.feed_until_kept(&running, &text, text.len());
    running.until("it is said", || running.said().contains("the next checkpoint is tried in its time"));
    assert!(host.checkpoints().is_empty());
    std::fs::remove_dir(&in_the_way).unwrap();
    // Without another line.
    assert!(within(LONG, || !host.checkpoints().is_empty()), "{}", running.said());
    host.end_input();
    ends(running);
}
