//! The folder by which servers and channels of one host find each other's Unix sockets.
//!
//! | path | is |
//! |---|---|
//! | `<16 hex digits>.sock` | the socket of the server that listens on TCP at an address, of which the digits are a hash |
//! | `index/<service>/<16 hex digits>` | says that this server has the service |
//!
//! Names are short, for a socket's path has at most 107 bytes. An address of loopback means
//! another server in each network namespace, so its hash holds the namespace too.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A folder that the servers and channels of one host share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalDir {
    path: PathBuf,
}

const INDEX: &str = "index";
const SOCKET: &str = "sock";

// === impl LocalDir ===

impl LocalDir {
    /// The folder at this path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the server at this TCP address is called here.
    #[must_use]
    pub fn name(&self, address: SocketAddr) -> String {
        let mut text = SocketAddr::new(address.ip().to_canonical(), address.port()).to_string();
        if address.ip().to_canonical().is_loopback()
            && let Ok(namespace) = std::fs::read_link("/proc/self/ns/net")
        {
            // A string takes what is written to it.
            let _ = write!(text, "@{}", namespace.display());
        }
        format!("{:016x}", hash(text.as_bytes()))
    }

    /// The socket of the server that is called so.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.path.join(name).with_extension(SOCKET)
    }

    /// The folder with the names of the servers that have a service. None: no service is called
    /// so.
    #[must_use]
    pub fn index(&self, service: &str) -> Option<PathBuf> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let is_name = service.chars().all(is_part) && !service.starts_with('.');
        (is_name && !service.is_empty()).then(|| self.path.join(INDEX).join(service))
    }
}

/// FNV-1a: names need no more than to be different.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_name_and_others_have_others() {
        let dir = LocalDir::new("/run/sampan");
        let name = |text: &str| dir.name(text.parse().unwrap());
        assert_eq!(name("10.0.0.7:1"), name("[::ffff:10.0.0.7]:1"));
        assert_ne!(name("10.0.0.7:1"), name("10.0.0.7:2"));
        assert_ne!(name("127.0.0.1:1"), name("10.0.0.7:1"));
        assert_eq!(name("[::1]:1").len(), 16);
        let socket = dir.socket(&name("10.0.0.7:1"));
        assert!(socket.to_str().unwrap().ends_with(".sock"));
    }

    #[test]
    fn a_service_cannot_lead_out_of_the_folder() {
        let dir = LocalDir::new("/run/sampan");
        let index = dir.index("orders.v1.Orders").unwrap();
        assert_eq!(index, Path::new("/run/sampan/index/orders.v1.Orders"));
        for wrong in ["", "..", "../a", "a/b", ".", ".a"] {
            assert_eq!(dir.index(wrong), None, "{wrong}");
        }
    }
}
