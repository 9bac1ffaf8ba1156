//! Who is measured: servers and channels with every default of their own.

use crate::service::{
    Echo,
    sampan_stubs::{
        echo_client::EchoClient as SampanClient, echo_server::EchoServer as SampanServer,
    },
    tonic_stubs::{echo_client::EchoClient as TonicClient, echo_server::EchoServer as TonicServer},
};
use std::{
    future::{Future, pending},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

/// One implementation, or one way to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Its generated stubs, channel and server, with every default and the probe port.
    Sampan,
    /// The names of tonic's transport: no probe port and no metrics.
    SampanBare,
    /// tonic's generated code over Sampan's channel and server.
    SampanTonicCode,
    /// All of it tonic's, without a deadline.
    Tonic,
    /// The same once more: how far it is from the first is the noise.
    TonicAgain,
    /// tonic with the deadline on each call that Sampan's calls have.
    TonicDeadline,
}

/// Where a server listens.
#[derive(Debug)]
pub enum Place {
    /// A port, taken already.
    Tcp(TcpListener),
    /// The same, with TLS.
    Tls(TcpListener, Certificate),
    /// A path to bind.
    Unix(PathBuf),
}

/// Where a client connects.
#[derive(Clone, Debug)]
pub enum Target {
    /// Plaintext.
    Tcp(SocketAddr),
    /// TLS by this certificate.
    Tls(SocketAddr, Certificate),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A self-signed certificate of `localhost`, with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    certificate: String,
    key: String,
}

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Peer ===

impl Peer {
    /// What tables call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sampan => "sampan",
            Self::SampanBare => "sampan bare",
            Self::SampanTonicCode => "sampan, tonic's code",
            Self::Tonic => "tonic",
            Self::TonicAgain => "tonic again",
            Self::TonicDeadline => "tonic + 30 s",
        }
    }

    /// The deadline that its caller sets.
    #[must_use]
    pub const fn deadline(self) -> Option<Duration> {
        match self {
            Self::TonicDeadline => Some(Duration::from_secs(30)),
            _ => None,
        }
    }

    /// Serves at `place` until dropped.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn serve(self, place: Place) -> Serving {
        match self {
            Self::Sampan => {
                let server = sampan::Server::builder();
                Box::pin(serve_sampan(
                    server.add_service(SampanServer::new(Echo)),
                    place,
                ))
            }
            Self::SampanTonicCode => {
                let server = sampan::Server::builder();
                Box::pin(serve_sampan(
                    server.add_service(TonicServer::new(Echo)),
                    place,
                ))
            }
            Self::SampanBare => Box::pin(serve_bare(place)),
            Self::Tonic | Self::TonicAgain | Self::TonicDeadline => Box::pin(serve_tonic(place)),
        }
    }
}

/// Sampan as a service author starts it: metrics, deadlines, panic guard, health, probes.
async fn serve_sampan(server: sampan::Server, place: Place) {
    let server = server.probe(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = match place {
        Place::Tcp(listener) => server.listen_on(listener),
        Place::Unix(path) => server.listen(sampan::Address::Unix(path)),
        Place::Tls(listener, certificate) => {
            let settings = sampan_transport::ServerTlsSettings::new(certificate.identity());
            let server = server.listen_on(listener).tls(&settings);
            server.expect("the certificate can be used")
        }
    };
    let bound = server.bind().await.expect("the address is free");
    // Not serve(): signals are the program's own.
    bound.serve_until(pending()).await.expect("the server runs");
}

async fn serve_bare(place: Place) {
    use sampan::transport::server::TcpIncoming;
    let mut server = sampan::transport::Server::builder();
    let served = match place {
        Place::Unix(path) => {
            let router = server.add_service(SampanServer::new(Echo));
            router.serve_with_incoming(bind_unix(&path)).await
        }
        Place::Tcp(listener) => {
            let incoming = TcpIncoming::from(into_tokio(listener)).with_nodelay(Some(true));
            let router = server.add_service(SampanServer::new(Echo));
            router.serve_with_incoming(incoming).await
        }
        Place::Tls(listener, certificate) => {
            let tls = sampan::transport::ServerTlsConfig::new().identity(certificate.identity());
            let mut server = server.tls_config(tls).expect("the certificate can be used");
            let incoming = TcpIncoming::from(into_tokio(listener)).with_nodelay(Some(true));
            let router = server.add_service(SampanServer::new(Echo));
            router.serve_with_incoming(incoming).await
        }
    };
    served.expect("the server runs");
}

async fn serve_tonic(place: Place) {
    use tonic::transport::{Identity, ServerTlsConfig, server::TcpIncoming};
    let mut server = tonic::transport::Server::builder();
    let served = match place {
        Place::Unix(path) => {
            let router = server.add_service(TonicServer::new(Echo));
            router.serve_with_incoming(bind_unix(&path)).await
        }
        Place::Tcp(listener) => {
            let incoming = TcpIncoming::from(into_tokio(listener)).with_nodelay(Some(true));
            let router = server.add_service(TonicServer::new(Echo));
            router.serve_with_incoming(incoming).await
        }
        Place::Tls(listener, certificate) => {
            let identity = Identity::from_pem(certificate.certificate, certificate.key);
            let tls = ServerTlsConfig::new().identity(identity);
            let mut server = server.tls_config(tls).expect("the certificate can be used");
            let incoming = TcpIncoming::from(into_tokio(listener)).with_nodelay(Some(true));
            let router = server.add_service(TonicServer::new(Echo));
            router.serve_with_incoming(incoming).await
        }
    };
    served.expect("the server runs");
}

fn into_tokio(listener: TcpListener) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(listener).expect("a runtime takes the socket")
}

fn bind_unix(path: &Path) -> UnixListenerStream {
    UnixListenerStream::new(UnixListener::bind(path).expect("the path is free"))
}

// === impl Target ===

impl Target {
    /// Sampan's generated client by `dial`, or over a channel with TLS settings.
    ///
    /// # Panics
    /// When the target is none.
    #[must_use]
    pub fn sampan(&self) -> SampanClient<sampan::Channel> {
        SampanClient::new(self.sampan_channel())
    }

    /// tonic's generated client over the same channel.
    ///
    /// # Panics
    /// When the target is none.
    #[must_use]
    pub fn sampan_tonic_code(&self) -> TonicClient<sampan::Channel> {
        TonicClient::new(self.sampan_channel())
    }

    /// Sampan's generated client over a channel made by the names of tonic's transport.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn sampan_bare(&self) -> SampanClient<sampan::Channel> {
        use sampan::transport::{Certificate, ClientTlsConfig, Endpoint};
        let mut endpoint = Endpoint::from_shared(self.uri()).expect("the target is a URI");
        if let Self::Tls(_, certificate) = self {
            let root = Certificate::from_pem(&certificate.certificate);
            let tls = ClientTlsConfig::new()
                .ca_certificate(root)
                .domain_name("localhost");
            endpoint = endpoint
                .tls_config(tls)
                .expect("the certificate can be used");
        }
        SampanClient::new(endpoint.connect().await.expect("the server listens"))
    }

    /// tonic's generated client over its own channel. NODELAY is its default.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn tonic(&self) -> TonicClient<tonic::transport::Channel> {
        use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
        let mut endpoint = Endpoint::from_shared(self.uri()).expect("the target is a URI");
        if let Self::Tls(_, certificate) = self {
            let root = Certificate::from_pem(&certificate.certificate);
            let tls = ClientTlsConfig::new()
                .ca_certificate(root)
                .domain_name("localhost");
            endpoint = endpoint
                .tls_config(tls)
                .expect("the certificate can be used");
        }
        TonicClient::new(endpoint.connect().await.expect("the server listens"))
    }

    fn sampan_channel(&self) -> sampan::Channel {
        let channel = match self {
            Self::Tcp(address) => sampan::Channel::dial(address.to_string()),
            Self::Unix(path) => sampan::Channel::dial(format!("unix:{}", path.display())),
            Self::Tls(_, certificate) => {
                let root = sampan::client::Certificate::from_pem(&certificate.certificate);
                let tls = sampan::client::ClientTls::new()
                    .with_roots(root)
                    .with_domain_name("localhost");
                sampan::Channel::configure(self.uri()).tls(tls).build()
            }
        };
        channel.expect("the address is a target")
    }

    fn uri(&self) -> String {
        match self {
            Self::Tcp(address) => format!("http://{address}"),
            Self::Tls(address, _) => format!("https://{address}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

// === impl Certificate ===

impl Certificate {
    /// Makes one.
    ///
    /// # Panics
    /// When no random numbers are to be had.
    #[must_use]
    pub fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate can be made");
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
        }
    }

    fn identity(&self) -> sampan::client::Identity {
        sampan::client::Identity::from_pem(&self.certificate, &self.key)
    }
}
