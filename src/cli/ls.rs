//! `logjam ls`.

use super::reading::{self, ReadArgs};
use crate::catalog::finding::{minute, printable};
use crate::catalog::item::{Item, Place};
use crate::error::Result;
use crate::pipeline::Left;
use serde::Serialize;

/// List what the archive holds of some time and streams
///
/// One line for each archive: start of its period, size as it is packed, and where it is; in the order of their keys, then what
/// is not archived yet.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object for each, with the stream
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) read: ReadArgs,
}

#[derive(Serialize)]
struct Line<'a> {
    start: String,
    prefix: &'a str,
    suffix: Option<&'a str>,
    bytes: u64,
    state: &'static str,
    url: &'a str,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    let reading = args.read.open()?;
    let mut open = true;
    let listed = reading::runtime()?.block_on(reading.each(|item| {
        open = open && reading::say(&line(item, args.json))?;
        Ok(open)
    }));
    listed.map(Left)
}

fn line(item: &Item, json: bool) -> String {
    let start = minute(item.name.stamp());
    let state = match item.place {
        Place::Stored(_) => "stored",
        Place::Local(_) => "local",
        Place::Unfinished { .. } => "checkpoint",
    };
    if !json {
        let at = match &item.place {
            Place::Unfinished { at, .. } => format!(" (so far, in {at})"),
            Place::Stored(_) | Place::Local(_) => String::new(),
        };
        return format!("{start} {:>12}  {}", item.len, printable(&(item.shown.clone() + &at)));
    }
    let (prefix, suffix) = (item.name.prefix(), item.name.suffix());
    let line = Line { start, prefix, suffix, bytes: item.len, state, url: &item.shown };
    serde_json::to_string(&line).unwrap_or_default()
}
