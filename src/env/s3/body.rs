//! A range of a local file as the body of a request: read piece by piece while it is sent, and again from its beginning
//! when the request is repeated.

use super::bandwidth::{Bandwidth, PIECE};
use crate::env::fs::File;
use crate::env::store::Body;
use crate::error::{Error, Kind, Result};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

/// A body that is being sent. Once this is gone, nobody reads it any more: the HTTP client keeps what it has of a request that was
/// given up until the server takes it, maybe for ever, and it must not keep the file and its lock with it.
pub struct Sending {
    offset: u64,
    len: u64,
    bandwidth: Option<Arc<Bandwidth>>,
    progress: Arc<Progress>,
}

impl Sending {
    /// A request that begins now.
    pub fn new(body: &Body, bandwidth: Option<&Arc<Bandwidth>>) -> Self {
        let progress = Progress { moved: Mutex::new(Instant::now()), file: Mutex::new(Some(body.file.clone())) };
        Self { offset: body.offset, len: body.len, bandwidth: bandwidth.cloned(), progress: Arc::new(progress) }
    }

    /// The body as the SDK takes it, which it may read several times.
    pub fn stream(&self) -> ByteStream {
        let (offset, len, bandwidth) = (self.offset, self.len, self.bandwidth.clone());
        let progress = self.progress.clone();
        ByteStream::new(SdkBody::retryable(move || {
            progress.mark(Instant::now());
            let (bandwidth, progress) = (bandwidth.clone(), progress.clone());
            SdkBody::from_body_1_x(FileBody { at: offset, left: len, bandwidth, progress, state: State::Idle })
        }))
    }

    /// Returns once nothing has moved for `patience`.
    pub async fn silence(&self, patience: Duration) {
        loop {
            let end = *self.progress.moved.lock().unwrap_or_else(PoisonError::into_inner) + patience;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.progress.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What whoever sends a body and whoever waits for it share.
struct Progress {
    /// The moment the body was last asked for bytes, or will next be allowed to send some.
    moved: Mutex<Instant>,
    /// `None` once nobody waits any more.
    file: Mutex<Option<Arc<dyn File>>>,
}

impl Progress {
    fn mark(&self, at: Instant) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

struct FileBody {
    at: u64,
    left: u64,
    bandwidth: Option<Arc<Bandwidth>>,
    progress: Arc<Progress>,
    state: State,
}

enum State {
    Idle,
    Waiting(Pin<Box<Sleep>>, usize),
    Reading(JoinHandle<Result<Bytes>>),
}

impl FileBody {
    /// The size of the next piece, and when it may be sent.
    fn next(&self) -> (usize, Option<Instant>) {
        let most = self.bandwidth.as_ref().map_or(PIECE, |line| line.piece());
        let size = usize::try_from(self.left).unwrap_or(most).min(most);
        let wait = self.bandwidth.as_ref().and_then(|line| line.take(size, Instant::now()));
        (size, wait)
    }

    fn read(&self, size: usize) -> State {
        let file = self.progress.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let at = self.at;
        State::Reading(tokio::task::spawn_blocking(move || match file {
            Some(file) => read_exact(&*file, at, size),
            None => Err(Error::retry("read", "the file to store", Kind::Other, "nobody waits for that any more")),
        }))
    }
}

/// Reads exactly `size` bytes.
pub fn read_exact(file: &dyn File, at: u64, size: usize) -> Result<Bytes> {
    let mut data = vec![0; size];
    let mut done = 0;
    while done < size {
        match file.read_at(&mut data[done..], at + done as u64)? {
            0 => return Err(Error::retry("read", "the file to store", Kind::Other, "it ended early")),
            n => done += n,
        }
    }
    Ok(data.into())
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        loop {
            let state = match &mut this.state {
                State::Idle if this.left == 0 => return Poll::Ready(None),
                State::Idle => match this.next() {
                    (size, None) => this.read(size),
                    (size, Some(begin)) => {
                        this.progress.mark(begin);
                        State::Waiting(Box::pin(tokio::time::sleep_until(begin)), size)
                    }
                },
                State::Waiting(sleep, size) => {
                    let size = *size;
                    ready!(sleep.as_mut().poll(cx));
                    this.read(size)
                }
                State::Reading(reading) => {
                    let read = ready!(Pin::new(reading).poll(cx));
                    this.state = State::Idle;
                    this.progress.mark(Instant::now());
                    let data = read.unwrap_or_else(|e| Err(Error::retry("read", "the file", Kind::Other, e)))?;
                    this.at += data.len() as u64;
                    this.left -= data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            };
            this.state = state;
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
