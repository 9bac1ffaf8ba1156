//! How one speaks to a place, checked.

use crate::{
    Error,
    config::env,
    site::{Connector, Route},
    target::Security,
};
use http::{
    HeaderValue,
    uri::{Authority, Scheme},
};
use sampan_transport::{ClientTls, ConnectSettings, LocalDir, RouteHead};
use std::{path::PathBuf, time::Duration};

const USER_AGENT: &str = concat!("sampan/", env!("CARGO_PKG_VERSION"));

/// What a route is made of.
pub(crate) struct RouteSettings<'a> {
    pub(crate) authority: Authority,
    /// What certificates are checked against.
    pub(crate) host: String,
    pub(crate) security: Security,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) connect: ConnectSettings,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) connector: Connector,
    pub(crate) local: LocalUse,
    /// Whatever its addresses look like, it is near.
    pub(crate) is_in_cluster: bool,
}

/// What is said of the sockets that servers on the same host have.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalUse {
    /// None: what the environment says.
    pub(crate) dir: Option<PathBuf>,
    /// Also without TLS. None: what the environment says.
    pub(crate) is_trusted: Option<bool>,
}

// === impl RouteSettings ===

impl RouteSettings<'_> {
    pub(crate) fn build(self) -> Result<Route, Error> {
        let user_agent = match self.user_agent {
            None => HeaderValue::from_static(USER_AGENT),
            Some(own) => HeaderValue::try_from(format!("{own} {USER_AGENT}")).map_err(|error| {
                Error::configuration(format!("{own:?} is no user agent")).with_source(error)
            })?,
        };
        let tls = match (self.security, self.tls) {
            (Security::Plaintext, Some(_)) => {
                return Err(Error::configuration(
                    "http:// means plaintext, and TLS settings were given",
                )
                .with_hint(Some("use https://")));
            }
            (Security::Plaintext | Security::Unsaid, None) => None,
            (Security::Tls, None) => Some(ClientTls::new()),
            (_, Some(tls)) => Some(tls),
        };
        let (scheme, connect) = match tls {
            None => (Scheme::HTTP, self.connect),
            Some(mut tls) => {
                if !tls.has_roots()
                    && let Some(roots) = env::default_roots()?
                {
                    tls = tls.with_roots(roots);
                }
                let connect = self.connect.with_tls(&tls, &self.host).map_err(|error| {
                    Error::configuration("TLS cannot be used").with_source(error)
                })?;
                (Scheme::HTTPS, connect)
            }
        };
        let authority = self.authority.as_str();
        let authority = HeaderValue::from_str(authority).map_err(|error| {
            Error::configuration(format!("\"{authority}\" is no authority")).with_source(error)
        })?;
        let local = self.local.dir_for(connect.is_tls())?;
        let head = RouteHead::new(scheme, authority, user_agent);
        Ok(Route {
            head,
            connect,
            connect_timeout: self.connect_timeout,
            connector: self.connector,
            local,
            tunnel: None,
            is_in_cluster: self.is_in_cluster,
        })
    }
}

// === impl LocalUse ===

impl LocalUse {
    /// Where sockets may be looked for. Without TLS nothing says who listens on one, so the
    /// folder has to be trusted.
    fn dir_for(self, is_tls: bool) -> Result<Option<LocalDir>, Error> {
        let Some(dir) = self.dir.or_else(env::local_dir) else {
            return Ok(None);
        };
        let is_trusted = match self.is_trusted {
            Some(is_trusted) => is_trusted,
            None => env::local_trust()?,
        };
        Ok((is_tls || is_trusted).then(|| LocalDir::new(dir)))
    }
}
