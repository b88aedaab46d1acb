//! Whether an object holds what a checkpoint tells of: its host may have stored the hour, with what came since.

use crate::env::store::{Content, Store};
use crate::error::{Error, Result};
use crate::format::layout::ZSTD;
use crate::format::manifest::Manifest;
use std::io::Write;

/// Whether the text of an object begins with the one that a manifest tells of. It is read no further than that.
pub(super) async fn begins_with(store: &dyn Store, key: &str, manifest: &Manifest) -> Result<bool> {
    let Some((_, mut content)) = store.fetch(key, 0).await? else { return Ok(false) };
    let beginning = Beginning { left: manifest.summary.bytes, blake3: blake3::Hasher::new() };
    let beginning = if manifest.name.ends_with(ZSTD) {
        let decoder = zstd::stream::write::Decoder::new(beginning);
        let mut decoder = decoder.map_err(|e| Error::io("read", key, &e))?;
        pour(&mut *content, &mut decoder).await?;
        decoder.into_inner()
    } else {
        let mut decoder = flate2::write::MultiGzDecoder::new(beginning);
        pour(&mut *content, &mut decoder).await?;
        decoder.get_ref().clone()
    };
    Ok(beginning.left == 0 && beginning.blake3.finalize().to_hex().as_str() == manifest.summary.blake3)
}

/// Digests the beginning of a text, and takes no more.
#[derive(Clone)]
struct Beginning {
    left: u64,
    blake3: blake3::Hasher,
}

impl Write for Beginning {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(text.len());
        self.blake3.update(&text[..most]);
        self.left -= most as u64;
        Ok(most)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes a content to a decoder until that takes no more.
async fn pour(content: &mut dyn Content, decoder: &mut (dyn Write + Send)) -> Result<()> {
    while let Some(piece) = content.next().await? {
        if decoder.write_all(&piece).is_err() {
            return Ok(());
        }
    }
    // What can't be unpacked is not what is looked for.
    let _ = decoder.flush();
    Ok(())
}
