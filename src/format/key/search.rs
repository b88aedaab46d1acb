//! The way back from keys: what a key was made of, and where, in the order of keys, those of a time and a stream may lie.

use super::named::Named;
use super::{BY_SIZE, Dest, Field, Piece};
use crate::format::name::LogName;
use chrono::{DateTime, TimeDelta, Utc};
use std::borrow::Cow;
use std::ops::Range;

/// The forms of a time in a file name that do not sort alike, in the order in which they sort.
const FORMS: [&str; 8] = [
    "%Y-%m-%dT%H%MZ",
    "%Y-%m-%dT%H:%MZ",
    "%Y-%m%dT%H%MZ",
    "%Y-%m%dT%H:%MZ",
    "%Y%m-%dT%H%MZ",
    "%Y%m-%dT%H:%MZ",
    "%Y%m%dT%H%MZ",
    "%Y%m%dT%H:%MZ",
];

/// What is looked for.
pub trait Wanted {
    /// Starts of periods: from the first on, before the second. Absent: no bound.
    fn range(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    /// Whether streams of this prefix are wanted.
    fn prefix(&self, prefix: &str) -> bool;
    /// What all wanted prefixes begin with, and whether that is all of the only one.
    fn prefix_begin(&self) -> (&str, bool);
    /// Whether manifests, too, are wanted.
    fn manifests(&self) -> bool;
}

/// Where a search goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// At the next key.
    Here,
    /// Behind this text: no key up to it is wanted.
    Behind(String),
    /// Nowhere: no later key is wanted.
    End,
}

impl Dest {
    /// What all wanted keys begin with, and the text behind which the first one lies.
    pub fn begin(&self, wanted: &dyn Wanted) -> (String, String) {
        let (from, to) = wanted.range();
        let last = to.map(last_before);
        let (mut common, mut first, mut same) = (String::new(), String::new(), true);
        let (mut order, mut prefix) = (0, None);
        for piece in self.pieces(wanted.manifests()).iter() {
            let (text, other) = match piece {
                Piece::Text(text) => (text.clone(), Some(text.clone())),
                Piece::Field(Field::Prefix) => match wanted.prefix_begin() {
                    (text, true) => {
                        prefix = Some(text);
                        (text.to_owned(), Some(text.to_owned()))
                    }
                    (text, false) => {
                        first.push_str(text);
                        common.push_str(if same { text } else { "" });
                        break;
                    }
                },
                Piece::Field(field) if BY_SIZE.get(order) == Some(field) => {
                    let Some(from) = from else { break };
                    order += 1;
                    (field.of_time(from), last.map(|last| field.of_time(last)))
                }
                Piece::Field(Field::Filename) => {
                    let low = prefix.filter(|_| !wanted.manifests()).and_then(|prefix| {
                        let all = ranges(prefix, from, to);
                        all.into_iter().map(|range| range.start).min()
                    });
                    first.push_str(low.as_deref().unwrap_or_default());
                    break;
                }
                Piece::Field(_) => break,
            };
            same &= other.as_ref() == Some(&text);
            common.push_str(if same { &text } else { "" });
            first.push_str(&text);
        }
        (common, first)
    }

    /// Where a search goes on behind a key.
    pub fn next(&self, key: &str, named: &Named, wanted: &dyn Wanted) -> Next {
        let bound = match named {
            Named::Object(name) => self.bound(key, name, &self.pieces(wanted.manifests()), wanted),
            Named::Manifest(Some(name)) => self.bound(key, name, &self.pieces(true), wanted),
            Named::Manifest(None) | Named::Foreign => Next::Here,
        };
        match bound {
            Next::Behind(bound) if bound.as_str() <= key => Next::Here,
            other => other,
        }
    }

    /// The pieces that tell where keys lie. Where those of manifests count, what stands in the last part tells nothing, since they
    /// have a mark before it; but for a file name alone, which is looked at in the key itself.
    fn pieces(&self, manifests: bool) -> Cow<'_, [Piece]> {
        let is_slashed = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains('/'));
        let slash = self.template.iter().rposition(is_slashed).map_or(0, |at| at + 1);
        let (dirs, last) = self.template.split_at(slash);
        if !manifests || last == [Piece::Field(Field::Filename)] && (dirs.last()).is_none_or(ends_part) {
            return Cow::Borrowed(&self.template);
        }
        let mut dirs = dirs.to_vec();
        if let Some(Piece::Text(text)) = dirs.last_mut() {
            text.truncate(text.rfind('/').map_or(0, |at| at + 1));
        }
        Cow::Owned(dirs)
    }

    fn bound(&self, key: &str, name: &LogName, pieces: &[Piece], wanted: &dyn Wanted) -> Next {
        let (from, to) = wanted.range();
        let (mut head, mut order, mut prefixed) = (String::new(), 0, false);
        // Where the time fields begin: keys with the same beginning are sorted by time, as far as the fields go.
        let mut dated = None;
        let mut bounds = (from, to);
        let (all, mut pieces) = (pieces, pieces.iter().enumerate().peekable());
        while let Some((place, piece)) = pieces.next() {
            let ends_here = matches!(pieces.peek(), Some((_, Piece::Text(text))) if text.starts_with('/'));
            match piece {
                Piece::Text(text) => head.push_str(text),
                Piece::Field(Field::Prefix) => {
                    let is_wanted = wanted.prefix(name.prefix());
                    // Where nothing tells the end of a prefix, keys of others may lie between those of one.
                    if !(ends_here || is_wanted && wanted.prefix_begin().1) {
                        return Next::Here;
                    }
                    if !is_wanted {
                        return other_prefix(&head, name.prefix(), wanted);
                    }
                    head.push_str(name.prefix());
                    prefixed = true;
                }
                Piece::Field(field) if BY_SIZE.get(order) == Some(field) => {
                    order += 1;
                    let begin = dated.get_or_insert((head.clone(), place)).clone();
                    let own = field.of(name);
                    match compare(&own, *field, bounds) {
                        Where::Before => return Next::Behind(low(all, &begin, from)),
                        Where::Behind => return past(&begin.0),
                        Where::Within(narrower) => bounds = narrower,
                    }
                    head.push_str(&own);
                }
                Piece::Field(Field::Filename) if prefixed && !wanted.manifests() => {
                    let Some(own) = key.strip_prefix(&head) else { return Next::Here };
                    return by_name(&head, own, ranges(name.prefix(), from, to));
                }
                Piece::Field(_) => return Next::Here,
            }
        }
        Next::Here
    }
}

enum Where {
    Before,
    Behind,
    Within((Option<DateTime<Utc>>, Option<DateTime<Utc>>)),
}

/// The least text that keys with this beginning have from a time on.
fn low(pieces: &[Piece], (head, place): &(String, usize), from: Option<DateTime<Utc>>) -> String {
    let mut low = head.clone();
    let Some(from) = from else { return low };
    let mut order = 0;
    for piece in &pieces[*place..] {
        match piece {
            Piece::Text(text) => low.push_str(text),
            Piece::Field(field) if BY_SIZE.get(order) == Some(field) => {
                order += 1;
                low.push_str(&field.of_time(from));
            }
            Piece::Field(_) => break,
        }
    }
    low
}

/// Whether what comes behind begins a part of its own.
fn ends_part(piece: &Piece) -> bool {
    matches!(piece, Piece::Text(text) if text.ends_with('/'))
}

/// Where a time field stands beside the bounds, and which of them still hold for the smaller fields.
fn compare(own: &str, field: Field, (from, to): (Option<DateTime<Utc>>, Option<DateTime<Utc>>)) -> Where {
    let last = to.map(last_before);
    let (low, high) = (from.map(|from| field.of_time(from)), last.map(|last| field.of_time(last)));
    match (low, high) {
        (Some(low), _) if own < low.as_str() => Where::Before,
        (_, Some(high)) if own > high.as_str() => Where::Behind,
        (low, high) => {
            Where::Within((from.filter(|_| low.as_deref() == Some(own)), to.filter(|_| high.as_deref() == Some(own))))
        }
    }
}

/// Behind all keys of a prefix that is not wanted, or at the wanted ones.
fn other_prefix(head: &str, prefix: &str, wanted: &dyn Wanted) -> Next {
    let (begin, _) = wanted.prefix_begin();
    if prefix < begin {
        return Next::Behind(format!("{head}{begin}"));
    }
    if !prefix.starts_with(begin) {
        return past(head);
    }
    past(&format!("{head}{prefix}/"))
}

/// Where, in a directory of keys that end in a file name, a search goes on.
fn by_name(head: &str, own: &str, ranges: Vec<Range<String>>) -> Next {
    if ranges.iter().any(|range| range.start.as_str() <= own && own < range.end.as_str()) {
        return Next::Here;
    }
    match ranges.into_iter().map(|range| range.start).filter(|start| start.as_str() > own).min() {
        Some(start) => Next::Behind(format!("{head}{start}")),
        None => past(head),
    }
}

/// Where the file names of a stream's prefix lie, from one time up to another: one range for each form that a time may have,
/// and one for duplicates.
fn ranges(prefix: &str, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> Vec<Range<String>> {
    let text = |form: &str, at: DateTime<Utc>| format!("{prefix}-{}", at.format(form));
    let low = |form: &str| from.map_or_else(|| format!("{prefix}-"), |from| text(form, from));
    // Behind all digits, or behind all that begins with the last minute.
    let high = |form: &str| match to.map(last_before) {
        None => format!("{prefix}-:"),
        Some(last) => successor(&text(form, last)).unwrap_or_default(),
    };
    let mut all: Vec<_> = FORMS.map(|form| low(form)..high(form)).into();
    let duplicates = LogName::duplicates_begin(prefix);
    let end = successor(&duplicates).unwrap_or_default();
    all.push(duplicates..end);
    all
}

/// The last moment before a time.
fn last_before(to: DateTime<Utc>) -> DateTime<Utc> {
    to - TimeDelta::nanoseconds(1)
}

/// Behind all keys that begin so.
fn past(head: &str) -> Next {
    successor(head).map_or(Next::End, Next::Behind)
}

/// The least text that sorts behind all that begin with `text`.
fn successor(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    while let Some(last) = text.pop() {
        let next = char::from_u32(u32::from(last) + 1).or_else(|| (u32::from(last) < 0xe000).then_some('\u{e000}'));
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::manifest_key;
    use super::super::named::tests::{TEMPLATES, dest, names};
    use super::*;

    struct Wish {
        range: (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
        prefix: (&'static str, bool),
        manifests: bool,
    }

    impl Wanted for Wish {
        fn range(&self) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
            self.range
        }

        fn prefix(&self, prefix: &str) -> bool {
            if self.prefix.1 { prefix == self.prefix.0 } else { prefix.starts_with(self.prefix.0) }
        }

        fn prefix_begin(&self) -> (&str, bool) {
            self.prefix
        }

        fn manifests(&self) -> bool {
            self.manifests
        }
    }

    impl Wish {
        fn takes(&self, named: &Named) -> bool {
            let name = match named {
                Named::Object(name) => name,
                Named::Manifest(Some(name)) if self.manifests => name,
                _ => return false,
            };
            let (from, to) = self.range;
            let timely = from.is_none_or(|from| name.stamp() >= from) && to.is_none_or(|to| name.stamp() < to);
            timely && self.prefix(name.prefix())
        }
    }

    /// The keys that a search takes, and how many it looks at.
    fn search(dest: &Dest, keys: &[(String, Named)], wish: &Wish) -> (Vec<String>, usize) {
        let (common, first) = dest.begin(wish);
        let (mut behind, mut taken, mut seen) = (first, Vec::new(), 0);
        loop {
            let place = keys.partition_point(|(key, _)| *key <= behind || *key < common);
            let Some((key, named)) = keys.get(place).filter(|(key, _)| key.starts_with(&common)) else { break };
            seen += 1;
            if wish.takes(named) {
                taken.push(key.clone());
            }
            behind.clone_from(key);
            match dest.next(key, named, wish) {
                Next::Here => {}
                Next::Behind(text) => {
                    assert!(text > behind, "{text} {behind}");
                    behind = text;
                }
                Next::End => break,
            }
        }
        (taken, seen)
    }

    /// With what each is.
    fn with_names(dest: &Dest, mut keys: Vec<String>) -> Vec<(String, Named)> {
        keys.extend(keys.clone().iter().map(|key| manifest_key(key)));
        keys.sort();
        keys.dedup();
        keys.into_iter().map(|key| (key.clone(), dest.named(&key))).collect()
    }

    #[test]
    fn a_search_passes_over_no_key_that_is_wanted() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let bounds = ["2012-12-31T23:59:00Z", "2013-07-04T05:00:00Z", "2013-07-04T06:00:00Z", "2013-07-05T00:00:00Z"];
        let mut bounds: Vec<_> = bounds.map(|text| Some(at(text))).into();
        bounds.push(None);
        let mut searches = 0;
        for template in TEMPLATES {
            let dest = dest(template);
            let mut keys: Vec<_> = names().iter().map(|name| dest.key(name)).collect();
            keys.extend(["0".into(), "syslog/x".into(), "zzz".into(), "a/b/c".into()]);
            let keys = with_names(&dest, keys);
            for (from, to) in bounds.iter().flat_map(|from| bounds.iter().map(move |to| (*from, *to))) {
                for prefix in
                    [("", false), ("syslog", true), ("syslog", false), ("_x", true), ("Zed", true), ("q", true)]
                {
                    for manifests in [false, true] {
                        let wish = Wish { range: (from, to), prefix, manifests };
                        let all = keys.iter().filter(|(_, named)| wish.takes(named));
                        let all: Vec<_> = all.map(|(key, _)| key.clone()).collect();
                        assert_eq!(search(&dest, &keys, &wish).0, all, "{template} {from:?} {to:?} {prefix:?}");
                        searches += 1;
                    }
                }
            }
        }
        assert_eq!(searches, 11 * 25 * 6 * 2);
    }

    #[test]
    fn a_search_looks_at_little_beside_what_is_wanted() {
        let dest = dest(TEMPLATES[0]);
        let day = |day: u32, hour: u32| {
            (1..=9).map(move |host| LogName::parse(&format!("app{host}-201307{day:02}T{hour:02}00Z-h.log.gz")).unwrap())
        };
        let all = (1..=31).flat_map(|d| (0..24).flat_map(move |h| day(d, h)));
        let keys = with_names(&dest, all.map(|name| dest.key(&name)).collect());
        let range = ("2013-07-04T05:00:00Z".parse().ok(), "2013-07-04T06:00:00Z".parse().ok());
        let one = Wish { range, prefix: ("app3", true), manifests: false };
        let (taken, seen) = search(&dest, &keys, &one);
        assert_eq!(taken, ["app3/2013/07/04/app3-20130704T0500Z-h.log.gz"]);
        assert!(seen <= 3, "{seen}");
        let (taken, seen) = search(&dest, &keys, &Wish { prefix: ("", false), ..one });
        assert_eq!(taken.len(), 9);
        assert!(seen <= 9 * 6, "{seen}");
    }
}
