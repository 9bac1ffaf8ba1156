//! Messages on their way out.

use super::{
    edges::too_large,
    pieces::{OnePiece, Pieces},
};
use crate::{compression::takes_mark, status_trailers::trailers};
use bytes::{BufMut, Bytes};
use futures_util::Stream;
use http_body::Frame;
use pin_project_lite::pin_project;
use prost::Message;
use sampan_wire::{
    compression::LEAVE_PLAIN,
    frame::{PREFIX_LEN, encode_prefix},
    room::room,
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tonic::{Code, Status};

/// Ready messages are put together up to this many bytes.
const BATCH_BYTES: usize = 64 << 10;

/// A stream that pauses after so many messages in a row has likely only let others have a turn, as
/// those of `tokio_stream::iter` do. It is asked once more, so often for one batch and as long as
/// there is less of it than this.
const MANY: u32 = 16;
const MAX_PAUSES: u32 = 32;
const LITTLE: usize = 28 << 10;

pin_project! {
    /// The messages of a stream as a body.
    pub(super) struct EncodedStream<S> {
        #[pin]
        messages: S,
        role: Role,
        limit: usize,
        batch: Pieces,
        progress: Progress,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Just ends, or fails.
    Request,
    /// Says in trailers how it ended.
    Answer,
}

enum Progress {
    Open,
    /// To be said after the batch.
    Ended(Status),
    Over,
}

/// `message` behind its prefix, in a buffer of the exact size.
///
/// # Errors
/// When it is larger than `limit`, or than gRPC can say.
pub(super) fn encode<M: Message>(message: &M, limit: usize) -> Result<Bytes, Status> {
    let len = message.encoded_len();
    let prefix = prefix(len, limit)?;
    let mut buffer = OnePiece(Vec::with_capacity(PREFIX_LEN + len));
    buffer.put_slice(&prefix);
    message.encode_raw(&mut buffer);
    Ok(buffer.0.into())
}

fn prefix(len: usize, limit: usize) -> Result<[u8; PREFIX_LEN], Status> {
    match u32::try_from(len) {
        Ok(short) if len <= limit => Ok(encode_prefix(false, short)),
        _ => Err(too_large(len, limit.min(u32::MAX as usize))),
    }
}

// === impl EncodedStream ===

impl<S> EncodedStream<S> {
    pub(super) fn of_request(messages: S, limit: usize) -> Self {
        Self::new(messages, Role::Request, limit)
    }

    pub(super) fn of_answer(messages: S, limit: usize) -> Self {
        Self::new(messages, Role::Answer, limit)
    }

    fn new(messages: S, role: Role, limit: usize) -> Self {
        Self {
            messages,
            role,
            limit,
            batch: Pieces::default(),
            progress: Progress::Open,
        }
    }
}

impl<S, M> http_body::Body for EncodedStream<S>
where
    S: Stream<Item = Result<M, Status>>,
    M: Message,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        // What was put together before leaves first.
        if let Some(piece) = this.batch.pop_cut() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let (mut in_a_row, mut pauses) = (0, 0);
        // One message at least; the others only as far as they can leave.
        let most = room().clamp(1, BATCH_BYTES);
        // Has an end: a stream that is always ready fills the batch.
        while matches!(this.progress, Progress::Open) && this.batch.len() < most {
            let ended = match this.messages.as_mut().poll_next(cx) {
                Poll::Pending if this.batch.is_empty() => return Poll::Pending,
                Poll::Pending
                    if in_a_row >= MANY && pauses < MAX_PAUSES && this.batch.len() < LITTLE =>
                {
                    (in_a_row, pauses) = (0, pauses + 1);
                    continue;
                }
                Poll::Pending => break,
                Poll::Ready(Some(message)) => {
                    in_a_row += 1;
                    let flags = if takes_mark() { LEAVE_PLAIN } else { 0 };
                    let append = |message| append(this.batch, &message, flags, *this.limit);
                    match message.and_then(append) {
                        Ok(()) => continue,
                        Err(status) => status,
                    }
                }
                Poll::Ready(None) => Status::ok(""),
            };
            *this.progress = Progress::Ended(ended);
        }
        if let Some(piece) = this.batch.pop() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Progress::Ended(status) = std::mem::replace(this.progress, Progress::Over) else {
            return Poll::Ready(None);
        };
        Poll::Ready(match this.role {
            Role::Answer => Some(Ok(Frame::trailers(trailers(&status)))),
            Role::Request if status.code() == Code::Ok => None,
            Role::Request => Some(Err(status)),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.progress, Progress::Over)
    }
}

/// Nothing is left in `batch` of a message that is too large.
fn append<M: Message>(
    batch: &mut Pieces,
    message: &M,
    flags: u8,
    limit: usize,
) -> Result<(), Status> {
    let len = message.encoded_len();
    let mut prefix = prefix(len, limit)?;
    prefix[0] = flags;
    batch.reserve(PREFIX_LEN + len);
    batch.put_slice(&prefix);
    message.encode_raw(batch);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body::Body as _;
    use http_body_util::BodyExt;
    use sampan_wire::room::with_room;

    fn frames(lens: &[usize]) -> Vec<u8> {
        let messages = lens.iter().map(|&len| encode(&vec![7u8; len], usize::MAX));
        messages.flat_map(|bytes| bytes.unwrap().to_vec()).collect()
    }

    fn messages(
        lens: &[usize],
        end: Option<Status>,
    ) -> impl Stream<Item = Result<Vec<u8>, Status>> + Unpin + use<> {
        let messages: Vec<_> = lens.iter().map(|&len| Ok(vec![7; len])).collect();
        stream::iter(messages.into_iter().chain(end.map(Err)))
    }

    #[test]
    fn a_message_fills_its_buffer_exactly_and_none_over_the_limit_is_encoded() {
        // `bytes` of 3 as a BytesValue: tag, length, content.
        let encoded = encode(&vec![1u8, 2, 3], 5).unwrap();
        assert_eq!(encoded.as_ref(), [0, 0, 0, 0, 5, 0x0a, 3, 1, 2, 3]);
        let status = encode(&vec![1u8, 2, 3], 4).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(encode(&(), 0).unwrap().as_ref(), [0; 5]);
    }

    #[tokio::test]
    async fn ready_messages_share_a_frame_and_the_status_follows_them() {
        let end = Status::not_found("no more");
        let body = EncodedStream::of_answer(messages(&[1, 20, 0], Some(end)), usize::MAX);
        let mut body = Box::pin(body);
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, frames(&[1, 20, 0]));
        let trailers = body.frame().await.unwrap().unwrap();
        assert_eq!(trailers.into_trailers().unwrap()["grpc-status"], "5");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn batches_are_bounded() {
        let lens = [20 << 10; 8];
        let body = EncodedStream::of_request(messages(&lens, None), usize::MAX);
        let mut body = Box::pin(body);
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() < BATCH_BYTES + (21 << 10), "{}", data.len());
            all.extend_from_slice(&data);
        }
        assert_eq!(all, frames(&lens));
    }

    #[tokio::test]
    async fn of_ready_messages_no_more_are_put_together_than_can_leave() {
        let body = EncodedStream::of_request(messages(&[10; 9], None), usize::MAX);
        let mut body = Box::pin(body);
        for (room, count) in [(0, 1), (20, 2), (usize::MAX, 6)] {
            let poll = |cx: &mut Context<'_>| with_room(room, || body.as_mut().poll_frame(cx));
            let frame = std::future::poll_fn(poll).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), frames(&vec![10; count]));
        }
    }

    #[tokio::test]
    async fn a_stream_that_lets_others_have_a_turn_still_fills_its_batch() {
        let mut polls = 0;
        let messages = stream::poll_fn(move |cx| {
            polls += 1;
            if polls % 33 == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready((polls < 330).then(|| Ok(vec![7u8; 1])))
        });
        let mut body = Box::pin(EncodedStream::of_request(messages, usize::MAX));
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, frames(&[1; 320]));
    }

    #[tokio::test]
    async fn a_message_over_the_limit_ends_its_stream() {
        let body = EncodedStream::of_answer(messages(&[1, 100, 1], None), 50);
        let mut body = Box::pin(body);
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, frames(&[1]));
        let trailers = body.frame().await.unwrap().unwrap();
        assert_eq!(trailers.into_trailers().unwrap()["grpc-status"], "8");

        let body = EncodedStream::of_request(messages(&[100], None), 50);
        let status = Box::pin(body).frame().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
}
