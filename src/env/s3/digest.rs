//! The checksums of a body, taken from the disk before it is sent: they travel as headers, which every server reads,
//! instead of trailers, which many do not.

use super::bandwidth::PIECE;
use super::errors::Fault;
use crate::env::store::Body;
use crate::error::{Error, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use md5::Digest;

/// Which checksums to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// CRC-64/NVME, which S3 verifies and keeps with the object.
    pub crc: bool,
    /// MD5, which every server verifies.
    pub md5: bool,
}

/// The checksums of a body, in base64 as S3 writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// CRC-64/NVME.
    pub crc: Option<String>,
    /// MD5.
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
    let mut crc = wanted.crc.then(|| crc_fast::Digest::new(Crc64Nvme));
    let mut md5 = wanted.md5.then(md5::Md5::new);
    let mut buffer = vec![0; usize::try_from(body.len).unwrap_or(PIECE).clamp(1, PIECE)];
    let mut done = 0;
    while done < body.len {
        let most = usize::try_from(body.len - done).unwrap_or(PIECE).min(buffer.len());
        let n = body.file.read_at(&mut buffer[..most], body.offset + done)?;
        if n == 0 {
            return Err(Error::retry("read", "the file to store", Kind::Other, "it ended early"));
        }
        if let Some(crc) = &mut crc {
            crc.update(&buffer[..n]);
        }
        if let Some(md5) = &mut md5 {
            md5.update(&buffer[..n]);
        }
        done += n as u64;
    }
    Ok(Digests {
        crc: crc.map(|crc| STANDARD.encode(crc.finalize().to_be_bytes())),
        md5: md5.map(|md5| STANDARD.encode(md5.finalize())),
    })
}
