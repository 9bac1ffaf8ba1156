//! Bounds how long a call may take, through its last trailer.
//!
//! | caller's own | channel's | inbound call's | method known | .proto option | deadline |
//! |---|---|---|---|---|---|
//! | 3 s | – | – | any | any | 3 s |
//! | 3 s | 1 s | – | any | any | 1 s: the earliest holds |
//! | 3 s | 1 s | 0.5 s left | any | any | 0.495 s, so that its handler can still answer |
//! | – | 1 s | – | any | any | 1 s |
//! | – | – | – | yes | 250 ms | 250 ms |
//! | – | – | – | unary | – | 30 s |
//! | – | – | – | stream, or not known | – | none |
//!
//! It is one absolute instant: resolving, connecting, queueing, every attempt and the whole
//! response count against it, and each attempt tells its server what is left.
//!
//! Source: gRPC over HTTP/2, "Timeout".

use crate::{
    failure::Failure,
    timers::{Timer, sleep_until},
};
use http::{HeaderMap, HeaderName};
use sampan_wire::{
    policy::{Method, MethodKind},
    timeout,
};
use std::time::Duration;
use tokio::time::Instant;
use tonic::Code;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Decides how long a call may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeadlinePolicy {
    /// Bounds every call.
    pub(crate) limit: Option<Duration>,
    /// Bounds the wait for a response's head, and all of a unary call.
    pub(crate) response: Option<Duration>,
}

/// What a policy decides for one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// From the start of the call to its last trailer.
    pub(crate) whole: Option<Duration>,
    /// From the start of the call to the head of its response.
    pub(crate) head: Option<Duration>,
}

/// When a call must have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// For messages: what was asked for.
    pub(crate) limit: Duration,
}

/// When a call began, and when it must be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) started: Instant,
    /// To its last trailer.
    pub(crate) whole: Option<Deadline>,
    /// To the head of its response.
    pub(crate) until_head: Option<Deadline>,
}

// === impl DeadlinePolicy ===

impl DeadlinePolicy {
    /// For unary calls that nobody gave a deadline.
    const UNARY: Duration = Duration::from_secs(30);

    pub(crate) fn bounds(
        &self,
        asked: Option<Duration>,
        method: Option<&Method>,
        kind: Option<MethodKind>,
    ) -> Bounds {
        let is_unary = kind == Some(MethodKind::Unary);
        let response = if is_unary { self.response } else { None };
        let set = [asked, self.limit, response].into_iter().flatten().min();
        let whole = set
            .or_else(|| method.and_then(|method| method.policy().timeout()))
            .or_else(|| is_unary.then_some(Self::UNARY));
        let head = if is_unary { None } else { self.response };
        Bounds { whole, head }
    }
}

/// Takes out what the caller put into the request: `tonic::Request::set_timeout`, or the header
/// by hand. What is left at the moment of sending takes its place.
pub(crate) fn take_asked(headers: &mut HeaderMap) -> Result<Option<Duration>, Failure> {
    if headers.is_empty() {
        return Ok(None);
    }
    let Some(value) = headers.remove(GRPC_TIMEOUT) else {
        return Ok(None);
    };
    timeout::parse(value.as_bytes()).map(Some).map_err(|_| {
        Failure::fault(
            Code::InvalidArgument,
            format!("grpc-timeout {value:?} is no 1 to 8 digits and one of H, M, S, m, u, n"),
        )
    })
}

// === impl Deadline ===

impl Deadline {
    /// None when it is beyond what the clock can say.
    fn after(started: Instant, limit: Duration) -> Option<Self> {
        let at = started.checked_add(limit)?;
        Some(Self { at, limit })
    }

    /// Waits until the time is over, where it is limited; gives the limit.
    pub(crate) async fn over(deadline: Option<Self>) -> Duration {
        match deadline {
            None => std::future::pending().await,
            Some(Self { at, limit }) => {
                sleep_until(at).await;
                limit
            }
        }
    }

    pub(crate) const fn timer(self) -> Timer {
        Timer::new(self.at, self.limit)
    }
}

// === impl Times ===

impl Times {
    pub(crate) fn new(started: Instant, bounds: Bounds) -> Self {
        let whole = bounds
            .whole
            .and_then(|limit| Deadline::after(started, limit));
        let until_head = match bounds.head {
            None => whole,
            Some(limit) => Deadline::after(started, limit)
                .into_iter()
                .chain(whole)
                .min_by_key(|deadline| deadline.at),
        };
        Self {
            started,
            whole,
            until_head,
        }
    }

    /// Somebody asks for less on the way.
    pub(crate) fn shorten(&mut self, limit: Duration) {
        let Some(asked) = Deadline::after(self.started, limit) else {
            return;
        };
        for deadline in [&mut self.whole, &mut self.until_head] {
            if deadline.is_none_or(|deadline| asked.at < deadline.at) {
                *deadline = Some(asked);
            }
        }
    }

    /// What is left, for the server. Never nothing: the timer ends the call.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let Deadline { at, limit } = self.whole?;
        // Most attempts start with their call.
        let left = if now == self.started {
            limit
        } else {
            at.saturating_duration_since(now)
        };
        Some(left.max(Duration::from_nanos(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_wire::policy::MethodPolicy;

    const SECOND: Duration = Duration::from_secs(1);
    static UNARY: Method = Method::new("/a.B/C", MethodKind::Unary);
    static TIMED: Method = Method::new("/a.B/D", MethodKind::ServerStreaming)
        .with_policy(MethodPolicy::NONE.with_timeout(Duration::from_millis(250)));

    #[test]
    fn the_earliest_holds_and_defaults_only_where_nobody_said_anything() {
        let decide = |limit, asked, method: Option<&'static Method>| {
            let policy = DeadlinePolicy {
                limit,
                response: None,
            };
            policy.bounds(asked, method, method.map(Method::kind)).whole
        };
        let (one, three) = (Some(SECOND), Some(3 * SECOND));
        assert_eq!(decide(None, three, Some(&TIMED)), three);
        assert_eq!(decide(one, three, None), one);
        assert_eq!(decide(three, one, None), one);
        assert_eq!(decide(one, None, Some(&TIMED)), one);
        assert_eq!(decide(None, None, Some(&TIMED)), Some(SECOND / 4));
        assert_eq!(decide(None, None, Some(&UNARY)), Some(30 * SECOND));
        assert_eq!(decide(None, None, None), None);
    }

    #[test]
    fn a_response_timeout_bounds_unary_calls_whole_and_others_to_their_head() {
        let policy = DeadlinePolicy {
            limit: None,
            response: Some(SECOND),
        };
        let unary = policy.bounds(None, Some(&UNARY), Some(MethodKind::Unary));
        assert_eq!(
            unary,
            Bounds {
                whole: Some(SECOND),
                head: None
            }
        );
        let unknown = policy.bounds(None, None, None);
        assert_eq!(
            unknown,
            Bounds {
                whole: None,
                head: Some(SECOND)
            }
        );
    }
}
