//! Whether an object in the bucket is what would be stored: byte by byte, as it streams by.

use super::S3;
use super::body::read_exact;
use super::errors::Fault;
use crate::env::store::Body;
use crate::error::{Error, Kind};

impl S3 {
    /// Who may not read gets another name for what it stores, so a refusal is believed the second time only: credentials may
    /// just have been renewed, and are read again after it.
    pub(super) async fn compare(&self, key: &str, body: &Body) -> Result<bool, Fault> {
        match self.compare_once(key, body).await {
            Err(fault) if fault.is_denial() => self.compare_once(key, body).await,
            compared => compared,
        }
    }

    async fn compare_once(&self, key: &str, body: &Body) -> Result<bool, Fault> {
        let (found, mut content) = self.pieces(key).await?;
        if found.len != body.len {
            return Ok(false);
        }
        let mut done = 0;
        while let Some(piece) = content.next().await? {
            let end = done + piece.len() as u64;
            if end > body.len {
                return Ok(false);
            }
            let (file, at, size) = (body.file.clone(), body.offset + done, piece.len());
            let read = tokio::task::spawn_blocking(move || read_exact(&*file, at, size)).await;
            let own = read
                .unwrap_or_else(|e| Err(Error::retry("read", "the file to compare", Kind::Other, e)))
                .map_err(Fault::Local)?;
            if own != piece {
                return Ok(false);
            }
            done = end;
        }
        Ok(done == body.len)
    }
}
