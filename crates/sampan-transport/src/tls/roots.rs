//! Roots and client authorities that change on disk: whoever is judged next is judged by them.

use super::reload::Followed;
use rustls::{
    DistinguishedName, Error,
    client::danger::{ServerCertVerified, ServerCertVerifier},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::{sync::Arc, time::Instant};

/// Judges servers.
#[derive(Debug)]
pub(super) struct FollowedServers(pub(super) Followed<Arc<dyn ServerCertVerifier>>);

/// Judges clients.
#[derive(Debug)]
pub(super) struct FollowedClients(pub(super) Followed<Arc<dyn ClientCertVerifier>>);

// === impl FollowedServers ===

impl FollowedServers {
    fn current(&self) -> Arc<dyn ServerCertVerifier> {
        self.0.current(Instant::now())
    }
}

impl ServerCertVerifier for FollowedServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let current = self.current();
        current.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    check_signatures_by!(self => self.current());
}

// === impl FollowedClients ===

impl FollowedClients {
    fn current(&self) -> Arc<dyn ClientCertVerifier> {
        self.0.current(Instant::now())
    }
}

impl ClientCertVerifier for FollowedClients {
    fn offer_client_auth(&self) -> bool {
        self.current().offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.current().client_auth_mandatory()
    }

    /// None: they would be those of another time.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.current();
        current.verify_client_cert(end_entity, intermediates, now)
    }

    check_signatures_by!(self => self.current());
}
