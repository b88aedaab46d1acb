//! `logjam cat`.

use super::reading::{Manner, ReadArgs};
use crate::catalog::lines::All;
use crate::error::Result;
use crate::pipeline::Left;
use std::sync::Arc;

/// Write the lines of some time and streams to standard output
///
/// In the order of the archive's keys: with the usual templates stream prefix by stream prefix, in each hour by hour and host by
/// host; of several files of one host and hour the one with the plain name first, as they came. What can't be read is passed over and named at the end; then the exit status is 1.
#[derive(clap::Args)]
pub struct Args {
    /// Put the lines of all streams in the order of the times that they tell, hour by hour of their arrival. A line that tells
    /// none stays behind the one before it
    #[arg(long)]
    merge: bool,
    /// How many objects are read at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    #[command(flatten)]
    pub(super) read: ReadArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    let manner = Manner { filters: Arc::new(|_| Box::new(All)), jobs: usize::from(args.jobs), by_time: args.merge };
    args.read.open()?.read(manner).map(Left)
}
