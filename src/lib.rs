//! logjam: log lines from a pipe into hourly files, compressed and stored in S3 or a directory.
//!
//! In the order in which the data flows: [`ingest`] reads standard input, [`spool`] keeps the lines in hour files,
//! [`archive`] packs and stores those that have ended; [`pipeline`] wires them for `logjam pipe`, [`service`] runs the
//! archive alone for `logjam compress` and `logjam upload`; [`catalog`] reads it back. [`mod@format`] says what is written down, [`mod@env`] holds the three
//! doors to the world, [`config`] the checked settings, [`cli`] the command line. `docs/design.md` tells the rest.

pub mod archive;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod env;
pub mod error;
pub mod format;
pub mod ingest;
pub mod log;
pub mod ops;
pub mod pipeline;
pub mod service;
pub mod spool;
