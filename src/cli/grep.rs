//! `logjam grep`.

use super::reading::{Manner, ReadArgs};
use crate::catalog::grep::{Grep, Pattern};
use crate::catalog::item::Item;
use crate::catalog::lines::Filter;
use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Write the lines that match a pattern to standard output
///
/// Exit status as of grep(1): 0 a line was found, 1 none was, 2 something could not be read.
#[derive(clap::Args)]
pub struct Args {
    /// A regular expression, as the Rust crate `regex` has them: `.` is any character, `\d` a digit, `(?i)` ignores case
    pattern: String,
    /// Ignore case
    #[arg(short, long)]
    ignore_case: bool,
    /// The lines that do not match
    #[arg(short = 'v', long)]
    invert_match: bool,
    /// How many lines match, for each object
    #[arg(short, long)]
    count: bool,
    /// PATTERN is a text and no pattern; or several, each on a line of its own
    #[arg(short = 'F', long)]
    fixed_strings: bool,
    /// Put before each line where it stands. With --count that is so unless there is --no-filename
    #[arg(short = 'H', long)]
    with_filename: bool,
    /// With --count, the bare number
    #[arg(long, conflicts_with = "with_filename")]
    no_filename: bool,
    /// How many objects are read at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    #[command(flatten)]
    pub(super) read: ReadArgs,
}

/// Runs the command: whether a line was found, and what could not be read.
pub fn run(args: &Args) -> Result<(bool, Vec<Error>)> {
    let mut pattern = Pattern::new(&args.pattern, args.fixed_strings, args.ignore_case)?;
    (pattern.invert, pattern.count) = (args.invert_match, args.count);
    let (found, labelled) = (Arc::clone(&pattern.found), args.with_filename || args.count && !args.no_filename);
    let filters = Arc::new(move |item: &Item| {
        let label = labelled.then(|| item.shown.clone());
        Box::new(Grep::new(&pattern, label)) as Box<dyn Filter>
    });
    let left = args.read.open()?.read(Manner { filters, jobs: usize::from(args.jobs), by_time: false })?;
    Ok((found.load(Ordering::Relaxed), left))
}
