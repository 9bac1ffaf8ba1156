//! TLS of a client: whom it trusts and who it is.

use super::{
    Certificate, Identity,
    reload::{Followed, Reloaded},
    roots::FollowedServers,
    spiffe::{SpiffePeers, SpiffeServers},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    client::{Resumption, WebPkiServerVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{
    CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};
use std::{fmt, sync::Arc};

/// Whom a client trusts and who it is. Trusts the system's roots when no others are given.
#[derive(Clone, Debug, Default)]
pub struct ClientTls {
    roots: Vec<Certificate>,
    native_roots: bool,
    identity: Option<Identity>,
    domain_name: Option<String>,
    spiffe: Option<SpiffePeers>,
    skip_verify: bool,
}

/// TLS settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// PEM text is not what it should be.
    #[error("the PEM text of the {what} cannot be read")]
    Pem {
        /// Which PEM text.
        what: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// PEM text holds no certificate.
    #[error("the PEM text of the {what} holds no certificate")]
    Empty {
        /// Which PEM text.
        what: &'static str,
    },
    /// The system has no root certificates that can be read.
    #[error("no root certificates found on this system")]
    NoNativeRoots(#[source] Option<rustls_native_certs::Error>),
    /// A certificate, or a certificate and its key, that TLS refuses.
    #[error("TLS refuses the {what}")]
    Refused {
        /// What is refused.
        what: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// The name to check the peer's certificate against is none.
    #[error("\"{name}\" is no name that a certificate can be checked against")]
    Name {
        /// The text.
        name: String,
        /// Why.
        source: InvalidDnsNameError,
    },
}

/// Settings read and checked, for one name.
#[derive(Clone)]
pub(crate) struct PreparedTls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// Accepts every certificate. Signatures are still checked, so that the connection is at least
/// with whoever holds the key.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

// === impl ClientTls ===

impl ClientTls {
    /// Trusts the system's roots and presents no certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these roots, beside others given, and not the system's.
    #[must_use]
    pub fn with_roots(mut self, roots: Certificate) -> Self {
        self.roots.push(roots);
        self
    }

    /// Trusts the system's roots beside those given.
    #[must_use]
    pub const fn with_native_roots(mut self) -> Self {
        self.native_roots = true;
        self
    }

    /// Presents this certificate to a server that asks for one.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Checks the server's certificate against this name instead of the target's host.
    #[must_use]
    pub fn with_domain_name(mut self, name: impl Into<String>) -> Self {
        self.domain_name = Some(name.into());
        self
    }

    /// Checks which workload the server is, by the SPIFFE ID in its certificate, in place of the
    /// name of its host. Its certificate still has to be issued by one of the roots.
    #[must_use]
    pub fn with_spiffe(mut self, peers: SpiffePeers) -> Self {
        self.spiffe = Some(peers);
        self
    }

    /// Accepts any certificate: whoever answers is believed. For tools that look at a server
    /// whose certificate is wrong, and nothing else.
    #[must_use]
    pub const fn with_insecure_skip_verify(mut self) -> Self {
        self.skip_verify = true;
        self
    }

    /// Whether roots were named, by whatever means.
    #[must_use]
    pub const fn has_roots(&self) -> bool {
        self.native_roots || !self.roots.is_empty()
    }

    /// Reads everything, to be used with servers of `host`.
    pub(crate) fn prepare(&self, host: &str) -> Result<PreparedTls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Refused {
                what: "protocol versions",
                source,
            })?;
        let builder = if self.skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(Arc::clone(
                    &provider,
                ))))
        } else {
            let verifier = self.verifier(&provider)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(identity.certificate(), "client certificate")?;
                let key = PrivateKeyDer::from_pem_slice(identity.key()).map_err(|source| {
                    TlsError::Pem {
                        what: "client's private key",
                        source,
                    }
                })?;
                let refused = |source| TlsError::Refused {
                    what: "client certificate and key",
                    source,
                };
                let pair = CertifiedKey::from_der(chain, key, &provider).map_err(refused)?;
                match Reloaded::new(identity, pair.clone(), provider) {
                    Some(reloaded) => builder.with_client_cert_resolver(Arc::new(reloaded)),
                    None => {
                        let one = SingleCertAndKey::from(pair);
                        builder.with_client_cert_resolver(Arc::new(one))
                    }
                }
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        if self.follows_roots() {
            // Whoever was trusted once is to be judged by the roots of now.
            config.resumption = Resumption::disabled();
        }
        let name = self.domain_name.as_deref().unwrap_or(host);
        // An IPv6 address stands in brackets in a target.
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(name);
        let name = ServerName::try_from(bare.to_owned()).map_err(|source| TlsError::Name {
            name: name.to_owned(),
            source,
        })?;
        Ok(PreparedTls {
            config: Arc::new(config),
            name,
        })
    }

    /// Whether some of the roots are in files that may change.
    fn follows_roots(&self) -> bool {
        !self.skip_verify && self.roots.iter().any(|roots| roots.file.is_some())
    }

    /// What judges servers.
    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let current = self.verifier_of_now(provider)?;
        if !self.follows_roots() {
            return Ok(current);
        }
        let (tls, provider) = (self.clone(), Arc::clone(provider));
        let files = tls.roots.iter().filter_map(|roots| roots.file.clone());
        let files = files.collect();
        let read = move || {
            let roots = tls.roots.iter().map(Certificate::again);
            let roots = roots.collect::<Result<_, _>>()?;
            let tls = Self {
                roots,
                ..tls.clone()
            };
            Ok(tls.verifier_of_now(&provider)?)
        };
        Ok(Arc::new(FollowedServers(Followed::new(
            files, current, read,
        ))))
    }

    fn verifier_of_now(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let roots = self.root_store()?;
        if let Some(peers) = &self.spiffe {
            return Ok(Arc::new(SpiffeServers {
                roots,
                provider: Arc::clone(provider),
                peers: peers.clone(),
            }));
        }
        let provider = Arc::clone(provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|error| TlsError::Refused {
            what: "root certificates",
            source: rustls::Error::General(error.to_string()),
        })?;
        Ok(verifier)
    }

    fn root_store(&self) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        for roots in &self.roots {
            for certificate in certificates(roots, "root certificates")? {
                store.add(certificate).map_err(|source| TlsError::Refused {
                    what: "root certificate",
                    source,
                })?;
            }
        }
        if self.native_roots || self.roots.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 && store.is_empty() {
                return Err(TlsError::NoNativeRoots(found.errors.into_iter().next()));
            }
        }
        Ok(store)
    }
}

fn certificates(
    pem: &Certificate,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_ref())
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    if all.is_empty() {
        return Err(TlsError::Empty { what });
    }
    Ok(all)
}

// === impl PreparedTls ===

impl fmt::Debug for PreparedTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedTls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl AcceptAnyCertificate ===

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
