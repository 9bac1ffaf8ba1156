//! How the encoder finds fields: a hash and a comparison, made for octets as few as names have.
//!
//! Const, so that the static table's index is data.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}

/// Hashes a name, or a value with the hash of its name as `seed`.
///
/// The upper bits are the good ones. Not resistant to chosen collisions: a chain has at most as
/// many entries as the table.
#[inline]
pub(super) const fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = mix(seed, bytes.len() as u64);
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        state = mix(state, u64::from_le_bytes(*chunk));
        rest = after;
    }
    mix(state, tail(bytes, rest))
}

/// Equality without a call: most names and values are shorter than what a call costs.
#[inline]
pub(super) const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (mut left_rest, mut right_rest) = (left, right);
    while let (Some((left_word, left_after)), Some((right_word, right_after))) = (
        left_rest.split_first_chunk::<8>(),
        right_rest.split_first_chunk::<8>(),
    ) {
        if u64::from_ne_bytes(*left_word) != u64::from_ne_bytes(*right_word) {
            return false;
        }
        left_rest = left_after;
        right_rest = right_after;
    }
    tail(left, left_rest) == tail(right, right_rest)
}

/// The last octets in one word, `rest` being those behind the last whole word of `all`.
///
/// Octets may be in it twice: it tells slices of one length apart if the words before are equal.
#[inline]
const fn tail(all: &[u8], rest: &[u8]) -> u64 {
    if rest.is_empty() {
        0
    } else if let Some(last) = all.last_chunk::<8>() {
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (u32::from_le_bytes(*first) as u64) | ((u32::from_le_bytes(*last) as u64) << 32)
    } else {
        let (first, middle, last) = (rest[0], rest[rest.len() / 2], rest[rest.len() - 1]);
        (first as u64) | ((middle as u64) << 8) | ((last as u64) << 16)
    }
}
