//! How the manifests of a stream follow each other, as far as their numbers and the names of those before them tell.

use crate::format::manifest::Manifest;
use crate::format::name::LogName;
use crate::format::seal::Ended;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// A manifest, as a link: digests are cut to 8 bytes, which is enough to tell the manifests of a stream apart.
#[derive(Clone, Debug)]
struct Link {
    number: u64,
    own: u64,
    /// Digest of the one before it, and the start of that one's period, if its key tells.
    previous: Option<(u64, Option<DateTime<Utc>>)>,
    rescued: bool,
}

/// Those of a stream.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    links: Vec<Link>,
    signed: u64,
}

/// What is to be said of a chain.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct State {
    /// How many manifests there are.
    pub manifests: u64,
    /// The lowest number.
    pub from: u64,
    /// The highest number.
    pub to: u64,
    /// How many of them name no one before them.
    pub begun: u64,
    /// Manifests that are named and not there.
    pub gaps: u64,
    /// Manifests that two others name as the one before them, none of them made by a rescue.
    pub forks: u64,
    /// Manifests whose number does not follow that of the one before them.
    pub broken: u64,
    /// Manifests that are signed.
    pub signed: u64,
}

impl Chain {
    /// Adds a manifest; `sha256`, in hex, is of its bytes.
    pub fn add(&mut self, manifest: &Manifest, sha256: &str, signed: bool) {
        self.signed += u64::from(signed);
        let start = |key: &str| LogName::parse(key.rsplit('/').next()?).map(|name| name.stamp());
        self.links.push(Link {
            number: manifest.number,
            own: cut(sha256),
            previous: manifest.previous.as_ref().map(|link| (cut(&link.sha256), start(&link.key))),
            rescued: manifest.summary.ended == Ended::Rescue,
        });
    }

    /// What is to be said. What lies before `from` was not looked at, nor what lies at `to` or behind it: hours that wait together are
    /// stored two at a time, and follow each other in the chain as they come.
    pub fn state(&self, from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>) -> State {
        let numbers: HashMap<u64, u64> = self.links.iter().map(|link| (link.own, link.number)).collect();
        let mut state = State { manifests: self.links.len() as u64, signed: self.signed, ..State::default() };
        state.from = self.links.iter().map(|link| link.number).min().unwrap_or(0);
        state.to = self.links.iter().map(|link| link.number).max().unwrap_or(0);
        let (mut named, mut gone) = (HashSet::new(), HashSet::new());
        for link in &self.links {
            let Some((previous, start)) = link.previous else {
                state.begun += 1;
                continue;
            };
            match numbers.get(&previous) {
                Some(number) => state.broken += u64::from(number.checked_add(1) != Some(link.number)),
                None if from.is_some() && start < from => {}
                None if to.is_some() && start >= to => {}
                None => _ = gone.insert(previous),
            }
            // A rescue may stand beside what the host has stored meanwhile.
            state.forks += u64::from(!link.rescued && !named.insert(previous));
        }
        state.gaps = gone.len() as u64;
        state
    }
}

/// The first 8 bytes of a digest in hex. One that is no digest is like no other's.
fn cut(sha256: &str) -> u64 {
    sha256.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Links of own digest, number, and the digest before.
    fn state(links: &[(u64, u64, u64, bool)], from: Option<&str>) -> State {
        between(links, from, None)
    }

    fn between(links: &[(u64, u64, u64, bool)], from: Option<&str>, to: Option<&str>) -> State {
        let start: DateTime<Utc> = "2026-11-22T15:00:00Z".parse().unwrap();
        let link = |(own, number, previous, rescued): &(u64, u64, u64, bool)| Link {
            number: *number,
            own: *own,
            previous: (*previous != 0).then_some((*previous, Some(start))),
            rescued: *rescued,
        };
        let chain = Chain { links: links.iter().map(link).collect(), signed: 0 };
        chain.state(from.map(|text| text.parse().unwrap()), to.map(|text| text.parse().unwrap()))
    }

    #[test]
    fn a_chain_is_whole_if_each_link_names_the_one_before_it() {
        let whole = State { manifests: 3, from: 1, to: 3, begun: 1, ..State::default() };
        assert_eq!(state(&[(12, 2, 11, false), (11, 1, 0, false), (13, 3, 12, false)], None), whole);
        assert_eq!(state(&[], None), State::default());
        let again = state(&[(11, 1, 0, false), (12, 2, 11, false), (21, 1, 0, false), (22, 2, 21, false)], None);
        assert_eq!((again.begun, again.gaps, again.forks, again.broken), (2, 0, 0, 0));
    }

    #[test]
    fn what_is_not_there_is_a_gap_unless_it_was_not_looked_at() {
        let links = [(11, 1, 0, false), (13, 3, 12, false), (14, 4, 13, false)];
        assert_eq!(state(&links, None).gaps, 1);
        assert_eq!(state(&links[1..], Some("2026-11-22T15:00:00Z")).gaps, 1);
        assert_eq!(state(&links[1..], Some("2026-11-22T16:00:00Z")).gaps, 0);
        assert_eq!(between(&links[1..], None, Some("2026-11-22T16:00:00Z")).gaps, 1);
        assert_eq!(between(&links[1..], None, Some("2026-11-22T15:00:00Z")).gaps, 0);
    }

    #[test]
    fn two_that_follow_the_same_one_are_a_fork_unless_one_is_of_a_rescue() {
        assert_eq!(state(&[(11, 1, 0, false), (12, 2, 11, false), (22, 2, 11, false)], None).forks, 1);
        assert_eq!(state(&[(11, 1, 0, false), (12, 2, 11, true), (22, 2, 11, false)], None).forks, 0);
        assert_eq!(state(&[(11, 1, 0, false), (13, 3, 11, false)], None).broken, 1);
    }
}
