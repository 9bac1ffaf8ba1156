//! Header compression. Source: RFC 7541, and RFC 9113 section 8 for what a field may be.
//!
//! The [`Decoder`] keeps entries that are in use parsed: an indexed field costs a clone and an
//! append. It tells two kinds of fault apart: a [`CompressionError`] ends the connection, because the tables
//! of both sides no longer agree; a [`Flaw`] ends one stream, because the block was decoded but
//! says what no request or response may say.
//!
//! The [`Encoder`] takes fields as bytes and finds them by hash. Both sides have a generation, so
//! that whole blocks can be remembered for as long as the tables stay what they are.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

mod decoder;
mod encoder;
mod field;
mod hash;
mod huffman;
mod index;
mod integer;
mod repeats;
mod static_table;
mod table;

pub use decoder::Decoder;
pub use encoder::{Encoder, Indexing};

/// The size that a dynamic table has until a SETTINGS frame says otherwise, in bytes.
pub const DEFAULT_TABLE_BYTES: usize = 4096;

/// What each field costs in a table and in a list beyond its name and value, in bytes.
///
/// Source: RFC 7541 section 4.1, RFC 9113 section 6.5.2.
pub const FIELD_OVERHEAD_BYTES: usize = 32;

/// A header block that breaks the compression itself: a connection error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The block ends inside a field.
    #[error("header block ends inside a field")]
    Truncated,
    /// An integer has more octets than any of ours needs, or does not fit in 32 bits.
    #[error("integer in header block is too large")]
    Integer,
    /// An index of zero, or beyond both tables.
    #[error("index {0} is in neither table")]
    Index(u32),
    /// Huffman code with EOS in it, or with padding that is not the shortest prefix of EOS.
    #[error("invalid Huffman code in header block")]
    Huffman,
    /// A dynamic table size update above the limit.
    #[error("table size update to {0} bytes is above the limit")]
    TableSize(u32),
    /// A dynamic table size update after the first field.
    #[error("table size update after the first field of a block")]
    LateTableSize,
}

/// What makes a decoded block unusable: an error of its stream, not of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The list is larger than allowed; what came after the limit was counted and dropped.
    TooLarge,
    /// The block says what RFC 9113 section 8.2 or 8.3 forbids.
    Malformed(&'static str),
}

/// One decoded header block.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The pseudo-header fields.
    pub pseudo: Pseudo,
    /// All other fields, in their order.
    pub fields: HeaderMap,
    /// Size of the whole list by RFC 9113 section 6.5.2: name, value and 32 for each field.
    pub list_bytes: usize,
    /// The first flaw met; nothing after it is in `pseudo` or `fields`.
    pub flaw: Option<Flaw>,
    /// Whether there was a `content-type` of gRPC's after it: whoever refuses the request says so in
    /// gRPC's words.
    pub is_grpc_beyond: bool,
}

/// The pseudo-header fields of one block. Which of them must be there is judged by the caller.
#[derive(Clone, Debug, Default)]
pub struct Pseudo {
    /// `:method`
    pub method: Option<Method>,
    /// `:scheme`
    pub scheme: Option<Scheme>,
    /// `:authority`
    pub authority: Option<HeaderValue>,
    /// `:path`
    pub path: Option<Path>,
    /// `:status`
    pub status: Option<StatusCode>,
    /// `:protocol` (RFC 8441)
    pub protocol: Option<HeaderValue>,
}

/// The value of `:scheme`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// Anything else that is a valid field value, as it came.
    Other(Bytes),
}

/// The value of `:path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Begins with `/` or is `*`, parses, and says exactly what arrived.
    Parsed(PathAndQuery),
    /// A valid field value that is no such path: empty, without `/`, with a fragment, too long.
    Raw(HeaderValue),
}

impl Path {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Parsed(path) => path.as_str().len(),
            Self::Raw(value) => value.len(),
        }
    }
}
