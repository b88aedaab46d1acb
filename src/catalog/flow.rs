//! Reads items, several at a time, and hands their lines over in order.

use super::item::Item;
use super::lines::{self, Filters, Running};
use super::merge;
use crate::env::store::{Later, Store};
use crate::error::Error;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc::Sender;

/// Where items come from, one after the other.
pub trait Items: Send {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// For what could not be looked at; what is asked for next is behind that.
    fn next(&mut self) -> Later<'_, Option<Item>>;
}

/// What comes out: text, in pieces.
pub struct Out {
    pieces: Sender<Vec<u8>>,
    /// Whether what was said last ended a line.
    at_line: bool,
}

/// Nobody takes what comes out any more.
pub(super) struct Closed;

impl Out {
    /// Hands pieces over there.
    pub fn new(pieces: Sender<Vec<u8>>) -> Self {
        Self { pieces, at_line: true }
    }

    /// Behind what did not end its line, another item begins a new one.
    pub(super) async fn begin_line(&mut self) -> std::result::Result<(), Closed> {
        if self.at_line { Ok(()) } else { self.say(b"\n".to_vec()).await }
    }

    pub(super) async fn say(&mut self, piece: Vec<u8>) -> std::result::Result<(), Closed> {
        let Some(last) = piece.last() else { return Ok(()) };
        self.at_line = *last == b'\n';
        self.pieces.send(piece).await.map_err(|_| Closed)
    }
}

/// How items are read.
pub struct Flow {
    /// Where the objects are.
    pub store: Arc<dyn Store>,
    /// How many items are read at once.
    pub jobs: usize,
    /// What is made of their lines.
    pub filters: Filters,
    /// Grows by the bytes that are fetched.
    pub counted: Arc<AtomicU64>,
}

impl Flow {
    /// Reads all items, in their order. What can't be read, or looked at, is passed over: an error for each.
    pub async fn in_order(&self, items: &mut dyn Items, out: &mut Out) -> Vec<Error> {
        let (mut queue, mut failed) = (VecDeque::new(), Vec::new());
        // The first line is not to wait for what comes later.
        let (mut jobs, mut more) = (1, true);
        loop {
            while more && queue.len() < jobs {
                match items.next().await {
                    Ok(Some(item)) => queue.push_back(self.begin(&item)),
                    Ok(None) => more = false,
                    Err(e) => failed.push(e),
                }
            }
            let Some(first): Option<&mut Running> = queue.front_mut() else { return failed };
            match first.next().await {
                Some(Ok(block)) => {
                    let fresh = std::mem::replace(&mut first.begun, true);
                    let begun = if fresh { Ok(()) } else { out.begin_line().await };
                    if begun.is_err() || out.say(block).await.is_err() {
                        return failed;
                    }
                }
                Some(Err(e)) => failed.push(e),
                None => _ = queue.pop_front(),
            }
            jobs = self.jobs;
        }
    }

    /// The same hour by hour, and in an hour by the time that each line tells.
    pub async fn by_time(&self, items: &mut dyn Items, out: &mut Out) -> Vec<Error> {
        let (mut all, mut failed) = (Vec::new(), Vec::new());
        loop {
            match items.next().await {
                Ok(Some(item)) => all.push(item),
                Ok(None) => break,
                Err(e) => failed.push(e),
            }
        }
        all.sort_by_key(|item| item.name.stamp());
        for group in all.chunk_by(|a, b| merge::hour(&a.name) == merge::hour(&b.name)) {
            if merge::merge(group, |item| self.begin(item), out, &mut failed).await.is_err() {
                break;
            }
        }
        failed
    }

    fn begin(&self, item: &Item) -> Running {
        lines::begin(item, &self.store, &self.counted, &self.filters)
    }
}
