//! What is written down: file names, object keys, receipts, seals, journals, manifests and checkpoints. Pure: no I/O and no clock. Every
//! literal part of a name on the disk or in the bucket stands here and nowhere else.

pub mod checkpoint;
pub mod heads;
pub mod identity;
pub mod journal;
pub mod key;
pub mod layout;
pub mod manifest;
pub mod mark;
pub mod name;
pub mod period;
pub mod progress;
pub mod receipt;
pub mod seal;
pub mod session;
pub mod sign;
pub mod state;
pub mod tally;
