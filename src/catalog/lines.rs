//! The lines of what is read, block by block, on a thread of their own.

use super::item::Item;
use crate::env::store::Store;
use crate::error::{Error, Kind, Result};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Plain text that is read at a time, in bytes.
const BLOCK: usize = 128 << 10;
/// Blocks that wait to be taken.
const BLOCKS: usize = 2;
/// Stack of a thread that reads, in bytes.
const STACK: usize = 512 << 10;
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
    blocks: Receiver<Result<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
    /// Whether something of it was taken.
    pub(super) begun: bool,
}

impl Running {
    /// What hands blocks over, as a thread does that it has no need of here.
    #[cfg(test)]
    pub(super) fn of(blocks: Receiver<Result<Vec<u8>>>) -> Self {
        Self { blocks, thread: None, begun: false }
    }

    /// The next block; `None` at the end: then its thread has ended as well, and another one may be had in its place.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<u8>>> {
        let next = self.blocks.recv().await;
        if next.is_none()
            && let Some(thread) = self.thread.take()
        {
            // It has let go of the blocks, and does nothing more.
            let _ = thread.join();
        }
        next
    }
}

/// Begins to read an item. In a runtime, but not on a thread of that: there what can't be started waits in silence for others to end.
pub(super) fn begin(item: &Item, store: &Arc<dyn Store>, counted: &Arc<AtomicU64>, filters: &Filters) -> Running {
    let (out, blocks) = channel(BLOCKS);
    let (opening, of, filter, to) = (item.open(store, counted), item.clone(), filters(item), out.clone());
    let read = move || {
        let read = opening.plain(&of).map_err(|e| failed(&of, &e));
        let ended = read.and_then(|mut plain| pass(&of, &mut *plain, filter, &to));
        if let Err(e) = ended {
            let _ = to.blocking_send(Err(e));
        }
    };
    let started = std::thread::Builder::new().name("read".to_owned()).stack_size(STACK).spawn(read);
    let thread = started.map_err(|e| _ = out.try_send(Err(Error::io("begin to read", &item.shown, &e)))).ok();
    Running { blocks, thread, begun: false }
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
