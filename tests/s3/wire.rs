//! The test server itself, where other clients than this program use it: the SDK's own wire form, and listings.

use super::*;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};

async fn client(server: &S3Server) -> Client {
    let version = aws_config::BehaviorVersion::v2026_01_12();
    let region = aws_config::Region::new("us-east-1");
    Client::new(&aws_config::defaults(version).region(region).endpoint_url(server.endpoint()).load().await)
}

#[test]
fn the_test_server_reads_trailers_and_signed_chunks() {
    run(async {
        for server in both() {
            let data = noise(300_000);
            let piece = bytes::Bytes::from(data.clone());
            // Not held in memory, as far as the SDK knows: so it goes in chunks, with a trailer.
            let streamed = SdkBody::from_body_1_x(http_body_util::Full::new(piece));
            client(&server)
                .await
                .put_object()
                .bucket("logs")
                .key("k")
                .body(ByteStream::new(streamed))
                .send()
                .await
                .unwrap();
            assert!(server.requests().last().unwrap().header("x-amz-trailer").is_some());
            assert!(server.object("logs", "k").unwrap().data() == data);
        }
    });
}

#[test]
fn the_test_server_lists_objects_uploads_and_parts_in_pages() {
    run(async {
        let server = http();
        let s3 = client(&server).await;
        for key in ["a/1", "a/2", "b/1", "c"] {
            server.put_object("logs", key, key.as_bytes());
        }
        let page = s3.list_objects_v2().bucket("logs").max_keys(1);
        let mut keys = Vec::new();
        let mut pages = page.clone().into_paginator().send();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        assert_eq!(keys, ["a/1", "a/2", "b/1", "c"]);
        let mut groups = Vec::new();
        let mut pages = page.delimiter("/").into_paginator().send();
        while let Some(page) = pages.next().await {
            groups.extend(page.unwrap().common_prefixes().iter().filter_map(|p| p.prefix().map(str::to_owned)));
        }
        assert_eq!(groups, ["a/", "b/"]);
        let ours = S3::new(options(&server));
        let upload = ours.begin("d", GZIP).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        ours.send("d", &upload, 7, 0, body(dir.path(), b"part")).await.unwrap();
        let uploads = s3.list_multipart_uploads().bucket("logs").send().await.unwrap();
        assert_eq!(uploads.uploads()[0].upload_id(), Some(upload.as_str()));
        let parts = s3.list_parts().bucket("logs").key("d").upload_id(&upload).send().await.unwrap();
        assert_eq!((parts.parts()[0].part_number(), parts.parts()[0].size()), (Some(7), Some(4)));
    });
}
