//! Messages that are too long, told by their prefixes alone.

use super::{FrameError, PREFIX_LEN};
use bytes::Buf;

/// Refuses messages over a limit as soon as their length is read, however the bytes are cut. Keeps
/// none of them.
#[derive(Clone, Debug)]
pub struct LengthCheck {
    limit: usize,
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    messages: u64,
}

// === impl LengthCheck ===

impl LengthCheck {
    /// Lets messages of up to `limit` bytes pass.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            left: 0,
            messages: 0,
        }
    }

    /// How many messages have begun.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    ///
    /// When a prefix in them announces too much.
    #[inline]
    pub fn look(&mut self, data: &[u8]) -> Result<(), FrameError> {
        // One whole message is what nearly all unary calls have.
        if self.prefix_len == 0
            && self.left == 0
            && let Some(&[_, a, b, c, d]) = data.first_chunk::<PREFIX_LEN>()
            && data.len() - PREFIX_LEN == u32::from_be_bytes([a, b, c, d]) as usize
            && data.len() - PREFIX_LEN <= self.limit
        {
            self.messages += 1;
            return Ok(());
        }
        self.look_at_pieces(data)
    }

    fn look_at_pieces(&mut self, data: &[u8]) -> Result<(), FrameError> {
        let mut data = data;
        while data.has_remaining() {
            let skipped = self.left.min(data.len());
            data.advance(skipped);
            self.left -= skipped;
            if self.left > 0 {
                break;
            }
            let taken = data.len().min(PREFIX_LEN - self.prefix_len);
            data.copy_to_slice(&mut self.prefix[self.prefix_len..self.prefix_len + taken]);
            self.prefix_len += taken;
            if self.prefix_len == PREFIX_LEN {
                self.prefix_len = 0;
                self.messages += 1;
                let [_, length @ ..] = self.prefix;
                // A length that no usize holds is over any limit.
                let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                if len > self.limit {
                    let limit = self.limit;
                    return Err(FrameError::TooLarge { len, limit });
                }
                self.left = len;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_long_message_is_found_however_the_bytes_are_cut(
            lens in prop::collection::vec(0usize..40, 1..6),
            limit in 0usize..40,
            cut in 1usize..9,
        ) {
            let mut bytes = Vec::new();
            for &len in &lens {
                bytes.push(0);
                bytes.extend(u32::try_from(len).unwrap().to_be_bytes());
                bytes.extend(std::iter::repeat_n(7, len));
            }
            let mut check = LengthCheck::new(limit);
            let verdict = bytes.chunks(cut).try_for_each(|chunk| check.look(chunk));
            let expected = lens.iter().find(|&&len| len > limit);
            let expected = expected.map(|&len| FrameError::TooLarge { len, limit });
            prop_assert_eq!(verdict.err(), expected);
        }
    }
}
