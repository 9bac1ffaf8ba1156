//! TLS at the server: who it is, and whom it lets in.

use super::{
    Certificate, Identity,
    reload::{Followed, Reloaded},
    roots::FollowedClients,
    spiffe::{SpiffeClients, SpiffePeers},
};
use crate::{PeerInfo, Protocols};
use rustls::{
    RootCertStore, ServerConfig,
    server::{
        NoClientAuth, NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{io, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Turns plain connections into TLS ones. TLS 1.2 and later, HTTP/2 by ALPN.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    protocols: Protocols,
    handshake_timeout: Duration,
}

/// What a server shows and demands in the TLS handshake.
#[derive(Clone, Debug)]
pub struct ServerTlsSettings {
    /// The server's certificates and key.
    pub identity: Identity,
    /// The authorities whose client certificates are accepted. None: clients show none.
    pub client_ca: Option<Certificate>,
    /// Whether clients without a certificate are let in too. Default: false.
    pub client_auth_optional: bool,
    /// Which workloads are let in, by the SPIFFE IDs in their certificates, of those whose
    /// certificates are accepted. None: all of them.
    pub client_spiffe: Option<SpiffePeers>,
    /// Whether the server's order of ciphers goes before the client's. Default: false.
    pub ignore_client_order: bool,
    /// How long the handshake may take. Default: 10 s.
    pub handshake_timeout: Duration,
}

/// TLS settings that cannot work, or a handshake that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerTlsError {
    /// A certificate's PEM text has no certificate or cannot be read.
    #[error("the {0} has no readable PEM certificate")]
    Certificate(&'static str),
    /// The key's PEM text has no private key.
    #[error("the server's key has no readable PEM private key")]
    Key,
    /// The certificate and the key, or the client authorities, are not usable.
    #[error("the TLS settings cannot work")]
    Settings(#[source] rustls::Error),
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The handshake took too long.
    #[error("the TLS handshake took longer than {0:?}")]
    Timeout(Duration),
    /// The client did not offer HTTP/2.
    #[error("the client did not offer HTTP/2 by ALPN")]
    NoHttp2,
}

// === impl ServerTls ===

impl ServerTls {
    /// Checks the settings and makes them ready.
    ///
    /// # Errors
    /// When PEM text cannot be read or the key is not of the certificate.
    pub fn new(settings: &ServerTlsSettings, protocols: Protocols) -> Result<Self, ServerTlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(settings.identity.certificate(), "server's certificate")?;
        let key = PrivateKeyDer::from_pem_slice(settings.identity.key())
            .map_err(|_| ServerTlsError::Key)?;
        let pair =
            CertifiedKey::from_der(chain, key, &provider).map_err(ServerTlsError::Settings)?;
        let verifier = client_verifier(settings, Arc::clone(&provider))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(ServerTlsError::Settings)?
            .with_client_cert_verifier(verifier);
        let mut config = match Reloaded::new(&settings.identity, pair.clone(), provider) {
            Some(reloaded) => builder.with_cert_resolver(Arc::new(reloaded)),
            None => builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
        };
        config.ignore_client_order = settings.ignore_client_order;
        let authorities = settings.client_ca.as_ref();
        if authorities.is_some_and(|authorities| authorities.file.is_some()) {
            // Whoever was let in once is to be judged by the authorities of now.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols.push(b"h2".to_vec());
        if protocols == Protocols::Http1AndHttp2 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            protocols,
            handshake_timeout: settings.handshake_timeout,
        })
    }

    /// Does the handshake over `io`; the peer's certificates are added to `peer`.
    ///
    /// # Errors
    /// When the handshake fails or takes too long, and when the client speaks HTTP/2 without
    /// asking for it by ALPN.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up.
    pub async fn accept<IO>(
        &self,
        io: IO,
        peer: PeerInfo,
    ) -> Result<(TlsStream<IO>, PeerInfo), ServerTlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = tokio::time::timeout(self.handshake_timeout, self.acceptor.accept(io))
            .await
            .map_err(|_| ServerTlsError::Timeout(self.handshake_timeout))?
            .map_err(ServerTlsError::Handshake)?;
        let session = stream.get_ref().1;
        if self.protocols == Protocols::Http2 && session.alpn_protocol() != Some(b"h2") {
            return Err(ServerTlsError::NoHttp2);
        }
        let peer = match session.peer_certificates() {
            Some(chain) => {
                let chain = chain.iter().cloned().map(CertificateDer::into_owned);
                peer.with_certificates(chain.collect())
            }
            None => peer,
        };
        Ok((stream, peer))
    }
}

fn client_verifier(
    settings: &ServerTlsSettings,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ServerTlsError> {
    let Some(authorities) = &settings.client_ca else {
        return Ok(Arc::new(NoClientAuth));
    };
    let current = client_verifier_of(settings, authorities, Arc::clone(&provider))?;
    let Some(file) = authorities.file.clone() else {
        return Ok(current);
    };
    let (settings, authorities) = (settings.clone(), authorities.clone());
    let read = move || {
        let authorities = authorities.again()?;
        let provider = Arc::clone(&provider);
        Ok(client_verifier_of(&settings, &authorities, provider)?)
    };
    let followed = Followed::new(vec![file], current, read);
    Ok(Arc::new(FollowedClients(followed)))
}

/// What judges clients by these authorities.
fn client_verifier_of(
    settings: &ServerTlsSettings,
    authorities: &Certificate,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ServerTlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, "client authority")? {
        roots.add(authority).map_err(ServerTlsError::Settings)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if settings.client_auth_optional {
        verifier.allow_unauthenticated()
    } else {
        verifier
    };
    let verifier = verifier
        .build()
        .map_err(|error| ServerTlsError::Settings(rustls::Error::General(error.to_string())))?;
    Ok(match &settings.client_spiffe {
        None => verifier,
        Some(peers) => Arc::new(SpiffeClients {
            inner: verifier,
            peers: peers.clone(),
        }),
    })
}

fn certificates(
    pem: &Certificate,
    whose: &'static str,
) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_ref()).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(ServerTlsError::Certificate(whose)),
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("protocols", &self.protocols)
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}

// === impl ServerTlsSettings ===

impl ServerTlsSettings {
    /// Shows `identity` and asks clients for nothing.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            client_ca: None,
            client_auth_optional: false,
            client_spiffe: None,
            ignore_client_order: false,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}
