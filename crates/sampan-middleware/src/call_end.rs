//! Tells when and how a call ended: at its last trailer, at an error, or at the drop of its body.
//!
//! Load counts, metrics, limits and deadlines all hang on this moment, so it is decided here
//! once. A call is never over at the response head.

use crate::TakeOk;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{Code, Status};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer said so with this `grpc-status`.
    Status(Code),
    /// The body failed with this code before the peer said anything.
    Failed(Code),
    /// The body was dropped before its end: whoever read it gave up.
    Dropped,
}

/// Hears how a call ended: a closure, or a type that a service can name in its response.
pub trait OnEnd {
    /// The peer sent so much of its messages.
    fn on_data(&mut self, data: &Bytes) {
        let _ = data;
    }

    /// The peer ended it with these trailers: [`on_end`](Self::on_end) follows.
    fn on_trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }

    /// The call is over.
    fn on_end(self, ended: Ended);
}

pin_project! {
    /// Wraps a response body and tells its observer exactly once, when the call is over.
    pub struct CallEnd<B, O: OnEnd> {
        #[pin]
        body: B,
        guard: Guard<O>,
    }
}

struct Guard<O: OnEnd> {
    observer: Option<O>,
}

static STATUS: HeaderName = Status::GRPC_STATUS;

// === impl Ended ===

impl Ended {
    /// The status code as the caller sees it.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Status(code) | Self::Failed(code) => code,
            Self::Dropped => Code::Cancelled,
        }
    }

    /// What a response head says about the end of its call, when it carries `grpc-status`
    /// already (trailers-only).
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let status = headers.get(&STATUS)?;
        Some(Self::Status(Code::from_bytes(status.as_bytes())))
    }
}

// === impl OnEnd ===

impl<F: FnOnce(Ended)> OnEnd for F {
    fn on_end(self, ended: Ended) {
        self(ended);
    }
}

// === impl CallEnd ===

impl<B, O: OnEnd> CallEnd<B, O> {
    /// Watches `body`, whose response had these headers.
    pub fn new(headers: &HeaderMap, body: B, observer: O) -> Self {
        let mut guard = Guard {
            observer: Some(observer),
        };
        if !headers.is_empty()
            && let Some(ended) = Ended::from_headers(headers)
        {
            guard.end(ended);
        }
        Self { body, guard }
    }
}

impl<B, O> http_body::Body for CallEnd<B, O>
where
    B: http_body::Body<Data = Bytes, Error = Status>,
    O: OnEnd,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = std::task::ready!(this.body.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    if let Some(observer) = &mut this.guard.observer {
                        observer.on_trailers(trailers);
                    }
                    let ended =
                        Ended::from_headers(trailers).unwrap_or(Ended::Failed(Code::Unknown));
                    this.guard.end(ended);
                } else if let (Some(data), Some(observer)) =
                    (frame.data_ref(), &mut this.guard.observer)
                {
                    observer.on_data(data);
                }
            }
            Some(Err(status)) => this.guard.end(Ended::Failed(status.code())),
            // An end without trailers: the peer never said how the call went.
            None => this.guard.end(Ended::Failed(Code::Unknown)),
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

impl<B: TakeOk, O: OnEnd> TakeOk for CallEnd<B, O> {
    fn take_ok(&mut self) -> Option<Bytes> {
        let answer = self.body.take_ok()?;
        self.guard.end(Ended::Status(Code::Ok));
        Some(answer)
    }
}

impl<B: std::fmt::Debug, O: OnEnd> std::fmt::Debug for CallEnd<B, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallEnd")
            .field("body", &self.body)
            .field("ended", &self.guard.observer.is_none())
            .finish()
    }
}

// === impl Guard ===

impl<O: OnEnd> Guard<O> {
    fn end(&mut self, ended: Ended) {
        if let Some(observer) = self.observer.take() {
            observer.on_end(ended);
        }
    }
}

impl<O: OnEnd> Drop for Guard<O> {
    fn drop(&mut self) {
        self.end(Ended::Dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use std::{cell::Cell, rc::Rc};

    type Frames = Vec<Result<Frame<Bytes>, Status>>;

    fn watched(
        headers: &HeaderMap,
        frames: Frames,
    ) -> (
        impl http_body::Body<Data = Bytes, Error = Status> + Unpin + use<>,
        Rc<Cell<Vec<Ended>>>,
    ) {
        let seen = Rc::new(Cell::new(Vec::new()));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let told = Rc::clone(&seen);
        let body = CallEnd::new(headers, body, move |ended: Ended| {
            let mut all = told.take();
            all.push(ended);
            told.set(all);
        });
        (Box::pin(body), seen)
    }

    fn trailers(status: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static(status),
        )])
    }

    #[tokio::test]
    async fn a_call_ends_at_its_trailer_and_not_before() {
        let frames = vec![
            Ok(Frame::data(Bytes::from_static(b"x"))),
            Ok(Frame::trailers(trailers("5"))),
        ];
        let (mut body, seen) = watched(&HeaderMap::new(), frames);
        body.frame().await;
        assert!(seen.take().is_empty());
        body.frame().await;
        drop(body);
        assert_eq!(seen.take(), [Ended::Status(Code::NotFound)]);
    }

    #[test]
    fn a_call_whose_answer_is_taken_whole_has_ended_well() {
        let seen = Rc::new(Cell::new(None));
        let told = Rc::clone(&seen);
        let body = crate::Body::ok(Bytes::from_static(b"x"));
        let observer = move |ended: Ended| told.set(Some(ended));
        let mut body = CallEnd::new(&HeaderMap::new(), body, observer);
        assert_eq!(body.take_ok().unwrap(), "x");
        assert_eq!(seen.get(), Some(Ended::Status(Code::Ok)));
    }

    #[test]
    fn a_dropped_body_ends_its_call_as_cancelled() {
        let (body, seen) = watched(&HeaderMap::new(), vec![]);
        drop(body);
        assert_eq!(seen.take(), [Ended::Dropped]);
        assert_eq!(Ended::Dropped.code(), Code::Cancelled);
    }

    #[test]
    fn a_response_of_trailers_alone_is_over_at_its_head() {
        let (body, seen) = watched(&trailers("12"), vec![]);
        assert_eq!(seen.take(), [Ended::Status(Code::Unimplemented)]);
        drop(body);
        assert!(seen.take().is_empty());
    }
}
