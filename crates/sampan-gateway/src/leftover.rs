//! Reads what is left of a request that was answered early.
//!
//! Over HTTP/1.1 a client sends its whole request before it reads the answer, and a connection
//! closed under it takes the answer along. So the rest is read and dropped first, within bounds.

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use tonic::Status;

const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(2);

/// A body that comes back when it is dropped before its end.
#[derive(Debug)]
pub(crate) struct Returning {
    body: Option<tonic::body::Body>,
    back: Option<oneshot::Sender<tonic::body::Body>>,
}

/// What came back of a body, if anything did.
#[derive(Debug)]
pub(crate) struct Leftover(oneshot::Receiver<tonic::body::Body>);

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
    /// Reads the rest to its end, to 16 MiB or for 2 s, whatever is first.
    pub(crate) async fn discard(mut self) {
        let Ok(mut body) = self.0.try_recv() else {
            return;
        };
        let read = async {
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
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
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
        left.discard().await;
    }
}
