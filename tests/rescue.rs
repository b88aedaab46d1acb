//! A host is lost in the middle of its hour, and another one finishes that from the checkpoint: the real binary as both hosts, the
//! real server between them. `LOGJAM_STORM` is how many hosts are destroyed of each kind (default 3).

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

mod again;

use crate::cli::{self, Ended, Running, unpack};
use crate::growing::{self, DEST, Host, LONG, PACK, far_from_the_turn, kept, lines, setting};
use crate::server::{Fault, Seen};
use chrono::{DateTime, Utc};
use logjam::env::store::Part;
use logjam::format::checkpoint::{self, Checkpoint};
use logjam::format::manifest::Manifest;
use logjam::format::seal::Ended as How;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The region that host A signs its requests for, which tells them from those of a rescue.
const REGION_OF_A: &str = "eu-west-1";
const OFTEN: &[&str] = &["--checkpoint=1s"];
/// What comes in 10 ms to an hour that is sent in parts soon.
const LARGE: usize = 96 << 10;
/// After so many bytes less comes.
const ENOUGH: usize = 13 << 20;

/// Lines that come while the host lives.
struct Load {
    stop: Arc<AtomicBool>,
    feeder: JoinHandle<Vec<u8>>,
    sampler: JoinHandle<Vec<(DateTime<Utc>, u64)>>,
}

impl Load {
    /// `bytes` each 10 ms, less once there are [`ENOUGH`].
    fn begin(host: &Host, bytes: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut writer, fed) = (host.writer(), stop.clone());
        let feeder = std::thread::spawn(move || {
            let mut all = Vec::new();
            for seed in 1000.. {
                if fed.load(Ordering::Relaxed) {
                    break;
                }
                // No more than is needed for parts: a loaded machine would not keep up.
                let text = lines(if all.len() < ENOUGH { bytes } else { 2 << 10 }, seed);
                writer.write_all(&text).unwrap();
                all.extend_from_slice(&text);
                std::thread::sleep(Duration::from_millis(10));
            }
            all
        });
        let (dir, sampled) = (host.spool.dir(), stop.clone());
        let sampler = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !sampled.load(Ordering::Relaxed) {
                let bytes = kept(&dir);
                // Later than the look: the file was at least that long by then.
                samples.push((Utc::now(), bytes));
                std::thread::sleep(Duration::from_millis(5));
            }
            samples
        });
        Self { stop, feeder, sampler }
    }

    /// Ends it once the host is gone: all lines that were written to the pipe, and how long the hour file was when.
    fn end(self, host: &Host) -> (Vec<u8>, Vec<(DateTime<Utc>, u64)>) {
        self.stop.store(true, Ordering::Relaxed);
        // Its last write may wait for room.
        let mut reader = host.reader();
        let drain = std::thread::spawn(move || _ = reader.read_to_end(&mut Vec::new()));
        let done = (self.feeder.join().unwrap(), self.sampler.join().unwrap());
        host.end_input();
        drain.join().unwrap();
        done
    }
}

fn rescue_command(host: &Host, options: &[&str]) -> Command {
    let mut command = cli::logjam(["rescue", DEST]);
    if !options.iter().any(|option| option.starts_with("--older-than")) {
        command.arg("--older-than=0s");
    }
    command.args(options).envs(host.server.environment());
    command
}

fn rescue(host: &Host, options: &[&str]) -> Ended {
    cli::run(rescue_command(host, options))
}

/// The checkpoint that the server has.
fn checkpoint(host: &Host) -> (Checkpoint<Part>, Vec<u8>) {
    let keys = host.checkpoints();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let data = host.data(&keys[0]);
    (checkpoint::read::<Part>(&data).expect("a checkpoint").0, data)
}

/// How many bytes were surely in the hour file at a time. A look at the file sees a line a moment before its writer says that it
/// is kept, a moment that is long on a loaded machine.
fn known(samples: &[(DateTime<Utc>, u64)], at: DateTime<Utc>) -> u64 {
    let at = at - chrono::TimeDelta::milliseconds(100);
    samples.iter().take_while(|(then, _)| *then <= at).last().map_or(0, |(_, len)| *len)
}

/// The end of the last line within the first `len` bytes.
fn line_end(text: &[u8], len: u64) -> usize {
    let len = usize::try_from(len).unwrap().min(text.len());
    text[..len].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn destroy(host: &Host, running: Running) {
    host.kill(running);
    std::fs::remove_dir_all(host.spool.dir()).unwrap();
}

/// How long the hour file was, and when.
type Lengths = Vec<(DateTime<Utc>, u64)>;

/// A host under load that was destroyed at a random moment after its first checkpoint: what it was given, how long its hour file
/// was when, and what it had said.
fn destroyed(bytes: usize) -> (Host, Vec<u8>, Lengths) {
    let host = Host::new();
    let running = host.start(OFTEN);
    let load = Load::begin(&host, bytes);
    running.until("the first checkpoint is stored", || !host.checkpoints().is_empty());
    if bytes >= LARGE {
        let parts = cli::within(LONG, || checkpoint(&host).0.unfinished[0].upload.is_some());
        assert!(parts, "waited in vain for a checkpoint that tells of parts: {}", running.said());
    }
    std::thread::sleep(Duration::from_millis(fastrand::u64(0..2_000)));
    destroy(&host, running);
    let (text, samples) = load.end(&host);
    (host, text, samples)
}

/// Asserts that the object is a beginning of the lines, as long as the checkpoint promises: its plain length.
#[track_caller]
fn assert_saved(host: &Host, text: &[u8], samples: &[(DateTime<Utc>, u64)], at: DateTime<Utc>) -> usize {
    let objects = host.objects();
    assert_eq!(objects.len(), 1, "{:?}", host.keys());
    let plain = unpack(&objects[0], &host.data(&objects[0]));
    assert!(text.starts_with(&plain), "no beginning of the lines: {} of {} bytes", plain.len(), text.len());
    assert_eq!(plain.last(), Some(&b'\n'), "whole lines only");
    let promised = line_end(text, known(samples, at));
    assert!(plain.len() >= promised, "{} bytes are saved, {promised} were in the hour file at {at}", plain.len());
    let manifest = host.assert_manifest(&objects[0]);
    assert_eq!(manifest.summary.ended, How::Rescue);
    assert!(host.server.open_uploads().is_empty(), "{:?}", host.server.open_uploads());
    assert_eq!(host.keys().len(), 2, "{:?}", host.keys());
    plain.len()
}

// ------------------------------------------------------------------------------------------------------ lost for good

fn a_lost_host(bytes: usize, parts: bool) {
    far_from_the_turn(LONG);
    let (host, text, samples) = destroyed(bytes);
    let (before, data) = checkpoint(&host);
    let unfinished = &before.unfinished[0];
    assert_eq!(before.unfinished.len(), 1);
    let keys = host.server.all_keys("logs");
    let url = format!("s3://logs/{}", unfinished.manifest.key);
    let (lines, at) = (unfinished.manifest.summary.lines, before.at.format("%FT%TZ").to_string());

    host.server.clear_requests();
    let said = rescue(&host, &["--dry-run"]).code_is(0).said;
    assert!(said.contains(&format!("{url}: would save {lines} lines")) && said.contains(&at), "{said}");
    assert!(said.contains("would save 1 objects"), "{said}");
    assert!(host.server.requests().iter().all(|seen| matches!(seen.method.as_str(), "GET" | "HEAD")));
    assert_eq!((host.server.all_keys("logs"), checkpoint(&host).1), (keys, data), "nothing is changed");

    let said = rescue(&host, &[]).code_is(0).said;
    assert!(said.contains(&format!("{url}: saved {lines} lines")) && said.contains(&at), "{said}");
    assert!(said.contains("saved 1 objects"), "{said}");
    let saved = assert_saved(&host, &text, &samples, before.at);
    let number = host.server.object("logs", &host.objects()[0]).unwrap().parts;
    println!(
        "{saved} of {} bytes of lines saved, {} parts and {} bytes of tail; {}",
        text.len(),
        unfinished.parts.len(),
        unfinished.tail,
        said.lines().next().unwrap_or_default()
    );
    assert!(!parts || number == unfinished.parts.len() + 1);

    let all: Vec<_> = host.server.all_keys("logs").iter().map(|key| (key.clone(), host.data(key))).collect();
    let said = rescue(&host, &[]).code_is(0).said;
    assert!(said.contains("saved 0 objects") && said.contains("1 were rescued before"), "{said}");
    assert!(all.iter().all(|(key, data)| host.data(key) == *data) && all.len() == host.server.all_keys("logs").len());
}

#[test]
fn the_small_hour_of_a_lost_host_is_saved_up_to_its_last_checkpoint() {
    for _ in 0..setting("LOGJAM_STORM", 3) {
        a_lost_host(2 << 10, false);
    }
}

#[test]
fn the_large_hour_of_a_lost_host_is_saved_up_to_its_last_checkpoint_with_the_parts_that_are_there() {
    for _ in 0..setting("LOGJAM_STORM", 3) {
        a_lost_host(LARGE, true);
    }
}

#[test]
fn a_burst_that_the_packer_lags_behind_is_in_a_checkpoint_soon() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let running = host.start(&["--checkpoint=1s", "--level=9"]);
    let text = lines(48 << 20, 7);
    host.feed(&text);
    running.until("all of it is in the hour file", || kept(&host.spool.dir()) == text.len() as u64);
    let saved = || checkpoint_lines(&host);
    let all = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    let whole = cli::within(LONG, || saved() == all);
    assert!(whole, "{} of {all} lines are in the last checkpoint\n{}", saved(), running.said());
    host.kill(running);
    rescue(&host, &[]).code_is(0);
    let key = &host.objects()[0];
    assert!(unpack(key, &host.data(key)) == text);
}

/// A life on an empty DIR, until a checkpoint tells of all its lines.
fn begun_anew(host: &Host, options: &[&str], text: &[u8]) -> Running {
    std::fs::create_dir_all(host.spool.dir()).unwrap();
    let running = host.start(options);
    host.feed_until_kept(&running, text, text.len());
    let all = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    let told = || {
        let data: Vec<_> = host.checkpoints().iter().map(|key| host.data(key)).collect();
        let told = data.iter().filter_map(|data| checkpoint::read::<Part>(data)).flat_map(|(told, _)| told.unfinished);
        told.map(|one| one.manifest.summary.lines).any(|lines| lines == all)
    };
    assert!(cli::within(LONG, told), "waited in vain for the checkpoint: {}", running.said());
    running
}

/// What the objects hold, and a proof that all is well with them.
fn texts(host: &Host) -> Vec<Vec<u8>> {
    let objects = host.objects();
    objects.iter().for_each(|key| _ = host.assert_manifest(key));
    let mut verify = cli::logjam(["verify", DEST, "--deep"]);
    verify.envs(host.server.environment());
    cli::run(verify).code_is(0);
    objects.iter().map(|key| unpack(key, &host.data(key))).collect()
}

#[test]
fn an_hour_that_its_host_began_anew_without_its_disk_is_saved_beside_what_stands() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let lives = [lines(9_000, 21), lines(8_000, 22), lines(7_000, 23)];
    for text in &lives[..2] {
        destroy(&host, begun_anew(&host, OFTEN, text));
    }
    let running = begun_anew(&host, OFTEN, &lives[2]);
    growing::end_hour(&running);
    host.until_settled(&running, 1);
    assert_eq!(texts(&host), [lives[2].clone()]);
    let said = rescue(&host, &["--dry-run"]).code_is(0).said;
    assert!(said.contains("would save 2 objects; 1 stand already"), "{said}");
    rescue(&host, &[]).code_is(0).says("saved 2 objects; 1 stand already");
    let mut found = texts(&host);
    found.sort();
    let mut expected = lives.to_vec();
    expected.sort();
    assert!(found == expected, "{:?}", host.keys());
    rescue(&host, &[]).code_is(0).says("saved 0 objects; 0 stand already");
    host.end_input();
    growing::ends(running);
    assert_eq!(host.objects().len(), 3, "{:?}", host.keys());
}

#[test]
fn an_hour_that_is_begun_anew_leaves_the_key_to_the_parts_that_are_there() {
    far_from_the_turn(LONG);
    for second in [lines(5_000, 26), lines(9 << 20, 27)] {
        let host = Host::new();
        let first = lines(9 << 20, 24);
        destroy(&host, begun_anew(&host, OFTEN, &first));
        let running = begun_anew(&host, OFTEN, &second);
        growing::end_hour(&running);
        host.until_settled(&running, 1);
        host.end_input();
        growing::ends(running);
        assert!(texts(&host) == [second.clone()], "{:?}", host.keys());
        rescue(&host, &[]).code_is(0).says("saved 1 objects");
        let found = texts(&host);
        assert!(found.len() == 2 && found.contains(&first) && found.contains(&second), "{:?}", host.keys());
        assert!(host.server.open_uploads().is_empty());
    }
}

#[test]
fn parts_whose_key_is_taken_are_kept_until_somebody_makes_room() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let first = lines(9 << 20, 24);
    destroy(&host, begun_anew(&host, OFTEN, &first));
    assert_eq!(host.server.open_uploads().len(), 1);
    // A host that may not see what others have open.
    host.server.set_fault(|seen| match seen.query.contains("uploads") && seen.method == "GET" {
        true => Fault::refuse(403, "AccessDenied"),
        false => Fault::None,
    });
    let second = lines(5_000, 25);
    let running = begun_anew(&host, OFTEN, &second);
    growing::end_hour(&running);
    host.until_settled(&running, 1);
    host.end_input();
    growing::ends(running);
    host.server.clear_fault();
    let keys = host.keys();
    for _ in 0..2 {
        rescue(&host, &[])
            .code_is(1)
            .says("can only become that object")
            .says("saved 0 objects")
            .says("1 could not be saved");
        assert_eq!((host.keys(), host.server.open_uploads().len()), (keys.clone(), 1), "nothing is changed");
    }
    keys.iter().for_each(|key| host.server.remove_object("logs", key));
    rescue(&host, &[]).code_is(0).says("saved 1 objects");
    assert!(texts(&host) == [first], "{:?}", host.keys());
    assert!(host.server.open_uploads().is_empty());
}

/// How many lines the last checkpoint tells of.
fn checkpoint_lines(host: &Host) -> u64 {
    if host.checkpoints().is_empty() {
        return 0;
    }
    checkpoint(host).0.unfinished.first().map_or(0, |unfinished| unfinished.manifest.summary.lines)
}

#[test]
fn a_host_whose_checkpoint_is_young_counts_as_living() {
    far_from_the_turn(LONG);
    let (host, ..) = destroyed(2 << 10);
    let said = rescue(&host, &["--older-than=1h"]).code_is(0).said;
    assert!(said.contains("saved 0 objects") && said.contains("1 streams live"), "{said}");
    assert!(host.keys().is_empty());
}

// ------------------------------------------------------------------------------------------------- two rescues at once

#[test]
fn two_rescues_at_once_leave_the_same_as_one() {
    far_from_the_turn(LONG);
    for round in 0..setting("LOGJAM_STORM", 3) {
        let (host, text, samples) = destroyed(if round % 2 == 0 { LARGE } else { 2 << 10 });
        let at = checkpoint(&host).0.at;
        let both = [(); 2].map(|()| Running::start(rescue_command(&host, &[])));
        let said = both.map(|running| running.end_within(LONG).code_is(0).said);
        assert_saved(&host, &text, &samples, at);
        let said = said.concat();
        println!("{}", said.lines().collect::<Vec<_>>().join(" | "));
        let said = rescue(&host, &[]).code_is(0).said;
        assert!(said.contains("1 were rescued before"), "{said}");
    }
}

// ------------------------------------------------------------------------------------------------------- only cut off

/// Asserts that both objects together hold all lines exactly once, with right manifests and receipts.
#[track_caller]
fn assert_both(host: &Host, text: &[u8]) {
    let objects = host.objects();
    assert_eq!(objects.len(), 2, "{:?}", host.keys());
    let mut plain: Vec<_> = objects.iter().map(|key| unpack(key, &host.data(key))).collect();
    plain.sort_by_key(|plain| !text.starts_with(plain));
    assert!(plain.concat() == text, "{} bytes of {}", plain.concat().len(), text.len());
    let mut ended: Vec<_> = objects.iter().map(|key| host.assert_manifest(key).summary.ended == How::Rescue).collect();
    ended.sort_unstable();
    assert_eq!(ended, [false, true], "one of a rescue, one of the host");
    assert_eq!(host.keys().len(), 4, "{:?}", host.keys());
    assert!(host.server.open_uploads().is_empty(), "{:?}", host.server.open_uploads());
    let receipts = cli::names(&host.spool.archive(".uploaded"));
    assert_eq!(receipts.len(), 2, "{receipts:?}");
    for name in receipts {
        let receipt = std::fs::read(host.spool.receipt(&name)).unwrap();
        let receipt: serde_json::Value = serde_json::from_slice(&receipt).unwrap();
        let key = receipt["stored"].as_str().unwrap().strip_prefix("s3://logs/").unwrap().to_owned();
        assert_eq!(receipt["bytes"], host.data(&key).len(), "{receipt}");
    }
    host.spool.assert_tidy();
}

/// How host A is cut off.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It is stopped.
    Stopped,
    /// The server refuses all that it asks for.
    Refused,
    /// The connections of it are cut.
    Disconnected,
}

fn a_host_that_was_cut_off(cut: Cut, large: bool, rescues: usize) {
    far_from_the_turn(LONG);
    let host = Host::new();
    let mut command = host.command(&[OFTEN, &["--once"]].concat());
    command.env("AWS_REGION", REGION_OF_A);
    let running = Running::start(command);
    let (first, rest) = if large { (9 << 20, 4 << 20) } else { (300 << 10, 100 << 10) };
    let text = lines(first + rest, 8);
    let first = line_end(&text, first as u64);
    host.feed_until_kept(&running, &text[..first], first);
    let all = text[..first].iter().filter(|byte| **byte == b'\n').count() as u64;
    running.until("a checkpoint tells of all lines", || checkpoint_lines(&host) == all);
    match cut {
        Cut::Stopped => running.signal_group(Signal::SIGSTOP),
        Cut::Refused => host.server.set_fault(|seen| from_a(seen, Fault::refuse(503, "SlowDown"))),
        Cut::Disconnected => host.server.set_fault(|seen| from_a(seen, Fault::Cut)),
    }
    let both: Vec<_> = (0..rescues).map(|_| Running::start(rescue_command(&host, &[]))).collect();
    for one in both {
        one.end_within(LONG).code_is(0);
    }
    assert_eq!(host.objects().len(), 1);
    if matches!(cut, Cut::Stopped) {
        running.signal_group(Signal::SIGCONT);
    }
    host.feed_until_kept(&running, &text[first..], text.len());
    host.server.clear_fault();
    host.end_input();
    let said = running.end_within(LONG).code_is(0).said;
    assert!(said.contains("a rescue stored the first"), "{said}");
    assert_both(&host, &text);
    // What its last checkpoint tells of stands.
    let said = rescue(&host, &[]).code_is(0).said;
    assert!(said.contains("saved 0 objects"), "{said}");
    assert_both(&host, &text);
}

fn from_a(seen: &Seen, fault: Fault) -> Fault {
    if seen.region() == Some(REGION_OF_A) { fault } else { Fault::None }
}

#[test]
fn a_host_that_was_only_stopped_stores_what_the_rescue_did_not_have() {
    a_host_that_was_cut_off(Cut::Stopped, false, 1);
    a_host_that_was_cut_off(Cut::Stopped, true, 1);
}

#[test]
fn a_host_that_the_server_refused_for_a_while_stores_what_the_rescue_did_not_have() {
    a_host_that_was_cut_off(Cut::Refused, false, 1);
    a_host_that_was_cut_off(Cut::Refused, true, 2);
}

#[test]
fn a_host_without_a_line_for_a_while_stores_what_the_rescue_did_not_have() {
    a_host_that_was_cut_off(Cut::Disconnected, false, 2);
    a_host_that_was_cut_off(Cut::Disconnected, true, 1);
}

#[test]
fn a_rescue_of_a_host_that_goes_on_all_the_while_leaves_every_line_exactly_once() {
    far_from_the_turn(LONG);
    for bytes in [4 << 10, LARGE] {
        let host = Host::new();
        let running = host.start(OFTEN);
        let load = Load::begin(&host, bytes);
        running.until("the first checkpoint is stored", || !host.checkpoints().is_empty());
        if bytes > 10_000 {
            host.until_parts(&running, 1);
        }
        rescue(&host, &[]).code_is(0);
        assert_eq!(host.objects().len(), 1);
        // It does not know yet, and goes on.
        let before = kept(&host.spool.dir());
        running.until("more lines came", || kept(&host.spool.dir()) > before);
        load.stop.store(true, Ordering::Relaxed);
        let text = load.feeder.join().unwrap();
        running.until("all lines are in the hour file", || kept(&host.spool.dir()) == text.len() as u64);
        growing::end_hour(&running);
        host.until_settled(&running, 2);
        assert_both(&host, &text);
        host.end_input();
        growing::ends(running);
    }
}

// --------------------------------------------------------------------------------------------------------- what fails

#[test]
fn a_rescue_that_lacks_a_right_says_which_and_the_next_one_saves_all() {
    far_from_the_turn(LONG);
    for large in [false, true] {
        let (host, text, samples) = destroyed(if large { LARGE } else { 2 << 10 });
        let at = checkpoint(&host).0.at;
        let open = host.server.open_uploads().len();
        host.server.set_fault(|seen| match seen.method.as_str() {
            "PUT" | "POST" => Fault::refuse(403, "AccessDenied"),
            _ => Fault::None,
        });
        rescue(&host, &[]).code_is(1).says("AccessDenied").says("s3:PutObject").says("1 could not be saved");
        assert!(host.keys().is_empty());
        assert_eq!(host.server.open_uploads().len(), open);
        // Allowed to store the object, not the manifest.
        host.server.set_fault(|seen| match seen.key.ends_with(".json") && seen.method == "PUT" {
            true => Fault::refuse(403, "AccessDenied"),
            false => Fault::None,
        });
        rescue(&host, &[]).code_is(1).says("AccessDenied").says(".json");
        assert_eq!(host.keys().len(), 1);
        host.server.clear_fault();
        rescue(&host, &[]).code_is(0).says("stands already");
        assert_saved(&host, &text, &samples, at);
    }
}

#[test]
fn a_bucket_that_is_gone_or_a_server_that_is_dead_is_said_with_status_1() {
    let host = Host::new();
    host.server.remove_bucket("logs");
    rescue(&host, &[]).code_is(1).says("Failed to find bucket logs");
    host.server.stop();
    rescue(&host, &[]).code_is(1).says("Connection refused");
}

#[test]
fn an_upload_that_expired_can_not_be_saved_and_is_named() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let running = host.start(OFTEN);
    let text = lines(9 << 20, 9);
    host.feed(&text);
    host.until_parts(&running, 1);
    // A checkpoint may have had all the lines before the part was sent: without another line none is written.
    host.feed(b"one more line\n");
    let told = || !host.checkpoints().is_empty() && checkpoint(&host).0.unfinished[0].upload.is_some();
    assert!(cli::within(LONG, told), "waited in vain until the checkpoint tells of the part:\n{}", running.said());
    destroy(&host, running);
    host.server.expire_uploads();
    rescue(&host, &[]).code_is(1).says("the upload with its first 5242880 bytes is gone").says("may have them");
    assert!(host.keys().is_empty());
}

// ---------------------------------------------------------------------------------------------------------- directory

fn below(root: &Path) -> Vec<PathBuf> {
    cli::files_below(root).into_iter().map(PathBuf::from).filter(|path| !path.starts_with(".logjam")).collect()
}

#[test]
fn the_hour_of_a_lost_host_is_saved_in_a_directory_as_well() {
    far_from_the_turn(LONG);
    for bytes in [2 << 10, 128 << 10] {
        let host = Host::new();
        let root = host.spool.beside("store");
        let dest = format!("file://{}/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", root.display());
        let mut command = cli::logjam(["pipe", &host.spool.arg(), &dest, "--suffix=host"]);
        command.args(PACK).args(OFTEN);
        host.attach(&mut command);
        let running = Running::start(command);
        let load = Load::begin(&host, bytes);
        let found = || cli::files_below(&root.join(".logjam/checkpoint"));
        running.until("the first checkpoint is stored", || !found().is_empty());
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..2_000)));
        destroy(&host, running);
        let (text, samples) = load.end(&host);
        let key = &found()[0];
        let data = std::fs::read(root.join(".logjam/checkpoint").join(key)).unwrap();
        let at = checkpoint::read::<Part>(&data).expect("a checkpoint").0.at;
        let rescue = |options: &[&str]| {
            let mut command = cli::logjam(["rescue", &dest, "--older-than=0s"]);
            command.args(options);
            cli::run(command)
        };
        rescue(&["--dry-run"]).code_is(0).says("would save 1 objects");
        assert!(below(&root).is_empty(), "{:?}", below(&root));
        rescue(&[]).code_is(0).says("saved 1 objects");
        let files = below(&root);
        assert_eq!(files.len(), 2, "{files:?}");
        let object = files.iter().find(|path| path.extension().is_some_and(|end| end == "gz")).unwrap();
        let plain = unpack("x.gz", &std::fs::read(root.join(object)).unwrap());
        let manifest = files.iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
        let manifest = Manifest::parse(&std::fs::read(root.join(manifest)).unwrap()).expect("a manifest");
        assert_eq!((manifest.summary.ended, manifest.summary.bytes), (How::Rescue, plain.len() as u64));
        assert!(text.starts_with(&plain) && plain.ends_with(b"\n"));
        let promised = line_end(&text, known(&samples, at));
        assert!(plain.len() >= promised, "{} bytes are saved, {promised} were in the hour file at {at}", plain.len());
        println!("{} of {} bytes of lines saved in a directory", plain.len(), text.len());
        rescue(&[]).code_is(0).says("saved 0 objects").says("1 were rescued before");
    }
}
