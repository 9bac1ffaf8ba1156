//! Accepts connections and serves each in a task of its own.

use crate::{BoxError, error::write_chain};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use http::{Request, Response};
use http_body::Body as HttpBody;
use sampan_middleware::metrics::ServerMetrics;
use sampan_transport::{Incoming, Listener, PeerInfo, ServeSettings, ServerTls, serve_connection};
use std::{
    convert::Infallible,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower_service::Service;

/// A byte stream of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Io for IO {}

/// A connection, or why there is none.
pub(crate) type Accepted = Result<(Box<dyn Io>, PeerInfo), BoxError>;

/// What is served: a service whose type is forgotten, at one box per connection.
pub(crate) struct Served {
    // Locked once per connection: services of users need not be Sync.
    service: Mutex<Box<dyn ServeAny>>,
    metrics: Option<ServerMetrics>,
}

/// How far a server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    Draining,
    Aborting,
}

/// Hears of the phases.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<Phase>);

/// Serves what is accepted at all addresses of a server.
pub(super) struct Acceptor {
    service: Mutex<Box<dyn ServeAny>>,
    setup: Arc<Setup>,
    free: Arc<Semaphore>,
    max_connections: usize,
}

/// What the connections have in common.
struct Setup {
    settings: ServeSettings,
    tls: Option<ServerTls>,
}

trait ServeAny: Send {
    fn duplicate(&self) -> Box<dyn ServeAny>;

    fn serve(
        &self,
        io: Box<dyn Io>,
        peer: PeerInfo,
        setup: Arc<Setup>,
        stop: Stop,
    ) -> BoxFuture<'static, Result<(), BoxError>>;
}

/// Makes the service of each connection.
struct MadeBy<M>(M);

/// Connections still taken from the backlog when accepting stops.
const LAST_CONNECTIONS: usize = 65_535;

/// The connections that `listener` accepts, without an end.
pub(crate) fn connections(listener: Listener) -> impl Stream<Item = Accepted> {
    stream::unfold(listener, |listener| async {
        let socket = listener.accept().await;
        let peer = socket.peer();
        Some((Ok((Box::new(socket) as Box<dyn Io>, peer)), listener))
    })
}

/// A service whose clone panicked is as good as before: nothing was changed.
fn lock(service: &Mutex<Box<dyn ServeAny>>) -> MutexGuard<'_, Box<dyn ServeAny>> {
    service.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Acceptor ===

impl Acceptor {
    pub(super) fn new(
        served: &Served,
        settings: ServeSettings,
        tls: Option<ServerTls>,
        max_connections: usize,
    ) -> Self {
        let max_connections = max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            service: Mutex::new(lock(&served.service).duplicate()),
            setup: Arc::new(Setup { settings, tls }),
            free: Arc::new(Semaphore::new(max_connections)),
            max_connections,
        }
    }

    pub(super) fn open_connections(&self) -> usize {
        self.max_connections - self.free.available_permits()
    }

    /// Serves the connections of `incoming` until it ends or accepting stops, and until those
    /// begun have ended.
    pub(super) async fn run(&self, incoming: impl Stream<Item = Accepted>, mut stop: Stop) {
        let mut connections = JoinSet::new();
        self.accept(incoming, &mut connections, &mut stop).await;
        loop {
            tokio::select! {
                ended = connections.join_next() => {
                    if ended.is_none() {
                        return;
                    }
                }
                () = stop.at(Phase::Aborting) => return connections.shutdown().await,
            }
        }
    }

    async fn accept(
        &self,
        incoming: impl Stream<Item = Accepted>,
        connections: &mut JoinSet<()>,
        stop: &mut Stop,
    ) {
        let mut incoming = pin!(incoming);
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.at(Phase::Draining) => break,
                accepted = incoming.next() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Some(accepted) => self.spawn(accepted, connections, stop),
                None => return,
            }
        }
        // Whoever has connected already is served, and told to go elsewhere by GOAWAY; closing
        // the listener would reset them.
        for _ in 0..LAST_CONNECTIONS {
            match incoming.next().now_or_never().flatten() {
                Some(accepted) => self.spawn(accepted, connections, stop),
                None => return,
            }
        }
    }

    fn spawn(&self, accepted: Accepted, connections: &mut JoinSet<()>, stop: &Stop) {
        let (io, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection failed before it was accepted");
                return;
            }
        };
        // Closed at once rather than left in the backlog, where its calls would hang: so the
        // client tries another endpoint.
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            tracing::debug!(
                ?peer,
                "refused: there are {} connections",
                self.max_connections
            );
            return;
        };
        let setup = Arc::clone(&self.setup);
        let connection = lock(&self.service).serve(io, peer, setup, stop.clone());
        connections.spawn(log_end(connection, permit));
    }
}

async fn log_end(
    connection: BoxFuture<'static, Result<(), BoxError>>,
    _permit: OwnedSemaphorePermit,
) {
    if let Err(error) = connection.await {
        let mut chain = String::new();
        write_chain(&mut chain, &*error).ok();
        tracing::debug!("a connection ended: {chain}");
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

// === impl Stop ===

impl Stop {
    pub(super) fn channel() -> (watch::Sender<Phase>, Self) {
        let (phase, heard) = watch::channel(Phase::Serving);
        (phase, Self(heard))
    }

    /// Completes in `phase` and in later ones.
    async fn at(&mut self, phase: Phase) {
        let has_come = self.0.wait_for(|now| *now >= phase).await.is_ok();
        if !has_come {
            // The server itself is gone, and this task with it.
            std::future::pending().await
        }
    }
}

// === impl Served ===

impl Served {
    /// `metrics` count the calls; None: they are not known.
    pub(crate) fn new<S, B>(service: S, metrics: Option<ServerMetrics>) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::made_by(move || service.clone(), metrics)
    }

    /// Each connection gets a service of its own.
    pub(crate) fn made_by<M, S, B>(make: M, metrics: Option<ServerMetrics>) -> Self
    where
        M: Fn() -> S + Clone + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self {
            service: Mutex::new(Box::new(MadeBy(make))),
            metrics,
        }
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

impl<M, S, B> ServeAny for MadeBy<M>
where
    M: Fn() -> S + Clone + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn duplicate(&self) -> Box<dyn ServeAny> {
        Box::new(Self(self.0.clone()))
    }

    fn serve(
        &self,
        io: Box<dyn Io>,
        peer: PeerInfo,
        setup: Arc<Setup>,
        mut stop: Stop,
    ) -> BoxFuture<'static, Result<(), BoxError>> {
        let service = (self.0)();
        Box::pin(async move {
            let drain = async move { stop.at(Phase::Draining).await };
            let settings = &setup.settings;
            match &setup.tls {
                None => serve_connection(io, peer, service, settings, drain).await?,
                Some(tls) => {
                    let (io, peer) = tls.accept(io, peer).await?;
                    serve_connection(io, peer, service, settings, drain).await?;
                }
            }
            Ok(())
        })
    }
}
