//! What is counted of one method.

use super::histogram::{Durations, LATENCY, Sum};
use prometheus_client::{
    encoding::DescriptorEncoder,
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};
use std::{
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

pub(super) type NoExemplar<V> = Exemplar<[(&'static str, &'static str); 0], V>;

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
            .took(took);
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
            let mut sum = Sum::default();
            sum.add(durations);
            sum.encode(&mut series, &label, &LATENCY, 1e9)?;
        }
    }
    Ok(())
}
