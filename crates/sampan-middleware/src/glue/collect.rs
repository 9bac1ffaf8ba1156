//! The one message of a request or an answer that does not stream.

use super::edges;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame};
use prost::Message;
use sampan_wire::frame::FrameDecoder;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::Status;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Puts together what a body gives.
#[derive(Debug)]
pub(super) struct Collector {
    limit: usize,
    message: Option<Bytes>,
    trailers: Option<Box<HeaderMap>>,
    /// Only there for a message that comes in pieces.
    pieces: Option<Box<FrameDecoder>>,
}

/// A body that was read to its end.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) message: Option<Bytes>,
    pub(super) trailers: Option<Box<HeaderMap>>,
}

/// Why a body could not be read to its end.
#[derive(Debug)]
pub(super) enum Unread {
    /// What came is no proper message, or not one alone.
    Wrong(Status),
    Broken(BoxError),
}

/// # Errors
/// INTERNAL when `bytes` are no such message.
pub(super) fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

// === impl Collector ===

impl Collector {
    /// Takes one message of up to `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            message: None,
            trailers: None,
            pieces: None,
        }
    }

    /// Reads `body` as far as it is there. To be called again until it is ready, with the same
    /// body; not after that.
    pub(super) fn poll_collect<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Collected, Unread>>
    where
        B: Body<Error: Into<BoxError>>,
    {
        loop {
            let Some(frame) = ready!(body.as_mut().poll_frame(cx)) else {
                break;
            };
            let frame = frame.map_err(|error| Unread::Broken(error.into()))?;
            self.take(frame).map_err(Unread::Wrong)?;
            if self.trailers.is_some() || body.is_end_stream() {
                break;
            }
        }
        Poll::Ready(self.finish().map_err(Unread::Wrong))
    }

    fn take(&mut self, frame: Frame<impl Buf>) -> Result<(), Status> {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.trailers = frame.into_trailers().ok().map(Box::new);
                return Ok(());
            }
        };
        let mut data = data.copy_to_bytes(data.remaining());
        if self.message.is_none() && self.pieces.is_none() {
            match edges::only_message(data, self.limit) {
                Ok(message) => {
                    self.message = Some(message);
                    return Ok(());
                }
                Err(other) => data = other,
            }
        }
        let limit = self.limit;
        let pieces = self
            .pieces
            .get_or_insert_with(|| Box::new(FrameDecoder::new(limit)));
        pieces.push(data);
        while let Some(frame) = pieces.next().map_err(edges::too_long)? {
            edges::check_flags(frame.flags)?;
            if self.message.replace(frame.payload).is_some() {
                return Err(edges::too_many());
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Collected, Status> {
        let collected = Collected {
            message: self.message.take(),
            trailers: self.trailers.take(),
        };
        let is_cut = self.pieces.take().is_some_and(|pieces| !pieces.is_empty());
        // An answer that failed says by itself why it is not whole.
        if is_cut && !collected.has_failed() {
            return Err(Status::internal("the message is cut short"));
        }
        Ok(collected)
    }
}

// === impl Collected ===

impl Collected {
    fn has_failed(&self) -> bool {
        let trailers = self.trailers.as_ref();
        let status = trailers.and_then(|trailers| trailers.get(Status::GRPC_STATUS));
        status.is_some_and(|status| status != "0")
    }

    /// The one message that belongs here.
    ///
    /// # Errors
    /// UNIMPLEMENTED when there is none.
    pub(super) fn into_message<M: Message + Default>(self) -> Result<M, Status> {
        match self.message {
            Some(message) => decode(message),
            None => Err(edges::missing()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glue::encode::encode;
    use futures_util::stream;
    use http_body_util::StreamBody;
    use proptest::prelude::*;
    use std::task::Waker;
    use tonic::Code;

    fn collect(pieces: &[&[u8]], limit: usize) -> Result<Vec<u8>, Code> {
        let frames = pieces.iter().map(|piece| {
            let data = Bytes::copy_from_slice(piece);
            Ok::<_, BoxError>(Frame::data(data))
        });
        let frames: Vec<_> = frames.collect();
        let mut body = StreamBody::new(stream::iter(frames));
        let mut cx = Context::from_waker(Waker::noop());
        match Collector::new(limit).poll_collect(Pin::new(&mut body), &mut cx) {
            Poll::Ready(Ok(collected)) => collected.into_message().map_err(|status| status.code()),
            Poll::Ready(Err(Unread::Wrong(status))) => Err(status.code()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_message_alone_is_taken_and_anything_else_is_refused() {
        let one = encode(&vec![1u8; 3], 9).unwrap();
        assert_eq!(collect(&[&one], 5), Ok(vec![1; 3]));
        assert_eq!(collect(&[&one], 4), Err(Code::ResourceExhausted));
        assert_eq!(collect(&[&one, &one], 9), Err(Code::Unimplemented));
        assert_eq!(
            collect(&[&[one.as_ref(), &one].concat()], 9),
            Err(Code::Unimplemented)
        );
        assert_eq!(collect(&[], 9), Err(Code::Unimplemented));
        assert_eq!(collect(&[&one[..7]], 9), Err(Code::Internal));
        assert_eq!(collect(&[&[1, 0, 0, 0, 0]], 9), Err(Code::Internal));
        assert_eq!(collect(&[&[7, 0, 0, 0, 0]], 9), Err(Code::Internal));
        assert_eq!(
            collect(&[&[0, 255, 255, 255, 255]], 9),
            Err(Code::ResourceExhausted)
        );
        assert_eq!(collect(&[&[0, 0, 0, 0, 1, 0xff]], 9), Err(Code::Internal));
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let data = encode(&Bytes::from_static(b"payload"), 99).unwrap();
        let frames = stream::iter([Ok::<_, BoxError>(Frame::data(data.clone()))]);
        let mut body = StreamBody::new(frames);
        let mut cx = Context::from_waker(Waker::noop());
        let collected = Collector::new(99).poll_collect(Pin::new(&mut body), &mut cx);
        let Poll::Ready(Ok(collected)) = collected else {
            panic!("{collected:?}");
        };
        let payload: Bytes = collected.into_message().unwrap();
        assert_eq!(payload.as_ptr(), data[7..].as_ptr());
    }

    proptest! {
        #[test]
        fn a_message_is_the_same_however_it_is_cut(len in 0usize..300, cut in 1usize..40) {
            let encoded = encode(&vec![7u8; len], 999).unwrap();
            let pieces: Vec<_> = encoded.chunks(cut).collect();
            prop_assert_eq!(collect(&pieces, 999), Ok(vec![7; len]));
        }
    }
}
