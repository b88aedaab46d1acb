//! One gzip member, valid at every instant: what stands in the work file, with an ending of a few bytes behind its last block, is a
//! whole archive; and whoever goes on after a crash comes to the same bytes. `LOGJAM_STORM` is how many crashes each setting gets
//! (default 12).

#![allow(clippy::disallowed_methods, reason = "tests look at the real disk")]

use crate::alone::alone;
use crate::cli::{self, Spool};
use logjam::archive::follow::{Follower, Following, Growing};
use logjam::archive::{Archive, Codec, Sources, pack};
use logjam::env::Env;
use logjam::env::growth::Growth;
use logjam::format::layout::{self, Layout};
use logjam::format::manifest::{Summary, sha256};
use logjam::format::name::LogName;
use logjam::format::progress::{self, Block};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

const HOUR: &str = "syslog-20260102T0300Z-host.log";
const BLOCK: u64 = 4 << 10;

/// Lines of which no two are alike.
fn lines(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 64);
    let mut n = 7_u64;
    while text.len() < bytes {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writeln!(text, "host-{} GET /{} {}", n >> 60, n >> 44, n >> 20).unwrap();
    }
    text.truncate(bytes - 1);
    text.push(b'\n');
    text
}

/// A DIR with an hour file.
struct Site {
    spool: Spool,
    archive: Archive,
    text: Vec<u8>,
}

impl Site {
    fn new(codec: Codec, threads: usize, text: &[u8]) -> Self {
        let spool = Spool::new();
        let layout = Layout::new(spool.dir());
        let archive = Archive {
            block: BLOCK,
            threads,
            following: Some(Arc::default()),
            ..Archive::new(Env::real(), layout, Sources::Sealed, codec)
        };
        archive.make_dirs().unwrap();
        Self { spool, archive, text: text.to_vec() }
    }

    fn hour(&self) -> LogName {
        LogName::parse(HOUR).unwrap()
    }

    fn packed(&self) -> LogName {
        self.hour().with_ending(self.archive.codec.ending())
    }

    fn work(&self) -> PathBuf {
        self.archive.layout.work(&self.packed())
    }

    fn progress(&self) -> PathBuf {
        self.archive.layout.progress(&self.packed())
    }

    /// A life that packs the first `len` bytes of the hour as they come, `piece` bytes at a time. It ends as if killed.
    fn live(&self, len: usize, piece: usize) {
        let path = self.spool.path(HOUR);
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let mut there = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let following: Arc<Following> = Arc::default();
        let growth: Arc<Growth> = Arc::default();
        let open = self.archive.env.fs.open(&path).unwrap();
        following.begin(Growing { name: self.hour(), file: open, growth: growth.clone(), seconds: 3600 });
        let mut follower = Follower { archive: self.archive.clone(), following, checkpoints: None };
        growth.settle(there as u64);
        while follower.step() {}
        while there < len {
            let to = (there + piece).min(len);
            file.write_all(&self.text[there..to]).unwrap();
            there = to;
            growth.settle(there as u64);
            while follower.step() {}
        }
    }

    /// Ends the hour: the archive's bytes. What is written down of it is right.
    fn finish(&self) -> Vec<u8> {
        std::fs::write(self.spool.path(HOUR), &self.text).unwrap();
        let packed = pack::pack(&self.archive, &self.hour(), |_| {}).unwrap().expect("packed");
        let data = std::fs::read(self.archive.layout.archive(&packed)).unwrap();
        let summary: Summary =
            serde_json::from_slice(&std::fs::read(self.archive.layout.summary(&packed)).unwrap()).unwrap();
        let lines = self.text.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!((summary.lines, summary.bytes), (lines, self.text.len() as u64));
        assert_eq!(summary.blake3, blake3::hash(&self.text).to_hex().as_str());
        let object = summary.packed.expect("an object");
        assert_eq!((object.bytes, object.sha256), (data.len() as u64, sha256(&data)));
        assert!(!self.work().exists() && !self.progress().exists());
        data
    }

    /// An uninterrupted life.
    fn uninterrupted(codec: Codec, threads: usize, text: &[u8]) -> Vec<u8> {
        Self::new(codec, threads, text).finish()
    }

    fn blocks(&self) -> Vec<Block> {
        let kind = progress::Kind { block: BLOCK, codec: self.archive.codec.number() };
        progress::read(&std::fs::read(self.progress()).unwrap(), kind).unwrap()
    }
}

/// What a work file cut at `cut` becomes when it is ended behind its last whole block, and how many blocks that are.
fn ended(codec: Codec, work: &[u8], blocks: &[Block], text: &[u8], cut: usize) -> (Vec<u8>, usize) {
    let whole = blocks.iter().take_while(|block| block.to <= cut as u64).count();
    let plain = &text[..whole * usize::try_from(BLOCK).unwrap()];
    let header = codec.header().len();
    let to = if whole == 0 { header } else { usize::try_from(blocks[whole - 1].to).unwrap() };
    let mut data = work[..to].to_vec();
    if matches!(codec, Codec::Gzip(_)) {
        data.extend([3, 0]);
        data.extend(crc32fast::hash(plain).to_le_bytes());
        data.extend(u32::try_from(plain.len()).unwrap().to_le_bytes());
    }
    (data, whole)
}

/// The lines before the last flush: those of the blocks, without a part of one.
fn whole_lines(plain: &[u8]) -> &[u8] {
    &plain[..plain.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)]
}

const STREAM: &str = r#"
import java.io.*;
import java.util.zip.GZIPInputStream;

/** Unpacks standard input through a stream that never says that more is there, as those of a network do. */
public class Unpack {
    public static void main(String[] args) throws IOException {
        InputStream shy = new FilterInputStream(new FileInputStream(args[0])) {
            @Override public int available() { return 0; }
            @Override public int read(byte[] b, int off, int len) throws IOException { return super.read(b, off, Math.min(len, 17)); }
        };
        try (GZIPInputStream in = new GZIPInputStream(shy, 512)) { in.transferTo(System.out); }
        System.out.flush();
    }
}
"#;

/// The programs that are installed: a name, and how one unpacks a file to standard output.
fn programs(dir: &Path) -> Vec<(&'static str, Vec<String>)> {
    let has = |program: &str| {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let python = "import gzip,sys;sys.stdout.buffer.write(gzip.open(sys.argv[1]).read())";
    let mut all = vec![
        ("gzip", words("gzip -dc")),
        ("zcat", words("zcat")),
        ("zgrep", words("zgrep -a ^")),
        ("python3", vec!["python3".into(), "-c".into(), python.into()]),
        ("busybox", words("busybox zcat")),
        ("pigz", words("pigz -dc")),
        ("7z", words("7z e -so")),
        ("bsdcat", words("bsdcat")),
        (
            "node",
            vec![
                "node".into(),
                "-e".into(),
                "process.stdout.write(require('zlib').gunzipSync(require('fs').readFileSync(process.argv[1])))".into(),
            ],
        ),
        (
            "perl",
            vec![
                "perl".into(),
                "-MIO::Uncompress::Gunzip=gunzip,$GunzipError".into(),
                "-e".into(),
                "gunzip($ARGV[0] => '-', MultiStream => 1) or die $GunzipError".into(),
            ],
        ),
    ];
    all.retain(|(program, _)| {
        let there = has(program);
        if !there {
            println!("{program} is not installed: skipped");
        }
        there
    });
    if has("java") && has("javac") {
        std::fs::write(dir.join("Unpack.java"), STREAM).unwrap();
        let made = Command::new("javac").arg("-d").arg(dir).arg(dir.join("Unpack.java")).status().unwrap();
        assert!(made.success());
        all.push((
            "java",
            vec!["java".into(), "-Xshare:auto".into(), "-cp".into(), dir.display().to_string(), "Unpack".into()],
        ));
    } else {
        println!("java is not installed: skipped");
    }
    all
}

#[test]
fn the_work_file_cut_at_every_byte_is_one_whole_gzip_member_of_all_lines_before_the_last_flush() {
    let text = lines(40_500);
    let site = Site::new(Codec::Gzip(6), 1, &text);
    site.live(text.len(), 1_000);
    let (work, blocks) = (std::fs::read(site.work()).unwrap(), site.blocks());
    assert_eq!((blocks.len() as u64, blocks.last().unwrap().to), (text.len() as u64 / BLOCK, work.len() as u64));
    let dir = tempfile::tempdir().unwrap();
    let programs = programs(dir.path());
    let sample = work.len() / 40;
    let mut sampled = 0;
    for cut in 0..=work.len() {
        let (data, whole) = ended(Codec::Gzip(6), &work, &blocks, &text, cut);
        let plain = &text[..whole * 4096];
        assert!(cli::unpack("x.gz", &data) == plain, "cut at {cut}");
        if !cut.is_multiple_of(sample) {
            continue;
        }
        sampled += 1;
        let path = dir.path().join("cut.gz");
        std::fs::write(&path, &data).unwrap();
        let test = Command::new("gzip").arg("-t").arg(&path).status().unwrap();
        assert!(test.success(), "gzip -t, cut at {cut}");
        for (name, words) in &programs {
            let out = Command::new(&words[0]).args(&words[1..]).arg(&path).output().unwrap();
            // zgrep ends the last line, and finds nothing in nothing.
            let (got, wanted) = if *name == "zgrep" {
                (whole_lines(&out.stdout), whole_lines(plain))
            } else {
                assert!(out.status.success(), "{name}, cut at {cut}: {}", String::from_utf8_lossy(&out.stderr));
                (&out.stdout[..], plain)
            };
            assert!(got.starts_with(wanted), "{name}, cut at {cut}: {} of {} bytes", got.len(), wanted.len());
            assert!(*name == "zgrep" || got.len() == wanted.len(), "{name}, cut at {cut}");
        }
    }
    let names: Vec<_> = programs.iter().map(|(name, _)| *name).collect();
    println!("{} cuts, {} blocks; {sampled} of them read by {names:?}", work.len() + 1, blocks.len());
    assert!(site.finish() == Site::uninterrupted(Codec::Gzip(6), 1, &text));
}

#[test]
fn the_work_file_cut_at_every_byte_is_whole_zstandard_frames_up_to_the_last_block() {
    let text = lines(32_500);
    let site = Site::new(Codec::Zstd(3), 1, &text);
    site.live(text.len(), 1_000);
    let (work, blocks) = (std::fs::read(site.work()).unwrap(), site.blocks());
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut sampled = 0;
    for cut in 0..=work.len() {
        let (data, whole) = ended(Codec::Zstd(3), &work, &blocks, &text, cut);
        // No frame at all is no archive yet, nor is it one of no lines.
        assert!(whole == 0 || zstd::decode_all(&data[..]).unwrap() == text[..whole * 4096], "cut at {cut}");
        if whole > 0 && cut.is_multiple_of(work.len() / 40) {
            std::fs::write(file.path(), &data).unwrap();
            let Ok(tested) = Command::new("zstd").arg("-tq").arg(file.path()).status() else { continue };
            assert!(tested.success(), "zstd -t, cut at {cut}");
            sampled += 1;
        }
    }
    println!("{} cuts, {} blocks; {sampled} of them tested by zstd", work.len() + 1, blocks.len());
    assert!(site.finish() == Site::uninterrupted(Codec::Zstd(3), 1, &text));
}

/// What a crash, or a power cut, leaves of a file.
fn damage(path: &Path) -> &'static str {
    let mut data = std::fs::read(path).unwrap();
    let at = fastrand::usize(..=data.len());
    let what = match fastrand::u32(..7) {
        0 => {
            std::fs::remove_file(path).unwrap();
            return "gone";
        }
        1 => "as it was",
        2 => {
            data.extend((0..fastrand::usize(1..5_000)).map(|_| fastrand::u8(..)));
            "garbage behind"
        }
        3 => {
            data[at..].fill(0);
            "zeros at the end"
        }
        4 => {
            data.truncate(at);
            data.extend(vec![0; fastrand::usize(1..5_000)]);
            "cut, and zeros behind"
        }
        _ => {
            data.truncate(at);
            "cut"
        }
    };
    std::fs::write(path, data).unwrap();
    what
}

#[test]
fn a_crash_at_any_point_comes_to_the_bytes_of_an_uninterrupted_life() {
    let storm = std::env::var("LOGJAM_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let text = lines(61_000);
    for codec in [Codec::Gzip(1), Codec::Gzip(6), Codec::Zstd(3)] {
        let whole = Site::uninterrupted(codec, 1, &text);
        for threads in [1, 3] {
            let (mut crashes, mut kept) = (0, 0);
            for _ in 0..storm {
                let site = Site::new(codec, threads, &text);
                let mut story = Vec::new();
                let mut len = 0;
                for _ in 0..fastrand::u32(1..4) {
                    len = fastrand::usize(len..=text.len());
                    site.live(len, fastrand::usize(1..9_000));
                    crashes += 1;
                    for path in [site.work(), site.progress()] {
                        if path.exists() {
                            story.push((len, damage(&path)));
                        }
                    }
                    kept += std::fs::metadata(site.work()).map_or(0, |meta| meta.len());
                }
                assert!(site.finish() == whole, "{codec:?}, {threads} threads: {story:?}");
            }
            println!("{codec:?}, {threads} threads: {crashes} crashes, {kept} bytes were left to go on with");
        }
    }
}

#[test]
fn a_power_cut_that_takes_lines_away_which_were_packed_comes_to_the_bytes_of_what_is_left() {
    for codec in [Codec::Gzip(6), Codec::Zstd(3)] {
        for _ in 0..12 {
            let text = lines(fastrand::usize(5_000..40_000));
            let site = Site::new(codec, 1, &text);
            site.live(text.len(), 3_000);
            // The hour file comes back shorter, and other lines come then.
            let cut = fastrand::usize(..text.len());
            let hour = site.spool.path(HOUR);
            std::fs::OpenOptions::new().write(true).open(&hour).unwrap().set_len(cut as u64).unwrap();
            let other = [&text[..cut], b"after the power cut\n".repeat(fastrand::usize(..900)).as_slice()].concat();
            let site = Site { text: other, ..site };
            site.live(site.text.len(), 2_000);
            assert!(site.finish() == Site::uninterrupted(codec, 1, &site.text), "{codec:?}, cut at {cut}");
        }
    }
}

#[test]
fn several_threads_come_to_the_bytes_of_one() {
    for bytes in [1, 4_096, 4_097, 100_000, 400_000] {
        let text = lines(bytes.max(2));
        for codec in [Codec::Gzip(1), Codec::Gzip(6), Codec::Zstd(3)] {
            let one = Site::uninterrupted(codec, 1, &text);
            for threads in [2, 3, 16] {
                assert!(
                    Site::uninterrupted(codec, threads, &text) == one,
                    "{codec:?}, {threads} threads, {bytes} bytes"
                );
            }
        }
    }
}

/// The largest memory of this process so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
    line.trim_end_matches(" kB").parse().unwrap()
}

/// In a process of its own, whose peak no other test raises.
#[test]
fn a_packer_that_lags_behind_a_large_hour_needs_no_more_memory_than_its_blocks() {
    let name = "packing::a_packer_that_lags_behind_a_large_hour_needs_no_more_memory_than_its_blocks";
    alone(name, |_| (), lag);
}

fn lag() {
    let site = Site::new(Codec::Gzip(1), 2, b"");
    let archive = Archive { block: layout::BLOCK, ..site.archive.clone() };
    let mut file = std::fs::File::create(site.spool.path(HOUR)).unwrap();
    for seed in 0..48 {
        file.write_all(&cli::noise(4 << 20, seed)).unwrap();
    }
    let before = peak();
    let following: Arc<Following> = Arc::default();
    let growth: Arc<Growth> = Arc::default();
    growth.settle(192 << 20);
    let open = archive.env.fs.open(&site.spool.path(HOUR)).unwrap();
    following.begin(Growing { name: site.hour(), file: open, growth, seconds: 3600 });
    let mut follower = Follower { archive, following, checkpoints: None };
    while follower.step() {}
    let grown = peak() - before;
    println!("peak {grown} KiB more for 192 MiB that waited, with 2 threads");
    assert!(grown < 32 << 10, "{grown} KiB");
    let mut head = [0; 10];
    std::fs::File::open(site.work()).unwrap().read_exact(&mut head).unwrap();
    assert_eq!(head, Codec::Gzip(1).header());
}
