//! What clients speak. Each protocol is one module that translates to and from the neutral form;
//! none of them knows another, and none knows what lies behind the gateway.

mod base64_text;
mod connect_get;
mod connect_json;
mod connect_stream;
mod connect_unary;
mod envelope;
mod grpc;
mod grpc_web;

use crate::neutral::{Answer, Codec, Fault, Messages};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Version, header, request::Parts};
use sampan_middleware::Body;
use sampan_wire::{
    Code,
    policy::{Idempotency, MethodKind},
};
use std::time::Duration;

/// One protocol of one request.
pub(crate) trait Protocol: Send + Sync {
    /// How the request's messages are written, and how the answer's shall be.
    fn codec(&self) -> Codec;

    /// Whether methods of this shape can be called so.
    fn suits(&self, kind: MethodKind) -> bool;

    /// How long the client waits, from its headers.
    fn timeout(&self, headers: &HeaderMap) -> Result<Option<Duration>, Fault>;

    /// Refuses what else the head asks for and cannot have.
    fn check(&self, headers: &HeaderMap) -> Result<(), Fault>;

    /// The messages of the request's body.
    fn messages(&self, body: tonic::body::Body, max_message_bytes: usize) -> Messages;

    /// The answer as the client reads it.
    fn write(self: Box<Self>, answer: Answer) -> BoxFuture<'static, http::Response<Body>>;
}

/// What a request is, by its head alone.
pub(crate) enum Recognized {
    Rpc(Box<dyn Protocol>),
    /// No protocol uses this HTTP method.
    WrongMethod,
    /// POST with a content type of no protocol.
    WrongType,
    /// A protocol that does not work over this version of HTTP.
    WrongVersion,
}

const NO_SIDE_EFFECTS: &str = "GET, POST";
const ANY_EFFECT: &str = "POST";

/// Reads which protocol the head of a request speaks.
pub(crate) fn recognize(parts: &Parts) -> Recognized {
    if parts.method == Method::GET {
        return match connect_get::ConnectGet::read(parts.uri.query()) {
            Some(get) => Recognized::Rpc(Box::new(get)),
            None => Recognized::WrongMethod,
        };
    }
    if parts.method != Method::POST {
        return Recognized::WrongMethod;
    }
    let Some(content_type) = ContentType::of(&parts.headers) else {
        return Recognized::WrongType;
    };
    if matches!(content_type, ContentType::Grpc(_)) && parts.version < Version::HTTP_2 {
        return Recognized::WrongVersion;
    }
    Recognized::Rpc(match content_type {
        ContentType::Grpc(codec) => Box::new(grpc::Grpc::new(codec)),
        ContentType::GrpcWeb { codec, text } => Box::new(grpc_web::GrpcWeb::new(codec, text)),
        ContentType::Connect(codec) => Box::new(connect_unary::ConnectUnary::new(codec)),
        ContentType::ConnectStream(codec) => Box::new(connect_stream::ConnectStream::new(codec)),
    })
}

/// Whether the head says by itself that it belongs to a call, whatever its path is.
pub(crate) fn is_surely_rpc(parts: &Parts) -> bool {
    match ContentType::of(&parts.headers) {
        Some(ContentType::Connect(_)) => {
            parts.headers.contains_key(connect_unary::PROTOCOL_VERSION)
        }
        Some(_) => parts.method == Method::POST,
        None => {
            parts.method == Method::GET
                && connect_get::ConnectGet::read(parts.uri.query()).is_some()
        }
    }
}

/// 405, with what is allowed instead.
pub(crate) fn wrong_method(idempotency: Idempotency) -> http::Response<Body> {
    let allowed = match idempotency {
        Idempotency::NoSideEffects => NO_SIDE_EFFECTS,
        _ => ANY_EFFECT,
    };
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::METHOD_NOT_ALLOWED;
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// 415, with the content types that methods of this shape take.
pub(crate) fn wrong_type(kind: MethodKind) -> http::Response<Body> {
    let accepted = if kind == MethodKind::Unary {
        "application/json, application/proto, application/grpc-web, application/grpc-web+proto, \
         application/grpc-web+json, application/grpc-web-text, application/grpc-web-text+proto, \
         application/grpc, application/grpc+proto, application/grpc+json"
    } else {
        "application/connect+json, application/connect+proto, application/grpc-web, \
         application/grpc-web+proto, application/grpc-web+json, application/grpc-web-text, \
         application/grpc-web-text+proto, application/grpc, application/grpc+proto, \
         application/grpc+json"
    };
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
        .headers_mut()
        .insert("accept-post", HeaderValue::from_static(accepted));
    response
}

/// 505: gRPC's trailers need HTTP/2.
pub(crate) fn wrong_version() -> http::Response<Body> {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    response
}

/// The content types of all protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentType {
    Grpc(Codec),
    GrpcWeb { codec: Codec, text: bool },
    Connect(Codec),
    ConnectStream(Codec),
}

// === impl ContentType ===

impl ContentType {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
    }

    fn parse(value: &str) -> Option<Self> {
        let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !has_only_utf8(parameters) {
            return None;
        }
        let media_type = media_type.trim().to_ascii_lowercase();
        Some(match media_type.as_str() {
            "application/grpc" | "application/grpc+proto" => Self::Grpc(Codec::Proto),
            "application/grpc+json" => Self::Grpc(Codec::Json),
            "application/grpc-web" | "application/grpc-web+proto" => Self::GrpcWeb {
                codec: Codec::Proto,
                text: false,
            },
            "application/grpc-web+json" => Self::GrpcWeb {
                codec: Codec::Json,
                text: false,
            },
            "application/grpc-web-text" | "application/grpc-web-text+proto" => Self::GrpcWeb {
                codec: Codec::Proto,
                text: true,
            },
            "application/grpc-web-text+json" => Self::GrpcWeb {
                codec: Codec::Json,
                text: true,
            },
            "application/json" => Self::Connect(Codec::Json),
            "application/proto" => Self::Connect(Codec::Proto),
            "application/connect+json" => Self::ConnectStream(Codec::Json),
            "application/connect+proto" => Self::ConnectStream(Codec::Proto),
            _ => return None,
        })
    }
}

/// Whether the parameters of a content type name no other character set than the one in use.
fn has_only_utf8(parameters: &str) -> bool {
    parameters
        .split(';')
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

/// Refuses a request whose messages are compressed: nothing here inflates them.
fn only_identity(headers: &HeaderMap, name: &str) -> Result<(), Fault> {
    match headers.get(name) {
        None => Ok(()),
        Some(encoding) if encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Ok(()),
        Some(encoding) => Err(Fault::new(
            Code::Unimplemented,
            format!(
                "{name} {:?} is not supported: send identity",
                String::from_utf8_lossy(encoding.as_bytes())
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_read_without_case_and_with_a_character_set() {
        for (value, expected) in [
            ("application/grpc", ContentType::Grpc(Codec::Proto)),
            (
                "Application/JSON; charset=UTF-8",
                ContentType::Connect(Codec::Json),
            ),
            (
                "application/json;charset=\"utf-8\"",
                ContentType::Connect(Codec::Json),
            ),
            (
                "application/connect+proto",
                ContentType::ConnectStream(Codec::Proto),
            ),
            (
                "application/grpc-web-text+proto",
                ContentType::GrpcWeb {
                    codec: Codec::Proto,
                    text: true,
                },
            ),
        ] {
            assert_eq!(ContentType::parse(value), Some(expected), "{value}");
        }
        for value in [
            "",
            "text/plain",
            "application/grpc-webs",
            "application/grpc+thrift",
            "application/json; charset=latin1",
        ] {
            assert_eq!(ContentType::parse(value), None, "{value}");
        }
    }

    #[test]
    fn every_type_that_is_offered_is_understood() {
        for kind in [MethodKind::Unary, MethodKind::Bidirectional] {
            let offered = wrong_type(kind);
            let offered = offered.headers()["accept-post"].to_str().unwrap();
            for value in offered.split(", ") {
                assert!(ContentType::parse(value).is_some(), "{value}");
            }
        }
    }
}
