//! The checksums of a body, taken from the disk before it is sent: they travel as headers, which every server reads,
//! instead of trailers, which many do not.

use super::bandwidth::PIECE;
use super::errors::Fault;
use crate::env::checksum::{Running, encode};
use crate::env::store::Body;
use crate::error::{Error, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;

/// Which checksums to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// CRC-64/NVME, which S3 verifies and keeps with the object. It is taken also where it is not sent.
    pub crc: bool,
    /// MD5, which every server verifies.
    pub md5: bool,
}

/// The checksums of a body, in base64 as S3 writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// CRC-64/NVME.
    pub crc: String,
    /// The same, if it is sent.
    pub checksum: Option<String>,
    /// MD5, if it is sent.
    pub md5: Option<String>,
}

/// Reads the body once, on a thread that may block.
pub async fn of(body: &Body, wanted: Wanted) -> Result<Digests, Fault> {
    let body = body.clone();
    match tokio::task::spawn_blocking(move || read(&body, wanted)).await {
        Ok(read) => read.map_err(Fault::Local),
        Err(e) => Err(Fault::Local(Error::retry("read", "the file to store", Kind::Other, e))),
    }
}

fn read(body: &Body, wanted: Wanted) -> crate::error::Result<Digests> {
    let mut crc = Running::default();
    let mut md5 = wanted.md5.then(md5::Md5::new);
    body.each(PIECE, |piece| {
        crc.update(piece);
        if let Some(md5) = &mut md5 {
            md5.update(piece);
        }
        Ok(true)
    })?;
    let crc = encode(crc.value());
    Ok(Digests { checksum: wanted.crc.then(|| crc.clone()), crc, md5: md5.map(|md5| STANDARD.encode(md5.finalize())) })
}
