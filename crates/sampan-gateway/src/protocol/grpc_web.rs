//! gRPC-Web: gRPC for `fetch`, which has no trailers; binary, or base64 text for old browsers.
//!
//! Source: gRPC PROTOCOL-WEB.

use super::{
    Protocol, base64_text,
    envelope::{Envelope, EnvelopeBody, EnvelopeReader, prefixed},
    grpc::grpc_timeout,
    only_identity,
};
use crate::{
    grpc_status,
    neutral::{Answer, Codec, End, Events, Fault, Messages},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use sampan_middleware::Body;
use sampan_wire::policy::MethodKind;
use std::time::Duration;

/// The flag of the frame that carries trailers.
const TRAILERS: u8 = 0x80;

/// A gRPC-Web call.
#[derive(Debug)]
pub(super) struct GrpcWeb {
    codec: Codec,
    text: bool,
}

/// A body that ends in a frame of trailers.
struct TrailerFrame {
    text: bool,
}

// === impl GrpcWeb ===

impl GrpcWeb {
    pub(super) fn new(codec: Codec, text: bool) -> Self {
        Self { codec, text }
    }

    fn content_type(&self) -> &'static str {
        match (self.text, self.codec) {
            (false, Codec::Proto) => "application/grpc-web+proto",
            (false, Codec::Json) => "application/grpc-web+json",
            (true, Codec::Proto) => "application/grpc-web-text+proto",
            (true, Codec::Json) => "application/grpc-web-text+json",
        }
    }
}

impl Protocol for GrpcWeb {
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
        let reader = EnvelopeReader::new(body, max_message_bytes);
        Box::pin(if self.text { reader.text() } else { reader })
    }

    fn write(self: Box<Self>, answer: Answer) -> BoxFuture<'static, http::Response<Body>> {
        let content_type = self.content_type();
        let mut response = http::Response::new(Body::empty());
        *response.headers_mut() = answer.metadata;
        match answer.events {
            // Without messages the head says all: some clients look for it there only.
            Events::Ended(end) => response.headers_mut().extend(grpc_status::trailers(end)),
            flowing @ Events::Flowing(_) => {
                let envelope = TrailerFrame { text: self.text };
                *response.body_mut() = Body::new(EnvelopeBody::new(flowing, envelope));
            }
        }
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        std::future::ready(response).boxed()
    }
}

// === impl TrailerFrame ===

impl TrailerFrame {
    fn write(&self, frame: Bytes) -> Bytes {
        if self.text {
            base64_text::encode(&frame)
        } else {
            frame
        }
    }
}

impl Envelope for TrailerFrame {
    fn message(&self, payload: Bytes) -> Bytes {
        self.write(prefixed(0, &payload))
    }

    fn end(&self, end: End) -> Frame<Bytes> {
        let mut text = Vec::new();
        for (name, value) in &grpc_status::trailers(end) {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        Frame::data(self.write(prefixed(TRAILERS, &text)))
    }
}
