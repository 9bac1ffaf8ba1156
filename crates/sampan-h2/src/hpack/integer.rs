//! Integers with a prefix. Source: RFC 7541 section 5.1.

use super::CompressionError;

/// Reads an integer whose first octet is already taken off `input`.
///
/// At most five further octets are read: more than any 32-bit number needs.
#[inline]
pub(super) fn decode(
    first: u8,
    prefix_bits: u32,
    input: &mut &[u8],
) -> Result<u32, CompressionError> {
    let mask = 0xff_u8 >> (8 - prefix_bits);
    let value = first & mask;
    if value < mask {
        return Ok(u32::from(value));
    }
    decode_rest(value, input)
}

fn decode_rest(prefix: u8, input: &mut &[u8]) -> Result<u32, CompressionError> {
    let mut value = u64::from(prefix);
    for shift in [0, 7, 14, 21, 28] {
        let (&octet, rest) = input.split_first().ok_or(CompressionError::Truncated)?;
        *input = rest;
        value += u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| CompressionError::Integer);
        }
    }
    Err(CompressionError::Integer)
}

/// Appends `value`; `pattern` holds the bits of the first octet above the prefix.
#[inline]
pub(super) fn encode(value: usize, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1_usize << prefix_bits) - 1;
    if value < mask {
        out.push(pattern | value as u8);
    } else {
        encode_rest(value - mask, pattern | mask as u8, out);
    }
}

fn encode_rest(mut value: usize, first: u8, out: &mut Vec<u8>) {
    out.push(first);
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(value: usize, prefix_bits: u32, expected: &[u8]) {
        let mut out = Vec::new();
        encode(value, prefix_bits, 0, &mut out);
        assert_eq!(out, expected);
        let mut rest = &out[1..];
        assert_eq!(
            decode(out[0], prefix_bits, &mut rest),
            Ok(u32::try_from(value).expect("small"))
        );
        assert!(rest.is_empty());
    }

    /// RFC 7541 C.1
    #[test]
    fn integers_of_the_appendix() {
        round(10, 5, &[0b0_1010]);
        round(1337, 5, &[0b1_1111, 0b1001_1010, 0b0000_1010]);
        round(42, 8, &[0b0010_1010]);
    }

    #[test]
    fn edges_of_the_prefix_and_of_32_bits() {
        round(126, 7, &[126]);
        round(127, 7, &[127, 0]);
        round(255, 7, &[127, 0x80, 1]);
        round(u32::MAX as usize, 7, &[127, 0x80, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn integers_beyond_32_bits_or_with_endless_octets_are_refused() {
        let mut above = &[0x81_u8, 0xff, 0xff, 0xff, 0x0f][..];
        assert_eq!(decode(127, 7, &mut above), Err(CompressionError::Integer));
        let mut endless = &[0x80_u8; 64][..];
        assert_eq!(decode(127, 7, &mut endless), Err(CompressionError::Integer));
        let mut cut = &[0x80_u8][..];
        assert_eq!(decode(127, 7, &mut cut), Err(CompressionError::Truncated));
    }
}
