//! A small archive with all that an archive may have, made by the real binary at a real server; and places to put it.

use crate::cli::{self, Ended, Running, Spool};
use crate::far::{self, Objects, is_manifest};
use crate::growing::{LONG, far_from_the_turn, lines};
use crate::server::{Fault, S3Server, Seen};
use crate::shared;
use chrono::{DateTime, TimeDelta, Timelike, Utc};
use logjam::format::heads::{self, Head};
use logjam::format::key::{Dest, manifest_key};
use logjam::format::manifest::{Counts, Link, Manifest, Packed, Summary, VERSION, sha256};
use logjam::format::name::LogName;
use logjam::format::seal::Ended as How;
use logjam::format::sign::Signer;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

pub const TEMPLATE: &str = "{prefix}/{year}/{month}/{day}/{filename}";
const BUCKET: &str = "logs";

/// An archive, and the keys that it is signed with.
pub struct Made {
    pub objects: Objects,
    pub signer: Signer,
    pub other: Signer,
    keys: PathBuf,
    now: DateTime<Utc>,
}

/// A host: DIR, and how it is called.
struct Host<'a> {
    spool: Spool,
    server: &'a S3Server,
    suffix: &'a str,
    options: Vec<String>,
}

impl Host<'_> {
    /// `logjam pipe` with DEST.
    fn pipe(&self, options: &[&str]) -> Command {
        let dest = format!("s3://{BUCKET}/{TEMPLATE}");
        let mut command = cli::logjam(["pipe", &self.spool.arg(), &dest, &format!("--suffix={}", self.suffix)]);
        command.args(&self.options).args(options).envs(self.server.environment());
        command
    }

    /// Hour files that an earlier life left behind.
    fn left_behind(&self, hours: impl IntoIterator<Item = DateTime<Utc>>) {
        for hour in hours {
            let name = LogName::hour("syslog", hour, self.suffix, None).to_string();
            let text: String = (0..20 + hour.hour()).map(|n| format!("{hour} line {n} of {}\n", self.suffix)).collect();
            self.spool.write(&name, text);
        }
    }

    /// An hour in which no line came.
    fn silent(&self, hour: DateTime<Utc>) {
        let silent = Summary {
            ended: How::Period,
            seconds: Some(3600),
            lines: 0,
            bytes: 0,
            blake3: blake3::hash(b"").to_hex().to_string(),
            first: None,
            last: None,
            watched: Some(hour),
            counts: Counts::default(),
            packed: None,
        };
        let name = LogName::hour("syslog", hour, self.suffix, None).with_ending(".gz");
        let text = serde_json::to_vec(&silent).unwrap();
        let path = self.spool.write(&format!(".logjam/summary/{name}"), text);
        let then = SystemTime::now() - Duration::from_secs(600);
        fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    /// A life that archives what is there, and `text`.
    #[track_caller]
    fn once(&self, text: &[u8]) -> Ended {
        self.life(text).code_is(0)
    }

    fn life(&self, text: &[u8]) -> Ended {
        let input = tempfile::NamedTempFile::new().unwrap();
        fs::write(input.path(), text).unwrap();
        let mut command = self.pipe(&["--once"]);
        command.stdin(fs::File::open(input.path()).unwrap());
        Running::start(command).end_within(LONG)
    }

    /// A life that is stopped once a checkpoint tells of `text`.
    #[track_caller]
    fn stopped(&self, text: &[u8]) -> (Running, std::io::PipeWriter) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut command = self.pipe(&["--checkpoint=1s"]);
        command.stdin(Stdio::from(reader)).process_group(0);
        let running = Running::start(command);
        writer.write_all(text).unwrap();
        running.until("there is a checkpoint", || {
            self.server.all_keys(BUCKET).iter().any(|key| key.starts_with(".logjam/checkpoint/"))
        });
        running.signal_group(Signal::SIGSTOP);
        (running, writer)
    }
}

impl Made {
    /// The archive with everything in it.
    pub fn get() -> &'static Self {
        static MADE: OnceLock<Made> = OnceLock::new();
        MADE.get_or_init(Self::everything)
    }

    fn empty() -> Self {
        far_from_the_turn(LONG);
        let keys = shared::directory();
        let make = |name: &str| {
            let path = keys.join(name);
            cli::run(cli::logjam([Path::new("keygen"), &path])).code_is(0);
            Signer::parse(&fs::read_to_string(path).unwrap()).unwrap()
        };
        let (signer, other) = (make("key"), make("other"));
        let now = Utc::now().with_minute(0).and_then(|now| now.with_second(0)?.with_nanosecond(0)).unwrap();
        Self { objects: Objects::new(), signer, other, keys, now }
    }

    /// Two streams, hour by hour: a silent hour, one that was stored late, one that was rescued while the chain went on without it,
    /// its rest, and an hour of a host that came back without its disk. Everything is signed.
    fn everything() -> Self {
        let mut made = Self::empty();
        let server = S3Server::start();
        server.create_bucket(BUCKET);
        let key = format!("--sign-key={}", made.files().0.display());
        let host = |suffix| Host { spool: Spool::new(), server: &server, suffix, options: vec![key.clone()] };
        let (one, two, three) = (host("web-1"), host("web-2"), host("web-1"));
        one.left_behind([-6, -5, -3, -1].map(|hour| made.hour(hour)));
        // Makes the directories.
        one.once(b"");
        one.silent(made.hour(-4));
        one.once(b"");
        let (first, rest) = (lines(2_000, 1), lines(1_000, 2));
        let (running, writer) = one.stopped(&first);
        // Meanwhile the chain goes on: what the checkpoint tells of is a fork.
        one.left_behind([made.hour(-2)]);
        // What the stopped one has open is left undone.
        one.life(b"").code_is(1);
        running.kill_group();
        drop(writer);
        let mut command = cli::logjam(["rescue", &format!("s3://{BUCKET}/{TEMPLATE}"), "--older-than=0s"]);
        command.envs(server.environment());
        cli::run(command).code_is(0).says("saved 1 objects");
        cli::until("the killed host is gone", || server.is_deserted());
        one.once(&rest).says("a rescue stored the first");
        // Its disk is lost.
        three.once(&lines(3_000, 4));
        two.left_behind([-6, -5, -4].map(|hour| made.hour(hour)));
        two.once(b"");
        made.take(&server);
        let manifests = made.objects.iter().filter(|(key, _)| is_manifest(key));
        assert_eq!(manifests.count(), 13, "{:?}", made.objects.keys());
        assert_eq!(made.objects.len(), 24, "{:?}", made.objects.keys());
        made
    }

    /// Some hours of one stream.
    pub fn hours(hours: &[i64], options: &[&str]) -> Self {
        let mut made = Self::empty();
        let server = S3Server::start();
        server.create_bucket(BUCKET);
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let host = Host { spool: Spool::new(), server: &server, suffix: "web-1", options };
        host.left_behind(hours.iter().map(|hour| made.hour(*hour)));
        host.once(b"");
        made.take(&server);
        assert_eq!(made.objects.len(), 2 * hours.len(), "{:?}", made.objects.keys());
        made
    }

    fn take(&mut self, server: &S3Server) {
        for key in server.all_keys(BUCKET) {
            self.objects.insert(key.clone(), server.object(BUCKET, &key).unwrap().data());
        }
        self.objects.retain(|key, _| !key.starts_with(".logjam/"));
    }

    /// The start of an hour, so many after the one in which it was made.
    pub fn hour(&self, hours: i64) -> DateTime<Utc> {
        self.now + TimeDelta::hours(hours)
    }

    /// The same as text.
    pub fn time(&self, hours: i64) -> String {
        self.hour(hours).format("%Y-%m-%dT%H:%MZ").to_string()
    }

    /// The files of the keys that it is signed with: secret, public.
    pub fn files(&self) -> (PathBuf, PathBuf) {
        (self.keys.join("key"), self.keys.join("key.pub"))
    }

    pub fn public_key(&self) -> String {
        format!("--public-key={}", self.files().1.display())
    }

    pub fn other_public_key(&self) -> String {
        format!("--public-key={}", self.keys.join("other.pub").display())
    }

    /// What nothing else names, as a file of heads has it.
    pub fn heads_of(&self, place: &Place) -> String {
        let all: Vec<_> = self.objects.iter().filter(|(key, _)| is_manifest(key)).collect();
        let parsed: Vec<_> = all.iter().map(|(_, data)| Manifest::parse(data).unwrap()).collect();
        let named = |sha: &str| parsed.iter().any(|m| m.previous.as_ref().is_some_and(|link| link.sha256 == sha));
        let mut tips: Vec<_> = (all.iter().zip(&parsed))
            .filter(|((_, data), _)| !named(&sha256(data)))
            .map(|((key, data), manifest)| Head {
                prefix: manifest.prefix.clone(),
                suffix: manifest.suffix.clone(),
                number: manifest.number,
                sha256: sha256(data),
                key: (*key).clone(),
            })
            .collect();
        tips.sort();
        String::from_utf8(heads::write(&place.dest(), &tips)).unwrap()
    }

    /// The known heads of this archive, in a file.
    pub fn heads(&self, place: &Place) -> Heads {
        let heads = self.no_heads(place);
        fs::write(&heads.0, self.heads_of(place)).unwrap();
        heads
    }

    /// A file of heads that does not stand yet.
    pub fn no_heads(&self, place: &Place) -> Heads {
        let heads = Heads(place.scratch.path().join("heads"));
        let _ = fs::remove_file(&heads.0);
        heads
    }
}

/// A file of heads.
pub struct Heads(PathBuf);

impl Heads {
    pub fn option(&self) -> String {
        format!("--heads={}", self.0.display())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn content(&self) -> String {
        fs::read_to_string(&self.0).unwrap()
    }
}

/// A far end that holds an archive.
pub struct Place {
    server: Option<S3Server>,
    root: tempfile::TempDir,
    scratch: tempfile::TempDir,
}

impl Place {
    pub fn bucket(objects: &Objects) -> Self {
        let server = S3Server::start();
        server.create_bucket(BUCKET);
        Self::holding(Some(server), objects)
    }

    pub fn directory(objects: &Objects) -> Self {
        Self::holding(None, objects)
    }

    fn holding(server: Option<S3Server>, objects: &Objects) -> Self {
        let place = Self { server, root: tempfile::tempdir().unwrap(), scratch: tempfile::tempdir().unwrap() };
        for (key, data) in objects {
            place.put(key, data);
        }
        place
    }

    /// Stores an object, as if that had been some hours ago: what is young is not judged yet.
    pub fn put(&self, key: &str, data: &[u8]) {
        self.put_of(key, data, SystemTime::now() - Duration::from_secs(5 * 3600));
    }

    /// Stores an object, as if that had been then.
    pub fn put_of(&self, key: &str, data: &[u8], modified: SystemTime) {
        match &self.server {
            Some(server) => server.put_object_of(BUCKET, key, data, modified),
            None => {
                let path = self.root.path().join(key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let mut file = fs::File::create(path).unwrap();
                file.write_all(data).unwrap();
                file.set_modified(modified).unwrap();
            }
        }
    }

    pub fn remove(&self, key: &str) {
        match &self.server {
            Some(server) => server.remove_object(BUCKET, key),
            None => fs::remove_file(self.root.path().join(key)).unwrap(),
        }
    }

    /// Makes it hold this instead of that.
    pub fn change(&self, from: &Objects, to: &Objects) {
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            self.remove(key);
        }
        for (key, data) in to.iter().filter(|(key, data)| from.get(*key) != Some(data)) {
            self.put(key, data);
        }
    }

    pub fn dest(&self) -> String {
        match &self.server {
            Some(_) => format!("s3://{BUCKET}/{TEMPLATE}"),
            None => format!("file://{}/{TEMPLATE}", self.root.path().display()),
        }
    }

    /// `logjam verify`.
    pub fn verify(&self, options: &[&str]) -> Ended {
        self.run("verify", options)
    }

    /// `logjam COMMAND DEST OPTIONS`.
    pub fn run(&self, command: &str, options: &[&str]) -> Ended {
        let mut command = cli::logjam([command, &self.dest()]);
        command.args(options);
        if let Some(server) = &self.server {
            server.clear_requests();
            command.envs(server.environment());
        }
        Running::start(command).end_within(LONG)
    }

    /// The requests of the last check.
    pub fn requests(&self) -> Vec<Seen> {
        self.server.as_ref().map(S3Server::requests).unwrap_or_default()
    }

    /// Cuts the first answers about each object off from now on, behind so many bytes.
    pub fn cut(&self, behind: BTreeMap<String, usize>, times: usize) {
        let cut = Mutex::new(BTreeMap::<String, usize>::new());
        self.server.as_ref().unwrap().set_fault(move |seen: &Seen| {
            let Some(bytes) = behind.get(&seen.key).filter(|_| seen.method == "GET") else { return Fault::None };
            let mut cut = cut.lock().unwrap();
            let so_far = cut.entry(seen.key.clone()).or_default();
            *so_far += 1;
            if *so_far <= times { Fault::CutBody(*bytes) } else { Fault::None }
        });
    }

    /// Refuses everything from now on.
    pub fn refuse(&self) {
        self.server.as_ref().unwrap().set_fault(|_| Fault::refuse(403, "AccessDenied"));
    }
}

/// So many hours of one stream, one chain.
pub fn many(hours: i64) -> Objects {
    let dest = Dest::parse(&format!("s3://{BUCKET}/{TEMPLATE}")).unwrap();
    let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut objects = Objects::new();
    let mut previous = None;
    for hour in 0..hours {
        let start = start + TimeDelta::hours(hour);
        let name = LogName::hour("syslog", start, "web-1", None).with_ending(".gz");
        let (key, data) = (dest.key(&name), format!("object {hour}").into_bytes());
        let manifest = Manifest {
            version: VERSION,
            host: "web-1".into(),
            prefix: "syslog".into(),
            suffix: Some("web-1".into()),
            start,
            name: name.to_string(),
            key: key.clone(),
            summary: Summary {
                ended: How::Period,
                seconds: Some(3600),
                lines: 1,
                bytes: 1,
                blake3: String::new(),
                first: None,
                last: None,
                watched: None,
                counts: Counts::default(),
                packed: Some(Packed { codec: "gzip".into(), bytes: data.len() as u64, sha256: sha256(&data) }),
            },
            number: u64::try_from(hour).unwrap() + 1,
            previous,
            at: start,
            signed_by: None,
            signature: None,
        };
        let place = manifest_key(&key);
        previous = Some(Link { key: place.clone(), sha256: sha256(&manifest.bytes()) });
        objects.insert(place, manifest.bytes());
        objects.insert(key, data);
    }
    assert!(objects.keys().all(|key| far::is_archive(key) != is_manifest(key)));
    objects
}
