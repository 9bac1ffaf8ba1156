//! A place to connect to, and how one speaks to it.

use crate::{Error, balance::Nearness, error::BoxError, resolve::Traits};
use sampan_transport::{
    Address, ConnectError, ConnectSettings, Connection, LocalDir, RouteHead, Tunnel,
};
use std::{
    fmt,
    hash::{Hash, Hasher},
    io,
    net::IpAddr,
    path::PathBuf,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

/// One address, and how one speaks to it. The unit of resolving and balancing.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) address: Address,
    pub(crate) route: Arc<Route>,
}

/// A site as a resolver found it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) site: Site,
    pub(crate) traits: Arc<Traits>,
    /// Its place has no address any more: it is used until it fails.
    pub(crate) is_gone: bool,
}

/// What all addresses of one place have in common.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) head: RouteHead,
    pub(crate) connect: ConnectSettings,
    /// Of one try to connect. None: as [`Site::limit`] says.
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) connector: Connector,
    /// Where the sockets of servers on this host are, if they may be used.
    pub(crate) local: Option<LocalDir>,
    /// Its addresses are those of an HTTP proxy, which is asked for this.
    pub(crate) tunnel: Option<Tunnel>,
    /// Whatever its addresses look like, it is near.
    pub(crate) is_in_cluster: bool,
}

/// A connection that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    /// By a socket that the host's containers share, in place of TCP.
    pub(crate) is_local: bool,
}

/// Whoever is near and does not answer for so long is not there.
const NEAR_LIMIT: Duration = Duration::from_secs(5);
/// Source: gRPC, "Connection Backoff Protocol".
const FAR_LIMIT: Duration = Duration::from_secs(20);
/// A server on this host answers at once.
const LOCAL_LIMIT: Duration = Duration::from_secs(1);
/// So long it is waited for alone.
const HEAD_START: Duration = Duration::from_millis(100);

/// Opens the connections of a place.
pub(crate) enum Connector {
    /// By its address.
    Sockets,
    /// By a function of the user's.
    Custom(Box<CustomConnect>),
    /// Not at all: its settings are wrong, and could not be refused when they were given.
    Broken(Error),
}

pub(crate) type CustomConnect = dyn Fn(Address, ConnectSettings) -> ConnectFuture + Send + Sync;
pub(crate) type ConnectFuture = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

// === impl Site ===

impl Site {
    /// By the socket that the host's containers share, where there is one and it works; else by
    /// its address. A socket whose server says nothing for a moment is raced by the address.
    pub(crate) async fn connect(&self) -> Result<Opened, BoxError> {
        let opened = |connection, is_local| Opened {
            connection,
            is_local,
        };
        if self.local_socket().is_none() {
            return Ok(opened(self.connect_directly().await?, false));
        }
        let mut local = pin!(self.connect_local());
        let mut is_local_over = false;
        if let Ok(found) = timeout(HEAD_START, &mut local).await {
            match found {
                Some(connection) => return Ok(opened(connection, true)),
                None => is_local_over = true,
            }
        }
        let mut direct = pin!(self.connect_directly());
        let mut failed = None;
        loop {
            tokio::select! {
                biased;
                found = &mut local, if !is_local_over => match found {
                    Some(connection) => return Ok(opened(connection, true)),
                    None => is_local_over = true,
                },
                outcome = &mut direct, if failed.is_none() => match outcome {
                    Ok(connection) => return Ok(opened(connection, false)),
                    Err(error) => failed = Some(error),
                },
            }
            if let Some(error) = failed.take_if(|_| is_local_over) {
                return Err(error);
            }
        }
    }

    /// By the socket that the host's containers share.
    pub(crate) async fn connect_local(&self) -> Option<Connection> {
        let path = self.local_socket()?;
        let mut settings = self.route.connect.clone();
        settings.connect_timeout = self.limit().min(LOCAL_LIMIT);
        let address = Address::Unix(path);
        match sampan_transport::connect(&address, &settings).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                tracing::debug!(%address, %error, "a same-host socket does not work");
                None
            }
        }
    }

    /// The socket that the host's containers share, if it is there now.
    pub(crate) fn local_socket(&self) -> Option<PathBuf> {
        let (Some(dir), Connector::Sockets, Address::Tcp(address)) =
            (&self.route.local, &self.route.connector, &self.address)
        else {
            return None;
        };
        let path = dir.socket(&dir.name(*address));
        path.exists().then_some(path)
    }

    async fn connect_directly(&self) -> Result<Connection, BoxError> {
        let mut settings = self.route.connect.clone();
        settings.connect_timeout = self.limit();
        let settings = &settings;
        match &self.route.connector {
            Connector::Sockets => Ok(match (&self.route.tunnel, &self.address) {
                (Some(tunnel), Address::Tcp(proxy)) => {
                    sampan_transport::connect_through(*proxy, tunnel, settings).await?
                }
                _ => sampan_transport::connect(&self.address, settings).await?,
            }),
            Connector::Custom(connect) => {
                let limit = settings.connect_timeout;
                tokio::time::timeout(limit, connect(self.address.clone(), settings.clone()))
                    .await
                    .unwrap_or_else(|_| Err(ConnectError::TimedOut(limit).into()))
            }
            Connector::Broken(error) => Err(error.clone().into()),
        }
    }

    /// How long one try to connect may take.
    fn limit(&self) -> Duration {
        let is_near = self.is_near() && self.route.tunnel.is_none();
        let default = if is_near { NEAR_LIMIT } else { FAR_LIMIT };
        self.route.connect_timeout.unwrap_or(default)
    }

    /// Whether nobody but the two ends, and who runs this host, can read what is sent there.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.address, Address::Unix(_)) || self.route.is_secret()
    }

    /// How far away it is, as far as its address tells.
    pub(crate) fn nearness(&self) -> Nearness {
        match &self.address {
            Address::Unix(_) => Nearness::Host,
            Address::Tcp(address) if address.ip().to_canonical().is_loopback() => Nearness::Host,
            Address::Tcp(_) => Nearness::Elsewhere,
        }
    }

    /// Whether it surely lies on this host.
    pub(crate) fn is_same_host(&self) -> bool {
        self.nearness() == Nearness::Host
    }

    /// Whether it lies on this host, in its cluster or in a private network.
    pub(crate) fn is_near(&self) -> bool {
        if self.route.is_in_cluster {
            return true;
        }
        match &self.address {
            Address::Unix(_) => true,
            Address::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
                IpAddr::V6(ip) => {
                    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
                }
            },
        }
    }
}

impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address && Arc::ptr_eq(&self.route, &other.route)
    }
}

impl Eq for Site {}

impl Hash for Site {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
    }
}

// === impl Route ===

impl Route {
    /// Whether it speaks TLS.
    pub(crate) fn is_secret(&self) -> bool {
        self.head.scheme() == &http::uri::Scheme::HTTPS
    }

    /// To the same place, by a proxy.
    pub(crate) fn through(&self, tunnel: Tunnel) -> Self {
        Self {
            head: self.head.clone(),
            connect: self.connect.clone(),
            connect_timeout: self.connect_timeout,
            connector: Connector::Sockets,
            local: None,
            tunnel: Some(tunnel),
            is_in_cluster: self.is_in_cluster,
        }
    }
}

// === impl Connector ===

impl Connector {
    /// Speaks over the byte streams that `connect` gives for addresses.
    pub(crate) fn over<F, Fut, T>(connect: F) -> Self
    where
        F: Fn(Address) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::Custom(Box::new(move |address, settings| {
            let connecting = connect(address);
            Box::pin(async move {
                let io = connecting.await.map_err(ConnectError::Socket)?;
                Ok(sampan_transport::handshake(io, &settings).await?)
            })
        }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sockets => "Sockets",
            Self::Custom(_) => "Custom",
            Self::Broken(_) => "Broken",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Route {
        /// Plaintext over sockets.
        pub(crate) fn plain() -> Self {
            Self {
                head: RouteHead::new(
                    http::uri::Scheme::HTTP,
                    http::HeaderValue::from_static("a:1"),
                    http::HeaderValue::from_static("test"),
                ),
                connect: ConnectSettings::default(),
                connect_timeout: None,
                connector: Connector::Sockets,
                local: None,
                tunnel: None,
                is_in_cluster: false,
            }
        }
    }

    #[test]
    fn private_link_local_and_loopback_addresses_are_near_and_have_less_time_to_connect() {
        let route = Arc::new(Route::plain());
        let site = |text: &str| Site {
            address: text.parse().unwrap(),
            route: Arc::clone(&route),
        };
        let is_near = |text: &str| {
            let site = site(text);
            assert_eq!(site.limit() == NEAR_LIMIT, site.is_near());
            site.is_near()
        };
        for near in [
            "unix:a",
            "127.0.0.1:1",
            "10.1.2.3:1",
            "172.16.0.1:1",
            "169.254.1.1:1",
            "[::1]:1",
            "[fd00::1]:1",
            "[fe80::1]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in ["8.8.8.8:1", "172.32.0.1:1", "[2001:db8::1]:1"] {
            assert!(!is_near(far), "{far}");
        }
        assert_eq!(site("8.8.8.8:1").limit(), FAR_LIMIT);
    }
}
