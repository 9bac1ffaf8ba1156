//! From header blocks to fields. Source: RFC 7541 sections 3, 4 and 6.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use http::header;

use super::field::{Entry, Field, Name};
use super::repeats::Repeats;
use super::static_table::{ENTRIES, STATIC_ENTRIES};
use super::{
    CompressionError, DEFAULT_TABLE_BYTES, Decoded, FIELD_OVERHEAD_BYTES, Flaw, huffman, integer,
};

/// Decodes the header blocks of one connection, in the order in which they arrive.
pub struct Decoder {
    table: Table,
    repeats: Repeats,
    max_list_bytes: usize,
}

struct Table {
    /// The newest entry is the first.
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
    /// What we allow the peer to set `max_bytes` to.
    limit_bytes: usize,
    generation: u64,
}

/// What the Huffman code of one block is decoded into. Nothing is kept between blocks.
#[derive(Default)]
struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
}

// === impl Decoder ===

impl Decoder {
    /// A decoder with an empty table.
    ///
    /// `table_bytes` is the SETTINGS_HEADER_TABLE_SIZE that we announce. The table starts with
    /// 4096 bytes whatever we announce; the peer sets other sizes, up to `table_bytes`, in its
    /// blocks. Of a list larger than `max_list_bytes` nothing more is kept than fits.
    #[must_use]
    pub fn new(table_bytes: usize, max_list_bytes: usize) -> Self {
        Self {
            table: Table {
                entries: VecDeque::new(),
                bytes: 0,
                max_bytes: DEFAULT_TABLE_BYTES,
                limit_bytes: table_bytes,
                generation: 0,
            },
            repeats: Repeats::default(),
            max_list_bytes,
        }
    }

    /// Decodes a whole header block.
    ///
    /// A block with a [`Flaw`] is decoded to its end, so that the table stays in step with the
    /// peer's.
    ///
    /// # Errors
    ///
    /// A [`CompressionError`] is a connection error of type COMPRESSION_ERROR: the table is no
    /// longer the peer's, and the decoder must not be used again.
    pub fn decode(&mut self, block: &[u8]) -> Result<Decoded, CompressionError> {
        // Filled where it is returned: moving it costs more than some of its fields.
        let mut result = Ok(Decoded::default());
        if let Ok(decoded) = &mut result
            && let Err(error) = self.decode_into(block, decoded)
        {
            result = Err(error);
        }
        result
    }

    /// Changes whenever the table does: while it is the same, a block that did not change it
    /// decodes to the same again.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.table.generation
    }

    /// Size of the table's entries by RFC 7541 section 4.1, in bytes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.table.bytes
    }

    /// Gives memory back that is not needed to decode.
    pub(crate) fn trim(&mut self) {
        self.repeats = Repeats::default();
    }

    #[inline]
    fn decode_into(&mut self, block: &[u8], decoded: &mut Decoded) -> Result<(), CompressionError> {
        let mut scratch = Scratch::default();
        let mut rest = self.table.size_updates(block)?;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            if first & 0x80 != 0 {
                let index = integer::decode(first, 7, &mut rest)?;
                let entry = self.table.entry(index)?;
                if count(decoded, entry.bytes, self.max_list_bytes) {
                    decoded.store(&entry.field);
                }
            } else {
                self.literal(first, &mut rest, decoded, &mut scratch)?;
            }
        }
        Ok(())
    }

    fn literal(
        &mut self,
        first: u8,
        rest: &mut &[u8],
        decoded: &mut Decoded,
        scratch: &mut Scratch,
    ) -> Result<(), CompressionError> {
        let (indexed, prefix_bits) = match first >> 4 {
            0b0100..=0b0111 => (true, 6),
            0b0010 | 0b0011 => return Err(CompressionError::LateTableSize),
            _ => (false, 4),
        };
        let is_sensitive = !indexed && first & 0x10 != 0;
        let index = integer::decode(first, prefix_bits, rest)?;
        let name = if index == 0 {
            let (octets, is_coded) = literal(rest)?;
            Name::parse(plain(octets, is_coded, &mut scratch.name)?)
        } else {
            self.table.entry(index)?.field.name()
        };
        let (octets, is_coded) = literal(rest)?;
        if is_coded && !indexed {
            let known = match &name {
                // The one name that minds its value.
                Name::Regular(name) if *name != header::TE => {
                    let value = self.repeats.find(octets);
                    value.map(|value| (Field::Regular(name.clone(), value.clone()), value.len()))
                }
                Name::Path => {
                    let path = self.repeats.find_path(octets);
                    path.map(|path| (Field::Path(path.clone()), path.len()))
                }
                _ => None,
            };
            if let Some((mut field, len)) = known {
                let bytes = name.len() + len + FIELD_OVERHEAD_BYTES;
                if count(decoded, bytes, self.max_list_bytes) {
                    if is_sensitive {
                        field.set_sensitive();
                    }
                    decoded.store_owned(field);
                }
                return Ok(());
            }
        }
        let value = plain(octets, is_coded, &mut scratch.value)?;
        let bytes = name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        let wanted = count(decoded, bytes, self.max_list_bytes);
        if indexed && bytes <= self.table.max_bytes {
            if wanted {
                // Copied, not shared: what is shared takes more memory, and a table stays.
                decoded.store_owned(Field::new(name.clone(), shared(value)));
            }
            let field = Field::new(name, shared(value));
            self.table.insert(Entry { field, bytes });
            return Ok(());
        }
        if indexed {
            // RFC 7541 section 4.4: an entry larger than the table empties it.
            self.table.evict_to(0);
        }
        if wanted {
            let mut field = Field::new(name, shared(value));
            if is_coded {
                match &field {
                    Field::Regular(_, value) => self.repeats.keep(octets, value),
                    Field::Path(path) => self.repeats.keep_path(octets, path),
                    _ => {}
                }
            }
            if is_sensitive {
                field.set_sensitive();
            }
            decoded.store_owned(field);
        }
        Ok(())
    }
}

/// What every request of gRPC says is not copied.
#[inline]
fn shared(value: &[u8]) -> Bytes {
    match value {
        b"trailers" => Bytes::from_static(b"trailers"),
        b"application/grpc" => Bytes::from_static(b"application/grpc"),
        _ => Bytes::copy_from_slice(value),
    }
}

/// Counts a field; says whether it is to be stored.
#[inline]
fn count(decoded: &mut Decoded, bytes: usize, max_list_bytes: usize) -> bool {
    decoded.list_bytes = decoded.list_bytes.saturating_add(bytes);
    if decoded.flaw.is_some() {
        return false;
    }
    if decoded.list_bytes > max_list_bytes {
        decoded.flaw = Some(Flaw::TooLarge);
        return false;
    }
    true
}

/// A string literal as it stands in the block, and whether it is in Huffman code.
#[inline]
fn literal<'block>(rest: &mut &'block [u8]) -> Result<(&'block [u8], bool), CompressionError> {
    let (&first, mut after) = rest.split_first().ok_or(CompressionError::Truncated)?;
    let length = integer::decode(first, 7, &mut after)? as usize;
    let (octets, after) = after
        .split_at_checked(length)
        .ok_or(CompressionError::Truncated)?;
    *rest = after;
    Ok((octets, first & 0x80 != 0))
}

/// What a literal says: as it stands there, or decoded into `scratch`.
fn plain<'s, 'block: 's>(
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

impl fmt::Debug for Decoder {
    /// Without the fields: they are other people's.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Decoder")
            .field("table_bytes", &self.table.bytes)
            .field("max_table_bytes", &self.table.max_bytes)
            .field("max_list_bytes", &self.max_list_bytes)
            .finish_non_exhaustive()
    }
}

// === impl Table ===

impl Table {
    #[inline]
    fn entry(&self, index: u32) -> Result<&Entry, CompressionError> {
        let place = (index as usize).wrapping_sub(1);
        let entry = if place < STATIC_ENTRIES {
            ENTRIES.get(place)
        } else {
            self.entries.get(place.wrapping_sub(STATIC_ENTRIES))
        };
        entry.ok_or(CompressionError::Index(index))
    }

    /// Takes the size updates off the beginning of a block.
    #[inline]
    fn size_updates<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], CompressionError> {
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
            self.evict_to(self.max_bytes);
            rest = after;
        }
        Ok(rest)
    }

    /// `entry` fits into `max_bytes`.
    fn insert(&mut self, entry: Entry) {
        self.evict_to(self.max_bytes - entry.bytes);
        self.bytes += entry.bytes;
        let len = self.entries.len();
        if len == self.entries.capacity() {
            // By half: most tables have few entries, and stay as they are.
            self.entries.reserve_exact((len / 2).max(4));
        }
        self.entries.push_front(entry);
        self.generation += 1;
    }

    fn evict_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(entry) = self.entries.pop_back() else {
                break;
            };
            self.bytes -= entry.bytes;
            self.generation += 1;
        }
    }
}
