//! The probe port: is it alive, is it ready, what has it counted. Plaintext, HTTP/1.1 and
//! HTTP/2, so that curl, kubelet, Prometheus and gRPC health checks all get an answer.

use crate::health::{Health, HealthCalls};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use prometheus_client::{encoding::text::encode, registry::Registry};
use sampan_middleware::Body;
use sampan_transport::Incoming;
use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tower_service::Service;

/// Answers probes.
#[derive(Clone)]
pub(crate) struct Probe {
    is_ready: Arc<AtomicBool>,
    registry: Arc<Registry>,
    health: HealthCalls,
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

// === impl Probe ===

impl Probe {
    pub(crate) fn new(registry: Registry, health: &Health) -> Self {
        Self {
            is_ready: Arc::new(AtomicBool::new(true)),
            registry: Arc::new(registry),
            health: health.for_probes(),
        }
    }

    /// From now on /ready answers 503.
    pub(crate) fn not_ready(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let (status, content_type, text) = match path {
            // Liveness: that anything answers is the answer.
            "/health" => (StatusCode::OK, TEXT, "alive\n".to_owned()),
            "/ready" if self.is_ready.load(Ordering::Relaxed) => {
                (StatusCode::OK, TEXT, "ready\n".to_owned())
            }
            "/ready" => (
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                "draining\n".to_owned(),
            ),
            "/metrics" => {
                let mut text = String::new();
                match encode(&mut text, &self.registry) {
                    Ok(()) => (StatusCode::OK, OPEN_METRICS, text),
                    Err(fmt::Error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new()),
                }
            }
            _ => {
                let known = "known are /health, /ready and /metrics\n".to_owned();
                (StatusCode::NOT_FOUND, TEXT, known)
            }
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            return response;
        }
        let mut response = Response::new(Body::from(bytes::Bytes::from(text)));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        response
    }
}

impl Service<Request<Incoming>> for Probe {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if request.uri().path().starts_with("/grpc.health.v1.Health/") {
            return self.health.call(request);
        }
        let response = self.answer(request.method(), request.uri().path());
        Box::pin(std::future::ready(Ok(response)))
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("is_ready", &self.is_ready)
            .finish_non_exhaustive()
    }
}
