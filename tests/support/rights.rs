//! A judge of requests by policies, as S3 documents them (Amazon S3 User Guide, "Required permissions for Amazon S3 API
//! operations", "Policy condition keys for Amazon S3", "Enforce conditional writes"): what moto does not look at. Those are tags,
//! KMS, conditions and the bucket's own policy.

use crate::server::{Fault, Seen};
use serde_json::Value;

/// The policies that hold.
#[derive(Clone)]
pub struct Rights {
    /// What the client may do.
    pub iam: Value,
    /// What nobody may do.
    pub bucket: Option<Value>,
    /// The KMS key, if everything is encrypted with one.
    pub key: Option<String>,
    /// Whether requests come over TLS.
    pub tls: bool,
}

impl Rights {
    /// What becomes of a request.
    pub fn judge(&self, seen: &Seen) -> Fault {
        let allowed = |(action, resource): &(&str, String)| self.allows(action, resource, seen);
        match needed(seen, self.key.as_deref()).iter().all(allowed) {
            true => Fault::None,
            false => Fault::refuse(403, "AccessDenied"),
        }
    }

    fn allows(&self, action: &str, resource: &str, seen: &Seen) -> bool {
        let hit = |policy: &Value, effect: &str| {
            let statements = policy["Statement"].as_array().unwrap();
            statements.iter().any(|s| s["Effect"] == effect && self.applies(s, action, resource, seen))
        };
        let denied = self.bucket.as_ref().is_some_and(|policy| hit(policy, "Deny"));
        hit(&self.iam, "Allow") && !denied
    }

    fn applies(&self, statement: &Value, action: &str, resource: &str, seen: &Seen) -> bool {
        let any = |list: &Value, text: &str| list.as_array().unwrap().iter().any(|p| like(p.as_str().unwrap(), text));
        let here = match statement.get("NotResource") {
            Some(not) => !any(not, resource),
            None => any(&statement["Resource"], resource),
        };
        let empty = serde_json::Map::new();
        let conditions = statement["Condition"].as_object().unwrap_or(&empty);
        let holds = |(test, pairs): (&String, &Value)| {
            pairs.as_object().unwrap().iter().all(|(key, want)| self.holds(test, key, want.as_str().unwrap(), seen))
        };
        any(&statement["Action"], action) && here && conditions.iter().all(holds)
    }

    fn holds(&self, test: &str, key: &str, want: &str, seen: &Seen) -> bool {
        let creates = seen.part().is_none() && !seen.is_begin();
        let value = match key {
            "aws:SecureTransport" => Some(self.tls.to_string()),
            "s3:ObjectCreationOperation" => Some(creates.to_string()),
            _ => seen.header(key.strip_prefix("s3:").unwrap()).map(str::to_owned),
        };
        match (test, value) {
            ("Null", value) => value.is_none().to_string() == want,
            ("Bool", Some(value)) => value == want,
            ("StringNotEquals", Some(value)) => value != want,
            ("StringNotLike", Some(value)) => !like(want, &value),
            // What is not there equals nothing.
            ("StringNotEquals" | "StringNotLike", None) => true,
            ("Bool", None) => false,
            (test, _) => panic!("the judge does not know {test}"),
        }
    }
}

/// The rights that a request needs, and on what.
fn needed(seen: &Seen, key: Option<&str>) -> Vec<(&'static str, String)> {
    let bucket = format!("arn:aws:s3:::{}", seen.bucket);
    let object = format!("{bucket}/{}", seen.key);
    let mut needed = match (seen.method.as_str(), seen.key.is_empty()) {
        ("PUT", false) => vec![("s3:PutObject", object.clone())],
        ("POST", false) => vec![("s3:PutObject", object.clone())],
        ("DELETE", false) if seen.query.contains("uploadId=") => vec![("s3:AbortMultipartUpload", object.clone())],
        ("GET" | "HEAD", false) => vec![("s3:GetObject", object.clone())],
        ("GET", true) if seen.query.contains("uploads") => vec![("s3:ListBucketMultipartUploads", bucket)],
        ("GET" | "HEAD", true) => vec![("s3:ListBucket", bucket)],
        other => panic!("the judge does not know {other:?}"),
    };
    if seen.header("x-amz-tagging").is_some() {
        needed.push(("s3:PutObjectTagging", object));
    }
    if let Some(key) = key.filter(|_| !seen.key.is_empty() && seen.method != "DELETE") {
        let writes = seen.method == "PUT" && seen.part().is_none();
        if writes || seen.is_begin() {
            needed.push(("kms:GenerateDataKey", key.to_owned()));
        }
        if !writes {
            needed.push(("kms:Decrypt", key.to_owned()));
        }
    }
    needed
}

/// Whether a text is as a pattern with stars says.
fn like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
