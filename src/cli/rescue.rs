//! `logjam rescue`.

use super::reading::{runtime, say};
use super::{access, options};
use crate::archive::rescue::{Report, Rescue};
use crate::config;
use crate::env::Env;
use crate::error::Result;
use crate::format::key::Dest;
use crate::pipeline::Left;
use std::time::Duration;

/// Finish the hours of hosts that are gone
///
/// Looks through the checkpoints at DEST. Where one was not renewed for the given time, the objects that its host did not
/// store are finished from it, with their manifests, and each is named on standard output with the lines that were saved and
/// the time up to which they came. Nothing that stands is changed. A host that was only cut off stores what the rescue did
/// not have when it comes back; two rescues at once do no harm. Manifests stay as their host made and signed them; --sign-key
/// signs those that it did not.
#[derive(clap::Args)]
pub struct Args {
    /// Where archives go, as given to `logjam pipe`
    dest: String,
    /// Only streams whose last checkpoint is at least that old
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = config::duration)]
    older_than: Duration,
    /// Say what would be saved, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sign: options::Sign,
    #[command(flatten)]
    access: access::Access,
    #[command(flatten)]
    pub(super) log: options::Log,
    #[command(flatten)]
    s3: options::S3Args,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    let env = Env::real();
    let dest = Dest::parse(&args.dest)?;
    let store = args.access.store(&args.s3, &dest)?;
    let rescue = Rescue {
        env,
        store,
        place: dest.url(""),
        host: config::host_name(),
        signer: args.sign.signer()?,
        older_than: args.older_than,
        dry_run: args.dry_run,
    };
    // A closed pipe is no reason to stop, nor is a full disk.
    let mut said = Ok(true);
    let report = runtime()?.block_on(rescue.run(|line| {
        if matches!(said, Ok(true)) {
            said = say(line);
        }
    }))?;
    if said? {
        say(&summary(&report, args.dry_run))?;
    }
    Ok(Left(report.failed))
}

fn summary(report: &Report, dry_run: bool) -> String {
    let would = if dry_run { "would save" } else { "saved" };
    format!(
        "{would} {} objects; {} stand already, {} could not be saved; {} streams live, {} were rescued before",
        report.saved,
        report.stand,
        report.failed.len(),
        report.living,
        report.done
    )
}
