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

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_wire::timeout::{self, InvalidTimeout};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

/// Applies [`Deadline`] to a service.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlineLayer {
    policy: DeadlinePolicy,
}

/// Drops the handler, or the stream that it answered with, once a call's time is over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline<S> {
    inner: S,
    policy: DeadlinePolicy,
}

/// Decides how long a call may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlinePolicy {
    longest: Option<Duration>,
}

/// A call that took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline of {0:?} is over")]
pub struct DeadlineExceeded(pub Duration);

pin_project! {
    /// The future of [`Deadline`].
    #[derive(Debug)]
    pub struct DeadlineFuture<F> {
        #[pin]
        inner: Option<F>,
        refused: Option<Status>,
        #[pin]
        limit: Limit,
    }
}

pin_project! {
    /// The body of [`Deadline`]'s responses.
    #[derive(Debug)]
    pub struct DeadlineBody<B> {
        #[pin]
        inner: Option<B>,
        #[pin]
        limit: Limit,
        // A unary answer is one frame and its trailers: it never asks for the time.
        is_first: bool,
    }
}

pin_project! {
    /// An instant, and its timer once something waits for it.
    #[derive(Debug)]
    struct Limit {
        at: Option<(Instant, Duration)>,
        #[pin]
        timer: Option<Sleep>,
    }
}

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
        let asked = match headers.get("grpc-timeout") {
            Some(value) => Some(timeout::parse(value.as_bytes())?),
            None => None,
        };
        Ok(match (asked, self.longest) {
            (Some(asked), Some(longest)) => Some(asked.min(longest)),
            (asked, longest) => asked.or(longest),
        })
    }
}

// === impl DeadlineLayer ===

impl DeadlineLayer {
    /// Bounds calls by `policy`.
    #[must_use]
    pub const fn new(policy: DeadlinePolicy) -> Self {
        Self { policy }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline {
            inner,
            policy: self.policy,
        }
    }
}

// === impl Deadline ===

impl<S, ReqB, B> Service<Request<ReqB>> for Deadline<S>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
{
    type Response = Response<DeadlineBody<B>>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let after = match self.policy.effective(request.headers()) {
            Ok(Some(Duration::ZERO)) => {
                return DeadlineFuture::refuse(DeadlineExceeded(Duration::ZERO).into());
            }
            Ok(after) => after,
            Err(error) => {
                return DeadlineFuture::refuse(Status::invalid_argument(error.to_string()));
            }
        };
        DeadlineFuture {
            inner: Some(self.inner.call(request)),
            refused: None,
            limit: Limit::new(after),
        }
    }
}

// === impl DeadlineFuture ===

impl<F> DeadlineFuture<F> {
    const fn refuse(status: Status) -> Self {
        Self {
            inner: None,
            refused: Some(status),
            limit: Limit::new_unlimited(),
        }
    }
}

impl<F, B, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<DeadlineBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let status = if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            if let Poll::Ready(response) = inner.poll(cx) {
                let limit = this.limit.as_mut().restart();
                return Poll::Ready(Ok(response?.map(|body| DeadlineBody {
                    inner: Some(body),
                    limit,
                    is_first: true,
                })));
            }
            let exceeded = ready!(this.limit.poll_over(cx));
            this.inner.set(None);
            exceeded.into()
        } else {
            let gone = || Status::internal("polled after its end");
            this.refused.take().unwrap_or_else(gone)
        };
        let response = status.into_http::<()>();
        Poll::Ready(Ok(response.map(|()| DeadlineBody {
            inner: None,
            limit: Limit::new_unlimited(),
            is_first: true,
        })))
    }
}

// === impl DeadlineBody ===

impl<B> Body for DeadlineBody<B>
where
    B: Body<Data = Bytes, Error = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let exceeded = match inner.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                let is_first = std::mem::replace(this.is_first, false);
                match this.limit.is_over() {
                    Some(exceeded) if !is_first => exceeded,
                    _ => return Poll::Ready(Some(Ok(frame))),
                }
            }
            Poll::Ready(end) => return Poll::Ready(end),
            Poll::Pending => ready!(this.limit.poll_over(cx)),
        };
        this.inner.set(None);
        Poll::Ready(Some(Err(exceeded.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.inner, self.limit.at) {
            (None, _) => SizeHint::with_exact(0),
            (Some(inner), None) => inner.size_hint(),
            // It may be cut: nothing is promised.
            (Some(_), Some(_)) => SizeHint::default(),
        }
    }
}

// === impl Limit ===

impl Limit {
    fn new(after: Option<Duration>) -> Self {
        let at = after.and_then(|after| Some((Instant::now().checked_add(after)?, after)));
        Self { at, timer: None }
    }

    const fn new_unlimited() -> Self {
        Self {
            at: None,
            timer: None,
        }
    }

    /// The same limit, to be waited for elsewhere.
    fn restart(self: Pin<&mut Self>) -> Self {
        Self {
            at: self.at,
            timer: None,
        }
    }

    fn poll_over(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DeadlineExceeded> {
        let mut this = self.project();
        let Some((at, after)) = *this.at else {
            return Poll::Pending;
        };
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(at)));
        }
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(DeadlineExceeded(after))
    }

    fn is_over(&self) -> Option<DeadlineExceeded> {
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
    use http_body_util::{BodyExt, StreamBody};
    use std::{convert::Infallible, future::pending};
    use tonic::Code;
    use tower::{ServiceExt, service_fn};

    fn asking(timeout: &str) -> Request<()> {
        Request::builder()
            .header("grpc-timeout", timeout)
            .body(())
            .unwrap()
    }

    fn code(headers: &HeaderMap) -> Code {
        Code::from_bytes(headers["grpc-status"].as_bytes())
    }

    #[test]
    fn the_shorter_of_the_callers_and_the_servers_time_holds() {
        let second = Duration::from_secs(1);
        let effective = |longest, request: Request<()>| {
            DeadlinePolicy::with_longest(longest).effective(request.headers())
        };
        assert_eq!(effective(None, Request::new(())), Ok(None));
        assert_eq!(
            effective(Some(5 * second), Request::new(())),
            Ok(Some(5 * second))
        );
        assert_eq!(effective(Some(5 * second), asking("1S")), Ok(Some(second)));
        assert_eq!(
            effective(Some(5 * second), asking("1H")),
            Ok(Some(5 * second))
        );
        effective(Some(second), asking("soon")).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_is_dropped_at_its_deadline() {
        let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
        let mut alive = Some(alive);
        let service = service_fn(move |_: Request<()>| {
            let alive = alive.take();
            async move {
                let _alive = alive;
                pending::<Result<Response<tonic::body::Body>, Infallible>>().await
            }
        });
        let started = Instant::now();
        let call = DeadlineLayer::default()
            .layer(service)
            .oneshot(asking("250m"));
        let answer = call.await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_millis(250));
        assert_eq!(code(answer.headers()), Code::DeadlineExceeded);
        dropped.await.unwrap_err();
    }

    #[tokio::test]
    async fn malformed_and_spent_timeouts_never_reach_the_handler() {
        for (timeout, expected) in [
            ("", Code::InvalidArgument),
            ("1", Code::InvalidArgument),
            ("-1S", Code::InvalidArgument),
            ("123456789S", Code::InvalidArgument),
            ("0n", Code::DeadlineExceeded),
        ] {
            let service = service_fn(|_: Request<()>| async {
                Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
            });
            let call = DeadlineLayer::default()
                .layer(service)
                .oneshot(asking(timeout));
            assert_eq!(code(call.await.unwrap().headers()), expected, "{timeout:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_cut_whether_they_wait_or_never_stop() {
        let frame = || Ok::<_, Status>(Frame::data(Bytes::from_static(b"x")));
        let busy = service_fn(move |_: Request<()>| async move {
            let frames = futures_util::stream::poll_fn(move |_| Poll::Ready(Some(frame())));
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let call = DeadlineLayer::default().layer(busy).oneshot(asking("1S"));
        let mut body = Box::pin(call.await.unwrap().into_body());
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(body.frame().await.is_none());

        let silent = service_fn(|_: Request<()>| async {
            let frames = futures_util::stream::pending::<Result<Frame<Bytes>, Status>>();
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        });
        let call = DeadlineLayer::default().layer(silent).oneshot(asking("1S"));
        let mut body = Box::pin(call.await.unwrap().into_body());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }
}
