//! The durable hour files: lines go in, whole files come out.
//!
//! One writer owns one file, by flock(2). A file ends when its period is over, on request, or when the clock steps
//! back out of its period; it is then handed over to be sealed, off the intake's path. Start is recovery: a file of the
//! running period that nobody owns is continued, every other one is sealed by [`seal::recover`].

mod claim;
mod hour;
pub mod reserve;
pub mod seal;
mod sync;

pub use hour::Hour;
pub use sync::SyncPolicy;

use crate::env::Env;
use crate::error::Result;
use crate::format::layout::Layout;
use crate::format::period::Period;
use crate::format::seal::Ended;
use std::time::Duration;
use sync::Syncer;

/// How long the end of a period waits for the end of a line that has begun.
pub const PARTIAL_LINE_GRACE: Duration = Duration::from_millis(500);
/// How far the clock may step back before a file of the earlier period is begun.
pub const STEP_BACK: Duration = Duration::from_secs(300);
/// How long a failed write waits before it is tried again.
const WRITE_RETRY: Duration = Duration::from_millis(250);

/// What a spool writes, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// First part of the file names.
    pub prefix: String,
    /// Last part of the file names.
    pub suffix: String,
    /// Length of a file's period.
    pub every: Duration,
    /// When content is forced to the disk.
    pub sync: SyncPolicy,
}

/// Takes hour files that have ended.
pub type Handover = Box<dyn FnMut(Hour, Ended) + Send>;

/// The hour files of one stream, as one process writes them.
pub struct Spool {
    env: Env,
    layout: Layout,
    settings: Settings,
    handover: Handover,
    open: Option<Hour>,
    syncer: Syncer,
    fault: Option<String>,
}

impl Spool {
    /// Opens the spool: continues the running period's file if there is one that nobody owns. The directories of
    /// `layout` must stand.
    pub fn open(env: Env, layout: Layout, settings: Settings, handover: Handover) -> Result<Self> {
        let period = Period::of(env.clock.now(), settings.every);
        let open = claim::continued(&env, &layout, &settings, period)?;
        let syncer = Syncer::start(settings.sync, &env, &layout)?;
        Ok(Self { env, layout, settings, handover, open, syncer, fault: None })
    }

    /// Writes bytes as they came; returns once the operating system has them, however long that takes.
    pub fn take(&mut self, chunk: &[u8]) {
        let now = self.env.clock.now();
        let mut rest = chunk;
        if let Some(open) = &self.open
            && let Some(ended) = self.over(open)
        {
            // A line that has begun belongs where it began, whole.
            let head = if open.partial() { memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1) } else { 0 };
            self.write(&rest[..head], now);
            rest = &rest[head..];
            if self.open.as_ref().is_some_and(|open| !open.partial()) {
                self.end(ended);
            }
        }
        self.write(rest, now);
    }

    /// To be called when [`Self::due`] is over: ends the open file if its period is over.
    pub fn tick(&mut self) {
        let Some(open) = &self.open else { return };
        if let Some(ended) = self.over(open)
            && (!open.partial() || self.env.clock.steady().duration_since(open.touched()) >= PARTIAL_LINE_GRACE)
        {
            self.end(ended);
        }
    }

    /// How long from now until [`Self::tick`] may have something to do; `None` while no file is open.
    pub fn due(&self) -> Option<Duration> {
        let open = self.open.as_ref()?;
        let rest = open.period().remaining(self.env.clock.now());
        Some(if rest.is_zero() && open.partial() { PARTIAL_LINE_GRACE / 5 } else { rest })
    }

    /// Ends the open file, if there is one.
    pub fn end(&mut self, ended: Ended) {
        if let Some(hour) = self.open.take() {
            self.syncer.forget();
            (self.handover)(hour, ended);
        }
    }

    /// Makes the open file durable and leaves it for the next start to continue.
    pub fn park(mut self) -> Result<()> {
        self.syncer.stop();
        match self.open.take() {
            Some(hour) if self.settings.sync != SyncPolicy::Never => hour.make_durable(&*self.env.fs, &self.layout),
            _ => Ok(()),
        }
    }

    fn over(&self, open: &Hour) -> Option<Ended> {
        let (now, period) = (self.env.clock.now(), open.period());
        if now >= period.end {
            Some(Ended::Period)
        } else if now + STEP_BACK < period.start {
            Some(Ended::Clock)
        } else if self.syncer.failed(open.file()) {
            Some(Ended::Fault)
        } else {
            None
        }
    }

    /// Never gives up: what was read from the pipe exists nowhere else.
    fn write(&mut self, mut rest: &[u8], now: chrono::DateTime<chrono::Utc>) {
        while !rest.is_empty() {
            match self.write_some(rest, now) {
                Ok(n) => {
                    rest = &rest[n..];
                    if let Some(fault) = self.fault.take() {
                        tracing::info!("intake goes on (it waited: {fault})");
                    }
                }
                Err(e) => {
                    let text = e.to_string();
                    if self.fault.as_ref() != Some(&text) {
                        tracing::error!("{e}; intake waits and tries again, nothing is dropped");
                        self.fault = Some(text);
                    }
                    self.env.clock.nap(WRITE_RETRY);
                }
            }
        }
    }

    fn write_some(&mut self, data: &[u8], now: chrono::DateTime<chrono::Utc>) -> Result<usize> {
        let hour = match &mut self.open {
            Some(hour) => hour,
            none => {
                let period = Period::of(self.env.clock.now(), self.settings.every);
                none.insert(claim::begun(&self.env, &self.layout, &self.settings, period)?)
            }
        };
        let n = hour.append(data, now, self.env.clock.steady())?;
        self.syncer.written(hour.file());
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
