//! Where `logjam` finds its credentials, its region and its server: the environment, the files and the endpoints that the
//! AWS tools know. The real binary, in an environment that holds nothing else; each way ends with an object in a bucket.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::cli::{self, LOGJAM, Running, Spool, logjam, run};
use crate::server::{self, ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use crate::sts::{self, Endpoint, TOKEN};
use nix::sys::signal::Signal;
use std::io::{PipeWriter, Write};
use std::path::PathBuf;
use std::process::Command;

const DEST: &str = "s3://logs/{prefix}/{year}{month}{day}/{filename}";
/// What must never be said.
const SECRETS: [&str; 5] = [SECRET_KEY, TOKEN, WRONG_SECRET, WEB_TOKEN, AGENT_TOKEN];
const WRONG_SECRET: &str = "a-secret-that-opens-nothing";
const WEB_TOKEN: &str = "the-web-identity-token";
const AGENT_TOKEN: &str = "the-container-agent-token";

/// A server with a bucket, and a host of which only the files are there that a test writes.
struct Host {
    server: S3Server,
    spool: Spool,
}

impl Host {
    fn new() -> Self {
        let server = S3Server::start();
        server.create_bucket("logs");
        Self { server, spool: Spool::new() }
    }

    /// Writes a file of the host.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.spool.beside(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `logjam pipe` that knows neither server, region nor credentials.
    fn bare(&self, options: &[&str]) -> Command {
        let mut command = Command::new(LOGJAM);
        command.env_clear().env("HOME", self.spool.beside("")).env("AWS_EC2_METADATA_DISABLED", "true");
        command.args(["pipe", &self.spool.arg(), DEST, "--suffix=host"]).args(options);
        command
    }

    /// The same, but it knows the server.
    fn command(&self, options: &[&str]) -> Command {
        let mut command = self.bare(options);
        command.env("AWS_ENDPOINT_URL", self.server.endpoint());
        command
    }

    /// Runs a command on one line until that is stored: what it said.
    #[track_caller]
    fn stores(&self, mut command: Command) -> String {
        self.server.clear_requests();
        let before = self.server.keys("logs").len();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let running = Running::start({
            command.args(["--once", "--log-level=debug"]).stdin(reader);
            command
        });
        writer.write_all(b"a line\n").unwrap();
        drop(writer);
        let ended = running.end().code_is(0).says("stored s3://logs/");
        assert_eq!(self.server.keys("logs").len(), before + 1);
        assert_silence(&ended.said);
        ended.said
    }

    /// The region that the last object was signed for.
    fn region(&self) -> String {
        let requests = self.server.requests();
        requests.iter().rev().find(|seen| seen.is_upload()).unwrap().region().unwrap().to_owned()
    }

    /// Asserts that the last object was stored with the session token that the endpoints hand out.
    #[track_caller]
    fn assert_session(&self) {
        let requests = self.server.requests();
        let upload = requests.iter().rev().find(|seen| seen.is_upload()).unwrap();
        assert_eq!(upload.header("x-amz-security-token"), Some(TOKEN));
    }

    /// Starts a command, and ends an hour of one line.
    fn begin(&self, mut command: Command) -> (Running, PipeWriter) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let running = Running::start({
            command.stdin(reader);
            command
        });
        writer.write_all(b"a line\n").unwrap();
        running.until("the line is on the disk", || {
            let names = cli::names(&self.spool.dir());
            names.iter().any(|name| {
                name.ends_with(".log") && std::fs::read(self.spool.path(name)).is_ok_and(|text| text == b"a line\n")
            })
        });
        running.signal(Signal::SIGUSR1);
        (running, writer)
    }
}

/// The variables with the right credentials.
fn keys() -> [(&'static str, &'static str); 2] {
    [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
}

/// The section of a file of credentials.
fn section(profile: &str, secret: &str) -> String {
    format!("[{profile}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}\n")
}

#[track_caller]
fn assert_silence(said: &str) {
    for secret in SECRETS {
        assert!(!said.contains(secret), "{secret} was said:\n{said}");
    }
}

// ------------------------------------------------------------------------------------------------------------- region

#[test]
fn the_region_comes_from_the_option_then_the_environment_then_the_profile() {
    let host = Host::new();
    let config = host.file("config", "[default]\nregion = eu-south-1\n[profile other]\nregion = sa-east-1\n");
    let command = |options: &[&str], variables: &[(&str, &str)]| {
        let mut command = host.command(options);
        command.envs(keys()).env("AWS_CONFIG_FILE", &config).envs(variables.iter().copied());
        command
    };
    let (first, second) = (("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2"));
    for (options, variables, region) in [
        (&["--region=eu-north-1"][..], &[first, second][..], "eu-north-1"),
        (&[], &[("LOGJAM_REGION", "eu-north-1"), first], "eu-north-1"),
        (&[], &[first, second], "eu-west-1"),
        (&[], &[second], "eu-west-2"),
        (&[], &[("AWS_REGION", ""), second], "eu-west-2"),
        (&[], &[], "eu-south-1"),
        (&[], &[("AWS_PROFILE", "other")], "sa-east-1"),
        (&["--profile=other"], &[], "sa-east-1"),
        (&["--profile=other"], &[second], "eu-west-2"),
    ] {
        host.stores(command(options, variables));
        assert_eq!(host.region(), region, "with {options:?} and {variables:?}");
    }
}

#[test]
fn another_server_than_amazons_needs_no_region() {
    let host = Host::new();
    let mut command = host.command(&[]);
    command.envs(keys());
    host.stores(command);
    assert_eq!(host.region(), "us-east-1");
}

// ----------------------------------------------------------------------------------------------------------- endpoint

#[test]
fn the_endpoint_comes_from_the_option_then_the_variable_of_s3_then_that_of_all_services() {
    let host = Host::new();
    let wrong = "http://127.0.0.1:9";
    let right = host.server.endpoint();
    let option = format!("--endpoint-url={right}");
    let command = |options: &[&str], variables: &[(&str, &str)]| {
        let mut command = host.bare(options);
        command.envs(keys()).env("AWS_REGION", "us-east-1").envs(variables.iter().copied());
        command
    };
    host.stores(command(&[], &[("AWS_ENDPOINT_URL", &right)]));
    host.stores(command(&[], &[("AWS_ENDPOINT_URL", wrong), ("AWS_ENDPOINT_URL_S3", &right)]));
    host.stores(command(&[&option], &[("AWS_ENDPOINT_URL", wrong), ("AWS_ENDPOINT_URL_S3", wrong)]));
    let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    host.stores(command(&[&option], &[("AWS_ENDPOINT_URL", wrong), ("AWS_ENDPOINT_URL_S3", wrong), ignored]));
}

#[test]
fn a_password_in_an_endpoint_is_refused_wherever_it_stands_and_said_nowhere() {
    let host = Host::new();
    let with_password = host.server.endpoint().replace("://", "://user:hunter2@");
    let refused = "has a user or password in it, which S3 has no use for, and everybody could read";
    for variable in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let mut command = host.bare(&["--log-level=debug"]);
        command.envs(keys()).env(variable, &with_password);
        let said = run(command).code_is(2).says(&format!("{variable}: {refused}")).said;
        assert!(!said.contains("hunter2"), "{said}");
    }
    for config in [
        format!("[default]\nendpoint_url = {with_password}\n"),
        format!("[default]\nservices = s\n[services s]\ns3 =\n  endpoint_url = {with_password}\n"),
    ] {
        let file = host.file("config", &config);
        let mut command = host.bare(&["--log-level=debug"]);
        command.envs(keys()).env("AWS_CONFIG_FILE", &file).env("AWS_REGION", "us-east-1");
        let (running, _input) = host.begin(command);
        let said = format!("endpoint_url of the profile default: {refused}");
        running.until("the profile is named", || running.count(&said) > 0);
        let status = run(logjam(["status", &host.spool.arg()])).said;
        assert!(!running.said().contains("hunter2") && !status.contains("hunter2"), "{}\n{status}", running.said());
        let mut check = logjam(["check", &host.spool.arg(), DEST, "--root=/nonexistent"]);
        check.env("AWS_CONFIG_FILE", &file);
        let said = run(check).code_is(1).says(&said).said;
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_endpoint_may_stand_in_the_profile() {
    let host = Host::new();
    let right = host.server.endpoint();
    for config in [
        format!("[default]\nregion = eu-west-1\nendpoint_url = {right}\n"),
        format!("[default]\nregion = eu-west-1\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = {right}\n"),
    ] {
        // A server that knows less than S3, to see that it is taken for another than Amazon's.
        host.server.set_fault(server::without_both);
        let mut command = host.bare(&[]);
        command.envs(keys()).env("AWS_CONFIG_FILE", host.file("config", &config));
        host.stores(command);
        assert_eq!(host.region(), "eu-west-1");
    }
}

// -------------------------------------------------------------------------------------------------------- credentials

#[test]
fn a_profile_that_is_asked_for_comes_before_the_environment() {
    let host = Host::new();
    let file = host.file("credentials", &section("archive", SECRET_KEY));
    let command = |profile: &str| {
        let mut command = host.command(&[profile]);
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", WRONG_SECRET);
        command.env("AWS_SHARED_CREDENTIALS_FILE", &file);
        command
    };
    host.stores(command("--profile=archive"));
    // A mistyped one is not passed over.
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"a line\n").unwrap();
    drop(writer);
    let output = command("--profile=archiv").arg("--once").stdin(reader).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("archiv") && said.contains("not defined"), "{said}");
}

#[test]
fn a_profile_of_the_credentials_file_opens_the_bucket() {
    let host = Host::new();
    let text = section("default", WRONG_SECRET) + &section("archive", SECRET_KEY);
    let file = host.file("credentials", &text);
    for (options, variable) in [
        (&["--profile=archive"][..], None),
        (&[], Some(("AWS_PROFILE", "archive"))),
        (&["--profile=archive"], Some(("AWS_PROFILE", "default"))),
    ] {
        let mut command = host.command(options);
        command.env("AWS_SHARED_CREDENTIALS_FILE", &file).envs(variable);
        host.stores(command);
    }
}

#[test]
fn the_files_in_the_home_directory_count() {
    let host = Host::new();
    std::fs::create_dir(host.spool.beside(".aws")).unwrap();
    host.file(".aws/credentials", &section("default", SECRET_KEY));
    host.file(".aws/config", "[default]\nregion = eu-west-3\n");
    host.stores(host.command(&[]));
    assert_eq!(host.region(), "eu-west-3");
}

#[test]
fn a_program_named_in_the_profile_may_print_the_credentials() {
    let host = Host::new();
    let printed = format!(
        "{{\"Version\":1,\"AccessKeyId\":\"{ACCESS_KEY}\",\"SecretAccessKey\":\"{SECRET_KEY}\",\"SessionToken\":\"{TOKEN}\"}}"
    );
    let printed = host.file("printed", &printed);
    let config = format!("[default]\ncredential_process = /bin/cat {}\n", printed.display());
    let mut command = host.command(&[]);
    command.env("AWS_CONFIG_FILE", host.file("config", &config)).env("PATH", "/usr/bin:/bin");
    host.stores(command);
    host.assert_session();
}

#[test]
fn a_web_identity_is_exchanged_for_a_role() {
    let host = Host::new();
    let sts = Endpoint::sts(ACCESS_KEY, SECRET_KEY);
    let token = host.file("token", WEB_TOKEN);
    let option = format!("--endpoint-url={}", host.server.endpoint());
    // With the option, the server of the bucket is not asked for the role.
    for mut command in [host.command(&[]), host.bare(&[&option])] {
        command
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
            .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/archive");
        command.env("AWS_ENDPOINT_URL_STS", sts.url()).env("AWS_REGION", "us-east-1");
        host.stores(command);
        host.assert_session();
        let asked = sts.asked().pop().unwrap();
        assert_eq!(asked.field("Action"), Some("AssumeRoleWithWebIdentity"));
        assert_eq!(asked.field("WebIdentityToken"), Some(WEB_TOKEN));
        assert_eq!(asked.field("RoleArn"), Some("arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Farchive"));
    }
    assert!(host.server.requests().iter().all(|seen| !seen.key.is_empty() && seen.method != "POST"));
}

#[test]
fn a_profile_may_assume_a_role_with_the_keys_of_another() {
    let host = Host::new();
    let sts = Endpoint::sts(ACCESS_KEY, SECRET_KEY);
    let config =
        "[profile archive]\nregion = eu-west-1\nrole_arn = arn:aws:iam::1:role/archive\nsource_profile = base\n";
    let mut command = host.command(&["--profile=archive"]);
    command.env("AWS_CONFIG_FILE", host.file("config", config)).env("AWS_ENDPOINT_URL_STS", sts.url());
    command.env("AWS_SHARED_CREDENTIALS_FILE", host.file("credentials", &section("base", WRONG_SECRET)));
    host.stores(command);
    host.assert_session();
    assert_eq!(host.region(), "eu-west-1");
    assert_eq!(sts.asked()[0].field("Action"), Some("AssumeRole"));
    assert!(sts.asked()[0].header("authorization").is_some_and(|signed| signed.contains("/eu-west-1/sts/")));
}

#[test]
fn a_container_gets_its_credentials_from_the_agent() {
    let host = Host::new();
    let agent = Endpoint::start(|asked| match (asked.path.as_str(), asked.header("authorization")) {
        ("/creds", Some(AGENT_TOKEN)) => (200, sts::json(ACCESS_KEY, SECRET_KEY)),
        _ => (403, String::new()),
    });
    let mut command = host.command(&[]);
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/creds", agent.url()));
    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", AGENT_TOKEN);
    host.stores(command);
    host.assert_session();
}

#[test]
fn an_instance_gets_the_credentials_of_its_role_from_the_metadata_service() {
    let host = Host::new();
    let folder = "/latest/meta-data/iam/security-credentials/";
    let metadata = Endpoint::start(move |asked| {
        let signed = asked.header("x-aws-ec2-metadata-token") == Some("the-metadata-token");
        match (asked.method.as_str(), asked.path.strip_prefix(folder)) {
            ("PUT", _) if asked.path == "/latest/api/token" => (200, "the-metadata-token".to_owned()),
            ("GET", Some("")) if signed => (200, "archive-role".to_owned()),
            ("GET", Some("archive-role")) if signed => (200, sts::json(ACCESS_KEY, SECRET_KEY)),
            _ => (if signed { 404 } else { 401 }, String::new()),
        }
    });
    let mut command = host.command(&[]);
    command.env_remove("AWS_EC2_METADATA_DISABLED").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url());
    host.stores(command);
    host.assert_session();
}

// ------------------------------------------------------------------------------------------------------------- faults

#[test]
fn credentials_that_appear_later_are_picked_up_without_a_restart() {
    let host = Host::new();
    let mut command = host.command(&[]);
    command.env("AWS_SHARED_CREDENTIALS_FILE", host.spool.beside("credentials"));
    let (running, _input) = host.begin(command);
    running.until("the lack is said", || running.count("no credentials") == 1);
    assert!(host.server.keys("logs").is_empty());
    // As `aws configure` does it: whole, or not at all.
    let draft = host.file("draft", &section("default", SECRET_KEY));
    std::fs::rename(draft, host.spool.beside("credentials")).unwrap();
    running.until("the hour is stored", || host.server.has_told("logs", 1));
    running.until("the mend is said", || running.count("it works again") == 1);
    assert_eq!(running.count("WARN"), 1, "{}", running.said());
}

#[test]
fn credentials_that_were_wrong_or_expired_are_read_anew() {
    let expired = section("default", SECRET_KEY) + "aws_session_token = old\n";
    for (old, word) in [
        (section("default", WRONG_SECRET), "the credentials are wrong: check the access key and its secret"),
        (expired, "the credentials have expired: renew them"),
    ] {
        let host = Host::new();
        host.server.set_fault(|seen| match seen.header("x-amz-security-token") {
            Some("old") => Fault::refuse(400, "ExpiredToken"),
            _ => Fault::None,
        });
        let file = host.file("credentials", &old);
        let mut command = host.command(&[]);
        command.env("AWS_SHARED_CREDENTIALS_FILE", &file);
        let (running, _input) = host.begin(command);
        running.until("the refusal is said", || running.count(word) == 1);
        std::fs::rename(host.file("draft", &section("default", SECRET_KEY)), &file).unwrap();
        running.until("the hour is stored", || host.server.has_told("logs", 1));
        running.until("the mend is said", || running.count("it works again") == 1);
        assert_eq!(running.count("WARN"), 1, "{}", running.said());
        assert_silence(&running.said());
    }
}

#[test]
fn without_credentials_one_line_says_what_to_give_and_the_archives_wait() {
    let host = Host::new();
    let (running, input) = host.begin(host.command(&[]));
    running.until("the lack is said", || running.count("no credentials") == 1);
    drop(input);
    let said = running.end().code_is(0).said;
    let lines: Vec<_> = said.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    for word in ["s3://logs/", "no credentials", "AWS_ACCESS_KEY_ID", "--profile", "archives wait on the disk"] {
        assert!(lines[0].contains(word), "{word} is missing in {}", lines[0]);
    }
    let archives: Vec<_> = host.spool.archived().into_iter().filter(|name| name.ends_with(".gz")).collect();
    assert_eq!(archives.len(), 1);
    assert_eq!(host.spool.plain(&archives[0]), b"a line\n");
    // With credentials the next start stores what waits.
    let mut command = host.command(&["--once"]);
    command.envs(keys());
    cli::run(command).code_is(0);
    assert_eq!(host.server.keys("logs").len(), 1);
}

#[test]
fn with_once_missing_credentials_end_the_program_with_a_message() {
    let host = Host::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"a line\n").unwrap();
    drop(writer);
    let mut command = host.command(&["--once"]);
    command.stdin(reader);
    // A lack of credentials may be mended any moment, so it waits a while first: a signal cuts that short.
    let running = Running::start(command);
    running.until("the lack is said", || running.count("no credentials") == 1);
    running.signal(Signal::SIGTERM);
    let ended = running.end().code_is(1).says("told to leave before it was stored");
    assert_silence(&ended.said);
}

#[test]
fn a_profile_that_does_not_exist_is_named() {
    let host = Host::new();
    let file = host.file("credentials", &section("archive", SECRET_KEY));
    let mut command = host.command(&["--profile=archiv"]);
    command.env("AWS_SHARED_CREDENTIALS_FILE", &file);
    let (running, _input) = host.begin(command);
    running.until("the lack is said", || running.count("no credentials") == 1);
    running.until("the profile is named", || running.count("profile `archiv` was not defined") == 1);
}

#[test]
fn an_answer_with_credentials_that_makes_no_sense_is_not_repeated() {
    let garbled = sts::json(ACCESS_KEY, SECRET_KEY).replace("2099-01-01T00:00:00Z", "at some time");
    let agent = {
        let answer = garbled.clone();
        Endpoint::start(move |_| (200, answer.clone()))
    };
    let metadata = Endpoint::start(move |asked| match asked.path.ends_with("archive-role") {
        true => (200, garbled.clone()),
        false => (200, "archive-role".to_owned()),
    });
    let role = Endpoint::start(|_| (200, format!("<Credentials><SecretAccessKey>{SECRET_KEY}<SessionToken>{TOKEN}")));
    let files = Host::new();
    let token = files.file("token", WEB_TOKEN).display().to_string();
    for variables in [
        vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.url())],
        vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url()), ("AWS_EC2_METADATA_DISABLED", "false".to_owned())],
        vec![
            ("AWS_ENDPOINT_URL_STS", role.url()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/archive".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ],
    ] {
        let host = Host::new();
        let mut command = host.command(&["--log-level=debug"]);
        command.envs(variables);
        let (running, _input) = host.begin(command);
        running.until("the lack is said", || running.count("archives wait on the disk") == 1);
        assert_silence(&running.said());
        assert!(host.server.keys("logs").is_empty());
    }
}
