//! The policy of the bucket: what nobody may do, whatever rights he has.

use super::Wish;
use super::keys;
use super::statement::{self, Statement};
use crate::error::Result;
use crate::format::layout::PRIVATE;
use serde_json::json;

const SSE: &str = "s3:x-amz-server-side-encryption";
const SSE_KEY: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";

pub fn policy(wish: &Wish, bucket: &str) -> Result<String> {
    let arn = |keys: &str| keys::arn(wish, bucket, keys);
    let all = vec![arn(""), arn("/*")];
    let mut statements = vec![
        Statement::deny("TlsOnly", "s3:*", all, json!({ "Bool": { "aws:SecureTransport": "false" } })),
        // The second condition leaves the parts of an upload alone: its completion is conditional.
        archives_only(
            wish,
            bucket,
            Statement::deny(
                "NothingIsReplaced",
                "s3:PutObject",
                Vec::new(),
                json!({ "Null": { "s3:if-none-match": "true" }, "Bool": { "s3:ObjectCreationOperation": "true" } }),
            ),
        ),
    ];
    // Parts and completions name no encryption, and what names none gets the bucket's own.
    let other = |key: &str, test: &str, value: &str| json!({ "Null": { key: "false" }, test: { key: value } });
    if let Some(sse) = wish.sse {
        let condition = other(SSE, "StringNotEquals", sse);
        statements.push(Statement::deny("NoOtherEncryption", "s3:PutObject", vec![arn("/*")], condition));
    }
    // An alias is not what S3 compares with.
    if let Some(key) = wish.kms_key_id.filter(|key| !key.contains("alias/")) {
        let arn_of_key = match key.starts_with("arn:") {
            true => key.to_owned(),
            false => format!("arn:{}:kms:*:*:key/{key}", keys::partition(wish.region)),
        };
        let condition = other(SSE_KEY, "StringNotLike", &arn_of_key);
        statements.push(Statement::deny("NoOtherKey", "s3:PutObject", vec![arn("/*")], condition));
    }
    statement::policy(statements)
}

/// Checkpoints are replaced by design, and lie under a name of their own.
fn archives_only(wish: &Wish, bucket: &str, statement: Statement) -> Statement {
    let root = keys::root(wish);
    let shared = root.starts_with(PRIVATE) || PRIVATE.starts_with(root);
    match shared {
        true => Statement { not_resource: vec![keys::arn(wish, bucket, &format!("/{PRIVATE}/*"))], ..statement },
        false => {
            let keys = format!("/{}*", keys::literal(root));
            Statement { resource: vec![keys::arn(wish, bucket, &keys)], ..statement }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::wish;
    use super::*;
    use crate::format::key::Dest;

    #[test]
    fn a_bucket_that_is_shared_is_ruled_where_archives_lie() {
        for (template, list, keys) in [
            ("{prefix}/{year}/{month}/{day}/{filename}", "NotResource", "arn:aws:s3:::logs/.logjam/*"),
            ("ours/{prefix}/{year}/{month}/{day}/{filename}", "Resource", "arn:aws:s3:::logs/ours/*"),
        ] {
            let text = format!("s3://logs/{template}");
            let dest = Dest::parse(&text).unwrap();
            let policy: serde_json::Value =
                serde_json::from_str(&policy(&wish(&text, &dest), "logs").unwrap()).unwrap();
            assert_eq!(policy["Statement"][1][list], json!([keys]), "{template}");
            assert_eq!(policy["Statement"][1].as_object().map(|fields| fields.len()), Some(6));
        }
    }
}
