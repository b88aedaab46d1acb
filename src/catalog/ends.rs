//! The open ends of the chains, once everything came by: what is named and was not met is looked up.

use super::chain::{Break, Node, judge};
use super::finding::{Fault, minute};
use super::verify::{State, StreamName, Verify, name_at, small};
use crate::error::Result;
use crate::format::heads::Head;
use crate::format::key::manifest_key;
use crate::format::manifest::{Manifest, sha256};
use crate::format::name::{DUPLICATES, LogName};
use crate::format::seal::Ended;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;

/// What is where a manifest should be.
enum There {
    /// It; its number, if it can be read, and since when it is there.
    Same(Option<u64>, DateTime<Utc>),
    /// Another one. Whether a rescue made that.
    Other(bool),
    Nothing,
}

impl State<'_> {
    /// Tells where nobody watched a stream.
    pub fn tell_gaps(&mut self, stream: &StreamName) {
        let gaps = self.streams.get_mut(stream).map(|stream| stream.cover.close()).unwrap_or_default();
        for gap in gaps {
            let detail = format!("nobody watched until {}", minute(gap.to));
            self.find(Fault::Gap, Some(gap.from), &gap.key, detail);
        }
    }

    /// Tells that a manifest is not where it should be in its chain.
    pub fn tell_break(&mut self, broken: Break) {
        match broken {
            Break::Number { node, expected } => {
                let detail = format!("it is number {} of its chain, and should be {expected}", node.number);
                self.find(Fault::Altered, Some(node.start), &node.key, detail);
            }
            Break::Fork(node) => {
                let detail = "it is in no chain: another one follows the same manifest, and it is not of a rescue";
                self.find(Fault::Extra, Some(node.start), &node.key, detail);
            }
            Break::Twice(node) => {
                self.find(Fault::Extra, Some(node.start), &node.key, "the same manifest lies elsewhere, too");
            }
        }
    }
}

impl Verify<'_> {
    /// Judges the open ends, and notes where the chains end now.
    pub(super) async fn end(&self, state: &mut State<'_>) -> Result<()> {
        let names: Vec<StreamName> = state.streams.keys().cloned().collect();
        let mut followed = BTreeSet::new();
        let mut heads = Vec::new();
        for name in &names {
            state.tell_gaps(name);
            let Some(stream) = state.streams.get(name) else { continue };
            let head = |node: &Node| Head {
                prefix: name.0.clone(),
                suffix: name.1.clone(),
                number: node.number,
                sha256: node.sha256.clone(),
                key: node.key.clone(),
            };
            heads.extend(stream.chain.tips().map(head));
            let wanted: Vec<_> = stream.chain.wanted().map(|(sha, nodes)| (sha.to_owned(), nodes.to_vec())).collect();
            for (sha256, children) in wanted {
                self.wanted(state, &sha256, children).await?;
                followed.insert(sha256);
            }
        }
        for head in std::mem::take(&mut state.unmet).into_values() {
            let period = name_at(self.dest, &head.key).as_ref().map(LogName::stamp);
            let known = format!("number {} of its chain when that was last checked", head.number);
            match self.look_up(&head.key, &head.sha256, true).await? {
                There::Same(..) if followed.contains(&head.sha256) => {}
                There::Same(..) => heads.push(head),
                There::Other(_) => {
                    let detail = format!("it was {known}, with the SHA-256 {}, and is another one now", head.sha256);
                    state.find(Fault::Altered, period, &head.key, detail);
                }
                There::Nothing => {
                    state.find(Fault::Missing, period, &head.key, format!("it was {known}, and is not there"));
                }
            }
        }
        let others = self.heads.iter().filter(|head| !self.selects(head));
        heads.extend(others.cloned());
        heads.sort();
        heads.dedup();
        state.outcome.heads = heads;
        Ok(())
    }

    /// A manifest is named by others, and was not met where it could follow.
    async fn wanted(&self, state: &mut State<'_>, sha256: &str, children: Vec<Node>) -> Result<()> {
        let Some((child, link)) = children.first().and_then(|child| Some((child.clone(), child.previous.clone()?)))
        else {
            return Ok(());
        };
        let period = name_at(self.dest, &link.key).as_ref().map(LogName::stamp);
        let inside = self.is_inside(period.unwrap_or(child.start));
        let by = format!("{}, number {} of its chain, names it as the one before it", child.key, child.number);
        match self.look_up(&link.key, sha256, inside).await? {
            There::Same(number, modified) => {
                let mut breaks = Vec::new();
                // It was met, and another one follows it, unless it came while the check went on.
                let met = inside && (modified < state.young_since || state.young.contains(sha256));
                match number {
                    _ if met => breaks.extend(children.into_iter().filter(|node| !node.rescue).map(Break::Fork)),
                    Some(number) => judge(number, children, &mut breaks),
                    None => {}
                }
                breaks.into_iter().for_each(|broken| state.tell_break(broken));
            }
            There::Other(false) => {
                let detail = format!("{by}, with the SHA-256 {sha256}, and it is another one now");
                state.find(Fault::Altered, period, &link.key, detail);
            }
            There::Other(true) | There::Nothing if inside => {
                state.find(Fault::Missing, period, &link.key, format!("{by}, and it is not there"));
            }
            There::Other(true) | There::Nothing => {}
        }
        Ok(())
    }

    /// Whether what begins then is looked at.
    fn is_inside(&self, start: DateTime<Utc>) -> bool {
        self.selection.from.is_none_or(|from| start >= from) && self.selection.to.is_none_or(|to| start < to)
    }

    /// Looks for a manifest at the key where it belongs; if another one lies there (or `thorough`), also at those of the
    /// duplicates of its name.
    async fn look_up(&self, key: &str, wanted: &str, thorough: bool) -> Result<There> {
        // What another object says is no reason to go anywhere else.
        if key.starts_with('/') || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Ok(There::Nothing);
        }
        let mut there = There::Nothing;
        if let Some((found, bytes)) = small(self.store, key).await? {
            let manifest = Manifest::parse(&bytes);
            if sha256(&bytes) == wanted {
                return Ok(There::Same(manifest.map(|manifest| manifest.number), found.modified));
            }
            there = There::Other(manifest.is_some_and(|manifest| manifest.summary.ended == Ended::Rescue));
        }
        if !thorough && matches!(there, There::Nothing) {
            return Ok(there);
        }
        let Some(name) = name_at(self.dest, key) else { return Ok(there) };
        for n in 0..DUPLICATES {
            let other = manifest_key(&self.dest.key(&name.duplicate(n)));
            let Some((found, bytes)) = small(self.store, &other).await? else { continue };
            if sha256(&bytes) == wanted {
                return Ok(There::Same(Manifest::parse(&bytes).map(|manifest| manifest.number), found.modified));
            }
        }
        Ok(there)
    }
}
