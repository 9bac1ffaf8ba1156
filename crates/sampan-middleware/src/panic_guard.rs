//! Turns a panic in a handler, or in the stream it answered with, into INTERNAL.
//!
//! Why: a panic that unwinds into the transport takes the stream down without a status, and
//! what it takes with it is the transport's choice. Here the caller gets a code, and the other
//! calls of the connection go on. The panic's text stays out of the answer; the process's panic
//! hook has printed it.

use crate::TakeOk;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

/// Applies [`PanicGuard`] to a service.
#[derive(Clone, Copy, Debug, Default)]
pub struct PanicGuardLayer;

/// Answers INTERNAL where the service under it panics.
#[derive(Clone, Copy, Debug)]
pub struct PanicGuard<S> {
    inner: S,
}

pin_project! {
    /// The future of [`PanicGuard`].
    #[derive(Debug)]
    pub struct PanicGuardFuture<F> {
        #[pin]
        inner: Option<F>,
    }
}

pin_project! {
    /// The body of [`PanicGuard`]'s responses.
    #[derive(Debug)]
    pub struct PanicGuardBody<B> {
        #[pin]
        inner: Option<B>,
    }
}

// === impl PanicGuardLayer ===

impl<S> Layer<S> for PanicGuardLayer {
    type Service = PanicGuard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PanicGuard { inner }
    }
}

// === impl PanicGuard ===

impl<S, ReqB, B> Service<Request<ReqB>> for PanicGuard<S>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
{
    type Response = Response<PanicGuardBody<B>>;
    type Error = S::Error;
    type Future = PanicGuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let call = AssertUnwindSafe(|| self.inner.call(request));
        PanicGuardFuture {
            inner: catch_unwind(call).ok(),
        }
    }
}

// === impl PanicGuardFuture ===

impl<F, B, E> Future for PanicGuardFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<PanicGuardBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inner = self.project().inner;
        match guarded(&mut inner, |inner| inner.poll(cx)) {
            Some(poll) => {
                let response = ready!(poll)?;
                Poll::Ready(Ok(response.map(|body| PanicGuardBody { inner: Some(body) })))
            }
            None => {
                let response = panicked().into_http::<()>();
                Poll::Ready(Ok(response.map(|()| PanicGuardBody { inner: None })))
            }
        }
    }
}

// === impl PanicGuardBody ===

impl<B> Body for PanicGuardBody<B>
where
    B: Body<Data = Bytes, Error = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut inner = self.project().inner;
        if inner.is_none() {
            return Poll::Ready(None);
        }
        guarded(&mut inner, |inner| inner.poll_frame(cx))
            .unwrap_or_else(|| Poll::Ready(Some(Err(panicked()))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B: TakeOk> TakeOk for PanicGuardBody<B> {
    // A whole answer is bytes: there is nothing of the handler's left that may panic.
    fn take_ok(&mut self) -> Option<Bytes> {
        self.inner.as_mut()?.take_ok()
    }
}

/// Polls what is in `slot`. None when it panicked, now or before: then it is dropped, since
/// nothing that has panicked may be polled again.
fn guarded<T, R>(slot: &mut Pin<&mut Option<T>>, poll: impl FnOnce(Pin<&mut T>) -> R) -> Option<R> {
    let inner = slot.as_mut().as_pin_mut()?;
    if let Ok(result) = catch_unwind(AssertUnwindSafe(|| poll(inner))) {
        return Some(result);
    }
    // What is left of a panicked value may panic in its drop as well.
    catch_unwind(AssertUnwindSafe(|| slot.set(None))).ok();
    None
}

/// Runs code of others. None when it panicked: what it was at must not be touched again.
pub fn guard<R>(code: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}

/// What the caller is told.
#[must_use]
pub fn panicked() -> Status {
    Status::internal("the handler panicked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::{convert::Infallible, future::poll_fn};
    use tower::{ServiceExt, service_fn};

    type Answer = Response<tonic::body::Body>;

    fn code(response: &Response<impl Body>) -> &str {
        response.headers()["grpc-status"].to_str().unwrap()
    }

    #[tokio::test]
    async fn a_panic_in_the_call_or_in_its_future_is_internal() {
        let at_once = service_fn(
            |_: Request<()>| -> std::future::Ready<Result<Answer, Infallible>> {
                panic!("while called")
            },
        );
        let later = service_fn(|_: Request<()>| {
            poll_fn(|_| -> Poll<Result<Answer, Infallible>> { panic!("while polled") })
        });
        let answer = PanicGuardLayer
            .layer(at_once)
            .oneshot(Request::new(()))
            .await;
        assert_eq!(code(&answer.unwrap()), "13");
        let answer = PanicGuardLayer.layer(later).oneshot(Request::new(())).await;
        assert_eq!(code(&answer.unwrap()), "13");
    }

    #[tokio::test]
    async fn a_panic_in_the_response_stream_ends_it_with_internal() {
        let service = service_fn(|_: Request<()>| async {
            let mut frames = 0;
            let body = StreamBody::new(futures_util::stream::poll_fn(move |_| {
                frames += 1;
                assert!(frames < 2, "the second frame panics");
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first")))))
            }));
            Ok::<_, Infallible>(Response::new(body))
        });
        let answer = PanicGuardLayer
            .layer(service)
            .oneshot(Request::new(()))
            .await;
        let mut body = answer.unwrap().into_body();
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.code(), tonic::Code::Internal);
        assert!(!error.message().contains("second frame"));
        assert!(body.frame().await.is_none());
    }
}
