//! A message of which some has come.

use super::{LONG, PREFIX};
use crate::budget::{MemoryBudget, Reserved};
use bytes::{Bytes, BytesMut};
use sampan_wire::copy;

/// A message of which some has come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    pub(super) bytes: BytesMut,
    /// Of the message without its prefix; None until the prefix is here.
    pub(super) len: Option<usize>,
    /// The prefix went ahead.
    pub(super) is_ahead: bool,
    /// So many bytes are away with whoever reads more to them.
    pub(super) lent: usize,
    pub(super) reserved: Option<Reserved>,
}

/// Memory taken for a message before its bytes have come.
const MAX_AHEAD: usize = 256 << 10;

// === impl Partial ===

impl Partial {
    /// Takes what belongs to this message, and gives what goes ahead of it. The error is the length
    /// for which there is no memory.
    pub(super) fn fill(
        &mut self,
        data: &mut Bytes,
        budget: &MemoryBudget,
    ) -> Result<Option<Bytes>, usize> {
        let mut ahead = None;
        if self.len.is_none() {
            let take = data.len().min(PREFIX - self.bytes.len());
            self.bytes.extend_from_slice(&data.split_to(take));
            let Some(&[_, a, b, c, d]) = self.bytes.first_chunk::<PREFIX>() else {
                return Ok(None);
            };
            let len = u32::from_be_bytes([a, b, c, d]) as usize;
            if len >= LONG {
                self.reserved = Some(budget.reserve(len).ok_or(len)?);
                ahead = Some(self.bytes.split().freeze());
                self.is_ahead = true;
            }
            self.len = Some(len);
        }
        let missing = self.missing();
        if missing > 0 {
            let take = data.len().min(missing);
            self.make_room(take);
            copy::append(&mut self.bytes, &data[..take]);
            *data = data.split_off(take);
        }
        Ok(ahead)
    }

    /// For `len` bytes at least. Not for all that was announced: a length alone costs its sender
    /// nothing.
    pub(super) fn make_room(&mut self, len: usize) {
        if self.bytes.capacity() - self.bytes.len() < len {
            let ahead = self.bytes.len().max(MAX_AHEAD).min(self.missing());
            self.bytes.reserve(ahead.max(len));
        }
    }

    pub(super) fn missing(&self) -> usize {
        let prefix = if self.is_ahead { 0 } else { PREFIX };
        match self.len {
            None => PREFIX,
            Some(len) => prefix + len - self.bytes.len() - self.lent,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.len.is_some() && self.missing() == 0
    }
}
