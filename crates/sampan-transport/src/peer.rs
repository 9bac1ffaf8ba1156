//! Who is at the other end of a connection.

use crate::{Address, SpiffeId};
use rustls_pki_types::CertificateDer;
use std::{any::Any, sync::Arc};
use tokio::net::{TcpStream, UnixStream};

/// The two ends of a server's connection. Put into the extensions of each of its requests.
#[derive(Clone, Debug, Default)]
pub struct PeerInfo(Arc<Ends>);

#[derive(Clone, Debug, Default)]
struct Ends {
    remote: Option<Address>,
    local: Option<Address>,
    certificates: Option<Arc<Vec<CertificateDer<'static>>>>,
}

// === impl PeerInfo ===

impl PeerInfo {
    /// Describes a connection by its addresses.
    #[must_use]
    pub fn new(remote: Option<Address>, local: Option<Address>) -> Self {
        Self(Arc::new(Ends {
            remote,
            local,
            certificates: None,
        }))
    }

    /// Describes `io` when it is a socket of tokio's; of anything else nothing is known.
    pub fn of<IO: 'static>(io: &IO) -> Self {
        let io = io as &dyn Any;
        if let Some(io) = io.downcast_ref::<TcpStream>() {
            Self::of_tcp(io)
        } else if let Some(io) = io.downcast_ref::<UnixStream>() {
            Self::of_unix(io)
        } else {
            Self::default()
        }
    }

    /// Adds the certificates that the peer has shown, leaf first.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Vec<CertificateDer<'static>>) -> Self {
        Arc::make_mut(&mut self.0).certificates = Some(Arc::new(certificates));
        self
    }

    /// The peer's address. None for in-memory pipes and for clients of a Unix socket, which
    /// have no name.
    #[must_use]
    pub fn remote_address(&self) -> Option<&Address> {
        self.0.remote.as_ref()
    }

    /// The address at which the connection was accepted.
    #[must_use]
    pub fn local_address(&self) -> Option<&Address> {
        self.0.local.as_ref()
    }

    /// The certificates that the peer has shown and that were verified, leaf first. None
    /// without TLS and when no certificate was shown.
    #[must_use]
    pub fn certificates(&self) -> Option<&Arc<Vec<CertificateDer<'static>>>> {
        self.0.certificates.as_ref()
    }

    /// Which workload the peer is, by its verified certificate. None without one, and where that
    /// names no workload.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<SpiffeId> {
        SpiffeId::of(self.certificates()?.first()?).ok()
    }

    pub(crate) fn of_tcp(io: &TcpStream) -> Self {
        Self::new(
            io.peer_addr().ok().map(Address::Tcp),
            io.local_addr().ok().map(Address::Tcp),
        )
    }

    pub(crate) fn of_unix(io: &UnixStream) -> Self {
        let address = |end: std::io::Result<tokio::net::unix::SocketAddr>| {
            Some(Address::Unix(end.ok()?.as_pathname()?.to_owned()))
        };
        Self::new(address(io.peer_addr()), address(io.local_addr()))
    }
}
