//! The three doors to the world: time, disk and bucket. Nothing else in the program reads a clock, opens a file
//! or speaks to a server, so that a test can put something behind a door that lies, fails or is cut.

#![allow(clippy::disallowed_methods, reason = "these are the doors")]

pub mod access;
pub mod alive;
pub mod checksum;
pub mod clock;
pub mod confine;
pub mod directory;
pub mod disk;
pub mod export;
pub mod fs;
pub mod growth;
pub mod guard;
pub mod host;
pub mod input;
pub mod keys;
pub mod metadata;
pub mod plain;
pub mod record;
pub mod replies;
pub mod s3;
pub mod signals;
pub mod slate;
pub mod sockets;
pub mod store;
pub mod syslog;
pub mod threads;
pub mod watch;

use crate::error::Error;
use crate::format::state::Stage;
use std::sync::Arc;
use std::time::Duration;

/// The doors that the archive's rooms work through.
#[derive(Clone)]
pub struct Env {
    /// Wall clock and waiting.
    pub clock: Arc<dyn clock::Clock>,
    /// The local disk.
    pub fs: Arc<dyn fs::Fs>,
    /// What this process tells those who watch it.
    pub watch: Arc<watch::Watch>,
}

impl Env {
    /// The real clock and the real disk.
    pub fn real() -> Self {
        Self::of(Arc::new(clock::System), Arc::new(disk::Disk))
    }

    /// Other ones.
    pub fn of(clock: Arc<dyn clock::Clock>, fs: Arc<dyn fs::Fs>) -> Self {
        Self { clock, fs, watch: Arc::default() }
    }

    /// Notes that something failed; it is tried again after `retry` at the most.
    pub fn trouble(&self, stage: Stage, e: &Error, retry: Duration) {
        self.watch.trouble(self.clock.now(), stage, e, retry);
    }

    /// Notes that it works.
    pub fn mended(&self, stage: Stage) {
        self.watch.mended(stage);
    }

    /// The real clock, and the real disk with what is made below `root` as `access` says.
    pub fn shared(root: &std::path::Path, access: access::Access) -> crate::error::Result<Self> {
        let fs = access::Shared::below(root, access)?;
        Ok(Self::of(Arc::new(clock::System), Arc::new(fs)))
    }
}
