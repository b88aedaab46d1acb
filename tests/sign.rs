//! Signed manifests: keys that openssl makes, reads and checks, whoever stores the archive; and a rescue in between.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::cli::{self, Running, Spool};
use crate::far;
use crate::growing::{self, DEST, Host, LONG, far_from_the_turn};
use crate::server::Fault;
use logjam::format::checkpoint::{self, Checkpoint};
use logjam::format::key::manifest_key;
use logjam::format::manifest::{Manifest, sha256};
use logjam::format::seal::Ended as How;
use logjam::format::sign::{PublicKey, Signed, Signer};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs openssl to its end: what it printed.
#[track_caller]
fn openssl(arguments: &[&str]) -> String {
    let mut command = cli::clean("openssl");
    command.args(arguments);
    cli::run(command).code_is(0).said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A pair of keys beside DIR: the secret one, and the public one.
fn pair(spool: &Spool, name: &str) -> (PathBuf, PathBuf) {
    let path = spool.beside(name);
    cli::run(cli::logjam(["keygen", text(&path)])).code_is(0);
    (path, spool.beside(&format!("{name}.pub")))
}

fn signer(path: &Path) -> Signer {
    Signer::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

fn signed_by(bytes: &[u8], key: &Path) -> bool {
    let manifest = Manifest::parse(bytes).expect("a manifest");
    let public = signer(key);
    let public = public.public();
    let good = Signed::of(bytes).is_some_and(|signed| public.verifies(&signed));
    good && manifest.signed_by.as_deref() == Some(public.fingerprint())
}

/// Stores a few lines in a directory, by `logjam pipe --once`: the manifests there.
fn stored(spool: &Spool, lines: &str, options: &[&str]) -> Vec<Vec<u8>> {
    let dest = format!("file://{}/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", spool.beside("far").display());
    let mut arguments = vec!["pipe".to_owned(), spool.arg(), dest, "--suffix=host".into(), "--once".into()];
    arguments.extend(options.iter().map(|&option| option.to_owned()));
    cli::run(cli::shell(&format!("printf '{lines}' | \"$@\""), arguments)).code_is(0);
    far::proved_below(&spool.beside("far"), &[]);
    manifests(spool)
}

fn manifests(spool: &Spool) -> Vec<Vec<u8>> {
    let far = spool.beside("far");
    let keys = far::keys_below(&far).into_iter().filter(|key| far::is_manifest(key));
    keys.map(|key| fs::read(far.join(key)).unwrap()).collect()
}

#[test]
fn a_pair_of_keys_is_what_openssl_knows_and_is_never_overwritten() {
    let spool = Spool::new();
    let (secret, public) = pair(&spool, "key");
    assert_eq!((cli::mode(&secret), cli::mode(&public)), (0o600, 0o644));
    assert!(openssl(&["pkey", "-in", text(&secret), "-noout", "-text"]).contains("ED25519 Private-Key"));
    assert_eq!(openssl(&["pkey", "-in", text(&secret), "-pubout"]), fs::read_to_string(&public).unwrap());
    assert_eq!(openssl(&["pkey", "-in", text(&secret)]), fs::read_to_string(&secret).unwrap());
    let before = fs::read(&secret).unwrap();
    cli::run(cli::logjam(["keygen", text(&secret)])).code_is(1).says("never overwritten");
    assert_eq!(fs::read(&secret).unwrap(), before);
    assert_eq!(cli::names(spool.dir().parent().unwrap()), ["key", "key.pub", "logs"]);
}

#[test]
fn a_signature_is_checked_by_openssl_with_a_key_that_openssl_made() {
    let spool = Spool::new();
    let (secret, public) = (spool.beside("key"), spool.beside("key.pub"));
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", text(&secret)]);
    openssl(&["pkey", "-in", text(&secret), "-pubout", "-out", text(&public)]);
    let manifests = stored(&spool, "a\\nb\\n", &[&format!("--sign-key={}", secret.display())]);
    assert_eq!(manifests.len(), 1);
    assert!(signed_by(&manifests[0], &secret));
    // By hand, as docs/design.md says.
    fs::write(spool.beside("MANIFEST"), &manifests[0]).unwrap();
    let design = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/design.md")).unwrap();
    let steps: Vec<_> = design.lines().skip_while(|line| !line.ends_with("By hand:")).skip(2).take(3).collect();
    let script = steps.join("\n").replace("FILE.pub", text(&public));
    let mut command = cli::clean("sh");
    command.args(["-e", "-c", &script]).current_dir(spool.beside(""));
    cli::run(command).code_is(0).says("Signature Verified Successfully");
}

#[test]
fn each_manifest_names_the_one_before_it_with_its_signature() {
    let spool = Spool::new();
    let (secret, _) = pair(&spool, "key");
    let option = format!("--sign-key={}", secret.display());
    stored(&spool, "a\\n", &[&option]);
    let manifests = stored(&spool, "b\\n", &[&option]);
    assert_eq!(manifests.len(), 2);
    assert!(manifests.iter().all(|bytes| signed_by(bytes, &secret)));
    let mut parsed: Vec<_> = manifests.iter().map(|bytes| (Manifest::parse(bytes).unwrap(), sha256(bytes))).collect();
    parsed.sort_by_key(|(manifest, _)| manifest.number);
    assert_eq!(parsed[1].0.previous.as_ref().unwrap().sha256, parsed[0].1);
}

#[test]
fn what_upload_stores_is_signed_by_upload() {
    let spool = Spool::new();
    let (secret, _) = pair(&spool, "key");
    let arguments = ["pipe", &spool.arg(), "--suffix=host", "--once"];
    cli::run(cli::shell("printf 'a\\n' | \"$@\"", arguments)).code_is(0);
    let dest = format!("file://{}/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", spool.beside("far").display());
    let option = format!("--sign-key={}", secret.display());
    let archive = spool.archive("");
    cli::run(cli::logjam(["upload", text(&archive), &dest, "--once", &option])).code_is(0);
    let manifests = manifests(&spool);
    assert_eq!(manifests.len(), 1);
    assert!(signed_by(&manifests[0], &secret));
}

#[test]
fn a_key_that_can_not_be_used_is_refused_with_the_mend() {
    let spool = Spool::new();
    let (secret, public) = pair(&spool, "key");
    let dest = format!("file://{}/{{prefix}}/{{year}}{{month}}{{day}}/{{filename}}", spool.beside("far").display());
    let pipe = |dest: Option<&str>, key: &Path| {
        let key = format!("--sign-key={}", key.display());
        let arguments = ["pipe".to_owned(), spool.arg()].into_iter().chain(dest.map(str::to_owned));
        cli::run(cli::logjam(arguments.chain([key, "--suffix=host".into(), "--once".into()])))
    };
    pipe(None, &secret).code_is(2).says("--sign-key: goes with a DEST only");
    pipe(Some(&dest), &public).code_is(2).says("holds a `PUBLIC KEY`");
    pipe(Some(&dest), &spool.beside("none")).code_is(2).says("No such file");
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    pipe(Some(&dest), &secret).code_is(2).says("others may read it (mode 0640)").says("chmod 600");
}

// ------------------------------------------------------------------------------------------------------------- rescue

/// A host whose hour is in a checkpoint, and what it was given.
fn in_a_checkpoint(host: &Host, options: &[&str]) -> (Running, Vec<u8>) {
    let running = host.start(&[&["--checkpoint=1s"], options].concat());
    let text = growing::lines(200 << 10, 3);
    host.feed_until_kept(&running, &text, text.len());
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    running.until("a checkpoint tells of all lines", || {
        !host.checkpoints().is_empty()
            && told(host).unfinished.first().is_some_and(|one| one.manifest.summary.lines == lines)
    });
    (running, text)
}

fn told(host: &Host) -> Checkpoint<logjam::env::store::Part> {
    checkpoint::read(&host.data(&host.checkpoints()[0])).expect("a checkpoint").0
}

#[track_caller]
fn rescue(host: &Host, options: &[&str]) {
    let mut command = cli::logjam(["rescue", DEST, "--older-than=0s"]);
    command.args(options).envs(host.server.environment());
    cli::run(command).code_is(0).says("saved 1 objects");
}

/// The manifest of the only object.
#[track_caller]
fn of_the_only_object(host: &Host) -> Vec<u8> {
    let objects = host.objects();
    assert_eq!(objects.len(), 1, "{:?}", host.keys());
    assert_eq!(host.assert_manifest(&objects[0]).summary.ended, How::Rescue);
    host.data(&manifest_key(&objects[0]))
}

#[test]
fn a_rescue_stores_what_the_lost_host_has_signed_byte_for_byte() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let ((secret, _), (other, _)) = (pair(&host.spool, "key"), pair(&host.spool, "other"));
    let (running, _) = in_a_checkpoint(&host, &[&format!("--sign-key={}", secret.display())]);
    host.kill(running);
    let ready = told(&host).unfinished[0].manifest.line();
    rescue(&host, &[&format!("--sign-key={}", other.display())]);
    let stored = of_the_only_object(&host);
    assert_eq!(stored, ready);
    assert!(signed_by(&stored, &secret) && !signed_by(&stored, &other));
}

#[test]
fn a_rescue_with_a_key_signs_what_its_host_has_not() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let (secret, _) = pair(&host.spool, "key");
    let (running, _) = in_a_checkpoint(&host, &[]);
    host.kill(running);
    let ready = told(&host).unfinished[0].manifest.line();
    rescue(&host, &[&format!("--sign-key={}", secret.display())]);
    let stored = of_the_only_object(&host);
    assert!(signed_by(&stored, &secret));
    assert!(stored.starts_with(&ready[..ready.len() - 2]), "and changes nothing else");
}

/// The hour of a host that signs is rescued while it is stopped; then something is done to the archive, and the host goes on: the
/// manifests of the rescued part, and that of the rest.
fn comes_back(host: &Host, secret: &Path, meanwhile: impl FnOnce()) -> (Vec<Vec<u8>>, Manifest) {
    let key = format!("--sign-key={}", secret.display());
    let (running, text) = in_a_checkpoint(host, &[&key, "--once"]);
    running.signal_group(Signal::SIGSTOP);
    rescue(host, &[]);
    meanwhile();
    running.signal_group(Signal::SIGCONT);
    host.feed_until_kept(&running, b"the rest\n", text.len() + 9);
    host.end_input();
    running.end_within(LONG).code_is(0).says("a rescue stored the first");
    let keys = host.keys().into_iter().filter(|key| far::is_manifest(key));
    let all: Vec<_> = keys.map(|key| host.data(&key)).collect();
    let (rescued, rest): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|bytes| Manifest::parse(bytes).unwrap().summary.ended == How::Rescue);
    assert_eq!(rest.len(), 1);
    assert!(signed_by(&rest[0], secret));
    (rescued, Manifest::parse(&rest[0]).unwrap())
}

#[test]
fn a_host_that_comes_back_goes_on_behind_the_rescued_manifest_that_it_has_signed() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let (secret, _) = pair(&host.spool, "key");
    let (rescued, rest) = comes_back(&host, &secret, || {});
    assert_eq!(rescued.len(), 1);
    assert!(signed_by(&rescued[0], &secret));
    assert_eq!((rest.number, rest.previous.unwrap().sha256), (2, sha256(&rescued[0])));
}

#[test]
fn a_manifest_that_somebody_else_has_signed_does_not_get_into_the_chain_of_a_host_that_signs() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let ((secret, _), (other, _)) = (pair(&host.spool, "key"), pair(&host.spool, "other"));
    let (rescued, rest) = comes_back(&host, &secret, || {
        let key = manifest_key(&host.objects()[0]);
        let forged = Manifest::parse(&host.data(&key)).unwrap().signed(&signer(&other));
        host.server.put_object("logs", &key, &forged.bytes());
    });
    assert_eq!(rescued.len(), 2, "its own lies under a duplicate name");
    let own = rescued.iter().find(|bytes| signed_by(bytes, &secret)).expect("its own");
    assert_eq!((rest.number, rest.previous.unwrap().sha256), (2, sha256(own)));
}

#[test]
fn every_hour_that_a_lost_host_left_in_one_checkpoint_is_stored_as_it_signed_it() {
    far_from_the_turn(LONG);
    let host = Host::new();
    let (secret, public) = pair(&host.spool, "key");
    // Checkpoints get through, and nothing else does.
    let is_checkpoint = |key: &str| key.starts_with(".logjam/");
    host.server.set_fault(move |seen| match seen.method.as_str() {
        "PUT" | "POST" if !is_checkpoint(&seen.key) => Fault::refuse(403, "AccessDenied"),
        _ => Fault::None,
    });
    let running = host.start(&["--checkpoint=1s", &format!("--sign-key={}", secret.display())]);
    let hours = ["first hour\n", "second hour\n", "third hour\n"];
    for (number, text) in hours.iter().enumerate() {
        host.feed(text.as_bytes());
        running.until("a checkpoint tells of the hours so far", || {
            let told = if host.checkpoints().is_empty() { Vec::new() } else { told(&host).unfinished };
            told.len() == number + 1 && told.iter().all(|one| one.manifest.summary.lines == 1)
        });
        if number + 1 < hours.len() {
            running.signal(Signal::SIGUSR1);
            let packed = || host.spool.archived().iter().filter(|name| name.ends_with(".gz")).count();
            running.until("the hour has ended", || packed() == number + 1);
        }
    }
    host.kill(running);
    fs::remove_dir_all(host.spool.dir()).unwrap();
    host.server.clear_fault();
    let mut command = cli::logjam(["rescue", DEST, "--older-than=0s"]);
    command.envs(host.server.environment());
    cli::run(command).code_is(0).says("saved 3 objects");
    let objects = host.objects();
    let texts: BTreeSet<_> = objects.iter().map(|key| cli::unpack(key, &host.data(key))).collect();
    assert_eq!(texts, hours.map(|text| text.as_bytes().to_vec()).into());
    for key in &objects {
        assert_eq!(host.assert_manifest(key).summary.ended, How::Rescue);
        assert!(signed_by(&host.data(&manifest_key(key)), &secret), "{key}");
    }
    let mut verify = cli::logjam(["verify", DEST, "--deep", &format!("--public-key={}", public.display())]);
    verify.envs(host.server.environment());
    cli::run(verify).code_is(0);
}

#[test]
fn several_public_keys_fit_in_one_file() {
    let spool = Spool::new();
    let both = [pair(&spool, "a").1, pair(&spool, "b").1].map(|path| fs::read_to_string(path).unwrap());
    let keys = PublicKey::parse_all(&both.concat()).unwrap();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0].fingerprint(), keys[1].fingerprint());
}
