//! Values that come again and again without being indexed: paths, and long ones such as a token in
//! `authorization`, which many encoders keep out of the table.
//!
//! The same Huffman code is the same text, so it need not be decoded, checked and copied anew.

use super::Path;
use http::HeaderValue;

/// Shorter codes are decoded as fast as they are compared; longer ones are not worth the memory.
const MIN_CODE_BYTES: usize = 64;
const MAX_CODE_BYTES: usize = 2048;

/// Values that are kept at a time.
const SLOTS: usize = 2;

/// Values of a connection, by their Huffman code.
#[derive(Default)]
pub(super) struct Repeats {
    long: Kept<HeaderValue>,
    paths: Kept<Path>,
}

struct Kept<V> {
    /// The oldest is the first.
    values: Vec<(Box<[u8]>, V)>,
    /// What tells the code that was last seen from most others. It is kept when it comes a second
    /// time: what is different each time is not worth the memory.
    seen: u64,
}

// === impl Repeats ===

impl Repeats {
    #[inline]
    pub(super) fn find(&self, code: &[u8]) -> Option<&HeaderValue> {
        self.long.find(code)
    }

    #[inline]
    pub(super) fn find_path(&self, code: &[u8]) -> Option<&Path> {
        self.paths.find(code)
    }

    pub(super) fn keep(&mut self, code: &[u8], value: &HeaderValue) {
        if code.len() >= MIN_CODE_BYTES {
            self.long.keep(code, value);
        }
    }

    pub(super) fn keep_path(&mut self, code: &[u8], path: &Path) {
        self.paths.keep(code, path);
    }
}

// === impl Kept ===

impl<V: Clone> Kept<V> {
    #[inline]
    fn find(&self, code: &[u8]) -> Option<&V> {
        let found = self.values.iter().find(|(kept, _)| **kept == *code)?;
        Some(&found.1)
    }

    fn keep(&mut self, code: &[u8], value: &V) {
        if code.len() > MAX_CODE_BYTES {
            return;
        }
        // Values are often alike at their beginning, and differ at their end.
        let mut end = [0; 8];
        let len = code.len().min(end.len());
        end[..len].copy_from_slice(&code[code.len() - len..]);
        let mark = u64::from_le_bytes(end) ^ (code.len() as u64);
        if std::mem::replace(&mut self.seen, mark) != mark {
            return;
        }
        let entry = (code.into(), value.clone());
        if self.values.len() < SLOTS {
            self.values.push(entry);
        } else if let [oldest, ..] = &mut self.values[..] {
            *oldest = entry;
            self.values.rotate_left(1);
        }
    }
}

impl<V> Default for Kept<V> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            seen: 0,
        }
    }
}
