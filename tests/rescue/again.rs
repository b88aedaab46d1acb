//! A host that is lost at the worst moment: when it has come back to an hour that was rescued, or has stored half of what belongs
//! together.

use super::{OFTEN, begun_anew, checkpoint, destroy, rescue, texts};
use crate::cli::{self, Running};
use crate::growing::{self, Host, LONG, far_from_the_turn, lines};
use crate::server::{Fault, Seen};
use logjam::env::store::Part;
use logjam::format::checkpoint::Unfinished;
use nix::sys::signal::Signal;

fn count(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Waits until the checkpoint says what it should.
#[track_caller]
fn until_told(host: &Host, running: &Running, what: &str, told: impl Fn(&[Unfinished<Part>]) -> bool) {
    let done = cli::within(LONG, || told(&checkpoint(host).0.unfinished));
    assert!(done, "waited in vain until the checkpoint tells of {what}: {:#?}\n{}", checkpoint(host).0, running.said());
}

/// Feeds lines until the checkpoint tells of an hour file that has so many.
#[track_caller]
fn feed_until_told(host: &Host, running: &Running, text: &[u8], all: u64) {
    host.feed(text);
    until_told(host, running, "all lines", |told| {
        told.iter().any(|one| !one.stored && one.manifest.summary.lines == all)
    });
}

/// A host that another one took for lost.
fn rescued_and_back(first: &[u8]) -> (Host, Running) {
    let host = Host::new();
    let running = begun_anew(&host, OFTEN, first);
    running.signal_group(Signal::SIGSTOP);
    rescue(&host, &[]).code_is(0).says("saved 1 objects");
    running.signal_group(Signal::SIGCONT);
    (host, running)
}

#[track_caller]
fn assert_all_once(host: &Host, text: &[u8]) {
    let mut found = texts(host);
    found.sort_by_key(|one| memchr::memmem::find(text, one));
    assert!(found.concat() == text, "{:?}: {:?}", host.keys(), found.iter().map(Vec::len).collect::<Vec<_>>());
    assert!(host.server.open_uploads().is_empty(), "{:?}", host.server.open_uploads());
    rescue(host, &[]).code_is(0).says("saved 0 objects");
}

/// Leaves what is meant on its way to the server.
fn hold_up(host: &Host, meant: impl Fn(&Seen) -> bool + Send + Sync + 'static) {
    host.server.set_fault(move |seen| match matches!(seen.method.as_str(), "PUT" | "POST") && meant(seen) {
        true => Fault::Stall,
        false => Fault::None,
    });
}

fn is_manifest(seen: &Seen) -> bool {
    seen.key.ends_with(".json")
}

#[test]
fn a_host_that_came_back_and_is_lost_then_has_its_rest_saved_and_no_line_twice() {
    far_from_the_turn(LONG);
    for (first, second) in [(30 << 10, 20 << 10), (9 << 20, 1 << 20)] {
        let text = lines(first + second, 31);
        let at = super::line_end(&text, first as u64);
        let (host, running) = rescued_and_back(&text[..at]);
        feed_until_told(&host, &running, &text[at..], count(&text));
        destroy(&host, running);
        rescue(&host, &["--dry-run"]).code_is(0).says("would save 1 objects");
        let lost = count(&text[at..]);
        rescue(&host, &[]).code_is(0).says("saved 1 objects").says(&format!("saved {lost} lines"));
        assert_all_once(&host, &text);
    }
}

#[test]
fn what_another_life_of_the_host_stored_itself_is_no_beginning_though_it_reads_like_one() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let text = lines(9_000, 36);
    let at = super::line_end(&text, 4_000);
    destroy(&host, begun_anew(&host, OFTEN, &text));
    let running = begun_anew(&host, OFTEN, &text[..at]);
    growing::end_hour(&running);
    host.until_settled(&running, 1);
    destroy(&host, running);
    rescue(&host, &[]).code_is(0).says("saved 1 objects; 1 stand already");
    let mut found = texts(&host);
    found.sort_by_key(Vec::len);
    assert!(found == [text[..at].to_vec(), text], "{:?}", host.keys());
}

#[test]
fn a_host_that_is_rescued_again_and_again_has_every_line_once() {
    far_from_the_turn(LONG);
    let text = lines(60 << 10, 32);
    let [a, b] = [20 << 10, 40 << 10].map(|len| super::line_end(&text, len));
    let (host, running) = rescued_and_back(&text[..a]);
    feed_until_told(&host, &running, &text[a..b], count(&text[..b]));
    running.signal_group(Signal::SIGSTOP);
    rescue(&host, &[]).code_is(0).says("saved 1 objects");
    running.signal_group(Signal::SIGCONT);
    host.feed_until_kept(&running, &text[b..], text.len());
    growing::end_hour(&running);
    host.until_settled(&running, 3);
    host.end_input();
    growing::ends(running);
    assert_eq!(host.objects().len(), 3, "{:?}", host.keys());
    host.spool.assert_tidy();
    let mut found = texts(&host);
    found.sort_by_key(|one| memchr::memmem::find(&text, one));
    assert!(found.concat() == text, "{:?}", host.keys());
}

#[test]
fn the_rest_behind_a_rescue_stays_in_the_checkpoint_until_it_is_stored() {
    far_from_the_turn(LONG);
    let text = lines(60 << 10, 33);
    let [a, b] = [20 << 10, 40 << 10].map(|len| super::line_end(&text, len));
    let (host, running) = rescued_and_back(&text[..a]);
    feed_until_told(&host, &running, &text[a..b], count(&text[..b]));
    let first = host.objects();
    hold_up(&host, move |seen| seen.key.ends_with(".gz") && !first.contains(&seen.key));
    growing::end_hour(&running);
    running.until("the rest is made", || running.said().contains("the rest is stored as"));
    feed_until_told(&host, &running, &text[b..], count(&text[b..]));
    destroy(&host, running);
    host.server.clear_fault();
    rescue(&host, &[]).code_is(0);
    assert_all_once(&host, &text);
}

/// A key for rescues that sign.
fn sign_key(host: &Host) -> String {
    let key = host.spool.beside("key").display().to_string();
    cli::run(cli::logjam(["keygen", &key])).code_is(0);
    format!("--sign-key={key}")
}

#[test]
fn a_host_that_is_lost_before_it_has_stored_a_manifest_has_that_saved() {
    far_from_the_turn(LONG);
    for signs in [false, true] {
        let host = Host::new();
        let text = lines(60 << 10, 34);
        let [a, b] = [20 << 10, 40 << 10].map(|len| super::line_end(&text, len));
        let running = begun_anew(&host, OFTEN, &text[..a]);
        hold_up(&host, is_manifest);
        // Two hours that wait name each other, and the open one names the second.
        growing::end_hour(&running);
        running.until("it is stored", || host.objects().len() == 1);
        feed_until_told(&host, &running, &text[a..b], count(&text[a..b]));
        growing::end_hour(&running);
        running.until("both are stored", || host.objects().len() == 2);
        feed_until_told(&host, &running, &text[b..], count(&text[b..]));
        until_told(&host, &running, "two manifests", |told| told.iter().filter(|one| one.stored).count() == 2);
        destroy(&host, running);
        assert_eq!(host.keys().len(), 2, "{:?}", host.keys());
        host.server.clear_fault();
        rescue(&host, &["--dry-run"]).code_is(0).says("would save 3 objects");
        assert_eq!(host.keys().len(), 2, "{:?}", host.keys());
        let key = sign_key(&host);
        let options: &[&str] = if signs { &[&key] } else { &[] };
        rescue(&host, options)
            .code_is(0)
            .says("saved 3 objects")
            .says("saved the manifest of what its host had stored");
        assert_all_once(&host, &text);
    }
}

#[test]
fn a_host_that_is_lost_when_an_object_is_stored_and_nothing_else_has_its_manifest_made() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let text = lines(40 << 10, 37);
    let at = super::line_end(&text, 20 << 10);
    let running = begun_anew(&host, OFTEN, &text[..at]);
    // From now on neither a checkpoint nor a manifest.
    hold_up(&host, |seen| is_manifest(seen) || seen.key.starts_with(".logjam/"));
    host.feed_until_kept(&running, &text[at..], text.len());
    growing::end_hour(&running);
    running.until("it is stored", || host.objects().len() == 1);
    destroy(&host, running);
    assert_eq!(host.keys().len(), 1, "{:?}", host.keys());
    host.server.clear_fault();
    rescue(&host, &[]).code_is(0).says("saved 0 objects; 1 stand already");
    assert_all_once(&host, &text);
}

#[test]
fn what_a_rescue_made_and_did_not_come_to_tell_of_has_its_manifest_made_by_the_next() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let text = lines(40 << 10, 38);
    let at = super::line_end(&text, 20 << 10);
    let running = begun_anew(&host, OFTEN, &text[..at]);
    running.signal_group(Signal::SIGSTOP);
    host.server.set_fault(|seen| match seen.method == "PUT" && is_manifest(seen) {
        true => Fault::refuse(403, "AccessDenied"),
        false => Fault::None,
    });
    rescue(&host, &[]).code_is(1).says("1 could not be saved");
    host.server.clear_fault();
    assert_eq!(host.keys().len(), 1, "{:?}", host.keys());
    running.signal_group(Signal::SIGCONT);
    feed_until_told(&host, &running, &text[at..], count(&text));
    destroy(&host, running);
    rescue(&host, &[]).code_is(0).says("saved 1 objects");
    assert_all_once(&host, &text);
}

#[test]
fn what_names_a_manifest_that_never_came_names_the_one_that_a_rescue_put_in_its_place() {
    far_from_the_turn(LONG);
    let text = lines(60 << 10, 39);
    let [a, b] = [20 << 10, 40 << 10].map(|len| super::line_end(&text, len));
    let (host, running) = rescued_and_back(&text[..a]);
    feed_until_told(&host, &running, &text[a..b], count(&text[..b]));
    hold_up(&host, is_manifest);
    growing::end_hour(&running);
    running.until("the rest is made", || running.said().contains("the rest is stored as"));
    feed_until_told(&host, &running, &text[b..], count(&text[b..]));
    until_told(&host, &running, "the manifest", |told| told.iter().any(|one| one.stored));
    destroy(&host, running);
    host.server.clear_fault();
    rescue(&host, &[]).code_is(0);
    assert_all_once(&host, &text);
}

#[test]
fn a_host_whose_manifests_a_rescue_has_stored_comes_back_and_goes_on() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let text = lines(60 << 10, 35);
    let [a, b] = [20 << 10, 40 << 10].map(|len| super::line_end(&text, len));
    let running = begun_anew(&host, OFTEN, &text[..a]);
    hold_up(&host, is_manifest);
    growing::end_hour(&running);
    running.until("it is stored", || host.objects().len() == 1);
    feed_until_told(&host, &running, &text[a..b], count(&text[a..b]));
    until_told(&host, &running, "the manifest", |told| told.iter().any(|one| one.stored));
    running.signal_group(Signal::SIGSTOP);
    host.server.clear_fault();
    rescue(&host, &[]).code_is(0).says("saved 2 objects");
    running.signal_group(Signal::SIGCONT);
    host.feed(&text[b..]);
    running.until("the lines are in the hour file", || host.kept() == (text.len() - a) as u64);
    growing::end_hour(&running);
    host.until_settled(&running, 3);
    // The checkpoint tells of nothing any more that is stored.
    host.feed(b"one more\n");
    until_told(&host, &running, "the last line", |told| {
        told.iter().any(|one| one.manifest.summary.lines == 1) && told.iter().all(|one| !one.stored)
    });
    growing::end_hour(&running);
    host.until_settled(&running, 4);
    host.end_input();
    growing::ends(running);
    assert_all_once(&host, &[&text[..], b"one more\n"].concat());
}
