//! The reading side: what an archive holds, found by time and stream, and read back.

mod download;
pub mod find;
pub mod flow;
pub mod grep;
pub mod item;
pub mod lines;
pub mod local;
mod merge;
pub mod scan;
pub mod select;
mod stamp;
mod unfinished;
