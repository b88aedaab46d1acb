//! Names of log files: `PREFIX-ISO8601[-SUFFIX].EXTENSION`.
//!
//! The time is UTC and starts the file's period: `20130704T0000Z`, `2013-07-04T00:00Z` and the mixed forms are read,
//! the basic form is written. The prefix may hold dashes and dots, the suffix no dots; the extension begins at the
//! first dot after the time. A second file of the same stream and period has a [`token`] before its extension, so
//! that its name never repeats: `syslog-20130704T0000Z-web1.1f0c3k9a2bxyz.log`.

use chrono::{DateTime, NaiveDate, Utc};
use std::fmt;

/// Extension of the hour files that `logjam pipe` writes.
pub const LOG: &str = ".log";

/// Stands for the token of a file that has none, in the name of its rest: it sorts before all others.
const FIRST: &str = "0000000000000";
/// Between a token and the hash of what is left out.
const REST: &str = "r";

/// Between the prefix and the time of a file whose own name was taken.
const DUPLICATE: &str = "-logjam-compress-duplicate-timestamp";

/// How many names a file may try whose own name was taken: without a number, then 01 to 24.
pub const DUPLICATES: u8 = 25;

/// The grammar of an archive's name as an expression that query engines understand (RE2), with [`GROUPS`].
pub const EXPRESSION: &str =
    "([^/]+)-([0-9]{4})-?([0-9]{2})-?([0-9]{2})T([0-9]{2}):?([0-9]{2})Z(?:-([^./]+))?[.](?:[^/]*[.])?(?:gz|zst|log)";
/// The groups of [`EXPRESSION`], in their order.
pub const GROUPS: [&str; 7] = ["prefix", "year", "month", "day", "hour", "minute", "suffix"];
/// What stands behind the prefix of a file whose own name was taken.
pub const DUPLICATE_EXPRESSION: &str = "-logjam-compress-duplicate-timestamp(-[0-9]{2})?$";

/// A file name that follows the grammar. Ordered by stream, then by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName {
    prefix: String,
    suffix: Option<String>,
    stamp: DateTime<Utc>,
    extension: String,
    stamp_text: String,
}

impl LogName {
    /// The name of an hour file: `stamp` is the start of its period; `token` tells it from others of that period.
    pub fn hour(prefix: &str, stamp: DateTime<Utc>, suffix: &str, token: Option<&str>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            suffix: Some(suffix.to_owned()),
            stamp,
            extension: token.map_or(LOG.to_owned(), |t| format!(".{t}{LOG}")),
            stamp_text: stamp.format("%Y%m%dT%H%MZ").to_string(),
        }
    }

    /// Reads a file name; `None` if it does not follow the grammar, names an impossible date, or is hidden.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('.') || text.contains('/') {
            return None;
        }
        // The prefix is as long as it can be: the last time in the name is the one that counts.
        text.rmatch_indices('-').find_map(|(dash, _)| Self::split_at(text, dash)).filter(|n| !n.prefix.is_empty())
    }

    fn split_at(text: &str, dash: usize) -> Option<Self> {
        let rest = &text[dash + 1..];
        let (stamp, length) = read_stamp(rest)?;
        let after = &rest[length..];
        let dot = after.find('.')?;
        let (suffix, extension) = after.split_at(dot);
        if extension.len() < 2 {
            return None;
        }
        let suffix = match suffix.strip_prefix('-') {
            Some("") => return None,
            Some(s) => Some(s.to_owned()),
            None if suffix.is_empty() => None,
            None => return None,
        };
        Some(Self {
            prefix: text[..dash].to_owned(),
            suffix,
            stamp,
            extension: extension.to_owned(),
            stamp_text: rest[..length].to_owned(),
        })
    }

    /// The first part, up to the time; without the mark of a duplicate.
    pub fn prefix(&self) -> &str {
        match self.prefix.rfind(DUPLICATE) {
            Some(at) if at > 0 && is_number(&self.prefix[at + DUPLICATE.len()..]) => &self.prefix[..at],
            _ => &self.prefix,
        }
    }

    /// The part between the time and the first dot.
    pub fn suffix(&self) -> Option<&str> {
        self.suffix.as_deref()
    }

    /// From the first dot on, the dot included.
    pub fn extension(&self) -> &str {
        &self.extension
    }

    /// Start of the period, UTC, to the minute.
    pub fn stamp(&self) -> DateTime<Utc> {
        self.stamp
    }

    /// What the seed's compressor groups by: prefix, suffix and extension.
    pub fn group(&self) -> (&str, Option<&str>, &str) {
        (&self.prefix, self.suffix(), &self.extension)
    }

    /// The same name with another ending behind it.
    #[must_use]
    pub fn with_ending(&self, ending: &str) -> Self {
        Self { extension: format!("{}{ending}", self.extension), ..self.clone() }
    }

    /// The same name without an ending, if it has that.
    pub fn without_ending(&self, ending: &str) -> Option<Self> {
        let extension = self.extension.strip_suffix(ending)?;
        (extension.len() > 1).then(|| Self { extension: extension.to_owned(), ..self.clone() })
    }

    /// What tells an hour file, packed or not, from others of its stream and period; empty for the first one. They sort by it in
    /// the order in which they were begun. `None` if no hour file of `logjam pipe` bears such a name.
    pub fn token(&self) -> Option<&str> {
        let token = &self.extension[..self.extension.find(LOG)?];
        token.strip_prefix('.').or(Some("")).filter(|token| !token.contains('.'))
    }

    /// The name of a file that holds the rest of this one: it sorts right behind it. `hash` tells what is left out.
    pub fn rest(&self, hash: &str) -> Option<Self> {
        let token = Some(self.token()?).filter(|token| !token.is_empty()).unwrap_or(FIRST);
        let extension = format!(".{token}{REST}{hash}{}", &self.extension[self.extension.find(LOG)?..]);
        Some(Self { extension, ..self.clone() })
    }

    /// Whether this is the name of a rest of another file, or of a rest of that.
    pub fn is_rest_of(&self, other: &Self) -> bool {
        let whole = other.rest("").map(|rest| rest.to_string());
        let begins =
            whole.as_deref().and_then(|whole| whole.strip_suffix(&other.extension[other.extension.find(LOG)?..]));
        begins.is_some_and(|begins| self.to_string().starts_with(begins))
    }

    /// The `n`th name to try for a file whose own name is taken, from 0 up to [`DUPLICATES`].
    #[must_use]
    pub fn duplicate(&self, n: u8) -> Self {
        let number = if n == 0 { String::new() } else { format!("-{n:02}") };
        Self { prefix: format!("{}{DUPLICATE}{number}", self.prefix()), ..self.clone() }
    }

    /// What the names begin with that files of this prefix get when their own are taken.
    pub fn duplicates_begin(prefix: &str) -> String {
        format!("{prefix}{DUPLICATE}")
    }

    /// Whether an hour file of `logjam pipe` bears this name.
    pub fn is_hour(&self) -> bool {
        self.suffix.is_some() && self.extension.ends_with(LOG) && self.extension.matches('.').count() <= 2
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.prefix, self.stamp_text)?;
        if let Some(suffix) = &self.suffix {
            write!(f, "-{suffix}")?;
        }
        f.write_str(&self.extension)
    }
}

fn is_number(text: &str) -> bool {
    text.is_empty() || text.strip_prefix('-').is_some_and(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_digit()))
}

/// Reads `YYYY[-]MM[-]DDTHH[:]MMZ` at the start of `text`: the time, and how many bytes it took.
fn read_stamp(text: &str) -> Option<(DateTime<Utc>, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    // A number of so many digits, behind a character that may be left out.
    let mut number = |digits: usize, before: u8| -> Option<u32> {
        at += usize::from(bytes.get(at) == Some(&before));
        let field = bytes.get(at..at + digits)?;
        at += digits;
        field.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
    };
    // No such character stands before the year and the hour: the first is the text's start, `T` is checked below.
    let (year, month, day) = (number(4, 0)?, number(2, b'-')?, number(2, b'-')?);
    let (hour, minute) = (number(2, b'T')?, number(2, b':')?);
    let whole = bytes.get(at) == Some(&b'Z') && bytes[..at].contains(&b'T');
    if !whole {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    Some((date.and_hms_opt(hour, minute, 0)?.and_utc(), at + 1))
}

/// A token for a name that must never repeat: 9 characters of time (milliseconds since 1970, so that names sort by
/// age) and 4 random ones, in Crockford's base 32.
pub fn token(now: DateTime<Utc>, random: u32) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let time = u64::try_from(now.timestamp_millis()).unwrap_or(0) & ((1 << 44) - 1);
    let bits = (time << 20) | u64::from(random & 0xf_ffff);
    (0..13).rev().map(|i| char::from(DIGITS[((u128::from(bits) >> (i * 5)) & 31) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn parts(text: &str) -> Option<(String, String, Option<String>, String)> {
        LogName::parse(text).map(|n| {
            (n.prefix().into(), n.stamp().format("%FT%R").to_string(), n.suffix().map(Into::into), n.extension().into())
        })
    }

    fn is(
        prefix: &str,
        stamp: &str,
        suffix: Option<&str>,
        extension: &str,
    ) -> Option<(String, String, Option<String>, String)> {
        Some((prefix.into(), stamp.into(), suffix.map(Into::into), extension.into()))
    }

    #[test]
    fn names_of_the_grammar_are_read() {
        assert_eq!(
            parts("haproxy-20130704T0000Z-us-west-2-i-ae23fega.log"),
            is("haproxy", "2013-07-04T00:00", Some("us-west-2-i-ae23fega"), ".log")
        );
        assert_eq!(
            parts("flask-requests-2013-07-27T14:00Z.log.gz"),
            is("flask-requests", "2013-07-27T14:00", None, ".log.gz")
        );
        assert_eq!(parts("a.b-2013-0727T1400Z-x.y.z"), is("a.b", "2013-07-27T14:00", Some("x"), ".y.z"));
        assert_eq!(
            parts("a-20130101T0000Z-20140101T0000Z-x.log"),
            is("a-20130101T0000Z", "2014-01-01T00:00", Some("x"), ".log")
        );
    }

    #[test]
    fn other_names_are_left_alone() {
        for text in [
            "messages",
            "syslog-20130704T0000Z",
            "syslog-20130704T0000Z.",
            "syslog-20130704T0000Z-.log",
            "syslog-20130704T0000.log",
            "syslog-20131304T0000Z.log",
            "syslog-20130230T0000Z.log",
            "syslog-20130704T2400Z.log",
            "syslog-20130704T0060Z.log",
            "20130704T0000Z.log",
            "-20130704T0000Z.log",
            ".syslog-20130704T0000Z.log",
            "syslog-20130704T0000Zx.log",
            "syslog-２０１３0704T0000Z.log",
        ] {
            assert_eq!(LogName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_name_is_written_as_it_was_read() {
        for text in ["a-2013-07-04T00:00Z-b.log", "a-b-20130704T0000Z.c.d", "a-2013-0704T00:00Z-b-c.log.gz"] {
            assert_eq!(LogName::parse(text).map(|n| n.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_duplicate_keeps_its_prefix() {
        let name = LogName::parse("a-b-20130704T0000Z-c.log.gz").unwrap();
        let first = name.duplicate(0).to_string();
        assert_eq!(first, "a-b-logjam-compress-duplicate-timestamp-20130704T0000Z-c.log.gz");
        let last = LogName::parse(&first).unwrap().duplicate(24);
        assert_eq!(last.to_string(), "a-b-logjam-compress-duplicate-timestamp-24-20130704T0000Z-c.log.gz");
        assert_eq!(last.prefix(), "a-b");
        assert_eq!(LogName::parse(&last.to_string()).unwrap().prefix(), "a-b");
    }

    #[test]
    fn the_rest_of_a_file_sorts_right_behind_it() {
        let name = |text: &str| LogName::parse(text).unwrap();
        let rest = |text: &str| name(text).rest("h").map(|name| name.to_string());
        assert_eq!(rest("a-20130704T0000Z-c.log.gz").as_deref(), Some("a-20130704T0000Z-c.0000000000000rh.log.gz"));
        assert_eq!(rest("a-20130704T0000Z-c.1f0.log.zst").as_deref(), Some("a-20130704T0000Z-c.1f0rh.log.zst"));
        assert_eq!(rest("a-20130704T0000Z-c.txt"), None);
        assert_eq!(rest("a-20130704T0000Z-c.a.b.log.gz"), None);
        for (name, of, is) in [
            ("a-20130704T0000Z-c.0000000000000r0123456789ab.log.gz", "a-20130704T0000Z-c.log.gz", true),
            ("a-20130704T0000Z-c.0000000000000r0123456789abrab.log.gz", "a-20130704T0000Z-c.log.gz", true),
            ("a-20130704T0000Z-c.1f0c3k9a2bxyzr0123456789ab.log.gz", "a-20130704T0000Z-c.1f0c3k9a2bxyz.log.gz", true),
            ("a-20130704T0000Z-c.1f0c3k9a2bxyzr0123456789ab.log.gz", "a-20130704T0000Z-c.log.gz", false),
            ("a-20130704T0000Z-c.1f0c3k9a2bxyz.log.gz", "a-20130704T0000Z-c.1f0c3k9a2bxyz.log.gz", false),
            ("a-20130704T0000Z-d.0000000000000r0123456789ab.log.gz", "a-20130704T0000Z-c.log.gz", false),
        ] {
            let [name, of] = [name, of].map(|text| LogName::parse(text).unwrap());
            assert_eq!(name.is_rest_of(&of), is, "{name} of {of}");
        }
        let all = ["a-20130704T0000Z-c.log.gz", "a-20130704T0000Z-c.1f0c3k9a2bxyz.log.gz"].map(name);
        let rests = all.each_ref().map(|name| name.rest("9").unwrap());
        let tokens = [&all[0], &rests[0], &all[1], &rests[1]].map(|name| name.token().unwrap().to_owned());
        assert!(tokens.is_sorted(), "{tokens:?}");
    }

    #[test]
    fn tokens_sort_by_time_and_fit_the_grammar() {
        let early = Utc.timestamp_millis_opt(1_000).unwrap();
        let late = Utc.timestamp_millis_opt(1_900_000_000_000).unwrap();
        assert!(token(early, u32::MAX) < token(late, 0));
        assert_ne!(token(late, 1), token(late, 2));
        let name = LogName::hour("syslog", late, "web-1", Some(&token(late, 7)));
        let again = LogName::parse(&name.to_string()).unwrap();
        assert_eq!((again.prefix(), again.suffix(), again.is_hour()), ("syslog", Some("web-1"), true));
    }
}
