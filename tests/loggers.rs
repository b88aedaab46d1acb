//! The piped loggers of contrib, each under the real program: Apache, nginx, HAProxy, runit, s6; and systemd's units, which only
//! systemd as process 1 could run, checked by its own tool, with their command lines run by hand.
#![allow(clippy::disallowed_methods)] // Tests look at files and clocks as they are.

use crate::cases;
use crate::cli;
use crate::daemons::*;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where `tests/install-debian` unpacks the programs.
fn loggers() -> PathBuf {
    std::env::var_os("LOGJAM_LOGGERS").map_or(Path::new(REPOSITORY).join("target/loggers"), PathBuf::from)
}

/// One of them, with its libraries; in a process group of its own, and with names that end in `test`.
fn program(path: &str) -> Command {
    let root = loggers();
    let program = root.join(path);
    assert!(program.exists(), "{} is not there: run tests/install-debian", program.display());
    let mut folders: Vec<_> =
        all_files(&root).iter().filter(|f| is_library(f)).filter_map(|f| f.parent().map(Path::to_owned)).collect();
    folders.dedup();
    let mut command = Command::new(&program);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).expect("library paths"));
    let paths = [root.join("usr/bin"), root.join("usr/sbin")].into_iter();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let paths = paths.chain(std::env::split_paths(&others));
    command.env("PATH", std::env::join_paths(paths).expect("a PATH")).env("LOGJAM_SUFFIX", "test");
    command.process_group(0).stdin(Stdio::null());
    command
}

fn is_library(file: &Path) -> bool {
    file.to_string_lossy().contains(".so") && !file.to_string_lossy().contains("/modules/")
}

/// A daemon that a test started; killed with its group if the test forgets it.
struct Started(Child);

impl Started {
    fn start(site: &Site, mut command: Command) -> Started {
        let log = fs::OpenOptions::new().append(true).create(true).open(site.path("logger.err")).expect("a log");
        command.stderr(log.try_clone().expect("a log"));
        if command.get_program() != "sh" {
            command.stdout(log);
        }
        Started(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it takes a signal");
    }

    #[track_caller]
    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.wait();
    }

    #[track_caller]
    fn wait(&mut self) {
        wait_for("its end", || self.0.try_wait().expect("a status"));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = nix::sys::signal::killpg(self.pid(), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// A shipped file with the test's program, bucket and directories in it.
#[track_caller]
fn ours(site: &Site, file: &str, edits: &[(&str, &str)]) -> String {
    let bucket = format!("file://{}/", site.text("bucket"));
    let mut all = vec![("/usr/bin/logjam", LOGJAM), ("s3://BUCKET/", bucket.as_str())];
    all.extend_from_slice(edits);
    shipped(file, &all)
}

/// Asks a web server for `/NUMBER`; true if it answered.
fn ask(port: u16, number: usize) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    let asked = write!(stream, "GET /{number} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.")
}

#[track_caller]
fn ask_all(port: u16, numbers: std::ops::Range<usize>) {
    for number in numbers {
        wait_for("an answer", || ask(port, number).then_some(()));
    }
}

/// Waits until the request is in an hour file.
#[track_caller]
fn wait_for_request(site: &Site, number: usize) {
    site.wait_for_text(&format!("GET /{number} HTTP"));
}

/// The numbers of the requests in the archive of a stream, in its order.
#[track_caller]
fn archived_requests(site: &Site, prefix: &str) -> Vec<usize> {
    let lines = site.archived_lines_of(&format!("--prefix={prefix}"));
    let number = |line: Vec<u8>| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.split("GET /").nth(1)?.split(' ').next()?.parse().ok()
    };
    lines.into_iter().filter_map(number).collect()
}

/// `kill -9` of every logjam of a site.
fn kill_all(site: &Site) {
    kill_those(site, |_, _| true);
}

/// The same of those that are wanted; told are also all of them.
fn kill_those(site: &Site, wanted: impl Fn(&Process, &[Process]) -> bool) {
    // The guard first: it would start another worker.
    let mut all = site.children();
    all.sort_by_key(|process| process.pid);
    let wanted: Vec<_> = all.iter().filter(|process| wanted(process, &all)).collect();
    wanted.iter().for_each(|process| match kill(Pid::from_raw(process.pid), Signal::SIGKILL) {
        // One that a reload has told to leave may be gone by now.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(e) => panic!("SIGKILL to {}: {e}", process.pid),
    });
    wanted.iter().for_each(|process| process.wait_until_gone());
}

#[test]
fn apache_writes_both_its_logs_through_reloads_and_kills_without_losing_a_line() {
    let site = Site::new();
    let port = free_port();
    fs::create_dir(site.path("run")).expect("a directory");
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).expect("its mode");
    let (dir, own) = (format!("{} ", site.text("spool")), site.text("own.log"));
    let logs =
        ours(&site, "apache/logjam.conf", &[("/var/log/logjam/apache.log", &own), ("/var/log/logjam/apache ", &dir)]);
    fs::write(site.path("logjam.conf"), logs).expect("the shipped file");
    // What Debian's own configuration has around it.
    let main = format!(
        "ServerRoot {root}/usr/lib/apache2\nLoadModule mpm_event_module modules/mod_mpm_event.so\n\
         LoadModule authz_core_module modules/mod_authz_core.so\nServerName localhost\nListen 127.0.0.1:{port}\n\
         PidFile {site}/run/pid\nDefaultRuntimeDir {site}/run\nUser www-data\nGroup www-data\nDocumentRoot {site}/run\n\
         LogFormat \"%h %l %u %t \\\"%r\\\" %>s %O \\\"%{{Referer}}i\\\" \\\"%{{User-Agent}}i\\\"\" combined\n\
         Include {site}/logjam.conf\n",
        root = loggers().display(),
        site = site.text("").trim_end_matches('/'),
    );
    fs::write(site.path("apache2.conf"), main).expect("the configuration");
    let mut command = program("usr/sbin/apache2");
    command.arg("-f").arg(site.path("apache2.conf")).arg("-DFOREGROUND");
    let mut apache = Started::start(&site, command);
    ask_all(port, 0..10);
    wait_for_request(&site, 9);
    apache.signal(Signal::SIGUSR1);
    ask_all(port, 10..20);
    wait_for_request(&site, 19);
    // Guard and worker of the access log: Apache starts others, and keeps what is in the pipe. Of the error log, which it does not
    // start again, the worker only.
    kill_those(&site, |process, all| {
        let of_errors = process.arguments.iter().any(|argument| argument == "--prefix=apache-error");
        !of_errors || all.iter().any(|other| other.pid == process.parent)
    });
    ask_all(port, 20..30);
    wait_for_request(&site, 29);
    wait_for("all of them", || (site.children().len() == 4).then_some(()));
    apache.end(Signal::SIGTERM);
    assert_eq!(archived_requests(&site, "apache-access"), (0..30).collect::<Vec<_>>());
    let errors: Vec<_> = site.archived_lines_of("--prefix=apache-error").concat();
    let errors = String::from_utf8_lossy(&errors).into_owned();
    assert!(errors.contains("resuming normal operations") && errors.contains("caught SIGTERM"), "{errors}");
}

/// A FIFO as systemd's socket units hold it: for reading and writing.
fn hold_fifo(site: &Site, socket: &str) -> fs::File {
    let set = |key: &str| {
        socket.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect("a setting").to_owned()
    };
    let path = PathBuf::from(set("ListenFIFO"));
    assert!(path.starts_with(site.path("")), "{}", path.display());
    let mode = u32::from_str_radix(&set("SocketMode"), 8).expect("an octal mode");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(mode)).expect("a FIFO");
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOFOLLOW;
    let fifo = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).expect("the FIFO");
    assert_eq!(set("PipeSize"), "1M");
    nix::fcntl::fcntl(&fifo, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20)).expect("its size");
    fifo
}

/// The command line of a unit, with standard input as it asks for.
fn exec_start(site: &Site, service: &str, fifo: &fs::File) -> Started {
    let line = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    assert!(service.contains("\nStandardInput=fd:lines\n"), "{service}");
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).env("LOGJAM_SUFFIX", "test").process_group(0);
    command.stdin(fifo.try_clone().expect("the FIFO"));
    Started::start(site, command)
}

/// The two template units of a FIFO for one program.
fn units(site: &Site, name: &str) -> (String, String) {
    let edits = |text: String| {
        text.replace(&format!("/var/log/logjam/{name}"), &site.text("spool"))
            .replace("/run/logjam/", &site.text("run/"))
    };
    fs::create_dir_all(site.path("run")).expect("a directory");
    let read = |file: &str| edits(ours_without_paths(site, file).replace("%i", name));
    (read("systemd/logjam@.socket"), read("systemd/logjam@.service"))
}

fn ours_without_paths(site: &Site, file: &str) -> String {
    let text = shipped(file, &[]);
    text.replace("/usr/bin/logjam", LOGJAM).replace("s3://BUCKET/", &format!("file://{}/", site.text("bucket")))
}

#[test]
fn nginx_writes_into_the_fifo_of_the_systemd_units_through_reloads_kills_and_restarts() {
    let site = Site::new();
    let port = free_port();
    fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).expect("its mode");
    let (socket, service) = units(&site, "nginx");
    let fifo = hold_fifo(&site, &socket);
    let log = shipped("nginx/logjam.conf", &[("/run/logjam/nginx.fifo", &site.text("run/nginx.fifo"))]);
    fs::write(site.path("logjam.conf"), log).expect("the shipped file");
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {};\n", site.text(&format!("run/{name}"))))
        .collect();
    let main = format!(
        "daemon off; pid {pid}; error_log stderr;\nevents {{}}\nhttp {{ include {log};\n{folders}\
         server {{ listen 127.0.0.1:{port}; return 200 \"here\"; }} }}\n",
        pid = site.text("run/pid"),
        log = site.text("logjam.conf"),
    );
    fs::write(site.path("nginx.conf"), main).expect("the configuration");
    let mut command = program("usr/sbin/nginx");
    command.arg("-e").arg("stderr").arg("-c").arg(site.path("nginx.conf"));

    let mut logjam = exec_start(&site, &service, &fifo);
    let mut nginx = Started::start(&site, command);
    ask_all(port, 0..5);
    wait_for_request(&site, 4);
    // `nginx -s reload`, then what logrotate does.
    nginx.signal(Signal::SIGHUP);
    ask_all(port, 5..10);
    wait_for_request(&site, 9);
    nginx.signal(Signal::SIGUSR1);
    ask_all(port, 10..15);
    wait_for_request(&site, 14);
    kill_all(&site);
    logjam.wait();
    // Nobody reads; the FIFO is there.
    ask_all(port, 15..20);
    let mut logjam = exec_start(&site, &service, &fifo);
    wait_for_request(&site, 19);
    logjam.end(Signal::SIGTERM);
    ask_all(port, 20..25);
    let mut logjam = exec_start(&site, &service, &fifo);
    nginx.end(Signal::SIGQUIT);
    wait_for_request(&site, 24);
    logjam.end(Signal::SIGTERM);
    drop(fifo);
    assert_eq!(archived_requests(&site, "nginx"), (0..25).collect::<Vec<_>>());
}

#[test]
fn nginx_in_the_foreground_writes_to_standard_output_and_through_a_pipe() {
    let site = Site::new();
    let port = free_port();
    fs::create_dir(site.path("run")).expect("a directory");
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {};\n", site.text(&format!("run/{name}"))))
        .collect();
    let main = format!(
        "daemon off; pid {pid}; error_log stderr;\nevents {{}}\nhttp {{ access_log /dev/stdout;\n{folders}\
         server {{ listen 127.0.0.1:{port}; return 200 \"here\"; }} }}\n",
        pid = site.text("run/pid"),
    );
    fs::write(site.path("nginx.conf"), main).expect("the configuration");
    let mut shell = program("usr/sbin/nginx");
    let nginx = shell.get_program().to_string_lossy().into_owned();
    let line = format!("{nginx} -e stderr -c {} | {}", site.text("nginx.conf"), site.shell_pipe("--prefix=nginx"));
    shell = piped(shell, &line);
    let mut shell = Started::start(&site, shell);
    ask_all(port, 0..10);
    wait_for_request(&site, 9);
    let pid: i32 = site.read("run/pid").trim().parse().expect("its pid");
    kill(Pid::from_raw(pid), Signal::SIGHUP).expect("it takes a signal");
    ask_all(port, 10..20);
    wait_for_request(&site, 19);
    kill(Pid::from_raw(pid), Signal::SIGQUIT).expect("it takes a signal");
    shell.wait();
    assert_eq!(archived_requests(&site, "nginx"), (0..20).collect::<Vec<_>>());
}

/// A shell line with the environment of a program.
fn piped(program: Command, line: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell
}

/// Waits until HAProxy has logged all of `numbers`: each of its threads logs for itself, so the last one may come first.
#[track_caller]
fn wait_for_requests(site: &Site, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| wait_for_request(site, number));
}

/// Every one of `numbers` is archived once, in whatever order.
#[track_caller]
fn assert_archived(site: &Site, prefix: &str, numbers: std::ops::Range<usize>) {
    let mut archived = archived_requests(site, prefix);
    archived.sort_unstable();
    assert_eq!(archived, numbers.collect::<Vec<_>>());
}

/// The shipped file for HAProxy with a web server that answers by itself.
fn haproxy(site: &Site, port: u16, edits: &[(&str, &str)]) {
    let text = shipped("haproxy/haproxy.cfg", edits);
    let front = format!("\nfrontend web\n    bind 127.0.0.1:{port}\n    http-request return status 200\n");
    fs::write(site.path("haproxy.cfg"), text + &front).expect("the configuration");
}

#[test]
fn haproxy_sends_its_ring_to_rsyslogd_and_from_there_to_logjam() {
    let site = Site::new();
    let port = free_port();
    let rsyslogd = start_rsyslogd(&site, &cases::recommended(&site, "rsyslog/logjam.conf", &[]));
    haproxy(&site, port, &[("127.0.0.1:10514", &format!("127.0.0.1:{}", rsyslogd.port))]);
    let mut command = program("usr/sbin/haproxy");
    command.args(["-W", "-db", "-f"]).arg(site.path("haproxy.cfg"));
    let mut haproxy = Started::start(&site, command);
    ask_all(port, 0..20);
    wait_for_requests(&site, 0..20);
    haproxy.end(Signal::SIGTERM);
    rsyslogd.stop();
    assert_archived(&site, "syslog", 0..20);
}

#[test]
fn haproxy_in_the_foreground_writes_to_standard_output_and_through_a_pipe() {
    let site = Site::new();
    let port = free_port();
    let stdout = [("    log ring@logjam", "    #log ring@logjam"), ("    #log stdout", "    log stdout")];
    haproxy(&site, port, &stdout);
    let program = program("usr/sbin/haproxy");
    let haproxy = program.get_program().to_string_lossy().into_owned();
    // The line that the file shows.
    let line = format!("{haproxy} -W -db -f {} | {}", site.text("haproxy.cfg"), site.shell_pipe("--prefix=haproxy"));
    let mut shell = Started::start(&site, piped(program, &line));
    ask_all(port, 0..20);
    wait_for_requests(&site, 0..20);
    let master = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.pid())).expect("its children");
    let is_haproxy = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "haproxy\n");
    let master = master.split_whitespace().find(is_haproxy).expect("the master process").parse().expect("a pid");
    kill(Pid::from_raw(master), Signal::SIGUSR1).expect("it takes a signal");
    shell.wait();
    assert_archived(&site, "haproxy", 0..20);
}

/// A service that says what comes through a FIFO, with the shipped log service beside it; its supervisor's directory.
fn supervised(site: &Site, file: &str) -> PathBuf {
    let service = site.path("scan/app");
    fs::create_dir_all(service.join("log")).expect("a service directory");
    fs::create_dir_all(site.path("spool/app")).expect("DIR");
    nix::unistd::mkfifo(&site.path("said"), nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("a FIFO");
    let run = format!("#!/bin/sh\nexec 2>&1\nexec cat <>{}\n", site.text("said"));
    fs::write(site.path("run"), run).expect("the service");
    let log = ours(site, file, &[("/var/log/logjam", &site.text("spool"))]);
    fs::write(site.path("log-run"), log).expect("the log service");
    cli::install(site.path("run"), service.join("run"));
    cli::install(site.path("log-run"), service.join("log/run"));
    site.path("scan")
}

/// Lines through two kills of the logger, which its supervisor starts again; returns when all of them are in the files.
#[track_caller]
fn talk_and_kill(site: &Site) {
    let mut said = fs::OpenOptions::new().read(true).write(true).open(site.path("said")).expect("the FIFO");
    for round in 0..3 {
        let logger = site.child();
        for number in round * 100..round * 100 + 100 {
            writeln!(said, "line {number} of the service").expect("the service reads");
        }
        site.wait_for_text(&format!("line {} of", round * 100 + 99));
        if round < 2 {
            logger.signal(Signal::SIGKILL);
            logger.wait_until_gone();
        }
    }
}

#[track_caller]
fn assert_all_said(site: &Site) {
    site.wait_until_no_child();
    let (dir, bucket) = (site.path("spool/app"), site.dest());
    let once = Command::new(LOGJAM)
        .arg("pipe")
        .arg(dir)
        .args([&bucket, "--prefix=app", "--suffix=test", "--once"])
        .stdin(Stdio::null())
        .output();
    let once = once.expect("logjam runs");
    assert!(once.status.success(), "{once:?}");
    let expected: Vec<_> = (0..300).map(|number| format!("line {number} of the service")).collect();
    assert_same_lines_in_order(&site.bucket_lines(), &expected);
}

#[test]
fn runit_keeps_the_pipe_of_its_log_service_through_kills_of_logjam() {
    let site = Site::new();
    let scan = supervised(&site, "runit/log/run");
    let mut command = program("usr/bin/runsvdir");
    command.arg(&scan);
    let mut runsvdir = Started::start(&site, command);
    talk_and_kill(&site);
    // The service first; then its pipe ends, and logjam leaves.
    let exit = program("usr/bin/sv").args(["-w", "20", "exit"]).arg(scan.join("app")).status().expect("sv runs");
    assert!(exit.success());
    site.wait_until_no_child();
    runsvdir.end(Signal::SIGHUP);
    assert_all_said(&site);
}

#[test]
fn s6_keeps_the_pipe_of_its_logger_through_kills_of_logjam() {
    let site = Site::new();
    let scan = supervised(&site, "s6/log/run");
    let mut command = Command::new("s6-svscan");
    command.arg(&scan).env("LOGJAM_SUFFIX", "test").process_group(0).stdin(Stdio::null());
    let mut svscan = Started::start(&site, command);
    talk_and_kill(&site);
    let told = Command::new("s6-svscanctl").arg("-t").arg(&scan).status().expect("s6-svscanctl runs");
    assert!(told.success());
    svscan.wait();
    assert_all_said(&site);
}

/// What `systemd-analyze verify` says of the shipped units, as they would be installed for programs called nginx and app.
fn verified(site: &Site, edits: &[(&str, &str)]) -> String {
    let dir = site.path("units");
    fs::create_dir_all(dir.join("app.service.d")).expect("a directory");
    for (file, names) in [
        ("logjam@.socket", &["logjam@.socket"][..]),
        ("logjam@.service", &["logjam@.service"]),
        ("app-piped.service", &["app.service", "app-piped.service"]),
        ("to-logjam.conf", &["app.service.d/to-logjam.conf"]),
    ] {
        let mut text = ours_without_paths(site, &format!("systemd/{file}")).replace("/usr/bin/app", "/bin/true");
        edits.iter().for_each(|(from, to)| text = text.replace(from, to));
        names.iter().for_each(|name| fs::write(dir.join(name), &text).expect("a unit"));
    }
    let units = ["logjam@nginx.socket", "logjam@nginx.service", "app.service", "app-piped.service"];
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display()))
        .output()
        .expect("systemd-analyze is not installed: run tests/install-debian");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let site = Site::new();
    let ours = |said: String| {
        said.lines()
            .filter(|line| line.contains("logjam@") || line.contains("app"))
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(ours(verified(&site, &[])), [""; 0]);
    let wrong = ours(verified(&site, &[("PipeSize", "PipesSize"), ("StandardInput", "StandardInputs")]));
    assert!(
        wrong.iter().any(|line| line.contains("PipesSize")) && wrong.iter().any(|line| line.contains("StandardInputs")),
        "{wrong:?}"
    );
}

#[test]
fn a_program_and_its_logjam_in_one_unit_end_together_and_leave_every_line() {
    let site = Site::new();
    let unit = ours_without_paths(&site, "systemd/app-piped.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c '")?.strip_suffix('\''))
        .expect("a shell line");
    // A program that says something when it is asked to end.
    let app = site.text("app");
    fs::write(
        site.path("app.sh"),
        "#!/bin/sh\ntrap 'echo asked >&2; echo last; exit 0' TERM\necho first\nsleep 1000 >/dev/null 2>&1 &\nwait\n",
    )
    .expect("a program");
    cli::install(site.path("app.sh"), &app);
    let line = line.replace("/usr/bin/app", &app).replace("/var/log/logjam/app", &site.text("spool"));
    let mut command = Command::new("sh");
    command
        .args(["-c", &line])
        .env("LOGJAM_SUFFIX", "test")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut service = Started::start(&site, command);
    site.wait_for_text("first");
    // To all of the unit's processes, as systemd does.
    nix::sys::signal::killpg(service.pid(), Signal::SIGTERM).expect("they take a signal");
    service.wait();
    let lines = site.archived_lines_of("--prefix=app");
    assert_same_lines_in_order(&lines, &["first", "asked", "last"]);
}
