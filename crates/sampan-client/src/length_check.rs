//! Refuses messages that are longer than somebody takes, by their first bytes.

use crate::failure::Fault;
use bytes::{Buf, Bytes};
use sampan_wire::frame::PREFIX_LEN;
use tonic::{Code, Status};

/// Refuses messages over a limit as soon as their length is read.
#[derive(Debug)]
pub(crate) struct LengthCheck {
    limit: Option<usize>,
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// Bytes of the message that are still to come.
    left: usize,
}

/// A message that is longer than the caller takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    len: usize,
    limit: usize,
}

// === impl TooLong ===

impl TooLong {
    fn text(self) -> String {
        let Self { len, limit } = self;
        format!("a message of {len} bytes is over the limit of {limit}")
    }
}

impl From<TooLong> for Status {
    fn from(too_long: TooLong) -> Self {
        Self::resource_exhausted(too_long.text())
    }
}

impl From<TooLong> for Fault {
    fn from(too_long: TooLong) -> Self {
        Self::new(Code::ResourceExhausted, too_long.text())
    }
}

// === impl LengthCheck ===

impl LengthCheck {
    pub(crate) const fn new(limit: Option<usize>) -> Self {
        Self {
            limit,
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            left: 0,
        }
    }

    pub(crate) fn look(&mut self, data: &Bytes) -> Result<(), TooLong> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let mut data = &data[..];
        while !data.is_empty() {
            if self.left > 0 {
                let skip = self.left.min(data.len());
                self.left -= skip;
                data.advance(skip);
                continue;
            }
            let take = data.len().min(PREFIX_LEN - self.prefix_len);
            self.prefix[self.prefix_len..self.prefix_len + take].copy_from_slice(&data[..take]);
            self.prefix_len += take;
            data.advance(take);
            if self.prefix_len == PREFIX_LEN {
                self.prefix_len = 0;
                let [_, a, b, c, d] = self.prefix;
                let len = u32::from_be_bytes([a, b, c, d]) as usize;
                if len > limit {
                    return Err(TooLong { len, limit });
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
            let mut check = LengthCheck::new(Some(limit));
            let verdict = bytes
                .chunks(cut)
                .try_for_each(|chunk| check.look(&Bytes::copy_from_slice(chunk)));
            let expected = lens.iter().find(|&&len| len > limit);
            prop_assert_eq!(verdict.err(), expected.map(|&len| TooLong { len, limit }));
        }
    }
}
