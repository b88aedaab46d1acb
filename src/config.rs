//! Checked settings. What a user may get wrong is refused here, with the option, the value and the mend.

use crate::env::fs::{EntryKind, Fs};
use crate::env::host;
use crate::error::{Error, Result};
use crate::format::key::{Dest, Place};
use crate::format::layout::Layout;
use crate::format::name::LogName;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest file name that common file systems take, in bytes (`NAME_MAX`).
const NAME_LIMIT: usize = 255;
/// The longest ending that is put behind a name: the token, the codec's ending and the draft's mark.
const ENDING_ROOM: usize = 64;

/// The reserve at the most, unless it is said, in bytes.
const RESERVE: u64 = 1 << 30;
/// The shortest time between two checkpoints.
const LEAST_CHECKPOINT: Duration = Duration::from_secs(1);

/// `--every`: a divisor of one hour, in whole minutes.
pub fn every(text: &str) -> std::result::Result<Duration, String> {
    let time = duration(text)?;
    let minutes = time.as_secs() / 60;
    if time.as_secs() % 60 != 0 || time.subsec_nanos() != 0 || minutes == 0 || 60 % minutes != 0 {
        return Err("a divisor of one hour in whole minutes: 1m 2m 3m 4m 5m 6m 10m 12m 15m 20m 30m 1h".into());
    }
    Ok(time)
}

/// A duration with a unit: `250ms`, `60s`, `1m`, `24h`, `7d`.
pub fn duration(text: &str) -> std::result::Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write a number and a unit, like 60s, 1m, 24h or 7d"))
}

/// A size with a unit: `512KiB`, `8MiB`, `1GB`; a plain number is bytes.
pub fn size(text: &str) -> std::result::Result<u64, String> {
    let size: std::result::Result<bytesize::ByteSize, _> = text.parse();
    size.map(|s| s.as_u64()).map_err(|_| "write a number and a unit, like 512KiB, 8MiB or 1GiB".into())
}

/// A size above zero.
pub fn rate(text: &str) -> std::result::Result<u64, String> {
    size(text).and_then(|n| if n == 0 { Err("must be more than zero".into()) } else { Ok(n) })
}

/// `--part-size`: what S3 allows.
pub fn part_size(text: &str) -> std::result::Result<u64, String> {
    let n = size(text)?;
    if !((5 << 20)..=(5 << 30)).contains(&n) {
        return Err("S3 takes parts from 5MiB to 5GiB".into());
    }
    Ok(n)
}

/// The free space that is never used up, of a file system of `total` bytes: what `--reserve` gives, or 1 GiB or 5 %, the smaller.
pub fn reserve(given: Option<u64>, total: u64) -> u64 {
    given.unwrap_or_else(|| RESERVE.min(total / 20))
}

/// `--file-mode`: its owner reads and writes, others do not write, nobody runs it.
pub fn file_mode(text: &str) -> std::result::Result<u32, String> {
    mode(text, 0o600, 0o664).ok_or_else(|| "write 0600, 0640, 0644, 0660 or the like: its owner must be able to read and write it, others must not write it".into())
}

/// `--dir-mode`: its owner does everything, others do not write; the setgid bit is possible.
pub fn dir_mode(text: &str) -> std::result::Result<u32, String> {
    mode(text, 0o700, 0o2775).ok_or_else(|| "write 0700, 0750, 0755, 2750 or the like: its owner must be able to do everything in it, others must not write there".into())
}

fn mode(text: &str, least: u32, most: u32) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = digits.bytes().all(|digit| digit.is_ascii_digit());
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| octal)?;
    (mode & least == least && mode & !most == 0).then_some(mode)
}

/// `--metrics-file`: node_exporter reads `*.prom`.
pub fn metrics_file(text: &str) -> std::result::Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() || path.extension().is_none_or(|end| end != "prom") {
        return Err(
            "write the absolute path of a file whose name ends with .prom: node_exporter reads no others".into()
        );
    }
    Ok(path.to_owned())
}

/// `--metrics-listen`: an address and a port, without asking a name server.
pub fn listen(text: &str) -> std::result::Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an address and a port, like 127.0.0.1:9184, [::1]:9184 or 0.0.0.0:9184".into())
}

/// `KEY=VALUE`.
pub fn pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".into()),
    }
}

/// Checks that prefix and suffix make a name that is read back as the same stream.
pub fn check_names(prefix: &str, suffix: &str) -> Result<()> {
    let control = |text: &str| text.chars().any(char::is_control);
    let faults = [
        ("--prefix", prefix, prefix.is_empty(), "is empty"),
        ("--suffix", suffix, suffix.is_empty(), "is empty"),
        ("--prefix", prefix, prefix.contains('/'), "holds a `/`"),
        ("--suffix", suffix, suffix.contains('/'), "holds a `/`"),
        ("--prefix", prefix, prefix.contains('.'), "holds a dot"),
        ("--suffix", suffix, suffix.contains('.'), "holds a dot: the extension begins at the first one"),
        ("--prefix", prefix, control(prefix), "holds a control character"),
        ("--suffix", suffix, control(suffix), "holds a control character"),
    ];
    if let Some((option, value, _, what)) = faults.iter().find(|fault| fault.2) {
        return Err(Error::usage(format!("{option}={value:?}"), what).mend("use letters, digits, `-` and `_`"));
    }
    let name = LogName::hour(prefix, DateTime::UNIX_EPOCH, suffix, None);
    let text = name.to_string();
    if text.len() + ENDING_ROOM > NAME_LIMIT {
        let cause = format!("the file name would be {} bytes long", text.len());
        return Err(Error::usage("--prefix and --suffix", cause).mend("shorten them to 170 bytes in all"));
    }
    match LogName::parse(&text) {
        Some(again) if again.prefix() == prefix && again.suffix() == Some(suffix) => Ok(()),
        _ => Err(Error::usage(
            format!("--prefix={prefix:?} --suffix={suffix:?}"),
            "the name `PREFIX-TIME-SUFFIX.log` would be read as another stream's",
        )
        .mend("take the time, and the words `logjam-compress-duplicate-timestamp`, out of them")),
    }
}

/// The name of this host, for manifests; empty if it has none.
pub fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A time, as a person gives one: `now`, a duration before now (`-2h`), a date (its first moment), or a date and a time of day,
/// in UTC where no offset is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// That long before now.
    Ago(TimeDelta),
    /// This moment.
    At(DateTime<Utc>),
}

impl When {
    /// The moment, given what time it is now.
    pub fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Ago(time) => now.checked_sub_signed(time).unwrap_or(DateTime::<Utc>::MIN_UTC),
            Self::At(at) => at,
        }
    }
}

/// `--from`, `--to`.
pub fn when(text: &str) -> std::result::Result<When, String> {
    if text == "now" {
        return Ok(When::Ago(TimeDelta::zero()));
    }
    if let Some(ago) = text.strip_prefix('-') {
        let ago = duration(ago).map_err(|e| format!("{e}, with a `-` before it"))?;
        return TimeDelta::from_std(ago).map(When::Ago).map_err(|e| e.to_string());
    }
    let offset = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M%:z"));
    if let Ok(at) = offset {
        return Ok(When::At(at.to_utc()));
    }
    let plain = text.strip_suffix('Z').unwrap_or(text).replace(' ', "T");
    let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y%m%dT%H%M"];
    let time = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(&plain, form).ok());
    let hour = || NaiveDateTime::parse_from_str(&format!("{plain}:00"), "%Y-%m-%dT%H:%M").ok();
    let day = || ["%Y-%m-%d", "%Y%m%d"].iter().find_map(|form| NaiveDate::parse_from_str(&plain, form).ok());
    let day = || day().and_then(|day| day.and_hms_opt(0, 0, 0));
    let time = time.or_else(hour).or_else(day);
    time.map(|time| When::At(time.and_utc()))
        .ok_or_else(|| "write -2h, now, 2026-11-22, 2026-11-22T15:00 or 2026-11-22T15:00:00+01:00".into())
}

/// `--checkpoint`: a duration of at least a second, or `off`.
pub fn checkpoint(text: &str) -> std::result::Result<Every, String> {
    if text == "off" {
        return Ok(Every(None));
    }
    match duration(text)? {
        time if time < LEAST_CHECKPOINT => Err("at least 1s, or off".into()),
        time => Ok(Every(Some(time))),
    }
}

/// How often something is done, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(pub Option<Duration>);

/// The short host name, as a suffix.
pub fn short_host_name() -> Result<String> {
    let name = nix::unistd::gethostname().map_err(|e| Error::io("read", "the host name", &e.into()))?;
    let name = name.to_string_lossy().into_owned();
    let short = name.split('.').next().unwrap_or_default().to_owned();
    if short.is_empty() {
        return Err(Error::usage("--suffix", "this host has no name").mend("set --suffix=TEXT"));
    }
    Ok(short)
}

/// Checks that a `file://` DEST does not lie among what waits to be stored there.
pub fn check_apart(layout: &Layout, dest: &Dest) -> Result<()> {
    let Place::Directory(root) = &dest.place else { return Ok(()) };
    let root = host::real(Path::new(root));
    match [layout.archives(), layout.private()].iter().find(|dir| root.starts_with(host::real(dir))) {
        Some(dir) => {
            Err(Error::usage("DEST", format!("lies in {}", dir.display())).mend("give a directory outside of DIR"))
        }
        None => Ok(()),
    }
}

/// Checks that DIR is a directory, and no link to one.
pub fn check_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let shown = dir.display();
    let refused = |cause: &str| Error::usage(format!("DIR `{shown}`"), cause);
    match fs.stat(dir)?.map(|entry| entry.kind) {
        Some(EntryKind::Dir) => Ok(()),
        Some(EntryKind::Link) => Err(refused("is a symbolic link").mend("give the directory that it points to")),
        Some(_) => Err(refused("is not a directory").mend("give a directory")),
        None => Err(refused("does not exist").mend(format!("mkdir -p -m 0750 {shown}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_divides_the_hour_into_whole_minutes() {
        for text in ["1m", "5m", "60s", "30m", "1h", "60m", "1hour"] {
            assert!(every(text).is_ok(), "{text}");
        }
        for text in ["0s", "30s", "90s", "7m", "2h", "61s", "-1m", "x", ""] {
            assert!(every(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_would_break_the_grammar_are_refused() {
        assert!(check_names("syslog", "web-1").is_ok());
        assert!(check_names("my_app-x", "us-west-2-i-ae23fega").is_ok());
        for (prefix, suffix) in [
            ("a/b", "c"),
            ("a", "b/c"),
            ("a.b", "c"),
            ("a", "b.c"),
            ("", "c"),
            ("a", ""),
            ("a\n", "c"),
            ("a", "\u{7f}"),
            ("a", "20130704T0000Z"),
            ("a", "x-20130704T0000Z-y"),
            ("a-logjam-compress-duplicate-timestamp", "c"),
        ] {
            let refused = check_names(prefix, suffix).unwrap_err().to_string();
            assert!(refused.starts_with("--"), "{prefix:?} {suffix:?}: {refused}");
        }
        assert!(check_names(&"p".repeat(200), "c").is_err());
    }

    #[test]
    fn times_are_read_as_a_person_writes_them() {
        let now = "2026-11-28T09:30:15Z".parse().unwrap();
        let at = |text: &str| when(text).map(|when| when.at(now).to_rfc3339());
        for (text, expected) in [
            ("now", "2026-11-28T09:30:15+00:00"),
            ("-2h", "2026-11-28T07:30:15+00:00"),
            ("-7d", "2026-11-21T09:30:15+00:00"),
            ("2026-11-22", "2026-11-22T00:00:00+00:00"),
            ("20261122", "2026-11-22T00:00:00+00:00"),
            ("2026-11-22T15", "2026-11-22T15:00:00+00:00"),
            ("2026-11-22T15:04", "2026-11-22T15:04:00+00:00"),
            ("2026-11-22 15:04:05", "2026-11-22T15:04:05+00:00"),
            ("2026-11-22T15:04Z", "2026-11-22T15:04:00+00:00"),
            ("20261122T1504Z", "2026-11-22T15:04:00+00:00"),
            ("2026-11-22T15:04:05+01:00", "2026-11-22T14:04:05+00:00"),
            ("2026-11-22T15:04+01:00", "2026-11-22T14:04:00+00:00"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "-2", "-", "2h", "2026-13-01", "2026-11-22T25", "2026"] {
            assert!(when(text).is_err(), "{text}");
        }
        assert!(when("-9999999y").is_ok_and(|when| when.at(now) < now) || when("-9999999y").is_err());
    }

    #[test]
    fn modes_leave_the_owner_what_he_needs_and_others_no_right_to_write() {
        for (text, mode) in [("0640", 0o640), ("600", 0o600), ("0664", 0o664), ("0o644", 0o644)] {
            assert_eq!(file_mode(text), Ok(mode), "{text}");
        }
        for (text, mode) in [("0750", 0o750), ("2750", 0o2750), ("700", 0o700)] {
            assert_eq!(dir_mode(text), Ok(mode), "{text}");
        }
        for text in ["0440", "0666", "0750", "rw", "", "+640", "640x", "04640", "0900"] {
            assert!(file_mode(text).is_err(), "{text}");
        }
        for text in ["0640", "0777", "1750", "4750", "u=rwx"] {
            assert!(dir_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_pairs_have_units_and_names() {
        assert_eq!(size("8MiB"), Ok(8 << 20));
        assert_eq!(size("1000"), Ok(1000));
        assert!(size("many").is_err());
        assert!(part_size("1MiB").is_err() && part_size("5MiB").is_ok());
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(pair("=c").is_err() && pair("a").is_err());
        assert!(metrics_file("/run/x.prom").is_ok() && listen("[::1]:9184").is_ok());
        assert!(metrics_file("x.prom").is_err() && metrics_file("/run/x").is_err() && listen("localhost:1").is_err());
    }
}
