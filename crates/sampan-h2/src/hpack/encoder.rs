//! From fields to header blocks. Source: RFC 7541 sections 4.2 and 6.

use std::fmt;

use http::header::{self, HeaderName};

use super::hash::hash;
use super::index::Index;
use super::static_table::{self, STATIC_ENTRIES};
use super::{DEFAULT_TABLE_BYTES, FIELD_OVERHEAD_BYTES, huffman, integer};

/// Larger entries are not indexed: they would push out too much of a table of 4 KiB.
const MAX_ENTRY_BYTES: usize = 1024;

/// How a field may use the dynamic table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexing {
    /// Looked up, and added when it is not there and not too large.
    Incremental,
    /// Sent in full: its value will not come again.
    Without,
    /// Sent in full, and marked so that nobody on the way indexes it either.
    Never,
}

/// Encodes the header blocks of one connection.
pub struct Encoder {
    index: Index,
    max_bytes: u32,
    /// Set while the peer has not been told of `max_bytes`: the smallest value since.
    smallest_untold: Option<u32>,
    /// For each class of names, entries that left the table without ever being found again.
    wasted: [u8; WASTE_CLASSES],
    generation: u64,
    /// For each class of indices, what followed when a field was last sent as one of them.
    followers: [Token; FOLLOWER_CLASSES],
    /// The class of the last indexed field; the last class is that of a block's beginning.
    class: u8,
}

const FOLLOWER_CLASSES: usize = 33;
const BEGINNING: u8 = 32;

/// An index of the static table or, from this value on, the end of a dynamic entry's number. A
/// guess is only ever a guess: that another entry may end alike does no harm.
type Token = u16;
const DYNAMIC: Token = 1 << 15;

const WASTE_CLASSES: usize = 32;
/// After so many wasted entries a class of names is no longer indexed …
const WASTE_LIMIT: u8 = 8;
/// … until this many of its fields have passed, when it gets one more try.
const WASTE_END: u8 = 200;

// === impl Indexing ===

impl Indexing {
    /// What suits a field of that name.
    ///
    /// Secrets are never indexed. Names whose values differ with each call are not, since each
    /// would push out an entry of use. A value marked sensitive is for the caller to send as
    /// [`Indexing::Never`].
    #[must_use]
    pub fn of(name: &HeaderName) -> Self {
        if [
            header::AUTHORIZATION,
            header::COOKIE,
            header::SET_COOKIE,
            header::PROXY_AUTHORIZATION,
        ]
        .contains(name)
        {
            return Self::Never;
        }
        match name.as_str() {
            "grpc-timeout"
            | "grpc-message"
            | "grpc-status-details-bin"
            | "grpc-previous-rpc-attempts"
            | "grpc-retry-pushback-ms"
            | "grpc-trace-bin"
            | "grpc-tags-bin"
            | "grpc-server-stats-bin"
            | "endpoint-load-metrics-bin"
            | "traceparent"
            | "tracestate"
            | "b3"
            | "x-b3-traceid"
            | "x-b3-spanid"
            | "x-b3-parentspanid"
            | "x-cloud-trace-context"
            | "x-amzn-trace-id"
            | "x-request-id"
            | "x-correlation-id"
            | "idempotency-key"
            | "date"
            | "age"
            | "content-length"
            | "etag"
            | "if-match"
            | "if-none-match"
            | "last-modified"
            | "if-modified-since"
            | "if-unmodified-since" => Self::Without,
            _ => Self::Incremental,
        }
    }
}

// === impl Encoder ===

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder with an empty table of 4096 bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            index: Index::new(),
            max_bytes: most_bytes(DEFAULT_TABLE_BYTES),
            smallest_untold: None,
            wasted: [0; WASTE_CLASSES],
            generation: 0,
            followers: [0; FOLLOWER_CLASSES],
            class: BEGINNING,
        }
    }

    /// Takes the SETTINGS_HEADER_TABLE_SIZE of the peer. More than 4096 bytes are never used.
    pub fn set_max_table_bytes(&mut self, bytes: usize) {
        let bytes = most_bytes(bytes);
        if bytes == self.max_bytes {
            return;
        }
        self.max_bytes = bytes;
        self.smallest_untold = Some(self.smallest_untold.map_or(bytes, |least| least.min(bytes)));
        self.generation += 1;
        self.make_room(0);
    }

    /// Begins a block: appends the size updates that the peer has to see, if any.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.class = BEGINNING;
        let Some(smallest) = self.smallest_untold.take() else {
            return;
        };
        self.generation += 1;
        if smallest < self.max_bytes {
            integer::encode(smallest as usize, 5, 0x20, out);
        }
        integer::encode(self.max_bytes as usize, 5, 0x20, out);
    }

    /// Appends one field. Pseudo-header fields come first, by the caller's care.
    pub fn field(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        if indexing != Indexing::Incremental {
            self.literal(name, value, indexing, out);
        } else if let Some(index) = self.check(self.followers[usize::from(self.class)], name, value)
        {
            // Fields come in the same order each time: most are found without a hash.
            self.class = follower_class(self.followers[usize::from(self.class)]);
            integer::encode(index, 7, 0x80, out);
        } else {
            self.search(name, value, out);
        }
    }

    /// Changes whenever the table does, and when a size update waits or was just sent: while it
    /// is the same, a block that did not change it may be sent again as it is.
    #[inline]
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Size of the table's entries by RFC 7541 section 4.1, in bytes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.index.bytes()
    }

    fn dynamic_name(&self, name_hash: u32, name: &[u8]) -> Option<usize> {
        let age = self.index.find_name(name_hash, name)?;
        Some(STATIC_ENTRIES + 1 + age)
    }

    /// A field that is for the dynamic table and is not what followed last time.
    #[inline(never)]
    fn search(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let name_hash = hash(0, name);
        let field_hash = narrow(hash(name_hash, value));
        let token = if let Some(age) = self.index.find_field(field_hash, name, value) {
            integer::encode(STATIC_ENTRIES + 1 + age, 7, 0x80, out);
            dynamic(self.index.number(age))
        } else {
            self.add(name_hash, field_hash, name, value, out)
        };
        self.followers[usize::from(self.class)] = token;
        self.class = follower_class(token);
    }

    /// A field that is not for the dynamic table.
    fn literal(&mut self, name: &[u8], value: &[u8], indexing: Indexing, out: &mut Vec<u8>) {
        let name_hash = hash(0, name);
        let static_name = static_table::find_name(name_hash, name);
        let mut pattern = 0x10;
        if indexing != Indexing::Never {
            pattern = 0;
            if let Some(first) = static_name
                && let Some(index) = static_table::find_value(first, value)
            {
                integer::encode(index, 7, 0x80, out);
                return;
            }
        }
        let index = static_name.or_else(|| self.dynamic_name(narrow(name_hash), name));
        literal_plain(index, pattern, name, value, out);
    }

    /// The index of what `token` names, if it is this field.
    #[inline]
    fn check(&mut self, token: Token, name: &[u8], value: &[u8]) -> Option<usize> {
        if token < DYNAMIC {
            let index = usize::from(token);
            return static_table::is(index, name, value).then_some(index);
        }
        let newest = self.index.number(0);
        let age = dynamic(newest).wrapping_sub(token) & !DYNAMIC;
        let number = self.index.number(usize::from(age));
        let age = self.index.is(number, name, value)?;
        Some(STATIC_ENTRIES + 1 + age)
    }

    /// A field that is not in the dynamic table. Returns what it was sent as.
    fn add(
        &mut self,
        name_hash: u64,
        field_hash: u32,
        name: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Token {
        let static_name = static_table::find_name(name_hash, name);
        if let Some(first) = static_name
            && let Some(index) = static_table::find_value(first, value)
        {
            integer::encode(index, 7, 0x80, out);
            return index as Token;
        }
        let name_hash = narrow(name_hash);
        let index = static_name.or_else(|| self.dynamic_name(name_hash, name));
        let bytes = name.len() + value.len() + FIELD_OVERHEAD_BYTES;
        if bytes > MAX_ENTRY_BYTES.min(self.max_bytes as usize) || self.is_wasteful(name_hash) {
            literal_plain(index, 0, name, value, out);
            return 0;
        }
        integer::encode(index.unwrap_or(0), 6, 0x40, out);
        if index.is_none() {
            string_short(name, out);
        }
        string_short(value, out);
        self.make_room(bytes);
        self.index.insert(field_hash, name_hash, name, value);
        self.generation += 1;
        dynamic(self.index.number(0))
    }

    /// Whether entries of such names have been of no use. Judged anew now and then.
    fn is_wasteful(&mut self, name_hash: u32) -> bool {
        let wasted = &mut self.wasted[waste_class(name_hash)];
        if *wasted < WASTE_LIMIT {
            return false;
        }
        *wasted += 1;
        if *wasted > WASTE_END {
            *wasted = WASTE_LIMIT - 1;
        }
        true
    }

    fn make_room(&mut self, bytes: usize) {
        while self.index.bytes() + bytes > self.max_bytes as usize {
            let Some(evicted) = self.index.evict() else {
                break;
            };
            self.generation += 1;
            let wasted = &mut self.wasted[waste_class(evicted.name_hash)];
            if evicted.used {
                *wasted = 0;
            } else if *wasted < WASTE_LIMIT {
                *wasted += 1;
            }
        }
    }
}

impl fmt::Debug for Encoder {
    /// Without the fields: they are other people's.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Encoder")
            .field("table_bytes", &self.index.bytes())
            .field("max_table_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

fn narrow(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Dynamic entries, then static ones, of which those with a value come first.
fn follower_class(token: Token) -> u8 {
    let class = if token < DYNAMIC {
        16 + token % 16
    } else {
        token % 16
    };
    class as u8
}

/// Of what a table may hold, what is used.
fn most_bytes(allowed: usize) -> u32 {
    allowed.min(DEFAULT_TABLE_BYTES) as u32
}

fn dynamic(number: u32) -> Token {
    DYNAMIC | number as Token
}

fn waste_class(name_hash: u32) -> usize {
    // Other bits than the table's buckets use.
    (name_hash >> 20) as usize % WASTE_CLASSES
}

/// A literal that enters no table, without Huffman: it is read once, so speed counts.
fn literal_plain(index: Option<usize>, pattern: u8, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    integer::encode(index.unwrap_or(0), 4, pattern, out);
    if index.is_none() {
        string_plain(name, out);
    }
    string_plain(value, out);
}

fn string_plain(octets: &[u8], out: &mut Vec<u8>) {
    integer::encode(octets.len(), 7, 0, out);
    out.extend_from_slice(octets);
}

/// With Huffman if that is shorter.
pub(super) fn string_short(octets: &[u8], out: &mut Vec<u8>) {
    let bytes = huffman::encoded_bytes(octets);
    if bytes < octets.len() {
        integer::encode(bytes, 7, 0x80, out);
        huffman::encode(octets, out);
    } else {
        string_plain(octets, out);
    }
}
