//! The decoder's dynamic table: parsed while it is used, else as it came.

use super::{
    CompressionError, DEFAULT_TABLE_BYTES, FIELD_OVERHEAD_BYTES, encoder,
    field::{Entry, Name},
    huffman, integer,
    static_table::{self, ENTRIES, STATIC_ENTRIES},
};
use bytes::Bytes;
use std::{borrow::Cow, collections::VecDeque};

/// The entries that the peer may name, and what they count.
pub(super) struct Table {
    entries: Entries,
    pub(super) bytes: usize,
    pub(super) max_bytes: usize,
    /// What we allow the peer to set `max_bytes` to.
    limit_bytes: usize,
    pub(super) generation: u64,
}

enum Entries {
    /// The newest entry is the first.
    Parsed(VecDeque<Entry>),
    /// As literals of a header block, the oldest entry first, until one of them is named: a
    /// connection that has made one call, or rests, takes a third of the memory so.
    Packed(Vec<u8>),
}

/// What the Huffman code of one block is decoded into. Nothing is kept between blocks.
#[derive(Default)]
pub(super) struct Scratch {
    name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

// === impl Table ===

impl Table {
    pub(super) const fn new(limit_bytes: usize) -> Self {
        Self {
            entries: Entries::Packed(Vec::new()),
            bytes: 0,
            max_bytes: DEFAULT_TABLE_BYTES,
            limit_bytes,
            generation: 0,
        }
    }

    #[inline]
    pub(super) fn entry(&mut self, index: u32) -> Result<&Entry, CompressionError> {
        let place = (index as usize).wrapping_sub(1);
        let entry = if place < STATIC_ENTRIES {
            ENTRIES.get(place)
        } else {
            self.parsed()?.get(place.wrapping_sub(STATIC_ENTRIES))
        };
        entry.ok_or(CompressionError::Index(index))
    }

    /// Takes the size updates off the beginning of a block.
    #[inline]
    pub(super) fn size_updates<'a>(
        &mut self,
        block: &'a [u8],
    ) -> Result<&'a [u8], CompressionError> {
        let mut rest = block;
        while let Some((&first, mut after)) = rest.split_first()
            && first & 0xe0 == 0x20
        {
            let bytes = integer::decode(first, 5, &mut after)?;
            if bytes as usize > self.limit_bytes {
                return Err(CompressionError::TableSize(bytes));
            }
            self.max_bytes = bytes as usize;
            self.generation += 1;
            self.evict_to(self.max_bytes)?;
            rest = after;
        }
        Ok(rest)
    }

    /// Adds an entry as the `literal` that it came as, which counts `bytes`; so many are in the
    /// block after it. False: it is to be [inserted](Self::insert), since the table is in use or
    /// full.
    pub(super) fn append(&mut self, literal: &[u8], bytes: usize, after: usize) -> bool {
        let Entries::Packed(literals) = &mut self.entries else {
            return false;
        };
        let room = self.max_bytes.saturating_sub(self.bytes);
        // Huffman code can be longer than what it says.
        if bytes > room || literal.len() > bytes {
            return false;
        }
        if literals.capacity() - literals.len() < literal.len() {
            // All that comes with this block, and no more.
            literals.reserve_exact(literal.len() + after.min(room - bytes));
        }
        literals.extend_from_slice(literal);
        self.bytes += bytes;
        self.generation += 1;
        true
    }

    /// Adds an entry that fits into `max_bytes`.
    pub(super) fn insert(&mut self, entry: Entry) -> Result<(), CompressionError> {
        self.evict_to(self.max_bytes - entry.bytes)?;
        self.bytes += entry.bytes;
        self.generation += 1;
        let entries = self.parsed()?;
        let len = entries.len();
        if len == entries.capacity() {
            // By half: most tables have few entries, and stay as they are.
            entries.reserve_exact((len / 2).max(4));
        }
        entries.push_front(entry);
        Ok(())
    }

    pub(super) fn evict_to(&mut self, bytes: usize) -> Result<(), CompressionError> {
        while self.bytes > bytes {
            let Some(entry) = self.parsed()?.pop_back() else {
                break;
            };
            self.bytes -= entry.bytes;
            self.generation += 1;
        }
        Ok(())
    }

    /// Keeps the entries as literals until one is named again. They stay the same.
    pub(super) fn pack(&mut self) {
        let packed = match &mut self.entries {
            Entries::Packed(literals) => return literals.shrink_to_fit(),
            Entries::Parsed(entries) => {
                let mut literals = Vec::new();
                let mut whole = entries.iter().rev();
                if !whole.all(|entry| put(entry, &mut literals)) {
                    return;
                }
                literals.shrink_to_fit();
                literals
            }
        };
        self.entries = Entries::Packed(packed);
    }

    #[inline]
    fn parsed(&mut self) -> Result<&mut VecDeque<Entry>, CompressionError> {
        if let Entries::Packed(literals) = &mut self.entries {
            let literals = std::mem::take(literals);
            self.entries = Entries::Parsed(unpack(&literals)?);
        }
        match &mut self.entries {
            Entries::Parsed(entries) => Ok(entries),
            Entries::Packed(_) => Err(CompressionError::Truncated),
        }
    }
}

/// Those of literals that were understood when they came.
#[cold]
fn unpack(literals: &[u8]) -> Result<VecDeque<Entry>, CompressionError> {
    let (mut entries, mut scratch) = (VecDeque::new(), Scratch::default());
    let mut rest = literals;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let name = match integer::decode(first, 6, &mut rest)? {
            0 => scratch.name(&mut rest)?,
            index => ENTRIES
                .get(index as usize - 1)
                .ok_or(CompressionError::Index(index))?
                .field
                .name(),
        };
        let (octets, is_coded) = literal(&mut rest)?;
        let value = plain(octets, is_coded, &mut scratch.value)?;
        if entries.len() == entries.capacity() {
            entries.reserve_exact((entries.len() / 2).max(4));
        }
        entries.push_front(Entry::new(name, shared(value)));
    }
    Ok(entries)
}

/// Appends a literal of which [`unpack`] makes the same entry. False: there is none.
fn put(entry: &Entry, literals: &mut Vec<u8>) -> bool {
    let Some((name, value)) = entry.field.octets() else {
        return false;
    };
    let mut value = Cow::Borrowed(value);
    let trimmed = entry.bytes - FIELD_OVERHEAD_BYTES - name.len() - value.len();
    if trimmed > 0 {
        // It counts as much as before.
        let len = value.len() + trimmed;
        value.to_mut().resize(len, b' ');
    }
    let index = static_table::index_of_name(name);
    integer::encode(index.unwrap_or(0), 6, 0x40, literals);
    if index.is_none() {
        encoder::string_short(name, literals);
    }
    encoder::string_short(&value, literals);
    true
}

/// What every request of gRPC says is not copied.
#[inline]
pub(super) fn shared(value: &[u8]) -> Bytes {
    match value {
        b"trailers" => Bytes::from_static(b"trailers"),
        b"application/grpc" => Bytes::from_static(b"application/grpc"),
        _ => Bytes::copy_from_slice(value),
    }
}

/// A string literal as it stands in the block, and whether it is in Huffman code.
#[inline]
pub(super) fn literal<'block>(
    rest: &mut &'block [u8],
) -> Result<(&'block [u8], bool), CompressionError> {
    let (&first, mut after) = rest.split_first().ok_or(CompressionError::Truncated)?;
    let length = integer::decode(first, 7, &mut after)? as usize;
    let (octets, after) = after
        .split_at_checked(length)
        .ok_or(CompressionError::Truncated)?;
    *rest = after;
    Ok((octets, first & 0x80 != 0))
}

/// What a literal says: as it stands there, or decoded into `scratch`.
pub(super) fn plain<'s, 'block: 's>(
    octets: &'block [u8],
    is_coded: bool,
    scratch: &'s mut Vec<u8>,
) -> Result<&'s [u8], CompressionError> {
    if !is_coded {
        return Ok(octets);
    }
    huffman::decode(octets, scratch)?;
    Ok(scratch)
}

// === impl Scratch ===

impl Scratch {
    /// The name that a literal begins with.
    pub(super) fn name(&mut self, rest: &mut &[u8]) -> Result<Name, CompressionError> {
        let (octets, is_coded) = literal(rest)?;
        Ok(Name::parse(plain(octets, is_coded, &mut self.name)?))
    }
}
