//! What reading and proving an archive asks of the server, and of memory, as the archive grows: the real binary and a real server.
//! By default a few days of twenty streams; `LOGJAM_YEAR=365 cargo test --locked --test all scale:: -- --nocapture` is a year of a hundred,
//! 876,000 objects with their manifests.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk and the real clock")]

use crate::cli::{self, logjam};
use crate::server::S3Server;
use logjam::format::manifest::sha256;
use std::io::Read;

const DEST: &str = "s3://logs/{prefix}/{year}/{month}/{day}/{filename}";
/// Prefixes of the streams.
const PREFIXES: usize = 10;

struct Archive {
    server: S3Server,
    /// Keys that stand there.
    keys: usize,
    hosts: usize,
    days: usize,
}

impl Archive {
    /// Fills one: an object and a manifest for each hour of each stream, of which each names the one before it.
    fn new(hosts: usize, days: usize) -> Self {
        let server = S3Server::start();
        server.create_bucket("logs");
        let mut keys = 0;
        for (prefix, host) in (0..PREFIXES).flat_map(|prefix| (0..hosts).map(move |host| (prefix, host))) {
            let mut previous = String::new();
            for hour in 0..24 * days {
                let start = chrono::DateTime::from_timestamp(1_767_225_600 + 3600 * hour as i64, 0).unwrap();
                let name = format!("app{prefix}-{}-web{host:02}.log.gz", start.format("%Y%m%dT%H%MZ"));
                let dir = format!("app{prefix}/{}", start.format("%Y/%m/%d"));
                let (object, plain) = object(prefix, host, hour);
                let manifest = format!(
                    r#"{{"version":1,"host":"web{host:02}","prefix":"app{prefix}","suffix":"web{host:02}","start":"{}","name":"{name}","key":"{dir}/{name}","ended":"period","seconds":3600,"lines":1,"bytes":{},"blake3":"{}","recovered":0,"cut":0,"resent":0,"packed":{{"codec":"gzip","bytes":{},"sha256":"{}"}},"number":{}{previous},"at":"{}"}}"#,
                    start.format("%Y-%m-%dT%H:%M:%SZ"),
                    plain.len(),
                    blake3::hash(&plain).to_hex(),
                    object.len(),
                    sha256(&object),
                    hour + 1,
                    (start + chrono::TimeDelta::seconds(3601)).format("%Y-%m-%dT%H:%M:%SZ"),
                ) + "\n";
                let key = format!("{dir}/_{name}.json");
                previous = format!(r#","previous":{{"key":"{key}","sha256":"{}"}}"#, sha256(manifest.as_bytes()));
                server.put_object("logs", &format!("{dir}/{name}"), &object);
                server.put_object("logs", &key, manifest.as_bytes());
                keys += 2;
            }
        }
        server.clear_requests();
        Self { server, keys, hosts, days }
    }

    /// Runs a command: what it said on standard output, its exit status, and its peak RSS in KiB.
    fn run(&self, arguments: &[&str]) -> (String, Option<i32>, u64) {
        let mut command = logjam(arguments);
        command.envs(self.server.environment());
        let mut said = String::new();
        let (code, peak) = cli::peak(command, |mut out| _ = out.read_to_string(&mut said).unwrap());
        (said, code, peak)
    }

    fn listings(&self) -> usize {
        self.server.requests().iter().filter(|seen| seen.key.is_empty()).count()
    }
}

/// An object of one line, and that.
fn object(prefix: usize, host: usize, hour: usize) -> (Vec<u8>, Vec<u8>) {
    let plain = format!("app{prefix} web{host:02} {hour}\n").into_bytes();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    (encoder.finish().unwrap(), plain)
}

#[test]
fn an_archive_is_proved_with_one_listing_for_1000_keys_and_no_more_memory_the_larger_it_is() {
    let days = std::env::var("LOGJAM_YEAR").ok().and_then(|text| text.parse().ok());
    let hosts = if days.is_some() { 10 } else { 2 };
    let days: usize = days.unwrap_or(6);
    let mut peaks = Vec::new();
    for days in [days / 3, days] {
        let archive = Archive::new(hosts, days);
        let (said, code, peak) = archive.run(&["verify", DEST]);
        assert_eq!(code, Some(0), "{said}");
        let listings = archive.listings();
        println!("{} objects, {} keys: {listings} listings, peak RSS {peak} KiB", archive.keys / 2, archive.keys);
        assert!(listings <= archive.keys.div_ceil(1000), "{listings} listings for {} keys", archive.keys);
        peaks.push(peak);

        // One hour of one prefix, in the middle.
        archive.server.clear_requests();
        let day = chrono::DateTime::from_timestamp(1_767_225_600 + 86_400 * (archive.days as i64 / 2), 0).unwrap();
        let at = |hour: u32| day.format(&format!("%Y-%m-%dT{hour:02}:00")).to_string();
        let (from, to) = (format!("--from={}", at(5)), format!("--to={}", at(6)));
        let (said, code, _) = archive.run(&["cat", DEST, "--prefix=app7", &from, &to]);
        assert_eq!((code, said.lines().count()), (Some(0), archive.hosts), "{said}");
        let requests = archive.server.requests();
        let first = requests.iter().position(|seen| seen.key.ends_with(".log.gz")).unwrap();
        assert!(first < 3, "{:?}", &requests[..first]);
    }
    assert!(peaks[1] <= peaks[0] + 8 * 1024, "from {} to {} KiB", peaks[0], peaks[1]);
}
