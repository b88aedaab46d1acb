//! The manifests of what a rescue finds or makes.

use super::{Rescue, held};
use crate::archive::chain::JSON;
use crate::env::store::{Part, in_memory, read_small};
use crate::error::{Kind, Result};
use crate::format::checkpoint::{Ready, Unfinished};
use crate::format::key::manifest_key;
use crate::format::manifest::{self, Link, Manifest, sha256};
use crate::format::seal::Ended;
use bytes::Bytes;

/// A manifest that stands. The host made all of a checkpoint's as if each of them came next; stored, they are a chain.
pub(super) struct Chained {
    /// What the checkpoint's names as the one before it.
    named: Option<Link>,
    /// SHA-256 of the checkpoint's: what its host made next names it by that.
    ready: String,
    link: Link,
    number: u64,
}

impl Chained {
    fn of(ready: &Ready, key: &str, data: &[u8]) -> Option<Self> {
        let link = Link { key: key.to_owned(), sha256: sha256(data) };
        let number = Manifest::parse(data)?.number;
        Some(Self { named: ready.previous.clone(), ready: sha256(&ready.line()), link, number })
    }

    /// Whether this one stands in the place that another one follows.
    fn is_before(&self, next: &Ready) -> bool {
        self.named == next.previous || next.previous.as_ref().is_some_and(|link| link.sha256 == self.ready)
    }
}

impl Rescue {
    /// Sees to the manifest of an object that stands, also when that was made by a rescue that came no further: what stands then.
    /// `exact`: nothing but this checkpoint's lines are in it.
    pub(super) async fn told(
        &self,
        unfinished: &Unfinished<Part>,
        key: &str,
        exact: bool,
        last: Option<Chained>,
    ) -> Result<Option<Chained>> {
        let ready = &unfinished.manifest;
        let is_own = key == ready.key;
        let place = if is_own { unfinished.manifest_key.clone() } else { manifest_key(key) };
        let there = match exact {
            true => None,
            false => read_small(&*self.store, &place, manifest::LARGEST).await?.map(|(_, data)| data),
        };
        let told = match there {
            Some(data) => Some(data),
            // As its host made it.
            None if unfinished.stored => self.tell(&place, ready.line()).await?,
            None if exact && is_own => self.tell(&place, self.line_of(ready, last)).await?,
            None => {
                // Whoever made it came no further; its host's signature is on another key, or on fewer lines.
                let summary = match exact {
                    true => Some(ready.summary.clone()),
                    false => held::summary(&*self.store, key, ready).await?,
                };
                let Some(summary) = summary else { return Ok(None) };
                let (key, manifest) = (key.to_owned(), Manifest::clone(ready));
                let made = Manifest { key, summary, signature: None, signed_by: None, ..manifest };
                self.tell(&place, self.line_of(&made.into(), last)).await?
            }
        };
        Ok(told.and_then(|data| Chained::of(ready, &place, &data)))
    }

    /// Whether a rescue may have made an object of what another checkpoint of this DIR told of, as far as its manifest tells: that
    /// of a DIR that was begun anew names none before it.
    pub(super) async fn may_be_rescued(&self, key: &str, ready: &Ready) -> Result<bool> {
        let there = read_small(&*self.store, &manifest_key(key), manifest::LARGEST).await?;
        let manifest = there.and_then(|(_, data)| Manifest::parse(&data));
        Ok(manifest.is_none_or(|there| {
            there.summary.ended == Ended::Rescue && there.previous.is_none() == ready.previous.is_none()
        }))
    }

    /// Stores a manifest: what stands there then.
    async fn tell(&self, key: &str, line: Vec<u8>) -> Result<Option<Bytes>> {
        let data = Bytes::from(line);
        match self.store.create(key, in_memory(data.clone()), JSON).await {
            Err(e) if e.kind == Kind::Exists => {
                Ok(read_small(&*self.store, key, manifest::LARGEST).await?.map(|(_, data)| data))
            }
            stored => stored.map(|_| Some(data)),
        }
    }

    /// The manifest to store. What its host has signed stays as it is, byte for byte, and names what the host knew as the one before
    /// it; otherwise only its place in the chain is another, so that two rescues store the same.
    fn line_of(&self, ready: &Ready, last: Option<Chained>) -> Vec<u8> {
        if ready.signature.is_some() {
            return ready.line();
        }
        let line = match last.filter(|last| last.is_before(ready)) {
            Some(last) => {
                Manifest { number: last.number + 1, previous: Some(last.link), ..Manifest::clone(ready) }.bytes()
            }
            None => ready.line(),
        };
        self.signer.as_ref().map_or_else(|| line.clone(), |signer| signer.sign_line(&line))
    }
}
