//! How a channel is made.

use super::Channel;
use crate::{
    CallService, Error, Interceptor,
    around::Inside,
    balance::Balancing,
    config::{CallSettings, ConfigSource, env},
    credentials::Credentials,
    error::BoxError,
    policy::{CircuitLimits, RetryBudgetSettings},
    pool::{PoolSettings, Source},
    proxy::Proxy,
    resolve::{MakeResolver, Registry, Resolve, Resolver, TargetName, check_scheme},
    retry::ThrottleSettings,
    route::{LocalUse, RouteSettings},
    site::Connector,
    target::{Place, Target},
};
use bytes::Bytes;
use sampan_middleware::{compression::Compression, overload::AdaptiveSettings};
use sampan_transport::{Address, ClientHttp2Settings, ClientTls, ConnectSettings, TcpSettings};
use sampan_wire::policy::{CallPolicy, Method};
use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tower_layer::Layer;
use tower_service::Service;

/// The settings of a channel that is to be made.
#[must_use]
pub struct ChannelBuilder {
    target: String,
    balancing: Option<Balancing>,
    calls: CallSettings,
    connect: ConnectSettings,
    connect_timeout: Option<Duration>,
    tls: Option<ClientTls>,
    authority: Option<String>,
    user_agent: Option<String>,
    service_config: Option<ConfigSource>,
    resolvers: Vec<(String, Arc<MakeResolver>)>,
    pool: PoolSettings,
    is_config_from_dns: bool,
    connector: Connector,
    local: LocalUse,
    proxy: Option<(String, String)>,
}

// === impl ChannelBuilder ===

impl ChannelBuilder {
    pub(super) fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            balancing: None,
            calls: CallSettings::default(),
            connect: ConnectSettings::default(),
            connect_timeout: None,
            tls: None,
            authority: None,
            user_agent: None,
            service_config: None,
            resolvers: Vec::new(),
            pool: PoolSettings::default(),
            is_config_from_dns: false,
            connector: Connector::Sockets,
            local: LocalUse::default(),
            proxy: None,
        }
    }

    /// How endpoints are chosen: a [`Balance`](crate::Balance), or a [`Balancing`] with more
    /// settings. Goes before the service config's. Default: least request of two, but for
    /// endpoints that are much slower than others; outliers are ejected, and endpoints that join
    /// start slowly.
    pub fn balance(mut self, balancing: impl Into<Balancing>) -> Self {
        self.balancing = Some(balancing.into());
        self
    }

    /// What is known of methods, for calls whose client does not say it by itself: clients that
    /// `sampan-build` generates do.
    pub fn methods(mut self, methods: &'static [Method]) -> Self {
        let methods = methods.iter().map(|method| (method.path(), method));
        self.calls.methods.extend(methods);
        self
    }

    /// Bounds every call, streams included, through its last trailer; a call's own earlier
    /// deadline holds. Default: none here, 30 s for unary calls that have no other.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.calls.deadline = Some(deadline);
        self
    }

    /// Bounds each try to connect to one endpoint. Default 5 s for endpoints on this host, in the
    /// cluster or at private addresses, 20 s for others.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Refuses longer messages of responses with RESOURCE_EXHAUSTED when their first bytes
    /// arrive, in calls whose client does not tell a limit of its own. Clients that `sampan-build`
    /// generates always do, 4 MiB unless `max_decoding_message_size` says otherwise, and theirs
    /// holds in place of this one, larger or smaller: to bound them too, say
    /// [`policy`](Self::policy) with [`CallPolicy::with_max_response_bytes`], for of those the
    /// smallest holds. Default: no limit.
    pub const fn max_message_bytes(mut self, max: usize) -> Self {
        self.calls.max_message_bytes = Some(max);
        self
    }

    /// Lets only so many calls run at a time; others wait, within their deadlines. Default: no
    /// limit.
    pub const fn max_concurrent_calls(mut self, max: usize) -> Self {
        self.calls.max_concurrent_calls = Some(max);
        self
    }

    /// Fails calls at once with UNAVAILABLE while so many are under way, or wait for an endpoint.
    /// While there are so many connections no endpoint gets more than its first. Default: no
    /// limit of calls, ten connections to an endpoint, and one for each MiB of the container's
    /// memory, at most 10,000, to all; of more endpoints than that the channel uses some. Source:
    /// gRFC A32, A68.
    pub const fn circuit_breaker(mut self, limits: CircuitLimits) -> Self {
        self.calls.gate.circuit = Some(limits);
        self.pool.max_connections = limits.connections;
        self
    }

    /// Fails calls at once with UNAVAILABLE while more are under way than the service answers
    /// without queueing, which is found out from how long its answers take. For channels of
    /// unary calls: long streams look like slow answers. Default: off.
    pub const fn adaptive_concurrency(mut self, settings: AdaptiveSettings) -> Self {
        self.calls.gate.adaptive = Some(settings);
        self
    }

    /// Lets so many calls a second begin, and `burst` (at least one) at once after a pause;
    /// others fail with RESOURCE_EXHAUSTED. Default: no limit.
    pub const fn rate_limit(mut self, per_second: f64, burst: u32) -> Self {
        self.calls.gate.rate = Some((per_second, burst));
        self
    }

    /// Bounds attempts beyond the first, those of retries and hedges together, to a part of the calls
    /// of the last ten seconds: a call that would need one more fails as its last attempt did. It
    /// holds beside the throttle of the service config. Default: 20 % of the calls and ten a second.
    pub const fn retry_budget(mut self, settings: RetryBudgetSettings) -> Self {
        self.calls.retry_budget = settings;
        self
    }

    /// Room for the answers that are kept of methods whose .proto says so: a store of this
    /// channel's own, in bytes; 0 keeps none. Default: all channels of the process share a fifth
    /// of the container's memory, 64 MiB where it has no limit.
    ///
    /// An answer out of it says `hit`, `stale` or `stale-if-error` in its metadata `sampan-cache`,
    /// and its `age` in seconds.
    pub const fn cache_bytes(mut self, max: u64) -> Self {
        self.calls.cache_bytes = Some(max);
        self
    }

    /// Lets this see each call and each attempt: see [`Interceptor`]. Those added first come
    /// first, and hear last how a call ended.
    pub fn intercept(mut self, interceptor: impl Interceptor) -> Self {
        self.calls.around.intercept(interceptor);
        self
    }

    /// Puts a tower layer around each call, above retries: it sees a call once, and the response
    /// that counts. The first one added is the outermost. Layers stand above the interceptors and
    /// the cache, and what they wait for counts against the call's deadline. A status in the chain
    /// of an error is the call's own.
    pub fn layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<CallService> + Send + Sync + 'static,
        L::Service: Service<http::Request<tonic::body::Body>, Response = http::Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<http::Request<tonic::body::Body>>>::Future: Send + 'static,
        <L::Service as Service<http::Request<tonic::body::Body>>>::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (layers, _) = self.calls.around.layers_mut();
        layers.push(layer, Inside::Call);
        self
    }

    /// Puts a tower layer around each attempt: each retry and each hedge passes it, when an
    /// endpoint was picked and its credentials are there. The request has an
    /// [`AttemptInfo`](crate::AttemptInfo) in its extensions, and what is known of the method as a
    /// `&'static Method`; who makes a new request has to keep them. The layer may change metadata
    /// and message, which holds for that attempt alone and the cache does not see, and the
    /// response. Messages are compressed below it, answers checked and decompressed.
    ///
    /// The first one added is the outermost. An error is the attempt's status, which retries
    /// judge as any other, and does not count against the endpoint. An attempt counts as in
    /// flight there once the last layer has let it pass. One whose connection has closed by then
    /// passes the layers again, for another connection. What layers wait for counts against the
    /// call's deadline.
    ///
    /// ```
    /// use sampan_client::{AttemptInfo, Channel};
    /// use tower::ServiceBuilder;
    /// # fn main() -> Result<(), sampan_client::Error> {
    /// let layer = ServiceBuilder::new().map_request(|request: http::Request<_>| {
    ///     if let Some(attempt) = request.extensions().get::<AttemptInfo>() {
    ///         println!("attempt {} to {}", attempt.previous_attempts() + 1, attempt.endpoint());
    ///     }
    ///     request
    /// });
    /// let channel = Channel::configure("unix:/run/orders.sock").attempt_layer(layer).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn attempt_layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<CallService> + Send + Sync + 'static,
        L::Service: Service<http::Request<tonic::body::Body>, Response = http::Response<B>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<http::Request<tonic::body::Body>>>::Future: Send + 'static,
        <L::Service as Service<http::Request<tonic::body::Body>>>::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (_, layers) = self.calls.around.layers_mut();
        layers.push(layer, Inside::Attempt);
        self
    }

    /// Speaks TLS. Default: only for `https://` targets, with the system's roots.
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What `:authority` says and certificates are checked against. Default: the target's first
    /// place.
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// Stands before Sampan's own name in `user-agent`. Default: `sampan/VERSION` alone.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// When retries stop for a while: after failures that take half of `max_tokens` (at most
    /// 1000), until successes, which give `token_ratio` each, bring them back. Default 10 and
    /// 0.1. Source: gRFC A6.
    pub const fn retry_throttle(mut self, max_tokens: u32, token_ratio: f32) -> Self {
        self.calls.throttle = Some(ThrottleSettings {
            max_tokens,
            token_ratio,
        });
        self
    }

    /// Says what holds for all calls, over the service config and the .proto. A call says it for
    /// itself by a [`CallPolicy`] in its request's extensions.
    pub const fn policy(mut self, policy: CallPolicy) -> Self {
        self.calls.policy = policy;
        self
    }

    /// Compresses requests, and takes compressed answers. A call says it for itself by
    /// [`CallPolicy::with_compression`]; one that has set `grpc-encoding` or
    /// `grpc-accept-encoding`, as stubs do that were told to, is left alone in that.
    ///
    /// Decided for each attempt: messages stay as they are on the way to an endpoint of this
    /// host, when they are shorter than 1 KiB, and for methods whose messages do not shrink. A
    /// stream leaves one as it is by
    /// [`leave_next_plain`](crate::compression::leave_next_plain). The limit on messages holds
    /// for what they are decompressed; where neither stub nor channel set one, it is 4 MiB.
    /// Default: nothing is compressed, and no compressed answer is taken.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.calls.compression = Some(compression);
        self
    }

    /// Proves to the server who calls, for every call. One call does by [`Credentials`] in its
    /// request's extensions, beside these; of two values of one name, the call's own is sent.
    ///
    /// Sent over TLS and Unix sockets alone, unless [`credentials_in_plaintext`] says otherwise
    /// or the credentials [need no secrecy].
    ///
    /// [`credentials_in_plaintext`]: Self::credentials_in_plaintext
    /// [need no secrecy]: crate::credentials::CallCredentials::need_secrecy
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.calls.credentials = Some(credentials);
        self
    }

    /// Sends credentials over TCP in plaintext too: whoever reads the network then can use them.
    /// For networks that encrypt by themselves. Default: false, such calls fail with
    /// UNAUTHENTICATED before anything is sent.
    pub const fn credentials_in_plaintext(mut self, are_sent: bool) -> Self {
        self.calls.bares_credentials = are_sent;
        self
    }

    /// Takes a service config: JSON as gRPC defines it. Unknown fields are ignored; `sampan
    /// describe --policy` names them, and shows what holds for each method.
    pub fn service_config(mut self, json: impl Into<String>) -> Self {
        self.service_config = Some(ConfigSource::Text(json.into()));
        self
    }

    /// Takes a service config from a file, which is read when the channel is made.
    pub fn service_config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.service_config = Some(ConfigSource::File(path.into()));
        self
    }

    /// Whether calls are counted by method, for [`Channel::metrics`]. Default: they are.
    pub const fn metrics(mut self, are_counted: bool) -> Self {
        self.calls.is_unmeasured = !are_counted;
        self
    }

    /// Reaches servers by the HTTP proxy at `http://user:password@host:port`, which is asked to
    /// CONNECT to each, and finds their addresses itself. What `past` names is dialled directly:
    /// names with all below them, addresses, networks as `10.0.0.0/8`, with commas in between.
    /// An empty URL: none. Unix sockets and resolvers that are registered go past it. Default:
    /// what `grpc_proxy` and `no_grpc_proxy` say, else none. Source: gRFC A1.
    pub fn proxy(mut self, url: impl Into<String>, past: impl Into<String>) -> Self {
        self.proxy = Some((url.into(), past.into()));
        self
    }

    /// Closes all connections after so long without a call, and looks no names up any more; the
    /// next call begins anew. None: never. Default: 5 min.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.pool.idle_timeout = timeout.into();
        self
    }

    /// Where servers on the same host have sockets: a folder that its containers share. Each
    /// endpoint is reached by its socket there while there is one that works, else by TCP. Only
    /// with TLS, or where the folder is [trusted](Self::local_trust). Default: what
    /// `SAMPAN_LOCAL_DIR` says, else none.
    pub fn local_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.local.dir = Some(dir.into());
        self
    }

    /// Uses the [sockets of the same host](Self::local_dir) without TLS too. Whoever can write
    /// their folder can then pose as any service; over TCP they would need its address. Default:
    /// what `SAMPAN_LOCAL_TRUST` says, else false.
    pub const fn local_trust(mut self, is_trusted: bool) -> Self {
        self.local.is_trusted = Some(is_trusted);
        self
    }

    /// Asks DNS for a service config too: a TXT record of `_grpc_config.` and the target's name
    /// (gRFC A2). It takes the place of the one that the builder was given, and of the balancer
    /// unless [`balance`](Self::balance) says one; when it changes, calls follow. One that is
    /// wrong is logged and not used: the one before stays. Default: off, for whoever answers for
    /// a name can then turn retries and deadlines.
    pub const fn service_config_from_dns(mut self, is_asked: bool) -> Self {
        self.is_config_from_dns = is_asked;
        self
    }

    /// Dials targets of `scheme` by the resolvers that `make` makes of them, before what is
    /// [registered](crate::resolve::register) for all channels and what is built in. A scheme that
    /// is none makes [`build`](Self::build) fail.
    pub fn resolver<F>(mut self, scheme: impl Into<String>, make: F) -> Self
    where
        F: Fn(&TargetName) -> Result<Arc<dyn Resolve>, BoxError> + Send + Sync + 'static,
    {
        self.resolvers.push((scheme.into(), Arc::new(make)));
        self
    }

    /// The zone that this process is in: endpoints that are said to be in the same one are
    /// nearer than others ([`near_first`](Balancing::near_first)). Default: unknown.
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.pool.zone = Some(zone.into());
        self
    }

    /// Opens connections by `connect`, which is given the address of each endpoint: through a
    /// tunnel, or over a simulated network. TLS and HTTP/2 are spoken over what it gives, and
    /// [`connect_timeout`](Self::connect_timeout) bounds it all. Socket options are its own, and
    /// the environment's proxy is not used.
    ///
    /// ```no_run
    /// # use sampan_client::Channel;
    /// # use sampan_transport::Address;
    /// let channel = Channel::configure("ipv4:10.0.0.7:50051,10.0.0.8:50051")
    ///     .connector(|address| async move {
    ///         match address {
    ///             Address::Tcp(address) => tokio::net::TcpStream::connect(address).await,
    ///             Address::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
    ///         }
    ///     })
    ///     .build();
    /// ```
    pub fn connector<F, Fut, T>(mut self, connect: F) -> Self
    where
        F: Fn(Address) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.connector = Connector::over(connect);
        self
    }

    /// Options of TCP sockets.
    pub const fn tcp(mut self, tcp: TcpSettings) -> Self {
        self.connect.tcp = tcp;
        self
    }

    /// Windows, limits and keepalive of HTTP/2.
    pub const fn http2(mut self, http2: ClientHttp2Settings) -> Self {
        self.connect.http2 = http2;
        self
    }

    /// Makes the channel. Nothing is resolved or connected yet.
    ///
    /// # Errors
    ///
    /// When the target cannot be read, or needs a cargo feature, a shared folder or a resolver
    /// that is not there; when the service config cannot be read or is invalid; when a proxy, an
    /// authority, a user agent, a resolver's scheme or an environment key is wrong; when
    /// certificates or roots cannot be used, or TLS settings are given for `http://`; and when
    /// credentials would be sent in plaintext.
    /// [`Error::is_configuration`](crate::Error::is_configuration) is then true.
    pub fn build(self) -> Result<Channel, Error> {
        let mut registry = Registry::default();
        for (scheme, make) in self.resolvers {
            check_scheme(&scheme)
                .map_err(|error| Error::configuration("cannot dial").with_source(error))?;
            registry.insert(scheme, make);
        }
        let target = Target::of(&self.target, &registry)
            .map_err(|error| Error::configuration("cannot dial").with_source(error))?;
        let authority = match self.authority {
            None => target.authority().clone(),
            Some(text) => text.parse().map_err(|error| {
                Error::configuration(format!("\"{text}\" is no authority")).with_source(error)
            })?,
        };
        let authority_name = authority.to_string();
        let is_own_connector = matches!(self.connector, Connector::Custom(_));
        let route = RouteSettings {
            host: authority.host().to_owned(),
            authority,
            security: target.security(),
            tls: self.tls,
            user_agent: self.user_agent.as_deref(),
            connect: self.connect,
            connect_timeout: self.connect_timeout,
            connector: self.connector,
            local: self.local,
            is_in_cluster: target.places().iter().any(Place::is_in_cluster),
        };
        let route = Arc::new(route.build()?);
        let is_local = |place: &Place| matches!(place, Place::Address(Address::Unix(_)));
        let credentials = self.calls.credentials.as_ref();
        if credentials.is_some_and(Credentials::need_secrecy)
            && !self.calls.bares_credentials
            && !route.is_secret()
            && !target.places().iter().any(is_local)
        {
            let what = format!(
                "{} is plaintext, and credentials were given",
                target.as_str()
            );
            let hint = "use TLS, or credentials_in_plaintext where the network encrypts";
            return Err(Error::configuration(what).with_hint(Some(hint)));
        }
        registry.config_from_dns = self.is_config_from_dns;
        registry.proxy = match &self.proxy {
            // It knows the way itself.
            None if is_own_connector => None,
            None => env::proxy()?,
            Some((url, _)) if url.is_empty() => None,
            Some((url, past)) => Some(Proxy::read(url, past).map_err(|reason| {
                Error::configuration(format!("the proxy cannot be used: {reason}"))
            })?),
        };
        let name = target.as_str().to_owned();
        let resolver = |place| {
            Resolver::of_place(place, Arc::clone(&route), &registry).map_err(|error| {
                Error::configuration(format!("cannot resolve \"{name}\"")).with_source(error)
            })
        };
        let resolvers: Result<Vec<_>, Error> = target.places().iter().map(resolver).collect();
        let source = Source::constant(resolvers?);
        let mut calls = self.calls;
        calls.authority = Some(authority_name);
        calls.canonical = Some(target.canonical());
        if let Some(source) = &self.service_config {
            calls.service_config = source.read()?;
        }
        let configured = || calls.service_config.balance().map(Balancing::from);
        let mut pool = self.pool;
        pool.is_balancing_fixed = self.balancing.is_some();
        let balancing = self.balancing.or_else(configured).unwrap_or_default();
        let is_other = |place: &Place| matches!(place, Place::Other(_));
        calls.follows_resolver = self.is_config_from_dns || target.places().iter().any(is_other);
        Ok(Channel::new(name, source, balancing, calls, pool))
    }
}

impl fmt::Debug for ChannelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBuilder")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
