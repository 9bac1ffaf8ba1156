//! Frames as they arrive.

use super::{Connection, MAX_ANSWERS, data::wanted};
use crate::{
    Event, Key, Reason, Role,
    frame::{self, FrameHeader, HEADER_LEN, PREFACE, flag, kind},
    limits::TooMuch,
    reason::ConnectionError,
    streams::Half,
};
use bytes::{Buf, BytesMut};
use std::time::Instant;

/// What a frame has come to.
pub(super) type Handled = Result<Option<Event>, ConnectionError>;

/// Every peer may send frames of this size without asking. Larger ones are for data and for what we
/// know nothing of, which do not wait until all of a frame is here, and for headers up to the longest
/// block.
const MAX_CONTROL: usize = 16 << 10;

pub(super) const TOO_MANY_FRAMES: ConnectionError =
    Reason::ENHANCE_YOUR_CALM.error("too many frames that bring nothing on");

// === impl Connection ===

impl<T: Default> Connection<T> {
    /// Looks at what has come, takes whole frames out of `input`, and gives the next event. None:
    /// more has to come. Call until then.
    ///
    /// # Errors
    /// When the peer broke the protocol or a limit. Call [`fail`](Connection::fail) with it,
    /// write the output, and close.
    pub fn receive(&mut self, input: &mut BytesMut, now: Instant) -> Handled {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            if !self.has_preface && !self.take_preface(input)? {
                return Ok(None);
            }
            if self.arriving.is_some() {
                match self.take_data(input) {
                    Some(event) => return Ok(Some(event)),
                    None if input.is_empty() => return Ok(None),
                    None => {}
                }
            }
            let Some(bytes) = input.first_chunk::<HEADER_LEN>() else {
                return Ok(None);
            };
            let header = FrameHeader::parse(bytes);
            if header.len > self.max_frame as usize {
                return Err(Reason::FRAME_SIZE_ERROR.error("a frame is larger than allowed"));
            }
            if !self.has_settings && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
                return Err(Reason::PROTOCOL_ERROR.error("the first frame is not SETTINGS"));
            }
            self.check_length(header)?;
            if input.len() < wanted(header) {
                return Ok(None);
            }
            if let Some(event) = self.take_frame(header, input, now)? {
                return Ok(Some(event));
            }
        }
    }

    /// Before a frame is waited for.
    fn check_length(&self, header: FrameHeader) -> Result<(), ConnectionError> {
        let most = match header.kind {
            kind if kind == kind::DATA || frame::is_unknown(kind) => return Ok(()),
            kind::HEADERS | kind::CONTINUATION => self.max_block_bytes().max(MAX_CONTROL),
            _ => MAX_CONTROL,
        };
        if header.len > most {
            return Err(Reason::ENHANCE_YOUR_CALM.error("a frame is longer than its kind can need"));
        }
        Ok(())
    }

    fn take_preface(&mut self, input: &mut BytesMut) -> Result<bool, ConnectionError> {
        let len = input.len().min(PREFACE.len());
        if input[..len] != PREFACE[..len] {
            return Err(Reason::PROTOCOL_ERROR.error("the preface is not HTTP/2's"));
        }
        if len == PREFACE.len() {
            input.advance(len);
            self.has_preface = true;
        }
        Ok(self.has_preface)
    }

    fn take_frame(&mut self, header: FrameHeader, input: &mut BytesMut, now: Instant) -> Handled {
        if self
            .assembly
            .as_ref()
            .is_some_and(|open| header.kind != kind::CONTINUATION || header.stream != open.stream)
        {
            return Err(Reason::PROTOCOL_ERROR.error("a header block was interrupted"));
        }
        if header.kind == kind::DATA {
            return self.on_data(header, input, now);
        }
        if frame::is_unknown(header.kind) {
            if self.idle_frames.on_control(now) == Err(TooMuch) {
                return Err(TOO_MANY_FRAMES);
            }
            // Unknown kinds are ignored (RFC 9113, 5.5).
            self.pass_over(header.len);
            input.advance(HEADER_LEN);
            return Ok(None);
        }
        let end = HEADER_LEN + header.len;
        let handled = match header.kind {
            kind::HEADERS => self.on_headers(header, &input[HEADER_LEN..end], now),
            kind::CONTINUATION => self.on_continuation(header, &input[HEADER_LEN..end], now),
            kind => {
                if self.idle_frames.on_control(now) == Err(TooMuch) {
                    return Err(TOO_MANY_FRAMES);
                }
                let payload = &input[HEADER_LEN..end];
                match kind {
                    kind::PRIORITY => self.on_priority(header, payload, now),
                    kind::RST_STREAM => self.on_reset(header, payload, now),
                    kind::SETTINGS => self.on_settings(header, payload),
                    kind::PUSH_PROMISE => {
                        Err(Reason::PROTOCOL_ERROR.error("PUSH_PROMISE is not allowed"))
                    }
                    kind::PING => self.on_ping(header, payload, now),
                    kind::GOAWAY => self.on_goaway(header, payload),
                    kind::WINDOW_UPDATE => self.on_window_update(header, payload, now),
                    _ => Ok(None),
                }
            }
        };
        input.advance(end);
        handled
    }

    /// A frame for a stream that is not there.
    pub(super) fn on_frame_of_closed(&mut self, id: u32, now: Instant) -> Handled {
        if self.is_idle(id) {
            return Err(Reason::PROTOCOL_ERROR.error("a frame for a stream that was never opened"));
        }
        if self.role == Role::Server {
            self.count_reset(now)?;
            frame::put_reset(id, Reason::STREAM_CLOSED, &mut self.output.buf);
            self.count_answer()?;
        }
        Ok(None)
    }

    pub(super) const fn is_idle(&self, id: u32) -> bool {
        let is_clients = id % 2 == 1;
        match self.role {
            Role::Server => !is_clients || id > self.highest_peer_id,
            Role::Client => !is_clients || id >= self.next_id,
        }
    }

    pub(super) fn end_receiving(&mut self, key: Key) {
        // One that was cut meanwhile stays so.
        if let Some(stream) = self.streams.find(key)
            && stream.receiving == Half::Open
        {
            stream.receiving = Half::Ended;
            if stream.is_closed() {
                self.streams.close(key.id);
            }
        }
    }

    /// Resets a stream for a fault of the peer.
    pub(super) fn fail_stream(&mut self, key: Key, reason: Reason, now: Instant) -> Handled {
        self.count_reset(now)?;
        self.count_answer()?;
        self.reset(key, reason);
        if self.streams.find_ref(key).is_some_and(|s| s.is_released) {
            self.remove(key);
            return Ok(None);
        }
        Ok(Some(Event::Reset {
            key,
            reason,
            by_peer: false,
        }))
    }

    /// Bounds what waits for a peer that provokes answers and does not read them.
    pub(super) fn count_answer(&mut self) -> Result<(), ConnectionError> {
        self.answers += 1;
        if self.answers > MAX_ANSWERS {
            return Err(Reason::ENHANCE_YOUR_CALM.error("answers are not read"));
        }
        Ok(())
    }
}
