//! Where an endpoint listens.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// A socket that can be connected to or listened on: `10.0.0.7:50051`, `[::1]:50051` or
/// `unix:/run/orders.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// TCP at an IP address and port.
    Tcp(SocketAddr),
    /// A Unix domain socket at a path of at most 107 bytes.
    Unix(PathBuf),
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither ip:port nor unix:PATH")]
pub struct InvalidAddress(String);

// === impl Address ===

impl Address {
    /// Whether both ends are on one host by the address alone: Unix sockets and loopback.
    #[must_use]
    pub fn is_same_host(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err(InvalidAddress(text.to_owned())),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| InvalidAddress(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_address_are_the_same_both_ways() {
        for text in [
            "127.0.0.1:50051",
            "[::1]:1",
            "unix:/run/a.sock",
            "unix:relative.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "localhost:1", "127.0.0.1", ":80"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
