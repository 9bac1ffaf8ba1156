//! Stands between the transport's types and tonic's, and rounds off tonic's edges.
//!
//! - What is no gRPC is refused before any layer of the user sees it: a path without its slash,
//!   a content type that is not gRPC's.
//! - tonic answers OUT_OF_RANGE for a message over the limit; gRPC says RESOURCE_EXHAUSTED.
//! - Errors of the user's layers and bodies become statuses.

use crate::{BoxError, status::to_status};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_transport::{BodyError, Incoming};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Status, body::Body};
use tower::util::Oneshot;
use tower_layer::Layer;
use tower_service::Service;

/// Applies [`TonicSeam`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TonicSeamLayer {
    /// Whether other content types than gRPC's are refused.
    pub(crate) is_strict: bool,
}

/// Takes what the transport gives, calls a tonic service, never fails.
#[derive(Clone, Debug)]
pub(crate) struct TonicSeam<S> {
    inner: S,
    is_strict: bool,
}

pin_project! {
    /// The future of [`TonicSeam`].
    #[project = SeamFutureProjection]
    pub(crate) enum SeamFuture<S: Service<Request<Body>>> {
        Refused { response: Option<Response<()>> },
        Called { #[pin] call: Oneshot<S, Request<Body>> },
    }
}

pin_project! {
    /// A response's body, with errors as statuses.
    pub(crate) struct SeamBody<B> {
        #[pin]
        inner: Option<B>,
    }
}

pin_project! {
    /// A request's body, with errors as statuses.
    struct RequestBody {
        #[pin]
        inner: Incoming,
    }
}

/// How tonic's own message limits begin their status, percent-encoded as on the wire.
const TOO_LARGE: [&[u8]; 2] = [
    b"Error,%20decoded%20message%20length%20too%20large",
    b"Error,%20encoded%20message%20length%20too%20large",
];

// === impl TonicSeamLayer ===

impl<S> Layer<S> for TonicSeamLayer {
    type Service = TonicSeam<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TonicSeam {
            inner,
            is_strict: self.is_strict,
        }
    }
}

// === impl TonicSeam ===

impl<S, B> Service<Request<Incoming>> for TonicSeam<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Response = Response<SeamBody<B>>;
    type Error = Infallible;
    type Future = SeamFuture<S>;

    // The user's layers are asked per call: one that waits holds up that call alone.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if let Some(response) = refusal(&request, self.is_strict) {
            let response = Some(response);
            return SeamFuture::Refused { response };
        }
        let request = request.map(|inner| Body::new(RequestBody { inner }));
        SeamFuture::Called {
            call: Oneshot::new(self.inner.clone(), request),
        }
    }
}

fn refusal(request: &Request<Incoming>, is_strict: bool) -> Option<Response<()>> {
    if !request.uri().path().starts_with('/') {
        let status = Status::unimplemented("the path does not begin with a slash");
        return Some(status.into_http());
    }
    if is_strict && !is_grpc(request.headers()) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(response);
    }
    None
}

/// Source: gRPC over HTTP/2, "Content-Type".
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

// === impl SeamFuture ===

impl<S, B> Future for SeamFuture<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<Response<SeamBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let refused = match self.project() {
            SeamFutureProjection::Refused { response } => response.take(),
            SeamFutureProjection::Called { call } => match ready!(call.poll(cx)) {
                Ok(mut response) => {
                    correct_code(response.headers_mut());
                    return Poll::Ready(Ok(response.map(|inner| SeamBody { inner: Some(inner) })));
                }
                Err(error) => Some(to_status(error.into()).into_http()),
            },
        };
        let response = refused.unwrap_or_default();
        Poll::Ready(Ok(response.map(|()| SeamBody { inner: None })))
    }
}

/// Says RESOURCE_EXHAUSTED where tonic says that a message is too large.
fn correct_code(headers: &mut HeaderMap) {
    let is_out_of_range = headers.get("grpc-status").is_some_and(|code| code == "11");
    let is_too_large = || {
        let message = headers.get("grpc-message").map(HeaderValue::as_bytes);
        message.is_some_and(|text| TOO_LARGE.iter().any(|begin| text.starts_with(begin)))
    };
    if is_out_of_range && is_too_large() {
        headers.insert("grpc-status", HeaderValue::from_static("8"));
    }
}

// === impl SeamBody ===

impl<B> HttpBody for SeamBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = self.project().inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        Poll::Ready(match ready!(inner.poll_frame(cx)) {
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    correct_code(trailers);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(to_status(error.into()))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

// === impl RequestBody ===

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken = |error: BodyError| {
            // Never CANCELLED: tonic reads that as the request's proper end.
            Status::unavailable(format!("the request broke off: {error}"))
        };
        self.project().inner.poll_frame(cx).map_err(broken)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn content_types_of_grpc_pass_and_its_relatives_do_not() {
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=x",
        ] {
            assert!(is_grpc(&headers("content-type", value)), "{value}");
        }
        for value in [
            "application/grpc-web",
            "application/json",
            "application/grpcx",
            "",
        ] {
            assert!(!is_grpc(&headers("content-type", value)), "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn an_out_of_range_of_the_users_own_stays() {
        let mut own = Status::out_of_range("page 7 of 3").into_http::<()>();
        correct_code(own.headers_mut());
        assert_eq!(own.headers()["grpc-status"], "11");
    }
}
