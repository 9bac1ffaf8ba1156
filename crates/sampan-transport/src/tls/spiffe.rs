//! Names of workloads: SPIFFE IDs in certificates, checked in place of host names.
//!
//! Source: SPIFFE-ID and X.509-SVID; gRFC A87.

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::{fmt, str::FromStr, sync::Arc};

/// The name of a workload: `spiffe://example.org/ns/shop/sa/orders`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: Box<str>,
    /// Where the trust domain ends.
    domain_end: usize,
}

/// Why a text is no SPIFFE ID, or a certificate not one of a peer that is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeError {
    /// It breaks a rule of SPIFFE IDs.
    #[error("\"{id}\" is no SPIFFE ID: {why}")]
    Malformed {
        /// The text.
        id: String,
        /// The rule.
        why: &'static str,
    },
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// A certificate of a workload has exactly one URI.
    #[error("the certificate has {0} URIs where one SPIFFE ID belongs")]
    NotOne(usize),
    /// It is a workload that is not let in.
    #[error("{0} is not one of the peers that are let in")]
    Unwanted(SpiffeId),
}

/// Which workloads are let in: those of trust domains, and single ones. Nobody at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct SpiffePeers {
    domains: Vec<SpiffeId>,
    ids: Vec<SpiffeId>,
}

/// Checks the certificates of servers by what they are called in SPIFFE.
#[derive(Debug)]
pub(super) struct SpiffeServers {
    pub(super) roots: RootCertStore,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) peers: SpiffePeers,
}

/// Checks the certificates of clients by what they are called, beside all else.
#[derive(Debug)]
pub(super) struct SpiffeClients {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) peers: SpiffePeers,
}

const SCHEME: &str = "spiffe://";
const MAX_LEN: usize = 2048;
const MAX_DOMAIN_LEN: usize = 255;

// === impl SpiffeId ===

impl SpiffeId {
    /// The trust domain: `example.org`.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.domain_end]
    }

    /// What stands behind it, slash and all; empty for the domain itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[self.domain_end..]
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The workload that a certificate was issued to.
    ///
    /// # Errors
    /// When it has not exactly one URI, or that is no SPIFFE ID.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, SpiffeError> {
        let parsed = webpki::EndEntityCert::try_from(certificate);
        let parsed = parsed.map_err(|_| SpiffeError::Unreadable)?;
        let mut uris = parsed.valid_uri_names();
        match (uris.next(), uris.count()) {
            (Some(uri), 0) => uri.parse(),
            (Some(_), more) => Err(SpiffeError::NotOne(more + 1)),
            (None, _) => Err(SpiffeError::NotOne(0)),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        let malformed = |why| SpiffeError::Malformed {
            id: text.chars().take(80).collect(),
            why,
        };
        if text.len() > MAX_LEN {
            return Err(malformed("it is longer than 2048 bytes"));
        }
        let rest = text.strip_prefix(SCHEME);
        let rest = rest.ok_or_else(|| malformed("it does not begin with spiffe://"))?;
        let domain = rest.split('/').next().unwrap_or_default();
        let is_of_domain =
            |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > MAX_DOMAIN_LEN || !domain.bytes().all(is_of_domain) {
            return Err(malformed(
                "its trust domain is not made of 1 to 255 lower-case letters, digits, dots, dashes and underscores",
            ));
        }
        let path = &rest[domain.len()..];
        let is_of_path =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        for segment in path.split('/').skip(1) {
            if matches!(segment, "" | "." | "..") || !segment.bytes().all(is_of_path) {
                return Err(malformed(
                    "a segment of its path is empty, a dot, or not made of letters, digits, dots, dashes and underscores",
                ));
            }
        }
        Ok(Self {
            domain_end: SCHEME.len() + domain.len(),
            text: text.into(),
        })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.text)
    }
}

// === impl SpiffePeers ===

impl SpiffePeers {
    /// Lets nobody in yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every workload of a trust domain in: `example.org`.
    ///
    /// # Errors
    /// When it is no trust domain.
    pub fn with_trust_domain(mut self, domain: &str) -> Result<Self, SpiffeError> {
        let id: SpiffeId = format!("{SCHEME}{domain}").parse()?;
        if !id.path().is_empty() {
            return Err(SpiffeError::Malformed {
                id: domain.to_owned(),
                why: "a trust domain has no path",
            });
        }
        self.domains.push(id);
        Ok(self)
    }

    /// Lets one workload in: `spiffe://example.org/ns/shop/sa/orders`.
    ///
    /// # Errors
    /// When it is no SPIFFE ID.
    pub fn with_id(mut self, id: &str) -> Result<Self, SpiffeError> {
        self.ids.push(id.parse()?);
        Ok(self)
    }

    /// Whether a workload is let in.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, id: SpiffeId) -> Result<(), SpiffeError> {
        let is_of = |domain: &SpiffeId| domain.trust_domain() == id.trust_domain();
        if self.ids.contains(&id) || self.domains.iter().any(is_of) {
            return Ok(());
        }
        Err(SpiffeError::Unwanted(id))
    }

    fn check_certificate(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let checked = SpiffeId::of(certificate).and_then(|id| self.check(id));
        checked.map_err(|error| {
            let error = OtherError(Arc::new(error));
            Error::InvalidCertificate(CertificateError::Other(error))
        })
    }
}

// === impl SpiffeServers ===

impl ServerCertVerifier for SpiffeServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        self.peers.check_certificate(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

// === impl SpiffeClients ===

impl ClientCertVerifier for SpiffeClients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now)?;
        self.peers.check_certificate(end_entity)?;
        Ok(verified)
    }

    check_signatures_by!(self => self.inner);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_by_the_rules_of_spiffe() {
        let id: SpiffeId = "spiffe://example.org/ns/shop/sa/Orders_1".parse().unwrap();
        assert_eq!(
            (id.trust_domain(), id.path()),
            ("example.org", "/ns/shop/sa/Orders_1")
        );
        let domain: SpiffeId = "spiffe://example.org".parse().unwrap();
        assert_eq!((domain.trust_domain(), domain.path()), ("example.org", ""));
        for bad in [
            "",
            "https://example.org/a",
            "spiffe://",
            "spiffe:///a",
            "spiffe://Example.org/a",
            "spiffe://example.org:8080/a",
            "spiffe://user@example.org/a",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org/a//b",
            "spiffe://example.org/../b",
            "spiffe://example.org/a?b",
            "spiffe://example.org/a#b",
            "spiffe://example.org/%61",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
        let long = format!("spiffe://a/{}", "b".repeat(MAX_LEN));
        assert!(long.parse::<SpiffeId>().is_err());
        let domain = format!("spiffe://{}/a", "b".repeat(MAX_DOMAIN_LEN + 1));
        assert!(domain.parse::<SpiffeId>().is_err());
    }

    #[test]
    fn peers_are_let_in_by_domain_or_by_name_and_nobody_else() {
        let id = |text: &str| text.parse::<SpiffeId>().unwrap();
        let peers = SpiffePeers::new()
            .with_trust_domain("shop.example")
            .and_then(|peers| peers.with_id("spiffe://other.example/payments"))
            .unwrap();
        assert_eq!(peers.check(id("spiffe://shop.example/any/thing")), Ok(()));
        assert_eq!(peers.check(id("spiffe://other.example/payments")), Ok(()));
        for unwanted in [
            "spiffe://other.example/payments/more",
            "spiffe://other.example",
            "spiffe://shop.example.org/any",
        ] {
            assert!(peers.check(id(unwanted)).is_err(), "{unwanted}");
        }
        assert!(SpiffePeers::new().check(id("spiffe://a/b")).is_err());
        assert!(SpiffePeers::new().with_trust_domain("a/b").is_err());
    }
}
