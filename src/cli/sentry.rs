//! Reports fatal errors to Sentry, where the program is built with that feature and `SENTRY_DSN` is set.

use crate::error::Error;

#[cfg(feature = "sentry")]
pub fn report(errors: &[Error]) {
    let Some(dsn) = std::env::var("SENTRY_DSN").ok().filter(|dsn| !dsn.is_empty()) else { return };
    if errors.is_empty() {
        return;
    }
    match dsn.parse::<sentry::types::Dsn>() {
        Ok(dsn) => {
            let options =
                sentry::ClientOptions { dsn: Some(dsn), release: sentry::release_name!(), ..Default::default() };
            // Sends what is queued when dropped, for two seconds at most.
            let _guard = sentry::init(options);
            for error in errors {
                sentry::capture_error(error);
            }
        }
        Err(e) => tracing::warn!("SENTRY_DSN: {e}; nothing is reported"),
    }
}

#[cfg(not(feature = "sentry"))]
pub fn report(_errors: &[Error]) {}
