//! DATA as it arrives, and the windows that let it.

use super::{
    Connection,
    receive::{Handled, TOO_MANY_FRAMES},
};
use crate::{
    Event, Key, Reason,
    frame::{self, FrameHeader, HEADER_LEN, flag, kind, setting},
    limits::TooMuch,
    settings::{MAX_WINDOW, MIN_FRAME},
    streams::{Half, Place},
};
use bytes::{Buf, Bytes, BytesMut};
use sampan_wire::copy;
use std::time::Instant;

/// A frame of DATA of which not all has come.
#[derive(Debug)]
pub(super) struct Arriving {
    /// None: nobody wants it.
    key: Option<Key>,
    left: usize,
    padding: usize,
    is_end: bool,
}

/// Payloads from this size on stay in the read buffer that they came in; smaller ones are copied,
/// so that a few bytes do not keep a large buffer.
const BY_REFERENCE: usize = 8 << 10;

/// Frames of data from this size on are passed on as they arrive; of smaller ones, all of it is
/// waited for.
const LARGE: usize = 32 << 10;

/// Bytes that must be there before a frame is looked at.
pub(super) const fn wanted(header: FrameHeader) -> usize {
    if header.kind == kind::DATA && header.len >= LARGE {
        // With the length of its padding.
        HEADER_LEN + 1
    } else if frame::is_unknown(header.kind) {
        HEADER_LEN
    } else {
        HEADER_LEN + header.len
    }
}

// === impl Connection ===

impl<T: Default> Connection<T> {
    /// A peer whose frames are full has much to send. Others are not told of larger frames: headers
    /// would come in them as well, and those are waited for as a whole.
    fn offer_larger_frames(&mut self, len: usize) {
        let most = self.settings.max_frame_bytes;
        if len == MIN_FRAME as usize && self.max_frame < most {
            self.max_frame = most;
            let setting = (setting::MAX_FRAME_SIZE, most);
            frame::put_settings(&[setting], &mut self.output.buf);
        }
    }

    pub(super) fn on_data(
        &mut self,
        header: FrameHeader,
        input: &mut BytesMut,
        now: Instant,
    ) -> Handled {
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
        self.offer_larger_frames(len);
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
        input.advance(HEADER_LEN + before);
        let mut arriving = Arriving {
            key: None,
            left: data_len,
            padding: after,
            is_end,
        };
        let slot = match self.streams.place(id) {
            Place::Open(slot) => slot,
            Place::ResetByUs => {
                self.arriving = Some(arriving);
                return Ok(None);
            }
            Place::Absent => {
                self.arriving = Some(arriving);
                return self.on_frame_of_closed(id, now);
            }
        };
        let key = Key { slot, id };
        let Some(stream) = self.streams.at(slot) else {
            self.arriving = Some(arriving);
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
            self.arriving = Some(arriving);
            return self.fail_stream(key, reason, now);
        }
        stream.receive_window -= len as i64;
        stream.taken += (before + after) as i64;
        if data_len == 0 {
            self.arriving = Some(arriving);
            if !is_end {
                return Ok(None);
            }
            self.end_receiving(key);
            let data = Bytes::new();
            return Ok(Some(Event::Data { key, data, is_end }));
        }
        arriving.key = Some(key);
        self.arriving = Some(arriving);
        Ok(self.take_data(input))
    }

    /// Takes the next `len` bytes, as they arrive, for nobody's.
    pub(super) const fn pass_over(&mut self, len: usize) {
        self.arriving = Some(Arriving {
            key: None,
            left: len,
            padding: 0,
            is_end: false,
        });
    }

    /// Takes what is there of the frame that arrives. None: it is for nobody, or more has to come.
    pub(super) fn take_data(&mut self, input: &mut BytesMut) -> Option<Event> {
        let arriving = self.arriving.as_mut()?;
        // It may have been reset meanwhile.
        let is_open = |key: &Key| {
            let stream = self.streams.find_ref(*key);
            stream.is_some_and(|stream| stream.receiving == Half::Open)
        };
        arriving.key = arriving.key.filter(is_open);
        let key = arriving.key;
        let len = arriving.left.min(input.len());
        let data = match key {
            None => {
                input.advance(len);
                Bytes::new()
            }
            Some(_) if len >= BY_REFERENCE => input.split_to(len).freeze(),
            Some(_) => {
                let data = copy::copied(&input[..len]);
                input.advance(len);
                data
            }
        };
        let skipped = if len == arriving.left {
            arriving.padding.min(input.len())
        } else {
            0
        };
        input.advance(skipped);
        arriving.padding -= skipped;
        let is_end = self.count_data(len);
        let key = key.filter(|_| !data.is_empty())?;
        Some(Event::Data { key, data, is_end })
    }

    /// How much comes next of a large frame of data, and on which stream: it may be read to where
    /// it belongs, past [`receive`](Self::receive), which must have taken all that was read
    /// before. [`arrived`](Self::arrived) is told of it.
    #[must_use]
    pub const fn arriving(&self) -> Option<(Key, usize)> {
        let Some(arriving) = &self.arriving else {
            return None;
        };
        match arriving.key {
            Some(key) => Some((key, arriving.left)),
            None => None,
        }
    }

    /// Notes that `len` bytes of data were read past [`receive`](Self::receive). Whether the
    /// stream's data has ended with them.
    ///
    /// # Panics
    /// When that is more than was [`arriving`](Self::arriving).
    pub fn arrived(&mut self, len: usize) -> bool {
        self.count_data(len)
    }

    /// Counts data that was taken of the frame that arrives. Whether the stream ends with it.
    fn count_data(&mut self, len: usize) -> bool {
        let Some(arriving) = &mut self.arriving else {
            assert_eq!(len, 0, "no data is arriving");
            return false;
        };
        assert!(len <= arriving.left, "more was taken than was arriving");
        arriving.left -= len;
        let (key, is_done) = (arriving.key, arriving.left == 0);
        let is_end = is_done && arriving.is_end;
        if is_done && arriving.padding == 0 {
            self.arriving = None;
        } else if is_done {
            // What is left are bytes without meaning.
            arriving.key = None;
        }
        if let Some(key) = key.filter(|_| is_end) {
            self.end_receiving(key);
        }
        is_end
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
        // What has begun to arrive was taken from the window already.
        let arriving = match &self.arriving {
            Some(arriving) if arriving.key == Some(key) => arriving.left,
            _ => 0,
        };
        let missing = len.saturating_sub(arriving) as i64 - stream.receive_window;
        if stream.receiving != Half::Open || missing <= 0 {
            return;
        }
        let by = missing.min(i64::from(MAX_WINDOW) - stream.receive_window);
        stream.receive_window += by;
        // What the reader takes of it is not given back twice.
        stream.taken -= by;
        frame::put_window_update(key.id, by as u32, &mut self.output.buf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, Settings, frame::PREFACE};
    use proptest::prelude::*;

    /// A client that sends one request of one large frame, `padding` bytes of it without meaning.
    fn sent(content: &[u8], padding: usize) -> Vec<u8> {
        let mut wire = PREFACE.to_vec();
        let mut put = |kind, flags, stream, payload: &[u8]| {
            wire.extend(FrameHeader::new(kind, flags, stream, payload.len()).bytes());
            wire.extend_from_slice(payload);
        };
        put(kind::SETTINGS, 0, 0, &[]);
        // POST http / with the authority "a", by the static table.
        let head = [0x83, 0x86, 0x84, 0x41, 1, b'a'];
        put(kind::HEADERS, flag::END_HEADERS, 1, &head);
        let mut payload = vec![padding as u8];
        payload.extend_from_slice(content);
        payload.resize(payload.len() + padding, 0);
        put(kind::DATA, flag::PADDED | flag::END_STREAM, 1, &payload);
        put(kind::PING, 0, 0, &[7; 8]);
        wire
    }

    fn server() -> Connection<()> {
        let settings = Settings {
            max_frame_bytes: 128 << 10,
            ..Settings::default()
        };
        let mut server = Connection::new(Role::Server, settings);
        server.offer_larger_frames(MIN_FRAME as usize);
        server
    }

    #[test]
    fn a_peer_that_fills_its_frames_may_send_larger_ones_and_no_other_may() {
        let large = sent(&[7; LARGE], 0);
        let refused = |server: &mut Connection<()>| {
            let mut input = BytesMut::from(&large[..]);
            loop {
                match server.receive(&mut input, Instant::now()) {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(error) => return Some(error.reason),
                }
            }
        };
        let settings = server().settings.clone();
        let mut strict = Connection::<()>::new(Role::Server, settings);
        assert_eq!(refused(&mut strict), Some(Reason::FRAME_SIZE_ERROR));
        assert_eq!(refused(&mut server()), None);
        // SETTINGS_MAX_FRAME_SIZE, 128 KiB.
        let told = [0, 5, 0, 2, 0, 0];
        let said = server().output().as_single().unwrap().to_vec();
        assert!(said.windows(6).any(|setting| setting == told));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_large_frame_is_the_same_however_it_is_cut_and_wherever_it_is_read_to(
            len in LARGE..3 * LARGE,
            padding in 0usize..256,
            cut in 1usize..20_000,
            is_read_past in any::<bool>(),
        ) {
            let content: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let wire = sent(&content, padding);
            let (mut wire, mut server) = (&wire[..], server());
            let (mut input, mut seen, mut ends) = (BytesMut::new(), Vec::new(), 0);
            while !wire.is_empty() {
                match server.arriving() {
                    Some((_, left)) if is_read_past && input.is_empty() => {
                        let (past, rest) = wire.split_at(cut.min(left));
                        seen.extend_from_slice(past);
                        ends += usize::from(server.arrived(past.len()));
                        wire = rest;
                        continue;
                    }
                    _ => {}
                }
                let (next, rest) = wire.split_at(cut.min(wire.len()));
                input.extend_from_slice(next);
                wire = rest;
                while let Some(event) = server.receive(&mut input, Instant::now()).unwrap() {
                    if let Event::Data { data, is_end, .. } = event {
                        seen.extend_from_slice(&data);
                        ends += usize::from(is_end);
                    }
                }
            }
            prop_assert_eq!(seen, content);
            prop_assert_eq!((ends, input.len(), server.arriving()), (1, 0, None));
        }
    }

    #[test]
    fn what_still_arrives_on_a_stream_that_was_reset_is_dropped() {
        let wire = sent(&[1; LARGE], 3);
        let (first, rest) = wire.split_at(1000);
        let mut server = server();
        let mut input = BytesMut::from(first);
        let mut count = 0;
        while let Some(event) = server.receive(&mut input, Instant::now()).unwrap() {
            count += 1;
            if let Event::Data { key, .. } = event {
                server.reset(key, Reason::CANCEL);
                server.release(key);
            }
        }
        assert_eq!(count, 3, "settings, request, data");
        input.extend_from_slice(rest);
        while let Some(event) = server.receive(&mut input, Instant::now()).unwrap() {
            assert!(!matches!(event, Event::Data { .. }), "nobody wants it");
        }
        assert_eq!((input.len(), server.open_streams()), (0, 0));
    }
}
