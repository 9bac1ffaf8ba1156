//! tonic's builder of a channel to one URI.

use super::ClientTlsConfig;
use crate::{
    Channel, Error,
    balance::Balancing,
    config::{CallSettings, env},
    error::BoxError,
    pool::{PoolSettings, Source},
    resolve::{Fixed, Registry, Resolver},
    route::RouteSettings,
    site::{ConnectFuture, Connector, Route},
    target::{Place, Security},
};
use bytes::Bytes;
use http::{HeaderValue, Uri, uri::InvalidUri};
use sampan_transport::{Address, ClientTls, ConnectSettings, RouteHead, TcpKeepalive, rt};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tower_service::Service;

/// Settings of a channel to one URI: `http://host:port`, `https://host:port` or `unix:PATH`.
///
/// A name's addresses all become endpoints of the channel.
#[derive(Clone, Debug)]
#[must_use]
pub struct Endpoint {
    uri: Uri,
    socket: Option<PathBuf>,
    origin: Option<Uri>,
    user_agent: Option<String>,
    tls: Option<ClientTls>,
    connect: ConnectSettings,
    connect_timeout: Option<Duration>,
    pub(super) calls: CallSettings,
}

// === impl Endpoint ===

impl Endpoint {
    /// Reads a URI, as [`from_shared`](Self::from_shared) and the conversions do.
    ///
    /// # Errors
    ///
    /// When it is no URI.
    pub fn new<D>(uri: D) -> Result<Self, Error>
    where
        D: TryInto<Self>,
        D::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        uri.try_into().map_err(invalid_uri)
    }

    /// Reads a URI that is part of the program.
    ///
    /// # Panics
    ///
    /// When it is no URI.
    pub fn from_static(uri: &'static str) -> Self {
        match Self::from_shared(uri) {
            Ok(endpoint) => endpoint,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads a URI.
    ///
    /// # Errors
    ///
    /// When it is no URI.
    pub fn from_shared(uri: impl Into<Bytes>) -> Result<Self, Error> {
        let uri = uri.into();
        let text = std::str::from_utf8(&uri).map_err(invalid_uri)?;
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let mut endpoint = Self::from(Uri::from_static("http://localhost"));
            endpoint.socket = Some(PathBuf::from(path));
            return Ok(endpoint);
        }
        let uri: Uri = text.parse().map_err(invalid_uri)?;
        Ok(Self::from(uri))
    }

    /// The URI; `http://localhost` stands for a Unix socket.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Stands before Sampan's own name in `user-agent`.
    ///
    /// # Errors
    ///
    /// When it cannot stand in a header.
    pub fn user_agent<T>(mut self, user_agent: T) -> Result<Self, Error>
    where
        T: TryInto<HeaderValue>,
    {
        let text = user_agent
            .try_into()
            .ok()
            .and_then(|value| value.to_str().map(str::to_owned).ok())
            .ok_or_else(|| Error::configuration("the user agent cannot stand in a header"))?;
        self.user_agent = Some(text);
        Ok(self)
    }

    /// Puts another scheme and authority into requests than those that are connected to.
    pub fn origin(mut self, origin: Uri) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Bounds the wait for the head of each response, and all of a call that is known to be
    /// unary. Ends a call with DEADLINE_EXCEEDED.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.calls.response_timeout = Some(timeout);
        self
    }

    /// Bounds each try to connect. Default 5 s for endpoints on this host or at private addresses,
    /// 20 s for others.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// When the kernel begins to probe a silent connection; None: never. Default 60 s.
    pub const fn tcp_keepalive(mut self, after: Option<Duration>) -> Self {
        self.connect.tcp.keepalive = match after {
            Some(after) => Some(TcpKeepalive {
                after,
                interval: Some(Duration::from_secs(10)),
                probes: Some(3),
            }),
            None => None,
        };
        self
    }

    /// Sends small writes at once. Default on.
    pub const fn tcp_nodelay(mut self, enabled: bool) -> Self {
        self.connect.tcp.nodelay = enabled;
        self
    }

    /// Lets only so many calls run at a time; others wait, within their deadlines.
    pub const fn concurrency_limit(mut self, limit: usize) -> Self {
        self.calls.max_concurrent_calls = Some(limit);
        self
    }

    /// Bytes that the server may send ahead on one stream. Default 2 MiB.
    pub fn initial_stream_window_size(mut self, size: impl Into<Option<u32>>) -> Self {
        if let Some(size) = size.into() {
            self.connect.http2.initial_stream_window_bytes = size;
        }
        self
    }

    /// Bytes that the server may send ahead on all streams together. Default 16 MiB.
    pub fn initial_connection_window_size(mut self, size: impl Into<Option<u32>>) -> Self {
        if let Some(size) = size.into() {
            self.connect.http2.initial_connection_window_bytes = size;
        }
        self
    }

    /// Silence after which a ping checks the connection, at least 1 s; it is looked at once in that
    /// time, so the ping comes after one to two of it. Default: no pings.
    pub const fn http2_keep_alive_interval(mut self, interval: Duration) -> Self {
        self.connect.http2.keepalive_interval = Some(interval);
        self
    }

    /// Wait for the answer to such a ping. Default 20 s.
    pub const fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.connect.http2.keepalive_timeout = timeout;
        self
    }

    /// Pings also while no call is open. Default off.
    pub const fn keep_alive_while_idle(mut self, enabled: bool) -> Self {
        self.connect.http2.keepalive_while_idle = enabled;
        self
    }

    /// Has no effect: windows are as large as they are set, which is faster on a local network
    /// than windows that follow the measured bandwidth.
    pub const fn http2_adaptive_window(self, _enabled: bool) -> Self {
        self
    }

    /// Longest header list that the server may send. Default 16 KiB.
    pub const fn http2_max_header_list_size(mut self, size: u32) -> Self {
        self.connect.http2.max_header_list_bytes = size;
        self
    }

    /// Speaks TLS by these settings.
    ///
    /// # Errors
    ///
    /// When a certificate, key or name cannot be used.
    pub fn tls_config(mut self, tls: ClientTlsConfig) -> Result<Self, Error> {
        let host = self.uri.host().unwrap_or("localhost");
        ConnectSettings::default()
            .with_tls(&tls.tls, host)
            .map_err(|error| Error::configuration("TLS cannot be used").with_source(error))?;
        self.tls = Some(tls.tls);
        Ok(self)
    }

    /// A channel whose first endpoint is connected.
    ///
    /// # Errors
    ///
    /// When a setting is wrong or no endpoint can be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn connect(&self) -> Result<Channel, Error> {
        let route = self.route(Connector::Sockets)?;
        self.started(resolver_of(&self.place()?, route)?).await
    }

    /// A channel that connects when it is first called. What is wrong with its settings is told
    /// to the calls.
    pub fn connect_lazy(&self) -> Channel {
        self.channel(self.resolver())
    }

    /// A channel whose connection `connector` opens, once it is open.
    ///
    /// # Errors
    ///
    /// When a setting is wrong or the connection cannot be opened.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn connect_with_connector<C>(&self, connector: C) -> Result<Channel, Error>
    where
        C: Service<Uri> + Send + 'static,
        C::Response: rt::Read + rt::Write + Send + Unpin + 'static,
        C::Future: Send,
        C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let route = self.route(self.connector(connector))?;
        self.started(anywhere(route)).await
    }

    /// A channel whose connection `connector` opens, when it is first called.
    pub fn connect_with_connector_lazy<C>(&self, connector: C) -> Channel
    where
        C: Service<Uri> + Send + 'static,
        C::Response: rt::Read + rt::Write + Send + Unpin + 'static,
        C::Future: Send,
        C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let route = self
            .route(self.connector(connector))
            .unwrap_or_else(Route::broken);
        self.channel(anywhere(route))
    }

    /// Finds the addresses of this endpoint; of one whose settings are wrong, a place that tells
    /// it to calls.
    pub(super) fn resolver(&self) -> Resolver {
        let built = self
            .place()
            .and_then(|place| Ok((place, self.route(Connector::Sockets)?)));
        built
            .and_then(|(place, route)| resolver_of(&place, route))
            .unwrap_or_else(|error| anywhere(Route::broken(error)))
    }

    async fn started(&self, resolver: Resolver) -> Result<Channel, Error> {
        let channel = self.channel(resolver);
        channel.connect().await?;
        Ok(channel)
    }

    fn channel(&self, resolver: Resolver) -> Channel {
        let mut calls = self.calls.clone();
        if self.socket.is_none() && self.uri.scheme().is_none() {
            calls.canonical = Some(format!("dns:///{}", self.uri));
        }
        Channel::new(
            self.name(),
            Source::constant(vec![resolver]),
            Balancing::default(),
            calls,
            PoolSettings::default(),
        )
    }

    fn name(&self) -> String {
        match &self.socket {
            Some(path) => format!("unix:{}", path.display()),
            None => self.uri.to_string(),
        }
    }

    fn place(&self) -> Result<Place, Error> {
        if let Some(path) = &self.socket {
            return Ok(Place::Address(Address::Unix(path.clone())));
        }
        let port = match self.uri.scheme_str() {
            None | Some("http") => 80,
            Some("https") => 443,
            Some(other) => {
                return Err(Error::configuration(format!(
                    "\"{}\" has the unknown scheme \"{other}\"",
                    self.uri
                ))
                .with_hint(Some("http:// or https://?")));
            }
        };
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        Place::read(authority, Some(port)).map_err(|reason| {
            Error::configuration(format!("\"{}\" cannot be connected to: {reason}", self.uri))
        })
    }

    fn route(&self, connector: Connector) -> Result<Route, Error> {
        let origin = self.origin.as_ref().unwrap_or(&self.uri);
        let authority = origin
            .authority()
            .cloned()
            .ok_or_else(|| Error::configuration(format!("\"{origin}\" has no host")))?;
        let is_https = self.uri.scheme_str() == Some("https");
        let settings = RouteSettings {
            authority,
            host: self.uri.host().unwrap_or("localhost").to_owned(),
            // tonic takes TLS settings with http:// too.
            security: if is_https {
                Security::Tls
            } else {
                Security::Unsaid
            },
            tls: self.tls.clone(),
            user_agent: self.user_agent.as_deref(),
            connect: self.connect.clone(),
            connect_timeout: self.connect_timeout,
            connector,
            local: Default::default(),
            is_in_cluster: false,
        };
        settings.build()
    }

    fn connector<C>(&self, connector: C) -> Connector
    where
        C: Service<Uri> + Send + 'static,
        C::Response: rt::Read + rt::Write + Send + Unpin + 'static,
        C::Future: Send,
        C::Error: Into<BoxError>,
    {
        let uri = self.uri.clone();
        let connector = Arc::new(Mutex::new(Some(connector)));
        Connector::Custom(Box::new(move |_, settings| {
            let (uri, connector) = (uri.clone(), Arc::clone(&connector));
            let connect = async move {
                let take = || {
                    connector
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take()
                };
                // One try at a time: the channel has one endpoint.
                let mut service = Returned {
                    service: take(),
                    home: &connector,
                };
                let Some(inner) = &mut service.service else {
                    return Err("the connector is busy".into());
                };
                std::future::poll_fn(|cx| inner.poll_ready(cx))
                    .await
                    .map_err(Into::into)?;
                let io = inner.call(uri).await.map_err(Into::into)?;
                drop(service);
                Ok(sampan_transport::handshake(rt::into_tokio(io), &settings).await?)
            };
            Box::pin(connect) as ConnectFuture
        }))
    }
}

/// Puts a service back where it was taken from, also when the try is given up.
struct Returned<'a, C> {
    service: Option<C>,
    home: &'a Mutex<Option<C>>,
}

// === impl Returned ===

impl<C> Drop for Returned<'_, C> {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(service);
        }
    }
}

// === impl Route ===

impl Route {
    /// Stands for a place whose settings are wrong.
    fn broken(error: Error) -> Self {
        Self {
            head: RouteHead::new(
                http::uri::Scheme::HTTP,
                HeaderValue::from_static("localhost"),
                HeaderValue::from_static("sampan"),
            ),
            connect: ConnectSettings::default(),
            connect_timeout: None,
            connector: Connector::Broken(error),
            local: None,
            tunnel: None,
            is_in_cluster: false,
        }
    }
}

fn resolver_of(place: &Place, route: Route) -> Result<Resolver, Error> {
    let registry = Registry::with_proxy(env::proxy()?);
    Resolver::of_place(place, Arc::new(route), &registry)
        .map_err(|error| Error::configuration("cannot resolve").with_source(error))
}

/// An address for those who do not look at it.
fn anywhere(route: Route) -> Resolver {
    let nowhere = Fixed::new(Address::Unix(PathBuf::from("custom")));
    Resolver::new(Arc::new(nowhere), Arc::new(route))
}

fn invalid_uri(error: impl Into<BoxError>) -> Error {
    Error::configuration("invalid URI").with_source(error)
}

impl From<Uri> for Endpoint {
    fn from(uri: Uri) -> Self {
        Self {
            uri,
            socket: None,
            origin: None,
            user_agent: None,
            tls: None,
            connect: ConnectSettings::default(),
            connect_timeout: None,
            calls: CallSettings::default(),
        }
    }
}

impl TryFrom<&'static str> for Endpoint {
    type Error = Error;

    fn try_from(uri: &'static str) -> Result<Self, Error> {
        Self::from_shared(uri)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;

    fn try_from(uri: String) -> Result<Self, Error> {
        Self::from_shared(uri)
    }
}

impl TryFrom<Bytes> for Endpoint {
    type Error = Error;

    fn try_from(uri: Bytes) -> Result<Self, Error> {
        Self::from_shared(uri)
    }
}

// === impl Channel ===

/// tonic's ways to a channel.
impl Channel {
    /// Begins with a URI. tonic's name; [`Channel::configure`] takes every kind of target.
    pub fn builder(uri: Uri) -> Endpoint {
        Endpoint::from(uri)
    }

    /// Begins with a URI that is part of the program.
    ///
    /// # Panics
    ///
    /// When it is no URI.
    pub fn from_static(uri: &'static str) -> Endpoint {
        Endpoint::from_static(uri)
    }

    /// Begins with a URI.
    ///
    /// # Errors
    ///
    /// When it is no URI.
    pub fn from_shared(uri: impl Into<Bytes>) -> Result<Endpoint, InvalidUri> {
        Ok(Endpoint::from(Uri::from_maybe_shared(uri.into())?))
    }
}
