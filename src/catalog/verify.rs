//! Whether an archive is whole and as it was: every manifest is read, every key is listed once, and with `deep` every object is read
//! too. What is kept in memory is one directory at a time, and the open ends of each stream's chain.

use super::chain::Chain;
use super::cover::Cover;
use super::day::Day;
use super::finding::{Fault, Finding};
use super::scan::{Entry, Kind, Scan, Want};
use super::select::Selection;
use crate::env::Env;
use crate::env::store::{Found, Store, read_small};
use crate::error::Result;
use crate::format::heads::Head;
use crate::format::key::Dest;
use crate::format::key::named::Named;
use crate::format::manifest::{LARGEST, Manifest, sha256};
use crate::format::name::LogName;
use crate::format::sign::{PublicKey, Signed};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// How many manifests are fetched at once.
const AT_ONCE: usize = 32;
/// What was stored since so long before the check began may have come while it went on, by another clock; and the manifest of such
/// an object may be on its way.
const YOUNG: TimeDelta = TimeDelta::minutes(1);
/// How many of those are remembered.
pub(super) const MOST_YOUNG: usize = 10_000;

/// A check of an archive.
pub struct Verify<'a> {
    /// The doors.
    pub env: &'a Env,
    /// The far end.
    pub store: &'a dyn Store,
    /// Where archives are there.
    pub dest: &'a Dest,
    /// Which of them.
    pub selection: &'a Selection,
    /// Keys that manifests must be signed by; none: they need not be.
    pub keys: &'a [PublicKey],
    /// Read every object.
    pub deep: bool,
    /// Where the chains ended when they were last checked.
    pub heads: &'a [Head],
}

/// What was looked at.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Manifests that were read.
    pub manifests: u64,
    /// Objects that were seen.
    pub objects: u64,
    /// Bytes of objects that were read.
    pub bytes: u64,
    /// Objects that no manifest tells of, and that are so young that theirs may still come.
    pub young: u64,
    /// Streams.
    pub streams: usize,
    /// Where the chains end now, and those of streams that were not looked at.
    pub heads: Vec<Head>,
}

/// Prefix and suffix.
pub(super) type StreamName = (String, Option<String>);

/// What is kept of a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub chain: Chain,
    pub cover: Cover,
}

/// What is known so far.
pub(super) struct State<'s> {
    pub say: &'s mut (dyn FnMut(Finding) + Send),
    pub outcome: Outcome,
    pub streams: BTreeMap<StreamName, Stream>,
    /// Known heads that were not met.
    pub unmet: BTreeMap<String, Head>,
    /// Since when something counts as young, and the SHA-256 of young manifests that were met.
    pub young_since: DateTime<Utc>,
    pub young: BTreeSet<String>,
}

impl State<'_> {
    pub fn find(&mut self, kind: Fault, period: Option<DateTime<Utc>>, key: &str, detail: impl Into<String>) {
        (self.say)(Finding { kind, period, key: key.to_owned(), detail: detail.into() });
    }
}

/// A manifest that was fetched.
pub(super) struct Told {
    pub entry: Entry,
    pub sha256: String,
    /// `None`: it can't be read.
    pub manifest: Option<Manifest>,
    /// What is wrong with its signature.
    pub doubt: Option<(Fault, String)>,
}

/// An entry of the listing, and what was read of it.
enum Read {
    Object(Entry),
    Manifest(Box<Told>),
    /// It was listed, and is gone.
    Gone(Entry),
    Foreign(Entry),
}

impl Verify<'_> {
    /// Checks. `say` gets each finding.
    pub async fn run(&self, say: &mut (dyn FnMut(Finding) + Send)) -> Result<Outcome> {
        let known = self.heads.iter().filter(|head| self.selects(head));
        let mut state = State {
            say,
            outcome: Outcome::default(),
            streams: BTreeMap::new(),
            unmet: known.map(|head| (head.sha256.clone(), head.clone())).collect(),
            young_since: self.env.clock.now() - YOUNG,
            young: BTreeSet::new(),
        };
        let scan = Scan::new(self.store, self.dest, self.selection, Want::All);
        let entries = stream::try_unfold(scan, step);
        let mut entries = Box::pin(entries.map_ok(|entry| self.read(entry)).try_buffered(AT_ONCE));
        let mut day = Day::default();
        while let Some(read) = entries.try_next().await? {
            let entry = match &read {
                Read::Object(entry) | Read::Gone(entry) | Read::Foreign(entry) => entry,
                Read::Manifest(told) => &told.entry,
            };
            if !matches!(read, Read::Foreign(_)) && !day.is_of(&entry.key) {
                std::mem::take(&mut day).settle(self, &mut state).await?;
                day = Day::of(&entry.key);
            }
            self.take(read, &mut day, &mut state);
        }
        day.settle(self, &mut state).await?;
        self.end(&mut state).await?;
        // Of some time there may be nothing; of all time there is something, or it is not the right place.
        let is_bounded = self.selection.from.is_some() || self.selection.to.is_some();
        if state.outcome.manifests + state.outcome.objects == 0 && !is_bounded {
            state.find(Fault::Missing, None, &self.dest.url(""), "nothing is there that was asked for");
        }
        state.outcome.streams = state.streams.len();
        Ok(state.outcome)
    }

    /// Whether a head is of a stream that is looked at.
    pub(super) fn selects(&self, head: &Head) -> bool {
        self.selection.takes_stream(&head.prefix, head.suffix.as_deref())
    }

    async fn read(&self, entry: Entry) -> Result<Read> {
        Ok(match entry.kind {
            Kind::Object => Read::Object(entry),
            Kind::Foreign => Read::Foreign(entry),
            Kind::Manifest => match small(self.store, &entry.key).await? {
                None => Read::Gone(entry),
                Some((_, bytes)) => Read::Manifest(Box::new(self.told(entry, &bytes))),
            },
        })
    }

    fn told(&self, entry: Entry, bytes: &[u8]) -> Told {
        let manifest = Manifest::parse(bytes);
        let doubt = manifest.as_ref().and_then(|manifest| doubt(self.keys, bytes, manifest));
        Told { entry, sha256: sha256(bytes), manifest, doubt }
    }

    fn take(&self, read: Read, day: &mut Day, state: &mut State<'_>) {
        match read {
            Read::Object(entry) => {
                state.outcome.objects += 1;
                day.object(entry);
            }
            Read::Manifest(told) => {
                state.outcome.manifests += 1;
                day.manifest(*told);
            }
            Read::Gone(entry) => {
                let period = entry.name.as_ref().map(LogName::stamp);
                state.find(Fault::Missing, period, &entry.key, "it was listed, and is gone now");
            }
            Read::Foreign(entry) => {
                state.find(Fault::Extra, None, &entry.key, "its key does not follow the template");
            }
        }
    }
}

async fn step(mut scan: Scan<'_>) -> Result<Option<(Entry, Scan<'_>)>> {
    Ok(scan.next().await?.map(|entry| (entry, scan)))
}

/// What is wrong with the signature of a manifest, if it has to have one.
pub(super) fn doubt(keys: &[PublicKey], bytes: &[u8], manifest: &Manifest) -> Option<(Fault, String)> {
    if keys.is_empty() {
        return None;
    }
    let Some((signed, by)) = Signed::of(bytes).zip(manifest.signed_by.as_deref()) else {
        return Some((Fault::Unsigned, "it is not signed".to_owned()));
    };
    let mut known = keys.iter().filter(|key| key.fingerprint() == by).peekable();
    if known.peek().is_none() {
        return Some((Fault::Unsigned, format!("it is signed by another key, {by:?}")));
    }
    let good = known.any(|key| key.verifies(&signed));
    (!good).then(|| (Fault::Altered, format!("its signature by {by} is not that of its bytes")))
}

/// Reads a manifest, or what lies in its place: what is too large for one is cut off, and can't be read as one. `None`: nothing
/// stands there.
pub(super) async fn small(store: &dyn Store, key: &str) -> Result<Option<(Found, Bytes)>> {
    read_small(store, key, LARGEST).await
}

/// The name of the archive that a key belongs to, or whose manifest's it is.
pub(super) fn name_at(dest: &Dest, key: &str) -> Option<LogName> {
    match dest.named(key) {
        Named::Object(name) => Some(name),
        Named::Manifest(name) => name,
        Named::Foreign => None,
    }
}
