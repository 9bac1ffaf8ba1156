//! What is counted of one method.

use prometheus_client::{
    encoding::DescriptorEncoder,
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::Code;

/// The counts of a method: three additions per call, and no lock.
pub(super) struct Method {
    name: Box<str>,
    started: AtomicU64,
    /// Those of a status begin with its first call.
    ended: [OnceLock<Box<Durations>>; 17],
}

/// How long the calls took that ended with one status.
#[derive(Debug)]
struct Durations {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

type NoExemplar<V> = Exemplar<[(&'static str, &'static str); 0], V>;

/// Upper bounds in nanoseconds. Source: gRFC A66, "Latency buckets".
const BOUNDS: [u64; 40] = {
    let mut bounds = [
        10,
        50,
        100,
        300,
        600,
        800,
        1_000,
        2_000,
        3_000,
        4_000,
        5_000,
        6_000,
        8_000,
        10_000,
        13_000,
        16_000,
        20_000,
        25_000,
        30_000,
        40_000,
        50_000,
        65_000,
        80_000,
        100_000,
        130_000,
        160_000,
        200_000,
        250_000,
        300_000,
        400_000,
        500_000,
        650_000,
        800_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
        50_000_000,
        100_000_000,
    ];
    let mut index = 0;
    while index < bounds.len() {
        bounds[index] *= 1_000;
        index += 1;
    }
    bounds
};

// === impl Method ===

impl Method {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            started: AtomicU64::new(0),
            ended: Default::default(),
        }
    }

    pub(super) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, code: Code, took: Duration) {
        self.ended[code as usize]
            .get_or_init(Box::default)
            .observe(took);
    }

    /// Calls that have started and not ended.
    pub(super) fn in_flight(&self) -> u64 {
        // First those that ended: none of them can be missing from those that started.
        let ended: u64 = self
            .ended
            .iter()
            .filter_map(OnceLock::get)
            .map(|d| d.count())
            .sum();
        self.started.load(Ordering::Relaxed).saturating_sub(ended)
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl Durations ===

impl Durations {
    fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Calls are short: the first bounds are looked at first.
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound);
        self.counts[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; BOUNDS.len() + 1],
            nanos: AtomicU64::new(0),
        }
    }
}

// === series ===

pub(super) fn encode<'a>(
    mut encoder: DescriptorEncoder<'_>,
    methods: impl Iterator<Item = &'a Method> + Clone,
) -> fmt::Result {
    let mut series = encoder.encode_descriptor(
        "grpc_server_call_started",
        "Calls that arrived",
        None,
        MetricType::Counter,
    )?;
    for method in methods.clone() {
        let label = [("grpc_method", &*method.name)];
        let count = method.started.load(Ordering::Relaxed);
        series
            .encode_family(&label)?
            .encode_counter(&count, None::<&NoExemplar<u64>>)?;
    }
    let mut series = encoder.encode_descriptor(
        "grpc_server_calls_in_flight",
        "Calls that are open now",
        None,
        MetricType::Gauge,
    )?;
    for method in methods.clone() {
        let label = [("grpc_method", &*method.name)];
        series
            .encode_family(&label)?
            .encode_gauge(&method.in_flight())?;
    }
    let mut series = encoder.encode_descriptor(
        "grpc_server_call_duration",
        "Time from a call's request to its last trailer",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for method in methods {
        for (code, durations) in (0..).zip(&method.ended) {
            let Some(durations) = durations.get() else {
                continue;
            };
            let code = sampan_wire::Code::from_u8(code).unwrap_or(sampan_wire::Code::Unknown);
            let label = [("grpc_method", &*method.name), ("grpc_status", code.name())];
            let bounds = BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9);
            let counts = durations
                .counts
                .iter()
                .map(|count| count.load(Ordering::Relaxed));
            let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let seconds = durations.nanos.load(Ordering::Relaxed) as f64 / 1e9;
            series.encode_family(&label)?.encode_histogram(
                seconds,
                count,
                &buckets,
                None::<&HashMap<usize, NoExemplar<f64>>>,
            )?;
        }
    }
    Ok(())
}
