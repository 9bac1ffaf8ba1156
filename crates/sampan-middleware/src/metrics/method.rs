//! What is counted of one method.

use super::{
    client::{MethodSeries, SeriesTotals},
    histogram::{LATENCY, SIZES},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};
use std::{fmt, time::Duration};
use tonic::Code;

/// The counts of a method; each of its calls is one attempt.
#[derive(Debug)]
pub(super) struct Method(MethodSeries);

pub(super) type NoExemplar<V> = Exemplar<[(&'static str, &'static str); 0], V>;

// === impl Method ===

impl Method {
    pub(super) fn new(name: &str) -> Self {
        Self(MethodSeries::new(name))
    }

    pub(super) fn start(&self) {
        self.0.start();
    }

    /// `sent` and `received` count the bytes of its messages.
    pub(super) fn end(&self, code: Code, took: Duration, sent: u64, received: u64) {
        let code = u8::try_from(code as i32).ok();
        let code = code.and_then(sampan_wire::Code::from_u8);
        let code = code.unwrap_or(sampan_wire::Code::Unknown);
        self.0.attempt(code, took, sent, received);
    }

    /// Calls that have started and not ended.
    pub(super) fn in_flight(&self) -> u64 {
        // First those that ended: none of them can be missing from those that started.
        let ended = self.0.ended_attempts();
        self.0.started().saturating_sub(ended)
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    fn label(&self) -> [(&'static str, &str); 1] {
        [("grpc_method", &*self.0.name)]
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
        series
            .encode_family(&method.label())?
            .encode_counter(&method.0.started(), None::<&NoExemplar<u64>>)?;
    }
    let mut series = encoder.encode_descriptor(
        "grpc_server_calls_in_flight",
        "Calls that are open now",
        None,
        MetricType::Gauge,
    )?;
    for method in methods.clone() {
        series
            .encode_family(&method.label())?
            .encode_gauge(&method.in_flight())?;
    }
    histogram(
        &mut encoder,
        "grpc_server_call_duration",
        "Time from a call's request to its last trailer",
        &Unit::Seconds,
        methods.clone(),
        |totals, series, labels| totals.attempts.encode(series, labels, &LATENCY, 1e9),
    )?;
    histogram(
        &mut encoder,
        "grpc_server_call_sent_total_compressed_message_size",
        "Bytes of the messages that a call was answered with",
        &Unit::Bytes,
        methods.clone(),
        |totals, series, labels| totals.sent.encode(series, labels, &SIZES, 1.0),
    )?;
    histogram(
        &mut encoder,
        "grpc_server_call_rcvd_total_compressed_message_size",
        "Bytes of the messages of a call's request",
        &Unit::Bytes,
        methods,
        |totals, series, labels| totals.received.encode(series, labels, &SIZES, 1.0),
    )
}

type Labels<'a> = [(&'static str, &'a str); 2];

fn histogram<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: &Unit,
    methods: impl Iterator<Item = &'a Method>,
    encode: impl Fn(&SeriesTotals, &mut MetricEncoder<'_>, &Labels<'_>) -> fmt::Result,
) -> fmt::Result {
    let mut series = encoder.encode_descriptor(name, help, Some(unit), MetricType::Histogram)?;
    for method in methods {
        for code in (0..).map_while(sampan_wire::Code::from_u8) {
            if let Some(totals) = method.0.totals(code) {
                let labels = [
                    ("grpc_method", &*method.0.name),
                    ("grpc_status", code.name()),
                ];
                encode(&totals, &mut series, &labels)?;
            }
        }
    }
    Ok(())
}
