//! rsyslog's settings, as far as they decide what becomes of lines: its actions with omprog that start logjam
//! (rsyslog documentation, omprog and "general queue parameters").

use super::{Line, without_bucket};
use std::collections::BTreeMap;

/// An answer takes this at the longest while all is well, or a sign of life comes: a dot each second. In ms.
const CONFIRM: u64 = 3_000;
/// rsyslog's own value where none is set, in ms.
const CONFIRM_DEFAULT: u64 = 10_000;
/// The program leaves within this time, in ms.
const LEAVE: u64 = 2_000;
/// The word for all findings.
const WHAT: &str = "rsyslog";

/// An action that starts logjam.
#[derive(Debug)]
pub struct Action {
    /// Parameters by their names in small letters.
    set: BTreeMap<String, String>,
}

/// The actions of a configuration that start logjam.
pub fn actions(text: &str) -> Vec<Action> {
    let text = without_remarks(text);
    let mut found = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("action(") {
        rest = &rest[at + "action(".len()..];
        let set = parameters(rest);
        let is = |name: &str, part: &str| set.get(name).is_some_and(|value| value.contains(part));
        if is("type", "omprog") && is("binary", "logjam") {
            found.push(Action { set });
        }
    }
    found
}

/// The user that rsyslogd becomes, in either way to say so.
pub fn drops_to(text: &str) -> Option<String> {
    let text = without_remarks(text);
    let old = text.lines().find_map(|line| {
        let (name, value) = line.trim().split_once(char::is_whitespace)?;
        name.eq_ignore_ascii_case("$PrivDropToUser").then(|| value.trim().to_owned())
    });
    old.or_else(|| text.split("global(").skip(1).find_map(|part| parameters(part).remove("privdrop.user.name")))
}

/// Without what stands behind `#`, outside of quotes.
fn without_remarks(text: &str) -> String {
    let line = |line: &str| {
        let mut quoted = false;
        let end = line.char_indices().find(|(_, c)| {
            quoted ^= *c == '"';
            *c == '#' && !quoted
        });
        line[..end.map_or(line.len(), |(at, _)| at)].to_owned() + "\n"
    };
    text.lines().map(line).collect()
}

/// `name="value"` up to the closing parenthesis.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let (mut set, mut rest) = (BTreeMap::new(), text);
    loop {
        rest = rest.trim_start();
        let Some((name, behind)) = rest.split_once('=').filter(|(name, _)| !name.contains(')')) else { return set };
        let Some(behind) = behind.trim_start().strip_prefix('"') else { return set };
        let mut escaped = false;
        let end = behind.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { return set };
        set.insert(name.trim().to_ascii_lowercase(), behind[..end].to_owned());
        rest = &behind[end + 1..];
    }
}

impl Action {
    /// The command line.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.set.get("binary").map(String::as_str).unwrap_or_default().split(' ').filter(|word| !word.is_empty())
    }

    fn is_on(&self, name: &str) -> bool {
        self.set.get(name).is_some_and(|value| value.eq_ignore_ascii_case("on"))
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.set.get(name)?.trim().parse().ok()
    }

    fn has(&self, word: &str) -> bool {
        self.words().any(|w| w == word)
    }

    /// What is not as it should be.
    pub fn look(&self, lines: &mut Vec<Line>) {
        let pairs = [
            ("confirmmessages", "confirmMessages", "--confirm-messages"),
            ("usetransactions", "useTransactions", "--use-transactions"),
        ];
        // A settings file may say it as well.
        let has_file = self.words().any(|word| word.starts_with("--config"));
        for (name, spelt, option) in pairs {
            if self.is_on(name) != self.has(option) && !has_file {
                let says = format!(
                    "{spelt} and {option} go together: one without the other makes rsyslog wait, or lose lines"
                );
                lines.push(Line::fail(
                    WHAT,
                    says,
                    format!("set {spelt}=\"on\" and put {option} into binary=, or neither"),
                ));
            }
        }
        let confirm = self.number("confirmtimeout").unwrap_or(CONFIRM_DEFAULT.cast_signed());
        if self.is_on("confirmmessages") && confirm < CONFIRM.cast_signed() {
            let says = format!(
                "confirmTimeout={confirm} ms: a sign of life comes each second, and a slow disk may take longer"
            );
            lines.push(Line::fail(WHAT, says, "confirmTimeout=\"30000\""));
        }
        if self.number("action.resumeretrycount").unwrap_or(0) >= 0 {
            let says = "action.resumeRetryCount is not -1: rsyslog drops the messages at hand when logjam is not there";
            lines.push(Line::fail(WHAT, says, "action.resumeRetryCount=\"-1\""));
        }
        if self.number("closetimeout").is_some_and(|time| time < LEAVE.cast_signed()) {
            lines.push(Line::note(
                WHAT,
                "closeTimeout is shorter than the 2 s that logjam takes to leave",
                "closeTimeout=\"5000\"",
            ));
        }
        if self.is_on("killunresponsive") {
            lines.push(Line::note(
                WHAT,
                "killUnresponsive is on: what is under way is killed at a stop",
                "killUnresponsive=\"off\"",
            ));
        }
        if self.set.get("queue.type").is_none_or(|kind| kind.eq_ignore_ascii_case("direct")) {
            let says = "the action has no queue of its own: a logjam that waits holds up every other output";
            lines.push(Line::note(WHAT, says, "see the queue.* parameters that `logjam policy rsyslog` prints"));
        }
        lines.extend(self.words().find_map(|word| without_bucket(WHAT, word)));
        let words: Vec<_> = self.words().collect();
        let holds = words.contains(&"--on-error=hold") || words.windows(2).any(|two| two == ["--on-error", "hold"]);
        if !holds && !has_file {
            let says = "without --on-error=hold a start that can't succeed takes lines with it";
            lines.push(Line::note(WHAT, says, "put --on-error=hold into binary="));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for action in actions(text) {
            action.look(&mut lines);
        }
        lines.iter().map(|line| line.says.clone()).collect()
    }

    #[test]
    fn the_shipped_files_are_as_they_should_be() {
        for text in [
            include_str!("../../../contrib/rsyslog/logjam.conf"),
            include_str!("../../../contrib/rsyslog/logjam-id.conf"),
            include_str!("../../../contrib/rsyslog/logjam-transactions.conf"),
            include_str!("../../../contrib/rsyslog/logjam-plain.conf"),
        ] {
            assert_eq!(actions(text).len(), 1);
            assert_eq!(findings(&text.replace("BUCKET", "logs")), [""; 0]);
            let in_two = text.replace("BUCKET", "logs").replace("--on-error=hold", "--on-error hold");
            assert_eq!(findings(&in_two), [""; 0]);
            let found = findings(text);
            assert!(matches!(found.as_slice(), [says] if says.contains("no bucket yet")), "{found:?}");
        }
    }

    #[test]
    fn what_loses_lines_is_found() {
        let good = include_str!("../../../contrib/rsyslog/logjam.conf");
        for (from, to, word) in [
            (" --confirm-messages", "", "go together"),
            ("confirmMessages=\"on\"", "confirmMessages=\"off\"", "go together"),
            ("confirmTimeout=\"30000\"", "confirmTimeout=\"500\"", "confirmTimeout=500"),
            ("action.resumeRetryCount=\"-1\"", "# action.resumeRetryCount=\"-1\"", "resumeRetryCount"),
            ("queue.type=\"LinkedList\"", "queue.type=\"Direct\"", "no queue"),
            (" --on-error=hold", "", "can't succeed"),
            ("killUnresponsive=\"off\"", "killUnresponsive=\"on\"", "killUnresponsive"),
            ("closeTimeout=\"5000\"", "closeTimeout=\"100\"", "closeTimeout"),
        ] {
            assert!(good.contains(from), "{from}");
            let found = findings(&good.replace(from, to));
            assert!(found.iter().any(|says| says.contains(word)), "{from}: {found:?}");
        }
    }

    #[test]
    fn other_actions_and_remarks_are_none_of_ours() {
        assert!(actions("action(type=\"omfile\" file=\"/var/log/logjam\")").is_empty());
        assert!(actions("# action(type=\"omprog\" binary=\"/usr/bin/logjam\")").is_empty());
        assert!(actions("action(type=\"omprog\" binary=\"/usr/bin/other\")\naction(").is_empty());
        assert_eq!(drops_to("$PrivDropToUser syslog\n").as_deref(), Some("syslog"));
        assert_eq!(drops_to("global(privdrop.user.name=\"log\")").as_deref(), Some("log"));
        assert_eq!(drops_to("# $PrivDropToUser syslog"), None);
    }
}
