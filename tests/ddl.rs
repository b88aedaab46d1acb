//! `logjam ddl`: what it prints is run by the engines themselves, DuckDB and ClickHouse, over a bucket and over a directory that
//! the real binary filled. Athena and Trino can't be had here: their statements are compared with what was read in their manuals
//! and sources.

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk")]

use crate::cli::{Spool, clean, logjam, run};
use crate::far;
use crate::server::S3Server;
use logjam::format::manifest::Manifest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const PLAIN: &str = "{prefix}/{year}/{month}/{day}/{filename}";
const HIVE: &str = "{prefix}/year={year}/month={month}/day={day}/{filename}";
/// Named as Hive does it in parts only.
const HALF: &str = "{prefix}/year={year}-{month}/day={day}/hour={hour}{minute}/{filename}";
const ODD: &str = "it's 100% #1 [a]*?+(b)/{year}{month}/{prefix}.{day}/{hour}-{filename}";
/// Without what DuckDB refuses.
const ODD_FOR_DUCKDB: &str = "it's 100% #1 [a]*+(b)/{year}{month}/{prefix}.{day}/{hour}-{filename}";
const FLAT: &str = "{prefix}-{year}{month}{day}-{filename}";

/// Lines that a reader of tables might take for something else. Each is text.
const NASTY: &[&[u8]] = &[
    b"\"quoted, and never closed\n",
    b"say \"x\", 'y', \\\"z\\\", \\\n\"\"\n",
    b"\n\n",
    b"  blanks before and behind  \n \n",
    b"a\tb,c;d|e\x01f\x02g\n",
    b"a\0b\n\0\n",
    b"NULL\n\\N\nnull\n# comment\n--\n",
    "é日本😀 \u{2028} \u{85} \u{feff}\n".as_bytes(),
];
/// Lines that are no text, or hold a carriage return.
const FOUL: &[&[u8]] = &[b"\xff\xfe\xc3\x28\n", b"a\rb\nc\r\n\r\n"];

/// An archive, and what is known of it.
struct Archive {
    dest: String,
    /// Lines and bytes, without newlines, of each object, by its name.
    objects: BTreeMap<String, (u64, u64)>,
    endpoint: Option<String>,
    environment: Vec<(&'static str, String)>,
    work: tempfile::TempDir,
}

impl Archive {
    /// Three streams of several hours, gzip and zstd, stored by the binary.
    fn store(dest: &str, server: Option<&S3Server>, foul: bool) -> Self {
        let endpoint = server.map(S3Server::endpoint);
        let environment = server.map(S3Server::environment).unwrap_or_default();
        let nasty: Vec<u8> =
            NASTY.iter().copied().chain(FOUL.iter().copied().filter(|_| foul)).flatten().copied().collect();
        let mut long = vec![b'x'; 5 << 20];
        long.extend_from_slice(b"\nshort\nnot ended");
        let streams = [
            ("gzip", "syslog", vec![("20261121T0000Z-web-1", nasty.clone()), ("20261121T0100Z-web-1", long)]),
            ("zstd", "syslog", vec![("20261122T0000Z-web-1", b"one\ntwo\n".to_vec())]),
            ("zstd", "my-app", vec![("20261122T0000Z-db", nasty), ("20261122T0100Z-db", b"three\n".to_vec())]),
        ];
        for (codec, prefix, hours) in streams {
            let spool = Spool::new();
            for (name, content) in hours {
                spool.write(&format!("{prefix}-{name}.log"), content);
            }
            let options = [format!("--codec={codec}"), format!("--prefix={prefix}")];
            let mut pipe = logjam(["pipe", &spool.arg(), dest, "--once", "--checkpoint=off", &options[0], &options[1]]);
            pipe.envs(environment.clone());
            run(pipe).code_is(0);
        }
        let work = tempfile::tempdir().unwrap();
        Self { dest: dest.to_owned(), objects: BTreeMap::new(), endpoint, environment, work }
    }

    fn told(mut self, manifests: impl IntoIterator<Item = Vec<u8>>) -> Self {
        for manifest in manifests {
            let manifest = Manifest::parse(&manifest).unwrap();
            let (lines, bytes) = (manifest.summary.lines, manifest.summary.bytes);
            if manifest.summary.packed.is_some() {
                self.objects.insert(manifest.name, (lines, bytes - lines));
            }
        }
        assert_eq!(self.objects.len(), 5, "{:?}", self.objects);
        self
    }

    fn in_directory(root: &Path, template: &str, foul: bool) -> Self {
        let archive = Self::store(&format!("file://{}/{template}", root.display()), None, foul);
        let manifests = far::keys_below(root).into_iter().filter(|key| far::is_manifest(key));
        archive.told(manifests.map(|key| std::fs::read(root.join(key)).unwrap()))
    }

    fn in_bucket(server: &S3Server, template: &str, foul: bool) -> Self {
        server.create_bucket("logs");
        let archive = Self::store(&format!("s3://logs/{template}"), Some(server), foul);
        let manifests = server.all_keys("logs").into_iter().filter(|key| far::is_manifest(key));
        let read = |key: String| server.object("logs", &key).unwrap().data();
        let archive = archive.told(manifests.map(read));
        server.clear_requests();
        archive
    }

    fn statement(&self, engine: &str, more: &[&str]) -> String {
        let mut arguments = vec!["ddl".to_owned(), engine.to_owned(), format!("--dest={}", self.dest)];
        arguments.extend(self.endpoint.iter().map(|url| format!("--endpoint-url={url}")));
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let made = run(logjam(arguments)).code_is(0).said;
        assert!(!made.contains("AKIA") && !made.contains("secret-at"), "a key is printed: {made}");
        made
    }

    /// What a query says once the statement has been run, or the engine's complaint.
    fn ask(&self, engine: &str, statement: &str, query: &str) -> Result<Vec<Vec<String>>, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/engines.py");
        let mut command: Command = clean(engines().join("bin/python"));
        command.arg(script).args([engine, statement, query]).arg(self.work.path()).env("HOME", self.work.path());
        let done = command.envs(self.environment.clone()).output().unwrap();
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        let text = String::from_utf8(done.stdout).unwrap();
        Ok(text.lines().map(|row| serde_json::from_str(row).unwrap()).collect())
    }

    /// Asserts that an engine sees every line of every object, and nothing else.
    #[track_caller]
    fn is_seen_by(&self, engine: &str) {
        let length = if engine == "duckdb" { "strlen" } else { "length" };
        let query = format!("SELECT file, count(*), sum({length}(line)) FROM logs GROUP BY file");
        let rows = self.ask(engine, &self.statement(engine, &[]), &query).unwrap();
        let number = |text: &String| text.parse::<u64>().unwrap();
        let seen: BTreeMap<_, _> = rows
            .iter()
            .map(|row| (row[0].rsplit('/').next().unwrap(), (number(&row[1]), number(&row[2]))))
            .map(|(name, counts)| {
                (
                    self.objects
                        .keys()
                        .find(|known| name.ends_with(*known))
                        .unwrap_or_else(|| panic!("{name}"))
                        .clone(),
                    counts,
                )
            })
            .collect();
        assert_eq!(seen, self.objects, "{engine}, {}", self.dest);
    }
}

/// Where `tests/install-debian` installs the engines.
fn engines() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/engines");
    let folder = std::env::var_os("LOGJAM_ENGINES").map_or_else(default, PathBuf::from);
    assert!(folder.join("bin/python").exists(), "{} has no engines: run tests/install-debian", folder.display());
    folder
}

#[test]
fn duckdb_sees_every_line_in_a_directory_and_in_a_bucket_whatever_the_template() {
    for template in [PLAIN, HIVE, ODD_FOR_DUCKDB, FLAT] {
        let root = tempfile::tempdir().unwrap();
        Archive::in_directory(root.path(), template, false).is_seen_by("duckdb");
        Archive::in_bucket(&S3Server::start(), template, false).is_seen_by("duckdb");
    }
}

#[test]
fn clickhouse_sees_every_line_in_a_directory_and_in_a_bucket_whatever_the_template_and_the_bytes() {
    for template in [PLAIN, HIVE, ODD, FLAT] {
        let root = tempfile::tempdir().unwrap();
        Archive::in_directory(root.path(), template, true).is_seen_by("clickhouse");
        Archive::in_bucket(&S3Server::start(), template, true).is_seen_by("clickhouse");
    }
}

#[test]
fn duckdb_stops_at_a_line_that_it_can_not_read_instead_of_counting_it_wrongly() {
    for foul in FOUL {
        let root = tempfile::tempdir().unwrap();
        let archive = Archive::in_directory(root.path(), PLAIN, false);
        let key = "syslog/2026/11/23/syslog-20261123T0000Z-web-1.log.zst";
        std::fs::create_dir_all(root.path().join(key).parent().unwrap()).unwrap();
        std::fs::write(root.path().join(key), zstd::encode_all(*foul, 0).unwrap()).unwrap();
        let statement = archive.statement("duckdb", &[]);
        let complaint = archive.ask("duckdb", &statement, "SELECT count(line) FROM logs").unwrap_err();
        assert!(complaint.contains("Invalid Input Error"), "{complaint}");
        let others =
            archive.ask("duckdb", &statement, "SELECT count(line) FROM logs WHERE start < '2026-11-23'").unwrap();
        assert_eq!(others, [[archive.objects.values().map(|(lines, _)| lines).sum::<u64>().to_string()]]);
    }
}

#[test]
fn the_columns_tell_where_a_line_came_from() {
    let root = tempfile::tempdir().unwrap();
    for (number, template) in [PLAIN, HIVE, HALF].into_iter().enumerate() {
        let root = root.path().join(number.to_string());
        let archive = Archive::in_directory(&root, template, false);
        let name = "syslog-logjam-compress-duplicate-timestamp-02-20261122T0000Z-web-1.log.gz";
        let day = far::archives_below(&root).into_iter().find(|key| key.contains("syslog-20261122")).unwrap();
        std::fs::write(root.join(day).with_file_name(name), gz(b"twice\n")).unwrap();
        for engine in ["duckdb", "clickhouse"] {
            let statement = archive.statement(engine, &[]);
            let query = "SELECT line, prefix, suffix, start, year, month, day, hour FROM logs \
                         WHERE line IN ('three', 'twice') ORDER BY line";
            let rows = archive.ask(engine, &statement, query).unwrap();
            let three = ["three", "my-app", "db", "2026-11-22 01:00:00", "2026", "11", "22", "1"];
            let twice = ["twice", "syslog", "web-1", "2026-11-22 00:00:00", "2026", "11", "22", "0"];
            assert_eq!(rows, [three, twice], "{engine} {template}");
        }
    }
}

fn gz(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(plain).unwrap();
    packed.finish().unwrap()
}

#[test]
fn only_the_objects_of_the_asked_time_and_stream_are_read() {
    let server = S3Server::start();
    let archive = Archive::in_bucket(&server, HIVE, true);
    let stray = |key: &str| server.put_object("logs", key, b"{\"not\": \"a line\"}\n");
    stray("syslog/year=2026/month=11/day=22/README.txt");
    stray("syslog/year=2026/month=11/day=22/other.log");
    stray(".logjam/checkpoint/syslog/web-1.00000000.00000000");
    let read = |engine: &str, more: &[&str], filter: &str| {
        let statement = archive.statement(engine, more);
        server.clear_requests();
        let rows = archive.ask(engine, &statement, &format!("SELECT count(*) FROM logs WHERE {filter}")).unwrap();
        let read = server.requests().into_iter().filter(|seen| seen.method == "GET" && !seen.key.is_empty());
        let mut read: Vec<_> = read.map(|seen| seen.key.rsplit('/').next().unwrap().to_owned()).collect();
        read.sort();
        read.dedup();
        let listed = server.requests().into_iter().filter(|seen| seen.query.contains("list-type=2"));
        assert!(listed.clone().count() > 0);
        (rows[0][0].clone(), read, listed.map(|seen| seen.query).collect::<Vec<_>>())
    };
    for engine in ["duckdb", "clickhouse"] {
        let (rows, objects, _) = read(engine, &[], "start >= '2026-11-22 00:00:00' AND suffix = 'web-1'");
        assert_eq!((rows.as_str(), objects), ("2", vec!["syslog-20261122T0000Z-web-1.log.zst".to_owned()]), "{engine}");
        let (rows, objects, lists) = read(engine, &["--prefixes=my-app"], "start >= '2026-11-22 01:00:00'");
        assert_eq!((rows.as_str(), objects), ("1", vec!["my-app-20261122T0100Z-db.log.zst".to_owned()]), "{engine}");
        let narrow = |query: &String| query.contains("prefix=my-app");
        assert!(lists.iter().all(narrow), "{engine}: {lists:?}");
    }
    let (rows, objects, _) = read("duckdb", &[], "year = 2026 AND month = 11 AND day = 22 AND prefix = 'syslog'");
    assert_eq!((rows.as_str(), objects.len()), ("2", 1), "directories that are named as Hive does it decide as well");
}

/// The statement for a template.
#[track_caller]
fn printed(engine: &str, arguments: &[&str]) -> String {
    run(logjam([&["ddl", engine][..], arguments].concat())).code_is(0).said
}

#[test]
fn athena_computes_days_where_the_template_has_them_in_order() {
    let text =
        printed("athena", &["--dest=s3://logs/it's/{prefix}/{year}/{month}/{day}/{filename}", "--table=ops.logs"]);
    assert_eq!(
        text,
        r#"-- Every query must say which one, or give --prefixes here: WHERE prefix = '…'
CREATE EXTERNAL TABLE IF NOT EXISTS ops.logs (
  `line` string
)
PARTITIONED BY (
  `prefix` string,
  `dt` string
)
ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.RegexSerDe'
WITH SERDEPROPERTIES ('input.regex' = '(.*)')
STORED AS INPUTFORMAT 'org.apache.hadoop.mapred.TextInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
LOCATION 's3://logs/it\'s/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.prefix.type' = 'injected',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy/MM/dd',
  'projection.dt.range' = '2020/01/01,NOW',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://logs/it\'s/${prefix}/${dt}/'
);
"#
    );
}

#[test]
fn athena_computes_numbers_where_the_template_names_them() {
    let text = printed(
        "athena",
        &[
            "--dest=s3://logs/{prefix}/year={year}/month={month}/day={day}/{hour}/{filename}",
            "--prefixes=syslog,my-app",
            "--years=2026-2030",
        ],
    );
    assert_eq!(
        text,
        r#"CREATE EXTERNAL TABLE IF NOT EXISTS logs (
  `line` string
)
PARTITIONED BY (
  `prefix` string,
  `year` int,
  `month` int,
  `day` int,
  `hour` int
)
ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.RegexSerDe'
WITH SERDEPROPERTIES ('input.regex' = '(.*)')
STORED AS INPUTFORMAT 'org.apache.hadoop.mapred.TextInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
LOCATION 's3://logs/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.prefix.type' = 'enum',
  'projection.prefix.values' = 'syslog,my-app',
  'projection.year.type' = 'integer',
  'projection.year.range' = '2026,2030',
  'projection.year.digits' = '4',
  'projection.month.type' = 'integer',
  'projection.month.range' = '1,12',
  'projection.month.digits' = '2',
  'projection.day.type' = 'integer',
  'projection.day.range' = '1,31',
  'projection.day.digits' = '2',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://logs/${prefix}/year=${year}/month=${month}/day=${day}/${hour}/'
);
"#
    );
}

#[test]
fn a_table_whose_objects_lie_in_one_directory_has_no_partitions() {
    let dest = "--dest=s3://logs/all/{prefix}-{year}{month}{day}-{filename}";
    let athena = printed("athena", &[dest]);
    assert!(athena.ends_with("LOCATION 's3://logs/all/';\n") && !athena.contains("projection"), "{athena}");
    let trino = printed("trino", &[dest]);
    assert!(trino.ends_with("  external_location = 's3://logs/all/'\n);\n") && !trino.contains("partition"), "{trino}");
}

#[test]
fn trino_computes_the_same_partitions() {
    let text = printed(
        "trino",
        &[
            "--dest=s3://logs/it's/{prefix}/{year}-{month}-{day}/{suffix}/{filename}",
            "--prefixes=a",
            "--table=hive.ops.logs",
        ],
    );
    assert_eq!(
        text,
        r#"-- Every query must say which one: WHERE suffix = '…'
CREATE TABLE hive.ops.logs (
  line varchar,
  prefix varchar WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY['a']),
  dt varchar WITH (partition_projection_type = 'DATE', partition_projection_format = 'yyyy-MM-dd', partition_projection_range = ARRAY['2020-01-01', 'NOW'], partition_projection_interval = 1, partition_projection_interval_unit = 'DAYS'),
  suffix varchar WITH (partition_projection_type = 'INJECTED')
)
WITH (
  format = 'REGEX',
  regex = '(.*)',
  external_location = 's3://logs/it''s/',
  partitioned_by = ARRAY['prefix', 'dt', 'suffix'],
  partition_projection_enabled = true,
  partition_projection_location_template = 's3://logs/it''s/${prefix}/${dt}/${suffix}/'
);
"#
    );
    let text = printed("trino", &["--dest=s3://logs/{prefix}/year={year}/month={month}/day={day}/{filename}"]);
    let month = "month integer WITH (partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['1', '12'], partition_projection_digits = 2)";
    assert!(text.contains(month), "{text}");
}

#[test]
fn a_wrong_wish_is_refused_with_the_mend_and_exit_status_2() {
    let dest = "--dest=s3://logs/{prefix}/{year}/{month}/{day}/{filename}";
    let refused = |arguments: &[&str]| run(logjam([&["ddl"][..], arguments].concat())).code_is(2);
    refused(&["athena", "--dest=file:///srv/{prefix}/{year}/{month}/{day}/{filename}"]).says("give an s3:// DEST");
    refused(&["athena", dest, "--region=eu-west-1"]).says("--region: athena has no use for it");
    refused(&["duckdb", "--dest=s3://logs/a?/{prefix}/{year}/{month}/{day}/{filename}"]).says("beginning of a query");
    refused(&["duckdb", dest, "--table=a b"]).says("needs no quotes");
    refused(&["duckdb", dest, "--endpoint-url=h"]).says("no http:// or https:// address");
    refused(&["duckdb", dest, "--prefixes=a,,b"]).says("--prefixes");
    refused(&["trino", dest, "--years=2030-2020"]).says("like 2020-2039");
    refused(&["trino", "--dest=s3://logs/{year}/x"]).says("lacks mandatory fields");
    refused(&["spark", dest]).says("[possible values: athena, trino, duckdb, clickhouse]");
}
