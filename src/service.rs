//! The seed's two tools, `logjam compress` and `logjam upload`: a pass over DIR every 60 s, or one.

use crate::archive::Archive;
use crate::archive::uploader::Uploader;
use crate::config::check_dir;
use crate::env::confine;
use crate::env::signals::{Asked, Signals};
use crate::error::{Error, Kind, Result};
use crate::log::LogFile;
use crate::pipeline::Left;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often DIR is looked at.
const SCAN: Duration = Duration::from_secs(60);
/// How often a signal is looked for while waiting.
const LISTEN: Duration = Duration::from_millis(100);

/// Runs until told to leave, or once.
pub fn run(
    archive: &Archive,
    uploader: Option<&Uploader>,
    once: bool,
    signals: Signals,
    log: &LogFile,
) -> Result<Left> {
    let fs = &archive.env.fs;
    check_dir(&**fs, archive.layout.dir())?;
    archive.make_dirs()?;
    let ears = Ears::listen(signals, archive, log.clone())?;
    loop {
        confine::look_after();
        let pass = archive.pass(|name| {
            if let (Some(name), Some(uploader)) = (name, uploader) {
                uploader.offer(name);
            }
        });
        if once {
            let pass = pass?;
            if !pass.busy.is_empty() {
                tracing::info!("{} files are still open or being written, and stay", pass.busy.len());
            }
            let mut left = pass.failed;
            if let Some(uploader) = uploader {
                left.extend(wait(uploader, &ears));
                // What was stored just now may have been kept for its time already.
                left.extend(archive.pass(|_| {})?.failed);
            }
            return Ok(Left(left));
        }
        if let Err(e) = pass {
            tracing::warn!("{e}; tried again in 60 s");
        }
        if ears.wait(SCAN) {
            return Ok(Left::default());
        }
    }
}

fn wait(uploader: &Uploader, ears: &Ears) -> Vec<Error> {
    loop {
        let (empty, failed) = uploader.wait_empty(LISTEN);
        if empty {
            return failed.into_iter().map(|(_, e)| e).collect();
        }
        if ears.wait(Duration::ZERO) {
            return vec![Error::retry("store", "what is left", Kind::Other, "told to leave before it was stored")];
        }
    }
}

/// Listens for signals on a thread of its own, so that a long step notices too.
struct Ears(std::sync::mpsc::Receiver<()>);

impl Ears {
    fn listen(signals: Signals, archive: &Archive, log: LogFile) -> Result<Self> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let leaving = std::sync::Arc::clone(&archive.leaving);
        let run = move || {
            loop {
                match signals.wait() {
                    Some(Asked::Leave) => break,
                    Some(Asked::Reopen) => log.reopen(),
                    _ => {}
                }
            }
            leaving.store(true, Ordering::Relaxed);
            let _ = tell.send(());
        };
        let thread = std::thread::Builder::new().name("signals".into()).stack_size(128 << 10).spawn(run);
        thread.map(|_| Self(told)).map_err(|e| Error::io("start", "the signal thread", &e))
    }

    /// Whether the program was told to leave, within `time`.
    fn wait(&self, time: Duration) -> bool {
        self.0.recv_timeout(time) != Err(std::sync::mpsc::RecvTimeoutError::Timeout)
    }
}
