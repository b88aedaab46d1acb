//! What stands in the bucket: looked at, fetched, replaced and listed; and uploads in parts that are open.

use super::*;
use logjam::env::store::{Found, in_memory};

const JSON: &str = "application/json";

/// The whole content of an object.
async fn fetch(s3: &S3, key: &str) -> Result<Option<(Found, Vec<u8>)>> {
    let Some((found, mut content)) = s3.fetch(key, 0).await? else { return Ok(None) };
    let mut data = Vec::new();
    while let Some(piece) = content.next().await? {
        assert!(!piece.is_empty());
        data.extend_from_slice(&piece);
    }
    Ok(Some((found, data)))
}

async fn replace(s3: &S3, key: &str, text: &'static str, only_if: Option<&str>) -> Result<String> {
    s3.replace(key, in_memory(text.into()), JSON, only_if).await.map(Option::unwrap)
}

#[test]
fn an_object_is_looked_at_and_fetched_as_it_was_stored() {
    run(async {
        for server in both() {
            let s3 = S3::new(options(&server));
            let data = noise(6 * MIB);
            store_in_parts(&s3, "é/parts", &data).await.unwrap();
            for (key, data) in [("whole", &data[..MIB + 1]), ("empty", b""), ("é/parts", &data)] {
                if key != "é/parts" {
                    store(&s3, key, data).await.unwrap();
                }
                let found = s3.look(key).await.unwrap().unwrap();
                let etag = found.etag.as_deref().unwrap().trim_matches('"');
                assert_eq!((found.len, etag), (data.len() as u64, server.object("logs", key).unwrap().etag.as_str()));
                assert_eq!(found.checksum, Some(crc(data)));
                assert!((chrono::Utc::now() - found.modified).num_seconds().abs() < 60);
                let (again, content) = fetch(&s3, key).await.unwrap().unwrap();
                assert!(again == found && content == data, "{key}");
                let from = data.len() / 3;
                if from > 0 {
                    let (again, mut rest) = s3.fetch(key, from as u64).await.unwrap().unwrap();
                    let mut content = Vec::new();
                    while let Some(piece) = rest.next().await.unwrap() {
                        content.extend_from_slice(&piece);
                    }
                    assert!(again.etag == found.etag && content == data[from..], "{key} from {from} on");
                }
            }
            assert_eq!(s3.look("absent").await.unwrap(), None);
            assert!(fetch(&s3, "absent").await.unwrap().is_none());
        }
    });
}

#[test]
fn only_a_checksum_of_the_whole_object_counts() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        store(&s3, "k", b"x").await.unwrap();
        server.set_checksum("logs", "k", "rosUhgp5mIg=-2");
        assert_eq!(s3.look("k").await.unwrap().unwrap().checksum, None);
        assert_eq!(fetch(&s3, "k").await.unwrap().unwrap().0.checksum, None);
        server.put_object("logs", "other", b"x");
        assert_eq!(s3.look("other").await.unwrap().unwrap().checksum, None);
    });
}

#[test]
fn content_that_is_not_what_its_checksum_says_is_not_fetched_to_its_end() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        store(&s3, "k", b"x").await.unwrap();
        server.set_checksum("logs", "k", &crc(b"y"));
        assert_eq!(kind(fetch(&s3, "k").await), (Class::Retry, Kind::Unreachable));
    });
}

#[test]
fn a_server_without_checksums_is_read_all_the_same() {
    run(async {
        let server = http();
        server.set_fault(server::without_checksums);
        let (warnings, _guard) = Warnings::listen();
        server.put_object("logs", "k", b"data");
        for _ in 0..2 {
            let s3 = S3::new(options(&server));
            assert_eq!(s3.look("k").await.unwrap().unwrap().checksum, None);
            assert_eq!(fetch(&s3, "k").await.unwrap().unwrap().1, b"data");
            assert_eq!(s3.look("absent").await.unwrap(), None);
        }
        assert_eq!(warnings.lines().len(), 2, "{:?}", warnings.lines());
        let s3 = S3::new(options(&server));
        let (upload, parts) = send_parts(&s3, "parts", b"data").await.unwrap();
        assert_eq!((parts[0].checksum.as_deref(), parts[0].crc.as_str()), (None, crc(b"data").as_str()));
        s3.complete("parts", &upload, &parts, &crc(b"data")).await.unwrap();
        let complete = server.requests().into_iter().rfind(Seen::is_complete).unwrap();
        assert!(!complete.has_checksum(), "{complete:?}");
    });
}

#[test]
fn an_object_at_a_fixed_key_is_replaced_whatever_stands_there() {
    run(async {
        for server in both() {
            let s3 = S3::new(options(&server));
            let first = replace(&s3, "k", "{}", None).await.unwrap();
            let second = replace(&s3, "k", "[1]", None).await.unwrap();
            assert_ne!(first, second);
            assert_eq!(server.object("logs", "k").unwrap().data(), b"[1]");
            assert_eq!(s3.look("k").await.unwrap().unwrap().etag, Some(second));
            let puts = server.requests().into_iter().filter(Seen::is_upload);
            assert_eq!(puts.filter(|put| put.header("if-none-match").or(put.header("if-match")).is_some()).count(), 0);
        }
    });
}

#[test]
fn with_a_condition_only_the_object_that_is_known_is_replaced() {
    run(async {
        for server in both() {
            let forbid = |seen: &Seen| if seen.method == "HEAD" { Fault::refuse(403, "") } else { Fault::None };
            // Where the look is not allowed, the condition holds; where that is not known, the look does.
            for way in 0..3 {
                let s3 = S3::new(options(&server));
                let first = replace(&s3, "k", "1", None).await.unwrap();
                match way {
                    0 => server.clear_fault(),
                    1 => server.set_fault(forbid),
                    _ => server.set_fault(|_| Fault::Ignore(&["if-match"])),
                }
                let second = replace(&s3, "k", "2", Some(&first)).await.unwrap();
                assert_eq!(kind(replace(&s3, "k", "3", Some(&first)).await), (Class::Stop, Kind::Exists), "{way}");
                assert_eq!(server.object("logs", "k").unwrap().data(), b"2");
                server.remove_object("logs", "k");
                assert_eq!(kind(replace(&s3, "k", "3", Some(&second)).await), (Class::Stop, Kind::Exists), "{way}");
                assert!(server.all_keys("logs").is_empty());
            }
            assert!(server.requests().iter().any(|seen| seen.header("if-match").is_some()));
        }
    });
}

#[test]
fn a_server_that_refuses_conditions_is_looked_at_before_something_is_replaced() {
    run(async {
        let server = http();
        server.set_fault(|seen| match seen.header("if-match") {
            Some(_) => Fault::refuse(501, "NotImplemented"),
            None => Fault::None,
        });
        let (warnings, _guard) = Warnings::listen();
        let s3 = S3::new(options(&server));
        let first = replace(&s3, "k", "1", None).await.unwrap();
        replace(&s3, "k", "2", Some(&first)).await.unwrap();
        assert_eq!(kind(replace(&s3, "k", "3", Some(&first)).await).1, Kind::Exists);
        let lines = warnings.lines();
        assert!(lines.len() == 1 && lines[0].contains("If-Match"), "{lines:?}");
    });
}

#[test]
fn small_objects_get_encryption_and_tags_but_no_class_and_no_metadata() {
    run(async {
        let server = http();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let s3 = S3::new(Options {
            sse: Some("AES256".to_owned()),
            storage_class: Some("GLACIER".to_owned()),
            tags: vec![pair("team", "a")],
            metadata: vec![pair("origin", "web-1")],
            ..options(&server)
        });
        s3.create("json", in_memory("{}".into()), JSON).await.unwrap();
        s3.replace("replaced", in_memory("x".into()), GZIP, None).await.unwrap();
        let upload = s3.begin("parts", JSON).await.unwrap();
        let part = s3.send("parts", &upload, 1, 0, in_memory("{}".into())).await.unwrap();
        s3.complete("parts", &upload, &[part], &crc(b"{}")).await.unwrap();
        for key in ["json", "replaced", "parts"] {
            let said = server.object("logs", key).unwrap().said;
            assert_eq!((said.sse.as_deref(), said.tags.as_deref()), (Some("AES256"), Some("team=a")), "{key}");
            assert!(said.storage_class.is_none() && said.metadata.is_empty(), "{key}: {said:?}");
        }
    });
}

#[test]
fn keys_are_listed_in_pages_in_the_order_of_their_bytes() {
    run(async {
        for server in both() {
            server.set_page(2);
            let s3 = S3::new(options(&server));
            let keys = ["a-1", "a/1", "a/2 +é", "a/b/3", "a/c", "b"];
            keys.iter().for_each(|key| server.put_object("logs", key, key.as_bytes()));
            let mut found = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let page = s3.list("a", after.as_deref()).await.unwrap();
                assert!(page.keys.len() <= 2 && page.keys.iter().all(|listed| listed.len == listed.key.len() as u64));
                let last = page.keys.last().unwrap();
                assert!((chrono::Utc::now() - last.modified).num_seconds().abs() < 60);
                after = Some(last.key.clone());
                found.extend(page.keys.into_iter().map(|listed| listed.key));
                if !page.more {
                    break;
                }
            }
            assert_eq!(found, keys[..5]);
            server.set_page(1000);
            let names = |page: logjam::env::store::Page| page.keys.into_iter().map(|l| l.key).collect::<Vec<_>>();
            assert_eq!(names(s3.list("a/", Some("a/2 +é")).await.unwrap()), keys[3..5]);
            assert_eq!(names(s3.list("a/", Some("a/bz")).await.unwrap()), keys[4..5]);
            assert_eq!(names(s3.list("", None).await.unwrap()), keys);
            assert!(s3.list("z", None).await.unwrap().keys.is_empty());
        }
    });
}

#[test]
fn who_may_not_look_is_told_so_and_a_missing_bucket_is_named() {
    run(async {
        let server = http();
        let s3 = S3::new(options(&server));
        server.remove_bucket("logs");
        assert_eq!(kind(s3.list("", None).await).1, Kind::NoBucket);
        assert_eq!(kind(fetch(&s3, "k").await).1, Kind::NoBucket);
        assert_eq!(kind(s3.open("k").await).1, Kind::NoBucket);
        server.set_fault(|_| Fault::refuse(403, "AccessDenied"));
        let errors = [
            (s3.look("k").await.map(|_| ()).unwrap_err(), "s3:GetObject on the key"),
            (s3.fetch("k", 0).await.map(|_| ()).unwrap_err(), "s3:GetObject on the key"),
            (s3.list("k", None).await.map(|_| ()).unwrap_err(), "s3:ListBucket on the bucket"),
            (s3.open("k").await.map(|_| ()).unwrap_err(), "s3:ListBucketMultipartUploads on the bucket"),
            (replace(&s3, "k", "x", None).await.unwrap_err(), "s3:PutObject on the key"),
        ];
        for (e, right) in errors {
            assert_eq!((e.class, e.kind), (Class::Stop, Kind::Denied), "{e}");
            assert!(e.to_string().contains(&format!("this needs the right {right}")), "{e}");
        }
    });
}

#[test]
fn parts_whose_checksum_is_not_that_of_the_whole_make_no_object() {
    run(async {
        for server in both() {
            let s3 = S3::new(options(&server));
            let data = noise(6 * MIB);
            let (upload, parts) = send_parts(&s3, "k", &data).await.unwrap();
            let e = s3.complete("k", &upload, &parts, &crc(b"other")).await.unwrap_err();
            assert_eq!((e.class, e.cause.contains("BadDigest")), (Class::Retry, true), "{e}");
            assert!(server.all_keys("logs").is_empty() && server.open_uploads().len() == 1);
            s3.complete("k", &upload, &parts, &crc(&data)).await.unwrap();
            assert!(server.object("logs", "k").unwrap().data() == data);
            // A server that does not look at it says another one.
            let (upload, parts) = send_parts(&s3, "l", &data).await.unwrap();
            server.set_fault(|seen| match seen.is_complete() {
                true => Fault::Ignore(&["x-amz-checksum-crc64nvme"]),
                false => Fault::None,
            });
            let e = s3.complete("l", &upload, &parts, &crc(b"other")).await.unwrap_err();
            assert!(e.class == Class::Retry && e.cause.contains("was sent"), "{e}");
        }
    });
}

#[test]
fn the_open_uploads_to_a_key_are_found_whatever_else_is_open() {
    run(async {
        for server in both() {
            server.set_page(2);
            let s3 = S3::new(options(&server));
            let mut ours = Vec::new();
            for key in ["k", "k2", "k", "k/l", "j", "k"] {
                let upload = s3.begin(key, GZIP).await.unwrap();
                if key == "k" {
                    ours.push(upload);
                }
            }
            server.clear_requests();
            let mut found = s3.open("k").await.unwrap();
            found.sort();
            ours.sort();
            assert_eq!(found, ours);
            assert_eq!(server.requests().len(), 3, "pages of two, of five uploads");
            s3.abort("k", &ours.pop().unwrap()).await.unwrap();
            assert_eq!(s3.open("k").await.unwrap().len(), 2);
            assert!(s3.open("other").await.unwrap().is_empty());
        }
    });
}
