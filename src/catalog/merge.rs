//! Merges the lines of several items by the time that each line tells.

use super::flow::{Closed, Out};
use super::item::Item;
use super::lines::Running;
use super::stamp;
use crate::error::Error;
use crate::format::name::LogName;
use chrono::{DateTime, Utc};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// What is put together before it is handed over, in bytes.
const PIECE: usize = 64 << 10;

/// What is merged together: all that began in the same hour.
pub(super) fn hour(name: &LogName) -> i64 {
    name.stamp().timestamp().div_euclid(3600)
}

/// What is read one after the other: of one stream, periods of which each ends before the next one begins.
struct Source<'a> {
    items: VecDeque<&'a Item>,
}

impl<'a> Source<'a> {
    /// Those of one hour, whose items are in the order of their periods. A further file of a period, and a duplicate, is beside it.
    fn all(items: &'a [Item]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        let mut streams: HashMap<_, Vec<usize>> = HashMap::new();
        for item in items {
            let (prefix, suffix, _) = item.name.group();
            let places = streams.entry((prefix, suffix, item.name.token())).or_default();
            let before = |last: &&Item| last.name.stamp() < item.name.stamp();
            let ended = |place: &&usize| all[**place].items.back().is_some_and(before);
            if let Some(place) = places.iter().find(ended) {
                all[*place].items.push_back(item);
            } else {
                places.push(all.len());
                all.push(Self { items: VecDeque::from([item]) });
            }
        }
        all
    }
}

/// The lines of one source, of which the next one is at hand.
struct Lines<'a> {
    source: Source<'a>,
    /// The item that is being read.
    running: Option<Running>,
    block: Vec<u8>,
    at: usize,
    /// Where the line at hand ends.
    end: usize,
    /// The time of the line at hand; one that tells none belongs to the one before it.
    time: DateTime<Utc>,
}

impl<'a> Lines<'a> {
    fn new(source: Source<'a>, begin: &impl Fn(&Item) -> Running) -> Self {
        let mut lines = Self { source, running: None, block: Vec::new(), at: 0, end: 0, time: DateTime::UNIX_EPOCH };
        lines.open(begin);
        lines
    }

    /// Begins the next item; whether there is one.
    fn open(&mut self, begin: &impl Fn(&Item) -> Running) -> bool {
        let next = self.source.items.pop_front();
        self.time = next.map_or(self.time, |item| item.name.stamp());
        self.running = next.map(begin);
        self.running.is_some()
    }

    /// Goes on to the next line; whether there is one.
    async fn advance(&mut self, begin: &impl Fn(&Item) -> Running, failed: &mut Vec<Error>) -> bool {
        self.at = self.end;
        while self.at == self.block.len() {
            let Some(running) = &mut self.running else { return false };
            match running.next().await {
                Some(Ok(block)) => (self.block, self.at) = (block, 0),
                Some(Err(e)) => failed.push(e),
                None if self.open(begin) => {}
                None => return false,
            }
        }
        let rest = &self.block[self.at..];
        self.end = self.at + memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        if let Some(time) = stamp::of_line(&self.block[self.at..self.end], self.time) {
            self.time = time;
        }
        true
    }
}

/// Hands the lines of one hour's items over by their times; lines of one item stay in their order among those of one time. No more
/// is open at once than there are streams, further files and duplicates.
pub(super) async fn merge(
    items: &[Item],
    begin: impl Fn(&Item) -> Running,
    out: &mut Out,
    failed: &mut Vec<Error>,
) -> std::result::Result<(), Closed> {
    let mut all: Vec<Lines<'_>> = Source::all(items).into_iter().map(|source| Lines::new(source, &begin)).collect();
    let mut next = BinaryHeap::new();
    for (place, lines) in all.iter_mut().enumerate() {
        if lines.advance(&begin, failed).await {
            next.push(Reverse((lines.time, place)));
        }
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
        if lines.advance(&begin, failed).await {
            next.push(Reverse((lines.time, place)));
        }
    }
    out.say(piece).await
}

#[cfg(test)]
mod tests {
    use super::super::item::Place;
    use super::*;
    use std::cell::RefCell;
    use tokio::sync::mpsc::channel;

    fn item(name: &str) -> Item {
        let name = LogName::parse(name).unwrap();
        Item { shown: name.to_string(), len: 0, place: Place::Stored(name.to_string()), name }
    }

    /// What comes out of items with these texts, each line a block; the names in the order in which they were begun; what failed.
    fn merged(texts: &[(&str, &str)]) -> (String, Vec<String>, usize) {
        let items: Vec<_> = texts.iter().map(|(name, _)| item(name)).collect();
        let begun = RefCell::new(Vec::new());
        let begin = |item: &Item| {
            begun.borrow_mut().push(item.shown.clone());
            let (send, blocks) = channel(100);
            let (_, text) = texts.iter().find(|(name, _)| *name == item.shown).unwrap();
            for line in text.split_inclusive('\n') {
                let broken = || Error::stop("read", &item.shown, crate::error::Kind::Other, "broken");
                send.try_send(if line == "broken" { Err(broken()) } else { Ok(line.into()) }).unwrap();
            }
            Running::of(blocks)
        };
        let (pieces, mut written) = channel(100);
        let mut failed = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut out = Out::new(pieces);
        assert!(runtime.block_on(merge(&items, begin, &mut out, &mut failed)).is_ok());
        let mut text = Vec::new();
        while let Ok(piece) = written.try_recv() {
            text.extend(piece);
        }
        (String::from_utf8(text).unwrap(), begun.into_inner(), failed.len())
    }

    #[test]
    fn periods_of_a_stream_are_opened_one_after_the_other_and_merged_with_those_of_others() {
        let (text, begun, failed) = merged(&[
            ("a-20261122T0500Z-h.log", "2026-11-22T05:00:01Z a0\n2026-11-22T05:01:02Z a0, late\n"),
            ("a-20261122T0500Z-h.1f0c3k9a2bxyz.log", "2026-11-22T05:00:04Z further\n"),
            ("a-logjam-compress-duplicate-timestamp-20261122T0500Z-h.log", "2026-11-22T05:02:04Z duplicate\n"),
            ("b-20261122T0500Z-h.log", "2026-11-22T05:00:02Z b0\n2026-11-22T05:02:03Z b0"),
            ("a-20261122T0501Z-h.log", "no time of its own\n2026-11-22T05:01:01Z a1\nbroken"),
            ("a-20261122T0502Z-h.log", "2026-11-22T05:02:02Z a2\n"),
            ("a-20261122T0503Z-h.log", ""),
            ("a-20261122T0504Z-h.log", "2026-11-22T05:04:00Z a4\n"),
        ]);
        let said: Vec<_> = text.lines().map(|line| line.rsplit("Z ").next().unwrap()).collect();
        let expected = ["a0", "b0", "further", "a0, late", "no time of its own", "a1", "a2", "b0", "duplicate", "a4"];
        assert_eq!(said, expected);
        let at = |name: &str| begun.iter().position(|begun| begun == name).unwrap();
        assert_eq!((begun.len(), failed), (8, 1));
        assert_eq!(at("a-20261122T0501Z-h.log"), 4, "not before what is open at once: {begun:?}");
    }

    #[test]
    fn no_more_is_open_than_there_are_streams() {
        let names: Vec<_> = (0..120).map(|n| format!("a-20261122T05{:02}Z-{}.log", n / 2, n % 2)).collect();
        let items: Vec<_> = names.iter().map(|name| item(name)).collect();
        let sources = Source::all(&items);
        assert_eq!(sources.iter().map(|source| source.items.len()).collect::<Vec<_>>(), [60, 60]);
        // What has the same period is beside it, however it is packed.
        let items = ["a-20261122T0500Z-h.log", "a-20261122T0500Z-h.log.gz", "a-20261122T0501Z-h.log.zst"].map(item);
        assert_eq!(Source::all(&items).iter().map(|source| source.items.len()).collect::<Vec<_>>(), [2, 1]);
    }
}
