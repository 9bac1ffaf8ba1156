//! gRPC over HTTP/2, as other services speak it.
//!
//! Source: gRPC over HTTP/2.

use super::{
    Protocol,
    envelope::{Envelope, EnvelopeBody, EnvelopeReader},
    only_identity,
};
use crate::{
    grpc_status,
    neutral::{Answer, Codec, End, Fault, Messages},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use sampan_middleware::Body;
use sampan_wire::{policy::MethodKind, timeout};
use std::time::Duration;

/// A gRPC call.
#[derive(Debug)]
pub(super) struct Grpc {
    codec: Codec,
}

/// A body that ends in HTTP trailers.
struct WithTrailers;

// === impl Grpc ===

impl Grpc {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec }
    }
}

impl Protocol for Grpc {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn suits(&self, _: MethodKind) -> bool {
        true
    }

    fn timeout(&self, headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
        grpc_timeout(headers)
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        only_identity(headers, "grpc-encoding")
    }

    fn messages(&self, body: tonic::body::Body, max_message_bytes: usize) -> Messages {
        Box::pin(EnvelopeReader::new(body, max_message_bytes))
    }

    fn write(self: Box<Self>, answer: Answer) -> BoxFuture<'static, http::Response<Body>> {
        let content_type = match self.codec {
            Codec::Proto => "application/grpc+proto",
            Codec::Json => "application/grpc+json",
        };
        let mut response = http::Response::new(Body::empty());
        *response.headers_mut() = answer.metadata;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        *response.body_mut() = Body::new(EnvelopeBody::new(answer.events, WithTrailers));
        std::future::ready(response).boxed()
    }
}

/// The `grpc-timeout` of a request.
pub(super) fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    headers
        .get("grpc-timeout")
        .map(|value| timeout::parse(value.as_bytes()))
        .transpose()
        .map_err(|invalid| Fault::malformed(invalid.to_string()))
}

// === impl WithTrailers ===

impl Envelope for WithTrailers {
    fn end(&self, end: End) -> Frame<Bytes> {
        Frame::trailers(grpc_status::trailers(end))
    }
}
