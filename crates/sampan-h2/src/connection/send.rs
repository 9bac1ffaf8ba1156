//! Frames on their way out.

use super::{Connection, HIGH_WATER};
use crate::{
    Key, Reason, Role,
    fit::{list_bytes, shorten},
    frame::{self, FrameHeader, HEADER_LEN, flag, kind},
    hpack::{Encoder, FIELD_OVERHEAD_BYTES, Indexing},
    streams::{Ending, Half},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// The head of a request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct RequestFields<'a> {
    /// `:method`.
    pub method: &'a Method,
    /// `:scheme`.
    pub scheme: &'a str,
    /// `:authority`.
    pub authority: &'a HeaderValue,
    /// `:path`.
    pub path: &'a str,
    /// What stands before the headers.
    pub fixed: &'a [(HeaderName, HeaderValue)],
    /// The headers. What HTTP/2 has no place for is left out: fields of the connection, white space
    /// around values.
    pub headers: &'a HeaderMap,
    /// What changes with every request, and is not indexed: name and value.
    pub last: &'a [(&'static str, &'a [u8])],
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// As many are open as the server allows.
    Full,
    /// One of the two ends is leaving, or there are no ids left.
    Closing,
}

/// What became of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the output.
    Whole,
    /// Some of it waits for a window or for the socket;
    /// [`take_drained`](Connection::take_drained) tells when none does any more.
    Waits,
    /// The stream takes none: it was reset.
    Gone,
}

/// Between streams that all have much to send, each sends so much at a turn.
const TURN: usize = 16 << 10;

/// A stream that has the connection for itself sends frames up to this size.
const LARGE_FRAME: usize = 128 << 10;

const OK_TRAILER: (&str, &[u8]) = ("grpc-status", b"0");

/// Data that is the stream's, or only looked at: what is short is copied either way.
enum Given<'a> {
    Own(Bytes),
    Ref(&'a Bytes),
}

// === impl Given ===

impl Given<'_> {
    const fn bytes(&self) -> &Bytes {
        match self {
            Self::Own(bytes) => bytes,
            Self::Ref(bytes) => bytes,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Own(bytes) => bytes,
            Self::Ref(bytes) => bytes.clone(),
        }
    }
}

// === impl Connection ===

impl<T: Default> Connection<T> {
    /// Opens a stream and sends its head; `is_end`: with nothing after it. `set_up` gets what the
    /// driver keeps with the stream. Of a client.
    ///
    /// # Errors
    /// When there is no room for one.
    pub fn open(
        &mut self,
        fields: &RequestFields<'_>,
        is_end: bool,
        set_up: impl FnOnce(&mut T),
    ) -> Result<Key, NotOpened> {
        if self.is_closing() {
            return Err(NotOpened::Closing);
        }
        if !self.has_room() {
            return Err(NotOpened::Full);
        }
        let id = self.next_id;
        self.next_id += 2;
        let (key, stream) = self.insert(id, false, false);
        stream.asks_for_head = *fields.method == Method::HEAD;
        set_up(&mut stream.user);
        let at = self.begin_headers();
        let memos = self.call_memos.as_ref();
        let generation = self.encoder.generation();
        let known = memos.and_then(|memos| memos.requests.find(fields, generation));
        if let Some(block) = known {
            self.output.buf.extend_from_slice(block);
        } else {
            self.encode_request(fields);
        }
        for (name, value) in fields.last {
            let out = &mut self.output.buf;
            self.encoder
                .field(name.as_bytes(), value, Indexing::Without, out);
        }
        self.finish_headers(at, id, is_end);
        if is_end {
            self.end_sending(key);
        }
        Ok(key)
    }

    fn encode_request(&mut self, fields: &RequestFields<'_>) {
        let generation = self.encoder.generation();
        let out = &mut self.output.buf;
        let from = out.len();
        let encoder = &mut self.encoder;
        encoder.begin(out);
        let mut put = |name: &[u8], value: &[u8]| {
            encoder.field(name, value, Indexing::Incremental, out);
        };
        put(b":method", fields.method.as_str().as_bytes());
        put(b":scheme", fields.scheme.as_bytes());
        put(b":path", fields.path.as_bytes());
        put(b":authority", fields.authority.as_bytes());
        for (name, value) in fields.fixed {
            put(name.as_str().as_bytes(), value.as_bytes().trim_ascii());
        }
        encode_map(encoder, fields.headers, out);
        if generation == self.encoder.generation() {
            let memos = self.call_memos.get_or_insert_default();
            memos
                .requests
                .keep(fields, generation, &self.output.buf[from..]);
        }
    }

    /// Sends the head of a response; `is_end`: with nothing after it, as trailers alone. Of a
    /// server.
    pub fn send_response(
        &mut self,
        key: Key,
        status: StatusCode,
        fixed: &[(HeaderName, HeaderValue)],
        headers: &HeaderMap,
        is_end: bool,
    ) {
        if !self.may_send(key) {
            return;
        }
        let shortened = is_end.then(|| self.shortened(fixed, headers)).flatten();
        let headers = shortened.as_ref().unwrap_or(headers);
        let at = self.begin_headers();
        let generation = self.encoder.generation();
        if let Some(block) = self.responses.find(status, fixed, headers, generation) {
            self.output.buf.extend_from_slice(block);
        } else {
            let out = &mut self.output.buf;
            let from = out.len();
            self.encoder.begin(out);
            let code = status.as_str().as_bytes();
            self.encoder
                .field(b":status", code, Indexing::Incremental, out);
            for (name, value) in fixed {
                let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
                self.encoder.field(name, value, Indexing::Incremental, out);
            }
            encode_map(&mut self.encoder, headers, out);
            if generation == self.encoder.generation() {
                let block = &self.output.buf[from..];
                self.responses
                    .keep(status, fixed, headers, generation, block);
            }
        }
        self.finish_headers(at, key.id, is_end);
        if is_end {
            self.end_sending(key);
        }
    }

    /// A response without a body, if it is longer than the peer takes it.
    fn shortened(
        &self,
        fixed: &[(HeaderName, HeaderValue)],
        headers: &HeaderMap,
    ) -> Option<HeaderMap> {
        let status = ":status".len() + 3 + FIELD_OVERHEAD_BYTES;
        let before = status + list_bytes(fixed.iter().map(|(name, value)| (name, value)));
        let most = self.peer.max_header_list_bytes.saturating_sub(before);
        (list_bytes(headers) > most).then(|| {
            let mut headers = headers.clone();
            shorten(&mut headers, most);
            headers
        })
    }

    /// Sends data, or keeps it until a window opens; `is_end`: the last.
    pub fn send_data(&mut self, key: Key, data: Bytes, is_end: bool) -> Sent {
        let ending = if is_end {
            Ending::WithData
        } else {
            Ending::Open
        };
        self.send_last(key, Given::Own(data), ending)
    }

    /// All of a request: data, and with it the end of the stream.
    pub fn send_whole(&mut self, key: Key, data: &Bytes) -> Sent {
        self.send_last(key, Given::Ref(data), Ending::WithData)
    }

    /// Sends the last data of a gRPC response and `grpc-status: 0`.
    pub fn send_ok(&mut self, key: Key, data: Bytes) -> Sent {
        self.send_last(key, Given::Own(data), Ending::Trailers(None))
    }

    /// Sends trailers once all data has left.
    pub fn send_trailers(&mut self, key: Key, trailers: HeaderMap) -> Sent {
        let trailers = Ending::Trailers(Some(Box::new(trailers)));
        self.send_last(key, Given::Own(Bytes::new()), trailers)
    }

    fn send_last(&mut self, key: Key, data: Given<'_>, ending: Ending) -> Sent {
        let len = data.bytes().len();
        let may_overtake = self.output.len() < HIGH_WATER && self.waiting.is_empty();
        let frame_bytes = self.peer.max_frame_bytes.min(LARGE_FRAME);
        let connection_window = self.send_window;
        let Some(stream) = self.streams.find(key) else {
            return Sent::Gone;
        };
        if stream.sending != Half::Open || !matches!(stream.ending, Ending::Open) {
            return Sent::Gone;
        }
        let fits = len <= frame_bytes && len as i64 <= stream.send_window.min(connection_window);
        // What needs no window waits for nobody's.
        let is_plain = stream.queue.is_empty() && (len == 0 || (may_overtake && fits));
        if is_plain {
            stream.send_window -= len as i64;
            self.send_window -= len as i64;
            self.has_sent = true;
            self.idle_frames.on_progress();
            if len > 0 || matches!(ending, Ending::WithData) {
                let flags = end_flag(matches!(ending, Ending::WithData));
                let header = FrameHeader::new(kind::DATA, flags, key.id, len);
                self.output.buf.extend_from_slice(&header.bytes());
                if !self.output.copy_payload(data.bytes()) {
                    self.output.put_payload(data.into_bytes());
                }
            }
            self.send_ending(key, ending);
            return Sent::Whole;
        }
        self.queued += len;
        self.shut -= stream.shut_bytes();
        stream.queue.push(data.into_bytes());
        stream.ending = ending;
        if !stream.is_waiting {
            stream.is_waiting = true;
            self.waiting.push_back(key.slot);
        }
        self.pump();
        match self.streams.find_ref(key) {
            Some(stream) if !stream.queue.is_empty() => Sent::Waits,
            _ => {
                // Nobody waits for what has left by now.
                self.drained.retain(|drained| *drained != key);
                Sent::Whole
            }
        }
    }

    /// Sends what follows the last data.
    fn send_ending(&mut self, key: Key, ending: Ending) {
        match ending {
            Ending::Open => return,
            Ending::WithData => {}
            Ending::Trailers(trailers) => {
                let at = self.begin_headers();
                match trailers {
                    None => self.encode_ok(),
                    Some(mut trailers) => {
                        shorten(&mut trailers, self.peer.max_header_list_bytes);
                        let out = &mut self.output.buf;
                        self.encoder.begin(out);
                        encode_map(&mut self.encoder, &trailers, out);
                    }
                }
                self.finish_headers(at, key.id, true);
            }
        }
        self.end_sending(key);
    }

    fn encode_ok(&mut self) {
        let out = &mut self.output.buf;
        let generation = self.encoder.generation();
        match &self.ok_trailer {
            Some((known, block)) if *known == generation => out.extend_from_slice(block),
            _ => {
                let from = out.len();
                self.encoder.begin(out);
                let (name, value) = OK_TRAILER;
                let name = name.as_bytes();
                self.encoder.field(name, value, Indexing::Incremental, out);
                if generation == self.encoder.generation() {
                    self.ok_trailer = Some((generation, out[from..].into()));
                }
            }
        }
    }

    /// Bytes of a stream that wait for a window or the socket.
    #[must_use]
    pub fn queued(&self, key: Key) -> usize {
        self.streams
            .find_ref(key)
            .map_or(0, |stream| stream.queue.len())
    }

    /// Bytes of a stream that wait for the peer to open its own window.
    #[must_use]
    pub fn shut(&self, key: Key) -> usize {
        self.streams
            .find_ref(key)
            .map_or(0, |stream| stream.shut_bytes())
    }

    /// Bytes that the peer takes of a stream now.
    #[must_use]
    pub fn room(&self, key: Key) -> usize {
        let stream = self.streams.find_ref(key);
        let window = stream.map_or(0, |stream| stream.send_window.min(self.send_window));
        usize::try_from(window).unwrap_or(0)
    }

    /// Whether the peer still wants what is sent on a stream.
    #[must_use]
    pub fn may_send(&self, key: Key) -> bool {
        self.streams
            .find_ref(key)
            .is_some_and(|stream| stream.sending == Half::Open)
    }

    /// Lets streams that wait put their data into the output, in turns, while there is room.
    /// Called by itself whenever a window opens; call it when the output was taken.
    pub fn pump(&mut self) {
        while self.output.len() < HIGH_WATER && self.send_window > 0 {
            let Some(slot) = self.waiting.pop_front() else {
                return;
            };
            let is_alone = self.waiting.is_empty();
            let Some(stream) = self.streams.at(slot) else {
                continue;
            };
            stream.is_waiting = false;
            let key = Key {
                slot,
                id: stream.id,
            };
            let turn = if is_alone { LARGE_FRAME } else { TURN };
            let most = turn.min(self.peer.max_frame_bytes) as i64;
            let most = most.min(stream.send_window).min(self.send_window);
            if !stream.queue.is_empty() {
                if most <= 0 {
                    // The stream's own window is shut; its update brings it back.
                    self.shut += stream.queue.len();
                    continue;
                }
                let data = stream.queue.take(most as usize);
                self.queued -= data.len();
                self.unqueued += data.len() as u64;
                stream.send_window -= data.len() as i64;
                self.send_window -= data.len() as i64;
                self.has_sent = true;
                self.idle_frames.on_progress();
                let is_drained = stream.queue.is_empty();
                let is_last = is_drained && matches!(stream.ending, Ending::WithData);
                let header = FrameHeader::new(kind::DATA, end_flag(is_last), key.id, data.len());
                self.output.buf.extend_from_slice(&header.bytes());
                self.output.put_payload(data);
                if !is_drained {
                    stream.is_waiting = true;
                    self.waiting.push_back(slot);
                    continue;
                }
            } else if matches!(stream.ending, Ending::WithData) {
                let header = FrameHeader::new(kind::DATA, flag::END_STREAM, key.id, 0);
                self.output.buf.extend_from_slice(&header.bytes());
            }
            let ending = std::mem::take(&mut stream.ending);
            if !stream.is_released && matches!(ending, Ending::Open) {
                self.drained.push(key);
            }
            self.send_ending(key, ending);
        }
    }

    /// Cuts a stream in both directions, drops what it still had to send, and forgets it once it
    /// is released.
    pub fn reset(&mut self, key: Key, reason: Reason) {
        let Some(stream) = self.streams.find(key) else {
            return;
        };
        if stream.is_closed() {
            return;
        }
        self.cut(key);
        frame::put_reset(key.id, reason, &mut self.output.buf);
        self.streams.remember_reset(key.id);
    }

    /// Lets go of a stream. What was sent on it still leaves. A half of it that is open is cut: a
    /// server that has answered wants no more of the request, and a client that has its response
    /// has no more to say.
    pub fn release(&mut self, key: Key) {
        let role = self.role;
        let Some(stream) = self.streams.find(key) else {
            return;
        };
        let still_sends = stream.sending == Half::Open && !matches!(stream.ending, Ending::Open);
        // A server has more to say only after it was asked; a client has nobody to say it to.
        if still_sends && role == Role::Server {
            stream.is_released = true;
            return;
        }
        if !stream.is_closed() {
            let has_answered = role == Role::Server && stream.sending == Half::Ended;
            let reason = if has_answered {
                Reason::NO_ERROR
            } else {
                Reason::CANCEL
            };
            self.reset(key, reason);
        }
        self.remove(key);
    }

    pub(super) fn remove(&mut self, key: Key) {
        let Some(stream) = self.streams.find(key) else {
            return;
        };
        self.header_bytes -= stream.header_bytes as usize;
        self.queued -= stream.queue.len();
        if stream.is_waiting {
            self.waiting.retain(|slot| *slot != key.slot);
        } else {
            self.shut -= stream.queue.len();
        }
        self.streams.remove(key);
    }

    fn end_sending(&mut self, key: Key) {
        let Some(stream) = self.streams.find(key) else {
            return;
        };
        stream.sending = Half::Ended;
        let is_released = stream.is_released;
        if stream.is_closed() {
            self.streams.close(key.id);
        }
        if is_released {
            self.release(key);
        }
    }

    fn begin_headers(&mut self) -> usize {
        let at = self.output.buf.len();
        self.output.buf.extend_from_slice(&[0; HEADER_LEN]);
        at
    }

    /// Fills in the header of the frame that begins `at`, in as many frames as it takes.
    fn finish_headers(&mut self, at: usize, id: u32, is_end: bool) {
        self.has_sent = true;
        self.idle_frames.on_progress();
        let out = &mut self.output.buf;
        let len = out.len() - at - HEADER_LEN;
        let most = self.peer.max_frame_bytes;
        let end = end_flag(is_end);
        if len <= most {
            let header = FrameHeader::new(kind::HEADERS, end | flag::END_HEADERS, id, len);
            out[at..at + HEADER_LEN].copy_from_slice(&header.bytes());
            return;
        }
        let block = out.split_off(at + HEADER_LEN);
        out.truncate(at);
        let mut chunks = block.chunks(most).peekable();
        let mut first = true;
        while let Some(chunk) = chunks.next() {
            let (kind, mut flags) = if std::mem::take(&mut first) {
                (kind::HEADERS, end)
            } else {
                (kind::CONTINUATION, 0)
            };
            if chunks.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            out.extend_from_slice(&FrameHeader::new(kind, flags, id, chunk.len()).bytes());
            out.extend_from_slice(chunk);
        }
    }
}

const fn end_flag(is_end: bool) -> u8 {
    if is_end { flag::END_STREAM } else { 0 }
}

/// Fields that HTTP/2 has no place for. Source: RFC 9113, 8.2.2.
fn is_of_connection(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

fn encode_map(encoder: &mut Encoder, headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        if is_of_connection(name) {
            continue;
        }
        let indexing = if value.is_sensitive() {
            Indexing::Never
        } else {
            Indexing::of(name)
        };
        // RFC 9113, 8.2.1: a peer may take white space around it for a fault.
        let value = value.as_bytes().trim_ascii();
        encoder.field(name.as_str().as_bytes(), value, indexing, out);
    }
}
