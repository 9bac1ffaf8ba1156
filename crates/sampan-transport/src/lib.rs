//! Sockets and HTTP/2 connections, the seam under Sampan's channel and server.
//!
//! A [`Connection`] takes an `http::Request` and gives a response; a [`Listener`] gives
//! connections to serve. What moves the bytes is hidden here: nothing above this crate names it.

mod address;
mod connect;
mod connection;
mod incoming;
mod listen;
mod outgoing;
mod peer;
mod preface;
pub mod rt;
mod serve;
mod socket;
mod tls;

pub use address::{Address, InvalidAddress};
pub use connect::{ClientHttp2Settings, ConnectError, ConnectSettings, connect, handshake};
pub use connection::{CallError, Connection, TransportError};
pub use incoming::{BodyError, Incoming, ResetReason};
pub use listen::{ListenError, ListenSettings, Listener, Socket, TcpKeepalive};
pub use peer::PeerInfo;
pub use preface::Spoken;
pub use rustls_pki_types::CertificateDer;
pub use serve::{Http2Settings, Protocols, ServeError, ServeSettings, serve_connection};
pub use socket::TcpSettings;
pub use tls::{Certificate, ClientTls, Identity, TlsError};
pub use tls::{ServerTls, ServerTlsError, ServerTlsSettings};
