//! Under the real rsyslogd with `confirmMessages`: the shipped configurations, storms of kills, full disks, restarts of
//! either side, and the scenarios of rsyslog's own tests of omprog that concern confirmation.
#![allow(clippy::disallowed_methods)] // Tests look at files and clocks as they are.

use crate::server;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cases::{
    self, CONFIRMED, IN_TRANSACTIONS, SHIPPED_PIPE, action, assert_left_by_itself, assert_no_trouble, recommended,
};
use crate::daemons::*;
use nix::sys::signal::Signal;

// ------------------------------------------------------------------------------------------------------ configurations

/// The line that lets a queue go to the disk, and with it breaks the order.
const SPILLS: (&str, &str) = ("    queue.filename=\"logjam\"\n", "");

const CONFIRM: &str = "rsyslog/logjam.conf";
const ID: &str = "rsyslog/logjam-id.conf";
const TRANSACTIONS: &str = "rsyslog/logjam-transactions.conf";
const PLAIN: &str = "rsyslog/logjam-plain.conf";

/// The recommended configuration with a queue in memory, which keeps the order, and with `settings` in the action.
#[track_caller]
fn confirming(site: &Site, settings: &str) -> String {
    let last = ("action.resumeInterval=\"1\"\n", &*format!("action.resumeInterval=\"1\"\n    {settings}\n"));
    recommended(site, CONFIRM, &[SPILLS, last])
}

#[test]
fn every_shipped_configuration_passes_rsyslogds_own_check() {
    let mut checked = 0;
    for entry in std::fs::read_dir(Path::new(REPOSITORY).join("contrib/rsyslog")).expect("contrib").flatten() {
        let site = Site::new();
        let main = format!(
            "global(workDirectory=\"{}\")\nmodule(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"0\")\ninclude(file=\"{}\")\n",
            site.text("state"),
            entry.path().display()
        );
        std::fs::write(site.path("rsyslog.conf"), main).expect("a configuration");
        let output =
            Command::new(rsyslogd()).arg("-N1").arg("-f").arg(site.path("rsyslog.conf")).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", entry.path().display());
        let complaints: Vec<_> = said.lines().filter(|line| !line.contains("onfig validation run")).collect();
        assert!(complaints.is_empty(), "{}: {complaints:#?}", entry.path().display());
        checked += 1;
    }
    assert!(checked >= 4, "only {checked} files");
}

#[test]
fn the_confirming_configuration_carries_every_line_unchanged_and_in_order() {
    carried_in_order(CONFIRM, 20_000);
}

#[test]
fn the_configuration_with_identities_carries_every_line_unchanged_and_in_order() {
    carried_in_order(ID, 20_000);
}

#[test]
fn the_configuration_with_transactions_carries_every_line_unchanged_and_in_order() {
    carried_in_order(TRANSACTIONS, 4000);
}

/// Few enough at a time that the queue need not spill, which would break the order.
fn carried_in_order(file: &str, count: usize) {
    let site = Site::new();
    let rsyslogd = start_rsyslogd(&site, &recommended(&site, file, &[]));
    let storm = lines(0, count);
    rsyslogd.send(&storm.sent);
    site.wait_for_lines(count);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &storm.by_rsyslog);
}

#[test]
fn a_storm_that_spills_to_the_disk_arrives_whole_through_two_processes() {
    let site = Site::new();
    let storm = lines(0, storm_lines());
    let small = [("queue.size=\"50000\"", "queue.size=\"10000\"")];
    let rules = recommended(&site, CONFIRM, &small);
    let rsyslogd = start_rsyslogd(&site, &rules);
    rsyslogd.send(&storm.sent);
    cases::wait_through_disk(&site, rsyslogd, &rules, storm.sent.len()).stop();
    assert_left_by_itself(&site);
    assert_same_lines(&site.archived_lines(), &storm.by_rsyslog);
}

// ------------------------------------------------------------------------------------------------------ storms of kills

/// How many kills a storm has: `LOGJAM_STORM_KILLS`, or 10.
fn storm_kills() -> usize {
    std::env::var("LOGJAM_STORM_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(10)
}

/// What decides the moments: `LOGJAM_STORM_SEED`, or the clock.
fn storm_seed() -> u64 {
    let clock = || std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos() as u64;
    std::env::var("LOGJAM_STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(clock)
}

/// Numbers that look random, the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// A message that is sent last where it shall tell that all before it have been handed over.
const LAST: &str = "that was all";

fn last_message() -> String {
    format!("<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - {LAST}")
}

/// What was killed, and how often.
#[derive(Debug, Default)]
struct Kills {
    /// The worker, with its guard alive: rsyslogd need not notice.
    worker: usize,
    /// The guard, its worker going on.
    guard: usize,
    /// Both at once.
    both: usize,
    /// A worker that had lost its guard before.
    orphan: usize,
    /// The longest that a guard needed for another worker.
    slowest: Duration,
}

impl Kills {
    /// How often rsyslogd saw its program die.
    fn deaths(&self) -> usize {
        self.both + self.orphan
    }
}

/// A guard and its worker; either may be gone.
fn pair(site: &Site, rsyslogd: &Daemon) -> (Option<Process>, Option<Process>) {
    let children = site.children();
    let guard = children.iter().find(|process| process.parent == rsyslogd.pid());
    let worker = children.iter().find(|process| process.parent != rsyslogd.pid());
    (guard.cloned(), worker.cloned())
}

fn kill_some(site: &Site, rsyslogd: &Daemon, kinds: &str, count: usize, dice: &mut Dice) -> Kills {
    let mut kills = Kills::default();
    let mut bag = Vec::new();
    for _ in 0..count {
        // Each kind as often as it stands there, in any order.
        if bag.is_empty() {
            bag.extend_from_slice(kinds.as_bytes());
        }
        let kind = bag.swap_remove(dice.below(bag.len() as u64) as usize);
        // Not before there is a worker, which there is not at once after the last kill.
        let (guard, worker) = wait_for("a worker", || {
            let (guard, worker) = pair(site, rsyslogd);
            worker.map(|worker| (guard, worker))
        });
        // Any moment is as good as any other.
        std::thread::sleep(Duration::from_micros(dice.below(40_000)));
        match (kind, guard) {
            (b'w', Some(guard)) => {
                worker.signal(Signal::SIGKILL);
                let start = Instant::now();
                wait_for("another worker", || {
                    let next = pair(site, rsyslogd).1?;
                    (next.parent == guard.pid && next.pid != worker.pid).then_some(())
                });
                kills.slowest = kills.slowest.max(start.elapsed());
                kills.worker += 1;
            }
            (b'g', Some(guard)) => {
                guard.signal(Signal::SIGKILL);
                guard.wait_until_gone();
                assert!(worker.is_alive(), "the worker died with its guard");
                kills.guard += 1;
            }
            (_, guard) => {
                let kind = if guard.is_some() { &mut kills.both } else { &mut kills.orphan };
                *kind += 1;
                // The guard first, or it would start another worker.
                guard.iter().for_each(|guard| guard.signal(Signal::SIGKILL));
                worker.signal(Signal::SIGKILL);
                worker.wait_until_gone();
            }
        }
    }
    kills
}

/// Keeps lines flowing until told to stop, with so many in rsyslogd's queue that it always has one to hand over. No more:
/// rsyslogd drops what does not fit into a full queue. Returns how many were sent.
fn feed(site: &Site, rsyslogd: &Daemon, lossy: bool, stop: &AtomicBool) -> usize {
    let mut tally = Tally::default();
    let (mut count, mut stored, mut news) = (0, 0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let now = tally.lines(&site.path(""));
        if now > stored {
            (stored, news) = (now, Instant::now());
        }
        // Where lines may be lost, those that seem to be under way may never come.
        if count < stored + 3000 || (lossy && news.elapsed() > Duration::from_millis(200)) {
            rsyslogd.send((count..count + 500).map(sent));
            (count, news) = (count + 500, Instant::now());
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    count
}

/// What is in the archive of a storm.
#[derive(Debug, Default)]
struct Found {
    /// How often each line.
    times: Vec<u32>,
    /// Lines that follow one of a higher number.
    backward: usize,
    /// Lines that were never sent as they are, with the one before each.
    strange: Vec<(Option<usize>, String)>,
}

impl Found {
    fn read(site: &Site, count: usize) -> Found {
        let mut found = Found { times: vec![0; count], ..Found::default() };
        let mut last = None;
        for line in site.archived_lines() {
            match number(&line).filter(|&n| n < count && by_rsyslog(n).as_bytes() == line) {
                Some(n) => {
                    found.times[n] += 1;
                    found.backward += usize::from(last.is_some_and(|last| n <= last));
                    last = Some(n);
                }
                None if line.ends_with(LAST.as_bytes()) => {}
                None => found.strange.push((last, String::from_utf8_lossy(&line).into_owned())),
            }
        }
        found
    }

    fn missing(&self) -> usize {
        self.times.iter().filter(|&&times| times == 0).count()
    }

    /// How many lines are there beyond the first of each.
    fn twice(&self) -> usize {
        self.times.iter().map(|&times| times.saturating_sub(1) as usize).sum()
    }

    #[track_caller]
    fn assert_nothing_lost(&self) {
        assert!(self.strange.is_empty(), "changed lines: {:#?}", &self.strange[..self.strange.len().min(5)]);
        let missing: Vec<_> = (0..self.times.len()).filter(|&n| self.times[n] == 0).collect();
        assert!(missing.is_empty(), "{} lines are lost: {:?}", missing.len(), &missing[..missing.len().min(20)]);
    }

    #[track_caller]
    fn assert_each_once(&self) {
        self.assert_nothing_lost();
        let twice: Vec<_> = (0..self.times.len()).filter(|&n| self.times[n] > 1).collect();
        assert!(twice.is_empty(), "{} lines came more than once: {:?}", twice.len(), &twice[..twice.len().min(20)]);
    }

    #[track_caller]
    fn assert_in_order(&self) {
        assert_eq!(self.backward, 0, "lines out of order");
    }
}

/// Sends lines under `rules` while the program is killed again and again; `kinds` says what: `w`orker, `g`uard, `b`oth.
fn storm(mode: &str, kinds: &str, rules: impl FnOnce(&Site) -> String) -> (Kills, Found) {
    let seed = storm_seed();
    let mut dice = Dice(seed);
    let site = Site::new();
    println!("{mode}: LOGJAM_STORM_SEED={seed}");
    let rsyslogd = start_rsyslogd(&site, &rules(&site));
    let stop = AtomicBool::new(false);
    let (sent, kills) = std::thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(&site, &rsyslogd, mode == PLAIN_MODE, &stop));
        let _stop = Stop(&stop);
        site.wait_for_lines(1);
        let kills = kill_some(&site, &rsyslogd, kinds, storm_kills(), &mut dice);
        stop.store(true, Ordering::Relaxed);
        (feeder.join().expect("lines"), kills)
    });
    // The last one comes when all before it have been handed over.
    rsyslogd.send([last_message()]);
    site.wait_for_text(LAST);
    rsyslogd.stop();
    let found = Found::read(&site, sent);
    println!(
        "{mode}: {sent} lines sent, {} stored, {} twice, {} missing, {} out of order; killed: worker {}, guard {}, both {}, \
         worker without guard {}; another worker after {:?} at most",
        found.times.iter().sum::<u32>(),
        found.twice(),
        found.missing(),
        found.backward,
        kills.worker,
        kills.guard,
        kills.both,
        kills.orphan,
        kills.slowest,
    );
    (kills, found)
}

/// Ends the feeding, also when a test panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The one in which the death of both may cost lines.
const PLAIN_MODE: &str = "plain";
const ANY: &str = "wwwwggbbbb";

#[test]
fn kill_9_of_guard_worker_or_both_loses_no_line_and_doubles_none_when_each_is_confirmed() {
    let (_, found) = storm("messages", ANY, |site| recommended(site, CONFIRM, &[SPILLS]));
    found.assert_each_once();
    found.assert_in_order();
}

#[test]
fn kill_9_of_guard_worker_or_both_loses_no_line_and_doubles_none_with_identities() {
    let (_, found) = storm("messages, --id", ANY, |site| recommended(site, ID, &[SPILLS]));
    found.assert_each_once();
    found.assert_in_order();
}

/// A queue in memory, and batches that a storm goes through many of.
const TRANSACTIONS_IN_MEMORY: [(&str, &str); 3] =
    [SPILLS, ("queue.type=\"Disk\"", "queue.type=\"LinkedList\""), ("BatchSize=\"1024\"", "BatchSize=\"100\"")];

#[test]
fn kill_9_of_guard_worker_or_both_loses_no_line_and_doubles_none_with_transactions_and_identities() {
    let rules = |site: &Site| recommended(site, TRANSACTIONS, &TRANSACTIONS_IN_MEMORY);
    let (_, found) = storm("transactions, --id", ANY, rules);
    found.assert_each_once();
}

#[test]
fn kill_9_with_transactions_but_no_identities_loses_no_line_and_doubles_no_more_than_rsyslog_sends_again() {
    let rules = |site: &Site| {
        let without_id = [(" --id ", " "), ("%uuid% %TIMESTAMP", "%TIMESTAMP")];
        recommended(site, TRANSACTIONS, &[&TRANSACTIONS_IN_MEMORY[..], &without_id].concat())
    };
    let (kills, found) = storm("transactions", ANY, rules);
    found.assert_nothing_lost();
    // A whole batch, where the answer to its COMMIT was lost, and the first line of the next one.
    let bound = kills.deaths() * (100 + 1);
    assert!(found.twice() <= bound, "{} lines came twice, {bound} at most are rsyslog's doing", found.twice());
}

#[test]
fn kill_9_of_the_worker_loses_no_line_and_doubles_none_in_plain_mode() {
    let (_, found) = storm("plain, worker only", "w", |site| recommended(site, PLAIN, &[SPILLS]));
    found.assert_each_once();
    found.assert_in_order();
}

#[test]
fn kill_9_of_guard_and_worker_loses_no_more_than_the_pipe_held_in_plain_mode() {
    const PIPE: usize = 1 << 20;
    let (kills, found) = storm(PLAIN_MODE, ANY, |site| recommended(site, PLAIN, &[SPILLS]));
    assert_eq!(found.twice(), 0, "lines came twice");
    found.assert_in_order();
    let lost: usize = (0..found.times.len()).filter(|&n| found.times[n] == 0).map(|n| by_rsyslog(n).len() + 1).sum();
    assert!(lost <= kills.deaths() * PIPE, "{lost} bytes are lost by {} deaths", kills.deaths());
    // The beginning of a line may have been taken out of the pipe when the rest of it was lost.
    assert!(found.strange.len() <= kills.deaths(), "{:#?}", found.strange);
    for (last, piece) in &found.strange {
        let whole = by_rsyslog(last.map_or(0, |last| last + 1));
        assert!(whole.starts_with(piece.as_str()), "{piece:?} is not the beginning of {whole:?}");
    }
}

// ------------------------------------------------------------------------------------------------- stops of rsyslogd

#[test]
fn stopping_the_service_again_and_again_under_load_loses_no_line_and_doubles_none() {
    stopped_under_load(CONFIRM);
}

#[test]
fn stopping_the_service_again_and_again_under_load_loses_no_line_and_doubles_none_with_identities() {
    stopped_under_load(ID);
}

fn stopped_under_load(file: &str) {
    let site = Site::new();
    let rules = recommended(&site, file, &[]);
    let count = 20_000;
    for round in 0..3 {
        let rsyslogd = start_rsyslogd(&site, &rules);
        rsyslogd.send((round * count..(round + 1) * count).map(sent));
        site.wait_for_lines(round * count + 1);
        // What is not handed over yet goes to the disk, and comes with the next start.
        rsyslogd.stop_service();
    }
    let rsyslogd = start_rsyslogd(&site, &rules);
    site.wait_for_lines(3 * count);
    rsyslogd.stop_service();
    let found = Found::read(&site, 3 * count);
    println!("{file}: {} lines through 4 lives of rsyslogd, {} twice", 3 * count, found.twice());
    found.assert_each_once();
}

#[test]
fn killing_rsyslogd_loses_nothing_from_a_disk_queue_and_doubles_no_more_than_the_line_under_way() {
    let found = rsyslogd_killed(CONFIRM);
    found.assert_nothing_lost();
    // rsyslogd takes a line off its queue when it is delivered: the one under way may come again.
    assert!(found.twice() <= 3, "{} lines came twice", found.twice());
}

#[test]
fn killing_rsyslogd_loses_nothing_from_a_disk_queue_and_doubles_nothing_with_identities() {
    rsyslogd_killed(ID).assert_each_once();
}

#[test]
fn killing_rsyslogd_loses_nothing_from_a_disk_queue_and_doubles_nothing_with_transactions_and_identities() {
    rsyslogd_killed(TRANSACTIONS).assert_each_once();
}

fn rsyslogd_killed(file: &str) -> Found {
    let site = Site::new();
    let mut on_disk = vec![("--on-error=hold", "--on-error=hold --log-level=debug")];
    if file != TRANSACTIONS {
        on_disk.push(("queue.type=\"LinkedList\"", "queue.type=\"Disk\""));
        on_disk.push(("queue.checkpointInterval=\"100\"", "queue.checkpointInterval=\"1\""));
    }
    let rules = recommended(&site, file, &on_disk);
    // What rsyslogd takes in goes straight into the queue of the action, and so to the disk.
    let setup = Setup { main_queue: "queue.type=\"Direct\"".to_owned(), ..Setup::default() };
    let (rounds, count) = (3, 1500);
    for round in 0..rounds {
        let first = round * count;
        let rsyslogd = start_rsyslogd_with(&site, &setup, &rules);
        rsyslogd.send([sent(first)]);
        site.wait_for_text(&by_rsyslog(first));
        // While the program is stopped, the queue fills.
        let worker = site.worker();
        worker.signal(Signal::SIGSTOP);
        rsyslogd.send((first + 1..first + count).map(sent));
        worker.signal(Signal::SIGCONT);
        site.wait_for_text(&by_rsyslog(first + 200));
        rsyslogd.kill();
        site.wait_until_no_child();
    }
    let rsyslogd = start_rsyslogd_with(&site, &setup, &rules);
    site.wait_for_text(&by_rsyslog(rounds * count - 1));
    rsyslogd.stop();
    let found = Found::read(&site, rounds * count);
    println!("{file}: rsyslogd killed {rounds} times: {} missing, {} twice", found.missing(), found.twice());
    found
}

/// What shortens a stop of rsyslogd while the program waits.
const IMPATIENT: [(&str, &str); 2] = [
    ("queue.timeoutShutdown=\"5000\"", "queue.timeoutShutdown=\"500\""),
    ("queue.timeoutActionCompletion=\"60000\"", "queue.timeoutActionCompletion=\"1000\""),
];

#[test]
fn lines_that_wait_for_a_start_while_rsyslogd_is_restarted_are_delivered_afterwards() {
    let site = Site::new();
    let all = lines(0, 200);
    std::fs::remove_dir(site.spool()).expect("no directory");
    std::fs::write(site.spool(), "in the way").expect("a file in its place");
    let rules = recommended(&site, CONFIRM, &IMPATIENT);
    let rsyslogd = start_rsyslogd(&site, &rules);
    rsyslogd.send(&all.sent);
    site.wait_until_it_says(&site.text("spool"));
    rsyslogd.stop_service();
    site.wait_until_no_child();

    std::fs::remove_file(site.spool()).expect("the mend");
    std::fs::create_dir(site.spool()).expect("the mend");
    delivered_afterwards(&site, &rules, all.sent.len()).assert_each_once();
}

#[test]
fn lines_that_wait_for_space_while_rsyslogd_is_restarted_are_delivered_afterwards() {
    let site = Site::new();
    let count = 200;
    // No disk has that much free space.
    let full = ("--on-error=hold", "--on-error=hold --reserve=1000TiB");
    let rsyslogd = start_rsyslogd(&site, &recommended(&site, CONFIRM, &[&IMPATIENT[..], &[full]].concat()));
    rsyslogd.send((0..count).map(sent));
    site.wait_until_it_says("intake waits");
    rsyslogd.stop_service();
    site.wait_until_no_child();
    let found = delivered_afterwards(&site, &recommended(&site, CONFIRM, &IMPATIENT), count);
    assert_eq!(found.twice(), 0, "lines came twice");
    // Also the one that rsyslogd gave up when queue.timeoutActionCompletion was over: it goes into the reserve.
    assert_eq!(found.missing(), 0, "lines are lost");
}

#[track_caller]
fn delivered_afterwards(site: &Site, rules: &str, count: usize) -> Found {
    let rsyslogd = start_rsyslogd(site, rules);
    rsyslogd.send([last_message()]);
    site.wait_for_text(LAST);
    site.wait_for_lines(count);
    rsyslogd.stop();
    let found = Found::read(site, count);
    println!("stopped while it waited: {} missing, {} twice", found.missing(), found.twice());
    found
}

// ----------------------------------------------------------------------------------------------------- the bucket is away

#[test]
fn a_bucket_that_comes_and_goes_disturbs_no_intake_and_has_every_line_once_in_the_end() {
    let server = server::S3Server::start();
    server.create_bucket("logs");
    let mut environment: Vec<_> =
        server.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    environment.push(("AWS_REGION".to_owned(), "us-east-1".to_owned()));
    let site = Site::new();
    let dest = "s3://logs/{prefix}/{year}/{month}/{day}/{filename}";
    let pipe = format!("{LOGJAM} pipe {} {dest} --suffix=test --keep=1h", site.text("spool"));
    let rules = shipped(CONFIRM, &[(SHIPPED_PIPE, &pipe), ("/var/log/logjam.err", &site.text("logjam.err")), SPILLS]);
    let setup = Setup { environment: environment.clone(), ..Setup::default() };
    let rsyslogd = start_rsyslogd_with(&site, &setup, &rules);

    let (rounds, count) = (4, 2000);
    for round in 0..rounds {
        if round % 2 == 1 {
            server.stop();
        }
        let from = round * count;
        rsyslogd.send((from..from + count).map(sent));
        // Before anything of it is stored: the bucket is away in every other round.
        site.wait_for_text(&by_rsyslog(from + count - 1));
        // Ends the open file, as the end of the hour does.
        site.child().signal(Signal::SIGUSR1);
        wait_for("the end of the file", || {
            let sealed = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|meta| meta.len() == 0);
            log_files(&site.spool(), ".log").iter().all(sealed).then_some(())
        });
        if round % 2 == 1 {
            server.resume();
        }
    }
    rsyslogd.stop();
    site.wait_until_no_child();
    let mut words = pipe.split(' ');
    let mut finish = Command::new(words.next().expect("a program"));
    finish.args(words).arg("--once").envs(environment).stdin(Stdio::null());
    let output = finish.output().expect("logjam pipe --once runs");
    assert!(output.status.success(), "{output:?}");

    let mut stored = Vec::new();
    let keys = server.keys("logs");
    assert!(keys.len() >= rounds, "{keys:?}");
    for key in keys.iter().filter(|key| key.ends_with(".log.gz")) {
        let packed = server.object("logs", key).expect("an object").data().to_vec();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text).expect("a whole archive");
        stored.extend(text.split_inclusive(|&byte| byte == b'\n').map(|line| line[..line.len() - 1].to_vec()));
    }
    assert_same_lines(&stored, &lines(0, rounds * count).by_rsyslog);
    assert!(server.open_uploads().is_empty());
}

// ------------------------------------------------------------------------------------------------------------- waiting

/// A small file system of its own over a directory, until dropped.
struct Mounted(PathBuf);

impl Mounted {
    #[track_caller]
    fn new(path: PathBuf, size: &str) -> Mounted {
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&path).status();
        assert!(status.is_ok_and(|status| status.success()), "mounting a tmpfs needs root");
        Mounted(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Watches for so long that something stays true.
#[track_caller]
fn stays(what: &str, long: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < long {
        assert!(holds(), "after {:?} no longer: {what}", start.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_disk_full_to_the_last_byte_keeps_rsyslogd_waiting_and_loses_and_doubles_nothing() {
    run_full("--reserve=0");
}

#[test]
fn a_disk_full_to_its_reserve_keeps_rsyslogd_waiting_and_loses_and_doubles_nothing() {
    run_full("--reserve=1MiB");
}

fn run_full(reserve: &str) {
    let site = Site::new();
    let _mounted = Mounted::new(site.spool(), "8m");
    let ballast = site.path("spool/ballast");
    std::fs::write(&ballast, vec![1; 5 << 20]).expect("ballast");
    let options = format!("--on-error=hold {reserve}");
    let edits = [SPILLS, ("--on-error=hold", &options), ("confirmTimeout=\"30000\"", "confirmTimeout=\"2500\"")];
    let rsyslogd = start_rsyslogd(&site, &recommended(&site, CONFIRM, &edits));
    // Some 5 MB, in 3 MiB of space.
    let count = 30_000;
    rsyslogd.send((0..count).map(sent));
    site.wait_until_it_says("intake waits");
    let (guard, worker) = (site.child().pid, site.worker().pid);
    stays("the program that waits", Duration::from_secs(6), || site.children().iter().any(|child| child.pid == worker));
    assert!(Tally::default().lines(&site.path("")) < count, "there was space for all");
    std::fs::remove_file(&ballast).expect("space again");
    site.wait_for_lines(count);
    assert_eq!((site.child().pid, site.worker().pid), (guard, worker), "one that waits, not one after another");
    rsyslogd.stop();
    assert_left_by_itself(&site);
    let found = Found::read(&site, count);
    found.assert_each_once();
    found.assert_in_order();
}

#[test]
fn a_program_that_cannot_start_keeps_rsyslogd_waiting_and_loses_and_doubles_nothing() {
    let site = Site::new();
    let all = lines(0, 2000);
    std::fs::remove_dir(site.spool()).expect("no directory");
    std::fs::write(site.spool(), "in the way").expect("a file in its place");
    let quick = [("confirmTimeout=\"30000\"", "confirmTimeout=\"2500\"")];
    let rsyslogd = start_rsyslogd(&site, &recommended(&site, CONFIRM, &quick));
    rsyslogd.send(&all.sent);
    site.wait_until_it_says(&site.text("spool"));
    let child = site.child().pid;
    stays("the program that waits", Duration::from_secs(6), || site.children().iter().any(|other| other.pid == child));
    std::fs::remove_file(site.spool()).expect("the mend");
    std::fs::create_dir(site.spool()).expect("the mend");
    site.wait_for_lines(all.sent.len());
    assert_eq!(site.child().pid, child, "one that waits, not one after another");
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn a_program_that_hangs_is_given_up_and_loses_nothing_and_doubles_one_line_at_most() {
    let found = hung(CONFIRM);
    found.assert_nothing_lost();
    assert!(found.twice() <= 1, "{} lines came twice", found.twice());
}

#[test]
fn a_program_that_hangs_is_given_up_and_loses_nothing_and_doubles_nothing_with_identities() {
    hung(ID).assert_each_once();
}

/// Stops guard and worker until rsyslogd has started others beside them, then lets them go on.
fn hung(file: &str) -> Found {
    let site = Site::new();
    let edits = [
        SPILLS,
        ("confirmTimeout=\"30000\"", "confirmTimeout=\"1000\""),
        ("closeTimeout=\"5000\"", "closeTimeout=\"200\""),
    ];
    let rsyslogd = start_rsyslogd(&site, &recommended(&site, file, &edits));
    let count = 3000;
    rsyslogd.send((0..100).map(sent));
    site.wait_for_lines(100);
    // Not with the lock of the identities in its hands: the others would wait for it, as is right, but for ever.
    let worker = site.worker();
    wait_for("the worker to wait for the next line", || worker.reads().then_some(()));
    let old = site.children();
    old.iter().for_each(|process| process.signal(Signal::SIGSTOP));
    rsyslogd.send((100..count).map(sent));
    site.wait_for_text(&by_rsyslog(count - 1));
    old.iter().for_each(|process| process.signal(Signal::SIGCONT));
    old.iter().for_each(Process::wait_until_gone);
    rsyslogd.stop();
    Found::read(&site, count)
}

// ------------------------------------------------------------------------------------------------------------- forging

/// Texts that look like marks, as they are, with something behind or before them, and on a line of their own.
fn forgeries() -> Vec<String> {
    let mut texts = Vec::new();
    for mark in ["BEGIN TRANSACTION", "COMMIT TRANSACTION", "#logjam-begin#", "#logjam-commit#"] {
        for text in [mark.to_owned(), format!("{mark} "), format!("{mark} x"), format!(" {mark}"), format!("{mark}\r")]
        {
            texts.push(text);
        }
        texts.extend([format!("a\n{mark}\nb"), format!("\n{mark}\n"), format!("{mark}\n{mark}"), format!("{mark}\n")]);
    }
    texts
}

#[test]
fn no_message_passes_for_a_mark_under_the_shipped_configurations() {
    for file in [CONFIRM, ID, TRANSACTIONS] {
        for escape in ["on", "off"] {
            no_message_passes_for_a_mark(file, escape);
        }
    }
}

fn no_message_passes_for_a_mark(file: &str, escape: &str) {
    let site = Site::new();
    let globals = format!("parser.escapeControlCharactersOnReceive=\"{escape}\"");
    let setup = Setup { globals, ..Setup::default() };
    let rsyslogd = start_rsyslogd_with(&site, &setup, &recommended(&site, file, &[]));
    let texts = forgeries();
    // In the text, and as far as a sender can bring them there, in the fields before it.
    let in_text = texts.iter().map(|text| format!("<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - {text}"));
    let in_tag = texts.iter().map(|text| format!("<134>1 2013-07-04T00:00:00Z web-1 {text} - - - x"));
    let in_host = texts.iter().map(|text| format!("<134>1 2013-07-04T00:00:00Z {text} haproxy - - - x"));
    let bare = texts.iter().cloned();
    let messages: Vec<String> = in_text.chain(in_tag).chain(in_host).chain(bare).collect();
    rsyslogd.send_counted(&messages);
    rsyslogd.send([last_message()]);
    site.wait_for_text(LAST);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    let archived = site.archived_lines();
    let shown: Vec<_> = archived.iter().map(|line| String::from_utf8_lossy(line)).collect();
    assert_eq!(archived.len(), messages.len() + 1, "{file}, {escape}: one line a message: {shown:#?}");
    for (line, text) in shown.iter().zip(&texts) {
        let blank = if text.starts_with(' ') { "" } else { " " };
        let whole = format!("2013-07-04T00:00:00Z web-1 haproxy{blank}{}", escaped(text, escape));
        let bare = format!("2013-07-04T00:00:00Z web-1 haproxy{blank}{}", escaped(text.trim_end_matches('\n'), escape));
        // A LF at the end of a message may have been taken for the end of the frame.
        assert!(*line == whole || *line == bare, "{file}, {escape}: {line:?} for {text:?}");
    }
}

/// Control characters as rsyslog shows them: in octal at the reception, in decimal by `escape-cc`.
fn escaped(text: &str, at_reception: &str) -> String {
    let show = |c: char| match (c.is_control(), at_reception) {
        (false, _) => c.to_string(),
        (true, "on") => format!("#{:03o}", u32::from(c)),
        (true, _) => format!("#{:03}", u32::from(c)),
    };
    text.chars().map(show).collect()
}

// ---------------------------------------------------------------------------------------- rsyslog's own tests of omprog

#[test]
fn ten_confirmed_lines_with_the_default_settings_arrive_and_the_program_leaves_at_the_end_of_its_input() {
    cases::ten_lines(CONFIRMED);
}

#[test]
fn ten_confirmed_lines_in_transactions_with_the_default_marks_arrive() {
    let site = Site::new();
    let all = lines(0, 1000);
    let settings = r#"queue.type="LinkedList" queue.size="5000" queue.timeoutShutdown="10000""#;
    let rsyslogd = start_rsyslogd(&site, &action(&site, IN_TRANSACTIONS, "", settings));
    rsyslogd.send(&all.sent[..10]);
    site.wait_for_lines(10);
    rsyslogd.send(&all.sent[10..]);
    site.wait_for_lines(1000);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn ten_confirming_instances_at_once_share_a_directory_and_lose_nothing() {
    cases::ten_instances(CONFIRMED);
}

#[test]
fn ten_instances_with_transactions_at_once_share_a_directory_and_lose_nothing() {
    cases::ten_instances(IN_TRANSACTIONS);
}

#[test]
fn ten_workers_with_a_single_instance_feed_one_confirming_process() {
    cases::ten_workers_one_process(CONFIRMED);
}

#[test]
fn the_transactions_of_four_workers_in_one_another_lose_nothing_and_double_nothing() {
    cases::ten_workers_one_process(IN_TRANSACTIONS);
}

#[test]
fn a_confirming_program_killed_between_messages_is_started_again_with_the_next_one_and_no_descriptor_leaks() {
    cases::killed_between_messages(CONFIRMED, "");
}

#[test]
fn signals_to_a_confirming_program_end_neither_it_nor_its_dialogue() {
    let site = Site::new();
    let all = lines(0, 500);
    let rsyslogd = start_rsyslogd(&site, &confirming(&site, ""));
    let mut child = None;
    let signals = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1];
    for (round, part) in all.sent.chunks(100).enumerate() {
        rsyslogd.send(part);
        site.wait_for_lines(100 * (round + 1));
        assert_eq!(*child.get_or_insert(site.child().pid), site.child().pid, "after {:?}", signals.get(round - 1));
        if let Some(&signal) = signals.get(round) {
            site.child().signal(signal);
        }
    }
    rsyslogd.stop();
    assert_no_trouble(&site);
    assert_same_lines(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn a_confirming_program_asked_to_terminate_and_cut_off_is_gone_within_closetimeout() {
    cases::gone_in_time(CONFIRMED, cases::ASKED_TO_TERMINATE);
}

#[test]
fn a_confirming_program_cut_off_without_a_signal_is_gone_within_closetimeout() {
    cases::gone_in_time(CONFIRMED, cases::CUT_OFF);
}

#[test]
fn a_wrong_option_ends_a_confirming_program_with_status_2_before_any_ok_and_holds_up_nobody() {
    let site = Site::new();
    let queue = r#"queue.type="LinkedList" queue.timeoutShutdown="100" reportFailures="on""#;
    let rsyslogd = start_rsyslogd(&site, &action(&site, CONFIRMED, "--frobnicate", queue));
    rsyslogd.send([sent(0)]);
    wait_for("rsyslogd's report of the exit", || {
        site.read("rsyslogd.log").contains("exited with status 2").then_some(())
    });
    let took = rsyslogd.stop();
    assert!(took < Duration::from_secs(10), "rsyslogd took {took:?} to stop");
    assert!(site.children().is_empty());
    assert!(log_files(&site.spool(), ".log").is_empty(), "it took a line");
}

#[test]
fn a_start_that_fails_is_an_answer_that_rsyslogd_logs_and_once_mended_nothing_is_lost() {
    let site = Site::new();
    let all = lines(0, 100);
    std::fs::remove_dir(site.spool()).expect("no directory");
    std::fs::write(site.spool(), "in the way").expect("a file in its place");
    let edits = [SPILLS, (" --on-error=hold", "")];
    let rsyslogd = start_rsyslogd(&site, &recommended(&site, CONFIRM, &edits));
    rsyslogd.send(&all.sent);
    wait_for("two starts that fail", || {
        let log = site.read("rsyslogd.log");
        (log.matches("exited with status").count() >= 2).then_some(())
    });
    assert!(!site.read("rsyslogd.log").contains("exited with status 0"), "{}", site.read("rsyslogd.log"));
    std::fs::remove_file(site.spool()).expect("the mend");
    std::fs::create_dir(site.spool()).expect("the mend");
    site.wait_for_lines(all.sent.len());
    rsyslogd.stop();
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn confirmed_empty_records_are_lines_and_not_the_end_of_the_input() {
    cases::empty_records(CONFIRMED);
}

#[test]
fn a_confirmed_template_without_a_line_end_gives_whole_lines() {
    cases::no_line_end(CONFIRMED);
}

#[test]
fn confirmed_lines_of_any_length_arrive_whole() {
    for (globals, lengths) in [("", &[7000, 8000][..]), ("maxMessageSize=\"1m\"", &[8192, 65_536, 65_537, 700_000][..])]
    {
        for file in [CONFIRM, ID, TRANSACTIONS] {
            let site = Site::new();
            let setup = Setup { globals: globals.to_owned(), ..Setup::default() };
            let rsyslogd = start_rsyslogd_with(&site, &setup, &recommended(&site, file, &[]));
            let texts: Vec<String> =
                lengths.iter().flat_map(|&length| ["x".repeat(length), "short".to_owned()]).collect();
            rsyslogd.send(texts.iter().map(|text| format!("<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - {text}")));
            site.wait_for_lines(texts.len());
            rsyslogd.stop();
            assert_left_by_itself(&site);
            let whole: Vec<_> = texts.iter().map(|text| format!("2013-07-04T00:00:00Z web-1 haproxy {text}")).collect();
            assert_same_lines_in_order(&site.archived_lines(), &whole);
        }
    }
}

#[test]
fn a_kill_in_the_middle_of_a_long_line_neither_tears_nor_doubles_it() {
    let site = Site::new();
    let setup = Setup { globals: "maxMessageSize=\"1m\"".to_owned(), ..Setup::default() };
    let rsyslogd = start_rsyslogd_with(&site, &setup, &confirming(&site, ""));
    let texts: Vec<String> = (0..40).map(|n| format!("{n} {}", "x".repeat(500_000))).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            rsyslogd.send(texts.iter().map(|text| format!("<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - {text}")));
        });
        site.wait_for_lines(1);
        kill_some(&site, &rsyslogd, "w", 10, &mut Dice(storm_seed()));
    });
    site.wait_for_lines(texts.len());
    rsyslogd.stop();
    let whole: Vec<_> = texts.iter().map(|text| format!("2013-07-04T00:00:00Z web-1 haproxy {text}")).collect();
    let mut count: BTreeMap<usize, usize> = BTreeMap::new();
    let archived = site.archived_lines();
    archived.iter().for_each(|line| *count.entry(line.len()).or_default() += 1);
    assert!(archived.len() == whole.len(), "lengths and how often: {count:?}");
    assert_same_lines_in_order(&archived, &whole);
}
