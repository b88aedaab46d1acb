//! Whether an object in the bucket is what would be stored: byte by byte, as it streams by.

use super::S3;
use super::body::read_exact;
use super::errors::Fault;
use crate::env::store::Body;
use crate::error::{Error, Kind};
use aws_sdk_s3::Client;
use std::time::Duration;

impl S3 {
    pub(super) async fn compare(&self, key: &str, body: &Body) -> Result<bool, Fault> {
        let get = |client: Client| {
            let request = client.get_object().bucket(&self.options.bucket).key(key).customize();
            // The time limit is that of the answer's head: the content is waited for piece by piece, below.
            request.config_override(self.limits(0, Duration::ZERO)).send()
        };
        let output = self.call(None, get).await?;
        if output.content_length != i64::try_from(body.len).ok() {
            return Ok(false);
        }
        let mut content = output.body;
        let mut done = 0;
        loop {
            let piece = tokio::time::timeout(self.options.patience, content.next());
            let piece = piece.await.map_err(|_| Fault::Lost("the object's content stopped coming".to_owned()))?;
            let Some(piece) = piece else { return Ok(done == body.len) };
            let piece = piece.map_err(|e| Fault::Lost(format!("the object's content broke off: {e}")))?;
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
    }
}
