//! Errors and ends as Connect writes them: JSON.
//!
//! Source: Connect protocol, "Error codes", "Error end-stream message".

use crate::{grpc_status::BINARY, neutral::End};
use base64::Engine;
use bytes::Bytes;
use prost::Message;
use sampan_wire::Code;
use serde::Serialize;
use std::collections::BTreeMap;

/// `{code, message, details}`.
#[derive(Debug, Serialize)]
struct ErrorJson<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<DetailJson>,
}

#[derive(Debug, Serialize)]
struct DetailJson {
    /// The name alone, without the host that an `Any` has before it.
    #[serde(rename = "type")]
    type_name: String,
    value: String,
}

/// `{error, metadata}`.
#[derive(Debug, Serialize)]
struct EndJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, Vec<String>>,
}

/// `google.rpc.Status`, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct RpcDetail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The body of a failed unary call.
pub(super) fn error(end: &End) -> Bytes {
    written(&ErrorJson::of(end))
}

/// The payload of the last message of a stream.
pub(super) fn end_of_stream(end: &End) -> Bytes {
    let mut metadata = BTreeMap::<&str, Vec<String>>::new();
    for (name, value) in &end.trailers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        metadata.entry(name.as_str()).or_default().push(value);
    }
    written(&EndJson {
        error: (!end.is_ok()).then(|| ErrorJson::of(end)),
        metadata,
    })
}

/// The code as Connect spells it.
fn name(code: Code) -> &'static str {
    match code {
        // Never written: a call that ended well has no error.
        Code::Ok => "ok",
        Code::Cancelled => "canceled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

fn written(json: &impl Serialize) -> Bytes {
    // Strings and lists of strings alone: nothing in them can fail to be written.
    serde_json::to_vec(json).unwrap_or_default().into()
}

// === impl ErrorJson ===

impl<'a> ErrorJson<'a> {
    fn of(end: &'a End) -> Self {
        // Details that are no google.rpc.Status are left out; the error itself matters more.
        let status = RpcStatus::decode(end.details.clone()).unwrap_or_default();
        Self {
            code: name(end.code),
            message: &end.message,
            details: status.details.into_iter().map(DetailJson::of).collect(),
        }
    }
}

// === impl DetailJson ===

impl DetailJson {
    fn of(detail: RpcDetail) -> Self {
        let type_name = match detail.type_url.rsplit_once('/') {
            Some((_, name)) => name.to_owned(),
            None => detail.type_url,
        };
        Self {
            type_name,
            value: BINARY.encode(detail.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn end(code: Code, message: &str) -> End {
        End {
            code,
            message: message.to_owned(),
            details: Bytes::new(),
            trailers: HeaderMap::new(),
        }
    }

    #[test]
    fn an_error_carries_its_details_in_unpadded_base64() {
        let status = RpcStatus {
            details: vec![RpcDetail {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: vec![1],
            }],
        };
        let mut end = end(Code::Cancelled, "gone");
        end.details = status.encode_to_vec().into();
        assert_eq!(
            error(&end),
            r#"{"code":"canceled","message":"gone","details":[{"type":"google.rpc.RetryInfo","value":"AQ"}]}"#
        );
        end.details = Bytes::from_static(b"\xff");
        assert_eq!(error(&end), r#"{"code":"canceled","message":"gone"}"#);
    }

    #[test]
    fn the_end_of_a_good_stream_is_an_object_without_an_error() {
        let mut end = end(Code::Ok, "");
        assert_eq!(end_of_stream(&end), "{}");
        for value in ["1", "2"] {
            end.trailers.append("x", HeaderValue::from_static(value));
        }
        assert_eq!(end_of_stream(&end), r#"{"metadata":{"x":["1","2"]}}"#);
    }

    #[test]
    fn codes_are_spelled_as_their_names_in_small_letters_but_one() {
        for code in Code::ALL {
            let expected = code
                .name()
                .to_ascii_lowercase()
                .replace("cancelled", "canceled");
            assert_eq!(name(code), expected);
        }
    }
}
