//! Who may read what is made, and what the process gives up after its start.

use super::options::S3Args;
use crate::config;
use crate::env::Env;
use crate::env::access::{self, group};
use crate::env::confine::{self, Needs};
use crate::env::s3::needs;
use crate::env::store::Store;
use crate::error::{Error, Result};
use crate::format::key::{Dest, Place};
use clap::Args;
use std::path::Path;
use std::sync::Arc;

/// Modes and group of what is made.
#[derive(Args)]
#[command(next_help_heading = "Rights")]
pub struct Access {
    /// Mode of the files that are made in DIR and at a file:// DEST, in octal, whatever the umask
    #[arg(long, value_name = "MODE", default_value = "0640", value_parser = config::file_mode)]
    file_mode: u32,
    /// Mode of the directories that are made there, in octal. DIR/.logjam stays 0750, and with the group of this process
    #[arg(long, value_name = "MODE", default_value = "0750", value_parser = config::dir_mode)]
    dir_mode: u32,
    /// The group that these files and directories are given to: a name or a number. By default that of this process, or of DIR
    /// (or DEST) if that has the setgid bit. What stands already keeps its group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

/// What is given up.
#[derive(Args)]
#[command(next_help_heading = "Rights")]
pub struct Confine {
    /// Keep, after the start, the right to reach all files that this user may reach, and to gain privileges by running programs
    #[arg(long)]
    no_confine: bool,
}

impl Access {
    /// The clock, and the disk below DIR, which must stand.
    pub fn env(&self, dir: &Path) -> Result<Env> {
        Env::shared(dir, self.access()?)
    }

    /// The far end that DEST names. Needs no network.
    pub fn store(&self, s3: &S3Args, dest: &Dest) -> Result<Arc<dyn Store>> {
        let env = match &dest.place {
            Place::Directory(root) => Env::shared(Path::new(root), self.access()?)?,
            Place::S3(_) => Env::real(),
        };
        s3.store(&env, dest)
    }

    /// Checks what needs no DIR: whether there is such a group.
    pub fn sound(&self) -> Result<()> {
        self.access().map(|_| ())
    }

    fn access(&self) -> Result<access::Access> {
        let found = self.group.as_deref().map(|name| {
            group(name)?.ok_or_else(|| {
                Error::usage(format!("--group={name}"), "there is no such group")
                    .mend(format!("make it with `groupadd {name}`, or give one of `getent group`"))
            })
        });
        Ok(access::Access { file_mode: self.file_mode, dir_mode: self.dir_mode, group: found.transpose()? })
    }
}

impl Confine {
    /// Gives up what is not needed any more. To be called after all else of the start, before the first other thread. `files` are
    /// made anew now and then.
    pub fn after_start(&self, env: &Env, dir: &Path, dest: Option<&Dest>, files: &[Option<&Path>]) {
        if self.no_confine {
            return;
        }
        let mut wanted = Needs { dirs: vec![dir.to_owned()], ..Needs::default() };
        match dest.map(|dest| &dest.place) {
            Some(Place::Directory(root)) => wanted.made.push(root.into()),
            Some(Place::S3(_)) => needs::add(&mut wanted),
            None => {}
        }
        wanted.dirs.extend(files.iter().flatten().filter_map(|file| file.parent()).map(Path::to_owned));
        env.watch.confined(confine::confine(&wanted).to_string());
    }
}
