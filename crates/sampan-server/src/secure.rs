//! TLS behind a pointer: a program that does not ask for it has none in it.

use crate::{BoxError, Error, bound::Io, error::Kind};
use futures_util::future::BoxFuture;
use sampan_transport::{PeerInfo, Protocols, ServerTls, ServerTlsSettings};
use std::sync::Arc;

/// Turns plain connections into secret ones.
pub(crate) trait Secure: Send + Sync {
    fn accept(self: Arc<Self>, io: Box<dyn Io>, peer: PeerInfo) -> Accepting;
}

type Accepting = BoxFuture<'static, Result<(Box<dyn Io>, PeerInfo), BoxError>>;

type Make = fn(&ServerTlsSettings, Protocols) -> Result<Arc<dyn Secure>, Error>;

/// TLS as it is wanted, and what makes it.
#[derive(Clone)]
pub(crate) struct Wanted {
    settings: ServerTlsSettings,
    make: Make,
}

/// Checks the settings and makes them ready.
pub(crate) fn tls(
    settings: &ServerTlsSettings,
    protocols: Protocols,
) -> Result<Arc<dyn Secure>, Error> {
    let tls = ServerTls::new(settings, protocols).map_err(|error| Kind::Tls(error.into()))?;
    Ok(Arc::new(tls))
}

impl Secure for ServerTls {
    fn accept(self: Arc<Self>, io: Box<dyn Io>, peer: PeerInfo) -> Accepting {
        Box::pin(async move {
            let (io, peer) = Self::accept(&self, io, peer).await?;
            Ok((Box::new(io) as Box<dyn Io>, peer))
        })
    }
}

// === impl Wanted ===

impl Wanted {
    pub(crate) fn tls(settings: ServerTlsSettings) -> Self {
        Self {
            settings,
            make: tls,
        }
    }

    pub(crate) fn make(&self, protocols: Protocols) -> Result<Arc<dyn Secure>, Error> {
        (self.make)(&self.settings, protocols)
    }
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

impl std::fmt::Debug for dyn Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secure")
    }
}
