//! A checkpoint: what another host needs to finish the hours of this one. One line of JSON, then the tails of the unfinished
//! objects, one behind the other, in the same order.
//!
//! The parts of an object that the far end holds already, with the tail behind them, are a whole archive: the tail ends it.

use super::manifest::Manifest;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version that is written.
pub const VERSION: u32 = 1;

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

/// An object that is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished<P> {
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
    pub manifest: Manifest,
}

/// Reads a checkpoint: the line, and for each unfinished object where its tail lies in `data`. `None` if it is none, or cut.
pub fn read<P: DeserializeOwned>(data: &[u8]) -> Option<(Checkpoint<P>, Vec<std::ops::Range<usize>>)> {
    let end = memchr::memchr(b'\n', data)? + 1;
    let checkpoint: Checkpoint<P> = serde_json::from_slice(&data[..end]).ok()?;
    if checkpoint.version != VERSION {
        return None;
    }
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
