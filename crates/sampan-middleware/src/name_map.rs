//! Maps by names that are ours: of services and methods that exist.
//!
//! Looked up for every call. Callers choose what is looked up and never what is in the map, so
//! the hash need not stand up to them and may be quick.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A map from names. Not for names that callers make up.
pub type NameMap<V> = HashMap<Box<str>, V, BuildHasherDefault<NameHasher>>;

/// Mixes eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NameHasher(u64);

// === impl NameHasher ===

impl NameHasher {
    fn mix(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(ODD);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut eight = [0; 8];
            eight.copy_from_slice(word);
            self.mix(u64::from_le_bytes(eight));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut eight = [0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(eight));
        }
    }

    // What ends a text adds nothing.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        // The map takes its place from the low bits and a tag from the high ones.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_little_do_not_share_their_places() {
        let names = (0..1000).map(|n| format!("package.v1.Service/Method{n}"));
        let map: NameMap<usize> = names.clone().map(|name| (name.into(), 0)).collect();
        let hasher = map.hasher();
        let places: std::collections::BTreeSet<_> = names
            .map(|name| std::hash::BuildHasher::hash_one(hasher, name.as_str()) % 4096)
            .collect();
        assert!(places.len() > 800, "{}", places.len());
    }
}
