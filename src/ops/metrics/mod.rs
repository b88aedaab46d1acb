//! Metrics: into a file for node_exporter, and over HTTP for Prometheus. On a thread of its own: whatever becomes of it, nobody
//! waits.

mod page;
mod serve;

use crate::env::{Env, export};
use crate::error::{Error, Kind, Result};
use crate::format::layout::Layout;
use crate::format::state::State;
use crate::ops::check::Line;
use page::Source;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(15);
/// How long an address may stay taken that a process before this one is about to give back, and how often that is tried.
const PREDECESSOR: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);
/// How soon an address that a restarted worker finds taken is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of a process waits for the last page.
const LAST: Duration = Duration::from_millis(200);

/// Where metrics go.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Into this file.
    pub file: Option<PathBuf>,
    /// To whoever asks at this address.
    pub listen: Option<SocketAddr>,
}

impl Settings {
    /// Tries both for `logjam check`: neither an address nor a file stays taken. An address that somebody has is only to be known: it
    /// may be the very process that is asked about.
    pub fn look(&self, env: &Env, lines: &mut Vec<Line>) {
        if let Some(path) = &self.file {
            lines.push(match export::probe(path) {
                Ok(()) => Line::ok("metrics file", format!("{} can be written", path.display())),
                Err(e) => Line::failed("metrics file", &e.mend(may_write())),
            });
        }
        if let Some(at) = self.listen {
            lines.push(match bind(env, at, Duration::ZERO) {
                Ok(_) => Line::ok("metrics address", format!("{at} can be had")),
                Err(e) if e.kind == Kind::Busy => {
                    Line::note("metrics address", format!("{at} is taken"), "well, if by the logjam that this is about")
                }
                Err(e) => Line::failed("metrics address", &e),
            });
        }
    }
}

/// The mend where a file of metrics can't be written.
fn may_write() -> String {
    format!("--metrics-file must lie in a directory that user {} may write in", nix::unistd::geteuid())
}

/// Metrics that are about to be exported.
pub struct Exporter {
    settings: Settings,
    listener: Option<TcpListener>,
}

impl Exporter {
    /// Takes the address. `restarted`: somebody did so before who died, and lines are under way: then it may come later.
    ///
    /// # Errors
    /// The address can't be had (class usage).
    pub fn open(env: &Env, settings: Settings, restarted: bool) -> Result<Option<Self>> {
        if settings.file.is_none() && settings.listen.is_none() {
            return Ok(None);
        }
        let Some(at) = settings.listen else { return Ok(Some(Self { settings, listener: None })) };
        let patience = if restarted { Duration::ZERO } else { PREDECESSOR };
        let listener = match bind(env, at, patience) {
            Ok(listener) => Some(listener),
            Err(e) if restarted => {
                tracing::warn!("{e}; tried again every second");
                None
            }
            Err(e) => return Err(e),
        };
        Ok(Some(Self { settings, listener }))
    }

    /// Exports until what comes back is dropped.
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(self, env: &Env, layout: &Layout, about: State) -> Result<Export> {
        let failed = |e: &std::io::Error| Error::io("start", "the metrics thread", e);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed(&e))?;
        let stop = Arc::<Notify>::default();
        let (tell, done) = sync_channel(1);
        let source = Source { env: env.clone(), layout: layout.clone(), about };
        let stopped = Arc::clone(&stop);
        let run = move || {
            runtime.block_on(async {
                let file = keep_file(&source, self.settings.file.as_deref());
                let serve = keep_serving(&source, self.settings.listen, self.listener);
                tokio::select! {
                    () = stopped.notified() => {}
                    () = async { tokio::join!(file, serve); } => {}
                }
            });
            if let Some(path) = &self.settings.file {
                let _ = export::replace(path, source.page(false).as_bytes());
            }
            let _ = tell.send(());
        };
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(run);
        thread.map(|_| Export { stop, done }).map_err(|e| failed(&e))
    }
}

/// Metrics that are exported. The last page is written when it is dropped.
pub struct Export {
    stop: Arc<Notify>,
    done: Receiver<()>,
}

impl Drop for Export {
    fn drop(&mut self) {
        self.stop.notify_one();
        let _ = self.done.recv_timeout(LAST);
    }
}

/// Waits until nothing is to be done any more: never.
async fn never() {
    std::future::pending().await
}

async fn keep_file(source: &Source, path: Option<&Path>) {
    let Some(path) = path else { return never().await };
    let mut said = String::new();
    loop {
        match export::replace(path, source.page(true).as_bytes()) {
            Ok(()) if said.is_empty() => {}
            Ok(()) => {
                tracing::info!("{}: it can be written again", path.display());
                said.clear();
            }
            Err(e) if said == e.to_string() => {}
            Err(e) => {
                said = e.to_string();
                tracing::warn!(
                    "{}; tried again every {} s, and nothing else waits for it",
                    e.mend(may_write()),
                    EVERY.as_secs()
                );
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn keep_serving(source: &Source, at: Option<SocketAddr>, mut listener: Option<TcpListener>) {
    let Some(at) = at else { return never().await };
    loop {
        let taken = match listener.take() {
            Some(listener) => Ok(listener),
            None => bind(&source.env, at, Duration::ZERO),
        };
        if let Ok(listener) = taken {
            serve::serve(source, listener).await;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Takes an address, also one that a closed connection of a dead process still names (`SO_REUSEADDR`, which std sets).
fn bind(env: &Env, at: SocketAddr, patience: Duration) -> Result<TcpListener> {
    let began = env.clock.steady();
    loop {
        match TcpListener::bind(at) {
            Ok(listener) => return Ok(listener),
            Err(e) if e.kind() == ErrorKind::AddrInUse && env.clock.steady() - began < patience => env.clock.nap(LOOK),
            Err(e) => {
                let (kind, mend) = match e.kind() {
                    ErrorKind::AddrInUse => (Kind::Busy, "another process listens there; give each its own port"),
                    ErrorKind::PermissionDenied => (Kind::Denied, "give a port from 1024 on"),
                    _ => (Kind::Other, "give an address of this host, such as 127.0.0.1:9184"),
                };
                return Err(Error { kind, ..Error::usage(format!("--metrics-listen={at}"), e) }.mend(mend));
            }
        }
    }
}
