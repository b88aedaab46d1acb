//! The page: a template, the data, and a policy by which a browser runs and loads nothing else.

use super::chain::State;
use super::stream::{Stream, hour_of};
use super::{Archive, Day};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const TEMPLATE: &str = include_str!("report.html");
const SCRIPT: &str = include_str!("report.js");
/// The version of what the script reads.
const VERSION: u32 = 1;

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    version: u32,
    /// Version of this program.
    logjam: &'a str,
    dest: &'a str,
    made: DateTime<Utc>,
    /// First hour that something is known of, since 1970.
    from: i64,
    /// How many hours there are from it to the last one.
    hours: i64,
    days: Days,
    /// Name, objects, bytes of the plain text and of the objects.
    codecs: Vec<(&'a str, u64, u64, u64)>,
    /// Keys that are neither an archive's nor a manifest's.
    foreign: u64,
    /// Manifests that could not be read.
    unread: u64,
    streams: Vec<Row<'a>>,
}

/// One behind the other.
#[derive(Default, Serialize)]
struct Days {
    /// Days since 1970.
    first: i64,
    packed: Vec<u64>,
    bytes: Vec<u64>,
    lines: Vec<u64>,
}

#[derive(Serialize)]
struct Row<'a> {
    p: &'a str,
    s: Option<&'a str>,
    first: i64,
    hours: String,
    sizes: String,
    lines_of: String,
    objects: u64,
    packed: u64,
    told: u64,
    lines: u64,
    bytes: u64,
    recovered: u64,
    cut: u64,
    resent: u64,
    chain: State,
}

/// From when on, and up to when, an archive was looked at.
pub type Looked = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// The whole page. `dest` is shown; `made` is when it was looked at, from one time to the other.
pub fn page(archive: &Archive, dest: &str, made: DateTime<Utc>, looked: Looked) -> String {
    let lives = || archive.streams.values().filter_map(Stream::life);
    let first = lives().map(|(first, _)| first).min().unwrap_or_else(|| hour_of(made));
    let last = lives().map(|(_, last)| last).max().unwrap_or(first);
    let data = Data {
        version: VERSION,
        logjam: env!("CARGO_PKG_VERSION"),
        dest,
        made,
        from: first,
        hours: last - first + 1,
        days: days(&archive.days),
        codecs: archive
            .codecs
            .iter()
            .map(|(name, sums)| (name.as_str(), sums.objects, sums.bytes, sums.packed))
            .collect(),
        foreign: archive.foreign,
        unread: archive.unread,
        streams: archive
            .streams
            .iter()
            .map(|((prefix, suffix), stream)| row(prefix, suffix.as_deref(), stream, looked))
            .collect(),
    };
    // A failure is impossible: there are only texts and numbers.
    let data = within_script(&serde_json::to_string(&data).unwrap_or_default());
    fill(&data)
}

fn row<'a>(prefix: &'a str, suffix: Option<&'a str>, stream: &Stream, looked: Looked) -> Row<'a> {
    let hours = stream.hours();
    Row {
        p: prefix,
        s: suffix,
        first: hours.first,
        hours: hours.states,
        sizes: hours.sizes,
        lines_of: hours.lines,
        objects: stream.objects,
        packed: stream.packed,
        told: stream.told,
        lines: stream.lines,
        bytes: stream.bytes,
        recovered: stream.recovered,
        cut: stream.cut,
        resent: stream.resent,
        chain: stream.chain.state(looked.0, looked.1),
    }
}

fn days(known: &BTreeMap<i64, Day>) -> Days {
    let (Some((first, _)), Some((last, _))) = (known.first_key_value(), known.last_key_value()) else {
        return Days::default();
    };
    let mut days = Days { first: *first, ..Days::default() };
    for at in *first..=*last {
        let day = known.get(&at).cloned().unwrap_or_default();
        days.packed.push(day.packed);
        days.bytes.push(day.bytes);
        days.lines.push(day.lines);
    }
    days
}

/// JSON that can stand in a script element, whatever the names in it are.
fn within_script(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn fill(data: &str) -> String {
    let page = TEMPLATE.replace("{{script}}", SCRIPT);
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'",
        digest(between(&page, "<style>", "</style>")),
        digest(between(&page, "<script>", "</script>")),
    );
    // The data last: it is not looked through for anything.
    page.replace("{{csp}}", &policy).replace("{{data}}", data)
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let after = text.split_once(open).map_or("", |(_, after)| after);
    after.split_once(close).map_or("", |(inside, _)| inside)
}

/// As a policy names what it allows.
fn digest(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_not_break_out_of_the_page() {
        let mut archive = Archive::default();
        let nasty = "</script><script>alert(1)</script>{{csp}}{{script}}<!--\u{2028}&amp;\"";
        let stream = archive.streams.entry((nasty.to_owned(), Some(nasty.to_owned()))).or_default();
        stream.object("2026-11-22T15:00:00Z".parse().unwrap(), 10);
        let made = "2026-11-28T09:00:00Z".parse().unwrap();
        let page = page(&archive, nasty, made, (None, None));
        assert_eq!(page.matches("</script>").count(), 2, "the data and the program");
        let json = between(&page, "id=\"data\">", "</script>");
        let data: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!((data["dest"].as_str(), data["streams"][0]["p"].as_str()), (Some(nasty), Some(nasty)));
        assert!(!page.contains("{{data}}"));
    }

    #[test]
    fn a_browser_may_run_the_program_of_the_page_and_load_nothing() {
        let page = fill("{}");
        let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains(&digest(between(&page, "<script>", "</script>"))), "{policy}");
        for word in ["http://", "https://", "url(", "@import", "src=\"", "innerHTML", "eval("] {
            let found = page.matches(word).count();
            // The name space of SVG is a name and no address.
            assert_eq!(
                found,
                if word == "http://" { page.matches("\"http://www.w3.org/2000/svg\"").count() } else { 0 },
                "{word}"
            );
        }
    }
}
