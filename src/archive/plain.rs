//! Reads the plain text of an archive.

use crate::env::fs::File;
use crate::error::{Error, Result};
use crate::format::layout::{GZIP, ZSTD};
use crate::format::name::LogName;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The plain text of an archive, as its name says that it is packed; of one whose name says nothing, its bytes. `path` is for
/// messages.
pub(super) fn reader(file: Arc<dyn File>, name: &LogName, path: &Path) -> Result<Box<dyn Read + Send>> {
    let reader = FileReader { file, at: 0 };
    let text = name.to_string();
    Ok(match () {
        () if text.ends_with(ZSTD) => {
            let decoder = zstd::stream::read::Decoder::new(reader);
            Box::new(decoder.map_err(|e| Error::io("read", path.display(), &e))?)
        }
        () if text.ends_with(GZIP) => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        () => Box::new(reader),
    })
}

/// Reads until the buffer is full or the text ends.
pub(super) fn fill(plain: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match plain.read(&mut buffer[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

struct FileReader {
    file: Arc<dyn File>,
    at: u64,
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buf, self.at).map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}
