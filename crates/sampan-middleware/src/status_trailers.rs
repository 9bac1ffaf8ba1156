//! Ends a response whose body failed with trailers that say why.
//!
//! Why: an HTTP/2 server that meets an error in a body resets the stream, and the caller sees a
//! broken call in place of the status.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

/// Applies [`StatusTrailers`] to a service.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatusTrailersLayer;

/// Sends a response body's error as trailers.
#[derive(Clone, Copy, Debug)]
pub struct StatusTrailers<S> {
    inner: S,
}

pin_project! {
    /// The future of [`StatusTrailers`].
    #[derive(Debug)]
    pub struct StatusTrailersFuture<F> {
        #[pin]
        inner: F,
    }
}

pin_project! {
    /// A body that never fails.
    #[derive(Debug)]
    pub struct StatusTrailersBody<B> {
        #[pin]
        inner: B,
        has_ended: bool,
    }
}

// === impl StatusTrailersLayer ===

impl<S> Layer<S> for StatusTrailersLayer {
    type Service = StatusTrailers<S>;

    fn layer(&self, inner: S) -> Self::Service {
        StatusTrailers { inner }
    }
}

// === impl StatusTrailers ===

impl<S, ReqB, B> Service<Request<ReqB>> for StatusTrailers<S>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
{
    type Response = Response<StatusTrailersBody<B>>;
    type Error = S::Error;
    type Future = StatusTrailersFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        StatusTrailersFuture {
            inner: self.inner.call(request),
        }
    }
}

// === impl StatusTrailersFuture ===

impl<F, B, E> Future for StatusTrailersFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<StatusTrailersBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx))?;
        Poll::Ready(Ok(response.map(|inner| StatusTrailersBody {
            inner,
            has_ended: false,
        })))
    }
}

// === impl StatusTrailersBody ===

impl<B> Body for StatusTrailersBody<B>
where
    B: Body<Data = Bytes, Error = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if *this.has_ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(this.inner.poll_frame(cx)) {
            Some(Err(status)) => {
                *this.has_ended = true;
                Some(Ok(Frame::trailers(trailers(&status))))
            }
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(unfit) = status.add_header(&mut trailers) {
        // A status that no header can hold is told by its code alone.
        trailers.clear();
        let code = http::HeaderValue::from(unfit.code() as i32);
        trailers.insert("grpc-status", code);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::convert::Infallible;
    use tower::{ServiceExt, service_fn};

    #[tokio::test]
    async fn an_error_in_a_body_becomes_its_last_frame() {
        let service = service_fn(|_: Request<()>| async {
            let frames = [
                Ok(Frame::data(Bytes::from_static(b"x"))),
                Err(Status::deadline_exceeded("over time")),
                Ok(Frame::data(Bytes::from_static(b"never"))),
            ];
            let body = StreamBody::new(futures_util::stream::iter(frames));
            Ok::<_, Infallible>(Response::new(body))
        });
        let answer = StatusTrailersLayer
            .layer(service)
            .oneshot(Request::new(()))
            .await;
        let body = answer.unwrap().into_body().collect().await.unwrap();
        let trailers = body.trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "4");
        assert_eq!(trailers["grpc-message"], "over%20time");
        assert_eq!(body.to_bytes(), "x");
    }
}
