//! A body on its way into tonic's `Streaming`, without what `Streaming` gets wrong.

use super::edges;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_wire::frame::LengthCheck;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tonic::{Code, Status};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// Gives what is in it until something is wrong, and then the right status.
    pub struct Guarded<B> {
        // None once it failed: dropping it tells the peer that nobody reads on.
        #[pin]
        body: Option<B>,
        lengths: LengthCheck,
        role: Role,
        // Whether one message belongs here, no more and no less.
        is_of_one: bool,
    }
}

/// Which way a body goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Request,
    Answer,
}

// === impl Guarded ===

impl<B> Guarded<B> {
    pub(super) const fn request(body: B, limit: usize) -> Self {
        Self::new(body, limit, Role::Request)
    }

    pub(super) const fn answer(body: B, limit: usize) -> Self {
        Self::new(body, limit, Role::Answer)
    }

    const fn new(body: B, limit: usize, role: Role) -> Self {
        Self {
            body: Some(body),
            lengths: LengthCheck::new(limit),
            role,
            is_of_one: false,
        }
    }

    /// Refuses more than one message, and none.
    pub(super) fn of_one(self) -> Self {
        Self {
            is_of_one: true,
            ..self
        }
    }
}

impl<B> Body for Guarded<B>
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
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.poll_frame(cx));
        let is_lacking = |lengths: &LengthCheck| *this.is_of_one && lengths.messages() == 0;
        let Some(frame) = frame else {
            let lacks = *this.role == Role::Request && is_lacking(this.lengths);
            this.body.set(None);
            return Poll::Ready(lacks.then(|| Err(edges::missing())));
        };
        let checked = match frame {
            Ok(frame) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                check(frame, this.lengths)
            }
            Err(error) => Err(failure(error.into(), *this.role)),
        };
        let checked = checked.and_then(|frame| match frame.trailers_ref() {
            None if *this.is_of_one && this.lengths.messages() > 1 => Err(edges::too_many()),
            Some(trailers) if edges::is_ok(trailers) && is_lacking(this.lengths) => {
                Err(edges::missing())
            }
            _ => Ok(frame),
        });
        if checked.is_err() {
            this.body.set(None);
        }
        Poll::Ready(Some(checked))
    }

    fn is_end_stream(&self) -> bool {
        // One that lacks its message has that to say.
        let lacks = self.is_of_one && self.role == Role::Request && self.lengths.messages() == 0;
        self.body
            .as_ref()
            .is_none_or(|body| !lacks && body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

fn check(mut frame: Frame<Bytes>, lengths: &mut LengthCheck) -> Result<Frame<Bytes>, Status> {
    if let Some(data) = frame.data_ref() {
        lengths.look(data).map_err(edges::too_long)?;
    }
    if let Some(trailers) = frame.trailers_mut() {
        clean(trailers);
    }
    Ok(frame)
}

/// Puts trailers right that tonic is to read.
pub(super) fn clean(trailers: &mut HeaderMap) {
    edges::clean(trailers);
    edges::correct_code(trailers);
}

/// What an error of a body is to tonic.
pub(super) fn failure(error: BoxError, role: Role) -> Status {
    let status = edges::status_from(error);
    // tonic reads CANCELLED as the proper end of a request.
    if role == Role::Request && status.code() == Code::Cancelled {
        return Status::unavailable(format!("the request broke off: {}", status.message()));
    }
    status
}

/// What the body of a request that broke off becomes, when no stream of messages is read.
pub(super) fn request_failure(error: BoxError) -> Status {
    failure(error, Role::Request)
}

impl<B> std::fmt::Debug for Guarded<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tonic::{Streaming, codec::Codec};
    use tonic_prost::ProstCodec;

    type Frames = Vec<Result<Frame<Bytes>, BoxError>>;

    fn request(frames: Frames, limit: usize) -> Streaming<()> {
        let body = Guarded::request(StreamBody::new(stream::iter(frames)), limit);
        let decoder = ProstCodec::<(), ()>::default().decoder();
        Streaming::new_request(decoder, body, None, Some(limit))
    }

    #[tokio::test]
    async fn a_request_that_was_reset_is_no_proper_end_of_its_stream() {
        let message = Ok(Frame::data(Bytes::from_static(&[0; 5])));
        let reset = Err(Status::cancelled("h2 says so").into());
        let mut messages = request(vec![message, reset], 9);
        assert!(messages.message().await.unwrap().is_some());
        let status = messages.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_long_message_of_a_stream_is_resource_exhausted() {
        let prefix = Ok(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 10])));
        let status = request(vec![prefix], 9).message().await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
    }

    #[tokio::test]
    async fn one_message_is_no_more_and_no_less_where_one_belongs() {
        let frames = |count| -> Frames {
            (0..count)
                .map(|_| Ok(Frame::data(Bytes::from_static(&[0; 5]))))
                .collect()
        };
        for (count, expected) in [
            (0, Err(Code::Unimplemented)),
            (1, Ok(())),
            (2, Err(Code::Unimplemented)),
        ] {
            let body = StreamBody::new(stream::iter(frames(count)));
            let body = Guarded::request(body, 9).of_one();
            let decoder = ProstCodec::<(), ()>::default().decoder();
            let mut messages = Streaming::new_request(decoder, body, None, Some(9));
            let all = async {
                while messages.message().await?.is_some() {}
                Ok::<_, Status>(())
            };
            let all = all.await.map_err(|status| status.code());
            assert_eq!(all, expected, "{count}");
        }
        let body = Guarded::request(http_body_util::Empty::<Bytes>::new(), 9).of_one();
        assert!(!body.is_end_stream());
    }

    #[tokio::test]
    async fn an_error_that_is_no_status_is_internal() {
        let frames: Frames = vec![Err("what?".into())];
        let status = request(frames, 9).message().await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
    }

    #[tokio::test]
    async fn bad_details_do_not_reach_tonics_parser() {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("5"));
        let bad = http::HeaderValue::from_static("!!! no base64");
        trailers.insert("grpc-status-details-bin", bad);
        let frames: Frames = vec![Ok(Frame::trailers(trailers))];
        let body = Guarded::answer(StreamBody::new(stream::iter(frames)), 9);
        let decoder = ProstCodec::<(), ()>::default().decoder();
        let mut answer =
            Streaming::new_response(decoder, body, http::StatusCode::OK, None, Some(9));
        assert_eq!(answer.message().await.unwrap_err().code(), Code::NotFound);
        let mut empty = Guarded::answer(http_body_util::Empty::<Bytes>::new(), 9);
        assert!(empty.frame().await.is_none());
    }
}
