//! tonic's TLS settings for servers.

use crate::{Error, error::Kind};
use sampan_transport::{Certificate, Identity, ServerTlsSettings};
use std::time::Duration;

/// What a server shows and demands in the TLS handshake.
#[derive(Clone, Debug, Default)]
pub struct ServerTlsConfig {
    identity: Option<Identity>,
    client_ca: Option<Certificate>,
    client_auth_optional: bool,
    ignore_client_order: bool,
    timeout: Option<Duration>,
}

// === impl ServerTlsConfig ===

impl ServerTlsConfig {
    /// Settings that still need an [`identity`](Self::identity).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The server's certificates and key.
    #[must_use]
    pub fn identity(self, identity: Identity) -> Self {
        Self {
            identity: Some(identity),
            ..self
        }
    }

    /// The authorities whose client certificates are accepted.
    #[must_use]
    pub fn client_ca_root(self, authorities: Certificate) -> Self {
        Self {
            client_ca: Some(authorities),
            ..self
        }
    }

    /// Whether clients without a certificate are let in too. Default: false.
    #[must_use]
    pub fn client_auth_optional(self, optional: bool) -> Self {
        Self {
            client_auth_optional: optional,
            ..self
        }
    }

    /// Whether the server's order of ciphers goes before the client's. Default: false.
    #[must_use]
    pub fn ignore_client_order(self, ignore: bool) -> Self {
        Self {
            ignore_client_order: ignore,
            ..self
        }
    }

    /// How long the handshake may take. Default: 10 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    pub(super) fn into_settings(self) -> Result<ServerTlsSettings, Error> {
        let mut settings = ServerTlsSettings::new(self.identity.ok_or(Kind::NoIdentity)?);
        settings.client_ca = self.client_ca;
        settings.client_auth_optional = self.client_auth_optional;
        settings.ignore_client_order = self.ignore_client_order;
        if let Some(timeout) = self.timeout {
            settings.handshake_timeout = timeout;
        }
        Ok(settings)
    }
}
