//! The one form that every protocol is translated to and from: N protocols cost N translations.
//!
//! A client's protocol turns an HTTP request into a timeout and [`Messages`], to which the
//! gateway adds the metadata; the upstream side turns these into an [`Answer`]; the same protocol
//! writes that as an HTTP response. Nothing here knows how any of them looks on the wire.

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use sampan_wire::Code;
use std::{borrow::Cow, pin::Pin};

/// How messages are written inside the protocol's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Proto,
    Json,
}

/// The messages of a request as they arrive, in the client's codec. Nothing follows a fault.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Fault>> + Send>>;

/// What the upstream answers.
pub(crate) struct Answer {
    pub(crate) metadata: HeaderMap,
    pub(crate) events: Events,
}

/// What happens in a response, in order.
pub(crate) enum Events {
    /// Nothing but its end, known at the head.
    Ended(End),
    /// Messages as they arrive, then an end. Not to be asked for more behind that; to drop it
    /// cancels the call.
    Flowing(Pin<Box<dyn Stream<Item = Event> + Send>>),
}

/// One step of a response.
#[derive(Debug)]
pub(crate) enum Event {
    Message(Bytes),
    End(End),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// An encoded `google.rpc.Status`, or empty.
    pub(crate) details: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// Why the gateway itself ends a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: Cow<'static, str>,
}

// === impl Answer ===

impl Answer {
    pub(crate) fn ended(end: impl Into<End>) -> Self {
        Self {
            metadata: HeaderMap::new(),
            events: Events::Ended(end.into()),
        }
    }
}

// === impl End ===

impl End {
    pub(crate) fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self {
            code: fault.code,
            message: fault.message.into_owned(),
            details: Bytes::new(),
            trailers: HeaderMap::new(),
        }
    }
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The client sent what its protocol does not allow.
    pub(crate) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            Code::ResourceExhausted,
            format!("message is over the limit of {limit} bytes"),
        )
    }

    pub(crate) fn deadline_exceeded() -> Self {
        Self::new(Code::DeadlineExceeded, "deadline exceeded")
    }
}

impl From<Fault> for tonic::Status {
    fn from(fault: Fault) -> Self {
        Self::new(
            tonic::Code::from_i32(i32::from(fault.code as u8)),
            fault.message,
        )
    }
}
