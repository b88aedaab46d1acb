//! `logjam report`.

use super::options;
use super::reading::say;
use super::select::SelectArgs;
use crate::catalog::report::{Archive, page};
use crate::catalog::scan::{Scan, Want};
use crate::env::Env;
use crate::env::fs::{EntryKind, replace_bytes};
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::pipeline::Left;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
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
    // What is replaced is a file: a device or a link would be lost.
    let other = env.fs.stat(&args.html)?.is_some_and(|entry| entry.kind != EntryKind::File);
    if args.html != Path::new("-") && other {
        let cause = "something else than a file stands there";
        return Err(
            Error::usage(format!("--html={}", args.html.display()), cause).mend("`--html=-` is standard output")
        );
    }
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
        return say(page.trim_end()).map(|_| Left(Vec::new()));
    }
    replace_bytes(&*env.fs, page.as_bytes(), &args.html)?;
    say(&args.html.display().to_string()).map(|_| Left(Vec::new()))
}

/// How far it is, where messages go to a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = "{elapsed_precise} {human_pos} keys, {per_sec}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
