//! `logjam policy`: what it prints is what is shipped, is read by those for whom it is meant, and is neither too much nor too little.
//! The rights are enforced by moto; what moto does not look at (tags, KMS, conditions, the bucket's policy) by a judge of
//! requests in front of the tests' own server.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk")]

#[path = "support/rights.rs"]
mod rights;

use crate::cli::{self, MIB, Running, Spool, clean, logjam, noise, run};
use crate::server::{self, S3Server};
use rights::Rights;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const DEST: &str = "s3://logs/{prefix}/{year}/{month}/{day}/{filename}";
const STREAM: &str = "--prefix=syslog";
const NAME: &str = "syslog-20261121T0000Z-web-1.log";
const KEY: &str = "syslog/2026/11/21/syslog-20261121T0000Z-web-1.log.gz";

/// What `logjam policy` prints.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = logjam(["policy"].iter().chain(arguments)).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn policy(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).unwrap()
}

/// Runs a program, and returns what it says.
#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

// ----------------------------------------------------------------------------------------------------------- the files

#[test]
fn what_is_shipped_is_what_is_printed_without_settings() {
    for (arguments, file) in [
        (&["iam"][..], "aws/iam.json"),
        (&["bucket"], "aws/bucket.json"),
        (&["lifecycle"], "aws/lifecycle.json"),
        (&["rsyslog"], "rsyslog/logjam.conf"),
        (&["rsyslog", "--variant=id"], "rsyslog/logjam-id.conf"),
        (&["rsyslog", "--variant=transactions"], "rsyslog/logjam-transactions.conf"),
        (&["rsyslog", "--variant=plain"], "rsyslog/logjam-plain.conf"),
        (&["syslog-ng"], "syslog-ng/logjam.conf"),
        (&["systemd"], "systemd/logjam-upload.service"),
        (&["systemd", "--unit=compress"], "systemd/logjam-compress.service"),
        (&["systemd", "--unit=rsyslog"], "systemd/rsyslog-logjam.conf"),
        (&["apparmor"], "apparmor/logjam"),
        (&["selinux"], "selinux/logjam.te"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(file);
        assert_eq!(printed(arguments), std::fs::read_to_string(&path).unwrap(), "{file}");
    }
}

#[test]
fn daemons_read_the_files_with_settings_in_them() {
    let work = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = work.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let settings = ["--dir=/srv/logs", "--sse=AES256", "--tag=team=ops", "--prefix=web", "--checkpoint=2m", DEST];
    let with = |kind: &[&'static str]| printed(&[kind, &settings].concat());

    for variant in ["confirmed", "id", "transactions", "plain"] {
        let text = with(&["rsyslog", &format!("--variant={variant}").leak()[..]]);
        let command = "pipe /srv/logs s3://logs/{prefix}/{year}/{month}/{day}/{filename} --prefix=web --checkpoint=2m --sse=AES256 --tag=team=ops --";
        assert!(text.contains(command), "{text}");
        let main = format!(
            "global(workDirectory=\"{}\")\nmodule(load=\"imuxsock\" sysSock.use=\"off\")\n{text}",
            work.path().display()
        );
        let said = succeeds(Command::new("/usr/sbin/rsyslogd").arg("-N1").arg("-f").arg(file("rsyslog.conf", &main)));
        let complaints: Vec<_> = said.lines().filter(|line| !line.contains("onfig validation run")).collect();
        assert!(complaints.is_empty(), "{variant}: {complaints:#?}");
    }

    // The rules stand where the profile of rsyslogd includes them.
    let rules = file("logjam", &with(&["apparmor"]));
    let profile = format!(
        "abi <abi/3.0>,\ninclude <tunables/global>\nprofile rsyslogd /usr/sbin/rsyslogd {{\n  include <abstractions/base>\n  include \"{}\"\n}}\n",
        rules.display()
    );
    let said = succeeds(Command::new("/sbin/apparmor_parser").args(["-Q", "-K"]).arg(file("profile", &profile)));
    assert!(!said.to_lowercase().contains("error"), "{said}");
    // Who has no_new_privs can enter no other profile: logjam stays in that of rsyslogd.
    let rules = std::fs::read_to_string(&rules).unwrap();
    assert!(rules.contains("\n  /usr/bin/logjam mrix,\n") && !rules.contains("profile logjam"), "{rules}");

    let module = file("logjam.te", &printed(&["selinux"]));
    succeeds(Command::new("checkmodule").args(["-M", "-m", "-o"]).arg(work.path().join("logjam.mod")).arg(module));
}

/// The value of `systemd-analyze security`, 0.0 (shut in) to 10.0 (open).
fn exposure(unit: &Path) -> f64 {
    let mut analyze = Command::new("systemd-analyze");
    let said = succeeds(analyze.args(["security", "--offline=true", "--no-pager"]).arg(unit));
    let (_, value) =
        said.split_once("Overall exposure level for ").and_then(|(_, rest)| rest.split_once(": ")).expect(&said);
    value.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_services_are_sound_and_shut_in() {
    let work = tempfile::tempdir().unwrap();
    // A program that is there, so that systemd finds it.
    let settings: [&[&str]; 2] =
        [&[], &["--dir=/srv/my logs", "--user=syslog", "s3://logs/100% {prefix}/{year}/{month}/{day}/{filename}"]];
    for unit in ["upload", "compress"] {
        for settings in settings {
            let text = printed(&[&["systemd", &format!("--unit={unit}")[..]], settings].concat());
            let path = work.path().join(format!("logjam-{unit}.service"));
            std::fs::write(&path, text.replace("/usr/bin/logjam ", &format!("{} ", cli::LOGJAM))).unwrap();
            let said = succeeds(
                Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&path),
            );
            let ours: Vec<_> = said.lines().filter(|line| line.contains(&format!("logjam-{unit}.service"))).collect();
            assert!(ours.is_empty(), "{ours:#?}");
            let value = exposure(&path);
            println!("systemd-analyze security --offline=true logjam-{unit}.service: {value}");
            assert!(value <= 2.5, "logjam-{unit}.service: {value}");
        }
    }
}

/// The system calls of one of systemd's groups.
fn group(name: &str) -> BTreeSet<String> {
    let said = succeeds(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]));
    let names = said.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let of = |name: &str| if name.starts_with('@') { group(name) } else { BTreeSet::from([name.to_owned()]) };
    names.flat_map(of).collect()
}

/// What a service's filters leave.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (names, takes) = line.strip_prefix('~').map_or((line, false), |names| (names, true));
        for name in names.split_whitespace() {
            let calls = if name.starts_with('@') { group(name) } else { BTreeSet::from([name.to_owned()]) };
            allowed = if takes { &allowed - &calls } else { &allowed | &calls };
        }
    }
    allowed
}

#[test]
fn the_services_may_do_what_they_have_to() {
    let spool = hour(100);
    let packed = spool.write("archive/syslog-20261121T0200Z-web-1.log.gz", noise(100, 1));
    let (archive, dest) = (packed.parent().unwrap().display().to_string(), spool.beside("dest").display().to_string());
    let dest = format!("file://{dest}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}");
    let server = S3Server::start_tls();
    server.create_bucket("logs");
    let far = Spool::new();
    far.write("archive/syslog-20261121T0200Z-web-1.log.gz", noise(100, 1));
    let away = far.path("archive").display().to_string();
    let traced = |arguments: &[&str]| {
        let trace = spool.beside("trace");
        let mut strace = clean("strace");
        strace.args(["-f", "-o"]).arg(&trace).arg(cli::LOGJAM).args(arguments);
        strace.envs(server.environment()).env("SSL_CERT_FILE", S3Server::ca_file());
        run(strace).code_is(0);
        let text = std::fs::read_to_string(&trace).unwrap();
        let call = |line: &str| Some(line.split_once(' ')?.1.trim_start().split_once('(')?.0.to_owned());
        let is_name = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        text.lines().filter_map(call).filter(is_name).collect::<BTreeSet<String>>()
    };
    // It has really spoken to a server.
    let upload = [traced(&["upload", &archive, &dest, "--once"]), traced(&["upload", &away, DEST, "--once"])];
    assert!(upload[1].contains("connect"), "{:?}", upload[1]);
    for (unit, runs) in [("compress", vec![traced(&["compress", &spool.arg(), "--once"])]), ("upload", upload.to_vec())]
    {
        let allowed = allowed(&printed(&["systemd", &format!("--unit={unit}")]));
        for used in runs {
            assert!(used.contains("openat") && used.contains("fdatasync"), "{used:?}");
            let refused: Vec<_> = used.difference(&allowed).collect();
            assert!(refused.is_empty(), "logjam-{unit}.service refuses {refused:?}");
        }
    }
}

#[test]
fn settings_that_a_file_can_not_hold_are_refused_with_the_mend() {
    for (arguments, words) in [
        (&["rsyslog", "s3://logs/a b/{prefix}/{year}/{month}/{day}/{filename}"][..], "splits its commands at blanks"),
        (&["iam", "file:///srv/{prefix}/{year}/{month}/{day}/{filename}"], "give an s3:// DEST"),
        (
            &["systemd", "file:///srv/{prefix}/{year}/{month}/{day}/{filename}", "--sse=AES256"],
            "--sse: goes with an s3:// DEST only",
        ),
        (&["iam", "--kms-key-id=k"], "goes with --sse=aws:kms only"),
        (&["rsyslog", "--dir=logs"], "is not absolute"),
        (&["lifecycle", "--transition=3:GLACIER,1:DEEP_ARCHIVE"], "does not lead on"),
    ] {
        run(logjam(["policy"].iter().chain(arguments))).code_is(2).says(words);
    }
}

// ---------------------------------------------------------------------------------------------------- rights, by moto

/// moto, which enforces what the user may do.
struct Moto {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    environment: Vec<(&'static str, String)>,
}

impl Moto {
    fn start() -> Self {
        let folder = std::env::var_os("LOGJAM_MOTO").map(PathBuf::from);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = folder.unwrap_or(root.join("target/moto")).join("bin/python");
        let mut command = clean(&python);
        command.arg(root.join("tests/support/enforcing.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e} (tests/install-debian)", python.display()));
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut moto = Self { child, asks, answers, environment: Vec::new() };
        let [endpoint, access, secret]: [String; 3] = serde_json::from_value(moto.answer()).unwrap();
        moto.environment =
            vec![("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)];
        moto
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
    }

    #[track_caller]
    fn ask(&mut self, what: Value) -> Value {
        writeln!(self.asks, "{what}").unwrap();
        self.answer()
    }

    /// How many checkpoints there are.
    fn checkpoints(&mut self) -> usize {
        self.ask(json!({ "keys": true })).to_string().matches("\".logjam/checkpoint/").count()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = logjam(arguments);
        command.envs(self.environment.clone());
        command
    }

    fn upload(&self, spool: &Spool, more: &[&str]) -> cli::Ended {
        let archive = spool.path("archive").display().to_string();
        run(self
            .command(&[&["upload", &archive, DEST, "--once", "--part-size=5MiB", "--log-level=debug"], more].concat()))
    }

    /// The preflight, which has to find what the run will lack.
    fn check(&self, more: &[&str]) -> cli::Ended {
        let spool = Spool::new();
        let options = [STREAM, "--suffix=web-1", "--root=/nonexistent"];
        run(self.command(&[&["check", &spool.arg(), DEST], &options[..], more].concat()))
    }

    fn pipe(&self, spool: &Spool) -> cli::Ended {
        run(self.command(&["pipe", &spool.arg(), DEST, "--once", STREAM, "--suffix=web-1", "--part-size=5MiB"]))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Each policy that lacks one of the rights, with the name of that.
fn without_each(policy: &Value) -> Vec<(String, String, Value)> {
    let mut lacking = Vec::new();
    for (s, statement) in policy["Statement"].as_array().unwrap().iter().enumerate() {
        for (a, action) in statement["Action"].as_array().unwrap().iter().enumerate() {
            let mut less = policy.clone();
            less["Statement"][s]["Action"].as_array_mut().unwrap().remove(a);
            // A statement has to speak of something.
            less["Statement"].as_array_mut().unwrap().retain(|s| !s["Action"].as_array().unwrap().is_empty());
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            lacking.push((text(&statement["Sid"]), text(action), less));
        }
    }
    lacking
}

/// A spool with an hour that is over: large ones are sent in parts.
fn hour(bytes: usize) -> Spool {
    let spool = Spool::new();
    let mut text = noise(bytes, 7);
    text.push(b'\n');
    spool.write(NAME, text);
    spool
}

const LARGE: usize = 7 * MIB;

#[test]
fn writing_goes_with_exactly_the_printed_rights_and_without_any_of_them_the_right_is_named() {
    let mut moto = Moto::start();
    let write = policy(&["iam", DEST]);
    moto.ask(json!({ "rights": write }));
    moto.check(&[]).code_is(0);
    // A small hour and one in parts, and, while they wait, a checkpoint.
    moto.pipe(&hour(100)).code_is(0);
    let large = Spool::new();
    large.write("syslog-20261121T0100Z-web-1.log", [noise(LARGE, 3), b"\n".to_vec()].concat());
    moto.pipe(&large).code_is(0);
    assert_eq!(checkpointed(&mut moto, "web-1"), "");
    let keys = moto.ask(json!({ "keys": true }));
    let keys: Vec<_> = keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    let of = |begin: &str| keys.iter().filter(|key| key.starts_with(begin)).count();
    assert_eq!((of("syslog/2026/11/21/syslog-"), of("syslog/2026/11/21/_syslog-")), (2, 2), "{keys:?}");
    assert_eq!(of(".logjam/checkpoint/syslog/"), 1, "{keys:?}");

    let mut tried = BTreeSet::new();
    for (sid, action, less) in without_each(&write) {
        moto.ask(json!({ "rights": less }));
        moto.check(&[]).code_is(1).says(&format!("needs the right {action} on the key"));
        match (sid.as_str(), action.as_str()) {
            ("LogjamObjects", "s3:PutObject") => {
                _ = moto.pipe(&hour(100)).code_is(1).says("needs the right s3:PutObject on the key");
            }
            // Other content at the key of an upload in parts: that is given up.
            ("LogjamObjects", "s3:AbortMultipartUpload") => {
                moto.ask(json!({ "put": KEY, "data": "other" }));
                _ = moto.pipe(&hour(LARGE)).code_is(1).says("needs the right s3:AbortMultipartUpload on the key");
            }
            ("LogjamCheckpoints", "s3:PutObject") => {
                let said = checkpointed(&mut moto, "web-1");
                assert!(said.contains("needs the right s3:PutObject on the key"), "{said}");
            }
            other => panic!("{other:?}: not shown to be needed"),
        }
        tried.insert(format!("{sid} {action}"));
    }
    assert_eq!(tried.len(), 3, "{tried:?}");
}

/// What a pipe says when it is refused its first checkpoint; nothing if that is stored.
fn checkpointed(moto: &mut Moto, suffix: &str) -> String {
    let before = moto.checkpoints();
    let spool = Spool::new();
    let suffix = format!("--suffix={suffix}");
    let mut command = moto.command(&["pipe", &spool.arg(), DEST, STREAM, &suffix, "--checkpoint=1s", "--no-guard"]);
    let (input, output) = std::io::pipe().unwrap();
    command.stdin(input);
    let pipe = Running::start(command);
    (&output).write_all(b"a line\n").unwrap();
    let mut refused = String::new();
    pipe.until("a checkpoint is stored or refused", || {
        refused = pipe.said().lines().filter(|line| line.contains("replace s3://logs/.logjam/checkpoint/")).collect();
        !refused.is_empty() || moto.checkpoints() > before
    });
    pipe.kill();
    refused
}

#[test]
fn what_recognises_its_own_objects_needs_two_rights_more_and_without_them_says_so() {
    let mut moto = Moto::start();
    let all = policy(&["iam", DEST, "--role=write,recognise"]);
    moto.ask(json!({ "rights": all }));
    let spool = hour(100);
    moto.pipe(&spool).code_is(0);
    // As after a crash between the object and its receipt.
    let forget = |spool: &Spool| std::fs::remove_file(spool.receipt(&format!("{NAME}.gz"))).unwrap();
    forget(&spool);
    moto.upload(&spool, &[]).code_is(0);
    let objects = |moto: &mut Moto| moto.ask(json!({ "keys": true })).to_string().matches("/syslog-").count();
    assert_eq!(objects(&mut moto), 1);

    moto.check(&[]).code_is(0).says("ok   uploads: ");
    let lacking = |action: &str| without_each(&all).into_iter().find(|(_, lacks, _)| lacks == action).unwrap().2;
    moto.ask(json!({ "rights": lacking("s3:ListBucketMultipartUploads") }));
    moto.check(&[]).code_is(0).says("note uploads: ");
    moto.ask(json!({ "rights": lacking("s3:GetObject") }));
    moto.check(&[]).code_is(0).says("note read: ");
    forget(&spool);
    moto.upload(&spool, &[]).code_is(0).says("needs the right s3:GetObject on the key");
    assert_eq!(objects(&mut moto), 2, "it got a name of its own");

    // As after a crash between an upload in parts and the answer that named it.
    let doubtful = |hour: &str| {
        let spool = Spool::new();
        let name = format!("syslog-20261121T{hour}00Z-web-1.log.gz");
        let file = spool.write(&format!("archive/{name}"), noise(LARGE, 5));
        let (meta, key) = (std::fs::metadata(&file).unwrap(), format!("syslog/2026/11/21/{name}"));
        let journal = json!({ "version": 2, "store": "s3://logs", "key": key, "file": [meta.dev(), meta.ino()], "part_size": 5 * MIB });
        spool.write(&format!(".logjam/upload/{name}"), format!("{journal}\n"));
        spool
    };
    moto.ask(json!({ "rights": lacking("s3:ListBucketMultipartUploads") }));
    moto.upload(&doubtful("02"), &[]).code_is(0).says("needs the right s3:ListBucketMultipartUploads on the bucket");
    moto.ask(json!({ "rights": all }));
    let said = moto.upload(&doubtful("03"), &[]).code_is(0).said;
    assert!(!said.contains("needs the right"), "{said}");
    assert_eq!(moto.ask(json!({ "uploads": true })), json!([]));
}

#[test]
fn reading_and_rescue_go_with_exactly_the_printed_rights_and_without_any_of_them_the_right_is_named() {
    let mut moto = Moto::start();
    moto.ask(json!({ "rights": policy(&["iam", DEST]) }));
    moto.pipe(&hour(100)).code_is(0);
    let html = tempfile::tempdir().unwrap();
    let html = format!("--html={}", html.path().join("page.html").display());
    let commands: [&[&str]; 5] =
        [&["ls", DEST], &["cat", DEST], &["grep", ".", DEST], &["verify", DEST, "--deep"], &["report", DEST, &html]];
    let read = policy(&["iam", DEST, "--role=read"]);
    moto.ask(json!({ "rights": read }));
    for command in commands {
        run(moto.command(command)).code_is(0);
    }
    for (sid, action, less) in without_each(&read) {
        moto.ask(json!({ "rights": less }));
        for command in commands {
            let needs = match (sid.as_str(), command[0]) {
                ("LogjamBucket", _) => true,
                // A listing tells all that `ls` asks for.
                ("LogjamObjects", command) => command != "ls",
                _ => false,
            };
            let ended = run(moto.command(command));
            assert_eq!(
                ended.said.contains(&format!("needs the right {action} on")),
                needs,
                "{command:?}: {}",
                ended.said
            );
            assert_eq!(ended.code == Some(0), !needs, "{command:?}: {}", ended.said);
        }
    }

    // A host that is lost with its open hour.
    moto.ask(json!({ "rights": policy(&["iam", DEST]) }));
    assert_eq!(checkpointed(&mut moto, "lost"), "");
    let rescue = policy(&["iam", DEST, "--role=rescue"]);
    let command = ["rescue", DEST, "--older-than=0s"];
    let mut lacking = without_each(&rescue);
    // What is saved without the right to mark it is known again: so this is the last one.
    lacking.sort_by_key(|(sid, action, _)| (&**sid, &**action) == ("LogjamCheckpoints", "s3:PutObject"));
    // These are for uploads that somebody else left open.
    lacking.retain(|(_, action, _)| !["s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads"].contains(&&**action));
    assert_eq!(lacking.len(), 5);
    for (_, action, less) in lacking {
        moto.ask(json!({ "rights": less }));
        run(moto.command(&command)).code_is(1).says(&format!("needs the right {action} on"));
    }
    moto.ask(json!({ "rights": rescue }));
    run(moto.command(&command)).code_is(0);
    assert!(moto.ask(json!({ "keys": true })).to_string().contains("-lost.log.gz"));
}

#[test]
fn the_lifecycle_is_taken_by_a_server_and_says_what_it_is_meant_to() {
    let mut moto = Moto::start();
    let rules = moto.ask(json!({ "lifecycle": policy(&["lifecycle", DEST]) }));
    let texts: Vec<String> = rules.as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(texts.len(), 3);
    for (rule, words) in texts.iter().zip([
        &["\"DaysAfterInitiation\":7"][..],
        &["\"Days\":30,\"StorageClass\":\"STANDARD_IA\"", "\"Days\":180,\"StorageClass\":\"GLACIER_IR\""],
        &["\"Prefix\":\".logjam/checkpoint/\"", "\"NoncurrentDays\":1"],
    ]) {
        for words in words {
            assert!(rule.contains(words), "{words} is missing in {rule}");
        }
    }
}

// ---------------------------------------------------------------------------------- rights and rules, by the judge

const KMS: &str = "arn:aws:kms:us-east-1:111122223333:key/1234";
const ENCRYPTED: [&str; 3] =
    ["--sse=aws:kms", "--kms-key-id=arn:aws:kms:us-east-1:111122223333:key/1234", "--tag=team=ops"];

/// Stores an hour, in parts if it is large.
fn stored(server: &S3Server, bytes: usize, options: &[&str]) -> cli::Ended {
    let spool = hour(bytes);
    let arguments = ["pipe", &spool.arg(), DEST, "--once", STREAM, "--suffix=web-1", "--part-size=5MiB"];
    let mut command = logjam(arguments.iter().chain(options));
    command.envs(server.environment()).env("SSL_CERT_FILE", S3Server::ca_file());
    run(command)
}

fn judged(server: &S3Server, rights: &Rights) {
    let rights = rights.clone();
    server.set_fault(move |seen| rights.judge(seen));
}

fn anew(server: &S3Server) {
    server.remove_bucket("logs");
    server.create_bucket("logs");
}

#[test]
fn tags_and_a_key_of_ones_own_need_the_rights_that_are_printed_for_them_and_no_less() {
    let server = S3Server::start();
    let iam = policy(&[&["iam", DEST], &ENCRYPTED[..]].concat());
    let mut rights = Rights { iam: iam.clone(), bucket: None, key: Some(KMS.to_owned()), tls: false };
    judged(&server, &rights);
    for bytes in [100, LARGE] {
        anew(&server);
        stored(&server, bytes, &ENCRYPTED).code_is(0);
    }
    let mut named = 0;
    for (sid, action, less) in without_each(&iam) {
        if sid == "LogjamCheckpoints" || action == "s3:AbortMultipartUpload" {
            continue;
        }
        rights.iam = less;
        judged(&server, &rights);
        anew(&server);
        stored(&server, LARGE, &ENCRYPTED).code_is(1).says("AccessDenied").says(&action);
        named += 1;
    }
    assert_eq!(named, 4);
}

#[test]
fn under_the_printed_policy_of_the_bucket_archives_are_stored_and_nothing_else_is_possible() {
    let iam = policy(&["iam", DEST, "--role=write,recognise"]);
    let bucket = policy(&[&["bucket", DEST], &ENCRYPTED[..]].concat());
    let rights = Rights { iam, bucket: Some(bucket), key: None, tls: true };
    let server = S3Server::start_tls();
    judged(&server, &rights);
    let options = &ENCRYPTED[..2];
    for bytes in [100, LARGE] {
        anew(&server);
        stored(&server, bytes, options).code_is(0);
    }
    // Without encryption that is asked for, the bucket's own is used; another one is refused.
    anew(&server);
    stored(&server, 100, &[]).code_is(0);
    anew(&server);
    stored(&server, 100, &["--sse=AES256"]).code_is(1).says("AccessDenied");
    stored(&server, 100, &["--sse=aws:kms", "--kms-key-id=arn:aws:kms:us-east-1:111122223333:key/other"])
        .code_is(1)
        .says("AccessDenied");

    // What stands can't be replaced, checkpoints aside; and there is no way around TLS.
    let seen = |key: &str, headers: &[(&str, &str)]| server::Seen {
        method: "PUT".into(),
        bucket: "logs".into(),
        key: key.into(),
        query: String::new(),
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    let served = |rights: &Rights, seen: &server::Seen| matches!(rights.judge(seen), server::Fault::None);
    assert!(served(&rights, &seen(KEY, &[("if-none-match", "*")])));
    assert!(!served(&rights, &seen(KEY, &[])), "it would replace an archive");
    assert!(served(&rights, &seen(".logjam/checkpoint/syslog/web-1.0.0", &[])));
    assert!(!served(&Rights { tls: false, ..rights.clone() }, &seen(KEY, &[("if-none-match", "*")])));
}
