//! Serves connections with a service whose type is forgotten.

use super::{
    accept::Held,
    load::{Count, Counted},
    stop::Stop,
};
use crate::{BoxError, answer::Plain, error::write_chain, secure::Secure};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use sampan_middleware::metrics::ServerMetrics;
use sampan_transport::{
    Incoming, PeerInfo, ResponseBody, ServeError, ServeSettings, serve_connection, serve_http2,
};
use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{JoinError, JoinSet},
};
use tower::ServiceExt;
use tower_service::Service;

/// A byte stream of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Io for IO {}

/// What is served: a service whose type is forgotten, at one box per connection.
pub(crate) struct Served {
    // Locked once per connection: services of users need not be Sync.
    service: Mutex<Box<dyn ServeAny>>,
    metrics: Option<ServerMetrics>,
}

/// What the connections of a server have in common.
pub(super) struct Setup {
    pub(super) settings: ServeSettings,
    pub(super) tls: Option<Arc<dyn Secure>>,
}

/// One worker's copy of what is served.
pub(super) struct Serving {
    service: Mutex<Box<dyn ServeAny>>,
    setup: Arc<Setup>,
    calls: Option<Arc<Count>>,
}

/// The connections that one worker serves.
#[derive(Debug, Default)]
pub(super) struct Connections(JoinSet<()>);

trait ServeAny: Send {
    fn duplicate(&self) -> Box<dyn ServeAny>;

    fn serve(
        &self,
        io: Box<dyn Io>,
        peer: PeerInfo,
        setup: Arc<Setup>,
        calls: Option<Arc<Count>>,
        stop: Stop,
        held: Held,
    ) -> Serves;
}

/// Makes the service of each connection.
struct MadeBy<M, S> {
    make: M,
    speak: Speak<S>,
}

/// Serves a connection that speaks HTTP/2, or HTTP/1 too. Behind a pointer: a server of gRPC
/// alone has no HTTP/1 in it.
type Speak<S> = fn(Box<dyn Io>, PeerInfo, Counted<S>, Arc<Setup>, Stop, Held) -> Serves;

/// All that a connection is, in one box: a task of nothing else is half as large.
type Serves = BoxFuture<'static, ()>;

pin_project! {
    /// Serves a connection until it ends, tells how, and lets go what it holds.
    struct Told<F> {
        #[pin]
        served: F,
        held: Held,
    }
}

/// A service whose clone panicked is as good as before: nothing was changed.
fn lock(service: &Mutex<Box<dyn ServeAny>>) -> MutexGuard<'_, Box<dyn ServeAny>> {
    service.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Serving ===

impl Serving {
    /// `calls` tells how many are open; None: nobody asks.
    pub(super) fn new(served: &Served, setup: Arc<Setup>, calls: Option<Arc<Count>>) -> Self {
        Self {
            service: Mutex::new(served.duplicate()),
            setup,
            calls,
        }
    }

    /// A copy for a thread of its own.
    pub(super) fn copy(&self) -> Self {
        Self {
            service: Mutex::new(lock(&self.service).duplicate()),
            setup: Arc::clone(&self.setup),
            calls: self.calls.clone(),
        }
    }

    /// Serves a connection until it ends; then `held` is dropped.
    fn serve(&self, io: Box<dyn Io>, peer: PeerInfo, stop: Stop, held: Held) -> Serves {
        let (setup, calls) = (Arc::clone(&self.setup), self.calls.clone());
        lock(&self.service).serve(io, peer, setup, calls, stop, held)
    }
}

// === impl Connections ===

impl Connections {
    /// Serves a connection in a task of its own, which keeps `held` to its end.
    pub(super) fn add(
        &mut self,
        serving: &Serving,
        io: Box<dyn Io>,
        peer: PeerInfo,
        stop: &Stop,
        held: Held,
    ) {
        self.0.spawn(serving.serve(io, peer, stop.clone(), held));
    }

    /// Waits until one has ended; None: there are none.
    pub(super) async fn ended(&mut self) -> Option<()> {
        let ended = self.0.join_next().await?;
        if ended.is_err_and(|error: JoinError| error.is_panic()) {
            tracing::error!(target: "sampan", "a connection was lost to a panic");
        }
        Some(())
    }

    /// Waits until all have ended; when the server aborts, they end at once.
    pub(super) async fn finish(mut self, mut stop: Stop) {
        loop {
            tokio::select! {
                ended = self.ended() => {
                    if ended.is_none() {
                        return;
                    }
                }
                () = stop.aborted() => return self.0.shutdown().await,
            }
        }
    }
}

// === impl Served ===

impl Served {
    /// Over HTTP/2 alone. `metrics` count the calls; None: they are not known.
    pub(crate) fn http2<S, B>(service: S, metrics: ServerMetrics) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: ResponseBody + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let make = move || service.clone();
        Self::made(make, speak_http2, Some(metrics))
    }

    /// Answers that are not gRPC, and whose calls are not counted; over HTTP/1 too.
    pub(crate) fn http<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = service.map_response(|response: Response<B>| response.map(Plain::new));
        Self::made(move || service.clone(), speak, None)
    }

    /// Each connection gets a service of its own; over what the settings say.
    pub(crate) fn made_by<M, S, B>(make: M, metrics: ServerMetrics) -> Self
    where
        M: Fn() -> S + Clone + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: ResponseBody + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::made(make, speak, Some(metrics))
    }

    fn made<M, S>(make: M, speak: Speak<S>, metrics: Option<ServerMetrics>) -> Self
    where
        M: Fn() -> S + Clone + Send + 'static,
        S: Send + 'static,
    {
        Self {
            service: Mutex::new(Box::new(MadeBy { make, speak })),
            metrics,
        }
    }

    fn duplicate(&self) -> Box<dyn ServeAny> {
        lock(&self.service).duplicate()
    }

    pub(super) fn open_calls(&self) -> Option<usize> {
        self.metrics.as_ref().map(ServerMetrics::open_calls)
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

// === impl MadeBy ===

impl<M, S> ServeAny for MadeBy<M, S>
where
    M: Fn() -> S + Clone + Send + 'static,
    S: Send + 'static,
{
    fn duplicate(&self) -> Box<dyn ServeAny> {
        Box::new(Self {
            make: self.make.clone(),
            speak: self.speak,
        })
    }

    fn serve(
        &self,
        io: Box<dyn Io>,
        peer: PeerInfo,
        setup: Arc<Setup>,
        calls: Option<Arc<Count>>,
        stop: Stop,
        held: Held,
    ) -> Serves {
        let service = Counted::new((self.make)(), calls);
        let speak = self.speak;
        match setup.tls.clone() {
            None => speak(io, peer, service, setup, stop, held),
            Some(tls) => Box::pin(async move {
                match tls.accept(io, peer).await {
                    Ok((io, peer)) => speak(io, peer, service, setup, stop, held).await,
                    Err(error) => tell(&*error),
                }
            }),
        }
    }
}

// === impl Told ===

impl<F: Future<Output = Result<(), ServeError>>> Future for Told<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Err(error) = ready!(self.project().served.poll(cx)) {
            tell(&error);
        }
        Poll::Ready(())
    }
}

#[cold]
fn tell(error: &(dyn StdError + 'static)) {
    let mut chain = String::new();
    write_chain(&mut chain, error).ok();
    tracing::debug!("a connection ended: {chain}");
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "it is a Speak, as the other is"
)]
fn speak_http2<S, B>(
    io: Box<dyn Io>,
    peer: PeerInfo,
    service: S,
    setup: Arc<Setup>,
    stop: Stop,
    held: Held,
) -> Serves
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    let served = serve_http2(io, peer, service, &setup.settings, stop.draining());
    Box::pin(Told { served, held })
}

fn speak<S, B>(
    io: Box<dyn Io>,
    peer: PeerInfo,
    service: S,
    setup: Arc<Setup>,
    stop: Stop,
    held: Held,
) -> Serves
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    let served = async move {
        let drain = stop.draining();
        serve_connection(io, peer, service, &setup.settings, drain).await
    };
    Box::pin(Told { served, held })
}
