//! The three doors to the world: time, disk and bucket. Nothing else in the program reads a clock, opens a file
//! or speaks to a server, so that a test can put something behind a door that lies, fails or is cut.

#![allow(clippy::disallowed_methods, reason = "these are the doors")]

pub mod checksum;
pub mod clock;
pub mod directory;
pub mod disk;
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
pub mod store;
pub mod threads;

use std::sync::Arc;

/// The doors that the archive's rooms work through.
#[derive(Clone)]
pub struct Env {
    /// Wall clock and waiting.
    pub clock: Arc<dyn clock::Clock>,
    /// The local disk.
    pub fs: Arc<dyn fs::Fs>,
}

impl Env {
    /// The real clock and the real disk.
    pub fn real() -> Self {
        Self { clock: Arc::new(clock::System), fs: Arc::new(disk::Disk) }
    }
}
