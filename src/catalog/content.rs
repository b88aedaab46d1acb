//! What an object really holds: all of it is read as it comes, and nothing of it is kept.

use crate::env::plain::unpack;
use crate::env::store::{Content, Store, Tries};
use crate::error::Result;
use crate::format::manifest::{Summary, hex};
use crate::format::seal::Ended;
use sha2::{Digest, Sha256};
use std::io::Write;

/// What the bytes of an object are, packed and unpacked.
#[derive(Debug)]
struct Held {
    bytes: u64,
    sha256: String,
    /// `None`: it can't be unpacked.
    plain: Option<Plain>,
}

/// Counts and digests a plain text.
#[derive(Debug, Default)]
struct Plain {
    bytes: u64,
    lines: u64,
    blake3: blake3::Hasher,
}

impl Write for Plain {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.bytes += text.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', text).count() as u64;
        self.blake3.update(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads an object and compares it with what its manifest tells: its size, and what is wrong with it. `Ok(None)`: nothing stands there.
pub(super) async fn check(
    store: &dyn Store,
    key: &str,
    name: &str,
    summary: &Summary,
) -> Result<Option<(u64, Vec<String>)>> {
    let mut tries = Tries::default();
    loop {
        let Some((_, mut content)) = store.fetch(key, 0).await? else { return Ok(None) };
        match read(&mut *content, name).await {
            Ok(held) => return Ok(Some((held.bytes, compare(&held, summary)))),
            Err(e) => tries.again(e)?,
        }
    }
}

async fn read(content: &mut dyn Content, name: &str) -> Result<Held> {
    let (mut sha256, mut bytes, mut plain) = (Sha256::new(), 0, Plain::default());
    let mut take = |piece: &[u8]| {
        sha256.update(piece);
        bytes += piece.len() as u64;
    };
    let whole = unpack(content, name, &mut plain, &mut take).await?;
    // What can't be unpacked has its size and its SHA-256 all the same.
    while let Some(piece) = content.next().await? {
        take(&piece);
    }
    Ok(Held { bytes, sha256: hex(&sha256.finalize()), plain: whole.then_some(plain) })
}

fn compare(held: &Held, summary: &Summary) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(packed) = &summary.packed else { return faults };
    if held.bytes != packed.bytes {
        faults.push(format!("it has {} bytes, and its manifest says {}", held.bytes, packed.bytes));
    }
    if held.sha256 != packed.sha256 {
        faults.push(format!("its SHA-256 is {}, and its manifest says {}", held.sha256, packed.sha256));
    }
    match &held.plain {
        // Another program made it, and it was stored as it was: the manifest counts what could be read.
        None if summary.ended == Ended::Unknown => {}
        None => faults.push("it can't be unpacked".to_owned()),
        Some(plain) => {
            let there = (plain.lines, plain.bytes, plain.blake3.finalize().to_hex().to_string());
            if there != (summary.lines, summary.bytes, summary.blake3.clone()) {
                faults.push(format!(
                    "its text has {} lines and {} bytes with the BLAKE3 {}, and its manifest says {}, {} and {}",
                    there.0, there.1, there.2, summary.lines, summary.bytes, summary.blake3
                ));
            }
        }
    }
    faults
}
