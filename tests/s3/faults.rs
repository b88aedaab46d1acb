//! Everything that goes wrong on the way, and what is said about it.

use super::*;

#[test]
fn content_that_changes_on_its_way_is_refused_by_the_server() {
    run(async {
        for server in both() {
            // More than what the sockets hold: its end is read only after the server has seen the request's head.
            let file = Arc::new(tempfile::NamedTempFile::new().unwrap());
            let len = 24 * MIB as u64;
            file.as_file().set_len(len).unwrap();
            let rotting = Body { file: Disk.open_read(file.path()).unwrap(), offset: 0, len };
            let rounds = AtomicUsize::new(1);
            server.set_fault(move |seen| {
                if seen.is_upload() {
                    let byte = [rounds.fetch_add(1, Ordering::Relaxed) as u8];
                    file.as_file().write_all_at(&byte, len - 1).unwrap();
                }
                Fault::None
            });
            let s3 = S3::new(options(&server));
            let e = s3.create("k", rotting.clone(), GZIP).await.unwrap_err();
            assert_eq!((e.class, e.cause.contains("BadDigest")), (Class::Retry, true), "{e}");
            let upload = s3.begin("k", GZIP).await.unwrap();
            assert_eq!(kind(s3.send("k", &upload, 1, 0, rotting).await).0, Class::Retry);
            assert!(server.all_keys("logs").is_empty());
        }
    });
}

#[test]
fn a_missing_bucket_is_named_and_found_once_it_is_there() {
    run(async {
        let server = S3Server::start();
        let s3 = S3::new(options(&server));
        let e = store(&s3, "k", b"x").await.unwrap_err();
        assert_eq!((e.class, e.kind, e.cause.as_str()), (Class::Stop, Kind::NoBucket, "Failed to find bucket logs"));
        server.create_bucket("logs");
        store(&s3, "k", b"x").await.unwrap();
    });
}

#[test]
fn an_upload_that_is_gone_is_told_apart_and_may_be_given_up_again() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        let dir = tempfile::tempdir().unwrap();
        let upload = s3.begin("k", GZIP).await.unwrap();
        let part = s3.send("k", &upload, 1, 0, body(dir.path(), b"x")).await.unwrap();
        s3.abort("k", &upload).await.unwrap();
        s3.abort("k", &upload).await.unwrap();
        assert!(server.open_uploads().is_empty());
        assert_eq!(kind(s3.send("k", &upload, 2, 1, body(dir.path(), b"x")).await).1, Kind::NotFound);
        assert_eq!(kind(s3.complete("k", &upload, &[part], &crc(b"x")).await).1, Kind::NotFound);
    });
}

#[test]
fn a_server_that_is_away_is_named_at_once_and_used_again_when_it_is_back() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        store(&s3, "before", b"x").await.unwrap();
        server.stop();
        let e = store(&s3, "during", b"x").await.unwrap_err();
        assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable));
        assert!(e.cause.contains("Connection refused") && e.cause.contains(&server.endpoint()), "{e}");
        server.resume();
        store(&s3, "during", b"x").await.unwrap();
        assert_eq!(server.all_keys("logs"), ["before", "during"]);
    });
}

#[test]
fn an_unknown_host_and_a_certificate_of_nobody_are_told_apart() {
    run(async {
        let server = S3Server::start_tls();
        let plain = format!("http://{}", server.endpoint().trim_start_matches("https://"));
        for (url, word) in [("https://no-such-host.invalid", "lookup"), (plain.as_str(), "http")] {
            let s3 = S3::new(Options { endpoint_url: Some(url.to_owned()), ..options(&server) });
            let e = store(&s3, "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable), "{e}");
            assert!(e.cause.contains(word), "{e}");
        }
    });
}

#[test]
fn a_server_that_falls_silent_is_given_up_after_the_patience() {
    // Its patience is then that of all connections of the process.
    alone("faults::a_server_that_falls_silent_is_given_up_after_the_patience", &[], || {
        run(async {
            for (fault, first) in [(Fault::Stall, "took nothing"), (Fault::Swallow, "said nothing")] {
                let server = http();
                server.set_fault(move |seen: &Seen| if seen.method == "PUT" { fault.clone() } else { Fault::None });
                let s3 = S3::new(Options { patience: Duration::from_millis(300), ..options(&server) });
                let start = Instant::now();
                let e = store(&s3, "k", &noise(4 * MIB)).await.unwrap_err();
                assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable));
                assert!(e.cause.contains(first), "{e}");
                assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
                server.clear_fault();
                store(&s3, "k", b"x").await.unwrap();
            }
        })
    });
}

/// As `upload` has it: the archive is locked while it is sent. The next try, and everybody else, needs it.
#[test]
fn what_is_left_of_a_body_that_was_given_up_keeps_no_lock_and_no_connection() {
    alone("faults::what_is_left_of_a_body_that_was_given_up_keeps_no_lock_and_no_connection", &[], || {
        run(async {
            let server = http();
            server.set_fault(|seen: &Seen| if seen.is_upload() { Fault::Stall } else { Fault::None });
            let s3 = S3::new(Options { patience: Duration::from_millis(300), ..options(&server) });
            for parts in [false, true] {
                // More than what the sockets hold, so that some of it waits in the HTTP client.
                let file = tempfile::NamedTempFile::new().unwrap();
                let len = 16 * MIB as u64;
                file.as_file().set_len(len).unwrap();
                let body = Body { file: Disk.open_read(file.path()).unwrap(), offset: 0, len };
                assert!(body.file.try_lock().unwrap());
                let sent = match parts {
                    false => s3.create("k", body, GZIP).await.map(|_| ()),
                    true => s3.send("k", &s3.begin("k", GZIP).await.unwrap(), 1, 0, body).await.map(|_| ()),
                };
                assert_eq!(kind(sent), (Class::Retry, Kind::Unreachable));
                let free = || Disk.open_read(file.path()).unwrap().try_lock().unwrap();
                eventually("the lock is free", free).await;
            }
            let port = server.endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
            eventually("the connections are closed", || unsent_to(port) == 0).await;
            server.clear_fault();
            store(&s3, "k", b"x").await.unwrap();
        })
    });
}

/// Awaits it, without keeping anybody else of this thread waiting.
async fn eventually(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many connections to a port of this host have something that the other side did not take (proc_net_tcp(5)).
fn unsent_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let unsent = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[2].ends_with(&format!(":{port:04X}")) && !words[4].starts_with("00000000:")
    };
    table.lines().skip(1).filter(unsent).count()
}

#[test]
fn a_silent_answer_to_a_small_request_is_given_up_too() {
    run(async {
        let server = http();
        server.set_fault(|_| Fault::Stall);
        let s3 = S3::new(Options { patience: Duration::from_millis(100), ..options(&server) });
        let dir = tempfile::tempdir().unwrap();
        for result in [s3.abort("k", "u").await, s3.matches("k", body(dir.path(), b"x")).await.map(|_| ())] {
            assert_eq!(kind(result), (Class::Retry, Kind::Unreachable));
        }
    });
}

#[test]
fn a_cut_connection_is_made_again_and_the_body_sent_from_its_beginning() {
    run(async {
        for server in both() {
            let cuts = AtomicUsize::new(0);
            server.set_fault(move |seen| match seen.is_upload() && cuts.fetch_add(1, Ordering::Relaxed) == 0 {
                true => Fault::Cut,
                false => Fault::None,
            });
            let data = noise(MIB);
            store(&S3::new(options(&server)), "k", &data).await.unwrap();
            assert!(server.object("logs", "k").unwrap().data() == data);
        }
    });
}

#[test]
fn an_upload_whose_answer_got_lost_is_found_to_be_done() {
    run(async {
        let server = http();
        let lost = AtomicUsize::new(0);
        server.set_fault(move |seen| match seen.is_upload() && lost.fetch_add(1, Ordering::Relaxed) == 0 {
            true => Fault::DropAnswer,
            false => Fault::None,
        });
        let s3 = S3::new(options(&server));
        assert_eq!(kind(store(&s3, "k", b"data").await).1, Kind::Exists);
        let dir = tempfile::tempdir().unwrap();
        assert!(s3.matches("k", body(dir.path(), b"data")).await.unwrap());
    });
}

#[test]
fn an_upload_that_stays_open_after_its_abort_is_not_taken_for_closed() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        for lie in [Fault::refuse(404, "NoSuchUpload"), Fault::Garbage] {
            let upload = s3.begin("k", "text/plain").await.unwrap();
            server.set_fault(move |seen| if seen.method == "DELETE" { lie.clone() } else { Fault::None });
            assert_eq!(kind(s3.abort("k", &upload).await).0, Class::Retry);
            server.clear_fault();
            s3.abort("k", &upload).await.unwrap();
            assert!(server.open_uploads().is_empty());
            s3.abort("k", &upload).await.unwrap();
        }
        // Who may not look has to believe it.
        let upload = s3.begin("k", "text/plain").await.unwrap();
        server.set_fault(|seen| if seen.method == "GET" { Fault::refuse(403, "AccessDenied") } else { Fault::None });
        s3.abort("k", &upload).await.unwrap();
        assert!(server.open_uploads().is_empty());
    });
}

#[test]
fn what_something_else_answers_is_no_other_content_and_one_refusal_is_not_believed() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        store(&s3, "k", b"data").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        server.set_fault(|seen| if seen.method == "GET" { Fault::Garbage } else { Fault::None });
        assert_eq!(kind(s3.matches("k", body(dir.path(), b"data")).await).0, Class::Retry);
        let refused = AtomicUsize::new(0);
        server.set_fault(move |seen| match seen.method == "GET" && refused.fetch_add(1, Ordering::Relaxed) == 0 {
            true => Fault::refuse(403, "AccessDenied"),
            false => Fault::None,
        });
        assert!(s3.matches("k", body(dir.path(), b"data")).await.unwrap());
        server.set_fault(|seen| if seen.method == "GET" { Fault::refuse(403, "AccessDenied") } else { Fault::None });
        assert_eq!(kind(s3.matches("k", body(dir.path(), b"data")).await).1, Kind::Denied);
    });
}

#[test]
fn refusals_say_whether_waiting_helps() {
    run(async {
        let server = http();
        for (status, code, class, kind, mend) in [
            (403, "AccessDenied", Class::Stop, Kind::Denied, "s3:PutObject"),
            (403, "InvalidAccessKeyId", Class::Stop, Kind::Denied, "access key"),
            (400, "ExpiredToken", Class::Retry, Kind::Denied, "renew"),
            (409, "ConditionalRequestConflict", Class::Retry, Kind::Busy, ""),
            (503, "SlowDown", Class::Retry, Kind::Throttled, ""),
        ] {
            server.set_fault(move |seen| match seen.method.as_str() {
                "PUT" => Fault::refuse(status, code),
                _ => Fault::None,
            });
            let e = store(&S3::new(options(&server)), "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (class, kind), "{e}");
            assert!(e.to_string().contains(mend) && e.cause.contains(code), "{e}");
        }
    });
}

#[test]
fn a_wrong_clock_is_said_to_be_the_matter() {
    run(async {
        let server = http();
        server.set_fault(|_| Fault::refuse(403, "RequestTimeTooSkewed"));
        let s3 = S3::new(options(&server));
        let e = s3.begin("k", GZIP).await.unwrap_err();
        assert_eq!(e.class, Class::Retry);
        assert!(e.to_string().contains("NTP"), "{e}");
    });
}
