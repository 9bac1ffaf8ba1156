//! The body of a request: read far enough to know whether it is one message or a stream, and kept
//! to be sent again.

mod replay;

pub(crate) use replay::Replay;

use crate::tally::Weighed;
use crate::{error::BoxError, retry::ReplayBudget};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use replay::{Given, Reader};
use sampan_middleware::compression::{Packing, while_packing};
use sampan_wire::frame::{FrameError, LengthCheck};
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};
use tonic::Status;

/// A request's body, read as far as it is there.
pub(crate) enum Outbound {
    /// All of it.
    Whole(Bytes),
    /// More may come.
    Stream(Messages),
}

/// A body that goes on.
pub(crate) struct Messages {
    read: VecDeque<Bytes>,
    rest: tonic::body::Body,
    lengths: LengthCheck,
}

/// A body that goes on, as one attempt sends it.
pub(crate) struct Streamed {
    from: From,
    failure: StreamFailure,
    packing: Option<Box<Packing>>,
    counted: Option<Box<(Weighed, Arc<AtomicU64>)>>,
}

enum From {
    /// What was kept, then what comes.
    Kept(Reader),
    Alone(Messages),
    Over,
}

/// The caller's own failure to produce its request stream, once there is one.
pub(crate) type StreamFailure = Arc<OnceLock<Status>>;

// === impl Outbound ===

impl Outbound {
    /// Looks at what `body` has to give at once.
    ///
    /// A unary request is encoded here, in one piece; sending it whole also spares the empty
    /// frame that would otherwise end it.
    pub(crate) fn read(
        mut body: tonic::body::Body,
        max_message_bytes: Option<usize>,
        cx: &mut Context<'_>,
    ) -> Result<Self, Status> {
        if body.is_end_stream() {
            return Ok(Self::Whole(Bytes::new()));
        }
        let mut first = None;
        // Two pieces are no single message; the rest of a stream is read when it is sent.
        let second = loop {
            match Pin::new(&mut body).poll_frame(cx) {
                Poll::Pending => break None,
                Poll::Ready(None) => return Ok(Self::Whole(first.unwrap_or_default())),
                Poll::Ready(Some(Err(status))) => return Err(status),
                Poll::Ready(Some(Ok(frame))) => {
                    // gRPC requests have no trailers.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if first.is_some() {
                        break Some(data);
                    }
                    if body.is_end_stream() {
                        return Ok(Self::Whole(data));
                    }
                    first = Some(data);
                }
            }
        };
        Ok(Self::Stream(Messages {
            read: first.into_iter().chain(second).collect(),
            rest: body,
            lengths: LengthCheck::new(max_message_bytes.unwrap_or(usize::MAX)),
        }))
    }
}

// === impl Messages ===

impl Messages {
    /// For the attempts of a call.
    pub(crate) fn kept(self, budget: &Arc<ReplayBudget>) -> (Replay, Streamed) {
        Replay::new(self, StreamFailure::default(), Arc::clone(budget))
    }

    /// For one attempt; nothing of it is kept.
    pub(crate) fn alone(self, failure: StreamFailure) -> Streamed {
        Streamed {
            from: From::Alone(self),
            failure,
            packing: None,
            counted: None,
        }
    }

    /// As it was.
    pub(crate) fn into_body(self) -> tonic::body::Body {
        tonic::body::Body::new(self.alone(StreamFailure::default()))
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let data = match self.read.pop_front() {
            Some(data) => data,
            None => loop {
                match ready!(Pin::new(&mut self.rest).poll_frame(cx)) {
                    None => return Poll::Ready(None),
                    Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            break data;
                        }
                    }
                }
            },
        };
        let too_long = |error: FrameError| Status::resource_exhausted(format!("a {error}"));
        let checked = self.lengths.look(&data).map_err(too_long);
        Poll::Ready(Some(checked.map(|()| data)))
    }

    fn is_over(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }
}

// === impl Streamed ===

impl Streamed {
    fn kept(reader: Reader) -> Self {
        Self {
            failure: Arc::clone(reader.failure()),
            from: From::Kept(reader),
            packing: None,
            counted: None,
        }
    }

    /// Where the bytes of its messages are counted that are sent from now on.
    pub(crate) fn count(&mut self) -> Arc<AtomicU64> {
        let count = Arc::<AtomicU64>::default();
        self.counted = Some(Box::new((Weighed::default(), Arc::clone(&count))));
        count
    }

    /// What is to be sent next.
    fn poll_packed(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self;
        if this.packing.is_none() {
            return this
                .poll_plain(cx)
                .map(|data| data.map(|data| data.map(Frame::data)));
        }
        loop {
            let data = ready!(while_packing(|| this.poll_plain(cx)));
            let data = match (data, &mut this.packing) {
                (Some(Ok(data)), Some(packing)) => packing.pack(data),
                (Some(Ok(data)), None) => data,
                (Some(Err(error)), _) => return Poll::Ready(Some(Err(error))),
                (None, _) => return Poll::Ready(None),
            };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    /// Compresses its messages.
    pub(crate) fn pack(&mut self, packing: Packing) {
        self.packing = Some(Box::new(packing));
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_packed(cx));
        if let (Some(Ok(frame)), Some(counted)) = (&frame, &mut this.counted)
            && let Some(data) = frame.data_ref()
        {
            let (weighed, count) = &mut **counted;
            weighed.add(data);
            count.store(weighed.bytes(), Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            // Only reading on tells.
            From::Kept(_) => false,
            From::Alone(messages) => messages.is_over(),
            From::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Streamed {
    /// What its caller gives, checked.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if let From::Kept(reader) = &mut self.from {
            match ready!(reader.poll(cx)) {
                Ok(Given::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Given::End) => {
                    self.from = From::Over;
                    return Poll::Ready(None);
                }
                Ok(Given::Rest(messages)) => self.from = From::Alone(messages),
                Err(error) => {
                    self.from = From::Over;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        let From::Alone(messages) = &mut self.from else {
            return Poll::Ready(None);
        };
        let data = ready!(messages.poll_data(cx));
        Poll::Ready(data.map(|data| {
            data.map_err(|status| {
                // The transport only resets the stream; the caller wants to know why.
                let _ = self.failure.set(status.clone());
                status.into()
            })
        }))
    }
}

impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").finish_non_exhaustive()
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

    fn read(body: tonic::body::Body) -> Result<Outbound, Status> {
        Outbound::read(
            body,
            None,
            &mut Context::from_waker(std::task::Waker::noop()),
        )
    }

    #[test]
    fn one_message_is_held_whole() {
        let full = tonic::body::Body::new(Full::new(Bytes::from_static(b"abc")));
        let items = stream(futures_util::stream::iter([data("abc")]));
        for body in [full, items] {
            match read(body).unwrap() {
                Outbound::Whole(bytes) => assert_eq!(bytes, "abc"),
                Outbound::Stream(_) => panic!("is one message"),
            }
        }
        let empty = read(tonic::body::Body::empty()).unwrap();
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
        let Ok(Outbound::Stream(messages)) = read(stream(receiver.boxed())) else {
            panic!("more may come");
        };
        let (_replay, body) = messages.kept(&Arc::default());
        for text in ["b", "c"] {
            sender.send(data(text)).unwrap();
        }
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn the_callers_own_failure_is_kept_for_it() {
        let failing = || Err(Status::invalid_argument("cannot encode"));
        let at_once = read(stream(futures_util::stream::iter([failing()])));
        assert_eq!(at_once.err().unwrap().code(), tonic::Code::InvalidArgument);

        let items = [data("a"), data("b"), failing()];
        let later = read(stream(futures_util::stream::iter(items)));
        let Ok(Outbound::Stream(messages)) = later else {
            panic!("two pieces are a stream");
        };
        let (replay, body) = messages.kept(&Arc::default());
        assert!(body.collect().await.is_err());
        let failure = replay.failure().get().unwrap();
        assert_eq!(failure.message(), "cannot encode");
        assert!(!replay.can_be_sent_again());
    }
}
