//! `logjam check`.

use super::pipe::Options;
use super::reading::{runtime, say};
use super::settings::Shown;
use crate::config;
use crate::env::Env;
use crate::env::host::absolute;
use crate::env::store::Store;
use crate::error::Result;
use crate::format::key::{Dest, Place};
use crate::format::name::LogName;
use crate::ops::check::far::Far;
use crate::ops::check::traces::Traces;
use crate::ops::check::{Line, Verdict, disk, host};
use chrono::DateTime;
use std::path::{Path, PathBuf};

/// Try everything that `logjam pipe` needs, and say what is well, what is not, and the mend
///
/// Takes what `logjam pipe` takes. DIR: rights, file system, syncs, locks, space. DEST: names, address, certificate, clock,
/// credentials, bucket, and each call that archiving makes, with the settings given: in a bucket one small object for each host stays at
/// .logjam/checkpoint/.check/HOST, in a directory nothing, and an upload is begun and aborted. Where messages and metrics go. The system: limits, confinement, and how rsyslog, syslog-ng and systemd
/// are set, if they start logjam. Run it as the user that will run logjam. Exit status: 0 all is well, or notes only; 1 not; 2 wrong usage.
#[derive(clap::Args)]
pub struct Args {
    /// The directory of the hour files
    dir: Option<PathBuf>,
    /// Where archives go
    pub(super) dest: Option<String>,
    /// Print the settings that are in force for `logjam pipe`, as a settings file, with where each came from, and try nothing
    #[arg(long)]
    show: bool,
    /// Each line as a JSON object: verdict (ok, note, fail), what, says, mend
    #[arg(long)]
    json: bool,
    /// Look for the settings of rsyslog, syslog-ng and systemd below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(flatten)]
    pub(super) options: Options,
}

/// Runs the command: whether nothing failed.
pub fn run(args: &Args, shown: &[Shown]) -> Result<bool> {
    if args.show {
        for setting in shown {
            if !say(&setting.to_string())? {
                break;
            }
        }
        return Ok(true);
    }
    let env = Env::real();
    let mut lines = Vec::new();
    let dest = args.dest.as_deref().map(Dest::parse).transpose();
    // What is said of it may be done in another directory.
    let dir = args.dir.as_deref().map(absolute);
    let named = settings(args, dir.as_deref(), &dest, &mut lines);
    if let Some(dir) = &dir {
        disk::look(&env, dir, args.options.reserve, &mut lines);
    }
    let dest = dest.unwrap_or_else(|e| {
        lines.push(Line::failed("dest", &e));
        None
    });
    if let Some(dest) = &dest {
        far(args, &env, dest, &named, &mut lines)?;
    }
    args.options.process.look(&env, &mut lines);
    let network = dest.is_some_and(|dest| matches!(dest.place, Place::S3(_)));
    host::Place { root: &args.root, dir: dir.as_deref(), network }.look(&mut lines);
    for line in &lines {
        let text = if args.json { serde_json::to_string(line).unwrap_or_default() } else { line.to_string() };
        if !say(&text)? {
            break;
        }
    }
    Ok(lines.iter().all(|line| line.verdict != Verdict::Fail))
}

/// What can be told of the settings without a try: prefix and suffix.
fn settings(args: &Args, dir: Option<&Path>, dest: &Result<Option<Dest>>, lines: &mut Vec<Line>) -> (String, String) {
    let names = args.options.names();
    match &names {
        Ok((prefix, suffix)) => {
            let name = LogName::hour(prefix, DateTime::UNIX_EPOCH, suffix, None);
            lines.push(Line::ok("names", format!("files are named like {name}")));
        }
        Err(e) => lines.push(Line::failed("names", e)),
    }
    if let Ok(dest) = dest
        && let Err(e) = args.options.sound(dir, dest.as_ref())
    {
        lines.push(Line::failed("settings", &e));
    }
    names.unwrap_or_else(|_| ("syslog".to_owned(), "host".to_owned()))
}

/// Tries the far end. The key is that of an hour that no line can belong to.
fn far(args: &Args, env: &Env, dest: &Dest, (prefix, suffix): &(String, String), lines: &mut Vec<Line>) -> Result<()> {
    let options = &args.options.s3;
    let opened = match &dest.place {
        Place::S3(bucket) => options.bucket(bucket).map(|s3| (None, Some(s3))),
        Place::Directory(_) => args.options.process.access.store(options, dest).map(|store| (Some(store), None)),
    };
    let (directory, s3) = match opened {
        Ok(opened) => opened,
        Err(e) => {
            lines.push(Line::failed("dest", &e));
            return Ok(());
        }
    };
    let store: &dyn Store = match (&directory, &s3) {
        (Some(store), _) => &**store,
        (None, Some(s3)) => s3,
        (None, None) => return Ok(()),
    };
    let key = dest.key(&LogName::hour(prefix, DateTime::UNIX_EPOCH, suffix, None));
    lines.push(Line::ok("dest", format!("archives go to places like {}", dest.url(&key))));
    let host = config::host_name();
    // A directory has its drafts there in any case.
    let checkpoints = s3.is_none() || args.options.checkpoints(Some(dest)).is_ok_and(|set| set.is_some());
    let far = Far { env, store, s3: s3.as_ref(), dest, key: &key, host: &host, checkpoints };
    let traces = match &dest.place {
        Place::Directory(root) => Some(Traces::before(&*env.fs, Path::new(root), &key, &host)),
        Place::S3(_) => None,
    };
    runtime()?.block_on(far.look(lines));
    if let Some(traces) = traces {
        traces.clear();
    }
    Ok(())
}
