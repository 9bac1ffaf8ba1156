//! Bytes on their way to the socket.

use crate::connection::HIGH_WATER;
use bytes::Bytes;
use sampan_wire::copy;
use std::io::IoSlice;

/// Frames in the order in which they leave.
///
/// Small things lie in one buffer; large payloads stay where they are and are named by the place
/// in that buffer before which they go, so that they are written from where they lie.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) buf: Vec<u8>,
    inserts: Vec<(usize, Bytes)>,
    inserted: usize,
    /// What has been written of it.
    written: usize,
}

/// From this size on a payload is not copied into the buffer.
const BY_REFERENCE: usize = 8 << 10;

/// What the buffer holds when streams have filled it to the high water and a little over. It grows
/// to this at once, instead of twice as far step by step.
const FULL: usize = HIGH_WATER + 2 * BY_REFERENCE;

// === impl Output ===

impl Output {
    /// Bytes that are still to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buf.len() + self.inserted - self.written
    }

    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The single piece that is to be written, when it is one.
    #[must_use]
    pub fn as_single(&self) -> Option<&[u8]> {
        self.inserts
            .is_empty()
            .then(|| &self.buf[self.written.min(self.buf.len())..])
    }

    /// The first pieces of what is to be written, for one vectored write.
    pub fn pieces<'a>(&'a self, pieces: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut count = 0;
        let mut put = |bytes: &'a [u8]| {
            if skip >= bytes.len() {
                skip -= bytes.len();
                return true;
            }
            let Some(piece) = pieces.get_mut(count) else {
                return false;
            };
            *piece = IoSlice::new(&bytes[skip..]);
            skip = 0;
            count += 1;
            true
        };
        let mut from = 0;
        for (at, bytes) in &self.inserts {
            if !put(&self.buf[from..*at]) || !put(bytes) {
                return count;
            }
            from = *at;
        }
        put(&self.buf[from..]);
        count
    }

    /// Notes that the first `len` bytes of what was to be written are written.
    ///
    /// # Panics
    /// When `len` is more than there was.
    pub fn advance(&mut self, len: usize) {
        assert!(len <= self.len(), "more was written than there was");
        self.written += len;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets everything, and keeps a buffer of ordinary size.
    pub fn clear(&mut self) {
        self.buf.clear();
        if self.buf.capacity() > FULL {
            self.buf = Vec::new();
        }
        self.inserts.clear();
        self.inserted = 0;
        self.written = 0;
    }

    /// Exchanges its buffer, if nothing is in it, for another that is empty.
    pub fn exchange(&mut self, buf: &mut Vec<u8>) {
        if self.is_empty() {
            std::mem::swap(&mut self.buf, buf);
        }
    }

    /// Gives the buffer back.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(crate) fn put_payload(&mut self, payload: Bytes) {
        if !self.copy_payload(&payload) {
            self.inserted += payload.len();
            self.inserts.push((self.buf.len(), payload));
        }
    }

    /// Whether it was short enough to be copied.
    pub(crate) fn copy_payload(&mut self, payload: &[u8]) -> bool {
        let is_short = payload.len() < BY_REFERENCE;
        if is_short {
            let len = self.buf.len() + payload.len();
            if (HIGH_WATER / 4..FULL).contains(&len) && len > self.buf.capacity() {
                self.buf.reserve_exact(FULL - self.buf.len());
            }
            copy::append(&mut self.buf, payload);
        }
        is_short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_whatever_was_written_before() {
        let mut whole = Output::default();
        whole.buf.extend_from_slice(b"head");
        whole.put_payload(Bytes::from(vec![1; BY_REFERENCE]));
        whole.buf.extend_from_slice(b"middle");
        whole.put_payload(Bytes::from(vec![2; BY_REFERENCE]));
        let mut expected = b"head".to_vec();
        expected.extend(vec![1; BY_REFERENCE]);
        expected.extend(b"middle");
        expected.extend(vec![2; BY_REFERENCE]);
        assert_eq!(whole.len(), expected.len());
        let mut seen = Vec::new();
        for step in [1, 3, 100, BY_REFERENCE, 7, usize::MAX] {
            let mut pieces = [IoSlice::new(&[]); 8];
            let count = whole.pieces(&mut pieces);
            let bytes: Vec<u8> = pieces[..count].iter().flat_map(|p| p.to_vec()).collect();
            assert_eq!(bytes, expected[seen.len()..]);
            let step = step.min(whole.len());
            seen.extend_from_slice(&bytes[..step]);
            whole.advance(step);
        }
        assert_eq!(seen, expected);
        assert!(whole.is_empty());
    }

    #[test]
    fn a_buffer_that_small_payloads_have_filled_is_filled_again() {
        let mut output = Output::default();
        let mut fill = || {
            while output.len() < HIGH_WATER {
                output.buf.extend_from_slice(b"header");
                output.put_payload(Bytes::from(vec![1; 3_424]));
            }
            let buffer = (output.buf.as_ptr(), output.buf.capacity());
            output.advance(output.len());
            buffer
        };
        let first = fill();
        assert_eq!((fill(), first.1), (first, FULL));
    }
}
