//! What is known of a stream, hour by hour: a few bytes for each, however many objects there are.

use super::chain::Chain;
use crate::format::manifest::Manifest;
use crate::format::seal::Ended;
use chrono::{DateTime, Timelike, Utc};
use std::collections::BTreeMap;

const MINUTES: u32 = 60;
/// Steps of the scale of logarithms in which an hour's amounts are written, to a doubling.
const STEPS: f64 = 64.0;
/// What two digits hold at the most.
const LARGEST: f64 = 4095.0;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// An hour of a stream.
#[derive(Clone, Debug, Default)]
struct Hour {
    /// A bit for each minute at which a period begins that something is known of.
    begins: u64,
    /// Minutes of the shortest period that a manifest tells of; 0: none does.
    period: u8,
    /// Whether a rescue has made one of its objects.
    rescued: bool,
    /// Objects that stand.
    objects: u32,
    /// Objects that manifests tell of.
    told: u32,
    /// Bytes of the objects.
    packed: u64,
    /// Lines that manifests tell of.
    lines: u64,
}

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    hours: BTreeMap<i64, Hour>,
    /// Objects that stand.
    pub objects: u64,
    /// Their bytes.
    pub packed: u64,
    /// Bytes of the objects that manifests tell of.
    pub told: u64,
    /// Lines that manifests tell of.
    pub lines: u64,
    /// Bytes of their plain text.
    pub bytes: u64,
    /// How often a later life took an hour file over.
    pub recovered: u64,
    /// Bytes that were cut off.
    pub cut: u64,
    /// Lines that came again.
    pub resent: u64,
    /// How its manifests follow each other.
    pub chain: Chain,
}

/// A stream's hours, one behind the other, as the page reads them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// The first one: hours since 1970.
    pub first: i64,
    /// A letter for each, with the number of times where it comes several times in turn: `s` stored, `q` silent, `r` rescued, `u`
    /// stored without a manifest, `x` missing, `y` in part missing, `z` told of and not there.
    pub states: String,
    /// For each of `s`, `r`, `u` and `y` two digits: bytes of its objects.
    pub sizes: String,
    /// The same for its lines.
    pub lines: String,
}

/// Hours since 1970.
pub fn hour_of(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(3600)
}

impl Stream {
    /// Notes an object that stands.
    pub fn object(&mut self, start: DateTime<Utc>, len: u64) {
        let hour = self.hour(start);
        hour.objects += 1;
        hour.packed += len;
        self.objects += 1;
        self.packed += len;
    }

    /// Notes what a manifest tells. `sha256` is of its bytes.
    pub fn manifest(&mut self, manifest: &Manifest, sha256: &str, signed: bool) {
        let summary = &manifest.summary;
        let hour = self.hour(manifest.start);
        let minutes = summary.seconds.unwrap_or(3600).div_ceil(60).clamp(1, u64::from(MINUTES));
        let minutes = u8::try_from(minutes).unwrap_or(u8::MAX);
        hour.period = if hour.period == 0 { minutes } else { hour.period.min(minutes) };
        hour.rescued |= summary.ended == Ended::Rescue;
        hour.lines += summary.lines;
        if let Some(packed) = &summary.packed {
            hour.told += 1;
            self.told += packed.bytes;
        }
        self.lines += summary.lines;
        self.bytes += summary.bytes;
        self.recovered += summary.counts.recovered;
        self.cut += summary.counts.cut;
        self.resent += summary.counts.resent;
        self.chain.add(manifest, sha256, signed);
    }

    fn hour(&mut self, start: DateTime<Utc>) -> &mut Hour {
        let hour = self.hours.entry(hour_of(start)).or_default();
        hour.begins |= 1 << start.minute();
        hour
    }

    /// First and last hour that something is known of.
    pub fn life(&self) -> Option<(i64, i64)> {
        Some((*self.hours.first_key_value()?.0, *self.hours.last_key_value()?.0))
    }

    /// Its hours from the first to the last one.
    pub fn hours(&self) -> Hours {
        let Some((first, last)) = self.life() else { return Hours::default() };
        let mut written = Hours { first, ..Hours::default() };
        let (mut before, mut times) = (' ', 0);
        for at in first..=last {
            let hour = self.hours.get(&at);
            let state = hour.map_or('x', |hour| hour.state(at == first, at == last));
            if let Some(hour) = hour.filter(|_| matches!(state, 's' | 'r' | 'u' | 'y')) {
                written.sizes.push_str(&digits(hour.packed));
                written.lines.push_str(&digits(hour.lines));
            }
            if state != before {
                run(&mut written.states, before, times);
                (before, times) = (state, 0);
            }
            times += 1;
        }
        run(&mut written.states, before, times);
        written
    }
}

impl Hour {
    fn state(&self, first: bool, last: bool) -> char {
        match () {
            () if self.objects == 0 && self.told > 0 => 'z',
            () if self.told > self.objects || self.is_partly_missing(first, last) => 'y',
            () if self.objects == 0 => 'q',
            () if self.told < self.objects => 'u',
            () if self.rescued => 'r',
            () => 's',
        }
    }

    /// Whether nothing is known of a period of this hour. In the first hour of a stream only those behind its first period count,
    /// in the last one only those before its last.
    fn is_partly_missing(&self, first: bool, last: bool) -> bool {
        let from = if first { self.begins.trailing_zeros() } else { 0 };
        let to = if last { 63 - self.begins.leading_zeros() } else { MINUTES - 1 };
        let period = usize::from(self.period.max(1));
        let mut periods = (0..MINUTES).step_by(period).filter(|minute| (from..=to).contains(minute));
        self.period != 0 && periods.any(|minute| self.begins & (1 << minute) == 0)
    }
}

fn run(states: &mut String, state: char, times: u64) {
    match times {
        0 => {}
        1 => states.push(state),
        _ => states.push_str(&format!("{state}{times}")),
    }
}

/// An amount in two digits, to within about 1 %.
fn digits(amount: u64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 4095"
    )]
    let level = (((amount as f64) + 1.0).log2() * STEPS).round().min(LARGEST) as usize;
    [level / 64, level % 64].map(|digit| char::from(DIGITS[digit])).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::Packed;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-11-{time}:00Z").parse().unwrap()
    }

    fn manifest(time: &str, packed: bool, seconds: u64, ended: Ended) -> Manifest {
        let packed = packed.then(|| Packed { codec: "gzip".into(), bytes: 100, sha256: String::new() });
        let line = r#"{"version":1,"host":"h","prefix":"p","start":"2026-11-21T00:00:00Z","name":"n","key":"k","ended":"period",
            "lines":7,"bytes":1000,"blake3":"","number":1,"at":"2026-11-21T00:00:00Z"}"#;
        let mut manifest = Manifest::parse(line.as_bytes()).unwrap();
        (manifest.start, manifest.summary.packed) = (at(time), packed);
        (manifest.summary.seconds, manifest.summary.ended) = (Some(seconds), ended);
        manifest
    }

    /// A stream of objects (`o`), objects with a manifest (`t`), those of a rescue (`r`), silent periods (`q`), and manifests
    /// without their objects (`z`).
    fn stream(periods: &[(&str, char)], seconds: u64) -> Stream {
        let mut stream = Stream::default();
        for (time, what) in periods {
            if matches!(what, 'o' | 't' | 'r') {
                stream.object(at(time), 100);
            }
            let ended = if *what == 'r' { Ended::Rescue } else { Ended::Period };
            if *what != 'o' {
                stream.manifest(&manifest(time, *what != 'q', seconds, ended), time, false);
            }
        }
        stream
    }

    #[test]
    fn an_hour_is_what_its_objects_and_manifests_say() {
        let hours = [
            ("21T22:00", 't'),
            ("21T23:00", 't'),
            ("22T00:00", 'q'),
            ("22T03:00", 'r'),
            ("22T04:00", 'o'),
            ("22T05:00", 'z'),
            ("22T06:00", 't'),
        ];
        let written = stream(&hours, 3600).hours();
        assert_eq!((written.first, written.states.as_str()), (hour_of(at("21T22:00")), "s2qx2ruzs"));
        assert_eq!(written.sizes, digits(100).repeat(5));
        assert_eq!(written.lines, [7, 7, 7, 0, 7].map(digits).concat());
        assert_eq!(Stream::default().hours(), Hours::default());
    }

    #[test]
    fn an_hour_is_missing_in_part_if_one_of_its_periods_is() {
        let quarters = |minutes: &[&str]| {
            let mut all = vec![("21T22:45", 't')];
            let times: Vec<_> = minutes.iter().map(|minute| format!("21T23:{minute}")).collect();
            all.extend(times.iter().map(|time| (time.as_str(), 't')));
            all.push(("22T00:00", 't'));
            stream(&all, 900).hours().states
        };
        assert_eq!(quarters(&["00", "15", "30", "45"]), "s3");
        assert_eq!(quarters(&["00", "30", "45"]), "sys");
        assert_eq!(stream(&[("21T22:00", 't'), ("21T23:10", 'o'), ("22T00:00", 't')], 3600).hours().states, "sus");
    }

    #[test]
    fn an_amount_is_written_to_within_a_hundredth() {
        for amount in [0, 1, 2, 1000, 123_456_789, 1 << 40] {
            let digits = digits(amount);
            let value = |at: usize| DIGITS.iter().position(|digit| *digit == digits.as_bytes()[at]).unwrap();
            let level = f64::from(u32::try_from(value(0) * 64 + value(1)).unwrap());
            let read = (level / STEPS).exp2() - 1.0;
            let exact = f64::from(u32::try_from(amount >> 20).unwrap()) * 1_048_576.0
                + f64::from(u32::try_from(amount & 0xf_ffff).unwrap());
            assert!((read - exact).abs() <= exact * 0.01 + 0.01, "{amount}: {read}");
        }
        assert_eq!(digits(u64::MAX), "__");
    }
}
