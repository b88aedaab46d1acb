//! A checkpoint: what another host needs to finish the hours of this one. One line of JSON, then the tails of the unfinished
//! objects, one behind the other, in the same order.
//!
//! The parts of an object that the far end holds already, with the tail behind them, are a whole archive: the tail ends it.

use super::manifest::Manifest;
use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::ops::Deref;

/// The version that is written.
pub const VERSION: u32 = 1;
/// The largest checkpoint that is read, in bytes.
pub const LARGEST: usize = 1 << 30;

/// The line in front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint<P> {
    /// Version of this format.
    pub version: u32,
    /// The host that wrote it.
    pub host: String,
    /// The stream's prefix.
    pub prefix: String,
    /// The stream's suffix.
    pub suffix: String,
    /// What was kept by then is in it.
    pub at: DateTime<Utc>,
    /// The host that finished what is in it, and when; absent: nobody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescued: Option<Rescued>,
    /// The objects that were not stored by then, oldest first.
    pub unfinished: Vec<Unfinished<P>>,
}

/// Who finished it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescued {
    /// The host.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// An object that is not stored yet, or whose manifest is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished<P> {
    /// Whether nothing but the manifest is left to store: then there are no parts, and the tail is empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stored: bool,
    /// Its media type.
    pub content_type: String,
    /// The upload in parts that it is sent by; absent: none was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// The parts that the far end has, from the first on.
    pub parts: Vec<P>,
    /// Bytes in these parts.
    pub sent: u64,
    /// Bytes of the tail.
    pub tail: u64,
    /// SHA-256 of the tail, in hex.
    pub tail_sha256: String,
    /// CRC-64/NVME of the whole object in base64.
    pub crc: String,
    /// Where its manifest belongs.
    pub manifest_key: String,
    /// The manifest, as it would be if the hour ended here.
    pub manifest: Ready,
}

/// A manifest that is ready to be stored by somebody else, with its text: whoever stores it may be of another version, and what
/// was signed must stay as it is, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    manifest: Manifest,
    text: String,
}

impl Ready {
    /// A manifest as it lies somewhere. `None` if it is none.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The line to store.
    pub fn line(&self) -> Vec<u8> {
        format!("{}\n", self.text).into_bytes()
    }
}

impl From<Manifest> for Ready {
    fn from(manifest: Manifest) -> Self {
        let text = serde_json::to_string(&manifest).unwrap_or_default();
        Self { manifest, text }
    }
}

impl Deref for Ready {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

impl Serialize for Ready {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.text).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ready {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?.get().to_owned();
        let manifest = serde_json::from_str(&text).map_err(D::Error::custom)?;
        Ok(Self { manifest, text })
    }
}

/// Reads the line in front alone. `None` if it is none.
pub fn first_line<P: DeserializeOwned>(line: &[u8]) -> Option<Checkpoint<P>> {
    serde_json::from_slice(line).ok().filter(|checkpoint: &Checkpoint<P>| checkpoint.version == VERSION)
}

/// Reads a checkpoint: the line, and for each unfinished object where its tail lies in `data`. `None` if it is none, or cut.
pub fn read<P: DeserializeOwned>(data: &[u8]) -> Option<(Checkpoint<P>, Vec<std::ops::Range<usize>>)> {
    let end = memchr::memchr(b'\n', data)? + 1;
    let checkpoint = first_line::<P>(&data[..end])?;
    let mut at = end;
    let mut tails = Vec::new();
    for unfinished in &checkpoint.unfinished {
        let to = at.checked_add(usize::try_from(unfinished.tail).ok()?)?;
        if super::manifest::sha256(data.get(at..to)?) != unfinished.tail_sha256 {
            return None;
        }
        tails.push(at..to);
        at = to;
    }
    Some((checkpoint, tails))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_goes_through_a_checkpoint_byte_for_byte() {
        let silent = concat!(
            r#"{"version":1,"host":"a","prefix":"p","start":"2026-11-22T15:00:00Z","name":"n","key":"k","#,
            r#""ended":"rescue","lines":0,"bytes":0,"blake3":"","of_a_later_version":[1, 2],"number":1,"#,
            r#""at":"2026-11-22T16:00:01Z","signed_by":"x","signature":"y"}"#
        );
        let ready: Ready = serde_json::from_str(silent).unwrap();
        assert_eq!(ready.name, "n");
        let again = serde_json::to_string(&ready).unwrap();
        assert_eq!(again, silent);
        assert_eq!(ready.line(), format!("{silent}\n").into_bytes());
        let made = Ready::from(ready.manifest.clone());
        assert_eq!(made.line(), ready.manifest.bytes());
    }
}
