//! Looks at a peer's first bytes, to learn that it speaks HTTP/2 before calls are sent to it.

use std::fmt;

/// What a peer speaks, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spoken {
    /// HTTP/2: the first frame is SETTINGS.
    Http2,
    /// HTTP/1.1.
    Http1,
    /// TLS, where plaintext was expected.
    Tls,
    /// Something else.
    Unknown,
}

// === impl Spoken ===

impl Spoken {
    /// A frame's header.
    const LEN: usize = 9;

    /// The judgement, as soon as the bytes allow one.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() >= 5 && bytes.starts_with(b"HTTP/") {
            return Some(Self::Http1);
        }
        // A TLS record is an alert or a handshake (21, 22) of version 3.x. As the length of a
        // SETTINGS frame those bytes would mean a megabyte.
        if let [21 | 22, 3, ..] = bytes {
            return Some(Self::Tls);
        }
        // Length (3 bytes, multiple of 6), type 4, flags 0, stream 0.
        let bytes: &[u8; Self::LEN] = bytes.first_chunk()?;
        let is_settings = bytes[3] == 4 && bytes[4..] == [0; 5];
        Some(if is_settings {
            Self::Http2
        } else {
            Self::Unknown
        })
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http2 => "HTTP/2",
            Self::Http1 => "HTTP/1.1",
            Self::Tls => "TLS",
            Self::Unknown => "something that is not HTTP/2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_a_peer_speaks() {
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0];
        assert_eq!(Spoken::of(&settings), Some(Spoken::Http2));
        assert_eq!(Spoken::of(&settings[..8]), None);
        assert_eq!(Spoken::of(b"HTTP/1.1 400 Bad"), Some(Spoken::Http1));
        assert_eq!(Spoken::of(&[21, 3, 3, 0, 2]), Some(Spoken::Tls));
        assert_eq!(Spoken::of(b"SSH-2.0-OpenSSH"), Some(Spoken::Unknown));
        // A PING is no way to begin.
        assert_eq!(
            Spoken::of(&[0, 0, 8, 6, 0, 0, 0, 0, 0]),
            Some(Spoken::Unknown)
        );
    }
}
