//! Where the settings come from, and what they bring about.

use super::*;

#[test]
fn a_certificate_that_nobody_signed_is_refused_with_its_reason() {
    alone("settings::a_certificate_that_nobody_signed_is_refused_with_its_reason", &[], || {
        // SAFETY: this process has one test, and no other thread uses the environment.
        let system = "/etc/ssl/certs/ca-certificates.crt";
        unsafe { std::env::set_var("SSL_CERT_FILE", system) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = S3Server::start_tls();
            let e = store(&S3::new(options(&server)), "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (Class::Retry, Kind::Unreachable), "{e}");
            assert!(e.cause.contains("certificate") || !Path::new(system).exists(), "{e}");
        });
    });
}

/// A server whose buckets are all in `eu-west-1`, and say so in a way of their own.
fn elsewhere(redirect: impl Fn(&Seen) -> Fault + Send + Sync + 'static) -> S3Server {
    let server = http();
    server.set_fault(move |seen| if seen.region() == Some("eu-west-1") { Fault::None } else { redirect(seen) });
    server
}

#[test]
fn the_region_is_found_from_the_bucket_however_the_server_tells_it() {
    run(async {
        let header = || vec![("x-amz-bucket-region", "eu-west-1")];
        let told = elsewhere(move |_| Fault::Refuse { status: 301, code: "PermanentRedirect", headers: header() });
        let malformed =
            elsewhere(move |_| Fault::Refuse { status: 400, code: "AuthorizationHeaderMalformed", headers: header() });
        let asked = elsewhere(move |seen| match seen.key.is_empty() {
            true => Fault::Refuse { status: 403, code: "", headers: header() },
            false => Fault::refuse(301, "PermanentRedirect"),
        });
        for server in [told, malformed, asked] {
            let s3 = S3::new(options(&server));
            store(&s3, "k", b"x").await.unwrap();
            server.clear_requests();
            store(&s3, "l", b"x").await.unwrap();
            assert!(server.requests().iter().all(|seen| seen.region() == Some("eu-west-1")), "it is remembered");
        }
    });
}

#[test]
fn uploads_keep_to_the_bandwidth_together() {
    run(async {
        let server = http();
        let s3 = S3::new(Options { max_bandwidth: Some(MIB as u64), ..options(&server) });
        let start = Instant::now();
        let data = noise(MIB / 2);
        let (a, b) = tokio::join!(store(&s3, "a", &data), store(&s3, "b", &data));
        a.and(b).unwrap();
        let took = start.elapsed();
        assert!((900..3000).contains(&took.as_millis()), "{took:?}");
    });
}

#[test]
fn memory_stays_bounded_whatever_the_size() {
    alone("settings::memory_stays_bounded_whatever_the_size", &[], || {
        let server = http();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(256 * MIB as u64).unwrap();
        run(async {
            let s3 = S3::new(options(&server));
            store(&s3, "small", b"x").await.unwrap();
            let peak = || {
                let status = std::fs::read_to_string("/proc/self/status").unwrap();
                let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
                line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
            };
            let before = peak();
            let whole = Body { file: Disk.open_read(file.path()).unwrap(), offset: 0, len: 256 * MIB as u64 };
            s3.create("large", whole, GZIP).await.unwrap();
            let grown = peak() - before;
            assert!(grown < 16 << 10, "{grown} KiB, client and server together");
        });
        assert_eq!(server.object("logs", "large").unwrap().len, 256 * MIB as u64);
    });
}

#[test]
fn a_wrong_secret_is_refused_and_the_mend_named() {
    let name = "settings::a_wrong_secret_is_refused_and_the_mend_named";
    alone(name, &[("AWS_SECRET_ACCESS_KEY", "wrong")], || {
        let server = http();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let e: Error = runtime.block_on(store(&S3::new(options(&server)), "k", b"x")).unwrap_err();
        assert_eq!((e.class, e.kind), (Class::Stop, Kind::Denied));
        assert!(e.to_string().contains("secret"), "{e}");
    });
}

#[test]
fn credentials_that_come_later_are_found_without_a_restart() {
    let name = "settings::credentials_that_come_later_are_found_without_a_restart";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("credentials");
    let variables = [
        ("AWS_ACCESS_KEY_ID", "-"),
        ("AWS_SECRET_ACCESS_KEY", "-"),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ];
    alone(name, &variables, || {
        let server = http();
        let s3 = S3::new(options(&server));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let e = store(&s3, "k", b"x").await.unwrap_err();
            assert_eq!((e.class, e.kind), (Class::Retry, Kind::Denied), "{e}");
            assert!(e.to_string().contains("AWS_ACCESS_KEY_ID"), "{e}");
            let (id, secret) = (server::ACCESS_KEY, server::SECRET_KEY);
            let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
            std::fs::write(std::env::var("AWS_SHARED_CREDENTIALS_FILE").unwrap(), text).unwrap();
            store(&s3, "k", b"x").await.unwrap();
        });
    });
}

#[test]
fn endpoint_region_and_profile_come_from_where_other_tools_take_them() {
    let name = "settings::endpoint_region_and_profile_come_from_where_other_tools_take_them";
    let server = http();
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = "[default]\nregion = eu-west-2\n[profile other]\nregion = eu-west-3\n";
    std::fs::write(file.path(), config).unwrap();
    let (url, file) = (server.endpoint(), file.path().to_str().unwrap());
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("AWS_REGION", "ap-east-1"), ("AWS_DEFAULT_REGION", "x")], "ap-east-1"),
        (&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "ap-east-2")], "ap-east-2"),
        (&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "")], "us-east-1"),
        (&[("AWS_REGION", "-"), ("AWS_DEFAULT_REGION", "-"), ("AWS_CONFIG_FILE", file)], "eu-west-2"),
        (&[("AWS_REGION", "-"), ("AWS_CONFIG_FILE", file), ("AWS_PROFILE", "other")], "eu-west-3"),
        (&[("AWS_REGION", "-"), ("AWS_CONFIG_FILE", file), ("TEST_PROFILE", "other")], "eu-west-3"),
    ];
    for (index, (variables, region)) in cases.into_iter().enumerate() {
        let endpoint = if index % 2 == 0 { "AWS_ENDPOINT_URL" } else { "AWS_ENDPOINT_URL_S3" };
        server.clear_requests();
        alone(name, &[variables, &[(endpoint, &url)]].concat(), || {
            let s3 = S3::new(Options { profile: std::env::var("TEST_PROFILE").ok(), ..Options::new("logs") });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let key = format!("{:?}", Instant::now());
            runtime.block_on(store(&s3, &key, b"x")).unwrap();
        });
        if std::env::var("TEST_ALONE").is_ok() {
            return;
        }
        assert!(server.requests().iter().any(Seen::is_upload), "{variables:?}");
        assert!(server.requests().iter().all(|seen| seen.region() == Some(region)), "{variables:?}");
    }
}

#[test]
fn a_bucket_is_made_without_network_and_without_a_runtime() {
    let s3 = S3::new(Options { endpoint_url: Some("http://127.0.0.1:1".to_owned()), ..Options::new("logs") });
    assert_eq!(s3.name(), "s3://logs");
    assert_eq!((s3.part_size(), s3.concurrency()), (8 << 20, 4));
}
