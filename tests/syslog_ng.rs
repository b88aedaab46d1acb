//! Under the real syslog-ng, with the shipped configuration.
#![allow(clippy::disallowed_methods)] // Tests look at files and clocks as they are.

use crate::daemons::*;
use nix::sys::signal::Signal;

/// The shipped file with this site's paths in it, and nothing else changed.
fn recommended(site: &Site) -> String {
    shipped(
        "syslog-ng/logjam.conf",
        &[
            (
                "/usr/bin/logjam pipe /var/log/logjam 's3://BUCKET/{prefix}/{year}/{month}/{day}/{filename}'",
                &site.shell_pipe(""),
            ),
            ("/var/log/logjam.err", &site.text("logjam.err")),
            ("/var/lib/syslog-ng", &site.text("state")),
        ],
    )
}

#[test]
fn the_shipped_configuration_carries_every_line_into_the_archive_unchanged() {
    let site = Site::new();
    let storm = lines(0, storm_lines());
    let syslog_ng = start_syslog_ng(&site, "", &recommended(&site));
    syslog_ng.send_counted(&storm.sent);
    site.wait_for_lines(storm.sent.len());
    syslog_ng.stop();
    let archived = site.archived_lines();
    assert_same_lines_in_order(&archived, &storm.by_syslog_ng);
    println!(
        "syslog-ng: {} lines sent, {} in the archive, none missing, none changed",
        storm.sent.len(),
        archived.len()
    );
}

#[test]
fn stopping_syslog_ng_keeps_the_pipe_and_the_queue_but_for_the_line_in_syslog_ngs_own_hand() {
    let site = Site::new();
    let storm = lines(0, 20_000);
    let syslog_ng = start_syslog_ng(&site, "", &recommended(&site));
    // More than the pipe can hold, while nobody reads it: the rest is in the disk-buffer when syslog-ng ends.
    let child = wait_for("the worker", || Some(site.worker()).filter(|worker| worker.pid != site.child().pid));
    child.signal(Signal::SIGSTOP);
    syslog_ng.send_counted(&storm.sent);
    syslog_ng.stop();
    // The kernel may have been quicker: it does so for a group whose leader's parent is gone (setpgid(2)).
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.pid), Signal::SIGCONT);
    site.wait_until_no_child();
    let taken = site.wait_for_lines(1);
    let syslog_ng = start_syslog_ng(&site, "", &recommended(&site));
    site.wait_for_lines(storm.sent.len() - 1);
    syslog_ng.stop();
    // syslog-ng takes a line out of its disk-buffer before the full pipe takes it, and forgets that one when it ends.
    let mut expected = storm.by_syslog_ng.clone();
    let archived = site.archived_lines();
    if archived.len() == expected.len() - 1 {
        expected.remove(taken);
    }
    assert_same_lines(&archived, &expected);
}

#[test]
fn a_reload_leaves_the_program_alone() {
    let site = Site::new();
    let storm = lines(0, 10_000);
    let syslog_ng = start_syslog_ng(&site, "", &recommended(&site));
    let child = site.child();
    for (reloads, part) in storm.sent.chunks(2500).enumerate() {
        syslog_ng.send_counted(part);
        // With a full pipe, syslog-ng writes the line in its hand twice at a reload.
        site.wait_for_lines(2500 * (reloads + 1));
        reload(&site, &syslog_ng, reloads + 1);
    }
    site.wait_for_lines(storm.sent.len());
    assert_eq!(site.child().pid, child.pid);
    syslog_ng.stop();
    assert_same_lines_in_order(&site.archived_lines(), &storm.by_syslog_ng);
}

#[test]
fn a_reload_with_a_full_pipe_loses_no_line_and_doubles_the_one_in_syslog_ngs_hand_at_the_most() {
    let site = Site::new();
    let storm = lines(0, 40_000);
    let syslog_ng = start_syslog_ng(&site, "", &recommended(&site));
    let child = wait_for("the worker", || Some(site.worker()).filter(|worker| worker.pid != site.child().pid));
    for (reloads, part) in storm.sent.chunks(20_000).enumerate() {
        child.signal(Signal::SIGSTOP);
        syslog_ng.send_counted(part);
        reload(&site, &syslog_ng, reloads + 1);
        child.signal(Signal::SIGCONT);
        site.wait_for_lines(20_000 * (reloads + 1));
    }
    syslog_ng.stop();
    let mut archived = site.archived_lines();
    let twice = archived.len() - storm.sent.len();
    assert!(twice <= 2, "{twice} lines came twice at two reloads");
    archived.dedup();
    assert_same_lines_in_order(&archived, &storm.by_syslog_ng);
}

#[test]
fn a_reload_without_keep_alive_drains_the_old_program_beside_the_new_one() {
    let site = Site::new();
    let storm = lines(0, 10_000);
    let rules = recommended(&site).replace("keep-alive(yes)", "keep-alive(no)");
    let syslog_ng = start_syslog_ng(&site, "", &rules);
    let first = site.child();
    for (reloads, part) in storm.sent.chunks(2500).enumerate() {
        syslog_ng.send_counted(part);
        // Each of them gets its TERM in the middle of its work, not before it has begun.
        site.wait_for_lines(2500 * reloads + 1);
        reload(&site, &syslog_ng, reloads + 1);
    }
    site.wait_for_lines(storm.sent.len());
    first.wait_until_gone();
    syslog_ng.stop();
    assert_same_lines(&site.archived_lines(), &storm.by_syslog_ng);
}

#[track_caller]
fn reload(site: &Site, syslog_ng: &Daemon, reloads: usize) {
    syslog_ng.signal(Signal::SIGHUP);
    wait_for("the reload", || {
        let finished = site.read("syslog-ng.err").matches("Configuration reload finished").count();
        (finished >= reloads).then_some(())
    });
}

#[test]
fn after_a_kill_another_program_takes_over_at_once() {
    let site = Site::new();
    let all = lines(0, 40);
    let syslog_ng = start_syslog_ng(&site, "", &recommended(&site));
    for (round, part) in all.sent.chunks(10).enumerate() {
        let child = site.child();
        syslog_ng.send_counted(part);
        site.wait_for_lines(10 * (round + 1));
        for process in site.children() {
            process.signal(Signal::SIGKILL);
        }
        child.wait_until_gone();
    }
    syslog_ng.stop();
    assert_same_lines_in_order(&site.archived_lines(), &all.by_syslog_ng);
}

#[test]
fn control_characters_within_a_message_are_kept() {
    let site = Site::new();
    let texts: [&[u8]; 4] =
        [b"tab\there", b"\x1b[31mred\x1b[0m and bell \x07", b"carriage\rreturn\r", b"not UTF-8: \x80\xff\xc3"];
    let syslog_ng = start_syslog_ng(&site, "", &recommended(&site));
    syslog_ng.send_counted(texts.map(|text| [b"<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - ", text].concat()));
    // A line feed is the one that no line can hold: the shipped file says so.
    syslog_ng.send_counted(["<134>1 2013-07-04T00:00:00Z web-1 haproxy - - - line\nfeed"]);
    site.wait_for_lines(texts.len() + 2);
    syslog_ng.stop();
    let head = b"2013-07-04T00:00:00.000000+00:00 web-1 haproxy: ";
    let mut expected: Vec<_> = texts.iter().map(|text| [head, *text].concat()).collect();
    expected.push([head, &b"line"[..]].concat());
    expected.push(b"feed".to_vec());
    assert_same_lines_in_order(&site.archived_lines(), &expected);
}

#[test]
fn a_quiet_source_brings_no_mark_lines() {
    let site = Site::new();
    // Another destination, which does get them, tells when it is time to look.
    let clock = format!(
        "destination d_clock {{ file(\"{}\" mark-mode(periodical)); }};\nlog {{ source(s_src); destination(d_clock); }};\n",
        site.text("clock")
    );
    let one = lines(0, 1);
    let syslog_ng = start_syslog_ng(&site, "mark-freq(1);", &(recommended(&site) + &clock));
    syslog_ng.send_counted(&one.sent);
    wait_for("two marks", || (site.read("clock").matches("-- MARK --").count() >= 2).then_some(()));
    syslog_ng.stop();
    assert_same_lines_in_order(&site.archived_lines(), &one.by_syslog_ng);
}
