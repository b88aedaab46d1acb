//! What `logjam upload` promises, with the binary as a child and a real S3 server: the seed's `logjam-upload`, and what it
//! does better.
#![allow(clippy::disallowed_methods)] // Tests use the file system and the clock.

use crate::cli::{self, Ended, MIB, Running, Spool, clean, inode, logjam, mode, names, noise, run, shell, within};
use crate::far;
use crate::server::{Fault, S3Server, Seen};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

const DEST: &str = "s3://logs/{prefix}/{year}/{month}/{day}/{filename}";
const NAME: &str = "haproxy-20130704T0000Z-us-west-2-i-ae23fega.log.gz";
const KEY: &str = "haproxy/2013/07/04/haproxy-20130704T0000Z-us-west-2-i-ae23fega.log.gz";
/// Where [`NAME`] goes when other content stands at [`KEY`].
const DUPLICATE: &str =
    "haproxy/2013/07/04/haproxy-logjam-compress-duplicate-timestamp-20130704T0000Z-us-west-2-i-ae23fega.log.gz";

/// A server, a bucket and a spool.
struct Site {
    server: S3Server,
    spool: Spool,
}

impl Site {
    fn new() -> Self {
        let site = Self::without_bucket();
        site.server.create_bucket("logs");
        site
    }

    fn without_bucket() -> Self {
        Self { server: S3Server::start(), spool: Spool::new() }
    }

    /// Puts a file into the archive.
    fn archive(&self, name: &str, content: impl AsRef<[u8]>) {
        self.spool.write(&format!("archive/{name}"), content);
    }

    /// `logjam upload DIR/archive DEST OPTIONS`.
    fn upload(&self, options: &[&str]) -> Command {
        self.upload_to(DEST, options)
    }

    fn upload_to(&self, dest: &str, options: &[&str]) -> Command {
        let archive = self.spool.path("archive").display().to_string();
        let mut command = logjam(["upload", &archive, dest]);
        command.args(options).envs(self.server.environment());
        command
    }

    fn once(&self) -> Ended {
        run(self.upload(&["--once"]))
    }

    fn data(&self, key: &str) -> Vec<u8> {
        let there = || self.server.all_keys("logs");
        self.server.object("logs", key).unwrap_or_else(|| panic!("{key} is missing in {:?}", there())).data()
    }

    fn has(&self, key: &str) -> bool {
        self.server.object("logs", key).is_some()
    }

    fn receipt(&self, name: &str) -> serde_json::Value {
        let text = fs::read(self.spool.receipt(name)).unwrap_or_else(|e| panic!("the receipt of {name}: {e}"));
        serde_json::from_slice(&text).unwrap()
    }
}

/// The key of `a-20130704T00MMZ.log.gz` with another prefix and minute.
fn key(prefix: &str, minute: u32) -> String {
    format!("{prefix}/2013/07/04/{}", name(prefix, minute))
}

fn name(prefix: &str, minute: u32) -> String {
    format!("{prefix}-20130704T00{minute:02}Z.log.gz")
}

/// A gzip archive.
fn packed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn part_number(seen: &Seen) -> Option<u32> {
    let number = seen.query.split('&').find_map(|pair| pair.strip_prefix("partNumber="))?;
    (seen.method == "PUT").then(|| number.parse().unwrap())
}

#[test]
fn each_archive_becomes_one_object_with_a_right_type_and_a_receipt() {
    let site = Site::new();
    site.archive(NAME, "gzip");
    site.archive("my app+x-2013-07-04T01:00Z-é.log.zst", "zstd");
    site.archive("empty-20130704T0000Z.log.gz", "");
    site.once().code_is(0);
    let odd = "my app+x/2013/07/04/my app+x-2013-07-04T01:00Z-é.log.zst";
    let empty = "empty/2013/07/04/empty-20130704T0000Z.log.gz";
    assert_eq!(site.server.keys("logs"), [empty, KEY, odd]);
    for (key, content, media) in
        [(KEY, "gzip", "application/gzip"), (odd, "zstd", "application/zstd"), (empty, "", "application/gzip")]
    {
        let object = site.server.object("logs", key).unwrap();
        assert_eq!(object.data(), content.as_bytes());
        assert_eq!(object.said.content_type.as_deref(), Some(media));
        assert_eq!(object.said.content_encoding, None);
        assert!(object.checksum.is_some());
    }
    let puts: Vec<_> = site.server.requests().into_iter().filter(Seen::is_upload).collect();
    assert_eq!(puts.len(), 3);
    let manifests: Vec<_> = site.server.requests().into_iter().filter(Seen::is_manifest).collect();
    assert_eq!(manifests.len(), 3);
    for seen in &manifests {
        let said = site.server.object("logs", &seen.key).unwrap().said;
        assert_eq!((said.content_type.as_deref(), said.content_encoding), (Some("application/json"), None));
    }
    assert!(manifests.iter().all(|seen| seen.header("if-none-match") == Some("*")));
    assert!(puts.iter().all(|seen| seen.header("if-none-match") == Some("*")));
    let receipt = site.receipt(NAME);
    assert_eq!(receipt["stored"], format!("s3://logs/{KEY}"));
    assert_eq!(receipt["bytes"], 4);
    assert!(receipt["checksum"].is_string() && receipt["etag"].is_string() && receipt["at"].is_string());
    assert_eq!((mode(&site.spool.receipt(NAME)), mode(&site.spool.archive(".uploaded"))), (0o640, 0o750));
    assert_eq!(site.spool.archived().len(), 4, "what is stored stays for a day");
    site.spool.assert_tidy();
}

#[test]
fn what_is_stored_already_needs_no_request_at_all() {
    let site = Site::new();
    site.archive(NAME, "x");
    site.once().code_is(0);
    site.server.clear_requests();
    site.once().code_is(0);
    assert!(site.server.requests().is_empty());
}

#[test]
fn an_archive_with_a_marker_is_skipped_also_with_the_seeds_empty_one() {
    let site = Site::new();
    site.archive(NAME, "marked");
    site.archive("b-20130704T0000Z.log.gz", "not marked");
    site.archive(&format!(".uploaded/{NAME}"), "");
    site.once().code_is(0);
    assert_eq!(site.server.keys("logs"), ["b/2013/07/04/b-20130704T0000Z.log.gz"]);
    assert_eq!(fs::read(site.spool.receipt(NAME)).unwrap(), b"");
}

#[test]
fn other_names_links_and_directories_in_the_archive_are_left_alone() {
    let site = Site::new();
    for name in ["notes.txt", ".haproxy-20130704T0000Z.log.gz", "a-20130230T0000Z.log.gz", "below/a-20130704T0000Z.gz"]
    {
        site.archive(name, "x");
    }
    let secret = site.spool.beside("secret");
    fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, site.spool.archive("link-20130704T0000Z.log.gz")).unwrap();
    fs::create_dir(site.spool.archive("directory-20130704T0000Z.log.gz")).unwrap();
    site.once().code_is(0);
    assert_eq!(site.server.keys("logs"), [""; 0]);
}

#[test]
fn the_directory_must_be_named_archive_and_may_end_in_a_slash() {
    let site = Site::new();
    site.archive(NAME, "x");
    site.spool.write("other/c-20130704T0000Z.log.gz", "x");
    let upload = |path: &str| {
        let mut command = logjam(["upload", path, DEST, "--once"]);
        command.current_dir(site.spool.dir()).envs(site.server.environment());
        run(command)
    };
    let dir = site.spool.arg();
    upload(&format!("{dir}/other")).code_is(2).says("is not `archive`").says("DIR/archive");
    upload(&dir).code_is(2).says("is not `archive`");
    upload(&format!("{dir}/archive.old")).code_is(2).says("is not `archive`");
    assert!(site.server.requests().is_empty());
    upload(&format!("{dir}/archive/")).code_is(0);
    assert_eq!(site.server.keys("logs"), [KEY]);
    site.archive("b-20130704T0000Z.log.gz", "x");
    upload("archive").code_is(0);
    site.archive("c-20130704T0000Z.log.gz", "x");
    upload("./archive//").code_is(0);
    assert_eq!(site.server.keys("logs").len(), 3);
}

#[test]
fn a_directory_that_is_missing_is_refused_with_the_mend() {
    let site = Site::new();
    let missing = site.spool.beside("missing").display().to_string();
    run(logjam(["upload", &format!("{missing}/archive"), DEST, "--once"]))
        .code_is(2)
        .says("does not exist")
        .says(&format!("mkdir -p -m 0750 {missing}"));
}

#[test]
fn a_destination_without_the_mandatory_fields_is_refused_with_their_names() {
    let site = Site::new();
    site.archive(NAME, "x");
    for options in [&["--once"][..], &[]] {
        run(site.upload_to("s3://logs/{year}/{month}/{day}", options))
            .code_is(2)
            .says("upload_uri lacks mandatory fields: filename, prefix");
    }
    run(site.upload_to("s3://logs/", &["--once"]))
        .code_is(2)
        .says("upload_uri lacks mandatory fields: day, filename, month, prefix, year");
    assert!(site.server.requests().is_empty());
}

#[test]
fn a_malformed_destination_is_refused_with_the_place_of_the_fault() {
    let site = Site::new();
    for (dest, what) in [
        ("s3://logs/{prefix}/{year}/{month}{/{day}/{filename}", "unmatched `{` at character 34"),
        ("s3://logs/{prefix}/{year}/{month}/{day}/{filename", "unmatched `{` at character 41"),
        ("s3://logs/é}{prefix}/{year}/{month}/{day}/{filename}", "unmatched `}` at character 12"),
        ("s3://logs/{prefix}/{year}/{week}/{month}/{day}/{filename}", "unknown field `{week}` at character 27"),
        ("file:///x/{prefix}/{year}/{month}/{day}/{filename}/{}", "unknown field `{}` at character 52"),
        ("s3:/logs/{prefix}/{year}/{month}/{day}/{filename}", "no scheme"),
        ("/srv/{prefix}/{year}/{month}/{day}/{filename}", "no scheme"),
        ("gs://logs/{prefix}/{year}/{month}/{day}/{filename}", "unknown scheme `gs`"),
        ("s3://UP PER/{prefix}/{year}/{month}/{day}/{filename}", "`UP PER` is not a bucket name"),
        ("s3:///{prefix}/{year}/{month}/{day}/{filename}", "`` is not a bucket name"),
        ("file://srv/{prefix}/{year}/{month}/{day}/{filename}", "the path is not absolute"),
        ("file:///srv/../{prefix}/{year}/{month}/{day}/{filename}", "not allowed in the path"),
    ] {
        run(site.upload_to(dest, &["--once"])).code_is(2).says(dest).says(what);
    }
}

#[test]
fn unknown_and_contradictory_options_are_refused_by_their_name() {
    let site = Site::new();
    site.archive(NAME, "x");
    let refused = |options: &[&str], word: &str| {
        run(site.upload(&[&["--once"], options].concat())).code_is(2).says(word);
    };
    refused(&["--twice"], "--twice");
    refused(&["--kms-key-id=alias/logs"], "goes with --sse=aws:kms only");
    refused(&["--kms-key-id=alias/logs", "--sse=AES256"], "goes with --sse=aws:kms only");
    refused(&["--sse=rot13"], "rot13");
    refused(&["--endpoint-url=localhost:9000"], "--endpoint-url=localhost:9000");
    refused(&["--part-size=1MiB"], "5MiB to 5GiB");
    refused(&["--part-size=large"], "--part-size");
    refused(&["--concurrency=0"], "--concurrency");
    refused(&["--max-bandwidth=0"], "--max-bandwidth");
    refused(&["--keep=24"], "--keep");
    refused(&["--tag=team"], "KEY=VALUE");
    refused(&["--metadata==x"], "KEY=VALUE");
    refused(&["more"], "more");
    run(logjam(["upload", &site.spool.path("archive").display().to_string()])).code_is(2).says("<DEST>");
    assert!(site.server.requests().is_empty());
}

#[test]
fn options_for_s3_are_refused_with_a_directory_as_the_destination() {
    let site = Site::new();
    site.archive(NAME, "x");
    let root = site.spool.beside("store").display().to_string();
    let dest = format!("file://{root}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}");
    for option in [
        "--endpoint-url=http://localhost:9000",
        "--region=us-east-1",
        "--profile=x",
        "--path-style",
        "--sse=AES256",
        "--storage-class=STANDARD_IA",
        "--tag=a=b",
        "--metadata=a=b",
        "--max-bandwidth=1MB",
        "--part-size=5MiB",
        "--concurrency=2",
    ] {
        let word = option.split('=').next().unwrap();
        let ended = run(site.upload_to(&dest, &["--once", option]));
        assert_eq!(ended.code, Some(2), "{option} is ignored: {}", ended.said);
        ended.says(word).says("s3://");
    }
    assert!(!fs::exists(root).unwrap());
}

#[test]
fn a_missing_bucket_is_named_and_ends_a_single_run_with_1() {
    let site = Site::without_bucket();
    site.archive(NAME, "x");
    let ended = site.once().code_is(1).says("Failed to find bucket logs").says(NAME);
    let last_words = ended.said.lines().filter(|line| line.starts_with("logjam: ")).count();
    assert_eq!(last_words, 1, "{}", ended.said);
    assert!(!site.spool.receipt(NAME).exists());
    site.server.create_bucket("logs");
    site.once().code_is(0);
    assert_eq!(site.data(KEY), b"x");
}

#[test]
fn a_single_run_that_gives_up_names_everything_that_is_left() {
    let site = Site::without_bucket();
    let left = [name("a", 0), name("b", 1), name("c", 2)];
    for name in &left {
        site.archive(name, "x");
    }
    let ended = site.once().code_is(1);
    for name in left {
        assert!(ended.said.contains(&name), "{name} is not named:\n{}", ended.said);
    }
}

#[test]
fn the_daemon_stores_once_the_bucket_appears_and_says_each_change_once() {
    let site = Site::without_bucket();
    for minute in 0..5 {
        site.archive(&name("a", minute), "x");
    }
    let mut daemon = Running::start(site.upload(&[]));
    daemon.until("it tried several times", || site.server.requests().len() >= 6);
    assert!(daemon.runs());
    assert_eq!(daemon.count("Failed to find bucket logs"), 1, "{}", daemon.said());
    site.server.create_bucket("logs");
    daemon.until("all is stored", || site.server.has_told("logs", 5));
    daemon.until("the receipts are written", || names(&site.spool.archive(".uploaded")).len() == 5);
    daemon.signal(Signal::SIGTERM);
    let ended = daemon.end_within(Duration::from_secs(2)).code_is(0).says("it works again");
    assert_eq!(ended.said.matches("Failed to find bucket").count(), 1, "{}", ended.said);
    assert_eq!(ended.said.matches("it works again").count(), 1, "{}", ended.said);
}

#[test]
fn the_daemon_outlives_a_dead_server_and_says_each_change_once() {
    let site = Site::new();
    site.server.stop();
    for minute in 0..5 {
        site.archive(&name("a", minute), packed("x"));
    }
    let mut daemon = Running::start(site.upload(&[]));
    daemon.until("it noticed", || daemon.count("WARN") > 0);
    assert!(!within(Duration::from_millis(1500), || !daemon.runs()), "it left: {}", daemon.said());
    assert_eq!(daemon.said().lines().count(), 1, "{}", daemon.said());
    site.server.resume();
    daemon.until("all is stored", || site.server.has_told("logs", 5));
    daemon.until("the receipts are written", || names(&site.spool.archive(".uploaded")).len() == 5);
    assert_eq!(daemon.count("it works again"), 1, "{}", daemon.said());
    assert_eq!(daemon.count("WARN"), 1, "{}", daemon.said());
}

/// Takes as long as a single run has patience: half a minute.
#[test]
fn a_single_run_against_a_dead_server_has_patience_and_then_gives_up() {
    let site = Site::new();
    site.server.stop();
    site.archive(NAME, "x");
    let ended = Running::start(site.upload(&["--once"])).end_within(Duration::from_secs(60)).code_is(1);
    ended.says("Connection refused").says(NAME);
}

#[test]
fn a_signal_ends_a_single_run_that_waits_and_it_says_that_something_is_left() {
    let site = Site::new();
    site.archive(NAME, "x");
    site.server.set_fault(|seen| if seen.is_upload() { Fault::Stall } else { Fault::None });
    let running = Running::start(site.upload(&["--once"]));
    assert!(site.server.wait_until(cli::PATIENCE, |log| log.iter().any(Seen::is_upload)));
    running.signal(Signal::SIGTERM);
    running.end_within(Duration::from_secs(2)).code_is(1).says("told to leave");
}

#[test]
fn the_daemon_leaves_within_two_seconds_though_the_server_has_fallen_silent() {
    let site = Site::new();
    site.archive(NAME, noise(6 * MIB, 1));
    site.server.set_fault(|seen| if seen.is_upload() { Fault::Stall } else { Fault::None });
    let daemon = Running::start(site.upload(&[]));
    assert!(site.server.wait_until(cli::PATIENCE, |log| log.iter().any(Seen::is_upload)));
    daemon.signal(Signal::SIGTERM);
    daemon.end_within(Duration::from_secs(2)).code_is(0);
}

#[test]
fn an_object_with_the_same_content_is_success_and_stays_as_it_is() {
    let site = Site::new();
    site.server.put_object("logs", KEY, b"same");
    let before = site.server.object("logs", KEY).unwrap();
    site.archive(NAME, "same");
    site.once().code_is(0);
    let after = site.server.object("logs", KEY).unwrap();
    assert_eq!((after.modified, after.etag), (before.modified, before.etag));
    assert_eq!(site.server.keys("logs"), [KEY]);
    assert_eq!(site.receipt(NAME)["stored"], format!("s3://logs/{KEY}"));
}

#[test]
fn an_object_with_other_content_is_never_touched_and_the_new_one_gets_its_own_name() {
    let site = Site::new();
    site.server.put_object("logs", KEY, b"theirs");
    let before = site.server.object("logs", KEY).unwrap();
    site.archive(NAME, "ours");
    site.once().code_is(0).says("other content stands there").says(KEY).says(DUPLICATE);
    let after = site.server.object("logs", KEY).unwrap();
    assert_eq!((after.modified, after.data()), (before.modified, b"theirs".to_vec()));
    assert_eq!(site.data(DUPLICATE), b"ours");
    assert_eq!(site.receipt(NAME)["stored"], format!("s3://logs/{DUPLICATE}"));
    // Another one of that name, from another host say.
    fs::remove_file(site.spool.receipt(NAME)).unwrap();
    site.archive(NAME, "a third");
    site.once().code_is(0);
    assert_eq!(site.data(&DUPLICATE.replace("timestamp-", "timestamp-01-")), b"a third");
    assert_eq!(site.server.keys("logs").len(), 3);
}

#[test]
fn a_text_that_is_not_packed_is_stored_whole_though_an_object_holds_its_beginning() {
    let site = Site::new();
    let plain = |name: &str| name.strip_suffix(".gz").unwrap().to_owned();
    site.server.put_object("logs", &plain(KEY), b"one\n");
    site.archive(&plain(NAME), "one\ntwo\n");
    site.once().code_is(0).says("other content stands there");
    assert_eq!(site.data(&plain(DUPLICATE)), b"one\ntwo\n");
}

#[test]
fn a_large_archive_that_meets_other_content_gets_its_own_name_and_leaves_no_upload_open() {
    let site = Site::new();
    site.server.put_object("logs", KEY, b"theirs");
    let content = noise(6 * MIB, 2);
    site.archive(NAME, &content);
    run(site.upload(&["--once", "--part-size=5MiB"])).code_is(0).says(DUPLICATE);
    assert_eq!(site.data(KEY), b"theirs");
    assert!(site.data(DUPLICATE) == content);
    assert!(site.server.open_uploads().is_empty());
    site.spool.assert_tidy();
}

#[test]
fn two_hosts_with_the_same_file_name_keep_both_contents() {
    let (site, other) = (Site::new(), Spool::new());
    site.archive(NAME, "one");
    other.write(&format!("archive/{NAME}"), "two");
    let mut second = logjam(["upload", &other.path("archive").display().to_string(), DEST, "--once"]);
    second.envs(site.server.environment());
    let both = [site.upload(&["--once"]), second].map(Running::start);
    for ended in both.map(Running::end) {
        ended.code_is(0);
    }
    assert_eq!(site.server.keys("logs"), [KEY, DUPLICATE]);
    let mut contents = [site.data(KEY), site.data(DUPLICATE)];
    contents.sort();
    assert_eq!(contents, [b"one", b"two"]);
}

#[test]
fn a_large_archive_travels_in_parts_and_no_upload_stays_open() {
    let site = Site::new();
    let content = noise(12 * MIB, 3);
    site.archive(NAME, &content);
    run(site.upload(&["--once", "--part-size=5MiB"])).code_is(0);
    let object = site.server.object("logs", KEY).unwrap();
    assert!(object.data() == content);
    assert_eq!((object.parts, object.said.content_type.as_deref()), (3, Some("application/gzip")));
    assert_eq!(object.said.content_encoding, None);
    assert!(site.server.open_uploads().is_empty());
    let requests = site.server.requests();
    let complete: Vec<_> = requests.iter().filter(|seen| seen.is_complete()).collect();
    assert_eq!(complete.len(), 1);
    assert_eq!(complete[0].header("if-none-match"), Some("*"));
    assert_eq!(site.receipt(NAME)["bytes"], content.len());
    site.spool.assert_tidy();
}

/// Kills an upload of 12 MiB in parts of 5 when two of its three parts are stored.
fn killed_after_two_parts(site: &Site) -> Vec<u8> {
    let content = noise(12 * MIB, 4);
    site.archive(NAME, &content);
    site.server.set_fault(|seen| if part_number(seen) == Some(3) { Fault::Stall } else { Fault::None });
    let running = Running::start(site.upload(&["--part-size=5MiB", "--concurrency=1"]));
    assert!(site.server.wait_until(cli::PATIENCE, |log| log.iter().any(|seen| part_number(seen) == Some(3))));
    running.kill();
    site.server.clear_fault();
    site.server.clear_requests();
    assert_eq!(site.server.open_uploads().len(), 1);
    assert!(!site.has(KEY));
    content
}

#[test]
fn an_upload_in_parts_that_was_killed_goes_on_where_it_was() {
    let site = Site::new();
    let content = killed_after_two_parts(&site);
    run(site.upload(&["--once", "--part-size=5MiB"])).code_is(0);
    assert!(site.data(KEY) == content);
    let sent: Vec<_> = site.server.requests().iter().filter_map(part_number).collect();
    assert_eq!(sent, [3], "only what is missing is sent again");
    assert!(site.server.open_uploads().is_empty());
    site.spool.assert_tidy();
}

#[test]
fn an_upload_in_parts_goes_on_as_it_began_though_the_settings_have_changed() {
    let site = Site::new();
    let content = killed_after_two_parts(&site);
    run(site.upload(&["--once", "--part-size=6MiB"])).code_is(0);
    assert!(site.data(KEY) == content);
    assert!(site.server.open_uploads().is_empty());
}

#[test]
fn an_upload_in_parts_is_closed_also_when_its_archive_would_now_go_in_one_piece() {
    let site = Site::new();
    let content = killed_after_two_parts(&site);
    run(site.upload(&["--once", "--part-size=64MiB"])).code_is(0);
    assert!(site.data(KEY) == content);
    assert!(site.server.open_uploads().is_empty());
    site.spool.assert_tidy();
}

#[test]
fn an_upload_in_parts_that_the_bucket_has_forgotten_is_begun_again() {
    let site = Site::new();
    let content = killed_after_two_parts(&site);
    site.server.expire_uploads();
    run(site.upload(&["--once", "--part-size=5MiB"])).code_is(0);
    assert!(site.data(KEY) == content);
    assert_eq!(site.server.keys("logs"), [KEY]);
    site.spool.assert_tidy();
}

#[test]
fn an_upload_in_parts_whose_archive_changed_meanwhile_does_not_mix_the_two() {
    let site = Site::new();
    killed_after_two_parts(&site);
    let content = noise(13 * MIB, 5);
    fs::remove_file(site.spool.archive(NAME)).unwrap();
    site.archive(NAME, &content);
    run(site.upload(&["--once", "--part-size=5MiB"])).code_is(0);
    assert!(site.data(KEY) == content, "the object is a mixture of two archives");
    assert!(site.server.open_uploads().is_empty());
}

#[test]
fn kills_all_through_an_upload_leave_one_whole_object_and_no_open_upload() {
    let site = Site::new();
    let content = noise(12 * MIB, 6);
    site.archive(NAME, &content);
    for pause in [30, 60, 90, 120, 150] {
        let running = Running::start(site.upload(&["--part-size=5MiB"]));
        std::thread::sleep(Duration::from_millis(pause));
        running.kill();
    }
    // What a dead process was about to write down goes when it is 5 min old.
    site.spool.age_drafts(Duration::from_secs(301));
    run(site.upload(&["--once", "--part-size=5MiB"])).code_is(0);
    assert!(site.data(KEY) == content);
    assert_eq!(site.server.keys("logs"), [KEY]);
    assert!(site.server.open_uploads().is_empty(), "{:?}", site.server.open_uploads());
    site.spool.assert_tidy();
}

#[test]
fn an_archive_that_the_server_refuses_holds_up_no_other_in_a_single_run() {
    for (status, code) in [(403, "AccessDenied"), (400, "KeyTooLongError")] {
        let site = Site::new();
        site.server.set_fault(move |seen| match seen.key.contains("bad") && seen.is_upload() {
            true => Fault::refuse(status, code),
            false => Fault::None,
        });
        for minute in 0..4 {
            site.archive(&name("a", minute), "x");
            site.archive(&name("bad", minute), "x");
            site.archive(&name("z", minute), "x");
        }
        let ended = site.once().code_is(1);
        let expected: Vec<_> = (0..4).map(|m| key("a", m)).chain((0..4).map(|m| key("z", m))).collect();
        assert_eq!(site.server.keys("logs"), expected, "{code}: {}", ended.said);
        for minute in 0..4 {
            assert!(ended.said.contains(&name("bad", minute)), "{code}: {}", ended.said);
            assert!(!site.spool.receipt(&name("bad", minute)).exists());
        }
    }
}

#[test]
fn an_archive_that_the_server_refuses_holds_up_no_other_of_the_daemons() {
    for (status, code) in [(403, "AccessDenied"), (400, "KeyTooLongError")] {
        let site = Site::new();
        site.server.set_fault(move |seen| match seen.key.contains("bad") && seen.is_upload() {
            true => Fault::refuse(status, code),
            false => Fault::None,
        });
        for minute in 0..3 {
            site.archive(&name("a", minute), packed("x"));
            site.archive(&name("bad", minute), packed("x"));
            site.archive(&name("z", minute), packed("x"));
        }
        let daemon = Running::start(site.upload(&[]));
        daemon.until("the others are stored", || site.server.has_told("logs", 6));
        within(Duration::from_secs(1), || daemon.count("WARN") > 3);
        assert!((1..=3).contains(&daemon.count("WARN")), "once for each, at the most: {}", daemon.said());
        site.server.clear_fault();
        daemon.until("the refused ones are stored too", || site.server.has_told("logs", 9));
        assert_eq!(site.server.keys("logs").len(), 9);
    }
}

#[test]
fn what_was_given_up_early_is_not_forgotten_while_the_rest_takes_its_time() {
    let site = Site::new();
    site.server.set_fault(|seen| {
        let delay = if seen.is_upload() && seen.key.contains("slow") { 400 } else { 0 };
        std::thread::sleep(Duration::from_millis(delay));
        match seen.is_upload() && seen.key.contains("bad") {
            true => Fault::refuse(400, "KeyTooLongError"),
            false => Fault::None,
        }
    });
    site.archive(&name("bad", 0), "x");
    for minute in 0..3 {
        site.archive(&name("slow", minute), "x");
    }
    site.once().code_is(1).says(&name("bad", 0));
    assert_eq!(site.server.keys("logs").len(), 3);
}

#[test]
fn many_refused_archives_do_not_hold_up_the_one_behind_them() {
    let site = Site::new();
    site.server.set_fault(|seen| match seen.key.contains("bad") && seen.is_upload() {
        true => Fault::refuse(403, "AccessDenied"),
        false => Fault::None,
    });
    for minute in 0..9 {
        site.archive(&name("bad", minute), "x");
    }
    site.archive(&name("good", 59), "x");
    let daemon = Running::start(site.upload(&[]));
    let stored = within(Duration::from_secs(5), || site.has(&key("good", 59)));
    assert!(stored, "after 5 s it still waits behind the refused ones: {}", daemon.said());
}

#[test]
fn an_upload_whose_answer_got_lost_is_stored_once() {
    let site = Site::new();
    site.archive(NAME, "x");
    let lost = std::sync::atomic::AtomicBool::new(false);
    site.server.set_fault(move |seen| {
        let first = seen.is_upload() && !lost.swap(true, std::sync::atomic::Ordering::Relaxed);
        if first { Fault::DropAnswer } else { Fault::None }
    });
    site.once().code_is(0);
    assert_eq!(site.server.keys("logs"), [KEY]);
    assert_eq!(site.receipt(NAME)["stored"], format!("s3://logs/{KEY}"));
}

#[test]
fn an_upload_in_parts_whose_last_answer_got_lost_is_stored_once() {
    let site = Site::new();
    let content = noise(6 * MIB, 7);
    site.archive(NAME, &content);
    let lost = std::sync::atomic::AtomicBool::new(false);
    site.server.set_fault(move |seen| {
        let first = seen.is_complete() && !lost.swap(true, std::sync::atomic::Ordering::Relaxed);
        if first { Fault::DropAnswer } else { Fault::None }
    });
    run(site.upload(&["--once", "--part-size=5MiB"])).code_is(0);
    assert_eq!(site.server.keys("logs"), [KEY]);
    assert!(site.data(KEY) == content);
    assert_eq!(site.receipt(NAME)["stored"], format!("s3://logs/{KEY}"));
    assert!(site.server.open_uploads().is_empty());
    site.spool.assert_tidy();
}

#[test]
fn a_kill_between_the_object_and_its_receipt_doubles_nothing() {
    let site = Site::new();
    site.archive(NAME, "x");
    site.server.set_fault(|seen| if seen.is_upload() { Fault::DropAnswer } else { Fault::None });
    let daemon = Running::start(site.upload(&[]));
    daemon.until("the object is stored", || site.has(KEY));
    daemon.kill();
    site.server.clear_fault();
    site.once().code_is(0);
    assert_eq!(site.server.keys("logs"), [KEY]);
    assert!(site.spool.receipt(NAME).exists());
}

#[test]
fn two_uploaders_at_once_store_each_archive_once() {
    let site = Site::new();
    let names: Vec<_> = (0..40).map(|minute| name("a", minute)).collect();
    for name in &names {
        site.archive(name, name);
    }
    let both = [site.upload(&["--once"]), site.upload(&["--once"])].map(Running::start);
    for ended in both.map(Running::end) {
        ended.code_is(0);
    }
    assert_eq!(site.server.keys("logs"), (0..40).map(|minute| key("a", minute)).collect::<Vec<_>>());
    let puts = site.server.requests().iter().filter(|seen| seen.is_upload()).count();
    let manifests = site.server.requests().iter().filter(|seen| seen.is_manifest()).count();
    assert_eq!((puts, manifests), (40, 40), "an archive or its manifest was sent twice");
    assert_eq!(cli::names(&site.spool.archive(".uploaded")), names);
    site.spool.assert_tidy();
}

#[test]
fn an_archive_that_another_uploader_has_is_not_called_stored_before_it_is() {
    let site = Site::new();
    site.archive(NAME, "x");
    site.server.set_fault(|seen| if seen.is_upload() { Fault::Stall } else { Fault::None });
    let other = Running::start(site.upload(&[]));
    assert!(site.server.wait_until(cli::PATIENCE, |log| log.iter().any(Seen::is_upload)));
    let mut running = Running::start(site.upload(&["--once"]));
    within(Duration::from_secs(1), || !running.runs());
    site.server.clear_fault();
    other.kill();
    let ended = running.end();
    assert!(ended.code != Some(0) || site.has(KEY), "exit status 0, and nothing is stored: {}", ended.said);
    site.once().code_is(0);
    assert_eq!(site.server.keys("logs"), [KEY]);
}

#[test]
fn keep_removes_what_is_stored_when_its_time_is_over() {
    let site = Site::new();
    site.archive(NAME, "x");
    run(site.upload(&["--once", "--keep=1h"])).code_is(0);
    run(site.upload(&["--once", "--keep=1h"])).code_is(0);
    assert!(site.spool.archive(NAME).exists());
    run(site.upload(&["--once", "--keep=0s"])).code_is(0);
    assert!(!site.spool.archive(NAME).exists());
    assert_eq!(site.data(KEY), b"x");
    // Its receipt stays: the name is not free again.
    assert!(site.spool.receipt(NAME).exists());
}

#[test]
fn keep_of_nothing_removes_an_archive_in_the_run_that_stored_it() {
    let site = Site::new();
    site.archive(NAME, "x");
    run(site.upload(&["--once", "--keep=0s"])).code_is(0);
    assert_eq!(site.data(KEY), b"x");
    assert!(!site.spool.archive(NAME).exists());
}

#[test]
fn keep_does_not_remove_an_archive_that_only_the_seeds_marker_calls_stored() {
    let site = Site::new();
    site.archive(NAME, "only copy");
    site.archive(&format!(".uploaded/{NAME}"), "");
    for _ in 0..2 {
        run(site.upload(&["--once", "--keep=0s"])).code_is(0);
    }
    assert_eq!(fs::read(site.spool.archive(NAME)).unwrap(), b"only copy");
}

#[test]
fn keep_does_not_remove_what_could_not_be_stored() {
    let site = Site::without_bucket();
    site.archive(NAME, "only copy");
    for _ in 0..2 {
        run(site.upload(&["--once", "--keep=0s"])).code_is(1);
    }
    assert_eq!(fs::read(site.spool.archive(NAME)).unwrap(), b"only copy");
}

#[test]
fn options_are_also_taken_from_the_environment() {
    let site = Site::new();
    site.archive(NAME, noise(6 * MIB, 8));
    let mut command = site.upload(&[]);
    command.env_remove("AWS_ENDPOINT_URL").env("LOGJAM_ENDPOINT_URL", site.server.endpoint());
    command.env("LOGJAM_ONCE", "true").env("LOGJAM_PART_SIZE", "5MiB").env("LOGJAM_TAG", "team=web,keep=long");
    run(command).code_is(0);
    let object = site.server.object("logs", KEY).unwrap();
    assert_eq!((object.parts, object.said.tags.as_deref()), (2, Some("team=web&keep=long")));
}

#[test]
fn a_name_as_long_as_a_file_system_takes_is_stored_and_gets_its_receipt() {
    let site = Site::new();
    let name = format!("{}-20130704T0000Z.log.gz", "p".repeat(255 - 22));
    assert_eq!(name.len(), 255);
    site.archive(&name, "x");
    let root = site.spool.beside("store");
    let directory = format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", root.display());
    for dest in [DEST, &directory] {
        let running = Running::start(site.upload_to(dest, &["--once"]));
        let done = within(Duration::from_secs(3), || site.spool.receipt(&name).exists());
        assert!(done, "{dest}: no receipt; {}", running.said());
        running.end().code_is(0);
        fs::remove_file(site.spool.receipt(&name)).unwrap();
        // Nothing knows of the other DEST.
        fs::remove_dir_all(site.spool.path(".logjam/chain")).unwrap();
    }
    assert_eq!(site.server.keys("logs").len(), 1);
    assert_eq!(far::proved_below(&root, &[]).len(), 1);
}

#[test]
fn called_through_a_link_named_logjam_upload_it_is_that_tool() {
    let site = Site::new();
    site.archive(NAME, "x");
    let link = site.spool.beside("logjam-upload");
    std::os::unix::fs::symlink(cli::LOGJAM, &link).unwrap();
    let mut command = clean(&link);
    command.args([&site.spool.path("archive").display().to_string(), DEST, "--once", "-l", "debug"]);
    run_in(&site, command).code_is(0);
    assert_eq!(site.data(KEY), b"x");
}

fn run_in(site: &Site, mut command: Command) -> Ended {
    command.envs(site.server.environment());
    run(command)
}

// ---------------------------------------------------------------------------------------------------------- directory

struct Shelf {
    spool: Spool,
}

impl Shelf {
    fn new() -> Self {
        let shelf = Self { spool: Spool::new() };
        shelf.spool.write(&format!("archive/{NAME}"), "ours");
        shelf
    }

    fn arguments(&self) -> [String; 4] {
        let archive = self.spool.path("archive").display().to_string();
        let root = self.spool.beside("store");
        let dest = format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", root.display());
        ["upload".into(), archive, dest, "--once".into()]
    }

    fn once(&self) -> Ended {
        run(logjam(self.arguments()))
    }

    /// The archives that are stored, with the manifests proved, and nothing unfinished beside them.
    #[track_caller]
    fn stored(&self) -> Vec<String> {
        self.stored_beside(&[])
    }

    /// The same where these are somebody else's.
    #[track_caller]
    fn stored_beside(&self, others: &[&str]) -> Vec<String> {
        let root = self.spool.beside("store");
        assert_eq!(names(&root.join(".logjam")), [""; 0]);
        far::proved_below(&root, others).into_keys().collect()
    }
}

#[test]
fn a_directory_takes_archives_whole_whatever_the_umask() {
    for umask in ["000", "077"] {
        let shelf = Shelf::new();
        run(shell(&format!("umask {umask}; exec \"$@\""), shelf.arguments())).code_is(0);
        assert_eq!(shelf.stored(), [KEY]);
        let root = shelf.spool.beside("store");
        assert_eq!(fs::read(root.join(KEY)).unwrap(), b"ours");
        assert_eq!(mode(&root.join(KEY)), 0o640, "umask {umask}");
        for dir in ["", "haproxy", "haproxy/2013/07/04"] {
            assert_eq!(mode(&root.join(dir)), 0o750, "{dir} with umask {umask}");
        }
        let receipt = fs::read_to_string(shelf.spool.receipt(NAME)).unwrap();
        assert!(receipt.contains(&format!("file://{}", root.join(KEY).display())), "{receipt}");
    }
}

#[test]
fn in_a_directory_other_content_is_not_touched_and_the_same_is_success() {
    for (there, files) in [("theirs", 2), ("ours", 1)] {
        let shelf = Shelf::new();
        let root = shelf.spool.beside("store");
        fs::create_dir_all(root.join(KEY).parent().unwrap()).unwrap();
        fs::write(root.join(KEY), there).unwrap();
        let before = inode(&root.join(KEY));
        let ended = shelf.once().code_is(0);
        assert_eq!((inode(&root.join(KEY)), fs::read_to_string(root.join(KEY)).unwrap()), (before, there.to_owned()));
        assert_eq!(shelf.stored_beside(&[KEY]).len(), files);
        if files == 2 {
            ended.says(DUPLICATE);
            assert_eq!(fs::read(root.join(DUPLICATE)).unwrap(), b"ours");
        }
    }
}

#[test]
fn kills_all_through_a_copy_to_a_directory_leave_it_whole_or_absent() {
    let shelf = Shelf::new();
    let content = noise(48 * MIB, 9);
    shelf.spool.write(&format!("archive/{NAME}"), &content);
    let (root, progress) = (shelf.spool.beside("store"), [1, 10 * MIB, 40 * MIB]);
    for least in progress {
        let running = Running::start(logjam(shelf.arguments()));
        let begun = || {
            let unfinished = names(&root.join(".logjam")).into_iter().map(|name| root.join(".logjam").join(name));
            unfinished.into_iter().any(|path| fs::metadata(path).is_ok_and(|meta| meta.len() >= least as u64))
        };
        within(Duration::from_secs(5), || begun() || root.join(KEY).exists());
        running.kill();
        if root.join(KEY).exists() {
            assert!(fs::read(root.join(KEY)).unwrap() == content, "half an archive under its final name");
        }
    }
    shelf.once().code_is(0);
    assert_eq!(shelf.stored(), [KEY]);
    assert!(fs::read(root.join(KEY)).unwrap() == content);
}

#[test]
fn a_directory_on_a_full_disk_takes_nothing_half_and_everything_later() {
    let shelf = Shelf::new();
    let content = noise(2 * MIB, 10);
    shelf.spool.write(&format!("archive/{NAME}"), &content);
    let limited = shell("trap '' XFSZ; ulimit -f 512; exec \"$@\"", shelf.arguments());
    let running = Running::start(limited);
    running.until("it says so", || running.count("File too large") > 0);
    running.signal(Signal::SIGTERM);
    running.end_within(Duration::from_secs(2)).code_is(1);
    assert_eq!(shelf.stored(), [""; 0]);
    shelf.once().code_is(0);
    assert!(fs::read(shelf.spool.beside("store").join(KEY)).unwrap() == content);
}

#[test]
fn an_unfinished_object_that_is_cleared_away_before_it_is_locked_is_begun_again() {
    let shelf = Shelf::new();
    let private = shelf.spool.beside("store/.logjam");
    // The moment between its making and its lock, made long.
    let slow = "exec strace -f -o /dev/null -e trace=fchmod -e inject=fchmod:delay_enter=700000 \"$@\"";
    let first = Running::start(shell(slow, shelf.arguments()));
    first.until("its file is there", || !names(&private).is_empty());
    // One that begins clears up before it stores what is its own.
    shelf.spool.write(&format!("archive/{}", name("a", 1)), "another");
    let second = Running::start(logjam(shelf.arguments()));
    let there = || far::archives_below(&shelf.spool.beside("store"));
    second.until("it is through", || there().contains(&key("a", 1)));
    for running in [first, second] {
        running.end().code_is(0);
    }
    assert_eq!(shelf.stored(), [key("a", 1), KEY.to_owned()]);
    assert_eq!(fs::read(shelf.spool.beside("store").join(KEY)).unwrap(), b"ours");
}

#[test]
fn two_uploaders_to_one_directory_store_each_archive_once() {
    let shelf = Shelf::new();
    for minute in 0..40 {
        shelf.spool.write(&format!("archive/{}", name("a", minute)), name("a", minute));
    }
    let both = [logjam(shelf.arguments()), logjam(shelf.arguments())].map(Running::start);
    for ended in both.map(Running::end) {
        ended.code_is(0);
    }
    assert_eq!(shelf.stored(), (0..40).map(|m| key("a", m)).chain([KEY.to_owned()]).collect::<Vec<_>>());
}

// ------------------------------------------------------------------------------------------------------------- Sentry

/// A run that fails for good, with SENTRY_DSN set to a listener of the test's.
fn fails_with_dsn(listener: &TcpListener) -> Running {
    let spool = Spool::new();
    spool.write(&format!("archive/{NAME}"), "x");
    let site = Site { server: S3Server::start(), spool };
    let mut command = site.upload(&["--once"]);
    command.env("SENTRY_DSN", format!("http://public@{}/1", listener.local_addr().unwrap()));
    let running = Running::start(command);
    running.until("it fails", || running.said().lines().any(|line| line.starts_with("logjam: ")));
    running
}

#[cfg(not(feature = "sentry"))]
#[test]
fn the_default_build_reports_nothing_to_sentry() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fails_with_dsn(&listener).end().code_is(1);
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[cfg(feature = "sentry")]
#[test]
fn a_fatal_error_is_reported_to_sentry() {
    use std::io::Read;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = fails_with_dsn(&listener);
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    running.until("it reports", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (mut socket, _) = accepted.unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut envelope = Vec::new();
    let mut piece = [0; 4096];
    let has = |envelope: &[u8], text: &str| String::from_utf8_lossy(envelope).contains(text);
    while !has(&envelope, "Failed to find bucket logs") {
        let n = socket.read(&mut piece).unwrap();
        assert!(n > 0, "the envelope ended early: {}", String::from_utf8_lossy(&envelope));
        envelope.extend(&piece[..n]);
    }
    assert!(has(&envelope, "POST /api/1/envelope/"));
    assert!(has(&envelope, "sentry_key=public"));
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    running.end().code_is(1);
}

#[cfg(feature = "sentry")]
#[test]
fn a_sentry_that_is_away_delays_the_end_by_no_more_than_a_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fails_with_dsn(&listener).end_within(Duration::from_secs(5)).code_is(1);
}
