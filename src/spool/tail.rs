//! The end of a file that an earlier life left: whole, inside a line, or torn.

use super::tally;
use crate::env::Env;
use crate::env::fs::File;
use crate::error::Result;
use crate::format::layout::Layout;
use crate::format::mark::Mark;
use crate::format::name::LogName;
use crate::format::tally::Event;

/// How far the beginning of the last line is looked for at a time, in bytes.
const BLOCK: usize = 64 << 10;

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// With a newline, or it is empty.
    Whole,
    /// Inside a line that may go on.
    Inside,
    /// After so many bytes comes what no line is: part of a message that was never confirmed and comes again, or zeros
    /// that a power cut put in the place of what was not synced.
    Torn(u64),
}

/// Looks at the end of a file that this mark belongs to (`None`: it has none).
pub(super) fn examine(file: &dyn File, mark: Option<&Mark>, boot: &str) -> Result<Tail> {
    if !ends_inside_a_line(file)? {
        return Ok(Tail::Whole);
    }
    let confirmed = mark.is_some_and(|mark| mark.session.is_some());
    if confirmed {
        return last(file, |byte| byte == b'\n').map(Tail::Torn);
    }
    // In the same life of the system, zeros are what somebody wrote.
    if mark.is_none_or(|mark| mark.boot != boot) {
        let keep = last(file, |byte| byte != 0)?;
        if keep < file.len()? {
            return Ok(Tail::Torn(keep));
        }
    }
    Ok(Tail::Inside)
}

/// Cuts an hour file to `keep` bytes, for good, says so and counts it.
pub(super) fn cut(env: &Env, layout: &Layout, name: &LogName, file: &dyn File, keep: u64) -> Result<()> {
    let bytes = file.len()?.saturating_sub(keep);
    file.truncate(keep)?;
    file.sync()?;
    tracing::warn!(
        "{}: {bytes} bytes at its end were no whole line that anybody was promised; they are cut off",
        layout.hour(name).display()
    );
    tally::note(env, layout, name, Event::Cut(bytes));
    Ok(())
}

/// Whether the last byte is something other than a newline.
pub(super) fn ends_inside_a_line(file: &dyn File) -> Result<bool> {
    let len = file.len()?;
    let mut last = [0];
    Ok(len > 0 && file.read_at(&mut last, len - 1)? == 1 && last != *b"\n")
}

/// Where the last byte ends that is wanted; 0 if there is none.
fn last(file: &dyn File, wanted: impl Fn(u8) -> bool) -> Result<u64> {
    let mut end = file.len()?;
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let from = end.saturating_sub(BLOCK as u64);
        let len = usize::try_from(end - from).unwrap_or(BLOCK);
        let mut have = 0;
        while have < len {
            match file.read_at(&mut block[have..len], from + have as u64)? {
                0 => break,
                n => have += n,
            }
        }
        if let Some(at) = block[..have].iter().rposition(|byte| wanted(*byte)) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}
