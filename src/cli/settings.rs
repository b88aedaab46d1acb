//! The settings file: TOML, whose keys are the names of the options. What it says is put into the command line, unless
//! the command line or the environment says it already, so everything is checked in one way.

use super::PIPE;
use crate::env::Env;
use crate::env::fs::read_whole;
use crate::env::guard;
use crate::error::{Error, Result};
use crate::format::key::without_password;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// The option that names the file.
const OPTION: &str = "--config";
/// Its environment variable.
const VARIABLE: &str = "LOGJAM_CONFIG";
/// What the options are called that choose what is read: for them, who writes does not speak for who reads.
pub const SELECTION: &str = "Selection";
/// Arguments without a name that may stand in the file: what they are called in the program and in the file, and what is put
/// behind what the file says.
const POSITIONALS: [(&str, &str, &str); 3] = [("dir", "dir", ""), ("dest", "dest", ""), ("archive", "dir", "/archive")];
/// Where a setting comes from that nobody gives.
const DEFAULT: &str = "default";
/// How alike a known key must be to be taken for what was meant, from 0 to 1 (by the edits
/// between them, Damerau and Levenshtein).
const ALIKE: f64 = 0.5;

/// What a settings file says.
#[derive(Clone, Debug)]
pub struct Settings {
    path: PathBuf,
    /// The commands that it has a table for, with the line of each.
    tables: Vec<(String, usize)>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The command that it is for; none: every one that has an option of that name.
    table: Option<String>,
    key: String,
    value: Value,
    line: usize,
}

#[derive(Clone, Debug)]
enum Value {
    Switch(bool),
    Text(String),
    List(Vec<String>),
    /// A kind that no option has.
    Wrong,
}

/// A setting that is in force.
pub struct Shown {
    key: String,
    texts: Vec<String>,
    is_switch: bool,
    is_list: bool,
    from: String,
}

impl std::fmt::Display for Shown {
    /// A line of a settings file, with a remark; a remark alone for what nobody gives.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A JSON string is a basic string of TOML.
        let quoted = |text: &String| serde_json::to_string(text).unwrap_or_default();
        let texts: Vec<String> = self.texts.iter().map(quoted).collect();
        if self.from == DEFAULT && !self.texts.is_empty() {
            f.write_str("# ")?;
        }
        match self.texts.as_slice() {
            [] => write!(f, "# {} is not set", self.key),
            _ if self.is_list => write!(f, "{} = [{}] # {}", self.key, texts.join(", "), self.from),
            [on] if self.is_switch => write!(f, "{} = {on} # {}", self.key, self.from),
            _ => write!(f, "{} = {} # {}", self.key, texts.join(","), self.from),
        }
    }
}

impl Settings {
    /// Reads the file that a command line or the environment names, if one does.
    ///
    /// # Errors
    /// It can't be read, or is no TOML: also what could be made out of it.
    pub fn of(args: &[OsString]) -> std::result::Result<Option<Self>, Box<(Error, Self)>> {
        let Some(path) = path(args) else { return Ok(None) };
        let nothing = Self { path: path.clone(), tables: Vec::new(), entries: Vec::new() };
        let data = match read_whole(&*Env::real().fs, &path) {
            Ok(data) => data,
            Err(e) => {
                let refused = Error::usage(option(&path), e.cause).mend("give a file that can be read");
                return Err(Box::new((refused, nothing)));
            }
        };
        let Ok(text) = String::from_utf8(data) else {
            return Err(Box::new((Error::usage(path.display(), "is not UTF-8, as TOML has to be"), nothing)));
        };
        let (settings, fault) = Self::parse(path, &text);
        match fault {
            None => Ok(Some(settings)),
            Some(fault) => Err(Box::new((fault, settings))),
        }
    }

    /// What can be made out of a text, and the first fault in it.
    fn parse(path: PathBuf, text: &str) -> (Self, Option<Error>) {
        let (table, faults) = DeTable::parse_recoverable(text);
        let line = |at: usize| text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
        let fault = faults.first().map(|fault| {
            let at = fault.span().map_or(1, |span| line(span.start));
            Error::usage(format!("{}:{at}", path.display()), fault.message())
        });
        let (mut tables, mut entries) = (Vec::new(), Vec::new());
        for (key, value) in table.get_ref() {
            let entry = |table: Option<&str>, key: &Spanned<DeString<'_>>, value: &DeValue<'_>| Entry {
                table: table.map(str::to_owned),
                key: key.get_ref().to_string(),
                value: Value::of(value),
                line: line(key.span().start),
            };
            match value.get_ref() {
                DeValue::Table(inner) if !is_pairs(key.get_ref()) => {
                    tables.push((key.get_ref().to_string(), line(key.span().start)));
                    entries.extend(
                        inner.iter().map(|(name, value)| entry(Some(key.get_ref().as_ref()), name, value.get_ref())),
                    );
                }
                value => entries.push(entry(None, key, value)),
            }
        }
        (Self { path, tables, entries }, fault)
    }

    /// Whether a switch is on in it, for a command.
    pub fn is_on(&self, command: &str, key: &str) -> bool {
        self.find(command, key, true).is_some_and(|entry| matches!(entry.value, Value::Switch(true)))
    }

    /// The text that an option has in it, for a command.
    pub fn text(&self, command: &str, key: &str) -> Option<&str> {
        match &self.find(command, key, true)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What stands for a command: in its table, or for all.
    fn find(&self, command: &str, key: &str, general: bool) -> Option<&Entry> {
        let of = |table: Option<&str>| self.entries.iter().find(|e| e.table.as_deref() == table && e.key == key);
        // Who asks for a check asks about `logjam pipe`.
        let pipe = || of(Some(PIPE)).filter(|_| command == super::CHECK);
        of(Some(command)).or_else(pipe).or_else(|| of(None).filter(|_| general))
    }

    fn fault(&self, entry: &Entry, cause: impl std::fmt::Display) -> Error {
        self.fault_at(entry.line, &entry.key, cause)
    }

    fn fault_at(&self, line: usize, what: &str, cause: impl std::fmt::Display) -> Error {
        Error::usage(format!("{}:{line}: {what}", self.path.display()), cause)
    }

    /// Refuses tables and keys that no command knows, in the order of the file.
    ///
    /// # Errors
    /// The first one, with the known key that is most like it.
    pub fn check(&self, program: &Command) -> Result<()> {
        let commands: BTreeMap<&str, Vec<&str>> = program.get_subcommands().map(|c| (c.get_name(), keys(c))).collect();
        let names: Vec<&str> = commands.keys().copied().collect();
        let unknown = self.tables.iter().filter(|(table, _)| !commands.contains_key(table.as_str()));
        let tables = unknown.map(|(table, line)| {
            (*line, near(self.fault_at(*line, &format!("[{table}]"), "there is no such command"), table, &names))
        });
        let entries = self.entries.iter().filter_map(|entry| {
            let (known, place) = match &entry.table {
                None => (commands.values().flatten().copied().collect(), String::new()),
                Some(table) => (commands.get(table.as_str())?.clone(), format!(" for `logjam {table}`")),
            };
            if known.contains(&entry.key.as_str()) {
                return None;
            }
            let fault = self.fault(entry, format!("there is no such option{place}"));
            Some((entry.line, near(fault, &entry.key, &known)))
        });
        tables.chain(entries).min_by_key(|(line, _)| *line).map_or(Ok(()), |(_, fault)| Err(fault))
    }

    /// Puts into a command line what the file says and nobody else does. Also returns the line in the file of each key that
    /// was put in.
    ///
    /// # Errors
    /// A value of the wrong kind.
    pub fn apply(&self, program: &Command, args: &[OsString]) -> Result<(Vec<OsString>, BTreeMap<String, usize>)> {
        let (mut all, mut lines) = (args.to_vec(), BTreeMap::new());
        // As far as it can be read: what is wrong in it is said later.
        let Ok(matches) = program.clone().ignore_errors(true).try_get_matches_from(args) else {
            return Ok((all, lines));
        };
        let Some((name, given)) = matches.subcommand() else { return Ok((all, lines)) };
        let Some(command) = program.find_subcommand(name) else { return Ok((all, lines)) };
        let Some(at) = args.iter().position(|arg| arg == name) else { return Ok((all, lines)) };
        let mut words = Vec::new();
        for arg in command.get_arguments().filter(|arg| !arg.is_positional() && !is_given(arg, given)) {
            let Some(long) = arg.get_long() else { continue };
            let general = arg.get_help_heading() != Some(SELECTION);
            let Some(entry) = self.find(name, long, general) else { continue };
            words.extend(self.words(arg, long, entry)?.into_iter().map(OsString::from));
            lines.insert(long.to_owned(), entry.line);
        }
        // One without a name is known by its place.
        for arg in command.get_positionals() {
            if is_given(arg, given) {
                continue;
            }
            let Some((id, key, ending)) = positional(arg) else { break };
            let Some(entry) = self.find(name, key, true) else { break };
            let Value::Text(text) = &entry.value else { return Err(self.fault(entry, "a text in quotes is wanted")) };
            all.push(format!("{text}{ending}").into());
            lines.insert(id.to_owned(), entry.line);
        }
        all.splice(at + 1..at + 1, words);
        Ok((all, lines))
    }

    /// An option as it would be written.
    fn words(&self, arg: &Arg, long: &str, entry: &Entry) -> Result<Vec<String>> {
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let takes_many = matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
        let word = |value: &String| format!("--{long}={value}");
        match &entry.value {
            Value::Switch(on) if is_switch => Ok(if *on { vec![format!("--{long}")] } else { Vec::new() }),
            Value::Text(text) if !is_switch => Ok(vec![word(text)]),
            Value::List(list) if takes_many => Ok(list.iter().map(word).collect()),
            _ if is_switch => Err(self.fault(entry, "true or false is wanted")),
            _ if takes_many => Err(self.fault(entry, "a text or a list of texts is wanted")),
            _ => Err(self.fault(entry, "a text in quotes or a whole number is wanted")),
        }
    }

    /// Says of a refused command line where in the file it came from, if it did.
    pub fn blame(&self, refused: &clap::Error, lines: &BTreeMap<String, usize>) -> Option<super::Refusal> {
        let named = match refused.get(clap::error::ContextKind::InvalidArg)? {
            clap::error::ContextValue::String(text) => text,
            clap::error::ContextValue::Strings(texts) => texts.first()?,
            _ => return None,
        };
        let long = named.strip_prefix("--")?.split([' ', '=']).next()?;
        let line = lines.get(long)?;
        let text = refused.to_string();
        let first = text.lines().next()?.trim_start_matches("error: ");
        Some(super::Refusal::Settings(Error::usage(format!("{}:{line}", self.path.display()), first)))
    }

    /// What is in force for a command, and where it came from.
    pub fn shown(
        of: Option<&Self>,
        program: &Command,
        matches: &ArgMatches,
        lines: &BTreeMap<String, usize>,
    ) -> Vec<Shown> {
        let Some((name, given)) = matches.subcommand() else { return Vec::new() };
        let Some(command) = program.find_subcommand(name) else { return Vec::new() };
        let show = |arg: &Arg| {
            let id = arg.get_id().as_str();
            let key = arg.get_long().unwrap_or(id).to_owned();
            let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
            let mut texts = match is_switch {
                true => vec![given.get_flag(id).to_string()],
                false => {
                    given.get_raw(id).into_iter().flatten().map(|raw| raw.to_string_lossy().into_owned()).collect()
                }
            };
            // Without a DIR before it.
            let alone = of.and_then(|of| of.find(name, id, true)).filter(|_| id == "dest" && texts.is_empty());
            if let Some(Entry { value: Value::Text(text), .. }) = alone {
                texts = vec![text.clone()];
            }
            let line = lines.get(&key).copied().or(alone.map(|entry| entry.line));
            let from = match (line, given.value_source(id)) {
                (Some(line), _) => format!("{}:{line}", of.map_or("".into(), |of| of.path.display().to_string())),
                (None, Some(ValueSource::CommandLine)) => "command line".into(),
                (None, Some(ValueSource::EnvVariable)) => {
                    arg.get_env().map_or("".into(), |name| name.to_string_lossy().into_owned())
                }
                (None, _) => DEFAULT.into(),
            };
            let texts = texts.iter().map(|text| without_password(text)).collect();
            let is_list = matches!(arg.get_action(), ArgAction::Append);
            Shown { key, texts, is_switch, is_list, from }
        };
        let ours = |arg: &&Arg| !["help", "version", "config", "json", "show", "root"].contains(&arg.get_id().as_str());
        command.get_arguments().filter(ours).map(show).collect()
    }
}

/// What a command line asks for that can't be read.
pub struct Wish {
    /// To hold.
    pub hold: bool,
    /// To confirm messages.
    pub confirm: bool,
}

impl Wish {
    /// Guesses it.
    pub fn of(args: &[OsString], settings: Option<&Settings>) -> Self {
        let texts: Vec<_> = args.iter().map(|a| a.to_string_lossy()).collect();
        let pipe = texts.get(1).is_some_and(|command| command == PIPE);
        let given = |text: &str| texts.iter().any(|a| a == text);
        let hold = given("--on-error=hold")
            || texts.windows(2).any(|w| w == ["--on-error", "hold"])
            || std::env::var_os("LOGJAM_ON_ERROR").is_some_and(|value| value == "hold")
            || settings.is_some_and(|settings| settings.text(PIPE, "on-error") == Some("hold"));
        let yes = guard::is_yes(std::env::var("LOGJAM_CONFIRM_MESSAGES").ok().as_deref());
        let confirm = yes
            || given("--confirm-messages")
            || settings.is_some_and(|settings| settings.is_on(PIPE, "confirm-messages"));
        Self { hold: pipe && hold, confirm: pipe && confirm }
    }
}

impl Value {
    fn of(value: &DeValue<'_>) -> Self {
        let text = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            _ => None,
        };
        match value {
            DeValue::Boolean(on) => Self::Switch(*on),
            DeValue::Array(list) => {
                list.iter().map(|value| text(value.get_ref())).collect::<Option<_>>().map_or(Self::Wrong, Self::List)
            }
            DeValue::Table(pairs) => {
                let pair = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
                    Some(format!("{}={}", key.get_ref(), text(value.get_ref())?))
                };
                pairs.iter().map(pair).collect::<Option<_>>().map_or(Self::Wrong, Self::List)
            }
            value => text(value).map_or(Self::Wrong, Self::Text),
        }
    }
}

/// Options whose values are pairs may also be given as a table.
fn is_pairs(key: &str) -> bool {
    ["tag", "metadata"].contains(&key)
}

/// Before anything else is read.
fn path(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        if arg == OPTION {
            return args.next().map(PathBuf::from);
        }
        let text = arg.to_string_lossy();
        if let Some(path) = text.strip_prefix(OPTION).and_then(|rest| rest.strip_prefix('=')) {
            return Some(path.into());
        }
    }
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn option(path: &Path) -> String {
    format!("{OPTION}={}", path.display())
}

fn is_given(arg: &Arg, given: &ArgMatches) -> bool {
    given.value_source(arg.get_id().as_str()).is_some_and(|source| source != ValueSource::DefaultValue)
}

/// The keys that a command knows.
fn keys(command: &Command) -> Vec<&str> {
    let positionals = command.get_positionals().filter_map(positional).map(|(_, key, _)| key);
    let options = command.get_arguments().filter_map(Arg::get_long);
    options.filter(|long| !["help", "version", "config"].contains(long)).chain(positionals).collect()
}

fn positional(arg: &Arg) -> Option<(&'static str, &'static str, &'static str)> {
    POSITIONALS.into_iter().find(|(id, ..)| arg.get_id() == id)
}

/// Adds the known word that is most like a wrong one.
fn near(e: Error, word: &str, known: &[&str]) -> Error {
    let alike = known.iter().map(|known| (strsim::normalized_damerau_levenshtein(word, known), *known));
    match alike.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((alike, known)) if alike >= ALIKE => e.mend(format!("did you mean `{known}`?")),
        Some((_, known)) => e.mend(format!("the nearest is `{known}`")),
        None => e,
    }
}
