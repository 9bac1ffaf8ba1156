//! Opens connections to servers.

use crate::{
    Address, ClientTls, Connection, TlsError,
    http2::client,
    preface::Spoken,
    socket::{TcpSettings, USER_TIMEOUT},
    tls::client::PreparedTls,
};
use std::{io, net::SocketAddr, path::Path, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// How connections are opened and what holds on them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectSettings {
    /// From the first packet to the server's first HTTP/2 frame. Default 5 s.
    pub connect_timeout: Duration,
    /// Options of TCP sockets.
    pub tcp: TcpSettings,
    /// Windows, limits and keepalive of HTTP/2.
    pub http2: ClientHttp2Settings,
    tls: Option<PreparedTls>,
}

/// Windows, limits and keepalive of a client's HTTP/2 connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientHttp2Settings {
    /// Bytes that a server may send ahead on one stream. Default 2 MiB.
    pub initial_stream_window_bytes: u32,
    /// Bytes that a server may send ahead on all streams together. Default 16 MiB, so that a few
    /// streams which nobody reads do not stop the others.
    pub initial_connection_window_bytes: u32,
    /// Largest frame of data that a server may send, once it fills frames of 16 KiB. Default
    /// 128 KiB.
    pub max_frame_bytes: u32,
    /// Longest header list that a server may send. Default 16 KiB.
    pub max_header_list_bytes: u32,
    /// Silence after which a ping checks the connection; it is looked at once in that time, so the
    /// ping comes after one to two of it. Default none. Shorter than 1 s is taken for that: gRPC's own
    /// clients take 10 s, but a stuck server nearby is found sooner. Servers that enforce A8 close
    /// connections pinged more often than they allow, every 5 min by default.
    pub keepalive_interval: Option<Duration>,
    /// Wait for the answer to such a ping. Default 20 s. Sent bytes may stay unacknowledged for as
    /// long, unless [`TcpSettings::user_timeout`] is set.
    pub keepalive_timeout: Duration,
    /// Pings also while no call is open. Default off (gRFC A8).
    pub keepalive_while_idle: bool,
}

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server did not answer in time.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    /// The socket could not be connected.
    #[error(transparent)]
    Socket(io::Error),
    /// The HTTP proxy in between did not connect to the server.
    #[error("the proxy answered \"{0}\"")]
    Proxy(String),
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The server speaks TLS, and no HTTP/2 over it.
    #[error("the server did not choose h2 by ALPN")]
    NoHttp2Alpn,
    /// The server's first bytes are another protocol's.
    #[error("the peer speaks {0}, not HTTP/2")]
    NotHttp2(Spoken),
    /// The server closed the connection before its first frame.
    #[error("the peer closed the connection before its HTTP/2 settings")]
    Closed,
}

/// Opens a connection to `address`.
///
/// Must be called within a tokio runtime, on which the connection then lives.
///
/// # Errors
///
/// When no HTTP/2 connection stands within [`ConnectSettings::connect_timeout`].
///
/// # Cancel safety
///
/// Dropping the future gives the attempt up.
pub async fn connect(
    address: &Address,
    settings: &ConnectSettings,
) -> Result<Connection, ConnectError> {
    within(settings.connect_timeout, async {
        match address {
            Address::Tcp(address) => {
                secure_and_start(tcp(*address, settings).await?, settings).await
            }
            Address::Unix(path) => connect_unix(path, settings).await,
        }
    })
    .await
}

/// Speaks HTTP/2, inside TLS if the settings say so, over any pair of byte streams.
///
/// Must be called within a tokio runtime, on which the connection then lives.
///
/// # Errors
///
/// When no HTTP/2 connection stands within [`ConnectSettings::connect_timeout`].
///
/// # Cancel safety
///
/// Dropping the future gives the connection up.
pub async fn handshake<T>(io: T, settings: &ConnectSettings) -> Result<Connection, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    within(settings.connect_timeout, secure_and_start(io, settings)).await
}

pub(crate) async fn tcp(
    address: SocketAddr,
    settings: &ConnectSettings,
) -> Result<TcpStream, ConnectError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(ConnectError::Socket)?;
    let mut tcp = settings.tcp.clone();
    // Source: gRFC A18.
    if tcp.user_timeout == Some(USER_TIMEOUT) {
        tcp.user_timeout = Some(settings.http2.keepalive_timeout);
    }
    tcp.apply(&stream).map_err(ConnectError::Socket)?;
    Ok(stream)
}

pub(crate) async fn within(
    limit: Duration,
    attempt: impl Future<Output = Result<Connection, ConnectError>>,
) -> Result<Connection, ConnectError> {
    tokio::time::timeout(limit, attempt)
        .await
        .unwrap_or(Err(ConnectError::TimedOut(limit)))
}

#[cfg(unix)]
async fn connect_unix(path: &Path, settings: &ConnectSettings) -> Result<Connection, ConnectError> {
    let stream = tokio::net::UnixStream::connect(path)
        .await
        .map_err(ConnectError::Socket)?;
    secure_and_start(stream, settings).await
}

#[cfg(not(unix))]
async fn connect_unix(_: &Path, _: &ConnectSettings) -> Result<Connection, ConnectError> {
    Err(ConnectError::Socket(io::ErrorKind::Unsupported.into()))
}

pub(crate) async fn secure_and_start<T>(
    io: T,
    settings: &ConnectSettings,
) -> Result<Connection, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Some(tls) = &settings.tls else {
        return start(io, settings).await;
    };
    let stream = TlsConnector::from(std::sync::Arc::clone(&tls.config))
        .connect(tls.name.clone(), io)
        .await
        .map_err(ConnectError::Tls)?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(ConnectError::NoHttp2Alpn);
    }
    start(stream, settings).await
}

async fn start<T>(io: T, settings: &ConnectSettings) -> Result<Connection, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (handle, heard) = client::start(io, &settings.http2);
    // A socket that accepts is no server yet: a proxy in between accepts for servers that are
    // away. The first frame is.
    match heard.await {
        Ok(Spoken::Http2) => Ok(Connection::new(handle)),
        Ok(spoken) => Err(ConnectError::NotHttp2(spoken)),
        Err(_) => Err(ConnectError::Closed),
    }
}

// === impl ConnectSettings ===

impl Default for ConnectSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            tcp: TcpSettings::default(),
            http2: ClientHttp2Settings::default(),
            tls: None,
        }
    }
}

impl ConnectSettings {
    /// Speaks TLS with servers of `host`.
    ///
    /// # Errors
    ///
    /// When a certificate, key or name cannot be used.
    pub fn with_tls(mut self, tls: &ClientTls, host: &str) -> Result<Self, TlsError> {
        self.tls = Some(tls.prepare(host)?);
        Ok(self)
    }

    /// Whether connections speak TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

// === impl ClientHttp2Settings ===

impl Default for ClientHttp2Settings {
    fn default() -> Self {
        Self {
            initial_stream_window_bytes: 2 << 20,
            initial_connection_window_bytes: 16 << 20,
            max_frame_bytes: 128 << 10,
            max_header_list_bytes: 16 << 10,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
            keepalive_while_idle: false,
        }
    }
}

// === impl ConnectError ===

impl ConnectError {
    /// What to look at, where the error suggests it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut(_) => Some("is the address right, and no firewall in between?"),
            Self::Socket(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Some("is it listening?"),
                io::ErrorKind::NotFound => Some("is the server running, and the path right?"),
                io::ErrorKind::PermissionDenied => Some("may this user use the socket?"),
                _ => None,
            },
            Self::Proxy(_) => {
                Some("may the proxy connect there? no_grpc_proxy names what goes past it")
            }
            Self::Tls(error) => tls_hint(error),
            Self::NoHttp2Alpn => Some("is this a gRPC server's port?"),
            Self::NotHttp2(Spoken::Tls) => Some("plaintext against TLS? Use https:// or set TLS"),
            Self::NotHttp2(_) => Some("is this a gRPC server's port?"),
            Self::Closed => Some("plaintext against TLS? Or is a proxy's server away?"),
        }
    }
}

fn tls_hint(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>();
    match error {
        Some(rustls::Error::InvalidMessage(_)) => Some("TLS against plaintext? Use http://"),
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        )) => Some("give the channel the roots that signed the server's certificate"),
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName
            | rustls::CertificateError::NotValidForNameContext { .. },
        )) => Some("set the name that the server's certificate is for"),
        Some(rustls::Error::AlertReceived(_)) => Some("does the server want a client certificate?"),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unacknowledged_bytes_have_as_long_as_a_ping_unless_their_time_is_set() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let second = Duration::from_secs(1);
        let mut settings = ConnectSettings::default();
        for (ping, own, expected) in [(20, 20, 20), (3, 20, 3), (3, 7, 7)] {
            settings.http2.keepalive_timeout = ping * second;
            settings.tcp.user_timeout = Some(own * second);
            let stream = tcp(address, &settings).await.unwrap();
            let found = socket2::SockRef::from(&stream).tcp_user_timeout();
            assert_eq!(found.unwrap(), Some(expected * second));
        }
    }
}
