//! What went wrong with a request, and what follows from it.

use super::S3;
use crate::error::{Error, Kind};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// A request that failed.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The server answered, and refused.
    Answer(Answer),
    /// No credentials could be had.
    Credentials(String),
    /// No answer.
    Lost(String),
    /// An answer that makes no sense: what was asked for may have been done.
    Garbled(String),
    /// The request could not be made of the settings.
    Request(String),
    /// Something on this side.
    Local(Error),
}

/// A refusal.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// S3's error code, if the answer had a body.
    pub code: Option<String>,
    /// S3's words.
    pub message: Option<String>,
    /// The region that the server named as the right one.
    pub region: Option<String>,
}

impl Fault {
    /// A refusal, for tests and for what the SDK does not see.
    pub fn answer(status: u16, code: Option<&str>, message: &str) -> Self {
        Self::Answer(Answer { status, code: code.map(str::to_owned), message: Some(message.to_owned()), region: None })
    }

    /// What the SDK reports, sorted.
    pub fn of<E>(e: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let chain = chain(e);
        match e {
            // A success that the SDK can't read: what it says of it tells more than the status.
            SdkError::ServiceError(service)
                if service.raw().status().is_success() && service.err().code().is_none() =>
            {
                Self::Garbled(root(&chain))
            }
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                let body = raw.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
                let header = raw.headers().get("x-amz-bucket-region").map(str::to_owned);
                Self::Answer(Answer {
                    status: raw.status().as_u16(),
                    code: service.err().code().map(str::to_owned),
                    message: service.err().message().map(str::to_owned),
                    region: header.or_else(|| region_in(&body)),
                })
            }
            SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) if speaks_of_credentials(&chain) => {
                Self::Credentials(root(&chain))
            }
            SdkError::ConstructionFailure(_) => Self::Request(root(&chain)),
            SdkError::TimeoutError(_) => Self::Lost("no answer in time".to_owned()),
            _ => Self::Lost(root(&chain)),
        }
    }

    /// S3's error code.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Answer(answer) => answer.code.as_deref(),
            _ => None,
        }
    }

    /// The HTTP status, 0 if there was no answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Answer(answer) => answer.status,
            _ => 0,
        }
    }

    /// Whether the object, or the upload, is not there.
    pub fn is_absence(&self) -> bool {
        matches!(self.code(), Some("NoSuchKey" | "NotFound" | "NoSuchUpload" | "NoSuchVersion"))
            || (self.status() == 404 && self.code().is_none())
    }

    /// Whether credentials or their rights are the matter, so that new ones may help.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Credentials(_))
            || matches!(self.status(), 401 | 403)
            || matches!(self.code(), Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"))
    }

    /// Whether the bucket lives in another region than the request was made for.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.status(), 301 | 307)
            || matches!(
                self.code(),
                Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
            )
    }

    /// The region that the server named.
    pub fn region(&self) -> Option<String> {
        match self {
            Self::Answer(answer) => answer.region.clone(),
            _ => None,
        }
    }

    /// Whether the server may simply not know something that S3 knows.
    pub fn smells_of_a_clone(&self) -> bool {
        const WORDS: [&str; 7] =
            ["checksum", "trailer", "if-none-match", "if-match", "not implemented", "unsupported", "header"];
        // It knows checksums, and this one is wrong.
        const WRONG: [&str; 2] = ["BadDigest", "XAmzContentChecksumMismatch"];
        const CODES: [&str; 10] = [
            "InvalidRequest",
            "InvalidArgument",
            "InvalidHeader",
            "InvalidDigest",
            "MalformedTrailer",
            "MalformedTrailerError",
            "UnsupportedHeader",
            "UnsupportedArgument",
            "XAmzContentSHA256Mismatch",
            "BadRequest",
        ];
        let Self::Answer(answer) = self else { return false };
        let code = answer.code.as_deref();
        if answer.status == 501 || code == Some("NotImplemented") {
            return true;
        }
        let message = answer.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        answer.status == 400
            && code.is_none_or(|code| !WRONG.contains(&code))
            && (code.is_none_or(|code| CODES.contains(&code)) || WORDS.iter().any(|word| message.contains(word)))
    }

    /// Says where a request got lost.
    pub fn at(self, endpoint: &str) -> Self {
        match self {
            Self::Lost(cause) => Self::Lost(format!("{cause} ({endpoint})")),
            Self::Garbled(cause) => Self::Garbled(format!("an answer that makes no sense: {cause} ({endpoint})")),
            other => other,
        }
    }
}

impl S3 {
    /// The program's own error for a fault.
    pub(super) fn error(&self, op: &'static str, key: &str, fault: &Fault) -> Error {
        let error = judge(op, &self.options.bucket, key, fault);
        if error.kind != Kind::Denied || !matches!(fault.code(), None | Some("AccessDenied")) {
            return error;
        }
        // What the request asks for beside the object has rights of its own.
        let begins = matches!(op, "store" | "replace" | "begin upload of");
        let tags = (begins && !self.options.tags.is_empty()).then_some("for --tag s3:PutObjectTagging");
        let encrypts = self.options.sse.as_deref().is_some_and(|sse| sse.starts_with("aws:kms"));
        let key = encrypts.then_some("for --sse kms:GenerateDataKey and kms:Decrypt on the KMS key");
        match tags.into_iter().chain(key).collect::<Vec<_>>() {
            more if more.is_empty() => error,
            more => error.mend(format!("this needs the right {}, {}{ALL_RIGHTS}", right(op), more.join(", "))),
        }
    }
}

/// Where all rights are told.
const ALL_RIGHTS: &str = "; `logjam policy iam` prints all that are needed";

/// The right that an operation needs, as AWS names it.
fn right(op: &str) -> &'static str {
    match op {
        "store" | "replace" | "begin upload of" | "send part of" | "complete upload of" => "s3:PutObject on the key",
        "abort upload of" => "s3:AbortMultipartUpload on the key",
        "list" => "s3:ListBucket on the bucket",
        "list uploads of" => "s3:ListBucketMultipartUploads on the bucket",
        _ => {
            "s3:GetObject on the key (without s3:ListBucket on the bucket, S3 answers so also for a key where nothing stands)"
        }
    }
}

/// What a fault means to the program.
pub(super) fn judge(op: &'static str, bucket: &str, key: &str, fault: &Fault) -> Error {
    let subject = format!("s3://{bucket}/{key}");
    match fault {
        Fault::Answer(answer) => judge_answer(op, bucket, subject, answer),
        Fault::Local(e) => e.clone(),
        // A mistyped profile does not appear by itself; everything else may.
        Fault::Credentials(cause) if cause.contains("was not defined") => {
            Error::stop(op, subject, Kind::Denied, without_credentials(cause)).mend("look at --profile and AWS_PROFILE")
        }
        Fault::Credentials(cause) => Error::retry(op, subject, Kind::Denied, without_credentials(cause))
            .mend("give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (--profile), or the machine a role"),
        Fault::Lost(cause) => Error::retry(op, subject, Kind::Unreachable, cause),
        Fault::Garbled(cause) => Error::retry(op, subject, Kind::Other, cause),
        Fault::Request(cause) => Error::stop(op, subject, Kind::Other, cause),
    }
}

/// Why there are no credentials. Of the SDK's list of all that it tried, what nobody asked for is left out.
fn without_credentials(cause: &str) -> String {
    const UNASKED: [&str; 5] =
        ["environment variable not set", "was not set", "not configured", "IMDS disabled", "was not enabled"];
    let Some((_, tried)) = cause.split_once("Attempted:") else { return format!("no credentials: {cause}") };
    let tried = tried.lines().map(|line| line.trim().replace("the credential provider was not enabled: ", ""));
    let asked = |line: &String| !line.is_empty() && !UNASKED.iter().any(|words| line.contains(words));
    let told: Vec<String> = tried.filter(asked).collect();
    match told.is_empty() {
        true => "no credentials: neither environment, profile, web identity, container nor instance gives any".into(),
        false => format!("no credentials: {}", told.join("; ")),
    }
}

fn judge_answer(op: &'static str, bucket: &str, subject: String, answer: &Answer) -> Error {
    let retry = |kind| Error::retry(op, &subject, kind, said(answer));
    let stop = |kind| Error::stop(op, &subject, kind, said(answer));
    match (answer.code.as_deref().unwrap_or_default(), answer.status) {
        ("NoSuchBucket", _) => Error::stop(op, &subject, Kind::NoBucket, format!("Failed to find bucket {bucket}")),
        ("PreconditionFailed", _) | (_, 412) => stop(Kind::Exists),
        ("ConditionalRequestConflict" | "OperationAborted", _) => retry(Kind::Busy),
        ("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired", _) => {
            retry(Kind::Denied).mend("the credentials have expired: renew them")
        }
        ("RequestTimeTooSkewed", _) => {
            retry(Kind::Other).mend("the clock of this machine is wrong: let NTP (chrony, systemd-timesyncd) set it")
        }
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "NotSignedUp", _) => {
            stop(Kind::Denied).mend("the credentials are wrong: check the access key and its secret")
        }
        ("SlowDown" | "Throttling" | "ThrottlingException" | "TooManyRequests" | "RequestLimitExceeded", _)
        | (_, 429 | 503) => retry(Kind::Throttled),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) | (_, 301 | 307) => {
            stop(Kind::Other).mend("the bucket is in another region: name it with --region")
        }
        ("NotImplemented", _) | (_, 501) => stop(Kind::Other)
            .mend("the server does not know what the settings ask for: try without --sse, --storage-class and --tag"),
        ("RequestTimeout" | "BadDigest" | "IncompleteBody" | "InternalError", _)
        | ("XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch", _) => retry(Kind::Other),
        // A part that is not the one that was sent: somebody else took its place, and of the upload no use is left.
        ("NoSuchKey" | "NoSuchUpload" | "NotFound" | "InvalidPart" | "InvalidPartOrder", _) | (_, 404) => {
            stop(Kind::NotFound)
        }
        ("AccessDenied" | "AllAccessDisabled", _) | (_, 401 | 403) => {
            stop(Kind::Denied).mend(format!("this needs the right {}{ALL_RIGHTS}", right(op)))
        }
        (_, 400..=499) => stop(Kind::Other),
        _ => retry(Kind::Other),
    }
}

/// The server's own words, as far as there are any.
fn said(answer: &Answer) -> String {
    match (answer.code.as_deref(), answer.message.as_deref()) {
        (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
        (Some(code), _) => format!("{code} (HTTP status {})", answer.status),
        (None, _) => format!("the server answered with HTTP status {}", answer.status),
    }
}

/// The messages of an error and its sources, outermost first.
fn chain(e: &dyn std::error::Error) -> Vec<String> {
    let mut messages = Vec::new();
    let mut next = Some(e);
    while let Some(e) = next {
        messages.push(e.to_string());
        next = e.source();
    }
    messages
}

/// The message nearest the root that says something.
fn root(chain: &[String]) -> String {
    let telling = |message: &&String| !message.is_empty() && *message != "timed out";
    chain.iter().rev().find(telling).cloned().unwrap_or_else(|| "unknown error".to_owned())
}

fn speaks_of_credentials(chain: &[String]) -> bool {
    chain.iter().any(|message| message.contains("credential") || message.contains("identity"))
}

/// The region that the body of a refusal names: in its own element, or in the words of an older or foreign server.
fn region_in(body: &str) -> Option<String> {
    let named = body.split_once("<Region>").and_then(|(_, rest)| rest.split_once("</Region>")).map(|(name, _)| name);
    let told = || {
        let (_, rest) = body.split_once("expecting ")?;
        let rest = rest.trim_start_matches("&apos;").trim_start_matches("&#39;").trim_start_matches(['\'', '"']);
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next()
    };
    named.or_else(told).filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    fn of(status: u16, code: Option<&str>) -> Error {
        judge("store", "logs", "k", &Fault::answer(status, code, "words"))
    }

    #[test]
    fn every_refusal_says_whether_waiting_helps_and_what_kind_it_is() {
        for (status, code, class, kind) in [
            (403, Some("AccessDenied"), Class::Stop, Kind::Denied),
            (403, Some("InvalidAccessKeyId"), Class::Stop, Kind::Denied),
            (403, Some("SignatureDoesNotMatch"), Class::Stop, Kind::Denied),
            (403, None, Class::Stop, Kind::Denied),
            (400, Some("ExpiredToken"), Class::Retry, Kind::Denied),
            (403, Some("RequestTimeTooSkewed"), Class::Retry, Kind::Other),
            (503, Some("SlowDown"), Class::Retry, Kind::Throttled),
            (429, None, Class::Retry, Kind::Throttled),
            (500, Some("InternalError"), Class::Retry, Kind::Other),
            (502, None, Class::Retry, Kind::Other),
            (404, Some("NoSuchBucket"), Class::Stop, Kind::NoBucket),
            (404, Some("NoSuchUpload"), Class::Stop, Kind::NotFound),
            (404, None, Class::Stop, Kind::NotFound),
            (412, None, Class::Stop, Kind::Exists),
            (409, Some("ConditionalRequestConflict"), Class::Retry, Kind::Busy),
            (400, Some("BadDigest"), Class::Retry, Kind::Other),
            (400, Some("KMS.NotFoundException"), Class::Stop, Kind::Other),
            (301, Some("PermanentRedirect"), Class::Stop, Kind::Other),
            (501, Some("NotImplemented"), Class::Stop, Kind::Other),
        ] {
            let e = of(status, code);
            assert_eq!((e.class, e.kind), (class, kind), "{status} {code:?}");
        }
    }

    #[test]
    fn a_missing_bucket_is_named_in_the_words_that_scripts_look_for() {
        assert_eq!(of(404, Some("NoSuchBucket")).cause, "Failed to find bucket logs");
    }

    #[test]
    fn a_wrong_clock_and_expired_credentials_come_with_their_mend() {
        assert!(of(403, Some("RequestTimeTooSkewed")).to_string().contains("NTP"));
        assert!(of(400, Some("ExpiredToken")).to_string().contains("renew"));
        assert_eq!(of(403, None).cause, "the server answered with HTTP status 403");
    }

    #[test]
    fn a_refusal_names_the_right_that_is_missing() {
        for (op, right) in [
            ("store", "s3:PutObject"),
            ("send part of", "s3:PutObject"),
            ("compare", "s3:GetObject"),
            ("list", "s3:ListBucket"),
            ("list uploads of", "s3:ListBucketMultipartUploads"),
            ("abort upload of", "s3:AbortMultipartUpload"),
        ] {
            let text = judge(op, "logs", "k", &Fault::answer(403, Some("AccessDenied"), "words")).to_string();
            assert!(text.contains(&format!("this needs the right {right} on")), "{text}");
        }
    }

    #[test]
    fn the_right_region_is_read_from_what_servers_say() {
        let aws = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
        assert_eq!(region_in(aws).as_deref(), Some("eu-west-1"));
        let other = "the region 'us-east-1' is wrong; expecting 'garage'";
        assert_eq!(region_in(other).as_deref(), Some("garage"));
        assert_eq!(region_in("region is wrong; expecting &apos;eu-central-1&apos;").as_deref(), Some("eu-central-1"));
        assert_eq!(region_in("<Error/>"), None);
    }

    #[test]
    fn only_refusals_of_what_is_unknown_make_a_request_be_tried_with_less() {
        assert!(Fault::answer(501, None, "").smells_of_a_clone());
        assert!(Fault::answer(400, Some("Weird"), "unknown Trailer").smells_of_a_clone());
        assert!(!Fault::answer(403, Some("AccessDenied"), "header").smells_of_a_clone());
        assert!(!Fault::answer(400, Some("BadDigest"), "the checksum is wrong").smells_of_a_clone());
        assert!(!Fault::answer(412, Some("PreconditionFailed"), "").smells_of_a_clone());
        assert!(!Fault::answer(400, Some("ExpiredToken"), "renew").smells_of_a_clone());
        assert!(!Fault::Lost("reset".to_owned()).smells_of_a_clone());
    }
}
