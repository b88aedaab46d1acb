//! What surrounds the process: limits, confinement, and the daemons that are set to start it.

use super::rsyslog::{self, Action};
use super::unit::Unit;
use super::{Line, without_bucket};
use crate::env::host;
use crate::env::syslog::{self, Syslog};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// So many open files are enough, for any hour.
const FILES: u64 = 256;
/// Where units are, and their drop-ins; the first one that has a name counts (systemd.unit(5), "Unit File Load Path").
const UNITS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// rsyslog's unit, and syslog-ng's.
const RSYSLOG: &str = "rsyslog.service";
const SYSLOG_NG: &str = "syslog-ng.service";
/// A severity (RFC 3164, 4.1.1).
const INFORMATIONAL: u8 = 6;

/// Where the system is, and what is to work there.
pub struct Place<'a> {
    /// `/`, or the root of an image that is looked at.
    pub root: &'a Path,
    /// DIR, if it is given.
    pub dir: Option<&'a Path>,
    /// Whether the network is needed.
    pub network: bool,
}

impl Place<'_> {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn text(&self, path: &str) -> Option<String> {
        host::text(&self.at(path))
    }

    /// The files that a daemon reads in a folder of its settings.
    fn confs(&self, dir: &str) -> Vec<PathBuf> {
        let mut files = host::files(&self.at(dir));
        files.retain(|path| path.extension().is_some_and(|end| end == "conf"));
        files
    }

    /// Looks at all of it.
    pub fn look(&self, lines: &mut Vec<Line>) {
        lines.push(limit());
        lines.push(self.confinement());
        self.rsyslog(lines);
        self.syslog_ng(lines);
    }

    /// What this process may not do, and what the system does to others.
    fn confinement(&self) -> Line {
        let profile = self.text("proc/self/attr/apparmor/current").or_else(|| self.text("proc/self/attr/current"));
        let profile =
            profile.map(|text| text.trim_matches(['\n', '\0', ' ']).to_owned()).filter(|text| !text.is_empty());
        let status = self.text("proc/self/status").unwrap_or_default();
        let is_set = |name: &str| {
            status.lines().any(|line| line.strip_prefix(name).is_some_and(|value| !matches!(value.trim(), "" | "0")))
        };
        let mut seen = Vec::new();
        match profile {
            Some(profile) if self.enforces() => seen.push(format!("SELinux enforces on {profile}")),
            Some(profile) if profile != "unconfined" => seen.push(format!("AppArmor: {profile}")),
            _ => {}
        }
        seen.extend(is_set("NoNewPrivs:").then(|| "no_new_privs".to_owned()));
        seen.extend(is_set("Seccomp:").then(|| "a system call filter".to_owned()));
        match seen.is_empty() {
            true => Line::ok("confinement", "this process is not confined"),
            false => Line::note(
                "confinement",
                seen.join(", "),
                "what is said here holds for a process that is confined like this one",
            ),
        }
    }

    fn rsyslog(&self, lines: &mut Vec<Line>) {
        let mut texts: Vec<String> = self.text("etc/rsyslog.conf").into_iter().collect();
        texts.extend(self.confs("etc/rsyslog.d").iter().filter_map(|path| host::text(path)));
        let text = texts.join("\n");
        let actions = rsyslog::actions(&text);
        if actions.is_empty() {
            return;
        }
        let before = lines.len();
        for action in &actions {
            action.look(lines);
            self.binary(action, lines);
        }
        self.user(&text, lines);
        let unit = self.unit(RSYSLOG);
        self.profile(unit.as_ref(), lines);
        if let Some(unit) = unit {
            unit.look(RSYSLOG, self.dir, self.network, lines);
        }
        if lines.len() == before {
            lines.push(Line::ok("rsyslog", format!("{} action(s) with logjam, set as they should be", actions.len())));
        }
    }

    fn binary(&self, action: &Action, lines: &mut Vec<Line>) {
        let Some(program) = action.words().next().map(str::to_owned) else { return };
        let is_there = host::is_there(&self.at(program.trim_start_matches('/')));
        if !program.starts_with('/') || !is_there {
            let says = format!("binary= names {program}, which is not there");
            lines.push(Line::fail("rsyslog", says, "give the absolute path: rsyslog starts no shell, and has no PATH"));
        }
    }

    /// The user that rsyslogd becomes must be able to write DIR.
    fn user(&self, text: &str, lines: &mut Vec<Line>) {
        let Some(name) = rsyslog::drops_to(text) else { return };
        let passwd = self.text("etc/passwd").unwrap_or_default();
        let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let Some(user) = users.find(|fields| fields.first() == Some(&name.as_str())) else { return };
        let id = |at: usize| user.get(at).and_then(|text| text.parse::<u32>().ok());
        let (Some(dir), Some(uid), Some(gid)) = (self.dir, id(2), id(3)) else { return };
        let Ok((owner, group, mode)) = host::rights(dir) else { return };
        let may = (owner == uid && mode & 0o300 == 0o300) || (group == gid && mode & 0o030 == 0o030);
        if !may && uid != 0 {
            let says = format!("rsyslogd becomes {name}, who may not write {}", dir.display());
            lines.push(Line::fail("rsyslog", says, format!("chown {name}: {}", dir.display())));
        }
    }

    /// Where rsyslogd is confined, logjam must be known to what confines it.
    fn profile(&self, unit: Option<&Unit>, lines: &mut Vec<Line>) {
        self.selinux(lines);
        let Some(profile) = self.text("etc/apparmor.d/usr.sbin.rsyslogd") else { return };
        if host::is_there(&self.at("etc/apparmor.d/disable/usr.sbin.rsyslogd")) {
            return;
        }
        let local = self.text("etc/apparmor.d/local/usr.sbin.rsyslogd").unwrap_or_default();
        // What the profile of Debian 13 and Ubuntu includes.
        let has_folder = profile.contains("rsyslog.d>");
        let mut texts = vec![profile, local];
        if has_folder {
            let files = host::files(&self.at("etc/apparmor.d/rsyslog.d"));
            texts.extend(files.iter().filter(|path| !is_left_over(path)).filter_map(|path| host::text(path)));
        }
        let rules = || texts.iter().flat_map(|text| text.lines()).filter(|line| line.contains("logjam"));
        if unit.is_some_and(|unit| unit.is_on("NoNewPrivileges")) && rules().any(changes_profile) {
            let says = format!(
                "logjam is to have a profile of its own, which nobody can enter where {RSYSLOG} has NoNewPrivileges=yes"
            );
            let mend = "put what logjam policy apparmor prints in the place of that rule, then apparmor_parser -r /etc/apparmor.d/usr.sbin.rsyslogd";
            lines.push(Line::fail("apparmor", says, mend));
        } else if rules().next().is_none() {
            let place = if has_folder {
                "> /etc/apparmor.d/rsyslog.d/logjam"
            } else {
                ">> /etc/apparmor.d/local/usr.sbin.rsyslogd"
            };
            let mend =
                format!("logjam policy apparmor {place}, then apparmor_parser -r /etc/apparmor.d/usr.sbin.rsyslogd");
            lines.push(Line::fail("apparmor", "rsyslogd has a profile that does not let it start logjam", mend));
        }
    }

    /// Whether SELinux does.
    fn enforces(&self) -> bool {
        self.text("sys/fs/selinux/enforce").is_some_and(|text| text.trim() == "1")
    }

    /// Only root may see which modules there are.
    fn selinux(&self, lines: &mut Vec<Line>) {
        let modules =
            ["targeted", "default", "mls"].map(|kind| format!("var/lib/selinux/{kind}/active/modules/400/logjam"));
        if self.enforces() && !modules.iter().any(|path| host::is_there(&self.at(path))) {
            let says = "SELinux is enforced, and no module logjam is seen: without one rsyslogd may not start it";
            lines.push(Line::note("selinux", says, "logjam policy selinux prints one, and how it is put in"));
        }
    }

    fn unit(&self, name: &str) -> Option<Unit> {
        let mut text = UNITS.iter().find_map(|dir| self.text(&format!("{dir}/{name}")))?;
        // In the order of their names, wherever each is.
        let mut drop_ins = BTreeMap::new();
        for path in UNITS.iter().flat_map(|dir| self.confs(&format!("{dir}/{name}.d"))) {
            drop_ins.entry(path.file_name().map(ToOwned::to_owned)).or_insert(path);
        }
        for path in drop_ins.values() {
            text += "\n";
            text += &host::text(path).unwrap_or_default();
        }
        Some(Unit::of(&text))
    }

    fn syslog_ng(&self, lines: &mut Vec<Line>) {
        let mut texts: Vec<String> = self.text("etc/syslog-ng/syslog-ng.conf").into_iter().collect();
        texts.extend(self.confs("etc/syslog-ng/conf.d").iter().filter_map(|path| host::text(path)));
        let text: String =
            texts.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with('#')).collect();
        if !text.contains("logjam") || !text.contains("program(") {
            return;
        }
        lines.extend(without_bucket("syslog-ng", &text));
        let keeps = text.split_whitespace().collect::<String>().contains("keep-alive(yes)");
        lines.push(match keeps {
            true => Line::ok("syslog-ng", "program() keeps logjam through a reload"),
            false => {
                Line::note("syslog-ng", "a reload ends logjam and starts another", "add keep-alive(yes) to program()")
            }
        });
        if let Some(unit) = self.unit(SYSLOG_NG) {
            unit.look(SYSLOG_NG, self.dir, self.network, lines);
        }
    }
}

/// Whether a rule of AppArmor starts what it names in another profile, or in none (apparmor.d(5), "Execute Rules").
fn changes_profile(rule: &str) -> bool {
    let is_mode = |word: &str| word.contains('x') && word.chars().all(|c| "rwaklmixcpuCPU".contains(c));
    let mut words = rule.split(|c: char| c == ',' || c.is_whitespace());
    !rule.trim_start().starts_with('#')
        && words.any(|word| is_mode(word) && word.contains(['c', 'p', 'u', 'C', 'P', 'U']))
}

/// Whether AppArmor passes over a file in a folder that a profile includes: what package managers and editors leave there.
fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name.ends_with('~') || name.contains(".dpkg-")
}

/// Says something to the system's log.
pub fn system_log() -> Line {
    match Syslog::new("logjam").say(INFORMATIONAL, b"logjam check") {
        true => Line::ok("log", format!("{} took a message", syslog::PLACE)),
        false => {
            let says = format!("nobody takes messages at {}: they are lost", syslog::PLACE);
            Line::fail("log", says, "start what listens there (rsyslogd, journald), or give another --log-to")
        }
    }
}

fn limit() -> Line {
    match host::open_files() {
        Err(e) => Line::failed("open files", &e),
        Ok((_, most)) if most < FILES => {
            Line::fail("open files", format!("{most} at the most"), "LimitNOFILE=1024 in the unit, or ulimit -n")
        }
        Ok((now, most)) => Line::ok("open files", format!("{now}, and {most} at the most")),
    }
}
