//! Reports fatal errors to Sentry, where the program is built with that feature and `SENTRY_DSN` is set.

use crate::error::Error;

/// How long the program's end may wait for the report.
#[cfg(feature = "sentry")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// Reports errors, for a few seconds at most.
#[cfg(feature = "sentry")]
pub fn report(errors: &[Error]) {
    let Some(dsn) = std::env::var("SENTRY_DSN").ok().filter(|dsn| !dsn.is_empty()) else { return };
    if errors.is_empty() {
        return;
    }
    let dsn = match dsn.parse::<sentry::types::Dsn>() {
        Ok(dsn) => dsn,
        Err(e) => return tracing::warn!("SENTRY_DSN: {e}; nothing is reported"),
    };
    let errors = errors.to_vec();
    let (sent, wait) = std::sync::mpsc::sync_channel(1);
    // On a thread of its own: its transport waits for a silent server without end.
    std::thread::spawn(move || {
        let mut options = sentry::ClientOptions::default();
        options.dsn = Some(dsn);
        options.release = sentry::release_name!();
        let guard = sentry::init(options);
        for error in &errors {
            sentry::capture_error(error);
        }
        drop(guard);
        let _ = sent.send(());
    });
    if wait.recv_timeout(PATIENCE).is_err() {
        tracing::warn!("SENTRY_DSN: no answer in {PATIENCE:?}; the report may be lost");
    }
}

/// Built without that feature: reports nothing.
#[cfg(not(feature = "sentry"))]
pub fn report(_errors: &[Error]) {}
