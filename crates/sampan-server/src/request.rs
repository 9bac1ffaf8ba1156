//! Who sent a request.

use crate::CallMetricsRecorder;
use sampan_transport::{Address, CertificateDer, PeerInfo};
use std::{net::SocketAddr, sync::Arc};

/// What tonic's requests know of their connection under Sampan's server.
///
/// The names are tonic's. Where tonic's transport is compiled in as well, its own methods win
/// and answer None: then write `RequestExt::remote_addr(&request)`.
pub trait RequestExt {
    /// Both ends of the connection; None when the request did not come through Sampan's server.
    fn peer(&self) -> Option<&PeerInfo>;

    /// Where the call's handler tells what it costs; None unless the server
    /// [tells its load](crate::Server::load_reports).
    fn call_metrics(&self) -> Option<&CallMetricsRecorder>;

    /// The caller's address; None over Unix sockets and pipes.
    fn remote_addr(&self) -> Option<SocketAddr> {
        tcp(self.peer()?.remote_address())
    }

    /// The address at which the call came in; None over Unix sockets and pipes.
    fn local_addr(&self) -> Option<SocketAddr> {
        tcp(self.peer()?.local_address())
    }

    /// The caller's verified certificates, leaf first; None without TLS and when it showed none.
    fn peer_certs(&self) -> Option<Arc<Vec<CertificateDer<'static>>>> {
        self.peer()?.certificates().map(Arc::clone)
    }
}

impl<T> RequestExt for tonic::Request<T> {
    fn peer(&self) -> Option<&PeerInfo> {
        self.extensions().get()
    }

    fn call_metrics(&self) -> Option<&CallMetricsRecorder> {
        self.extensions().get()
    }
}

fn tcp(address: Option<&Address>) -> Option<SocketAddr> {
    match address {
        Some(Address::Tcp(address)) => Some(*address),
        _ => None,
    }
}
