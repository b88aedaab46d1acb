//! `logjam compress`, also as `logjam-compress`.

use super::options;
use super::watched::Process;
use crate::archive::{Archive, Sources};
use crate::config::check_dir;
use crate::env::disk::Disk;
use crate::env::signals::Signals;
use crate::error::Result;
use crate::format::layout::Layout;
use crate::format::state::State;
use crate::log::LogFile;
use crate::pipeline::Left;
use crate::service;
use std::path::PathBuf;

/// Compress superseded hour files that other programs wrote into DIR
///
/// Looks at DIR every 60 s for files named PREFIX-ISO8601[-SUFFIX].EXTENSION. One that has a newer file of the same
/// prefix, suffix and extension, or is more than 1 h 5 min old, becomes DIR/archive/NAME.gz. A file that somebody still
/// has open for writing stays.
#[derive(clap::Args)]
pub struct Args {
    /// The directory of the hour files
    dir: PathBuf,
    /// Look once, then exit
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    pack: options::Pack,
    #[command(flatten)]
    pub(super) process: Process,
}

/// Runs the command.
pub fn run(args: &Args, signals: Signals, log: &LogFile) -> Result<Left> {
    let layout = Layout::new(args.dir.components().collect::<PathBuf>());
    check_dir(&Disk, layout.dir())?;
    let env = args.process.access.env(layout.dir())?;
    let mut archive = Archive::new(env, layout, Sources::Superseded, args.pack.codec()?);
    archive.threads = args.pack.threads();
    let about = State::begun("compress", std::process::id(), archive.env.clock.now());
    let opened = args.process.open(&archive)?;
    let _watched = args.process.begin(opened, &archive, None, about, &mut None);
    service::run(&archive, None, args.once, signals, log)
}
