//! What goes wrong on connections, with its causes.

use sampan_h2::{ConnectionError, Reason};
use std::{error::Error, fmt, io, sync::Arc};

/// A fault of the transport, with its causes. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct TransportError {
    what: &'static str,
    #[source]
    source: Option<Cause>,
}

#[derive(Clone, Debug)]
struct Cause(Arc<dyn Error + Send + Sync>);

/// The server has said that it takes no more calls.
#[derive(Debug, thiserror::Error)]
#[error("GOAWAY {reason}{}{debug}", if .debug.is_empty() { "" } else { ": " })]
struct Goaway {
    reason: Reason,
    debug: String,
}

/// A stream was cut.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Code(ResetReason);

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

// === impl TransportError ===

impl TransportError {
    const BROKE: &'static str = "the connection broke";

    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    fn with(what: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            what,
            source: Some(Cause(Arc::new(source))),
        }
    }

    pub(crate) fn io(source: io::Error) -> Self {
        Self::with(Self::BROKE, source)
    }

    pub(crate) fn protocol(source: ConnectionError) -> Self {
        Self::with(Self::BROKE, source)
    }

    pub(crate) fn closed() -> Self {
        Self::io(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the peer closed the connection",
        ))
    }

    pub(crate) fn goaway(reason: Reason, debug: &[u8]) -> Self {
        let debug = String::from_utf8_lossy(&debug[..debug.len().min(256)]).into_owned();
        Self::with(
            "the server closes the connection and did not take the call",
            Goaway { reason, debug },
        )
    }

    pub(crate) fn reset(reason: ResetReason) -> Self {
        let what = if reason == ResetReason::Refused {
            "the server refused the stream"
        } else {
            "the stream was reset"
        };
        Self::with(what, Code(reason))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

// === impl ResetReason ===

impl From<Reason> for ResetReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NO_ERROR => Self::NoError,
            Reason::PROTOCOL_ERROR => Self::Protocol,
            Reason::INTERNAL_ERROR => Self::Internal,
            Reason::FLOW_CONTROL_ERROR => Self::FlowControl,
            Reason::REFUSED_STREAM => Self::Refused,
            Reason::CANCEL => Self::Cancel,
            Reason::ENHANCE_YOUR_CALM => Self::EnhanceYourCalm,
            Reason::INADEQUATE_SECURITY => Self::InadequateSecurity,
            Reason::HTTP_1_1_REQUIRED => Self::Http11Required,
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
