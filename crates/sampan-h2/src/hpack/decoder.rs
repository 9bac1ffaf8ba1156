//! From header blocks to fields. Source: RFC 7541 sections 3, 4 and 6.

use std::fmt;

use http::header::{self, HeaderName};

use super::field::{Entry, Field, Name};
use super::repeats::Repeats;
use super::table::{Scratch, Table, literal, plain, shared};
use super::{CompressionError, Decoded, FIELD_OVERHEAD_BYTES, Flaw, integer};
use crate::head::is_grpc_type;

/// Decodes the header blocks of one connection, in the order in which they arrive.
pub struct Decoder {
    table: Table,
    repeats: Repeats,
    max_list_bytes: usize,
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
            table: Table::new(table_bytes),
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

    /// Gives memory back that is not needed while nothing comes. What is decoded stays the same.
    pub fn trim(&mut self) {
        self.repeats = Repeats::default();
        self.table.pack();
    }

    #[inline]
    fn decode_into(&mut self, block: &[u8], decoded: &mut Decoded) -> Result<(), CompressionError> {
        let mut scratch = Scratch::default();
        let mut rest = self.table.size_updates(block)?;
        while let Some((&first, after)) = rest.split_first() {
            let from_here = rest;
            rest = after;
            if first & 0x80 != 0 {
                let index = integer::decode(first, 7, &mut rest)?;
                let entry = self.table.entry(index)?;
                if count(decoded, entry.bytes, self.max_list_bytes) {
                    decoded.store(&entry.field);
                } else if let Field::Regular(name, value) = &entry.field {
                    pass_over(decoded, name, value.as_bytes());
                }
            } else {
                self.literal(from_here, &mut rest, decoded, &mut scratch)?;
            }
        }
        Ok(())
    }

    /// `from_here` begins with the octet before `rest`.
    fn literal(
        &mut self,
        from_here: &[u8],
        rest: &mut &[u8],
        decoded: &mut Decoded,
        scratch: &mut Scratch,
    ) -> Result<(), CompressionError> {
        let first = from_here.first().copied().unwrap_or_default();
        let (indexed, prefix_bits) = match first >> 4 {
            0b0100..=0b0111 => (true, 6),
            0b0010 | 0b0011 => return Err(CompressionError::LateTableSize),
            _ => (false, 4),
        };
        let is_sensitive = !indexed && first & 0x10 != 0;
        let index = integer::decode(first, prefix_bits, rest)?;
        let name = if index == 0 {
            scratch.name(rest)?
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
        if let Name::Regular(name) = &name
            && !wanted
        {
            pass_over(decoded, name, value);
        }
        if indexed && bytes <= self.table.max_bytes {
            let (came_as, _) = from_here.split_at(from_here.len() - rest.len());
            if !self.table.append(came_as, bytes, rest.len()) {
                // Copied, not shared: what is shared takes more memory, and a table stays.
                let field = Field::new(name.clone(), shared(value));
                self.table.insert(Entry { field, bytes })?;
            }
            if wanted {
                decoded.store_owned(Field::new(name, shared(value)));
            }
            return Ok(());
        }
        if indexed {
            // RFC 7541 section 4.4: an entry larger than the table empties it.
            self.table.evict_to(0)?;
        }
        if wanted {
            let mut field = Field::new(name, shared(value));
            if is_coded {
                match &field {
                    // One that was trimmed counts more than it is long.
                    Field::Regular(_, kept) if kept.len() == value.len() => {
                        self.repeats.keep(octets, kept);
                    }
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

#[cold]
fn pass_over(decoded: &mut Decoded, name: &HeaderName, value: &[u8]) {
    decoded.is_grpc_beyond |= *name == header::CONTENT_TYPE && is_grpc_type(value);
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
