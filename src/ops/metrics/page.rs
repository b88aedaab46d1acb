//! What is exported: names, units, labels. `contrib/prometheus` and `contrib/grafana` use these names, and a test compares them.

use crate::env::Env;
use crate::env::watch::Watch;
use crate::format::layout::Layout;
use crate::format::state::{Stage, State};
use crate::ops::status::{self, Counting, Status, Stream, UNKNOWN_PERIOD};
use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use std::fmt::Error;

/// What every name begins with.
const PREFIX: &str = "logjam";

type Labels = Vec<(String, String)>;

/// Everything, at one moment.
#[derive(Debug)]
struct Sample {
    gauges: Vec<Metric<f64>>,
    counters: Vec<Metric<u64>>,
}

#[derive(Debug)]
struct Metric<N> {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    values: Vec<(Labels, N)>,
}

/// Where it comes from.
#[derive(Clone)]
pub(super) struct Source {
    pub env: Env,
    pub layout: Layout,
    /// The process.
    pub about: State,
}

impl Source {
    /// All of it, in the text format of Prometheus. `running`: this is not the last one.
    pub fn page(&self, running: bool) -> String {
        let now = self.env.clock.now();
        let mut text = String::new();
        let mut registry = Registry::with_prefix(PREFIX);
        let sample = Sample { gauges: self.gauges(now, running), counters: self.counters() };
        registry.register_collector(Box::new(sample));
        // Writing to memory does not fail.
        let _ = prometheus_text::encode(&mut text, &registry);
        text
    }

    /// What tells this process from others.
    fn own(&self) -> Labels {
        let mut labels = self.base();
        if let Some((prefix, suffix)) = self.about.stream() {
            labels.extend([label("prefix", prefix), label("suffix", suffix)]);
        }
        labels
    }

    fn base(&self) -> Labels {
        vec![label("command", &self.about.command), label("dir", &self.layout.dir().display().to_string())]
    }

    fn gauges(&self, now: DateTime<Utc>, running: bool) -> Vec<Metric<f64>> {
        let status = status::look(&self.env, &self.layout, Counting::Nothing);
        let is_whole = status.as_ref().is_ok_and(|status| status.unread.is_empty());
        let mut gauges = Vec::new();
        let own = |n: f64| vec![(self.own(), n)];
        let mut add = |name, unit, help, values| gauges.push(Metric { name, unit, help, values });
        if let Ok(status) = &status {
            for (name, unit, help, value) in STREAM {
                let values = self.streams(status).into_iter().map(|(labels, stream)| (labels, value(stream)));
                add(name, unit.map(of_word), help, values.collect());
            }
            if let Some(space) = status.space {
                let bytes = || Some(Unit::Bytes);
                add("used", bytes(), "Size of the files in DIR", own(space.used_bytes as f64));
                add("free", bytes(), "What may still be written on its file system", own(space.free_bytes as f64));
                add("size", bytes(), "Size of its file system", own(space.total_bytes as f64));
            }
        }
        let help = "Whether all of DIR could be read: what is not counts as nothing";
        add("dir_readable", None, help, own(f64::from(u8::from(is_whole))));
        let troubled = |stage: Stage| f64::from(u8::from(self.env.watch.is_troubled(stage)));
        let help = "Whether this fails right now: no line is taken in while it is intake or space";
        add("trouble", None, help, Stage::ALL.map(|stage| (self.of_stage(stage), troubled(stage))).into());
        let help = "1, and 0 on the last page of a process that left by itself";
        add("running", None, help, own(f64::from(u8::from(running))));
        let seconds = |at: DateTime<Utc>| own(at.timestamp_millis() as f64 / 1000.0);
        let help = "When this was written: a page that grows old is that of a process that was killed";
        add("updated_timestamp", Some(Unit::Seconds), help, seconds(now));
        let help = "When the process began: every counter began at 0 then";
        add("start_timestamp", Some(Unit::Seconds), help, seconds(self.about.started));
        let mut labels = self.own();
        labels.push(label("version", env!("CARGO_PKG_VERSION")));
        add("build_info", None, "The program's version", vec![(labels, 1.0)]);
        gauges
    }

    /// The streams that this process tells of: its own, or all.
    fn streams<'a>(&self, status: &'a Status) -> Vec<(Labels, Option<&'a Stream>)> {
        if let Some((prefix, suffix)) = self.about.stream() {
            let is_own = |stream: &&Stream| stream.prefix == prefix && stream.suffix.as_deref() == Some(suffix);
            return vec![(self.own(), status.streams.iter().find(is_own))];
        }
        let labels = |stream: &Stream| {
            let mut labels = self.base();
            labels.push(label("prefix", &stream.prefix));
            labels.push(label("suffix", stream.suffix.as_deref().unwrap_or_default()));
            labels
        };
        status.streams.iter().map(|stream| (labels(stream), Some(stream))).collect()
    }

    fn of_stage(&self, stage: Stage) -> Labels {
        let mut labels = self.own();
        labels.push(label("stage", stage.word()));
        labels
    }

    fn counters(&self) -> Vec<Metric<u64>> {
        let watch = &*self.env.watch;
        let takes_lines = self.about.stream().is_some();
        let counts = COUNTS.iter().filter(|(_, _, _, of_intake, _)| takes_lines || !of_intake);
        let mut counters: Vec<_> = counts
            .map(|(name, unit, help, _, count)| Metric {
                name,
                unit: unit.map(of_word),
                help,
                values: vec![(self.own(), count(watch))],
            })
            .collect();
        let values = Stage::ALL.map(|stage| (self.of_stage(stage), watch.failures(stage))).into();
        counters.push(Metric { name: "failures", unit: None, help: "What failed, and was or is tried again", values });
        counters
    }
}

type OfStream = (&'static str, Option<&'static str>, &'static str, fn(Option<&Stream>) -> f64);
type OfProcess = (&'static str, Option<&'static str>, &'static str, bool, fn(&Watch) -> u64);

const BYTES: Option<&str> = Some("bytes");
const SECONDS: Option<&str> = Some("seconds");

/// Per stream, from DIR. The figure that matters is the first.
const STREAM: [OfStream; 9] = [
    ("oldest_unarchived", SECONDS, "Age of the oldest line that is not archived; 0: all are", |stream| {
        stream.and_then(|stream| stream.oldest.as_ref()).map_or(0.0, |oldest| oldest.age_seconds as f64)
    }),
    ("period", SECONDS, "Length of the stream's periods, or how long a file without one may go on", |stream| {
        stream.and_then(|stream| stream.period_seconds).unwrap_or(UNKNOWN_PERIOD) as f64
    }),
    ("open_file", BYTES, "Size of hour files that are written to", |stream| {
        stream.map_or(0.0, |stream| stream.open.iter().map(|open| open.bytes as f64).sum())
    }),
    ("ended_files", None, "Hour files that have ended and are to be packed", |stream| {
        stream.map_or(0.0, |stream| stream.ended.files as f64)
    }),
    ("ended", BYTES, "Their size", |stream| stream.map_or(0.0, |stream| stream.ended.bytes as f64)),
    ("waiting_files", None, "Archives that are to be stored", |stream| {
        stream.map_or(0.0, |stream| stream.waiting.files as f64)
    }),
    ("waiting", BYTES, "Their size", |stream| stream.map_or(0.0, |stream| stream.waiting.bytes as f64)),
    ("waiting_manifests", None, "Manifests that are to be stored", |stream| {
        stream.map_or(0.0, |stream| stream.manifests_waiting as f64)
    }),
    ("last_stored_timestamp", SECONDS, "When an archive was stored last; 0: none was", |stream| {
        stream.and_then(|stream| stream.stored.last_at).map_or(0.0, |at| at.timestamp() as f64)
    }),
];

/// Per process, from 0 at its start. `true`: only of a process that takes lines.
const COUNTS: [OfProcess; 11] = [
    ("received", BYTES, "Bytes written to hour files", true, |watch| watch.received_bytes.get()),
    ("received_messages", None, "Messages written to hour files, where they are told apart", true, |watch| {
        watch.received_messages.get()
    }),
    ("resent_messages", None, "Messages that came again and were not kept twice", true, |watch| {
        watch.resent_messages.get()
    }),
    ("confirmed_messages", None, "Messages whose OK was written", true, |watch| watch.confirmed_messages.get()),
    ("synced", BYTES, "Bytes of hour files that a sync has forced to the disk", true, |watch| watch.synced_bytes.get()),
    ("archived_files", None, "Hour files packed as a whole, and durable", false, |watch| watch.archived_files.get()),
    ("archived_lines", None, "Lines in them", false, |watch| watch.archived_lines.get()),
    ("archived", BYTES, "Bytes in them", false, |watch| watch.archived_bytes.get()),
    ("archived_packed", BYTES, "Bytes that they became", false, |watch| watch.archived_packed_bytes.get()),
    ("stored_files", None, "Archives that have got a receipt", false, |watch| watch.stored_files.get()),
    ("stored", BYTES, "Their size", false, |watch| watch.stored_bytes.get()),
];

fn of_word(unit: &str) -> Unit {
    if Some(unit) == BYTES { Unit::Bytes } else { Unit::Seconds }
}

fn label(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

impl Collector for Sample {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        for metric in &self.gauges {
            let (name, unit) = (metric.name, metric.unit.as_ref());
            let mut one = encoder.encode_descriptor(name, metric.help, unit, MetricType::Gauge)?;
            for (labels, value) in &metric.values {
                one.encode_family(labels)?.encode_gauge(value)?;
            }
        }
        for metric in &self.counters {
            let (name, unit) = (metric.name, metric.unit.as_ref());
            let mut one = encoder.encode_descriptor(name, metric.help, unit, MetricType::Counter)?;
            let none: Option<&Exemplar<NoLabelSet, f64>> = None;
            for (labels, value) in &metric.values {
                one.encode_family(labels)?.encode_counter(value, none)?;
            }
        }
        Ok(())
    }
}
