//! The bytes of messages as they pass, without their prefixes.

use sampan_wire::frame::{LengthCheck, PREFIX_LEN};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The bytes of the messages of one direction of a call.
#[derive(Debug)]
pub(super) struct MessageBytes {
    bytes: u64,
    /// Where messages do not end with the pieces that they come in.
    cut: Option<Box<LengthCheck>>,
}

/// A request that is a stream: its call reads how much of it has come.
#[derive(Debug)]
pub struct ReceivedStream {
    weighed: MessageBytes,
    told: Arc<AtomicU64>,
}

// === impl MessageBytes ===

impl MessageBytes {
    pub(super) const fn new() -> Self {
        Self {
            bytes: 0,
            cut: None,
        }
    }

    pub(super) fn add(&mut self, data: &[u8]) {
        if self.cut.is_none() {
            if let Some(bytes) = whole_messages(data) {
                self.bytes += bytes;
                return;
            }
            self.cut = Some(Box::new(LengthCheck::new(usize::MAX)));
        }
        if let Some(lengths) = &mut self.cut {
            let before = lengths.messages();
            // Somebody else judges lengths.
            let _ = lengths.look(data);
            let prefixes = (lengths.messages() - before) * PREFIX_LEN as u64;
            self.bytes = (self.bytes + data.len() as u64).saturating_sub(prefixes);
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The bytes of these messages; None when the last of them goes on.
fn whole_messages(mut data: &[u8]) -> Option<u64> {
    let mut bytes = 0;
    while let Some(([_, length @ ..], rest)) = data.split_first_chunk::<PREFIX_LEN>() {
        let length = u32::from_be_bytes(*length);
        data = rest.get(usize::try_from(length).ok()?..)?;
        bytes += u64::from(length);
    }
    data.is_empty().then_some(bytes)
}

// === impl ReceivedStream ===

impl ReceivedStream {
    /// And how much of it has come, for the call.
    pub(super) fn new() -> (Self, Arc<AtomicU64>) {
        let told = Arc::<AtomicU64>::default();
        let stream = Self {
            weighed: MessageBytes::new(),
            told: Arc::clone(&told),
        };
        (stream, told)
    }

    /// So much more has come.
    pub fn add(&mut self, data: &[u8]) {
        self.weighed.add(data);
        self.told.store(self.weighed.bytes(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_weigh_the_same_however_they_are_cut(
            lengths in prop::collection::vec(0usize..40, 0..8),
            cuts in prop::collection::vec(1usize..20, 1..30),
        ) {
            let mut stream = Vec::new();
            for length in &lengths {
                stream.push(0);
                stream.extend(u32::try_from(*length).unwrap().to_be_bytes());
                stream.extend(vec![7; *length]);
            }
            let expected: usize = lengths.iter().sum();
            let mut weighed = MessageBytes::new();
            weighed.add(&stream);
            prop_assert_eq!(weighed.bytes(), expected as u64);
            let (mut weighed, mut left) = (MessageBytes::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (piece, rest) = left.split_at((*cut).min(left.len()));
                weighed.add(piece);
                left = rest;
            }
            prop_assert_eq!(weighed.bytes(), expected as u64);
        }
    }
}
