//! The rules of the house that a machine can check: who may import whom, how long a function and a file may be, and what
//! must not occur. `docs/design.md` says why.
#![allow(clippy::disallowed_methods)] // Reads the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Each room with the rooms that it may import. A room may name only those above it, so there can be no circle.
/// `spool` and `archive` do not know each other: they meet in file names.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("format", &["error"]),
    ("env", &["error", "format"]),
    ("log", &["error", "env"]),
    ("config", &["error", "format", "env"]),
    ("spool", &["error", "format", "env", "config"]),
    ("ingest", &["error", "env", "config", "spool::proof"]),
    ("archive", &["error", "format", "env", "config"]),
    ("catalog", &["error", "format", "env"]),
    ("ops", &["error", "format", "env", "config"]),
    ("pipeline", &["error", "format", "env", "log", "config", "spool", "ingest", "archive", "ops"]),
    ("service", &["error", "format", "env", "log", "config", "archive", "ops", "pipeline"]),
    (
        "cli",
        &[
            "error", "format", "env", "log", "config", "spool", "ingest", "archive", "catalog", "ops", "pipeline",
            "service",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli"]),
];

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 400;

/// What must not stand in the program outside its tests: a panic on what comes from outside.
const PANICS: &[&str] = &[".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!", "dbg!"];

struct Source {
    /// From the root of the repository.
    path: PathBuf,
    /// As it stands.
    text: String,
    /// The same, line for line, with blanks for comments and for what is in quotes.
    code: String,
    /// `code` with blanks for what is compiled for tests only.
    program: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).expect("a readable source");
                let code = without_words(&text);
                let program = without_tests(&code);
                let path = path.strip_prefix(root).expect("a path below the root").to_path_buf();
                sources.push(Source { path, text, code, program });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

#[test]
fn every_room_imports_only_what_it_may_know() {
    let mut faults = Vec::new();
    for source in sources("src") {
        let room = room(&source.path);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}: the room {room:?} is not in the table of tests/tidy.rs", source.path.display()));
            continue;
        };
        for import in imports(&source) {
            let target = import.split("::").next().unwrap_or_default();
            let known = target == room || allowed.iter().any(|path| within(&import, path));
            let is_room = ROOMS.iter().any(|(name, _)| *name == target);
            if !known && is_room {
                faults.push(format!("{}: {room} may not import {import}", source.path.display()));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn the_table_of_rooms_has_no_circle() {
    for (place, (room, allowed)) in ROOMS.iter().enumerate() {
        for path in *allowed {
            let target = path.split("::").next().unwrap_or_default();
            let above = ROOMS[..place].iter().any(|(name, _)| *name == target);
            assert!(above, "{room} imports {path}, which does not stand above it in the table");
        }
    }
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let long: Vec<_> = sources("src")
        .iter()
        .map(|source| (source.text.lines().count(), source))
        .filter(|(lines, _)| *lines > FILE_LINES)
        .map(|(lines, source)| format!("{}: {lines} lines, more than {FILE_LINES}", source.path.display()))
        .collect();
    assert_none(&long);
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut long = Vec::new();
    for source in sources("src") {
        for (line, name, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES {
                long.push(format!(
                    "{}:{line}: fn {name} has {lines} lines, more than {FUNCTION_LINES}",
                    source.path.display()
                ));
            }
        }
    }
    assert_none(&long);
}

#[test]
fn the_program_does_not_panic_on_what_comes_from_outside() {
    let mut faults = Vec::new();
    for source in sources("src") {
        for (number, line) in source.program.lines().enumerate() {
            for panic in PANICS.iter().filter(|panic| line.contains(**panic)) {
                faults.push(format!("{}:{}: {panic}", source.path.display(), number + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn no_test_is_switched_off() {
    let mut faults = Vec::new();
    for source in ["src", "tests"].into_iter().flat_map(sources) {
        for (number, line) in source.code.lines().enumerate() {
            let line: String = line.split_whitespace().collect();
            if line.contains("#[ignore") || line.contains(",ignore]") || line.contains("(ignore") {
                faults.push(format!("{}:{}", source.path.display(), number + 1));
            }
        }
    }
    assert_none(&faults);
}

/// What is below `tests` and in none of the programs there would be compiled by nobody.
#[test]
fn every_test_file_is_part_of_a_program() {
    let sources = sources("tests");
    let left_out: Vec<_> = sources
        .iter()
        .filter(|source| !["all.rs", "s3.rs"].iter().any(|root| source.path.ends_with(root)))
        .filter(|source| {
            let within = source.path.strip_prefix("tests").expect("a path below tests");
            let name = source.path.file_stem().expect("a name").to_string_lossy();
            let (by_name, by_path) = (format!("mod {name};"), format!("#[path = \"{}\"]\nmod ", within.display()));
            let by_place = format!("{}.rs", within.parent().expect("a folder").display());
            !sources.iter().any(|other| {
                let beside = if within.components().count() == 1 { "all.rs" } else { &*by_place };
                other.text.contains(&by_path)
                    || other.path.ends_with(beside)
                        && other.code.lines().any(|line| line.trim_start_matches("pub ") == by_name)
            })
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none(&left_out);
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} found:\n{}", faults.len(), faults.join("\n"));
}

/// `src/env/s3/put.rs` lies in `env`, `src/config.rs` in `config`.
fn room(path: &Path) -> String {
    let first = path.components().nth(1).expect("a path below src").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Whether an imported path lies within an allowed one: all of `spool::proof::Synced` within `spool::proof`.
fn within(import: &str, allowed: &str) -> bool {
    import == allowed || import.strip_prefix(allowed).is_some_and(|rest| rest.starts_with("::"))
}

/// Every path from the root of the crate that the program names, as `room::rest`.
fn imports(source: &Source) -> BTreeSet<String> {
    let code = &source.program;
    let mut found = BTreeSet::new();
    for root in ["crate::", "logjam::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                expand("", &code[at + root.len()..], &mut found);
            }
        }
    }
    // `super::` once for each folder leads out of the room.
    let folders = source.path.components().count() - 2;
    let up = if source.path.ends_with("mod.rs") { folders } else { folders + 1 };
    let root = "super::".repeat(up);
    for (at, _) in code.match_indices(&root) {
        if !code[..at].ends_with("super::") && up > 0 {
            expand("", &code[at + root.len()..], &mut found);
        }
    }
    found
}

/// Follows a path, and each branch of a `{…}` in it.
fn expand(prefix: &str, rest: &str, found: &mut BTreeSet<String>) {
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}::{name}") };
    let after = &rest[name.len()..];
    if let Some(deeper) = after.strip_prefix("::") {
        return expand(&path, deeper, found);
    }
    let Some(group) = rest.strip_prefix('{').filter(|_| name.is_empty()) else {
        found.insert(path.trim_end_matches("::").to_owned());
        return;
    };
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                expand(prefix, group[start..at].trim_start(), found);
                start = at + 1;
            }
            '}' if depth == 0 => {
                let last = group[start..at].trim_start();
                if !last.is_empty() {
                    expand(prefix, last, found);
                }
                return;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

/// Line, name and length of every function with a body.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let own_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if own_word
            && !name.is_empty()
            && let Some(end) = end_of_item(code, at)
        {
            let lines = code[at..end].lines().count();
            if code[at..end].ends_with('}') {
                found.push((code[..at].matches('\n').count() + 1, name, lines));
            }
        }
    }
    found
}

/// Where the item that begins at `start` ends: at its `;`, or with the brace that closes its body.
fn end_of_item(code: &str, start: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(start + at + 1);
                }
            }
            ';' if braces == 0 && brackets == 0 => return Some(start + at + 1),
            _ => {}
        }
    }
    None
}

/// Blanks what stands under `#[cfg(test)]` or `#[test]`.
fn without_tests(code: &str) -> String {
    let mut rest = code.to_owned();
    for mark in ["#[cfg(test)]", "#[test]"] {
        while let Some(at) = rest.find(mark) {
            let end = end_of_item(&rest, at + mark.len()).unwrap_or(rest.len());
            let blank = blanks(&rest[at..end]);
            rest.replace_range(at..end, &blank);
        }
    }
    rest
}

/// As many bytes of blanks, with the line ends kept.
fn blanks(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Blanks comments and the inside of strings and character literals, so that what is left is code.
fn without_words(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = word_length(rest, code.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        if length == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push_str(&blanks(&rest[..length]));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment, string or character literal that `rest` begins with; 0 for anything else.
fn word_length(rest: &str, within_name: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if !within_name && let Some(length) = raw_string_length(rest) {
        return length;
    }
    if let Some(string) = rest.strip_prefix('"') {
        return 1 + quoted_length(string, '"');
    }
    if let Some(literal) = rest.strip_prefix('\'') {
        // A lifetime has no quote after its first character.
        let mut characters = literal.chars();
        let first = characters.next();
        if first == Some('\\') || characters.next() == Some('\'') {
            return 1 + quoted_length(literal, '\'');
        }
    }
    0
}

/// Up to and with the closing quote, a backslash hiding what follows it.
fn quoted_length(inside: &str, quote: char) -> usize {
    let mut hidden = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if hidden => hidden = false,
            '\\' => hidden = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    inside.len()
}

/// `r"…"`, `r#"…"#`, `br"…"` and so on.
fn raw_string_length(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let inside = after.trim_start_matches('#');
    let close = format!("\"{}", "#".repeat(after.len() - inside.len()));
    let end = inside.strip_prefix('"')?.find(&close)?;
    Some(rest.len() - inside.len() + 1 + end + close.len())
}

mod the_checks_see {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        let code = without_words(text);
        let program = without_tests(&code);
        Source { path: path.into(), text: text.into(), code, program }
    }

    #[test]
    fn imports_in_all_their_forms() {
        let text = "use crate::{env::fs::{File, Fs}, error};\nfn f() { crate::spool::proof::x(super::super::archive::y) }\n\
            // crate::ops\nconst S: &str = \"crate::cli\";\n#[cfg(test)]\nmod tests { use crate::catalog; }";
        let found = imports(&source("src/ingest/lines.rs", text));
        let expected = ["archive::y", "env::fs::File", "env::fs::Fs", "error", "spool::proof::x"];
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn that_one_path_lies_within_another() {
        assert!(within("spool::proof::Synced", "spool::proof"));
        assert!(!within("spool::proofs", "spool::proof"));
        assert!(!within("spool", "spool::proof"));
    }

    #[test]
    fn functions_and_their_length() {
        let code = without_words(
            "trait T { fn a(&self) -> [u8; 2]; }\nfn b<'a>(c: char) {\n    if c == '{' || c == '\\'' {\n    }\n}\n",
        );
        assert_eq!(functions(&code), [(2, "b".to_owned(), 4)]);
    }

    #[test]
    fn quotes_and_comments_and_tests_for_what_they_are() {
        let text = "let a = r#\"x.unwrap() \" y\"#; /* panic! */ b.unwrap();\n#[cfg(test)]\nmod tests { fn c() { d.unwrap() } }\nlet e = '\"'; f.unwrap();";
        let source = source("src/x.rs", text);
        assert_eq!(source.program.matches(".unwrap()").count(), 2, "{}", source.program);
        assert_eq!(source.program.lines().count(), text.lines().count());
    }
}
