//! `logjam pipe`.

use super::watched::{self, Opened, Process};
use super::{PIPE, options};
use crate::archive::uploader::Uploader;
use crate::archive::{Archive, Sources};
use crate::config;
use crate::env::disk::Disk;
use crate::env::input::Input;
use crate::env::metadata::ec2_suffix;
use crate::env::replies::Replies;
use crate::env::signals::{Asked, Signals};
use crate::env::{Env, guard, store::Store};
use crate::error::{Class, Error, Result};
use crate::format::key::{Dest, Place};
use crate::format::layout::Layout;
use crate::format::sign::Signer;
use crate::format::state::{Stage, State};
use crate::ingest::dialogue::{Marks, Mode};
use crate::log::LogFile;
use crate::pipeline::{self, Left, Pipe, Speech};
use crate::spool::{self, SyncPolicy};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How often a start that failed is tried again, with --on-error=hold.
const HOLD_RETRY: Duration = Duration::from_secs(1);
/// The suffix that asks the instance metadata.
pub(super) const EC2: &str = "ec2";
/// When lines are forced to the disk, unless it is said or there are transactions.
const SYNC: Duration = Duration::from_secs(1);
/// How often a checkpoint goes to S3, unless it is said.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// What rsyslog sends around a transaction, unless it is told otherwise (rsyslog documentation, omprog).
const BEGIN_MARK: &str = "BEGIN TRANSACTION";
const COMMIT_MARK: &str = "COMMIT TRANSACTION";

/// Write lines from standard input into hourly files, and archive each file when its hour ends
///
/// Lines go unchanged into DIR/PREFIX-YYYYMMDDTHHMMZ-SUFFIX.log. At the end of its hour, on SIGUSR1, or with --once at the
/// end of the input, a file is compressed into DIR/archive and stored at DEST. What an earlier life left behind is
/// finished first. SIGTERM and SIGINT drain the input; SIGHUP reopens the log file.
#[derive(clap::Args)]
pub struct Args {
    /// The directory of the hour files; must exist
    dir: PathBuf,
    /// Where archives go: s3://BUCKET/TEMPLATE or file:///PATH/TEMPLATE, with the fields {prefix} {year} {month} {day}
    /// {filename} (mandatory) and {suffix} {hour} {minute}. Without it archives stay in DIR/archive for `logjam upload`
    dest: Option<String>,
    #[command(flatten)]
    pub(super) options: Options,
}

/// What it takes beside DIR and DEST.
#[derive(clap::Args)]
pub struct Options {
    /// First part of the file name
    #[arg(long, value_name = "NAME", default_value = "syslog")]
    prefix: String,
    /// Last part of the file name: by default the short host name; `ec2` asks the instance metadata for
    /// REGION-INSTANCEID
    #[arg(long, value_name = "TEXT")]
    suffix: Option<String>,
    /// Length of a file's period, aligned to the UTC clock: a divisor of one hour, 1m at the least
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = config::every)]
    every: Duration,
    /// Answer each message on standard output, as rsyslog's omprog asks for with confirmMessages="on": OK once it is kept
    #[arg(long)]
    pub(super) confirm_messages: bool,
    /// With --confirm-messages: messages come in transactions, as with useTransactions="on"
    #[arg(long, requires = "confirm_messages")]
    use_transactions: bool,
    /// The line that begins a transaction: omprog's beginTransactionMark
    #[arg(long, value_name = "TEXT", default_value = BEGIN_MARK, requires = "use_transactions")]
    begin_mark: String,
    /// The line that commits one: omprog's commitTransactionMark
    #[arg(long, value_name = "TEXT", default_value = COMMIT_MARK, requires = "use_transactions")]
    commit_mark: String,
    /// The first blank-separated word of each line is an identity that rsyslog gave it (%uuid%): it is taken off, and a line
    /// that comes again is dropped, in every mode
    #[arg(long)]
    id: bool,
    /// When lines are forced to the disk: before each is answered or the next ones are read (message), before the answer to
    /// a commit (commit), at most that long after they came, or never before their file ends [default: commit with
    /// transactions, else 1s]
    #[arg(long, value_name = "message|commit|DURATION|never")]
    sync: Option<Sync>,
    /// Run without the guard, a small process that holds standard input and starts a worker again that was killed
    #[arg(long)]
    no_guard: bool,
    /// What a start that cannot succeed does: `exit` with a message, or `hold`: say it, and wait without reading, so that
    /// the writer keeps its lines, until the start succeeds, or until the writer has left and nothing of it is in the pipe: what is
    /// there is left to nobody, so signals end it neither
    #[arg(long, value_enum, default_value = "exit")]
    on_error: OnError,
    /// At the end of the input: end the open file too, archive everything, and exit 0 only when everything is stored; hours of
    /// this prefix that another process on DIR has open are waited for, 10 s at the most
    #[arg(long)]
    once: bool,
    /// Free space never used up: at the floor intake waits, it drops nothing [default: 1GiB or 5 % of the file system, the
    /// smaller]
    #[arg(long, value_name = "SIZE", value_parser = config::size)]
    pub(super) reserve: Option<u64>,
    /// How often another host is told what it needs to finish the open hour, if this one is lost: a duration, or `off`
    /// [default: 60s at S3, off at file://]
    #[arg(long, value_name = "DURATION|off", value_parser = config::checkpoint)]
    checkpoint: Option<config::Every>,
    #[command(flatten)]
    pack: options::Pack,
    #[command(flatten)]
    keep: options::Keep,
    #[command(flatten)]
    sign: options::Sign,
    #[command(flatten)]
    pub(super) process: Process,
    #[command(flatten)]
    pub(super) s3: options::S3Args,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Leave with a message
    Exit,
    /// Say it and wait without reading
    Hold,
}

#[derive(Clone, Copy)]
struct Sync(SyncPolicy);

impl FromStr for Sync {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "message" => Ok(Self(SyncPolicy::Message)),
            "never" => Ok(Self(SyncPolicy::Never)),
            "commit" => Ok(Self(SyncPolicy::Commit)),
            _ => match config::duration(text)? {
                Duration::ZERO => Ok(Self(SyncPolicy::Message)),
                time => Ok(Self(SyncPolicy::Within(time))),
            },
        }
    }
}

/// Runs the command.
pub fn run(args: &Args, signals: &Signals, log: &LogFile) -> Result<Left> {
    let env = Env::real();
    let input = Input::stdin()?;
    if let Some(died) = guard::held().and_then(|held| held.died.as_ref()) {
        tracing::warn!("{died}; this one goes on where it stood");
    }
    // In the middle of a dialogue an error would be the answer to a message.
    let options = &args.options;
    let hold = options.on_error == OnError::Hold || guard::held().is_some_and(|held| held.left().is_some());
    let mut holding = None;
    let Started { pipe, speech, store, dest, metrics } = loop {
        match start(args, log) {
            Ok(started) => break started,
            Err(e) if !hold && e.class != Class::Retry => return Err(e),
            Err(e) => {
                let names = (options.prefix.as_str(), options.suffix.as_deref());
                holding = holding.or_else(|| watched::holding(&env, &args.dir, names));
                env.trouble(Stage::Start, &e, HOLD_RETRY);
                if !wait_for_mend(&input, signals, log, &e, options.confirm_messages)? {
                    return Err(e);
                }
            }
        }
    };
    let archive = pipe.archive.clone();
    let _watched = options.process.begin(metrics, &archive, dest.as_ref(), about(args, &pipe), &mut holding);
    pipeline::run(pipe, speech, &input, signals, move || match (&store, &dest) {
        (Some(store), Some(dest)) => Uploader::start(archive.clone(), Arc::clone(store), dest.clone()).map(Some),
        _ => Ok(None),
    })
}

struct Started {
    pipe: Pipe,
    speech: Option<Speech>,
    store: Option<Arc<dyn Store>>,
    dest: Option<Dest>,
    metrics: Opened,
}

fn start(args: &Args, log: &LogFile) -> Result<Started> {
    let options = &args.options;
    let Settled { archive, spool, mode, checkpoints, store, dest } = options.settle(&args.dir, args.dest.as_deref())?;
    let pipe = Pipe { archive, spool, reserve: options.reserve, once: options.once, checkpoints, log: log.clone() };
    pipeline::prepare(&pipe)?;
    let metrics = options.process.open(&pipe.archive)?;
    let speech = mode.map(|mode| Speech::begin(&pipe, mode)).transpose()?;
    Ok(Started { pipe, speech, store, dest, metrics })
}

/// What others see of this process.
fn about(args: &Args, pipe: &Pipe) -> State {
    State {
        prefix: Some(pipe.spool.prefix.clone()),
        suffix: Some(pipe.spool.suffix.clone()),
        seconds: Some(pipe.spool.every.as_secs()),
        dest: args.dest.clone(),
        ..State::begun(PIPE, std::process::id(), pipe.archive.env.clock.now())
    }
}

/// Settings that go together.
struct Settled {
    archive: Archive,
    spool: spool::Settings,
    mode: Option<Mode>,
    checkpoints: Option<(Dest, Duration)>,
    store: Option<Arc<dyn Store>>,
    dest: Option<Dest>,
}

impl Options {
    /// Checks them all. Changes nothing, and needs no network but for --suffix=ec2.
    fn settle(&self, dir: &Path, dest: Option<&str>) -> Result<Settled> {
        let dest = dest.map(Dest::parse).transpose()?;
        let store = dest.as_ref().map(|dest| self.process.access.store(&self.s3, dest)).transpose()?;
        let checkpoints = self.checkpoints(dest.as_ref())?;
        let (codec, signer, mode) = (self.pack.codec()?, self.signer(dest.is_some())?, self.mode()?);
        // Without the slash that would let a link at its end be followed.
        let dir: PathBuf = dir.components().collect();
        config::check_dir(&Disk, &dir)?;
        let env = self.process.access.env(&dir)?;
        if let Some(dest) = &dest {
            config::check_apart(&Layout::new(&dir), dest)?;
        }
        let (prefix, suffix) = self.names()?;
        let archive = Archive {
            prefix: Some(prefix.clone()),
            uploads: dest.is_some(),
            keep: self.keep.keep,
            threads: self.pack.threads(),
            following: Some(Arc::default()),
            host: config::host_name(),
            signer,
            ..Archive::new(env, Layout::new(dir), Sources::Sealed, codec)
        };
        let spool = spool::Settings { prefix, suffix, every: self.every, sync: self.sync()?, ids: self.id };
        Ok(Settled { archive, spool, mode, checkpoints, store, dest })
    }

    /// Checks those that need no names; with DIR also what it has to do with them.
    pub fn sound(&self, dir: Option<&Path>, dest: Option<&Dest>) -> Result<()> {
        self.checkpoints(dest)?;
        self.signer(dest.is_some())?;
        self.pack.codec()?;
        self.mode()?;
        self.sync()?;
        self.process.access.sound()?;
        let Some(dir) = dir else { return Ok(()) };
        self.process.access.env(dir)?;
        dest.map_or(Ok(()), |dest| config::check_apart(&Layout::new(dir), dest))
    }

    /// Prefix and suffix.
    pub fn names(&self) -> Result<(String, String)> {
        let suffix = match self.suffix.as_deref() {
            None => config::short_host_name()?,
            Some(EC2) => ec2_suffix().or_else(|e| {
                tracing::warn!("{e}; the short host name is used as suffix");
                config::short_host_name()
            })?,
            Some(text) => text.to_owned(),
        };
        config::check_names(&self.prefix, &suffix)?;
        Ok((self.prefix.clone(), suffix))
    }

    /// The key to sign with. What would be ignored is refused.
    fn signer(&self, has_dest: bool) -> Result<Option<Arc<Signer>>> {
        if !has_dest {
            self.s3.refuse_without_s3()?;
            self.sign.refuse_without_dest()?;
        }
        self.sign.signer()
    }

    /// Where checkpoints go, and how often.
    pub fn checkpoints(&self, dest: Option<&Dest>) -> Result<Option<(Dest, Duration)>> {
        let Some(dest) = dest else {
            return match self.checkpoint {
                Some(config::Every(Some(_))) => Err(Error::usage("--checkpoint", "goes with a DEST only")),
                _ => Ok(None),
            };
        };
        let default = config::Every(matches!(dest.place, Place::S3(_)).then_some(CHECKPOINT));
        Ok(self.checkpoint.unwrap_or(default).0.map(|every| (dest.clone(), every)))
    }

    fn sync(&self) -> Result<SyncPolicy> {
        match self.sync {
            Some(Sync(SyncPolicy::Commit)) if !self.use_transactions => {
                Err(Error::usage("--sync=commit", "there are no commits").mend("add --use-transactions, or set a time"))
            }
            Some(sync) => Ok(sync.0),
            None if self.use_transactions => Ok(SyncPolicy::Commit),
            None => Ok(SyncPolicy::Within(SYNC)),
        }
    }

    /// How messages are told apart and answered.
    fn mode(&self) -> Result<Option<Mode>> {
        if !self.use_transactions {
            let silent = self.id.then_some(Mode::Silent);
            return Ok(if self.confirm_messages { Some(Mode::Messages) } else { silent });
        }
        for (option, mark) in [("--begin-mark", &self.begin_mark), ("--commit-mark", &self.commit_mark)] {
            if mark.is_empty() || mark.contains('\n') {
                return Err(Error::usage(option, "must be the text of one line").mend("set it as in rsyslog"));
            }
        }
        if self.begin_mark == self.commit_mark {
            return Err(Error::usage("--begin-mark, --commit-mark", "are the same").mend("set them as in rsyslog"));
        }
        let line = |mark: &str| format!("{mark}\n").into_bytes();
        Ok(Some(Mode::Transactions(Marks { begin: line(&self.begin_mark), commit: line(&self.commit_mark) })))
    }
}

/// Says why the start failed and waits a while without reading. False if it is time to leave.
fn wait_for_mend(input: &Input, signals: &Signals, log: &LogFile, e: &Error, confirms: bool) -> Result<bool> {
    use std::sync::Mutex;
    static SAID: Mutex<String> = Mutex::new(String::new());
    if let Ok(mut said) = SAID.lock()
        && *said != e.to_string()
    {
        *said = e.to_string();
        crate::log::fatal(log, &format!("{said}; holding: nothing is read until this is mended"));
    }
    holds_on(input, signals, confirms)
}

/// Waits a while without reading. Lines in the pipe would be lost with this process: while there are any it goes on,
/// whatever is asked of it; without any it leaves when its writer has, or when a signal asks it to.
fn holds_on(input: &Input, signals: &Signals, confirms: bool) -> Result<bool> {
    if confirms && let Ok(mut replies) = Replies::early() {
        replies.dot();
    }
    let ready = input.wait_writer_gone(Some(signals), HOLD_RETRY)?;
    let asked = ready.signal && signals.next() == Some(Asked::Leave);
    let lines = input.wait(None, Some(Duration::ZERO))?.input;
    if ready.hung_up && lines {
        Env::real().clock.nap(HOLD_RETRY);
    }
    Ok(lines || !(ready.hung_up || asked))
}

/// Waits without reading until the writer leaves: settings that can't be read are not mended by waiting.
pub fn hold(signals: &Signals, confirms: bool) {
    if let Ok(input) = Input::stdin() {
        let gone = || input.wait_writer_gone(None, Duration::ZERO).is_ok_and(|ready| ready.hung_up);
        while matches!(holds_on(&input, signals, confirms), Ok(true)) && !gone() {}
    }
}

/// The answer to a daemon that waits for the first `OK`: the start has failed.
pub fn refuse(why: &str) {
    if let Ok(mut replies) = Replies::early() {
        replies.error(why);
    }
}
