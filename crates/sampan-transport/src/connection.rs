//! One HTTP/2 connection of a client.

use crate::{
    ClientHttp2Settings, Incoming, ResetReason,
    outgoing::{CancelOnDrop, Outgoing},
};
use bytes::Bytes;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{error::Error, fmt, pin::Pin};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// A connection that takes requests and gives responses, many at a time.
///
/// Clones share the connection. When the last one is dropped, open calls finish and the
/// connection closes. It lives on the runtime it was opened on.
pub struct Connection<B> {
    sender: SendRequest<Outgoing<B>>,
    /// Its sender goes when the connection takes no more calls.
    open: watch::Receiver<()>,
}

/// Why a call got no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError<B> {
    /// The request never left and may be sent elsewhere: the connection takes no more calls.
    Unsent(Box<http::Request<B>>),
    /// The server did nothing with the request: it refused the stream, or closed the connection
    /// at an earlier one.
    Refused(TransportError),
    /// The stream was reset with this code. The server may have seen the request.
    Reset(ResetReason, TransportError),
    /// The connection broke. The server may have seen the request.
    Broken(TransportError),
}

/// A fault of the transport, with its causes.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct TransportError {
    what: &'static str,
    #[source]
    source: hyper::Error,
}

/// Spawns hyper's futures in a box each. hyper spawns for every call, and its type for that is as
/// large as a whole connection: unboxed, tokio would copy kilobytes several times a call.
#[derive(Clone, Copy)]
struct BoxedTasks;

/// Starts HTTP/2 over `io`; the returned connection may not have heard of the server yet.
pub(crate) async fn start<B, T>(
    io: T,
    settings: &ClientHttp2Settings,
) -> Result<Connection<B>, hyper::Error>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new(BoxedTasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings.initial_stream_window_bytes)
        .initial_connection_window_size(settings.initial_connection_window_bytes)
        .max_header_list_size(settings.max_header_list_bytes)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .keep_alive_while_idle(settings.keepalive_while_idle);
    if settings.adaptive_window {
        builder.adaptive_window(true);
    }
    let (sender, driver) = builder.handshake(TokioIo::new(io)).await?;
    let (is_open, open) = watch::channel(());
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(error = &error as &dyn Error, "connection failed");
        }
        drop(is_open);
    });
    Ok(Connection { sender, open })
}

// === impl Connection ===

impl<B> Connection<B> {
    /// Whether it takes no more calls: it broke, or the server is closing it. Open calls may
    /// still end well.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until [`is_closed`](Self::is_closed).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<B> {
        let mut open = self.open.clone();
        // Nothing is ever sent: the only news is that the sender is gone.
        async move { while open.changed().await.is_ok() {} }
    }
}

impl<B> Connection<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Sends a request, whose URI has scheme and authority, and waits for the response's head.
    ///
    /// The request leaves even if the future is never polled.
    ///
    /// # Errors
    ///
    /// [`CallError`] tells whether the request may be sent elsewhere.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or later the response's body, resets the stream with CANCEL.
    pub fn send(
        &self,
        request: http::Request<B>,
    ) -> impl Future<Output = Result<http::Response<Incoming>, CallError<B>>> + Send + use<B> {
        let (head, body) = request.into_parts();
        let (body, cancel) = Outgoing::new(body);
        let response = self
            .sender
            .clone()
            .try_send_request(http::Request::from_parts(head, body));
        async move {
            match response.await {
                Ok(response) => Ok(received(response, cancel)),
                Err(mut failed) => Err(match failed.take_message() {
                    Some(request) => CallError::Unsent(Box::new(request.map(Outgoing::into_inner))),
                    None => CallError::of(failed.into_error()),
                }),
            }
        }
    }
}

fn received(
    response: http::Response<hyper::body::Incoming>,
    request: Option<CancelOnDrop>,
) -> http::Response<Incoming> {
    response.map(|body| Incoming::of_response(body, request))
}

impl<B> Clone for Connection<B> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            open: self.open.clone(),
        }
    }
}

impl<B> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

// === impl BoxedTasks ===

impl<F> hyper::rt::Executor<F> for BoxedTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let boxed: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
        tokio::spawn(boxed);
    }
}

// === impl CallError ===

impl<B> CallError<B> {
    fn of(source: hyper::Error) -> Self {
        let Some(http2) = h2_error(&source) else {
            return Self::Broken(TransportError {
                what: "the connection broke",
                source,
            });
        };
        // After GOAWAY only streams above its last id end with it: those that the server never
        // looked at (RFC 9113, 6.8). The others end by their own frames or by the socket's end.
        if http2.is_go_away() && http2.is_remote() {
            return Self::Refused(TransportError {
                what: "the server closes the connection and did not take the call",
                source,
            });
        }
        match http2.reason() {
            Some(h2::Reason::REFUSED_STREAM) if http2.is_remote() => {
                Self::Refused(TransportError {
                    what: "the server refused the stream",
                    source,
                })
            }
            Some(reason) if http2.is_reset() => Self::Reset(
                ResetReason::from(reason),
                TransportError {
                    what: "the stream was reset",
                    source,
                },
            ),
            _ => Self::Broken(TransportError {
                what: "the connection broke",
                source,
            }),
        }
    }
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        next = error.source();
    }
    None
}
