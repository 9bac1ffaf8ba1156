//! The gateway as a service: recognizes the protocol, finds the method, and joins the two halves.

mod builder;

pub use builder::GatewayBuilder;

use crate::{
    cors::Cors,
    error::Error,
    json::JsonSettings,
    leftover, metadata,
    neutral::{Answer, Fault},
    protocol::{self, Protocol, Recognized},
    routes::{Method, Routes},
    transcode,
    upstream::Call,
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response, StatusCode, Version, header, request::Parts};
use sampan_middleware::Body;
use sampan_transport::{Address, PeerInfo};
use sampan_wire::policy::Idempotency;
use std::{
    convert::Infallible,
    fmt,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::Instant;
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers browsers and other clients in their protocol, by calling gRPC services.
///
/// A tower service that is always ready; cheap to clone, and all clones are one gateway.
///
/// | request | answered by |
/// |---|---|
/// | `/pkg.Service/Method` of a known service, or in a protocol that says so itself | the service |
/// | any other path | the fallback, else 404 |
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    routes: Arc<Routes>,
    cors: Cors,
    json: JsonSettings,
    max_request_bytes: usize,
    max_answer_bytes: usize,
    fallback: Option<Box<Fallback>>,
}

type Fallback =
    dyn Fn(Request<tonic::body::Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync;

/// What a request is for.
enum Purpose<'a> {
    Call { service: &'a str, method: &'a str },
    Preflight,
    Other,
}

// === impl Gateway ===

impl Gateway {
    /// Begins a gateway without upstreams, closed to pages of other origins.
    #[must_use]
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::new()
    }

    /// Asks the upstreams with reflection for their services now; otherwise that happens when a
    /// service is first called.
    ///
    /// # Errors
    /// When an upstream does not answer within 10 s or its answer is of no use, and when two
    /// offer the same service. The gateway works on with what it knows.
    pub async fn discover(&self) -> Result<(), Error> {
        self.0.routes.refresh().await
    }

    /// The full names of the services known now, in order.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        self.0.routes.services()
    }

    async fn answer(self, request: Request<tonic::body::Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match self.0.purpose(&parts) {
            Purpose::Preflight => self.0.cors.preflight(&parts.headers),
            Purpose::Other => match &self.0.fallback {
                Some(fallback) => fallback(Request::from_parts(parts, body)).await,
                None => not_found(),
            },
            Purpose::Call { service, method } => {
                let mut response = self.0.call(&parts, service, method, body).await;
                let origin = parts.headers.get(header::ORIGIN);
                self.0.cors.expose(origin, response.headers_mut());
                response
            }
        }
    }
}

impl<B> Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let gateway = self.clone();
        let request = request.map(tonic::body::Body::new);
        // Other calls share the connection, and a panic would take them along.
        AssertUnwindSafe(gateway.answer(request))
            .catch_unwind()
            .map(|answered| Ok(answered.unwrap_or_else(|_| internal_error())))
            .boxed()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("services", &self.services())
            .field("cors", &self.0.cors)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    fn purpose<'a>(&self, parts: &'a Parts) -> Purpose<'a> {
        let Some((service, method)) = service_and_method(parts.uri.path()) else {
            return Purpose::Other;
        };
        // Beside other paths, those of services unknown yet are told by the dot of a package.
        let looks_like_rpc = self.fallback.is_none() || service.contains('.');
        let is_known = self.routes.has_service(service);
        if Cors::is_preflight(parts) {
            return if is_known || looks_like_rpc {
                Purpose::Preflight
            } else {
                Purpose::Other
            };
        }
        let is_call = is_known
            || protocol::is_surely_rpc(parts)
            || (looks_like_rpc && matches!(protocol::recognize(parts), Recognized::Rpc(_)));
        if is_call {
            Purpose::Call { service, method }
        } else {
            Purpose::Other
        }
    }

    /// Answers a call, or refuses what can be none.
    async fn call(
        &self,
        parts: &Parts,
        service: &str,
        method: &str,
        body: tonic::body::Body,
    ) -> Response<Body> {
        let (body, left) = if parts.version < Version::HTTP_2 {
            let (body, left) = leftover::returning(body);
            (body, Some(left))
        } else {
            (body, None)
        };
        let response = self.dispatch(parts, service, method, body).await;
        match left {
            Some(left) => left.before_end_of(response).await,
            None => response,
        }
    }

    async fn dispatch(
        &self,
        parts: &Parts,
        service: &str,
        method: &str,
        body: tonic::body::Body,
    ) -> Response<Body> {
        let began = Instant::now();
        let recognized = protocol::recognize(parts);
        let method = match (self.routes.find(service, method).await, recognized) {
            (Ok(method), Recognized::Rpc(protocol)) => {
                if let Some(refused) = refused(parts, &method, protocol.as_ref()) {
                    return refused;
                }
                let answer = match self
                    .ask(parts, began, &method, protocol.as_ref(), body)
                    .await
                {
                    Ok(answer) => transcode::answer(protocol.codec(), &method, answer),
                    Err(fault) => Answer::ended(fault),
                };
                return protocol.write(answer).await;
            }
            (Err(fault), Recognized::Rpc(protocol)) => {
                let mut response = protocol.write(Answer::ended(fault)).await;
                if response.status() == StatusCode::NOT_IMPLEMENTED {
                    // Where the protocol speaks by HTTP's status, the path is what is missing.
                    *response.status_mut() = StatusCode::NOT_FOUND;
                }
                return response;
            }
            (Err(_), _) => return not_found(),
            (Ok(method), Recognized::WrongMethod) => {
                return if parts.method == http::Method::GET && is_cacheable(&method) {
                    protocol::wrong_type(method.kind)
                } else {
                    protocol::wrong_method(method.idempotency)
                };
            }
            (Ok(method), Recognized::WrongType) => method,
            (Ok(_), Recognized::WrongVersion) => return protocol::wrong_version(),
        };
        protocol::wrong_type(method.kind)
    }

    /// Calls the upstream.
    async fn ask(
        &self,
        parts: &Parts,
        began: Instant,
        method: &Arc<Method>,
        protocol: &dyn Protocol,
        body: tonic::body::Body,
    ) -> Result<Answer, Fault> {
        protocol.check(&parts.headers)?;
        let timeout = protocol.timeout(&parts.headers)?;
        let metadata = metadata::of_request(&parts.headers, client(parts))?;
        let messages = protocol.messages(body, self.max_request_bytes);
        let call = Call {
            method: Arc::clone(method),
            metadata,
            // A timeout beyond what a clock can hold is none.
            deadline: timeout.and_then(|timeout| began.checked_add(timeout)),
            messages: transcode::request(protocol.codec(), self.json, method, messages),
            max_message_bytes: self.max_answer_bytes,
        };
        Ok(call.run().await)
    }
}

/// The two parts of `/pkg.Service/Method`.
fn service_and_method(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let is_plain = !service.is_empty() && !method.is_empty() && !method.contains('/');
    is_plain.then_some((service, method))
}

/// The answer to a call that the method cannot be called with.
fn refused(parts: &Parts, method: &Method, protocol: &dyn Protocol) -> Option<Response<Body>> {
    if parts.method == http::Method::GET && !is_cacheable(method) {
        return Some(protocol::wrong_method(method.idempotency));
    }
    (!protocol.suits(method.kind)).then(|| protocol::wrong_type(method.kind))
}

/// Whether a method may be called by GET.
fn is_cacheable(method: &Method) -> bool {
    method.idempotency == Idempotency::NoSideEffects && method.kind.has_single_request()
}

fn client(parts: &Parts) -> Option<IpAddr> {
    match parts.extensions.get::<PeerInfo>()?.remote_address()? {
        Address::Tcp(address) => Some(address.ip().to_canonical()),
        Address::Unix(_) => None,
    }
}

fn not_found() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn internal_error() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
