//! Header blocks as they arrive: requests, responses and trailers.

use super::{
    Assembly, Connection, Goaway,
    receive::{Handled, TOO_MANY_FRAMES},
};
use crate::{
    Event, Key, Reason, Role, Trailers, fit,
    frame::{self, FrameHeader, flag},
    head,
    hpack::{CompressionError, Flaw},
    limits::TooMuch,
    reason::ConnectionError,
    streams::{Half, Place, Stream},
};
use http::{HeaderMap, StatusCode};
use std::time::Instant;

/// Runs of ids that a client left out, as far as they are remembered.
const MAX_SKIPPED: usize = 32;

/// How many times the longest list a header block may be, before its connection ends.
const MAX_BLOCKS: usize = 4;

// === impl Connection ===

impl<T: Default> Connection<T> {
    pub(super) fn on_headers(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Handled {
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
        self.assembly = Some(Box::new(assembly));
        self.add_fragment(block)
    }

    pub(super) fn on_continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Handled {
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
        let limit = self.max_block_bytes();
        if let Some(assembly) = &mut self.assembly {
            if assembly.block.len() + fragment.len() > limit {
                return Err(Reason::ENHANCE_YOUR_CALM.error("a header block is too long"));
            }
            assembly.block.extend_from_slice(fragment);
        }
        Ok(None)
    }

    pub(super) const fn max_block_bytes(&self) -> usize {
        MAX_BLOCKS * self.settings.max_header_list_bytes as usize
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
            let mut skipped = self.skipped.iter().flat_map(|skipped| skipped.iter());
            if skipped.any(|&(from, to)| (from..=to).contains(&id)) {
                return Err(Reason::PROTOCOL_ERROR.error("streams were opened out of order"));
            }
            return Err(Reason::STREAM_CLOSED.error("HEADERS for a stream that has ended"));
        }
        if id > self.highest_peer_id + 2 {
            let skipped = self.skipped.get_or_insert_default();
            if skipped.len() == MAX_SKIPPED {
                skipped.pop_front();
            }
            skipped.push_back((self.highest_peer_id + 1, id - 1));
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
        let known = self.request_heads.find(block, generation);
        let (head, list_bytes) = if let Some((head, list_bytes)) = known {
            (head.clone(), list_bytes)
        } else {
            let decoded = self.decoder.decode(block).map_err(compression)?;
            let list_bytes = decoded.list_bytes;
            if let Some(Flaw::TooLarge) = decoded.flaw {
                let is_grpc = decoded.is_grpc_beyond || head::is_grpc(&decoded.fields);
                return self.answer_too_large(id, is_end, is_grpc.then_some(list_bytes), now);
            }
            let Ok(head) = head::request(decoded, &mut self.latest_authority) else {
                return self.refuse(id, Reason::PROTOCOL_ERROR, now);
            };
            if generation == self.decoder.generation() {
                self.request_heads
                    .keep(block, generation, &head, list_bytes);
            }
            (head, list_bytes)
        };
        if depends_on_itself {
            return self.refuse(id, Reason::PROTOCOL_ERROR, now);
        }
        let promised = head.content_length();
        if is_end && promised.is_some_and(|len| len > 0) {
            return self.refuse(id, Reason::PROTOCOL_ERROR, now);
        }
        self.header_bytes += list_bytes;
        let (key, stream) = self.insert(id, true, is_end);
        stream.header_bytes = list_bytes as u32;
        stream.promised = promised;
        Ok(Some(Event::Request { key, head, is_end }))
    }

    pub(super) fn insert(
        &mut self,
        id: u32,
        has_head: bool,
        is_end: bool,
    ) -> (Key, &mut Stream<T>) {
        let (key, stream) = self.streams.insert(id);
        if is_end {
            stream.receiving = Half::Ended;
        }
        stream.has_head = has_head;
        stream.receive_window = i64::from(self.settings.stream_window);
        stream.send_window = i64::from(self.peer.stream_window);
        (key, stream)
    }

    fn refuse(&mut self, id: u32, reason: Reason, now: Instant) -> Handled {
        self.count_reset(now)?;
        frame::put_reset(id, reason, &mut self.output.buf);
        self.streams.remember_reset(id);
        self.count_answer()?;
        Ok(None)
    }

    /// The client is told why in its own words, gRPC's for a list of `grpc_bytes`, else HTTP's: what
    /// it sent was no fault of the protocol.
    fn answer_too_large(
        &mut self,
        id: u32,
        is_end: bool,
        grpc_bytes: Option<usize>,
        now: Instant,
    ) -> Handled {
        self.count_reset(now)?;
        let (key, _) = self.insert(id, true, is_end);
        if let Some(bytes) = grpc_bytes {
            let end = fit::too_long("request", bytes, self.list_limit());
            self.send_response(key, StatusCode::OK, &[fit::GRPC_TYPE], &end, true);
        } else {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            self.send_response(key, status, &[], &HeaderMap::new(), true);
        }
        self.release(key);
        self.count_answer()?;
        Ok(None)
    }

    fn on_response(&mut self, key: Key, is_end: bool, block: &[u8], now: Instant) -> Handled {
        let generation = self.decoder.generation();
        let memos = self.call_memos.as_ref();
        let known = memos.and_then(|memos| memos.answer_heads.find(block, generation));
        let head = if let Some((head, _)) = known {
            head.clone()
        } else {
            let decoded = self.decoder.decode(block).map_err(compression)?;
            let list_bytes = decoded.list_bytes;
            if let Some(Flaw::TooLarge) = decoded.flaw {
                return self.on_long_response(key, is_end, list_bytes);
            }
            let Ok(head) = head::response(decoded) else {
                return self.fail_stream(key, Reason::PROTOCOL_ERROR, now);
            };
            if generation == self.decoder.generation() {
                let memos = self.call_memos.get_or_insert_default();
                memos
                    .answer_heads
                    .keep(block, generation, &head, list_bytes);
            }
            head
        };
        if head.status().is_informational() {
            // There is no switching of protocols (RFC 9113, 8.6).
            if is_end || head.status() == StatusCode::SWITCHING_PROTOCOLS {
                return self.fail_stream(key, Reason::PROTOCOL_ERROR, now);
            }
            return Ok(None);
        }
        if let Some(stream) = self.streams.find(key) {
            stream.has_head = true;
            // Of these it says what another answer would have had (RFC 9110, 8.6).
            let is_bare = stream.asks_for_head || head.status() == StatusCode::NOT_MODIFIED;
            stream.promised = head.content_length().filter(|_| !is_bare);
            if is_end && stream.promised.is_some_and(|len| len > 0) {
                return self.fail_stream(key, Reason::PROTOCOL_ERROR, now);
            }
        }
        if is_end {
            self.end_receiving(key);
        }
        Ok(Some(Event::Response { key, head, is_end }))
    }

    /// The call ends by a status of our own.
    fn on_long_response(&mut self, key: Key, is_end: bool, list_bytes: usize) -> Handled {
        if is_end {
            self.end_receiving(key);
        } else {
            self.count_answer()?;
            self.reset(key, Reason::CANCEL);
        }
        Ok(Some(Event::Response {
            key,
            head: head::response_too_long(list_bytes, self.list_limit()),
            is_end: true,
        }))
    }

    const fn list_limit(&self) -> u32 {
        self.settings.max_header_list_bytes
    }

    fn on_trailers(&mut self, key: Key, is_end: bool, block: &[u8], now: Instant) -> Handled {
        let generation = self.decoder.generation();
        let memos = self.call_memos.as_ref();
        let known = memos.and_then(|memos| memos.trailers.find(block, generation));
        let trailers = if let Some((trailers, _)) = known {
            Ok(trailers.clone())
        } else {
            let decoded = self.decoder.decode(block).map_err(compression)?;
            let list_bytes = decoded.list_bytes;
            let is_long = decoded.flaw == Some(Flaw::TooLarge) && self.role == Role::Client;
            let trailers = if is_long {
                let status = fit::too_long("answer", list_bytes, self.list_limit());
                Ok(Trailers::Fields(Box::new(status)))
            } else {
                head::trailers(decoded)
            };
            if let Ok(trailers) = &trailers
                && generation == self.decoder.generation()
            {
                let memos = self.call_memos.get_or_insert_default();
                memos.trailers.keep(block, generation, trailers, list_bytes);
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
}

pub(super) const fn dependency_of(priority: &[u8; 5]) -> u32 {
    let &[a, b, c, d, _] = priority;
    u32::from_be_bytes([a & 0x7f, b, c, d])
}

const fn compression(_: CompressionError) -> ConnectionError {
    Reason::COMPRESSION_ERROR.error("header compression is out of step")
}
