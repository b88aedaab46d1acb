//! The manifests of what a rescue finds or makes.

use super::Rescue;
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
    link: Link,
    number: u64,
}

impl Chained {
    fn of(manifest: &Manifest, key: &str, data: &[u8]) -> Option<Self> {
        let link = Link { key: key.to_owned(), sha256: sha256(data) };
        Some(Self { named: manifest.previous.clone(), link, number: Manifest::parse(data)?.number })
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
        let told = if !exact {
            read_small(&*self.store, &place, manifest::LARGEST).await?.map(|(_, data)| data)
        } else if is_own {
            self.tell(&place, self.line_of(ready, last)).await?
        } else {
            // Its host's signature is on another key.
            let moved = Manifest { key: key.to_owned(), signature: None, signed_by: None, ..Manifest::clone(ready) };
            self.tell(&place, self.line_of(&moved.into(), last)).await?
        };
        Ok(told.and_then(|data| Chained::of(ready, &place, &data)))
    }

    /// Whether an object may be of a rescue, as far as its manifest tells.
    pub(super) async fn may_be_rescued(&self, key: &str) -> Result<bool> {
        let there = read_small(&*self.store, &manifest_key(key), manifest::LARGEST).await?;
        let manifest = there.and_then(|(_, data)| Manifest::parse(&data));
        Ok(manifest.is_none_or(|manifest| manifest.summary.ended == Ended::Rescue))
    }

    /// Stores a manifest: what stands there then.
    pub(super) async fn tell(&self, key: &str, line: Vec<u8>) -> Result<Option<Bytes>> {
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
        let line = match last.filter(|last| last.named == ready.previous) {
            Some(last) => {
                Manifest { number: last.number + 1, previous: Some(last.link), ..Manifest::clone(ready) }.bytes()
            }
            None => ready.line(),
        };
        self.signer.as_ref().map_or_else(|| line.clone(), |signer| signer.sign_line(&line))
    }
}
