//! Gathers what the listing and the manifests tell.

use super::Archive;
use crate::catalog::scan::{Kind, Scan};
use crate::env::store::{Store, read_small};
use crate::error::Result;
use crate::format::manifest::LARGEST;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// How many manifests are fetched at once.
const AT_ONCE: usize = 32;

impl Archive {
    /// Looks through what a scan finds, and reads the manifests. `seen` is told each time how many keys there were so far.
    ///
    /// # Errors
    /// A listing, or the content of a manifest, can't be had. A manifest that is gone meanwhile, or is none, is counted.
    pub async fn gather(store: &dyn Store, mut scan: Scan<'_>, mut seen: impl FnMut(u64)) -> Result<Self> {
        let mut archive = Self::default();
        let mut under_way = FuturesUnordered::new();
        let mut keys = 0;
        while let Some(entry) = scan.next().await? {
            match (entry.kind, entry.name) {
                (Kind::Object, Some(name)) => archive.object(&name, entry.len),
                (Kind::Manifest, _) => under_way.push(fetch(store, entry.key)),
                _ => archive.foreign += 1,
            }
            if under_way.len() >= AT_ONCE
                && let Some(manifest) = under_way.next().await
            {
                archive.fetched(manifest?);
            }
            keys += 1;
            seen(keys);
        }
        while let Some(manifest) = under_way.next().await {
            archive.fetched(manifest?);
        }
        Ok(archive)
    }

    fn fetched(&mut self, data: Option<Bytes>) {
        match data {
            Some(data) => self.manifest(&data),
            None => self.unread += 1,
        }
    }
}

/// A manifest; `None`: it is gone.
async fn fetch(store: &dyn Store, key: String) -> Result<Option<Bytes>> {
    Ok(read_small(store, &key, LARGEST).await?.map(|(_, data)| data))
}
