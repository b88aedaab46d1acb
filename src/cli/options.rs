//! Options that several commands share.

use crate::archive::Codec;
use crate::config;
use crate::env::Env;
use crate::env::directory::Directory;
use crate::env::fs::EntryKind;
use crate::env::keys;
use crate::env::s3::{self, S3};
use crate::env::store::Store;
use crate::error::{Error, Kind, Result};
use crate::format::key::{Dest, Place};
use crate::format::layout::PRIVATE;
use crate::format::sign::Signer;
use crate::log::{LogLevel, LogTo};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the kinds of encryption begin with that need a key of KMS.
const KMS: &str = "aws:kms";
/// For messages.
const SIGN_KEY: &str = "--sign-key";

/// The program's own messages.
#[derive(Args)]
pub struct Log {
    /// How much is said
    #[arg(short = 'l', long, value_enum, default_value = "info")]
    pub log_level: LogLevel,
    /// Where messages go: `stderr`, `syslog`, or the absolute path of a file (reopened on SIGHUP). syslog-ng throws
    /// its child's stderr away
    #[arg(long, value_name = "PLACE", default_value = "stderr")]
    pub log_to: LogTo,
}

impl Log {
    /// The log file, if there is one.
    pub fn place(&self) -> Option<&Path> {
        match &self.log_to {
            LogTo::File(path) => Some(path),
            LogTo::Stderr | LogTo::Syslog => None,
        }
    }
}

/// How files are packed.
#[derive(Args)]
pub struct Pack {
    /// How archives are compressed
    #[arg(long, value_enum, default_value = "gzip")]
    codec: CodecName,
    /// Compression level: gzip 1 to 9 (default 6), zstd 1 to 19 (default 3)
    #[arg(long, value_name = "N")]
    level: Option<u32>,
    /// How many cores packing may use at once, where more than one block of 4 MiB waits
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pack_threads: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum CodecName {
    /// One member, RFC 1952
    Gzip,
    /// Zstandard, RFC 8878
    Zstd,
}

impl Pack {
    /// How many blocks are packed at once.
    pub fn threads(&self) -> usize {
        usize::from(self.pack_threads)
    }

    /// The checked codec.
    pub fn codec(&self) -> Result<Codec> {
        let (most, default) = match self.codec {
            CodecName::Gzip => (9, 6),
            CodecName::Zstd => (19, 3),
        };
        let level = self.level.unwrap_or(default);
        if level == 0 || level > most {
            return Err(Error::usage(format!("--level={level}"), format!("this codec has levels 1 to {most}")));
        }
        Ok(match self.codec {
            CodecName::Gzip => Codec::Gzip(level),
            CodecName::Zstd => Codec::Zstd(level.cast_signed()),
        })
    }
}

/// How long stored archives stay.
#[derive(Args)]
pub struct Keep {
    /// How long a stored archive also stays on the disk
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = config::duration)]
    pub keep: Duration,
}

/// Signed manifests.
#[derive(Args)]
pub struct Sign {
    /// Sign each manifest with this secret key: Ed25519, PEM, readable by its owner alone. `logjam keygen FILE` makes one
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
}

impl Sign {
    /// Reads the key.
    pub fn signer(&self) -> Result<Option<Arc<Signer>>> {
        let signer = self.sign_key.as_deref().map(|path| keys::read_secret(SIGN_KEY, path)).transpose()?;
        Ok(signer.map(Arc::new))
    }

    /// An option that would be ignored is refused.
    pub fn refuse_without_dest(&self) -> Result<()> {
        match self.sign_key {
            Some(_) => {
                Err(Error::usage(SIGN_KEY, "goes with a DEST only: manifests are made when archives are stored")
                    .mend("give it to `logjam upload`"))
            }
            None => Ok(()),
        }
    }
}

/// Where S3 is. The standard AWS environment variables, files and roles count too.
#[derive(Args)]
#[command(next_help_heading = "S3 options")]
pub struct S3Reach {
    /// Another server than Amazon's: http://HOST[:PORT] or https://HOST[:PORT]
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// The bucket's region; found from the bucket when neither this nor the AWS settings give it
    #[arg(long)]
    region: Option<String>,
    /// The profile in the AWS configuration files
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Name the bucket in the path, not in the host name: for servers that want it so
    #[arg(long)]
    path_style: bool,
}

/// S3, for who writes there.
#[derive(Args)]
#[command(next_help_heading = "S3 options")]
pub struct S3Args {
    #[command(flatten)]
    reach: S3Reach,
    /// Encryption at rest
    #[arg(long, value_name = "KIND", value_parser = ["AES256", "aws:kms", "aws:kms:dsse"])]
    pub(super) sse: Option<String>,
    /// The KMS key for --sse=aws:kms: its ARN or identity
    #[arg(long, value_name = "KEY")]
    pub(super) kms_key_id: Option<String>,
    /// The storage class, as S3 spells it: STANDARD_IA, GLACIER_IR, …
    #[arg(long, value_name = "CLASS")]
    pub(super) storage_class: Option<String>,
    /// A tag for each object; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::pair, value_delimiter = ',')]
    pub(super) tag: Vec<(String, String)>,
    /// User metadata for each object; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::pair, value_delimiter = ',')]
    metadata: Vec<(String, String)>,
    /// Archives larger than this are sent in parts of this size, from 5MiB to 5GiB [default: 8MiB]
    #[arg(long, value_name = "SIZE", value_parser = config::part_size)]
    part_size: Option<u64>,
    /// How many parts of an archive are under way at once, up to 64 [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: Option<u16>,
    /// What all uploads together may take, per second: 500KiB, 10MB
    #[arg(long, value_name = "SIZE", value_parser = config::rate)]
    max_bandwidth: Option<u64>,
}

impl S3Reach {
    /// The far end that DEST names, for who only reads there. Needs no network.
    pub fn store(&self, env: &Env, dest: &Dest) -> Result<Arc<dyn Store>> {
        match &dest.place {
            Place::Directory(root) => {
                refuse(self.given())?;
                Ok(directory(env, root))
            }
            Place::S3(bucket) => Ok(Arc::new(S3::new(self.options(bucket)?))),
        }
    }

    fn options(&self, bucket: &str) -> Result<s3::Options> {
        match &self.endpoint_url {
            Some(url) => check_address(url)?,
            None => s3::check_variables()?,
        }
        Ok(s3::Options {
            endpoint_url: self.endpoint_url.clone(),
            region: self.region.clone().filter(|region| !region.is_empty()),
            profile: self.profile.clone(),
            path_style: self.path_style,
            ..s3::Options::new(bucket)
        })
    }

    fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("--endpoint-url", self.endpoint_url.is_some()),
            ("--region", self.region.is_some()),
            ("--profile", self.profile.is_some()),
            ("--path-style", self.path_style),
        ]
    }
}

/// A directory that is not there holds nothing, but mostly somebody has mistyped it. A bucket tells that itself.
pub fn must_stand(env: &Env, dest: &Dest) -> Result<()> {
    let Place::Directory(root) = &dest.place else { return Ok(()) };
    match env.fs.stat(Path::new(root))?.is_some_and(|entry| entry.kind == EntryKind::Dir) {
        true => Ok(()),
        false => Err(Error::stop("list", root, Kind::NotFound, "there is no such directory")),
    }
}

fn directory(env: &Env, root: &str) -> Arc<dyn Store> {
    Arc::new(Directory::new(Arc::clone(&env.fs), root, PRIVATE))
}

/// An option that would be ignored is refused.
fn refuse(given: impl IntoIterator<Item = (&'static str, bool)>) -> Result<()> {
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::usage(option, "goes with an s3:// DEST only")),
        None => Ok(()),
    }
}

impl S3Args {
    /// The far end that DEST names. Needs no network.
    pub fn store(&self, env: &Env, dest: &Dest) -> Result<Arc<dyn Store>> {
        match &dest.place {
            Place::Directory(root) => {
                self.refuse_without_s3()?;
                Ok(directory(env, root))
            }
            Place::S3(bucket) => Ok(Arc::new(self.bucket(bucket)?)),
        }
    }

    /// A bucket, with the settings for objects.
    pub fn bucket(&self, bucket: &str) -> Result<S3> {
        self.options(bucket).map(S3::new)
    }

    fn options(&self, bucket: &str) -> Result<s3::Options> {
        self.check()?;
        let defaults = self.reach.options(bucket)?;
        Ok(s3::Options {
            sse: self.sse.clone(),
            kms_key_id: self.kms_key_id.clone(),
            storage_class: self.storage_class.clone(),
            tags: self.tag.clone(),
            metadata: self.metadata.clone(),
            part_size: self.part_size.unwrap_or(defaults.part_size),
            concurrency: self.concurrency.map_or(defaults.concurrency, usize::from),
            max_bandwidth: self.max_bandwidth,
            ..defaults
        })
    }

    /// Checks what can be checked without knowing DEST.
    pub fn check(&self) -> Result<()> {
        if let Some(url) = &self.reach.endpoint_url {
            check_address(url)?;
        }
        match self.kms_key_id.is_some() && !self.sse.as_deref().is_some_and(|sse| sse.starts_with(KMS)) {
            true => Err(Error::usage("--kms-key-id", "goes with --sse=aws:kms only")),
            false => Ok(()),
        }
    }

    /// The region, if it was given.
    pub fn region(&self) -> Option<&str> {
        self.reach.region.as_deref().filter(|region| !region.is_empty())
    }

    /// What was given, as the words of a command line.
    pub fn words(&self) -> Vec<String> {
        let reach = &self.reach;
        let texts = [
            ("endpoint-url", &reach.endpoint_url),
            ("region", &reach.region),
            ("profile", &reach.profile),
            ("sse", &self.sse),
            ("kms-key-id", &self.kms_key_id),
            ("storage-class", &self.storage_class),
        ];
        let numbers = [
            ("part-size", self.part_size),
            ("concurrency", self.concurrency.map(u64::from)),
            ("max-bandwidth", self.max_bandwidth),
        ];
        let pairs = [("tag", &self.tag), ("metadata", &self.metadata)];
        let path_style = reach.path_style.then(|| "--path-style".to_owned());
        let texts = texts.into_iter().filter_map(|(name, text)| text.as_ref().map(|text| format!("--{name}={text}")));
        let pairs = pairs.into_iter().flat_map(|(name, all)| all.iter().map(move |(k, v)| format!("--{name}={k}={v}")));
        let numbers =
            numbers.into_iter().filter_map(|(name, number)| number.map(|number| format!("--{name}={number}")));
        texts.chain(path_style).chain(pairs).chain(numbers).collect()
    }

    /// An option that would be ignored is refused.
    pub fn refuse_without_s3(&self) -> Result<()> {
        let given = [
            ("--sse", self.sse.is_some()),
            ("--kms-key-id", self.kms_key_id.is_some()),
            ("--storage-class", self.storage_class.is_some()),
            ("--tag", !self.tag.is_empty()),
            ("--metadata", !self.metadata.is_empty()),
            ("--part-size", self.part_size.is_some()),
            ("--concurrency", self.concurrency.is_some()),
            ("--max-bandwidth", self.max_bandwidth.is_some()),
        ];
        refuse(self.reach.given().into_iter().chain(given))
    }
}

/// Checks `--endpoint-url`.
pub fn check_address(url: &str) -> Result<()> {
    match is_address(url) {
        true => Ok(()),
        // Not shown: there may be a password in it.
        false if url.contains('@') => Err(s3::with_user("--endpoint-url")),
        false => Err(Error::usage(format!("--endpoint-url={url}"), "is no http:// or https:// address")
            .mend("write http://HOST[:PORT] or https://HOST[:PORT]")),
    }
}

/// Whether a text is `http[s]://HOST[:PORT][/…]`.
fn is_address(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let after_host = authority.rfind(']').map_or(authority, |bracket| &authority[bracket..]);
    let (host, port) = match after_host.rfind(':') {
        Some(_) => authority.rsplit_once(':').unwrap_or((authority, "")),
        None => (authority, "80"),
    };
    // A password in it would be seen by everybody (ps(1)), and S3 has none.
    !host.contains('@') && !host.is_empty() && port.parse::<u16>().is_ok() && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn an_endpoint_has_a_host_and_a_port_that_exists() {
        for text in
            ["http://h", "https://s3.example.com:9000", "http://[::1]:80/x", "http://[::1]", "http://127.0.0.1:1/"]
        {
            assert!(is_address(text), "{text}");
        }
        for text in
            ["http://", "https://h:99999", "ftp://h", "h:80", "http://:80", "http://h:", "http://a b", "http://u:p@h"]
        {
            assert!(!is_address(text), "{text}");
        }
    }
}
