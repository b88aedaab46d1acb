//! DEST: the way to it, stage by stage, and each call that archiving makes.

use super::Line;
use crate::env::Env;
use crate::env::host;
use crate::env::s3::S3;
use crate::env::s3::survey::{Greeting, resolve};
use crate::env::store::{Store, in_memory};
use crate::error::{Error, Kind};
use crate::format::key::{Dest, probe_key};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

/// S3 refuses requests whose time is off by more than 15 min (its error `RequestTimeTooSkewed`).
const REFUSED: TimeDelta = TimeDelta::minutes(15);
/// A clock that is off by more than this puts lines into the wrong hour.
const OFF: TimeDelta = TimeDelta::seconds(30);
/// Credentials that expire sooner are told.
const SOON: TimeDelta = TimeDelta::hours(1);
/// The media type of what is tried: that of an archive, so that all settings for archives are.
const MEDIA: &str = "application/gzip";

/// What is tried.
pub struct Far<'a> {
    /// The doors.
    pub env: &'a Env,
    /// The far end.
    pub store: &'a dyn Store,
    /// The same, if it is S3.
    pub s3: Option<&'a S3>,
    /// Where archives go there.
    pub dest: &'a Dest,
    /// A key that an archive of this host would have.
    pub key: &'a str,
    /// This host, for the object that is tried.
    pub host: &'a str,
    /// Whether checkpoints are written: where they are not, there may be no right to write where the tried object goes.
    pub checkpoints: bool,
}

impl Far<'_> {
    /// Tries it.
    pub async fn look(&self, lines: &mut Vec<Line>) {
        if let Some(s3) = self.s3
            && !self.reach(s3, lines).await
        {
            return;
        }
        self.write(lines).await;
        self.upload(lines).await;
        self.read(lines).await;
    }

    /// Whether the server can be spoken to.
    async fn reach(&self, s3: &S3, lines: &mut Vec<Line>) -> bool {
        match s3.credentials().await {
            Ok(source) => {
                let left = source.expires.map(|at| at - self.env.clock.now());
                let until =
                    source.expires.map_or(String::new(), |at| format!(", until {}", at.format("%Y-%m-%dT%H:%MZ")));
                let says = format!("from {}{until}", source.from);
                lines.push(match left {
                    Some(left) if left < SOON && source.from.starts_with("the environment") => {
                        Line::note("credentials", says, "nothing renews credentials in the environment: use a role")
                    }
                    _ => Line::ok("credentials", says),
                });
            }
            Err(e) => lines.push(Line::failed("credentials", &e)),
        }
        let greeting = s3.greet().await;
        self.network(&greeting, lines).await;
        let Some(status) = greeting.status else { return false };
        lines.push(clock(&greeting, self.env.clock.now()));
        lines.push(self.bucket(&greeting, status));
        status != 404
    }

    async fn network(&self, greeting: &Greeting, lines: &mut Vec<Line>) {
        let address = &greeting.address;
        if address.host.is_empty() {
            lines.extend(greeting.failed.as_ref().map(|e| Line::failed("server", e)));
            return;
        }
        match resolve(address).await {
            Ok(found) => {
                let found: Vec<String> = found.iter().take(3).map(ToString::to_string).collect();
                lines.push(Line::ok("dns", format!("{} is {}", address.host, found.join(", "))));
            }
            Err(e) => {
                let mend = "look at /etc/resolv.conf, and at the network that this runs in";
                lines.push(Line { mend: Some(mend.into()), ..Line::failed("dns", &e) });
            }
        }
        let way = format!("{}:{}", address.host, address.port);
        lines.push(match (&greeting.failed, greeting.status) {
            (Some(e), None) => Line::failed(if address.is_tls { "tls" } else { "server" }, e),
            _ if address.is_tls => Line::ok("tls", format!("{way}: its certificate is one that this system trusts")),
            _ => Line::note("tls", format!("{way} is spoken to in the clear"), "give an https:// --endpoint-url"),
        });
    }

    fn bucket(&self, greeting: &Greeting, status: u16) -> Line {
        let region = greeting.region.as_deref().map_or(String::new(), |region| format!(" in {region}"));
        let name = self.store.name();
        match (status, &greeting.failed) {
            (404, Some(e)) => Line::failed("bucket", e),
            (403, _) => Line::ok(
                "bucket",
                format!("{name}{region}: this user may not look at it (s3:ListBucket), and need not"),
            ),
            (401, Some(e)) => Line::failed("bucket", e),
            (_, None) => Line::ok("bucket", format!("{name}{region}")),
            (_, Some(e)) => Line::failed("bucket", e),
        }
    }

    /// A small object with the settings of archives: conditions, checksum, encryption, tags.
    async fn write(&self, lines: &mut Vec<Line>) {
        let key = probe_key(self.host);
        let body = |text: &'static str| in_memory(Bytes::from_static(text.as_bytes()));
        let first = self.store.create(&key, body("logjam check\n"), MEDIA).await;
        let stood = matches!(&first, Err(e) if e.kind == Kind::Exists);
        if let Err(e) = &first
            && !stood
        {
            // Without checkpoints, nothing else is written there.
            let needless = e.kind == Kind::Denied && !self.checkpoints;
            let mend = "checksum and conditions were not tried";
            return lines.push(if needless { Line::note("put", e, mend) } else { self.bad("put", e) });
        }
        // What is replaced has been taken and its checksum compared, whatever stood there before.
        let stored = match self.store.replace(&key, body("logjam check\n"), MEDIA, None).await {
            Ok(_) if stood => "replaced".to_owned(),
            Ok(_) => "stored, and replaced".to_owned(),
            Err(e) => return lines.push(self.bad("put", &e)),
        };
        lines.push(Line::ok("put", format!("{} was {stored}", self.dest.url(&key))));
        let checksum = first.as_ref().ok().and_then(|stored| stored.checksum.as_deref());
        match (checksum, self.s3) {
            (Some(checksum), _) => lines.push(Line::ok("checksum", format!("the server verified {checksum}"))),
            (None, Some(_)) if !stood => {
                let says = "the server verifies Content-MD5 only, and keeps no checksum";
                lines.push(Line::note("checksum", says, ""));
            }
            _ => {}
        }
        lines.push(match self.store.create(&key, body("logjam check, another\n"), MEDIA).await {
            Err(e) if e.kind == Kind::Exists => Line::ok("condition", "an object that stands there is not overwritten"),
            Err(e) => self.bad("condition", &e),
            Ok(_) => Line::fail(
                "condition",
                "the server overwrote an object though it was told not to (If-None-Match)",
                "let no two hosts have the same --suffix there, or take another server",
            ),
        });
    }

    /// An upload in parts is begun where archives go, and aborted: nothing is left there.
    async fn upload(&self, lines: &mut Vec<Line>) {
        let Some(parts) = self.store.parts() else { return };
        let begun = match parts.begin(self.key, MEDIA).await {
            Ok(upload) => upload,
            Err(e) => return lines.push(self.bad("archive", &e)),
        };
        lines.push(Line::ok("archive", format!("an upload to {} was begun", self.dest.url(self.key))));
        lines.push(match parts.abort(self.key, &begun).await {
            Ok(()) => Line::ok("abort", "and aborted"),
            Err(e) => self.bad("abort", &e),
        });
        let consequence = "what a killed process leaves open is found by its own journal only; let a lifecycle rule abort old uploads";
        match parts.open(self.key).await {
            Ok(_) => lines.push(Line::ok("uploads", "open uploads can be listed")),
            Err(e) if e.kind == Kind::Denied => {
                lines.push(Line::note("uploads", format!("open uploads can't be listed: {}", e.cause), consequence));
            }
            Err(e) => lines.push(self.bad("uploads", &e)),
        }
    }

    /// With the right that is missing, as S3 calls it.
    fn needs(&self, consequence: &str, right: &str) -> String {
        self.s3.map_or(consequence.to_owned(), |_| format!("{consequence} ({right})"))
    }

    /// What failed. A directory's own words do not say what mends it.
    fn bad(&self, what: &'static str, e: &Error) -> Line {
        let line = Line::failed(what, e);
        if self.s3.is_some() || line.mend.is_some() {
            return line;
        }
        let mend = match e.kind {
            Kind::Full => "free some space there".to_owned(),
            _ => {
                format!("{} must be able to make directories and files below {}", host::user_name(), self.dest.url(""))
            }
        };
        Line { mend: Some(mend), ..line }
    }

    /// What archiving does without, and other commands need.
    async fn read(&self, lines: &mut Vec<Line>) {
        let consequence = self.needs(
            "where an object stands already, its content can't be compared: the new one gets its own name",
            "s3:GetObject",
        );
        match self.store.fetch(&probe_key(self.host), 0).await {
            Ok(_) => lines.push(Line::ok("read", "objects can be read")),
            Err(e) if e.kind == Kind::Denied => {
                lines.push(Line::note("read", format!("objects can't be read: {}", e.cause), &consequence))
            }
            Err(e) => lines.push(self.bad("read", &e)),
        }
        match self.store.list(&probe_key(self.host), None).await {
            Ok(_) => lines.push(Line::ok("list", "keys can be listed")),
            Err(e) if e.kind == Kind::Denied => {
                let says = format!("keys can't be listed: {}", e.cause);
                let consequence = "ls, cat, grep, verify, report and rescue need it, archiving does not";
                lines.push(Line::note("list", says, &self.needs(consequence, "s3:ListBucket")));
            }
            Err(e) => lines.push(self.bad("list", &e)),
        }
    }
}

fn clock(greeting: &Greeting, now: DateTime<Utc>) -> Line {
    let Some(theirs) = greeting.date else {
        return Line::note("clock", "the server does not tell the time", "");
    };
    // Theirs is cut to the second.
    let off = (now - theirs).num_seconds();
    let says = format!("{} s {} the server's", off.abs(), if off < 0 { "behind" } else { "before" });
    match off.abs() {
        off if off >= REFUSED.num_seconds() => {
            Line::fail("clock", says, "set the clock (timedatectl): S3 refuses requests")
        }
        off if off > OFF.num_seconds() => {
            Line::note("clock", says, "set the clock (timedatectl): lines go into hours by it")
        }
        _ => Line::ok("clock", says),
    }
}
