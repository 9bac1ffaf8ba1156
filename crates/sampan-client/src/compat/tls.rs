//! TLS settings by tonic's names.

use sampan_transport::{Certificate, ClientTls, Identity};

/// TLS settings of an [`Endpoint`](super::Endpoint). Trusts the system's roots when it names
/// none.
#[derive(Clone, Debug, Default)]
pub struct ClientTlsConfig {
    pub(super) tls: ClientTls,
}

// === impl ClientTlsConfig ===

impl ClientTlsConfig {
    /// Settings that trust the system's roots and present no certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the server's certificate against this name instead of the URI's host.
    #[must_use]
    pub fn domain_name(self, domain_name: impl Into<String>) -> Self {
        Self {
            tls: self.tls.with_domain_name(domain_name),
        }
    }

    /// Trusts these roots too.
    #[must_use]
    pub fn ca_certificate(self, ca_certificate: Certificate) -> Self {
        Self {
            tls: self.tls.with_roots(ca_certificate),
        }
    }

    /// Trusts all of these roots too.
    #[must_use]
    pub fn ca_certificates(self, ca_certificates: impl IntoIterator<Item = Certificate>) -> Self {
        ca_certificates.into_iter().fold(self, Self::ca_certificate)
    }

    /// Presents this certificate to a server that asks for one.
    #[must_use]
    pub fn identity(self, identity: Identity) -> Self {
        Self {
            tls: self.tls.with_identity(identity),
        }
    }

    /// Trusts the system's roots beside those given.
    #[must_use]
    pub fn with_native_roots(self) -> Self {
        Self {
            tls: self.tls.with_native_roots(),
        }
    }

    /// As [`with_native_roots`](Self::with_native_roots): there are no others to enable.
    #[must_use]
    pub fn with_enabled_roots(self) -> Self {
        self.with_native_roots()
    }
}
