//! How what arrives on a stream has ended.

use crate::{ResetReason, TransportError};
use sampan_h2::Trailers;

/// How a body has ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Without trailers.
    Data,
    Trailers(Trailers),
    Failed(Failure),
}

/// Why a stream ended before its end.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// By a code, of the peer or of this end.
    Reset { reason: ResetReason },
    /// The server did nothing with it.
    Refused(TransportError),
    /// Nothing of it has left.
    Unsent(TransportError),
    /// The connection is gone.
    Broken(TransportError),
    /// There was no memory for a message of this length.
    NoMemory(usize),
}

/// An end, as small as most are.
#[derive(Debug)]
pub(super) enum Kept {
    Data,
    Ok,
    Other(Box<End>),
}

// === impl Failure ===

impl Failure {
    /// The stream went with its answer while somebody still read the request.
    pub(crate) const fn answered() -> Self {
        Self::Reset {
            reason: ResetReason::NoError,
        }
    }
}

// === impl Kept ===

impl From<End> for Kept {
    fn from(end: End) -> Self {
        match end {
            End::Data => Self::Data,
            End::Trailers(Trailers::Ok) => Self::Ok,
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<Kept> for End {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Data => Self::Data,
            Kept::Ok => Self::Trailers(Trailers::Ok),
            Kept::Other(end) => *end,
        }
    }
}
