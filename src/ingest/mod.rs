//! Standard input to the spool: one thread, blocking, bytes as they come.
//!
//! From a pipe the bytes go to their file inside the kernel, where that can be done: none is ever in this process's memory
//! alone. Anything else is read and written. A pipe is emptied in large pieces: it is made 1 MiB, and after a short read
//! the thread naps, so that the next one finds more. That halves the cost for both sides; with a small pipe it would only
//! stall the writer.

pub mod dialogue;
mod pulse;

use crate::env::Env;
use crate::env::input::{Input, PIPE_SIZE};
use crate::env::signals::{Asked, Signals};
use crate::error::Result;
use std::time::{Duration, Instant};

/// Size of the read buffer, in bytes.
const BUFFER: usize = 256 << 10;
/// The nap after a short read of a large pipe. The pipe must not fill in that time: 1 MiB in 5 ms is 200 MB/s.
const NAP: Duration = Duration::from_millis(5);
/// A read below this share of the pipe is short.
const SHORT: usize = 4;
/// The longest wait, so that a clock that was set is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How often a reader that may not read looks again.
const HELD: Duration = Duration::from_millis(250);
/// After SIGTERM: how long nothing may come before the input counts as drained.
pub const QUIET: Duration = Duration::from_secs(2);

/// What takes the lines.
pub trait Sink {
    /// How many bytes may be read now, up to `most`; while that is 0 the pipe keeps them.
    fn ready(&mut self, most: usize) -> usize;
    /// Moves at most `most` bytes from a pipe past this process's memory: how many, or `None` if that can't be done.
    fn pull(&mut self, input: &Input, most: usize) -> Option<usize>;
    /// Takes bytes as they came; returns once they left this process.
    fn take(&mut self, chunk: &[u8]);
    /// Does what time asks for.
    fn tick(&mut self);
    /// How long until [`Sink::tick`] may have something to do; `None`: not before more input.
    fn due(&self) -> Option<Duration>;
    /// A signal other than the one to leave.
    fn asked(&mut self, asked: Asked);
}

/// Why the input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All writers are gone.
    Input,
    /// SIGTERM or SIGINT, and the pipe was drained.
    Drained,
}

/// Reads until the end.
pub fn run(env: &Env, input: &Input, signals: Option<&Signals>, sink: &mut dyn Sink) -> Result<End> {
    let mut buf = vec![0; if input.pipe_size().is_some() { 0 } else { BUFFER }];
    let mut pulls = input.pipe_size().is_some();
    let mut leave: Option<Instant> = None;
    loop {
        sink.tick();
        let mut most = sink.ready(PIPE_SIZE);
        if most == 0 {
            hear(env, signals, sink, &mut leave);
            // The last of the input is what the reserve is for: no more than a pipe comes, and nobody would keep it.
            if leave.is_none() && !input.wait(None, Some(Duration::ZERO))?.hung_up {
                env.clock.nap(HELD);
                continue;
            }
            most = PIPE_SIZE;
        }
        let ready = input.wait(signals, timeout(env, sink, leave))?;
        let mut end = None;
        if ready.input {
            let moved = if pulls { sink.pull(input, most) } else { None };
            if pulls && moved.is_none() {
                pulls = false;
                buf = vec![0; BUFFER];
            }
            let moved = match moved {
                Some(n) => Some(n),
                None => read(input, &mut buf[..most.min(BUFFER)], sink)?,
            };
            match moved {
                None => end = Some(End::Input),
                Some(0) => {}
                Some(n) => {
                    leave = leave.map(|_| env.clock.steady());
                    nap(env, input, n);
                }
            }
        } else if ready.hung_up {
            end = Some(End::Input);
        } else if leave.is_some_and(|since| env.clock.steady().duration_since(since) >= QUIET) {
            end = Some(End::Drained);
        }
        // After the input: what was written before the signal is part of what the signal is about.
        if ready.signal {
            hear(env, signals, sink, &mut leave);
        }
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

/// Reads once and hands it over: how many bytes, or `None` at the end.
fn read(input: &Input, buf: &mut [u8], sink: &mut dyn Sink) -> Result<Option<usize>> {
    match input.read(buf)? {
        Some(0) => Ok(None),
        Some(n) => {
            sink.take(&buf[..n]);
            Ok(Some(n))
        }
        None => Ok(Some(0)),
    }
}

fn hear(env: &Env, signals: Option<&Signals>, sink: &mut dyn Sink, leave: &mut Option<Instant>) {
    while let Some(asked) = signals.and_then(Signals::next) {
        match asked {
            Asked::Leave => {
                leave.get_or_insert_with(|| {
                    tracing::info!("asked to leave: draining the input first");
                    env.clock.steady()
                });
            }
            other => sink.asked(other),
        }
    }
}

fn timeout(env: &Env, sink: &dyn Sink, leave: Option<Instant>) -> Option<Duration> {
    let quiet = leave.map(|since| QUIET.saturating_sub(env.clock.steady().duration_since(since)));
    let due = sink.due().map(|due| due.min(LONGEST_WAIT));
    quiet.into_iter().chain(due).min()
}

fn nap(env: &Env, input: &Input, read: usize) {
    if let Some(pipe) = input.pipe_size()
        && pipe >= PIPE_SIZE
        && read < pipe / SHORT
    {
        env.clock.nap(NAP);
    }
}
