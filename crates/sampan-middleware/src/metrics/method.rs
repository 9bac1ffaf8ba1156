//! The series of one method.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tonic::Code;

/// All series, from which those of a method are taken.
#[derive(Clone, Debug)]
pub(super) struct Series {
    started: Family<MethodLabel, Counter>,
    in_flight: Family<MethodLabel, Gauge>,
    duration: Family<EndLabel, Histogram, Buckets>,
}

/// What is counted of one method. The histogram of a status begins with its first call.
pub(super) struct Method {
    name: Arc<str>,
    started: Counter,
    in_flight: Gauge,
    duration: [OnceLock<Histogram>; 17],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    grpc_method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    grpc_method: String,
    grpc_status: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Buckets;

/// Upper bounds in seconds. Source: gRFC A66, "Latency buckets".
const BUCKETS: [f64; 40] = [
    0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006,
    0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2,
    0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];

// === impl Series ===

impl Series {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let series = Self {
            started: Family::default(),
            in_flight: Family::default(),
            duration: Family::new_with_constructor(Buckets),
        };
        registry.register(
            "grpc_server_call_started",
            "Calls that arrived",
            series.started.clone(),
        );
        registry.register(
            "grpc_server_calls_in_flight",
            "Calls that are open now",
            series.in_flight.clone(),
        );
        registry.register_with_unit(
            "grpc_server_call_duration",
            "Time from a call's request to its last trailer",
            Unit::Seconds,
            series.duration.clone(),
        );
        series
    }

    pub(super) fn method(&self, name: &str) -> Method {
        let label = MethodLabel {
            grpc_method: name.to_owned(),
        };
        Method {
            name: name.into(),
            started: self.started.get_or_create_owned(&label),
            in_flight: self.in_flight.get_or_create_owned(&label),
            duration: Default::default(),
        }
    }
}

// === impl Method ===

impl Method {
    pub(super) fn start(&self) {
        self.started.inc();
        self.in_flight.inc();
    }

    pub(super) fn end(&self, series: &Series, code: Code, took: Duration) {
        self.in_flight.dec();
        let code = sampan_wire::Code::from_u8(code as u8).unwrap_or(sampan_wire::Code::Unknown);
        let histogram = self.duration[code as usize].get_or_init(|| {
            series.duration.get_or_create_owned(&EndLabel {
                grpc_method: self.name.to_string(),
                grpc_status: code.name(),
            })
        });
        histogram.observe(took.as_secs_f64());
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl Buckets ===

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}
