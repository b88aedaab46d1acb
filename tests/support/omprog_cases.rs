//! What rsyslog's own tests of omprog do, for each way in which logjam and omprog speak with each other.
#![allow(clippy::disallowed_methods)] // A harness uses the clock.

use crate::daemons::*;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// A way to speak: what is the same on both sides of the pipe.
#[derive(Clone, Copy)]
pub struct Mode {
    /// Options of `logjam pipe`.
    pub options: &'static str,
    /// Settings of the action.
    pub settings: &'static str,
}

/// omprog's defaults.
pub const PLAIN: Mode = Mode { options: "", settings: "" };
/// The same, for programs that die.
pub const PLAIN_AGAIN: Mode = Mode { options: "", settings: r#"action.resumeRetryCount="-1""# };
pub const CONFIRMED: Mode =
    Mode { options: "--confirm-messages", settings: r#"confirmMessages="on" action.resumeRetryCount="-1""# };
pub const IN_TRANSACTIONS: Mode = Mode {
    options: "--confirm-messages --use-transactions",
    settings: r#"confirmMessages="on" useTransactions="on" action.resumeRetryCount="-1""#,
};

/// What the shipped files name, up to the options.
pub const SHIPPED_PIPE: &str =
    "/usr/bin/logjam pipe /var/log/logjam s3://BUCKET/{prefix}/{year}/{month}/{day}/{filename}";

/// A shipped file of `contrib` with this site's paths in it, and `edits`.
#[track_caller]
pub fn recommended(site: &Site, file: &str, edits: &[(&str, &str)]) -> String {
    let (pipe, said) = (site.pipe(""), site.text("logjam.err"));
    let mut all = vec![(SHIPPED_PIPE, pipe.as_str()), ("/var/log/logjam.err", said.as_str())];
    all.extend_from_slice(edits);
    shipped(file, &all)
}

/// The least that one would write: omprog's defaults in this mode, plus `options` and `settings`.
pub fn action(site: &Site, mode: Mode, options: &str, settings: &str) -> String {
    let pipe = site.pipe(format!("{} {options}", mode.options).trim());
    format!(
        r#"module(load="omprog")
action(type="omprog" binary="{pipe}" {} {settings})
"#,
        mode.settings
    )
}

/// Many workers for the queue of one action: they take small batches, so that all find work.
pub const TEN_WORKERS: &str = r#"queue.type="LinkedList" queue.size="20000" queue.workerThreads="10" queue.workerThreadMinimumMessages="1"
    queue.dequeueBatchSize="8" queue.timeoutShutdown="30000" queue.timeoutActionCompletion="30000""#;

/// How long nothing has to come until a disk-assisted queue counts as stuck.
const STUCK: Duration = Duration::from_secs(5);

/// Waits until so many lines have come through a queue that goes to the disk. rsyslog 8.2302 may leave what is there
/// alone until the queue in memory fills up again (rsyslog issue 2646); it comes with the next start.
#[track_caller]
pub fn wait_through_disk(site: &Site, mut rsyslogd: Daemon, rules: &str, count: usize) -> Daemon {
    let (mut tally, mut seen, mut news) = (Tally::default(), 0, Instant::now());
    wait_within(Duration::from_secs(3600), "all lines, or none for a while", || {
        let now = tally.lines(&site.path(""));
        if now > seen {
            (seen, news) = (now, Instant::now());
        }
        (seen >= count || news.elapsed() > STUCK).then_some(())
    });
    if seen < count {
        println!("{} lines stay in the disk queue of rsyslogd: it is started again", count - seen);
        rsyslogd.stop();
        rsyslogd = start_rsyslogd(site, rules);
    }
    site.wait_for_lines(count);
    rsyslogd
}

/// rsyslogd reports a program that it had to kill, that did not answer as it should, or that left otherwise than with
/// status 0.
#[track_caller]
pub fn assert_left_by_itself(site: &Site) {
    assert_no_trouble(site);
    let log = site.read("rsyslogd.log") + &site.read("rsyslogd.err");
    let mut exits = log.split("exited with status ").skip(1).peekable();
    assert!(exits.peek().is_some(), "rsyslogd reports no exit: {log}");
    assert!(exits.all(|status| status.starts_with("0 ")), "an exit status other than 0: {log}");
}

#[track_caller]
pub fn assert_no_trouble(site: &Site) {
    let log = site.read("rsyslogd.log") + &site.read("rsyslogd.err");
    let troubles = [
        "did not terminate",
        "killing it",
        "will be restarted",
        "by signal",
        "error ",
        "timeout",
        "too long",
        "not expected",
    ];
    for trouble in troubles {
        let found = log.lines().find(|line| line.contains(trouble) && !line.contains("shutdown timed out"));
        assert_eq!(found, None, "rsyslogd reports {trouble:?}");
    }
}

pub fn ten_lines(mode: Mode) {
    let site = Site::new();
    let ten = lines(0, 10);
    let rsyslogd = start_rsyslogd(&site, &action(&site, mode, "--prefix=haproxy", ""));
    rsyslogd.send(&ten.sent);
    site.wait_for_lines(10);
    let child = site.child();
    rsyslogd.stop();
    assert!(!child.is_alive(), "rsyslogd waits closeTimeout (5 s) for the program, and it was still there");
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines_of("--prefix=haproxy"), &ten.by_rsyslog);
    let objects = log_files(&site.path("bucket/haproxy"), ".log.gz");
    assert_eq!(objects.len(), 1, "the arguments reached the program: {objects:?}");
}

pub fn no_line_end(mode: Mode) {
    let site = Site::new();
    let ten = lines(0, 10);
    let rules = format!(
        "template(name=\"bare\" type=\"string\" string=\"%msg%\")\n{}",
        action(&site, mode, "", r#"template="bare""#)
    );
    let rsyslogd = start_rsyslogd(&site, &rules);
    rsyslogd.send(&ten.sent);
    site.wait_for_lines(10);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    let texts: Vec<_> = ten.by_rsyslog.iter().map(|line| line.split_once("] ").expect("a tag").1).collect();
    assert_same_lines_in_order(&site.archived_lines(), &texts);
}

pub fn empty_records(mode: Mode) {
    let site = Site::new();
    let rules = format!(
        "template(name=\"payload\" type=\"string\" string=\"%$!payload%\\n\")\nset $!payload = field($msg, 124, 2);\n{}",
        action(&site, mode, "", r#"template="payload""#)
    );
    let rsyslogd = start_rsyslogd(&site, &rules);
    let payloads = ["", "one", "", "", "two", ""];
    rsyslogd.send(payloads.map(|text| format!("<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - |{text}|")));
    site.wait_for_lines(payloads.len());
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &payloads);
}

pub fn ten_instances(mode: Mode) {
    let site = Site::new();
    let storm = lines(0, 100_000);
    let rsyslogd = start_rsyslogd(&site, &action(&site, mode, "", TEN_WORKERS));
    // A worker forks its program with its first message, so it takes some time until all ten have had one. There is always
    // more in the queue than they have delivered.
    let (mut bursts, mut sent, mut tally) = (storm.sent.chunks(2500), 0, Tally::default());
    wait_for("ten processes", || {
        let ten = site.children().iter().filter(|child| child.parent == rsyslogd.pid()).count() == 10;
        if tally.lines(&site.path("")) + 7500 > sent
            && let Some(burst) = bursts.next()
        {
            rsyslogd.send(burst);
            sent += burst.len();
        }
        (ten && sent >= 10_000).then_some(())
    });
    site.wait_for_lines(sent);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines(&site.archived_lines(), &storm.by_rsyslog[..sent]);
}

pub fn ten_workers_one_process(mode: Mode) {
    let site = Site::new();
    let storm = lines(0, 10_000);
    let settings = format!(r#"{TEN_WORKERS} forceSingleInstance="on" output="{}""#, site.text("logjam.err"));
    let rsyslogd = start_rsyslogd(&site, &action(&site, mode, "--log-level=critical", &settings));
    rsyslogd.send(&storm.sent);
    site.wait_for_lines(storm.sent.len());
    assert_eq!(site.child().parent, rsyslogd.pid());
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_eq!(site.read("logjam.err"), "", "neither stdout nor stderr has anything to say");
    assert_same_lines(&site.archived_lines(), &storm.by_rsyslog);
}

/// Kills the program, a guard and a worker unless `options` say otherwise, after each part of what is sent.
pub fn killed_between_messages(mode: Mode, options: &str) {
    let site = Site::new();
    let all = lines(0, 80);
    let rsyslogd = start_rsyslogd(&site, &action(&site, mode, options, ""));
    let mut files = 0;
    let mut pids = Vec::new();
    for (round, part) in all.sent.chunks(20).enumerate() {
        rsyslogd.send(part);
        site.wait_for_lines(20 * (round + 1));
        let (child, worker) = (site.child(), site.worker());
        assert_eq!(worker.pid == child.pid, options.contains("--no-guard"), "{:?}", site.children());
        // The guard first, or it would start another worker.
        child.signal(Signal::SIGKILL);
        if worker.pid != child.pid {
            worker.signal(Signal::SIGKILL);
        }
        pids.push(child.pid);
        site.wait_until_no_child();
        if round == 0 {
            files = rsyslogd.open_files();
        }
    }
    assert!(rsyslogd.open_files() <= files + 1, "rsyslogd leaks descriptors: {files}, then {}", rsyslogd.open_files());
    rsyslogd.stop();
    pids.dedup();
    assert_eq!(pids.len(), 4, "four processes were killed: {pids:?}");
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

pub fn gone_in_time(mode: Mode, settings: &str) {
    let site = Site::new();
    let ten = lines(0, 10);
    let rsyslogd = start_rsyslogd(&site, &action(&site, mode, "", settings));
    rsyslogd.send(&ten.sent);
    site.wait_for_lines(10);
    let child = site.child();
    rsyslogd.stop();
    assert!(!child.is_alive());
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &ten.by_rsyslog);
}

/// What signals rsyslogd sends when it lets its program go: both ways, with a time that it is given.
pub const ASKED_TO_TERMINATE: &str = r#"signalOnClose="on" killUnresponsive="on" closeTimeout="1000""#;
pub const CUT_OFF: &str = r#"signalOnClose="off" killUnresponsive="on" closeTimeout="1000""#;
