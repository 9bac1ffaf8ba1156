//! HTTP/1, which browsers speak without TLS: by hyper.

use super::{
    BoxError, ServeError, ServeSettings,
    watchdog::{Activity, OpenCall, Verdict, Watchdog},
};
use crate::{Incoming, PeerInfo};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use std::{
    io::Cursor,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tower_service::Service;

/// Serves `io`, of which `first` was read already.
pub(super) async fn serve<IO, S, B>(
    io: IO,
    first: BytesMut,
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
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let activity = Arc::new(Activity::default());
    activity.has_begun();
    let mut watchdog = Watchdog::new(settings);
    let (read, write) = tokio::io::split(io);
    let io = tokio::io::join(Cursor::new(first.freeze()).chain(read), write);
    let dispatch = Dispatch {
        service,
        peer,
        activity: Arc::clone(&activity),
    };
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.http1_header_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), dispatch));
    let mut drain = pin!(drain);
    let mut is_draining = false;
    let first_look = watchdog.first_look(tokio::time::Instant::now().into_std());
    let mut look = pin!(tokio::time::sleep_until(first_look.into()));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                return ended.map_err(|error| ServeError::Broken(error.into()));
            }
            () = drain.as_mut(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = look.as_mut() => match watchdog.look(look.deadline().into_std(), &activity) {
                Verdict::LookAgain(at) => look.as_mut().reset(at.into()),
                Verdict::GoAway(at) => {
                    connection.as_mut().graceful_shutdown();
                    look.as_mut().reset(at.into());
                }
                Verdict::Close(error) => return Err(error),
            },
        }
    }
}

/// The service of one connection.
#[derive(Debug)]
struct Dispatch<S> {
    service: S,
    peer: PeerInfo,
    activity: Arc<Activity>,
}

pin_project! {
    /// A call until its response begins.
    struct Call<F> {
        #[pin]
        response: F,
        open: Option<OpenCall>,
    }
}

pin_project! {
    /// A response's body; the call is open until it is dropped.
    struct OpenBody<B> {
        #[pin]
        body: B,
        open: Option<OpenCall>,
    }
}

// === impl Dispatch ===

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
