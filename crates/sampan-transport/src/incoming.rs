//! The body that arrives from a peer: of a request at a server, of a response at a client.

use crate::outgoing::CancelOnDrop;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// Data and trailers as they arrive. Dropped before its end, it tells the peer that nobody
/// reads on.
pub struct Incoming {
    // Dropped in this order: first nobody reads, then nobody writes.
    body: hyper::body::Incoming,
    _request: Option<CancelOnDrop>,
}

/// A body that ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.reason())]
pub struct BodyError {
    #[source]
    source: hyper::Error,
}

/// Why a peer, or this side, cut a stream short. Source: RFC 9113, section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetReason {
    /// NO_ERROR: nothing is wrong, the rest is not needed.
    NoError,
    /// PROTOCOL_ERROR: the other side broke HTTP/2.
    Protocol,
    /// INTERNAL_ERROR: the resetting side failed.
    Internal,
    /// FLOW_CONTROL_ERROR: more was sent than allowed.
    FlowControl,
    /// REFUSED_STREAM: nothing was done with the request.
    Refused,
    /// CANCEL: the stream is no longer wanted.
    Cancel,
    /// ENHANCE_YOUR_CALM: too much was asked for.
    EnhanceYourCalm,
    /// INADEQUATE_SECURITY: the TLS in use does not satisfy the peer.
    InadequateSecurity,
    /// HTTP_1_1_REQUIRED: the peer wants another protocol.
    Http11Required,
    /// Any other code.
    Other(u32),
}

// === impl Incoming ===

impl Incoming {
    /// A response body; when it is dropped, so is what is left of its request's.
    pub(crate) const fn of_response(
        body: hyper::body::Incoming,
        request: Option<CancelOnDrop>,
    ) -> Self {
        Self {
            body,
            _request: request,
        }
    }
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(body: hyper::body::Incoming) -> Self {
        Self {
            body,
            _request: None,
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body)
            .poll_frame(cx)
            .map_err(|source| BodyError { source })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("is_end_stream", &self.body.is_end_stream())
            .finish()
    }
}

// === impl BodyError ===

impl BodyError {
    /// The code with which the stream or its connection was cut, if a code did it; otherwise the
    /// connection broke.
    #[must_use]
    pub fn reset(&self) -> Option<ResetReason> {
        ResetReason::of(&self.source)
    }

    fn reason(&self) -> &'static str {
        match self.reset() {
            Some(_) => "the stream was reset before its end",
            None => "the connection broke before the end of the stream",
        }
    }
}

// === impl ResetReason ===

impl ResetReason {
    /// The HTTP/2 code at the root of `error`, if there is one.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                return error.reason().map(Self::from);
            }
            next = error.source();
        }
        None
    }
}

impl From<h2::Reason> for ResetReason {
    fn from(reason: h2::Reason) -> Self {
        match reason {
            h2::Reason::NO_ERROR => Self::NoError,
            h2::Reason::PROTOCOL_ERROR => Self::Protocol,
            h2::Reason::INTERNAL_ERROR => Self::Internal,
            h2::Reason::FLOW_CONTROL_ERROR => Self::FlowControl,
            h2::Reason::REFUSED_STREAM => Self::Refused,
            h2::Reason::CANCEL => Self::Cancel,
            h2::Reason::ENHANCE_YOUR_CALM => Self::EnhanceYourCalm,
            h2::Reason::INADEQUATE_SECURITY => Self::InadequateSecurity,
            h2::Reason::HTTP_1_1_REQUIRED => Self::Http11Required,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoError => "NO_ERROR",
            Self::Protocol => "PROTOCOL_ERROR",
            Self::Internal => "INTERNAL_ERROR",
            Self::FlowControl => "FLOW_CONTROL_ERROR",
            Self::Refused => "REFUSED_STREAM",
            Self::Cancel => "CANCEL",
            Self::EnhanceYourCalm => "ENHANCE_YOUR_CALM",
            Self::InadequateSecurity => "INADEQUATE_SECURITY",
            Self::Http11Required => "HTTP_1_1_REQUIRED",
            Self::Other(code) => return write!(f, "code {code}"),
        })
    }
}
