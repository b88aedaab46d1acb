//! A good child of rsyslogd: quiet while all is well, and no source of the lines that it archives.
#![allow(clippy::disallowed_methods)] // Tests look at files and clocks as they are.

use crate::cases::{self, assert_left_by_itself, recommended};
use crate::daemons::*;
use nix::sys::signal::Signal;
use std::fs;

/// An rsyslogd that has the system's log.
fn with_dev_log() -> Setup {
    Setup { dev_log: true, ..Setup::default() }
}

#[test]
fn a_life_in_which_all_is_well_says_nothing() {
    for file in ["logjam.conf", "logjam-plain.conf", "logjam-id.conf", "logjam-transactions.conf"] {
        let site = Site::new();
        let all = lines(0, 200);
        let rsyslogd = start_rsyslogd(&site, &recommended(&site, &format!("rsyslog/{file}"), &[]));
        rsyslogd.send(&all.sent[..100]);
        site.wait_for_lines(100);
        rsyslogd.signal_service(Signal::SIGHUP);
        rsyslogd.send(&all.sent[100..]);
        site.wait_for_lines(200);
        rsyslogd.stop();
        assert_left_by_itself(&site);
        assert_eq!(site.read("logjam.err"), "", "{file}");
    }
}

#[test]
fn what_it_says_to_syslog_goes_to_a_file_of_its_own_with_the_shipped_rule_and_not_into_the_archive() {
    let site = Site::new();
    let all = lines(0, 100);
    let options = "--log-to=syslog --log-level=debug";
    let own = shipped("rsyslog/logjam-own.conf", &[("/var/log/logjam.log", &site.text("own.log"))]);
    let (pipe, err) = (site.pipe(options), site.text("logjam.err"));
    let edits = [(cases::SHIPPED_PIPE, pipe.as_str()), ("/var/log/logjam.err", err.as_str())];
    let rules = own + &shipped("rsyslog/logjam-plain.conf", &edits);
    let rsyslogd = start_rsyslogd_with(&site, &with_dev_log(), &rules);
    rsyslogd.send(&all.sent[..50]);
    site.wait_for_lines(50);
    for part in [50..75, 75..100] {
        let before = site.read("own.log").matches("stored file://").count();
        site.child().signal(Signal::SIGUSR1);
        wait_for("what it says", || (site.read("own.log").matches("stored file://").count() > before).then_some(()));
        // Behind what it said: whatever came of that is there by now.
        let end = part.end;
        rsyslogd.send(&all.sent[part]);
        site.wait_for_lines(end);
    }
    rsyslogd.stop();
    let own = site.read("own.log");
    assert!(own.contains(" logjam[") && own.contains("packed as") && own.contains("gave up:"), "{own}");
    assert_same_lines_in_order(&site.archived_lines(), &all.by_rsyslog);
}

#[test]
fn without_that_rule_what_it_says_is_archived_and_causes_nothing_more() {
    let site = Site::new();
    let action = cases::action(&site, cases::PLAIN, "--log-to=syslog --log-level=debug", r#"template="line""#);
    let rules = format!("template(name=\"line\" type=\"string\" string=\"%msg:::drop-last-lf%\\n\")\n{action}");
    let rsyslogd = start_rsyslogd_with(&site, &with_dev_log(), &rules);
    rsyslogd.send(["<134>1 2013-07-04T00:00:00Z web-1 app - - - the only line"]);
    site.wait_for_text("the only line");
    site.child().signal(Signal::SIGUSR1);
    site.wait_for_text("stored file://");
    for round in ["one", "two", "three"] {
        rsyslogd.send([format!("<134>1 2013-07-04T00:00:00Z web-1 app - - - round {round}")]);
        site.wait_for_text(&format!("round {round}"));
    }
    rsyslogd.stop();
    let archived: Vec<_> = site.archived_lines().into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    let told: Vec<_> = archived.iter().filter(|line| !line.contains("round ") && !line.contains("only line")).collect();
    // Of its start, of the one hour that ended; nothing of the lines that this made, however many rounds are waited for.
    let of = |text: &str| told.iter().filter(|line| line.contains(text)).count();
    assert_eq!((of("gave up:"), of("packed as"), of("stored file://"), told.len()), (1, 1, 1, 3), "{archived:#?}");
}

#[test]
fn a_message_that_causes_itself_comes_to_an_end() {
    let site = Site::new();
    // An rsyslogd that gives all lines the same identity and no time: what logjam says of a line that came again comes again.
    let action = cases::action(&site, cases::PLAIN, "--id --log-to=syslog --log-level=debug", r#"template="line""#);
    let rules = format!(
        "template(name=\"line\" type=\"string\" string=\"same %msg:::sp-if-no-1st-sp%%msg:::drop-last-lf%\\n\")\n\
         template(name=\"told\" type=\"string\" string=\"%msg:::drop-last-lf%\\n\")\n\
         if $programname == \"logjam\" then {{ action(type=\"omfile\" file=\"{}\" template=\"told\") }}\n{action}",
        site.text("told.log")
    );
    let rsyslogd = start_rsyslogd_with(&site, &with_dev_log(), &rules);
    let send = |text: &str| rsyslogd.send([format!("<134>1 2013-07-04T00:00:00Z web-1 app - - - {text}")]);
    let again = || site.read("told.log").matches("a line came again").count();
    // The second makes a message, the third makes the same again: from then on each is the cause of the next.
    send("twice");
    site.wait_for_text("twice");
    send("twice");
    site.wait_for_text("a line came again");
    send("twice");
    wait_for("as many messages of that kind as are said in a minute", || (again() >= 10).then_some(()));
    for round in ["one", "two", "three", "four", "five"] {
        send(&format!("round {round}"));
        site.wait_for_text(&format!("round {round}"));
    }
    assert_eq!(again(), 10);
    rsyslogd.stop();
    assert_eq!(fs::read_dir(site.spool()).unwrap().flatten().filter(|entry| entry.path().is_file()).count(), 1);
}
