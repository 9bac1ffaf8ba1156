//! Spans of calls and of their attempts, for whoever subscribes to them.
//!
//! They are of the target `sampan::rpc` and the level DEBUG; while nobody asks for those, a call
//! looks at one number and makes none. Fields have the names of OpenTelemetry's conventions for
//! RPCs, with `otel.name`, `otel.kind` and `otel.status_code` for those who pass them on.

use crate::endpoint::Live;
use sampan_middleware::Ended;
use sampan_transport::Address;
use tonic::Code;
use tracing::{Level, Span, field::Empty};

const TARGET: &str = "sampan::rpc";

/// The span of a call, if somebody wants it.
pub(crate) fn call(path: &str) -> Option<Box<Span>> {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return None;
    }
    let method = path.strip_prefix('/').unwrap_or(path);
    let span = tracing::debug_span!(
        target: TARGET,
        "call",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = Empty,
    );
    Some(Box::new(span))
}

/// The span of an attempt, within that of its call.
pub(crate) fn attempt(path: &str, live: &Live, previous: u32) -> Option<Span> {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return None;
    }
    let method = path.strip_prefix('/').unwrap_or(path);
    let span = tracing::debug_span!(
        target: TARGET,
        "attempt",
        otel.name = method,
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = Empty,
        rpc.grpc.previous_attempts = previous,
        server.address = Empty,
        server.port = Empty,
    );
    match &live.endpoint.site.address {
        Address::Tcp(address) => {
            span.record("server.address", tracing::field::display(address.ip()));
            span.record("server.port", address.port());
        }
        Address::Unix(_) => {
            span.record("server.address", live.endpoint.label());
        }
    }
    Some(span)
}

/// What it stands for is over.
pub(crate) fn end(span: &Span, ended: Ended) {
    let code = u8::try_from(ended.code() as i32).ok();
    let code = code.and_then(sampan_wire::Code::from_u8);
    let name = code.unwrap_or(sampan_wire::Code::Unknown).name();
    span.record("rpc.response.status_code", name);
    if ended.code() != Code::Ok {
        span.record("otel.status_code", "ERROR");
    }
}
