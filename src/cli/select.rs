//! Which hours of which streams: options that all reading commands share.

use crate::catalog::select::{Glob, Selection};
use crate::config::{self, When};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};

/// Which hours of which streams.
#[derive(clap::Args)]
#[command(next_help_heading = "Selection")]
pub struct SelectArgs {
    /// From this time on: `-2h`, `2026-11-22`, `2026-11-22T15:00`, or with an offset; UTC where none is given. Files are taken
    /// whole, by the hour in which their lines arrived
    #[arg(long, value_name = "TIME", value_parser = config::when, allow_hyphen_values = true)]
    from: Option<When>,
    /// Up to this time, which is not part of it
    #[arg(long, value_name = "TIME", value_parser = config::when, allow_hyphen_values = true)]
    to: Option<When>,
    /// Only streams with this prefix: a name, or a pattern as in a shell
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    prefix: Option<Glob>,
    /// Only streams with this suffix, which is a host's name as a rule: a name, or a pattern as in a shell
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    suffix: Option<Glob>,
}

impl SelectArgs {
    /// What is asked for, given what time it is now.
    pub fn selection(&self, now: DateTime<Utc>) -> Result<Selection> {
        let at = |when: Option<When>| when.map(|when| when.at(now));
        let (from, to) = (at(self.from), at(self.to));
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            let cause = format!("there is no time between {} and {}", from.to_rfc3339(), to.to_rfc3339());
            return Err(Error::usage("--from and --to", cause).mend("--from is to be the earlier one"));
        }
        let glob = |glob: &Option<Glob>| glob.clone().unwrap_or_else(Glob::any);
        Ok(Selection { from, to, prefix: glob(&self.prefix), suffix: glob(&self.suffix) })
    }
}
