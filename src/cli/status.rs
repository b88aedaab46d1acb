//! `logjam status`.

use super::{UNDONE, USAGE, reading};
use crate::catalog::finding::printable;
use crate::config;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::layout::Layout;
use crate::ops::status::verdict::{Limits, State, judge, name, plugin_line};
use crate::ops::status::{self, Archived, Counting, Open, Process, Status, Stream};
use bytesize::ByteSize;
use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, presets};
use std::ffi::OsString;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// The option that makes it a monitoring plugin.
const NAGIOS: &str = "--nagios";
/// What clears a terminal, and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// The first column that holds numbers.
const NUMBERS: usize = 4;

/// Show what is open, packed, waiting and stored in DIR, and how old the oldest line is that is not archived
///
/// Reads DIR and nothing else: it takes no lock, changes nothing, and works while nothing runs. A line is archived once it is
/// stored at DEST; where nothing was ever uploaded from DIR, once it is packed. Exit status: 0 all is well; 1 a line is late,
/// no line is taken in, or something could not be read; 2 wrong usage.
#[derive(clap::Args)]
pub struct Args {
    /// The directory of the hour files
    dir: PathBuf,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
    /// Show it again and again, until it is interrupted [default: every 2s]
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = pause,
        conflicts_with = "nagios"
    )]
    watch: Option<Duration>,
    /// Be a monitoring plugin: one line with performance data, exit status 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. It looks at
    /// lines: that no logjam runs is seen once one of them is late
    #[arg(long, conflicts_with = "json")]
    nagios: bool,
    /// It is a warning if the oldest line that is not archived is as old as that [default: 15m more than the stream's period, so
    /// that an hour which is still open is none; 1h20m where no period is known]
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    warning: Option<Duration>,
    /// It is critical if it is as old as that [default: twice the warning]
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    critical: Option<Duration>,
    #[command(flatten)]
    pub(super) log: super::options::Log,
}

fn pause(text: &str) -> std::result::Result<Duration, String> {
    match config::duration(text)? {
        time if time < Duration::from_millis(100) => Err("at least 100ms".into()),
        time => Ok(time),
    }
}

/// Runs the command: its exit status.
pub fn run(args: &Args) -> Result<u8> {
    let seen = look(args);
    if args.nagios {
        let (line, state) = match seen {
            Ok(status) => (plugin_line(&status), status.state),
            Err(e) => (unknown(&e.to_string()), State::Unknown),
        };
        return reading::say(&line).map(|_| state.code());
    }
    let mut status = seen?;
    let clears = args.watch.is_some() && !args.json && std::io::stdout().is_terminal();
    loop {
        let text = if args.json { serde_json::to_string(&status).unwrap_or_default() } else { shown(&status) };
        let heard = reading::say(&format!("{}{text}", if clears { CLEAR } else { "" }))?;
        let Some(pause) = args.watch.filter(|_| heard) else {
            return Ok(if status.state == State::Ok { 0 } else { UNDONE });
        };
        Env::real().clock.nap(pause);
        status = look(args)?;
    }
}

/// The exit status of a command line that can't be read: to a monitoring system 2 would be an alarm, and what it shows is what
/// stands on standard output.
pub fn refused(args: &[OsString], code: u8, why: &str) -> u8 {
    let by_variable = crate::env::guard::is_yes(std::env::var("LOGJAM_NAGIOS").ok().as_deref());
    let by_option = args.iter().any(|arg| arg == NAGIOS);
    let is_plugin = args.get(1).is_some_and(|command| command == "status") && (by_option || by_variable);
    if !is_plugin || code != USAGE {
        return code;
    }
    let _ = reading::say(&unknown(why));
    State::Unknown.code()
}

fn unknown(why: &str) -> String {
    format!("LOGJAM {} - {}", State::Unknown.word(), printable(why))
}

fn look(args: &Args) -> Result<Status> {
    let env = Env::real();
    if let (Some(warning), Some(critical)) = (args.warning, args.critical)
        && critical < warning
    {
        let cause = "is shorter than --warning";
        return Err(Error::usage("--critical", cause).mend("what is critical is later than what is a warning"));
    }
    let dir: PathBuf = args.dir.components().collect();
    config::check_dir(&*env.fs, &dir)?;
    let mut status = status::look(&env, &Layout::new(dir), Counting::Lines)?;
    judge(&mut status, Limits { warning: args.warning, critical: args.critical });
    Ok(status)
}

fn shown(status: &Status) -> String {
    let mut text = printable(&status.dir);
    if let Some(space) = status.space {
        let size = |bytes| ByteSize(bytes).to_string();
        let (used, free, total) = (size(space.used_bytes), size(space.free_bytes), size(space.total_bytes));
        let _ = write!(text, ": {used} used, {free} of {total} left");
    }
    let _ = match status.archived {
        Archived::Stored => writeln!(text, "; a line is archived once it is stored"),
        Archived::Packed => writeln!(text, "; nothing was uploaded from here: a line is archived once it is packed"),
        Archived::Unknown => {
            writeln!(text, "; what was stored can't be read: older lines may wait than are shown here")
        }
    };
    if status.streams.is_empty() && status.unread.is_empty() {
        text.push_str("\nNo log file lies here, and none was archived.\n");
    } else if !status.streams.is_empty() {
        let _ = writeln!(text, "\n{}", table(&status.streams, status.archived));
    }
    for process in &status.processes {
        text.push_str(&told(process));
    }
    for unread in &status.unread {
        let _ = writeln!(text, "\nnot read: {}", printable(unread));
    }
    text.trim_end().to_owned()
}

fn table(streams: &[Stream], archived: Archived) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "STREAM",
        "STATE",
        "OLDEST NOT ARCHIVED",
        "OPEN FILE",
        "LINES",
        "SIZE",
        "AGE",
        "PACKED",
        "TO PACK",
        "TO STORE",
        "STORED IN 24 H",
    ]);
    for stream in streams {
        let mut open = stream.open.iter();
        table.add_row(first_row(stream, open.next(), archived));
        for open in open {
            let blank = || std::iter::repeat_n(String::new(), 3);
            table.add_row(blank().chain(open_cells(Some(open))).chain(blank()).collect::<Vec<_>>());
        }
    }
    for column in table.column_iter_mut().skip(NUMBERS) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn first_row(stream: &Stream, open: Option<&Open>, archived: Archived) -> Vec<String> {
    let unread = (archived == Archived::Unknown).then(|| "unknown".to_owned());
    let oldest = stream.oldest.as_ref().map(|oldest| age(oldest.age_seconds));
    let oldest = oldest.or_else(|| unread.clone()).unwrap_or_else(|| "none".into());
    let mut cells = vec![name(stream), stream.state.word().to_lowercase(), oldest];
    cells.extend(open_cells(open));
    cells.extend([
        stream.ended.files.to_string(),
        unread.clone().unwrap_or_else(|| match stream.waiting.files {
            0 => "0".into(),
            files => format!("{files} ({})", ByteSize(stream.waiting.bytes)),
        }),
        unread.unwrap_or_else(|| stream.stored.files_24h.to_string()),
    ]);
    cells
}

fn open_cells(open: Option<&Open>) -> Vec<String> {
    let Some(open) = open else {
        return ["none", "", "", "", ""].map(str::to_owned).to_vec();
    };
    let lines = open.lines.map_or_else(|| "many".into(), |lines| lines.to_string());
    let percent = |packed: status::Packed| format!("{} %", packed.bytes.saturating_mul(100) / open.bytes.max(1));
    let packed = open.packed.map_or_else(|| "0 %".into(), percent);
    vec![printable(&open.name), lines, ByteSize(open.bytes).to_string(), age(open.age_seconds), packed]
}

fn told(process: &Process) -> String {
    let state = &process.state;
    let mut who = state.command.clone();
    if let Some((prefix, suffix)) = state.stream() {
        let _ = write!(who, " {prefix} {suffix}");
    }
    let how = match (process.running, state.ended) {
        (Some(true), _) => format!("runs since {} as process {}", time(state.started), state.pid),
        (Some(false), Some(at)) => format!("does not run: it left at {}", time(at)),
        (Some(false), None) => "does not run: it was killed, or the system went down".into(),
        (None, _) => "may run, or not: that can't be read".into(),
    };
    let mut text = format!("\n{}: {how}\n", printable(&who));
    if let Some(dest) = &state.dest {
        let _ = writeln!(text, "    stores at {}", printable(dest));
    }
    if let Some(confined) = &state.confined {
        let _ = writeln!(text, "    gave up: {}", printable(confined));
    }
    for trouble in &state.troubles {
        let next = match process.running {
            Some(false) => "the next start tries again".to_owned(),
            _ => format!("tried again within {} s", trouble.retry),
        };
        let (stage, since) = (trouble.stage.word(), time(trouble.since));
        let _ = writeln!(text, "    {stage}: {}; since {since}, {next}", printable(&trouble.error));
    }
    text
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A time in its two largest units.
fn age(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
