//! How a call that got no answer of its server is told to its caller.

use crate::{Error, endpoint::Endpoint, error::Chain, pool::NoEndpoint};
use bytes::Bytes;
use sampan_middleware::compression::UnpackError;
use sampan_transport::{BodyError, ResetReason, TransportError};
use sampan_wire::frame::FrameError;
use std::{error::Error as StdError, fmt::Write, sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Code, Status};

/// Why a call has no answer of its server.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A status that is told as it is.
    Status(Status),
    /// A status of the channel's own parts, which is told with where it came up.
    Told(Status),
    /// A fault on the way.
    Fault(Fault),
}

/// A fault on the way, before it is told where.
#[derive(Debug)]
pub(crate) struct Fault {
    code: Code,
    what: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    hint: Option<&'static str>,
}

/// What a call is doing, for the messages of its failures.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) started: Instant,
    pub(crate) attempts: u32,
    pub(crate) phase: Phase,
    pub(crate) endpoint: Option<Arc<Endpoint>>,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Turn,
    Credentials,
    Endpoint,
    Response,
    Retry,
    /// What a program puts around its calls.
    Around,
}

/// Where and when a fault happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) path: &'a str,
    pub(crate) endpoint: Option<&'a Endpoint>,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
}

// === impl Failure ===

impl Failure {
    pub(crate) fn fault(code: Code, what: impl Into<String>) -> Self {
        Self::Fault(Fault::new(code, what))
    }

    /// No endpoint can be had.
    pub(crate) fn unreachable(error: Error) -> Self {
        Self::Fault(Fault::new(Code::Unavailable, "").with_source(error))
    }

    pub(crate) fn broken(source: TransportError) -> Self {
        let mut fault = Fault::new(Code::Unavailable, "").with_source(source);
        fault.hint = Some("the server may have run the call");
        Self::Fault(fault)
    }

    pub(crate) fn refused(source: TransportError) -> Self {
        Self::Fault(Fault::new(Code::Unavailable, "").with_source(source))
    }

    pub(crate) fn reset(reason: ResetReason, source: TransportError) -> Self {
        let what = format!("the stream was reset with {reason}");
        Self::Fault(Fault::new(reset_code(reason), what).with_source(source))
    }

    /// The server cancelled the stream at the deadline, before this side saw it.
    pub(crate) fn cancelled_late() -> Self {
        Self::Fault(Fault::cancelled_late())
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Status(status) | Self::Told(status) => status.code(),
            Self::Fault(fault) => fault.code,
        }
    }

    /// The status for the caller.
    pub(crate) fn into_status(self, scene: Scene<'_>) -> Status {
        match self {
            Self::Status(status) => status,
            Self::Told(status) => {
                let message = scene.tell(status.message());
                let (details, metadata) = (status.details(), status.metadata().clone());
                let details = Bytes::copy_from_slice(details);
                Status::with_details_and_metadata(status.code(), message, details, metadata)
            }
            Self::Fault(fault) => fault.into_status(scene),
        }
    }

    /// Because of this.
    pub(crate) fn because(self, source: Option<Error>) -> Self {
        match (self, source) {
            (Self::Fault(fault), Some(source)) => Self::Fault(fault.with_source(source)),
            (other, _) => other,
        }
    }
}

impl From<NoEndpoint> for Failure {
    fn from(why: NoEndpoint) -> Self {
        match why {
            NoEndpoint::Down(error) | NoEndpoint::Never(error) => Self::unreachable(error),
            NoEndpoint::Told(status) | NoEndpoint::Dropped(status) => Self::Told(status),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            source: None,
            hint: None,
        }
    }

    pub(crate) fn cancelled_late() -> Self {
        let what = "deadline exceeded: the server cancelled the call";
        Self::new(Code::DeadlineExceeded, what)
    }

    /// The response's body ended before its end.
    pub(crate) fn body(error: BodyError) -> Self {
        let (code, what) = match error.reset() {
            Some(reason) => (
                reset_code(reason),
                format!("the response was cut off with {reason}"),
            ),
            None => (Code::Unavailable, "the response was cut off".to_owned()),
        };
        Self::new(code, what).with_source(error)
    }

    fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    pub(crate) fn into_status(self, scene: Scene<'_>) -> Status {
        let mut what = self.what;
        // Writing to a String cannot fail.
        if let Some(source) = &self.source {
            let before = if what.is_empty() { "" } else { ": " };
            let _ = write!(what, "{before}{}", Chain(source.as_ref()));
        }
        if let Some(hint) = self.hint {
            let _ = write!(what, " ({hint})");
        }
        let mut status = Status::new(self.code, scene.tell(&what));
        if let Some(source) = self.source {
            status.set_source(source);
        }
        status
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Self::new(Code::ResourceExhausted, format!("a {error}"))
    }
}

impl From<UnpackError> for Fault {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::TooLarge { .. } => {
                Self::new(Code::ResourceExhausted, format!("a {error}"))
            }
            UnpackError::Broken { .. } => {
                Self::new(Code::Internal, "the answer cannot be read").with_source(error)
            }
        }
    }
}

/// Source: gRPC over HTTP/2, "HTTP2 Error Codes".
const fn reset_code(reason: ResetReason) -> Code {
    match reason {
        ResetReason::Refused => Code::Unavailable,
        ResetReason::Cancel => Code::Cancelled,
        ResetReason::EnhanceYourCalm => Code::ResourceExhausted,
        ResetReason::InadequateSecurity => Code::PermissionDenied,
        _ => Code::Internal,
    }
}

// === impl Scene ===

impl Scene<'_> {
    /// What happened, with all that is known of where and when.
    fn tell(&self, what: &str) -> String {
        let mut message = self.path.to_owned();
        if let Some(endpoint) = self.endpoint {
            message.push_str(" at ");
            message.push_str(endpoint.label());
        }
        message.push_str(": ");
        message.push_str(what);
        let elapsed = self.elapsed;
        // Writing to a String cannot fail.
        let _ = match self.attempts {
            0 => write!(message, "; not sent, {elapsed:.1?} after the call began"),
            n => write!(message, "; attempt {n}, {elapsed:.1?} after the call began"),
        };
        message
    }
}

// === impl Progress ===

impl Progress {
    pub(crate) const fn new(started: Instant) -> Self {
        Self {
            started,
            attempts: 0,
            phase: Phase::Turn,
            endpoint: None,
        }
    }

    /// An attempt left for this endpoint.
    pub(crate) fn sent_to(&mut self, endpoint: &Arc<Endpoint>) {
        self.attempts += 1;
        self.phase = Phase::Response;
        self.endpoint = Some(Arc::clone(endpoint));
    }

    /// The attempt did not leave after all, or the server did nothing with it.
    pub(crate) const fn was_not_sent(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    /// An attempt behind so many others got to no endpoint. The first one is told as not sent.
    pub(crate) fn went_nowhere(&mut self, previous: u32) {
        self.endpoint = None;
        if previous > 0 {
            self.attempts = previous + 1;
        }
    }

    /// Its deadline came first.
    pub(crate) fn exceeded(&self, limit: Duration) -> Failure {
        let waited_for = self.phase.name();
        Failure::fault(
            Code::DeadlineExceeded,
            format!("deadline of {limit:?} exceeded while waiting for {waited_for}"),
        )
    }

    /// Tells of `failure` with all that is known of the call.
    pub(crate) fn status(&self, path: &str, failure: Failure) -> Status {
        failure.into_status(Scene {
            path,
            endpoint: self.endpoint.as_deref(),
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
        })
    }
}

// === impl Phase ===

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Turn => "its turn among the channel's concurrent calls",
            Self::Credentials => "its credentials",
            Self::Endpoint => "an endpoint to be connected",
            Self::Response => "the response",
            Self::Retry => "the time of the next attempt",
            Self::Around => "a layer or an interceptor of the channel",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(failure: Failure, attempts: u32) -> Status {
        failure.into_status(Scene {
            path: "/a.B/C",
            endpoint: None,
            attempts,
            elapsed: Duration::from_millis(1500),
        })
    }

    #[test]
    fn what_a_picker_says_keeps_its_code_and_details_and_gets_the_method() {
        let details = Bytes::from_static(b"details");
        let said = Status::with_details(Code::ResourceExhausted, "no room", details);
        let status = told(NoEndpoint::Told(said).into(), 0);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.details(), b"details");
        let text = "/a.B/C: no room; not sent, 1.5s after the call began";
        assert_eq!(status.message(), text);
    }

    #[test]
    fn a_callers_own_status_is_told_as_it_is() {
        let own = Failure::Status(Status::invalid_argument("mine"));
        assert_eq!(told(own, 1).message(), "mine");
    }

    #[test]
    fn a_fault_names_its_causes_once_and_how_often_it_was_tried() {
        let cause = Error::connect("10.0.0.7:1").with_source(std::io::Error::other("refused"));
        let fault = Failure::fault(Code::DeadlineExceeded, "too late").because(Some(cause));
        let status = told(fault, 2);
        let text = "/a.B/C: too late: 10.0.0.7:1: refused; attempt 2, 1.5s after the call began";
        assert_eq!(status.message(), text);
        assert!(std::error::Error::source(&status).is_some());
    }
}
