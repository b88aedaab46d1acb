//! `logjam completions`.

use super::{Cli, options};
use crate::error::{Error, Result};
use crate::pipeline::Left;
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use std::io::{ErrorKind, Write};

/// Print what a shell needs to complete commands and options
///
/// bash: `logjam completions bash >/usr/share/bash-completion/completions/logjam`; zsh: into a file `_logjam` in a folder of
/// $fpath; fish: /usr/share/fish/vendor_completions.d/logjam.fish. The Debian package has all three.
#[derive(clap::Args)]
pub struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
    #[command(flatten)]
    pub(super) log: options::Log,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    let mut text = Vec::new();
    generate(args.shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), &mut text);
    match std::io::stdout().write_all(&text) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("write", "standard output", &e)),
        _ => Ok(Left::default()),
    }
}
