//! Reads the plain text of what is packed.

use super::fs::File;
use super::store::Content;
use crate::error::{Error, Result};
use crate::format::layout::{GZIP, ZSTD};
use crate::format::name::LogName;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

/// The plain text of an archive, as its name says that it is packed; of one whose name says nothing, its bytes. `path` is for
/// messages.
pub fn reader(file: Arc<dyn File>, name: &LogName, path: &Path) -> Result<Box<dyn Read + Send>> {
    unpacked(FileReader { file, at: 0, end: u64::MAX }, name).map_err(|e| Error::io("read", path.display(), &e))
}

/// The same of whatever can be read. Several members or frames count as one text.
pub fn unpacked(packed: impl Read + Send + 'static, name: &LogName) -> std::io::Result<Box<dyn Read + Send>> {
    let ending = name.extension();
    Ok(match () {
        () if ending.ends_with(ZSTD) => Box::new(zstd::stream::read::Decoder::new(packed)?),
        () if ending.ends_with(GZIP) => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        () => Box::new(packed),
    })
}

/// Unpacks an object as it comes, as its name says, into `sink`; `each` gets every piece before that. Whether all of it could be
/// unpacked: where not, or where `sink` takes no more, it is read no further.
///
/// # Errors
/// Those of reading the object.
pub async fn unpack(
    content: &mut dyn Content,
    name: &str,
    sink: &mut (dyn Write + Send),
    each: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<bool> {
    if name.ends_with(ZSTD) {
        let decoder = zstd::stream::write::Decoder::new(sink).map_err(|e| Error::io("read", name, &e));
        return pour(content, &mut decoder?, each).await;
    }
    if name.ends_with(GZIP) {
        let mut decoder = flate2::write::MultiGzDecoder::new(sink);
        return Ok(pour(content, &mut decoder, each).await? && decoder.try_finish().is_ok());
    }
    pour(content, sink, each).await
}

async fn pour(
    content: &mut dyn Content,
    decoder: &mut (dyn Write + Send),
    each: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<bool> {
    while let Some(piece) = content.next().await? {
        each(&piece);
        if decoder.write_all(&piece).is_err() {
            return Ok(false);
        }
    }
    Ok(decoder.flush().is_ok())
}

/// Reads until the buffer is full or the text ends.
pub fn fill(plain: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match plain.read(&mut buffer[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// Reads a file through the door.
pub struct FileReader {
    /// The file.
    pub file: Arc<dyn File>,
    /// Where the next byte lies.
    pub at: u64,
    /// Where reading ends at the latest.
    pub end: u64,
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = buf.len().min(left);
        let n = self.file.read_at(&mut buf[..most], self.at).map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}
