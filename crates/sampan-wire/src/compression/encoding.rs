//! The names of how messages are compressed.

use std::fmt;

/// How messages are compressed. Each is there when its cargo feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// RFC 1952.
    #[cfg(feature = "gzip")]
    Gzip,
    /// What gRPC means by it: zlib, RFC 1950.
    #[cfg(feature = "deflate")]
    Deflate,
    /// RFC 8878.
    #[cfg(feature = "zstd")]
    Zstd,
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Encodings(u8);

// === impl Encoding ===

impl Encoding {
    /// All that this build has, those first that others are likely to know.
    pub const ALL: &'static [Self] = &[
        #[cfg(feature = "gzip")]
        Self::Gzip,
        #[cfg(feature = "deflate")]
        Self::Deflate,
        #[cfg(feature = "zstd")]
        Self::Zstd,
    ];

    /// What `grpc-encoding` says.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => "gzip",
            #[cfg(feature = "deflate")]
            Self::Deflate => "deflate",
            #[cfg(feature = "zstd")]
            Self::Zstd => "zstd",
        }
    }

    /// The encoding of this name, if this build has it.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|encoding| encoding.name().as_bytes() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            #[cfg(feature = "gzip")]
            Self::Gzip => 1,
            #[cfg(feature = "deflate")]
            Self::Deflate => 2,
            #[cfg(feature = "zstd")]
            Self::Zstd => 4,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Encodings ===

impl Encodings {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// All that this build has.
    pub const ALL: Self = {
        let mut all = Self::NONE;
        let mut at = 0;
        while at < Encoding::ALL.len() {
            all = all.with(Encoding::ALL[at]);
            at += 1;
        }
        all
    };

    /// And this one.
    pub const fn with(self, encoding: Encoding) -> Self {
        Self(self.0 | encoding.bit())
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn contains(self, encoding: Encoding) -> bool {
        self.0 & encoding.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that a `grpc-accept-encoding` lists and this build has.
    pub fn read(list: &[u8]) -> Self {
        let names = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        names
            .filter_map(Encoding::of_name)
            .fold(Self::NONE, Self::with)
    }

    /// What `grpc-accept-encoding` says of them: `identity` is always one of the list.
    #[must_use]
    pub fn list(self) -> String {
        let mut list = String::new();
        for encoding in Encoding::ALL.iter().filter(|each| self.contains(**each)) {
            list.push_str(encoding.name());
            list.push(',');
        }
        list.push_str("identity");
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lists_are_read_as_they_are_written() {
        for &encoding in Encoding::ALL {
            assert_eq!(
                Encoding::of_name(encoding.name().as_bytes()),
                Some(encoding)
            );
            assert!(Encodings::ALL.contains(encoding));
            let alone = Encodings::NONE.with(encoding);
            assert_eq!(Encodings::read(alone.list().as_bytes()), alone);
        }
        assert_eq!(
            Encodings::read(Encodings::ALL.list().as_bytes()),
            Encodings::ALL
        );
        assert_eq!(Encodings::NONE.list(), "identity");
        assert_eq!(Encoding::of_name(b"identity"), None);
    }
}
