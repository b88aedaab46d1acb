//! Ready text for what surrounds the program: rights in S3, rules of a bucket, files for the daemons that start it.
//!
//! Each is made for the settings at hand. Without any it is the file of that kind in `contrib`, byte for byte, so what is
//! shipped and what is printed have one source. The files are templates (`files`); what S3 reads is built (`iam`, `bucket`,
//! `lifecycle`), from one description of where objects lie (`keys`).

mod bucket;
mod files;
mod iam;
mod keys;
mod lifecycle;
mod statement;

use crate::error::{Error, Result};
use crate::format::key::{Dest, Place};
pub use lifecycle::Transition;

/// DIR, where none is given.
pub const DIR: &str = "/var/log/logjam";
/// DEST, where none is given: the bucket is to be set.
pub const DEST: &str = "s3://BUCKET/{prefix}/{year}/{month}/{day}/{filename}";
/// The user of the service, where none is given.
pub const USER: &str = "root";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A policy for users and roles: these roles' rights.
    Iam(Vec<Role>),
    /// The policy of the bucket.
    Bucket,
    /// The lifecycle rules of the bucket, with these transitions.
    Lifecycle(Vec<Transition>),
    /// A configuration for rsyslog.
    Rsyslog(Variant),
    /// A configuration for syslog-ng.
    SyslogNg,
    /// A unit, or a drop-in.
    Systemd(Unit),
    /// Rules for the profile of rsyslogd.
    Apparmor,
    /// Rules for the domain of rsyslogd.
    Selinux,
}

/// What somebody does with the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Archives: `pipe`, `upload`.
    Write,
    /// Beside that: knows its own objects again, and uploads whose answer got lost.
    Recognise,
    /// Reads: `ls`, `cat`, `grep`, `verify`, `report`.
    Read,
    /// Finishes the hours of lost hosts: `rescue`.
    Rescue,
}

/// How rsyslog and the program speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// An answer to each line.
    Confirmed,
    /// The same, with identities.
    Id,
    /// An answer to each batch, with identities.
    Transactions,
    /// None.
    Plain,
}

/// What systemd is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The service that stores DIR/archive.
    Upload,
    /// The service that compresses DIR.
    Compress,
    /// A drop-in for rsyslog's own service.
    Rsyslog,
}

/// The settings.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// DEST as it was given, or [`DEST`].
    pub text: &'a str,
    /// The same, read.
    pub dest: &'a Dest,
    /// DIR: absolute, without a slash at its end.
    pub dir: &'a str,
    /// Whether any of DEST, DIR and the options was given.
    pub given: bool,
    /// The options for S3 and streams that were given, as words of a command line.
    pub words: &'a [String],
    /// The only stream prefix, if only one writes or reads.
    pub prefix: Option<&'a str>,
    /// The only stream suffix.
    pub suffix: Option<&'a str>,
    /// Whether checkpoints are written.
    pub checkpoints: bool,
    /// Whether objects get tags.
    pub tags: bool,
    /// Encryption at rest, as S3 spells it.
    pub sse: Option<&'a str>,
    /// The KMS key: ARN, identity or alias.
    pub kms_key_id: Option<&'a str>,
    /// The bucket's region.
    pub region: Option<&'a str>,
    /// The storage class of new objects.
    pub storage_class: Option<&'a str>,
    /// The user of the services.
    pub user: &'a str,
}

/// The text, with a newline at its end.
///
/// # Errors
/// Of class usage: a kind that speaks of a bucket where DEST is a directory; a value that the file can't hold.
pub fn text(kind: &Kind, wish: &Wish) -> Result<String> {
    match kind {
        Kind::Iam(roles) => iam::policy(wish, bucket_of(wish)?, roles),
        Kind::Bucket => bucket::policy(wish, bucket_of(wish)?),
        Kind::Lifecycle(transitions) => {
            bucket_of(wish)?;
            lifecycle::rules(wish, transitions)
        }
        Kind::Rsyslog(variant) => files::rsyslog(wish, *variant),
        Kind::SyslogNg => files::syslog_ng(wish),
        Kind::Systemd(unit) => files::systemd(wish, *unit),
        Kind::Apparmor => files::apparmor(wish),
        Kind::Selinux => Ok(files::selinux()),
    }
}

fn bucket_of<'a>(wish: &'a Wish) -> Result<&'a str> {
    match &wish.dest.place {
        Place::S3(bucket) => Ok(bucket),
        Place::Directory(_) => {
            Err(Error::usage(format!("DEST `{}`", wish.text), "is a directory, which has no such rules")
                .mend("give an s3:// DEST"))
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Settings that nobody gave, for a DEST.
    pub fn wish<'a>(text: &'a str, dest: &'a Dest) -> Wish<'a> {
        Wish {
            text,
            dest,
            dir: DIR,
            given: text != DEST,
            words: &[],
            prefix: None,
            suffix: None,
            checkpoints: true,
            tags: false,
            sse: None,
            kms_key_id: None,
            region: None,
            storage_class: None,
            user: USER,
        }
    }

    #[test]
    fn rules_of_a_bucket_are_refused_for_a_directory() {
        let dest = "file:///srv/{prefix}/{year}/{month}/{day}/{filename}";
        let place = Dest::parse(dest).unwrap();
        for kind in [Kind::Iam(vec![Role::Write]), Kind::Bucket, Kind::Lifecycle(Vec::new())] {
            let refused = text(&kind, &wish(dest, &place)).unwrap_err().to_string();
            assert!(refused.ends_with("give an s3:// DEST"), "{refused}");
        }
    }
}
