//! docs/operations.md says what every message means: the sources are read for what they say.
#![allow(clippy::disallowed_methods)] // Reads the sources.

use regex::Regex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn manual() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap()
}

/// The program's sources, without what is compiled for tests only.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = open.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let program = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                found.push((path, program));
            }
        }
    }
    found
}

/// What stands between backticks. A `|` in a table is written `\|`.
fn quoted(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.map(|text| text.replace("\\|", "|")).collect()
}

/// A message as the manual writes it: `…` in the place of each value.
fn as_written(literal: &str) -> String {
    let values = Regex::new(r"\{[^{}]*\}").unwrap();
    values.replace_all(&literal.replace("\\\"", "\""), "…").replace("……", "…")
}

#[test]
fn every_message_of_level_error_warning_and_info_stands_in_the_manual_with_what_to_do() {
    let said = Regex::new(r#"tracing::(?:error|warn|info)!\(\s*"((?:[^"\\]|\\.)*)""#).unwrap();
    let calls = Regex::new(r"tracing::(?:error|warn|info)!\(").unwrap();
    let manual = manual();
    let explained = quoted(&manual);
    let (mut read, mut missing) = (0, Vec::new());
    for (path, text) in sources() {
        let messages: Vec<_> = said.captures_iter(&text).map(|found| as_written(&found[1])).collect();
        // One that is made otherwise than by a text in its place could not be looked up.
        assert_eq!(messages.len(), calls.find_iter(&text).count(), "{}", path.display());
        read += messages.len();
        missing.extend(messages.into_iter().filter(|message| !explained.contains(message)).map(|m| (path.clone(), m)));
    }
    assert!(read > 50, "{read} messages");
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:#?}");
}

#[test]
fn every_operation_that_can_fail_stands_in_the_manual() {
    let failed = Regex::new(r#"(?:Error::(?:stop|retry|io)|[^:]failed)\(\s*"([a-z ]+)","#).unwrap();
    let manual = manual();
    let section = manual.split("### What failed").nth(1).unwrap().split("\n## ").next().unwrap();
    let explained = quoted(section);
    let verbs: BTreeSet<_> = sources()
        .iter()
        .flat_map(|(_, text)| failed.captures_iter(text).map(|found| found[1].to_owned()).collect::<Vec<_>>())
        .collect();
    assert!(verbs.len() > 20, "{verbs:?}");
    let missing: Vec<_> = verbs.iter().filter(|verb| !explained.contains(*verb)).collect();
    assert!(missing.is_empty(), "not in docs/operations.md, \"What failed\": {missing:?}");
}

#[test]
fn every_file_and_heading_that_the_manual_points_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let anchors = |text: &str| -> BTreeSet<String> {
        let headings =
            text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
        let plain = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        headings.map(|line| line.to_lowercase().replace(' ', "-").chars().filter(|c| plain(*c)).collect()).collect()
    };
    let manual = manual();
    let links = Regex::new(r"\]\(([^)#]*)(?:#([^)]*))?\)").unwrap();
    let mut seen = 0;
    for link in links.captures_iter(&manual) {
        let (file, anchor) = (&link[1], link.get(2));
        let target = if file.is_empty() { root.join("docs/operations.md") } else { root.join("docs").join(file) };
        let text = std::fs::read_to_string(&target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
        if let Some(anchor) = anchor {
            assert!(anchors(&text).contains(anchor.as_str()), "{}", &link[0]);
        }
        seen += 1;
    }
    assert!(seen > 20);
    let files = Regex::new(r"contrib/[a-z0-9/@._-]+[a-z]").unwrap();
    for file in files.find_iter(&manual) {
        assert!(root.join(file.as_str()).exists(), "{}", file.as_str());
    }
}
