//! The keys below a directory, in the order of their bytes.

use super::parts::PARTS;
use super::{Directory, PART};
use crate::env::fs::{Entry, EntryKind};
use crate::env::store::{Listed, Page};
use crate::error::{Kind, Result};

/// The most keys of one listing.
const PAGE: usize = 1_000;

/// What is looked for, and what is found.
struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    found: Vec<Listed>,
}

impl Walk<'_> {
    /// Whether a directory, as the beginning of keys, can hold some that are looked for.
    fn leads(&self, dir: &str) -> bool {
        let matches = dir.starts_with(self.prefix) || self.prefix.starts_with(dir);
        matches && (dir > self.after || self.after.starts_with(dir))
    }
}

impl Directory {
    pub(super) fn listed(&self, prefix: &str, after: &str) -> Result<Page> {
        // The deepest directory that holds all of them.
        let dir = &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)];
        let mut walk = Walk { prefix, after, found: Vec::new() };
        let is_key = |part: &str| !matches!(part, "" | "." | "..");
        let known = dir.is_empty() || dir.trim_end_matches('/').split('/').all(is_key) && !dir.ends_with("//");
        if known && self.fs.stat(&self.root.join(dir))?.is_some_and(|entry| entry.kind == EntryKind::Dir) {
            self.walk(dir, &mut walk)?;
        }
        Ok(Page { more: walk.found.len() == PAGE, keys: walk.found })
    }

    fn walk(&self, dir: &str, walk: &mut Walk<'_>) -> Result<()> {
        let entries = match self.fs.list(&self.root.join(dir)) {
            Err(e) if e.kind == Kind::NotFound => return Ok(()),
            other => other?,
        };
        // A directory has its place by the keys in it: `a-1` comes before `a/1`.
        let name = |entry: Entry| match entry.kind {
            EntryKind::Dir => Some((format!("{dir}{}/", entry.name), entry)),
            EntryKind::File => Some((format!("{dir}{}", entry.name), entry)),
            EntryKind::Link | EntryKind::Other => None,
        };
        let mut named: Vec<_> = entries.into_iter().filter_map(name).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, entry) in named {
            if walk.found.len() == PAGE {
                break;
            }
            if entry.kind == EntryKind::Dir {
                if walk.leads(&key) && self.is_shown(&key, walk.prefix) {
                    self.walk(&key, walk)?;
                }
            } else if key.starts_with(walk.prefix) && key.as_str() > walk.after && !self.is_unfinished(dir, &entry.name)
            {
                walk.found.push(Listed { key, len: entry.len, modified: entry.modified });
            }
        }
        Ok(())
    }

    /// The private directory is shown only to who asks for it.
    fn is_shown(&self, dir: &str, prefix: &str) -> bool {
        dir.strip_suffix('/') != Some(self.private) || prefix.starts_with(dir)
    }

    fn is_unfinished(&self, dir: &str, name: &str) -> bool {
        dir.strip_suffix('/') == Some(self.private) && (name.ends_with(PART) || name.ends_with(PARTS))
    }
}
