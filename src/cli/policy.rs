//! `logjam policy`.

use super::options;
use super::reading::say;
use crate::config;
use crate::error::{Error, Result};
use crate::format::key::{Dest, Place};
use crate::ops::policy::{self, Kind, Role, Transition, Unit, Variant, Wish};
use crate::pipeline::Left;
use clap::ValueEnum;

/// Print ready text for what surrounds logjam: rights in S3, rules of the bucket, files for daemons
///
/// The text is made for the settings that are given: those of `logjam pipe` or `logjam upload`. Of them each kind takes what
/// matters to it; BUCKET stands for what is not known. It goes to standard output, and holds no key. Without settings it is the
/// file that is shipped.
#[derive(clap::Args)]
pub struct Args {
    /// Which text
    #[arg(value_enum)]
    kind: Name,
    /// Where archives go, as given to `logjam pipe`
    #[arg(value_name = "DEST")]
    dest: Option<String>,
    /// The directory of the hour files [default: /var/log/logjam]
    #[arg(long, value_name = "DIR")]
    dir: Option<String>,
    /// For iam: whose rights. Several are added up
    #[arg(long, value_enum, value_delimiter = ',', default_value = "write")]
    role: Vec<RoleName>,
    /// For rsyslog: how it and logjam speak
    #[arg(long, value_enum, default_value = "confirmed")]
    variant: VariantName,
    /// For systemd: which file
    #[arg(long, value_enum, default_value = "upload")]
    unit: UnitName,
    /// For systemd: the user that owns DIR
    #[arg(long, value_name = "NAME", default_value = policy::USER)]
    user: String,
    /// For lifecycle: when archives go to a cheaper class; may be given several times [default: 30:STANDARD_IA and 180:GLACIER_IR]
    #[arg(long, value_name = "DAYS:CLASS", value_delimiter = ',', value_parser = Transition::parse)]
    transition: Vec<Transition>,
    /// The only prefix, where there is no other: rights are for its keys alone
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    /// The only suffix, where there is no other
    #[arg(long, value_name = "TEXT")]
    suffix: Option<String>,
    /// As for `logjam pipe`; with `off` no right to write checkpoints is needed
    #[arg(long, value_name = "DURATION|off", value_parser = config::checkpoint)]
    checkpoint: Option<config::Every>,
    #[command(flatten)]
    pub(super) log: options::Log,
    #[command(flatten)]
    s3: options::S3Args,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// The rights of a user or role, for `aws iam put-role-policy`
    Iam,
    /// The policy of the bucket, for `aws s3api put-bucket-policy`: TLS only, nothing is replaced, no other encryption
    Bucket,
    /// The lifecycle of the bucket, for `aws s3api put-bucket-lifecycle-configuration`
    Lifecycle,
    /// A file for /etc/rsyslog.d
    Rsyslog,
    /// A file for /etc/syslog-ng/conf.d
    SyslogNg,
    /// A service, or a drop-in for rsyslog's
    Systemd,
    /// A file for /etc/apparmor.d/rsyslog.d
    Apparmor,
    /// A policy module for rsyslogd's domain
    Selinux,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// Archive: `pipe`, `upload`
    Write,
    /// Beside that: know own objects again after a crash, and find uploads whose answer got lost
    Recognise,
    /// Read: `ls`, `cat`, `grep`, `verify`, `report`
    Read,
    /// Finish the hours of lost hosts: `rescue`
    Rescue,
}

#[derive(Clone, Copy, ValueEnum)]
enum VariantName {
    /// An answer to each line
    Confirmed,
    /// The same, and each line has an identity: none comes twice
    Id,
    /// An answer to each batch once it is on the disk, with identities
    Transactions,
    /// No answers: the fastest
    Plain,
}

#[derive(Clone, Copy, ValueEnum)]
enum UnitName {
    /// The service that stores what lies in DIR/archive
    Upload,
    /// The service that compresses what other programs wrote into DIR
    Compress,
    /// A drop-in for the rsyslog service
    Rsyslog,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Left> {
    args.s3.check()?;
    let kind = kind(args);
    let text = args.dest.as_deref().unwrap_or(policy::DEST);
    let dest = Dest::parse(text)?;
    if matches!(dest.place, Place::Directory(_)) {
        args.s3.refuse_without_s3()?;
    }
    let dir = args.dir.as_deref().unwrap_or(policy::DIR);
    let dir = match dir.trim_end_matches('/') {
        short if short.starts_with('/') => short,
        _ => return Err(Error::usage(format!("--dir={dir}"), "is not absolute, or is the root").mend("write it whole")),
    };
    if let Some(prefix) = &args.prefix {
        config::check_names(prefix, args.suffix.as_deref().unwrap_or("host"))?;
    }
    let words = words(args);
    let wish = Wish {
        text,
        dest: &dest,
        dir,
        given: args.dest.is_some() || args.dir.is_some() || !words.is_empty(),
        words: &words,
        prefix: args.prefix.as_deref(),
        suffix: args.suffix.as_deref(),
        checkpoints: args.checkpoint.is_none_or(|every| every.0.is_some()),
        tags: !args.s3.tag.is_empty(),
        sse: args.s3.sse.as_deref(),
        kms_key_id: args.s3.kms_key_id.as_deref(),
        region: args.s3.region(),
        storage_class: args.s3.storage_class.as_deref(),
        user: &args.user,
    };
    say(policy::text(&kind, &wish)?.trim_end()).map(|_| Left(Vec::new()))
}

/// What is printed.
fn kind(args: &Args) -> Kind {
    let role = |role: &RoleName| match role {
        RoleName::Write => Role::Write,
        RoleName::Recognise => Role::Recognise,
        RoleName::Read => Role::Read,
        RoleName::Rescue => Role::Rescue,
    };
    match args.kind {
        Name::Iam => Kind::Iam(args.role.iter().map(role).collect()),
        Name::Bucket => Kind::Bucket,
        Name::Lifecycle => Kind::Lifecycle(args.transition.clone()),
        Name::Rsyslog => Kind::Rsyslog(match args.variant {
            VariantName::Confirmed => Variant::Confirmed,
            VariantName::Id => Variant::Id,
            VariantName::Transactions => Variant::Transactions,
            VariantName::Plain => Variant::Plain,
        }),
        Name::SyslogNg => Kind::SyslogNg,
        Name::Systemd => Kind::Systemd(match args.unit {
            UnitName::Upload => Unit::Upload,
            UnitName::Compress => Unit::Compress,
            UnitName::Rsyslog => Unit::Rsyslog,
        }),
        Name::Apparmor => Kind::Apparmor,
        Name::Selinux => Kind::Selinux,
    }
}

/// The options that go with the command that the text holds.
fn words(args: &Args) -> Vec<String> {
    let mut words = Vec::new();
    // `logjam upload` has no streams of its own.
    if matches!(args.kind, Name::Rsyslog | Name::SyslogNg) {
        words.extend(args.prefix.as_ref().map(|prefix| format!("--prefix={prefix}")));
        words.extend(args.suffix.as_ref().map(|suffix| format!("--suffix={suffix}")));
        words.extend(args.checkpoint.map(|every| match every.0 {
            Some(every) => format!("--checkpoint={}", humantime::format_duration(every).to_string().replace(' ', "")),
            None => "--checkpoint=off".to_owned(),
        }));
    }
    words.extend(args.s3.words());
    words
}
