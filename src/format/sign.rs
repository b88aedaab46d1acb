//! Keys and signatures of manifests: Ed25519 (RFC 8032). Keys are PEM, as `openssl pkey` reads and writes them: PKCS#8 for
//! the secret one, SubjectPublicKeyInfo for the public one (RFC 8410).
//!
//! What is signed is the beginning of the line as it is stored, up to the comma before `"signature"`: nobody has to put JSON
//! into a canonical form, and the signed bytes can be cut out with `head -c`.

use super::manifest::sha256;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// What is put behind the name of a secret key's file for that of its public key.
pub const PUBLIC: &str = "pub";

/// The labels of PEM (RFC 7468).
const SECRET_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";
/// Characters of a line of PEM.
const PEM_LINE: usize = 64;
/// How many hex digits of the SHA-256 of a public key (SubjectPublicKeyInfo) stand for it in a manifest.
const FINGERPRINT: usize = 16;
/// What ends a line that is not signed, and one that is.
const END: &[u8] = b"}\n";
const SIGNATURE: &[u8] = b",\"signature\":\"";
const SIGNED_END: &[u8] = b"\"}\n";
/// Bytes of a signature, and its characters in base64.
const RAW: usize = 64;
const TEXT: usize = RAW.div_ceil(3) * 4;

/// A secret key. It is shown as its fingerprint.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl Signer {
    /// Makes a new one, of the system's randomness.
    ///
    /// # Errors
    /// What the cryptographic library says.
    pub fn generate() -> Result<Self, String> {
        let pair = Ed25519KeyPair::generate().map_err(|_| "the system gives no randomness")?;
        Self::of(pair)
    }

    /// Reads one: PEM, PKCS#8, not encrypted.
    ///
    /// # Errors
    /// What it is instead.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let mut blocks = blocks(pem)?;
        let found = blocks.iter_mut().find(|block| block.label == SECRET_LABEL);
        let Some(found) = found else {
            return Err(match blocks.first() {
                Some(block) => format!("it holds a `{}`, and a `{SECRET_LABEL}` is needed", block.label),
                None => format!("it is no PEM file with a `{SECRET_LABEL}`"),
            });
        };
        let pair = Ed25519KeyPair::from_pkcs8(&found.der);
        Self::of(pair.map_err(|e| format!("its key is not an Ed25519 key in PKCS#8 ({e})"))?)
    }

    fn of(pair: Ed25519KeyPair) -> Result<Self, String> {
        let public = PublicKey::of_raw(pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }

    /// As it is written down.
    ///
    /// # Errors
    /// What the cryptographic library says.
    pub fn pem(&self) -> Result<String, String> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| "the key can't be written down")?;
        Ok(pem(SECRET_LABEL, der.as_ref()))
    }

    /// What checks its signatures.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs bytes: the signature, as it is written down.
    pub fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(bytes).as_ref())
    }

    /// Signs the line of a manifest that is not signed yet; a line that is none stays as it is.
    pub fn sign_line(&self, line: &[u8]) -> Vec<u8> {
        let Some(open) = line.strip_suffix(END).filter(|_| Signed::of(line).is_none()) else { return line.to_vec() };
        let mut signed = open.to_vec();
        signed.extend_from_slice(format!(",\"signed_by\":\"{}\"", self.public.fingerprint()).as_bytes());
        let signature = self.sign(&signed);
        signed.extend_from_slice(SIGNATURE);
        signed.extend_from_slice(signature.as_bytes());
        signed.extend_from_slice(SIGNED_END);
        signed
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public.fingerprint)
    }
}

/// A public key.
#[derive(Clone)]
pub struct PublicKey {
    key: ParsedPublicKey,
    der: Vec<u8>,
    fingerprint: String,
}

impl PublicKey {
    fn of_raw(raw: &[u8]) -> Result<Self, String> {
        let rejected = "its key is not an Ed25519 key";
        let key = ParsedPublicKey::new(&ED25519, raw).map_err(|e| format!("{rejected} ({e})"))?;
        let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| rejected)?;
        let der = der.as_ref().to_vec();
        let fingerprint = sha256(&der).chars().take(FINGERPRINT).collect();
        Ok(Self { key, der, fingerprint })
    }

    /// Reads all that a file holds: PEM, SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// What it is instead; also of a file with a secret key.
    pub fn parse_all(pem: &str) -> Result<Vec<Self>, String> {
        let blocks = blocks(pem)?;
        if let Some(other) = blocks.iter().find(|block| block.label != PUBLIC_LABEL) {
            return Err(format!("it holds a `{}`, and a `{PUBLIC_LABEL}` is needed", other.label));
        }
        if blocks.is_empty() {
            return Err(format!("it is no PEM file with a `{PUBLIC_LABEL}`"));
        }
        blocks.iter().map(|block| Self::of_der(&block.der)).collect()
    }

    fn of_der(der: &[u8]) -> Result<Self, String> {
        let raw = der.len().checked_sub(ED25519_PUBLIC_KEY_LEN).map(|at| &der[at..]);
        let key = Self::of_raw(raw.unwrap_or_default())?;
        // The other bytes say what kind of key it is.
        if key.der == der { Ok(key) } else { Err("its key is not an Ed25519 key".to_owned()) }
    }

    /// As it is written down.
    pub fn pem(&self) -> String {
        pem(PUBLIC_LABEL, &self.der)
    }

    /// What stands for it in a manifest: the first 16 hex digits of its SHA-256
    /// (`openssl pkey -pubin -in FILE -outform DER | sha256sum`).
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether it is the signature of these bytes by this key.
    pub fn verifies(&self, signed: &Signed<'_>) -> bool {
        self.key.verify_sig(signed.bytes, &signed.signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint)
    }
}

/// A line with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// What is signed: a beginning of the line.
    pub bytes: &'a [u8],
    /// The signature.
    pub signature: [u8; RAW],
}

impl<'a> Signed<'a> {
    /// Takes a line apart; `None`: it does not end with a signature.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(SIGNED_END)?;
        let (rest, text) = rest.split_at(rest.len().checked_sub(TEXT)?);
        let bytes = rest.strip_suffix(SIGNATURE)?;
        let signature = STANDARD.decode(text).ok()?.try_into().ok()?;
        Some(Self { bytes, signature })
    }
}

struct Block {
    label: String,
    der: Vec<u8>,
}

impl Drop for Block {
    fn drop(&mut self) {
        // It may hold a secret key.
        self.der.fill(0);
        std::hint::black_box(&self.der);
    }
}

/// The blocks of a PEM file; what stands around them is passed over.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|line| line.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let mut content = String::new();
        loop {
            match lines.next() {
                Some(line) if line == end => break,
                Some(line) => content.push_str(line),
                None => return Err(format!("its `{label}` has no end")),
            }
        }
        let der = STANDARD.decode(content).map_err(|e| format!("its `{label}` can't be read ({e})"))?;
        blocks.push(Block { label: label.to_owned(), der });
    }
    Ok(blocks)
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let content = STANDARD.encode(der);
    for at in (0..content.len()).step_by(PEM_LINE) {
        text.push_str(&content[at..content.len().min(at + PEM_LINE)]);
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3 and 10.1.
    const SECRET: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const OPEN: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn keys_are_written_and_read_as_the_standard_has_them() {
        let signer = Signer::parse(SECRET).unwrap();
        assert_eq!(signer.pem().unwrap(), SECRET);
        assert_eq!(signer.public().pem(), OPEN);
        let open = PublicKey::parse_all(&format!("made in 2026\n{OPEN}{OPEN}")).unwrap();
        assert_eq!(open.iter().map(PublicKey::fingerprint).collect::<Vec<_>>(), [signer.public().fingerprint(); 2]);
        assert_eq!(signer.public().fingerprint().len(), 16);
    }

    #[test]
    fn a_line_is_signed_up_to_the_comma_before_its_signature() {
        let signer = Signer::parse(SECRET).unwrap();
        let line = signer.sign_line(b"{\"a\":1}\n");
        let text = String::from_utf8(line.clone()).unwrap();
        let signed = format!("{{\"a\":1,\"signed_by\":\"{}\"", signer.public().fingerprint());
        assert_eq!(text, format!("{signed},\"signature\":\"{}\"}}\n", signer.sign(signed.as_bytes())));
        let parts = Signed::of(&line).unwrap();
        assert_eq!(parts.bytes, signed.as_bytes());
        assert!(signer.public().verifies(&parts));
        assert!(!Signer::generate().unwrap().public().verifies(&parts), "by another key");
        assert_eq!(signer.sign_line(&line), line, "it is signed already");
    }

    #[test]
    fn any_other_byte_breaks_a_signature() {
        let signer = Signer::parse(SECRET).unwrap();
        let line = signer.sign_line(b"{\"number\":12}\n");
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut other = line.clone();
                other[at] ^= 1 << bit;
                assert!(!Signed::of(&other).is_some_and(|parts| signer.public().verifies(&parts)), "byte {at}");
            }
        }
        for cut in 0..line.len() {
            assert!(!Signed::of(&line[..cut]).is_some_and(|parts| signer.public().verifies(&parts)), "{cut} bytes");
        }
    }

    #[test]
    fn what_is_no_such_key_is_said_to_be_none() {
        for (text, cause) in [
            ("", "no PEM file"),
            (OPEN, "holds a `PUBLIC KEY`"),
            ("-----BEGIN PRIVATE KEY-----\nMC4C", "no end"),
            ("-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----", "not an Ed25519 key"),
            ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", "can't be read"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMC4C\n-----END ENCRYPTED PRIVATE KEY-----", "`ENCRYPTED PRIVATE"),
        ] {
            let said = Signer::parse(text).unwrap_err();
            assert!(said.contains(cause), "{text}: {said}");
        }
        for (text, cause) in [("x", "no PEM file"), (SECRET, "holds a `PRIVATE KEY`")] {
            let said = PublicKey::parse_all(text).unwrap_err();
            assert!(said.contains(cause), "{text}: {said}");
        }
        let x25519 = OPEN.replace("K2Vw", "K2Vu");
        assert!(PublicKey::parse_all(&x25519).is_err(), "a key of another kind");
        assert_eq!(format!("{:?}", Signer::parse(SECRET).unwrap()), "Signer(a1e9156054e04fac)");
    }
}
