//! Servers that know less than S3.

use super::*;

#[test]
fn a_server_that_refuses_checksums_gets_content_md5_and_one_warning() {
    run(async {
        for server in both() {
            server.set_fault(server::without_checksums);
            let (warnings, _guard) = Warnings::listen();
            let s3 = S3::new(options(&server));
            let data = noise(6 * MIB);
            store_in_parts(&s3, "parts", &data).await.unwrap();
            for key in ["a", "b"] {
                assert_eq!(store(&s3, key, &data[..MIB]).await.unwrap().checksum, None);
            }
            assert!(server.object("logs", "parts").unwrap().data() == data);
            assert!(server.object("logs", "b").unwrap().data() == data[..MIB]);
            let lines = warnings.lines();
            assert!(lines.len() == 1 && lines[0].contains("Content-MD5"), "{lines:?}");
            let uploads = server.requests().into_iter().filter(|seen| seen.is_upload() && seen.key == "b");
            assert!(uploads.clone().count() == 1 && uploads.clone().all(|seen| seen.header("content-md5").is_some()));
            assert_eq!(kind(store(&s3, "a", b"other").await).1, Kind::Exists);
        }
    });
}

#[test]
fn a_server_that_refuses_conditions_is_looked_at_first_and_warned_of_once() {
    run(async {
        let server = http();
        server.set_fault(server::without_conditions);
        let (warnings, _guard) = Warnings::listen();
        let s3 = S3::new(options(&server));
        assert!(store(&s3, "k", b"old").await.unwrap().checksum.is_some());
        store_in_parts(&s3, "l", b"old").await.unwrap();
        assert_eq!(kind(store(&s3, "k", b"new").await).1, Kind::Exists);
        assert_eq!(kind(store_in_parts(&s3, "l", b"new").await).1, Kind::Exists);
        let lines = warnings.lines();
        assert!(lines.len() == 1 && lines[0].contains("If-None-Match"), "{lines:?}");
    });
}

#[test]
fn a_server_that_refuses_both_gets_the_object_all_the_same() {
    run(async {
        let server = http();
        server.set_fault(server::without_both);
        let (warnings, _guard) = Warnings::listen();
        let s3 = S3::new(options(&server));
        store(&s3, "k", b"old").await.unwrap();
        store_in_parts(&s3, "l", &noise(6 * MIB)).await.unwrap();
        assert_eq!(kind(store(&s3, "k", b"new").await).1, Kind::Exists);
        let lines = warnings.lines();
        assert!(lines.len() == 1, "{lines:?}");
        assert!(lines[0].contains("If-None-Match") && lines[0].contains("Content-MD5"), "{lines:?}");
    });
}

#[test]
fn a_server_that_ignores_what_it_does_not_know_is_found_out() {
    run(async {
        let server = http();
        server.set_fault(|_| Fault::Ignore(&["if-none-match", "x-amz-checksum-crc64nvme"]));
        let (warnings, _guard) = Warnings::listen();
        let s3 = S3::new(options(&server));
        assert_eq!(store(&s3, "k", b"old").await.unwrap().checksum, None);
        assert_eq!(kind(store(&s3, "k", b"new").await).1, Kind::Exists);
        store_in_parts(&s3, "l", &noise(6 * MIB)).await.unwrap();
        assert_eq!(server.object("logs", "k").unwrap().data(), b"old");
        assert_eq!(warnings.lines().len(), 1, "{:?}", warnings.lines());
        let unprotected = |seen: &&Seen| seen.is_upload() && seen.header("content-md5").is_none();
        assert_eq!(server.requests().iter().filter(unprotected).count(), 0);
    });
}

#[test]
fn a_refusal_for_another_reason_is_reported_as_the_server_said_it() {
    run(async {
        let server = http();
        server.set_fault(|seen| match seen.is_upload() {
            true => Fault::refuse(400, "InvalidStorageClass"),
            false => Fault::None,
        });
        let (warnings, _guard) = Warnings::listen();
        let e = store(&S3::new(options(&server)), "k", b"x").await.unwrap_err();
        assert!(e.class == Class::Stop && e.cause.contains("InvalidStorageClass"), "{e}");
        assert!(warnings.lines().is_empty());
    });
}
