//! `logjam keygen`.

use super::options;
use super::reading::say;
use crate::env::keys;
use crate::error::Result;
use crate::pipeline::Left;
use std::path::PathBuf;

/// Make a pair of keys for signed manifests
///
/// Writes an Ed25519 key to FILE, which only its owner may read, for --sign-key, and its public half to FILE.pub, for `logjam
/// verify --public-key`. Nothing is overwritten. Both are PEM, as `openssl pkey` reads and makes them. Says the fingerprint by
/// which manifests name the key.
#[derive(clap::Args)]
pub struct Args {
    /// The secret key; FILE.pub beside it is the public one
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    pub(super) log: options::Log,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    let (signer, public) = keys::create_pair(&args.file)?;
    let fingerprint = signer.public().fingerprint();
    let (secret, public) = (args.file.display(), public.display());
    say(&format!("{fingerprint}: the secret key is {secret}, the public one {public}"))?;
    Ok(Left::default())
}
