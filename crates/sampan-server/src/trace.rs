//! Spans of calls, for whoever subscribes to them.
//!
//! They are of the target `sampan::rpc` and the level DEBUG, as those of channels; while nobody
//! asks for those, a call looks at one number and makes none. A call's handler and its answer run
//! within its span. Fields have the names of OpenTelemetry's conventions for RPCs.

use http::Request;
use sampan_transport::{Address, PeerInfo};
use tonic::Code;
use tracing::{Level, Span, field::Empty};

const TARGET: &str = "sampan::rpc";
/// Instead of the name of a method that the server does not have: callers can make up any number.
const OTHER: &str = "_OTHER";

/// The span of a call, if somebody wants it. Dropped before its end, the call was cancelled.
#[derive(Debug, Default)]
pub(crate) struct CallSpan(Option<Box<Named>>);

#[derive(Debug)]
struct Named {
    span: Span,
    /// What its caller wrote, until it is known whether the server has such a method.
    unsettled: Option<Box<str>>,
}

// === impl CallSpan ===

impl CallSpan {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>, is_known: bool) -> Self {
        if tracing::enabled!(target: TARGET, Level::DEBUG) {
            Self(Some(Box::new(named(request, is_known))))
        } else {
            Self(None)
        }
    }

    /// Runs `code` within it.
    #[inline]
    pub(crate) fn enter<R>(&self, code: impl FnOnce() -> R) -> R {
        match &self.0 {
            None => code(),
            Some(named) => named.span.in_scope(code),
        }
    }

    /// A handler has answered, or the answer came from somebody else.
    #[inline]
    pub(crate) fn settle(&mut self, is_method: bool) {
        if let Some(named) = &mut self.0 {
            named.settle(is_method);
        }
    }

    /// The call is over.
    #[inline]
    pub(crate) fn end(&mut self, code: Code) {
        if let Some(mut named) = self.0.take() {
            named.settle(false);
            ended(&named.span, code);
        }
    }
}

impl Drop for CallSpan {
    #[inline]
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

// === impl Named ===

impl Named {
    fn settle(&mut self, is_method: bool) {
        let Some(path) = self.unsettled.take() else {
            return;
        };
        let name = if is_method { &*path } else { OTHER };
        self.span.record("otel.name", name);
        self.span.record("rpc.method", name);
        if !is_method {
            self.span.record("rpc.method_original", &*path);
        }
    }
}

fn named<B>(request: &Request<B>, is_known: bool) -> Named {
    let path = request.uri().path();
    let path = path.strip_prefix('/').unwrap_or(path);
    let method = is_known.then_some(path);
    let span = tracing::debug_span!(
        target: TARGET,
        "call",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.method_original = Empty,
        rpc.response.status_code = Empty,
        client.address = Empty,
        client.port = Empty,
        traceparent = Empty,
    );
    let peer = request
        .extensions()
        .get()
        .and_then(PeerInfo::remote_address);
    if let Some(Address::Tcp(address)) = peer {
        span.record("client.address", tracing::field::display(address.ip()));
        span.record("client.port", address.port());
    }
    let parent = request.headers().get("traceparent");
    if let Some(parent) = parent.and_then(|value| value.to_str().ok()) {
        span.record("traceparent", parent);
    }
    let unsettled = (!is_known).then(|| path.into());
    Named { span, unsettled }
}

#[cold]
fn ended(span: &Span, code: Code) {
    let known = u8::try_from(code as i32).ok();
    let known = known.and_then(sampan_wire::Code::from_u8);
    let name = known.unwrap_or(sampan_wire::Code::Unknown).name();
    span.record("rpc.response.status_code", name);
    // Of a server's spans only what is its own fault is an error.
    let is_own = known.is_some_and(sampan_wire::Code::is_endpoint_failure);
    if is_own || code == Code::Unimplemented {
        span.record("otel.status_code", "ERROR");
    }
}
