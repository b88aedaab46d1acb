//! What a key was made of.

use super::{BY_SIZE, Dest, Field, MANIFEST, Piece};
use crate::format::name::LogName;

/// What a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The key of an archive of this name.
    Object(LogName),
    /// The key of the manifest of an archive of this name; without one, where the name was too long to be whole.
    Manifest(Option<LogName>),
    /// Nothing that this DEST gives.
    Foreign,
}

impl Dest {
    /// What a key was made of.
    pub fn named(&self, key: &str) -> Named {
        let (dir, last) = key.split_at(key.rfind('/').map_or(0, |slash| slash + 1));
        if let Some(inner) = last.strip_prefix(MANIFEST.0).and_then(|rest| rest.strip_suffix(MANIFEST.1)) {
            if let Some(name) = self.of_object(&format!("{dir}{inner}")) {
                return Named::Manifest(Some(name));
            }
            if last.len() > super::NAME_LIMIT - 4 {
                return Named::Manifest(None);
            }
        }
        self.of_object(key).map_or(Named::Foreign, Named::Object)
    }

    fn of_object(&self, key: &str) -> Option<LogName> {
        solve(&self.template, key, None, &|name| self.key(name) == key)
    }
}

/// Finds the name that makes `rest` of the pieces.
fn solve(pieces: &[Piece], rest: &str, name: Option<&LogName>, fits: &dyn Fn(&LogName) -> bool) -> Option<LogName> {
    let Some((piece, pieces)) = pieces.split_first() else {
        return name.filter(|name| rest.is_empty() && fits(name)).cloned();
    };
    match (piece, name) {
        (Piece::Text(text), _) => solve(pieces, rest.strip_prefix(text.as_str())?, name, fits),
        (Piece::Field(field), Some(name)) => {
            solve(pieces, rest.strip_prefix(field.of(name).as_str())?, Some(name), fits)
        }
        (Piece::Field(field), None) if BY_SIZE.contains(field) => {
            let digits = if *field == Field::Year { 4 } else { 2 };
            let own = rest.get(..digits)?;
            own.bytes().all(|byte| byte.is_ascii_digit()).then(|| solve(pieces, &rest[digits..], None, fits))?
        }
        (Piece::Field(field), None) => ends(pieces, rest).find_map(|end| {
            let (own, rest) = rest.split_at(end);
            match field {
                Field::Filename => solve(pieces, rest, Some(&LogName::parse(own)?), fits),
                _ => solve(pieces, rest, None, fits),
            }
        }),
    }
}

/// Where a field of unknown length may end, the longest first.
fn ends<'a>(pieces: &'a [Piece], rest: &'a str) -> impl Iterator<Item = usize> + 'a {
    let most = rest.find('/').unwrap_or(rest.len());
    let follows = move |end: &usize| match pieces.first() {
        None => *end == rest.len(),
        Some(Piece::Text(text)) => rest[*end..].starts_with(text.as_str()),
        Some(Piece::Field(_)) => true,
    };
    (1..=most).rev().filter(|end| rest.is_char_boundary(*end)).filter(follows)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::manifest_key;
    use super::*;

    pub const TEMPLATES: [&str; 11] = [
        "{prefix}/{year}/{month}/{day}/{filename}",
        "a/{prefix}/{year}/{month}/{day}/{hour}{minute}/{suffix}/{filename}",
        "{prefix}/{suffix}/year={year}/month={month}/day={day}/{filename}",
        "{year}/{month}/{day}/{prefix}/{filename}",
        "{day}/{month}/{year}/{prefix}/{filename}",
        "{prefix}-{year}{month}{day}-{filename}",
        "{prefix}{year}{month}{day}{filename}",
        "x/{filename}/{prefix}/{year}/{month}/{day}/y",
        "{prefix}/{year}-{month}-{day}T{hour}-{filename}",
        "{prefix}/{year}/{month}/{day}/{suffix}-{filename}",
        "{year}/{month}/{day}/{suffix}{filename}/{prefix}",
    ];

    pub fn dest(template: &str) -> Dest {
        Dest::parse(&format!("s3://bkt/{template}")).unwrap()
    }

    /// All names of a few streams, times and forms.
    pub fn names() -> Vec<LogName> {
        let prefixes = ["syslog", "syslog-2013", "a", "Zed", "_x", "syslo", "syslog2"];
        let times = ["20121231T2359Z", "20130101T0000Z", "20130703T2300Z", "20130704T0459Z", "2013-07-04T05:00Z"];
        let more = ["20130704T0500Z", "2013-07-04T0501Z", "20130704T05:59Z", "2013-0704T06:00Z", "20130705T0000Z"];
        let mut all = Vec::new();
        for prefix in prefixes {
            for time in times.iter().chain(&more) {
                for rest in ["-web-1.log.gz", ".log.gz", "-b.1f0c3k9a2bxyz.log.zst"] {
                    let name = LogName::parse(&format!("{prefix}-{time}{rest}")).unwrap();
                    all.push(name.duplicate(3));
                    all.push(name);
                }
            }
        }
        all
    }

    #[test]
    fn a_key_tells_what_it_was_made_of() {
        for template in TEMPLATES {
            let dest = dest(template);
            for name in names() {
                let key = dest.key(&name);
                assert_eq!(dest.named(&key), Named::Object(name.clone()), "{key}");
                assert_eq!(dest.named(&manifest_key(&key)), Named::Manifest(Some(name)), "{key}");
            }
        }
        let dest = dest(TEMPLATES[0]);
        for key in
            ["", "x", "syslog/2013/07/04/syslog-20130705T0000Z.log.gz", "other/2013/07/04/syslog-20130704T0000Z.gz"]
        {
            assert_eq!(dest.named(key), Named::Foreign, "{key}");
        }
        let long = LogName::parse(&format!("{}-20130704T0000Z.log.gz", "p".repeat(230))).unwrap();
        let key = manifest_key(&dest.key(&long));
        assert_eq!(dest.named(&key), Named::Manifest(None), "{key}");
    }
}
