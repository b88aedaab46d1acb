//! `logjam man`: the manual pages. What a page says of options is what `--help` says: the flags' doc comments. What goes beyond
//! that is written in `docs/man`, a file a page.

mod keys;
mod markup;

use super::reading::say;
use super::{Cli, options};
use crate::env::Env;
use crate::env::fs::replace_bytes;
use crate::error::{Error, Result};
use crate::pipeline::Left;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::path::PathBuf;

/// When the pages were written, for their footers.
const DATE: &str = "2026-11-28";
const VERSION: &str = concat!("logjam ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "Logjam Manual";

/// What most pages of commands have at their end, unless they say something else under that heading.
const COMMON: &str = include_str!("../../docs/man/common.md");
const TOML: &str = include_str!("../../docs/man/logjam.toml.md");
const RSYSLOG: &str = include_str!("../../docs/man/logjam-rsyslog.md");
/// In [`TOML`]: where the keys go.
const KEYS: &str = "<!-- keys -->\n";

/// What the pages of commands say beside their options.
const WRITTEN: &[(&str, &str)] = &[
    ("logjam", include_str!("../../docs/man/logjam.md")),
    ("logjam-pipe", include_str!("../../docs/man/logjam-pipe.md")),
    ("logjam-compress", include_str!("../../docs/man/logjam-compress.md")),
    ("logjam-upload", include_str!("../../docs/man/logjam-upload.md")),
    ("logjam-rescue", include_str!("../../docs/man/logjam-rescue.md")),
    ("logjam-ls", include_str!("../../docs/man/logjam-ls.md")),
    ("logjam-cat", include_str!("../../docs/man/logjam-cat.md")),
    ("logjam-grep", include_str!("../../docs/man/logjam-grep.md")),
    ("logjam-verify", include_str!("../../docs/man/logjam-verify.md")),
    ("logjam-keygen", include_str!("../../docs/man/logjam-keygen.md")),
    ("logjam-report", include_str!("../../docs/man/logjam-report.md")),
    ("logjam-ddl", include_str!("../../docs/man/logjam-ddl.md")),
    ("logjam-policy", include_str!("../../docs/man/logjam-policy.md")),
    ("logjam-check", include_str!("../../docs/man/logjam-check.md")),
    ("logjam-status", include_str!("../../docs/man/logjam-status.md")),
];

/// Write the manual pages into a directory
///
/// logjam(1), a page for each command, logjam.toml(5) and logjam-rsyslog(7). What stands there under these names is replaced.
#[derive(clap::Args)]
pub struct Args {
    /// The directory; made if it does not exist
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    pub(super) log: options::Log,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    let env = Env::real();
    env.fs.make_dir(&args.dir)?;
    for (name, text) in pages()? {
        let path = args.dir.join(name);
        replace_bytes(&*env.fs, text.as_bytes(), &path)?;
        say(&path.display().to_string())?;
    }
    Ok(Left::default())
}

/// Every page: its file name, and its text.
fn pages() -> Result<Vec<(String, String)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = vec![("logjam.1".to_owned(), page(&root)?)];
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages.push((format!("{}.1", name(command)), page(command)?));
    }
    let (before, after) = TOML.split_once(KEYS).unwrap_or((TOML, ""));
    let keys = [title("logjam.toml", "5"), markup::roff(before), keys::roff(&root), markup::roff(after)];
    pages.push(("logjam.toml.5".to_owned(), keys.concat()));
    pages.push(("logjam-rsyslog.7".to_owned(), title("logjam-rsyslog", "7") + &markup::roff(RSYSLOG)));
    Ok(pages)
}

/// `logjam-pipe`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

/// The head of a page that no command has.
fn title(name: &str, section: &str) -> String {
    format!(".TH {name} {section} {DATE} \"{VERSION}\" \"{MANUAL}\"\n")
}

/// The page of a command.
fn page(command: &Command) -> Result<String> {
    let name = name(command);
    let man = Man::new(command.clone()).title(name).date(DATE).source(VERSION).manual(MANUAL);
    let mut text = Vec::new();
    let rendered = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text))
        .and_then(|()| match command.has_subcommands() {
            true => man.render_subcommands_section(&mut text),
            false => Ok(()),
        });
    rendered.map_err(|e| Error::io("render", format!("the manual of {name}"), &e))?;
    let written = WRITTEN.iter().find(|(of, _)| *of == name).map_or("", |(_, text)| text);
    // Two breaks around an empty line are what clap_mangen sets before possible values: mandoc complains, and one does.
    let mut text = String::from_utf8_lossy(&text).replace("\n.br\n\n.br\n", "\n.sp\n");
    text.push_str(&markup::roff(written));
    for section in markup::sections(COMMON) {
        let heading = section.lines().next().unwrap_or_default();
        if !written.lines().any(|line| line == heading) {
            text.push_str(&markup::roff(section));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word as it stands in a page.
    fn escaped(word: &str) -> String {
        word.replace('-', "\\-")
    }

    #[test]
    fn every_option_of_every_command_is_in_its_page_and_is_a_key_of_the_settings() {
        let pages = pages().unwrap();
        let page = |name: &str| &pages.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("{name}")).1;
        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        let mut count = 0;
        for command in root.get_subcommands() {
            let text = page(&format!("{}.1", name(command)));
            for long in command.get_arguments().filter_map(|arg| arg.get_long()).filter(|long| *long != "help") {
                count += 1;
                assert!(
                    text.contains(&format!("\\fB{}\\fR", escaped(&format!("--{long}")))),
                    "{}: {long}",
                    name(command)
                );
                let key = format!(".TP\n\\fB{}\\fR = ", escaped(long));
                // A file names no other file.
                assert_eq!(page("logjam.toml.5").contains(&key), long != "config", "logjam.toml: {long}");
            }
            let known = page("logjam.1").contains(&escaped(name(command)));
            assert!(known, "logjam(1) does not name {}", name(command));
        }
        assert!(count > 60, "{count}");
    }

    #[test]
    fn every_written_page_is_that_of_a_command() {
        let pages = pages().unwrap();
        for (name, _) in WRITTEN {
            // Of a command that is still to come.
            let coming = ["logjam-check", "logjam-status"].contains(name);
            assert!(coming || pages.iter().any(|(file, _)| *file == format!("{name}.1")), "{name}");
        }
    }
}
