//! Error codes. Source: RFC 9113, section 7.

use std::fmt;

/// Why a stream or a connection ends early.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(u32);

/// A fault for which the whole connection ends. The peer is told by GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({reason})")]
pub struct ConnectionError {
    /// The code of the GOAWAY.
    pub reason: Reason,
    /// What was wrong; sent as GOAWAY's debug text.
    pub what: &'static str,
}

// === impl Reason ===

impl Reason {
    /// Nothing is wrong.
    pub const NO_ERROR: Self = Self(0);
    /// The protocol was broken.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// The sender of this code failed.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// More was sent than the window allows.
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(4);
    /// A frame came for a stream that has ended.
    pub const STREAM_CLOSED: Self = Self(5);
    /// A frame has a wrong size.
    pub const FRAME_SIZE_ERROR: Self = Self(6);
    /// Nothing was done with the request.
    pub const REFUSED_STREAM: Self = Self(7);
    /// The stream is no longer wanted.
    pub const CANCEL: Self = Self(8);
    /// Header compression went out of step.
    pub const COMPRESSION_ERROR: Self = Self(9);
    /// A tunnel broke.
    pub const CONNECT_ERROR: Self = Self(10);
    /// Too much was asked for.
    pub const ENHANCE_YOUR_CALM: Self = Self(11);
    /// The TLS in use is too weak.
    pub const INADEQUATE_SECURITY: Self = Self(12);
    /// Another protocol is wanted.
    pub const HTTP_1_1_REQUIRED: Self = Self(13);

    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];

    pub(crate) const fn error(self, what: &'static str) -> ConnectionError {
        ConnectionError { reason: self, what }
    }
}

impl From<u32> for Reason {
    fn from(code: u32) -> Self {
        Self(code)
    }
}

impl From<Reason> for u32 {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(self.0 as usize) {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
