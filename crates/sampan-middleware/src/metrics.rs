//! Counts a server's calls, how long they took and what they weighed, by method and status; those
//! of channels are in [`client`].
//!
//! Why the table: labels come from callers, and a caller may name any method. Methods are known
//! from descriptors, or learned from a call that a handler answered properly; all others are
//! counted together as `other`. A method's series are looked up once, not per call.
//! Source: gRFC A66.

pub mod client;
mod histogram;
mod message_bytes;
mod method;

pub use message_bytes::ReceivedStream;

use crate::{Ended, NameMap, OnEnd};
use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, StatusCode, uri::PathAndQuery};
use message_bytes::MessageBytes;
use method::Method;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Registry};
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use tokio::time::Instant;
use tonic::{Code, Status};

/// A server's counts of calls, shared by all its connections.
#[derive(Clone, Debug)]
pub struct ServerMetrics(Arc<Shared>);

/// A call that is counted; dropped before its end, it was cancelled.
#[derive(Debug)]
pub struct Call {
    method: Named,
    started: Instant,
    sent: MessageBytes,
    received: Received,
}

/// How much of a request has come.
#[derive(Debug)]
enum Received {
    Whole(u64),
    Stream(Arc<AtomicU64>),
}

/// What is counted of one method.
#[derive(Clone, Debug)]
pub struct MethodMetrics(Arc<Method>);

#[derive(Debug)]
struct Shared {
    methods: ArcSwap<NameMap<Arc<Method>>>,
    other: Arc<Method>,
    /// Open calls whose method is not known yet.
    unnamed: AtomicUsize,
}

#[derive(Debug)]
enum Named {
    Counted(Arc<Method>),
    /// Not known yet; how its call is answered decides whether there is such a method.
    New(Box<(ServerMetrics, PathAndQuery)>),
    Ended,
}

static STATUS: HeaderName = Status::GRPC_STATUS;

/// Methods that are learned at most; services have far fewer.
const MOST_METHODS: usize = 2_000;

// === impl ServerMetrics ===

impl ServerMetrics {
    /// Adds the series to `registry`. `methods` (as `package.Service/Method`) are those known
    /// beforehand.
    pub fn register<M: AsRef<str>>(
        registry: &mut Registry,
        methods: impl IntoIterator<Item = M>,
    ) -> Self {
        let methods = methods.into_iter().map(|name| {
            let method = Arc::new(Method::new(name.as_ref()));
            (name.as_ref().into(), method)
        });
        let metrics = Self(Arc::new(Shared {
            methods: ArcSwap::from_pointee(methods.collect()),
            other: Arc::new(Method::new("other")),
            unnamed: AtomicUsize::new(0),
        }));
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// The calls that are open now.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        let Shared {
            methods,
            other,
            unnamed,
        } = &*self.0;
        let methods = methods.load();
        let named: u64 = methods.values().chain([other]).map(|m| m.in_flight()).sum();
        usize::try_from(named).unwrap_or(usize::MAX) + unnamed.load(Ordering::Relaxed)
    }

    /// A call of `path` begins at `now`.
    #[must_use]
    pub fn start(&self, path: Option<&PathAndQuery>, now: Instant) -> Call {
        let name = path.map_or("", |path| name(path));
        let known = self.0.methods.load().get(name).map(Arc::clone);
        let method = match (known, path) {
            (Some(method), _) => Named::counted(method),
            (None, Some(path)) => {
                self.0.unnamed.fetch_add(1, Ordering::Relaxed);
                Named::New(Box::new((self.clone(), path.clone())))
            }
            (None, None) => Named::counted(Arc::clone(&self.0.other)),
        };
        Call::new(method, now)
    }

    /// The method that a path names, when it is known as one.
    #[must_use]
    pub fn known(&self, path: &PathAndQuery) -> Option<MethodMetrics> {
        let methods = self.0.methods.load();
        Some(MethodMetrics(Arc::clone(methods.get(name(path))?)))
    }

    fn learn(&self, name: &str) -> Arc<Method> {
        let methods = self.0.methods.load();
        if let Some(method) = methods.get(name) {
            return Arc::clone(method);
        }
        if methods.len() >= MOST_METHODS {
            return Arc::clone(&self.0.other);
        }
        let method = Arc::new(Method::new(name));
        let mut learned = Arc::clone(&method);
        self.0.methods.rcu(|methods| {
            let mut methods = NameMap::clone(methods);
            // Another call may have been quicker.
            let kept = methods
                .entry(name.into())
                .or_insert_with(|| Arc::clone(&method));
            learned = Arc::clone(kept);
            methods
        });
        learned
    }
}

impl Collector for ServerMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let methods = self.0.methods.load();
        let all = methods.values().chain([&self.0.other]);
        method::encode(encoder, all.map(|method| &**method))
    }
}

/// `/package.Service/Method` without its first slash.
fn name(path: &PathAndQuery) -> &str {
    path.path().strip_prefix('/').unwrap_or_default()
}

// === impl MethodMetrics ===

impl MethodMetrics {
    /// As [`ServerMetrics::start`], of this method.
    #[must_use]
    pub fn start(&self, now: Instant) -> Call {
        Call::new(Named::counted(Arc::clone(&self.0)), now)
    }

    /// Whether it is the method that this path names.
    #[must_use]
    pub fn is_at(&self, path: &PathAndQuery) -> bool {
        name(path) == self.0.name()
    }
}

// === impl Named ===

impl Named {
    fn counted(method: Arc<Method>) -> Self {
        method.start();
        Self::Counted(method)
    }

    /// Decides of a new name whether it is a method's.
    fn settle(self, is_proper: bool) -> Self {
        let Self::New(new) = self else {
            return self;
        };
        let (metrics, path) = *new;
        metrics.0.unnamed.fetch_sub(1, Ordering::Relaxed);
        Self::counted(if is_proper {
            metrics.learn(name(&path))
        } else {
            Arc::clone(&metrics.0.other)
        })
    }
}

// === impl Call ===

impl Call {
    const fn new(method: Named, started: Instant) -> Self {
        Self {
            method,
            started,
            sent: MessageBytes::new(),
            received: Received::Whole(0),
        }
    }

    /// Its request has come whole: the messages with their prefixes.
    pub fn received(&mut self, whole: &[u8]) {
        let mut weighed = MessageBytes::new();
        weighed.add(whole);
        self.received = Received::Whole(weighed.bytes());
    }

    /// Its request is a stream, which is told as it comes.
    pub fn receives_stream(&mut self) -> ReceivedStream {
        let (stream, told) = ReceivedStream::new();
        self.received = Received::Stream(told);
        stream
    }

    /// So much of its answer leaves: messages with their prefixes, or pieces of them.
    pub fn sent(&mut self, data: &[u8]) {
        self.sent.add(data);
    }

    /// The answer's head is there. Only a handler answers with messages to come: what is
    /// refused, a wrong method included, says so in the head. Gives whether a handler answered.
    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap) -> bool {
        let is_proper = status.is_success() && !headers.contains_key(&STATUS);
        self.settle(is_proper);
        is_proper
    }

    fn settle(&mut self, is_proper: bool) {
        if let Named::New(..) = self.method {
            self.method = std::mem::replace(&mut self.method, Named::Ended).settle(is_proper);
        }
    }

    /// The call is over; what comes after that is not counted.
    pub fn end(&mut self, code: Code, now: Instant) {
        let method = std::mem::replace(&mut self.method, Named::Ended);
        if let Named::Counted(method) = method.settle(false) {
            let took = now.saturating_duration_since(self.started);
            let received = match &self.received {
                Received::Stream(told) => told.load(Ordering::Relaxed),
                Received::Whole(bytes) => *bytes,
            };
            method.end(code, took, self.sent.bytes(), received);
        }
    }
}

impl OnEnd for Call {
    fn on_end(mut self, ended: Ended) {
        self.end(ended.code(), Instant::now());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !matches!(self.method, Named::Ended) {
            self.end(Code::Cancelled, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Server {
        registry: Registry,
        metrics: ServerMetrics,
    }

    impl Server {
        fn knowing(methods: &[&str]) -> Self {
            let mut registry = Registry::default();
            let metrics = ServerMetrics::register(&mut registry, methods);
            Self { registry, metrics }
        }

        fn start(&self, path: &'static str) -> Call {
            let path = PathAndQuery::from_static(path);
            self.metrics.start(Some(&path), Instant::now())
        }

        /// Answers with a message and OK, or at once with `refused`.
        fn call(&self, path: &str, refused: Option<Status>) {
            let path = path.parse().unwrap();
            let mut call = self.metrics.start(Some(&path), Instant::now());
            assert_eq!(self.metrics.open_calls(), 1);
            let code = refused.as_ref().map_or(Code::Ok, Status::code);
            let head = refused.map(Status::into_http::<()>).unwrap_or_default();
            call.answered(head.status(), head.headers());
            call.received(&[0, 0, 0, 0, 2, 1, 1]);
            call.sent(&[0, 0, 0, 0, 3, 1]);
            call.sent(&[1, 1, 0, 0, 0, 0, 0]);
            call.on_end(Ended::Status(code));
            assert_eq!(self.metrics.open_calls(), 0);
        }

        fn text(&self) -> String {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            text
        }
    }

    #[test]
    fn calls_are_counted_by_method_and_status() {
        let server = Server::knowing(&["a.B/Known"]);
        server.call("/a.B/Known", None);
        server.call("/a.B/Known", Some(Status::not_found("")));
        let text = server.text();
        for line in [
            r#"grpc_server_call_started_total{grpc_method="a.B/Known"} 2"#,
            r#"grpc_server_calls_in_flight{grpc_method="a.B/Known"} 0"#,
            r#"grpc_server_call_duration_seconds_count{grpc_method="a.B/Known",grpc_status="OK"} 1"#,
            r#"grpc_server_call_duration_seconds_count{grpc_method="a.B/Known",grpc_status="NOT_FOUND"} 1"#,
            r#"grpc_server_call_rcvd_total_compressed_message_size_bytes_sum{grpc_method="a.B/Known",grpc_status="OK"} 2.0"#,
            r#"grpc_server_call_sent_total_compressed_message_size_bytes_sum{grpc_method="a.B/Known",grpc_status="OK"} 3.0"#,
            r#"le="0.00001""#,
            r#"le="+Inf",grpc_method="a.B/Known",grpc_status="OK"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn made_up_methods_share_one_series_and_real_ones_are_learned() {
        let server = Server::knowing(&[]);
        for n in 0..50 {
            let path = format!("/a.B/MadeUp{n}");
            server.call(&path, Some(Status::unimplemented("")));
            server.call(&path, Some(Status::invalid_argument("")));
        }
        server.call("/a.B/Real", None);
        server.call("/a.B/Real", Some(Status::internal("")));
        let text = server.text();
        assert!(!text.contains("MadeUp"));
        assert!(text.contains(r#"grpc_server_call_started_total{grpc_method="other"} 100"#));
        assert!(text.contains(r#"grpc_server_call_started_total{grpc_method="a.B/Real"} 2"#));
    }

    #[test]
    fn a_call_dropped_before_its_end_was_cancelled() {
        let server = Server::knowing(&["a.B/Slow"]);
        let call = server.start("/a.B/Slow");
        assert_eq!(server.metrics.open_calls(), 1);
        drop(call);
        assert_eq!(server.metrics.open_calls(), 0);
        let line = r#"grpc_server_call_duration_seconds_count{grpc_method="a.B/Slow",grpc_status="CANCELLED"} 1"#;
        assert!(server.text().contains(line));
    }
}
