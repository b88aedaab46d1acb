//! Merges the lines of several items by the time that each line tells.

use super::flow::{Closed, Out};
use super::lines::Running;
use super::stamp;
use crate::error::{Error, Result};
use crate::format::name::LogName;
use chrono::{DateTime, Utc};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is put together before it is handed over, in bytes.
const PIECE: usize = 64 << 10;

/// What is merged together: all that began in the same hour.
pub(super) fn hour(name: &LogName) -> i64 {
    name.stamp().timestamp().div_euclid(3600)
}

/// The lines of one item, of which the next one is at hand.
struct Lines {
    running: Running,
    block: Vec<u8>,
    at: usize,
    /// Where the line at hand ends.
    end: usize,
    /// The time of the line at hand; one that tells none belongs to the one before it.
    time: DateTime<Utc>,
}

impl Lines {
    /// Goes on to the next line; whether there is one.
    async fn advance(&mut self) -> Result<bool> {
        self.at = self.end;
        while self.at == self.block.len() {
            match self.running.blocks.recv().await {
                None => return Ok(false),
                Some(block) => (self.block, self.at) = (block?, 0),
            }
        }
        let rest = &self.block[self.at..];
        self.end = self.at + memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        if let Some(time) = stamp::of_line(&self.block[self.at..self.end], self.time) {
            self.time = time;
        }
        Ok(true)
    }
}

/// Hands the lines over by their times; lines of one item stay in their order among those of one time.
pub(super) async fn merge(
    items: Vec<(DateTime<Utc>, Running)>,
    out: &mut Out,
    failed: &mut Vec<Error>,
) -> std::result::Result<(), Closed> {
    let fresh = |(time, running)| Lines { running, block: Vec::new(), at: 0, end: 0, time };
    let mut all: Vec<Lines> = items.into_iter().map(fresh).collect();
    let mut next = BinaryHeap::new();
    let mut note = |place: usize, lines: &Lines, advanced: Result<bool>, next: &mut BinaryHeap<_>| match advanced {
        Ok(true) => next.push(Reverse((lines.time, place))),
        Ok(false) => {}
        Err(e) => failed.push(e),
    };
    for (place, lines) in all.iter_mut().enumerate() {
        let advanced = lines.advance().await;
        note(place, lines, advanced, &mut next);
    }
    let mut piece = Vec::with_capacity(PIECE);
    while let Some(Reverse((_, place))) = next.pop() {
        let lines = &mut all[place];
        piece.extend_from_slice(&lines.block[lines.at..lines.end]);
        if piece.last() != Some(&b'\n') {
            piece.push(b'\n');
        }
        if piece.len() >= PIECE {
            out.say(std::mem::replace(&mut piece, Vec::with_capacity(PIECE))).await?;
        }
        let advanced = lines.advance().await;
        note(place, lines, advanced, &mut next);
    }
    out.say(piece).await
}
