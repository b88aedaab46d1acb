//! The content of an object, as a thread reads it: what breaks off is taken up where it broke.

use crate::env::store::{Store, Tries};
use crate::error::{Class, Error, Kind, Result};
use bytes::Bytes;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Pieces of an object that wait to be read.
const PIECES: usize = 16;

/// Begins to fetch an object: what reads it, on any thread but the runtime's own. `counted` grows by the bytes that came.
pub(super) fn begin(store: Arc<dyn Store>, key: String, counted: Arc<AtomicU64>) -> Download {
    let (send, pieces) = channel(PIECES);
    tokio::spawn(async move {
        if let Err(e) = pour(&*store, &key, &send, &counted).await {
            let _ = send.send(Err(e)).await;
        }
    });
    Download { pieces, now: Bytes::new() }
}

async fn pour(store: &dyn Store, key: &str, out: &Sender<Result<Bytes>>, counted: &AtomicU64) -> Result<()> {
    let (mut at, mut tag, mut tries) = (0, None, Tries::default());
    loop {
        let before = at;
        let passed = pour_from(store, key, &mut at, &mut tag, out).await;
        counted.fetch_add(at - before, Ordering::Relaxed);
        match passed {
            Ok(()) => return Ok(()),
            Err(e) if e.class == Class::Retry && at > before => {
                tracing::debug!("{e}; from byte {at} on again");
                tries = Tries::default();
            }
            Err(e) => tries.again(e)?,
        }
    }
}

async fn pour_from(
    store: &dyn Store,
    key: &str,
    at: &mut u64,
    tag: &mut Option<String>,
    out: &Sender<Result<Bytes>>,
) -> Result<()> {
    let Some((found, mut content)) = store.fetch(key, *at).await? else {
        return Err(Error::stop("read", key, Kind::NotFound, "it is gone"));
    };
    if *at > 0 && *tag != found.etag {
        return Err(Error::stop("read", key, Kind::Other, "it was replaced while it was read"));
    }
    *tag = found.etag;
    while let Some(piece) = content.next().await? {
        let len = piece.len() as u64;
        if out.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
        *at += len;
    }
    Ok(())
}

/// An object that is being fetched.
pub(super) struct Download {
    pieces: Receiver<Result<Bytes>>,
    now: Bytes,
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.now.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.now = piece.map_err(std::io::Error::other)?,
            }
        }
        let n = self.now.len().min(buf.len());
        buf[..n].copy_from_slice(&self.now.split_to(n));
        Ok(n)
    }
}
