//! Every kind of answer to every kind of call, in the middle of an hour that grows: the end is always the same. The test prints the
//! matrix. `LOGJAM_STORM` is how many requests of the storm may get a random fault (default 60);
//! `LOGJAM_ONLY='stalled/Part'` works off one cell of the matrix.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::alone::alone;
use crate::cli::{self, MIB, within};
use crate::growing::{DEST, Host, LONG, Reference, end_hour, ends, far_from_the_turn, lines, setting};
use crate::server::{self, Fault, Seen};
use logjam::archive::ahead::Sender;
use logjam::archive::uploader::Uploader;
use logjam::archive::{Archive, Codec, Sources};
use logjam::env::Env;
use logjam::env::s3::{Options, S3};
use logjam::env::store::in_memory;
use logjam::format::key::Dest;
use logjam::format::layout::Layout;
use logjam::format::name::LogName;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How many cells are worked on at once: most of their time they wait.
const AT_ONCE: usize = 10;
/// How long a server may be silent, where it is.
const SHORT: Duration = Duration::from_secs(3);

static LARGE: Reference = Reference::new();
static SMALL: Reference = Reference::new();

/// Lines of which one part is whole before the hour ends, and their archive.
fn large() -> Arc<(Vec<u8>, Vec<u8>)> {
    LARGE.of(|| lines(8 * MIB + 50_000, 11))
}

fn small() -> Arc<(Vec<u8>, Vec<u8>)> {
    SMALL.of(|| lines(100_000, 12))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Head,
    Begin,
    Part,
    Complete,
    Archive,
    Manifest,
    Checkpoint,
    Get,
    Uploads,
    Abort,
}

use Call::{Abort, Begin, Checkpoint, Complete, Get, Head, Manifest, Part, Uploads};

const CALLS: [Call; 10] = [Head, Begin, Part, Complete, Call::Archive, Manifest, Checkpoint, Get, Uploads, Abort];

impl Call {
    fn of(seen: &Seen) -> Option<Self> {
        let checkpoint = seen.key.starts_with(".logjam/");
        match seen.method.as_str() {
            "HEAD" => Some(Head),
            "POST" if seen.is_begin() => Some(Begin),
            "POST" if seen.is_complete() => Some(Complete),
            "PUT" if seen.part().is_some() => Some(Part),
            "PUT" if checkpoint => Some(Checkpoint),
            "PUT" if seen.key.ends_with(".json") => Some(Manifest),
            "PUT" => Some(Self::Archive),
            "GET" if seen.key.is_empty() && seen.query.contains("uploads") => Some(Uploads),
            "GET" => Some(Get),
            "DELETE" if seen.query.contains("uploadId=") => Some(Abort),
            _ => None,
        }
    }

    /// What has to go wrong for the call to be made at all: which call loses its answer, and how often.
    fn provoked_by(self) -> Option<(Self, usize)> {
        match self {
            Get => Some((Complete, 1)),
            Uploads | Abort => Some((Begin, 1)),
            _ => None,
        }
    }

    /// Whether it is made while the hour lasts.
    fn is_ahead(self) -> bool {
        matches!(self, Begin | Part | Checkpoint | Uploads | Abort)
    }

    fn reference(self) -> Arc<(Vec<u8>, Vec<u8>)> {
        if matches!(self, Head | Self::Archive | Manifest) { small() } else { large() }
    }
}

fn answers() -> Vec<(&'static str, Fault)> {
    vec![
        ("400 InvalidPart", Fault::refuse(400, "InvalidPart")),
        ("403 AccessDenied", Fault::refuse(403, "AccessDenied")),
        ("404 NoSuchKey", Fault::refuse(404, "NoSuchKey")),
        ("404 NoSuchBucket", Fault::refuse(404, "NoSuchBucket")),
        ("404 NoSuchUpload", Fault::refuse(404, "NoSuchUpload")),
        ("409 Conflict", Fault::refuse(409, "ConditionalRequestConflict")),
        ("412 Precondition", Fault::refuse(412, "PreconditionFailed")),
        ("500 InternalError", Fault::refuse(500, "InternalError")),
        ("503 SlowDown", Fault::refuse(503, "SlowDown")),
        ("cut connection", Fault::Cut),
        ("garbage with 200", Fault::Garbage),
        ("answer lost", Fault::DropAnswer),
    ]
}

/// Counts what was injected.
#[derive(Default)]
struct Injected {
    provoked: AtomicUsize,
    done: AtomicUsize,
}

/// Injects a fault into the first calls of a kind.
fn inject(server: &server::S3Server, call: Call, fault: Fault, times: usize) -> Arc<Injected> {
    let injected = Arc::new(Injected::default());
    let count = injected.clone();
    let below = |count: &AtomicUsize, most: usize| {
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1)).is_ok()
    };
    server.set_fault(move |seen| match (Call::of(seen), call.provoked_by()) {
        (Some(made), _) if made == call && below(&count.done, times) => fault.clone(),
        (Some(made), Some((by, most))) if made == by && below(&count.provoked, most) => Fault::DropAnswer,
        _ => Fault::None,
    });
    injected
}

/// An hour in which a call fails so many times: how many requests it took.
fn cell(call: Call, fault: Fault, times: usize) -> String {
    let (text, archive) = &*call.reference();
    let host = Host::new();
    let injected = inject(&host.server, call, fault, times);
    let running = host.start(&["--no-guard", "--checkpoint=1s"]);
    host.feed_until_kept(&running, text, text.len());
    let done = || injected.done.load(Ordering::Relaxed);
    if call.is_ahead() {
        let all = within(LONG, || done() == times);
        assert!(all, "injected {} of {times}\n{}", done(), running.said());
    }
    end_hour(&running);
    host.until_settled(&running, 1);
    host.end_input();
    let said = ends(running);
    assert_eq!(done(), times, "injected\n{said}");
    host.assert_one(archive);
    host.server.requests().len().to_string()
}

/// The same with a server that falls silent, and an uploader of less patience than the program's.
fn stalled_cell(call: Call, fault: Fault) -> String {
    let server = server::S3Server::start();
    server.create_bucket("logs");
    let spool = cli::Spool::new();
    let injected = inject(&server, call, fault, 1);
    let dest = Dest::parse(DEST).unwrap();
    let options = Options {
        endpoint_url: Some(server.endpoint()),
        region: Some("us-east-1".to_owned()),
        part_size: 5 << 20,
        patience: SHORT,
        assembly: SHORT,
        ..Options::new("logs")
    };
    let layout = Layout::new(spool.dir());
    let archive = Archive { uploads: true, ..Archive::new(Env::real(), layout, Sources::Sealed, Codec::Gzip(1)) };
    archive.make_dirs().unwrap();
    let name = LogName::parse("syslog-20260102T0300Z-host.log.gz").unwrap();
    let content = &call.reference().1;
    spool.write(&format!("archive/{name}"), content);
    let uploader = Uploader::start(archive, Arc::new(S3::new(options)), dest.clone()).unwrap();
    let checkpoint = dest.checkpoint_key("syslog", "host", 0);
    uploader.checkpoint(&checkpoint, in_memory(b"checkpoint".to_vec().into()));
    uploader.offer(&name);
    let stored = within(LONG, || {
        spool.receipt(&name.to_string()).exists()
            && cli::names(&spool.path(".logjam/chain")).len() == 2
            && server.object("logs", &checkpoint).is_some()
            && server.open_uploads().is_empty()
    });
    assert!(stored, "{:?} {:?}", server.all_keys("logs"), server.open_uploads());
    assert_eq!(injected.done.load(Ordering::Relaxed), 1, "injected");
    assert_eq!(server.all_keys("logs").len(), 3, "{:?}", server.all_keys("logs"));
    assert!(server.object("logs", &dest.key(&name)).unwrap().data() == *content);
    server.requests().len().to_string()
}

type Cell = (usize, Call);

/// Works all cells off, several at once: what each took, and what went wrong.
fn work(cells: Vec<(Cell, Box<dyn Fn() -> String + Send>)>) -> (BTreeMap<Cell, String>, Vec<String>) {
    let queue = Mutex::new(cells);
    let (results, wrong) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((place, run)) = queue.lock().unwrap().pop() else { return };
                    let done = catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
                        let text = panic.downcast_ref::<String>().cloned();
                        text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
                    });
                    let mark = match done {
                        Ok(requests) => format!("ok {requests}"),
                        Err(text) => {
                            wrong.lock().unwrap().push(format!("{place:?}: {text}"));
                            "FAILED".to_owned()
                        }
                    };
                    results.lock().unwrap().insert(place, mark);
                }
            });
        }
    });
    (results.into_inner().unwrap(), wrong.into_inner().unwrap())
}

fn print(title: &str, rows: &[String], results: &BTreeMap<Cell, String>) {
    println!("\n{title} (ok, and how many requests it took in all)\n");
    let heads: Vec<_> = CALLS.iter().map(|call| format!("{call:?}")).collect();
    println!("| {:20} | {} |", "answer", heads.iter().map(|h| format!("{h:10}")).collect::<Vec<_>>().join(" | "));
    println!("|{}", "---|".repeat(CALLS.len() + 1));
    for (number, row) in rows.iter().enumerate() {
        let cell = |call: &Call| format!("{:10}", results.get(&(number, *call)).map_or("", String::as_str));
        println!("| {row:20} | {} |", CALLS.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
}

/// In a process of its own, for the environment that the library reads where a cell has its uploader.
#[test]
fn whatever_a_server_answers_to_whatever_call_the_hour_ends_as_one_object_and_one_manifest() {
    let name = "faults::whatever_a_server_answers_to_whatever_call_the_hour_ends_as_one_object_and_one_manifest";
    let environment = |test: &mut Command| _ = test.envs(server::environment());
    alone(name, environment, matrix);
}

fn matrix() {
    far_from_the_turn(2 * LONG);
    // So that no cell waits for them.
    large();
    small();
    let start = Instant::now();
    let mut cells: Vec<(Cell, Box<dyn Fn() -> String + Send>)> = Vec::new();
    let mut rows = Vec::new();
    for (name, fault) in answers() {
        for call in CALLS {
            let fault = fault.clone();
            cells.push(((rows.len(), call), Box::new(move || cell(call, fault.clone(), 1))));
        }
        rows.push(name.to_owned());
    }
    let again: BTreeSet<_> = ["403 AccessDenied", "cut connection", "answer lost"].into();
    for (name, fault) in answers().into_iter().filter(|(name, _)| again.contains(name)) {
        for call in [Begin, Part, Complete, Call::Archive, Manifest] {
            let fault = fault.clone();
            cells.push(((rows.len(), call), Box::new(move || cell(call, fault.clone(), 3))));
        }
        rows.push(format!("3 x {name}"));
    }
    for (name, fault) in [("stalled", Fault::Stall), ("answer held back", Fault::HoldAnswer)] {
        for call in CALLS {
            let fault = fault.clone();
            cells.push(((rows.len(), call), Box::new(move || stalled_cell(call, fault.clone()))));
        }
        rows.push(name.to_owned());
    }
    if let Ok(only) = std::env::var("LOGJAM_ONLY") {
        cells.retain(|((row, call), _)| only == format!("{}/{call:?}", rows[*row]));
    }
    let count = cells.len();
    let (results, wrong) = work(cells);
    print("What is injected into which call", &rows, &results);
    println!("\n{count} cells, {} failed, {:?}", wrong.len(), start.elapsed());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_storm_of_random_faults_ends_with_every_hour_stored_once() {
    far_from_the_turn(2 * LONG);
    let most = usize::try_from(setting("LOGJAM_STORM", 60)).unwrap();
    let host = Host::new();
    let (seen_all, injected) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (all, count) = (seen_all.clone(), injected.clone());
    host.server.set_fault(move |_| {
        if all.fetch_add(1, Ordering::Relaxed) >= most || fastrand::u32(..10) >= 3 {
            return Fault::None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        let answers = answers();
        answers[fastrand::usize(..answers.len())].1.clone()
    });
    let running = host.start(&["--no-guard", "--checkpoint=1s"]);
    let mut texts = Vec::new();
    let mut hours = 0;
    while seen_all.load(Ordering::Relaxed) < most {
        let text = lines(if hours % 2 == 0 { 8 * MIB + 50_000 } else { 60_000 }, 200 + hours);
        host.feed_until_kept(&running, &text, text.len());
        let before = seen_all.load(Ordering::Relaxed);
        // Some of its requests come while it lasts.
        within(Duration::from_millis(1_500), || seen_all.load(Ordering::Relaxed) > before + 2);
        end_hour(&running);
        running.until("the hour has ended", || host.kept() == 0);
        texts.push(text);
        hours += 1;
    }
    let settled = within(LONG, || host.settled() == texts.len());
    let left = cli::files_below(&host.spool.dir());
    assert!(settled, "{:?} {left:?}\n{}", host.keys(), running.said());
    host.end_input();
    let said = ends(running);
    let mut stored: Vec<_> = host.objects().iter().map(|key| cli::unpack(key, &host.data(key))).collect();
    stored.sort();
    texts.sort();
    println!("{} requests, {} faults, {hours} hours", host.server.requests().len(), injected.load(Ordering::Relaxed));
    assert!(stored == texts, "{:?}\n{said}", host.keys());
    for key in host.objects() {
        host.assert_manifest(&key);
    }
    assert_eq!(host.keys().len(), 2 * texts.len(), "{:?}", host.keys());
    assert!(host.server.open_uploads().is_empty(), "{:?}\n{said}", host.server.open_uploads());
}
