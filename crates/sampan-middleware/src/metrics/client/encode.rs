//! The series, under gRPC's names as Prometheus writes them.

use super::{
    super::{
        histogram::{LATENCY, SIZES, Sum},
        method::NoExemplar,
    },
    ClientMetrics, Ejection, MethodSeries, Upkeep,
    series::{Few, RepeatCounts, SeriesTotals},
};
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::MetricType,
    registry::Unit,
};
use sampan_wire::Code;
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

type Targets<'a> = &'a [&'static ClientMetrics];

/// One method at one target.
type Method<'a> = (&'a str, &'static MethodSeries);

const METHOD: &str = "grpc_method";
const TARGET: &str = "grpc_target";
const STATUS: &str = "grpc_status";
const DETECTION: &str = "grpc_lb_outlier_detection_detection_method";
const UNENFORCED: &str = "grpc_lb_outlier_detection_unenforced_reason";
const NANOS: f64 = 1e9;

pub(super) fn encode(mut encoder: DescriptorEncoder<'_>, targets: Targets<'_>) -> fmt::Result {
    if targets.is_empty() {
        return Ok(());
    }
    let methods: Vec<Method<'_>> = targets
        .iter()
        .flat_map(|client| {
            let all = client.methods.all().into_iter();
            all.map(|series| (&*client.target, series))
        })
        .collect();
    calls(&mut encoder, &methods)?;
    repeats(&mut encoder, &methods)?;
    connections(&mut encoder, targets)?;
    ejections(&mut encoder, targets)?;
    weights(&mut encoder, targets)?;
    caches(&mut encoder, targets)
}

fn calls(encoder: &mut DescriptorEncoder<'_>, methods: &[Method<'_>]) -> fmt::Result {
    let mut series = encoder.encode_descriptor(
        "grpc_client_attempt_started",
        "Attempts of calls that were sent",
        None,
        MetricType::Counter,
    )?;
    for (target, method) in methods {
        let labels = [(METHOD, &*method.name), (TARGET, *target)];
        count(&mut series, &labels, method.started())?;
    }
    histogram(
        encoder,
        "grpc_client_attempt_duration",
        "Time from an attempt's request to its last trailer",
        Some(&Unit::Seconds),
        methods,
        |totals, series, labels| totals.attempts.encode(series, labels, &LATENCY, NANOS),
    )?;
    histogram(
        encoder,
        "grpc_client_attempt_sent_total_compressed_message_size",
        "Bytes of the messages that an attempt sent",
        Some(&Unit::Bytes),
        methods,
        |totals, series, labels| totals.sent.encode(series, labels, &SIZES, 1.0),
    )?;
    histogram(
        encoder,
        "grpc_client_attempt_rcvd_total_compressed_message_size",
        "Bytes of the messages that an attempt received",
        Some(&Unit::Bytes),
        methods,
        |totals, series, labels| totals.received.encode(series, labels, &SIZES, 1.0),
    )?;
    histogram(
        encoder,
        "grpc_client_call_duration",
        "Time from a call's beginning to its end, with all attempts and waits",
        Some(&Unit::Seconds),
        methods,
        |totals, series, labels| {
            if totals.calls.is_empty() {
                return Ok(());
            }
            totals.calls.encode(series, labels, &LATENCY, NANOS)
        },
    )
}

type Labels<'a> = [(&'static str, &'a str); 3];

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    methods: &[Method<'_>],
    encode: impl Fn(&SeriesTotals, &mut MetricEncoder<'_>, &Labels<'_>) -> fmt::Result,
) -> fmt::Result {
    let mut series = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    for (target, method) in methods {
        for code in (0..).map_while(Code::from_u8) {
            if let Some(totals) = method.totals(code) {
                let status = (STATUS, code.name());
                let labels = [(METHOD, &*method.name), (TARGET, *target), status];
                encode(&totals, &mut series, &labels)?;
            }
        }
    }
    Ok(())
}

fn repeats(encoder: &mut DescriptorEncoder<'_>, methods: &[Method<'_>]) -> fmt::Result {
    type Which = fn(&RepeatCounts) -> &Few;
    let all: [(&str, &str, usize, Which); 3] = [
        (
            "grpc_client_call_retries",
            "Retries of a call that had some",
            5,
            |repeats| &repeats.retries,
        ),
        (
            "grpc_client_call_transparent_retries",
            "Transparent retries of a call that had some",
            6,
            |repeats| &repeats.transparent_retries,
        ),
        (
            "grpc_client_call_hedges",
            "Hedges of a call that had some",
            5,
            |repeats| &repeats.hedges,
        ),
    ];
    for (name, help, bounds, which) in all {
        let mut series = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (target, method) in methods {
            let Some(sum) = method.repeats().map(|repeats| which(repeats).sum()) else {
                continue;
            };
            if !sum.is_empty() {
                let labels = [(METHOD, &*method.name), (TARGET, *target)];
                sum.encode(&mut series, &labels, &Few::BOUNDS[..bounds], 1.0)?;
            }
        }
    }
    let mut series = encoder.encode_descriptor(
        "grpc_client_call_retry_delay",
        "Time in which a call had no attempt under way, of calls that were repeated",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for (target, method) in methods {
        let mut sum = Sum::default();
        if let Some(repeats) = method.repeats() {
            sum.add(&repeats.retry_delay);
        }
        if !sum.is_empty() {
            let labels = [(METHOD, &*method.name), (TARGET, *target)];
            sum.encode(&mut series, &labels, &LATENCY, NANOS)?;
        }
    }
    Ok(())
}

fn connections(encoder: &mut DescriptorEncoder<'_>, targets: Targets<'_>) -> fmt::Result {
    counter(
        encoder,
        "grpc_subchannel_disconnections",
        "Connections that were lost or let go of",
        targets,
        |client| &client.upkeep.disconnected,
    )?;
    counter(
        encoder,
        "grpc_subchannel_connection_attempts_succeeded",
        "Connections that were made",
        targets,
        |client| &client.upkeep.succeeded,
    )?;
    counter(
        encoder,
        "grpc_subchannel_connection_attempts_failed",
        "Connections that could not be made",
        targets,
        |client| &client.upkeep.failed,
    )?;
    let mut series = encoder.encode_descriptor(
        "grpc_subchannel_open_connections",
        "Connections that are open",
        None,
        MetricType::Gauge,
    )?;
    for client in targets {
        // First those that are gone: none of them can be missing from those that were made.
        let gone = client.upkeep.disconnected.load(Relaxed);
        let open = client.upkeep.succeeded.load(Relaxed).saturating_sub(gone);
        series
            .encode_family(&[(TARGET, &*client.target)])?
            .encode_gauge(&open)?;
    }
    Ok(())
}

fn ejections(encoder: &mut DescriptorEncoder<'_>, targets: Targets<'_>) -> fmt::Result {
    let all = || {
        let each = |client: &&'static ClientMetrics| {
            let client: &'static ClientMetrics = client;
            Ejection::ALL.map(|by| (client, by))
        };
        targets.iter().flat_map(each)
    };
    let mut series = encoder.encode_descriptor(
        "grpc_lb_outlier_detection_ejections_enforced",
        "Endpoints that were taken out",
        None,
        MetricType::Counter,
    )?;
    for (client, by) in all() {
        let times = client.upkeep.enforced[by as usize].load(Relaxed);
        if times > 0 {
            let labels = [(TARGET, &*client.target), (DETECTION, by.name())];
            count(&mut series, &labels, times)?;
        }
    }
    let mut series = encoder.encode_descriptor(
        "grpc_lb_outlier_detection_ejections_unenforced",
        "Endpoints that should have been taken out and were not",
        None,
        MetricType::Counter,
    )?;
    for (client, by) in all() {
        let reasons = ["enforcement_percentage", "max_ejection_overflow"];
        for (reason, times) in reasons.iter().zip(&client.upkeep.unenforced[by as usize]) {
            let times = times.load(Relaxed);
            if times > 0 {
                let labels = [
                    (TARGET, &*client.target),
                    (DETECTION, by.name()),
                    (UNENFORCED, *reason),
                ];
                count(&mut series, &labels, times)?;
            }
        }
    }
    Ok(())
}

fn weights(encoder: &mut DescriptorEncoder<'_>, targets: Targets<'_>) -> fmt::Result {
    let weighed: Vec<_> = targets
        .iter()
        .copied()
        .filter(|client| !client.upkeep.weights().is_empty())
        .collect();
    counter(
        encoder,
        "grpc_lb_wrr_rr_fallback",
        "Times that too few endpoints had a weight",
        &weighed,
        |client| &client.upkeep.fallbacks,
    )?;
    counter(
        encoder,
        "grpc_lb_wrr_endpoint_weight_not_yet_usable",
        "Endpoints that had not reported for long enough when weights were taken",
        &weighed,
        |client| &client.upkeep.not_yet_usable,
    )?;
    counter(
        encoder,
        "grpc_lb_wrr_endpoint_weight_stale",
        "Endpoints whose last report was too old when weights were taken",
        &weighed,
        |client| &client.upkeep.stale,
    )?;
    let mut series = encoder.encode_descriptor(
        "grpc_lb_wrr_endpoint_weights",
        "The weights of endpoints, each time they are taken; 0 for none",
        None,
        MetricType::Histogram,
    )?;
    for client in weighed {
        let labels = [(TARGET, &*client.target)];
        let sum = client.upkeep.weights();
        sum.encode(&mut series, &labels, &Upkeep::WEIGHTS, 1.0)?;
    }
    Ok(())
}

fn caches(encoder: &mut DescriptorEncoder<'_>, targets: Targets<'_>) -> fmt::Result {
    let used = targets.iter().copied();
    let used: Vec<_> = used.filter(|client| client.cache.is_used()).collect();
    if used.is_empty() {
        return Ok(());
    }
    counter(
        encoder,
        "sampan_client_cache_hits",
        "Calls that were answered with what was kept, stale or not",
        &used,
        |client| &client.cache.hits,
    )?;
    counter(
        encoder,
        "sampan_client_cache_misses",
        "Calls whose answer could have been kept, and was not there or too old",
        &used,
        |client| &client.cache.misses,
    )?;
    counter(
        encoder,
        "sampan_client_cache_evictions",
        "Answers that went to make room, those not asked for longest first",
        &used,
        |client| &client.cache.evictions,
    )?;
    let mut series = encoder.encode_descriptor(
        "sampan_client_cache_size",
        "What is kept",
        Some(&Unit::Bytes),
        MetricType::Gauge,
    )?;
    for client in used {
        series
            .encode_family(&[(TARGET, &*client.target)])?
            .encode_gauge(&client.cache.bytes())?;
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    targets: Targets<'_>,
    which: fn(&ClientMetrics) -> &AtomicU64,
) -> fmt::Result {
    let mut series = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for client in targets {
        let labels = [(TARGET, &*client.target)];
        count(&mut series, &labels, which(client).load(Relaxed))?;
    }
    Ok(())
}

fn count<const LABELS: usize>(
    series: &mut MetricEncoder<'_>,
    labels: &[(&'static str, &str); LABELS],
    count: u64,
) -> fmt::Result {
    series
        .encode_family(labels)?
        .encode_counter(&count, None::<&NoExemplar<u64>>)
}
