//! `logjam upload`, also as `logjam-upload`.

use super::options;
use super::watched::Process;
use crate::archive::uploader::Uploader;
use crate::archive::{Archive, Codec, Sources};
use crate::config;
use crate::env::disk::Disk;
use crate::env::signals::Signals;
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::format::layout::{ARCHIVE, Layout};
use crate::format::state::State;
use crate::log::LogFile;
use crate::pipeline::Left;
use crate::service;
use std::path::{Path, PathBuf};

/// Store what lies in DIR/archive
///
/// Looks at DIR/archive every 60 s and stores each file that has no receipt in DIR/archive/.uploaded. An object that
/// stands at DEST already is never touched.
#[derive(clap::Args)]
pub struct Args {
    /// The directory of archives; its name must be `archive`
    #[arg(value_name = "DIR/archive")]
    archive: PathBuf,
    /// Where archives go: s3://BUCKET/TEMPLATE or file:///PATH/TEMPLATE, with the fields {prefix} {year} {month} {day}
    /// {filename} (mandatory) and {suffix} {hour} {minute}
    dest: String,
    /// Store once what is there, then exit: 0 only when everything is stored
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    keep: options::Keep,
    #[command(flatten)]
    sign: options::Sign,
    #[command(flatten)]
    pub(super) process: Process,
    #[command(flatten)]
    s3: options::S3Args,
}

/// Runs the command.
pub fn run(args: &Args, signals: Signals, log: &LogFile) -> Result<Left> {
    let dest = Dest::parse(&args.dest)?;
    let store = args.process.access.store(&args.s3, &dest)?;
    let layout = Layout::new(parent(&args.archive)?);
    config::check_dir(&Disk, layout.dir())?;
    let env = args.process.access.env(layout.dir())?;
    let archive = Archive {
        uploads: true,
        keep: args.keep.keep,
        host: config::host_name(),
        signer: args.sign.signer()?,
        ..Archive::new(env, layout, Sources::None, Codec::Gzip(6))
    };
    config::check_apart(&archive.layout, &dest)?;
    let about =
        State { dest: Some(args.dest.clone()), ..State::begun("upload", std::process::id(), archive.env.clock.now()) };
    let opened = args.process.open(&archive)?;
    let _watched = args.process.begin(opened, &archive, Some(&dest), about, &mut None);
    let uploader = Uploader::start(archive.clone(), store, dest)?;
    service::run(&archive, Some(&uploader), args.once, signals, log)
}

/// DIR of `DIR/archive`.
fn parent(archive: &Path) -> Result<PathBuf> {
    let clean: PathBuf = archive.components().collect();
    match (clean.file_name(), clean.parent()) {
        (Some(name), Some(dir)) if name == ARCHIVE => {
            Ok(if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.to_owned() })
        }
        _ => Err(Error::usage(format!("`{}`", archive.display()), format!("the directory's name is not `{ARCHIVE}`"))
            .mend("give the directory that `logjam compress` or `logjam pipe` fills: DIR/archive")),
    }
}
