//! Serves the requests of one connection.

mod http1;
mod millis;
mod watchdog;

pub(crate) use self::{
    millis::Millis,
    watchdog::{Activity, Verdict, Watchdog},
};

use crate::{Incoming, MemoryBudget, PeerInfo, http2};
use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use http_body_util::{
    Empty, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};
use sampan_h2::PREFACE;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a server speaks on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 alone, from the first byte.
    #[default]
    Http2,
    /// HTTP/1.1, or HTTP/2 when the client begins with it.
    Http1AndHttp2,
}

/// The limits of a connection. The defaults are safe towards clients that are not trusted.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// What is spoken. Default: HTTP/2 alone.
    pub protocols: Protocols,
    /// Of HTTP/2.
    pub http2: Http2Settings,
    /// How long the first bytes (HTTP/2's preface, HTTP/1's first request) may take.
    /// Default: 10 s.
    pub preface_timeout: Duration,
    /// How long the header of an HTTP/1 request may take. Default: 30 s.
    pub http1_header_timeout: Duration,
    /// Connections without a call for so long are asked to go (GOAWAY), looked at once in that
    /// time. None: never. Default: 5 min.
    pub idle_timeout: Option<Duration>,
    /// Age, ±10 %, at which a connection is asked to go, so that clients find new servers.
    /// Default: none. Source: gRFC A9.
    pub max_age: Option<Duration>,
    /// How long calls may then take to end. Default: as long as they want.
    pub max_age_grace: Option<Duration>,
    /// What all connections that share it may hold of long messages that arrive, and for streams
    /// that nobody reads; where there is no room, calls end with RESOURCE_EXHAUSTED. Default: 256 MiB for these settings and
    /// their clones.
    pub receive_budget: MemoryBudget,
}

/// The HTTP/2 part of [`ServeSettings`].
#[derive(Clone, Debug)]
pub struct Http2Settings {
    /// Calls at once on a connection. Default: 256.
    pub max_concurrent_streams: u32,
    /// Size of a request's headers. Default: 16 KiB.
    pub max_header_list_bytes: u32,
    /// Headers kept for the open streams of a connection together; further streams are refused.
    /// Default: 256 KiB.
    pub header_budget_bytes: usize,
    /// While more of its answers waits on a connection, its next requests wait too. What waits
    /// behind the window of its own stream is not among them. Default: 1 MiB.
    pub max_waiting_bytes: usize,
    /// How long a client may take none of what waits for it: by its socket, or behind the
    /// connection's window. Default: 60 s.
    pub stall_timeout: Duration,
    /// What a client may send of one request before its handler reads on; a longer message opens
    /// the window by what it lacks. Default: 256 KiB.
    pub stream_window_bytes: u32,
    /// What a client may send on all streams before it was read from the socket.
    /// Default: 4 MiB.
    pub connection_window_bytes: u32,
    /// Largest frame of data a client may send, once it fills frames of 16 KiB. Default: 128 KiB.
    pub max_frame_bytes: u32,
    /// Silence after which the client is pinged. None: never. Default: 2 h. Source: gRFC A8.
    pub keepalive_interval: Option<Duration>,
    /// How long the answer to a ping may take. Default: 20 s.
    pub keepalive_timeout: Duration,
    /// Streams that a client may reset, or make us reset, at once. More close the connection.
    /// Default: 2,000.
    pub max_resets: u32,
    /// How fast that number refills. Default: 1,000.
    pub resets_per_second: u32,
    /// How often a client may ping while calls are open. Default: 5 min. Source: gRFC A8.
    pub min_ping_interval: Duration,
    /// Whether that holds without calls too; otherwise it is 2 h. Default: false.
    pub may_ping_while_idle: bool,
}

/// A connection that did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Nothing complete came in time.
    #[error("the client sent neither preface nor request within {0:?}")]
    PrefaceTimeout(Duration),
    /// The client did not leave when it was asked to.
    #[error("the client kept its connection open after GOAWAY")]
    KeptOpen,
    /// The client takes nothing of what waits for it.
    #[error("the client took nothing of its answers for {0:?}")]
    Stalled(Duration),
    /// The client did not answer a keepalive ping.
    #[error("the client did not answer a keepalive ping within {0:?}")]
    NoPong(Duration),
    /// The connection broke or the client broke the protocol.
    #[error("the connection broke")]
    Broken(#[source] BoxError),
}

/// The body of a response.
pub trait ResponseBody: http_body::Body<Data = Bytes> {
    /// The data of an answer that ends with `grpc-status: 0` and no other trailer, taken out
    /// whole: such an answer leaves in one piece. None: its frames are polled instead.
    fn take_ok(&mut self) -> Option<Bytes> {
        None
    }
}

impl ResponseBody for Full<Bytes> {}
impl ResponseBody for Empty<Bytes> {}
impl<E> ResponseBody for BoxBody<Bytes, E> {}
impl<E> ResponseBody for UnsyncBoxBody<Bytes, E> {}

/// Serves `io` until the client goes, the connection breaks, or `drain` is over and the calls
/// begun before have ended. When `drain` completes, the client is told to go elsewhere with its
/// next calls (GOAWAY in two steps, so that none is lost) and open calls run to their end.
///
/// `service` gets every request, with `peer` in its extensions. It must always be ready: its
/// `poll_ready` is not asked. A handler is polled once by the connection itself; one that does
/// not answer then gets a task. A request whose client has gone has its future dropped.
///
/// # Errors
/// When the connection did not end well. Calls on it have been dropped.
///
/// # Cancel safety
/// Dropping the future closes the connection at once and drops its handlers.
///
/// # Panics
/// Outside a tokio runtime with time.
pub fn serve_connection<IO, S, B, D>(
    mut io: IO,
    peer: PeerInfo,
    service: S,
    settings: &ServeSettings,
    drain: D,
) -> impl Future<Output = Result<(), ServeError>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
    D: Future<Output = ()>,
{
    if settings.protocols == Protocols::Http2 {
        return Either::Left(serve_http2(io, peer, service, settings, drain));
    }
    // In a box: HTTP/2 is not to pay for its size.
    Either::Right(Box::pin(async move {
        let mut first = BytesMut::new();
        let limit = settings.preface_timeout;
        let spoken = tokio::time::timeout(limit, first_bytes(&mut io, &mut first)).await;
        match spoken.map_err(|_| ServeError::PrefaceTimeout(limit))? {
            Err(error) => Err(ServeError::Broken(error.into())),
            Ok(FirstBytes::None) => Ok(()),
            Ok(FirstBytes::Http1) => {
                let served = http1::serve(io, first, peer, service, settings, drain);
                Box::pin(served).await
            }
            Ok(FirstBytes::Http2) => {
                http2::server::serve(io, first, peer, service, settings, drain).await
            }
        }
    }))
}

/// As [`serve_connection`], over HTTP/2 alone: [`ServeSettings::protocols`] is not looked at. A
/// program that calls nothing else has no HTTP/1 in it.
///
/// # Errors
/// When the connection did not end well. Calls on it have been dropped.
///
/// # Cancel safety
/// Dropping the future closes the connection at once and drops its handlers.
///
/// # Panics
/// Outside a tokio runtime with time.
pub fn serve_http2<IO, S, B, D>(
    io: IO,
    peer: PeerInfo,
    service: S,
    settings: &ServeSettings,
    drain: D,
) -> impl Future<Output = Result<(), ServeError>> + use<IO, S, B, D>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
    D: Future<Output = ()>,
{
    http2::server::serve(io, BytesMut::new(), peer, service, settings, drain)
}

enum FirstBytes {
    None,
    Http1,
    Http2,
}

/// Reads until it is clear what a client speaks.
async fn first_bytes(
    io: &mut (impl AsyncRead + Unpin),
    first: &mut BytesMut,
) -> std::io::Result<FirstBytes> {
    loop {
        let begins_so = PREFACE.starts_with(&first[..first.len().min(PREFACE.len())]);
        if !begins_so {
            return Ok(FirstBytes::Http1);
        }
        if first.len() >= PREFACE.len() {
            return Ok(FirstBytes::Http2);
        }
        if io.read_buf(first).await? == 0 {
            return Ok(FirstBytes::None);
        }
    }
}

// === impl ServeSettings ===

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            protocols: Protocols::default(),
            http2: Http2Settings::default(),
            preface_timeout: Duration::from_secs(10),
            http1_header_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(5 * 60)),
            max_age: None,
            max_age_grace: None,
            receive_budget: MemoryBudget::new(256 << 20),
        }
    }
}

// === impl Http2Settings ===

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 256,
            max_header_list_bytes: 16 << 10,
            header_budget_bytes: 256 << 10,
            max_waiting_bytes: 1 << 20,
            stall_timeout: Duration::from_secs(60),
            stream_window_bytes: 256 << 10,
            connection_window_bytes: 4 << 20,
            max_frame_bytes: 128 << 10,
            keepalive_interval: Some(Duration::from_secs(2 * 60 * 60)),
            keepalive_timeout: Duration::from_secs(20),
            max_resets: 2000,
            resets_per_second: 1000,
            min_ping_interval: Duration::from_secs(5 * 60),
            may_ping_while_idle: false,
        }
    }
}
