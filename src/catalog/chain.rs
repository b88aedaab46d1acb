//! The chain of one stream, as its manifests come by. Only the open ends are kept: manifests that no other has named yet, and
//! those that are named and have not come by. The order in which they come does not matter.

use crate::format::manifest::{Link, Manifest};
use crate::format::seal::Ended;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// A manifest, as far as the chain is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it lies.
    pub key: String,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Its place in the chain.
    pub number: u64,
    /// Start of its period.
    pub start: DateTime<Utc>,
    /// Whether a rescue made it: only then it may follow one that another one follows as well.
    pub rescue: bool,
    /// The one before it.
    pub previous: Option<Link>,
}

impl Node {
    /// Of a manifest that lies at `key` and has these bytes' SHA-256.
    pub fn new(key: &str, sha256: &str, manifest: &Manifest) -> Self {
        Self {
            key: key.to_owned(),
            sha256: sha256.to_owned(),
            number: manifest.number,
            start: manifest.start,
            rescue: manifest.summary.ended == Ended::Rescue,
            previous: manifest.previous.clone(),
        }
    }
}

/// What is wrong with the place of a manifest in its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// Its number is not the next one.
    Number {
        /// The manifest.
        node: Node,
        /// What its number would have to be.
        expected: u64,
    },
    /// Another one follows the same manifest, and neither is a rescue's.
    Fork(Node),
    /// It came by before.
    Twice(Node),
}

/// A stream's chain.
#[derive(Debug, Default)]
pub struct Chain {
    /// Nothing that came by names them.
    tips: BTreeMap<String, Node>,
    /// Only rescues follow them, so one more may: their numbers.
    spared: BTreeMap<String, u64>,
    /// Named by these, and not come by.
    wanted: BTreeMap<String, Vec<Node>>,
}

impl Chain {
    /// A manifest comes by. Whether the one before it has come by (or there is none).
    pub fn add(&mut self, node: Node, breaks: &mut Vec<Break>) -> bool {
        if self.tips.contains_key(&node.sha256) {
            breaks.push(Break::Twice(node));
            return true;
        }
        let linked = self.follow(&node, breaks);
        match self.wanted.remove(&node.sha256) {
            Some(children) => self.adopt(&node, children, breaks),
            None => _ = self.tips.insert(node.sha256.clone(), node),
        }
        linked
    }

    /// Finds the one before it.
    fn follow(&mut self, node: &Node, breaks: &mut Vec<Break>) -> bool {
        let Some(previous) = &node.previous else {
            if node.number != 1 {
                breaks.push(Break::Number { node: node.clone(), expected: 1 });
            }
            return true;
        };
        let sha256 = &previous.sha256;
        let parent = match self.tips.remove(sha256) {
            Some(parent) => {
                if node.rescue {
                    self.spared.insert(sha256.clone(), parent.number);
                }
                Some(parent.number)
            }
            None if node.rescue => self.spared.get(sha256).copied(),
            None => self.spared.remove(sha256),
        };
        match parent {
            Some(number) => check_number(number, node, breaks),
            None => self.wanted.entry(sha256.clone()).or_default().push(node.clone()),
        }
        parent.is_some()
    }

    /// The ones behind it came by before.
    fn adopt(&mut self, node: &Node, children: Vec<Node>, breaks: &mut Vec<Break>) {
        if children.iter().all(|child| child.rescue) {
            self.spared.insert(node.sha256.clone(), node.number);
        }
        judge(node.number, children, breaks);
    }

    /// The ends of the chain: nothing that came by names them.
    pub fn tips(&self) -> impl Iterator<Item = &Node> {
        self.tips.values()
    }

    /// What is named and has not come by, by SHA-256, with those that name it.
    pub fn wanted(&self) -> impl Iterator<Item = (&str, &[Node])> {
        self.wanted.iter().map(|(sha256, children)| (sha256.as_str(), children.as_slice()))
    }
}

/// Whether those that follow a manifest with this number may do so.
pub fn judge(number: u64, children: Vec<Node>, breaks: &mut Vec<Break>) {
    let mut first = true;
    for child in children {
        check_number(number, &child, breaks);
        if !child.rescue && !std::mem::take(&mut first) {
            breaks.push(Break::Fork(child));
        }
    }
}

fn check_number(before: u64, node: &Node, breaks: &mut Vec<Break>) {
    let expected = before.saturating_add(1);
    if node.number != expected {
        breaks.push(Break::Number { node: node.clone(), expected });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, number: u64, previous: Option<&str>) -> Node {
        let link = |sha256: &str| Link { key: format!("k{sha256}"), sha256: sha256.to_owned() };
        Node {
            key: format!("k{name}"),
            sha256: name.to_owned(),
            number,
            start: DateTime::UNIX_EPOCH,
            rescue: name.starts_with('r'),
            previous: previous.map(link),
        }
    }

    /// All orders of a few nodes.
    fn orders(nodes: &[Node]) -> Vec<Vec<Node>> {
        if nodes.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for at in 0..nodes.len() {
            let mut rest = nodes.to_vec();
            let one = rest.remove(at);
            all.extend(orders(&rest).into_iter().map(|mut order| {
                order.push(one.clone());
                order
            }));
        }
        all
    }

    /// What is found of some nodes in whatever order they come: kinds of breaks, tips, and what is wanted.
    fn found(nodes: &[Node]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let mut results = orders(nodes).into_iter().map(|order| {
            let (mut chain, mut breaks) = (Chain::default(), Vec::new());
            for node in order {
                chain.add(node, &mut breaks);
            }
            let kind = |broken: &Break| match broken {
                Break::Number { node, .. } => format!("number {}", node.sha256),
                Break::Fork(_) => "fork".to_owned(),
                Break::Twice(_) => "twice".to_owned(),
            };
            let breaks = breaks.iter().map(kind).collect::<Vec<_>>();
            let tips = chain.tips().map(|node| node.sha256.clone()).collect::<Vec<_>>();
            (breaks, tips, chain.wanted().map(|(sha256, _)| sha256.to_owned()).collect::<Vec<_>>())
        });
        let first = results.next().unwrap();
        for other in results {
            assert_eq!(other, first);
        }
        first
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_whole_chain_has_one_end_in_whatever_order_it_comes() {
        let nodes = [node("a", 1, None), node("b", 2, Some("a")), node("c", 3, Some("b")), node("d", 4, Some("c"))];
        assert_eq!(found(&nodes), (vec![], texts(&["d"]), vec![]));
    }

    #[test]
    fn one_that_is_gone_is_wanted() {
        let nodes = [node("a", 1, None), node("c", 3, Some("b")), node("d", 4, Some("c"))];
        assert_eq!(found(&nodes), (vec![], texts(&["a", "d"]), texts(&["b"])));
    }

    #[test]
    fn several_chains_of_a_stream_stand_side_by_side() {
        let nodes = [node("a", 1, None), node("b", 2, Some("a")), node("x", 1, None), node("y", 2, Some("x"))];
        assert_eq!(found(&nodes), (vec![], texts(&["b", "y"]), vec![]));
    }

    #[test]
    fn a_number_that_is_not_the_next_one_is_seen() {
        let nodes = [node("a", 1, None), node("b", 3, Some("a")), node("x", 2, None)];
        let (mut breaks, tips, wanted) = found(&nodes[..2]);
        assert_eq!((breaks.as_slice(), tips, wanted), (&texts(&["number b"])[..], texts(&["b"]), vec![]));
        breaks = found(&nodes[2..]).0;
        assert_eq!(breaks, texts(&["number x"]));
    }

    #[test]
    fn only_a_rescue_may_fork_a_chain() {
        let (a, b, r) = (node("a", 1, None), node("b", 2, Some("a")), node("r", 2, Some("a")));
        let (mut chain, mut breaks) = (Chain::default(), Vec::new());
        for order in [[&a, &r, &b], [&r, &a, &b], [&r, &b, &a], [&b, &r, &a]] {
            chain = Chain::default();
            for node in order {
                chain.add(node.clone(), &mut breaks);
            }
            assert_eq!(chain.wanted().count(), 0, "{order:?}");
        }
        assert_eq!(breaks, []);
        assert_eq!(chain.tips().count(), 2);
        // Where the other one came first, what the rescue's follows is wanted, for who can look it up.
        let mut chain = Chain::default();
        for node in [&a, &b, &r] {
            chain.add(node.clone(), &mut breaks);
        }
        let wanted: Vec<_> = chain.wanted().collect();
        assert_eq!(wanted, [("a", &[r.clone()][..])]);
        judge(1, vec![r, node("r2", 2, Some("a"))], &mut breaks);
        assert_eq!(breaks, []);
        let (b, c) = (node("b", 2, Some("a")), node("c", 2, Some("a")));
        let mut chain = Chain::default();
        for node in [&b, &c, &a] {
            chain.add(node.clone(), &mut breaks);
        }
        assert_eq!(breaks, [Break::Fork(c)]);
    }

    #[test]
    fn the_same_one_twice_is_seen() {
        let nodes = [node("a", 1, None), node("a", 1, None)];
        assert_eq!(found(&nodes).0, texts(&["twice"]));
    }
}
