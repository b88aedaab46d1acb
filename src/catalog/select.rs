//! What is asked for: a range of time and some streams.

use crate::format::key::search::Wanted;
use crate::format::name::LogName;
use chrono::{DateTime, TimeDelta, Utc};

/// The longest period: what began that long before a time may reach into it.
pub const LONGEST_PERIOD: TimeDelta = TimeDelta::hours(1);

/// A pattern for names, as a shell has it: `*`, `?`, `[a-z]`.
#[derive(Clone, Debug)]
pub struct Glob {
    pattern: glob::Pattern,
    /// What all names begin with that fit.
    begin: String,
    /// Whether that is all of the only one.
    exact: bool,
}

impl Glob {
    /// The pattern that everything fits.
    pub fn any() -> Self {
        Self { pattern: glob::Pattern::default(), begin: String::new(), exact: false }
    }

    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pattern = glob::Pattern::new(text).map_err(|e| e.to_string())?;
        let wild = text.find(['*', '?', '[']);
        Ok(Self { pattern, begin: text[..wild.unwrap_or(text.len())].to_owned(), exact: wild.is_none() })
    }

    /// Whether a name fits.
    pub fn fits(&self, name: &str) -> bool {
        self.is_any() || self.pattern.matches(name)
    }

    /// Whether every name fits.
    pub fn is_any(&self) -> bool {
        self.begin.is_empty() && !self.exact && matches!(self.pattern.as_str(), "" | "*")
    }

    /// What all names begin with that fit, and whether that is all of the only one.
    pub fn begin(&self) -> (&str, bool) {
        (&self.begin, self.exact)
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Periods that end after this; absent: from the first one on.
    pub from: Option<DateTime<Utc>>,
    /// Periods that begin before this; absent: up to the last one.
    pub to: Option<DateTime<Utc>>,
    /// Streams by prefix.
    pub prefix: Glob,
    /// Streams by suffix; a stream without one has the empty suffix.
    pub suffix: Glob,
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self { from: None, to: None, prefix: Glob::any(), suffix: Glob::any() }
    }

    /// Whether the period that a name begins may be asked for: its length is not known from that.
    pub fn takes(&self, name: &LogName) -> bool {
        let start = name.stamp();
        self.earliest().is_none_or(|from| start > from)
            && self.to.is_none_or(|to| start < to)
            && self.takes_stream(name.prefix(), name.suffix())
    }

    /// Whether a stream is asked for.
    pub fn takes_stream(&self, prefix: &str, suffix: Option<&str>) -> bool {
        self.prefix.fits(prefix) && self.suffix.fits(suffix.unwrap_or_default())
    }

    fn earliest(&self) -> Option<DateTime<Utc>> {
        self.from.and_then(|from| from.checked_sub_signed(LONGEST_PERIOD))
    }
}

/// A selection, as a search of keys sees it.
pub(super) struct Search<'a> {
    pub(super) selection: &'a Selection,
    /// Only what began then or later.
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) manifests: bool,
}

impl Search<'_> {
    /// Whether what a name tells of is asked for.
    pub(super) fn takes(&self, name: &LogName) -> bool {
        self.selection.takes(name) && self.since.is_none_or(|since| name.stamp() >= since)
    }
}

impl Wanted for Search<'_> {
    fn range(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        (self.selection.earliest().max(self.since), self.selection.to)
    }

    fn prefix(&self, prefix: &str) -> bool {
        self.selection.prefix.fits(prefix)
    }

    fn prefix_begin(&self) -> (&str, bool) {
        self.selection.prefix.begin()
    }

    fn manifests(&self) -> bool {
        self.manifests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_tells_what_names_begin_with() {
        let glob = |text: &str| Glob::parse(text).unwrap();
        assert_eq!(glob("syslog").begin(), ("syslog", true));
        assert_eq!(glob("web-*").begin(), ("web-", false));
        assert!(glob("web-?").fits("web-1") && !glob("web-?").fits("web-12") && !glob("web").fits("web-1"));
        assert!(glob("[ab]*").fits("b") && !glob("[!ab]*").fits("b"));
        assert!(glob("*").is_any() && Glob::any().is_any() && Glob::any().fits("x") && !glob("a*").is_any());
        assert!(glob("").fits("") && !glob("").fits("x"), "the empty name is a name");
        assert!(Glob::parse("a[").is_err());
    }

    #[test]
    fn a_period_is_asked_for_that_may_reach_into_the_range() {
        let at = |text: &str| text.parse().ok();
        let selection = Selection {
            from: at("2013-07-04T05:30:00Z"),
            to: at("2013-07-04T07:00:00Z"),
            suffix: Glob::parse("web-*").unwrap(),
            ..Selection::all()
        };
        let takes = |text: &str| selection.takes(&LogName::parse(text).unwrap());
        for (name, expected) in [
            ("a-20130704T0430Z-web-1.log.gz", false),
            ("a-20130704T0431Z-web-1.log.gz", true),
            ("a-20130704T0659Z-web-1.log.gz", true),
            ("a-20130704T0700Z-web-1.log.gz", false),
            ("a-20130704T0600Z-db-1.log.gz", false),
            ("a-20130704T0600Z.log.gz", false),
        ] {
            assert_eq!(takes(name), expected, "{name}");
        }
    }
}
