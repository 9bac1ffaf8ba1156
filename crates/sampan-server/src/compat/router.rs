//! Services, ready to be served.

use super::Server;
use crate::{
    BoxError, Error, Routes,
    bound::{Accepted, Core, Opened, Served, connections},
    error::Kind,
    health::Health,
    probe::Probe,
    stack::{Calls, StackSettings},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use http_body::Body as HttpBody;
use prometheus_client::registry::Registry;
use sampan_container::{Grant, Plan};
use sampan_middleware::metrics::ServerMetrics;
use sampan_transport::{Listener, PeerInfo};
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{body::Body, server::NamedService};
use tower::{
    ServiceBuilder, limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer, util::option_layer,
};
use tower_layer::{Identity, Layer};
use tower_service::Service;

/// Services and how they are served.
#[derive(Clone, Debug)]
pub struct Router<L = Identity> {
    server: Server<L>,
    routes: Routes,
}

/// How long a shutdown waits for open calls.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

// === impl Router ===

impl<L> Router<L> {
    pub(super) const fn new(server: Server<L>, routes: Routes) -> Self {
        Self { server, routes }
    }

    /// Adds a service.
    #[must_use]
    pub fn add_service<S, B>(self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.add_optional_service(Some(service))
    }

    /// Adds a service, if there is one.
    #[must_use]
    pub fn add_optional_service<S, B>(mut self, service: Option<S>) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if let Some(service) = service {
            self.routes.add(service);
        }
        self
    }

    /// Serves at `address`, without an end.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the TLS settings cannot work.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and aborts all calls.
    pub async fn serve<B>(self, address: SocketAddr) -> Result<(), Error>
    where
        L: Layer<Routes>,
        L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError> + Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.serve_with_shutdown(address, std::future::pending())
            .await
    }

    /// Serves at `address` until `signal`; then open calls have 25 s to end.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the TLS settings cannot work.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and aborts all calls.
    pub async fn serve_with_shutdown<F, B>(
        self,
        address: SocketAddr,
        signal: F,
    ) -> Result<(), Error>
    where
        F: Future<Output = ()>,
        L: Layer<Routes>,
        L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError> + Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let listener =
            Listener::bind(&address.into(), &self.server.sockets()).map_err(Kind::Listen)?;
        tracing::info!(target: "sampan", "listening on {}", listener.local_address());
        self.run(connections(listener), signal).await
    }

    /// Serves the connections of `incoming` until it ends, and they have.
    ///
    /// # Errors
    /// When the TLS settings cannot work.
    ///
    /// # Cancel safety
    /// Dropping the future drops `incoming` and aborts all calls.
    pub async fn serve_with_incoming<I, IO, IE, B>(self, incoming: I) -> Result<(), Error>
    where
        I: Stream<Item = Result<IO, IE>>,
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        IE: Into<BoxError>,
        L: Layer<Routes>,
        L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError> + Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.serve_with_incoming_shutdown(incoming, std::future::pending())
            .await
    }

    /// Serves the connections of `incoming` until it ends or `signal` comes; then open calls
    /// have 25 s to end. Who is at the other end is known of tokio's TCP and Unix streams.
    ///
    /// # Errors
    /// When the TLS settings cannot work.
    ///
    /// # Cancel safety
    /// Dropping the future drops `incoming` and aborts all calls.
    pub async fn serve_with_incoming_shutdown<I, IO, IE, F, B>(
        self,
        incoming: I,
        signal: F,
    ) -> Result<(), Error>
    where
        I: Stream<Item = Result<IO, IE>>,
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        IE: Into<BoxError>,
        F: Future<Output = ()>,
        L: Layer<Routes>,
        L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError> + Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let incoming = incoming.map(|accepted| -> Accepted {
            let io = accepted.map_err(Into::into)?;
            let peer = PeerInfo::of(&io);
            Ok((Opened::Other(Box::new(io)), peer))
        });
        self.run(incoming, signal).await
    }

    async fn run<B>(
        self,
        incoming: impl Stream<Item = Accepted>,
        signal: impl Future<Output = ()>,
    ) -> Result<(), Error>
    where
        L: Layer<Routes>,
        L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError> + Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { server, routes } = self;
        let mut registry = Registry::default();
        let metrics = ServerMetrics::register(&mut registry, [""; 0]);
        let health = Health::serving([]).await;
        let tls = match &server.tls {
            Some(tls) => Some(tls.make(server.protocols())?),
            None => None,
        };
        let granted = Grant::of_this_process();
        let connections = server.connections(granted);
        let settings = StackSettings {
            metrics: metrics.clone(),
            longest_call: server.timeout,
            is_strict: !server.accepts_http1,
            shed: None,
            loads: None,
            compression: None,
        };
        let (limit, sheds_load) = (server.concurrency_limit, server.sheds_load);
        let services = server.user.layer(routes);
        let served = if limit.is_none() && !sheds_load {
            let calls = Calls::new(services, settings);
            Served::made_by(move || calls.clone(), metrics)
        } else {
            // Made anew for each connection: the limit on handlers is one connection's.
            let make = move || {
                let services = ServiceBuilder::new()
                    .layer(option_layer(sheds_load.then(LoadShedLayer::new)))
                    .map_err(Into::<BoxError>::into)
                    .layer(option_layer(limit.map(ConcurrencyLimitLayer::new)))
                    .service(services.clone());
                Calls::new(services, settings.clone())
            };
            Served::made_by(make, metrics)
        };
        let core = Core {
            served,
            probe: Probe::new(registry, &health),
            health,
            loads: None,
            connections,
            tls,
            max_connections: Plan::new(granted).max_connections,
            // Everything runs where it is called, as tonic's users expect.
            workers: 1,
            lame_duck: Duration::ZERO,
            drain_timeout: DRAIN_TIMEOUT,
            index: Default::default(),
        };
        core.run([incoming], stream::once(signal)).await
    }
}
