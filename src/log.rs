//! The program's own messages: one `write` a line, to stderr, syslog or a file. A place that can't be written to is no
//! reason to stop.

mod syslog;

use crate::error::{Error, Result};
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Standard error.
    Stderr,
    /// The system's log, facility daemon; ten messages of a kind a minute at the most.
    Syslog,
    /// A file, appended to; reopened on SIGHUP.
    File(PathBuf),
}

impl FromStr for LogTo {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "stderr" => Ok(Self::Stderr),
            "syslog" => Ok(Self::Syslog),
            path if path.starts_with('/') => Ok(Self::File(path.into())),
            _ => Err("write stderr, syslog, or the absolute path of a file".into()),
        }
    }
}

/// How much is said: the seed's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What was done.
    Info,
    /// What went wrong and is tried again.
    Warning,
    /// What needs somebody to act.
    Error,
    /// Only why the program ends.
    Critical,
}

/// The program's log file, if it has one.
#[derive(Clone, Default)]
pub struct LogFile(Option<Arc<(PathBuf, Mutex<Option<std::fs::File>>)>>);

impl LogFile {
    fn open(path: PathBuf) -> Result<Self> {
        let file = open(&path)?;
        Ok(Self(Some(Arc::new((path, Mutex::new(Some(file)))))))
    }

    /// Opens the file anew, after somebody has moved it away. If that fails the old one is kept.
    pub fn reopen(&self) {
        if let Some(inner) = &self.0
            && let Ok(file) = open(&inner.0)
        {
            *inner.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the log file is no part of the archive")]
fn open(path: &PathBuf) -> Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path);
    file.map_err(|e| {
        Error::usage(format!("--log-to={}", path.display()), e)
            .mend("give a file in a directory that this user may write")
    })
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let clean = one_line(line);
        match self.put(&clean) {
            Ok(_) => Ok(line.len()),
            Err(e) => Err(e),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A message is a line, whatever a file name holds: control characters within it are shown as `?`.
fn one_line(line: &[u8]) -> Vec<u8> {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, &b"\n"[..]),
        None => (line, &b""[..]),
    };
    let shown = text.iter().map(|b| if b.is_ascii_control() { b'?' } else { *b });
    shown.chain(end.iter().copied()).collect()
}

impl LogFile {
    fn put(&self, line: &[u8]) -> std::io::Result<usize> {
        match &self.0 {
            Some(inner) => match &mut *inner.1.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(file) => file.write(line),
                None => Ok(line.len()),
            },
            None => std::io::stderr().write(line),
        }
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a LogFile;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Starts logging for the whole process.
pub fn start(to: &LogTo, level: LogLevel) -> Result<LogFile> {
    let (ours, others) = match level {
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::OFF),
        LogLevel::Warning => (LevelFilter::WARN, LevelFilter::OFF),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        LogLevel::Critical => (LevelFilter::OFF, LevelFilter::OFF),
    };
    // What the libraries say is said again, in our words, by whoever handles it.
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(others)
        // The SDK shows whole answers of those who hand out credentials.
        .with_target("aws", LevelFilter::OFF)
        .with_target("logjam", ours);
    let mut file = LogFile::default();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match to {
        LogTo::Syslog => syslog_layer(),
        LogTo::Stderr | LogTo::File(_) => {
            if let LogTo::File(path) = to {
                file = LogFile::open(path.clone())?;
            }
            let layer = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false);
            Box::new(layer.log_internal_errors(false).with_writer(file.clone()))
        }
    };
    let subscriber = Registry::default().with(layer.with_filter(filter));
    // Refused only if logging was started before: then that one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(file)
}

fn syslog_layer() -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).without_time().with_level(false);
    Box::new(layer.log_internal_errors(false).with_writer(syslog::Quiet::new()))
}

/// Says why the program ends, whatever the level.
pub fn fatal(file: &LogFile, text: &str) {
    let _ = (&mut &*file).write(format!("logjam: {text}\n").as_bytes());
}
