//! A buffer that takes large fields over as they are.

#![allow(
    unsafe_code,
    reason = "only an own BufMut learns of a field as the Bytes that it is, and that trait is unsafe"
)]

use bytes::{Buf, BufMut, Bytes, buf::UninitSlice};
use sampan_wire::copy;
use std::collections::VecDeque;

/// Encoded messages in pieces.
///
/// A `bytes` field that is a [`Bytes`] is not copied from a certain size on: it becomes a piece of
/// its own between what stands before and after it.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    cut: VecDeque<Bytes>,
    cut_len: usize,
    /// What comes after them, and grows.
    tail: Vec<u8>,
    /// How long the tail was when it was last taken.
    usual: usize,
}

/// An encoded message in one piece.
#[derive(Debug)]
pub(super) struct OnePiece(pub(super) Vec<u8>);

/// From this size on a field is a piece of its own.
const BY_REFERENCE: usize = 8 << 10;

// === impl Pieces ===

impl Pieces {
    /// Bytes in all pieces.
    pub(super) fn len(&self) -> usize {
        self.cut_len + self.tail.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for a message of `len` bytes. A large one is mostly a field that needs none.
    pub(super) fn reserve(&mut self, len: usize) {
        let len = len.min(BY_REFERENCE);
        if self.tail.capacity() - self.tail.len() < len {
            self.tail.reserve(len.max(self.usual));
        }
    }

    /// The first piece, if it is one that nothing is appended to any more.
    pub(super) fn pop_cut(&mut self) -> Option<Bytes> {
        let piece = self.cut.pop_front()?;
        self.cut_len -= piece.len();
        Some(piece)
    }

    /// The first piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.pop_cut() {
            return Some(piece);
        }
        self.usual = self.tail.len();
        self.take_tail()
    }

    fn take_tail(&mut self) -> Option<Bytes> {
        (!self.tail.is_empty()).then(|| std::mem::take(&mut self.tail).into())
    }

    fn cut(&mut self, piece: Bytes) {
        self.cut_len += piece.len();
        self.cut.push_back(piece);
    }
}

// SAFETY: what a BufMut promises about `chunk_mut`, `advance_mut` and `remaining_mut` is kept by
// `tail`, to which all three are passed on. `put` takes the tail away and leaves an empty one: no
// chunk of it is in use then, since each borrows `self` mutably.
unsafe impl BufMut for Pieces {
    fn remaining_mut(&self) -> usize {
        self.tail.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has filled `count` bytes of `chunk_mut`, which is the tail's.
        unsafe { self.tail.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.tail.chunk_mut()
    }

    fn put<T: Buf>(&mut self, mut field: T) {
        let len = field.remaining();
        if len < BY_REFERENCE {
            put_copied(&mut self.tail, field);
            return;
        }
        if let Some(before) = self.take_tail() {
            self.cut(before);
        }
        // Of a Bytes this is itself; anything else is copied, as it would have been otherwise.
        self.cut(field.copy_to_bytes(len));
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        copy::append(&mut self.tail, bytes);
    }

    fn put_bytes(&mut self, value: u8, count: usize) {
        self.tail.put_bytes(value, count);
    }
}

// SAFETY: as above; all is passed on to a Vec.
unsafe impl BufMut for OnePiece {
    fn remaining_mut(&self) -> usize {
        self.0.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has filled `count` bytes of `chunk_mut`, which is the Vec's.
        unsafe { self.0.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.0.chunk_mut()
    }

    fn put<T: Buf>(&mut self, field: T) {
        put_copied(&mut self.0, field);
    }

    fn put_slice(&mut self, bytes: &[u8]) {
        copy::append(&mut self.0, bytes);
    }

    fn put_bytes(&mut self, value: u8, count: usize) {
        self.0.put_bytes(value, count);
    }
}

fn put_copied(into: &mut Vec<u8>, mut field: impl Buf) {
    while field.has_remaining() {
        let chunk = field.chunk();
        let len = chunk.len();
        copy::append(into, chunk);
        if len == field.remaining() {
            return;
        }
        field.advance(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn all(mut pieces: Pieces) -> (Vec<usize>, Vec<u8>) {
        let (mut lens, mut bytes) = (Vec::new(), Vec::new());
        while let Some(piece) = pieces.pop() {
            lens.push(piece.len());
            bytes.extend_from_slice(&piece);
        }
        (lens, bytes)
    }

    #[test]
    fn a_large_field_is_a_piece_of_its_own_and_is_not_copied() {
        let field = Bytes::from(vec![7; BY_REFERENCE]);
        let mut pieces = Pieces::default();
        field.encode_raw(&mut pieces);
        Bytes::from_static(b"small").encode_raw(&mut pieces);
        assert_eq!(pieces.len(), 3 + BY_REFERENCE + 7);
        assert_eq!(pieces.pop().unwrap().len(), 3);
        assert_eq!(pieces.pop().unwrap().as_ptr(), field.as_ptr());
        assert_eq!(pieces.pop().unwrap(), &b"\x0a\x05small"[..]);
        assert!(pieces.is_empty() && pieces.pop().is_none());
    }

    #[test]
    fn pieces_together_are_what_one_buffer_would_hold() {
        for lens in [
            &[0, 1, BY_REFERENCE][..],
            &[BY_REFERENCE - 1, BY_REFERENCE + 1, 9],
        ] {
            let (mut pieces, mut whole) = (Pieces::default(), Vec::new());
            for &len in lens {
                pieces.reserve(len + 9);
                // One of each kind that a field of bytes can have, and a string.
                Bytes::from(vec![1; len]).encode_raw(&mut pieces);
                Bytes::from(vec![1; len]).encode_raw(&mut whole);
                vec![2_u8; len].encode_raw(&mut pieces);
                vec![2_u8; len].encode_raw(&mut whole);
                "s".repeat(len).encode_raw(&mut pieces);
                "s".repeat(len).encode_raw(&mut whole);
                pieces.put_bytes(3, len);
                whole.put_bytes(3, len);
            }
            assert_eq!(all(pieces).1, whole);
        }
    }
}
