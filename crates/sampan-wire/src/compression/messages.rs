//! The messages of a body, compressed or not, as they pass.

use super::{Compression, Encoding, Shrinkage, UnpackError, codec};
use crate::frame::{Frame, FrameDecoder, FrameError, PREFIX_LEN};
use bytes::{BufMut, Bytes, BytesMut};

/// The flag of a message that its sender wants to leave as it is. Never on the wire.
pub const LEAVE_PLAIN: u8 = 0x80;

const COMPRESSED: u8 = 1;

/// Compresses messages that are on their way out.
///
/// Push what comes; what is whole is given back, each message compressed where it is worth it.
#[derive(Debug)]
pub struct Packer {
    /// None: messages only lose what says how to treat them.
    encoding: Option<Encoding>,
    min_bytes: usize,
    is_adaptive: bool,
    shrinkage: Shrinkage,
    frames: FrameDecoder,
}

/// Decompresses messages that arrived.
#[derive(Debug)]
pub struct Unpacker {
    encoding: Encoding,
    limit: usize,
    frames: FrameDecoder,
}

/// A message behind its prefix, as if it had come so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The prefix and the message.
    pub data: Bytes,
    /// Whether it came compressed.
    pub was_compressed: bool,
}

// === impl Packer ===

impl Packer {
    /// Compresses by `encoding` what `compression` says is to be, having seen so much before.
    #[must_use]
    pub fn new(encoding: Encoding, compression: &Compression, shrinkage: Shrinkage) -> Self {
        Self {
            encoding: Some(encoding),
            min_bytes: compression.min_bytes(),
            is_adaptive: compression.is_adaptive(),
            shrinkage,
            frames: FrameDecoder::new(usize::MAX),
        }
    }

    /// Compresses nothing, having seen so much before; marks are taken off.
    #[must_use]
    pub fn leaving_all(shrinkage: Shrinkage) -> Self {
        Self {
            encoding: None,
            min_bytes: usize::MAX,
            is_adaptive: false,
            shrinkage,
            frames: FrameDecoder::new(usize::MAX),
        }
    }

    /// How it compresses, if it does.
    #[must_use]
    pub const fn encoding(&self) -> Option<Encoding> {
        self.encoding
    }

    /// What it has learned.
    #[must_use]
    pub const fn shrinkage(&self) -> Shrinkage {
        self.shrinkage
    }

    /// The messages that are whole with `data`, behind their prefixes.
    pub fn pack(&mut self, data: Bytes) -> Bytes {
        self.frames.push(data);
        let mut packed = BytesMut::new();
        // Its limit is none.
        while let Ok(Some(frame)) = self.frames.next() {
            self.put(&frame, &mut packed);
        }
        packed.freeze()
    }

    /// `data`, if it is one message and compressed now; None where it is better sent as it is.
    pub fn pack_one(&mut self, data: &Bytes) -> Option<Bytes> {
        let (prefix, message) = data.split_first_chunk::<PREFIX_LEN>()?;
        let [0, length @ ..] = *prefix else {
            return None;
        };
        if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
            return None;
        }
        let packed = self.smaller(message)?;
        let mut data = BytesMut::with_capacity(PREFIX_LEN + packed.len());
        put_message(COMPRESSED, &packed, &mut data);
        Some(data.freeze())
    }

    /// Whether what was pushed ends where a message ends.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn put(&mut self, frame: &Frame, out: &mut BytesMut) {
        let packed = match frame.flags {
            0 => self.smaller(&frame.payload),
            _ => None,
        };
        match packed {
            Some(packed) => put_message(COMPRESSED, &packed, out),
            None => put_message(frame.flags & !LEAVE_PLAIN, &frame.payload, out),
        }
    }

    fn smaller(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let encoding = self.encoding?;
        if message.len() < self.min_bytes || (self.is_adaptive && !self.shrinkage.is_worth_it()) {
            return None;
        }
        let packed = codec::pack(encoding, message).ok()?;
        self.shrinkage.saw(message.len(), packed.len());
        let is_smaller = packed.len() < message.len() || !self.is_adaptive;
        (is_smaller && u32::try_from(packed.len()).is_ok()).then_some(packed)
    }
}

fn put_message(flags: u8, message: &[u8], out: &mut BytesMut) {
    // Nothing longer comes: its length was read from four bytes, or has been looked at.
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.reserve(PREFIX_LEN + message.len());
    out.put_u8(flags);
    out.put_u32(len);
    out.put_slice(message);
}

// === impl Unpacker ===

impl Unpacker {
    /// Takes messages of up to `limit` bytes, compressed by `encoding` or not.
    #[must_use]
    pub fn new(encoding: Encoding, limit: usize) -> Self {
        Self {
            encoding,
            limit,
            frames: FrameDecoder::new(limit),
        }
    }

    /// How the messages are compressed that are.
    #[must_use]
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Appends bytes that arrived.
    pub fn push(&mut self, data: Bytes) {
        self.frames.push(data);
    }

    /// The next message, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// When it is too large, as it is or decompressed, or broken. What follows cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "None is not the end: more may be pushed"
    )]
    pub fn next(&mut self) -> Result<Option<Unpacked>, UnpackError> {
        let frame = self.frames.next();
        let frame =
            frame.map_err(|FrameError::TooLarge { limit, .. }| UnpackError::TooLarge { limit })?;
        let Some(frame) = frame else {
            return Ok(None);
        };
        let was_compressed = frame.flags == COMPRESSED;
        let mut data = BytesMut::new();
        if was_compressed {
            let plain = codec::unpack(self.encoding, &frame.payload, self.limit)?;
            put_message(0, &plain, &mut data);
        } else {
            put_message(frame.flags, &frame.payload, &mut data);
        }
        Ok(Some(Unpacked {
            data: data.freeze(),
            was_compressed,
        }))
    }

    /// Whether what was pushed ends where a message ends.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The beginning of a message whose end has not come, as it came.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.is_empty()
    }
}

#[cfg(test)]
#[cfg(feature = "gzip")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(messages: &[(u8, Vec<u8>)]) -> Bytes {
        let mut bytes = BytesMut::new();
        for (flags, message) in messages {
            put_message(*flags, message, &mut bytes);
        }
        bytes.freeze()
    }

    fn packer(compression: &Compression) -> Packer {
        Packer::new(Encoding::Gzip, compression, Shrinkage::default())
    }

    fn unpacked(data: Bytes, limit: usize) -> Result<Vec<(bool, Vec<u8>)>, UnpackError> {
        let mut unpacker = Unpacker::new(Encoding::Gzip, limit);
        unpacker.push(data);
        let mut all = Vec::new();
        while let Some(unpacked) = unpacker.next()? {
            let message = unpacked.data[PREFIX_LEN..].to_vec();
            all.push((unpacked.was_compressed, message));
        }
        assert!(!unpacker.is_cut());
        Ok(all)
    }

    #[test]
    fn short_messages_marked_ones_and_those_that_do_not_shrink_stay_as_they_are() {
        let noise: Vec<u8> = (0..2000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[..2].to_vec())
            .collect();
        let messages = [
            (0, vec![7; 2000]),
            (0, vec![7; 1023]),
            (LEAVE_PLAIN, vec![7; 2000]),
            (0, codec::pack(Encoding::Gzip, &noise).unwrap()),
        ];
        let packed = packer(&Compression::new(Encoding::Gzip)).pack(wire(&messages));
        let found = unpacked(packed, 9999).unwrap();
        let flags: Vec<bool> = found.iter().map(|(was, _)| *was).collect();
        assert_eq!(flags, [true, false, false, false]);
        for (found, sent) in found.iter().zip(&messages) {
            assert_eq!(found.1, sent.1);
        }
        let always = packer(&Compression::new(Encoding::Gzip).always()).pack(wire(&messages));
        let found = unpacked(always, 9999).unwrap();
        assert_eq!(found.iter().filter(|(was, _)| *was).count(), 3);
    }

    #[test]
    fn one_message_is_packed_alone_or_not_at_all() {
        let mut packer = packer(&Compression::new(Encoding::Gzip));
        let one = wire(&[(0, vec![7; 5000])]);
        let packed = packer.pack_one(&one).unwrap();
        assert!(packed.len() < 200 && packed[0] == 1);
        assert_eq!(
            unpacked(packed.clone(), 5000).unwrap(),
            [(true, vec![7; 5000])]
        );
        assert!(packer.pack_one(&packed).is_none(), "it is compressed");
        assert!(packer.pack_one(&wire(&[(0, vec![7; 9])])).is_none());
        assert!(packer.pack_one(&one.slice(..100)).is_none());
        assert!(packer.pack_one(&Bytes::new()).is_none());
    }

    #[test]
    fn the_limit_holds_for_what_comes_and_for_what_comes_out() {
        let packed = packer(&Compression::new(Encoding::Gzip)).pack(wire(&[(0, vec![7; 5000])]));
        assert!(matches!(
            unpacked(packed, 4999),
            Err(UnpackError::TooLarge { limit: 4999 })
        ));
        assert!(unpacked(wire(&[(0, vec![7; 9])]), 8).is_err());
    }

    proptest! {
        #[test]
        fn messages_come_back_however_they_are_cut(
            lens in prop::collection::vec(0usize..5000, 0..6),
            cuts in prop::collection::vec(1usize..3000, 1..9),
        ) {
            let sent: Vec<_> = lens.iter().map(|&len| vec![7; len]).collect();
            let messages: Vec<_> = sent.iter().map(|message| (0, message.clone())).collect();
            let mut rest = wire(&messages);
            let mut packer = packer(&Compression::new(Encoding::Gzip));
            let mut unpacker = Unpacker::new(Encoding::Gzip, 5000);
            let mut found = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                unpacker.push(packer.pack(rest.split_to((*cut).min(rest.len()))));
                while let Some(unpacked) = unpacker.next().unwrap() {
                    found.push(unpacked.data[PREFIX_LEN..].to_vec());
                }
            }
            prop_assert_eq!(found, sent);
            prop_assert!(packer.is_empty() && unpacker.is_empty());
        }
    }
}
