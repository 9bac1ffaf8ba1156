//! Long values that come again and again without being indexed: a token in `authorization`, which
//! most encoders keep out of the table.
//!
//! The same Huffman code is the same text, so it need not be decoded, checked and copied anew.

use http::HeaderValue;

/// Shorter codes are decoded as fast as they are compared; longer ones are not worth the memory.
const MIN_CODE_BYTES: usize = 64;
const MAX_CODE_BYTES: usize = 2048;

/// Values that are kept at a time.
const SLOTS: usize = 2;

/// Values of a connection, by their Huffman code.
#[derive(Default)]
pub(super) struct Repeats {
    kept: Vec<(Box<[u8]>, HeaderValue)>,
    next: usize,
    /// What tells the code that was last seen from most others. It is kept when it comes a second
    /// time: what is different each time is not worth the memory.
    seen: u64,
}

// === impl Repeats ===

impl Repeats {
    #[inline]
    pub(super) fn find(&self, code: &[u8]) -> Option<&HeaderValue> {
        let found = self.kept.iter().find(|(kept, _)| **kept == *code)?;
        Some(&found.1)
    }

    pub(super) fn keep(&mut self, code: &[u8], value: &HeaderValue) {
        if !(MIN_CODE_BYTES..=MAX_CODE_BYTES).contains(&code.len()) {
            return;
        }
        let Some(&last) = code.last_chunk::<8>() else {
            return;
        };
        // Tokens are alike at their beginning and differ in their signature.
        let mark = u64::from_le_bytes(last);
        if std::mem::replace(&mut self.seen, mark) != mark {
            return;
        }
        let entry = (code.into(), value.clone());
        if self.kept.len() < SLOTS {
            self.kept.push(entry);
        } else {
            self.kept[self.next] = entry;
            self.next = (self.next + 1) % SLOTS;
        }
    }
}
