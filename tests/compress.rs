//! What `logjam compress` promises, with the binary as a child: the seed's `logjam-compress`, and what it does better.
#![allow(clippy::disallowed_methods)] // Tests use the file system and the clock.

use crate::cli::{
    self, MIB, Running, Spool, clean, inode, logjam, minutes_ago, mode, names, noise, run, shell, within,
};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Long superseded.
const OLD: &str = "haproxy-20130704T0000Z-us-west-2-i-ae23fega.log";
const OLD_GZ: &str = "haproxy-20130704T0000Z-us-west-2-i-ae23fega.log.gz";
/// Takes half a second or so to compress.
const LARGE: usize = 12 * MIB;

fn once(spool: &Spool) -> Command {
    logjam(["compress", &spool.arg(), "--once"])
}

/// Starts to compress and comes back when it is in the middle of it.
fn in_the_middle(spool: &Spool) -> Running {
    let running = Running::start(once(spool));
    let work = spool.path(".logjam/work").join(OLD_GZ);
    running.until("it is in the middle", || fs::metadata(&work).is_ok_and(|meta| meta.len() > 0));
    running
}

#[test]
fn a_file_is_compressed_once_a_newer_one_of_its_group_is_there() {
    let spool = Spool::new();
    let files = [40, 20, 0].map(|age| format!("flask-requests-{}-us-west-2-i-ae23fega.log", minutes_ago(age)));
    for name in &files {
        spool.write(name, format!("lines of {name}\n"));
    }
    run(once(&spool)).code_is(0);
    assert_eq!(spool.archived(), [format!("{}.gz", files[0]), format!("{}.gz", files[1])]);
    for name in &files[..2] {
        assert_eq!(spool.plain(&format!("{name}.gz")), format!("lines of {name}\n").into_bytes());
        assert!(!spool.path(name).exists(), "{name}");
    }
    assert_eq!(fs::read_to_string(spool.path(&files[2])).unwrap(), format!("lines of {}\n", files[2]));
    spool.assert_tidy();
}

#[test]
fn a_file_is_compressed_when_it_is_more_than_an_hour_and_five_minutes_old() {
    let spool = Spool::new();
    let (young, old) = (format!("a-{}.log", minutes_ago(63)), format!("b-{}.log", minutes_ago(66)));
    spool.write(&young, "young\n");
    spool.write(&old, "old\n");
    run(once(&spool)).code_is(0);
    assert_eq!(spool.archived(), [format!("{old}.gz")]);
    assert!(spool.path(&young).exists());
}

#[test]
fn files_of_different_prefix_suffix_or_extension_do_not_supersede_each_other() {
    let spool = Spool::new();
    let (earlier, later) = (minutes_ago(40), minutes_ago(5));
    for name in [
        format!("haproxy-{earlier}-web1.log"),
        format!("flask-{later}-web1.log"),
        format!("haproxy-{later}-web2.log"),
        format!("haproxy-{later}-web1.txt"),
        format!("haproxy-{later}.log"),
    ] {
        spool.write(&name, "x\n");
    }
    let before = spool.files();
    run(once(&spool)).code_is(0);
    assert_eq!(spool.files(), before);
}

#[test]
fn other_names_impossible_dates_links_and_directories_are_left_alone() {
    let spool = Spool::new();
    for name in [
        "messages",
        "syslog.1",
        "syslog-20130704T0000Z",
        "syslog-20130704T0000.log",
        "syslog-20131304T0000Z.log",
        "syslog-20130230T0000Z.log",
        "syslog-20130704T2400Z.log",
        "syslog-20130704T0060Z.log",
        "20130704T0000Z.log",
        ".syslog-20130704T0000Z.log",
        "syslog-20130704T0000Zx.log",
        "below/syslog-20130704T0000Z.log",
    ] {
        spool.write(name, "x\n");
    }
    fs::create_dir(spool.path("directory-20130704T0000Z.log")).unwrap();
    fs::write(spool.beside("target"), "not ours\n").unwrap();
    std::os::unix::fs::symlink(spool.beside("target"), spool.path("link-20130704T0000Z.log")).unwrap();
    nix::unistd::mkfifo(&spool.path("pipe-20130704T0000Z.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let before = spool.files();
    run(once(&spool)).code_is(0);
    assert_eq!(spool.files(), before);
    assert_eq!(fs::read_to_string(spool.beside("target")).unwrap(), "not ours\n");
}

#[test]
fn times_are_read_in_the_basic_the_extended_and_the_mixed_iso_forms() {
    let spool = Spool::new();
    let forms = ["20130704T0000Z", "2013-07-04T01:00Z", "2013-0704T0200Z", "201307-04T03:00Z", "2013-07-04T0400Z"];
    for form in forms {
        spool.write(&format!("my-app-{form}-us-west-2.access.log"), form);
    }
    run(once(&spool)).code_is(0);
    let mut expected = forms.map(|form| format!("my-app-{form}-us-west-2.access.log.gz"));
    expected.sort();
    assert_eq!(spool.archived(), expected);
    for form in forms {
        assert_eq!(spool.plain(&format!("my-app-{form}-us-west-2.access.log.gz")), form.as_bytes());
    }
}

#[test]
fn the_extended_form_supersedes_the_basic_one_of_an_earlier_time() {
    let spool = Spool::new();
    let now = chrono::Utc::now();
    let earlier = format!("a-{}.log", minutes_ago(30));
    spool.write(&earlier, "x\n");
    spool.write(&format!("a-{}.log", now.format("%Y-%m-%dT%H:%MZ")), "x\n");
    run(once(&spool)).code_is(0);
    assert_eq!(spool.archived(), [format!("{earlier}.gz")]);
}

#[test]
fn any_bytes_come_back_as_they_were_and_an_empty_file_as_an_empty_archive() {
    let spool = Spool::new();
    let contents: [(&str, Vec<u8>); 4] = [
        ("empty-20130704T0000Z.log", Vec::new()),
        ("noise-20130704T0000Z.log", noise(300_001, 7)),
        ("binary-20130704T0000Z.log", b"\0\r\n\xff\xfe no newline at the end".to_vec()),
        ("slice-20130704T0000Z.log", vec![b'x'; 128 << 10]),
    ];
    for (name, content) in &contents {
        spool.write(name, content);
    }
    run(once(&spool)).code_is(0);
    for (name, content) in &contents {
        assert!(spool.plain(&format!("{name}.gz")) == *content, "{name}");
        assert!(!spool.path(name).exists(), "{name}");
    }
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "077"] {
        let spool = Spool::new();
        spool.write(OLD, "x\n");
        run(shell(&format!("umask {umask}; exec \"$@\""), ["compress", &spool.arg(), "--once"])).code_is(0);
        assert_eq!(mode(&spool.archive(OLD_GZ)), 0o640, "umask {umask}");
        assert_eq!(mode(&spool.path("archive")), 0o750, "umask {umask}");
        assert_eq!(mode(&spool.path(".logjam")), 0o750, "umask {umask}");
    }
}

#[test]
fn what_stands_in_the_archive_stays_and_the_new_one_is_numbered_up_to_24_and_then_refused() {
    let spool = Spool::new();
    spool.write(&format!("archive/{OLD_GZ}"), "first");
    let duplicate = |number: &str| {
        format!("haproxy-logjam-compress-duplicate-timestamp{number}-20130704T0000Z-us-west-2-i-ae23fega.log.gz")
    };
    let numbers = std::iter::once(String::new()).chain((1..=24).map(|n| format!("-{n:02}")));
    let mut expected = vec![OLD_GZ.to_owned()];
    for number in numbers {
        spool.write(OLD, format!("content {number}\n"));
        run(once(&spool)).code_is(0).says(&duplicate(&number));
        expected.push(duplicate(&number));
        assert_eq!(spool.plain(&duplicate(&number)), format!("content {number}\n").into_bytes());
        assert!(!spool.path(OLD).exists());
    }
    expected.sort();
    assert_eq!(spool.archived(), expected);
    let inodes = |spool: &Spool| spool.archived().iter().map(|name| inode(&spool.archive(name))).collect::<Vec<_>>();
    let before = inodes(&spool);
    spool.write(OLD, "one too many\n");
    run(once(&spool)).code_is(1).says(OLD);
    assert_eq!(fs::read_to_string(spool.path(OLD)).unwrap(), "one too many\n");
    assert_eq!((spool.archived(), inodes(&spool)), (expected, before));
    assert_eq!(fs::read_to_string(spool.archive(OLD_GZ)).unwrap(), "first");
    spool.assert_tidy();
}

#[test]
fn one_file_that_can_not_be_archived_holds_up_no_other() {
    let spool = Spool::new();
    for number in std::iter::once(String::new()).chain((1..=24).map(|n| format!("-{n:02}"))) {
        spool.write(&format!("archive/a-logjam-compress-duplicate-timestamp{number}-20130704T0000Z.log.gz"), "x");
    }
    spool.write("archive/a-20130704T0000Z.log.gz", "x");
    for name in ["a-20130704T0000Z.log", "b-20130704T0000Z.log", "c-20120101T0000Z.log"] {
        spool.write(name, "x\n");
    }
    run(once(&spool)).code_is(1).says("a-20130704T0000Z.log");
    assert_eq!(spool.plain("b-20130704T0000Z.log.gz"), b"x\n");
    assert_eq!(spool.plain("c-20120101T0000Z.log.gz"), b"x\n");
    assert!(spool.path("a-20130704T0000Z.log").exists());
}

#[test]
fn the_daemon_compresses_within_a_moment_stays_and_leaves_on_a_signal_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let spool = Spool::new();
        spool.write(OLD, "x\n");
        let mut daemon = Running::start(logjam(["compress", &spool.arg()]));
        daemon.until("the file is compressed", || !spool.path(OLD).exists());
        assert_eq!(spool.plain(OLD_GZ), b"x\n");
        assert!(!within(Duration::from_millis(300), || !daemon.runs()), "it left: {}", daemon.said());
        daemon.signal(signal);
        daemon.end_within(Duration::from_secs(2)).code_is(0);
    }
}

#[test]
fn the_daemon_opens_its_log_file_anew_on_sighup() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    spool.write(&format!("archive/{OLD_GZ}"), "first");
    let (log, moved) = (spool.beside("log"), spool.beside("log.1"));
    let mut daemon = Running::start(logjam(["compress", &spool.arg(), &format!("--log-to={}", log.display())]));
    daemon.until("the file is compressed", || !spool.path(OLD).exists());
    fs::rename(&log, &moved).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.until("the log file is there again", || log.exists());
    assert!(fs::read_to_string(&moved).unwrap().contains(OLD_GZ));
    daemon.signal(Signal::SIGUSR1);
    assert!(!within(Duration::from_millis(200), || !daemon.runs()), "it left: {}", daemon.said());
    assert_eq!(daemon.said(), "");
}

#[test]
fn the_daemon_leaves_soon_in_the_middle_of_a_large_file_and_the_next_start_compresses_it() {
    let spool = Spool::new();
    let content = noise(4 * LARGE, 1);
    spool.write(OLD, &content);
    let daemon = Running::start(logjam(["compress", &spool.arg(), "--level=1"]));
    let work = spool.path(".logjam/work").join(OLD_GZ);
    daemon.until("it is in the middle", || fs::metadata(&work).is_ok_and(|meta| meta.len() > 0));
    daemon.signal(Signal::SIGTERM);
    daemon.end_within(Duration::from_secs(2)).code_is(0);
    assert_eq!(spool.archived(), [""; 0]);
    run(logjam(["compress", &spool.arg(), "--once", "--level=1"])).code_is(0);
    assert!(spool.plain(OLD_GZ) == content);
}

#[test]
fn a_kill_at_any_moment_leaves_no_half_archive_and_the_next_run_finishes() {
    let spool = Spool::new();
    let content = noise(LARGE, 2);
    spool.write(OLD, &content);
    for progress in [1, LARGE / 3, LARGE / 3 * 2] {
        let running = Running::start(once(&spool));
        let work = spool.path(".logjam/work").join(OLD_GZ);
        running.until("it is in the middle", || fs::metadata(&work).is_ok_and(|meta| meta.len() >= progress as u64));
        running.kill();
        assert!(spool.path(OLD).exists());
        assert_eq!(spool.archived(), [""; 0]);
    }
    run(once(&spool)).code_is(0);
    assert_eq!(spool.archived(), [OLD_GZ]);
    assert!(spool.plain(OLD_GZ) == content);
    assert!(!spool.path(OLD).exists());
    spool.assert_tidy();
}

#[test]
fn kills_all_through_a_run_over_many_files_neither_lose_nor_double_one() {
    let spool = Spool::new();
    let name = |n: usize| format!("app-20130704T{:02}{:02}Z-web.log", n / 60, n % 60);
    for n in 0..40 {
        spool.write(&name(n), format!("line {n}\n").repeat(1000));
    }
    for pause in [3, 5, 8, 12, 17, 23, 30] {
        let running = Running::start(once(&spool));
        std::thread::sleep(Duration::from_millis(pause));
        running.kill();
        for archive in spool.archived() {
            spool.plain(&archive);
        }
    }
    run(once(&spool)).code_is(0);
    assert_eq!(spool.archived(), (0..40).map(|n| format!("{}.gz", name(n))).collect::<Vec<_>>());
    for n in 0..40 {
        assert_eq!(spool.plain(&format!("{}.gz", name(n))), format!("line {n}\n").repeat(1000).into_bytes());
    }
    assert!(!names(&spool.dir()).iter().any(|name| name.ends_with(".log")));
    // What a dead process was about to write down goes when it is 5 min old.
    spool.age_drafts(Duration::from_secs(301));
    run(once(&spool)).code_is(0);
    spool.assert_tidy();
}

#[test]
fn a_crash_between_publishing_the_archive_and_removing_the_source_makes_no_duplicate() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    run(once(&spool)).code_is(0);
    let archive = inode(&spool.archive(OLD_GZ));
    // As the crash would leave it: both names of the archive, and the source.
    fs::hard_link(spool.archive(OLD_GZ), spool.path(".logjam/work").join(OLD_GZ)).unwrap();
    spool.write(OLD, "x\n");
    run(once(&spool)).code_is(0);
    assert_eq!(spool.archived(), [OLD_GZ]);
    assert_eq!(inode(&spool.archive(OLD_GZ)), archive);
    assert!(!spool.path(OLD).exists());
    spool.assert_tidy();
}

#[test]
fn a_file_that_came_back_with_other_content_after_such_a_crash_is_archived_too() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    run(once(&spool)).code_is(0);
    fs::hard_link(spool.archive(OLD_GZ), spool.path(".logjam/work").join(OLD_GZ)).unwrap();
    spool.write(OLD, "other\n");
    run(once(&spool)).code_is(0);
    assert_eq!(spool.plain(OLD_GZ), b"x\n");
    let duplicate = "haproxy-logjam-compress-duplicate-timestamp-20130704T0000Z-us-west-2-i-ae23fega.log.gz";
    assert_eq!(spool.plain(duplicate), b"other\n");
    assert_eq!(spool.archived().len(), 2);
    spool.assert_tidy();
}

#[test]
fn a_file_that_somebody_has_open_for_writing_stays_until_it_is_closed() {
    let spool = Spool::new();
    let path = spool.write(OLD, "early\n");
    let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    run(once(&spool)).code_is(0).says("still open");
    assert_eq!(spool.archived(), [""; 0]);
    writer.write_all(b"late\n").unwrap();
    drop(writer);
    run(once(&spool)).code_is(0);
    assert_eq!(spool.plain(OLD_GZ), b"early\nlate\n");
    assert!(!path.exists());
}

#[test]
fn a_file_that_somebody_only_reads_is_compressed() {
    let spool = Spool::new();
    let reader = fs::File::open(spool.write(OLD, "x\n")).unwrap();
    run(once(&spool)).code_is(0);
    assert_eq!(spool.plain(OLD_GZ), b"x\n");
    drop(reader);
}

#[test]
fn a_file_that_is_opened_while_it_is_compressed_is_not_taken_away_under_its_writer() {
    let spool = Spool::new();
    let mut content = noise(LARGE, 3);
    let path = spool.write(OLD, &content);
    let running = in_the_middle(&spool);
    let mut writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    running.end().code_is(0).says("still open");
    assert!(path.exists());
    assert_eq!(spool.archived(), [""; 0]);
    writer.write_all(b"late\n").unwrap();
    drop(writer);
    run(once(&spool)).code_is(0);
    content.extend(b"late\n");
    assert!(spool.plain(OLD_GZ) == content);
    spool.assert_tidy();
}

#[test]
fn a_line_that_is_added_while_its_file_is_compressed_is_not_lost() {
    let spool = Spool::new();
    let mut content = noise(LARGE, 4);
    let path = spool.write(OLD, &content);
    let running = in_the_middle(&spool);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"late\n").unwrap();
    running.end().code_is(0);
    content.extend(b"late\n");
    run(once(&spool)).code_is(0);
    assert_eq!(spool.archived(), [OLD_GZ]);
    assert!(spool.plain(OLD_GZ) == content);
}

#[test]
fn a_file_that_takes_the_name_while_the_one_before_is_compressed_is_not_removed() {
    let spool = Spool::new();
    let path = spool.write(OLD, noise(LARGE, 5));
    let running = in_the_middle(&spool);
    fs::rename(&path, spool.path("rotated-away")).unwrap();
    fs::write(&path, "a new life\n").unwrap();
    running.end();
    run(once(&spool)).code_is(0);
    let kept = spool.archived().iter().any(|name| spool.plain(name) == b"a new life\n");
    assert!(kept, "the new file is lost; the archive holds {:?}", spool.archived());
    assert!(spool.path("rotated-away").exists());
}

#[test]
fn called_through_a_link_named_logjam_compress_it_is_that_tool() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    let link = spool.beside("logjam-compress");
    std::os::unix::fs::symlink(cli::LOGJAM, &link).unwrap();
    let mut command = clean(&link);
    command.args([&spool.arg(), "--once"]);
    run(command).code_is(0);
    assert_eq!(spool.plain(OLD_GZ), b"x\n");
    let mut help = clean(&link);
    help.arg("--help");
    run(help).code_is(0).says("Compress superseded hour files");
}

#[test]
fn zstandard_archives_have_their_own_ending_and_hold_the_same() {
    let spool = Spool::new();
    let content = noise(MIB, 6);
    spool.write(OLD, &content);
    run(logjam(["compress", &spool.arg(), "--once", "--codec=zstd"])).code_is(0);
    let name = format!("{OLD}.zst");
    assert_eq!(spool.archived(), [name.as_str()]);
    assert!(spool.plain(&name) == content);
}

#[test]
fn options_are_also_taken_from_the_environment() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    let mut command = logjam(["compress", &spool.arg()]);
    command.env("LOGJAM_ONCE", "true").env("LOGJAM_CODEC", "zstd").env("LOGJAM_LEVEL", "1");
    run(command).code_is(0);
    assert_eq!(spool.archived(), [format!("{OLD}.zst")]);
}

#[test]
fn a_directory_that_is_missing_a_file_or_a_link_is_refused_with_the_mend() {
    let spool = Spool::new();
    let refused = |path: &Path, cause: &str, mend: &str| {
        let path = path.display().to_string();
        run(logjam(["compress", &path, "--once"])).code_is(2).says(path.trim_end_matches('/')).says(cause).says(mend);
        run(logjam(["compress", &path])).code_is(2).says(cause);
    };
    let missing = spool.beside("missing");
    refused(&missing, "does not exist", &format!("mkdir -p -m 0750 {}", missing.display()));
    refused(&spool.write("file", ""), "is not a directory", "give a directory");
    let link = spool.beside("link");
    std::os::unix::fs::symlink(spool.dir(), &link).unwrap();
    refused(&link, "is a symbolic link", "give the directory that it points to");
    refused(&link.join(""), "is a symbolic link", "give the directory that it points to");
    assert!(!missing.exists());
}

#[test]
fn a_link_in_place_of_the_archive_directory_is_refused_and_not_followed() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    let elsewhere = spool.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, spool.path("archive")).unwrap();
    let ended = run(once(&spool)).says("symbolic link");
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    assert_eq!(names(&elsewhere), [""; 0]);
    assert!(spool.path(OLD).exists());
}

#[test]
fn two_at_once_compress_each_file_once() {
    let spool = Spool::new();
    let name = |n: usize| format!("app-20130704T{:02}{:02}Z.log", n / 60, n % 60);
    for n in 0..150 {
        spool.write(&name(n), format!("line {n}\n"));
    }
    let both = [Running::start(once(&spool)), Running::start(once(&spool))];
    for ended in both.map(Running::end) {
        ended.code_is(0);
    }
    assert_eq!(spool.archived(), (0..150).map(|n| format!("{}.gz", name(n))).collect::<Vec<_>>());
    for n in 0..150 {
        assert_eq!(spool.plain(&format!("{}.gz", name(n))), format!("line {n}\n").into_bytes());
    }
    assert!(!names(&spool.dir()).iter().any(|name| name.ends_with(".log")));
    spool.assert_tidy();
}

#[test]
fn a_disk_that_takes_no_more_keeps_the_source_and_a_later_run_completes() {
    let spool = Spool::new();
    let content = noise(2 * MIB, 8);
    spool.write(OLD, &content);
    spool.write("small-20130704T0000Z.log", "x\n");
    // As far as the program can tell: a write that fails with EFBIG.
    let limited = "trap '' XFSZ; ulimit -f 512; exec \"$@\"";
    run(shell(limited, ["compress", &spool.arg(), "--once"])).code_is(1).says(OLD_GZ).says("File too large");
    assert_eq!(spool.archived(), ["small-20130704T0000Z.log.gz"]);
    assert!(fs::read(spool.path(OLD)).unwrap() == content);
    spool.assert_tidy();
    run(once(&spool)).code_is(0);
    assert!(spool.plain(OLD_GZ) == content);
    assert!(!spool.path(OLD).exists());
}

#[test]
fn a_name_too_long_for_its_ending_keeps_its_file_and_holds_up_no_other() {
    let spool = Spool::new();
    let name = |len: usize| format!("{}-20130704T0000Z.log", "p".repeat(len - 19));
    let (long, fits) = (name(253), name(252));
    for name in [&long, &fits] {
        spool.write(name, "x\n");
    }
    run(once(&spool)).code_is(1).says(&long).says("File name too long");
    assert!(spool.path(&long).exists());
    assert_eq!(spool.archived(), [format!("{fits}.gz")]);
}

#[test]
fn a_closed_stderr_is_no_reason_to_leave_work_undone() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    spool.write(&format!("archive/{OLD_GZ}"), "first");
    run(shell("exec \"$@\" >&- 2>&-", ["compress", &spool.arg(), "--once"])).code_is(0);
    assert_eq!(spool.archived().len(), 2);
    assert_eq!(fs::read_to_string(spool.archive(OLD_GZ)).unwrap(), "first");
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let spool = Spool::new();
    spool.write(OLD, "x\n");
    for (option, word) in [
        ("--twice", "--twice"),
        ("--codec=rar", "rar"),
        ("--level=0", "--level=0"),
        ("--level=10", "--level=10"),
        ("--level=x", "--level"),
        ("--log-level=loud", "loud"),
        ("--log-to=relative", "relative"),
        ("another-directory", "another-directory"),
    ] {
        run(logjam(["compress", &spool.arg(), "--once", option])).code_is(2).says(word);
    }
    run(logjam(["compress", "--once"])).code_is(2).says("<DIR>");
    run(logjam(["compress", &spool.arg(), "--once", "--codec=zstd", "--level=20"])).code_is(2).says("1 to 19");
    let mut wrong = once(&spool);
    wrong.env("LOGJAM_LEVEL", "11");
    run(wrong).code_is(2).says("level");
    assert!(spool.path(OLD).exists());
}
