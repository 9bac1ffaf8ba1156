//! Certificates for tests on loopback.

use crate::Failure;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority and a server that it vouches for, as PEM text.
#[derive(Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: String,
    /// The server's certificate, for `localhost` and 127.0.0.1.
    pub server: String,
    /// The server's key.
    pub key: String,
}

// === impl Certificates ===

impl Certificates {
    /// New ones.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn generate() -> Result<Self, Failure> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = ca.self_signed(&ca_key)?;
        let server =
            CertificateParams::new(names)?.signed_by(&key, &Issuer::from_params(&ca, &ca_key))?;
        Ok(Self {
            ca: certificate.pem(),
            server: server.pem(),
            key: key.serialize_pem(),
        })
    }
}
