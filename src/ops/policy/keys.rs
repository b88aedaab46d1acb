//! Where objects lie, as policies say it: with `*` for what differs from key to key. A star matches slashes too.

use super::Wish;
use crate::format::key::{CHECKPOINTS, Field, PROBES, Piece, manifest_key};

const ANY: &str = "*";

/// The part of the world that a region's ARNs name.
pub fn partition(region: Option<&str>) -> &'static str {
    match region {
        Some(region) if region.starts_with("cn-") => "aws-cn",
        Some(region) if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// The ARN of a bucket, or of keys in it (with a slash before them).
pub fn arn(wish: &Wish, bucket: &str, keys: &str) -> String {
    format!("arn:{}:s3:::{bucket}{keys}", partition(wish.region))
}

/// The keys of archives and manifests.
pub fn objects(wish: &Wish) -> Vec<String> {
    let mut key = String::new();
    for piece in wish.dest.template() {
        let text = match piece {
            Piece::Text(text) => literal(text),
            Piece::Field(Field::Prefix) => wish.prefix.map_or(ANY.to_owned(), literal),
            Piece::Field(Field::Suffix) => wish.suffix.map_or(ANY.to_owned(), literal),
            Piece::Field(_) => ANY.to_owned(),
        };
        match key.ends_with(ANY) && text.starts_with(ANY) {
            true => key.push_str(&text[ANY.len()..]),
            false => key.push_str(&text),
        }
    }
    let (dir, name) = key.split_at(key.rfind('/').map_or(0, |slash| slash + 1));
    // A manifest's name has something before and behind the object's.
    if name.starts_with(ANY) && name.ends_with(ANY) {
        return vec![key];
    }
    vec![key.clone(), manifest_key(&format!("{dir}{ANY}"))]
}

/// The keys of checkpoints, and of what a preflight writes beside them.
pub fn checkpoints(wish: &Wish) -> Vec<String> {
    let of_one = match (wish.prefix, wish.suffix) {
        (None, _) => return vec![format!("{CHECKPOINTS}{ANY}")],
        (Some(prefix), None) => format!("{CHECKPOINTS}{}/{ANY}", literal(prefix)),
        (Some(prefix), Some(suffix)) => format!("{CHECKPOINTS}{}/{}.{ANY}", literal(prefix), literal(suffix)),
    };
    vec![of_one, format!("{PROBES}{ANY}")]
}

/// What all keys of archives begin with; may be empty.
pub fn root<'a>(wish: &'a Wish) -> &'a str {
    match wish.dest.template().first() {
        Some(Piece::Text(text)) => text,
        _ => "",
    }
}

/// A text in which nothing stands for something else.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '*' | '?' | '$' => out.extend(['$', '{', c, '}']),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::wish;
    use super::*;
    use crate::format::key::Dest;

    #[test]
    fn keys_are_as_narrow_as_the_template() {
        for (template, expected) in [
            ("{prefix}/{year}/{month}/{day}/{filename}", &["*/*/*/*/*"][..]),
            ("logs/{prefix}-{year}{month}{day}/{filename}", &["logs/*-*/*"]),
            ("a*b$/{prefix}/{year}{month}{day}/x-{filename}", &["a${*}b${$}/*/*/x-*", "a${*}b${$}/*/*/_*.json"]),
            ("{prefix}/{year}{month}{day}/{filename}.log", &["*/*/*.log", "*/*/_*.json"]),
            ("{prefix}{year}{month}{day}{filename}", &["*"]),
        ] {
            let text = format!("s3://logs/{template}");
            let dest = Dest::parse(&text).unwrap();
            assert_eq!(objects(&wish(&text, &dest)), expected, "{template}");
        }
    }

    #[test]
    fn one_stream_has_keys_of_its_own() {
        let text = "s3://logs/{prefix}/{year}/{month}/{day}/{suffix}/{filename}";
        let dest = Dest::parse(text).unwrap();
        let wish = Wish { prefix: Some("syslog"), suffix: Some("web-1"), ..wish(text, &dest) };
        assert_eq!(objects(&wish), ["syslog/*/*/*/web-1/*"]);
        assert_eq!(checkpoints(&wish), [".logjam/checkpoint/syslog/web-1.*", ".logjam/checkpoint/.check/*"]);
    }
}
