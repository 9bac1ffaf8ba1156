//! Serves the requests of one connection.

mod dispatch;
mod watchdog;

use self::{
    dispatch::{Dispatch, Watched},
    watchdog::{Activity, Verdict, Watchdog},
};
use crate::{Incoming, PeerInfo};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
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
}

/// The HTTP/2 part of [`ServeSettings`].
#[derive(Clone, Debug)]
pub struct Http2Settings {
    /// Calls at once on a connection. Default: 256.
    pub max_concurrent_streams: u32,
    /// Size of a request's headers. Default: 16 KiB.
    pub max_header_list_bytes: u32,
    /// What a client may send of one request before its handler reads on. Default: 1 MiB.
    pub stream_window_bytes: u32,
    /// The same for all requests of a connection together. Default: 4 MiB.
    pub connection_window_bytes: u32,
    /// Sizes the two windows by the measured bandwidth instead. Default: false.
    pub adaptive_window: bool,
    /// Largest frame a client may send. Default: 16 KiB.
    pub max_frame_bytes: u32,
    /// Silence after which the client is pinged. None: never. Default: 2 h. Source: gRFC A8.
    pub keepalive_interval: Option<Duration>,
    /// How long the answer to a ping may take. Default: 20 s.
    pub keepalive_timeout: Duration,
    /// Requests that a client has reset before they were looked at; more close the connection.
    /// Default: 256.
    pub max_pending_resets: usize,
    /// Streams that were reset for the client's errors; more close the connection.
    /// Default: 1024.
    pub max_error_resets: usize,
}

/// A connection that did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Nothing complete came in time.
    #[error("the client sent neither preface nor request within {0:?}")]
    PrefaceTimeout(Duration),
    /// The client did not leave when it was asked to.
    #[error("the client kept an idle connection open after GOAWAY")]
    KeptOpen,
    /// The connection broke or the client broke the protocol.
    #[error("the connection broke")]
    Broken(#[source] BoxError),
}

/// Serves `io` until the client goes, the connection breaks, or `drain` is over and the calls
/// begun before have ended. When `drain` completes, the client is told to go elsewhere with its
/// next calls (GOAWAY in two steps, so that none is lost) and open calls run to their end.
///
/// `service` gets every request, with `peer` in its extensions. It must always be ready: it is
/// cloned for each request and its `poll_ready` is not asked. A request whose client has gone
/// has its future dropped.
///
/// # Errors
/// When the connection did not end well. Calls on it have been dropped.
///
/// # Cancel safety
/// Dropping the future closes the connection at once and drops its handlers.
///
/// # Panics
/// Outside a tokio runtime with time.
pub async fn serve_connection<IO, S, B>(
    io: IO,
    peer: PeerInfo,
    service: S,
    settings: &ServeSettings,
    drain: impl Future<Output = ()>,
) -> Result<(), ServeError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(Watched::new(io, Arc::clone(&activity)));
    let service = Dispatch::new(service, peer, Arc::clone(&activity));
    let watchdog = Watchdog::new(settings, activity);
    let http2 = &settings.http2;
    // Neither builder takes the settings of the other, though they are the same.
    macro_rules! configure_http2 {
        ($builder:expr) => {
            $builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(http2.max_concurrent_streams)
                .max_header_list_size(http2.max_header_list_bytes)
                .initial_stream_window_size(http2.stream_window_bytes)
                .initial_connection_window_size(http2.connection_window_bytes)
                .adaptive_window(http2.adaptive_window)
                .max_frame_size(http2.max_frame_bytes)
                .keep_alive_interval(http2.keepalive_interval)
                .keep_alive_timeout(http2.keepalive_timeout)
                .max_pending_accept_reset_streams(http2.max_pending_resets)
                .max_local_error_reset_streams(http2.max_error_resets)
        };
    }
    match settings.protocols {
        Protocols::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            configure_http2!(builder);
            // gRPC has no use for it.
            builder.auto_date_header(false);
            drive(builder.serve_connection(io, service), watchdog, drain).await
        }
        Protocols::Http1AndHttp2 => {
            let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            configure_http2!(builder.http2());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(settings.http1_header_timeout);
            drive(builder.serve_connection(io, service), watchdog, drain).await
        }
    }
}

async fn drive<C: Connection>(
    connection: C,
    mut watchdog: Watchdog,
    drain: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut connection = pin!(connection);
    let mut drain = pin!(drain);
    let mut is_draining = false;
    let mut look = pin!(tokio::time::sleep_until(watchdog.first_look().into()));
    loop {
        tokio::select! {
            biased;
            ended = poll_fn(|cx| connection.as_mut().poll_served(cx)) => return ended.map_err(ServeError::Broken),
            () = drain.as_mut(), if !is_draining => {
                is_draining = true;
                connection.as_mut().begin_drain();
            }
            () = look.as_mut() => match watchdog.look(look.deadline().into_std()) {
                Verdict::LookAgain(at) => look.as_mut().reset(at.into()),
                Verdict::GoAway(at) => {
                    connection.as_mut().begin_drain();
                    look.as_mut().reset(at.into());
                }
                Verdict::Close(error) => return Err(error),
            },
        }
    }
}

/// What hyper's connections have in common.
trait Connection {
    fn begin_drain(self: Pin<&mut Self>);
    fn poll_served(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>>;
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
        }
    }
}

// === impl Http2Settings ===

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 256,
            max_header_list_bytes: 16 << 10,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 4 << 20,
            adaptive_window: false,
            max_frame_bytes: 16 << 10,
            keepalive_interval: Some(Duration::from_secs(2 * 60 * 60)),
            keepalive_timeout: Duration::from_secs(20),
            max_pending_resets: 256,
            max_error_resets: 1024,
        }
    }
}
