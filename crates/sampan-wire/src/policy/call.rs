//! What a caller, or a channel's settings, say of calls.

use super::{HedgePolicy, Repeat, RetryPolicy};
use crate::compression::Compression;
use std::time::Duration;

/// What holds for a call, or for all calls of a channel, over the service config and the .proto.
/// What it does not say is decided by these.
///
/// ```
/// use sampan_wire::policy::CallPolicy;
/// use std::time::Duration;
/// let policy = CallPolicy::new().with_timeout(Duration::from_secs(1)).with_wait_for_ready(true);
/// assert_eq!(policy.timeout(), Some(Duration::from_secs(1)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[must_use]
pub struct CallPolicy {
    pub(super) timeout: Option<Duration>,
    pub(super) wait_for_ready: Option<bool>,
    pub(super) max_request_bytes: Option<usize>,
    pub(super) max_response_bytes: Option<usize>,
    pub(super) repeat: Option<Option<Repeat>>,
    pub(super) compression: Option<Compression>,
}

// === impl CallPolicy ===

impl CallPolicy {
    /// Says nothing yet.
    pub const fn new() -> Self {
        Self {
            timeout: None,
            wait_for_ready: None,
            max_request_bytes: None,
            max_response_bytes: None,
            repeat: None,
            compression: None,
        }
    }

    /// Bounds a call, through its last trailer. Where others bound it too, the earliest holds.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether a call waits while no endpoint can be reached, instead of failing.
    pub const fn with_wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = Some(wait);
        self
    }

    /// The longest request message. Where others bound it too, the smallest holds.
    pub const fn with_max_request_bytes(mut self, max: usize) -> Self {
        self.max_request_bytes = Some(max);
        self
    }

    /// The longest response message. Where others bound it too, the smallest holds.
    pub const fn with_max_response_bytes(mut self, max: usize) -> Self {
        self.max_response_bytes = Some(max);
        self
    }

    /// Tries failed calls again, whatever the method is said to be: a second run is the caller's
    /// own wish.
    pub const fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.repeat = Some(Some(Repeat::Retry(retry)));
        self
    }

    /// Sends calls more than once, where the method's author says that a second run does no
    /// harm.
    pub const fn with_hedge(mut self, hedge: HedgePolicy) -> Self {
        self.repeat = Some(Some(Repeat::Hedge(hedge)));
        self
    }

    /// Sends calls once, whatever others say; but for those that never reached a handler.
    pub const fn without_repeats(mut self) -> Self {
        self.repeat = Some(None);
        self
    }

    /// What is sent compressed, and what is taken so. A call that has set `grpc-encoding` itself
    /// is left alone.
    pub const fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// What bounds a call.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether a call waits while no endpoint can be reached.
    #[must_use]
    pub const fn wait_for_ready(&self) -> Option<bool> {
        self.wait_for_ready
    }

    /// The longest request message.
    #[must_use]
    pub const fn max_request_bytes(&self) -> Option<usize> {
        self.max_request_bytes
    }

    /// The longest response message.
    #[must_use]
    pub const fn max_response_bytes(&self) -> Option<usize> {
        self.max_response_bytes
    }

    /// How a call is sent more than once; `Some(None)` is not at all.
    #[must_use]
    pub const fn repeat(&self) -> Option<Option<&Repeat>> {
        match &self.repeat {
            None => None,
            Some(repeat) => Some(repeat.as_ref()),
        }
    }
    /// What is sent compressed, and what is taken so.
    #[must_use]
    pub const fn compression(&self) -> Option<Compression> {
        self.compression
    }
}
