//! Asks a server whether a service is well, as long as its connection lasts.
//!
//! Source: gRFC A17, and grpc.health.v1.

use crate::{
    backoff::{Backoff, BackoffPolicy},
    chance::Dice,
    site::Route,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use http::{HeaderMap, uri::PathAndQuery};
use http_body::Body as _;
use sampan_transport::{CallHead, Connection, Incoming, Payload};
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, LazyLock},
};
use tokio::time::sleep;

static PATH: LazyLock<PathAndQuery> =
    LazyLock::new(|| PathAndQuery::from_static("/grpc.health.v1.Health/Watch"));

const SERVING: u64 = 1;
const UNIMPLEMENTED: &str = "12";
/// A prefix, a tag and a number; what is longer is no answer.
const LONGEST_MESSAGE: usize = 64;
const PREFIX: usize = 5;

/// Whether the service is well, each time that this may have changed. Does not end.
pub(super) type Watched = Pin<Box<dyn Stream<Item = bool> + Send>>;

struct Watch {
    connection: Connection,
    route: Arc<Route>,
    request: Bytes,
    answers: Option<Answers>,
    backoff: Backoff,
    /// Not before the first.
    is_again: bool,
    /// The server does not know of health, and is asked no more.
    is_unknown: bool,
}

/// The answers of one call.
struct Answers {
    body: Incoming,
    bytes: BytesMut,
    trailers: Option<HeaderMap>,
}

/// How one call went on.
enum Heard {
    Status(u64),
    /// The server knows nothing of health: every service is well.
    Unimplemented,
    Ended,
}

/// Watches `service` over `connection`.
pub(super) fn watch(connection: Connection, route: Arc<Route>, service: &str) -> Watched {
    let watch = Watch {
        connection,
        route,
        request: request(service),
        answers: None,
        backoff: Backoff::new(BackoffPolicy::FAR),
        is_again: false,
        is_unknown: false,
    };
    Box::pin(stream::unfold(watch, |mut watch| async {
        let is_well = watch.next().await;
        Some((is_well, watch))
    }))
}

/// HealthCheckRequest with its prefix.
fn request(service: &str) -> Bytes {
    const SERVICE: u8 = 1 << 3 | 2;
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(SERVICE);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

fn put_varint(into: &mut BytesMut, mut number: usize) {
    while number >= 0x80 {
        #[allow(clippy::cast_possible_truncation, reason = "the lowest seven bits")]
        into.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    #[allow(clippy::cast_possible_truncation, reason = "less than 128")]
    into.put_u8(number as u8);
}

/// The status of a HealthCheckResponse; what is no such thing says UNKNOWN.
fn status(mut message: &[u8]) -> u64 {
    const STATUS: u64 = 1 << 3;
    let mut status = 0;
    while let (Some(tag), Some(value)) = (varint(&mut message), varint(&mut message)) {
        if tag == STATUS {
            status = value;
        }
    }
    status
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn is_unimplemented(fields: &HeaderMap) -> bool {
    let status = fields.get("grpc-status");
    status.is_some_and(|status| status == UNIMPLEMENTED)
}

// === impl Watch ===

impl Watch {
    async fn next(&mut self) -> bool {
        if self.is_unknown {
            return std::future::pending().await;
        }
        loop {
            let heard = match &mut self.answers {
                Some(answers) => answers.next().await,
                None => {
                    if std::mem::replace(&mut self.is_again, true) {
                        let pause = self.backoff.failed(&mut Dice);
                        sleep(pause).await;
                    }
                    match self.ask().await {
                        Ok(answers) => {
                            self.answers = Some(answers);
                            continue;
                        }
                        Err(heard) => heard,
                    }
                }
            };
            match heard {
                Heard::Status(status) => {
                    self.backoff.reset();
                    return status == SERVING;
                }
                Heard::Unimplemented => {
                    self.is_unknown = true;
                    return true;
                }
                Heard::Ended => {
                    self.answers = None;
                    return false;
                }
            }
        }
    }

    async fn ask(&self) -> Result<Answers, Heard> {
        let headers = HeaderMap::new();
        let head = CallHead {
            route: &self.route.head,
            path: &PATH,
            headers: &headers,
            timeout: None,
            previous_attempts: 0,
        };
        let payload: Payload<'_, Incoming> = Payload::Whole(&self.request);
        let call = self.connection.start(&head, payload);
        let response = call.map_err(|_| Heard::Ended)?;
        let response = response.await.map_err(|_| Heard::Ended)?;
        if is_unimplemented(response.headers()) {
            return Err(Heard::Unimplemented);
        }
        Ok(Answers {
            body: response.into_body(),
            bytes: BytesMut::new(),
            trailers: None,
        })
    }
}

// === impl Answers ===

impl Answers {
    async fn next(&mut self) -> Heard {
        loop {
            if let Some(status) = self.message() {
                return Heard::Status(status);
            }
            if self.bytes.len() > LONGEST_MESSAGE {
                return Heard::Ended;
            }
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            let Some(Ok(frame)) = frame else {
                return match &self.trailers {
                    Some(trailers) if is_unimplemented(trailers) => Heard::Unimplemented,
                    _ => Heard::Ended,
                };
            };
            match frame.into_data() {
                Ok(data) => self.bytes.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    fn message(&mut self) -> Option<u64> {
        let mut prefix = self.bytes.get(1..PREFIX)?;
        let length = usize::try_from(prefix.get_u32()).ok()?;
        let message = self.bytes.get(PREFIX..PREFIX.checked_add(length)?)?;
        let status = status(message);
        self.bytes.advance(PREFIX + length);
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_those_of_grpc_health_v1() {
        assert_eq!(&request("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
        assert_eq!(&request("")[..], [0; 5]);
        assert_eq!(status(&[8, 1]), SERVING);
        assert_eq!(status(&[8, 2]), 2);
        assert_eq!(status(&[]), 0);
    }
}
