//! TLS of both sides: certificates as PEM text, and what each side does with them.

/// Of a verifier, what another one does for it: the signatures of handshakes.
macro_rules! check_signatures_by {
    ($self:ident => $other:expr) => {
        fn verify_tls12_signature(
            &$self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            $other.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &$self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            $other.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&$self) -> Vec<rustls::SignatureScheme> {
            $other.supported_verify_schemes()
        }
    };
}

pub(crate) mod client;
mod reload;
mod roots;
mod server;
mod spiffe;

pub use client::{ClientTls, TlsError};
pub use server::{ServerTls, ServerTlsError, ServerTlsSettings};
pub use spiffe::{SpiffeError, SpiffeId, SpiffePeers};

use reload::{IdentityFiles, read_file};
use std::{fmt, io, path::PathBuf};

/// One or more certificates as PEM text. Read when the settings that hold it are used.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    pem: Vec<u8>,
    /// Where it was read, and is read again.
    file: Option<PathBuf>,
}

/// A certificate chain and its private key as PEM text: who this side is.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    certificate: Certificate,
    key: Vec<u8>,
    /// Where it was read, and is read again.
    files: Option<IdentityFiles>,
}

// === impl Certificate ===

impl Certificate {
    /// Holds PEM text; nothing is checked yet.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Self {
        Self {
            pem: pem.as_ref().to_vec(),
            file: None,
        }
    }

    /// Reads a PEM file. As the roots of a client, or the client authorities of a server, it is
    /// read again once it changes, and new connections are judged by what it holds then: it is
    /// looked at when a connection begins, at most once a second. Where that cannot be used, what
    /// was there before goes on, with a warning in the log. Such sides do each handshake in full,
    /// for a resumed one asks for no certificate.
    ///
    /// # Errors
    /// When the file cannot be read. What is in it is checked when the settings are used.
    pub fn from_file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        Ok(Self {
            pem: read_file(&path)?,
            file: Some(path),
        })
    }

    /// As it is now, where it is a file.
    fn again(&self) -> io::Result<Self> {
        match &self.file {
            Some(path) => Self::from_file(path),
            None => Ok(self.clone()),
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
            files: None,
        }
    }

    /// Reads PEM files of the chain, leaf first, and of its key. Once they change, new
    /// connections use what they hold then: they are looked at when a connection begins, at most
    /// once a second. Where that cannot be used, or the key is not of the certificate, the pair
    /// before goes on, with a warning in the log.
    ///
    /// # Errors
    /// When a file cannot be read. What is in it is checked when the settings are used.
    pub fn from_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> io::Result<Self> {
        let files = IdentityFiles {
            certificate: certificate.into(),
            key: key.into(),
        };
        files.read()
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
