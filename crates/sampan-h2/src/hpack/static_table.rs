//! The static table. Source: RFC 7541 appendix A.

use std::sync::LazyLock;

use bytes::Bytes;

use super::field::{Entry, Name};
use super::hash::{hash, same};

/// How many entries it has; the dynamic table's first index is one more.
pub(super) const STATIC_ENTRIES: usize = 61;

static FIELDS: [(&str, &str); STATIC_ENTRIES] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The entries, parsed. Their values are static: a clone touches no reference count.
pub(super) static ENTRIES: LazyLock<[Entry; STATIC_ENTRIES]> = LazyLock::new(|| {
    FIELDS.map(|(name, value)| {
        Entry::new(
            Name::parse(name.as_bytes()),
            Bytes::from_static(value.as_bytes()),
        )
    })
});

const SLOTS: usize = 128;

/// First index of each name, at the place its hash gives or the next free one; zero is free.
const fn slots() -> [u8; SLOTS] {
    let mut slots = [0; SLOTS];
    let mut at = 0;
    while at < STATIC_ENTRIES {
        let name = FIELDS[at].0.as_bytes();
        // Entries of one name stand side by side.
        if at == 0 || !same(name, FIELDS[at - 1].0.as_bytes()) {
            let mut slot = slot(hash(0, name));
            while slots[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = at as u8 + 1;
        }
        at += 1;
    }
    slots
}

const fn slot(name_hash: u64) -> usize {
    (name_hash >> 57) as usize % SLOTS
}

static NAMES: [u8; SLOTS] = const { slots() };

/// Index of the first entry with that name.
#[inline]
pub(super) fn find_name(name_hash: u64, name: &[u8]) -> Option<usize> {
    let mut slot = slot(name_hash);
    loop {
        let index = usize::from(NAMES[slot]);
        if index == 0 {
            return None;
        }
        if same(FIELDS[index - 1].0.as_bytes(), name) {
            return Some(index);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// As [`find_name`], for whoever has no hash of it.
pub(super) fn index_of_name(name: &[u8]) -> Option<usize> {
    find_name(hash(0, name), name)
}

/// Index of the entry with that value, among those of the name whose first one is `first`.
#[inline]
pub(super) fn find_value(first: usize, value: &[u8]) -> Option<usize> {
    let name = FIELDS[first - 1].0;
    let mut index = first;
    while let Some((its_name, its_value)) = FIELDS.get(index - 1)
        && same(its_name.as_bytes(), name.as_bytes())
    {
        if same(its_value.as_bytes(), value) {
            return Some(index);
        }
        index += 1;
    }
    None
}

/// Whether the entry of that index is this field; there is none of index zero.
#[inline]
pub(super) fn is(index: usize, name: &[u8], value: &[u8]) -> bool {
    FIELDS
        .get(index.wrapping_sub(1))
        .is_some_and(|(its_name, its_value)| {
            same(its_name.as_bytes(), name) && same(its_value.as_bytes(), value)
        })
}
