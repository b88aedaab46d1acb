//! What was said to the program in messages, and whether it is stored as often and in the order that it should be.

use super::check::plain;
use super::life::Setup;
use super::talk::{Daemons, OTHER, Said};
use logjam::format::name::LogName;
use std::collections::{BTreeMap, BTreeSet};

/// Every message is stored once and in order, except where nobody can know whether it was confirmed. `unordered`: in order
/// within each file only.
pub fn at_the_end(
    objects: &BTreeMap<String, Vec<u8>>,
    setup: &Setup,
    unordered: bool,
    daemons: &Daemons,
) -> Result<(), String> {
    if let Some(fault) = &daemons.fault {
        return Err(fault.clone());
    }
    let mut files = Vec::new();
    for (key, data) in objects {
        let name = key.rsplit('/').next().unwrap_or(key);
        let name = LogName::parse(name).ok_or_else(|| format!("a strange name: {key}"))?;
        let token = name.token().ok_or_else(|| format!("a strange name: {key}"))?;
        files.push(((name.stamp(), token.to_owned()), plain(setup, key, data)?));
    }
    files.sort();
    for (who, daemon) in daemons.all.iter().enumerate() {
        let said = daemon.said();
        let stored: Vec<Vec<u8>> = files.iter().map(|(_, data)| of(data, who)).collect();
        if unordered {
            for data in &stored {
                in_order(data, &said)?;
            }
            counts(&stored.concat(), &said)?;
        } else {
            exactly(&stored.concat(), &said)?;
        }
    }
    Ok(())
}

/// The lines of one of them.
fn of(data: &[u8], who: usize) -> Vec<u8> {
    let lines = data.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| line.starts_with(OTHER.as_bytes()) == (who == 1)).flatten().copied().collect()
}

/// All of it, in the order in which it was said, each message once or as often as it may be.
fn exactly(stored: &[u8], said: &[Said]) -> Result<(), String> {
    // How much of what is stored may be explained by the messages so far.
    let mut reached = BTreeSet::from([0]);
    for one in said {
        let text = one.text.as_bytes();
        let next = reached.iter().filter(|at| stored[**at..].starts_with(text)).map(|at| at + text.len());
        let mut before: BTreeSet<usize> = next.collect();
        if !one.must {
            before.extend(reached.iter().flat_map(|at| some_lines(text, &stored[*at..]).map(move |len| at + len)));
        }
        if before.is_empty() {
            let far = reached.last().copied().unwrap_or(0);
            let what = format!("a message is lost, twice, or out of its place ({:?})", one.text);
            return Err(told(&what, stored, far, said));
        }
        reached = before;
    }
    let far = reached.last().copied().unwrap_or(0);
    if reached.contains(&stored.len()) {
        return Ok(());
    }
    Err(told("something is stored that nobody said, or twice", stored, far, said))
}

/// How much of a message that a power cut took may be there: nothing, or the first of its lines.
fn some_lines<'a>(text: &'a [u8], stored: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    [0].into_iter().chain(ends.filter(|end| *end < text.len() && stored.starts_with(&text[..*end])))
}

/// The part of it that is in one file.
fn in_order(stored: &[u8], said: &[Said]) -> Result<(), String> {
    let mut at = 0;
    for one in said {
        let text = one.text.as_bytes();
        if stored[at..].starts_with(text) {
            at += text.len();
        } else if !one.must {
            at += some_lines(text, &stored[at..]).max().unwrap_or(0);
        }
    }
    if at < stored.len() { Err(told("messages are not in order, or torn", stored, at, said)) } else { Ok(()) }
}

fn counts(stored: &[u8], said: &[Said]) -> Result<(), String> {
    let lines: Vec<&[u8]> = stored.split_inclusive(|byte| *byte == b'\n').collect();
    for one in said {
        let text = one.text.split_inclusive('\n').next().unwrap_or_default();
        let all = said.iter().filter(|other| other.text.starts_with(text));
        let (least, most) = all.fold((0, 0), |(least, most), other| (least + usize::from(other.must), most + 1));
        let count = lines.iter().filter(|line| **line == text.as_bytes()).count();
        if count < least || count > most {
            let what = format!("a message is stored {count} times, not {least} to {most} times: {text:?}");
            return Err(told(&what, stored, 0, said));
        }
    }
    Ok(())
}

fn told(what: &str, stored: &[u8], at: usize, said: &[Said]) -> String {
    let short = |text: &str| text.split('x').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("x..");
    let shown: Vec<_> = said.iter().map(|one| (short(&one.text), if one.must { "" } else { "perhaps" })).collect();
    let (right, rest) = stored.split_at(at);
    let text = |data| short(&String::from_utf8_lossy(data));
    format!("{what}: stored: {:?}\n  wrong from: {:?}\n  said: {shown:?}", text(right), text(rest))
}
