//! What `logjam::env::directory` promises, on a real disk and on one in memory whose power is cut at every step.

#![allow(clippy::disallowed_methods)] // Tests look at the real clock and disk.

use crate::cut::{Machine, Mistake, Power, Survivor};
use logjam::env::checksum;
use logjam::env::directory::Directory;
use logjam::env::disk::Disk;
use logjam::env::fs::Fs;
use logjam::env::store::{Found, Multipart, Part, Store, in_memory};
use logjam::error::{Class, Kind, Result};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const JSON: &str = "application/json";
const GZIP: &str = "application/gzip";
const SURVIVORS: [Survivor; 9] = [
    Survivor::Killed,
    Survivor::Nothing,
    Survivor::Everything,
    Survivor::Names,
    Survivor::Content,
    Survivor::Coin(1),
    Survivor::Coin(2),
    Survivor::Torn(1),
    Survivor::Zeros(1),
];

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

fn directory(root: &Path) -> Directory {
    Directory::new(Arc::new(Disk), root, ".logjam")
}

async fn replace(store: &Directory, key: &str, data: &str, only_if: Option<&str>) -> Result<String> {
    let body = in_memory(data.as_bytes().to_vec().into());
    store.replace(key, body, JSON, only_if).await.map(Option::unwrap)
}

async fn create(store: &Directory, key: &str, data: &str) -> Result<()> {
    store.create(key, in_memory(data.as_bytes().to_vec().into()), GZIP).await.map(|_| ())
}

async fn fetch(store: &Directory, key: &str) -> Result<Option<(Found, Vec<u8>)>> {
    let Some((found, mut content)) = store.fetch(key, 0).await? else { return Ok(None) };
    let mut data = Vec::new();
    while let Some(piece) = content.next().await? {
        assert!(!piece.is_empty());
        data.extend_from_slice(&piece);
    }
    Ok(Some((found, data)))
}

async fn send(store: &Directory, upload: &str, number: i32, at: u64, data: &str) -> Result<Part> {
    store.send("d/k", upload, number, at, in_memory(data.as_bytes().to_vec().into())).await
}

async fn complete(store: &Directory, upload: &str, parts: &[Part], whole: &str) -> Result<()> {
    store.complete("d/k", upload, parts, &crc(whole)).await.map(|_| ())
}

fn crc(data: &str) -> String {
    checksum::encode(checksum::of(data.as_bytes()))
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind
}

/// The names in the private directory.
fn private(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.join(".logjam")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn unfinished(root: &Path, key: &str) -> PathBuf {
    root.join(format!(".logjam/{:08x}-{}.part", crc32fast::hash(key.as_bytes()), key.len()))
}

#[test]
fn an_object_is_looked_at_and_fetched_as_it_was_stored() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(dir.path());
        for (key, len) in [("d/small", 300_001), ("empty", 0), ("d/e/large", 3 << 20)] {
            let data: String = (0..len).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
            create(&store, key, &data).await.unwrap();
            let found = store.look(key).await.unwrap().unwrap();
            assert_eq!((found.len, found.checksum.clone()), (len, None));
            assert!(found.etag.is_some() && (chrono::Utc::now() - found.modified).num_seconds().abs() < 60);
            let (again, content) = fetch(&store, key).await.unwrap().unwrap();
            assert!(again == found && content == data.as_bytes(), "{key}");
        }
        // A link is no object, wherever it points to, and its place is not free.
        std::os::unix::fs::symlink(dir.path().join("empty"), dir.path().join("link")).unwrap();
        for key in ["absent", "d", "d/e", "absent/k", "empty/k", "link"] {
            assert_eq!(store.look(key).await.unwrap(), None, "{key}");
            assert!(fetch(&store, key).await.unwrap().is_none());
        }
        assert_eq!(kind(create(&store, "link", "x").await), Kind::Exists);
    });
}

#[test]
fn an_object_that_shrinks_while_it_is_fetched_is_not_taken_for_whole() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(dir.path());
        create(&store, "k", &"x".repeat(300_000)).await.unwrap();
        let (_, mut end) = store.fetch("k", 299_998).await.unwrap().unwrap();
        assert_eq!(end.next().await.unwrap().as_deref(), Some(&b"xx"[..]));
        assert_eq!(end.next().await.unwrap(), None);
        let (_, mut content) = store.fetch("k", 0).await.unwrap().unwrap();
        content.next().await.unwrap().unwrap();
        std::fs::OpenOptions::new().write(true).open(dir.path().join("k")).unwrap().set_len(200_000).unwrap();
        let mut rest = content.next().await;
        while let Ok(Some(_)) = rest {
            rest = content.next().await;
        }
        assert_eq!(rest.unwrap_err().class, Class::Retry);
    });
}

#[test]
fn an_object_at_a_fixed_key_is_replaced_and_with_a_condition_only_the_one_that_is_known() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (directory(dir.path()), directory(dir.path()));
        let first = replace(&store, "d/k", "one", None).await.unwrap();
        assert_eq!(store.look("d/k").await.unwrap().unwrap().etag.as_ref(), Some(&first));
        // Who has it open reads on what stood there.
        let (_, mut open) = store.fetch("d/k", 0).await.unwrap().unwrap();
        let second = replace(&other, "d/k", "two", Some(&first)).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(open.next().await.unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(kind(replace(&store, "d/k", "three", Some(&first)).await), Kind::Exists);
        assert_eq!(fetch(&store, "d/k").await.unwrap().unwrap().1, b"two");
        assert_eq!(kind(replace(&store, "d/absent", "x", Some(&first)).await), Kind::Exists);
        assert_eq!(store.look("d/absent").await.unwrap(), None);
        // In the other order, and as long as before: an inode number that is used again does not deceive.
        for text in ["on1", "on2", "on3", "on4"] {
            replace(&other, "d/k", text, None).await.unwrap();
        }
        assert_eq!(kind(replace(&store, "d/k", "x", Some(&second)).await), Kind::Exists);
        let large = "x".repeat(2 << 20);
        let third = replace(&store, "d/k", &large, None).await.unwrap();
        assert_eq!(store.look("d/k").await.unwrap().unwrap().etag.as_ref(), Some(&third));
        replace(&store, "d/k", &large, Some(&third)).await.unwrap();
        assert_eq!(kind(replace(&store, "d/k", "x", Some(&third)).await), Kind::Exists);
        assert!(private(dir.path()).is_empty(), "{:?}", private(dir.path()));
        // What create made is replaced as well, and create never replaces.
        create(&store, "c", "created").await.unwrap();
        replace(&store, "c", "replaced", None).await.unwrap();
        assert_eq!(kind(create(&store, "c", "created").await), Kind::Exists);
        assert_eq!(std::fs::read(dir.path().join("c")).unwrap(), b"replaced");
    });
}

#[test]
fn two_that_store_at_one_key_at_once_do_not_meet_in_one_file() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(dir.path());
        replace(&store, "k", "old", None).await.unwrap();
        let work = unfinished(dir.path(), "k");
        std::fs::write(&work, "half").unwrap();
        let held = Disk.open(&work).unwrap();
        assert!(held.try_lock().unwrap());
        let e = replace(&store, "k", "new", None).await.unwrap_err();
        assert_eq!((e.class, e.kind), (Class::Retry, Kind::Busy), "{e}");
        assert_eq!(kind(create(&directory(dir.path()), "k", "new").await), Kind::Exists);
        assert!(work.exists(), "whoever has it goes on");
        // Dead: nobody has the lock any more.
        drop(held);
        replace(&store, "k", "new", None).await.unwrap();
        assert_eq!(fetch(&store, "k").await.unwrap().unwrap().1, b"new");
        // A life that ended between link and remove: the object has a second name, which is taken away and not written to.
        std::fs::hard_link(dir.path().join("k"), &work).unwrap();
        let before = Disk.open_read(&dir.path().join("k")).unwrap();
        replace(&store, "k", "newer", None).await.unwrap();
        assert_eq!(before.len().unwrap(), 3);
        assert!(private(dir.path()).is_empty());
    });
}

#[test]
fn keys_are_listed_in_the_order_of_their_bytes_without_what_is_unfinished() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(dir.path());
        let keys = ["a-1", "a/1", "a/b/3", "a/c", "a0", "b/é/1", "b/é/2"];
        for key in keys {
            create(&store, key, key).await.unwrap();
        }
        replace(&store, ".logjam/catalog/x.json", "{}", None).await.unwrap();
        store.begin("d/k", GZIP).await.unwrap();
        std::fs::write(unfinished(dir.path(), "q"), "half").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let list = async |prefix: &str, after: Option<&str>| {
            let found = directory(dir.path()).list(prefix, after).await.unwrap().keys;
            assert!(found.iter().all(|listed| prefix.starts_with('.') || listed.len == listed.key.len() as u64));
            found.into_iter().map(|listed| listed.key).collect::<Vec<_>>()
        };
        assert_eq!(list("", None).await, keys);
        assert_eq!(list("a", None).await, keys[..5]);
        assert_eq!(list("a/", None).await, keys[1..4]);
        assert_eq!(list("a/b", None).await, keys[2..3]);
        assert_eq!(list("b/é", None).await, keys[5..]);
        assert_eq!(list("a/1", None).await, keys[1..2]);
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(list("", Some(key)).await, keys[at + 1..], "behind {key}");
        }
        assert_eq!(list("a/", Some("a/b")).await, keys[2..4]);
        assert_eq!(list("", Some("a/b/4")).await, keys[3..]);
        assert_eq!(list(".logjam/", None).await, [".logjam/catalog/x.json"]);
        assert_eq!(list(".logjam/catalog/x", None).await, [".logjam/catalog/x.json"]);
        for nothing in [".", ".log", "z", "absent/", "../", "/", "/etc/", "a//", "./a/", "a-1/"] {
            assert_eq!(list(nothing, None).await, [""; 0], "{nothing}");
        }
    });
}

#[test]
fn a_long_listing_comes_in_pages() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        for at in 0..2100 {
            let path = dir.path().join(format!("{}/{at:04}", at % 7));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let store = directory(dir.path());
        let (mut found, mut sizes) = (Vec::<String>::new(), Vec::new());
        loop {
            let page = store.list("", found.last().map(String::as_str)).await.unwrap();
            sizes.push(page.keys.len());
            found.extend(page.keys.into_iter().map(|listed| listed.key));
            if !page.more {
                break;
            }
        }
        assert_eq!(sizes, [1000, 1000, 100]);
        assert!(found.is_sorted());
    });
}

#[test]
fn an_object_in_parts_is_gone_on_with_by_another_process() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (store, other) = (directory(dir.path()), directory(dir.path()));
        let parts = store.parts().unwrap();
        assert_eq!((parts.concurrency(), parts.part_size()), (1, 8 << 20));
        let upload = store.begin("d/k", GZIP).await.unwrap();
        let first = send(&store, &upload, 1, 0, "first-").await.unwrap();
        assert_eq!((first.crc.as_str(), first.checksum.as_deref()), (crc("first-").as_str(), None));
        assert_eq!(first.etag, format!("0-6-{:016x}", checksum::of(b"first-")));
        // A life that ended in the middle of the second.
        send(&store, &upload, 2, 6, "seco").await.unwrap();
        let second = send(&other, &upload, 2, 6, "second-").await.unwrap();
        assert_eq!(kind(send(&other, &upload, 4, 99, "x").await), Kind::NotFound);
        let third = send(&other, &upload, 3, 13, "third").await.unwrap();
        send(&other, &upload, 4, 18, "of a life that did not write it down").await.unwrap();
        assert_eq!(other.open("d/k").await.unwrap(), [upload.as_str()]);
        assert!(store.list("", None).await.unwrap().keys.is_empty());
        let all = [first, second, third];
        complete(&other, &upload, &all, "first-second-third").await.unwrap();
        assert_eq!(fetch(&store, "d/k").await.unwrap().unwrap().1, b"first-second-third");
        assert!(private(dir.path()).is_empty() && store.open("d/k").await.unwrap().is_empty());
        assert_eq!(kind(send(&store, &upload, 4, 18, "x").await), Kind::NotFound);
        assert_eq!(kind(complete(&store, &upload, &all, "first-second-third").await), Kind::NotFound);
        store.abort("d/k", &upload).await.unwrap();
    });
}

#[test]
fn parts_that_do_not_make_the_object_are_refused() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(dir.path());
        let upload = store.begin("d/k", GZIP).await.unwrap();
        let first = send(&store, &upload, 1, 0, "one").await.unwrap();
        let second = send(&store, &upload, 2, 3, "two").await.unwrap();
        let mut forged = second.clone();
        forged.crc = crc("owt");
        for (parts, whole) in [
            (vec![second.clone()], "two"),
            (vec![second.clone(), first.clone()], "onetwo"),
            (vec![first.clone(), first.clone()], "oneone"),
            (vec![first.clone(), forged], "onetwo"),
            (vec![first.clone(), second.clone()], "other"),
        ] {
            assert_eq!(kind(complete(&store, &upload, &parts, whole).await), Kind::Other, "{parts:?}");
        }
        // Cut behind the first by somebody who sent that again.
        send(&store, &upload, 1, 0, "one").await.unwrap();
        assert_eq!(kind(complete(&store, &upload, &[first.clone(), second], "onetwo").await), Kind::NotFound);
        complete(&store, &upload, &[first], "one").await.unwrap();
        for wrong in ["../../d/k", "", ".parts", &upload.replace('-', "/"), "00000000-3-0123456789abcdef.parts"] {
            assert_eq!(kind(send(&store, wrong, 1, 0, "x").await), Kind::NotFound, "{wrong}");
            store.abort("d/k", wrong).await.unwrap();
        }
        assert_eq!(std::fs::read(dir.path().join("d/k")).unwrap(), b"one");
    });
}

#[test]
fn an_upload_in_parts_does_not_overwrite_and_is_one_process_s_at_a_time() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = directory(dir.path());
        let upload = store.begin("d/k", GZIP).await.unwrap();
        let another = store.begin("d/k", GZIP).await.unwrap();
        store.begin("d/l", GZIP).await.unwrap();
        let mut open = store.open("d/k").await.unwrap();
        open.sort();
        let mut both = [upload.clone(), another.clone()];
        both.sort();
        assert_eq!(open, both);
        let part = send(&store, &upload, 1, 0, "data").await.unwrap();
        let work = dir.path().join(".logjam").join(&upload);
        let held = Disk.open(&work).unwrap();
        assert!(held.try_lock().unwrap());
        assert_eq!(kind(send(&store, &upload, 2, 4, "x").await), Kind::Busy);
        assert_eq!(kind(complete(&store, &upload, std::slice::from_ref(&part), "data").await), Kind::Busy);
        drop(held);
        // A life that ended between link and remove.
        std::fs::hard_link(&work, dir.path().join("d-k")).unwrap();
        std::fs::create_dir_all(dir.path().join("d")).unwrap();
        std::fs::rename(dir.path().join("d-k"), dir.path().join("d/k")).unwrap();
        assert_eq!(kind(send(&store, &upload, 1, 0, "x").await), Kind::NotFound);
        assert_eq!(kind(complete(&store, &upload, &[part], "data").await), Kind::Exists);
        assert!(store.matches("d/k", in_memory("data".into())).await.unwrap());
        assert!(!work.exists());
        let part = send(&store, &another, 1, 0, "other").await.unwrap();
        assert_eq!(kind(complete(&store, &another, &[part], "other").await), Kind::Exists);
        assert_eq!(std::fs::read(dir.path().join("d/k")).unwrap(), b"data");
        store.abort("d/k", &another).await.unwrap();
        assert!(store.open("d/k").await.unwrap().is_empty());
        assert_eq!(private(dir.path()).len(), 1, "that of the other key");
        // What clears up after the dead leaves uploads alone.
        create(&directory(dir.path()), "m", "x").await.unwrap();
        assert_eq!(private(dir.path()).len(), 1);
    });
}

#[test]
fn what_a_rescue_makes_of_parts_and_a_tail_leaves_the_parts_alone_until_the_object_stands() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (host, rescue) = (directory(dir.path()), directory(dir.path()));
        let upload = host.begin("d/k", GZIP).await.unwrap();
        let first = send(&host, &upload, 1, 0, "first-").await.unwrap();
        let second = send(&host, &upload, 2, 6, "second-").await.unwrap();
        let finish = async |parts: &[Part], tail: &'static str, whole: &str| {
            rescue.finish("d/k", &upload, parts, 6, in_memory(tail.into()), &crc(whole)).await.map(|_| ())
        };
        assert_eq!(kind(finish(std::slice::from_ref(&first), "sec.", "first-sec?").await), Kind::Other);
        // It comes no further than its tail.
        std::fs::write(dir.path().join("d"), "in the way").unwrap();
        finish(std::slice::from_ref(&first), "seconds end.", "first-seconds end.").await.unwrap_err();
        std::fs::remove_file(dir.path().join("d")).unwrap();
        // Its host lives.
        let third = send(&host, &upload, 3, 13, "third").await.unwrap();
        let all = [first.clone(), second, third];
        complete(&host, &upload, &all, "first-second-third").await.unwrap();
        assert_eq!(fetch(&host, "d/k").await.unwrap().unwrap().1, b"first-second-third");
        assert_eq!(kind(finish(std::slice::from_ref(&first), "sec.", "first-sec.").await), Kind::NotFound);

        std::fs::remove_file(dir.path().join("d/k")).unwrap();
        let upload = host.begin("d/k", GZIP).await.unwrap();
        let first = send(&host, &upload, 1, 0, "first-").await.unwrap();
        let work = dir.path().join(".logjam").join(&upload);
        let finish = async || {
            let parts = std::slice::from_ref(&first);
            rescue.finish("d/k", &upload, parts, 6, in_memory("sec.".into()), &crc("first-sec.")).await.map(|_| ())
        };
        for damaged in ["fi", "fIrst-"] {
            std::fs::write(&work, damaged).unwrap();
            assert_eq!(kind(finish().await), Kind::NotFound, "{damaged}");
        }
        std::fs::write(&work, "first-second-third").unwrap();
        finish().await.unwrap();
        assert_eq!(fetch(&host, "d/k").await.unwrap().unwrap().1, b"first-sec.");
        assert!(private(dir.path()).is_empty(), "{:?}", private(dir.path()));
        assert_eq!(kind(send(&host, &upload, 2, 6, "second-").await), Kind::NotFound);
    });
}

fn machine(power: Arc<Power>) -> Machine {
    Machine::new("2026-01-01T00:00:00Z", &["/far"], false, power, Mistake::None)
}

fn on(machine: &Machine) -> Directory {
    Directory::new(Arc::clone(&machine.fs) as Arc<dyn Fs>, "/far", ".logjam")
}

/// A life cut at every step, and what is then found of each way in which it may survive.
fn sweep<T: Clone>(life: impl AsyncFn(&Directory) -> Result<T>, next: impl AsyncFn(&Directory, Option<T>, String)) {
    run(async {
        for step in 0.. {
            let first = machine(Power::cut_at(Some(step)));
            let done = life(&on(&first)).await.ok();
            let ended = !first.power.is_cut();
            assert_eq!(done.is_some(), ended);
            for how in SURVIVORS {
                let second = first.after(how, Duration::from_secs(1), Power::cut_at(None));
                next(&on(&second), done.clone(), format!("cut at {step}, {how:?}")).await;
            }
            if ended {
                return assert!(step > 5, "{step} steps");
            }
        }
    });
}

#[test]
fn a_power_cut_leaves_the_old_or_the_new_object_where_one_is_replaced() {
    const CONTENTS: [&str; 3] = ["old", "new content", "newest"];
    // How many the first life was told to be done.
    let done = std::cell::Cell::new(0);
    let life = async |store: &Directory| {
        done.set(0);
        let mut etag = None;
        for content in CONTENTS {
            etag = Some(replace(store, "d/k", content, etag.as_deref()).await?);
            done.set(done.get() + 1);
        }
        Ok(())
    };
    sweep(life, async |store, _, story| {
        let found = fetch(store, "d/k").await.unwrap().map(|(_, data)| String::from_utf8(data).unwrap());
        let number = |text: &String| CONTENTS.iter().position(|content| content == text).expect(&story) + 1;
        let number = found.as_ref().map_or(0, number);
        assert!((done.get()..=done.get() + 1).contains(&number), "{story}: {found:?} after {}", done.get());
        replace(store, "d/k", "after", None).await.unwrap_or_else(|e| panic!("{story}: {e}"));
        assert_eq!(fetch(store, "d/k").await.unwrap().unwrap().1, b"after", "{story}");
        assert_eq!(store.list("", None).await.unwrap().keys.len(), 1, "{story}");
    });
}

#[test]
fn a_power_cut_leaves_an_object_in_parts_whole_or_absent_and_what_was_sent_counts() {
    // What the first life wrote down, as its journal would hold it.
    let noted = std::sync::Mutex::new((None::<String>, Vec::<Part>::new()));
    let life = async |store: &Directory| {
        *noted.lock().unwrap() = (None, Vec::new());
        let upload = store.begin("d/k", GZIP).await?;
        noted.lock().unwrap().0 = Some(upload.clone());
        for (number, at, data) in [(1, 0, "first-"), (2, 6, "second-"), (3, 13, "third")] {
            let part = send(store, &upload, number, at, data).await?;
            noted.lock().unwrap().1.push(part);
        }
        let parts = noted.lock().unwrap().1.clone();
        complete(store, &upload, &parts, "first-second-third").await
    };
    sweep(life, async |store, done, story| {
        let whole = || in_memory("first-second-third".into());
        let (upload, mut parts) = noted.lock().unwrap().clone();
        if store.look("d/k").await.unwrap().is_some() {
            assert!(store.matches("d/k", whole()).await.unwrap(), "{story}");
        } else {
            assert!(done.is_none(), "{story}");
        }
        let Some(upload) = upload else { return };
        if store.look("d/k").await.unwrap().is_none() {
            for (number, at, data) in
                [(1, 0, "first-"), (2, 6, "second-"), (3, 13, "third")].into_iter().skip(parts.len())
            {
                let part = send(store, &upload, number, at, data).await.unwrap_or_else(|e| panic!("{story}: {e}"));
                parts.push(part);
            }
            complete(store, &upload, &parts, "first-second-third").await.unwrap_or_else(|e| panic!("{story}: {e}"));
        } else {
            assert_eq!(kind(send(store, &upload, 1, 0, "x").await), Kind::NotFound, "{story}");
            let again = kind(complete(store, &upload, &parts, "first-second-third").await);
            assert!(matches!(again, Kind::Exists | Kind::NotFound), "{story}: {again:?}");
        }
        assert!(store.matches("d/k", whole()).await.unwrap(), "{story}");
        assert!(store.open("d/k").await.unwrap().is_empty(), "{story}");
    });
}

#[test]
fn a_power_cut_leaves_what_a_rescue_makes_of_parts_whole_or_absent_and_the_parts_whole() {
    let noted = std::sync::Mutex::new(None::<(String, Part, Part)>);
    let finish = async |store: &Directory, upload: &str, first: &Part| {
        let parts = std::slice::from_ref(first);
        store.finish("d/k", upload, parts, 6, in_memory("sec.".into()), &crc("first-sec.")).await.map(|_| ())
    };
    let life = async |store: &Directory| {
        *noted.lock().unwrap() = None;
        let upload = store.begin("d/k", GZIP).await?;
        let first = send(store, &upload, 1, 0, "first-").await?;
        let second = send(store, &upload, 2, 6, "second-").await?;
        *noted.lock().unwrap() = Some((upload.clone(), first.clone(), second));
        finish(store, &upload, &first).await
    };
    sweep(life, async |store, done, story| {
        let Some((upload, first, second)) = noted.lock().unwrap().clone() else { return };
        let whole = || in_memory("first-sec.".into());
        if store.look("d/k").await.unwrap().is_some() {
            assert!(store.matches("d/k", whole()).await.unwrap(), "{story}");
            let again = kind(finish(store, &upload, &first).await);
            assert!(matches!(again, Kind::Exists | Kind::NotFound), "{story}: {again:?}");
            let host = kind(complete(store, &upload, &[first, second], "first-second-").await);
            assert!(matches!(host, Kind::Exists | Kind::NotFound), "{story}: {host:?}");
            assert!(store.matches("d/k", whole()).await.unwrap(), "{story}");
        } else {
            assert!(done.is_none(), "{story}");
            complete(store, &upload, &[first, second], "first-second-")
                .await
                .unwrap_or_else(|e| panic!("{story}: {e}"));
            assert_eq!(fetch(store, "d/k").await.unwrap().unwrap().1, b"first-second-", "{story}");
        }
    });
}
