//! The durable hour files: lines go in, whole files come out.
//!
//! One writer owns one file, by flock(2). A file ends when its period is over, on request, or when the clock steps
//! back out of its period; it is then handed over to be sealed, off the intake's path. Start is recovery: a file of the
//! running period that nobody owns is continued, every other one is sealed by [`seal::recover`].

mod claim;
mod confirm;
mod hour;
mod ids;
pub mod proof;
mod resend;
pub mod reserve;
pub mod seal;
pub mod session;
mod sync;
mod tail;
mod tally;

pub use hour::Hour;
pub use sync::SyncPolicy;

use crate::env::Env;
use crate::env::input::Input;
use crate::error::{Error, Kind, Result};
use crate::format::layout::Layout;
use crate::format::mark::Mark;
use crate::format::period::Period;
use crate::format::seal::Ended;
use crate::format::state::Stage;
use chrono::{DateTime, Utc};
use ids::Ids;
use resend::Resends;
use session::Session;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use sync::{Syncer, Written};

/// How long the end of a period waits for the end of a line that has begun.
pub const PARTIAL_LINE_GRACE: Duration = Duration::from_millis(500);
/// How far the clock may step back before a file of the earlier period is begun.
pub const STEP_BACK: Duration = Duration::from_secs(300);
/// How far the end of a line is looked for at a time, in bytes.
const PEEK: usize = 64 << 10;
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
    /// Whether messages begin with an identity.
    pub ids: bool,
}

/// Takes hour files that have ended.
pub type Handover = Box<dyn FnMut(Hour, Ended) + Send>;
/// Is told of each hour file that is begun or continued.
pub type Told = Box<dyn FnMut(&Hour) + Send>;

/// The hour files of one stream, as one process writes them.
pub struct Spool {
    env: Env,
    layout: Layout,
    settings: Settings,
    mark: Mark,
    /// Where lines are confirmed one by one: the dialogue, and what may come again.
    session: Option<Arc<Session>>,
    resends: Option<Resends>,
    ids: Option<Ids>,
    /// Whether a line without an identity of its own was met.
    nameless: bool,
    /// Hashes of the last identity, and of its message.
    last_identity: Option<(u128, u128)>,
    /// The rest of a line that was kept before is on its way.
    dropping: bool,
    /// Length of the open file at the last commit.
    committed: u64,
    /// A file that ended in the middle of a transaction could not be made durable.
    unsynced: Option<Error>,
    handover: Handover,
    told: Option<Told>,
    open: Option<Hour>,
    /// Lines that came again and were not counted yet.
    resent: u64,
    /// Whether a file to continue was looked for.
    looked: bool,
    syncer: Syncer,
    /// An end that was asked for and waits for the end of a line.
    asked: Option<Ended>,
    fault: Option<String>,
    peeked: Vec<u8>,
}

impl Spool {
    /// Opens the spool: continues the running period's file if there is one that nobody owns. The directories of
    /// `layout` must stand. `pipe`: which pipe feeds it, as [`Input::identity`]. `session`: the dialogue, if lines are
    /// confirmed one by one.
    pub fn open(
        env: Env,
        layout: Layout,
        settings: Settings,
        pipe: Option<String>,
        session: Option<Arc<Session>>,
        handover: Handover,
    ) -> Result<Self> {
        let syncer = Syncer::start(settings.sync, &env, &layout)?;
        let peeked = vec![0; PEEK];
        let mark =
            Mark { pipe, boot: env.fs.boot(), session: session.as_deref().map(|session| session.token().to_owned()) };
        let mut spool = Self {
            env,
            layout,
            settings,
            mark,
            session,
            resends: None,
            ids: None,
            nameless: false,
            last_identity: None,
            dropping: false,
            committed: 0,
            unsynced: None,
            handover,
            told: None,
            open: None,
            resent: 0,
            looked: false,
            syncer,
            asked: None,
            fault: None,
            peeked,
        };
        if let Err(e) = spool.look() {
            spool.wait_after(&e);
        }
        Ok(spool)
    }

    /// Asks to be told of each hour file that is begun or continued, also of the one that is open now.
    pub fn tell(&mut self, told: Told) {
        self.told = Some(told);
        self.opened();
    }

    fn opened(&mut self) {
        if let (Some(told), Some(open)) = (&mut self.told, &self.open) {
            told(open);
        }
    }

    /// Looks once for a file to continue.
    fn look(&mut self) -> Result<()> {
        if !self.looked {
            let period = Period::of(self.env.clock.now(), self.settings.every);
            self.look_back()?;
            if self.open.is_none() {
                self.open = claim::continued(&self.env, &self.layout, &self.settings, period, &self.mark)?;
            }
            self.committed = self.was_committed()?;
            self.looked = true;
            self.opened();
        }
        Ok(())
    }

    /// Moves what is in a pipe to its file, at most `most` bytes, if the system can: `None` if not. Nothing is held in
    /// memory meanwhile; on a fault, said here, everything stays in the pipe.
    pub fn pull(&mut self, input: &Input, most: usize) -> Option<usize> {
        match self.try_pull(input, most) {
            Ok(moved) => {
                self.went_well();
                moved
            }
            Err(e) => {
                self.wait_after(&e);
                Some(0)
            }
        }
    }

    fn try_pull(&mut self, input: &Input, mut most: usize) -> Result<Option<usize>> {
        let mut ends = None;
        if let Some((open, ended)) = self.open.as_ref().and_then(|open| Some((open, self.over(open)?))) {
            if open.partial() {
                // A line that has begun belongs where it began, whole: look how far it goes.
                let seen = input.peek(&mut self.peeked)?;
                let end = memchr::memchr(b'\n', &self.peeked[..seen]);
                most = end.map_or(seen, |at| at + 1);
                ends = end.map(|_| ended);
            } else {
                self.end(ended);
            }
        }
        let now = self.env.clock.now();
        let steady = self.env.clock.steady();
        let moved = self.current()?.splice(input.as_fd(), most, now, steady)?;
        if let Some(n) = moved.filter(|n| *n > 0) {
            self.env.watch.received_bytes.add(n as u64);
            self.written();
            if let Some(ended) = ends.filter(|_| self.open.as_ref().is_some_and(|open| !open.partial())) {
                self.end(ended);
            }
        }
        Ok(moved)
    }

    /// Writes bytes as they came; returns once the operating system has them, however long that takes.
    pub fn take(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        if let Some((open, ended)) = self.open.as_ref().and_then(|open| Some((open, self.over(open)?))) {
            let head = if open.partial() { memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1) } else { 0 };
            self.write(&rest[..head]);
            rest = &rest[head..];
            if self.open.as_ref().is_some_and(|open| !open.partial()) {
                self.end(ended);
            }
        }
        self.write(rest);
    }

    /// To be called when [`Self::due`] is over: ends the open file if its period is over.
    pub fn tick(&mut self) {
        let Some(open) = &self.open else { return };
        if let Some(ended) = self.over(open)
            && !self.is_in_hand(open)
            && (!open.partial() || self.env.clock.steady().duration_since(open.touched()) >= PARTIAL_LINE_GRACE)
        {
            self.end(ended);
        }
    }

    /// How long from now until [`Self::tick`] may have something to do; `None` while no file is open.
    pub fn due(&self) -> Option<Duration> {
        let open = self.open.as_ref()?;
        match self.over(open) {
            Some(_) if self.is_in_hand(open) => Some(WRITE_RETRY),
            Some(_) if open.partial() => Some(PARTIAL_LINE_GRACE / 5),
            Some(_) => Some(Duration::ZERO),
            None => Some(open.period().remaining(self.env.clock.now())),
        }
    }

    /// Whether a message is in hand that is confirmed: the record tells by the open file whether it is kept.
    fn is_in_hand(&self, open: &Hour) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_in_hand() || open.partial())
    }

    /// Asks for the open file's end, if there is one: at the end of its last line.
    pub fn end_soon(&mut self, ended: Ended) {
        self.asked = self.open.as_ref().map(|_| ended);
        self.tick();
    }

    /// Ends the open file, if there is one, as it is.
    pub fn end(&mut self, ended: Ended) {
        self.asked = None;
        self.count_resent();
        if let Some(hour) = self.open.take() {
            if self.settings.sync == SyncPolicy::Commit
                && let Err(e) = self.syncer.force(written_of(&hour, self.ids.as_ref()))
            {
                // The commit that is due will tell.
                self.unsynced = Some(e);
            }
            self.committed = 0;
            self.syncer.forget();
            (self.handover)(hour, ended);
        }
    }

    /// Makes the open file durable and leaves it for the next start to continue. `over`: the input has ended.
    pub fn park(mut self, over: bool) -> Result<()> {
        self.count_resent();
        self.syncer.stop();
        if let Some(hour) = &self.open
            && over
        {
            // That input has ended: no line of it goes on.
            let over = Mark { pipe: None, ..self.mark.clone() };
            if over.session.is_some() {
                // While there is no mark, nothing at its end may be torn.
                hour.file().sync()?;
            }
            claim::set_mark(&self.env, &self.layout, hour.name(), &over)?;
        }
        match self.open.take() {
            Some(hour) if self.settings.sync != SyncPolicy::Never => {
                self.syncer.force(written_of(&hour, self.ids.as_ref()))
            }
            _ => Ok(()),
        }
    }

    fn over(&self, open: &Hour) -> Option<Ended> {
        self.over_at(open, self.env.clock.now())
    }

    fn over_at(&self, open: &Hour, now: DateTime<Utc>) -> Option<Ended> {
        let period = open.period();
        if self.asked.is_some() {
            self.asked
        } else if now >= period.end {
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
    fn write(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            let now = self.env.clock.now();
            let steady = self.env.clock.steady();
            match self.current().and_then(|hour| hour.append(rest, now, steady)) {
                Ok(n) => {
                    rest = &rest[n..];
                    self.env.watch.received_bytes.add(n as u64);
                    self.went_well();
                    self.written();
                }
                Err(e) => self.wait_after(&e),
            }
        }
    }

    fn current(&mut self) -> Result<&mut Hour> {
        self.look()?;
        if self.open.is_none() {
            let period = Period::of(self.env.clock.now(), self.settings.every);
            self.open = Some(claim::begun(&self.env, &self.layout, &self.settings, period, &self.mark)?);
            self.opened();
        }
        self.open.as_mut().ok_or_else(|| Error::stop("open", "an hour file", Kind::Other, "there is none"))
    }

    fn written(&mut self) {
        if let Some(open) = &self.open {
            if self.session.is_none() {
                open.settle();
            }
            self.syncer.written(written_of(open, self.ids.as_ref()));
        }
    }

    fn went_well(&mut self) {
        if let Some(fault) = self.fault.take() {
            tracing::info!("intake goes on (it waited: {fault})");
            self.env.mended(Stage::Intake);
        }
    }

    /// Says a fault of the intake, once, and that it waits.
    pub fn complain(&mut self, e: &Error) {
        let text = e.to_string();
        if self.fault.as_ref() != Some(&text) {
            tracing::error!("{e}; intake waits and tries again, nothing is dropped");
            self.fault = Some(text);
        }
        self.env.trouble(Stage::Intake, e, WRITE_RETRY);
    }

    fn wait_after(&mut self, e: &Error) {
        self.complain(e);
        self.env.clock.nap(WRITE_RETRY);
    }
}

/// What has been written to when a line was.
fn written_of<'a>(hour: &'a Hour, ids: Option<&'a Ids>) -> Written<'a> {
    Written { file: hour.file(), list: ids.and_then(Ids::list), growth: hour.growth() }
}
