//! Serves connections with a service whose type is forgotten.

use super::{
    load::{Count, Counted},
    stop::Stop,
};
use crate::{BoxError, answer::Plain, error::write_chain, secure::Secure};
use bytes::Bytes;
use futures_util::{TryFutureExt, future::BoxFuture};
use http::{Request, Response};
use http_body::Body as HttpBody;
use sampan_middleware::metrics::ServerMetrics;
use sampan_transport::{
    Incoming, PeerInfo, ResponseBody, ServeSettings, serve_connection, serve_http2,
};
use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    ) -> Serves;
}

/// Makes the service of each connection.
struct MadeBy<M, S> {
    make: M,
    speak: Speak<S>,
}

/// Serves a connection that speaks HTTP/2, or HTTP/1 too. Behind a pointer: a server of gRPC
/// alone has no HTTP/1 in it.
type Speak<S> = fn(Box<dyn Io>, PeerInfo, Counted<S>, Arc<Setup>, Stop) -> Serves;

type Serves = BoxFuture<'static, Result<(), BoxError>>;

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
    fn serve(
        &self,
        io: Box<dyn Io>,
        peer: PeerInfo,
        stop: Stop,
        held: impl Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (setup, calls) = (Arc::clone(&self.setup), self.calls.clone());
        let connection = lock(&self.service).serve(io, peer, setup, calls, stop);
        async move {
            let _held = held;
            if let Err(error) = connection.await {
                let mut chain = String::new();
                write_chain(&mut chain, &*error).ok();
                tracing::debug!("a connection ended: {chain}");
            }
        }
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
        held: impl Send + 'static,
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
    ) -> Serves {
        let service = Counted::new((self.make)(), calls);
        let speak = self.speak;
        match setup.tls.clone() {
            None => speak(io, peer, service, setup, stop),
            Some(tls) => Box::pin(async move {
                let (io, peer) = tls.accept(io, peer).await?;
                speak(io, peer, service, setup, stop).await
            }),
        }
    }
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
    Box::pin(served.err_into())
}

fn speak<S, B>(io: Box<dyn Io>, peer: PeerInfo, service: S, setup: Arc<Setup>, stop: Stop) -> Serves
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::pin(async move {
        let drain = stop.draining();
        serve_connection(io, peer, service, &setup.settings, drain).await?;
        Ok(())
    })
}
