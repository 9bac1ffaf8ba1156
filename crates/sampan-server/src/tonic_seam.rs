//! Stands between the transport's types and tonic's, and rounds off tonic's edges.
//!
//! - What is no gRPC is refused before any layer of the user sees it: a path without its slash,
//!   a content type that is not gRPC's.
//! - tonic answers OUT_OF_RANGE for a message over the limit; gRPC says RESOURCE_EXHAUSTED.
//! - Errors of the user's layers and bodies become statuses.

use crate::{
    BoxError,
    router::{RouteFuture, Routes},
    status::to_status,
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;
use sampan_middleware::{
    Body,
    metrics::{Call, ReceivedStream},
};
use sampan_transport::{BodyError, Incoming};
use std::{
    any::Any,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Status, body::Body as TonicBody};
use tower::util::Oneshot;
use tower_service::Service;

/// Takes what the transport gives, calls a tonic service, never fails.
#[derive(Clone, Debug)]
pub(crate) struct TonicSeam<S> {
    inner: Inner<S>,
    /// Whether other content types than gRPC's are refused.
    is_strict: bool,
}

/// What is called.
#[derive(Clone, Debug)]
enum Inner<S> {
    /// No layer of the user stands in between: nothing has to look like tonic's.
    Routes(Routes),
    Layered(S),
}

/// A request's body, as the transport gives it.
pub(crate) trait Arriving:
    HttpBody<Data = Bytes, Error = BodyError> + Send + 'static
{
    /// All of it, if it is there.
    fn take_all(&mut self) -> Option<Bytes>;
}

/// The future of [`TonicSeam`]: small, since it is moved on its way up.
pub(crate) enum SeamFuture<S: Service<Request<TonicBody>>> {
    Refused(StatusCode),
    Routed(RouteFuture),
    Layered(Pin<Box<Oneshot<S, Request<TonicBody>>>>),
}

pin_project! {
    /// A request's body, with errors as statuses.
    struct RequestBody<B> {
        #[pin]
        inner: B,
        weighed: ReceivedStream,
    }
}

static STATUS: HeaderName = Status::GRPC_STATUS;

/// How tonic's own message limits begin their status, percent-encoded as on the wire.
const TOO_LARGE: [&[u8]; 2] = [
    b"Error,%20decoded%20message%20length%20too%20large",
    b"Error,%20encoded%20message%20length%20too%20large",
];

// === impl TonicSeam ===

impl<S: Clone + 'static> TonicSeam<S> {
    pub(crate) fn new(services: S, is_strict: bool) -> Self {
        let routes = (&services as &dyn Any).downcast_ref::<Routes>().cloned();
        Self {
            inner: routes.map_or(Inner::Layered(services), Inner::Routes),
            is_strict,
        }
    }
}

impl<S: Service<Request<TonicBody>> + Clone> TonicSeam<S> {
    pub(crate) fn call<A: Arriving>(
        &self,
        request: Request<A>,
        counted: &mut Call,
    ) -> SeamFuture<S> {
        if let Err(refused) = check(&request, self.is_strict) {
            return refused;
        }
        let request = request.map(|mut inner| match inner.take_all() {
            Some(whole) => {
                counted.received(&whole);
                TonicBody::new(Full::new(whole))
            }
            None => TonicBody::new(RequestBody {
                inner,
                weighed: counted.receives_stream(),
            }),
        });
        match &self.inner {
            Inner::Routes(routes) => SeamFuture::Routed(routes.route(request, true)),
            Inner::Layered(services) => {
                let call = Oneshot::new(services.clone(), request);
                SeamFuture::Layered(Box::pin(call))
            }
        }
    }
}

/// Lets pass what is gRPC.
fn check<S, B>(request: &Request<B>, is_strict: bool) -> Result<(), SeamFuture<S>>
where
    S: Service<Request<TonicBody>>,
{
    if !request.uri().path().starts_with('/') {
        let status = Status::unimplemented("the path does not begin with a slash");
        return Err(SeamFuture::Routed(RouteFuture::ready(status)));
    }
    if is_strict && request.method() != Method::POST {
        return Err(SeamFuture::Refused(StatusCode::METHOD_NOT_ALLOWED));
    }
    let mut is_grpc = !is_strict;
    for (name, value) in request.headers() {
        if *name == header::CONTENT_TYPE {
            is_grpc |= is_content_type_of_grpc(value);
        } else if name.as_str().ends_with("-bin") && !is_base64(value) {
            let text = format!("the metadata {name} is no base64");
            let status = Status::invalid_argument(text);
            return Err(SeamFuture::Routed(RouteFuture::ready(status)));
        }
    }
    if is_grpc {
        Ok(())
    } else {
        Err(SeamFuture::Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE))
    }
}

/// Each of the values, which a proxy may have joined by commas, padded or not.
fn is_base64(values: &HeaderValue) -> bool {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut values = values.as_bytes().split(|byte| *byte == b',');
    values.all(|value| BASE64.decode(value.trim_ascii()).is_ok())
}

/// Messages of a codec of users come as `application/grpc` too, as tonic sends them; other
/// formats would be read as what they are not. Source: gRPC over HTTP/2, "Content-Type".
fn is_content_type_of_grpc(value: &HeaderValue) -> bool {
    let rest = value.as_bytes().strip_prefix(b"application/grpc");
    let rest = rest.map(|rest| rest.strip_prefix(b"+proto").unwrap_or(rest));
    matches!(rest, Some([] | [b';', ..]))
}

// === impl SeamFuture ===

impl<S, B> Future for SeamFuture<S>
where
    S: Service<Request<TonicBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match &mut *self {
            Self::Refused(code) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = *code;
                response
            }
            Self::Routed(call) => match ready!(Pin::new(call).poll(cx)) {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Self::Layered(call) => match ready!(call.as_mut().poll(cx)) {
                Ok(response) => response.map(into_body),
                Err(error) => to_status(error.into()).into_http(),
            },
        };
        if !response.headers().is_empty() {
            correct_code(response.headers_mut());
        }
        Poll::Ready(response)
    }
}

/// A body of any service, with errors as statuses. Ours and tonic's are taken as they are.
pub(crate) fn into_body<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Some(body);
    let any = &mut body as &mut dyn Any;
    if let Some(own) = any.downcast_mut::<Option<Body>>().and_then(Option::take) {
        return own;
    }
    if let Some(tonic) = any
        .downcast_mut::<Option<TonicBody>>()
        .and_then(Option::take)
    {
        return tonic.into();
    }
    body.map(|body| Body::new(body.map_err(|error| to_status(error.into()))))
        .unwrap_or_default()
}

/// Says RESOURCE_EXHAUSTED where tonic says that a message is too large.
pub(crate) fn correct_code(headers: &mut HeaderMap) {
    let is_out_of_range = headers.get(&STATUS).is_some_and(|code| code == "11");
    let is_too_large = || {
        let message = headers.get("grpc-message").map(HeaderValue::as_bytes);
        message.is_some_and(|text| TOO_LARGE.iter().any(|begin| text.starts_with(begin)))
    };
    if is_out_of_range && is_too_large() {
        headers.insert("grpc-status", HeaderValue::from_static("8"));
    }
}

// === impl RequestBody ===

impl<B: Arriving> HttpBody for RequestBody<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken = |error: BodyError| match error.no_memory() {
            Some(_) => Status::resource_exhausted(error.to_string()),
            // Never CANCELLED: tonic reads that as the request's proper end.
            None => Status::unavailable(format!("the request broke off: {error}")),
        };
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.weighed.add(data);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Incoming ===

impl Arriving for Incoming {
    fn take_all(&mut self) -> Option<Bytes> {
        Self::take_all(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_of_grpc_pass_and_its_relatives_do_not() {
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=x",
            "application/grpc+proto;charset=x",
        ] {
            assert!(is_content_type_of_grpc(&value.parse().unwrap()), "{value}");
        }
        for value in [
            "application/grpc-web",
            "application/json",
            "application/grpcx",
            "application/grpc+json",
            "application/grpc+protox",
            "",
        ] {
            assert!(!is_content_type_of_grpc(&value.parse().unwrap()), "{value}");
        }
    }

    #[test]
    fn binary_metadata_is_base64_padded_or_not_and_may_be_joined() {
        for good in ["", "AAH/", "AAE", "AAE=", "AAH/,AAE=", "AAH/, AAE"] {
            assert!(is_base64(&good.parse().unwrap()), "{good}");
        }
        for bad in ["***", "A", "AAE=,!", "AA-_"] {
            assert!(!is_base64(&bad.parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn an_out_of_range_of_the_users_own_stays() {
        let mut own = Status::out_of_range("page 7 of 3").into_http::<()>();
        correct_code(own.headers_mut());
        assert_eq!(own.headers()["grpc-status"], "11");
    }
}
