//! One HTTP/2 connection of a client.

use crate::{
    Incoming, ResetReason, TransportError,
    http2::{client::Handle, client::Reply},
    inbox::Failure,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, header,
    uri::{PathAndQuery, Scheme},
};
use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// A connection that takes calls and gives responses, many at a time.
///
/// Clones share the connection. When the last one is dropped, open calls finish and the
/// connection closes. It lives on the runtime it was opened on, and may be used from any.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<Handle>,
}

/// What all calls to one place have in common.
#[derive(Clone, Debug)]
pub struct RouteHead {
    pub(crate) scheme: Scheme,
    pub(crate) authority: HeaderValue,
    /// What the caller's own fields go before.
    pub(crate) fixed: [(HeaderName, HeaderValue); 3],
}

/// The head of one call. `te`, `content-type: application/grpc` and `user-agent` are sent besides
/// its headers, where those do not have them.
#[derive(Clone, Copy, Debug)]
pub struct CallHead<'a> {
    /// Where the call goes.
    pub route: &'a RouteHead,
    /// `:path`.
    pub path: &'a PathAndQuery,
    /// The caller's headers.
    pub headers: &'a HeaderMap,
    /// Becomes `grpc-timeout`.
    pub timeout: Option<Duration>,
    /// Becomes `grpc-previous-rpc-attempts` unless it is 0.
    pub previous_attempts: u32,
}

/// The body of a call's request.
#[derive(Debug)]
pub enum Payload<'a, B> {
    /// All of it.
    Whole(&'a Bytes),
    /// What comes: polled by a task of its own on the caller's runtime, and only while less than
    /// 64 KiB of it waits to be sent. When it fails, the stream is reset with CANCEL.
    Stream(B),
}

/// A call that was not started.
#[derive(Debug)]
pub struct NotStarted<B> {
    /// The request's body, untouched.
    pub stream: Option<B>,
    /// Why.
    pub why: WhyNot,
}

/// Why a call was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// As many calls are open as the server allows on a connection.
    Full,
    /// The connection takes no more calls.
    Closed,
}

/// A call that waits for its response's head. Dropping it, or later the response's body, resets
/// the stream with CANCEL.
#[derive(Debug)]
#[must_use = "a dropped call is cancelled"]
pub struct Call(Reply);

/// Why a call got no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing of the request has left: it may go elsewhere, any number of times.
    Unsent(TransportError),
    /// The server did nothing with the request: it refused the stream, or closed the connection
    /// at an earlier one.
    Refused(TransportError),
    /// The stream was reset with this code. The server may have seen the request.
    Reset(ResetReason, TransportError),
    /// The connection broke. The server may have seen the request.
    Broken(TransportError),
}

// === impl Connection ===

impl Connection {
    pub(crate) const fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// Takes a stream and sends the request, without waiting: what the socket does not take at
    /// once leaves as it does. Must be called within a tokio runtime when the payload is a
    /// stream.
    ///
    /// # Errors
    /// When there is no stream to be had; nothing was sent then.
    ///
    /// # Panics
    /// With a streaming payload outside of a tokio runtime.
    pub fn start<B>(
        &self,
        head: &CallHead<'_>,
        payload: Payload<'_, B>,
    ) -> Result<Call, NotStarted<B>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.handle.start(head, payload).map(Call)
    }

    /// Whether it takes no more calls: it broke, or the server is closing it. Open calls may
    /// still end well.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Why a call that was started now would be refused, if it would be. Somebody else may be
    /// faster.
    #[must_use]
    pub fn refuses(&self) -> Option<WhyNot> {
        self.handle.refuses()
    }

    /// Calls that are open on it.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.handle.shared.lock().engine.open_streams()
    }

    /// Waits until [`is_closed`](Self::is_closed).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let closed = self.handle.shared.closed.as_ref();
        let closed = closed.map(tokio::sync::watch::Sender::subscribe);
        async move {
            if let Some(mut closed) = closed {
                // Its sender goes with the connection.
                let _ = closed.wait_for(|closed| *closed).await;
            }
        }
    }

    /// Waits until a call may be started again after [`WhyNot::Full`], or the connection takes
    /// no more. Somebody else may be faster.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn stream_free(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.handle.shared);
        async move {
            let Some(room) = &shared.room else {
                return;
            };
            let mut freed = std::pin::pin!(room.notified());
            // Before the look, so that nothing falls between look and wait.
            freed.as_mut().enable();
            {
                let mut state = shared.lock();
                if state.gone.is_some() || state.engine.is_closing() || state.engine.has_room() {
                    return;
                }
                state.is_awaited = true;
            }
            freed.await;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

// === impl RouteHead ===

impl RouteHead {
    /// `scheme` and `authority` become pseudo-header fields, `user_agent` stands where the caller
    /// has none of its own.
    #[must_use]
    pub const fn new(scheme: Scheme, authority: HeaderValue, user_agent: HeaderValue) -> Self {
        let fixed = [
            (header::TE, HeaderValue::from_static("trailers")),
            (header::USER_AGENT, user_agent),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            ),
        ];
        Self {
            scheme,
            authority,
            fixed,
        }
    }

    /// `:scheme`
    #[must_use]
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// `:authority`
    #[must_use]
    pub const fn authority(&self) -> &HeaderValue {
        &self.authority
    }
}

// === impl Payload ===

impl<B> Payload<'_, B> {
    pub(crate) fn not_started(self, why: WhyNot) -> NotStarted<B> {
        let stream = match self {
            Self::Whole(_) => None,
            Self::Stream(stream) => Some(stream),
        };
        NotStarted { stream, why }
    }
}

// === impl Call ===

impl Call {
    /// When the last of the answer came, if it came whole. To be asked after the response.
    #[must_use]
    pub fn ended_at(&self) -> Option<Instant> {
        self.0.ended_at.map(Instant::from_std)
    }
}

impl Future for Call {
    type Output = Result<http::Response<Incoming>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

// === impl CallError ===

impl CallError {
    pub(crate) fn of(failure: Failure) -> Self {
        match failure {
            Failure::Unsent(cause) => Self::Unsent(cause),
            Failure::Refused(cause) => Self::Refused(cause),
            Failure::Broken(cause) => Self::Broken(cause),
            Failure::Reset { reason } => Self::Reset(reason, TransportError::reset(reason)),
            Failure::NoMemory(_) => {
                let reason = ResetReason::EnhanceYourCalm;
                Self::Reset(reason, TransportError::reset(reason))
            }
        }
    }
}
