//! `logjam report`.

use super::options;
use super::select::SelectArgs;
use crate::catalog::report::{Archive, page};
use crate::catalog::scan::{Scan, Want};
use crate::env::Env;
use crate::env::fs::replace_bytes;
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::pipeline::Left;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
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
    let now = env.clock.now();
    let selection = args.select.selection(now)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::io("start", "the report", &e))?;
    let scan = Scan::new(&*store, &dest, &selection, Want::All);
    let bar = bar();
    let archive = runtime.block_on(Archive::gather(&*store, scan, |keys| bar.set_position(keys)));
    bar.finish_and_clear();
    let archive = archive?;
    let page = page(&archive, &args.dest, now, selection.from);
    if args.html == Path::new("-") {
        // A closed pipe is no reason to complain.
        let _ = std::io::stdout().write_all(page.as_bytes());
        return Ok(Left(Vec::new()));
    }
    replace_bytes(&*env.fs, page.as_bytes(), &args.html)?;
    let _ = writeln!(std::io::stdout(), "{}", args.html.display());
    Ok(Left(Vec::new()))
}

/// How far it is, where messages go to a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = "{elapsed_precise} {human_pos} keys, {per_sec}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
