//! The encoder's dynamic table: entries as bytes, found by hash.

use super::FIELD_OVERHEAD_BYTES;
use super::hash::same;

const BUCKET_BITS: u32 = 5;
const BUCKETS: usize = 1 << BUCKET_BITS;
const FIRST_PLACES: usize = 2;
/// So few entries are looked through one by one: most connections have no more, and need no
/// memory for the buckets.
const FEW: usize = 8;
/// Dead octets are removed once there are more of them than this and than living ones.
const SLACK_BYTES: usize = 512;

/// Entries chained by hash, newest first. Links to evicted entries simply end a chain, so that
/// eviction has nothing to unlink.
#[derive(Debug)]
pub(super) struct Index {
    /// A ring with a power of two places; each entry is at the place of its number.
    ring: Vec<Entry>,
    len: usize,
    /// Number of the newest entry; the first had the number 1. Wraps.
    newest: u32,
    /// None while there were only few entries.
    buckets: Option<Box<Buckets>>,
    /// Names and values, in the order of the entries, after `dead` octets of evicted ones.
    octets: Vec<u8>,
    dead: usize,
    /// How many octets were removed from the front of `octets` so far. Wraps.
    removed: u32,
    bytes: usize,
}

/// The numbers of the newest entries by hash.
#[derive(Debug)]
struct Buckets {
    by_field: [u32; BUCKETS],
    by_name: [u32; BUCKETS],
}

#[derive(Clone, Debug, Default)]
struct Entry {
    field_hash: u32,
    name_hash: u32,
    older_field: u32,
    older_name: u32,
    /// Where the entry begins, counted over all octets that ever were. Wraps.
    at: u32,
    name_len: u16,
    value_len: u16,
    used: bool,
}

/// What leaves the table: the hash of its name, and whether it was ever found again.
#[derive(Debug)]
pub(super) struct Evicted {
    pub(super) name_hash: u32,
    pub(super) used: bool,
}

// === impl Index ===

impl Index {
    pub(super) fn new() -> Self {
        Self {
            ring: Vec::new(),
            len: 0,
            newest: 0,
            buckets: None,
            octets: Vec::new(),
            dead: 0,
            removed: 0,
            bytes: 0,
        }
    }

    /// Size of the entries by RFC 7541 section 4.1.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries came after the one with that name and value.
    #[inline]
    pub(super) fn find_field(&mut self, hash: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        let Some(buckets) = &self.buckets else {
            return (0..self.len).find(|&age| {
                let number = self.number(age);
                self.ring[self.place(number)].field_hash == hash
                    && self.is(number, name, value).is_some()
            });
        };
        let mut number = buckets.by_field[bucket(hash)];
        let mut at_least = 0;
        loop {
            let age = self.age(number, at_least)?;
            let entry = &self.ring[self.place(number)];
            if entry.field_hash == hash && self.is(number, name, value).is_some() {
                return Some(age);
            }
            let entry = &self.ring[self.place(number)];
            number = entry.older_field;
            at_least = age + 1;
        }
    }

    /// How many entries came after that of this number, if it has that name and value.
    #[inline]
    pub(super) fn is(&mut self, number: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        let age = self.age(number, 0)?;
        let place = self.place(number);
        let entry = &self.ring[place];
        if usize::from(entry.name_len) != name.len() || usize::from(entry.value_len) != value.len()
        {
            return None;
        }
        let (its_name, its_value) = self.octets_of(entry);
        if !same(its_name, name) || !same(its_value, value) {
            return None;
        }
        self.ring[place].used = true;
        Some(age)
    }

    /// The number of the entry after which `age` entries came.
    #[inline]
    pub(super) fn number(&self, age: usize) -> u32 {
        self.newest.wrapping_sub(age as u32)
    }

    /// How many entries came after the newest one with that name.
    pub(super) fn find_name(&self, hash: u32, name: &[u8]) -> Option<usize> {
        let is = |entry: &Entry| entry.name_hash == hash && same(self.octets_of(entry).0, name);
        let Some(buckets) = &self.buckets else {
            return (0..self.len).find(|&age| is(&self.ring[self.place(self.number(age))]));
        };
        let mut number = buckets.by_name[bucket(hash)];
        let mut at_least = 0;
        loop {
            let age = self.age(number, at_least)?;
            let entry = &self.ring[self.place(number)];
            if is(entry) {
                return Some(age);
            }
            number = entry.older_name;
            at_least = age + 1;
        }
    }

    /// Adds an entry for which room was made. Both lengths are below 64 KiB.
    pub(super) fn insert(&mut self, field_hash: u32, name_hash: u32, name: &[u8], value: &[u8]) {
        if self.len == self.ring.len() {
            self.grow();
        }
        self.newest = self.newest.wrapping_add(1);
        let mut entry = Entry {
            field_hash,
            name_hash,
            older_field: 0,
            older_name: 0,
            at: self.removed.wrapping_add(self.octets.len() as u32),
            name_len: name.len() as u16,
            value_len: value.len() as u16,
            used: false,
        };
        self.octets.extend_from_slice(name);
        self.octets.extend_from_slice(value);
        self.bytes += entry.bytes();
        if let Some(buckets) = &mut self.buckets {
            buckets.link(&mut entry, self.newest);
        }
        let place = self.place(self.newest);
        self.ring[place] = entry;
        self.len += 1;
    }

    /// Removes the oldest entry.
    pub(super) fn evict(&mut self) -> Option<Evicted> {
        let younger = self.len.checked_sub(1)?;
        let entry = &self.ring[self.place(self.newest.wrapping_sub(younger as u32))];
        let evicted = Evicted {
            name_hash: entry.name_hash,
            used: entry.used,
        };
        self.len = younger;
        self.bytes -= entry.bytes();
        self.dead += usize::from(entry.name_len) + usize::from(entry.value_len);
        if self.dead > SLACK_BYTES && self.dead > self.octets.len() / 2 {
            self.octets.drain(..self.dead);
            self.removed = self.removed.wrapping_add(self.dead as u32);
            self.dead = 0;
        }
        Some(evicted)
    }

    fn grow(&mut self) {
        let places = (self.ring.len() * 2).max(FIRST_PLACES);
        let mut ring = vec![Entry::default(); places];
        for age in 0..self.len {
            let number = self.newest.wrapping_sub(age as u32);
            let place = self.place(number);
            ring[number as usize & (places - 1)] = std::mem::take(&mut self.ring[place]);
        }
        self.ring = ring;
        if places > FEW && self.buckets.is_none() {
            let mut buckets = Box::new(Buckets {
                by_field: [0; BUCKETS],
                by_name: [0; BUCKETS],
            });
            for age in (0..self.len).rev() {
                let number = self.number(age);
                let place = self.place(number);
                buckets.link(&mut self.ring[place], number);
            }
            self.buckets = Some(buckets);
        }
    }

    /// How many entries came after `number`, if it is still there and as old as a chain's next
    /// must be. Numbers wrap, so that a link left from long ago could otherwise close a circle.
    #[inline]
    fn age(&self, number: u32, at_least: usize) -> Option<usize> {
        let age = self.newest.wrapping_sub(number) as usize;
        (age < self.len && age >= at_least).then_some(age)
    }

    #[inline]
    fn place(&self, number: u32) -> usize {
        number as usize & self.ring.len().wrapping_sub(1)
    }

    #[inline]
    fn octets_of(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let from = entry.at.wrapping_sub(self.removed) as usize;
        let (name_len, value_len) = (usize::from(entry.name_len), usize::from(entry.value_len));
        self.octets[from..from + name_len + value_len].split_at(name_len)
    }
}

impl Buckets {
    fn link(&mut self, entry: &mut Entry, number: u32) {
        let by_field = &mut self.by_field[bucket(entry.field_hash)];
        let by_name = &mut self.by_name[bucket(entry.name_hash)];
        entry.older_field = std::mem::replace(by_field, number);
        entry.older_name = std::mem::replace(by_name, number);
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        usize::from(self.name_len) + usize::from(self.value_len) + FIELD_OVERHEAD_BYTES
    }
}

#[inline]
fn bucket(hash: u32) -> usize {
    (hash >> (u32::BITS - BUCKET_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_whether_there_are_few_or_many() {
        let mut index = Index::new();
        for at in 0..4 * FEW {
            let (name, value) = (format!("name {}", at % 3), format!("value {at}"));
            index.insert(at as u32, at as u32 % 3, name.as_bytes(), value.as_bytes());
            assert_eq!(index.buckets.is_some(), at >= FEW);
            for older in 0..=at {
                let of = at - older;
                let (name, value) = (format!("name {}", of % 3), format!("value {of}"));
                let found = index.find_field(of as u32, name.as_bytes(), value.as_bytes());
                assert_eq!(found, Some(older));
                let newest = index.find_name(of as u32 % 3, name.as_bytes());
                assert_eq!(newest, Some(older % 3));
            }
            assert_eq!(index.find_field(at as u32, b"name", b"value"), None);
        }
    }

    #[test]
    fn entries_are_found_when_numbers_and_octets_have_wrapped() {
        let mut index = Index::new();
        index.newest = u32::MAX - 20;
        index.removed = u32::MAX - 700;
        // All in one chain, which stale links of long ago would lead astray.
        index.buckets = Some(Box::new(Buckets {
            by_field: [5; BUCKETS],
            by_name: [0; BUCKETS],
        }));
        let value = |at: usize| format!("value {at:026}");
        for at in 0..60 {
            if index.len == 10 {
                assert_eq!(index.evict().map(|evicted| evicted.used), Some(true));
            }
            index.insert(0, 0, b"name", value(at).as_bytes());
            for older in 0..=at.min(9) {
                let found = index.find_field(0, b"name", value(at - older).as_bytes());
                assert_eq!(found, Some(older));
            }
            assert_eq!(index.find_field(0, b"name", value(at + 1).as_bytes()), None);
            assert_eq!(index.find_name(0, b"name"), Some(0));
            assert_eq!(index.find_name(0, b"nome"), None);
        }
        assert!(index.octets.len() < 2_000);
    }
}
