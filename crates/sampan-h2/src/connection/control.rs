//! Frames about streams and the connection, without content of their own.

use super::{Connection, DRAIN_PING, headers::dependency_of, receive::Handled};
use crate::{
    Event, Key, Reason, Role,
    frame::{self, FrameHeader, flag},
    reason::ConnectionError,
    settings::MAX_WINDOW,
    streams::Place,
};
use bytes::Bytes;
use std::time::Instant;

// === impl Connection ===

impl<T: Default> Connection<T> {
    pub(super) fn on_priority(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Handled {
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

    pub(super) fn on_reset(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Handled {
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

    pub(super) fn on_settings(&mut self, header: FrameHeader, payload: &[u8]) -> Handled {
        if header.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR.error("SETTINGS on a stream"));
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Reason::FRAME_SIZE_ERROR.error("SETTINGS ACK has content"));
            }
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
                self.shut -= stream.shut_bytes();
                stream.is_waiting = true;
                self.waiting.push_back(key.slot);
            }
        }
        self.pump();
        Ok(())
    }

    pub(super) fn on_ping(&mut self, header: FrameHeader, payload: &[u8], now: Instant) -> Handled {
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

    pub(super) fn on_goaway(&mut self, header: FrameHeader, payload: &[u8]) -> Handled {
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

    pub(super) fn on_window_update(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        now: Instant,
    ) -> Handled {
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
            self.shut -= stream.shut_bytes();
            stream.is_waiting = true;
            self.waiting.push_back(slot);
            self.pump();
        }
        Ok(None)
    }
}
