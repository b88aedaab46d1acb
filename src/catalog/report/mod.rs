//! One page that shows the archive: every hour of every stream, what is missing, how much there is, how manifests follow each
//! other. It is made of the listing and the manifests; no object is read.

mod chain;
mod gather;
mod page;
mod stream;

pub use page::page;

use crate::format::manifest::{Manifest, sha256};
use crate::format::name::LogName;
use crate::format::sign::Signed;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use stream::{Stream, hour_of};

/// What is known of an archive.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// By prefix and suffix.
    streams: BTreeMap<(String, Option<String>), Stream>,
    /// By day since 1970.
    days: BTreeMap<i64, Day>,
    /// By name.
    codecs: BTreeMap<String, Codec>,
    foreign: u64,
    unread: u64,
}

/// A day of all streams.
#[derive(Clone, Debug, Default)]
struct Day {
    packed: u64,
    bytes: u64,
    lines: u64,
}

/// What a codec has made, as far as manifests tell.
#[derive(Clone, Debug, Default)]
struct Codec {
    objects: u64,
    bytes: u64,
    packed: u64,
}

impl Archive {
    /// Notes an object that stands.
    pub fn object(&mut self, name: &LogName, len: u64) {
        self.day(name.stamp()).packed += len;
        let key = (name.prefix().to_owned(), name.suffix().map(str::to_owned));
        self.streams.entry(key).or_default().object(name.stamp(), len);
    }

    /// Notes a manifest, by its bytes.
    pub fn manifest(&mut self, data: &[u8]) {
        match Manifest::parse(data) {
            Some(manifest) => self.told(&manifest, &sha256(data), Signed::of(data).is_some()),
            None => self.unread += 1,
        }
    }

    /// Notes a manifest; `sha256`, in hex, is of its bytes. `signed`: whether it has a signature, right or wrong.
    pub fn told(&mut self, manifest: &Manifest, sha256: &str, signed: bool) {
        let summary = &manifest.summary;
        let day = self.day(manifest.start);
        day.lines += summary.lines;
        day.bytes += summary.bytes;
        if let Some(packed) = &summary.packed {
            let codec = self.codecs.entry(packed.codec.clone()).or_default();
            codec.objects += 1;
            codec.bytes += summary.bytes;
            codec.packed += packed.bytes;
        }
        let key = (manifest.prefix.clone(), manifest.suffix.clone());
        self.streams.entry(key).or_default().manifest(manifest, sha256, signed);
    }

    fn day(&mut self, start: DateTime<Utc>) -> &mut Day {
        self.days.entry(hour_of(start).div_euclid(24)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::sign::Signer;

    #[test]
    fn signed_manifests_are_counted_and_what_is_none_is_too() {
        let line = r#"{"version":1,"host":"h","prefix":"p","start":"2026-11-21T00:00:00Z","name":"n","key":"k","ended":"period",
            "lines":7,"bytes":1000,"blake3":"","number":1,"at":"2026-11-21T00:00:00Z"}"#;
        let manifest = Manifest::parse(line.as_bytes()).unwrap();
        let mut archive = Archive::default();
        // A signature is a field and no text.
        archive.manifest(&Manifest { host: "\",\"signature\":\"".into(), ..manifest.clone() }.bytes());
        archive.manifest(&Signer::generate().unwrap().sign_line(&manifest.bytes()));
        archive.manifest(b"{}");
        let state = archive.streams[&("p".to_owned(), None)].chain.state(None, None);
        assert_eq!((state.manifests, state.signed, archive.unread), (2, 1, 1));
    }
}
