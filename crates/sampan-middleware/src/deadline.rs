//! Bounds how long a call may run at the server, through its last trailer.
//!
//! Why: a caller that has given up still costs, unless its handler is dropped. A malformed
//! `grpc-timeout` is refused: read as "no deadline" it would run for ever, read as zero it
//! would fail for no visible reason.
//!
//! | caller asks | server's longest | effective |
//! |---|---|---|
//! | nothing | none | none |
//! | nothing | 5 s | 5 s |
//! | 1 s | 5 s | 1 s |
//! | 1 h | 5 s | 5 s |
//! | nonsense | any | INVALID_ARGUMENT |
//!
//! Source: gRPC over HTTP/2, "Timeout".

use crate::headers;
use http::{HeaderMap, HeaderName};
use sampan_wire::timeout::{self, InvalidTimeout};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

/// Decides how long a call may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlinePolicy {
    longest: Option<Duration>,
}

/// The end of a call's time, and its timer once something waits for it: most calls are answered
/// before that.
#[derive(Debug, Default)]
pub struct Limit {
    at: Option<(Instant, Duration)>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A call that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline of {0:?} is over")]
pub struct DeadlineExceeded(pub Duration);

static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

// === impl DeadlinePolicy ===

impl DeadlinePolicy {
    /// No call runs longer than `longest`, whatever its caller asks.
    #[must_use]
    pub const fn with_longest(longest: Option<Duration>) -> Self {
        Self { longest }
    }

    /// How long a call with these headers may take; None: as long as it likes.
    ///
    /// # Errors
    /// When `grpc-timeout` is malformed.
    pub fn effective(&self, headers: &HeaderMap) -> Result<Option<Duration>, InvalidTimeout> {
        let asked = match headers::find(headers, &TIMEOUT) {
            Some(value) => Some(timeout::parse(value.as_bytes())?),
            None => None,
        };
        Ok(match (asked, self.longest) {
            (Some(asked), Some(longest)) => Some(asked.min(longest)),
            (asked, longest) => asked.or(longest),
        })
    }

    /// The limit of a call with these headers that began at `now`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when `grpc-timeout` is malformed, DEADLINE_EXCEEDED when it leaves no
    /// time at all.
    pub fn limit(&self, headers: &HeaderMap, now: Instant) -> Result<Limit, Status> {
        match self.effective(headers) {
            Ok(Some(Duration::ZERO)) => Err(DeadlineExceeded(Duration::ZERO).into()),
            Ok(after) => Ok(Limit::new(now, after)),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }
}

// === impl Limit ===

impl Limit {
    fn new(now: Instant, after: Option<Duration>) -> Self {
        // An instant that no clock can tell is never reached.
        let at = after.and_then(|after| Some((now.checked_add(after)?, after)));
        Self { at, timer: None }
    }

    /// Whether there is no limit.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.at.is_none()
    }

    /// When the time is over.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.at.map(|(at, _)| at)
    }

    /// The same limit, to be waited for elsewhere; none is left here.
    #[must_use]
    pub const fn take(&mut self) -> Self {
        std::mem::replace(
            self,
            Self {
                at: None,
                timer: None,
            },
        )
    }

    /// Waits until the time is over. Pending for ever when there is no limit.
    pub fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<DeadlineExceeded> {
        let Some((at, after)) = self.at else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(DeadlineExceeded(after))
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(&self) -> Option<DeadlineExceeded> {
        let (at, after) = self.at?;
        (Instant::now() >= at).then_some(DeadlineExceeded(after))
    }
}

// === impl DeadlineExceeded ===

impl From<DeadlineExceeded> for Status {
    fn from(exceeded: DeadlineExceeded) -> Self {
        Self::deadline_exceeded(exceeded.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, task::Waker};
    use tonic::Code;

    fn asking(timeout: &str) -> HeaderMap {
        HeaderMap::from_iter([(TIMEOUT.clone(), timeout.parse().unwrap())])
    }

    #[test]
    fn the_shorter_of_the_callers_and_the_servers_time_holds() {
        let second = Duration::from_secs(1);
        let effective =
            |longest, headers: HeaderMap| DeadlinePolicy::with_longest(longest).effective(&headers);
        assert_eq!(effective(None, HeaderMap::new()), Ok(None));
        assert_eq!(
            effective(Some(5 * second), HeaderMap::new()),
            Ok(Some(5 * second))
        );
        assert_eq!(effective(Some(5 * second), asking("1S")), Ok(Some(second)));
        assert_eq!(
            effective(Some(5 * second), asking("1H")),
            Ok(Some(5 * second))
        );
        effective(Some(second), asking("soon")).unwrap_err();
    }

    #[test]
    fn malformed_and_spent_timeouts_are_refused() {
        for (timeout, expected) in [
            ("", Code::InvalidArgument),
            ("1", Code::InvalidArgument),
            ("-1S", Code::InvalidArgument),
            ("123456789S", Code::InvalidArgument),
            ("0n", Code::DeadlineExceeded),
        ] {
            let refused = DeadlinePolicy::default().limit(&asking(timeout), Instant::now());
            assert_eq!(refused.unwrap_err().code(), expected, "{timeout:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_reached_when_its_time_is_over_and_one_without_time_never() {
        let policy = DeadlinePolicy::default();
        let began = Instant::now();
        let mut limit = policy.limit(&asking("250m"), began).unwrap();
        assert_eq!(limit.is_over(), None);
        let mut moved = limit.take();
        assert!(limit.is_none());
        let exceeded = poll_fn(|cx| moved.poll_over(cx)).await;
        assert_eq!(exceeded, DeadlineExceeded(Duration::from_millis(250)));
        assert_eq!(began.elapsed(), Duration::from_millis(250));
        assert_eq!(moved.is_over(), Some(exceeded));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(limit.poll_over(&mut cx).is_pending());
    }
}
