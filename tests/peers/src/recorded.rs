//! Head and trailers of a response, told apart: tonic's clients merge those of single answers.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use sampan::Body;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tonic::Status;
use tower_service::Service;

/// What came around the messages of one call.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of the head. None when the head ended the response.
    pub headers: Option<HeaderMap>,
    /// Of the end.
    pub trailers: HeaderMap,
}

/// A channel for one call, that keeps what came.
#[derive(Clone, Debug)]
pub struct Recorded<C> {
    channel: C,
    seen: Arc<Mutex<Seen>>,
}

/// A body that keeps its trailers.
#[derive(Debug)]
struct RecordedBody {
    body: Body,
    seen: Arc<Mutex<Seen>>,
}

// === impl Recorded ===

impl<C> Recorded<C> {
    /// Records one call on `channel`.
    pub fn new(channel: C) -> Self {
        Self {
            channel,
            seen: Arc::default(),
        }
    }

    /// What has come so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }
}

impl<C, R> Service<Request<R>> for Recorded<C>
where
    C: Service<Request<R>, Response = Response<Body>>,
    C::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let answer = self.channel.call(request);
        let seen = Arc::clone(&self.seen);
        Box::pin(async move {
            let response = answer.await?;
            {
                let mut seen = lock(&seen);
                if response.headers().contains_key("grpc-status") {
                    seen.trailers.clone_from(response.headers());
                } else {
                    seen.headers = Some(response.headers().clone());
                }
            }
            // An answer that came whole is passed on so, as clients without this get it.
            Ok(response.map(|mut body| match body.take_ok() {
                Some(message) => Body::ok(message),
                None => Body::new(RecordedBody { body, seen }),
            }))
        })
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl RecordedBody ===

impl http_body::Body for RecordedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            lock(&self.seen).trailers.clone_from(trailers);
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
