//! Connect's streams: messages behind a prefix both ways, HTTP status 200 whatever happens, and
//! a last message in JSON that says how the call ended.
//!
//! Source: Connect protocol, "Streaming RPCs".

use super::{
    Protocol, connect_json,
    connect_unary::{check_version, connect_timeout},
    envelope::{Envelope, EnvelopeBody, EnvelopeReader, prefixed},
    only_identity,
};
use crate::neutral::{Answer, Codec, End, Fault, Messages};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, header};
use http_body::Frame;
use sampan_middleware::Body;
use sampan_wire::policy::MethodKind;
use std::time::Duration;

/// The flag of the last message.
const END_OF_STREAM: u8 = 2;

/// A Connect call in which at least one side streams.
#[derive(Debug)]
pub(super) struct ConnectStream {
    codec: Codec,
}

/// A body that ends in a message of JSON.
struct EndOfStream;

// === impl ConnectStream ===

impl ConnectStream {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec }
    }
}

impl Protocol for ConnectStream {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn suits(&self, kind: MethodKind) -> bool {
        kind != MethodKind::Unary
    }

    fn timeout(&self, headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
        connect_timeout(headers)
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        check_version(headers)?;
        only_identity(headers, "connect-content-encoding")
    }

    fn messages(&self, body: tonic::body::Body, max_message_bytes: usize) -> Messages {
        Box::pin(EnvelopeReader::new(body, max_message_bytes))
    }

    fn write(self: Box<Self>, answer: Answer) -> BoxFuture<'static, http::Response<Body>> {
        let content_type = match self.codec {
            Codec::Proto => "application/connect+proto",
            Codec::Json => "application/connect+json",
        };
        let mut response = http::Response::new(Body::empty());
        *response.headers_mut() = answer.metadata;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        *response.body_mut() = Body::new(EnvelopeBody::new(answer.events, EndOfStream));
        std::future::ready(response).boxed()
    }
}

// === impl EndOfStream ===

impl Envelope for EndOfStream {
    fn end(&self, end: End) -> Frame<Bytes> {
        Frame::data(prefixed(END_OF_STREAM, &connect_json::end_of_stream(&end)))
    }
}
