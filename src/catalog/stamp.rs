//! The time that a log line tells, in the forms that are common at its beginning.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// How far into a line a time in brackets is looked for, in bytes.
const DEPTH: usize = 256;

/// The time of a line: RFC 3339 (also behind `<PRI>` and `<PRI>1`, RFC 5424), `Nov  8 09:30:15` (RFC 3164; the year is the one that
/// brings it nearest to `near`), seconds since 1970, or `[28/Nov/2026:09:30:15 +0000]` somewhere in its first 256 bytes. Without an
/// offset it is UTC.
pub(super) fn of_line(line: &[u8], near: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let line = &line[..line.len().min(DEPTH)];
    let head = without_priority(line);
    iso(head).or_else(|| traditional(head, near)).or_else(|| epoch(head)).or_else(|| bracketed(line))
}

/// Without the `<PRI>` and the version that syslog puts in front.
fn without_priority(line: &[u8]) -> &[u8] {
    let Some(rest) = line.strip_prefix(b"<") else { return line };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits) {
        Some(b'>') if (1..=3).contains(&digits) => {
            let rest = &rest[digits + 1..];
            rest.strip_prefix(b"1 ").unwrap_or(rest)
        }
        _ => line,
    }
}

/// The text up to the second blank, or the first.
fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
    }
}

fn iso(line: &[u8]) -> Option<DateTime<Utc>> {
    if !(line.len() >= 19 && line[4] == b'-' && line[7] == b'-' && matches!(line[10], b'T' | b't' | b' ')) {
        return None;
    }
    let line = text(line);
    let time = line.get(..19)?;
    let time = NaiveDateTime::parse_from_str(&time.replace(['T', 't'], " "), "%Y-%m-%d %H:%M:%S").ok()?;
    let rest = line.get(19..)?;
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (nanoseconds, rest) = match rest.strip_prefix(['.', ',']) {
        Some(fraction) if digits(fraction) > 0 => {
            let n = digits(fraction);
            let nine: String = fraction[..n].chars().chain(std::iter::repeat('0')).take(9).collect();
            (nine.parse().ok()?, &fraction[n..])
        }
        _ => (0, rest),
    };
    let time = time + TimeDelta::nanoseconds(nanoseconds);
    Some((time - offset(rest)).and_utc())
}

/// `Z`, `+01:00`, `+0100`, ` +0100`; anything else is none.
fn offset(text: &str) -> TimeDelta {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let (sign, rest) = match text.as_bytes().first() {
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        _ => return TimeDelta::zero(),
    };
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let minutes = rest.get(2..).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    match (number(rest.get(..2)), number(minutes.and_then(|minutes| minutes.get(..2)))) {
        (Some(hours), Some(minutes)) => TimeDelta::minutes(sign * (60 * hours + minutes)),
        _ => TimeDelta::zero(),
    }
}

fn traditional(line: &[u8], near: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !(line.len() >= 15 && line[3] == b' ' && line[6] == b' ' && line[9] == b':' && line[12] == b':') {
        return None;
    }
    let line = text(line).get(..15)?;
    let month = month(&line[..3])?;
    let number = |range: std::ops::Range<usize>| line[range].trim_start().parse::<u32>().ok();
    let (day, hour, minute, second) = (number(4..6)?, number(7..9)?, number(10..12)?, number(13..15)?);
    let at = |year| Some(NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(hour, minute, second)?.and_utc());
    [near.year() - 1, near.year(), near.year() + 1].into_iter().filter_map(at).min_by_key(|time| (*time - near).abs())
}

fn month(text: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS.iter().position(|month| *month == text).and_then(|place| u32::try_from(place + 1).ok())
}

/// Ten digits, and perhaps a fraction.
fn epoch(line: &[u8]) -> Option<DateTime<Utc>> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits != 10 || !matches!(line.get(10), None | Some(b' ' | b'.' | b'\t' | b'\n' | b':')) {
        return None;
    }
    let seconds = text(&line[..10]).parse().ok()?;
    let fraction: String = match line.get(10) {
        Some(b'.') => {
            line[11..].iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect()
        }
        _ => String::new(),
    };
    let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    DateTime::from_timestamp(seconds, nine.parse().ok()?)
}

fn bracketed(line: &[u8]) -> Option<DateTime<Utc>> {
    let mut rest = line;
    while let Some(at) = memchr::memchr(b'[', rest) {
        rest = &rest[at + 1..];
        let inside = text(rest);
        if let Some(time) = inside.get(..20).and_then(common_log) {
            return Some((time - offset(&inside[20..])).and_utc());
        }
    }
    None
}

/// `28/Nov/2026:09:30:15`, as the common log format has it.
fn common_log(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = text.split_at_checked(11)?;
    let month = month(date.get(3..6)?)?;
    let date = NaiveDate::from_ymd_opt(date.get(7..11)?.parse().ok()?, month, date.get(..2)?.parse().ok()?)?;
    let number = |range: std::ops::Range<usize>| time.get(range).and_then(|text| text.parse().ok());
    date.and_hms_opt(number(1..3)?, number(4..6)?, number(7..9)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_forms_are_read_and_others_are_none() {
        let near = "2026-12-31T23:30:00Z".parse().unwrap();
        let of = |line: &str| of_line(line.as_bytes(), near).map(|time| time.to_rfc3339());
        for (line, expected) in [
            ("2026-11-28T09:30:15Z web", "2026-11-28T09:30:15+00:00"),
            ("2026-11-28T09:30:15.123456+01:00 web", "2026-11-28T08:30:15.123456+00:00"),
            ("2026-11-28 09:30:15,5 INFO", "2026-11-28T09:30:15.500+00:00"),
            ("2026-11-28 09:30:15 -0230 INFO", "2026-11-28T12:00:15+00:00"),
            ("<34>1 2026-11-28T09:30:15Z web", "2026-11-28T09:30:15+00:00"),
            ("<34>Dec  3 09:30:15 web su: x", "2026-12-03T09:30:15+00:00"),
            ("Jan  1 00:00:01 web su: x", "2027-01-01T00:00:01+00:00"),
            ("Dec 31 23:59:59 web su: x", "2026-12-31T23:59:59+00:00"),
            ("1764321015 x", "2025-11-28T09:10:15+00:00"),
            ("1764321015.25 x", "2025-11-28T09:10:15.250+00:00"),
            ("::1 - - [28/Nov/2026:09:30:15 +0200] \"GET /\"", "2026-11-28T07:30:15+00:00"),
            ("[app] [28/Nov/2026:09:30:15] x", "2026-11-28T09:30:15+00:00"),
        ] {
            assert_eq!(of(line).as_deref(), Some(expected), "{line}");
        }
        for line in
            ["", "x", "  at java.lang.Thread", "2026-11-28Txx:30:15Z", "12345 x", "[28/Foo/2026:09:30:15]", "<>1 é"]
        {
            assert_eq!(of(line), None, "{line}");
        }
        assert_eq!(of_line(b"2026-11-28T09:30:1\xff", near), None);
    }
}
