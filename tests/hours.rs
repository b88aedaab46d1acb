//! What happens when hours end, under a clock that the tests hold. The pipeline is the real one, with a real pipe, a real
//! disk and a directory as the far end.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk")]

use crate::far;
use chrono::{DateTime, TimeDelta, Utc};
use logjam::archive::uploader::Uploader;
use logjam::archive::{Archive, Codec, Sources};
use logjam::env::Env;
use logjam::env::clock::Clock;
use logjam::env::directory::Directory;
use logjam::env::disk::Disk;
use logjam::env::input::Input;
use logjam::env::signals::Signals;
use logjam::format::key::{Dest, Place};
use logjam::format::layout::Layout;
use logjam::format::manifest::{Manifest, sha256};
use logjam::pipeline::{self, Left, Pipe};
use logjam::spool::{self, SyncPolicy};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that stands still until a test moves it.
struct Held {
    time: Mutex<(DateTime<Utc>, Instant)>,
}

impl Held {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self { time: Mutex::new((text.parse().unwrap(), Instant::now())) })
    }

    fn set(&self, text: &str) {
        self.time.lock().unwrap().0 = text.parse().unwrap();
    }

    /// Time passes: both clocks go on.
    fn pass(&self, time: Duration) {
        let mut now = self.time.lock().unwrap();
        now.0 += TimeDelta::from_std(time).unwrap();
        now.1 += time;
    }
}

impl Clock for Held {
    fn now(&self) -> DateTime<Utc> {
        self.time.lock().unwrap().0
    }

    fn steady(&self) -> Instant {
        self.time.lock().unwrap().1
    }

    fn nap(&self, _time: Duration) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One life of `logjam pipe`.
struct Life {
    writer: Option<std::fs::File>,
    run: JoinHandle<logjam::error::Result<Left>>,
}

struct House {
    root: tempfile::TempDir,
    clock: Arc<Held>,
    keep: Duration,
    every: Duration,
}

impl House {
    fn new(time: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("spool")).unwrap();
        Self { root, clock: Held::at(time), keep: HOUR * 24, every: HOUR }
    }

    fn spool(&self) -> PathBuf {
        self.root.path().join("spool")
    }

    fn start(&self, once: bool) -> Life {
        let env = Env::of(Arc::clone(&self.clock) as Arc<dyn Clock>, Arc::new(Disk));
        let text =
            format!("file://{}/dest/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", self.root.path().display());
        let dest = Dest::parse(&text).unwrap();
        let Place::Directory(root) = &dest.place else { panic!("not a directory: {dest:?}") };
        let store = Arc::new(Directory::new(Arc::clone(&env.fs), root, ".logjam"));
        let archive = Archive {
            prefix: Some("app".into()),
            uploads: true,
            keep: self.keep,
            following: Some(Arc::default()),
            ..Archive::new(env, Layout::new(self.spool()), Sources::Sealed, Codec::Gzip(6))
        };
        let spool = spool::Settings {
            prefix: "app".into(),
            suffix: "host".into(),
            every: self.every,
            sync: SyncPolicy::Within(Duration::from_secs(1)),
            ids: false,
        };
        let pipe = Pipe {
            archive: archive.clone(),
            spool,
            reserve: Some(0),
            once,
            checkpoints: None,
            log: Default::default(),
        };
        let (reader, writer) = std::io::pipe().unwrap();
        let input = Input::new(OwnedFd::from(reader));
        let run = std::thread::spawn(move || {
            let signals = Signals::block()?;
            pipeline::prepare(&pipe)?;
            pipeline::run(pipe, None, &input, &signals, move || {
                Uploader::start(archive.clone(), Arc::clone(&store) as _, dest.clone()).map(Some)
            })
        });
        Life { writer: Some(std::fs::File::from(OwnedFd::from(writer))), run }
    }

    /// All lines of one life, from start to end.
    fn live(&self, text: &str, once: bool) {
        let mut life = self.start(once);
        life.write(text);
        life.end();
    }

    /// File names and contents below a directory, unpacked; hidden ones left out.
    fn files(&self, below: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut dirs = vec![self.root.path().join(below)];
        while let Some(dir) = dirs.pop() {
            for item in std::fs::read_dir(&dir).into_iter().flatten() {
                let path = item.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if name.starts_with('.') {
                    continue;
                }
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    found.insert(name, content(&path));
                }
            }
        }
        found
    }

    fn dest(&self) -> PathBuf {
        self.root.path().join("dest")
    }

    /// What is stored by now.
    fn so_far(&self) -> BTreeMap<String, String> {
        let name = |key: &str| key.rsplit('/').next().unwrap().to_owned();
        let keys = far::archives_below(&self.dest()).into_iter();
        keys.map(|key| (name(&key), content(&self.dest().join(key)))).collect()
    }

    /// What is stored, with the manifests proved.
    #[track_caller]
    fn stored(&self) -> BTreeMap<String, String> {
        far::proved_below(&self.dest(), &[]);
        self.so_far()
    }

    /// Waits until `done` says so; names what it waited for if that does not come.
    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(
                Instant::now() < end,
                "{what} did not come; spool: {:?}, stored: {:?}",
                self.files("spool"),
                far::keys_below(&self.dest())
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn until_kept(&self, name: &str, text: &str) {
        self.until(name, |place| place.files("spool").get(name).is_some_and(|there| there == text));
    }

    fn until_stored(&self, name: &str, text: &str) {
        let told = |place: &Self| far::is_told(&far::keys_below(&place.dest()));
        self.until(name, |place| place.so_far().get(name).is_some_and(|there| there == text) && told(place));
        self.stored();
    }
}

impl Life {
    fn write(&mut self, text: &str) {
        self.writer.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn end(mut self) {
        self.writer = None;
        let Left(left) = self.run.join().unwrap().unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What a file holds, unpacked; nothing if it went away meanwhile.
fn content(path: &Path) -> String {
    let data = std::fs::read(path).unwrap_or_default();
    if path.extension().is_some_and(|e| e == "gz") {
        let mut text = String::new();
        // The first member only: there must be no other.
        let mut decoder = flate2::bufread::GzDecoder::new(&data[..]);
        decoder.read_to_string(&mut text).unwrap();
        assert!(decoder.into_inner().is_empty(), "{}: more than one member", path.display());
        return text;
    }
    String::from_utf8(data).unwrap()
}

#[test]
fn a_quiet_hour_ends_by_itself() {
    let place = House::new("2026-11-22T14:59:59Z");
    let mut life = place.start(false);
    life.write("one\ntwo\n");
    place.until_kept("app-20261122T1400Z-host.log", "one\ntwo\n");
    place.clock.set("2026-11-22T15:00:00Z");
    place.until_stored("app-20261122T1400Z-host.log.gz", "one\ntwo\n");
    assert!(!place.spool().join("app-20261122T1400Z-host.log").exists());
    life.end();
}

#[test]
fn the_hour_of_arrival_decides() {
    let place = House::new("2026-11-22T14:59:59Z");
    let mut life = place.start(true);
    life.write("old\n");
    place.until_kept("app-20261122T1400Z-host.log", "old\n");
    place.clock.set("2026-11-22T15:00:00Z");
    life.write("new\n");
    life.end();
    place.until_stored("app-20261122T1400Z-host.log.gz", "old\n");
    place.until_stored("app-20261122T1500Z-host.log.gz", "new\n");
}

#[test]
fn a_line_that_has_begun_stays_whole_over_the_end_of_its_hour() {
    let place = House::new("2026-11-22T14:59:59Z");
    let mut life = place.start(true);
    life.write("whole\nbeg");
    place.until_kept("app-20261122T1400Z-host.log", "whole\nbeg");
    place.clock.set("2026-11-22T15:00:00Z");
    life.write("un");
    place.until_kept("app-20261122T1400Z-host.log", "whole\nbegun");
    life.write(" and ended\nnext\n");
    place.until_kept("app-20261122T1500Z-host.log", "next\n");
    life.end();
    place.until_stored("app-20261122T1400Z-host.log.gz", "whole\nbegun and ended\n");
    place.until_stored("app-20261122T1500Z-host.log.gz", "next\n");
}

#[test]
fn a_line_that_is_never_finished_does_not_hold_up_its_hour() {
    let place = House::new("2026-11-22T14:59:59Z");
    let mut life = place.start(false);
    life.write("begun");
    place.until_kept("app-20261122T1400Z-host.log", "begun");
    place.clock.pass(Duration::from_secs(2));
    place.until_stored("app-20261122T1400Z-host.log.gz", "begun\n");
    life.end();
}

#[test]
fn a_clock_that_steps_back_over_the_hour_overwrites_nothing() {
    let place = House::new("2026-11-22T14:30:00Z");
    let mut life = place.start(true);
    life.write("first\n");
    place.until_kept("app-20261122T1400Z-host.log", "first\n");
    place.clock.set("2026-11-22T15:10:00Z");
    life.write("second\n");
    place.until_kept("app-20261122T1500Z-host.log", "second\n");
    place.until_stored("app-20261122T1400Z-host.log.gz", "first\n");
    place.clock.set("2026-11-22T14:40:00Z");
    life.write("third\n");
    place.until("a second file of 14:00", |p| {
        p.files("spool").iter().any(|(n, t)| n.starts_with("app-20261122T1400Z-host.") && t == "third\n")
    });
    life.end();
    let stored = place.stored();
    assert_eq!(stored.len(), 3, "{stored:?}");
    assert_eq!(stored["app-20261122T1400Z-host.log.gz"], "first\n");
    assert_eq!(stored["app-20261122T1500Z-host.log.gz"], "second\n");
}

#[test]
fn a_clock_that_leaps_a_day_and_comes_back_loses_nothing() {
    let place = House::new("2026-11-22T14:30:00Z");
    let mut life = place.start(true);
    for (time, text) in [("2026-11-23T14:30:00Z", "tomorrow\n"), ("2026-11-22T14:31:00Z", "today\n")] {
        life.write("before\n");
        place.until("the line before", |p| p.files("spool").values().any(|t| t.ends_with("before\n")));
        place.clock.set(time);
        life.write(text);
        place.until(text, |p| p.files("spool").values().chain(p.so_far().values()).any(|t| t.contains(text)));
    }
    life.end();
    let all: String = place.stored().into_values().collect();
    for (text, times) in [("before\n", 2), ("tomorrow\n", 1), ("today\n", 1)] {
        assert_eq!(all.matches(text).count(), times, "{:?}", place.stored());
    }
}

#[test]
fn a_clock_that_is_set_back_a_little_stays_in_its_file() {
    let place = House::new("2026-11-22T15:00:00Z");
    let mut life = place.start(true);
    life.write("one\n");
    place.until_kept("app-20261122T1500Z-host.log", "one\n");
    place.clock.set("2026-11-22T14:58:00Z");
    life.write("two\n");
    life.end();
    assert_eq!(
        place.stored().into_iter().collect::<Vec<_>>(),
        [("app-20261122T1500Z-host.log.gz".into(), "one\ntwo\n".into())]
    );
}

#[test]
fn the_end_of_input_leaves_the_file_for_the_next_start() {
    let place = House::new("2026-11-22T14:10:00Z");
    place.live("one\n", false);
    place.live("two\nthree", false);
    assert_eq!(place.stored().len(), 0);
    place.live("four\n", true);
    assert_eq!(place.stored()["app-20261122T1400Z-host.log.gz"], "one\ntwo\nthree\nfour\n");
}

#[test]
fn a_name_is_never_used_twice() {
    let mut place = House::new("2026-11-22T14:10:00Z");
    place.keep = Duration::ZERO;
    place.live("one\n", true);
    // A pass of the next life removes the archive: only the receipt is left to tell.
    place.live("two\n", true);
    place.live("three\n", true);
    let stored = place.stored();
    assert_eq!(stored.len(), 3, "{stored:?}");
    assert_eq!(stored["app-20261122T1400Z-host.log.gz"], "one\n");
    assert_eq!(stored.values().filter(|t| *t == "two\n" || *t == "three\n").count(), 2);
    let left = place.files("spool");
    assert!(left.len() <= 1, "archives that are stored and not to be kept are removed: {left:?}");
}

#[test]
fn a_lost_disk_does_not_overwrite_what_is_stored() {
    let place = House::new("2026-11-22T14:10:00Z");
    place.live("one\n", true);
    std::fs::remove_dir_all(place.spool()).unwrap();
    std::fs::create_dir(place.spool()).unwrap();
    place.live("two\n", true);
    let stored = place.stored();
    assert_eq!(stored["app-20261122T1400Z-host.log.gz"], "one\n");
    assert_eq!(stored["app-logjam-compress-duplicate-timestamp-20261122T1400Z-host.log.gz"], "two\n");
    // The same lines again are the same object: that is success.
    std::fs::remove_dir_all(place.spool()).unwrap();
    std::fs::create_dir(place.spool()).unwrap();
    place.live("one\n", true);
    assert_eq!(place.stored(), stored);
}

#[test]
fn hours_that_an_earlier_life_left_behind_are_finished_whatever_their_stage() {
    let place = House::new("2026-11-22T14:10:00Z");
    place.live("", false);
    let spool = place.spool();
    let write = |name: &str, text: &str| std::fs::write(spool.join(name), text).unwrap();
    // Abandoned in the middle of a line; of another host name; empty; sealed; with half an archive in the making;
    // packed but not removed; an archive that waits.
    write("app-20261122T0900Z-host.log", "a\ntorn");
    write("app-20261122T0900Z-oldname.log", "renamed\n");
    write("app-20261122T0800Z-host.log", "");
    write("app-20261122T1000Z-host.log", "b\n");
    write(".logjam/seal/app-20261122T1000Z-host.log", r#"{"version":1,"ended":"period","bytes":2}"#);
    write("app-20261122T1100Z-host.log", "c\n");
    write(".logjam/seal/app-20261122T1100Z-host.log", "{\"version\":1,\"en");
    write(".logjam/work/app-20261122T1100Z-host.log.gz", "\u{1f}half");
    write("app-20261122T1200Z-host.log", "d\n");
    write(".logjam/seal/app-20261122T1200Z-host.log", r#"{"version":1,"ended":"signal","bytes":2}"#);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"d\n").unwrap();
    std::fs::write(spool.join(".logjam/work/app-20261122T1200Z-host.log.gz"), packed.finish().unwrap()).unwrap();
    let name = "app-20261122T1200Z-host.log.gz";
    std::fs::hard_link(spool.join(".logjam/work").join(name), spool.join("archive").join(name)).unwrap();
    let mut waiting = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    waiting.write_all(b"e\n").unwrap();
    std::fs::write(spool.join("archive/app-20261122T1300Z-host.log.gz"), waiting.finish().unwrap()).unwrap();
    // Another program's, and another stream's: none of its business.
    write("app-20261122T0900Z.log", "x\n");
    write("web-20261122T0900Z-host.log", "y\n");
    write("messages", "z\n");

    place.live("f\n", true);
    let expected = [
        ("app-20261122T0900Z-host.log.gz", "a\ntorn\n"),
        ("app-20261122T0900Z-oldname.log.gz", "renamed\n"),
        ("app-20261122T1000Z-host.log.gz", "b\n"),
        ("app-20261122T1100Z-host.log.gz", "c\n"),
        ("app-20261122T1200Z-host.log.gz", "d\n"),
        ("app-20261122T1300Z-host.log.gz", "e\n"),
        ("app-20261122T1400Z-host.log.gz", "f\n"),
    ];
    let expected: BTreeMap<_, _> = expected.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    assert_eq!(place.stored(), expected);
    let left = place.files("spool");
    for name in ["app-20261122T0900Z.log", "web-20261122T0900Z-host.log", "messages"] {
        assert!(left.contains_key(name), "{name} is gone");
    }
    for dir in ["seal", "work", "upload", "input"] {
        let rest: Vec<_> = std::fs::read_dir(spool.join(".logjam").join(dir)).unwrap().collect();
        assert!(rest.is_empty(), "{dir}: {rest:?}");
    }
}

#[test]
fn two_processes_on_one_directory_and_stream_take_separate_names() {
    let place = House::new("2026-11-22T14:10:00Z");
    // The one that ends last stores what both have written.
    let (mut one, mut two) = (place.start(false), place.start(true));
    for n in 0..100 {
        one.write(&format!("one {n}\n"));
        two.write(&format!("two {n}\n"));
    }
    // One that ends before the other has begun its file would leave it that file.
    place.until("a file of each", |place| place.files("spool").len() == 2);
    one.end();
    two.end();
    let stored = place.stored();
    assert_eq!(stored.len(), 2, "{stored:?}");
    for text in stored.values() {
        let who = &text[..3];
        let expected: String = (0..100).map(|n| format!("{who} {n}\n")).collect();
        assert_eq!(*text, expected);
    }
}

#[test]
fn an_hour_without_lines_leaves_no_file() {
    let place = House::new("2026-11-22T14:10:00Z");
    let life = place.start(true);
    place.clock.set("2026-11-22T15:10:00Z");
    life.end();
    assert_eq!(place.files("spool").len() + place.stored().len(), 0);
}

#[test]
fn a_period_of_another_length_in_an_earlier_life_is_finished_all_the_same() {
    let mut house = House::new("2026-11-22T14:52:00Z");
    house.every = HOUR / 12;
    house.live("five\n", false);
    house.every = HOUR;
    house.live("hour\n", true);
    let stored: Vec<_> = house.stored().into_iter().collect();
    assert_eq!(
        stored,
        [
            ("app-20261122T1400Z-host.log.gz".into(), "hour\n".into()),
            ("app-20261122T1450Z-host.log.gz".into(), "five\n".into())
        ]
    );
}

#[test]
fn an_hour_without_a_line_has_a_manifest_and_one_that_nobody_watched_has_none() {
    let place = House::new("2026-11-22T13:30:00Z");
    let manifest = |hour: &str| {
        let name = format!("dest/app/20261122/_app-20261122T{hour}00Z-host.log.gz.json");
        std::fs::read(place.root.path().join(name)).ok().and_then(|data| Manifest::parse(&data).map(|m| (m, data)))
    };
    let mut life = place.start(false);
    life.write("one\n");
    place.until_kept("app-20261122T1300Z-host.log", "one\n");
    place.clock.pass(2 * HOUR);
    place.until("silence", |_| manifest("14").is_some());
    life.write("two\n");
    place.until_kept("app-20261122T1500Z-host.log", "two\n");
    place.clock.pass(HOUR);
    place.until("the hour", |_| manifest("15").is_some());
    life.end();
    // Nobody is there for some hours.
    place.clock.pass(5 * HOUR);
    place.live("three\n", true);
    place.until("the last hour", |_| manifest("21").is_some());

    let told = ["13", "14", "15", "21"].map(|hour| manifest(hour).unwrap());
    for hour in ["16", "17", "18", "19", "20"] {
        assert!(manifest(hour).is_none(), "{hour}: nobody was there");
    }
    let silent = &told[1].0;
    assert_eq!(silent.summary.watched.unwrap().to_rfc3339(), "2026-11-22T14:00:00+00:00");
    assert_eq!((silent.summary.lines, silent.summary.bytes, &silent.summary.packed), (0, 0, &None));
    assert!(silent.summary.blake3.starts_with("af1349b9f5f9a1a6"), "{}", silent.summary.blake3);
    assert_eq!(silent.summary.seconds, Some(3600));
    assert!(told.iter().enumerate().all(|(at, (manifest, _))| at == 1 || manifest.summary.lines == 1));
    // One chain, in the order of storing.
    let mut chain: Vec<_> = told.iter().collect();
    chain.sort_by_key(|(manifest, _)| manifest.number);
    for (before, after) in chain.iter().zip(&chain[1..]) {
        let link = after.0.previous.as_ref().unwrap();
        assert_eq!((after.0.number, &link.sha256), (before.0.number + 1, &sha256(&before.1)));
    }
    assert_eq!((chain[0].0.number, &chain[0].0.previous), (1, &None));
}
