//! Copies of payloads.

use bytes::{BufMut, Bytes};

/// What one copy takes at most.
///
/// Longer ones the C library leaves to `rep movsb`. On AMD's Zen 3 that takes 15 µs rather than
/// 0.6 for 16 KiB (measured) when both ends lie nearly as far from the beginning of a page, and so
/// a field and the message that it is copied into do: before the one there is nothing, before the
/// other some bytes of prefixes.
const STEP: usize = 2 << 10;

/// Appends `bytes`.
pub fn append(into: &mut impl BufMut, bytes: &[u8]) {
    for step in bytes.chunks(STEP) {
        into.put_slice(step);
    }
}

/// `bytes` in a buffer of their own.
#[must_use]
pub fn copied(bytes: &[u8]) -> Bytes {
    let mut copy = Vec::with_capacity(bytes.len());
    append(&mut copy, bytes);
    copy.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_however_long() {
        for len in [0, 1, STEP, 2 * STEP + 1] {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            assert_eq!(copied(&bytes), bytes);
        }
    }
}
