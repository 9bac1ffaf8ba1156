//! Percent encoding of `grpc-message`, which carries any text in an ASCII header.
//!
//! Source: gRPC over HTTP/2, "Percent-Encoded".

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use std::borrow::Cow;

/// Space to tilde stay as they are, but for the sign itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Makes any text fit a header value. Spaces around it are escaped as well: a peer may strip them.
#[must_use]
pub fn encode(message: &str) -> Cow<'_, str> {
    let inner = message.trim_start_matches(' ');
    let before = message.len() - inner.len();
    let text = inner.trim_end_matches(' ');
    let after = inner.len() - text.len();
    let encoded = utf8_percent_encode(text, ESCAPED);
    if before + after == 0 {
        return encoded.into();
    }
    let spaces = |count| "%20".repeat(count);
    format!("{}{encoded}{}", spaces(before), spaces(after)).into()
}

/// The beginning of what [`encode`] made, of `len` bytes at most: no escape and no character is
/// cut in two.
#[must_use]
pub fn cut(value: &[u8], len: usize) -> &[u8] {
    let mut end = len.min(value.len());
    let last = &value[end.saturating_sub(2)..end];
    if let Some(at) = last.iter().rposition(|byte| *byte == b'%')
        && end < value.len()
    {
        end = end - last.len() + at;
    }
    while let Some([b'%', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..]) = value.get(end..)
        && end >= 3
    {
        end -= 3;
    }
    &value[..end]
}

/// Reads what a peer sent. Never fails, as the protocol asks: escapes that are none stay as
/// they are, and what is not UTF-8 becomes U+FFFD.
#[must_use]
pub fn decode(value: &[u8]) -> Cow<'_, str> {
    percent_decode(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(encode("no such order: 7"), Cow::Borrowed(_)));
        assert!(matches!(decode(b"no such order: 7"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_a_header_cannot_hold_is_escaped() {
        assert_eq!(encode("100% \n\u{7f} é"), "100%25 %0A%7F %C3%A9");
    }

    #[test]
    fn spaces_around_a_text_are_escaped() {
        assert_eq!(encode("  a b "), "%20%20a b%20");
        assert_eq!(encode("  "), "%20%20");
    }

    #[test]
    fn what_is_cut_is_the_beginning_of_the_text() {
        let text = "a % é\u{10ffff}z";
        let whole = encode(text);
        for len in 0..=whole.len() + 1 {
            let cut = cut(whole.as_bytes(), len);
            assert!(cut.len() <= len);
            assert!(text.starts_with(&*decode(cut)), "{len}: {cut:?}");
        }
        assert_eq!(cut(whole.as_bytes(), usize::MAX), whole.as_bytes());
        assert_eq!(cut(b"%80%80%80", 6), b"");
    }

    #[test]
    fn broken_escapes_stay_and_broken_text_is_marked() {
        assert_eq!(decode(b"%"), "%");
        assert_eq!(decode(b"%4"), "%4");
        assert_eq!(decode(b"%zz %41"), "%zz A");
        assert_eq!(decode(b"%ff\xfe"), "\u{fffd}\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_is_printable_ascii_on_the_wire(message in any::<String>()) {
            let encoded = encode(&message);
            prop_assert!(encoded.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
            prop_assert_eq!(encoded.trim_ascii(), &*encoded);
            prop_assert_eq!(decode(encoded.as_bytes()), message.as_str());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&value);
        }
    }
}
