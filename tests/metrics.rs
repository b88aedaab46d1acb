//! What `--metrics-file` and `--metrics-listen` promise: true counts, a page that Prometheus' own tool accepts, and no line that
//! waits for either. And that the shipped alerts and the dashboard speak of what is exported.
#![allow(clippy::disallowed_methods)] // Tests use the file system and the clock.

use crate::cli::{self, Running, Spool, logjam, minutes_ago, mode, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

fn dest(spool: &Spool) -> String {
    format!("file://{}/{{prefix}}/{{year}}/{{month}}/{{day}}/{{filename}}", spool.beside("dest").display())
}

/// `logjam pipe DIR DEST OPTIONS` in a process group of its own, with the end of the pipe that feeds it.
fn pipe(spool: &Spool, options: &[&str]) -> (Running, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = logjam(["pipe", &spool.arg(), &dest(spool), "--suffix=web-1"]);
    command.args(options).stdin(reader).process_group(0);
    (Running::start(command), writer)
}

/// The address that it says it listens at, the last one.
fn address(running: &Running) -> String {
    running.until("it listens", || running.said().contains("/metrics"));
    let said = running.said();
    said.rsplit("http://").next().unwrap().split("/metrics").next().unwrap().to_owned()
}

/// Head and body of an answer.
fn ask(at: &str, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(at).ok()?;
    write!(stream, "{request} HTTP/1.1\r\nHost: {at}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

/// The samples of a page: the value of each by its name, and by name and labels.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap();
        found.insert(name.split('{').next().unwrap().to_owned(), value);
        found.insert(name.to_owned(), value);
    }
    found
}

/// Waits until the page at an address is as it should be.
#[track_caller]
fn until_page(at: &str, what: &str, ready: impl Fn(&BTreeMap<String, f64>) -> bool) -> String {
    let mut last = String::new();
    let done = cli::within(cli::PATIENCE, || {
        last = ask(at, "GET /metrics").map_or(String::new(), |(_, page)| page);
        !last.is_empty() && ready(&samples(&last))
    });
    assert!(done, "waited in vain until {what}:\n{last}");
    last
}

/// The same for a file.
#[track_caller]
fn until_file(path: &Path, what: &str, ready: impl Fn(&BTreeMap<String, f64>) -> bool) -> String {
    let mut last = String::new();
    let done = cli::within(cli::PATIENCE, || {
        last = fs::read_to_string(path).unwrap_or_default();
        !last.is_empty() && ready(&samples(&last))
    });
    assert!(done, "waited in vain until {what}:\n{last}");
    last
}

/// Debian's promtool, unpacked by tests/install-debian.
fn promtool(arguments: &[&str], input: &str) -> String {
    let default = || Path::new(REPOSITORY).join("target/prometheus");
    let folder = std::env::var_os("LOGJAM_PROMETHEUS").map_or_else(default, PathBuf::from);
    let mut command = Command::new(folder.join("usr/bin/promtool"));
    command.args(arguments).current_dir(Path::new(REPOSITORY).join("contrib/prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("promtool: {e}; run tests/install-debian"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {said}\n{input}");
    said
}

/// Every name of a metric of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let expression = regex::Regex::new(r"\blogjam_[a-z_]+").unwrap();
    expression.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// Every expression in a dashboard, with what Grafana would put for its variables.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    use serde_json::Value::{Array, Object};
    match value {
        Object(fields) => {
            if let Some(expr) = fields.get("expr").and_then(serde_json::Value::as_str) {
                found.push(expr.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$prefix", ".*"));
            }
            fields.values().for_each(|value| expressions(value, found));
        }
        Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn the_shipped_alerts_and_their_tests_pass_and_speak_of_what_is_exported() {
    let spool = Spool::new();
    let (running, mut input) = pipe(&spool, &["--metrics-listen=127.0.0.1:0"]);
    input.write_all(b"a line\n").unwrap();
    let page = until_page(&address(&running), "it is received", |page| page["logjam_received_bytes_total"] == 7.0);
    assert_eq!(promtool(&["check", "metrics"], &page), "", "promtool has something to say");
    promtool(&["check", "rules", "logjam.rules.yml"], "");
    assert!(promtool(&["test", "rules", "logjam.rules.test.yml"], "").contains("SUCCESS"));
    let exported: BTreeSet<_> = samples(&page).into_keys().filter(|name| !name.contains('{')).collect();
    let read = |name: &str| fs::read_to_string(Path::new(REPOSITORY).join("contrib").join(name)).unwrap();
    let dashboard = read("grafana/logjam.json");
    // What the panels ask, as rules, which promtool can read.
    let mut asked = Vec::new();
    expressions(&serde_json::from_str(&dashboard).unwrap(), &mut asked);
    assert!(asked.len() > 20, "{asked:?}");
    let rule = |(n, expr): (usize, &String)| serde_json::json!({"record": format!("panel:{n}"), "expr": expr});
    let rules: Vec<_> = asked.iter().enumerate().map(rule).collect();
    let file = spool.beside("panels.yml");
    fs::write(&file, serde_json::json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], "");
    for text in [read("prometheus/logjam.rules.yml"), read("prometheus/logjam.rules.test.yml"), dashboard.clone()] {
        let unknown: Vec<_> = names(&text).difference(&exported).cloned().collect();
        assert!(unknown.is_empty(), "not exported: {unknown:?}");
    }
    // And nothing is exported that nobody shows or tells of.
    let shown = names(&(dashboard + &read("prometheus/logjam.rules.yml")));
    let unused: Vec<_> = exported.difference(&shown).collect();
    assert!(unused.is_empty(), "in no panel and no alert: {unused:?}");
    let documented = fs::read_to_string(Path::new(REPOSITORY).join("docs/design.md")).unwrap();
    let missing: Vec<_> = exported.iter().filter(|name| !documented.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/design.md: {missing:?}");
    drop(input);
    running.end().code_is(0);
}

#[test]
fn counters_move_on_proof_from_the_file_to_the_receipt() {
    let spool = Spool::new();
    let (running, mut input) = pipe(&spool, &["--metrics-listen=127.0.0.1:0", "--sync=100ms"]);
    let at = address(&running);
    // What it is, it writes down in its first moments.
    let page = until_page(&at, "it tells its period", |page| page["logjam_period_seconds"] == 3600.0);
    let page = samples(&page);
    for (name, value) in &page {
        assert!(!name.contains("_total") || *value == 0.0, "{name} begins at {value}");
    }
    assert_eq!(page["logjam_oldest_unarchived_seconds"], 0.0);
    assert_eq!(
        (page["logjam_running"], page["logjam_dir_readable"], page["logjam_period_seconds"]),
        (1.0, 1.0, 3600.0)
    );
    input.write_all(b"one\ntwo\n").unwrap();
    let page = samples(&until_page(&at, "it is synced", |page| page["logjam_synced_bytes_total"] == 8.0));
    assert_eq!((page["logjam_received_bytes_total"], page["logjam_archived_files_total"]), (8.0, 0.0));
    assert_eq!(page["logjam_open_file_bytes"], 8.0);
    running.signal(Signal::SIGUSR1);
    let text = until_page(&at, "it is stored", |page| page["logjam_stored_files_total"] == 1.0);
    let page = samples(&text);
    let totals = ["files", "lines", "bytes"].map(|what| page[&format!("logjam_archived_{what}_total")]);
    assert_eq!((totals, page["logjam_open_file_bytes"], page["logjam_waiting_files"]), ([1.0, 2.0, 8.0], 0.0, 0.0));
    assert_eq!(page["logjam_stored_bytes_total"], page["logjam_archived_packed_bytes_total"]);
    assert!(page["logjam_last_stored_timestamp_seconds"] >= page["logjam_start_timestamp_seconds"]);
    // The figure that matters stands first, and everything tells whose it is.
    assert!(text.starts_with("# HELP logjam_oldest_unarchived_seconds "), "{text}");
    let labels = format!(r#"{{command="pipe",dir="{}",prefix="syslog",suffix="web-1"}}"#, spool.arg());
    assert!(page.contains_key(&format!("logjam_received_bytes_total{labels}")), "{text}");
    assert!(page.contains_key(&format!("logjam_oldest_unarchived_seconds{labels}")), "{text}");
    drop(input);
    running.end().code_is(0);
}

#[test]
fn a_message_counts_as_confirmed_once_its_ok_is_written() {
    let spool = Spool::new();
    let (reader, mut input) = std::io::pipe().unwrap();
    let (mut replies, output) = std::io::pipe().unwrap();
    let mut command = logjam(["pipe", &spool.arg(), &dest(&spool), "--suffix=web-1"]);
    command.args(["--confirm-messages", "--use-transactions", "--metrics-listen=127.0.0.1:0"]);
    let said = spool.beside("said");
    let mut child = command.stdin(reader).stdout(output).stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
    drop(command);
    let mut hear = |expected: &str| {
        let mut reply = vec![0; expected.len()];
        replies.read_exact(&mut reply).unwrap();
        assert_eq!(String::from_utf8_lossy(&reply), expected);
    };
    hear("OK\n");
    cli::until("it listens", || fs::read_to_string(&said).unwrap().contains("/metrics"));
    let at = fs::read_to_string(&said).unwrap();
    let at = at.rsplit("http://").next().unwrap().split("/metrics").next().unwrap().to_owned();
    input.write_all(b"BEGIN TRANSACTION\n").unwrap();
    hear("OK\n");
    for _ in 0..3 {
        input.write_all(b"line\n").unwrap();
        hear("DEFER_COMMIT\n");
    }
    let page = samples(&until_page(&at, "they are received", |page| page["logjam_received_messages_total"] == 3.0));
    assert_eq!((page["logjam_confirmed_messages_total"], page["logjam_synced_bytes_total"]), (0.0, 0.0));
    input.write_all(b"COMMIT TRANSACTION\n").unwrap();
    hear("OK\n");
    let page = samples(&until_page(&at, "they are confirmed", |page| page["logjam_confirmed_messages_total"] == 3.0));
    assert_eq!((page["logjam_received_bytes_total"], page["logjam_synced_bytes_total"]), (15.0, 15.0));
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_file_is_whole_and_for_all_to_read_and_its_last_page_says_that_the_process_left() {
    let spool = Spool::new();
    let path = spool.beside("logjam.prom");
    let option = format!("--metrics-file={}", path.display());
    let (running, mut input) = pipe(&spool, &[&option]);
    let page = until_file(&path, "it is written", |page| page["logjam_running"] == 1.0);
    assert_eq!(promtool(&["check", "metrics"], &page), "");
    assert_eq!(mode(&path), 0o644);
    input.write_all(b"one\n").unwrap();
    drop(input);
    running.end().code_is(0);
    let page = samples(&fs::read_to_string(&path).unwrap());
    assert_eq!((page["logjam_running"], page["logjam_received_bytes_total"]), (0.0, 4.0));
    assert_eq!(page["logjam_open_file_bytes"], 4.0);
    assert_eq!(cli::names(&spool.beside("")), ["logjam.prom", "logs"]);
}

#[test]
fn compress_and_upload_tell_of_what_they_do() {
    let spool = Spool::new();
    spool.write("app-20260101T0000Z-a.log", "one\ntwo\n");
    spool.write("app-20260101T0000Z-b.log", "three\n");
    let path = spool.beside("logjam.prom");
    let option = format!("--metrics-file={}", path.display());
    run(logjam(["compress", &spool.arg(), "--once", &option])).code_is(0);
    let page = samples(&fs::read_to_string(&path).unwrap());
    assert_eq!((page["logjam_archived_files_total"], page["logjam_archived_lines_total"]), (2.0, 3.0));
    assert!(!page.contains_key("logjam_received_bytes_total"));
    let archive = spool.path("archive").display().to_string();
    run(logjam(["upload", &archive, &dest(&spool), "--once", &option])).code_is(0);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(promtool(&["check", "metrics"], &text), "");
    let page = samples(&text);
    assert_eq!((page["logjam_stored_files_total"], page["logjam_archived_files_total"]), (2.0, 0.0));
    for suffix in ["a", "b"] {
        let labels = format!(r#"{{command="upload",dir="{}",prefix="app",suffix="{suffix}"}}"#, spool.arg());
        assert_eq!(page[&format!("logjam_waiting_files{labels}")], 0.0);
        assert!(page[&format!("logjam_last_stored_timestamp_seconds{labels}")] > 0.0);
    }
}

#[test]
fn what_fails_is_counted_and_shown_while_it_fails() {
    let spool = Spool::new();
    spool.write(&format!("archive/app-{}-a.log.gz", minutes_ago(30)), "x");
    fs::write(spool.beside("dest"), "in the way").unwrap();
    let archive = spool.path("archive").display().to_string();
    let running = Running::start(logjam(["upload", &archive, &dest(&spool), "--metrics-listen=127.0.0.1:0"]));
    let at = address(&running);
    let labels = format!(r#"{{command="upload",dir="{}",stage="upload"}}"#, spool.arg());
    let (trouble, failures) = (format!("logjam_trouble{labels}"), format!("logjam_failures_total{labels}"));
    let page = samples(&until_page(&at, "it fails", |page| page[&failures] >= 2.0));
    assert_eq!((page[&trouble], page["logjam_stored_files_total"], page["logjam_waiting_files"]), (1.0, 0.0, 1.0));
    assert!(page["logjam_oldest_unarchived_seconds"] >= 1800.0);
    fs::remove_file(spool.beside("dest")).unwrap();
    let page = samples(&until_page(&at, "it works", |page| page[&trouble] == 0.0));
    assert_eq!((page["logjam_stored_files_total"], page["logjam_oldest_unarchived_seconds"]), (1.0, 0.0));
}

#[test]
fn nothing_but_get_metrics_is_answered_and_who_says_nothing_holds_up_nobody() {
    let spool = Spool::new();
    let (running, input) = pipe(&spool, &["--metrics-listen=127.0.0.1:0"]);
    let at = address(&running);
    // Half a request, and none.
    let mut mute: Vec<_> = (0..4).map(|_| TcpStream::connect(&at).unwrap()).collect();
    mute[0].write_all(b"GET /metr").unwrap();
    let head = |request: &str| ask(&at, request).unwrap().0;
    assert!(head("GET /metrics").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(head("GET /metrics").contains("content-type: text/plain; version=0.0.4"));
    assert!(head("GET /").starts_with("HTTP/1.1 404 "));
    assert!(head("GET /metrics/x").starts_with("HTTP/1.1 404 "));
    assert!(head("POST /metrics").starts_with("HTTP/1.1 405 "));
    let (said, body) = ask(&at, "HEAD /metrics").unwrap();
    assert!(said.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{said}\n{body}");
    drop(input);
    // Nor does anybody hold up its end.
    running.end().code_is(0);
}

#[test]
fn an_address_that_is_taken_is_refused_at_the_start_with_the_mend() {
    let spool = Spool::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let option = format!("--metrics-listen={}", taken.local_addr().unwrap());
    let (running, _input) = pipe(&spool, &[&option]);
    running.end().code_is(2).says(&option).says("another process listens there; give each its own port");
    for option in ["--metrics-listen=localhost", "--metrics-file=relative.prom", "--metrics-file=/tmp/logjam.txt"] {
        let (running, _input) = pipe(&spool, &[option]);
        running.end().code_is(2).says(&option[..14]);
    }
    let archive = spool.path("archive").display().to_string();
    run(logjam(["upload", &archive, &dest(&spool), "--metrics-listen=203.0.113.1:1"]))
        .code_is(2)
        .says("an address of this host");
}

#[test]
fn a_file_that_cannot_be_written_is_said_once_and_no_line_waits() {
    let spool = Spool::new();
    let option = format!("--metrics-file={}", spool.beside("missing/logjam.prom").display());
    let (running, mut input) = pipe(&spool, &[&option, "--once"]);
    input.write_all(b"a line\n").unwrap();
    running.until("it is said", || running.count("--metrics-file must lie in a directory") == 1);
    drop(input);
    let ended = running.end().code_is(0);
    assert_eq!(ended.said.matches("metrics-file").count(), 1, "{}", ended.said);
    let archived = spool.archived().into_iter().find(|name| name.starts_with("syslog-")).unwrap();
    assert_eq!(spool.plain(&archived), b"a line\n");
}

#[test]
fn the_worker_after_a_killed_one_answers_at_the_same_address_and_counts_from_0() {
    let spool = Spool::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (running, mut input) = pipe(&spool, &[&format!("--metrics-listen={free}")]);
    let at = address(&running);
    input.write_all(b"one\n").unwrap();
    let page = samples(&until_page(&at, "it is received", |page| page["logjam_received_bytes_total"] == 4.0));
    // Somebody who asks at that moment does not hold the address.
    let _asking = TcpStream::connect(&at).unwrap();
    let worker = worker_on(&spool);
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    input.write_all(b"two\n").unwrap();
    let after = samples(&until_page(&at, "the next one counts", |page| {
        page["logjam_received_bytes_total"] == 4.0 && page["logjam_open_file_bytes"] == 8.0
    }));
    assert!(after["logjam_start_timestamp_seconds"] >= page["logjam_start_timestamp_seconds"]);
    assert_ne!(worker_on(&spool), worker);
    drop(input);
    running.end().code_is(0);
}

/// The process that says in DIR that it works there.
fn worker_on(spool: &Spool) -> i32 {
    let mut found = None;
    cli::until("a worker is seen", || {
        let output = logjam(["status", &spool.arg(), "--json"]).output().unwrap();
        let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let process = &seen["processes"][0];
        found = process["pid"].as_i64().filter(|_| process["running"] == true);
        found.is_some()
    });
    i32::try_from(found.unwrap()).unwrap()
}
