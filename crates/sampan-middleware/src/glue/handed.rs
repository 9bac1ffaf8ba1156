//! Messages on their way into tonic's `Streaming` that its buffer never sees.
//!
//! `Streaming` copies all that its body gives into one buffer and decodes from there. So the body
//! here gives it, for each message, the prefix of an empty one, and the messages themselves go to
//! the decoder beside it. They are decoded from the bytes that arrived.

use super::{
    collect::decode,
    edges::{self, check_flags, too_long},
    guarded::{Role, clean, failure},
};
use crate::status_trailers::trailers;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use prost::Message;
use sampan_wire::frame::{FrameDecoder, PREFIX_LEN};
use std::{
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tonic::{
    Status, Streaming,
    codec::{BufferSettings, DecodeBuf, Decoder},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// The body: cuts what arrives into messages, and says the right status when it cannot.
    struct Handing<B> {
        // None once it has ended: dropping it tells the peer that nobody reads on.
        #[pin]
        body: Option<B>,
        role: Role,
        cutter: Cutter,
        // How an answer ended whose body gives nothing.
        end: Option<Status>,
        lane: Lane,
    }
}

/// The decoder: takes the messages that the body has left.
struct Taking<M> {
    /// Whole messages, each behind its prefix.
    run: Bytes,
    lane: Lane,
    message: PhantomData<fn() -> M>,
}

/// From the body to the decoder. `Streaming` polls the body only when all is decoded that it gave
/// before, so that there is never more than what came last.
#[derive(Clone, Debug, Default)]
struct Lane(Arc<Mutex<Left>>);

/// What is to be decoded next.
#[derive(Debug, Default)]
enum Left {
    #[default]
    Nothing,
    /// Whole messages, each behind its prefix.
    Run(Bytes),
    One(Bytes),
    /// Nothing, ever again: one of them was none.
    Broken,
}

/// Finds messages in what arrives. Pure.
#[derive(Debug)]
struct Cutter {
    limit: usize,
    /// Not looked at yet.
    data: Bytes,
    /// Where a message did not come in one piece.
    pieces: Option<Box<FrameDecoder>>,
}

/// The prefixes of so many empty messages.
static EMPTY: [u8; PREFIX_LEN * MAX_RUN] = [0; PREFIX_LEN * MAX_RUN];
const MAX_RUN: usize = 512;

/// The messages of a request.
pub(super) fn requests<M, B>(body: B, limit: usize) -> Streaming<M>
where
    M: Message + Default + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let (body, decoder) = Handing::pair(body, limit, Role::Request, None);
    Streaming::new_request(decoder, body, None, None)
}

/// The messages of an answer. It ended with `end` if nothing follows its head.
pub(super) fn answers<M, B>(
    body: B,
    limit: usize,
    http: http::StatusCode,
    end: Option<Status>,
) -> Streaming<M>
where
    M: Message + Default + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let (body, decoder) = Handing::pair(body, limit, Role::Answer, end);
    Streaming::new_response(decoder, body, http, None, None)
}

/// The messages of an answer that has none.
pub(super) fn no_answers<M, B>(body: B) -> Streaming<M>
where
    M: Message + Default + 'static,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let (body, decoder) = Handing::pair(body, 0, Role::Answer, None);
    Streaming::new_empty(decoder, body)
}

// === impl Handing ===

impl<B> Handing<B> {
    fn pair<M>(body: B, limit: usize, role: Role, end: Option<Status>) -> (Self, Taking<M>) {
        let lane = Lane::default();
        let taking = Taking {
            run: Bytes::new(),
            lane: lane.clone(),
            message: PhantomData,
        };
        let handing = Self {
            body: Some(body),
            role,
            cutter: Cutter {
                limit,
                data: Bytes::new(),
                pieces: None,
            },
            end,
            lane,
        };
        (handing, taking)
    }
}

impl<B> Body for Handing<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        if this.body.is_some() && this.lane.is_broken() {
            this.body.set(None);
            *this.cutter = Cutter::empty();
            let status = Status::internal("a message before could not be read");
            return Poll::Ready(Some(Err(status)));
        }
        loop {
            match this.cutter.next() {
                Ok(None) => {}
                Ok(Some((left, count))) => {
                    this.lane.put(left);
                    let prefixes = Bytes::from_static(&EMPTY[..PREFIX_LEN * count]);
                    return Poll::Ready(Some(Ok(Frame::data(prefixes))));
                }
                Err(status) => {
                    this.body.set(None);
                    *this.cutter = Cutter::empty();
                    return Poll::Ready(Some(Err(status)));
                }
            }
            let Some(body) = this.body.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let frame = ready!(body.poll_frame(cx));
            let end = this.end.take();
            let ended = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => {
                        this.cutter.push(data.copy_to_bytes(data.remaining()));
                        continue;
                    }
                    Err(frame) => {
                        let mut trailers = frame.into_trailers().unwrap_or_default();
                        clean(&mut trailers);
                        if this.cutter.is_cut() && edges::is_ok(&trailers) {
                            Some(Err(cut_short()))
                        } else {
                            Some(Ok(Frame::trailers(trailers)))
                        }
                    }
                },
                Some(Err(error)) => Some(Err(failure(error.into(), *this.role))),
                None if this.cutter.is_cut() => Some(Err(cut_short())),
                None => end.map(|end| Ok(Frame::trailers(trailers(&end)))),
            };
            this.body.set(None);
            *this.cutter = Cutter::empty();
            return Poll::Ready(ended);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.cutter.data.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn cut_short() -> Status {
    Status::internal("the last message is cut short")
}

// === impl Cutter ===

impl Cutter {
    const fn empty() -> Self {
        Self {
            limit: 0,
            data: Bytes::new(),
            pieces: None,
        }
    }

    fn push(&mut self, data: Bytes) {
        match &mut self.pieces {
            Some(pieces) => pieces.push(data),
            None => self.data = data,
        }
    }

    /// Whether it ends in the middle of a message.
    fn is_cut(&self) -> bool {
        self.pieces.is_some()
    }

    /// The next messages that are whole, and how many.
    fn next(&mut self) -> Result<Option<(Left, usize)>, Status> {
        if self.pieces.is_none() {
            if self.data.is_empty() {
                return Ok(None);
            }
            let (count, len) = whole_messages(&self.data, self.limit);
            if count > 0 {
                return Ok(Some((Left::Run(self.data.split_to(len)), count)));
            }
        }
        let limit = self.limit;
        let data = std::mem::take(&mut self.data);
        let pieces = self
            .pieces
            .get_or_insert_with(|| Box::new(FrameDecoder::new(limit)));
        pieces.push(data);
        let frame = pieces.next().map_err(too_long)?;
        let Some(frame) = frame else {
            return Ok(None);
        };
        check_flags(frame.flags)?;
        if pieces.is_empty() {
            self.pieces = None;
        }
        Ok(Some((Left::One(frame.payload), 1)))
    }
}

/// How many messages at the beginning of `data` are whole and as they should be, and the length of
/// them all.
fn whole_messages(data: &[u8], limit: usize) -> (usize, usize) {
    let (mut count, mut at) = (0, 0);
    while let Some(&[0, a, b, c, d]) = data
        .get(at..)
        .and_then(|rest| rest.first_chunk::<PREFIX_LEN>())
    {
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > limit || len > data.len() - at - PREFIX_LEN || count == MAX_RUN {
            break;
        }
        at += PREFIX_LEN + len;
        count += 1;
    }
    (count, at)
}

// === impl Lane ===

impl Lane {
    fn put(&self, left: Left) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }

    fn is_broken(&self) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*left, Left::Broken)
    }

    fn take(&self) -> Left {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Taking ===

impl<M> Taking<M> {
    fn next(&mut self) -> Option<Bytes> {
        if self.run.is_empty() {
            match self.lane.take() {
                Left::Nothing | Left::Broken => return None,
                Left::One(message) => return Some(message),
                Left::Run(run) => self.run = run,
            }
        }
        let &[_, a, b, c, d] = self.run.first_chunk::<PREFIX_LEN>()?;
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        self.run.advance(PREFIX_LEN);
        Some(self.run.split_to(len))
    }
}

impl<M: Message + Default + 'static> Decoder for Taking<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let message = match self.next() {
            None => return Ok(None),
            Some(message) => decode(message),
        };
        if message.is_err() {
            self.run = Bytes::new();
            self.lane.put(Left::Broken);
        }
        message.map(Some)
    }

    fn buffer_settings(&self) -> BufferSettings {
        // Nothing but prefixes comes through that buffer.
        BufferSettings::new(0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glue::encode::encode;
    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::StreamBody;
    use proptest::prelude::*;
    use tonic::Code;

    type Frames = Vec<Result<Frame<Bytes>, Status>>;

    fn data(bytes: &[u8]) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(Bytes::copy_from_slice(bytes)))
    }

    fn ended(code: &str) -> Result<Frame<Bytes>, Status> {
        let name = Status::GRPC_STATUS;
        let trailers = http::HeaderMap::from_iter([(name, code.parse().unwrap())]);
        Ok(Frame::trailers(trailers))
    }

    /// The messages that are read, and how the stream ends.
    fn read(messages: Streaming<Vec<u8>>) -> (Vec<Vec<u8>>, Code) {
        // An end, also when the stream has none.
        let all: Vec<_> = messages.take(9_999).collect().now_or_never().unwrap();
        let code = all.iter().find_map(|message| message.as_ref().err());
        let code = code.map_or(Code::Ok, Status::code);
        (all.into_iter().map_while(Result::ok).collect(), code)
    }

    fn request(frames: Frames, limit: usize) -> (Vec<Vec<u8>>, Code) {
        read(requests(StreamBody::new(stream::iter(frames)), limit))
    }

    fn answer(frames: Frames, end: Option<Status>) -> (Vec<Vec<u8>>, Code) {
        let body = StreamBody::new(stream::iter(frames));
        read(answers(body, 99, http::StatusCode::OK, end))
    }

    #[test]
    fn what_was_whole_is_read_before_what_is_wrong_is_told() {
        let one = encode(&vec![1u8; 3], 9).unwrap();
        let with = |end: &[u8]| vec![data(&[&one, &one, end].concat())];
        let two = vec![vec![1; 3]; 2];
        for (end, code) in [
            (&[][..], Code::Ok),
            (&[0, 0, 0, 0, 6], Code::ResourceExhausted),
            (&[1, 0, 0, 0, 0], Code::Internal),
            (&[7, 0, 0, 0, 0], Code::Internal),
            (&[0, 0, 0, 0, 1, 0xff], Code::Internal),
            (&[0, 0, 0, 0, 2, 0x0a], Code::Internal),
        ] {
            assert_eq!(request(with(end), 5), (two.clone(), code), "{end:?}");
        }
    }

    #[test]
    fn a_message_that_cannot_be_read_is_the_last() {
        let one = encode(&vec![1u8; 3], 9).unwrap();
        let bad = [0, 0, 0, 0, 1, 0xff];
        let frames = vec![data(&[&one, &bad[..], &one].concat()), data(&one)];
        assert_eq!(request(frames, 9), (vec![vec![1; 3]], Code::Internal));
    }

    #[test]
    fn an_answer_ends_as_its_trailers_say_or_its_head() {
        let one = encode(&vec![1u8; 3], 9).unwrap();
        let read = vec![vec![1; 3]];
        for (frames, end, expected) in [
            (vec![data(&one), ended("0")], None, (read.clone(), Code::Ok)),
            (vec![data(&one), ended("5")], None, (read, Code::NotFound)),
            (
                vec![data(&one[..7]), ended("0")],
                None,
                (vec![], Code::Internal),
            ),
            (
                vec![data(&one[..7]), ended("5")],
                None,
                (vec![], Code::NotFound),
            ),
            (vec![data(&one[..7])], None, (vec![], Code::Internal)),
            (vec![], Some(Status::aborted("")), (vec![], Code::Aborted)),
        ] {
            let what = format!("{frames:?}");
            assert_eq!(answer(frames, end), expected, "{what}");
        }
    }

    #[test]
    fn a_request_that_was_reset_is_no_proper_end_of_its_stream() {
        let frames = vec![Err(Status::cancelled("h2 says so"))];
        assert_eq!(request(frames, 9), (vec![], Code::Unavailable));
    }

    #[tokio::test]
    async fn messages_are_not_copied() {
        let one = encode(&Bytes::from_static(b"payload"), 99).unwrap();
        let all = Bytes::from([&one[..], &one].concat());
        let frames = [
            data_of(all.clone()),
            data_of(one.slice(..PREFIX_LEN)),
            data_of(one.slice(PREFIX_LEN..)),
        ];
        let mut messages = requests::<Bytes, _>(StreamBody::new(stream::iter(frames)), 99);
        for expected in [&all[7..], &all[one.len() + 7..], &one[7..]] {
            let message = messages.message().await.unwrap().unwrap();
            assert_eq!(message.as_ptr(), expected.as_ptr());
        }
    }

    fn data_of(bytes: Bytes) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(bytes))
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_they_are_cut(
            lens in prop::collection::vec(0usize..60, 0..1200),
            cut in 1usize..4000,
        ) {
            let expected: Vec<_> = lens.iter().map(|&len| vec![7u8; len]).collect();
            let bytes: Vec<u8> = expected.iter().flat_map(|m| encode(m, 99).unwrap()).collect();
            let frames = bytes.chunks(cut).map(data).collect();
            prop_assert_eq!(request(frames, 99), (expected, Code::Ok));
        }
    }
}
