//! Length-prefixed messages: a flag byte, four bytes of length, the message.
//!
//! What the flags mean is up to the protocol: gRPC knows 1 (compressed), gRPC-Web 0x80
//! (trailers), Connect 2 (end of stream). They are passed on as they are.
//!
//! Source: gRPC over HTTP/2, "Length-Prefixed-Message".

mod length_check;

pub use length_check::LengthCheck;

use crate::copy;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes before each message.
pub const PREFIX_LEN: usize = 5;

/// The bytes to send before a message of `len` bytes.
#[must_use]
pub const fn encode_prefix(compressed: bool, len: u32) -> [u8; PREFIX_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [compressed as u8, a, b, c, d]
}

/// One message as it lay on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first byte of the prefix.
    pub flags: u8,
    /// The message, possibly compressed.
    pub payload: Bytes,
}

/// Why no further frame can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The next message is larger than allowed. RESOURCE_EXHAUSTED.
    #[error("message of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// What its prefix says.
        len: usize,
        /// The most that is taken.
        limit: usize,
    },
}

/// Finds messages in chunks of bytes, however these were cut.
///
/// Push a chunk, then take frames until there is none. A message that lies in one chunk is
/// handed out without a copy. Memory held: what was pushed and not taken, at most four times
/// over while a message is put together; never what a prefix merely promises.
#[derive(Debug)]
pub struct FrameDecoder {
    max_len: usize,
    chunks: VecDeque<Bytes>,
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// The beginning of a message that spans chunks.
    partial: BytesMut,
}

// === impl FrameDecoder ===

impl FrameDecoder {
    /// Takes messages of up to `max_len` bytes.
    #[must_use]
    pub fn new(max_len: usize) -> Self {
        Self {
            max_len,
            chunks: VecDeque::new(),
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            partial: BytesMut::new(),
        }
    }

    /// Appends bytes that arrived.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// Takes the next whole message, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] as soon as a prefix says so, and again on every later call:
    /// what follows such a prefix cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "None is not the end: more may be pushed"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if !self.read_prefix() {
            return Ok(None);
        }
        let [flags, length @ ..] = self.prefix;
        // A length that no usize holds is over any limit.
        let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if len > self.max_len {
            return Err(FrameError::TooLarge {
                len,
                limit: self.max_len,
            });
        }
        Ok(self.read_payload(len).map(|payload| {
            self.prefix_len = 0;
            Frame { flags, payload }
        }))
    }

    /// Whether the bytes so far end where a message ends: a stream may end here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefix_len == 0 && self.chunks.is_empty()
    }

    fn read_prefix(&mut self) -> bool {
        while self.prefix_len < PREFIX_LEN {
            let Some(chunk) = self.chunks.front_mut() else {
                return false;
            };
            let taken = chunk.len().min(PREFIX_LEN - self.prefix_len);
            chunk.copy_to_slice(&mut self.prefix[self.prefix_len..self.prefix_len + taken]);
            self.prefix_len += taken;
            self.drop_spent_chunk();
        }
        true
    }

    fn read_payload(&mut self, len: usize) -> Option<Bytes> {
        if len == 0 {
            return Some(Bytes::new());
        }
        while let Some(chunk) = self.chunks.front_mut() {
            let missing = len - self.partial.len();
            if self.partial.is_empty() && chunk.len() >= len {
                let payload = chunk.split_to(len);
                self.drop_spent_chunk();
                return Some(payload);
            }
            let taken = chunk.len().min(missing);
            if self.partial.capacity() - self.partial.len() < taken {
                // Few copies while growing, and never room for bytes that are only promised.
                let room = self.partial.len().saturating_add(taken).saturating_mul(3);
                self.partial.reserve(missing.min(room).max(taken));
            }
            copy::append(&mut self.partial, &chunk[..taken]);
            chunk.advance(taken);
            self.drop_spent_chunk();
            if taken == missing {
                return Some(std::mem::take(&mut self.partial).freeze());
            }
        }
        None
    }

    fn drop_spent_chunk(&mut self) {
        if self.chunks.front().is_some_and(Bytes::is_empty) {
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 64;

    fn wire(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (flags, payload) in frames {
            let mut prefix = encode_prefix(false, u32::try_from(payload.len()).unwrap());
            prefix[0] = *flags;
            bytes.extend_from_slice(&prefix);
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    fn drain(decoder: &mut FrameDecoder) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next().unwrap() {
            frames.push((frame.flags, frame.payload.to_vec()));
        }
        frames
    }

    #[test]
    fn the_prefix_is_a_flag_and_a_big_endian_length() {
        assert_eq!(encode_prefix(true, 0x0102_0304), [1, 1, 2, 3, 4]);
        assert_eq!(encode_prefix(false, 0), [0; 5]);
    }

    #[test]
    fn a_message_in_one_chunk_is_not_copied() {
        let chunk = Bytes::from(wire(&[(0, vec![7; 10])]));
        let mut decoder = FrameDecoder::new(LIMIT);
        decoder.push(chunk.clone());
        let frame = decoder.next().unwrap().unwrap();
        assert_eq!(frame.payload.as_ptr(), chunk[PREFIX_LEN..].as_ptr());
        assert!(decoder.is_empty());
    }

    #[test]
    fn a_large_message_is_refused_at_its_prefix_and_ever_after() {
        let mut decoder = FrameDecoder::new(LIMIT);
        decoder.push(Bytes::from_static(&[0, 0, 0, 0]));
        assert_eq!(decoder.next(), Ok(None));
        decoder.push(Bytes::from_static(&[65]));
        let refused = Err(FrameError::TooLarge {
            len: 65,
            limit: LIMIT,
        });
        assert_eq!(decoder.next(), refused);
        decoder.push(Bytes::from_static(&[0; 70]));
        assert_eq!(decoder.next(), refused);
    }

    #[test]
    fn a_message_of_exactly_the_limit_passes() {
        let mut decoder = FrameDecoder::new(LIMIT);
        decoder.push(Bytes::from(wire(&[(0, vec![1; LIMIT])])));
        assert_eq!(drain(&mut decoder), [(0, vec![1; LIMIT])]);
    }

    #[test]
    fn a_promised_length_reserves_nothing() {
        let mut decoder = FrameDecoder::new(usize::MAX);
        decoder.push(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]));
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.partial.capacity() < 64);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(
            frames in proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..LIMIT)),
                0..6,
            ),
            sizes in proptest::collection::vec(0..40_usize, 1..20),
            drain_each in any::<bool>(),
        ) {
            let mut rest = Bytes::from(wire(&frames));
            let mut decoder = FrameDecoder::new(LIMIT);
            let mut found = Vec::new();
            for size in sizes.iter().cycle().take(400) {
                decoder.push(rest.split_to((*size).min(rest.len())));
                if drain_each {
                    found.extend(drain(&mut decoder));
                }
            }
            decoder.push(rest);
            found.extend(drain(&mut decoder));
            prop_assert_eq!(found, frames);
            prop_assert!(decoder.is_empty());
        }

        #[test]
        fn a_cut_stream_is_not_empty(len in 0..LIMIT, kept in 1..(LIMIT + PREFIX_LEN)) {
            let bytes = wire(&[(0, vec![0; len])]);
            prop_assume!(kept < bytes.len());
            let mut decoder = FrameDecoder::new(LIMIT);
            decoder.push(Bytes::copy_from_slice(&bytes[..kept]));
            prop_assert_eq!(decoder.next(), Ok(None));
            prop_assert!(!decoder.is_empty());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_hand_out_more_than_came(
            chunks in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..20),
                0..20,
            ),
        ) {
            let pushed: usize = chunks.iter().map(Vec::len).sum();
            let mut taken = 0;
            let mut decoder = FrameDecoder::new(LIMIT);
            for chunk in chunks {
                decoder.push(Bytes::from(chunk));
                while let Ok(Some(frame)) = decoder.next() {
                    taken += PREFIX_LEN + frame.payload.len();
                }
            }
            prop_assert!(taken <= pushed);
        }
    }
}
