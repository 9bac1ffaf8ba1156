//! Reads what is left of a request that was answered early.
//!
//! Over HTTP/1.1 a client sends its whole request before it reads the answer or sends the next
//! request, and a connection closed under it takes either along. So the rest of the request is
//! read and dropped before the answer ends, within bounds.

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use sampan_middleware::Body;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use tonic::Status;

const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(2);

/// A body that comes back when it is dropped before its end.
#[derive(Debug)]
struct Returning {
    body: Option<tonic::body::Body>,
    back: Option<oneshot::Sender<tonic::body::Body>>,
}

/// What comes back of a request's body, once nobody reads it any more.
#[derive(Debug)]
pub(crate) struct Leftover(oneshot::Receiver<tonic::body::Body>);

/// An answer that ends when the request has been read.
struct Ending {
    state: EndingState,
}

enum EndingState {
    Answering(Body, Leftover),
    Discarding(BoxFuture<'static, ()>),
    Ended,
}

/// A body to hand out, and where its rest will be.
pub(crate) fn returning(body: tonic::body::Body) -> (tonic::body::Body, Leftover) {
    let (back, left) = oneshot::channel();
    let body = Returning {
        body: Some(body),
        back: Some(back),
    };
    (tonic::body::Body::new(body), Leftover(left))
}

// === impl Leftover ===

impl Leftover {
    /// Holds the end of `response` back until the request has been read.
    pub(crate) async fn before_end_of(self, response: Response<Body>) -> Response<Body> {
        if response.body().size_hint().exact().is_some() {
            // Its end is known with its last byte, so nothing can be held back but the whole.
            self.discard().await;
            return response;
        }
        response.map(|body| {
            Body::new(Ending {
                state: EndingState::Answering(body, self),
            })
        })
    }

    /// Reads the rest to its end, to 16 MiB or for 2 s, whatever is first.
    async fn discard(self) {
        let read = async {
            let Ok(mut body) = self.0.await else {
                return;
            };
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > MAX_BYTES {
                    break;
                }
            }
        };
        // Whether time ran out makes no difference.
        let _ = timeout(MAX_TIME, read).await;
    }
}

// === impl Ending ===

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            match &mut self.state {
                EndingState::Answering(body, _) => {
                    let frame = ready!(Pin::new(body).poll_frame(cx));
                    if frame.is_some() {
                        return Poll::Ready(frame);
                    }
                    let answered = std::mem::replace(&mut self.state, EndingState::Ended);
                    if let EndingState::Answering(body, left) = answered {
                        // Ends the call, and so gives the request back.
                        drop(body);
                        self.state = EndingState::Discarding(left.discard().boxed());
                    }
                }
                EndingState::Discarding(discarding) => {
                    ready!(discarding.as_mut().poll(cx));
                    self.state = EndingState::Ended;
                }
                EndingState::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, EndingState::Ended)
    }
}

// === impl Returning ===

impl http_body::Body for Returning {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody waits for it when the call itself is gone.
            let _ = back.send(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::StreamBody;

    fn chunks(count: usize) -> tonic::body::Body {
        let chunk = |_| Ok::<_, Status>(Frame::data(Bytes::from_static(b"0123456789")));
        tonic::body::Body::new(StreamBody::new(stream::iter((0..count).map(chunk))))
    }

    #[tokio::test]
    async fn a_body_dropped_early_comes_back_with_its_rest() {
        let (mut body, left) = returning(chunks(3));
        body.frame().await;
        drop(body);
        let Leftover(mut left) = left;
        let rest = left.try_recv().unwrap().collect().await.unwrap();
        assert_eq!(rest.to_bytes().len(), 20);
    }

    #[tokio::test]
    async fn a_body_read_to_its_end_does_not() {
        let (body, Leftover(mut left)) = returning(chunks(3));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 30);
        assert!(left.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_never_ends_is_left_after_a_while() {
        let endless = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Status>>());
        let (body, left) = returning(tonic::body::Body::new(endless));
        drop(body);
        let response = Response::new(Body::from(Bytes::from_static(b"early")));
        let began = tokio::time::Instant::now();
        left.before_end_of(response).await;
        assert_eq!(began.elapsed(), MAX_TIME);
    }

    #[tokio::test]
    async fn a_stream_of_answers_flows_at_once_and_ends_when_the_request_is_read() {
        let (request, left) = returning(chunks(1));
        let (tell, told) = oneshot::channel::<()>();
        let answers = stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"a")))]);
        let response = Response::new(Body::new(StreamBody::new(answers)));
        let mut body = left.before_end_of(response).await.into_body();
        assert!(body.frame().await.is_some());
        tokio::spawn(async move {
            told.await.unwrap();
            drop(request);
        });
        assert!(body.frame().now_or_never().is_none());
        tell.send(()).unwrap();
        assert!(body.frame().await.is_none());
    }
}
