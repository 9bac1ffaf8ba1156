//! Hands requests from hyper to a service, and counts what is open.

use super::{
    BoxError, Connection,
    watchdog::{Activity, OpenCall},
};
use crate::{Incoming, PeerInfo};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use pin_project_lite::pin_project;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

/// The service of one connection.
#[derive(Debug)]
pub(super) struct Dispatch<S> {
    service: S,
    peer: PeerInfo,
    activity: Arc<Activity>,
}

pin_project! {
    /// A call until its response begins.
    pub(super) struct Call<F> {
        #[pin]
        response: F,
        open: Option<OpenCall>,
    }
}

pin_project! {
    /// A response's body; the call is open until it is dropped.
    pub(super) struct OpenBody<B> {
        #[pin]
        body: B,
        open: Option<OpenCall>,
    }
}

/// A byte stream whose first bytes are noticed.
#[derive(Debug)]
pub(super) struct Watched<IO> {
    io: IO,
    activity: Arc<Activity>,
    missing: usize,
}

/// Length of HTTP/2's preface, without its SETTINGS frame.
const PREFACE_BYTES: usize = 24;

// === impl Dispatch ===

impl<S> Dispatch<S> {
    pub(super) const fn new(service: S, peer: PeerInfo, activity: Arc<Activity>) -> Self {
        Self {
            service,
            peer,
            activity,
        }
    }
}

impl<S, B> hyper::service::Service<http::Request<hyper::body::Incoming>> for Dispatch<S>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone,
{
    type Response = http::Response<OpenBody<B>>;
    type Error = S::Error;
    type Future = Call<S::Future>;

    fn call(&self, request: http::Request<hyper::body::Incoming>) -> Self::Future {
        let mut request = request.map(Incoming::from);
        request.extensions_mut().insert(self.peer.clone());
        Call {
            response: self.service.clone().call(request),
            open: Some(self.activity.open_call()),
        }
    }
}

// === impl Call ===

impl<F, B, E> Future for Call<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
{
    type Output = Result<http::Response<OpenBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx))?;
        let open = this.open.take();
        Poll::Ready(Ok(response.map(|body| OpenBody { body, open })))
    }
}

// === impl OpenBody ===

impl<B: Body<Data = Bytes>> Body for OpenBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Watched ===

impl<IO> Watched<IO> {
    pub(super) const fn new(io: IO, activity: Arc<Activity>) -> Self {
        Self {
            io,
            activity,
            missing: PREFACE_BYTES,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buf.filled().len() - before);
            if self.missing == 0 {
                self.activity.has_begun();
            }
        }
        result
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

// === impl Connection ===

impl<IO, S, B> Connection
    for hyper::server::conn::http2::Connection<TokioIo<Watched<IO>>, Dispatch<S>, TokioExecutor>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn begin_drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    fn poll_served(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll(cx).map_err(Into::into)
    }
}

impl<IO, S, B> Connection for auto::Connection<'_, TokioIo<Watched<IO>>, Dispatch<S>, TokioExecutor>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn begin_drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }

    fn poll_served(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.poll(cx)
    }
}
