//! The command line. The doc comment of a flag is its manual.

mod access;
mod cat;
mod check;
mod completions;
mod compress;
mod ddl;
mod grep;
mod keygen;
mod ls;
mod man;
mod options;
mod pipe;
mod policy;
mod progress;
mod reading;
mod report;
mod rescue;
mod select;
mod sentry;
mod settings;
mod status;
mod upload;
mod verify;
mod watched;

use crate::env::signals::Signals;
use crate::env::{confine, guard};
use crate::error::{Class, Error, Result};
use crate::log::{self, LogFile};
use crate::pipeline::Left;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use settings::{Settings, Shown, Wish};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Something is left undone.
const UNDONE: u8 = 1;
/// Wrong usage or settings.
const USAGE: u8 = 2;
/// What grep(1) says where something could not be read.
const TROUBLE: u8 = 2;
/// The main job.
const PIPE: &str = "pipe";
/// Its switch that must be known before anything else.
const NO_GUARD: &str = "no-guard";
/// Its preflight.
const CHECK: &str = "check";
/// What the environment variables of options begin with.
const VARIABLE: &str = "LOGJAM_";

/// Log lines from a pipe into hourly files, compressed and stored in S3 or a directory.
///
/// Every option can also be set by an environment variable: LOGJAM_ and the option's name in capitals, with `_` for `-`;
/// and by a key of the same name in the file that --config names. The command line comes first, then the environment.
/// Exit status: 0 done; 1 something is left undone, and said; 2 wrong usage or settings.
#[derive(Parser)]
#[command(name = "logjam", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A settings file: TOML, whose keys are the names of the options; what stands in a table [COMMAND] is for that command
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Pipe(pipe::Args),
    Check(check::Args),
    Compress(compress::Args),
    Upload(upload::Args),
    Status(status::Args),
    Rescue(rescue::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Grep(grep::Args),
    Verify(verify::Args),
    Keygen(keygen::Args),
    Report(report::Args),
    Ddl(ddl::Args),
    Policy(policy::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// How a command went.
struct Done {
    /// What is left undone.
    left: Vec<Error>,
    /// The exit status if nothing is.
    status: u8,
    /// The exit status if something is.
    undone: u8,
}

impl From<Left> for Done {
    fn from(Left(left): Left) -> Self {
        Self { left, status: 0, undone: UNDONE }
    }
}

/// Parses the command line, runs the command, and says how it went.
pub fn main() -> ExitCode {
    confine::keep_secrets();
    let args = called_as(std::env::args_os().collect());
    let settings = Settings::of(&args);
    let file = match &settings {
        Ok(settings) => settings.as_ref(),
        Err(fault) => Some(&fault.1),
    };
    // Before anything else: the guard is to stay small, and every worker to begin anew.
    guard::stand_by(&args, file.is_some_and(|file| file.is_on(PIPE, NO_GUARD)));
    // Then at once: a signal that comes before this ends the program, with what is in the pipe; and every thread inherits it.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(e) => {
            log::fatal(&LogFile::default(), &e.to_string());
            return ExitCode::from(UNDONE);
        }
    };
    let parsed = match &settings {
        Ok(settings) => parse(&args, settings.as_ref()),
        Err(fault) => Err(Refusal::Settings(fault.0.clone())),
    };
    let (cli, shown) = match parsed {
        Ok(parsed) => parsed,
        Err(refusal) => return refused(&refusal, &args, &Wish::of(&args, file), &signals),
    };
    let mut log = LogFile::default();
    let done = run(&cli.command, shown, signals, &mut log).unwrap_or_else(|e| {
        if matches!(&cli.command, Command::Pipe(args) if args.options.confirm_messages) {
            pipe::refuse(&e.to_string());
        }
        Done { undone: if matches!(cli.command, Command::Grep(_)) { TROUBLE } else { UNDONE }, ..Left(vec![e]).into() }
    });
    for e in &done.left {
        log::fatal(&log, &e.to_string());
    }
    sentry::report(&done.left);
    ExitCode::from(match done.left.iter().any(|e| e.class == Class::Usage) {
        true => USAGE,
        false if done.left.is_empty() => done.status,
        false => done.undone,
    })
}

fn run(command: &Command, shown: Vec<Shown>, signals: Signals, log: &mut LogFile) -> Result<Done> {
    let args = match command {
        Command::Pipe(args) => &args.options.process.log,
        Command::Check(args) => &args.options.process.log,
        Command::Compress(args) => &args.process.log,
        Command::Upload(args) => &args.process.log,
        Command::Status(args) => &args.log,
        Command::Rescue(args) => &args.log,
        Command::Ls(args) => &args.read.log,
        Command::Cat(args) => &args.read.log,
        Command::Grep(args) => &args.read.log,
        Command::Verify(args) => &args.log,
        Command::Keygen(args) => &args.log,
        Command::Report(args) => &args.log,
        Command::Ddl(args) => &args.log,
        Command::Policy(args) => &args.log,
        Command::Completions(args) => &args.log,
        Command::Man(args) => &args.log,
    };
    *log = log::start(&args.log_to, args.log_level)?;
    if !matches!(command, Command::Pipe(_) | Command::Compress(_) | Command::Upload(_)) {
        signals.release()?;
    }
    let left = match command {
        Command::Pipe(args) => pipe::run(args, &signals, log),
        Command::Compress(args) => compress::run(args, signals, log),
        Command::Upload(args) => upload::run(args, signals, log),
        Command::Status(args) => {
            let status = status::run(args)?;
            return Ok(Done { left: Vec::new(), status, undone: UNDONE });
        }
        Command::Rescue(args) => rescue::run(args),
        Command::Ls(args) => ls::run(args),
        Command::Cat(args) => cat::run(args),
        Command::Report(args) => report::run(args),
        Command::Ddl(args) => ddl::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Grep(args) => {
            let (found, left) = grep::run(args)?;
            return Ok(Done { left, status: u8::from(!found), undone: TROUBLE });
        }
        Command::Verify(args) => {
            let clean = verify::run(args)?;
            return Ok(Done { left: Vec::new(), status: u8::from(!clean), undone: UNDONE });
        }
        Command::Check(args) => {
            let well = check::run(args, &shown)?;
            return Ok(Done { left: Vec::new(), status: u8::from(!well), undone: UNDONE });
        }
        Command::Keygen(args) => keygen::run(args),
    };
    left.map(Done::from)
}

/// Under the name of one of the seed's tools, the program is that tool. The settings file comes behind the command.
fn called_as(mut args: Vec<OsString>) -> Vec<OsString> {
    let name = args.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    match name {
        Some("logjam-compress") => args.insert(1, "compress".into()),
        Some("logjam-upload") => args.insert(1, "upload".into()),
        _ => {
            let words = args.get(1).map_or(0, |first| match first.to_str() {
                Some("--config") => 2,
                Some(first) if first.starts_with("--config=") => 1,
                _ => 0,
            });
            if args.len() > words + 1 {
                args[1..words + 2].rotate_right(1);
            }
        }
    }
    args
}

/// A command line or a settings file that can't be read.
enum Refusal {
    /// By the parser; also the answer to a wish for help.
    Parser(clap::Error),
    /// By what the file says.
    Settings(Error),
}

/// Says why, and what a daemon must hear that waits for an answer.
fn refused(refusal: &Refusal, args: &[OsString], wish: &Wish, signals: &Signals) -> ExitCode {
    let (status, why) = match refusal {
        Refusal::Parser(e) => {
            let _ = e.print();
            let text = e.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            (u8::try_from(e.exit_code()).unwrap_or(USAGE), first.to_owned())
        }
        Refusal::Settings(e) => {
            log::fatal(&LogFile::default(), &e.to_string());
            (USAGE, e.to_string())
        }
    };
    if status == USAGE && wish.hold {
        pipe::hold(signals, wish.confirm);
    } else if status == USAGE && wish.confirm {
        pipe::refuse("the settings can't be read");
    }
    ExitCode::from(status::refused(args, status, &why))
}

fn parse(args: &[OsString], settings: Option<&Settings>) -> std::result::Result<(Cli, Vec<Shown>), Refusal> {
    let mut program = with_variables(Cli::command());
    program.build();
    let (args, lines) = match settings {
        None => (args.to_vec(), BTreeMap::new()),
        Some(settings) => {
            settings.check(&program).map_err(Refusal::Settings)?;
            settings.apply(&program, args).map_err(Refusal::Settings)?
        }
    };
    let matches = program.clone().try_get_matches_from(args).map_err(|e| {
        let blamed = settings.and_then(|settings| settings.blame(&e, &lines));
        blamed.unwrap_or(Refusal::Parser(e))
    })?;
    let shown = Settings::shown(settings, &program, &matches, &lines);
    let mut cli = Cli::from_arg_matches(&matches).map_err(Refusal::Parser)?;
    // A command line can name no DEST without a DIR before it; a file can.
    if let (Command::Check(args), Some(settings)) = (&mut cli.command, settings) {
        args.dest = args.dest.take().or_else(|| settings.text(CHECK, "dest").map(str::to_owned));
    }
    Ok((cli, shown))
}

/// Gives every option of every command its environment variable.
fn with_variables(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let mut command = command.mut_args(|arg| match arg.get_long() {
        Some(long) if long != "help" && long != "version" => {
            let variable = format!("{VARIABLE}{}", long.to_uppercase().replace('-', "_"));
            let arg = arg.env(variable).hide_env(true);
            match arg.get_action() {
                // In a variable also 1 and 0, yes and no, on and off.
                ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
                _ => arg,
            }
        }
        _ => arg,
    });
    for name in names {
        command = command.mut_subcommand(name, with_variables);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        with_variables(Cli::command()).debug_assert();
    }

    #[test]
    fn every_option_has_a_variable_and_a_manual() {
        for command in with_variables(Cli::command()).get_subcommands() {
            for arg in command.get_arguments().filter(|arg| arg.get_long().is_some_and(|l| l != "help")) {
                assert!(arg.get_env().is_some(), "{} --{:?}", command.get_name(), arg.get_long());
                assert!(arg.get_help().is_some(), "{} --{:?}", command.get_name(), arg.get_long());
            }
        }
    }

    #[test]
    fn a_link_with_an_old_name_is_the_old_tool() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(called_as(args(&["/usr/bin/logjam-upload", "a"])), args(&["/usr/bin/logjam-upload", "upload", "a"]));
        for line in [["logjam", "pipe", "d", "--config=f"], ["logjam", "--config=f", "pipe", "d"]] {
            assert_eq!(called_as(args(&line))[1], "pipe");
        }
        let apart = args(&["logjam", "--config", "f", "pipe", "d"]);
        assert_eq!(called_as(apart), args(&["logjam", "pipe", "--config", "f", "d"]));
        for line in [&["logjam"][..], &["logjam", "--config"], &["logjam", "pipe"]] {
            assert_eq!(called_as(args(line)), args(line));
        }
    }
}
