//! CRC-64/NVME: the checksum that S3 verifies and keeps with an object, and in base64 as S3 writes it. Those of pieces
//! make that of the whole, so nothing is read twice.

use super::store::Body;
use crate::error::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;

/// How much of a file is read at a time, in bytes.
const PIECE: usize = 256 << 10;

/// The checksum of bytes as they come.
pub struct Running(crc_fast::Digest);

impl Default for Running {
    fn default() -> Self {
        Self(crc_fast::Digest::new(Crc64Nvme))
    }
}

impl Running {
    /// Goes on with these bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The checksum of all bytes so far.
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

/// The checksum of bytes.
pub fn of(data: &[u8]) -> u64 {
    crc_fast::checksum(Crc64Nvme, data)
}

/// The checksum of a range of a file.
pub fn of_body(body: &Body) -> Result<u64> {
    let mut running = Running::default();
    body.each(PIECE, |piece| {
        running.update(piece);
        Ok(true)
    })?;
    Ok(running.value())
}

/// A checksum in base64, its bytes in big-endian order.
pub fn encode(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// The checksum that was written in base64.
pub fn decode(text: &str) -> Option<u64> {
    STANDARD.decode(text).ok()?.try_into().ok().map(u64::from_be_bytes)
}

/// The checksum of a whole, in base64, from those of its pieces and their lengths in bytes, in their order. `None` if one
/// is no checksum.
pub fn combine<S: AsRef<str>>(parts: &[(S, u64)]) -> Option<String> {
    // Of no bytes it is 0.
    let mut whole = 0;
    for (crc, len) in parts {
        whole = crc_fast::checksum_combine(Crc64Nvme, whole, decode(crc.as_ref())?, *len);
    }
    Some(encode(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::store::in_memory;

    #[test]
    fn it_is_written_as_s3_writes_it() {
        // The check value of the CRC catalogue.
        assert_eq!(of(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(encode(of(b"123456789")), "rosUhgp5mIg=");
        assert_eq!(decode("rosUhgp5mIg="), Some(0xae8b_1486_0a79_9888));
        assert_eq!((decode("rosUhgp5"), decode("?")), (None, None));
        assert_eq!(encode(of(b"")), "AAAAAAAAAAA=");
    }

    #[test]
    fn those_of_pieces_make_that_of_the_whole() {
        let mut random = fastrand::Rng::with_seed(1);
        let data: Vec<u8> = (0..PIECE * 3).map(|_| random.u8(..)).collect();
        for piece in [1000, PIECE, PIECE * 2 + 1, data.len()] {
            let mut parts: Vec<_> = data.chunks(piece).map(|part| (encode(of(part)), part.len() as u64)).collect();
            parts.insert(1, (encode(of(b"")), 0));
            parts.insert(0, (encode(of(b"")), 0));
            assert_eq!(combine(&parts), Some(encode(of(&data))), "{piece}");
        }
        let mut body = in_memory(data.clone().into());
        (body.offset, body.len) = (7, body.len - 9);
        assert_eq!(of_body(&body).unwrap(), of(&data[7..data.len() - 2]));
        assert_eq!(combine::<&str>(&[]), Some(encode(0)));
        assert_eq!(combine(&[("no checksum", 1)]), None);
    }
}
