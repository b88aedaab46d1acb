//! Goes through the keys of an archive in their order, and passes over those that are not asked for with as few listings as
//! can be.

use super::select::{Search, Selection};
use crate::env::store::{Listed, Store};
use crate::error::Result;
use crate::format::key::Dest;
use crate::format::key::named::Named;
use crate::format::key::search::Next;
use crate::format::layout::PRIVATE;
use crate::format::name::LogName;
use chrono::{DateTime, Utc};
use std::collections::VecDeque;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An archive.
    Object,
    /// The manifest of a period.
    Manifest,
    /// A key that DEST does not give.
    Foreign,
}

/// What is asked for beside archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Objects,
    /// Manifests, and keys that DEST does not give below what all its keys begin with.
    All,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Size in bytes.
    pub len: u64,
    /// When it was stored, by the far end's clock.
    pub modified: DateTime<Utc>,
    /// What it is.
    pub kind: Kind,
    /// The archive's name, also of a manifest; absent where it is foreign, and where a manifest's key is too short for it.
    pub name: Option<LogName>,
}

/// A walk through the keys, in their order.
pub struct Scan<'a> {
    store: &'a dyn Store,
    dest: &'a Dest,
    search: Search<'a>,
    /// What all keys begin with that are asked for.
    common: String,
    /// Nothing up to this is asked for, or it was seen.
    behind: String,
    page: VecDeque<Listed>,
    over: bool,
}

impl<'a> Scan<'a> {
    /// Begins one.
    pub fn new(store: &'a dyn Store, dest: &'a Dest, selection: &'a Selection, want: Want) -> Self {
        Self::begin(store, dest, Search { selection, since: None, manifests: want == Want::All })
    }

    /// Begins anew, with what began at a time or later.
    #[must_use]
    pub fn since(self, since: DateTime<Utc>) -> Self {
        Self::begin(self.store, self.dest, Search { since: Some(since), ..self.search })
    }

    fn begin(store: &'a dyn Store, dest: &'a Dest, search: Search<'a>) -> Self {
        let (common, behind) = dest.begin(&search);
        Self { store, dest, search, common, behind, page: VecDeque::new(), over: false }
    }

    /// The next entry that is asked for; `None` at the end.
    ///
    /// # Errors
    /// Of the store.
    pub async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            let Some(listed) = self.page.pop_front() else {
                if self.over || !self.turn().await? {
                    return Ok(None);
                }
                continue;
            };
            if listed.key <= self.behind {
                continue;
            }
            self.behind.clone_from(&listed.key);
            if self.is_private(&listed.key) {
                self.pass(format!("{PRIVATE}0"));
                continue;
            }
            let named = self.dest.named(&listed.key);
            match self.dest.next(&listed.key, &named, &self.search) {
                Next::Here => {}
                Next::Behind(text) => self.pass(text),
                Next::End => {
                    self.page.clear();
                    self.over = true;
                }
            }
            let (kind, name) = match named {
                Named::Object(name) => (Kind::Object, Some(name)),
                Named::Manifest(name) => (Kind::Manifest, name),
                Named::Foreign => (Kind::Foreign, None),
            };
            if self.is_wanted(kind, name.as_ref()) {
                let Listed { key, len, modified } = listed;
                return Ok(Some(Entry { key, len, modified, kind, name }));
            }
        }
    }

    /// What logjam keeps beside the archives, `/` being followed by `0`.
    fn is_private(&self, key: &str) -> bool {
        key.strip_prefix(PRIVATE).is_some_and(|rest| rest.starts_with('/'))
    }

    fn is_wanted(&self, kind: Kind, name: Option<&LogName>) -> bool {
        let all = self.search.manifests;
        match (kind, name) {
            (Kind::Object, Some(name)) => self.search.takes(name),
            (Kind::Manifest, Some(name)) => all && self.search.takes(name),
            _ => all,
        }
    }

    /// Passes over all keys up to a text: within the page that is there, or with another one.
    fn pass(&mut self, text: String) {
        if text > self.behind {
            let rest = self.page.partition_point(|listed| listed.key <= text);
            self.page.drain(..rest);
            self.over |= text > self.common && !text.starts_with(&self.common);
            self.behind = text;
        }
    }

    /// Gets the next page; whether there is one.
    async fn turn(&mut self) -> Result<bool> {
        let behind = Some(self.behind.as_str()).filter(|behind| !behind.is_empty());
        let page = self.store.list(&self.common, behind).await?;
        self.over = !page.more;
        self.page = page.keys.into();
        Ok(!self.page.is_empty())
    }
}
