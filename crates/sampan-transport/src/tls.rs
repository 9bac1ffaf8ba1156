//! TLS of both sides: certificates as PEM text, and what each side does with them.

pub(crate) mod client;
mod server;

pub use client::{ClientTls, TlsError};
pub use server::{ServerTls, ServerTlsError, ServerTlsSettings};

use std::fmt;

/// One or more certificates as PEM text. Read when the settings that hold it are used.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    pem: Vec<u8>,
}

/// A certificate chain and its private key as PEM text: who this side is.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    certificate: Certificate,
    key: Vec<u8>,
}

// === impl Certificate ===

impl Certificate {
    /// Holds PEM text; nothing is checked yet.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Self {
        Self {
            pem: pem.as_ref().to_vec(),
        }
    }
}

impl AsRef<[u8]> for Certificate {
    fn as_ref(&self) -> &[u8] {
        &self.pem
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

// === impl Identity ===

impl Identity {
    /// Holds PEM text of the chain, leaf first, and of its key; nothing is checked yet.
    pub fn from_pem(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        Self {
            certificate: Certificate::from_pem(certificate),
            key: key.as_ref().to_vec(),
        }
    }

    /// The chain, leaf first.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// PEM text of the private key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
