//! Frames as they arrive.

use super::{Assembly, Connection, DRAIN_PING, Goaway, MAX_ANSWERS};
use crate::{
    Event, Key, Reason, Role,
    frame::{self, FrameHeader, HEADER_LEN, PREFACE, flag, kind},
    head::{self, Head},
    hpack::Flaw,
    limits::TooMuch,
    reason::ConnectionError,
    settings::MAX_WINDOW,
    streams::{Ending, Half, Place, Queue, Stream},
};
use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use std::time::Instant;

type Handled = Result<Option<Event>, ConnectionError>;

/// Payloads from this size on stay in the read buffer that they came in; smaller ones are copied,
/// so that a few bytes do not keep a large buffer.
const BY_REFERENCE: usize = 8 << 10;

/// Runs of ids that a client left out, as far as they are remembered.
const MAX_SKIPPED: usize = 32;

/// How many times the longest list a header block may be, before its connection ends.
const MAX_BLOCKS: usize = 4;

const TOO_MANY_FRAMES: ConnectionError =
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

    // --- data

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
    fn on_frame_of_closed(&mut self, id: u32, now: Instant) -> Handled {
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

    const fn is_idle(&self, id: u32) -> bool {
        let is_clients = id % 2 == 1;
        match self.role {
            Role::Server => !is_clients || id > self.highest_peer_id,
            Role::Client => !is_clients || id >= self.next_id,
        }
    }

    // --- headers

    fn on_headers(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
        let id = header.stream;
        if id == 0 {
            return Err(Reason::PROTOCOL_ERROR.error("HEADERS on stream 0"));
        }
        let mut block = payload;
        if header.has(flag::PADDED) {
            let (&padding, rest) = block
                .split_first()
                .ok_or(Reason::FRAME_SIZE_ERROR.error("a padded frame has no length of padding"))?;
            let len = rest
                .len()
                .checked_sub(usize::from(padding))
                .ok_or(Reason::PROTOCOL_ERROR.error("padding is longer than its frame"))?;
            block = &rest[..len];
        }
        let mut depends_on_itself = false;
        if header.has(flag::PRIORITY) {
            let (dependency, rest) = block
                .split_first_chunk::<5>()
                .ok_or(Reason::FRAME_SIZE_ERROR.error("HEADERS are shorter than their priority"))?;
            depends_on_itself = dependency_of(dependency) == id;
            block = rest;
        }
        let is_end = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.on_block(id, is_end, depends_on_itself, block, now);
        }
        let assembly = Assembly {
            stream: id,
            is_end,
            depends_on_itself,
            block: Vec::new(),
        };
        self.assembly = Some(assembly);
        self.add_fragment(block)
    }

    fn on_continuation(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
        if self.assembly.is_none() {
            return Err(Reason::PROTOCOL_ERROR.error("CONTINUATION without HEADERS"));
        }
        self.add_fragment(payload)?;
        if !header.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let Some(whole) = self.assembly.take() else {
            return Ok(None);
        };
        self.on_block(
            whole.stream,
            whole.is_end,
            whole.depends_on_itself,
            &whole.block,
            now,
        )
    }

    fn add_fragment(&mut self, fragment: &[u8]) -> Handled {
        if fragment.is_empty() && self.idle_frames.on_empty() == Err(TooMuch) {
            return Err(TOO_MANY_FRAMES);
        }
        // A list that is somewhat too long fails its call alone; one without an end is an attack.
        let limit = MAX_BLOCKS * self.settings.max_header_list_bytes as usize;
        if let Some(assembly) = &mut self.assembly {
            if assembly.block.len() + fragment.len() > limit {
                return Err(Reason::ENHANCE_YOUR_CALM.error("a header block is too long"));
            }
            assembly.block.extend_from_slice(fragment);
        }
        Ok(None)
    }

    /// A whole header block: a head or trailers.
    fn on_block(
        &mut self,
        id: u32,
        is_end: bool,
        depends_on_itself: bool,
        block: &[u8],
        now: Instant,
    ) -> Handled {
        self.idle_frames.on_progress();
        match self.streams.place(id) {
            Place::Open(slot) => {
                let key = Key { slot, id };
                let has_head = self.streams.at(slot).is_some_and(|stream| stream.has_head);
                if depends_on_itself {
                    self.decode_unused(block)?;
                    self.fail_stream(key, Reason::PROTOCOL_ERROR, now)
                } else if has_head {
                    self.on_trailers(key, is_end, block, now)
                } else {
                    self.on_response(key, is_end, block, now)
                }
            }
            Place::ResetByUs => self.decode_unused(block),
            Place::Absent if self.role == Role::Client => {
                self.decode_unused(block)?;
                self.on_frame_of_closed(id, now)
            }
            Place::Absent => self.on_request(id, is_end, depends_on_itself, block, now),
        }
    }

    /// Keeps the decoder in step with a block that nobody wants.
    fn decode_unused(&mut self, block: &[u8]) -> Handled {
        self.decoder.decode(block).map_err(compression)?;
        Ok(None)
    }

    fn on_request(
        &mut self,
        id: u32,
        is_end: bool,
        depends_on_itself: bool,
        block: &[u8],
        now: Instant,
    ) -> Handled {
        if id.is_multiple_of(2) {
            return Err(Reason::PROTOCOL_ERROR.error("a client's stream has an even number"));
        }
        if id <= self.highest_peer_id {
            self.decode_unused(block)?;
            if self
                .skipped
                .iter()
                .any(|&(from, to)| (from..=to).contains(&id))
            {
                return Err(Reason::PROTOCOL_ERROR.error("streams were opened out of order"));
            }
            return Err(Reason::STREAM_CLOSED.error("HEADERS for a stream that has ended"));
        }
        if id > self.highest_peer_id + 2 {
            if self.skipped.len() == MAX_SKIPPED {
                self.skipped.pop_front();
            }
            self.skipped.push_back((self.highest_peer_id + 1, id - 1));
        }
        self.highest_peer_id = id;
        if let Goaway::Final(_) = self.goaway {
            return self.decode_unused(block);
        }
        let limit = self.settings.max_concurrent_streams as usize;
        if self.streams.len() >= limit || self.header_bytes >= self.settings.header_budget_bytes {
            self.decode_unused(block)?;
            return self.refuse(id, Reason::REFUSED_STREAM, now);
        }
        let generation = self.decoder.generation();
        let known = self.heads.find(block, generation);
        let (head, list_bytes) = if let Some((head, list_bytes)) = known {
            (head.clone(), list_bytes)
        } else {
            let decoded = self.decoder.decode(block).map_err(compression)?;
            let list_bytes = decoded.list_bytes;
            if let Some(Flaw::TooLarge) = decoded.flaw {
                return self.answer_too_large(id, is_end, now);
            }
            let Ok(request) = head::request(decoded) else {
                return self.refuse(id, Reason::PROTOCOL_ERROR, now);
            };
            let head = Head::Request(request);
            if generation == self.decoder.generation() {
                self.heads.keep(block, generation, &head, list_bytes);
            }
            (head, list_bytes)
        };
        let Head::Request(request) = head else {
            return Ok(None);
        };
        if depends_on_itself {
            return self.refuse(id, Reason::PROTOCOL_ERROR, now);
        }
        let promised = head::content_length(request.headers());
        if is_end && promised.is_some_and(|len| len > 0) {
            return self.refuse(id, Reason::PROTOCOL_ERROR, now);
        }
        let key = self.insert(id, true, is_end);
        self.header_bytes += list_bytes;
        if let Some(stream) = self.streams.find(key) {
            stream.header_bytes = list_bytes as u32;
            stream.promised = promised;
        }
        let event = Event::Request {
            key,
            request,
            is_end,
        };
        Ok(Some(event))
    }

    pub(super) fn insert(&mut self, id: u32, has_head: bool, is_end: bool) -> Key {
        self.streams.insert(Stream {
            id,
            user: T::default(),
            receiving: if is_end { Half::Ended } else { Half::Open },
            sending: Half::Open,
            has_head,
            is_released: false,
            is_waiting: false,
            receive_window: i64::from(self.settings.stream_window),
            taken: 0,
            send_window: i64::from(self.peer.stream_window),
            promised: None,
            header_bytes: 0,
            queue: Queue::default(),
            ending: Ending::Open,
        })
    }

    /// Ends a stream that was never begun.
    fn refuse(&mut self, id: u32, reason: Reason, now: Instant) -> Handled {
        self.count_reset(now)?;
        frame::put_reset(id, reason, &mut self.output.buf);
        self.streams.remember_reset(id);
        self.count_answer()?;
        Ok(None)
    }

    /// The client is told why in HTTP's words: what it sent was no fault of the protocol.
    fn answer_too_large(&mut self, id: u32, is_end: bool, now: Instant) -> Handled {
        self.count_reset(now)?;
        let key = self.insert(id, true, is_end);
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        self.send_response(key, status, &[], &http::HeaderMap::new(), true);
        self.release(key);
        self.count_answer()?;
        Ok(None)
    }

    fn on_response(&mut self, key: Key, is_end: bool, block: &[u8], now: Instant) -> Handled {
        let generation = self.decoder.generation();
        let known = match self.heads.find(block, generation) {
            Some((Head::Response(response), _)) => Some(response.clone()),
            _ => None,
        };
        let response = if let Some(response) = known {
            response
        } else {
            let decoded = self.decoder.decode(block).map_err(compression)?;
            let list_bytes = decoded.list_bytes;
            let Ok(response) = head::response(decoded) else {
                return self.fail_stream(key, Reason::PROTOCOL_ERROR, now);
            };
            if generation == self.decoder.generation() {
                let head = Head::Response(response.clone());
                self.heads.keep(block, generation, &head, list_bytes);
            }
            response
        };
        if response.status().is_informational() {
            if is_end {
                return self.fail_stream(key, Reason::PROTOCOL_ERROR, now);
            }
            return Ok(None);
        }
        if let Some(stream) = self.streams.find(key) {
            stream.has_head = true;
            stream.promised = head::content_length(response.headers());
        }
        if is_end {
            self.end_receiving(key);
        }
        let event = Event::Response {
            key,
            response,
            is_end,
        };
        Ok(Some(event))
    }

    fn on_trailers(&mut self, key: Key, is_end: bool, block: &[u8], now: Instant) -> Handled {
        let generation = self.decoder.generation();
        let known = self
            .trailers
            .find(block, generation)
            .map(|(t, _)| t.clone());
        let trailers = if let Some(trailers) = known {
            Ok(trailers)
        } else {
            let decoded = self.decoder.decode(block).map_err(compression)?;
            let list_bytes = decoded.list_bytes;
            let trailers = head::trailers(decoded);
            if let Ok(trailers) = &trailers
                && generation == self.decoder.generation()
            {
                self.trailers.keep(block, generation, trailers, list_bytes);
            }
            trailers
        };
        let Some(stream) = self.streams.find(key) else {
            return Ok(None);
        };
        if stream.receiving != Half::Open {
            return self.fail_stream(key, Reason::STREAM_CLOSED, now);
        }
        let is_short = stream.promised.is_some_and(|left| left > 0);
        match trailers {
            Ok(trailers) if is_end && !is_short => {
                self.end_receiving(key);
                Ok(Some(Event::Trailers { key, trailers }))
            }
            _ => self.fail_stream(key, Reason::PROTOCOL_ERROR, now),
        }
    }

    fn end_receiving(&mut self, key: Key) {
        if let Some(stream) = self.streams.find(key) {
            stream.receiving = Half::Ended;
            if stream.is_closed() {
                self.streams.close(key.id);
            }
        }
    }

    /// Resets a stream for a fault of the peer.
    fn fail_stream(&mut self, key: Key, reason: Reason, now: Instant) -> Handled {
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
    fn count_answer(&mut self) -> Result<(), ConnectionError> {
        self.answers += 1;
        if self.answers > MAX_ANSWERS {
            return Err(Reason::ENHANCE_YOUR_CALM.error("answers are not read"));
        }
        Ok(())
    }

    // --- control

    fn on_priority(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
        if header.stream == 0 {
            return Err(Reason::PROTOCOL_ERROR.error("PRIORITY on stream 0"));
        }
        let flaw = match <&[u8; 5]>::try_from(payload) {
            Err(_) => Some(Reason::FRAME_SIZE_ERROR),
            Ok(bytes) if dependency_of(bytes) == header.stream => Some(Reason::PROTOCOL_ERROR),
            Ok(_) => None,
        };
        let Some(reason) = flaw else {
            return Ok(None);
        };
        match self.streams.place(header.stream) {
            Place::Open(slot) => self.fail_stream(
                Key {
                    slot,
                    id: header.stream,
                },
                reason,
                now,
            ),
            // A stream that is not open cannot be reset alone.
            _ => Err(reason.error("PRIORITY is malformed")),
        }
    }

    fn on_reset(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
        let id = header.stream;
        let code = <[u8; 4]>::try_from(payload)
            .map_err(|_| Reason::FRAME_SIZE_ERROR.error("RST_STREAM has a wrong size"))?;
        if id == 0 || (self.streams.place(id) == Place::Absent && self.is_idle(id)) {
            return Err(Reason::PROTOCOL_ERROR.error("RST_STREAM for an idle stream"));
        }
        let Place::Open(slot) = self.streams.place(id) else {
            // From here on both ends know that it is over.
            self.streams.forget_reset(id);
            return Ok(None);
        };
        let key = Key { slot, id };
        let reason = Reason::from(u32::from_be_bytes(code));
        if self.role == Role::Server {
            self.count_reset(now)?;
        }
        let Some(stream) = self.streams.find(key) else {
            return Ok(None);
        };
        let is_over = stream.is_released;
        self.cut(key);
        self.streams.close(id);
        if is_over {
            self.remove(key);
            return Ok(None);
        }
        Ok(Some(Event::Reset {
            key,
            reason,
            by_peer: true,
        }))
    }

    fn on_settings(&mut self, header: FrameHeader, payload: &[u8]) -> Handled {
        if header.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR.error("SETTINGS on a stream"));
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Reason::FRAME_SIZE_ERROR.error("SETTINGS ACK has content"));
            }
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            return Ok(None);
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Reason::FRAME_SIZE_ERROR.error("SETTINGS have a wrong size"));
        }
        let before = self.peer.stream_window;
        if !self.has_settings {
            // What the first SETTINGS do not limit has no limit.
            self.peer.max_concurrent_streams = u32::MAX;
        }
        for &[n0, n1, v0, v1, v2, v3] in settings {
            let name = u16::from_be_bytes([n0, n1]);
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            self.peer.apply(self.role, name, value)?;
        }
        self.encoder
            .set_max_table_bytes(self.peer.header_table_bytes);
        self.has_settings = true;
        // Ahead of what the new windows let through.
        frame::put_settings_ack(&mut self.output.buf);
        self.count_answer()?;
        let change = i64::from(self.peer.stream_window) - i64::from(before);
        if change != 0 {
            self.change_send_windows(change)?;
        }
        Ok(Some(Event::Settings))
    }

    fn change_send_windows(&mut self, change: i64) -> Result<(), ConnectionError> {
        for (key, stream) in self.streams.iter_mut() {
            stream.send_window += change;
            if stream.send_window > i64::from(MAX_WINDOW) {
                return Err(Reason::FLOW_CONTROL_ERROR.error("a window grew too large"));
            }
            let wants = !stream.queue.is_empty() && stream.send_window > 0;
            if wants && !stream.is_waiting {
                stream.is_waiting = true;
                self.waiting.push_back(key.slot);
            }
        }
        self.pump();
        Ok(())
    }

    fn on_ping(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
        if header.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR.error("PING on a stream"));
        }
        let payload = <[u8; 8]>::try_from(payload)
            .map_err(|_| Reason::FRAME_SIZE_ERROR.error("PING has a wrong size"))?;
        if header.has(flag::ACK) {
            if payload == DRAIN_PING {
                self.finish_goaway();
                return Ok(None);
            }
            return Ok(Some(Event::Pong(payload)));
        }
        frame::put_ping(payload, true, &mut self.output.buf);
        self.count_answer()?;
        if self.role == Role::Server {
            let has_sent = std::mem::take(&mut self.has_sent);
            let has_streams = self.streams.len() > 0;
            self.strikes
                .on_ping(now, has_sent, has_streams)
                .map_err(|_| Reason::ENHANCE_YOUR_CALM.error("too_many_pings"))?;
        }
        Ok(None)
    }

    fn on_goaway(&mut self, header: FrameHeader, payload: &[u8]) -> Handled {
        if header.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR.error("GOAWAY on a stream"));
        }
        let (fixed, debug) = payload
            .split_first_chunk::<8>()
            .ok_or(Reason::FRAME_SIZE_ERROR.error("GOAWAY has a wrong size"))?;
        let &[l0, l1, l2, l3, c0, c1, c2, c3] = fixed;
        let last = u32::from_be_bytes([l0 & 0x7f, l1, l2, l3]);
        let reason = Reason::from(u32::from_be_bytes([c0, c1, c2, c3]));
        // The number may only fall.
        let last = self.peer_goaway.map_or(last, |before| before.min(last));
        self.peer_goaway = Some(last);
        let event = Event::Goaway {
            reason,
            debug: Bytes::copy_from_slice(debug),
        };
        if self.role == Role::Client {
            let refused: Vec<Key> = self
                .streams
                .iter_mut()
                .filter(|(key, stream)| key.id > last && !stream.is_closed())
                .map(|(key, _)| key)
                .collect();
            for key in refused {
                self.cut(key);
                self.streams.remember_reset(key.id);
                if self.streams.find_ref(key).is_some_and(|s| s.is_released) {
                    self.remove(key);
                } else {
                    self.pending.push_back(Event::Refused { key });
                }
            }
        }
        Ok(Some(event))
    }

    fn on_window_update(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
        let id = header.stream;
        let bytes = <[u8; 4]>::try_from(payload)
            .map_err(|_| Reason::FRAME_SIZE_ERROR.error("WINDOW_UPDATE has a wrong size"))?;
        let by = i64::from(u32::from_be_bytes(bytes) & MAX_WINDOW);
        if id == 0 {
            if by == 0 {
                return Err(Reason::PROTOCOL_ERROR.error("WINDOW_UPDATE by nothing"));
            }
            self.send_window += by;
            if self.send_window > i64::from(MAX_WINDOW) {
                return Err(Reason::FLOW_CONTROL_ERROR.error("the window grew too large"));
            }
            self.pump();
            return Ok(None);
        }
        let slot = match self.streams.place(id) {
            Place::Open(slot) => slot,
            Place::Absent if self.is_idle(id) => {
                return Err(Reason::PROTOCOL_ERROR.error("WINDOW_UPDATE for an idle stream"));
            }
            // Wrong whatever the window was.
            _ if by == 0 || by == i64::from(MAX_WINDOW) => {
                self.count_reset(now)?;
                let reason = if by == 0 {
                    Reason::PROTOCOL_ERROR
                } else {
                    Reason::FLOW_CONTROL_ERROR
                };
                frame::put_reset(id, reason, &mut self.output.buf);
                self.count_answer()?;
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let key = Key { slot, id };
        let Some(stream) = self.streams.find(key) else {
            return Ok(None);
        };
        if by == 0 {
            return self.fail_stream(key, Reason::PROTOCOL_ERROR, now);
        }
        stream.send_window += by;
        if stream.send_window > i64::from(MAX_WINDOW) {
            return self.fail_stream(key, Reason::FLOW_CONTROL_ERROR, now);
        }
        if !stream.queue.is_empty() && stream.send_window > 0 && !stream.is_waiting {
            stream.is_waiting = true;
            self.waiting.push_back(slot);
            self.pump();
        }
        Ok(None)
    }
}

const fn dependency_of(priority: &[u8; 5]) -> u32 {
    let &[a, b, c, d, _] = priority;
    u32::from_be_bytes([a & 0x7f, b, c, d])
}

fn compression(_: crate::hpack::CompressionError) -> ConnectionError {
    Reason::COMPRESSION_ERROR.error("header compression is out of step")
}
