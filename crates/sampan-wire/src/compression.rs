//! Messages made smaller: what both ends agree on, and when it is worth it.
//!
//! | decides | |
//! |---|---|
//! | [`Compression`] | what is sent and taken, and which messages it is for |
//! | [`Shrinkage`] | whether a method's messages are worth the work, from those seen before |
//! | [`Packer`], [`Unpacker`] | which messages of a stream are compressed; how far one may grow |
//!
//! Source: gRPC, "Compression"; gRPC over HTTP/2, "Message-Encoding".

mod codec;
mod encoding;
mod messages;
mod shrinkage;

pub use codec::{UnpackError, pack, unpack};
pub use encoding::{Encoding, Encodings};
pub use messages::{LEAVE_PLAIN, Packer, Unpacked, Unpacker};
pub use shrinkage::Shrinkage;

/// What says how messages are compressed.
pub const ENCODING_HEADER: &str = "grpc-encoding";
/// What says which compressed messages are taken.
pub const ACCEPT_HEADER: &str = "grpc-accept-encoding";

/// What is compressed, and what is taken compressed.
///
/// ```
/// use sampan_wire::compression::Compression;
/// let compression = Compression::taking_all().with_min_bytes(4096);
/// assert_eq!(compression.sent(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Compression {
    sent: Option<Encoding>,
    taken: Encodings,
    min_bytes: usize,
    is_adaptive: bool,
    is_for_same_host: bool,
}

// === impl Compression ===

impl Compression {
    /// Shorter messages stay as they are where nobody says otherwise.
    pub const DEFAULT_MIN_BYTES: usize = 1024;

    /// Neither sends nor takes anything compressed.
    pub const fn none() -> Self {
        Self {
            sent: None,
            taken: Encodings::NONE,
            min_bytes: Self::DEFAULT_MIN_BYTES,
            is_adaptive: true,
            is_for_same_host: false,
        }
    }

    /// Sends nothing compressed, and takes all that this build can read.
    pub const fn taking_all() -> Self {
        Self::none().with_taken(Encodings::ALL)
    }

    /// Compresses messages so, and takes all that this build can read.
    ///
    /// Messages stay as they are between two ends on one host, when they are shorter than
    /// 1 KiB, and for methods whose messages do not shrink. [`always`](Self::always) changes
    /// that.
    pub const fn new(sent: Encoding) -> Self {
        let mut compression = Self::taking_all();
        compression.sent = Some(sent);
        compression
    }

    /// Takes these alone.
    pub const fn with_taken(mut self, taken: Encodings) -> Self {
        self.taken = taken;
        self
    }

    /// Leaves shorter messages as they are. Default: 1 KiB.
    pub const fn with_min_bytes(mut self, min_bytes: usize) -> Self {
        self.min_bytes = min_bytes;
        self
    }

    /// Whether messages are compressed between two ends on one host too, where bytes cost nearly
    /// nothing. Default: false.
    pub const fn with_same_host(mut self, is_for_same_host: bool) -> Self {
        self.is_for_same_host = is_for_same_host;
        self
    }

    /// Compresses every message, however short it is, wherever it goes and whether it shrinks or
    /// not.
    pub const fn always(mut self) -> Self {
        self.min_bytes = 0;
        self.is_adaptive = false;
        self.is_for_same_host = true;
        self
    }

    /// How messages are compressed, if they are.
    #[must_use]
    pub const fn sent(&self) -> Option<Encoding> {
        self.sent
    }

    /// What is taken.
    pub const fn taken(&self) -> Encodings {
        self.taken
    }

    /// What is shorter stays as it is.
    #[must_use]
    pub const fn min_bytes(&self) -> usize {
        self.min_bytes
    }

    /// Whether methods are left alone whose messages do not shrink, and messages that do not.
    #[must_use]
    pub const fn is_adaptive(&self) -> bool {
        self.is_adaptive
    }

    /// What holds between two ends that are on one host, or not.
    pub const fn between(self, is_same_host: bool) -> Self {
        if is_same_host && !self.is_for_same_host {
            return Self::none();
        }
        self
    }

    /// How an answer is compressed for a caller that takes what `accepted` lists: the value of
    /// its `grpc-accept-encoding`.
    #[must_use]
    pub fn answer(&self, accepted: &[u8]) -> Option<Encoding> {
        let sent = self.sent?;
        Encodings::read(accepted).contains(sent).then_some(sent)
    }
}

#[cfg(test)]
#[cfg(feature = "gzip")]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_compressed_on_one_host_unless_always() {
        let gzip = Compression::new(Encoding::Gzip);
        assert_eq!(gzip.between(true), Compression::none());
        assert_eq!(gzip.between(false), gzip);
        for there in [gzip.always(), gzip.with_same_host(true)] {
            assert_eq!(there.between(true), there);
        }
    }

    #[test]
    fn an_answer_is_compressed_as_its_caller_takes_it() {
        let gzip = Compression::new(Encoding::Gzip);
        assert_eq!(gzip.answer(b"identity, br,gzip"), Some(Encoding::Gzip));
        for other in [&b"identity"[..], b"", b"gzipp,GZIP", b"\xff"] {
            assert_eq!(gzip.answer(other), None, "{other:?}");
        }
        assert_eq!(Compression::taking_all().answer(b"gzip"), None);
    }
}
