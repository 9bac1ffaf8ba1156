//! The Huffman code. Source: RFC 7541 section 5.2 and appendix B.
//!
//! The code is canonical: within a length, codes grow with the symbol. So the lengths are the
//! whole table, and the rest is computed from them at compile time.

use super::CompressionError;

const SYMBOLS: usize = 257;
const EOS: usize = 256;
const LONGEST: usize = 30;
/// Codes up to this length, which are nearly all that occur, are found by one look; two at a time
/// where both fit.
const LOOK_BITS: u32 = 12;

/// Bits of the code of each symbol; the last is EOS.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30,
    28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5,
    7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22,
    22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
    22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22,
    21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26,
    26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
    24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27,
    27, 28, 27, 27, 27, 27, 27, 26, 30,
];

struct Canonical {
    /// Code of each symbol, right-aligned.
    codes: [u32; SYMBOLS],
    /// Symbols by length, then by value.
    sorted: [u16; SYMBOLS],
    /// For each length, the first code beyond those of that length, left-aligned in 32 bits.
    ends: [u64; LONGEST + 1],
    /// For each length, what to add to a code to get its place in `sorted`.
    offsets: [i64; LONGEST + 1],
}

const fn canonical() -> Canonical {
    let mut table = Canonical {
        codes: [0; SYMBOLS],
        sorted: [0; SYMBOLS],
        ends: [0; LONGEST + 1],
        offsets: [0; LONGEST + 1],
    };
    let mut code = 0_u32;
    let mut place = 0;
    let mut length = 1;
    while length <= LONGEST {
        code <<= 1;
        table.offsets[length] = place as i64 - code as i64;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                table.codes[symbol] = code;
                table.sorted[place] = symbol as u16;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        table.ends[length] = (code as u64) << (32 - length);
        length += 1;
    }
    assert!(place == SYMBOLS && code as u64 == 1 << LONGEST);
    table
}

/// What begins with certain bits: one symbol or two, or none that is short enough.
#[derive(Clone, Copy)]
struct Look {
    symbols: [u8; 2],
    /// Bits of the first, zero when there is none, and of all.
    first: u8,
    all: u8,
}

/// For each beginning of `LOOK_BITS` bits.
const fn looks() -> [Look; 1 << LOOK_BITS] {
    const NONE: Look = Look {
        symbols: [0; 2],
        first: 0,
        all: 0,
    };
    let mut ones = [NONE; 1 << LOOK_BITS];
    let mut symbol = 0;
    while symbol < EOS {
        let length = LENGTHS[symbol] as u32;
        if length <= LOOK_BITS {
            let begin = (CANONICAL.codes[symbol] as usize) << (LOOK_BITS - length);
            let mut at = begin;
            while at < begin + (1 << (LOOK_BITS - length)) {
                ones[at] = Look {
                    symbols: [symbol as u8, 0],
                    first: length as u8,
                    all: length as u8,
                };
                at += 1;
            }
        }
        symbol += 1;
    }
    let mut looks = ones;
    let mut at = 0;
    while at < looks.len() {
        let one = ones[at];
        let next = ones[(at << one.first) & ((1 << LOOK_BITS) - 1)];
        if one.first > 0 && next.first > 0 && (one.first + next.first) as u32 <= LOOK_BITS {
            looks[at].symbols[1] = next.symbols[0];
            looks[at].all = one.first + next.first;
        }
        at += 1;
    }
    looks
}

static CANONICAL: Canonical = const { canonical() };
static LOOKS: [Look; 1 << LOOK_BITS] = const { looks() };

/// The symbol at the top of `bits` and the length of its code.
#[inline]
fn symbol(bits: u64) -> (usize, u32) {
    let look = LOOKS[(bits >> (64 - LOOK_BITS)) as usize];
    if look.first > 0 {
        return (usize::from(look.symbols[0]), u32::from(look.first));
    }
    long_symbol(bits)
}

#[cold]
fn long_symbol(bits: u64) -> (usize, u32) {
    let top = bits >> 32;
    let mut length = LOOK_BITS as usize + 1;
    while length < LONGEST && top >= CANONICAL.ends[length] {
        length += 1;
    }
    let place = (top >> (32 - length)) as i64 + CANONICAL.offsets[length];
    (usize::from(CANONICAL.sorted[place as usize]), length as u32)
}

/// Decodes `input` into `out`, which is cleared first.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
    out.clear();
    // The shortest code has five bits. One more than that: symbols are written in twos.
    out.resize(input.len() * 8 / 5 + 1, 0);
    let mut written = 0;
    let mut rest = input;
    let mut bits = 0_u64;
    let mut count = 0_u32;
    while let Some(word) = rest.first_chunk::<8>() {
        // Bits below `count` may be set already; they are those that come next anyway.
        bits |= u64::from_be_bytes(*word) >> count;
        let octets = (63 - count) / 8;
        rest = &rest[octets as usize..];
        count += octets * 8;
        while count >= LONGEST as u32 {
            let look = LOOKS[(bits >> (64 - LOOK_BITS)) as usize];
            if look.first > 0 {
                out[written..written + 2].copy_from_slice(&look.symbols);
                written += 1 + usize::from(look.all > look.first);
                bits <<= look.all;
                count -= u32::from(look.all);
                continue;
            }
            let (symbol, length) = long_symbol(bits);
            if symbol == EOS {
                return Err(CompressionError::Huffman);
            }
            out[written] = symbol as u8;
            written += 1;
            bits <<= length;
            count -= length;
        }
    }
    loop {
        while count < 56 {
            let Some((&octet, after)) = rest.split_first() else {
                break;
            };
            bits |= u64::from(octet) << (56 - count);
            rest = after;
            count += 8;
        }
        let padded = bits | (u64::MAX >> count);
        let (symbol, length) = symbol(padded);
        if length > count {
            // Only padding is left: fewer than eight bits, all ones.
            if count >= 8 || padded != u64::MAX {
                return Err(CompressionError::Huffman);
            }
            out.truncate(written);
            return Ok(());
        }
        if symbol == EOS {
            return Err(CompressionError::Huffman);
        }
        out[written] = symbol as u8;
        written += 1;
        bits <<= length;
        count -= length;
    }
}

/// How many bytes `input` takes when encoded.
pub(super) fn encoded_bytes(input: &[u8]) -> usize {
    let bits: usize = input
        .iter()
        .map(|&octet| usize::from(LENGTHS[usize::from(octet)]))
        .sum();
    bits.div_ceil(8)
}

/// Appends the code of `input`, padded with ones.
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) {
    let mut bits = 0_u64;
    let mut count = 0_u32;
    for &octet in input {
        let length = u32::from(LENGTHS[usize::from(octet)]);
        bits = bits << length | u64::from(CANONICAL.codes[usize::from(octet)]);
        count += length;
        if count >= 32 {
            count -= 32;
            out.extend_from_slice(&((bits >> count) as u32).to_be_bytes());
        }
    }
    if count > 0 {
        // 64 bits, top-aligned, ones below.
        let tail = bits << (64 - count) | (u64::MAX >> count);
        out.extend_from_slice(&tail.to_be_bytes()[..count.div_ceil(8) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_survives_alone_and_among_others() {
        let all: Vec<u8> = (0..=255).collect();
        let mut coded = Vec::new();
        let mut plain = Vec::new();
        for octets in all.chunks(1).chain([&all[..]]).chain(all.chunks(7)) {
            coded.clear();
            encode(octets, &mut coded);
            assert_eq!(coded.len(), encoded_bytes(octets));
            assert_eq!(decode(&coded, &mut plain), Ok(()));
            assert_eq!(plain, octets);
        }
    }

    #[test]
    fn padding_is_the_shortest_prefix_of_eos_and_eos_itself_is_refused() {
        let mut plain = Vec::new();
        // '1' is 00001.
        assert_eq!(decode(&[0b0000_1111], &mut plain), Ok(()));
        assert_eq!(plain, b"1");
        let refused: [&[u8]; 5] = [
            &[0b0000_1110],            // padded with a zero
            &[0b0000_1111, 0xff],      // eleven bits of padding
            &[0xff],                   // nothing but padding, a whole octet
            &[0xff, 0xff, 0xff, 0xfc], // EOS
            &[0xff, 0xff, 0xff, 0xfc, 0, 0, 0, 0, 0, 0],
        ];
        for input in refused {
            assert_eq!(
                decode(input, &mut plain),
                Err(CompressionError::Huffman),
                "{input:x?}"
            );
        }
    }
}
