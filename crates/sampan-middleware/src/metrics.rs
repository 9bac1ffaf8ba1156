//! Counts a server's calls and how long they took, by method and status.
//!
//! Why the table: labels come from callers, and a caller may name any method. Methods are known
//! from descriptors, or learned from a call that a handler answered properly; all others are
//! counted together as `other`. A method's series are looked up once, not per call.
//! Source: gRFC A66.

mod method;

use crate::{CallEnd, Ended, OnEnd};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, uri::PathAndQuery};
use http_body::Body;
use method::{Method, Series};
use pin_project_lite::pin_project;
use prometheus_client::registry::Registry;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Instant,
};
use tonic::{Code, Status};
use tower_layer::Layer;
use tower_service::Service;

/// A server's counts of calls, shared by all its connections.
#[derive(Clone, Debug)]
pub struct ServerMetrics(Arc<Shared>);

/// Applies [`Metrics`] to a service.
#[derive(Clone, Debug)]
pub struct MetricsLayer {
    metrics: ServerMetrics,
}

/// Counts every call, from its request to its last trailer.
#[derive(Clone, Debug)]
pub struct Metrics<S> {
    inner: S,
    metrics: ServerMetrics,
}

pin_project! {
    /// The future of [`Metrics`].
    #[derive(Debug)]
    pub struct MetricsFuture<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

/// A call that is counted; dropped before its end, it was cancelled.
#[derive(Debug)]
pub struct Call {
    metrics: ServerMetrics,
    method: Named,
    started: Instant,
    has_ended: bool,
}

#[derive(Debug)]
struct Shared {
    series: Series,
    methods: ArcSwap<HashMap<Box<str>, Arc<Method>>>,
    other: Arc<Method>,
    open: AtomicUsize,
}

#[derive(Debug)]
enum Named {
    Counted(Arc<Method>),
    /// Not known yet; how its call is answered decides whether there is such a method.
    New(PathAndQuery),
}

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
        let series = Series::register(registry);
        let methods = methods.into_iter().map(|name| {
            let method = Arc::new(series.method(name.as_ref()));
            (name.as_ref().into(), method)
        });
        Self(Arc::new(Shared {
            methods: ArcSwap::from_pointee(methods.collect()),
            other: Arc::new(series.method("other")),
            series,
            open: AtomicUsize::new(0),
        }))
    }

    /// The calls that are open now.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    fn start(&self, path: Option<&PathAndQuery>) -> Call {
        let name = path.map_or("", |path| name(path));
        let known = self.0.methods.load().get(name).map(Arc::clone);
        let method = match (known, path) {
            (Some(method), _) => Named::Counted(method),
            (None, Some(path)) => Named::New(path.clone()),
            (None, None) => Named::Counted(Arc::clone(&self.0.other)),
        };
        if let Named::Counted(method) = &method {
            method.start();
        }
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Call {
            metrics: self.clone(),
            method,
            started: Instant::now(),
            has_ended: false,
        }
    }

    fn learn(&self, name: &str) -> Arc<Method> {
        let methods = self.0.methods.load();
        if let Some(method) = methods.get(name) {
            return Arc::clone(method);
        }
        if methods.len() >= MOST_METHODS {
            return Arc::clone(&self.0.other);
        }
        let method = Arc::new(self.0.series.method(name));
        self.0.methods.rcu(|methods| {
            let mut methods = HashMap::clone(methods);
            methods
                .entry(name.into())
                .or_insert_with(|| Arc::clone(&method));
            methods
        });
        method
    }
}

/// `/package.Service/Method` without its first slash.
fn name(path: &PathAndQuery) -> &str {
    path.path().strip_prefix('/').unwrap_or_default()
}

// === impl MetricsLayer ===

impl MetricsLayer {
    /// Counts into `metrics`.
    #[must_use]
    pub const fn new(metrics: ServerMetrics) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

// === impl Metrics ===

impl<S, ReqB, B> Service<Request<ReqB>> for Metrics<S>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    B: Body<Data = Bytes, Error = Status>,
{
    type Response = Response<CallEnd<B, Call>>;
    type Error = S::Error;
    type Future = MetricsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let call = self.metrics.start(request.uri().path_and_query());
        MetricsFuture {
            inner: self.inner.call(request),
            call: Some(call),
        }
    }
}

// === impl MetricsFuture ===

impl<F, B, E> Future for MetricsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes, Error = Status>,
{
    type Output = Result<Response<CallEnd<B, Call>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (head, body) = ready!(this.inner.poll(cx))?.into_parts();
        let mut call = this.call.take().expect("polled after its end");
        // Only a handler answers with messages to come: what is refused, a wrong method
        // included, says so in the head.
        call.is_answered(
            head.status.is_success() && !head.headers.contains_key(&tonic::Status::GRPC_STATUS),
        );
        let body = CallEnd::new(&head.headers, body, call);
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

// === impl Call ===

impl Call {
    fn is_answered(&mut self, is_proper: bool) {
        if let Named::New(path) = &self.method {
            let method = if is_proper {
                self.metrics.learn(name(path))
            } else {
                Arc::clone(&self.metrics.0.other)
            };
            method.start();
            self.method = Named::Counted(method);
        }
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.is_answered(false);
        if let Named::Counted(method) = &self.method {
            method.end(&self.metrics.0.series, code, self.started.elapsed());
        }
        self.metrics.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OnEnd for Call {
    fn on_end(mut self, ended: Ended) {
        self.end(ended.code());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::convert::Infallible;
    use tower::{ServiceExt, service_fn};

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

        /// Answers with a message and OK, or at once with `refused`.
        async fn call(&self, path: &str, refused: Option<Status>) {
            let service = service_fn(|_: Request<()>| async {
                Ok::<_, Infallible>(match refused.clone() {
                    Some(status) => status.into_http().map(|()| tonic::body::Body::empty()),
                    None => {
                        let mut ok = http::HeaderMap::new();
                        ok.insert("grpc-status", http::HeaderValue::from_static("0"));
                        let frames = [Ok::<_, Status>(http_body::Frame::trailers(ok))];
                        let body = StreamBody::new(futures_util::stream::iter(frames));
                        Response::new(tonic::body::Body::new(body))
                    }
                })
            });
            let layer = MetricsLayer::new(self.metrics.clone());
            let request = Request::builder().uri(path).body(()).unwrap();
            let answer = layer.layer(service).oneshot(request).await.unwrap();
            assert_eq!(self.metrics.open_calls(), usize::from(refused.is_none()));
            answer.into_body().collect().await.unwrap();
            assert_eq!(self.metrics.open_calls(), 0);
        }

        fn text(&self) -> String {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
            text
        }
    }

    #[tokio::test]
    async fn calls_are_counted_by_method_and_status() {
        let server = Server::knowing(&["a.B/Known"]);
        server.call("/a.B/Known", None).await;
        server.call("/a.B/Known", Some(Status::not_found(""))).await;
        let text = server.text();
        for line in [
            r#"grpc_server_call_started_total{grpc_method="a.B/Known"} 2"#,
            r#"grpc_server_calls_in_flight{grpc_method="a.B/Known"} 0"#,
            r#"grpc_server_call_duration_seconds_count{grpc_method="a.B/Known",grpc_status="OK"} 1"#,
            r#"grpc_server_call_duration_seconds_count{grpc_method="a.B/Known",grpc_status="NOT_FOUND"} 1"#,
            r#"le="0.00001""#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[tokio::test]
    async fn made_up_methods_share_one_series_and_real_ones_are_learned() {
        let server = Server::knowing(&[]);
        for n in 0..50 {
            let path = format!("/a.B/MadeUp{n}");
            server.call(&path, Some(Status::unimplemented(""))).await;
            server.call(&path, Some(Status::invalid_argument(""))).await;
        }
        server.call("/a.B/Real", None).await;
        server.call("/a.B/Real", Some(Status::internal(""))).await;
        let text = server.text();
        assert!(!text.contains("MadeUp"));
        assert!(text.contains(r#"grpc_server_call_started_total{grpc_method="other"} 100"#));
        assert!(text.contains(r#"grpc_server_call_started_total{grpc_method="a.B/Real"} 2"#));
    }

    #[tokio::test]
    async fn a_call_dropped_before_its_answer_was_cancelled() {
        let server = Server::knowing(&["a.B/Slow"]);
        let service = service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<tonic::body::Body>, Infallible>>()
        });
        let layer = MetricsLayer::new(server.metrics.clone());
        let request = Request::builder().uri("/a.B/Slow").body(()).unwrap();
        let call = layer.layer(service).call(request);
        assert_eq!(server.metrics.open_calls(), 1);
        drop(call);
        assert_eq!(server.metrics.open_calls(), 0);
        let line = r#"grpc_server_call_duration_seconds_count{grpc_method="a.B/Slow",grpc_status="CANCELLED"} 1"#;
        assert!(server.text().contains(line));
    }
}
