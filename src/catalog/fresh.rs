//! Whether every stream has come lately: for a monitoring system. Few keys are listed, and one manifest of each stream is read.

use super::finding::{Fault, Finding, minute};
use super::scan::{Entry, Kind, Scan, Want};
use super::verify::{Outcome, StreamName, Verify, doubt, small};
use crate::error::Result;
use crate::format::manifest::Manifest;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;

/// Streams that have not come for so long are not asked for any more, unless it is said.
pub const FORGOTTEN: Duration = Duration::from_secs(7 * 86_400);
/// How long a period is that nobody tells the length of.
const PERIOD: TimeDelta = TimeDelta::hours(1);
/// How many manifests are fetched at once.
const AT_ONCE: usize = 32;

/// The newest of a stream.
struct Newest {
    start: DateTime<Utc>,
    key: String,
    /// It is a manifest; of a stream without any it is an object.
    told: bool,
    /// How long its period is, where it was read already.
    length: Option<TimeDelta>,
}

impl Verify<'_> {
    /// Looks at the newest of each stream only: whether its last period ended no longer ago than `max_age`, and whether its
    /// manifest is signed, if it has to be. Periods that lie in the future do not count. `say` gets each finding.
    pub async fn newest(&self, max_age: TimeDelta, say: &mut (dyn FnMut(Finding) + Send)) -> Result<Outcome> {
        let (mut newest, mut ahead) = (BTreeMap::<StreamName, Newest>::new(), BTreeMap::<StreamName, Newest>::new());
        let now = self.env.clock.now();
        let mut outcome = Outcome::default();
        let mut scan = Scan::new(self.store, self.dest, self.selection, Want::All);
        while let Some(entry) = scan.next().await? {
            outcome.manifests += u64::from(entry.kind == Kind::Manifest);
            outcome.objects += u64::from(entry.kind == Kind::Object);
            let Some((stream, one)) = self.place(entry).await? else { continue };
            // What a clock that was wrong has left there says nothing of how late a stream is.
            let known = if one.start > now { &mut ahead } else { &mut newest };
            if known.get(&stream).is_none_or(|known| (known.told, known.start) <= (one.told, one.start)) {
                known.insert(stream, one);
            }
        }
        ahead.retain(|stream, _| !newest.contains_key(stream));
        if newest.is_empty() && ahead.is_empty() {
            let detail = "nothing is there since ".to_owned() + &self.selection.from.map_or_else(String::new, minute);
            say(Finding { kind: Fault::Late, period: None, key: self.dest.url(""), detail });
        }
        for Newest { start, key, .. } in ahead.values() {
            let detail = "the only periods of its stream lie in the future: a clock was wrong".to_owned();
            say(Finding { kind: Fault::Late, period: Some(*start), key: key.clone(), detail });
        }
        let looks = newest.values().map(|one| self.judge(one, max_age));
        let mut looks = stream::iter(looks).buffered(AT_ONCE);
        while let Some(found) = looks.next().await {
            found?.into_iter().for_each(&mut *say);
        }
        outcome.streams = newest.len() + ahead.len();
        Ok(outcome)
    }

    /// Which stream an entry is of, and what it tells.
    async fn place(&self, entry: Entry) -> Result<Option<(StreamName, Newest)>> {
        let told = match entry.kind {
            Kind::Object => false,
            Kind::Manifest => true,
            Kind::Foreign => return Ok(None),
        };
        if let Some(name) = &entry.name {
            let stream = (name.prefix().to_owned(), name.suffix().map(str::to_owned));
            return Ok(Some((stream, Newest { start: name.stamp(), key: entry.key, told, length: None })));
        }
        // Its name is too long for its key.
        let read = small(self.store, &entry.key).await?;
        let Some(manifest) = read.and_then(|(_, bytes)| Manifest::parse(&bytes)) else { return Ok(None) };
        let length = Some(length(&manifest));
        Ok(Some(((manifest.prefix, manifest.suffix), Newest { start: manifest.start, key: entry.key, told, length })))
    }

    /// What is wrong with the newest of a stream.
    async fn judge(&self, one: &Newest, max_age: TimeDelta) -> Result<Vec<Finding>> {
        let find = |kind, detail| Finding { kind, period: Some(one.start), key: one.key.clone(), detail };
        let mut found = Vec::new();
        let mut period = one.length.unwrap_or(PERIOD);
        if one.told {
            let read = small(self.store, &one.key).await?;
            match read.as_ref().and_then(|(_, bytes)| Some((Manifest::parse(bytes)?, bytes))) {
                Some((manifest, bytes)) => {
                    period = length(&manifest);
                    found.extend(doubt(self.keys, bytes, &manifest).map(|(kind, detail)| find(kind, detail)));
                }
                None => found.push(find(Fault::Altered, "it is no manifest that this version can read".to_owned())),
            }
        }
        let end = one.start.checked_add_signed(period).unwrap_or(one.start);
        let age = self.env.clock.now() - end;
        if age > max_age {
            let minutes = age.num_minutes();
            let detail = format!("the last period of its stream ended at {}, {minutes} minutes ago", minute(end));
            found.push(find(Fault::Late, detail));
        }
        Ok(found)
    }
}

fn length(manifest: &Manifest) -> TimeDelta {
    let seconds = manifest.summary.seconds.and_then(|seconds| i64::try_from(seconds).ok());
    seconds.and_then(TimeDelta::try_seconds).unwrap_or(PERIOD)
}
