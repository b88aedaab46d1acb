//! Under the real rsyslogd: the shipped configuration for plain mode, and the plain-mode scenarios of rsyslog's own tests of omprog.
#![allow(clippy::disallowed_methods)] // Tests look at files and clocks as they are.

#[path = "support/daemons.rs"]
mod daemons;

use std::time::Duration;

use daemons::*;
use nix::sys::signal::Signal;

/// The shipped file for plain mode with this site's paths in it, and nothing else changed.
fn recommended(site: &Site) -> String {
    shipped(
        "rsyslog/logjam-plain.conf",
        &[
            (
                "/usr/bin/logjam pipe /var/log/logjam s3://BUCKET/{prefix}/{year}/{month}/{day}/{filename}",
                &site.pipe(""),
            ),
            ("/var/log/logjam.err", &site.text("logjam.err")),
        ],
    )
}

/// An action of omprog's defaults plus `settings`.
fn action(site: &Site, options: &str, settings: &str) -> String {
    format!(
        r#"module(load="omprog")
action(type="omprog" binary="{}" {settings})
"#,
        site.pipe(options)
    )
}

/// Many workers for the queue of one action: they take small batches, so that all find work.
const TEN_WORKERS: &str = r#"queue.type="LinkedList" queue.size="20000" queue.workerThreads="10" queue.workerThreadMinimumMessages="1"
    queue.dequeueBatchSize="8" queue.timeoutShutdown="30000" queue.timeoutActionCompletion="30000" action.resumeRetryCount="-1""#;

#[test]
fn the_shipped_configuration_carries_every_line_into_the_archive_unchanged() {
    let site = Site::new();
    let storm = lines(0, storm_lines());
    let rsyslogd = start_rsyslogd(&site, &recommended(&site));
    rsyslogd.send(&storm.sent);
    site.wait_for_lines(storm.sent.len());
    rsyslogd.stop();
    let archived = site.archived_lines();
    assert_same_lines(&archived, &storm.by_rsyslog);
    println!(
        "rsyslogd: {} lines sent, {} in the archive, none missing, none changed",
        storm.sent.len(),
        archived.len()
    );
}

#[test]
fn stopping_rsyslogd_in_the_middle_of_a_storm_loses_nothing() {
    let site = Site::new();
    let storm = lines(0, 20_000);
    let rsyslogd = start_rsyslogd(&site, &recommended(&site));
    rsyslogd.send(&storm.sent[..1]);
    site.wait_for_lines(1);
    rsyslogd.send(&storm.sent[1..]);
    rsyslogd.stop_service();
    // What rsyslogd put aside on the disk comes with its next start.
    let rsyslogd = start_rsyslogd(&site, &recommended(&site));
    site.wait_for_lines(storm.sent.len());
    rsyslogd.stop_service();
    assert_same_lines(&site.archived_lines(), &storm.by_rsyslog);
}

#[test]
fn killing_rsyslogd_loses_nothing_that_it_had_handed_over() {
    let site = Site::new();
    let some = lines(0, 1000);
    let rsyslogd = start_rsyslogd(&site, &recommended(&site));
    rsyslogd.send(&some.sent);
    site.wait_for_lines(1);
    let child = site.child();
    rsyslogd.kill();
    child.wait_until_gone();
    let archived = site.archived_lines();
    let first: Vec<_> = some.by_rsyslog.iter().take(archived.len()).collect();
    assert!(!archived.is_empty());
    assert_same_lines_in_order(&archived, &first);
}

#[test]
fn ten_lines_with_the_default_settings_arrive_and_the_program_leaves_at_the_end_of_its_input() {
    let site = Site::new();
    let ten = lines(0, 10);
    let rsyslogd = start_rsyslogd(&site, &action(&site, "--prefix=haproxy", ""));
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

/// rsyslogd reports a program that it had to kill, or that left otherwise than with status 0.
#[track_caller]
fn assert_left_by_itself(site: &Site) {
    let log = site.read("rsyslogd.log") + &site.read("rsyslogd.err");
    for trouble in ["did not terminate", "killing it", "terminated; will be restarted", "by signal", "error sending"] {
        assert!(!log.contains(trouble), "rsyslogd reports {trouble:?}: {log}");
    }
    let mut exits = log.split("exited with status ").skip(1).peekable();
    assert!(exits.peek().is_some(), "rsyslogd reports no exit: {log}");
    assert!(exits.all(|status| status.starts_with("0 ")), "an exit status other than 0: {log}");
}

#[test]
fn a_template_without_a_line_end_gives_whole_lines() {
    let site = Site::new();
    let ten = lines(0, 10);
    let rules = format!(
        "template(name=\"bare\" type=\"string\" string=\"%msg%\")\n{}",
        action(&site, "", r#"template="bare""#)
    );
    let rsyslogd = start_rsyslogd(&site, &rules);
    rsyslogd.send(&ten.sent);
    site.wait_for_lines(10);
    rsyslogd.stop();
    let texts: Vec<_> = ten.by_rsyslog.iter().map(|line| line.split_once("] ").expect("a tag").1).collect();
    assert_same_lines_in_order(&site.archived_lines(), &texts);
}

#[test]
fn empty_records_are_lines_and_not_the_end_of_the_input() {
    let site = Site::new();
    let rules = format!(
        "template(name=\"payload\" type=\"string\" string=\"%$!payload%\\n\")\nset $!payload = field($msg, 124, 2);\n{}",
        action(&site, "", r#"template="payload""#)
    );
    let rsyslogd = start_rsyslogd(&site, &rules);
    let payloads = ["", "one", "", "", "two", ""];
    rsyslogd.send(payloads.map(|text| format!("<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - |{text}|")));
    site.wait_for_lines(payloads.len());
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &payloads);
}

#[test]
fn ten_instances_at_once_share_a_directory_and_lose_nothing() {
    let site = Site::new();
    let storm = lines(0, 100_000);
    let rsyslogd = start_rsyslogd(&site, &action(&site, "", TEN_WORKERS));
    // A worker forks its program with its first message, so it takes some bursts until all ten have had one.
    let mut sent = 0;
    for burst in storm.sent.chunks(2500) {
        rsyslogd.send(burst);
        sent += burst.len();
        if sent >= 10_000 && site.children().iter().filter(|child| child.parent == rsyslogd.pid()).count() == 10 {
            break;
        }
    }
    assert!(sent < storm.sent.len(), "not ten processes even after {sent} lines: {:?}", site.children());
    site.wait_for_lines(sent);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines(&site.archived_lines(), &storm.by_rsyslog[..sent]);
}

#[test]
fn ten_workers_with_a_single_instance_feed_one_process() {
    let site = Site::new();
    let storm = lines(0, 10_000);
    let settings = format!(r#"{TEN_WORKERS} forceSingleInstance="on" output="{}""#, site.text("logjam.err"));
    let rsyslogd = start_rsyslogd(&site, &action(&site, "--log-level=critical", &settings));
    rsyslogd.send(&storm.sent);
    site.wait_for_lines(storm.sent.len());
    let only = site.child();
    assert_eq!(only.parent, rsyslogd.pid());
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_eq!(site.read("logjam.err"), "", "neither stdout nor stderr has anything to say");
    assert_same_lines(&site.archived_lines(), &storm.by_rsyslog);
}

#[test]
fn ten_instances_write_whole_lines_to_the_output_file_while_it_is_reopened() {
    let site = Site::new();
    let storm = lines(0, 10_000);
    let settings = format!(r#"{TEN_WORKERS} output="{}""#, site.text("logjam.err"));
    let rsyslogd = start_rsyslogd(&site, &action(&site, "--log-level=debug", &settings));
    for part in storm.sent.chunks(1000) {
        rsyslogd.send(part);
        rsyslogd.signal(Signal::SIGHUP);
    }
    site.wait_for_lines(storm.sent.len());
    rsyslogd.stop();
    let said = site.read("logjam.err");
    assert!(!said.is_empty(), "at level debug the program says something");
    assert!(said.ends_with('\n'), "the last line is whole");
    for line in said.lines() {
        assert!(is_own_message(line), "not one whole message: {line:?}");
    }
    assert_same_lines(&site.archived_lines(), &storm.by_rsyslog);
}

/// What logjam says begins with the time or with its name, and holds that once.
fn is_own_message(line: &str) -> bool {
    let begins = |text: &str| text.starts_with("logjam: ") || (text.starts_with("20") && text.get(19..20) == Some("."));
    let times = line.match_indices("T").filter(|(at, _)| at.checked_sub(10).is_some_and(|at| begins(&line[at..])));
    begins(line) && times.count() <= 1 && !line.contains("frontend request")
}

#[test]
fn a_hup_to_the_whole_service_ends_nothing() {
    let site = Site::new();
    let all = lines(0, 300);
    let rsyslogd = start_rsyslogd(&site, &recommended(&site));
    rsyslogd.send(&all.sent[..100]);
    site.wait_for_lines(100);
    let child = site.child();
    // Debian's logrotate does this: systemctl kill -s HUP rsyslog.service.
    rsyslogd.signal_service(Signal::SIGHUP);
    rsyslogd.send(&all.sent[100..200]);
    site.wait_for_lines(200);
    rsyslogd.signal_service(Signal::SIGHUP);
    rsyslogd.send(&all.sent[200..]);
    site.wait_for_lines(300);
    assert_eq!(site.child().pid, child.pid);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn after_a_kill_of_guard_and_worker_the_next_message_starts_another_pair_and_nothing_read_is_lost() {
    killed_between_messages("");
}

#[test]
fn without_a_guard_too_the_next_message_after_a_kill_starts_another_and_nothing_read_is_lost() {
    killed_between_messages("--no-guard");
}

fn killed_between_messages(options: &str) {
    let site = Site::new();
    let all = lines(0, 60);
    let rsyslogd = start_rsyslogd(&site, &action(&site, options, r#"action.resumeRetryCount="-1""#));
    let mut files = 0;
    let mut pids = Vec::new();
    for (round, part) in all.sent.chunks(20).enumerate() {
        rsyslogd.send(part);
        site.wait_for_lines(20 * (round + 1));
        let child = site.child();
        let worker = site.worker();
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
    assert_eq!(pids.len(), 3, "three processes were killed: {pids:?}");
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn a_kill_of_the_worker_loses_nothing_and_rsyslogd_does_not_notice() {
    let site = Site::new();
    let all = lines(0, 60);
    let rsyslogd = start_rsyslogd(&site, &action(&site, "", ""));
    rsyslogd.send(&all.sent[..20]);
    site.wait_for_lines(20);
    let guard = site.child();
    for part in all.sent[20..].chunks(20) {
        let worker = site.worker();
        assert_ne!(worker.pid, guard.pid, "a guard and a worker");
        worker.signal(Signal::SIGKILL);
        rsyslogd.send(part);
        wait_for("another worker", || {
            let children = site.children();
            children.iter().any(|other| other.parent == guard.pid && other.pid != worker.pid).then_some(())
        });
    }
    site.wait_for_lines(60);
    assert_eq!(site.child().pid, guard.pid);
    rsyslogd.stop();
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn a_term_to_the_program_does_not_end_it_before_its_input() {
    let site = Site::new();
    let all = lines(0, 20_000);
    let rsyslogd = start_rsyslogd(&site, &recommended(&site));
    rsyslogd.send(&all.sent[..1]);
    site.wait_for_lines(1);
    let child = site.child();
    std::thread::scope(|scope| {
        scope.spawn(|| rsyslogd.send(&all.sent[1..]));
        child.signal(Signal::SIGTERM);
    });
    site.wait_for_lines(all.sent.len());
    rsyslogd.stop();
    assert_same_lines(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn asked_to_terminate_and_cut_off_it_is_gone_within_closetimeout() {
    gone_in_time(r#"signalOnClose="on" killUnresponsive="on" closeTimeout="1000""#);
}

#[test]
fn cut_off_without_a_signal_it_is_gone_within_closetimeout() {
    gone_in_time(r#"signalOnClose="off" killUnresponsive="on" closeTimeout="1000""#);
}

fn gone_in_time(settings: &str) {
    let site = Site::new();
    let ten = lines(0, 10);
    let rsyslogd = start_rsyslogd(&site, &action(&site, "", settings));
    rsyslogd.send(&ten.sent);
    site.wait_for_lines(10);
    let child = site.child();
    rsyslogd.stop();
    assert!(!child.is_alive());
    assert_left_by_itself(&site);
    assert_same_lines_in_order(&site.archived_lines(), &ten.by_rsyslog);
}

#[test]
fn a_wrong_option_ends_the_program_with_status_2_and_holds_up_nobody() {
    let site = Site::new();
    let ten = lines(0, 10);
    let rsyslogd = start_rsyslogd(&site, &action(&site, "--frobnicate", ""));
    rsyslogd.send(&ten.sent);
    wait_for("rsyslogd's report of the exit", || {
        rsyslogd.send(&ten.sent[..1]);
        site.read("rsyslogd.log").contains("exited with status 2").then_some(())
    });
    let took = rsyslogd.stop();
    assert!(took < Duration::from_secs(10), "rsyslogd took {took:?} to stop");
    assert!(site.children().is_empty());
}

#[test]
fn a_program_that_cannot_start_holds_and_says_why_and_loses_no_line() {
    let site = Site::new();
    let all = lines(0, 5000);
    std::fs::remove_dir(site.spool()).expect("no directory");
    std::fs::write(site.spool(), "in the way").expect("a file in its place");
    let rsyslogd = start_rsyslogd(&site, &recommended(&site));
    rsyslogd.send(&all.sent);
    wait_for("its complaint", || site.read("logjam.err").contains(&site.text("spool")).then_some(()));
    let child = site.child();
    rsyslogd.send(["<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - one more"]);
    assert_eq!(site.child().pid, child.pid, "one that waits, not one after another");

    std::fs::remove_file(site.spool()).expect("the mend");
    std::fs::create_dir(site.spool()).expect("the mend");
    site.wait_for_lines(all.sent.len() + 1);
    rsyslogd.stop();
    let archived = site.archived_lines();
    assert_eq!(archived.len(), all.sent.len() + 1);
}
