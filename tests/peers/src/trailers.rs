//! Trailers beside an OK status, which tonic's `Response` has no place for.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::server::NamedService;
use tower_service::Service;

/// Put into a response's extensions by a handler: sent behind the last message.
#[derive(Clone, Debug, Default)]
pub struct Trailers(pub HeaderMap);

/// Sends [`Trailers`] of responses.
#[derive(Clone, Debug)]
pub struct WithTrailers<S>(pub S);

/// A body with more in its trailers.
#[derive(Debug)]
pub struct TrailersBody<B> {
    body: Pin<Box<B>>,
    more: Option<HeaderMap>,
}

// === impl WithTrailers ===

impl<S, R, B> Service<Request<R>> for WithTrailers<S>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<TrailersBody<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let more = response.extensions_mut().remove::<Trailers>();
            Ok(response.map(|body| TrailersBody {
                body: Box::pin(body),
                more: more.map(|Trailers(map)| map),
            }))
        })
    }
}

impl<S: NamedService> NamedService for WithTrailers<S> {
    const NAME: &'static str = S::NAME;
}

// === impl TrailersBody ===

impl<B: Body<Data = Bytes>> Body for TrailersBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut frame = ready!(self.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
            && let Some(more) = self.more.take()
        {
            trailers.extend(more);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
