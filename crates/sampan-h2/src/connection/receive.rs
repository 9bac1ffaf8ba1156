//! Frames as they arrive.

use super::{Connection, MAX_ANSWERS};
use crate::{
    Event, Key, Reason, Role,
    frame::{self, FrameHeader, HEADER_LEN, PREFACE, flag, kind},
    limits::TooMuch,
    reason::ConnectionError,
    settings::MAX_WINDOW,
    streams::{Half, Place},
};
use bytes::{Buf, Bytes, BytesMut};
use std::time::Instant;

/// What a frame has come to.
pub(super) type Handled = Result<Option<Event>, ConnectionError>;

/// Payloads from this size on stay in the read buffer that they came in; smaller ones are copied,
/// so that a few bytes do not keep a large buffer.
const BY_REFERENCE: usize = 8 << 10;

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
            let Some(bytes) = input.first_chunk::<HEADER_LEN>() else {
                return Ok(None);
            };
            let header = FrameHeader::parse(bytes);
            if header.len > self.settings.max_frame_bytes as usize {
                return Err(Reason::FRAME_SIZE_ERROR.error("a frame is larger than allowed"));
            }
            if !self.has_settings && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
                return Err(Reason::PROTOCOL_ERROR.error("the first frame is not SETTINGS"));
            }
            if input.len() < HEADER_LEN + header.len {
                return Ok(None);
            }
            if let Some(event) = self.take_frame(header, input, now)? {
                return Ok(Some(event));
            }
        }
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
        let end = HEADER_LEN + header.len;
        let handled = match header.kind {
            kind::HEADERS => self.on_headers(header, &input[HEADER_LEN..end], now),
            kind::CONTINUATION => self.on_continuation(header, &input[HEADER_LEN..end], now),
            kind => {
                if self.idle_frames.on_control() == Err(TooMuch) {
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
                    // Unknown kinds are ignored (RFC 9113, 5.5).
                    _ => Ok(None),
                }
            }
        };
        input.advance(end);
        handled
    }

    fn on_data(&mut self, header: FrameHeader, input: &mut BytesMut, now: Instant) -> Handled {
        let FrameHeader {
            len, stream: id, ..
        } = header;
        if id == 0 {
            return Err(Reason::PROTOCOL_ERROR.error("DATA on stream 0"));
        }
        self.receive_window -= len as i64;
        if self.receive_window < 0 {
            return Err(Reason::FLOW_CONTROL_ERROR.error("the connection's window was overrun"));
        }
        self.arrived += len as u32;
        self.reopen_connection();
        let (before, after) = if header.has(flag::PADDED) {
            let padding = usize::from(*input.get(HEADER_LEN).filter(|_| len > 0).ok_or(
                Reason::FRAME_SIZE_ERROR.error("a padded frame has no length of padding"),
            )?);
            if padding >= len {
                return Err(Reason::PROTOCOL_ERROR.error("padding is longer than its frame"));
            }
            (1, padding)
        } else {
            (0, 0)
        };
        let data_len = len - before - after;
        let is_end = header.has(flag::END_STREAM);
        if data_len == 0 && !is_end {
            if self.idle_frames.on_empty() == Err(TooMuch) {
                return Err(TOO_MANY_FRAMES);
            }
        } else {
            self.idle_frames.on_progress();
        }
        let whole = HEADER_LEN + len;
        let slot = match self.streams.place(id) {
            Place::Open(slot) => slot,
            Place::ResetByUs => {
                input.advance(whole);
                return Ok(None);
            }
            Place::Absent => {
                input.advance(whole);
                return self.on_frame_of_closed(id, now);
            }
        };
        let Some(stream) = self.streams.at(slot) else {
            input.advance(whole);
            return Ok(None);
        };
        let flaw = if stream.receiving != Half::Open {
            Some(Reason::STREAM_CLOSED)
        } else if !stream.has_head {
            Some(Reason::PROTOCOL_ERROR)
        } else if stream.receive_window < len as i64 {
            Some(Reason::FLOW_CONTROL_ERROR)
        } else {
            match &mut stream.promised {
                None => None,
                Some(left) => match left.checked_sub(data_len as u64) {
                    Some(rest) if !is_end || rest == 0 => {
                        *left = rest;
                        None
                    }
                    _ => Some(Reason::PROTOCOL_ERROR),
                },
            }
        };
        if let Some(reason) = flaw {
            input.advance(whole);
            return self.fail_stream(Key { slot, id }, reason, now);
        }
        stream.receive_window -= len as i64;
        stream.taken += (before + after) as i64;
        input.advance(HEADER_LEN + before);
        let data = if data_len >= BY_REFERENCE {
            input.split_to(data_len).freeze()
        } else {
            let data = Bytes::copy_from_slice(&input[..data_len]);
            input.advance(data_len);
            data
        };
        input.advance(after);
        let key = Key { slot, id };
        if is_end {
            self.end_receiving(key);
        } else if data_len == 0 {
            return Ok(None);
        }
        Ok(Some(Event::Data { key, data, is_end }))
    }

    /// Gives `len` bytes of a stream's window back to the peer: they were taken by the reader.
    pub fn give_back(&mut self, key: Key, len: usize) {
        let window = self.settings.stream_window;
        let Some(stream) = self.streams.find(key) else {
            return;
        };
        if stream.receiving != Half::Open {
            return;
        }
        stream.taken += len as i64;
        if stream.taken >= i64::from(window / 2).max(1) {
            let by = std::mem::take(&mut stream.taken).min(i64::from(MAX_WINDOW)) as u32;
            stream.receive_window += i64::from(by);
            frame::put_window_update(key.id, by, &mut self.output.buf);
        }
    }

    /// Lets the peer send `len` bytes on a stream from here on, also when that is more than its
    /// window: a message of that length has begun.
    pub fn expect(&mut self, key: Key, len: usize) {
        let Some(stream) = self.streams.find(key) else {
            return;
        };
        let missing = len as i64 - stream.receive_window;
        if stream.receiving != Half::Open || missing <= 0 {
            return;
        }
        let by = missing.min(i64::from(MAX_WINDOW) - stream.receive_window);
        stream.receive_window += by;
        // What the reader takes of it is not given back twice.
        stream.taken -= by;
        frame::put_window_update(key.id, by as u32, &mut self.output.buf);
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
        if let Some(stream) = self.streams.find(key) {
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
