//! What can be read: an archive, a file that is not archived yet, or what a checkpoint has of one.

use super::{download, unfinished};
use crate::env::fs::File;
use crate::env::plain::FileReader;
use crate::env::store::Store;
use crate::format::name::LogName;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Something to be read.
#[derive(Clone)]
pub struct Item {
    /// Its name: stream, period, and how it is packed.
    pub name: LogName,
    /// Where it is, or where its object will be, as a person would write it.
    pub shown: String,
    /// Its size, as it is packed, in bytes.
    pub len: u64,
    /// What it is.
    pub place: Place,
}

/// Where something to be read is.
#[derive(Clone)]
pub enum Place {
    /// The object at this key.
    Stored(String),
    /// A file in DIR that is not stored yet; of one that is written to, as far as it is settled.
    Local(Arc<dyn File>),
    /// An hour that a checkpoint has a tail of.
    Unfinished {
        /// The key of the checkpoint.
        at: String,
        /// The key that the object will have.
        key: String,
    },
}

impl Item {
    /// Begins to read it: its plain text. In a runtime.
    pub(super) fn open(&self, store: &Arc<dyn Store>, counted: &Arc<AtomicU64>) -> Opening {
        let packed: Box<dyn Read + Send> = match &self.place {
            Place::Stored(key) => Box::new(download::begin(Arc::clone(store), key.clone(), Arc::clone(counted))),
            Place::Local(file) => Box::new(FileReader { file: Arc::clone(file), at: 0, end: self.len }),
            Place::Unfinished { at, key } => return Opening::Unfinished(unfinished::open(store, at, key, counted)),
        };
        Opening::Packed(packed)
    }
}

/// What was opened, and is not unpacked yet.
pub(super) enum Opening {
    /// It can be read.
    Packed(Box<dyn Read + Send>),
    /// Its checkpoint is asked for it.
    Unfinished(unfinished::Asked),
}

impl Opening {
    /// Its plain text. It may read already: not on the runtime's own thread.
    pub(super) fn plain(self, item: &Item) -> std::io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Packed(packed) => crate::env::plain::unpacked(packed, &item.name),
            Self::Unfinished(asked) => asked.plain(item),
        }
    }
}
