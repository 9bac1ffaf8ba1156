//! Sockets and HTTP/2 connections, the seam under Sampan's channel and server.
//!
//! A [`Connection`] takes calls and gives their responses; a [`Listener`] gives connections, which
//! [`serve_connection`] serves. What moves the bytes is hidden here: nothing above this crate names
//! it.

mod address;
mod budget;
mod buffers;
pub mod clock;
mod connect;
mod connection;
mod fault;
mod http2;
mod inbox;
mod incoming;
mod listen;
mod local;
mod overlap;
mod peer;
mod preface;
pub mod rt;
mod serve;
mod socket;
mod tls;
mod tunnel;

pub use address::{Address, InvalidAddress};
pub use budget::MemoryBudget;
pub use connect::{ClientHttp2Settings, ConnectError, ConnectSettings, connect, handshake};
pub use connection::{
    Call, CallError, CallHead, Connection, NotStarted, Payload, RouteHead, WhyNot,
};
pub use fault::{ResetReason, TransportError};
pub use incoming::{BodyError, Incoming};
pub use listen::{DetachedSocket, ListenError, ListenSettings, Listener, Socket, TcpKeepalive};
pub use local::LocalDir;
pub use peer::PeerInfo;
pub use preface::Spoken;
pub use rustls_pki_types::CertificateDer;
pub use serve::{
    Http2Settings, Protocols, ResponseBody, ServeError, ServeSettings, serve_connection,
    serve_http2,
};
pub use socket::TcpSettings;
pub use tls::{Certificate, ClientTls, Identity, TlsError};
pub use tls::{ServerTls, ServerTlsError, ServerTlsSettings, SpiffeError, SpiffeId, SpiffePeers};
pub use tunnel::{Tunnel, connect_through};
