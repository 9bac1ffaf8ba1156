//! Messages that arrive.

use super::unreadable;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_wire::compression::{Encoding, Unpacker};
use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};
use tonic::Status;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How the messages of a call arrive that came with a `grpc-encoding`. In the extensions of
/// requests and responses.
#[derive(Clone, Debug)]
pub struct ReceivedCompression {
    encoding: Encoding,
    latest: Arc<AtomicBool>,
}

pin_project! {
    /// A body whose messages are decompressed as they come, one to a frame, within their limit.
    pub struct UnpackedBody<B> {
        #[pin]
        body: Option<B>,
        unpacker: Unpacker,
        received: ReceivedCompression,
        broken: fn(BoxError) -> Status,
    }
}

// === impl ReceivedCompression ===

impl ReceivedCompression {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            latest: Arc::default(),
        }
    }

    /// What compressed messages are compressed by.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether the message was compressed that was read last. The sender decides for each.
    #[must_use]
    pub fn was_compressed(&self) -> bool {
        self.latest.load(Relaxed)
    }

    /// Another message was read.
    pub fn note(&self, was_compressed: bool) {
        self.latest.store(was_compressed, Relaxed);
    }
}

// === impl UnpackedBody ===

impl<B> UnpackedBody<B> {
    /// Takes messages of up to `limit` bytes; `broken` says what an error of `body` means.
    pub fn new(
        body: B,
        received: ReceivedCompression,
        limit: usize,
        broken: fn(BoxError) -> Status,
    ) -> Self {
        Self {
            body: Some(body),
            unpacker: Unpacker::new(received.encoding(), limit),
            received,
            broken,
        }
    }
}

impl<B> Body for UnpackedBody<B>
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
        loop {
            let Some(body) = this.body.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            match this.unpacker.next() {
                Ok(Some(message)) => {
                    this.received.note(message.was_compressed);
                    return Poll::Ready(Some(Ok(Frame::data(message.data))));
                }
                Ok(None) => {}
                Err(error) => {
                    // Dropping it tells the peer that nobody reads on.
                    this.body.set(None);
                    return Poll::Ready(Some(Err(unreadable(&error))));
                }
            }
            let frame = ready!(body.poll_frame(cx));
            let frame = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(mut data))) => {
                    this.unpacker.push(data.copy_to_bytes(data.remaining()));
                    continue;
                }
                Some(Ok(Err(frame))) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    Some(Ok(Frame::trailers(trailers)))
                }
                Some(Err(error)) => Some(Err((this.broken)(error.into()))),
                None => None,
            };
            this.body.set(None);
            if this.unpacker.is_cut() && !matches!(frame, Some(Err(_))) {
                let cut = "the last message is cut short";
                return Poll::Ready(Some(Err(Status::internal(cut))));
            }
            return Poll::Ready(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unpacker.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<B> fmt::Debug for UnpackedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnpackedBody").finish_non_exhaustive()
    }
}
