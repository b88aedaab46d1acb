//! The Debian package, made of the test's own binary: installed, upgraded, removed and purged in a Debian of its own; and the
//! manual pages and completions in it, read by those for whom they are.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk")]

use crate::cli::{self, LOGJAM, files_below, logjam, mode};
use crate::shared;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use toml::de::{DeTable, DeValue};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a program, and returns what it says.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e} (tests/install-debian)"));
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// The package in two revisions, made once. The second one is the first one with another number.
static PACKAGES: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let work = shared::directory();
    let mut build = Command::new(Path::new(ROOT).join("contrib/debian/build"));
    build.arg(format!("--binary={LOGJAM}")).args(["--fast", "--offline"]);
    build.env("CARGO_TARGET_DIR", &work).env("CARGO_DEB", Path::new(ROOT).join("target/tools/bin/cargo-deb"));
    let said = succeeds(&mut build);
    let first =
        PathBuf::from(said.lines().rfind(|line| line.ends_with(".deb")).unwrap_or_else(|| panic!("{said}")).trim());
    let (tree, second) = (work.join("tree"), work.join("second.deb"));
    succeeds(Command::new("dpkg-deb").arg("--raw-extract").arg(&first).arg(&tree));
    let control = std::fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    let version = control.lines().find(|line| line.starts_with("Version: ")).unwrap();
    std::fs::write(tree.join("DEBIAN/control"), control.replace(version, &format!("{version}.2"))).unwrap();
    succeeds(Command::new("dpkg-deb").args(["-Zgzip", "-z1", "--build"]).arg(&tree).arg(&second));
    [first, second]
});

// ----------------------------------------------------------------------------------------------------------- a life of it

/// A Debian in a folder.
struct Debian(tempfile::TempDir);

impl Debian {
    fn new() -> Self {
        let base = std::env::var_os("LOGJAM_DEBIAN").map_or(Path::new(ROOT).join("target/debootstrap"), PathBuf::from);
        let root = tempfile::tempdir_in(Path::new(ROOT).join("target")).unwrap();
        succeeds(Command::new("cp").args(["-a", "--reflink=auto", "-T"]).arg(base).arg(root.path()));
        Self(root)
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    /// Runs a line of shell in it.
    #[track_caller]
    fn sh(&self, line: &str) -> String {
        let mut command = cli::clean("chroot");
        command.arg(self.0.path()).args(["/bin/sh", "-ec", line]);
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        succeeds(&mut command)
    }

    #[track_caller]
    fn install(&self, package: &Path) -> String {
        std::fs::copy(package, self.path("/tmp/logjam.deb")).unwrap();
        self.sh("dpkg --install /tmp/logjam.deb")
    }

    /// Every file that is a log or an archive, with its content.
    fn logs(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for dir in ["/var/log/logjam", "/srv/archive"] {
            for file in files_below(&self.path(dir)) {
                found.insert(format!("{dir}/{file}"), std::fs::read(self.path(dir).join(&file)).unwrap());
            }
        }
        found
    }
}

const DEST: &str = "'file:///srv/archive/{prefix}/{year}/{month}/{day}/{filename}'";

#[test]
fn the_package_is_installed_upgraded_removed_and_purged_and_no_log_is_ever_touched() {
    let [first, second] = &*PACKAGES;
    let debian = Debian::new();
    debian.install(first);
    assert!(debian.sh("logjam --version").starts_with("logjam "));
    assert!(debian.sh("logjam-upload --help; logjam-compress --help").contains("Store what lies in DIR/archive"));
    debian.sh("id logjam");
    assert_eq!(debian.sh("stat -c '%a %U %G' /var/log/logjam").trim(), "2750 root logjam");
    // First it needs a DEST.
    let wants = |dir: &Path| files_below(dir).iter().any(|file| file.contains(".wants/logjam"));
    assert!(!wants(&debian.path("/etc/systemd/system")), "a service is enabled");

    // An hour that is stored and one that is open; settings and an owner of the user's own.
    debian.sh("mkdir /srv/archive");
    debian.sh(&format!("echo stored | logjam pipe /var/log/logjam {DEST} --once --keep=7d"));
    debian.sh(&format!("echo open | logjam pipe /var/log/logjam {DEST} --prefix=other"));
    debian.sh("echo 'region = \"eu-west-1\"' >>/etc/logjam/logjam.toml; chown daemon /var/log/logjam");
    let logs = debian.logs();
    let of = |part: &str| logs.keys().filter(|name| name.contains(part)).count();
    assert_eq!((of("/var/log/logjam/other-"), of("/var/log/logjam/archive/syslog-")), (1, 1), "{:?}", logs.keys());
    assert_eq!(of("/srv/archive/syslog/"), 2, "{:?}", logs.keys());

    debian.install(second);
    assert!(debian.sh("dpkg-query -W -f '${Version}' logjam").ends_with(".2"));
    assert!(debian.sh("tail -n 1 /etc/logjam/logjam.toml").contains("eu-west-1"), "the settings are the user's");
    assert_eq!(debian.sh("stat -c '%a %U %G' /var/log/logjam").trim(), "2750 daemon logjam");
    assert_eq!(debian.logs(), logs, "after the upgrade");

    debian.sh("dpkg --remove logjam");
    assert!(!debian.path("/usr/bin/logjam").exists());
    assert!(debian.path("/etc/logjam/logjam.toml").exists());
    assert_eq!(debian.logs(), logs, "after the removal");

    let said = debian.sh("dpkg --purge logjam");
    assert!(said.contains("/var/log/logjam stays, with the logs in it"), "{said}");
    assert!(!debian.path("/etc/logjam").exists());
    assert_eq!(debian.logs(), logs, "after the purge");
    assert_eq!(std::fs::metadata(debian.path("/var/log/logjam")).unwrap().uid(), 1, "the owner stays");
    debian.sh("id logjam");
}

#[test]
fn lintian_finds_no_error_in_the_package() {
    let [package, _] = &*PACKAGES;
    // What it says of binaries is about the compiler's.
    let said = succeeds(Command::new("lintian").args(["--no-cfg", "--allow-root", "--fail-on=error"]).arg(package));
    let tags: BTreeSet<_> =
        said.lines().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")).collect();
    // There is no bug in Debian that asks for a package.
    assert_eq!(tags, BTreeSet::from(["W: logjam: initial-upload-closes-no-bugs".to_owned()]));
}

#[test]
fn the_package_holds_what_its_parts_need_and_nothing_that_is_not_in_its_place() {
    let [package, _] = &*PACKAGES;
    let tree = tempfile::tempdir().unwrap();
    succeeds(Command::new("dpkg-deb").arg("-x").arg(package).arg(tree.path()));
    let files: BTreeSet<String> = files_below(tree.path()).into_iter().collect();
    for file in [
        "usr/bin/logjam",
        "usr/bin/logjam-compress",
        "usr/bin/logjam-upload",
        "usr/share/man/man1/logjam.1.gz",
        "usr/share/man/man1/logjam-pipe.1.gz",
        "usr/share/man/man1/logjam-upload.1.gz",
        "usr/share/man/man1/logjam-compress.1.gz",
        "usr/share/man/man5/logjam.toml.5.gz",
        "usr/share/man/man7/logjam-rsyslog.7.gz",
        "usr/share/bash-completion/completions/logjam",
        "usr/share/zsh/vendor-completions/_logjam",
        "usr/share/fish/vendor_completions.d/logjam.fish",
        "usr/lib/systemd/system/logjam-upload.service",
        "usr/lib/systemd/system/logjam-compress.service",
        "usr/lib/tmpfiles.d/logjam.conf",
        "etc/logjam/logjam.toml",
        "etc/apparmor.d/rsyslog.d/logjam",
        "usr/share/doc/logjam/copyright",
        "usr/share/doc/logjam/changelog.Debian.gz",
    ] {
        assert!(files.contains(file), "{file} is missing in {files:#?}");
    }
    // Every file that is shipped in contrib is in the package: it, or the same under another name.
    let contrib = Path::new(ROOT).join("contrib");
    let packed: Vec<Vec<u8>> = files.iter().filter_map(|file| std::fs::read(tree.path().join(file)).ok()).collect();
    for file in files_below(&contrib).iter().filter(|file| !file.starts_with("debian/")) {
        assert!(packed.contains(&std::fs::read(contrib.join(file)).unwrap()), "contrib/{file} is not in the package");
    }
    assert_eq!(mode(&tree.path().join("usr/bin/logjam")), 0o755);
    // Without a capability they give nothing to a group that they are not in.
    for unit in ["logjam-upload", "logjam-compress"] {
        let path = tree.path().join(format!("usr/lib/systemd/system/{unit}.service"));
        assert!(std::fs::read_to_string(path).unwrap().contains("\nSupplementaryGroups=logjam\n"), "{unit}");
    }
    // DIR is made, and left to whoever has it.
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write(root.path().join("etc/group"), "root:x:0:\nlogjam:x:4242:\n").unwrap();
    let dir = root.path().join("var/log/logjam");
    for expected in [0o2750, 0o2700] {
        let mut tmpfiles = Command::new("systemd-tmpfiles");
        tmpfiles.arg(format!("--root={}", root.path().display())).arg("--create");
        succeeds(tmpfiles.arg(tree.path().join("usr/lib/tmpfiles.d/logjam.conf")));
        let meta = std::fs::metadata(&dir).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.gid()), (expected, 4242));
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o2700)).unwrap();
    }
}

// --------------------------------------------------------------------------------------------------------------- settings

/// The options of a command, as its help tells.
fn options(command: &str) -> BTreeSet<String> {
    let help = succeeds(&mut logjam([command, "--help"]));
    let words = help.lines().filter(|line| line.trim_start().starts_with('-')).flat_map(str::split_whitespace);
    words
        .filter_map(|word| word.strip_prefix("--"))
        .map(|long| long.split([',', '[', '=']).next().unwrap_or_default().to_owned())
        .collect()
}

fn commands() -> Vec<String> {
    let help = succeeds(&mut logjam(["--help"]));
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_example_of_settings_is_an_option_of_a_command() {
    let example = std::fs::read_to_string(Path::new(ROOT).join("contrib/logjam/logjam.toml")).unwrap();
    // What is commented out is a key, an equals sign and a value.
    let key =
        |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    let lines = example.lines().map(|line| if key(line) { &line[1..] } else { line });
    let text = lines.collect::<Vec<_>>().join("\n");
    let parsed = DeTable::parse(&text).unwrap();
    let all: BTreeMap<String, BTreeSet<String>> =
        commands().into_iter().map(|name| (name.clone(), options(&name))).collect();
    let mut count = 0;
    for (key, value) in parsed.get_ref() {
        let key = key.get_ref().as_ref();
        let (table, keys): (_, Vec<String>) = match value.get_ref() {
            DeValue::Table(inner) => (Some(key), inner.keys().map(|key| key.get_ref().to_string()).collect()),
            _ => (None, vec![key.to_owned()]),
        };
        for name in keys {
            let known = match table {
                Some(command) => all[command].contains(&name),
                None => all.values().any(|options| options.contains(&name)),
            };
            assert!(known || ["dir", "dest"].contains(&name.as_str()), "{table:?}: {name}");
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

// --------------------------------------------------------------------------------------------- manuals and completions

fn manuals() -> (tempfile::TempDir, Vec<PathBuf>) {
    let work = tempfile::tempdir().unwrap();
    let said = succeeds(&mut logjam(["man", work.path().to_str().unwrap()]));
    let pages: Vec<PathBuf> = said.lines().map(PathBuf::from).collect();
    assert_eq!(pages.len(), commands().len() + 3, "a page for each command, and three more");
    (work, pages)
}

#[test]
fn the_manual_pages_are_clean_and_tell_every_option_of_every_command() {
    let (_work, pages) = manuals();
    let said = succeeds(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages));
    assert_eq!(said, "");
    for page in &pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file", "-Tutf8", "-P", "cat"])
            .arg(page)
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "80");
        let output = man.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display());
    }
    let text = |name: &str| {
        let page = pages.iter().find(|page| page.ends_with(name)).unwrap_or_else(|| panic!("no {name}"));
        succeeds(Command::new("mandoc").args(["-T", "utf8", "-O", "width=1000"]).arg(page)).replace("\u{8}", "")
    };
    // Bold letters are struck twice.
    let bold = |word: &str| {
        let twice = |c: char| std::iter::repeat_n(c, if c == ' ' { 1 } else { 2 });
        word.chars().flat_map(twice).collect::<String>()
    };
    let keys = text("logjam.toml.5");
    for command in commands() {
        let page = text(&format!("logjam-{command}.1"));
        for option in options(&command) {
            assert!(page.contains(&bold(&format!("--{option}"))), "logjam-{command}(1): --{option}");
            // A file names no other file.
            let is_key = keys.contains(&format!("{} = ", bold(&option)));
            assert_eq!(is_key, !["help", "config"].contains(&option.as_str()), "logjam.toml(5): {option}");
        }
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "SEE ALSO"] {
            assert!(page.contains(&bold(heading)), "logjam-{command}(1): {heading}");
        }
    }
    for heading in ["SIGNALS", "FILES", "EXAMPLES"] {
        assert!(text("logjam-pipe.1").contains(&bold(heading)), "{heading}");
    }
}

#[test]
fn each_shell_completes_commands_and_options() {
    let work = tempfile::tempdir().unwrap();
    let file = |shell: &str, name: &str| {
        let path = work.path().join(name);
        let output = logjam(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        std::fs::write(&path, output.stdout).unwrap();
        path
    };
    let bash = file("bash", "bash");
    let complete = |line: &str| {
        let script = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             $(complete -p logjam | sed 's/.*-F \\([^ ]*\\).*/\\1/') logjam \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            bash.display()
        );
        succeeds(Command::new("bash").args(["--norc", "-c", &script]))
    };
    assert_eq!(complete("logjam poli").trim(), "policy");
    assert_eq!(complete("logjam pipe --confirm").trim(), "--confirm-messages");
    assert_eq!(complete("logjam policy --variant tr").trim(), "transactions");

    let fish = file("fish", "logjam.fish");
    let complete = |line: &str| {
        let script = format!("source {}; complete -C '{line}'", fish.display());
        succeeds(Command::new("fish").args(["--no-config", "-c", &script]).env("HOME", work.path()))
    };
    assert!(complete("logjam poli").starts_with("policy\t"));
    assert!(complete("logjam pipe --confirm").starts_with("--confirm-messages\t"));

    file("zsh", "_logjam");
    // Its own completion system reads the file, and what it would offer is caught.
    let complete = |line: &str| {
        let script = format!(
            "fpath=({dir} $fpath); autoload -Uz compinit; compinit -u -d {dir}/dump; print -r -- ${{_comps[logjam]}}; \
             _arguments() {{ print -rl -- \"$@\" }}; words=({line}); CURRENT=$#words; _logjam",
            dir = work.path().display()
        );
        succeeds(Command::new("zsh").args(["-f", "-c", &script]).env("HOME", work.path()))
    };
    let said = complete("logjam pipe --confirm");
    assert!(said.starts_with("_logjam\n") && said.contains(":_logjam_commands"), "{said}");
    for command in commands() {
        let text = std::fs::read_to_string(work.path().join("_logjam")).unwrap();
        assert!(text.contains(&format!("({command})")), "{command}");
    }
}
