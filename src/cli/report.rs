//! `logjam report`.

use super::reading::{runtime, say};
use super::select::SelectArgs;
use super::{options, progress};
use crate::catalog::report::{Archive, page};
use crate::catalog::scan::{Scan, Want};
use crate::env::Env;
use crate::env::fs::replace_bytes;
use crate::error::Result;
use crate::format::key::Dest;
use crate::pipeline::Left;
use std::path::{Path, PathBuf};

/// Show the archive on one page
///
/// Looks through DEST and writes an HTML page that holds everything it needs and asks no network: a calendar with every hour of every stream (stored, silent,
/// missing, rescued), what is missing, the volume over time, the largest streams, compression, and the state of the chain of
/// manifests. No object is read, only listings and manifests.
#[derive(clap::Args)]
pub struct Args {
    /// Where archives go, as given to `logjam pipe`
    dest: String,
    /// Where the page goes; one that stands there is replaced once the new one is whole. `-`: standard output
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    pub(super) log: options::Log,
    #[command(flatten)]
    s3: options::S3Reach,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    let env = Env::real();
    let dest = Dest::parse(&args.dest)?;
    let store = args.s3.store(&env, &dest)?;
    options::must_stand(&env, &dest)?;
    let now = env.clock.now();
    let selection = args.select.selection(now)?;
    let scan = Scan::new(&*store, &dest, &selection, Want::All);
    let bar = progress::keys();
    let archive = runtime()?.block_on(Archive::gather(&*store, scan, |keys| bar.set_position(keys)));
    bar.finish_and_clear();
    let archive = archive?;
    let page = page(&archive, &args.dest, now, (selection.from, selection.to));
    if args.html == Path::new("-") {
        return say(page.trim_end()).map(|_| Left(Vec::new()));
    }
    replace_bytes(&*env.fs, page.as_bytes(), &args.html)?;
    say(&args.html.display().to_string()).map(|_| Left(Vec::new()))
}
