//! `logjam verify`.

use super::options;
use super::reading::{runtime, say};
use super::select::SelectArgs;
use crate::catalog::finding::{Fault, Finding};
use crate::catalog::fresh::FORGOTTEN;
use crate::catalog::verify::{Outcome, Verify};
use crate::config::{self, When};
use crate::env::fs::{read_whole, replace_bytes};
use crate::env::{Env, keys};
use crate::error::{Error, Kind, Result};
use crate::format::heads::{self, Head};
use crate::format::key::Dest;
use crate::format::sign::PublicKey;
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Prove that an archive is whole and as it was
///
/// Reads every manifest and lists every key once; with --deep it reads every object as well. Each finding is a line on standard
/// output: its kind, the period, the key, and what is the matter.
///
/// MISSING: an object that a manifest tells of, or a manifest that a later one names, is not there. ALTERED: it is not what it
/// was, or not where it belongs. GAP: no manifest for a time, between two that have one: nobody watched. EXTRA: an object without
/// a manifest, a key that does not follow DEST's template, a manifest in no chain. UNSIGNED: with --public-key, a manifest without
/// the signature of such a key. LATE: with --max-age, a stream that has not come. With --from, where periods are shorter than an
/// hour, those of the hour before are looked at as well.
///
/// A manifest follows its object: one that is younger than a minute and has none yet is no finding, but counted at the end. The
/// next check judges it.
///
/// Nothing in an archive tells that its newest manifests were removed or, unless they are signed, changed; nor that all of a chain
/// was made anew with a stolen key: for that the last known heads are needed (--heads).
///
/// Exit status: 0 nothing was found; 1 something was found, or the check could not be finished, which is said; 2 wrong usage.
#[derive(clap::Args)]
pub struct Args {
    /// Where archives are, as given to `logjam pipe`
    dest: String,
    #[command(flatten)]
    select: SelectArgs,
    /// Read every object too, and compare it with its manifest: SHA-256 and size, lines, bytes and BLAKE3 of the text. Without it
    /// an object that was changed and has the size that it had is not noticed
    #[arg(long)]
    deep: bool,
    /// Each manifest must bear a good signature of one of these keys (FILE.pub of `logjam keygen`); may be given several times
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    public_key: Vec<PathBuf>,
    /// The last known heads of all chains: if FILE stands, they must be there still, and after a check without a finding the new
    /// ones take its place (with --ignore, also if nothing but a GAP or something EXTRA was passed over). Keep it where whoever
    /// writes the archive can't
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    heads: Option<PathBuf>,
    /// Only look whether the last period of every stream ended at most that long ago: for a monitoring system. Streams count that
    /// have come within 7 days, or since --from
    #[arg(long, value_name = "DURATION", value_parser = config::duration, conflicts_with_all = ["deep", "heads", "to"])]
    max_age: Option<Duration>,
    /// Kinds of findings to pass over: missing, altered, gap, extra, unsigned, late
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    ignore: Vec<Fault>,
    /// Say each finding as a JSON object on a line, and at the end a summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) log: options::Log,
    #[command(flatten)]
    s3: options::S3Reach,
}

const KINDS: [Fault; 6] = [Fault::Missing, Fault::Altered, Fault::Gap, Fault::Extra, Fault::Unsigned, Fault::Late];

fn kind(text: &str) -> std::result::Result<Fault, String> {
    let found = KINDS.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "one of missing, altered, gap, extra, unsigned, late".to_owned())
}

/// Runs the command: whether nothing was found.
pub fn run(args: &Args) -> Result<bool> {
    let env = Env::real();
    let dest = Dest::parse(&args.dest)?;
    let store = args.s3.store(&env, &dest)?;
    options::must_stand(&env, &dest)?;
    let mut selection = args.select.selection(env.clock.now())?;
    let keys = public_keys(&args.public_key)?;
    let known = args.heads.as_deref().map(|path| read_heads(&env, path, &args.dest)).transpose()?;
    let mut counts: BTreeMap<Fault, u64> = BTreeMap::new();
    let (mut lost, mut said) = (false, Ok(true));
    let mut say = |finding: Finding| {
        if args.ignore.contains(&finding.kind) {
            // What is gone would be forgotten with the heads that tell of it. A gap stays one, and what is extra as well.
            lost = lost || !matches!(finding.kind, Fault::Gap | Fault::Extra);
            return;
        }
        *counts.entry(finding.kind).or_default() += 1;
        if matches!(said, Ok(true)) {
            said = print(&finding, args.json);
        }
    };
    let heads = known.as_deref().unwrap_or_default();
    if let Some(age) = args.max_age {
        // Streams that have not come for longer than that are not asked for any more.
        let since = FORGOTTEN.max(age.checked_mul(2).unwrap_or(Duration::MAX));
        selection
            .from
            .get_or_insert(When::Ago(TimeDelta::from_std(since).unwrap_or(TimeDelta::MAX)).at(env.clock.now()));
    }
    let (selection, keys) = (&selection, keys.as_slice());
    let verify = Verify { env: &env, store: &*store, dest: &dest, selection, keys, deep: args.deep, heads };
    let outcome = runtime()?.block_on(async {
        match args.max_age {
            Some(age) => verify.newest(TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX), &mut say).await,
            None => verify.run(&mut say).await,
        }
    })?;
    let clean = counts.is_empty();
    if let Some(path) = args.heads.as_deref()
        && known.as_ref() != Some(&outcome.heads)
    {
        if clean && !lost {
            replace_bytes(&*env.fs, &heads::write(&args.dest, &outcome.heads), path)?;
        } else {
            tracing::warn!("{}: something was found, so newer heads are not noted", path.display());
        }
    }
    if said? {
        summary(args, &outcome, &counts)?;
    }
    Ok(clean)
}

fn public_keys(paths: &[PathBuf]) -> Result<Vec<PublicKey>> {
    let mut keys = Vec::new();
    for path in paths {
        keys.extend(keys::read_public("--public-key", path)?);
    }
    Ok(keys)
}

/// The known heads; none if there is no such file yet.
fn read_heads(env: &Env, path: &Path, dest: &str) -> Result<Vec<Head>> {
    let data = match read_whole(&*env.fs, path) {
        Err(e) if e.kind == Kind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let refused = |cause| {
        let mend = "give the file that this option made for this DEST, or a name where none stands";
        Error::usage(format!("--heads={}", path.display()), cause).mend(mend)
    };
    heads::read(&data, dest).map_err(refused)
}

/// Whether somebody still reads it. A closed pipe is no reason to stop: the exit status tells as well.
fn print(finding: &Finding, json: bool) -> Result<bool> {
    say(&if json { serde_json::to_string(finding).unwrap_or_default() } else { finding.to_string() })
}

/// The summary is no finding: as text it goes where the program's messages go.
fn summary(args: &Args, outcome: &Outcome, counts: &BTreeMap<Fault, u64>) -> Result<()> {
    if args.json {
        let findings: BTreeMap<&str, u64> = counts.iter().map(|(kind, count)| (kind.word(), *count)).collect();
        let summary = serde_json::json!({ "summary": {
            "streams": outcome.streams,
            "manifests": outcome.manifests,
            "objects": outcome.objects,
            "bytes_read": outcome.bytes,
            "young": outcome.young,
            "findings": findings,
        }});
        return say(&summary.to_string()).map(|_| ());
    }
    let read = if args.deep { format!(" ({} bytes of them read)", outcome.bytes) } else { String::new() };
    let seen =
        format!("{} streams, {} manifests, {} objects{read}", outcome.streams, outcome.manifests, outcome.objects);
    let found: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {}", kind.word())).collect();
    let found = if found.is_empty() { "nothing found".to_owned() } else { found.join(", ") };
    tracing::info!("{seen}: {found}");
    if outcome.young > 0 {
        let young = outcome.young;
        tracing::info!("{young} objects are so young that their manifests may still come: the next check judges them");
    }
    Ok(())
}
