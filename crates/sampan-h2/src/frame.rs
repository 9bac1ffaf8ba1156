//! Frames as bytes. Source: RFC 9113, sections 4 and 6.

use crate::Reason;

/// What a client sends before its first frame.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a frame's header.
pub(crate) const HEADER_LEN: usize = 9;

/// The first nine bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) len: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Of another specification, or of none.
pub(crate) const fn is_unknown(kind: u8) -> bool {
    kind > kind::CONTINUATION
}

pub(crate) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Names of settings.
pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

// === impl FrameHeader ===

impl FrameHeader {
    pub(crate) const fn new(kind: u8, flags: u8, stream: u32, len: usize) -> Self {
        Self {
            len,
            kind,
            flags,
            stream,
        }
    }

    pub(crate) const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        Self {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The highest bit is reserved and ignored.
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        }
    }

    pub(crate) const fn bytes(self) -> [u8; HEADER_LEN] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    pub(crate) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

pub(crate) fn put_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    let header = FrameHeader::new(kind::SETTINGS, 0, 0, settings.len() * 6);
    out.extend_from_slice(&header.bytes());
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn put_settings_ack(out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHeader::new(kind::SETTINGS, flag::ACK, 0, 0).bytes());
}

pub(crate) fn put_ping(payload: [u8; 8], is_ack: bool, out: &mut Vec<u8>) {
    let flags = if is_ack { flag::ACK } else { 0 };
    out.extend_from_slice(&FrameHeader::new(kind::PING, flags, 0, 8).bytes());
    out.extend_from_slice(&payload);
}

pub(crate) fn put_goaway(last: u32, reason: Reason, debug: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHeader::new(kind::GOAWAY, 0, 0, 8 + debug.len()).bytes());
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&u32::from(reason).to_be_bytes());
    out.extend_from_slice(debug.as_bytes());
}

pub(crate) fn put_reset(stream: u32, reason: Reason, out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHeader::new(kind::RST_STREAM, 0, stream, 4).bytes());
    out.extend_from_slice(&u32::from(reason).to_be_bytes());
}

pub(crate) fn put_window_update(stream: u32, by: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHeader::new(kind::WINDOW_UPDATE, 0, stream, 4).bytes());
    out.extend_from_slice(&by.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_header_reads_back_as_written_and_ignores_the_reserved_bit() {
        let header = FrameHeader::new(kind::DATA, flag::END_STREAM, 0x7fff_ffff, 0xff_ffff);
        assert_eq!(FrameHeader::parse(&header.bytes()), header);
        let mut reserved = header.bytes();
        reserved[5] |= 0x80;
        assert_eq!(FrameHeader::parse(&reserved), header);
    }
}
