//! The lines of what is read, block by block, on a thread of their own.

use super::item::Item;
use crate::env::store::Store;
use crate::error::{Error, Kind, Result};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Plain text that is read at a time, in bytes.
const BLOCK: usize = 128 << 10;
/// Blocks that wait to be taken.
const BLOCKS: usize = 2;
/// A longer line is passed on in pieces, in bytes.
const LONGEST: usize = 16 << 20;

/// What is made of the lines of one item.
pub trait Filter: Send {
    /// Takes whole lines, and puts what is to be shown behind `out`. The item's last line may lack its newline.
    fn lines(&mut self, lines: &[u8], out: &mut Vec<u8>);
    /// Behind the last line.
    fn end(&mut self, _out: &mut Vec<u8>) {}
}

/// Makes a filter for each item.
pub type Filters = Arc<dyn Fn(&Item) -> Box<dyn Filter> + Send + Sync>;

/// Shows all lines.
pub struct All;

impl Filter for All {
    fn lines(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(lines);
    }
}

/// An item that is being read: its blocks, which are whole lines. The last one may be followed by an error.
pub(super) struct Running {
    pub(super) blocks: Receiver<Result<Vec<u8>>>,
    /// Whether something of it was taken.
    pub(super) begun: bool,
}

/// Begins to read an item. In a runtime.
pub(super) fn begin(item: &Item, store: &Arc<dyn Store>, counted: &Arc<AtomicU64>, filters: &Filters) -> Running {
    let (out, blocks) = channel(BLOCKS);
    let (opening, item, filter) = (item.open(store, counted), item.clone(), filters(item));
    tokio::task::spawn_blocking(move || {
        let read = opening.plain(&item.name).map_err(|e| failed(&item, &e));
        let ended = read.and_then(|mut plain| pass(&item, &mut *plain, filter, &out));
        if let Err(e) = ended {
            let _ = out.blocking_send(Err(e));
        }
    });
    Running { blocks, begun: false }
}

fn pass(item: &Item, plain: &mut dyn Read, mut filter: Box<dyn Filter>, out: &Sender<Result<Vec<u8>>>) -> Result<()> {
    let (mut buffer, mut held) = (Vec::new(), 0);
    loop {
        buffer.resize(held + BLOCK, 0);
        let (got, broken) = match plain.read(&mut buffer[held..]) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => (0, Some(failed(item, &e))),
            Ok(got) => (got, None),
        };
        let is_last = got == 0;
        let end = held + got;
        let whole = memchr::memrchr(b'\n', &buffer[held..end]).map(|at| held + at + 1);
        let whole = match whole {
            _ if is_last => end,
            Some(whole) => whole,
            None if end >= LONGEST => end,
            None => {
                held = end;
                continue;
            }
        };
        let mut block = Vec::new();
        filter.lines(&buffer[..whole], &mut block);
        if is_last {
            filter.end(&mut block);
        }
        if !block.is_empty() && out.blocking_send(Ok(block)).is_err() {
            return Ok(());
        }
        match broken {
            Some(e) => return Err(e),
            None if is_last => return Ok(()),
            None => {}
        }
        buffer.copy_within(whole..end, 0);
        held = end - whole;
    }
}

/// What the far end said, or that the content is damaged.
fn failed(item: &Item, e: &std::io::Error) -> Error {
    match e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(own) => own.clone(),
        None => Error::stop("read", &item.shown, Kind::Other, format!("{e}: what comes behind this can't be read"))
            .mend("`logjam verify --deep` tells whether it was altered"),
    }
}
