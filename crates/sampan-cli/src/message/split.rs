//! Cuts a stream of bytes into messages, each as soon as its last byte is there.
//!
//! JSON values may follow one another with or without space between them; text messages are
//! separated by the byte 0x1e, as in grpcurl.

use crate::args::Format;
use bytes::{Buf, BytesMut};

/// A single request longer than this is not collected.
const MAX_MESSAGE: usize = 256 * 1024 * 1024;

const RECORD_SEPARATOR: u8 = 0x1e;

/// Collects bytes until a message is whole. Whether it is well formed its reader says.
#[derive(Debug)]
pub(crate) struct Splitter {
    format: Format,
    pending: BytesMut,
    /// What of `pending` was looked at.
    seen: usize,
    /// Open braces and brackets.
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// Bytes that are no messages.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SplitError {
    #[error("a message is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    #[error("a message is not UTF-8")]
    NotUtf8,
    #[error("the input ends in the middle of a message")]
    Cut,
}

// === impl Splitter ===

impl Splitter {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            pending: BytesMut::new(),
            seen: 0,
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next message that is whole.
    pub(crate) fn next(&mut self) -> Result<Option<String>, SplitError> {
        while let Some(&byte) = self.pending.get(self.seen) {
            self.seen += 1;
            let end = match self.format {
                Format::Json => self.ends_json(byte),
                Format::Text => (byte == RECORD_SEPARATOR).then_some(self.seen - 1),
            };
            let Some(end) = end else { continue };
            let message = self.cut(end)?;
            if self.format == Format::Text {
                self.pending.advance(1);
                return Ok(Some(message));
            }
            if !message.trim().is_empty() {
                return Ok(Some(message));
            }
        }
        if self.pending.len() > MAX_MESSAGE {
            return Err(SplitError::TooLong);
        }
        Ok(None)
    }

    /// What is left when the input has ended; call it after [`Self::next`] gave nothing more.
    pub(crate) fn finish(&mut self) -> Result<Option<String>, SplitError> {
        if self.depth > 0 || self.in_string {
            return Err(SplitError::Cut);
        }
        let rest = self.cut(self.pending.len())?;
        let is_message = !rest.trim().is_empty();
        Ok(is_message.then_some(rest))
    }

    /// Where the message ends if `byte`, the last one looked at, ends it.
    fn ends_json(&mut self, byte: u8) -> Option<usize> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    return (self.depth == 0).then_some(self.seen);
                }
                _ => {}
            }
            return None;
        }
        match byte {
            b'"' | b'{' | b'[' if self.depth == 0 && self.has_scalar() => {
                // A number or word ends where something else begins, which is looked at again.
                self.seen -= 1;
                Some(self.seen)
            }
            b'"' => {
                self.in_string = true;
                None
            }
            b'{' | b'[' => {
                self.depth += 1;
                None
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                (self.depth == 0).then_some(self.seen)
            }
            b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => Some(self.seen),
            _ => None,
        }
    }

    /// Whether something other than space precedes the byte that was looked at last.
    fn has_scalar(&self) -> bool {
        self.pending[..self.seen - 1]
            .iter()
            .any(|byte| !byte.is_ascii_whitespace())
    }

    fn cut(&mut self, end: usize) -> Result<String, SplitError> {
        let message = self.pending.split_to(end);
        self.seen = 0;
        String::from_utf8(message.into()).map_err(|_| SplitError::NotUtf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(format: Format, chunks: &[&[u8]]) -> Result<Vec<String>, SplitError> {
        let mut splitter = Splitter::new(format);
        let mut messages = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            while let Some(message) = splitter.next()? {
                messages.push(message);
            }
        }
        messages.extend(splitter.finish()?);
        Ok(messages
            .iter()
            .map(|message| message.trim().to_owned())
            .collect())
    }

    #[test]
    fn messages_may_stand_close_together_or_apart() {
        let expected = [
            "{\"a\":\"}\\\"{\"}",
            "{}",
            "[{}]",
            "5",
            "\"x y\"",
            "true",
            "{}",
        ];
        for text in [
            "{\"a\":\"}\\\"{\"}{}[{}]5\"x y\"true{}",
            " {\"a\":\"}\\\"{\"}\n{}\n\n[{}] 5\t\"x y\" true\r\n{}\n",
        ] {
            assert_eq!(split(Format::Json, &[text.as_bytes()]).unwrap(), expected);
        }
    }

    #[test]
    fn a_message_is_given_as_soon_as_its_last_byte_is_there() {
        let mut splitter = Splitter::new(Format::Json);
        splitter.push(b"{\"a\":");
        assert_eq!(splitter.next(), Ok(None));
        splitter.push(b"1}{");
        assert_eq!(splitter.next(), Ok(Some("{\"a\":1}".to_owned())));
        assert_eq!(splitter.next(), Ok(None));
        assert_eq!(splitter.finish(), Err(SplitError::Cut));
    }

    #[test]
    fn text_messages_are_separated_by_a_byte_of_their_own() {
        assert_eq!(
            split(Format::Text, &[b"a: 1\x1eb: 2\x1e"]).unwrap(),
            ["a: 1", "b: 2"]
        );
        assert_eq!(
            split(Format::Text, &[b"a: 1", b"\x1e", b"b: 2\n"]).unwrap(),
            ["a: 1", "b: 2"]
        );
    }

    #[test]
    fn nothing_is_no_message() {
        assert_eq!(
            split(Format::Json, &[b" \n "]).unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(split(Format::Text, &[b""]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(
            split(Format::Json, &[b"\"\xff\""]),
            Err(SplitError::NotUtf8)
        );
    }

    proptest! {
        #[test]
        fn where_the_input_is_cut_does_not_matter(cut in 0_usize..40) {
            let text = b"{\"a\":[1,\"]\\\"\"]} 12 null{\"b\":{}}\"s\"";
            let cut = cut.min(text.len());
            let whole = split(Format::Json, &[text]).unwrap();
            prop_assert_eq!(split(Format::Json, &[&text[..cut], &text[cut..]]).unwrap(), whole);
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = split(Format::Json, &[&bytes]);
            let _ = split(Format::Text, &[&bytes]);
        }
    }
}
