//! What `logjam check` promises: every precondition is tried, and what is missing is named with the mend.
#![allow(clippy::disallowed_methods)] // Tests use the file system and the clock.

use crate::cli::{Ended, Spool, files_below, logjam, names, run, shell};
use crate::server::{Fault, S3Server, Seen};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

const DEST: &str = "s3://logs/{prefix}/{year}/{month}/{day}/{filename}";
/// Where nothing of a daemon is.
const NOWHERE: &str = "--root=/nonexistent";

struct Site {
    server: S3Server,
    spool: Spool,
}

impl Site {
    fn new() -> Self {
        let site = Self { server: S3Server::start(), spool: Spool::new() };
        site.server.create_bucket("logs");
        site
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = logjam(["check", &self.spool.arg(), DEST, NOWHERE, "--suffix=host-1"]);
        command.args(options).envs(self.server.environment());
        command
    }

    fn check(&self, options: &[&str]) -> Ended {
        run(self.command(options))
    }

    /// What is said of a matter.
    #[track_caller]
    fn line(&self, options: &[&str], code: i32, what: &str) -> String {
        line(self.check(options).code_is(code), what)
    }
}

#[track_caller]
fn line(ended: Ended, what: &str) -> String {
    let found = ended.said.lines().filter(|line| line[4..].starts_with(&format!(" {what}: "))).collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{what} in:\n{}", ended.said);
    found[0].to_owned()
}

#[test]
fn on_a_sound_system_nothing_fails_and_nothing_but_one_small_object_stays() {
    let site = Site::new();
    for _ in 0..2 {
        let ended = site.check(&["--tag=a=b", "--sse=AES256", "--storage-class=STANDARD_IA"]).code_is(0);
        for what in [
            "names",
            "dir",
            "file system",
            "write",
            "put",
            "sync",
            "locks",
            "map",
            "space",
            "dest",
            "credentials",
            "dns",
            "clock",
            "bucket",
            "condition",
            "archive",
            "abort",
            "uploads",
            "read",
            "list",
            "open files",
            "confinement",
        ] {
            assert!(
                ended.said.lines().any(|line| line[4..].starts_with(&format!(" {what}: "))),
                "{what} in:\n{}",
                ended.said
            );
        }
        assert!(!ended.said.contains("FAIL"), "{}", ended.said);
        assert_eq!(site.server.all_keys("logs").len(), 1, "{:?}", site.server.all_keys("logs"));
        assert!(site.server.open_uploads().is_empty());
        assert_eq!(names(&site.spool.dir()), [""; 0]);
    }
    // With the settings that archives get.
    let begun = site.server.requests().into_iter().find(Seen::is_begin).unwrap();
    assert_eq!(begun.header("x-amz-storage-class"), Some("STANDARD_IA"));
    assert_eq!(begun.header("x-amz-tagging"), Some("a=b"));
    assert!(begun.key.starts_with("syslog/1970/01/01/syslog-19700101T0000Z-host-1.log"), "{}", begun.key);
    let key = site.server.all_keys("logs").remove(0);
    assert!(key.starts_with(".logjam/checkpoint/.check/"), "{key}");
    // And an archive is none the worse for it.
    let all = DEST.replace("{prefix}/", "{prefix}-{year}/");
    let mut verify = logjam(["verify", &all, "--ignore=missing"]);
    verify.envs(site.server.environment());
    run(verify).code_is(0);
}

#[test]
fn each_line_is_also_an_object_of_json() {
    let site = Site::new();
    let said = site.check(&["--json"]).code_is(0).said;
    for line in said.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(["ok", "note", "fail"].contains(&value["verdict"].as_str().unwrap()), "{line}");
        assert!(value["what"].is_string() && value["says"].is_string(), "{line}");
    }
    assert!(said.lines().count() > 15);
}

#[test]
fn a_right_that_is_missing_is_named() {
    type Asks = fn(&Seen) -> bool;
    let rights: [(&str, i32, &str, &str, Asks); 6] = [
        ("s3:PutObject", 1, "put", "FAIL", |seen| seen.method == "PUT"),
        ("s3:PutObject", 1, "archive", "FAIL", |seen| seen.is_begin()),
        ("s3:AbortMultipartUpload", 1, "abort", "FAIL", |seen| seen.method == "DELETE"),
        ("abort old uploads", 0, "uploads", "note", |seen| seen.method == "GET" && seen.query.contains("uploads")),
        ("s3:GetObject", 0, "read", "note", |seen| seen.method == "GET" && !seen.key.is_empty()),
        ("s3:ListBucket", 0, "list", "note", |seen| seen.method == "GET" && seen.query.contains("list-type")),
    ];
    for (right, code, what, word, asks) in rights {
        let site = Site::new();
        site.server.set_fault(move |seen| if asks(seen) { Fault::refuse(403, "AccessDenied") } else { Fault::None });
        let line = site.line(&[], code, what);
        assert!(line.starts_with(word) && line.contains(right), "{right}: {line}");
    }
    // With tags and KMS more rights are needed.
    let site = Site::new();
    site.server.set_fault(|seen| if seen.is_begin() { Fault::refuse(403, "AccessDenied") } else { Fault::None });
    let line = site.line(&["--tag=a=b"], 1, "archive");
    assert!(line.contains("logs/syslog/1970/") && line.contains("for --tag s3:PutObjectTagging"), "{line}");
}

#[test]
fn what_is_wrong_at_the_far_end_is_told_by_stage() {
    let site = Site::new();
    site.server.remove_bucket("logs");
    assert!(site.line(&[], 1, "bucket").starts_with("FAIL"));
    site.server.stop();
    let ended = site.check(&[]).code_is(1);
    assert!(line(ended, "server").starts_with("FAIL"));
    // No server has this name (RFC 6761).
    let ended = run(logjam(["check", &site.spool.arg(), DEST, NOWHERE, "--endpoint-url=http://s3.invalid"])).code_is(1);
    let dns = line(ended, "dns");
    assert!(dns.starts_with("FAIL") && dns.contains("s3.invalid") && dns.contains("resolv.conf"), "{dns}");
    let mut nobody = logjam(["check", &site.spool.arg(), DEST, NOWHERE]);
    nobody.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").envs(site.server.environment());
    nobody.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    assert!(line(run(nobody).code_is(1), "credentials").starts_with("FAIL"));
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_told_and_one_that_somebody_does_is_well() {
    let server = S3Server::start_tls();
    server.create_bucket("logs");
    let spool = Spool::new();
    let command = || {
        let mut command = logjam(["check", &spool.arg(), DEST, NOWHERE]);
        command.envs(server.environment());
        command
    };
    let mut doubting = command();
    doubting.env_remove("SSL_CERT_FILE");
    let told = line(run(doubting).code_is(1), "tls");
    assert!(told.starts_with("FAIL") && told.contains("certificate"), "{told}");
    assert!(line(run(command()).code_is(0), "tls").starts_with("ok"));
}

#[test]
fn a_server_that_overwrites_is_told() {
    let site = Site::new();
    // It ignores the condition, and says of no object that it is there.
    site.server.set_fault(|seen| match seen.method.as_str() {
        "HEAD" if !seen.key.is_empty() => Fault::refuse(403, "AccessDenied"),
        "PUT" => Fault::Ignore(&["if-none-match"]),
        _ => Fault::None,
    });
    let line = site.line(&[], 1, "condition");
    assert!(line.starts_with("FAIL") && line.contains("overwrote"), "{line}");
}

#[test]
fn a_clock_that_is_off_is_told_before_s3_refuses_it() {
    let site = Site::new();
    site.server.set_fault(|seen| match (seen.method.as_str(), seen.key.is_empty()) {
        ("HEAD", true) => {
            Fault::Refuse { status: 403, code: "", headers: vec![("date", "Thu, 01 Jan 2026 00:00:00 GMT")] }
        }
        _ => Fault::None,
    });
    let line = site.line(&[], 1, "clock");
    assert!(line.starts_with("FAIL") && line.contains("before the server's"), "{line}");
}

#[test]
fn what_is_wrong_with_the_directory_is_told_with_the_mend() {
    let spool = Spool::new();
    let dir = spool.dir();
    let check = |dir: &Path| run(logjam(["check", &dir.display().to_string(), NOWHERE]));
    check(&dir.join("absent")).code_is(1).says("FAIL dir: ").says("mkdir -p -m 0750");
    symlink(&dir, spool.beside("link")).unwrap();
    check(&spool.beside("link")).code_is(1).says("is a symbolic link");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    check(&dir).code_is(1).says("everybody may write there").says("chmod 0750");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    symlink("/tmp", dir.join("archive")).unwrap();
    check(&dir).code_is(1).says("links are refused");
    fs::remove_file(dir.join("archive")).unwrap();
    assert_eq!(files_below(&dir), [""; 0]);
    run(logjam(["check", &spool.arg(), NOWHERE, "--reserve=1000000GiB"])).code_is(1).says("FAIL space: ");
    // Somebody else's.
    let line = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    run(shell(line, ["check", &spool.arg(), NOWHERE])).code_is(1).says("FAIL write: ").says("give it to the user");
    let few = "ulimit -n 100; exec \"$@\"";
    run(shell(few, ["check", NOWHERE])).code_is(1).says("FAIL open files: ");
}

#[test]
fn a_file_system_in_memory_is_told() {
    let spool = Spool::new();
    let line =
        format!("exec unshare -m sh -c 'mount -t tmpfs -o mode=0750 none {} && exec \"$@\"' sh \"$@\"", spool.arg());
    run(shell(&line, ["check", &spool.arg(), NOWHERE])).code_is(0).says("note file system: tmpfs");
}

#[test]
fn a_full_disk_is_told_with_its_mend() {
    let spool = Spool::new();
    let line = format!(
        "exec unshare -m sh -c 'mount -t tmpfs -o mode=0750,size=64k none {dir}; cat /dev/zero >{dir}/ballast 2>&-; exec \"$@\"' sh \"$@\"",
        dir = spool.arg()
    );
    let said = run(shell(&line, ["check", &spool.arg(), NOWHERE])).code_is(1).said;
    let line = said.lines().find(|line| line.starts_with("FAIL write: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("No space left on device") && line.ends_with("; free some space"), "{line}");
}

#[test]
fn wrong_settings_are_told_one_by_one_without_stopping() {
    let site = Site::new();
    let check = |options: &[&str]| {
        let mut command = logjam(["check", &site.spool.arg(), NOWHERE]);
        command.args(options);
        run(command)
    };
    check(&["s3://logs/{prefix}"])
        .code_is(1)
        .says("FAIL dest: ")
        .says("upload_uri lacks mandatory fields: day, ")
        .says("ok   locks: ");
    check(&["--prefix=a.b"]).code_is(1).says("FAIL names: ").says("ok   locks: ");
    check(&["--level=30"]).code_is(1).says("FAIL settings: --level=30");
    let far = tempfile::tempdir().unwrap();
    let dest = format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", far.path().display());
    check(&["--sign-key=/nonexistent", &dest]).code_is(1).says("FAIL settings: ");
    check(&["--evry=1h"]).code_is(2);
}

#[test]
fn what_pipe_refuses_of_dir_and_dest_together_fails_a_check_as_well() {
    let spool = Spool::new();
    let template = "{prefix}/{year}/{month}/{day}/{filename}";
    symlink(spool.dir(), spool.beside("link")).unwrap();
    fs::create_dir(spool.path("archive")).unwrap();
    for root in ["logs/archive/far", "logs/.logjam", "link/archive"] {
        let dest = format!("file://{}/{template}", spool.beside(root).display());
        for dir in [&*spool.arg(), "logs", "./logs/", "link/../logs"] {
            for command in [&["check", dir, &dest, NOWHERE][..], &["pipe", dir, &dest]] {
                let mut refused = logjam(command);
                refused.current_dir(spool.beside(""));
                let ended = run(refused);
                assert_eq!(ended.code, Some(if command[0] == "check" { 1 } else { 2 }), "{command:?}: {}", ended.said);
                ended.says("DEST: lies in ");
            }
        }
    }
    fs::set_permissions(spool.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(spool.dir(), Some(65534), Some(65534)).unwrap();
    let line = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    let ended = run(shell(line, ["check", &spool.arg(), NOWHERE, "--group=adm"])).code_is(1);
    ended.says("FAIL settings: --group=adm: files in ").says("usermod -a -G");
}

#[test]
fn a_dest_of_the_settings_file_is_tried_without_a_dir_as_well() {
    let site = Site::new();
    let file = site.spool.beside("logjam.toml");
    fs::write(&file, format!("dest = \"{DEST}\"\n")).unwrap();
    let mut check = logjam(["check", NOWHERE, &format!("--config={}", file.display())]);
    check.envs(site.server.environment());
    run(check).code_is(0).says("ok   put: ");
    let shown = logjam(["check", "--show", &format!("--config={}", file.display())]);
    run(shown).code_is(0).says(&format!("\ndest = \"{DEST}\" # {}:1\n", file.display()));
}

#[test]
fn a_directory_as_the_far_end_is_tried_as_well() {
    let spool = Spool::new();
    let far = tempfile::tempdir().unwrap();
    let dest = format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", far.path().display());
    run(logjam(["check", &spool.arg(), &dest, NOWHERE])).code_is(0).says("ok   condition: ").says("ok   archive: ");
    assert_eq!(names(far.path()), [""; 0]);
    fs::set_permissions(far.path(), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(spool.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    let line = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    let ended = run(shell(line, ["check", &spool.arg(), &dest, NOWHERE])).code_is(1);
    let line = self::line(ended, "put");
    assert!(
        line.starts_with("FAIL ") && line.contains("nobody must be able to make directories and files below"),
        "{line}"
    );
}

#[test]
fn who_archives_into_a_directory_may_be_another_user_than_who_has_checked_it() {
    let spool = Spool::new();
    fs::set_permissions(spool.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(spool.beside("far")).unwrap();
    for dir in [spool.dir(), spool.beside("far")] {
        std::os::unix::fs::chown(dir, Some(65534), Some(65534)).unwrap();
    }
    let dest = format!("file://{}/a/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", spool.beside("far").display());
    let nobody = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    run(logjam(["check", &spool.arg(), &dest, NOWHERE])).code_is(0);
    assert_eq!(names(&spool.beside("far")), [""; 0], "nor the directory that DEST begins with");
    let line = format!("echo line | {nobody}");
    run(shell(&line, ["pipe", &spool.arg(), &dest, "--once"])).code_is(0);
    // What is there already stays, with what is in it.
    let before = files_below(&spool.beside("far"));
    run(logjam(["check", &spool.arg(), &dest, NOWHERE])).code_is(0);
    assert_eq!(files_below(&spool.beside("far")), before);
    run(shell(&line, ["pipe", &spool.arg(), &dest, "--once"])).code_is(0);
}

#[test]
fn a_dir_that_can_not_be_written_is_told_by_what_failed_first() {
    let spool = Spool::new();
    fs::set_permissions(spool.dir(), fs::Permissions::from_mode(0o750)).unwrap();
    let script = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    let line = line(run(shell(script, ["check", &spool.arg(), NOWHERE])).code_is(1), "write");
    assert!(
        line.starts_with("FAIL write: create ") && line.contains("give it to the user that will run this, here nobody"),
        "{line}"
    );
}

#[test]
fn where_no_checkpoints_are_written_there_need_be_no_right_to_write_there() {
    let site = Site::new();
    site.server.set_fault(|seen| match seen.method == "PUT" && seen.key.starts_with(".logjam/") {
        true => Fault::refuse(403, "AccessDenied"),
        false => Fault::None,
    });
    assert!(site.line(&[], 1, "put").starts_with("FAIL"));
    assert!(site.line(&["--checkpoint=off"], 0, "put").starts_with("note"));
}

#[test]
fn a_rescue_passes_over_what_a_check_has_written() {
    let site = Site::new();
    site.check(&[]).code_is(0);
    let mut rescue = logjam(["rescue", DEST, "--older-than=0s"]);
    rescue.envs(site.server.environment());
    run(rescue).code_is(0);
}

// ------------------------------------------------------------------------------------------- the daemons and the system

/// A system of which only the files are there that a check looks at.
fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[track_caller]
fn on(root: &tempfile::TempDir) -> Ended {
    let spool = Spool::new();
    run(logjam(["check", &spool.arg(), &format!("--root={}", root.path().display())]))
}

const RSYSLOG: &str = include_str!("../contrib/rsyslog/logjam.conf");

#[test]
fn rsyslog_as_shipped_is_well_once_it_has_a_bucket_and_what_it_forbids_is_told() {
    let binary = ("usr/bin/logjam", "");
    on(&system(&[("etc/rsyslog.d/60-logjam.conf", RSYSLOG), binary]))
        .code_is(1)
        .says("FAIL rsyslog: there is no bucket");
    let set = &*RSYSLOG.replace("BUCKET", "logs");
    on(&system(&[("etc/rsyslog.d/60-logjam.conf", set), binary])).code_is(0).says("ok   rsyslog: 1 action(s)");
    on(&system(&[("etc/rsyslog.d/60-logjam.conf", set)])).code_is(1).says("which is not there");
    let drops = "$PrivDropToUser syslog\n";
    let passwd = "root:x:0:0::/:/bin/sh\nsyslog:x:104:110::/:/bin/false\n";
    let root = system(&[("etc/rsyslog.d/l.conf", set), ("etc/rsyslog.conf", drops), ("etc/passwd", passwd), binary]);
    on(&root).code_is(1).says("rsyslogd becomes syslog, who may not write");
    let profile = "profile rsyslogd /usr/sbin/rsyslogd {\n}\n";
    let confined = [("etc/rsyslog.d/l.conf", set), ("etc/apparmor.d/usr.sbin.rsyslogd", profile), binary];
    on(&system(&confined)).code_is(1).says("FAIL apparmor: ").says("logjam policy apparmor");
    let mended = [&confined[..], &[("etc/apparmor.d/local/usr.sbin.rsyslogd", "/usr/bin/logjam Cx,\n")]].concat();
    on(&system(&mended)).code_is(0);
    let unit = ("usr/lib/systemd/system/rsyslog.service", "[Service]\nNoNewPrivileges=yes\n");
    on(&system(&[&mended[..], &[unit]].concat())).code_is(1).says("FAIL apparmor: ").says("NoNewPrivileges=yes");
    // As Debian 13 and Ubuntu have it, and the package.
    let profile = "profile rsyslogd /usr/sbin/rsyslogd {\n  include if exists <rsyslog.d>\n}\n";
    let includes = [("etc/rsyslog.d/l.conf", set), ("etc/apparmor.d/usr.sbin.rsyslogd", profile), binary];
    on(&system(&includes)).code_is(1).says("logjam policy apparmor > /etc/apparmor.d/rsyslog.d/logjam");
    let shipped = ("etc/apparmor.d/rsyslog.d/logjam", include_str!("../contrib/apparmor/logjam"));
    on(&system(&[&includes[..], &[shipped, unit]].concat())).code_is(0).says("ok   rsyslog: ");
    let enforced = [("etc/rsyslog.d/l.conf", set), ("sys/fs/selinux/enforce", "1"), binary];
    on(&system(&enforced)).code_is(0).says("note selinux: ").says("logjam policy selinux");
    let module = ("var/lib/selinux/targeted/active/modules/400/logjam/cil", "");
    let ended = on(&system(&[&enforced[..], &[module]].concat())).code_is(0);
    assert!(!ended.said.contains("selinux:"), "{}", ended.said);
    let unit = [
        ("etc/rsyslog.d/l.conf", set),
        ("usr/lib/systemd/system/rsyslog.service", "[Service]\nProtectSystem=strict\n"),
        binary,
    ];
    on(&system(&unit)).code_is(1).says("FAIL systemd: rsyslog.service has ProtectSystem=strict");
    let filter = "[Service]\nSystemCallFilter=@system-service\n";
    let unit = [("etc/rsyslog.d/l.conf", set), ("usr/lib/systemd/system/rsyslog.service", filter), binary];
    on(&system(&unit))
        .code_is(0)
        .says("note systemd: rsyslog.service has a SystemCallFilter= without Landlock's calls");
    let off = set.replace("confirmMessages=\"on\"", "");
    on(&system(&[("etc/rsyslog.conf", &off), binary])).code_is(1).says("go together");
    on(&system(&[("etc/rsyslog.conf", "action(type=\"omfile\")")])).code_is(0);
}

#[test]
fn what_daemons_do_not_read_is_not_read() {
    let set = &*RSYSLOG.replace("BUCKET", "logs");
    let binary = ("usr/bin/logjam", "");
    let main = ("usr/lib/systemd/system/rsyslog.service", "[Service]\nProtectSystem=strict\n");
    let lets = "[Service]\nReadWritePaths=/\n";
    let forbids = "[Service]\nReadWritePaths=\n";
    let lib = "usr/lib/systemd/system/rsyslog.service.d/50-a.conf";
    let etc = "etc/systemd/system/rsyslog.service.d/50-a.conf";
    let run = "run/systemd/system/rsyslog.service.d/60-b.conf";
    let old = "etc/systemd/system/rsyslog.service.d/90-z.conf.dpkg-old";
    for (drop_ins, code) in [
        // Of one name, that in /etc.
        (vec![(lib, lets), (etc, forbids)], 1),
        (vec![(lib, forbids), (etc, lets)], 0),
        // In the order of the names, not of the folders.
        (vec![(etc, forbids), (run, lets)], 0),
        (vec![(etc, lets), (run, forbids)], 1),
        (vec![(etc, lets), (old, forbids)], 0),
    ] {
        let files = [&[("etc/rsyslog.d/l.conf", set), binary, main][..], &drop_ins].concat();
        on(&system(&files)).code_is(code);
    }
    let shipped = include_str!("../contrib/syslog-ng/logjam.conf");
    let ended = on(&system(&[("etc/syslog-ng/conf.d/logjam.conf.dpkg-old", shipped)])).code_is(0);
    assert!(!ended.said.contains("syslog-ng:"), "{}", ended.said);
    // A rule that is there no more.
    let profile = "profile rsyslogd /usr/sbin/rsyslogd {\n  include if exists <rsyslog.d>\n}\n";
    let left = ("etc/apparmor.d/rsyslog.d/logjam.dpkg-old", include_str!("../contrib/apparmor/logjam"));
    let files = [("etc/rsyslog.d/l.conf", set), ("etc/apparmor.d/usr.sbin.rsyslogd", profile), left, binary];
    on(&system(&files)).code_is(1).says("FAIL apparmor: ");
}

#[test]
fn a_relative_dir_is_whole_in_what_mends_a_unit() {
    let set = &*RSYSLOG.replace("BUCKET", "logs");
    let unit = ("usr/lib/systemd/system/rsyslog.service", "[Service]\nProtectSystem=strict\n");
    let root = system(&[("etc/rsyslog.d/l.conf", set), unit, ("usr/bin/logjam", "")]);
    let spool = Spool::new();
    let mut check = logjam(["check", "logs", &format!("--root={}", root.path().display())]);
    check.current_dir(spool.beside(""));
    run(check).code_is(1).says(&format!("[Service] ReadWritePaths={}", spool.arg()));
    fs::create_dir(spool.beside("other")).unwrap();
    let mut check = logjam(["check", "absent", NOWHERE]);
    check.current_dir(spool.beside("other"));
    run(check).code_is(1).says(&format!("mkdir -p -m 0750 {}", spool.beside("other/absent").display()));
}

#[test]
fn syslog_ng_as_shipped_is_well_once_it_has_a_bucket() {
    let shipped = include_str!("../contrib/syslog-ng/logjam.conf");
    on(&system(&[("etc/syslog-ng/conf.d/logjam.conf", shipped)])).code_is(1).says("FAIL syslog-ng: there is no bucket");
    let shipped = &*shipped.replace("BUCKET", "logs");
    on(&system(&[("etc/syslog-ng/conf.d/logjam.conf", shipped)])).code_is(0).says("ok   syslog-ng: ");
    let restarted = shipped.replace("keep-alive(yes)", "");
    on(&system(&[("etc/syslog-ng/conf.d/logjam.conf", &restarted)])).code_is(0).says("note syslog-ng: ");
}

#[test]
fn where_metrics_and_messages_go_is_tried() {
    let site = Site::new();
    let file = |name: &str| format!("--metrics-file={}", site.spool.beside(name).display());
    let line = site.line(&[&file("logjam.prom")], 0, "metrics file");
    assert!(line.starts_with("ok   ") && line.contains("can be written"), "{line}");
    assert_eq!(names(&site.spool.beside("")), ["logs"], "nothing of it stays");
    let line = site.line(&[&file("missing/logjam.prom")], 1, "metrics file");
    assert!(line.starts_with("FAIL ") && line.contains("must lie in a directory that user"), "{line}");
    fs::create_dir(site.spool.beside("dir.prom")).unwrap();
    let line = site.line(&[&file("dir.prom")], 1, "metrics file");
    assert!(line.starts_with("FAIL ") && line.contains("is no file"), "{line}");

    let line = site.line(&["--metrics-listen=127.0.0.1:0"], 0, "metrics address");
    assert!(line.starts_with("ok   "), "{line}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = site.line(&[&format!("--metrics-listen={}", taken.local_addr().unwrap())], 0, "metrics address");
    assert!(line.starts_with("note ") && line.contains("is taken"), "{line}");
    let line = site.line(&["--metrics-listen=203.0.113.1:9184"], 1, "metrics address");
    assert!(line.starts_with("FAIL ") && line.contains("give an address of this host"), "{line}");

    // A /dev of its own, without a log, and with one.
    let log = site.spool.beside("log");
    let listening = std::os::unix::net::UnixDatagram::bind(&log).unwrap();
    let no_log = "mount -t tmpfs none /dev && exec \"$@\"";
    let with_log = "mount -t tmpfs none /dev && touch /dev/log && mount --bind \"$0\" /dev/log && exec \"$@\"";
    for (script, code, expected) in [(no_log, 1, "FAIL log: nobody takes"), (with_log, 0, "ok   log: /dev/log took")] {
        let check = site.command(&["--log-to=syslog"]);
        let mut command = Command::new("unshare");
        command.args(["--mount", "/bin/sh", "-c", script]).arg(&log).arg(check.get_program()).args(check.get_args());
        command.envs(site.server.environment());
        run(command).code_is(code).says(expected);
    }
    let mut message = [0; 256];
    let length = listening.recv(&mut message).unwrap();
    assert!(message[..length].ends_with(b"logjam check"), "{:?}", String::from_utf8_lossy(&message[..length]));
}
