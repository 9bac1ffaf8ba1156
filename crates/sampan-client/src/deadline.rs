//! Bounds how long a call may take, through its last trailer.
//!
//! | caller's own | channel's | method known | .proto option | deadline |
//! |---|---|---|---|---|
//! | 3 s | – | any | any | 3 s |
//! | 3 s | 1 s | any | any | 1 s: the earliest holds |
//! | – | 1 s | any | any | 1 s |
//! | – | – | yes | 250 ms | 250 ms |
//! | – | – | unary | – | 30 s |
//! | – | – | stream, or not known | – | none |
//!
//! It is one absolute instant: resolving, connecting, queueing, every attempt and the whole
//! response count against it, and each attempt tells its server what is left.
//!
//! Source: gRPC over HTTP/2, "Timeout".

use crate::{
    call::{Call, Deadline, Handle},
    failure::{Failure, Fault, Progress, Scene},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, uri::PathAndQuery};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_wire::{
    policy::{Method, MethodKind},
    timeout,
};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

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

/// Ends calls at their deadline.
#[derive(Debug)]
pub(crate) struct DeadlineLayer<N> {
    pub(crate) policy: DeadlinePolicy,
    pub(crate) next: N,
}

pin_project! {
    /// A response body that ends with its call's deadline.
    pub(crate) struct DeadlineBody<B> {
        #[pin]
        body: Option<B>,
        deadline: Option<Deadline>,
        // Made when there is something to wait for: most bodies are there with their head.
        #[pin]
        timer: Option<Sleep>,
        path: PathAndQuery,
        started: Instant,
        attempts: u32,
    }
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

/// What the caller put into the request: `tonic::Request::set_timeout`, or the header by hand.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else {
        return Ok(None);
    };
    timeout::parse(value.as_bytes()).map(Some).map_err(|_| {
        Failure::fault(
            Code::InvalidArgument,
            format!("grpc-timeout {value:?} is no 1 to 8 digits and one of H, M, S, m, u, n"),
        )
    })
}

// === impl DeadlineLayer ===

impl<N: Handle + Sync> Handle for DeadlineLayer<N> {
    async fn handle(
        &self,
        mut call: Call<'_>,
    ) -> Result<
        http::Response<impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static>,
        Failure,
    > {
        let asked = asked(&call.head.headers)?;
        let bounds = self.policy.bounds(asked, call.method, call.kind);
        let progress = call.progress;
        let started = progress.started;
        // A time beyond what the clock can say is none.
        let deadline_after = |limit| {
            let at = started.checked_add(limit)?;
            Some(Deadline { at, limit })
        };
        let deadline = bounds.whole.and_then(deadline_after);
        let head_deadline = bounds.head.and_then(deadline_after);
        call.deadline = deadline;
        let path = call.head.path.clone();
        let until_head = deadline
            .into_iter()
            .chain(head_deadline)
            .min_by_key(|d| d.at);
        let timer = async {
            match until_head {
                None => std::future::pending().await,
                Some(Deadline { at, limit }) => {
                    sleep_until(at).await;
                    limit
                }
            }
        };
        let response = tokio::select! {
            // An answer that is there is not thrown away.
            biased;
            response = self.next.handle(call) => response?,
            limit = timer => return Err(exceeded(limit, progress)),
        };
        Ok(response.map(|body| DeadlineBody {
            body: Some(body),
            deadline,
            timer: None,
            path,
            started,
            attempts: progress.attempts(),
        }))
    }
}

fn exceeded(limit: Duration, progress: &Progress) -> Failure {
    let waited_for = progress.phase().name();
    Failure::fault(
        Code::DeadlineExceeded,
        format!("deadline of {limit:?} exceeded while waiting for {waited_for}"),
    )
}

// === impl DeadlineBody ===

impl<B> http_body::Body for DeadlineBody<B>
where
    B: http_body::Body<Data = Bytes, Error = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = body.poll_frame(cx);
        let (Poll::Pending, Some(deadline)) = (&polled, *this.deadline) else {
            return polled;
        };
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(deadline.at)));
        }
        let is_over = this
            .timer
            .as_pin_mut()
            .is_some_and(|timer| timer.poll(cx).is_ready());
        if !is_over {
            return Poll::Pending;
        }
        // Its drop resets the stream.
        this.body.set(None);
        let what = format!(
            "deadline of {:?} exceeded before the end of the response",
            deadline.limit
        );
        let scene = Scene {
            path: this.path.as_str(),
            endpoint: None,
            attempts: *this.attempts,
            elapsed: this.started.elapsed(),
        };
        let status = Fault::new(Code::DeadlineExceeded, what).into_status(scene);
        Poll::Ready(Some(Err(status)))
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
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
