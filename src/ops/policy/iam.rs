//! The rights that a user or role needs, and no more.
//!
//! | call | right | used for | without it |
//! |---|---|---|---|
//! | `PutObject`, `CreateMultipartUpload`, `UploadPart`, `CompleteMultipartUpload` | `s3:PutObject` | objects, manifests, checkpoints | nothing is stored |
//! | the first two of these, with tags | `s3:PutObjectTagging` | `--tag` | nothing is stored |
//! | `AbortMultipartUpload` | `s3:AbortMultipartUpload` | an upload in parts that is given up | that archive waits |
//! | `GetObject`, `HeadObject` | `s3:GetObject` | comparing what stands at a key; reading | the archive gets another name |
//! | `ListMultipartUploads` | `s3:ListBucketMultipartUploads` | an upload whose answer got lost | it stays open until a lifecycle rule takes it |
//! | `ListObjectsV2` | `s3:ListBucket` | reading, rescue | neither |
//! | KMS, by S3 | `kms:GenerateDataKey`, and for parts and reading `kms:Decrypt` | `--sse=aws:kms` with a key of one's own | nothing is stored |

use super::keys;
use super::statement::{self, Statement};
use super::{Role, Wish};
use crate::error::Result;
use serde_json::json;
use std::collections::BTreeMap;

const PUT: &str = "s3:PutObject";
const TAG: &str = "s3:PutObjectTagging";
const GIVE_UP: &str = "s3:AbortMultipartUpload";
const GET: &str = "s3:GetObject";
const LIST: &str = "s3:ListBucket";
const LIST_UPLOADS: &str = "s3:ListBucketMultipartUploads";
const ENCRYPT: &str = "kms:GenerateDataKey";
const DECRYPT: &str = "kms:Decrypt";

/// What a right is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Objects,
    Checkpoints,
    Bucket,
    Key,
}

type Rights = BTreeMap<Target, Vec<&'static str>>;

pub fn policy(wish: &Wish, bucket: &str, roles: &[Role]) -> Result<String> {
    let mut rights = Rights::new();
    for role in roles {
        for (target, action) in of(*role, wish) {
            let actions = rights.entry(target).or_default();
            if !actions.contains(&action) {
                actions.push(action);
            }
        }
    }
    let in_bucket = |keys: &str| keys::arn(wish, bucket, keys);
    let statements = rights.into_iter().filter_map(|(target, actions)| match target {
        Target::Objects => {
            let objects = keys::objects(wish).iter().map(|keys| in_bucket(&format!("/{keys}"))).collect();
            Some(Statement::allow("LogjamObjects", actions, objects))
        }
        Target::Checkpoints => {
            let checkpoints = keys::checkpoints(wish).iter().map(|keys| in_bucket(&format!("/{keys}"))).collect();
            Some(Statement::allow("LogjamCheckpoints", actions, checkpoints))
        }
        Target::Bucket => Some(Statement::allow("LogjamBucket", actions, vec![in_bucket("")])),
        Target::Key => key(wish, actions),
    });
    statement::policy(statements.collect())
}

fn of(role: Role, wish: &Wish) -> Vec<(Target, &'static str)> {
    use Target::{Bucket, Checkpoints, Key, Objects};
    let writes = matches!(role, Role::Write | Role::Rescue);
    let reads = !matches!(role, Role::Write);
    // A rescue marks a checkpoint, whoever wrote it.
    let notes = writes && (wish.checkpoints || role == Role::Rescue);
    [
        (writes, Objects, PUT),
        (writes && wish.tags, Objects, TAG),
        (writes, Objects, GIVE_UP),
        (reads, Objects, GET),
        (notes, Checkpoints, PUT),
        (notes && wish.tags, Checkpoints, TAG),
        (matches!(role, Role::Read | Role::Rescue), Checkpoints, GET),
        (matches!(role, Role::Read | Role::Rescue), Bucket, LIST),
        (matches!(role, Role::Recognise | Role::Rescue), Bucket, LIST_UPLOADS),
        (writes, Key, ENCRYPT),
        (true, Key, DECRYPT),
    ]
    .into_iter()
    .filter_map(|(needed, target, action)| needed.then_some((target, action)))
    .collect()
}

/// The KMS key. Of the one that AWS manages for S3 everybody in the account has the use, through S3.
fn key(wish: &Wish, actions: Vec<&'static str>) -> Option<Statement> {
    let key = wish.kms_key_id?;
    let (partition, region) = (keys::partition(wish.region), wish.region.unwrap_or("*"));
    let (resource, alias) = match key.rfind("alias/") {
        Some(at) if key.starts_with("arn:") => (format!("{}key/*", &key[..at]), Some(&key[at..])),
        Some(at) => (format!("arn:{partition}:kms:{region}:*:key/*"), Some(&key[at..])),
        None if key.starts_with("arn:") => (key.to_owned(), None),
        None => (format!("arn:{partition}:kms:{region}:*:key/{key}"), None),
    };
    let condition = alias.map(|alias| json!({ "ForAnyValue:StringEquals": { "kms:ResourceAliases": alias } }));
    Some(Statement { condition, ..Statement::allow("LogjamKey", actions, vec![resource]) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::wish;
    use super::super::{DEST, Wish};
    use super::*;
    use crate::format::key::Dest;

    fn of_key(key: &str, region: Option<&str>) -> serde_json::Value {
        let dest = Dest::parse(DEST).unwrap();
        let wish = Wish { sse: Some("aws:kms"), kms_key_id: Some(key), region, ..wish(DEST, &dest) };
        let text = policy(&wish, "logs", &[Role::Write]).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["Statement"][2].clone()
    }

    #[test]
    fn a_key_is_named_by_arn_identity_or_alias() {
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/1234";
        assert_eq!(of_key(arn, None)["Resource"], json!([arn]));
        assert_eq!(of_key("1234", Some("cn-north-1"))["Resource"], json!(["arn:aws-cn:kms:cn-north-1:*:key/1234"]));
        let alias = of_key("alias/logs", None);
        assert_eq!(alias["Resource"], json!(["arn:aws:kms:*:*:key/*"]));
        assert_eq!(alias["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"], "alias/logs");
        let alias = of_key("arn:aws:kms:eu-west-1:111122223333:alias/logs", None);
        assert_eq!(alias["Resource"], json!(["arn:aws:kms:eu-west-1:111122223333:key/*"]));
    }

    #[test]
    fn roles_add_up() {
        let dest = Dest::parse(DEST).unwrap();
        let text = policy(&wish(DEST, &dest), "logs", &[Role::Write, Role::Read]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["Statement"][0]["Action"], json!([PUT, GIVE_UP, GET]));
        assert_eq!(value["Statement"][1]["Action"], json!([PUT, GET]));
        assert_eq!(value["Statement"][2]["Action"], json!([LIST]));
        assert_eq!(value["Statement"][2]["Resource"], json!(["arn:aws:s3:::logs"]));
    }
}
