//! tonic::transport's names for servers: a tonic program changes its `use` lines and keeps
//! everything else. What is not here is not there yet; nothing is a stub.
//!
//! Where defaults differ from tonic's they are Sampan's: 256 streams per connection, a drain of
//! at most 25 s after the shutdown signal, large messages are RESOURCE_EXHAUSTED. As with tonic
//! there is no probe port, no health service unless one is added, and signals are the program's.

mod incoming;
mod router;
mod tls;

pub use incoming::TcpIncoming;
pub use router::Router;
pub use sampan_transport::{Certificate, Identity};
pub use tls::ServerTlsConfig;

use crate::{BoxError, Error, Routes, config::receive_budget, secure::Wanted};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use sampan_container::Grant;
use sampan_transport::{Http2Settings, ListenSettings, Protocols, ServeSettings, TcpKeepalive};
use std::{convert::Infallible, time::Duration};
use tonic::{body::Body, server::NamedService};
use tower_layer::{Identity as NoLayer, Stack};
use tower_service::Service;

/// Builds servers as tonic's does; [`Router`] serves.
#[derive(Clone, Debug)]
pub struct Server<L = NoLayer> {
    timeout: Option<Duration>,
    concurrency_limit: Option<usize>,
    sheds_load: bool,
    accepts_http1: bool,
    keepalive: Option<Duration>,
    keepalive_interval: Option<Duration>,
    keepalive_retries: Option<u32>,
    nodelay: bool,
    max_age: Option<Duration>,
    max_age_grace: Option<Duration>,
    http2: Http2Settings,
    tls: Option<Wanted>,
    user: L,
}

// === impl Server ===

impl Server {
    /// A server with the defaults.
    #[must_use]
    pub fn builder() -> Self {
        Self::default()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            timeout: None,
            concurrency_limit: None,
            sheds_load: false,
            accepts_http1: false,
            keepalive: None,
            keepalive_interval: None,
            keepalive_retries: None,
            nodelay: true,
            max_age: None,
            max_age_grace: None,
            http2: Http2Settings {
                keepalive_interval: None,
                ..Http2Settings::default()
            },
            tls: None,
            user: NoLayer::new(),
        }
    }
}

impl<L> Server<L> {
    /// Speaks TLS.
    ///
    /// # Errors
    /// When there is no identity, or a certificate or key cannot be read.
    pub fn tls_config(self, config: ServerTlsConfig) -> Result<Self, Error> {
        let wanted = Wanted::tls(config.into_settings()?);
        // Read now, so that a wrong one is told here.
        wanted.make(Protocols::Http2)?;
        Ok(Self {
            tls: Some(wanted),
            ..self
        })
    }

    /// Handlers that run at once on a connection; further calls wait, or are refused with
    /// [`load_shed`](Self::load_shed).
    #[must_use]
    pub fn concurrency_limit_per_connection(self, limit: usize) -> Self {
        Self {
            concurrency_limit: Some(limit),
            ..self
        }
    }

    /// Whether calls that would have to wait are answered UNAVAILABLE at once. Default: false.
    #[must_use]
    pub fn load_shed(self, sheds_load: bool) -> Self {
        Self { sheds_load, ..self }
    }

    /// The longest that a call may run, streams included.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// What a client may send of one request before its handler reads on, in bytes; None keeps
    /// the default of 256 KiB.
    #[must_use]
    pub fn initial_stream_window_size(mut self, size: impl Into<Option<u32>>) -> Self {
        set(&mut self.http2.stream_window_bytes, size.into());
        self
    }

    /// The same for all requests of a connection together; None keeps the default of 4 MiB.
    #[must_use]
    pub fn initial_connection_window_size(mut self, size: impl Into<Option<u32>>) -> Self {
        set(&mut self.http2.connection_window_bytes, size.into());
        self
    }

    /// Calls at once on a connection; None keeps the default of 256.
    #[must_use]
    pub fn max_concurrent_streams(mut self, max: impl Into<Option<u32>>) -> Self {
        set(&mut self.http2.max_concurrent_streams, max.into());
        self
    }

    /// Silence after which a client is pinged; None: never, the default.
    #[must_use]
    pub fn http2_keepalive_interval(mut self, interval: Option<Duration>) -> Self {
        self.http2.keepalive_interval = interval;
        self
    }

    /// How long the answer to a ping may take; None keeps the default of 20 s.
    #[must_use]
    pub fn http2_keepalive_timeout(mut self, timeout: Option<Duration>) -> Self {
        set(&mut self.http2.keepalive_timeout, timeout);
        self
    }

    /// Lets clients ping this often, with calls open or not. By default one that pings more than
    /// twice within 5 min, or 2 h without calls, while nothing is sent to it is asked to go.
    /// tonic has no such limit. Source: gRFC A8.
    #[must_use]
    pub const fn http2_permit_pings(mut self, interval: Duration) -> Self {
        self.http2.min_ping_interval = interval;
        self.http2.may_ping_while_idle = true;
        self
    }

    /// Taken and not used: windows follow what is read, message by message.
    #[must_use]
    pub const fn http2_adaptive_window(self, _enabled: Option<bool>) -> Self {
        self
    }

    /// Requests reset at once, beyond which a connection is closed; None keeps the default of
    /// 2,000. The same as
    /// [`http2_max_local_error_reset_streams`](Self::http2_max_local_error_reset_streams): all
    /// resets count together, and are forgotten by 1,000 a second.
    #[must_use]
    pub fn http2_max_pending_accept_reset_streams(mut self, max: Option<usize>) -> Self {
        let max = max.map(|max| u32::try_from(max).unwrap_or(u32::MAX));
        set(&mut self.http2.max_resets, max);
        self
    }

    /// Streams reset for the client's errors at once, beyond which a connection is closed; None
    /// keeps the default of 2,000.
    #[must_use]
    pub fn http2_max_local_error_reset_streams(self, max: Option<usize>) -> Self {
        self.http2_max_pending_accept_reset_streams(max)
    }

    /// The age, ±10 %, at which a connection is asked to go; its calls end first. Default: none.
    #[must_use]
    pub fn max_connection_age(self, age: Duration) -> Self {
        Self {
            max_age: Some(age),
            ..self
        }
    }

    /// How long its calls may then take. Default: as long as they want.
    #[must_use]
    pub fn max_connection_age_grace(self, grace: Duration) -> Self {
        Self {
            max_age_grace: Some(grace),
            ..self
        }
    }

    /// Size of a request's headers in bytes; None keeps the default of 16 KiB.
    #[must_use]
    pub fn http2_max_header_list_size(mut self, max: impl Into<Option<u32>>) -> Self {
        set(&mut self.http2.max_header_list_bytes, max.into());
        self
    }

    /// Largest frame of data that a client may send, in bytes, once it fills frames of 16 KiB; None
    /// keeps the default of 128 KiB.
    #[must_use]
    pub fn max_frame_size(mut self, size: impl Into<Option<u32>>) -> Self {
        set(&mut self.http2.max_frame_bytes, size.into());
        self
    }

    /// Silence after which the kernel probes a connection. None keeps the default: 60 s, then
    /// each 10 s, 3 times. Not for `serve_with_incoming`.
    #[must_use]
    pub fn tcp_keepalive(self, after: Option<Duration>) -> Self {
        Self {
            keepalive: after,
            ..self
        }
    }

    /// Time between the kernel's probes. Not for `serve_with_incoming`.
    #[must_use]
    pub fn tcp_keepalive_interval(self, interval: Option<Duration>) -> Self {
        Self {
            keepalive_interval: interval,
            ..self
        }
    }

    /// Unanswered probes before a connection is given up. Not for `serve_with_incoming`.
    #[must_use]
    pub fn tcp_keepalive_retries(self, retries: Option<u32>) -> Self {
        Self {
            keepalive_retries: retries,
            ..self
        }
    }

    /// Whether small writes leave at once. Default: true. Not for `serve_with_incoming`.
    #[must_use]
    pub fn tcp_nodelay(self, enabled: bool) -> Self {
        Self {
            nodelay: enabled,
            ..self
        }
    }

    /// Whether HTTP/1.1 and content types other than gRPC's are let through to the services
    /// and layers, as gRPC-Web ones need it. Default: false.
    #[must_use]
    pub fn accept_http1(self, accepts_http1: bool) -> Self {
        Self {
            accepts_http1,
            ..self
        }
    }

    /// Puts a tower layer around all services. The first one added is the outermost.
    #[must_use]
    pub fn layer<N>(self, layer: N) -> Server<Stack<N, L>> {
        Server {
            timeout: self.timeout,
            concurrency_limit: self.concurrency_limit,
            sheds_load: self.sheds_load,
            accepts_http1: self.accepts_http1,
            keepalive: self.keepalive,
            keepalive_interval: self.keepalive_interval,
            keepalive_retries: self.keepalive_retries,
            nodelay: self.nodelay,
            max_age: self.max_age,
            max_age_grace: self.max_age_grace,
            http2: self.http2,
            tls: self.tls,
            user: Stack::new(layer, self.user),
        }
    }

    /// A router with `service` in it.
    pub fn add_service<S, B>(&mut self, service: S) -> Router<L>
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
        L: Clone,
    {
        self.add_optional_service(Some(service))
    }

    /// A router with `service` in it, if there is one.
    pub fn add_optional_service<S, B>(&mut self, service: Option<S>) -> Router<L>
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
        L: Clone,
    {
        Router::new(self.clone(), Routes::default()).add_optional_service(service)
    }

    /// A router that leaves to `routes` whatever is not added to it.
    pub fn add_routes(&mut self, routes: tonic::service::Routes) -> Router<L>
    where
        L: Clone,
    {
        let mut all = Routes::default();
        all.set_fallback(routes);
        Router::new(self.clone(), all)
    }

    fn sockets(&self) -> ListenSettings {
        let defaults = ListenSettings::default();
        let keepalive = self.keepalive.map(|after| TcpKeepalive {
            after,
            interval: self.keepalive_interval,
            probes: self.keepalive_retries,
        });
        ListenSettings {
            nodelay: self.nodelay,
            keepalive: keepalive.or(defaults.keepalive),
            ..defaults
        }
    }

    fn connections(&self, granted: Grant) -> ServeSettings {
        ServeSettings {
            protocols: self.protocols(),
            http2: self.http2.clone(),
            max_age: self.max_age,
            max_age_grace: self.max_age_grace,
            receive_budget: receive_budget(granted),
            ..ServeSettings::default()
        }
    }

    const fn protocols(&self) -> Protocols {
        if self.accepts_http1 {
            Protocols::Http1AndHttp2
        } else {
            Protocols::Http2
        }
    }
}

/// None keeps what is there.
fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}
