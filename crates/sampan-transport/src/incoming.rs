//! The body that arrives from a peer: of a request at a server, of a response at a client.

use crate::{
    ResetReason, TransportError,
    http2::stream::StreamBody,
    inbox::{End, Failure},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sampan_h2::Trailers;
use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// Data and trailers as they arrive. A gRPC message comes in one piece, a long one behind its
/// prefix. Dropped before its end, it tells the peer that nobody reads on.
#[derive(Debug)]
pub struct Incoming(Kind);

#[derive(Debug)]
enum Kind {
    /// All of it was there when it was handed over.
    Whole {
        data: Bytes,
        end: Option<End>,
    },
    Stream(StreamBody),
    Http1(hyper::body::Incoming),
}

/// A body that ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BodyError {
    what: What,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Reset(ResetReason),
    Broken,
    NoMemory(usize),
}

// === impl Incoming ===

impl Incoming {
    pub(crate) const fn whole(data: Bytes, end: End) -> Self {
        Self(Kind::Whole {
            data,
            end: Some(end),
        })
    }

    pub(crate) const fn stream(stream: StreamBody) -> Self {
        Self(Kind::Stream(stream))
    }

    /// Of a request: all of its data, when all of it has come. Afterwards the body is at its
    /// end.
    pub fn take_all(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Kind::Whole { data, end } if matches!(end, Some(End::Data)) => {
                *end = None;
                Some(std::mem::take(data))
            }
            _ => None,
        }
    }

    /// Of a response: all of its data, when all of it has come and ended with `grpc-status: 0`
    /// and no other trailer. Afterwards the body is at its end.
    pub fn take_ok(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Kind::Whole { data, end } if matches!(end, Some(End::Trailers(Trailers::Ok))) => {
                *end = None;
                Some(std::mem::take(data))
            }
            _ => None,
        }
    }
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(body: hyper::body::Incoming) -> Self {
        Self(Kind::Http1(body))
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Whole { data, .. } if !data.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            Kind::Whole { end, .. } => Poll::Ready(match end.take() {
                None | Some(End::Data) => None,
                Some(End::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers.into()))),
                Some(End::Failed(failure)) => Some(Err(BodyError::of(failure))),
            }),
            Kind::Stream(stream) => stream.poll_frame(cx),
            Kind::Http1(body) => {
                http_body::Body::poll_frame(Pin::new(body), cx).map_err(|error| BodyError {
                    what: What::Broken,
                    source: Some(error.into()),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole { data, end } => data.is_empty() && matches!(end, None | Some(End::Data)),
            Kind::Stream(stream) => stream.is_over(),
            Kind::Http1(body) => http_body::Body::is_end_stream(body),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole { data, .. } => SizeHint::with_exact(data.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
            Kind::Http1(body) => http_body::Body::size_hint(body),
        }
    }
}

// === impl BodyError ===

impl BodyError {
    pub(crate) fn of(failure: Failure) -> Self {
        let broken = |source: TransportError| Self {
            what: What::Broken,
            source: Some(source.into()),
        };
        match failure {
            Failure::Reset { reason } => Self {
                what: What::Reset(reason),
                source: None,
            },
            Failure::Refused(source) | Failure::Unsent(source) | Failure::Broken(source) => {
                broken(source)
            }
            Failure::NoMemory(len) => Self {
                what: What::NoMemory(len),
                source: None,
            },
        }
    }

    /// The code with which the stream was cut, if a code did it; otherwise the connection broke
    /// or a message was refused.
    #[must_use]
    pub const fn reset(&self) -> Option<ResetReason> {
        match self.what {
            What::Reset(reason) => Some(reason),
            What::Broken | What::NoMemory(_) => None,
        }
    }

    /// The length of a message for which this process has no memory left.
    #[must_use]
    pub const fn no_memory(&self) -> Option<usize> {
        match self.what {
            What::NoMemory(len) => Some(len),
            What::Broken | What::Reset(_) => None,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(reason) => write!(f, "the stream was reset before its end: {reason}"),
            Self::Broken => f.write_str("the connection broke before the end of the stream"),
            Self::NoMemory(len) => write!(f, "no memory is left for a message of {len} bytes"),
        }
    }
}
