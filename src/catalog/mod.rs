//! The reading side: what an archive holds, found by time and stream, and read back.

pub mod chain;
mod content;
pub mod cover;
mod day;
mod download;
mod ends;
pub mod find;
pub mod finding;
pub mod flow;
pub mod fresh;
pub mod grep;
pub mod item;
pub mod lines;
pub mod local;
mod merge;
pub mod report;
pub mod scan;
pub mod select;
mod stamp;
mod unfinished;
pub mod verify;
