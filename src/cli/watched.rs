//! What a process takes that goes on, and what others see of it: its state in DIR, and metrics.

use super::pipe::EC2;
use super::{PIPE, access, options};
use crate::archive::Archive;
use crate::config;
use crate::env::{Env, guard};
use crate::error::Result;
use crate::format::key::Dest;
use crate::format::layout::Layout;
use crate::format::state::{Stage, State};
use crate::log::LogTo;
use crate::ops::check::{self, Line};
use crate::ops::metrics::{Export, Exporter, Settings};
use crate::ops::state::Keeper;
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Lets others see a start that is held, and why, while what comes back is held. The names are prefix and suffix, as given.
pub fn holding(env: &Env, dir: &Path, (prefix, suffix): (&str, Option<&str>)) -> Option<Keeper> {
    let layout = Layout::new(dir.components().collect::<PathBuf>());
    config::check_dir(&*env.fs, layout.dir()).ok()?;
    let suffix = match suffix {
        // The instance is not asked: that may be what fails.
        Some(EC2) => None,
        Some(suffix) => Some(suffix.to_owned()),
        None => config::short_host_name().ok(),
    };
    // One that is wrong is shown without its stream.
    let suffix = suffix.filter(|suffix| config::check_names(prefix, suffix).is_ok());
    let about = State {
        prefix: suffix.as_ref().map(|_| prefix.to_owned()),
        suffix,
        ..State::begun(PIPE, std::process::id(), env.clock.now())
    };
    Keeper::start(env, &layout, about).ok()
}

/// Who may read what it makes, what it gives up, what it tells.
#[derive(Args)]
pub struct Process {
    #[command(flatten)]
    pub(super) access: access::Access,
    #[command(flatten)]
    confine: access::Confine,
    #[command(flatten)]
    metrics: Metrics,
    #[command(flatten)]
    pub(super) log: options::Log,
}

impl Process {
    /// Gets what may be refused. No thread is started.
    ///
    /// # Errors
    /// DIR is not there, or an address can't be had.
    pub fn open(&self, archive: &Archive) -> Result<Opened> {
        self.metrics.open(&archive.env, &archive.layout)
    }

    /// Tries where messages and metrics go.
    pub fn look(&self, env: &Env, lines: &mut Vec<Line>) {
        if self.log.log_to == LogTo::Syslog {
            lines.push(check::host::system_log());
        }
        self.metrics.settings().look(env, lines);
    }

    /// The end of a start, before the first other thread: gives up what is not needed any more, and lets others see what this
    /// process does. `holding`: what showed until now that the start was held.
    pub fn begin(
        &self,
        opened: Opened,
        archive: &Archive,
        dest: Option<&Dest>,
        about: State,
        holding: &mut Option<Keeper>,
    ) -> Watched {
        let files = [self.log.place(), self.metrics.metrics_file.as_deref()];
        self.confine.after_start(&archive.env, archive.layout.dir(), dest, &files);
        opened.begin(&archive.env, &archive.layout, about, holding)
    }
}

/// Metrics.
#[derive(Args)]
pub struct Metrics {
    /// Write metrics into this file every 15 s, whole and readable by all: for node_exporter's textfile collector, which reads
    /// *.prom. Each process needs a file of its own
    #[arg(long, value_name = "PATH.prom", value_parser = config::metrics_file)]
    metrics_file: Option<PathBuf>,
    /// Answer GET /metrics at this address, for Prometheus: without encryption and without a password, so give one that only
    /// Prometheus reaches. Each process needs a port of its own
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::listen)]
    metrics_listen: Option<SocketAddr>,
}

/// What others see of this process while it is held.
pub struct Watched {
    _export: Option<Export>,
    _keeper: Option<Keeper>,
}

/// Metrics that can be exported.
pub struct Opened(Option<Exporter>);

impl Metrics {
    fn settings(&self) -> Settings {
        Settings { file: self.metrics_file.clone(), listen: self.metrics_listen }
    }

    fn open(&self, env: &Env, layout: &Layout) -> Result<Opened> {
        config::check_dir(&*env.fs, layout.dir())?;
        let settings = self.settings();
        let restarted = guard::held().is_some_and(|held| held.died.is_some());
        Exporter::open(env, settings, restarted).map(Opened)
    }
}

impl Opened {
    /// In DIR, and as metrics where that was asked for.
    fn begin(self, env: &Env, layout: &Layout, about: State, holding: &mut Option<Keeper>) -> Watched {
        env.mended(Stage::Start);
        drop(holding.take());
        let keeper = Keeper::start(env, layout, about.clone())
            .inspect_err(|e| tracing::warn!("{e}; logjam status does not see this process"))
            .ok();
        let export = self.0.and_then(|exporter| {
            exporter.start(env, layout, about).inspect_err(|e| tracing::warn!("{e}; there are no metrics")).ok()
        });
        Watched { _export: export, _keeper: keeper }
    }
}
