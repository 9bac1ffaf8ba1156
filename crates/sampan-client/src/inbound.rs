//! Calls that are made for an inbound one but do not end with its handler: they are told when its
//! caller goes away.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http_body::{Body as _, Frame, SizeHint};
use sampan_middleware::{Body, context::CallContext};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::Instant;
use tonic::Status;

/// A response body that ends when the inbound call is cancelled.
struct Watched {
    // None once it has ended.
    body: Option<Body>,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    path: PathAndQuery,
    started: Instant,
}

/// Why such a call ends.
pub(crate) const GONE: &str = "the caller of the call that this one is made for has gone away";

/// What such a call ends with, where nothing is known of its attempts.
pub(crate) fn gone(path: &PathAndQuery, started: Instant) -> Status {
    let elapsed = started.elapsed();
    Status::cancelled(format!(
        "{path}: {GONE}, {elapsed:.1?} after the call began"
    ))
}

/// Waits until the caller goes away, where there is one.
pub(crate) async fn left(inbound: Option<&CallContext>) {
    match inbound {
        None => std::future::pending().await,
        Some(inbound) => inbound.cancelled().await,
    }
}

/// Ends `body` when the caller goes away. What is there whole needs no watching.
pub(crate) fn watch(
    mut body: Body,
    inbound: &CallContext,
    path: PathAndQuery,
    started: Instant,
) -> Body {
    if let Some(data) = body.take_ok() {
        return Body::ok(data);
    }
    if body.is_end_stream() {
        return body;
    }
    Body::new(Watched {
        body: Some(body),
        gone: Box::pin(inbound.cancelled()),
        path,
        started,
    })
}

// === impl Watched ===

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        std::task::ready!(self.gone.as_mut().poll(cx));
        // Dropping it resets the stream.
        self.body = None;
        Poll::Ready(Some(Err(gone(&self.path, self.started))))
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
