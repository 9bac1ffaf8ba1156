//! The body of a request: read far enough to know whether it is one message, which can be sent
//! again, or a stream, which cannot.

use crate::error::BoxError;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};
use tonic::Status;

/// What the transport sends.
pub(crate) enum RequestBody {
    /// Everything is here.
    Once(Bytes),
    /// More may come.
    Stream(Box<Streamed>),
}

pub(crate) struct Streamed {
    read: VecDeque<Bytes>,
    rest: tonic::body::Body,
    failure: Arc<OnceLock<Status>>,
}

/// A request's body, before its first attempt.
pub(crate) enum Outbound {
    /// All of it: can be sent any number of times.
    Whole(Bytes),
    /// Can be sent once. The caller's own failure to produce it is put into `failure`.
    Stream {
        body: RequestBody,
        failure: Arc<OnceLock<Status>>,
    },
}

// === impl Outbound ===

impl Outbound {
    /// Looks at what `body` has to give at once.
    ///
    /// A unary request is encoded here, in one piece; sending it whole also spares the empty
    /// frame that would otherwise end it.
    pub(crate) async fn read(mut body: tonic::body::Body) -> Result<Self, Status> {
        if body.is_end_stream() {
            return Ok(Self::Whole(Bytes::new()));
        }
        let mut read = VecDeque::new();
        let is_whole = poll_fn(|cx| {
            // Two pieces are no single message; the rest of a stream is read when it is sent.
            while read.len() < 2 {
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Pending => return Poll::Ready(Ok(false)),
                    Poll::Ready(None) => return Poll::Ready(Ok(true)),
                    Poll::Ready(Some(Err(status))) => return Poll::Ready(Err(status)),
                    Poll::Ready(Some(Ok(frame))) => {
                        // gRPC requests have no trailers.
                        if let Ok(data) = frame.into_data() {
                            read.push_back(data);
                        }
                        if body.is_end_stream() {
                            return Poll::Ready(Ok(true));
                        }
                    }
                }
            }
            Poll::Ready(Ok(false))
        })
        .await?;
        if is_whole && read.len() < 2 {
            return Ok(Self::Whole(read.pop_front().unwrap_or_default()));
        }
        let failure = Arc::<OnceLock<Status>>::default();
        let rest = if is_whole {
            tonic::body::Body::empty()
        } else {
            body
        };
        let body = RequestBody::Stream(Box::new(Streamed {
            read,
            rest,
            failure: Arc::clone(&failure),
        }));
        Ok(Self::Stream { body, failure })
    }
}

// === impl RequestBody ===

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Once(data) if data.is_empty() => Poll::Ready(None),
            Self::Once(data) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(data))))),
            Self::Stream(stream) => {
                if let Some(data) = stream.read.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Pin::new(&mut stream.rest).poll_frame(cx).map_err(|status| {
                    // The transport only resets the stream; the caller wants to know why.
                    let _ = stream.failure.set(status.clone());
                    status.into()
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Once(data) => data.is_empty(),
            Self::Stream(stream) => stream.read.is_empty() && stream.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Once(data) => SizeHint::with_exact(data.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(data) => f.debug_tuple("Once").field(&data.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, StreamBody};

    type Item = Result<Frame<Bytes>, Status>;

    fn stream(items: impl futures_core::Stream<Item = Item> + Send + 'static) -> tonic::body::Body {
        tonic::body::Body::new(StreamBody::new(items))
    }

    fn data(text: &'static str) -> Item {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn one_message_is_held_whole() {
        let full = tonic::body::Body::new(Full::new(Bytes::from_static(b"abc")));
        let items = stream(futures_util::stream::iter([data("abc")]));
        for body in [full, items] {
            match Outbound::read(body).await.unwrap() {
                Outbound::Whole(bytes) => assert_eq!(bytes, "abc"),
                Outbound::Stream { .. } => panic!("is one message"),
            }
        }
        let empty = Outbound::read(tonic::body::Body::empty()).await.unwrap();
        assert!(matches!(empty, Outbound::Whole(bytes) if bytes.is_empty()));
    }

    #[tokio::test]
    async fn a_stream_loses_nothing_and_is_not_waited_for() {
        use futures_util::StreamExt;
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Item>();
        sender.send(data("a")).unwrap();
        let receiver = futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|item| (item, receiver))
        });
        let Ok(Outbound::Stream { body, .. }) = Outbound::read(stream(receiver.boxed())).await
        else {
            panic!("more may come");
        };
        for text in ["b", "c"] {
            sender.send(data(text)).unwrap();
        }
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn the_callers_own_failure_is_kept_for_it() {
        let failing = || Err(Status::invalid_argument("cannot encode"));
        let at_once = Outbound::read(stream(futures_util::stream::iter([failing()]))).await;
        assert_eq!(at_once.err().unwrap().code(), tonic::Code::InvalidArgument);

        let items = [data("a"), data("b"), failing()];
        let later = Outbound::read(stream(futures_util::stream::iter(items))).await;
        let Ok(Outbound::Stream { body, failure }) = later else {
            panic!("two pieces are a stream");
        };
        assert!(body.collect().await.is_err());
        assert_eq!(failure.get().unwrap().message(), "cannot encode");
    }
}
