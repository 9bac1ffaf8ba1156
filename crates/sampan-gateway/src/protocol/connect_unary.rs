//! Connect's unary calls: a POST whose body is the message, an answer whose body is the message,
//! and errors as HTTP statuses with JSON.
//!
//! Source: Connect protocol, "Unary (Request-Response) RPCs".

use super::{Protocol, connect_json, only_identity};
use crate::neutral::{Answer, Codec, End, Event, Events, Fault, Messages};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use sampan_middleware::Body;
use sampan_wire::{Code, policy::MethodKind};
use std::time::Duration;

pub(super) const PROTOCOL_VERSION: &str = "connect-protocol-version";
const TIMEOUT: &str = "connect-timeout-ms";
const MAX_TIMEOUT_DIGITS: usize = 10;

/// A Connect call with one message each way.
#[derive(Debug)]
pub(super) struct ConnectUnary {
    codec: Codec,
}

// === impl ConnectUnary ===

impl ConnectUnary {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec }
    }
}

impl Protocol for ConnectUnary {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn suits(&self, kind: MethodKind) -> bool {
        kind == MethodKind::Unary
    }

    fn timeout(&self, headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
        connect_timeout(headers)
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        check_version(headers)?;
        only_identity(headers, header::CONTENT_ENCODING.as_str())
    }

    fn messages(&self, body: tonic::body::Body, max_message_bytes: usize) -> Messages {
        stream::once(whole(body, max_message_bytes)).boxed()
    }

    fn write(self: Box<Self>, answer: Answer) -> BoxFuture<'static, http::Response<Body>> {
        write(self.codec, answer).boxed()
    }
}

/// The answer to a unary call, once all of it is there.
pub(super) async fn write(codec: Codec, answer: Answer) -> http::Response<Body> {
    let Answer { metadata, events } = answer;
    let (message, end) = collect(events).await;
    let mut response = http::Response::new(Body::empty());
    let content_type = match codec {
        Codec::Proto if end.is_ok() => "application/proto",
        _ => "application/json",
    };
    *response.headers_mut() = metadata;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in &end.trailers {
        if let Ok(name) = HeaderName::try_from(format!("trailer-{name}")) {
            response.headers_mut().append(name, value.clone());
        }
    }
    if end.is_ok() {
        *response.body_mut() = message.into();
    } else {
        *response.status_mut() = StatusCode::from_u16(end.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.body_mut() = connect_json::error(&end).into();
    }
    response
}

/// The one message and the end of a unary answer.
async fn collect(events: Events) -> (Bytes, End) {
    let mut events = match events {
        Events::Ended(end) => return (Bytes::new(), checked(end, false)),
        Events::Flowing(events) => events,
    };
    let mut message = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Message(payload) if message.is_none() => message = Some(payload),
            Event::Message(_) => {
                let fault = Fault::new(Code::Unimplemented, "the service answered more than once");
                return (Bytes::new(), fault.into());
            }
            Event::End(end) => {
                let end = checked(end, message.is_some());
                return (message.unwrap_or_default(), end);
            }
        }
    }
    let fault = Fault::new(Code::Internal, "the answer has no end");
    (Bytes::new(), fault.into())
}

/// A good end needs a message before it.
fn checked(end: End, has_message: bool) -> End {
    if end.is_ok() && !has_message {
        return Fault::new(
            Code::Unimplemented,
            "the service answered without a message",
        )
        .into();
    }
    end
}

/// A whole body as one message.
async fn whole(mut body: tonic::body::Body, max_bytes: usize) -> Result<Bytes, Fault> {
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(Fault::too_large(max_bytes));
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Fault::new(Code::Cancelled, "the request broke before its end"))?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        if first.len() + all.len() + chunk.len() > max_bytes {
            return Err(Fault::too_large(max_bytes));
        }
        // A body that came in one piece is not copied.
        if first.is_empty() && all.is_empty() {
            first = chunk;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&chunk);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Refuses versions of Connect that do not exist yet. Without a version it is the first one.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.get(PROTOCOL_VERSION) {
        None => Ok(()),
        Some(version) if version == "1" => Ok(()),
        Some(version) => Err(Fault::malformed(format!(
            "{PROTOCOL_VERSION} must be \"1\", and is {version:?}"
        ))),
    }
}

/// The `connect-timeout-ms` of a request: 1 to 10 digits.
pub(super) fn connect_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|digits| digits.len() <= MAX_TIMEOUT_DIGITS)
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map(|millis| Some(Duration::from_millis(millis)))
        .ok_or_else(|| {
            Fault::malformed(format!(
                "malformed {TIMEOUT}: want 1 to {MAX_TIMEOUT_DIGITS} digits"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;

    fn timeout(value: &'static str) -> Result<Option<Duration>, Fault> {
        let value = HeaderValue::from_static(value);
        connect_timeout(&HeaderMap::from_iter([(
            HeaderName::from_static(TIMEOUT),
            value,
        )]))
    }

    #[test]
    fn a_timeout_is_one_to_ten_digits() {
        assert_eq!(timeout("0"), Ok(Some(Duration::ZERO)));
        assert_eq!(
            timeout("9999999999"),
            Ok(Some(Duration::from_millis(9_999_999_999)))
        );
        for malformed in ["", "-1", "+1", "1s", "1.5", "10000000000"] {
            assert!(timeout(malformed).is_err(), "{malformed}");
        }
    }

    #[tokio::test]
    async fn a_body_is_one_message_however_it_was_cut_and_bounded() {
        let body = |chunks: &'static [&'static str]| {
            let frames = chunks.iter().map(|chunk| {
                Ok::<_, tonic::Status>(Frame::data(Bytes::from_static(chunk.as_bytes())))
            });
            tonic::body::Body::new(StreamBody::new(stream::iter(frames)))
        };
        assert_eq!(
            whole(body(&["ab", "", "c", "d"]), 4).await,
            Ok("abcd".into())
        );
        assert_eq!(whole(body(&[]), 4).await, Ok(Bytes::new()));
        assert_eq!(
            whole(body(&["ab", "cde"]), 4).await,
            Err(Fault::too_large(4))
        );
    }
}
