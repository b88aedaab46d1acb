//! `logjam verify`: an archive that the real binary made, at a real server and in a directory, is clean; and every single change of
//! it is found.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

mod made;
mod sweep;

use crate::cli::{self, Ended};
use crate::far::{Objects, is_archive, is_manifest};
use logjam::format::manifest::{Link, Manifest, Packed, sha256};
use logjam::format::sign::Signer;
use made::{Made, Place, TEMPLATE};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Findings, by kind.
fn kinds(ended: &Ended) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for line in ended.said.lines() {
        let word = line.split(' ').next().unwrap_or_default();
        if ["MISSING", "ALTERED", "GAP", "EXTRA", "UNSIGNED", "LATE"].contains(&word) {
            *kinds.entry(word.to_owned()).or_default() += 1;
        }
    }
    kinds
}

#[track_caller]
fn clean(ended: Ended) -> Ended {
    assert_eq!(kinds(&ended), BTreeMap::new(), "{}", ended.said);
    ended.code_is(0)
}

#[track_caller]
fn finds(ended: Ended, kind: &str, text: &str) -> Ended {
    let found = ended.said.lines().any(|line| line.starts_with(&format!("{kind} ")) && line.contains(text));
    assert!(found, "no {kind} with {text:?} in:\n{}", ended.said);
    ended.code_is(1)
}

fn manifests(objects: &Objects) -> BTreeMap<String, Manifest> {
    let of = |(key, data): (&String, &Vec<u8>)| (key.clone(), Manifest::parse(data).expect("a manifest"));
    objects.iter().filter(|(key, _)| is_manifest(key)).map(of).collect()
}

// -------------------------------------------------------------------------------------------------------------- clean

#[test]
fn what_was_stored_is_found_to_be_whole_in_a_bucket() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let key = made.public_key();
    let said = clean(place.verify(&["--deep", &key])).said;
    let objects = made.objects.keys().filter(|key| is_archive(key)).count();
    let expected = format!("2 streams, {} manifests, {objects} objects", made.objects.len() - objects);
    assert!(said.contains(&expected) && said.contains("nothing found"), "{said}\n{expected}");
    assert!(place.requests().iter().all(|seen| matches!(seen.method.as_str(), "GET" | "HEAD")), "it changes nothing");
}

#[test]
fn what_was_stored_is_found_to_be_whole_in_a_directory() {
    let made = Made::get();
    let place = Place::directory(&made.objects);
    clean(place.verify(&["--deep", &made.public_key()]));
}

#[test]
fn without_deep_no_object_is_read_and_each_key_is_listed_once() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    clean(place.verify(&[]));
    let requests = place.requests();
    let lists = requests.iter().filter(|seen| seen.query.contains("list-type")).count();
    let gets: Vec<_> = requests.iter().filter(|seen| !seen.key.is_empty()).map(|seen| seen.key.clone()).collect();
    assert!(lists <= 2, "{lists} listings");
    assert!(gets.iter().all(|key| is_manifest(key)), "{gets:?}");
    let all = made.objects.keys().filter(|key| is_manifest(key)).count();
    // A fork by a rescue is looked up once more.
    assert!((all..=all + 2).contains(&gets.len()), "{} of {all}", gets.len());
}

#[test]
fn a_part_of_an_archive_is_whole_without_what_lies_before_and_behind() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    for from in 0..7 {
        let option = format!("--from={}", made.time(-from));
        clean(place.verify(&[&option]));
        clean(place.verify(&[&format!("--to={}", made.time(-from))]));
    }
    clean(place.verify(&["--suffix=web-2", "--prefix=sys*"])).says("1 streams, 3 manifests, 3 objects");
    // The one before the first is looked at all the same.
    let all = manifests(&made.objects);
    let before = |manifest: &Manifest| manifest.previous.as_ref().map(|link| (link.key.clone(), all[&link.key].start));
    let earlier = |manifest: &Manifest| before(manifest).filter(|(_, before)| *before < manifest.start);
    let (start, (previous, _)) =
        all.values().find_map(|manifest| Some((manifest.start, earlier(manifest)?))).expect("a chain");
    let mut objects = made.objects.clone();
    objects.get_mut(&previous).unwrap()[20] ^= 1;
    let place = Place::bucket(&objects);
    finds(place.verify(&[&format!("--from={}", start.format("%FT%RZ"))]), "ALTERED", &previous);
}

// --------------------------------------------------------------------------------------------------- what is not whole

#[test]
fn hours_in_which_nobody_watched_are_a_gap() {
    let made = Made::hours(&[-6, -5, -2], &[]);
    let place = Place::bucket(&made.objects);
    let said = finds(place.verify(&[]), "GAP", &format!("GAP {} ", made.time(-4))).said;
    assert!(said.contains(&format!("nobody watched until {}", made.time(-2))), "{said}");
    clean(place.verify(&["--ignore=gap"]));
    clean(place.verify(&["--ignore=GAP,late"]));
    clean(place.verify(&[&format!("--from={}", made.time(-2))]));
}

#[test]
fn what_nobody_tells_of_is_extra() {
    let made = Made::get();
    let key = made.objects.keys().find(|key| is_archive(key)).unwrap();
    let dir = &key[..=key.rfind('/').unwrap()];
    for (extra, period) in [
        (format!("{dir}syslog-20130704T0000Z-web-1.log.gz"), "-"),
        (format!("{dir}notes.txt"), "-"),
        ("notes.txt".to_owned(), "-"),
        (key.replace(".log.gz", ".0000000000000.log.gz"), "20"),
        (format!("{dir}_notes.json"), "-"),
    ] {
        for objects in [Place::bucket(&made.objects), Place::directory(&made.objects)] {
            objects.put(&extra, b"x");
            let said = finds(objects.verify(&[]), "EXTRA", &extra).said;
            assert!(said.contains(&format!("EXTRA {period}")), "{said}");
            clean(objects.verify(&["--ignore=extra"]));
        }
    }
}

#[test]
fn an_object_whose_manifest_may_still_come_is_told_and_no_finding() {
    let made = Made::get();
    let key = made.objects.keys().find(|key| is_archive(key)).unwrap();
    let extra = key.replace(".log.gz", ".0000000000000.log.gz");
    let second = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    for place in [Place::bucket(&made.objects), Place::directory(&made.objects)] {
        place.put_of(&extra, b"x", second(20));
        clean(place.verify(&[])).says("1 objects are so young that their manifests may still come");
        let heads = made.no_heads(&place);
        let said = clean(place.verify(&["--json", "--deep", &heads.option()])).said;
        assert!(said.contains(r#""young":1"#) && heads.path().exists(), "{said}");
        // What can have no manifest is extra at once.
        place.put_of("notes.txt", b"x", second(20));
        let said = finds(place.verify(&[]), "EXTRA", "notes.txt").said;
        assert!(!said.contains(&extra), "{said}");
        place.remove("notes.txt");
        place.put_of(&extra, b"x", second(100));
        let said = finds(place.verify(&[]), "EXTRA", &extra).said;
        assert!(!said.contains("young"), "{said}");
        place.remove(&extra);
        // One that came in parts bears the date of the first one.
        let name = format!("syslog-{}-web-1.0000000000000.log.gz", chrono::Utc::now().format("%Y%m%dT%H00Z"));
        let open = format!("{}/{name}", chrono::Utc::now().format("syslog/%Y/%m/%d"));
        place.put_of(&open, &vec![0; 5 << 20], second(1800));
        clean(place.verify(&[])).says("1 objects are so young");
        place.put_of(&open, b"x", second(1800));
        finds(place.verify(&[]), "EXTRA", &open);
    }
}

#[test]
fn an_archive_of_an_older_version_is_extra() {
    let only: Objects = Made::get().objects.clone().into_iter().filter(|(key, _)| is_archive(key)).collect();
    let ended = Place::bucket(&only).verify(&[]);
    assert_eq!(kinds(&ended), BTreeMap::from([("EXTRA".to_owned(), only.len())]), "{}", ended.said);
}

/// A directory that `upload` fills under a template: its DEST.
fn uploaded(spool: &cli::Spool, template: &str, names: &[&str]) -> String {
    for (at, name) in names.iter().enumerate() {
        spool.write(&format!("archive/{name}"), pack(format!("line {at}\n").as_bytes()));
    }
    let dest = format!("file://{}/{template}", spool.beside("far").display());
    let archive = spool.path("archive").display().to_string();
    cli::run(cli::logjam(["upload", &archive, &dest, "--once"])).code_is(0);
    dest
}

#[test]
fn the_name_tells_how_an_object_is_packed_whatever_its_key_ends_in() {
    for template in ["{prefix}/{year}/{month}/{day}/{filename}.tmp", "{filename}/{prefix}/{year}{month}{day}"] {
        let spool = cli::Spool::new();
        let dest = uploaded(&spool, template, &["my-app-20261120T0500Z-web-1.log.gz"]);
        clean(cli::run(cli::logjam(["verify", &dest, "--deep"]))).says("1 streams, 1 manifests, 1 objects");
    }
}

#[test]
fn a_stream_may_be_late_by_more_than_a_week() {
    let spool = cli::Spool::new();
    let days_ago = |days: i64| (chrono::Utc::now() - chrono::TimeDelta::days(days)).format("%Y%m%dT%H00Z").to_string();
    let dest = uploaded(&spool, TEMPLATE, &[&format!("app-{}-web-1.log.gz", days_ago(9))]);
    let verify = |age: &str| cli::run(cli::logjam(["verify", &dest, age]));
    clean(verify("--max-age=30d"));
    finds(verify("--max-age=8d"), "LATE", "the last period of its stream ended");
    finds(verify("--max-age=90m"), "LATE", "nothing is there since");
}

#[test]
fn a_period_that_lies_in_the_future_keeps_no_stream_from_being_late() {
    let hours = |hours: i64| (chrono::Utc::now() + chrono::TimeDelta::hours(hours)).format("%Y%m%dT%H00Z").to_string();
    let verify = |dest: &str| cli::run(cli::logjam(["verify", dest, "--max-age=150m"]));
    let name = |prefix: &str, after: i64| format!("{prefix}-{}-web-1.log.gz", hours(after));
    let spool = cli::Spool::new();
    let dest = uploaded(&spool, TEMPLATE, &[&name("app", -1), &name("app", 25)]);
    clean(verify(&dest));
    uploaded(&spool, TEMPLATE, &[&name("dead", -9), &name("dead", 25)]);
    let ended = finds(verify(&dest), "LATE", "/_dead-");
    assert_eq!(kinds(&ended), BTreeMap::from([("LATE".to_owned(), 1)]), "{}", ended.said);
    ended.says("the last period of its stream ended at ");
    let spool = cli::Spool::new();
    let ended = verify(&uploaded(&spool, TEMPLATE, &[&name("app", 25), &name("app", 26)]));
    assert_eq!(kinds(&ended), BTreeMap::from([("LATE".to_owned(), 1)]), "{}", ended.said);
    finds(ended, "LATE", "the only periods of its stream lie in the future: a clock was wrong").says("1 streams");
}

#[test]
fn a_link_in_the_place_of_an_object_is_no_object_and_the_rest_is_looked_at() {
    let spool = cli::Spool::new();
    let names = ["app-20261120T0500Z-web-1.log.gz", "app-20261120T0600Z-web-1.log.gz"];
    let dest = uploaded(&spool, TEMPLATE, &names);
    let path = |name: &str| spool.beside("far").join("app/2026/11/20").join(name);
    let aside = spool.beside("aside");
    std::fs::rename(path(names[0]), &aside).unwrap();
    std::os::unix::fs::symlink(&aside, path(names[0])).unwrap();
    std::fs::remove_file(path(names[1])).unwrap();
    let ended = finds(cli::run(cli::logjam(["verify", &dest])), "MISSING", names[0]);
    finds(ended, "MISSING", names[1]);
}

#[test]
fn nothing_at_all_is_missing_and_late() {
    let place = Place::bucket(&Objects::new());
    finds(place.verify(&[]), "MISSING", "nothing is there");
    let place = Place::directory(&Objects::new());
    finds(place.verify(&["--prefix=typo"]), "MISSING", "nothing is there");
    finds(place.verify(&["--max-age=90m"]), "LATE", "nothing is there");
}

// --------------------------------------------------------------------------------------------------------- signatures

#[test]
fn what_is_not_signed_by_a_known_key_is_said() {
    let unsigned = Made::hours(&[-3, -2], &[]);
    let made = Made::get();
    let key = made.public_key();
    let ended = Place::bucket(&unsigned.objects).verify(&[&key]);
    assert_eq!(kinds(&ended), BTreeMap::from([("UNSIGNED".to_owned(), 2)]), "{}", ended.said);
    ended.says("it is not signed");
    let other = made.other_public_key();
    let place = Place::bucket(&made.objects);
    let ended = place.verify(&[&other]);
    assert_eq!(kinds(&ended)["UNSIGNED"], made.objects.keys().filter(|key| is_manifest(key)).count());
    clean(place.verify(&[&other, &key]));
}

/// A newest manifest, which no other names: nothing but its signature tells whether it is what it was.
fn newest(made: &Made) -> (String, Manifest) {
    let all = manifests(&made.objects);
    let named: Vec<_> = all.values().filter_map(|manifest| manifest.previous.clone()).collect();
    let is_named = |key: &String| named.iter().any(|link| link.sha256 == sha256(&made.objects[key]));
    all.into_iter().find(|(key, manifest)| !is_named(key) && manifest.summary.packed.is_some()).unwrap()
}

#[test]
fn a_forged_signature_is_found() {
    let made = Made::get();
    let (key, manifest) = newest(made);
    let mut forged = manifest.clone();
    forged.summary.counts.cut += 1;
    let with = |data: Vec<u8>| {
        let mut objects = made.objects.clone();
        objects.insert(key.clone(), data);
        Place::bucket(&objects).verify(&[&made.public_key()])
    };
    finds(with(forged.bytes()), "ALTERED", "is not that of its bytes");
    finds(with(forged.clone().signed(&made.other).bytes()), "UNSIGNED", "by another key");
    let mut named = forged.clone().signed(&made.other);
    named.signed_by.clone_from(&manifest.signed_by);
    finds(with(named.bytes()), "ALTERED", "is not that of its bytes");
    let unsigned = Manifest { signed_by: None, signature: None, ..manifest.clone() };
    finds(with(unsigned.bytes()), "UNSIGNED", "it is not signed");
    let unnamed = Manifest { signed_by: None, ..manifest };
    finds(with(unnamed.bytes()), "UNSIGNED", "it is not signed");
}

/// The archive as somebody with the host's key would make it: one line less in the oldest hour, and every manifest behind that
/// made anew.
fn rewritten(made: &Made, signer: &Signer) -> Objects {
    let mut objects = made.objects.clone();
    let mut all: Vec<_> =
        manifests(&objects).into_iter().filter(|(_, m)| m.suffix.as_deref() == Some("web-1")).collect();
    all.sort_by_key(|(_, manifest)| manifest.number);
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    for (at, (key, manifest)) in all.into_iter().enumerate() {
        let before = sha256(&objects[&key]);
        let mut new = manifest;
        if at == 0 {
            let plain = b"something else\n";
            let packed = pack(plain);
            new.summary.lines = 1;
            new.summary.bytes = plain.len() as u64;
            new.summary.blake3 = blake3::hash(plain).to_hex().to_string();
            let bytes = packed.len() as u64;
            new.summary.packed = Some(Packed { codec: "gzip".into(), bytes, sha256: sha256(&packed) });
            objects.insert(new.key.clone(), packed);
        }
        new.previous = new.previous.map(|link| Link { sha256: renamed[&link.sha256].clone(), ..link });
        let bytes = new.signed(signer).bytes();
        renamed.insert(before, sha256(&bytes));
        objects.insert(key, bytes);
    }
    objects
}

fn pack(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_chain_that_was_made_anew_with_the_stolen_key_is_found_by_who_knows_its_last_head() {
    let made = Made::get();
    let objects = rewritten(made, &made.signer);
    let place = Place::bucket(&objects);
    // Nothing in the archive tells.
    clean(place.verify(&["--deep", &made.public_key()]));
    let heads = made.heads(&place);
    let said = finds(place.verify(&[&made.public_key(), &heads.option()]), "ALTERED", "is another one now").said;
    assert!(said.contains("when that was last checked"), "{said}");
    assert_eq!(heads.content(), made.heads_of(&place), "what was known stays known");
}

// -------------------------------------------------------------------------------------------------------------- heads

#[test]
fn the_known_heads_are_written_after_a_clean_check_only() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let heads = made.no_heads(&place);
    clean(place.verify(&[&heads.option()]));
    let first = heads.content();
    let known = logjam::format::heads::read(first.as_bytes(), &place.dest()).unwrap();
    let all = manifests(&made.objects);
    assert!(known.iter().all(|head| sha256(&made.objects[&head.key]) == head.sha256), "{known:?}");
    assert!(known.iter().all(|head| all[&head.key].number == head.number));
    // One of the DIR that was lost, one of the fork by the rescue, one behind it, and one of the other stream.
    assert_eq!(known.len(), 4, "{known:?}");
    assert_eq!(cli::names(heads.path().parent().unwrap()).iter().filter(|name| name.contains("heads")).count(), 1);
    clean(place.verify(&[&heads.option()]));
    assert_eq!(heads.content(), first);
    for head in &known {
        place.remove(&head.key);
        let object = all[&head.key].key.clone();
        place.remove(&object);
        finds(place.verify(&[&heads.option()]), "MISSING", &head.key);
        assert_eq!(heads.content(), first);
        place.put(&head.key, &made.objects[&head.key]);
        place.put(&object, &made.objects[&object]);
    }
}

#[test]
fn what_is_not_to_be_said_is_not_forgotten_by_the_known_heads() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let heads = made.heads(&place);
    let before = heads.content();
    let (key, manifest) = newest(made);
    place.remove(&key);
    place.remove(&manifest.key);
    place.verify(&[&heads.option(), "--ignore=missing"]).code_is(0);
    assert_eq!(heads.content(), before);
    finds(place.verify(&[&heads.option()]), "MISSING", &key);
}

#[test]
fn a_gap_that_is_passed_over_does_not_keep_the_known_heads_from_growing() {
    let made = Made::hours(&[-6, -5, -2], &[]);
    let place = Place::bucket(&made.objects);
    let heads = made.no_heads(&place);
    let said = finds(place.verify(&[&heads.option()]), "GAP", &format!("GAP {} ", made.time(-4))).said;
    assert!(said.contains("so newer heads are not noted"), "{said}");
    assert!(!heads.path().exists());
    clean(place.verify(&[&heads.option(), "--ignore=gap,extra"]));
    let (key, manifest) = newest(&made);
    place.remove(&key);
    place.remove(&manifest.key);
    finds(place.verify(&[&heads.option(), "--ignore=gap"]), "MISSING", &key);
}

#[test]
fn a_file_of_heads_that_was_cut_or_is_none_is_refused() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let heads = made.heads(&place);
    let lines: Vec<_> = heads.content().lines().map(|line| format!("{line}\n")).collect();
    std::fs::write(heads.path(), lines[..lines.len() - 1].concat()).unwrap();
    let says = format!("holds {} heads, and says that there are {}", lines.len() - 2, lines.len() - 1);
    place.verify(&[&heads.option()]).code_is(2).says(&says);
    std::fs::remove_file(heads.path()).unwrap();
    std::os::unix::fs::symlink("/dev/null", heads.path()).unwrap();
    assert_ne!(place.verify(&[&heads.option()]).code, Some(0));
    assert!(heads.path().is_symlink(), "a link is not replaced");
}

#[test]
fn the_known_heads_grow_with_the_archive_and_keep_what_was_not_looked_at() {
    let made = Made::get();
    let chain = |manifest: &Manifest| manifest.suffix.as_deref() == Some("web-2");
    let last = manifests(&made.objects).into_iter().filter(|(_, m)| chain(m)).max_by_key(|(_, m)| m.number).unwrap();
    let mut before = made.objects.clone();
    before.remove(&last.0);
    before.remove(&last.1.key);
    let place = Place::bucket(&before);
    let heads = made.no_heads(&place);
    clean(place.verify(&[&heads.option()]));
    let old = heads.content();
    place.put(&last.1.key, &made.objects[&last.1.key]);
    place.put(&last.0, &made.objects[&last.0]);
    clean(place.verify(&[&heads.option(), "--suffix=web-1"]));
    assert_eq!(heads.content(), old, "only the other stream was looked at");
    // A part of the archive: what lies before it is known still, unless it is named by what was seen.
    clean(place.verify(&[&heads.option(), &format!("--from={}", last.1.start.format("%FT%TZ"))]));
    let known = logjam::format::heads::read(heads.content().as_bytes(), &place.dest()).unwrap();
    assert!(known.iter().any(|head| head.key == last.0), "{known:?}");
    assert_eq!(known.len(), 4, "{known:?}");
    clean(place.verify(&[&heads.option()]));
    assert_eq!(heads.content(), made.heads_of(&place));
}

#[test]
fn heads_of_another_archive_are_refused() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let heads = made.no_heads(&place);
    std::fs::write(heads.path(), "{\"version\":1,\"dest\":\"s3://other/{prefix}\",\"heads\":0}\n").unwrap();
    place.verify(&[&heads.option()]).code_is(2).says("another DEST, `s3://other/{prefix}`");
    std::fs::write(heads.path(), "").unwrap();
    place.verify(&[&heads.option()]).code_is(2).says("first line");
    place.verify(&[&heads.option(), "--to=2026-01-01"]).code_is(2);
}

// ------------------------------------------------------------------------------------------------------------ max-age

#[test]
fn a_monitoring_system_is_told_which_streams_are_late_with_few_requests() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let late = finds(place.verify(&["--max-age=90m"]), "LATE", "web-2").said;
    assert_eq!(late.lines().filter(|line| line.starts_with("LATE")).count(), 1, "{late}");
    let requests = place.requests();
    let lists = requests.iter().filter(|seen| seen.query.contains("list-type")).count();
    assert!(lists <= 3 && requests.len() - lists == 2, "{lists} listings, {} requests", requests.len());
    clean(place.verify(&["--max-age=90m", "--suffix=web-1"]));
    clean(place.verify(&["--max-age=1d", &made.public_key()]));
    finds(place.verify(&["--max-age=1d", &made.other_public_key()]), "UNSIGNED", "web-1");
    // Streams that are forgotten.
    clean(place.verify(&["--max-age=90m", &format!("--from={}", made.time(-2))]));
    place.verify(&["--max-age=90m", "--deep"]).code_is(2);
}

// --------------------------------------------------------------------------------------------------------------- form

#[test]
fn findings_and_a_summary_are_json_objects_on_request() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let key = made.objects.keys().find(|key| is_archive(key)).unwrap();
    place.remove(key);
    let said = place.verify(&["--json", "--log-level=error"]).code_is(1).said;
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["kind"], &lines[0]["key"]), (2, &"MISSING".into(), &key.as_str().into()));
    assert!(lines[0]["period"].as_str().unwrap().ends_with(":00Z") && lines[0]["detail"].is_string(), "{said}");
    assert_eq!(lines[1]["summary"]["findings"], serde_json::json!({ "MISSING": 1 }));
    assert_eq!(lines[1]["summary"]["streams"], 2);
}

#[test]
fn wrong_usage_and_a_place_that_does_not_answer_are_told_apart_from_findings() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    place.verify(&["--ignore=everything"]).code_is(2).says("one of missing");
    place.verify(&["--public-key=/dev/null"]).code_is(2).says("no PEM file");
    let (secret, _) = made.files();
    place.verify(&[&format!("--public-key={}", secret.display())]).code_is(2).says("holds a `PRIVATE KEY`");
    place.refuse();
    let ended = place.verify(&[]);
    assert_eq!(kinds(&ended), BTreeMap::new());
    ended.code_is(1).says("AccessDenied");
}

#[test]
fn a_content_that_breaks_off_is_read_again() {
    let made = Made::get();
    let place = Place::bucket(&made.objects);
    let halves = || made.objects.iter().map(|(key, data)| (key.clone(), data.len() / 2)).collect::<BTreeMap<_, _>>();
    let (deep, newest, report) = (["verify", "--deep"], ["verify", "--max-age=1d"], ["report", "--html=-"]);
    for command in [deep, newest, report] {
        place.cut(halves(), 2);
        let said = place.run(command[0], &command[1..]).code_is(0).said;
        assert!(command[0] == "report" || said.contains("nothing found"), "{said}");
        // It is not tried for ever.
        place.cut(halves(), usize::MAX);
        place.run(command[0], &command[1..]).code_is(1).says("broke off");
        let mut asked = BTreeMap::<_, usize>::new();
        for seen in place.requests().into_iter().filter(|seen| !seen.key.is_empty()) {
            *asked.entry(seen.key).or_default() += 1;
        }
        assert_eq!(asked.values().max(), Some(&3), "{asked:?}");
    }
}

#[test]
fn a_large_archive_takes_one_listing_for_a_thousand_keys() {
    let objects = made::many(1_300);
    let place = Place::bucket(&objects);
    clean(place.verify(&[])).says("1 streams, 1300 manifests, 1300 objects");
    let lists = place.requests().iter().filter(|seen| seen.query.contains("list-type")).count();
    assert!(lists <= 4, "{lists} listings");
}
