//! The text form of gRPC-Web: base64 in which padding may stand at any boundary.
//!
//! A sender encodes each of its chunks by itself, and the network cuts the text anywhere, so
//! the text is read in groups of four letters, and any group may be padded.
//!
//! Source: gRPC PROTOCOL-WEB, "text-encoded streams".

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;

const GROUP: usize = 4;

/// Text that is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed base64")]
pub(crate) struct InvalidText;

/// Reads the text in whatever chunks it arrives.
#[derive(Debug, Default)]
pub(crate) struct TextDecoder {
    /// The letters of a group that is not whole yet.
    rest: Vec<u8>,
}

/// One chunk as text.
pub(crate) fn encode(chunk: &[u8]) -> Bytes {
    STANDARD.encode(chunk).into()
}

// === impl TextDecoder ===

impl TextDecoder {
    /// The bytes that are whole with this chunk.
    pub(crate) fn decode(&mut self, chunk: &[u8]) -> Result<Bytes, InvalidText> {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(chunk);
        let whole = text.len() - text.len() % GROUP;
        self.rest = text.split_off(whole);
        let mut bytes = Vec::with_capacity(whole / GROUP * 3);
        let mut text = text.as_slice();
        while !text.is_empty() {
            // Up to and with the next padded group: what one run of the sender's encoder made.
            let run = match text.iter().position(|letter| *letter == b'=') {
                Some(at) => (at / GROUP + 1) * GROUP,
                None => text.len(),
            };
            let (run, after) = text.split_at(run);
            STANDARD
                .decode_vec(run, &mut bytes)
                .map_err(|_| InvalidText)?;
            text = after;
        }
        Ok(bytes.into())
    }

    /// The bytes of a last group without its padding, which some senders leave out.
    pub(crate) fn finish(&mut self) -> Result<Bytes, InvalidText> {
        let rest = std::mem::take(&mut self.rest);
        STANDARD_NO_PAD
            .decode(rest)
            .map(Bytes::from)
            .map_err(|_| InvalidText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(chunks: &[&[u8]]) -> Result<Vec<u8>, InvalidText> {
        let mut decoder = TextDecoder::default();
        let mut bytes = Vec::new();
        for chunk in chunks {
            bytes.extend_from_slice(&decoder.decode(chunk)?);
        }
        bytes.extend_from_slice(&decoder.finish()?);
        Ok(bytes)
    }

    #[test]
    fn a_last_group_needs_no_padding_but_two_letters() {
        assert_eq!(decode(&[b"AQI"]), Ok(vec![1, 2]));
        assert_eq!(decode(&[b"AQ", b""]), Ok(vec![1]));
        assert_eq!(decode(&[b"AQIDA"]), Err(InvalidText));
    }

    #[test]
    fn text_that_is_no_base64_is_refused() {
        for text in ["A=QI", "====", "AQ=I", "AQI*", "AQ\r\n", "AQI=AQ=I"] {
            assert_eq!(decode(&[text.as_bytes()]), Err(InvalidText), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_runs_in_any_cut_give_the_bytes_back(
            runs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..8),
            cuts in proptest::collection::vec(0..9_usize, 1..40),
        ) {
            let text: Vec<u8> = runs.iter().flat_map(|run| encode(run)).collect();
            let mut rest = text.as_slice();
            let mut chunks = Vec::new();
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);
            prop_assert_eq!(decode(&chunks), Ok(runs.concat()));
        }

        #[test]
        fn no_text_makes_the_decoder_panic(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9),
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let _ = decode(&chunks);
        }
    }
}
