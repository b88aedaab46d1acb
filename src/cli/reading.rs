//! What the commands share that read an archive.

use super::{options, progress, select};
use crate::catalog::find::{Find, Local};
use crate::catalog::flow::{Flow, Out};
use crate::catalog::item::Item;
use crate::catalog::lines::Filters;
use crate::catalog::local;
use crate::catalog::select::Selection;
use crate::env::store::Store;
use crate::env::{Env, host};
use crate::error::{Error, Result};
use crate::format::key::Dest;
use crate::format::layout::Layout;
use chrono::{DateTime, Utc};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc::{Receiver, channel};

/// Pieces of text that wait to be written.
const PIECES: usize = 4;

/// What is read.
#[derive(clap::Args)]
pub struct ReadArgs {
    /// Where archives go, as given to `logjam pipe`: s3://BUCKET/TEMPLATE or file:///ABSOLUTE/TEMPLATE
    dest: String,
    /// A directory of `logjam pipe`: what is not archived yet of the hours in it is read as well
    dir: Option<PathBuf>,
    #[command(flatten)]
    select: select::SelectArgs,
    /// Look for hours that are not archived into the checkpoints of their hosts also when --to is more than a day ago
    #[arg(long, help_heading = "Selection")]
    checkpoints: bool,
    #[command(flatten)]
    pub(super) log: options::Log,
    #[command(flatten)]
    s3: options::S3Reach,
}

/// How it is read.
pub struct Manner {
    /// What is made of the lines.
    pub filters: Filters,
    /// How many objects are read at once.
    pub jobs: usize,
    /// Whether lines are put in the order of the times that they tell.
    pub by_time: bool,
}

/// An archive that is opened for reading.
pub struct Reading {
    pub(super) store: Arc<dyn Store>,
    pub(super) dest: Dest,
    pub(super) selection: Selection,
    now: DateTime<Utc>,
    local: Vec<Local>,
    checkpoints: bool,
}

impl ReadArgs {
    /// Opens it.
    pub fn open(&self) -> Result<Reading> {
        let env = Env::real();
        host::raise_open_files();
        let dest = Dest::parse(&self.dest)?;
        let store = self.s3.store(&env, &dest)?;
        let now = env.clock.now();
        let selection = self.select.selection(now)?;
        let local = match &self.dir {
            None => {
                options::must_stand(&env, &dest)?;
                Vec::new()
            }
            Some(dir) => {
                crate::config::check_dir(&*env.fs, dir)?;
                local::open(&*env.fs, &Layout::new(dir), &dest, &selection)?
            }
        };
        Ok(Reading { store, dest, selection, now, local, checkpoints: self.checkpoints })
    }
}

impl Reading {
    /// Finds what is asked for, one after the other, until `take` says no: what could not be looked at.
    pub async fn each(self, mut take: impl FnMut(&Item) -> Result<bool>) -> Result<Vec<Error>> {
        use crate::catalog::flow::Items;
        let mut find = Find::new(&self.store, &self.dest, &self.selection, self.now, self.local, self.checkpoints);
        let mut failed = Vec::new();
        loop {
            match find.next().await {
                Ok(Some(item)) if take(&item)? => {}
                Ok(_) => return Ok(failed),
                Err(e) => failed.push(e),
            }
        }
    }

    /// Reads it to standard output: what could not be read.
    pub fn read(self, manner: Manner) -> Result<Vec<Error>> {
        runtime()?.block_on(async {
            let (pieces, written) = channel(PIECES);
            let writer = tokio::task::spawn_blocking(move || write(written));
            let counted = Arc::new(AtomicU64::new(0));
            let bar = progress::Bar::begin(&self.store, &self.dest, &self.selection, &counted);
            let Reading { store, dest, selection, now, local, checkpoints } = self;
            let flow = Flow { store: Arc::clone(&store), jobs: manner.jobs, filters: manner.filters, counted };
            let mut find = Find::new(&store, &dest, &selection, now, local, checkpoints);
            let mut out = Out::new(pieces);
            let read = match manner.by_time {
                true => flow.by_time(&mut find, &mut out).await,
                false => flow.in_order(&mut find, &mut out).await,
            };
            drop(out);
            let written =
                writer.await.map_err(|e| Error::stop("write", "standard output", crate::error::Kind::Other, e));
            bar.end();
            written??;
            Ok(read)
        })
    }
}

/// The runtime of a reading command.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Error::io("start", "reading", &e))
}

/// Writes to standard output until all is written or nobody reads it any more.
fn write(mut pieces: Receiver<Vec<u8>>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = |wrote: std::io::Result<()>| match wrote {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::io("write", "standard output", &e)),
        Ok(()) => Ok(true),
    };
    while let Some(piece) = pieces.blocking_recv() {
        if !written(stdout.write_all(&piece))? {
            return Ok(());
        }
    }
    written(stdout.flush()).map(|_| ())
}

/// Says a line on standard output; whether somebody still reads it.
pub fn say(line: &str) -> Result<bool> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Error::io("write", "standard output", &e)),
        Ok(()) => Ok(true),
    }
}
