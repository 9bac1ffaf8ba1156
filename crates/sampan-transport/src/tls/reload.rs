//! Certificates, keys and roots that change on disk, as Kubernetes and cert-manager have it.
//!
//! Looked at when a handshake needs them, at most once a second: no task, and no work for
//! connections that are there. What is broken or half written is left where it is, and what was
//! there before goes on.

use super::{Certificate, Identity};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// Where a certificate chain and its key stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdentityFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// What files say, for the next handshake.
pub(super) struct Followed<T> {
    files: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<T, BoxError> + Send + Sync>,
    state: Mutex<State<T>>,
}

/// The certificate and key for the next handshake.
#[derive(Debug)]
pub(super) struct Reloaded(Followed<Arc<CertifiedKey>>);

struct State<T> {
    current: T,
    watch: Watch<Vec<Stamp>>,
}

/// When files are looked at, and when read. Pure.
#[derive(Debug)]
struct Watch<S> {
    read: Option<S>,
    next: Instant,
}

/// What changes when a file does; a symbolic link that is turned changes it too.
type Stamp = (SystemTime, u64, u64);

const INTERVAL: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

// === impl Watch ===

impl<S: PartialEq> Watch<S> {
    /// Whether it is time to look. Whoever is told so looks; others go on with what there is.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + INTERVAL;
        }
        is_due
    }

    /// Whether what was found is not what was read.
    fn has_changed(&self, found: &S) -> bool {
        self.read.as_ref() != Some(found)
    }
}

// === impl Followed ===

impl<T: Clone> Followed<T> {
    /// Begins with what was read before.
    pub(super) fn new(
        files: Vec<PathBuf>,
        current: T,
        read: impl Fn() -> Result<T, BoxError> + Send + Sync + 'static,
    ) -> Self {
        // What has changed since then is read at the first look.
        let watch = Watch {
            read: None,
            next: Instant::now(),
        };
        Self {
            files,
            read: Box::new(read),
            state: Mutex::new(State { current, watch }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn current(&self, now: Instant) -> T {
        let (current, is_due) = {
            let mut state = self.state();
            let is_due = state.watch.is_due(now);
            (state.current.clone(), is_due)
        };
        if !is_due {
            return current;
        }
        let found: Option<Vec<_>> = self.files.iter().map(|path| stamp(path)).collect();
        let Some(found) = found else {
            return current;
        };
        if !self.state().watch.has_changed(&found) {
            return current;
        }
        match (self.read)() {
            Ok(new) => {
                let mut state = self.state();
                state.current = new.clone();
                // What came while it was read has another stamp, and is read at the next look.
                state.watch.read = Some(found);
                new
            }
            Err(error) => {
                let path = self.files.first().map(|path| path.display());
                let path = path.map(tracing::field::display);
                tracing::warn!(path, %error, "what is on disk cannot be used; what was there before goes on");
                current
            }
        }
    }
}

impl<T> fmt::Debug for Followed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Reads a file; an error names it.
pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), inode(&found)))
}

#[cfg(unix)]
fn inode(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

/// Elsewhere the time and the length have to do.
#[cfg(not(unix))]
const fn inode(_: &fs::Metadata) -> u64 {
    0
}

// === impl IdentityFiles ===

impl IdentityFiles {
    pub(super) fn read(&self) -> io::Result<Identity> {
        Ok(Identity {
            certificate: Certificate::from_pem(read_file(&self.certificate)?),
            key: read_file(&self.key)?,
            files: Some(self.clone()),
        })
    }
}

// === impl Reloaded ===

impl Reloaded {
    /// Begins with what was read when the identity was made; None when it was not from files.
    pub(super) fn new(
        identity: &Identity,
        current: CertifiedKey,
        provider: Arc<CryptoProvider>,
    ) -> Option<Self> {
        let files = identity.files.clone()?;
        let paths = vec![files.certificate.clone(), files.key.clone()];
        let read = move || Ok(Arc::new(certified(&files, &provider)?));
        Some(Self(Followed::new(paths, Arc::new(current), read)))
    }

    fn current(&self, now: Instant) -> Arc<CertifiedKey> {
        self.0.current(now)
    }
}

fn certified(files: &IdentityFiles, provider: &CryptoProvider) -> Result<CertifiedKey, BoxError> {
    let identity = files.read()?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate().as_ref())
        .collect::<Result<_, _>>()?;
    if chain.is_empty() {
        return Err("it holds no certificate".into());
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key())?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}

impl ResolvesServerCert for Reloaded {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current(Instant::now()))
    }
}

impl ResolvesClientCert for Reloaded {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current(Instant::now()))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_at_once_a_second_and_read_when_they_differ() {
        let start = Instant::now();
        let mut watch = Watch {
            read: Some(1),
            next: start + INTERVAL,
        };
        assert!(!watch.is_due(start));
        let later = start + INTERVAL;
        assert!(watch.is_due(later));
        assert!(!watch.is_due(later), "one looks");
        assert!(!watch.has_changed(&1));
        assert!(watch.has_changed(&2));
        // A pair that could not be read is tried again at the next look.
        assert!(watch.is_due(later + INTERVAL) && watch.has_changed(&2));
    }

    #[test]
    fn a_pair_that_is_half_written_is_left_alone_and_read_once_it_is_whole() {
        let pair = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            (
                certificate.pem(),
                key.serialize_pem(),
                certificate.der().clone(),
            )
        };
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let (first, second) = (pair(), pair());
        fs::write(&certificate, &first.0).unwrap();
        fs::write(&key, &first.1).unwrap();
        let identity = Identity::from_files(&certificate, &key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let begins = CertifiedKey::from_der(
            vec![first.2.clone()],
            PrivateKeyDer::from_pem_slice(first.1.as_bytes()).unwrap(),
            &provider,
        );
        let reloaded = Reloaded::new(&identity, begins.unwrap(), provider).unwrap();
        let mut now = Instant::now();
        let mut shown = || {
            now += INTERVAL;
            reloaded.current(now).cert[0].clone()
        };
        assert_eq!(shown(), first.2);
        fs::write(&certificate, &second.0).unwrap();
        assert_eq!(shown(), first.2, "its key is still the old one");
        fs::write(&key, &second.1).unwrap();
        assert_eq!(shown(), second.2);
        fs::remove_file(&key).unwrap();
        assert_eq!(shown(), second.2);
        fs::write(&certificate, "no PEM").unwrap();
        fs::write(&key, "no PEM").unwrap();
        assert_eq!(shown(), second.2);
    }
}
