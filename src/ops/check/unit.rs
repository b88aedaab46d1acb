//! What a unit of systemd forbids its program, and so logjam under it (systemd.exec(5)).

use super::Line;
use std::collections::BTreeMap;
use std::path::Path;

/// The settings of a `[Service]` section; lists are joined by blanks, and the last of other values counts.
pub struct Unit(BTreeMap<String, String>);

/// Settings that add up; an empty one begins anew.
const LISTS: [&str; 7] = [
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "RestrictAddressFamilies",
    "CapabilityBoundingSet",
    "IPAddressDeny",
    "SystemCallFilter",
];
/// The calls of Landlock, as a unit lets them through.
const LANDLOCK: &str = "landlock_create_ruleset landlock_add_rule landlock_restrict_self";

impl Unit {
    /// Reads a unit with its drop-ins behind it.
    pub fn of(text: &str) -> Self {
        let mut set: BTreeMap<String, String> = BTreeMap::new();
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';', '['])) else {
                continue;
            };
            let (name, value) = (name.trim().to_owned(), value.trim());
            match set.get_mut(&name).filter(|_| LISTS.contains(&name.as_str()) && !value.is_empty()) {
                Some(before) => *before = format!("{before} {value}"),
                None => _ = set.insert(name, value.to_owned()),
            }
        }
        Self(set)
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        ["yes", "true", "on", "1"].contains(&self.get(name))
    }

    fn names(&self, name: &str, dir: &Path) -> bool {
        let paths = self.get(name).split_whitespace();
        paths.map(|path| path.trim_start_matches(['-', '+'])).any(|path| dir.starts_with(path))
    }

    /// What of it is in the way.
    pub fn look(&self, name: &str, dir: Option<&Path>, network: bool, lines: &mut Vec<Line>) {
        if let Some(dir) = dir
            && let Some(why) = self.forbids(dir)
        {
            let mend = format!("systemctl edit {name}: [Service] ReadWritePaths={}", dir.display());
            lines.push(Line::fail("systemd", format!("{name} has {why}: {} can't be written", dir.display()), mend));
        }
        let families = self.get("RestrictAddressFamilies");
        let no_inet = !families.is_empty() && !families.starts_with('~') && !families.contains("AF_INET");
        if network && (self.is_on("PrivateNetwork") || no_inet || self.get("IPAddressDeny") == "any") {
            let mend = "leave DEST out there, and let logjam-upload.service store what waits in DIR/archive";
            lines.push(Line::fail("systemd", format!("{name} keeps its programs off the network"), mend));
        }
        let filter = self.get("SystemCallFilter");
        let allows = |call: &str| filter.split_whitespace().any(|allowed| allowed == call);
        let knows = ["@sandbox", "@known"].into_iter().any(allows) || LANDLOCK.split(' ').all(allows);
        if !filter.is_empty() && !filter.starts_with('~') && !knows {
            let says = format!(
                "{name} has a SystemCallFilter= without Landlock's calls: unless a group in it has them, logjam can't shut itself in"
            );
            let mend = format!("systemctl edit {name}: [Service] SystemCallFilter={LANDLOCK}");
            lines.push(Line::note("systemd", says, &mend));
        }
    }

    /// What forbids writing a directory.
    fn forbids(&self, dir: &Path) -> Option<String> {
        if self.names("ReadWritePaths", dir) {
            return None;
        }
        for name in ["ReadOnlyPaths", "InaccessiblePaths"] {
            if self.names(name, dir) {
                return Some(format!("{name}={}", self.get(name)));
            }
        }
        let own = |setting: &str, base: &str| {
            self.get(setting).split_whitespace().any(|name| dir.starts_with(Path::new(base).join(name)))
        };
        let is_own = own("LogsDirectory", "/var/log")
            || own("StateDirectory", "/var/lib")
            || own("CacheDirectory", "/var/cache");
        let home = ["/home", "/root", "/run/user"].iter().any(|home| dir.starts_with(home));
        let of_system = ["/usr", "/boot", "/efi", "/etc"].iter().any(|part| dir.starts_with(part));
        let system = self.get("ProtectSystem");
        let strict = system == "strict" && !is_own && !dir.starts_with("/dev");
        if strict || (of_system && (system == "full" || self.is_on("ProtectSystem"))) {
            return Some(format!("ProtectSystem={system}"));
        }
        let hides = self.is_on("ProtectHome") || ["read-only", "tmpfs"].contains(&self.get("ProtectHome"));
        (home && hides).then(|| format!("ProtectHome={}", self.get("ProtectHome")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(unit: &str, dir: &str) -> usize {
        let mut lines = Vec::new();
        Unit::of(unit).look("rsyslog.service", Some(Path::new(dir)), true, &mut lines);
        lines.len()
    }

    #[test]
    fn what_a_unit_forbids_is_found_and_nothing_else() {
        for (unit, dir, expected) in [
            ("[Service]\nExecStart=/usr/sbin/rsyslogd -n\n", "/var/log/logjam", 0),
            ("ProtectSystem=strict", "/var/log/logjam", 1),
            ("ProtectSystem=strict\nReadWritePaths=/srv \\\n /var/log", "/var/log/logjam", 0),
            ("ProtectSystem=strict\nReadWritePaths=/var/log\nReadWritePaths=", "/var/log/logjam", 1),
            ("ProtectSystem=strict\nLogsDirectory=logjam", "/var/log/logjam", 0),
            ("ProtectSystem=full", "/var/log/logjam", 0),
            ("ProtectSystem=full", "/etc/logjam", 1),
            ("ProtectHome=yes", "/home/log", 1),
            ("ProtectHome=no", "/home/log", 0),
            ("#ProtectSystem=strict", "/var/log/logjam", 0),
            ("ReadOnlyPaths=-/var/log", "/var/log/logjam", 1),
            ("PrivateNetwork=yes", "/var/log/logjam", 1),
            ("RestrictAddressFamilies=AF_UNIX", "/var/log/logjam", 1),
            ("RestrictAddressFamilies=AF_UNIX\nRestrictAddressFamilies=AF_INET AF_INET6", "/var/log/logjam", 0),
            ("RestrictAddressFamilies=~AF_PACKET", "/var/log/logjam", 0),
            ("SystemCallFilter=@system-service", "/var/log/logjam", 1),
            ("SystemCallFilter=~@clock", "/var/log/logjam", 0),
            (
                "SystemCallFilter=@system-service\nSystemCallFilter=landlock_create_ruleset landlock_add_rule",
                "/var/log/logjam",
                1,
            ),
            (&format!("SystemCallFilter=@system-service\nSystemCallFilter={LANDLOCK}"), "/var/log/logjam", 0),
            ("SystemCallFilter=@system-service @sandbox", "/var/log/logjam", 0),
        ] {
            assert_eq!(found(unit, dir), expected, "{unit} {dir}");
        }
    }
}
