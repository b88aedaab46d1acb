//! Under the real rsyslogd: the shipped configuration for plain mode, and the plain-mode scenarios of rsyslog's own tests of omprog.
#![allow(clippy::disallowed_methods)] // Tests look at files and clocks as they are.

use std::time::Duration;

use crate::cases::{self, PLAIN, PLAIN_AGAIN, action, assert_left_by_itself};
use crate::daemons::*;
use nix::sys::signal::Signal;

/// The shipped file for plain mode with this site's paths in it, and nothing else changed.
fn recommended(site: &Site) -> String {
    cases::recommended(site, "rsyslog/logjam-plain.conf", &[])
}

#[test]
fn the_shipped_configuration_carries_every_line_into_the_archive_unchanged() {
    let site = Site::new();
    let storm = lines(0, storm_lines());
    let rules = recommended(&site);
    let rsyslogd = start_rsyslogd(&site, &rules);
    rsyslogd.send(&storm.sent);
    cases::wait_through_disk(&site, rsyslogd, &rules, storm.sent.len()).stop();
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
    cases::ten_lines(PLAIN);
}

#[test]
fn a_template_without_a_line_end_gives_whole_lines() {
    cases::no_line_end(PLAIN);
}

#[test]
fn empty_records_are_lines_and_not_the_end_of_the_input() {
    cases::empty_records(PLAIN);
}

#[test]
fn ten_instances_at_once_share_a_directory_and_lose_nothing() {
    cases::ten_instances(PLAIN_AGAIN);
}

#[test]
fn ten_workers_with_a_single_instance_feed_one_process() {
    cases::ten_workers_one_process(PLAIN_AGAIN);
}

#[test]
fn ten_instances_write_whole_lines_to_the_output_file_while_it_is_reopened() {
    let site = Site::new();
    let mut storm = lines(0, 10_000);
    // Something to say: whoever finds what an earlier life left behind.
    for hour in 0..24 {
        let left = by_rsyslog(10_000 + hour);
        let name = format!("syslog-20130704T{hour:02}00Z-test.log");
        std::fs::write(site.spool().join(name), format!("{left}\n")).expect("an hour file");
        storm.by_rsyslog.push(left);
    }
    let settings = format!(r#"{} output="{}""#, cases::TEN_WORKERS, site.text("logjam.err"));
    let rsyslogd = start_rsyslogd(&site, &action(&site, PLAIN_AGAIN, "--log-level=debug", &settings));
    for part in storm.sent.chunks(1000) {
        rsyslogd.send(part);
        rsyslogd.signal(Signal::SIGHUP);
    }
    site.wait_for_lines(storm.by_rsyslog.len());
    rsyslogd.stop();
    let said = site.read("logjam.err");
    assert!(said.lines().count() >= 24, "the program says what it found: {said}");
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
    cases::killed_between_messages(PLAIN_AGAIN, "");
}

#[test]
fn without_a_guard_too_the_next_message_after_a_kill_starts_another_and_nothing_read_is_lost() {
    cases::killed_between_messages(PLAIN_AGAIN, "--no-guard");
}

#[test]
fn a_kill_of_the_worker_loses_nothing_and_rsyslogd_does_not_notice() {
    let site = Site::new();
    let all = lines(0, 60);
    let rsyslogd = start_rsyslogd(&site, &action(&site, PLAIN, "", ""));
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
    cases::gone_in_time(PLAIN, cases::ASKED_TO_TERMINATE);
}

#[test]
fn cut_off_without_a_signal_it_is_gone_within_closetimeout() {
    cases::gone_in_time(PLAIN, cases::CUT_OFF);
}

#[test]
fn a_wrong_option_ends_the_program_with_status_2_and_holds_up_nobody() {
    let site = Site::new();
    let ten = lines(0, 10);
    let rsyslogd = start_rsyslogd(&site, &action(&site, PLAIN, "--frobnicate", ""));
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
