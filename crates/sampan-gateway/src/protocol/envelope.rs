//! Messages behind a five-byte prefix, both ways: what gRPC, gRPC-Web and Connect's streams have
//! in common. What the flags mean and how a response ends, each of them says itself.

use super::base64_text::TextDecoder;
use crate::neutral::{End, Event, Events, Fault};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body as _, Frame};
use sampan_wire::{
    Code,
    frame::{FrameDecoder, FrameError, PREFIX_LEN, encode_prefix},
};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The flag of a compressed message in every protocol that has this prefix.
pub(crate) const COMPRESSED: u8 = 1;

/// How one protocol writes the body of a response.
pub(crate) trait Envelope: Send + Unpin + 'static {
    /// The bytes of one message.
    fn message(&self, payload: Bytes) -> Bytes {
        prefixed(0, &payload)
    }

    /// The last piece of the body.
    fn end(&self, end: End) -> Frame<Bytes>;
}

/// A message behind its prefix, as one piece.
pub(crate) fn prefixed(flags: u8, payload: &[u8]) -> Bytes {
    // A message of 4 GiB is far over any limit that was checked when it arrived.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut prefix = encode_prefix(false, len);
    prefix[0] = flags;
    let mut bytes = BytesMut::with_capacity(PREFIX_LEN + payload.len());
    bytes.put_slice(&prefix);
    bytes.put_slice(payload);
    bytes.freeze()
}

/// The messages of a request body as they arrive.
#[derive(Debug)]
pub(crate) struct EnvelopeReader {
    body: Option<tonic::body::Body>,
    text: Option<TextDecoder>,
    decoder: FrameDecoder,
}

/// A response body, one frame for each event.
pub(crate) struct EnvelopeBody<E> {
    events: Option<Events>,
    envelope: E,
}

// === impl EnvelopeReader ===

impl EnvelopeReader {
    pub(crate) fn new(body: tonic::body::Body, max_message_bytes: usize) -> Self {
        Self {
            body: Some(body),
            text: None,
            decoder: FrameDecoder::new(max_message_bytes),
        }
    }

    /// Reads the body as base64 text.
    pub(crate) fn text(mut self) -> Self {
        self.text = Some(TextDecoder::default());
        self
    }

    fn next_message(&mut self) -> Result<Option<Bytes>, Fault> {
        let frame = match self.decoder.next() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(FrameError::TooLarge { limit, .. }) => return Err(Fault::too_large(limit)),
        };
        match frame.flags {
            0 => Ok(Some(frame.payload)),
            COMPRESSED => Err(Fault::new(
                Code::Internal,
                "message is marked as compressed, but the request names no encoding",
            )),
            flags => Err(Fault::malformed(format!(
                "malformed frame: flags {flags:#04x}"
            ))),
        }
    }

    fn push(&mut self, chunk: Bytes) -> Result<(), Fault> {
        let chunk = match &mut self.text {
            Some(text) => text.decode(&chunk).map_err(malformed_text)?,
            None => chunk,
        };
        self.decoder.push(chunk);
        Ok(())
    }

    /// What the end of the body leaves to read.
    fn finish(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(text) = &mut self.text {
            let rest = text.finish().map_err(malformed_text)?;
            self.decoder.push(rest);
        }
        match self.next_message()? {
            None if !self.decoder.is_empty() => Err(Fault::malformed(
                "malformed frame: the body ends inside a message",
            )),
            message => Ok(message),
        }
    }
}

impl Stream for EnvelopeReader {
    type Item = Result<Bytes, Fault>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.next_message() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(fault) => {
                    // Nothing behind a fault can be read.
                    this.decoder = FrameDecoder::new(0);
                    this.body = None;
                    return Poll::Ready(Some(Err(fault)));
                }
            }
            let Some(body) = &mut this.body else {
                return Poll::Ready(None);
            };
            let read = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => this.push(chunk),
                    // Trailers of a request mean nothing in any of the protocols.
                    Err(_) => Ok(()),
                },
                Some(Err(_)) => Err(Fault::new(
                    Code::Cancelled,
                    "the request broke before its end",
                )),
                None => {
                    this.body = None;
                    match this.finish() {
                        Ok(None) => return Poll::Ready(None),
                        Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                        Err(fault) => Err(fault),
                    }
                }
            };
            if let Err(fault) = read {
                this.decoder = FrameDecoder::new(0);
                this.body = None;
                return Poll::Ready(Some(Err(fault)));
            }
        }
    }
}

fn malformed_text(invalid: super::base64_text::InvalidText) -> Fault {
    Fault::malformed(invalid.to_string())
}

// === impl EnvelopeBody ===

impl<E: Envelope> EnvelopeBody<E> {
    pub(crate) fn new(events: Events, envelope: E) -> Self {
        Self {
            events: Some(events),
            envelope,
        }
    }
}

impl<E: Envelope> http_body::Body for EnvelopeBody<E> {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = self.get_mut();
        let event = match this.events.take() {
            None => return Poll::Ready(None),
            Some(Events::Ended(end)) => Some(Event::End(end)),
            Some(Events::Flowing(mut events)) => match events.as_mut().poll_next(cx) {
                Poll::Pending => {
                    this.events = Some(Events::Flowing(events));
                    return Poll::Pending;
                }
                Poll::Ready(event) => {
                    if matches!(event, Some(Event::Message(_))) {
                        this.events = Some(Events::Flowing(events));
                    }
                    event
                }
            },
        };
        Poll::Ready(event.map(|event| {
            Ok(match event {
                Event::Message(payload) => Frame::data(this.envelope.message(payload)),
                Event::End(end) => this.envelope.end(end),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.events.is_none()
    }
}
