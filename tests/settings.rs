//! Settings: the file, the environment and the command line, and which of them counts.
#![allow(clippy::disallowed_methods)] // Tests use the file system and the clock.

use crate::cli::{Ended, Running, Spool, clean, logjam, names, run, within};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

struct Site {
    spool: Spool,
    home: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { spool: Spool::new(), home: tempfile::tempdir().unwrap() }
    }

    /// A settings file, with `DIR` and `FAR` in it standing for the directories of this test.
    fn file(&self, text: &str) -> String {
        let path = self.home.path().join("logjam.toml");
        let text = text.replace("FAR", &self.far().display().to_string()).replace("DIR", &self.spool.arg());
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn far(&self) -> PathBuf {
        self.home.path().join("far")
    }

    /// `logjam COMMAND --config=FILE OPTIONS`
    fn with(&self, text: &str, command: &str, options: &[&str]) -> Command {
        let mut words = logjam([command, &format!("--config={}", self.file(text))]);
        words.args(options);
        words
    }

    fn show(&self, text: &str, options: &[&str]) -> Ended {
        run(self.with(text, "check", &[&["--show"], options].concat()))
    }
}

/// Feeds a command, to the end of its input.
fn fed(mut command: Command, text: &str) -> Ended {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let mut cat = clean("cat").arg(file.path()).stdout(Stdio::piped()).spawn().unwrap();
    command.stdin(cat.stdout.take().unwrap());
    let ended = run(command);
    cat.wait().unwrap();
    ended
}

const FULL: &str = r#"
dir = "DIR"
dest = "file://FAR/{prefix}/{year}/{month}/{day}/{filename}"
prefix = "web"
level = 1

[pipe]
suffix = "host-1"
once = true
"#;

#[test]
fn a_file_alone_is_enough_for_the_main_job_and_for_reading_back() {
    let site = Site::new();
    fed(site.with(FULL, "pipe", &[]), "one\ntwo\n").code_is(0);
    let listed = run(site.with(FULL, "ls", &[])).code_is(0);
    assert!(listed.said.contains("/web/") && listed.said.contains("-host-1."), "{}", listed.said);
    run(site.with(FULL, "cat", &[])).code_is(0).says("one\ntwo\n");
    assert_eq!(run(site.with(FULL, "grep", &["tw"])).code_is(0).said, "two\n");
    run(site.with(FULL, "verify", &[])).code_is(0);
    // DIR/archive is made of DIR.
    run(site.with(&FULL.replace("[pipe]", "[upload]\nonce = true\n[pipe]"), "upload", &[])).code_is(0);
}

#[test]
fn the_file_may_be_named_before_the_command_behind_it_and_in_the_environment() {
    let site = Site::new();
    let file = site.file(FULL);
    let mut in_variable = logjam(["pipe"]);
    in_variable.env("LOGJAM_CONFIG", &file);
    for command in [
        logjam([&format!("--config={file}"), "pipe"]),
        logjam(["--config", &file, "pipe"]),
        logjam(["pipe", "--config", &file]),
        in_variable,
    ] {
        fed(command, "x\n").code_is(0);
    }
    assert_eq!(run(site.with(FULL, "cat", &[])).code_is(0).said, "x\nx\nx\nx\n");
}

#[test]
fn the_command_line_comes_before_the_environment_and_that_before_the_file() {
    let site = Site::new();
    let text = "prefix = \"general\"\nevery = \"5m\"\ntag = [\"a=1\", \"b=2\"]\n[pipe]\nprefix = \"file\"\nid = true\nlevel = 3\n";
    let mut all = site.with(text, "check", &["--show", "--every=10m"]);
    all.env("LOGJAM_EVERY", "20m").env("LOGJAM_PREFIX", "variable").env("LOGJAM_ID", "off");
    let said = run(all).code_is(0).said;
    let line = |key: &str| {
        said.lines()
            .find(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")))
            .unwrap_or_else(|| panic!("{said}"))
    };
    assert_eq!(line("every"), "every = \"10m\" # command line");
    assert_eq!(line("prefix"), "prefix = \"variable\" # LOGJAM_PREFIX");
    assert_eq!(line("id"), "id = false # LOGJAM_ID");
    assert!(line("level").starts_with("level = \"3\" # /") && line("level").ends_with("logjam.toml:7"), "{said}");
    assert!(line("tag").starts_with("tag = [\"a=1\", \"b=2\"] # /"), "{said}");
    assert_eq!(line("keep"), "# keep = \"24h\" # default");
    assert!(said.contains("# sync is not set"), "{said}");
}

#[test]
fn a_table_for_check_comes_before_that_of_pipe_which_a_check_asks_about() {
    let site = Site::new();
    let text =
        "prefix = \"a\"\nlevel = 1\n[pipe]\nprefix = \"b\"\nevery = \"5m\"\n[check]\nprefix = \"c\"\njson = true\n";
    let shown = site.show(text, &[]).code_is(0).said;
    for (line, at) in [("prefix = \"c\"", 7), ("every = \"5m\"", 5), ("level = \"1\"", 2)] {
        let found =
            shown.lines().find(|shown| shown.starts_with(&format!("{line} # "))).unwrap_or_else(|| panic!("{shown}"));
        assert!(found.ends_with(&format!("logjam.toml:{at}")), "{found}");
    }
    let said = run(site.with(text, "check", &["--root=/nonexistent"])).code_is(0).said;
    assert!(said.lines().all(|line| line.starts_with('{')) && said.contains("c-19700101T0000Z-"), "{said}");
}

#[test]
fn what_is_shown_is_a_settings_file_that_means_the_same() {
    let site = Site::new();
    let first = site.show(FULL, &["--tag=a=b", "--metadata=c=\"d\""]).code_is(0).said;
    let again = site.show(&first, &[]).code_is(0).said;
    let plain = |text: &str| text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(plain(&first), plain(&again));
    assert!(first.contains("\nprefix = \"web\" # "), "{first}");
}

#[test]
fn a_wrong_file_is_refused_with_the_line_and_the_nearest_known_key() {
    let site = Site::new();
    for (text, expected) in [
        ("prefix = \"a\"\nsufix = \"b\"\n", "logjam.toml:2: sufix: there is no such option; did you mean `suffix`?"),
        (
            "[pipe]\nonce = true\nolder-than = \"2h\"\n",
            "logjam.toml:3: older-than: there is no such option for `logjam pipe`",
        ),
        ("[pip]\n", "logjam.toml:1: [pip]: there is no such command; did you mean `pipe`?"),
        ("dri = \"/var/log\"\n", "logjam.toml:1: dri: there is no such option; did you mean `dir`?"),
        ("xyz = 1\n", "logjam.toml:1: xyz: there is no such option; the nearest is `"),
        (
            "once = true\n[pipe]\nsufix = \"a\"\n[pip]\n",
            "logjam.toml:3: sufix: there is no such option for `logjam pipe`",
        ),
        ("[pip]\nonce = true\n", "logjam.toml:1: [pip]: there is no such command; did you mean `pipe`?"),
        ("prefix = \"a\nsuffix = 1\n", "logjam.toml:1: "),
        ("prefix = \"a\"\nprefix = \"b\"\n", "logjam.toml:2: "),
        ("once = \"yes\"\n[pipe]\n", "logjam.toml:1: once: true or false is wanted"),
        ("every = true\n", "logjam.toml:1: every: a text in quotes or a whole number is wanted"),
        ("every = [\"1h\"]\n", "logjam.toml:1: every: a text in quotes or a whole number is wanted"),
        ("level = 1.5\n", "logjam.toml:1: level: a text in quotes or a whole number is wanted"),
        ("\n\nevery = \"7m\"\n", "logjam.toml:3: invalid value '7m' for '--every <DURATION>'"),
        ("dir = 5.0\n", "logjam.toml:1: dir: a text in quotes is wanted"),
        ("config = \"/etc/other.toml\"\n", "logjam.toml:1: config: there is no such option"),
    ] {
        run(site.with(text, "pipe", &[])).code_is(2).says(expected);
    }
    let absent = site.home.path().join("absent.toml").display().to_string();
    run(logjam(["pipe", &format!("--config={absent}")])).code_is(2).says(&format!("--config={absent}: No such file"));
    fs::write(&absent, b"prefix = \"\xff\"").unwrap();
    run(logjam(["pipe", &format!("--config={absent}")])).code_is(2).says("is not UTF-8");
}

#[test]
fn a_key_that_the_command_has_not_is_passed_over_and_who_writes_does_not_choose_what_is_read() {
    let site = Site::new();
    fed(site.with(FULL, "pipe", &["--prefix=other"]), "elsewhere\n").code_is(0);
    // `prefix` and `level` stand there for who writes.
    run(site.with(FULL, "cat", &[])).code_is(0).says("elsewhere");
    let narrowed = format!("{FULL}[cat]\nprefix = \"web\"\n");
    assert_eq!(run(site.with(&narrowed, "cat", &[])).code_is(0).said, "");
}

#[test]
fn a_broken_file_holds_up_the_daemon_if_it_says_so_and_takes_no_line() {
    let site = Site::new();
    let text = format!("on-error = \"hold\"\nno-such-key = 1\n{FULL}");
    let mut cat = clean("yes").stdout(Stdio::piped()).spawn().unwrap();
    let mut command = site.with(&text, "pipe", &[]);
    command.stdin(cat.stdout.take().unwrap());
    let mut running = Running::start(command);
    running.until("it says why", || running.said().contains("no-such-key"));
    // It looks at its input once a second: that it holds shows when it is still there after two looks.
    assert!(!within(Duration::from_millis(2100), || !running.runs()), "it holds");
    assert_eq!(names(&site.spool.dir()), [""; 0]);
    cat.kill().unwrap();
    cat.wait().unwrap();
    running.kill();
}

#[test]
fn the_guard_is_left_out_if_the_file_says_so() {
    let site = Site::new();
    for (line, guarded) in [("no-guard = true", false), ("no-guard = false", true), ("", true)] {
        let text = format!("{FULL}{line}\n");
        let mut cat = clean("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();
        let mut command = site.with(&text, "pipe", &[]);
        command.stdin(cat.stdout.take().unwrap());
        let running = Running::start(command);
        running.until("it has begun", || names(&site.spool.dir()).iter().any(|name| name == ".logjam"));
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap();
        assert_eq!(!children.trim().is_empty(), guarded, "{line}");
        cat.kill().unwrap();
        cat.wait().unwrap();
        running.end().code_is(0);
        fs::remove_dir_all(site.spool.path(".logjam")).unwrap();
    }
}

#[test]
fn a_password_in_an_address_is_refused_since_everybody_could_read_it() {
    let site = Site::new();
    let text = "endpoint-url = \"https://user:secret@s3.example.com\"\ndest = \"s3://bucket/{prefix}/{year}/{month}/{day}/{filename}\"\ndir = \"DIR\"\n";
    let said =
        run(site.with(text, "check", &["--root=/nonexistent"])).code_is(1).says("FAIL dest: --endpoint-url: ").said;
    assert!(!said.contains("secret"), "{said}");
    let shown = site.show(text, &[]).code_is(0).says("endpoint-url = \"https://***@s3.example.com\"").said;
    assert!(!shown.contains("secret"), "{shown}");
    // One with a slash in it, as half of all keys of AWS have.
    let shown = site.show("", &["--endpoint-url=http://user:hun/ter2@h"]).code_is(0).said;
    assert!(shown.contains("endpoint-url = \"http://***@h\"") && !shown.contains("hun"), "{shown}");
    let said = run(logjam(["check", &site.spool.arg(), "s3://user:hun/ter2@logs/{prefix}", "--root=/nonexistent"]))
        .code_is(1)
        .says("FAIL dest: DEST `s3://***@logs/{prefix}`: has a user or password in it")
        .said;
    assert!(!said.contains("hun") && !said.contains("ter2"), "{said}");
}
