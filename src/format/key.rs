//! DEST: `s3://BUCKET/TEMPLATE` or `file:///ABSOLUTE/TEMPLATE`, and the keys that it gives to archives.

use super::name::LogName;
use crate::error::{Error, Result};
use chrono::{DateTime, Datelike, Timelike, Utc};

pub mod named;
mod order;
pub mod search;

/// What a template may ask of a file name. The first five are mandatory, as in the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Day of the month, two digits.
    Day,
    /// The whole name.
    Filename,
    /// Month, two digits.
    Month,
    /// The stream's prefix.
    Prefix,
    /// Year, four digits.
    Year,
    /// The stream's suffix.
    Suffix,
    /// Hour, two digits.
    Hour,
    /// Minute, two digits.
    Minute,
}

const FIELDS: [(&str, Field); 8] = [
    ("day", Field::Day),
    ("filename", Field::Filename),
    ("month", Field::Month),
    ("prefix", Field::Prefix),
    ("year", Field::Year),
    ("suffix", Field::Suffix),
    ("hour", Field::Hour),
    ("minute", Field::Minute),
];
const MANDATORY: usize = 5;

/// The time fields of a template, from the largest to the smallest: in this order keys sort by time.
const BY_SIZE: [Field; 5] = [Field::Year, Field::Month, Field::Day, Field::Hour, Field::Minute];
/// The longest key that S3 takes, in bytes (Amazon S3 User Guide, "Naming Amazon S3 objects").
pub const KEY_LIMIT: usize = 1024;

/// The longest file name, in bytes (NAME_MAX of Linux).
const NAME_LIMIT: usize = 255;

/// What stands before and behind the last part of an object's key in that of its manifest.
const MANIFEST: (&str, &str) = ("_", ".json");
/// What the keys of all checkpoints begin with.
pub const CHECKPOINTS: &str = ".logjam/checkpoint/";
/// What the keys of the objects begin with that a preflight writes, one for each host: where checkpoints are, so that no right
/// beside theirs is needed. No prefix has a dot.
pub const PROBES: &str = ".logjam/checkpoint/.check/";
/// What stands for `{suffix}` in the key of a file that has none.
const NO_SUFFIX: &str = "_";

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands in every key.
    Text(String),
    /// What the name gives.
    Field(Field),
}

impl Piece {
    /// Bytes that are the same in every key.
    fn fixed(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Field(_) => 0,
        }
    }
}

/// Where archives go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A bucket, by name.
    S3(String),
    /// A directory, absolute, without a slash at its end: the part of DEST before its first field.
    Directory(String),
}

/// A checked DEST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dest {
    /// Where archives go.
    pub place: Place,
    template: Vec<Piece>,
    /// CRC-32 of the text: keeps the checkpoints of two templates in one bucket apart.
    crc: u32,
}

impl Dest {
    /// Reads DEST.
    ///
    /// # Errors
    /// Of class usage: an unknown scheme, a malformed bucket or template (with the place of the fault), a missing field.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| fault(text, "no scheme").mend("write s3://BUCKET/TEMPLATE or file:///ABSOLUTE/TEMPLATE"))?;
        let rest_at = scheme.len() + 3;
        match scheme {
            "s3" => {
                let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
                check_bucket(text, bucket)?;
                let template = parse_template(text, path, rest_at + bucket.len() + 1)?;
                let fixed: usize = template.iter().map(Piece::fixed).sum();
                if fixed > KEY_LIMIT / 2 {
                    let cause =
                        format!("the template has {fixed} bytes beside its fields, and a key {KEY_LIMIT} at the most");
                    return Err(fault(text, cause).mend("shorten it"));
                }
                Ok(Self { place: Place::S3(bucket.to_owned()), template, crc: crc32fast::hash(text.as_bytes()) })
            }
            "file" => {
                let Some(path) = rest.strip_prefix('/') else {
                    return Err(fault(text, "the path is not absolute").mend("write file:/// and the whole path"));
                };
                if path.split('/').any(|part| part == "." || part == "..") {
                    return Err(fault(text, "`.` and `..` are not allowed in the path"));
                }
                parse_template(text, path, rest_at + 1)?;
                let fixed = path.find('{').map_or("", |at| path[..at].rsplit_once('/').map_or("", |(dir, _)| dir));
                let below = if fixed.is_empty() { path } else { &path[fixed.len() + 1..] };
                let template = parse_template(text, below, rest_at + 1 + path.len() - below.len())?;
                let place = Place::Directory(format!("/{}", fixed.trim_end_matches('/')));
                Ok(Self { place, template, crc: crc32fast::hash(text.as_bytes()) })
            }
            _ => Err(fault(text, format!("unknown scheme `{scheme}`")).mend("s3:// and file:/// are known")),
        }
    }

    /// The key of an archive, relative to the place.
    pub fn key(&self, name: &LogName) -> String {
        let mut key = String::new();
        for piece in &self.template {
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Field(field) => key.push_str(&field.of(name)),
            }
        }
        key
    }

    /// What keys are made of, below the place.
    pub fn template(&self) -> &[Piece] {
        &self.template
    }

    /// The key of the checkpoint of a stream. `id` is of the DIR, so that who comes after a lost disk leaves the last checkpoint
    /// before that alone, and of the process, where several write one stream.
    pub fn checkpoint_key(&self, prefix: &str, suffix: &str, id: u32) -> String {
        format!("{CHECKPOINTS}{prefix}/{suffix}.{:08x}.{id:08x}", self.crc)
    }

    /// Whether a key is that of a checkpoint of this DEST, of a stream (prefix and suffix) that is asked for.
    pub fn is_checkpoint(&self, key: &str, asked: impl Fn(&str, &str) -> bool) -> bool {
        let Some((prefix, rest)) = key.strip_prefix(CHECKPOINTS).and_then(|rest| rest.split_once('/')) else {
            return false;
        };
        let Some((rest, _id)) = rest.rsplit_once('.') else { return false };
        rest.rsplit_once('.').is_some_and(|(suffix, crc)| crc == format!("{:08x}", self.crc) && asked(prefix, suffix))
    }

    /// Place and key, as a person would write it.
    pub fn url(&self, key: &str) -> String {
        match &self.place {
            Place::S3(bucket) => format!("s3://{bucket}/{key}"),
            Place::Directory(dir) => format!("file://{}/{key}", dir.trim_end_matches('/')),
        }
    }
}

/// The key of the object that a preflight on a host writes, and replaces each time: no right to delete is needed.
pub fn probe_key(host: &str) -> String {
    format!("{PROBES}{}", host.replace('/', "_"))
}

/// The key of the manifest beside an object. Query engines pass over names that begin with `_`. It fits wherever the object's
/// name does: of one that is too long with what is added, a CRC-32 stands for the end.
pub fn manifest_key(key: &str) -> String {
    let (dir, name) = key.split_at(key.rfind('/').map_or(0, |slash| slash + 1));
    let whole = format!("{dir}{}{name}{}", MANIFEST.0, MANIFEST.1);
    if whole.len() - dir.len() <= NAME_LIMIT {
        return whole;
    }
    let end = format!("-{:08x}{}", crc32fast::hash(name.as_bytes()), MANIFEST.1);
    let fits = name.floor_char_boundary(NAME_LIMIT - 1 - end.len());
    format!("{dir}{}{}{end}", MANIFEST.0, &name[..fits])
}

impl Field {
    /// Its name in a template.
    pub fn name(self) -> &'static str {
        FIELDS.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    fn of(self, name: &LogName) -> String {
        match self {
            Self::Filename => name.to_string(),
            Self::Prefix => name.prefix().to_owned(),
            Self::Suffix => name.suffix().unwrap_or(NO_SUFFIX).to_owned(),
            _ => self.of_time(name.stamp()),
        }
    }

    /// Of a time field; of the others nothing.
    fn of_time(self, time: DateTime<Utc>) -> String {
        match self {
            Self::Year => format!("{:04}", time.year()),
            Self::Month => format!("{:02}", time.month()),
            Self::Day => format!("{:02}", time.day()),
            Self::Hour => format!("{:02}", time.hour()),
            Self::Minute => format!("{:02}", time.minute()),
            Self::Filename | Self::Prefix | Self::Suffix => String::new(),
        }
    }
}

fn fault(dest: &str, cause: impl std::fmt::Display) -> Error {
    Error::usage(format!("DEST `{}`", without_password(dest)), cause)
}

/// An address without the user and password that somebody has put into it.
pub fn without_password(text: &str) -> String {
    let parts = text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)));
    match parts {
        // A password may hold a `/`, and so may the path of a DEST before an `@`, which means nothing there.
        Some((scheme, (user, host))) if scheme.starts_with("http") || !user.contains('/') || user.contains(':') => {
            format!("{scheme}://***@{host}")
        }
        _ => text.to_owned(),
    }
}

/// Amazon S3 User Guide, "Bucket naming rules"; older buckets may hold capitals and underscores.
fn check_bucket(dest: &str, bucket: &str) -> Result<()> {
    if without_password(dest) != dest {
        let cause = "has a user or password in it, which S3 has no use for, and everybody could read";
        return Err(fault(dest, cause).mend("write s3://BUCKET/TEMPLATE"));
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if bucket.len() < 3 || bucket.len() > 255 || !bucket.bytes().all(good) {
        return Err(fault(dest, format!("`{bucket}` is not a bucket name"))
            .mend("3 to 63 lower-case letters, digits, dots and dashes"));
    }
    Ok(())
}

/// `offset`: where `path` begins within `dest`, for messages.
fn parse_template(dest: &str, path: &str, offset: usize) -> Result<Vec<Piece>> {
    let at = |place: usize| format!("at character {}", dest[..(offset + place).min(dest.len())].chars().count() + 1);
    let mut pieces = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let here = path.len() - rest.len();
        let brace = rest.find(['{', '}']).unwrap_or(rest.len());
        if brace > 0 {
            pieces.push(Piece::Text(rest[..brace].to_owned()));
            rest = &rest[brace..];
            continue;
        }
        let end = rest.find('}').filter(|_| rest.starts_with('{'));
        let Some(end) = end else {
            return Err(fault(dest, format!("unmatched `{}` {}", &rest[..1], at(here))));
        };
        let name = &rest[1..end];
        if name.contains('{') {
            return Err(fault(dest, format!("unmatched `{{` {}", at(here))));
        }
        let Some((_, field)) = FIELDS.iter().find(|(text, _)| *text == name) else {
            let known = FIELDS.map(|(text, _)| format!("{{{text}}}")).join(" ");
            return Err(fault(dest, format!("unknown field `{{{name}}}` {}", at(here))).mend(format!("known: {known}")));
        };
        pieces.push(Piece::Field(*field));
        rest = &rest[end + 1..];
    }
    let missing: Vec<_> = FIELDS[..MANDATORY]
        .iter()
        .filter(|(_, field)| !pieces.contains(&Piece::Field(*field)))
        .map(|(text, _)| *text)
        .collect();
    if !missing.is_empty() {
        return Err(fault(dest, format!("upload_uri lacks mandatory fields: {}", missing.join(", "))));
    }
    if path.bytes().any(|b| b.is_ascii_control()) {
        return Err(fault(dest, "a control character in the template"));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Dest::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_may_be_a_password_is_not_repeated() {
        for (text, shown) in [
            ("http://user:hun/ter2@h:80/x", "http://***@h:80/x"),
            ("https://user@h", "https://***@h"),
            ("s3://user:hun/ter2@logs/{day}", "s3://***@logs/{day}"),
            ("s3://logs/a@b/{day}", "s3://logs/a@b/{day}"),
            ("file:///srv/a@b", "file:///srv/a@b"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_password(text), shown);
        }
        for text in ["s3://user:hun/ter2@logs/{day}", "file://user:hun/ter2@h/{day}", "ftp://user:hun/ter2@h"] {
            assert!(!refusal(text).contains("hun") && !refusal(text).contains("ter2"), "{}", refusal(text));
        }
        assert!(refusal("s3://user:hun/ter2@logs/{day}").contains("has a user or password in it"));
    }

    #[test]
    fn a_key_is_made_of_the_name() {
        let dest = Dest::parse("s3://logs/a/{prefix}/{year}/{month}/{day}/{hour}{minute}/{suffix}/{filename}").unwrap();
        let name = LogName::parse("haproxy-20130704T0900Z-i-ae.log.gz").unwrap();
        assert_eq!(dest.key(&name), "a/haproxy/2013/07/04/0900/i-ae/haproxy-20130704T0900Z-i-ae.log.gz");
        assert_eq!(dest.url("k"), "s3://logs/k");
    }

    #[test]
    fn a_directory_is_what_stands_before_the_first_field() {
        let dest = Dest::parse("file:///srv/logs/h={prefix}/{year}{month}{day}/{filename}").unwrap();
        assert_eq!(dest.place, Place::Directory("/srv/logs".into()));
        let name = LogName::parse("a-20130704T0900Z.log.gz").unwrap();
        assert_eq!(dest.key(&name), "h=a/20130704/a-20130704T0900Z.log.gz");
        assert_eq!(dest.url("k"), "file:///srv/logs/k");
        let root = Dest::parse("file:///{prefix}/{year}/{month}/{day}/{filename}").unwrap();
        assert_eq!(root.place, Place::Directory("/".into()));
    }

    #[test]
    fn a_manifest_lies_beside_its_object_and_a_checkpoint_under_logjams_own_prefix() {
        assert_eq!(manifest_key("a/b/c.log.gz"), "a/b/_c.log.gz.json");
        assert_eq!(manifest_key("c.log.gz"), "_c.log.gz.json");
        let keys =
            ["s3://logs/{prefix}/{year}/{month}/{day}/{filename}", "s3://logs/{prefix}{year}{month}{day}{filename}"]
                .map(|text| Dest::parse(text).unwrap().checkpoint_key("syslog", "web-1", 255));
        assert_eq!(keys[0], ".logjam/checkpoint/syslog/web-1.f4551661.000000ff");
        assert_ne!(keys[0], keys[1]);
        let same = Dest::parse("s3://logs/{prefix}/{year}/{month}/{day}/{filename}").unwrap();
        assert_ne!(same.checkpoint_key("syslog", "web-1", 2), keys[0]);
        assert!(same.is_checkpoint(&keys[0], |prefix, suffix| (prefix, suffix) == ("syslog", "web-1")));
        assert!(!same.is_checkpoint(&keys[1], |_, _| true) && !same.is_checkpoint(&keys[0], |_, _| false));
    }

    #[test]
    fn a_manifest_fits_wherever_its_object_does() {
        let name = |len: usize| format!("{}{}-20130704T0900Z.log.gz", "x".repeat(len % 2), "é".repeat(len));
        for len in 110..=116 {
            let name = name(len);
            let key = manifest_key(&format!("a/{name}"));
            let file = key.strip_prefix("a/_").unwrap();
            assert!(file.len() < 255 && file.ends_with(".json"), "{} {file}", file.len());
            assert_eq!(file == format!("{name}.json"), name.len() <= 249, "{} {file}", name.len());
        }
        let one = "p".repeat(255);
        assert_ne!(manifest_key(&one), manifest_key(&format!("{}q", &one[1..])));
    }

    #[test]
    fn missing_fields_are_named_in_order() {
        assert_eq!(
            refusal("s3://logs/{year}/{month}/{day}/"),
            "DEST `s3://logs/{year}/{month}/{day}/`: upload_uri lacks mandatory fields: filename, prefix"
        );
        assert!(
            refusal("s3://logs").ends_with("upload_uri lacks mandatory fields: day, filename, month, prefix, year")
        );
    }

    #[test]
    fn a_malformed_template_is_refused_with_the_place_of_the_fault() {
        let text = "s3://YOUR_BUCKET/{prefix}/{year}/{month}{/{day}/{filename}";
        assert!(refusal(text).contains("unmatched `{` at character 41"), "{}", refusal(text));
        assert_eq!(text.chars().nth(40), Some('{'));
        assert!(refusal("file:///a/{prefix}}/").contains("unmatched `}` at character 19"));
        assert!(refusal("s3://bkt/{prefix}/{host}").contains("unknown field `{host}` at character 19"));
        assert!(refusal("s3://b/{prefix}").contains("not a bucket name"));
        assert!(refusal("http://b/{prefix}").contains("unknown scheme `http`"));
        assert!(refusal("/srv/x").contains("no scheme"));
        assert!(refusal("file://srv/{prefix}").contains("not absolute"));
        assert!(refusal("file:///a/../{prefix}").contains("`..`"));
    }
}
