//! Lines that match a regular expression.

use super::lines::Filter;
use crate::error::{Error, Result};
use regex::bytes::{Regex, RegexBuilder};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is looked for, and how it is shown.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
    /// Whether the beginning and the end of a text are meant where only those of a line can be found: each line is looked at alone.
    each: bool,
    /// Show the lines that do not match.
    pub invert: bool,
    /// Show how many lines of each item there are.
    pub count: bool,
    /// Becomes true when something is found.
    pub found: Arc<AtomicBool>,
}

impl Pattern {
    /// Reads a pattern: the syntax of the crate `regex`, on bytes; or, `fixed`, text as it stands, each line of it one that may be
    /// found, as grep(1) has it.
    ///
    /// # Errors
    /// Of class usage, with the place of the fault.
    pub fn new(text: &str, fixed: bool, any_case: bool) -> Result<Self> {
        let escaped = match fixed {
            true => text.split('\n').map(regex::escape).collect::<Vec<_>>().join("|"),
            false => text.to_owned(),
        };
        let regex = RegexBuilder::new(&escaped).multi_line(true).case_insensitive(any_case).build();
        let regex = regex
            .map_err(|e| Error::usage(format!("PATTERN `{text}`"), e).mend("-F takes it as a text, and no pattern"))?;
        let each = ["\\A", "\\z"].iter().any(|part| escaped.contains(part)) || sets_lines(&escaped);
        Ok(Self { regex, each, invert: false, count: false, found: Arc::default() })
    }

    /// The next line from `from` on that matches: where it begins, and where it ends with its newline.
    fn next(&self, lines: &[u8], from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        while at < lines.len() {
            let (start, end) = if self.each {
                (at, end_of_line(lines, at))
            } else {
                let found = self.regex.find_at(lines, at)?;
                // Behind the last newline there is no line; behind a last line without one, that is found.
                if found.start() >= lines.len() && lines.ends_with(b"\n") {
                    return None;
                }
                let start = memchr::memrchr(b'\n', &lines[at..found.start()]).map_or(at, |newline| at + newline + 1);
                (start, end_of_line(lines, found.start()))
            };
            let line = lines[start..end].strip_suffix(b"\n").unwrap_or(&lines[start..end]);
            if self.regex.is_match(line) {
                return Some((start, end));
            }
            at = end;
        }
        None
    }
}

/// Whether a group may say what `^` and `$` mean: `(?m)`, `(?-m:…)`.
fn sets_lines(pattern: &str) -> bool {
    let flags = |group: &str| group.split([':', ')', '<']).next().is_some_and(|flags| flags.contains('m'));
    pattern.split("(?").skip(1).any(flags)
}

/// Where the line that holds this place ends, with its newline.
fn end_of_line(lines: &[u8], at: usize) -> usize {
    memchr::memchr(b'\n', &lines[at..]).map_or(lines.len(), |newline| at + newline + 1)
}

/// Looks for a pattern in the lines of one item.
pub struct Grep {
    pattern: Pattern,
    label: Option<String>,
    lines: u64,
}

impl Grep {
    /// Begins an item. `label` and a colon are put before what is shown of it.
    pub fn new(pattern: &Pattern, label: Option<String>) -> Self {
        Self { pattern: pattern.clone(), label, lines: 0 }
    }

    fn show(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        self.pattern.found.store(true, Ordering::Relaxed);
        if self.pattern.count {
            let newlines = memchr::memchr_iter(b'\n', lines).count() as u64;
            self.lines += newlines + u64::from(!lines.ends_with(b"\n"));
            return;
        }
        match &self.label {
            None => out.extend_from_slice(lines),
            Some(label) => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    out.extend_from_slice(label.as_bytes());
                    out.push(b':');
                    out.extend_from_slice(line);
                }
            }
        }
        if !lines.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
}

impl Filter for Grep {
    fn lines(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while let Some((start, end)) = self.pattern.next(lines, at) {
            if self.pattern.invert {
                self.show(&lines[at..start], out);
            } else {
                self.show(&lines[start..end], out);
            }
            at = end;
        }
        if self.pattern.invert {
            self.show(&lines[at..], out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.pattern.count {
            let label = self.label.as_ref().map_or_else(String::new, |label| format!("{label}:"));
            out.extend_from_slice(format!("{label}{}\n", self.lines).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"one error\ntwo\n\nthree ERROR \xff x\nfour\nlast error";

    fn grep(pattern: Pattern, text: &[u8]) -> String {
        labelled(&pattern, None, text)
    }

    fn labelled(pattern: &Pattern, label: Option<String>, text: &[u8]) -> String {
        let (mut grep, mut out) = (Grep::new(pattern, label), Vec::new());
        grep.lines(text, &mut out);
        grep.end(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, false, false).unwrap()
    }

    #[test]
    fn lines_are_found_as_grep_finds_them() {
        assert_eq!(grep(pattern("error"), TEXT), "one error\nlast error\n");
        assert_eq!(grep(pattern("^t"), TEXT), "two\nthree ERROR \u{fffd} x\n");
        assert_eq!(grep(pattern("^$"), TEXT), "\n");
        assert_eq!(grep(pattern("or$"), TEXT), "one error\nlast error\n");
        assert_eq!(grep(pattern("x*"), TEXT).lines().count(), 6, "a pattern that matches nothing matches every line");
        assert_eq!(grep(pattern("error\\s+two"), TEXT), "", "no match goes over the end of a line");
        assert_eq!(grep(pattern("error\\s*\\w*"), TEXT), "one error\nlast error\n");
        assert_eq!(grep(pattern("\\Atwo\\z"), TEXT), "two\n", "a line is all there is");
        assert_eq!(grep(pattern("[^a]four"), b"x\nfour\n"), "");
        assert_eq!(grep(Pattern::new("error", false, true).unwrap(), TEXT).lines().count(), 3);
        assert_eq!(grep(Pattern::new("o.e", true, false).unwrap(), b"one\no.e\n"), "o.e\n");
        assert_eq!(grep(Pattern::new("w\nu.\nfour", true, false).unwrap(), TEXT), "two\nfour\n");
        assert_eq!(grep(pattern("(?i)FOUR"), TEXT), "four\n");
        assert_eq!(grep(pattern("(?-m)^four$"), TEXT), "four\n");
        assert!(!pattern("(?i:x)(?P<a>y)").each && pattern("(?i-m:^x)").each);
    }

    #[test]
    fn the_others_are_shown_counted_or_labelled() {
        assert_eq!(grep(Pattern { invert: true, ..pattern("r") }, TEXT), "two\n\n");
        assert_eq!(grep(Pattern { invert: true, ..pattern("two") }, b"one\ntwo"), "one\n");
        assert_eq!(grep(Pattern { count: true, ..pattern("error") }, TEXT), "2\n");
        assert_eq!(grep(Pattern { count: true, invert: true, ..pattern("error") }, TEXT), "4\n");
        let error = pattern("error");
        assert_eq!(labelled(&error, Some("k".into()), TEXT), "k:one error\nk:last error\n");
        assert!(error.found.load(Ordering::Relaxed));
        let none = Pattern { count: true, ..pattern("absent") };
        assert_eq!(grep(none.clone(), TEXT), "0\n");
        assert!(!none.found.load(Ordering::Relaxed));
    }

    #[test]
    fn every_pattern_finds_what_looking_at_each_line_finds() {
        let text: Vec<u8> =
            (0..2000u32).map(|i| b"ab\n \n"[(i.wrapping_mul(2_654_435_761) >> 29) as usize % 5]).collect();
        let texts = [&text[..], b"a\nb", b"a\nb ", b"a\nb\n", b"a\n\n", b"b", b"b\n", b"\n", b" ", b""];
        let mut regexes =
            vec!["a", "ab", "a\\sb", "^a", "b$", "^$", "[^a]b", "(a|\\s)*b", "a.*", "\\s", " $", "b\\s*$"];
        regexes.extend(["", "^", "$", "x*", "x*$", "\\s*$", "b*$", "\\b$", "$|a", "(b|$)"]);
        for (text, regex) in texts.iter().flat_map(|text| regexes.iter().map(move |regex| (text, regex))) {
            let whole = pattern(regex);
            let each = Pattern { each: true, ..whole.clone() };
            for (invert, count) in [(false, false), (true, false), (false, true), (true, true)] {
                let of = |pattern: &Pattern| grep(Pattern { invert, count, ..pattern.clone() }, text);
                assert_eq!(of(&whole), of(&each), "{regex} {invert} {count} {} bytes", text.len());
            }
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_with_the_place() {
        let e = Pattern::new("a(b", false, false).err().unwrap().to_string();
        assert!(e.starts_with("PATTERN `a(b`: ") && e.contains("unclosed group") && e.contains("-F"), "{e}");
        assert!(Pattern::new("a(b", true, false).is_ok());
    }
}
