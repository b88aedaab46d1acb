//! Files for the daemons around the program: those of `contrib`, with the settings at hand in them.

use super::{DEST, DIR, USER, Unit, Variant, Wish};
use crate::error::{Error, Result};
use crate::format::key::Place;
use crate::format::layout::ARCHIVE;

const CONFIRMED: &str = include_str!("../../../contrib/rsyslog/logjam.conf");
const ID: &str = include_str!("../../../contrib/rsyslog/logjam-id.conf");
const TRANSACTIONS: &str = include_str!("../../../contrib/rsyslog/logjam-transactions.conf");
const PLAIN: &str = include_str!("../../../contrib/rsyslog/logjam-plain.conf");
const SYSLOG_NG: &str = include_str!("../../../contrib/syslog-ng/logjam.conf");
const UPLOAD: &str = include_str!("../../../contrib/systemd/logjam-upload.service");
const COMPRESS: &str = include_str!("../../../contrib/systemd/logjam-compress.service");
const DROP_IN: &str = include_str!("../../../contrib/systemd/rsyslog-logjam.conf");
const APPARMOR: &str = include_str!("../../../contrib/apparmor/logjam");
const SELINUX: &str = include_str!("../../../contrib/selinux/logjam.te");

/// The program, where packages put it.
const PROGRAM: &str = "/usr/bin/logjam";
/// How the shipped services are told their settings.
const CONFIG: &str = "--config=/etc/logjam/logjam.toml";
/// Behind DIR: the file of the program's own messages, which lies beside it.
const MESSAGES: &str = ".err";
/// No text of a template holds it, and no checked value.
const MARK: &str = "\0";

pub fn rsyslog(wish: &Wish, variant: Variant) -> Result<String> {
    let template = match variant {
        Variant::Confirmed => CONFIRMED,
        Variant::Id => ID,
        Variant::Transactions => TRANSACTIONS,
        Variant::Plain => PLAIN,
    };
    let mut command = format!("{PROGRAM} pipe");
    for word in [wish.dir, wish.text].into_iter().chain(wish.words.iter().map(String::as_str)) {
        check(word, "rsyslog splits its commands at blanks, and takes quotes as they are", char::is_whitespace)?;
        command.push(' ');
        command.push_str(&escaped(word, &['\\', '"'], "\\"));
    }
    Ok(filled(template, &format!("{PROGRAM} pipe {DIR} {DEST}"), &command, wish.dir))
}

pub fn syslog_ng(wish: &Wish) -> Result<String> {
    let mut command = format!("{PROGRAM} pipe {}", of_shell(wish.dir, false));
    for (word, always) in std::iter::once((wish.text, true)).chain(wish.words.iter().map(|word| (word.as_str(), false)))
    {
        command.push(' ');
        command.push_str(&of_shell(word, always));
    }
    check(&command, "syslog-ng puts the value of a name in the place of what stands between backticks", |c| c == '`')?;
    let command = escaped(&command, &['\\', '"'], "\\");
    Ok(filled(SYSLOG_NG, &format!("{PROGRAM} pipe {DIR} '{DEST}'"), &command, wish.dir))
}

pub fn systemd(wish: &Wish, unit: Unit) -> Result<String> {
    let mut words: Vec<String> = Vec::new();
    let (template, command) = match unit {
        Unit::Upload => {
            words.push(format!("{}/{ARCHIVE}", wish.dir));
            words.push(wish.text.to_owned());
            words.extend(wish.words.iter().cloned());
            (UPLOAD, "upload")
        }
        Unit::Compress => {
            words.push(wish.dir.to_owned());
            (COMPRESS, "compress")
        }
        Unit::Rsyslog => (DROP_IN, ""),
    };
    check(wish.user, "is no name of a user", |c| !c.is_ascii_alphanumeric() && !"-_.".contains(c))?;
    let (shipped, mut ours) = (format!("{PROGRAM} {command} {CONFIG}"), format!("{PROGRAM} {command}"));
    for word in &words {
        check(word, "a unit holds no control characters", |_| false)?;
        ours.push(' ');
        ours.push_str(&of_systemd(word));
    }
    let text = template.replace(&format!("User={USER}\n"), &format!("User={}\n", wish.user));
    let text = match wish.given {
        true => filled(&text, &shipped, &ours, &of_systemd(wish.dir)),
        false => text,
    };
    Ok(match (&wish.dest.place, unit) {
        (Place::Directory(root), Unit::Upload | Unit::Rsyslog) => {
            let line = format!("ReadWritePaths={}\n", of_systemd(wish.dir));
            text.replace(&line, &format!("{line}ReadWritePaths={}\n", of_systemd(root)))
        }
        _ => text,
    })
}

pub fn apparmor(wish: &Wish) -> Result<String> {
    for path in [Some(wish.dir), root(wish)].into_iter().flatten() {
        check(path, "would be a pattern in AppArmor's rules", |c| !c.is_ascii_alphanumeric() && !"/-_.+".contains(c))?;
    }
    let text = filled(APPARMOR, MARK, "", wish.dir);
    Ok(match root(wish) {
        Some(root) => {
            let last = format!("{}/** rwlk,\n", wish.dir);
            text.replace(&last, &format!("{last}  {root}/ rw,\n  {root}/** rwlk,\n"))
        }
        None => text,
    })
}

pub fn selinux() -> String {
    SELINUX.to_owned()
}

/// The directory of a `file://` DEST.
fn root<'a>(wish: &'a Wish) -> Option<&'a str> {
    match &wish.dest.place {
        Place::Directory(root) => Some(root),
        Place::S3(_) => None,
    }
}

/// A template with another command, and another DIR everywhere else. The file of messages stays where it is: beside the shipped DIR.
fn filled(template: &str, shipped: &str, command: &str, dir: &str) -> String {
    let text = template.replace(shipped, MARK);
    let mut out = String::with_capacity(text.len());
    for (at, piece) in text.split(DIR).enumerate() {
        if at > 0 {
            out.push_str(if piece.starts_with(MESSAGES) { DIR } else { dir });
        }
        out.push_str(piece);
    }
    out.replace(MARK, command)
}

/// Refuses what a file can't hold.
fn check(text: &str, why: &str, bad: impl Fn(char) -> bool) -> Result<()> {
    match text.chars().find(|c| c.is_control() || bad(*c)) {
        Some(c) => {
            Err(Error::usage(format!("`{}`", text.escape_debug()), format!("{why}: {c:?}")).mend("take another name"))
        }
        None => Ok(()),
    }
}

fn escaped(text: &str, what: &[char], with: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if what.contains(&c) {
            out.push_str(with);
        }
        out.push(c);
    }
    out
}

/// A word of a shell's command line.
fn of_shell(word: &str, always: bool) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !always && !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A word of a command line in a unit (systemd.service(5), "Command lines"), or a path in one.
fn of_systemd(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,${}".contains(c);
    match word.chars().all(plain) {
        true => word,
        false => format!("\"{}\"", escaped(&word, &['\\', '"'], "\\")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::wish;
    use super::*;
    use crate::format::key::Dest;

    const OTHER: &str = "s3://logs/it's {prefix}/{year}/{month}/{day}/{filename}";

    #[test]
    fn each_file_quotes_in_its_own_way() {
        let dest = Dest::parse(OTHER).unwrap();
        let words = ["--tag=a=50% \"$x\"".to_owned()];
        let wish = Wish { dir: "/srv/logs", words: &words, ..wish(OTHER, &dest) };
        let text = syslog_ng(&wish).unwrap();
        let line = r#"pipe /srv/logs 's3://logs/it'\\''s {prefix}/{year}/{month}/{day}/{filename}' '--tag=a=50% \"$x\"' --on-error"#;
        assert!(text.contains(line), "{text}");
        let text = systemd(&wish, Unit::Upload).unwrap();
        let line = r#"upload /srv/logs/archive "s3://logs/it's {prefix}/{year}/{month}/{day}/{filename}" "--tag=a=50%% \"$$x\"""#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("\nReadWritePaths=/srv/logs\n"), "{text}");
        let refused = rsyslog(&wish, Variant::Plain).unwrap_err().to_string();
        assert!(refused.contains("splits its commands at blanks"), "{refused}");
        let words = ["--tag=a=`b`".to_owned()];
        assert!(syslog_ng(&Wish { words: &words, ..wish }).unwrap_err().to_string().contains("backticks"));
    }

    #[test]
    fn another_directory_stands_wherever_the_shipped_one_stood() {
        let dest = Dest::parse("file:///srv/archive/{prefix}/{year}/{month}/{day}/{filename}").unwrap();
        let text = "file:///srv/archive/{prefix}/{year}/{month}/{day}/{filename}";
        let wish = Wish { dir: "/srv/logs", ..wish(text, &dest) };
        for file in [
            rsyslog(&wish, Variant::Confirmed).unwrap(),
            syslog_ng(&wish).unwrap(),
            systemd(&wish, Unit::Upload).unwrap(),
            systemd(&wish, Unit::Compress).unwrap(),
            systemd(&wish, Unit::Rsyslog).unwrap(),
            apparmor(&wish).unwrap(),
        ] {
            assert!(file.contains("/srv/logs"), "{file}");
            let rest = file.replace("/var/log/logjam.err", "");
            assert!(!rest.contains(DIR) && !rest.contains("BUCKET") && !rest.contains(MARK), "{file}");
        }
        assert!(
            systemd(&wish, Unit::Upload).unwrap().contains("ReadWritePaths=/srv/logs\nReadWritePaths=/srv/archive\n")
        );
        assert!(apparmor(&wish).unwrap().contains("\n  /srv/archive/** rwlk,\n"));
        let user = systemd(&Wish { user: "syslog", ..wish.clone() }, Unit::Upload).unwrap();
        assert!(user.contains("\nUser=syslog\n") && !user.contains("User=root"), "{user}");
        assert!(systemd(&Wish { user: "a b", ..wish.clone() }, Unit::Upload).is_err());
        assert!(apparmor(&Wish { dir: "/srv/l*", ..wish }).is_err());
    }
}
