//! Who may read what logjam makes, what it gives up after its start, and what is left of its memory.
#![allow(clippy::disallowed_methods)] // Tests look at files as they are.

use crate::cli::{self, Running, Spool, files_below, logjam, mode, names, run, shell, until};
use crate::filter;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A group that every Debian has, by name and number (base-passwd), and a user who is in no other.
const GROUP: &str = "adm";
const GID: u32 = 4;
const NOBODY: u32 = 65534;

fn dest(spool: &Spool) -> String {
    format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", spool.beside("bucket").display())
}

/// What logjam makes below a directory, with `.logjam` and what is in it apart.
fn made(root: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    let private =
        |path: &PathBuf| path.strip_prefix(root).unwrap().components().any(|part| part.as_os_str() == ".logjam");
    found.into_iter().partition(|path| !private(path))
}

fn group(path: &Path) -> u32 {
    fs::metadata(path).unwrap().gid()
}

/// Everything below has these modes and this group; what is logjam's own cannot be entered by that group.
#[track_caller]
fn assert_shared(root: &Path, files: u32, dirs: u32, gid: u32) {
    let (shared, private) = made(root);
    assert!(!shared.is_empty() && !private.is_empty(), "nothing in {}", root.display());
    for path in shared {
        let expected = if path.is_dir() { dirs } else { files };
        assert_eq!((mode(&path), group(&path)), (expected, gid), "{}", path.display());
    }
    for path in private.iter().filter(|path| path.is_dir()) {
        assert_eq!((mode(path), group(path)), (0o750, 0), "{}", path.display());
    }
}

#[test]
fn files_and_directories_get_the_modes_and_the_group_that_are_asked_for_whatever_the_umask() {
    let rights = ["--file-mode=0644", "--dir-mode=0755", &format!("--group={GROUP}")].map(String::from);
    let stored = Spool::new();
    let mut pipe = shell("umask 077; echo line | \"$@\"", ["pipe", &stored.arg(), &dest(&stored), "--once"]);
    pipe.args(&rights);
    run(pipe).code_is(0);
    assert_shared(&stored.dir(), 0o644, 0o755, GID);
    assert_shared(&stored.beside("bucket"), 0o644, 0o755, GID);

    let packed = Spool::new();
    fs::write(packed.path("app-20130704T0000Z.log"), "line\n").unwrap();
    run({
        let mut compress = logjam(["compress", &packed.arg(), "--once"]);
        compress.args(&rights);
        compress
    })
    .code_is(0);
    let archives = packed.dir().join("archive").display().to_string();
    run({
        let mut upload = logjam(["upload", &archives, &dest(&packed), "--once"]);
        upload.args(&rights);
        upload
    })
    .code_is(0);
    assert_shared(&packed.dir(), 0o644, 0o755, GID);
    assert_shared(&packed.beside("bucket"), 0o644, 0o755, GID);
}

#[test]
fn the_group_reads_hours_and_archives_and_nothing_that_is_logjams_own() {
    let spool = Spool::new();
    fs::set_permissions(spool.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    chown(spool.dir(), None, Some(GID)).unwrap();
    fs::set_permissions(spool.dir(), fs::Permissions::from_mode(0o750)).unwrap();
    run(shell("echo line | \"$@\"", ["pipe", &spool.arg(), "--prefix=a", "--group=adm"])).code_is(0);
    run(shell("echo line | \"$@\"", ["pipe", &spool.arg(), "--prefix=b", "--once", "--group=adm"])).code_is(0);
    let member =
        |line: &str| Command::new("sh").args(["-c", line]).current_dir(spool.dir()).uid(NOBODY).gid(GID).output();
    let read = member("cat a-*.log && zcat archive/b-*.log.gz").unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "line\nline\n", "{read:?}");
    let own = member("ls .logjam/seal").unwrap();
    assert!(!own.status.success() && own.stdout.is_empty(), "{own:?}");
    let stranger = Command::new("ls").arg(spool.dir()).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(!stranger.status.success());
}

#[test]
fn in_a_setgid_directory_everything_belongs_to_its_group_without_being_asked_for() {
    let spool = Spool::new();
    chown(spool.dir(), None, Some(GID)).unwrap();
    fs::set_permissions(spool.dir(), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::create_dir(spool.beside("bucket")).unwrap();
    run(shell("echo line | \"$@\"", ["pipe", &spool.arg(), &dest(&spool), "--once"])).code_is(0);
    assert_shared(&spool.dir(), 0o640, 0o2750, GID);
    // The far end is another directory, with another owner.
    assert_shared(&spool.beside("bucket"), 0o640, 0o750, 0);
}

#[test]
fn in_a_setgid_directory_of_a_foreign_group_everything_has_the_users_and_that_is_said() {
    let spool = Spool::new();
    chown(spool.dir(), Some(NOBODY), Some(GID)).unwrap();
    fs::set_permissions(spool.dir(), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::set_permissions(spool.dir().parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!("echo line | setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \"$@\"");
    let said = run(shell(&line, ["pipe", &spool.arg(), "--once"])).code_is(0).said;
    assert!(said.contains("belongs to group adm and is setgid, but files can't be given to that"), "{said}");
    let archive = files_below(&spool.path("archive")).into_iter().find(|name| name.ends_with(".gz")).unwrap();
    assert_eq!(fs::metadata(spool.path("archive").join(archive)).unwrap().gid(), NOBODY);
}

#[test]
fn a_worker_that_takes_over_gives_files_the_same_modes_and_group() {
    let spool = Spool::new();
    let (pipe, mut guard) = start(&spool, &["--group=adm", "--file-mode=0660", "--dir-mode=2770"]);
    say(&mut guard, "one");
    hour_has(&spool, "one");
    let worker = worker_of(&pipe);
    kill(worker, Signal::SIGKILL).unwrap();
    pipe.until("another worker is there", || worker_of(&pipe) != worker);
    say(&mut guard, "two");
    hour_has(&spool, "two");
    pipe.signal(Signal::SIGUSR1);
    pipe.until("the hour is stored", || files_below(&spool.beside("bucket")).iter().any(|path| path.ends_with(".gz")));
    drop(guard);
    pipe.end().code_is(0);
    assert_shared(&spool.dir(), 0o660, 0o2770, GID);
    assert_shared(&spool.beside("bucket"), 0o660, 0o2770, GID);
}

/// `logjam ARGUMENTS` as logjam-compress.service and logjam-upload.service start it: as root without a capability, with a group that
/// DIR belongs to, and not able to set a setgid bit. A line waits on its input.
fn as_a_service<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let line = format!("umask 027; echo line | exec setpriv --bounding-set=-all --inh-caps=-all --groups={GID} \"$@\"");
    let mut command = shell(&line, arguments);
    filter::nobody_sets_setgid(&mut command);
    command
}

#[test]
fn where_nobody_may_set_the_setgid_bit_what_is_made_in_a_setgid_directory_inherits_it() {
    for (option, dirs) in [("--dir-mode=0750", 0o2750), ("--dir-mode=0755", 0o755)] {
        let spool = Spool::new();
        fs::create_dir(spool.beside("bucket")).unwrap();
        for dir in [spool.dir(), spool.beside("bucket")] {
            chown(&dir, None, Some(GID)).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o2750)).unwrap();
        }
        fs::write(spool.path("app-20130704T0000Z.log"), "line\n").unwrap();
        run(as_a_service(["compress", &spool.arg(), "--once", option])).code_is(0);
        let archives = spool.dir().join("archive").display().to_string();
        run(as_a_service(["upload", &archives, &dest(&spool), "--once", option])).code_is(0);
        run(as_a_service(["pipe", &spool.arg(), &dest(&spool), "--once", option])).code_is(0);
        assert_shared(&spool.dir(), 0o640, dirs, GID);
        assert_shared(&spool.beside("bucket"), 0o640, dirs, GID);
    }
}

#[test]
fn rights_that_cannot_be_given_are_refused_with_the_mend() {
    let spool = Spool::new();
    let pipe = |option: &str| logjam(["pipe", &spool.arg(), option]);
    run(pipe("--group=no-such-group"))
        .code_is(2)
        .says("--group=no-such-group: there is no such group")
        .says("groupadd");
    for (option, mend) in [
        ("--file-mode=0440", "its owner must be able to read and write it"),
        ("--file-mode=0666", "others must not write it"),
        ("--file-mode=rw", "write 0600, 0640"),
        ("--dir-mode=0640", "its owner must be able to do everything in it"),
        ("--dir-mode=0777", "others must not write there"),
    ] {
        run(pipe(option)).code_is(2).says(option.split('=').next().unwrap()).says(mend);
    }
    assert_eq!(names(&spool.dir()), [""; 0]);

    fs::set_permissions(spool.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    chown(spool.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    let copy = spool.beside("logjam");
    cli::install(cli::LOGJAM, &copy);
    let mut other = cli::clean(&copy);
    other.args(["pipe", &spool.arg(), "--group=adm"]).uid(NOBODY).gid(NOBODY);
    run(other).code_is(2).says("--group=adm: files in").says("Operation not permitted").says("usermod -a -G");
    assert_eq!(names(&spool.dir()), [""; 0]);
}

// ---------------------------------------------------------------------------------------------------- what is given up

/// `logjam pipe DIR DEST OPTIONS` on a pipe of this test.
fn start(spool: &Spool, options: &[&str]) -> (Running, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = logjam(["pipe", &spool.arg(), &dest(spool), "--suffix=test"]);
    command.args(options).stdin(reader);
    (Running::start(command), writer)
}

fn say(pipe: &mut std::io::PipeWriter, line: &str) {
    use std::io::Write;
    writeln!(pipe, "{line}").unwrap();
}

#[track_caller]
fn hour_has(spool: &Spool, line: &str) {
    let has = |name: &String| {
        let text = fs::read_to_string(spool.path(name)).unwrap_or_default();
        name.ends_with(".log") && text.lines().any(|there| there == line)
    };
    until(&format!("{line:?} is in an hour file"), || names(&spool.dir()).iter().any(has));
}

/// The child of a guard.
fn worker_of(guard: &Running) -> Pid {
    let list = format!("/proc/{0}/task/{0}/children", guard.pid());
    let mut worker = None;
    guard.until("a worker is there", || {
        worker = fs::read_to_string(&list).unwrap().split_whitespace().next().and_then(|pid| pid.parse().ok());
        worker.is_some()
    });
    Pid::from_raw(worker.unwrap())
}

fn status_of(pid: impl std::fmt::Display, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap().trim().to_owned()
}

/// Whether the kernel has Landlock of the version that is needed: it then is used, and said.
fn landlock(said: &str) -> bool {
    let all = said.contains("gave up: no_new_privs, landlock");
    assert!(all || said.contains("gave up: no_new_privs (this kernel has no Landlock)"), "{said}");
    all
}

#[test]
fn the_worker_gives_up_new_privileges_and_the_guard_keeps_them_for_the_next_one() {
    let spool = Spool::new();
    let (pipe, mut writer) = start(&spool, &["-l", "debug"]);
    say(&mut writer, "one");
    hour_has(&spool, "one");
    assert_eq!(status_of(worker_of(&pipe), "NoNewPrivs"), "1");
    assert_eq!(status_of(pipe.pid(), "NoNewPrivs"), "0");
    pipe.until("status tells of it", || run(logjam(["status", &spool.arg()])).said.contains("gave up: no_new_privs"));
    drop(writer);
    landlock(&pipe.end().code_is(0).said);

    let (pipe, mut writer) = start(&spool, &["-l", "debug", "--no-confine"]);
    say(&mut writer, "two");
    hour_has(&spool, "two");
    assert_eq!(status_of(worker_of(&pipe), "NoNewPrivs"), "0");
    drop(writer);
    let said = pipe.end().code_is(0).said;
    assert!(!said.contains("gave up"), "{said}");
}

#[test]
fn where_a_filter_kills_who_asks_for_landlock_the_worker_does_without_and_says_so() {
    let filters: [fn(&mut Command); 2] = [filter::landlock_kills, filter::landlock_is_refused];
    for filter in filters {
        let spool = Spool::new();
        let mut pipe = shell("echo line | \"$@\"", ["pipe", &spool.arg(), &dest(&spool), "--once", "-l", "debug"]);
        filter(&mut pipe);
        let said =
            run(pipe).code_is(0).says("gave up: no_new_privs (Landlock: the system call is forbidden here)").said;
        assert!(!said.contains("was ended by"), "{said}");
        // There is no guard that would start another one.
        let mut compress = logjam(["compress", &spool.arg(), "--once", "-l", "debug"]);
        filter(&mut compress);
        run(compress).code_is(0).says("(Landlock: the system call is forbidden here)");
    }
}

#[test]
fn a_confined_worker_cannot_be_led_out_of_its_directories() {
    for confine in [true, false] {
        let spool = Spool::new();
        fs::create_dir(spool.beside("log")).unwrap();
        fs::create_dir(spool.beside("elsewhere")).unwrap();
        // Otherwise what stands above it would count.
        fs::create_dir(spool.beside("bucket")).unwrap();
        let (log, target) = (spool.beside("log/own"), spool.beside("elsewhere/target"));
        let to = format!("--log-to={}", log.display());
        let mut options = vec!["-l", "debug", &to];
        if !confine {
            options.push("--no-confine");
        }
        let (pipe, mut writer) = start(&spool, &options);
        say(&mut writer, "one");
        hour_has(&spool, "one");
        let first = fs::read_to_string(&log).unwrap();
        // Whoever may write in the directory of the log file puts a link in its place.
        fs::rename(&log, spool.beside("log/old")).unwrap();
        symlink(&target, &log).unwrap();
        pipe.signal(Signal::SIGHUP);
        say(&mut writer, "two");
        hour_has(&spool, "two");
        pipe.signal(Signal::SIGUSR1);
        pipe.until("the hour is stored", || {
            let said = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("stored file://"));
            said(&target) || said(&spool.beside("log/old"))
        });
        drop(writer);
        pipe.end().code_is(0);
        assert_eq!(target.exists(), !(confine && landlock(&first)), "confined: {confine}");
    }
}

#[test]
fn a_destination_that_is_made_anew_is_written_to_by_another_worker() {
    let spool = Spool::new();
    let bucket = spool.beside("bucket");
    fs::create_dir(&bucket).unwrap();
    let (pipe, mut writer) = start(&spool, &["-l", "debug"]);
    say(&mut writer, "one");
    hour_has(&spool, "one");
    let first = worker_of(&pipe);
    // As if a file system had been mounted there.
    fs::rename(&bucket, spool.beside("old")).unwrap();
    fs::create_dir(&bucket).unwrap();
    pipe.signal(Signal::SIGUSR1);
    let object = || files_below(&bucket).into_iter().find(|path| path.ends_with(".log.gz"));
    pipe.until("the hour is stored", || object().is_some());
    say(&mut writer, "two");
    hour_has(&spool, "two");
    drop(writer);
    let ended = pipe.end().code_is(0);
    if landlock(&ended.said) {
        ended.says("another worker takes over").says(&format!("worker {first} was ended by SIGKILL"));
    }
    let object = object().unwrap();
    assert_eq!(cli::unpack(&object, &fs::read(bucket.join(&object)).unwrap()), b"one\n");
}

#[test]
fn a_destination_that_is_removed_is_made_again_and_a_dir_that_is_removed_is_waited_for() {
    let spool = Spool::new();
    let bucket = spool.beside("bucket");
    fs::create_dir(&bucket).unwrap();
    let (pipe, mut writer) = start(&spool, &[]);
    say(&mut writer, "one");
    hour_has(&spool, "one");
    fs::remove_dir(&bucket).unwrap();
    pipe.signal(Signal::SIGUSR1);
    let object = || files_below(&bucket).into_iter().find(|path| path.ends_with(".log.gz"));
    pipe.until("the hour is stored", || object().is_some());

    let worker = worker_of(&pipe);
    fs::rename(spool.dir(), spool.beside("old")).unwrap();
    say(&mut writer, "two");
    pipe.until("it says that it waits", || pipe.count("intake waits") > 0);
    assert_eq!(worker_of(&pipe), worker);
    fs::rename(spool.beside("old"), spool.dir()).unwrap();
    hour_has(&spool, "two");
    drop(writer);
    pipe.end().code_is(0);
}

#[test]
fn where_a_program_gives_out_credentials_nothing_is_given_up_and_that_is_said() {
    let spool = Spool::new();
    let config = spool.beside("config");
    fs::write(&config, "[default]\ncredential_process = /bin/false\n").unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = logjam(["pipe", &spool.arg(), "s3://bucket/{prefix}/{year}/{month}/{day}/{filename}"]);
    command.args(["--endpoint-url=http://127.0.0.1:1", "-l", "debug"]).env("AWS_CONFIG_FILE", &config).stdin(reader);
    let pipe = Running::start(command);
    say(&mut writer, "one");
    hour_has(&spool, "one");
    assert_eq!(status_of(worker_of(&pipe), "NoNewPrivs"), "0");
    drop(writer);
    pipe.end().code_is(0).says(&format!("gave up: nothing ({} has credential_process)", config.display()));
}

// -------------------------------------------------------------------------------------------------------------- memory

/// Starts a command that may leave a core dump in its working directory, and ends it by SIGABRT.
fn aborted(mut command: Command, dir: &Path, ready: impl FnOnce(&Child) -> Vec<Pid>) -> std::process::ExitStatus {
    command.current_dir(dir).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    for pid in ready(&child) {
        kill(pid, Signal::SIGABRT).unwrap();
    }
    child.wait().unwrap()
}

#[test]
fn no_core_dump_is_left_of_guard_or_worker() {
    let dir = tempfile::tempdir().unwrap();
    let own = |child: &Child| vec![Pid::from_raw(i32::try_from(child.id()).unwrap())];
    let with_cores = |line: &str, args: &[&str]| shell(&format!("ulimit -c unlimited; {line}"), args);
    // What any other program leaves, or the test would show nothing.
    let other = aborted(with_cores("exec sleep 1000", &[]), dir.path(), |child| {
        until("it runs", || {
            fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|name| name == "sleep\n")
        });
        own(child)
    });
    assert!(other.core_dumped(), "this machine writes no core dumps: {other:?}");
    names(dir.path()).iter().for_each(|name| fs::remove_file(dir.path().join(name)).unwrap());

    let spool = Spool::new();
    for options in [&["--no-guard"][..], &[]] {
        let mut arguments = vec!["pipe".to_owned(), spool.arg(), "--suffix=test".into()];
        arguments.extend(options.iter().map(ToString::to_string));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ended = aborted(with_cores("exec \"$@\"", &arguments), dir.path(), |child| {
            until("it works", || spool.path("archive").exists());
            let list = format!("/proc/{0}/task/{0}/children", child.id());
            let worker = |text: String| text.split_whitespace().filter_map(|pid| pid.parse().ok()).next();
            // The worker first: the guard would start another one.
            let mut all: Vec<_> =
                fs::read_to_string(&list).ok().and_then(worker).map(Pid::from_raw).into_iter().collect();
            all.extend(own(child));
            all
        });
        assert_eq!((ended.signal(), ended.core_dumped()), (Some(Signal::SIGABRT as i32), false));
        fs::remove_dir_all(spool.path("archive")).unwrap();
    }
    assert_eq!(names(dir.path()), [""; 0]);
    until("no worker is left", || {
        !fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&spool.arg()))
        })
    });
}
