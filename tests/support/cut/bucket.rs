//! The far end: whatever it has acknowledged stays, whoever's power is cut.

use super::{Failure, Manual, Mistake, Power};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use logjam::env::checksum;
use logjam::env::clock::Clock;
use logjam::env::store::{Body, Content, Found, Later, Listed, Multipart, Page, Part, Store, Stored};
use logjam::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

/// Bodies above this are sent in parts, in bytes.
const PART_SIZE: u64 = 48;

/// A bucket in memory.
pub struct Bucket {
    held: Mutex<Held>,
    parts: bool,
    power: Arc<Power>,
    clock: Arc<Manual>,
    mistake: Mistake,
}

#[derive(Clone, Default)]
struct Held {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    begun: u64,
}

#[derive(Clone)]
struct Object {
    data: Vec<u8>,
    modified: DateTime<Utc>,
}

impl Object {
    fn etag(&self) -> String {
        format!("{:016x}", checksum::of(&self.data))
    }

    fn found(&self) -> Found {
        let checksum = Some(checksum::encode(checksum::of(&self.data)));
        Found { len: self.data.len() as u64, etag: Some(self.etag()), modified: self.modified, checksum }
    }
}

/// Content that comes in several pieces.
struct Pieces(Vec<u8>);

impl Content for Pieces {
    fn next(&mut self) -> Later<'_, Option<Bytes>> {
        let piece: Vec<u8> = self.0.drain(..self.0.len().div_ceil(2)).collect();
        Box::pin(async move { Ok((!piece.is_empty()).then(|| piece.into())) })
    }
}

#[derive(Clone)]
struct Upload {
    key: String,
    parts: BTreeMap<i32, Vec<u8>>,
}

impl Bucket {
    pub fn new(parts: bool, power: Arc<Power>, clock: Arc<Manual>, mistake: Mistake) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), parts, power, clock, mistake })
    }

    pub fn after(&self, power: Arc<Power>, clock: Arc<Manual>) -> Arc<Self> {
        let held = Mutex::new(self.held.lock().unwrap().clone());
        Arc::new(Self { held, parts: self.parts, power, clock, mistake: self.mistake })
    }

    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let held = self.held.lock().unwrap();
        held.objects.iter().map(|(key, object)| (key.clone(), object.data.clone())).collect()
    }

    /// Somebody else's object.
    pub fn put(&self, key: &str, data: &[u8]) {
        let object = Object { data: data.to_vec(), modified: self.clock.now() };
        self.held.lock().unwrap().objects.insert(key.to_owned(), object);
    }

    /// How many uploads in parts are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.held.lock().unwrap().uploads.len()
    }

    /// Does something unless it fails; what was done may still be answered with a failure.
    fn act<T>(
        &self,
        op: &'static str,
        key: &str,
        changes: bool,
        act: impl FnOnce(&mut Held) -> Result<T>,
    ) -> Result<T> {
        let lost = Error::retry(op, key, Kind::Unreachable, "no answer");
        match self.power.count(op, key, changes) {
            None => act(&mut self.held.lock().unwrap()),
            Some(Failure::AnswerLost) => act(&mut self.held.lock().unwrap()).and(Err(lost)),
            Some(_) => Err(lost),
        }
    }

    fn create(&self, held: &mut Held, key: &str, data: Vec<u8>) -> Result<Stored> {
        if held.objects.contains_key(key) && self.mistake != Mistake::StoreOverwrites {
            return Err(Error::stop("put", key, Kind::Exists, "something stands there"));
        }
        self.place(held, key, data);
        Ok(Stored { etag: Some("tag".into()), checksum: None })
    }

    /// Puts an object at a key, whatever stands there: its entity tag.
    fn place(&self, held: &mut Held, key: &str, mut data: Vec<u8>) -> String {
        if self.mistake == Mistake::StoreTruncates {
            data.truncate(data.len() - 1);
        }
        let object = Object { data, modified: self.clock.now() };
        let etag = object.etag();
        if self.mistake != Mistake::StoreForgets {
            held.objects.insert(key.to_owned(), object);
        }
        etag
    }
}

fn read(body: &Body) -> Result<Vec<u8>> {
    let mut data = vec![0; usize::try_from(body.len).unwrap()];
    let mut at = 0;
    while at < data.len() {
        match body.file.read_at(&mut data[at..], body.offset + at as u64)? {
            0 => return Err(Error::retry("read", "a body", Kind::Other, "it is shorter than it was")),
            n => at += n,
        }
    }
    Ok(data)
}

fn unknown(upload: &str) -> Error {
    Error::stop("send", upload, Kind::NotFound, "no such upload")
}

impl Store for Bucket {
    fn name(&self) -> &str {
        "s3://bucket"
    }

    fn create<'a>(&'a self, key: &'a str, body: Body, _content_type: &'a str) -> Later<'a, Stored> {
        Box::pin(async move {
            let data = read(&body)?;
            self.act("put", key, true, |held| self.create(held, key, data))
        })
    }

    fn matches<'a>(&'a self, key: &'a str, body: Body) -> Later<'a, bool> {
        Box::pin(async move {
            let data = read(&body)?;
            self.act("compare", key, false, |held| match held.objects.get(key) {
                Some(there) => Ok(there.data == data || self.mistake == Mistake::StoreSaysSame),
                None => Err(Error::stop("compare", key, Kind::NotFound, "nothing stands there")),
            })
        })
    }

    fn look<'a>(&'a self, key: &'a str) -> Later<'a, Option<Found>> {
        Box::pin(async move { self.act("look", key, false, |held| Ok(held.objects.get(key).map(Object::found))) })
    }

    fn fetch<'a>(&'a self, key: &'a str, from: u64) -> Later<'a, Option<(Found, Box<dyn Content>)>> {
        Box::pin(async move {
            self.act("fetch", key, false, |held| {
                let from = usize::try_from(from).unwrap();
                let content = |object: &Object| Box::new(Pieces(object.data[from..].to_vec())) as Box<dyn Content>;
                Ok(held.objects.get(key).map(|object| (object.found(), content(object))))
            })
        })
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        body: Body,
        _content_type: &'a str,
        only_if: Option<&'a str>,
    ) -> Later<'a, Option<String>> {
        Box::pin(async move {
            let data = read(&body)?;
            self.act("replace", key, true, |held| {
                let there = held.objects.get(key).map(Object::etag);
                if only_if.is_some() && there.as_deref() != only_if {
                    return Err(Error::stop("replace", key, Kind::Exists, "another object stands there, or none"));
                }
                Ok(Some(self.place(held, key, data)))
            })
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Later<'a, Page> {
        Box::pin(async move {
            self.act("list", prefix, false, |held| {
                let behind = (Bound::Excluded(after.unwrap_or_default()), Bound::Unbounded);
                let found = held.objects.range::<str, _>(behind).filter(|(key, _)| key.starts_with(prefix));
                let listed = |(key, object): (&String, &Object)| Listed {
                    key: key.clone(),
                    len: object.data.len() as u64,
                    modified: object.modified,
                };
                let keys: Vec<_> = found.take(1000).map(listed).collect();
                Ok(Page { more: keys.len() == 1000, keys })
            })
        })
    }

    fn parts(&self) -> Option<&dyn Multipart> {
        self.parts.then_some(self as &dyn Multipart)
    }
}

impl Multipart for Bucket {
    fn part_size(&self) -> u64 {
        PART_SIZE
    }

    fn concurrency(&self) -> usize {
        2
    }

    fn begin<'a>(&'a self, key: &'a str, _content_type: &'a str) -> Later<'a, String> {
        Box::pin(async move {
            self.act("begin", key, true, |held| {
                held.begun += 1;
                let id = format!("upload-{}", held.begun);
                held.uploads.insert(id.clone(), Upload { key: key.to_owned(), parts: BTreeMap::new() });
                Ok(id)
            })
        })
    }

    fn send<'a>(&'a self, key: &'a str, upload: &'a str, number: i32, _at: u64, body: Body) -> Later<'a, Part> {
        Box::pin(async move {
            let data = read(&body)?;
            self.act("send", key, true, |held| {
                let upload = held.uploads.get_mut(upload).ok_or_else(|| unknown(upload))?;
                let etag = format!("{:08x}", crc32fast::hash(&data));
                let crc = checksum::encode(checksum::of(&data));
                upload.parts.insert(number, data);
                Ok(Part { number, etag, checksum: None, crc })
            })
        })
    }

    fn complete<'a>(&'a self, key: &'a str, upload: &'a str, parts: &'a [Part], crc: &'a str) -> Later<'a, Stored> {
        Box::pin(async move {
            self.act("complete", key, true, |held| {
                let found = held.uploads.get(upload).filter(|found| found.key == key).ok_or_else(|| unknown(upload))?;
                let mut data = Vec::new();
                for (at, part) in parts.iter().enumerate() {
                    let sent = found.parts.get(&part.number).filter(|sent| {
                        usize::try_from(part.number) == Ok(at + 1)
                            && format!("{:08x}", crc32fast::hash(sent)) == part.etag
                    });
                    let sent =
                        sent.ok_or_else(|| Error::stop("complete", key, Kind::Other, "a part is not what was sent"));
                    data.extend_from_slice(sent?);
                }
                if checksum::encode(checksum::of(&data)) != crc {
                    return Err(Error::retry("complete", key, Kind::Other, "the checksum is not that of the parts"));
                }
                let stored = self.create(held, key, data)?;
                held.uploads.remove(upload);
                Ok(stored)
            })
        })
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> Later<'a, ()> {
        Box::pin(async move {
            self.act("abort", key, true, |held| {
                held.uploads.remove(upload);
                Ok(())
            })
        })
    }

    fn open<'a>(&'a self, key: &'a str) -> Later<'a, Vec<String>> {
        Box::pin(async move {
            self.act("list uploads", key, false, |held| {
                let ours = held.uploads.iter().filter(|(_, upload)| upload.key == key);
                Ok(ours.map(|(id, _)| id.clone()).collect())
            })
        })
    }
}
