//! `logjam report`: the page that the real binary makes of an archive, looked at in a real browser.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk")]

use crate::browser::{Browser, DOWN, END, ENTER, ESCAPE, HOME, LEFT, PAGE_DOWN, RIGHT, UP};
use crate::cli::{self, Spool, logjam, run};
use crate::server::S3Server;
use chrono::{DateTime, TimeDelta, Utc};
use logjam::catalog::report::{Archive, page};
use logjam::format::manifest::{Link, Manifest, Packed};
use logjam::format::name::LogName;
use logjam::format::seal::Ended;
use serde_json::{Value, json};
use std::path::PathBuf;

const TEMPLATE: &str = "{prefix}/{year}/{month}/{day}/{filename}";

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// An archive that never was: `states` tells for a stream and an hour what is there: `s`, `q`, `r`, `u`, `x` as on the page.
fn invented(streams: usize, hours: i64, states: impl Fn(usize, i64) -> char) -> Archive {
    let begin = time("2025-12-01T00:00:00Z");
    let mut archive = Archive::default();
    for stream in 0..streams {
        let (prefix, suffix) = (["syslog", "nginx", "audit"][stream % 3], format!("web-{stream:03}"));
        let mut number = 0;
        let line = r#"{"version":1,"host":"h","prefix":"","start":"2025-12-01T00:00:00Z","name":"n","key":"k","ended":"period",
            "seconds":3600,"lines":0,"bytes":0,"blake3":"","number":1,"at":"2025-12-01T00:00:00Z"}"#;
        let mut manifest = Manifest::parse(line.as_bytes()).unwrap();
        (manifest.prefix, manifest.suffix) = (prefix.to_owned(), Some(suffix.clone()));
        for hour in 0..hours {
            let state = states(stream, hour);
            let start = begin + TimeDelta::hours(hour);
            let size = 1000 * (1 + stream as u64) * (100 + (hour as u64 * 37) % 100);
            if matches!(state, 's' | 'r' | 'u') {
                archive.object(&LogName::hour(prefix, start, &suffix, None).with_ending(".gz"), size);
            }
            if !matches!(state, 's' | 'r' | 'q') {
                continue;
            }
            number += 1;
            (manifest.start, manifest.number) = (start, number);
            manifest.summary.ended = if state == 'r' { Ended::Rescue } else { Ended::Period };
            manifest.summary.packed =
                (state != 'q').then(|| Packed { codec: "gzip".to_owned(), bytes: size, sha256: String::new() });
            (manifest.summary.lines, manifest.summary.bytes) = if state == 'q' { (0, 0) } else { (size / 9, size * 8) };
            let sha256 = format!("{number:016x}");
            archive.told(&manifest, &sha256, stream == 1);
            manifest.previous = Some(Link { key: "k".to_owned(), sha256 });
        }
    }
    archive
}

/// Two weeks of four streams: the first one has lost 3 hours on its fourth day; the third one was rescued once, and has an object
/// without a manifest; nights are silent.
fn fortnight() -> Archive {
    invented(4, 14 * 24, |stream, hour| match (stream, hour) {
        (0, 80..83) => 'x',
        (2, 100) => 'r',
        (2, 101) => 'u',
        (_, hour) if hour % 24 < 5 && hour > 5 => 'q',
        _ => 's',
    })
}

/// A page in a browser.
struct Shown {
    browser: Browser,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Shown {
    fn new(archive: &Archive) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.html");
        let dest = format!("s3://logs/{TEMPLATE}");
        std::fs::write(&file, page(archive, &dest, time("2026-12-01T09:00:00Z"), (None, None))).unwrap();
        let browser = Browser::start();
        browser.open(&file);
        assert_eq!(browser.text("return document.documentElement.dataset.ready"), "yes", "{:?}", browser.console());
        Self { browser, file, _dir: dir }
    }

    /// The label of what has the focus.
    fn focused(&self) -> String {
        self.browser.text("return document.activeElement.getAttribute('aria-label') || document.activeElement.id")
    }

    fn says(&self, id: &str) -> String {
        self.browser.text(&format!("return document.getElementById('{id}').innerText"))
    }
}

#[test]
fn the_page_loads_without_an_error_and_asks_no_network() {
    let shown = Shown::new(&fortnight());
    assert_eq!(shown.browser.console(), Vec::<String>::new());
    // The browser's own first page asks for its own parts.
    let own = |url: &String| url.starts_with("chrome") || url.starts_with("data:");
    let asked: Vec<_> = shown.browser.requests().into_iter().filter(|url| !own(url)).collect();
    assert_eq!(asked, [format!("file://{}", shown.file.display())]);
    assert_eq!(shown.says("verdict"), "3 hours are missing, in 1 stream.");
    let tiles = shown.says("tiles").replace('\n', " ");
    for tile in ["Streams 4", "Missing 3", "Rescued 1", "No manifest 1", "Silent 259", "Hours stored 1,080"] {
        assert!(tiles.contains(tile), "{tile} in {tiles}");
    }
    let tries = "const tried = new Promise((done) => { const seen = []; addEventListener('securitypolicyviolation', (e) => {
          seen.push(e.effectiveDirective); if (seen.length === 2) done([seen.sort().join(), String(window.ran)]); }); });
        const image = new Image(); image.src = 'https://example.org/x.png';
        const script = document.createElement('script'); script.textContent = 'window.ran = 1'; document.body.append(script);
        return tried;";
    let blocked = shown.browser.run(tries);
    assert_eq!(
        blocked,
        json!(["img-src,script-src-elem", "undefined"]),
        "only the page's own program runs, and nothing loads"
    );
}

#[test]
fn the_keyboard_alone_reaches_every_hour() {
    let shown = Shown::new(&fortnight());
    let focus = "document.querySelector('#year td[tabindex=\"0\"]').focus()";
    shown.browser.run(focus);
    let count = shown.browser.run("return document.querySelectorAll('#year td[tabindex=\"0\"]').length");
    assert_eq!(count, 1, "one stop of the Tab key for the whole calendar");
    shown.browser.press(&[HOME, UP, UP, UP]);
    assert_eq!(
        shown.focused(),
        "Week of 1 December 2025: 137 stored, 29 silent, 1 rescued, 1 without a manifest",
        "the first stream by name"
    );
    shown.browser.press(&['n']);
    assert!(shown.focused().contains("3 missing"), "{}", shown.focused());
    assert!(shown.says("h-hours").contains("week of 1 December 2025"), "{}", shown.says("h-hours"));
    shown.browser.press(&[ENTER]);
    assert_eq!(shown.focused(), "Thu 4 Dec, 08:00 to 09:00: missing");
    shown.browser.press(&[RIGHT, RIGHT]);
    assert_eq!(shown.focused(), "Thu 4 Dec, 10:00 to 11:00: missing");
    assert!(shown.says("told").starts_with("missing"), "{}", shown.says("told"));
    shown.browser.press(&[RIGHT]);
    assert!(shown.focused().starts_with("Thu 4 Dec, 11:00 to 12:00: stored, about "), "{}", shown.focused());
    assert!(shown.says("told").contains("KiB"), "{}", shown.says("told"));
    shown.browser.press(&[UP, LEFT, HOME, END, DOWN]);
    assert!(shown.focused().starts_with("Thu 4 Dec, 23:00"), "{}", shown.focused());
    shown.browser.press(&[ESCAPE, RIGHT, END, PAGE_DOWN]);
    assert!(shown.focused().starts_with("Week of 8 December 2025"), "{}", shown.focused());
    assert_eq!(shown.browser.console(), Vec::<String>::new());
}

#[test]
fn streams_are_found_by_name_and_ordered_by_trouble_and_size() {
    let shown = Shown::new(&fortnight());
    let rows = "return [...document.querySelectorAll('#year tbody th')].map((th) => th.innerText).join('; ')";
    assert_eq!(shown.browser.text(rows), "audit · web-002; nginx · web-001; syslog · web-000; syslog · web-003");
    let order = |by: &str| {
        shown.browser.run(&format!(
            "const o = document.getElementById('order'); o.value = '{by}'; o.dispatchEvent(new Event('change'));"
        ))
    };
    order("trouble");
    assert!(shown.browser.text(rows).starts_with("syslog · web-000; audit · web-002"), "{}", shown.browser.text(rows));
    order("size");
    assert!(shown.browser.text(rows).starts_with("syslog · web-003; "), "{}", shown.browser.text(rows));
    shown
        .browser
        .run("const f = document.getElementById('filter'); f.value = 'NGINX'; f.dispatchEvent(new Event('input'));");
    assert_eq!(shown.browser.text(rows), "nginx · web-001");
    shown
        .browser
        .run("const f = document.getElementById('filter'); f.value = 'nothing'; f.dispatchEvent(new Event('input'));");
    assert_eq!((shown.browser.text(rows), shown.says("shown")), (String::new(), "0 of 4 streams".to_owned()));
    assert_eq!(shown.browser.console(), Vec::<String>::new());
}

/// WCAG 2: 4.5 to 1 for text, 3 to 1 for what carries a meaning without being text.
#[test]
fn in_light_and_in_dark_all_text_and_all_marks_stand_out() {
    let shown = Shown::new(&fortnight());
    let script = "const style = getComputedStyle(document.documentElement);
        const light = (name) => { const hex = style.getPropertyValue('--' + name).trim();
          const part = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
          return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2]; };
        const worst = [];
        for (const [names, least] of [[['ink', 'soft', 'good', 'missing'], 4.5], [['stored', 'missing', 'rescued', 'untold', 'edge', 'focus', 'soft'], 3]])
          for (const name of names) for (const back of ['page', 'card', 'tint']) {
            const [a, b] = [light(name), light(back)].sort((x, y) => y - x), contrast = (a + 0.05) / (b + 0.05);
            if (!(contrast >= least)) worst.push(`${name} on ${back}: ${contrast.toFixed(2)}`); }
        return [worst.join(', '), getComputedStyle(document.body).backgroundColor];";
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        shown.browser.prefer(scheme);
        let found = shown.browser.run(script);
        assert_eq!(found[0], "", "{scheme}");
        grounds.push(found[1].clone());
    }
    assert_ne!(grounds[0], grounds[1], "dark is not light");
    let shapes = shown.browser.run("return new Set([...document.querySelectorAll('#legend use')].map((u) => document.querySelector(u.getAttribute('href')).firstElementChild.outerHTML.replace(/var[^)]*./g, ''))).size");
    assert_eq!(shapes, 5, "each state has a shape of its own, and not only a colour");
}

#[test]
fn a_year_of_a_hundred_streams_is_one_page_of_a_few_megabytes_and_is_drawn() {
    let archive = invented(100, 365 * 24, |stream, hour| match hour {
        4000..4010 if stream % 10 == 3 => 'x',
        hour if stream % 4 == 0 && hour % 24 < 6 && hour > 6 => 'q',
        hour if hour % 2000 == 999 => 'r',
        _ => 's',
    });
    let shown = Shown::new(&archive);
    let size = std::fs::metadata(&shown.file).unwrap().len();
    assert!(size < 4 << 20, "{size} bytes");
    assert_eq!(shown.says("verdict"), "100 hours are missing, in 10 streams.");
    let cells = shown.browser.run("return document.querySelectorAll('#year td').length");
    assert_eq!(cells, 100 * 53);
    let drawn = "const canvas = document.querySelector('#year canvas'), c = canvas.getContext('2d');
        const data = c.getImageData(0, 0, canvas.width, canvas.height).data;
        let n = 0; for (let i = 3; i < data.length; i += 4) n += data[i] > 0; return n;";
    // The browser draws a row when it comes into sight, which it says in a later turn.
    let dots = "return new Promise((done) => { const look = () => document.querySelector('#year canvas') ? done(1) : requestAnimationFrame(look); look(); })";
    assert_eq!(shown.browser.run(dots), 1);
    assert!(shown.browser.run(drawn).as_u64().unwrap() >= 365 * 24, "{}", shown.browser.run(drawn));
    assert_eq!(shown.browser.console(), Vec::<String>::new());
}

#[test]
fn names_are_shown_as_they_are_and_never_run() {
    let mut archive = Archive::default();
    let name = LogName::parse("<img src=x onerror=window.ran=1>-20251201T0000Z-</script><script>window.ran=1<.log.gz");
    assert!(name.is_none(), "a slash is in no name");
    let name =
        LogName::parse("<img src=x onerror=window.ran=1>-20251201T0000Z-<script>window['ran']=1<\u{2028}.log.gz")
            .unwrap();
    archive.object(&name, 10);
    let shown = Shown::new(&archive);
    assert_eq!(shown.browser.text("return String(window.ran)"), "undefined");
    assert!(
        shown.says("year").contains("<img src=x onerror=window.ran=1> · <script>window['ran']=1<"),
        "{}",
        shown.says("year")
    );
    assert_eq!(shown.browser.console(), Vec::<String>::new());
}

#[test]
fn an_empty_archive_has_a_page_too() {
    let shown = Shown::new(&Archive::default());
    assert_eq!(shown.says("verdict"), "Nothing is stored here.");
    assert_eq!(shown.browser.console(), Vec::<String>::new());
}

// ------------------------------------------------------------------------------------------------- the real binary

/// The data of a page.
fn data(page: &str) -> Value {
    let text = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    serde_json::from_str(text).unwrap()
}

fn states(data: &Value, stream: usize) -> &str {
    data["streams"][stream]["hours"].as_str().unwrap()
}

/// Hours of two streams, stored by the binary.
fn fill(dest: &str, environment: Vec<(&str, String)>) {
    let syslog = [("0000", "one\n"), ("0100", "two\nthree\n"), ("0200", "four\n"), ("0400", "five\n")];
    for (prefix, suffix, hours) in [("syslog", "web-1", &syslog[..]), ("app", "db", &[("0100", "six\n")])] {
        let spool = Spool::new();
        for (hour, content) in hours {
            spool.write(&format!("{prefix}-20261121T{hour}Z-{suffix}.log"), content);
        }
        let prefix = format!("--prefix={prefix}");
        let mut pipe = logjam(["pipe", &spool.arg(), dest, "--once", "--checkpoint=off", &prefix]);
        pipe.envs(environment.clone());
        run(pipe).code_is(0);
    }
}

fn report(arguments: &[&str]) -> std::process::Command {
    logjam([&["report"][..], arguments].concat())
}

#[test]
fn the_page_of_a_directory_tells_what_is_there_and_what_is_not() {
    let root = tempfile::tempdir().unwrap();
    let dest = format!("file://{}/archive/{TEMPLATE}", root.path().display());
    fill(&dest, Vec::new());
    let dir = root.path().join("archive/syslog/2026/11/21");
    std::fs::remove_file(dir.join("_syslog-20261121T0100Z-web-1.log.gz.json")).unwrap();
    std::fs::remove_file(dir.join("syslog-20261121T0200Z-web-1.log.gz")).unwrap();
    std::fs::write(dir.join("README"), "what is this").unwrap();
    let file = root.path().join("report.html");
    let html = format!("--html={}", file.display());
    std::fs::write(&file, "an older one").unwrap();
    run(report(&[&dest, &html])).code_is(0).says("report.html");
    let page = std::fs::read_to_string(&file).unwrap();
    let found = data(&page);
    assert_eq!((states(&found, 0), states(&found, 1)), ("s", "suzxs"), "{found}");
    assert_eq!(found["streams"][1]["chain"]["gaps"], 1, "{found}");
    assert_eq!((&found["dest"], &found["foreign"]), (&Value::from(dest.as_str()), &Value::from(1)));
    assert_eq!(cli::mode(&file), 0o640);
    let browser = Browser::start();
    browser.open(&file);
    assert_eq!(
        browser.text("return document.getElementById('verdict').innerText"),
        "2 hours are missing, in 1 stream. The chain of manifests has holes in 1 stream."
    );
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn the_page_of_a_bucket_goes_to_standard_output_and_holds_what_was_selected() {
    let server = S3Server::start();
    server.create_bucket("logs");
    let dest = format!("s3://logs/{TEMPLATE}");
    fill(&dest, server.environment());
    let page = |more: &[&str]| {
        let mut report = report(&[&[dest.as_str(), "--html=-"][..], more].concat());
        report.envs(server.environment());
        data(&run(report).code_is(0).said)
    };
    let all = page(&[]);
    assert_eq!((states(&all, 0), states(&all, 1)), ("s", "s3xs"), "{all}");
    assert_eq!(all["streams"][1]["chain"]["gaps"], 0, "{all}");
    let some = page(&["--from=2026-11-21T01:00Z", "--to=2026-11-21T03:00Z", "--prefix=sys*", "--suffix=web-?"]);
    assert_eq!((some["streams"].as_array().unwrap().len(), states(&some, 0)), (1, "s2"), "{some}");
    assert_eq!(some["streams"][0]["chain"]["gaps"], 0, "what was not looked at is no gap: {some}");
}

#[test]
fn a_page_that_can_not_be_written_is_said_and_the_old_one_stays() {
    let root = tempfile::tempdir().unwrap();
    let dest = format!("file://{}/{TEMPLATE}", root.path().join("none").display());
    std::fs::create_dir(root.path().join("none")).unwrap();
    let html = format!("--html={}", root.path().join("absent/report.html").display());
    run(report(&[&dest, &html])).code_is(1).says("absent");
    run(report(&[&dest])).code_is(2).says("--html");
    let link = root.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    run(report(&[&dest, &format!("--html={}", link.display())])).code_is(1).says("what stands there is no file");
    assert!(link.is_symlink(), "what is no file is not replaced");
}
