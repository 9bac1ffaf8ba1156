//! Finds the endpoints behind a target.
//!
//! The schemes that are built in are in the documentation of
//! [`Channel::dial`](crate::Channel::dial). One of your own is a [`Resolve`] and a function that
//! makes it of a target's text, given to [`register`] for all channels of the process, or to
//! [`ChannelBuilder::resolver`](crate::ChannelBuilder::resolver) for one:
//!
//! ```
//! use sampan_client::{
//!     Channel,
//!     resolve::{self, Resolve, ResolveError, Resolved, ResolvedAddress, Resolving, Why},
//! };
//! use std::sync::Arc;
//!
//! /// `table:///orders`: the endpoints of a service, by a table of its own.
//! #[derive(Debug)]
//! struct Table { service: String }
//!
//! impl Resolve for Table {
//!     fn resolve(&self, _: Why) -> Resolving<'_> {
//!         Box::pin(async move {
//!             match self.service.as_str() {
//!                 "orders" => Ok(Resolved::new([
//!                     ResolvedAddress::new(([10, 0, 0, 7], 50051)).with_weight(3),
//!                     ResolvedAddress::new(([10, 0, 0, 8], 50051)).with_zone("b"),
//!                 ])),
//!                 other => Err(ResolveError::no_address(other)),
//!             }
//!         })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! resolve::register("table", |target| {
//!     Ok(Arc::new(Table { service: target.endpoint().to_owned() }))
//! })?;
//! let orders = Channel::dial("table:///orders")?;
//! # drop(orders);
//! # Ok(())
//! # }
//! ```

mod address;
mod dns;
mod fixed;
#[cfg(feature = "k8s")]
mod k8s;
mod local;
mod registry;

pub use address::{Resolved, ResolvedAddress};
pub use registry::{InvalidScheme, TargetName, register};
pub use sampan_transport::Address;
pub use sampan_wire::service_config::ServiceConfig;

pub(crate) use address::{Attributes, Traits};
pub(crate) use dns::{Dns, Kind, Question};
pub(crate) use fixed::Fixed;
#[cfg(feature = "k8s")]
pub(crate) use k8s::{Kubernetes, Port, Service};
pub(crate) use local::Local;
pub(crate) use registry::{MakeResolver, Registry, check as check_scheme};

use crate::{
    error::BoxError,
    site::{Found, Route, Site},
    target::Place,
};
use std::{fmt, pin::Pin, sync::Arc, time::Duration};

/// Finds the endpoints of one target.
///
/// Asked when a channel is first used, then again as [`Resolved::valid_for`] says while it stays
/// in use (every 5 s unless that says otherwise, give or take a tenth), when a connection is
/// lost, and at most once a second. What it answers takes the place of what it answered before:
/// endpoints that stay keep their connections, those that are gone finish their calls.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Looks the endpoints up.
    ///
    /// # Errors
    ///
    /// [`ResolveError::NoAddress`] when it is certain that there are none: what was known before
    /// is used until it fails. [`ResolveError::Failed`] when nobody can say now: what was known
    /// before stays.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the channel is, or its runtime ends.
    fn resolve(&self, why: Why) -> Resolving<'_>;

    /// Completes when the endpoints are others, so that nobody has to wait for the next look.
    /// Default: never.
    ///
    /// Polled while the channel is in use, and dropped now and then. Must not complete again
    /// before the endpoints have changed again, once [`resolve`](Self::resolve) was called.
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::pending())
    }
}

/// What [`Resolve::resolve`] gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Resolved, ResolveError>> + Send + 'a>>;

/// Why endpoints are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The channel begins to be used, or it is time to look again.
    Time,
    /// A connection was lost or refused: an answer from before says nothing.
    Loss,
}

/// A look-up without an answer to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name has no address: endpoints that it had are not replaced, and go when they fail.
    #[error("the name \"{name}\" has no address")]
    NoAddress {
        /// What was looked up.
        name: String,
    },
    /// Nobody could say. What was known before holds.
    #[error("the name \"{name}\" could not be looked up")]
    Failed {
        /// What was looked up.
        name: String,
        /// What stood in the way.
        source: BoxError,
    },
}

/// The resolver of one place, and how one speaks to what it finds.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    resolve: Arc<dyn Resolve>,
    route: Arc<Route>,
}

/// What a place has now.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) found: Vec<Found>,
    pub(crate) valid_for: Option<Duration>,
    pub(crate) service_config: Option<Arc<ServiceConfig>>,
}

// === impl ResolveError ===

impl ResolveError {
    /// It is certain that `name` has no address.
    pub fn no_address(name: impl Into<String>) -> Self {
        Self::NoAddress { name: name.into() }
    }

    /// Nobody could say what addresses `name` has.
    pub fn failed(name: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Failed {
            name: name.into(),
            source: source.into(),
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoAddress { .. } => Some("is the name right, and does its service run?"),
            #[cfg(feature = "k8s")]
            Self::Failed { source, .. } if k8s::is_own(source.as_ref()) => None,
            Self::Failed { .. } => Some("does the name server answer?"),
        }
    }
}

// === impl Resolver ===

impl Resolver {
    pub(crate) const fn new(resolve: Arc<dyn Resolve>, route: Arc<Route>) -> Self {
        Self { resolve, route }
    }

    /// # Errors
    ///
    /// When a resolver that is not built in cannot be made.
    pub(crate) fn of_place(
        place: &Place,
        route: Arc<Route>,
        registry: &Registry,
    ) -> Result<Self, BoxError> {
        // A proxy finds servers by itself.
        let (place, route) = match &registry.proxy {
            Some(proxy) => match place
                .server()
                .and_then(|(host, port)| proxy.tunnel(&host, port))
            {
                Some(tunnel) => (&proxy.place, Arc::new(route.through(tunnel))),
                None => (place, route),
            },
            None => (place, route),
        };
        let resolve: Arc<dyn Resolve> = match place.clone() {
            Place::Address(address) => Arc::new(Fixed::new(address)),
            Place::Name {
                host,
                port,
                kind,
                server,
            } => {
                let question = Question {
                    host,
                    kind,
                    server,
                    wants_config: registry.config_from_dns,
                };
                Arc::new(Dns::new(question, port))
            }
            Place::Local(service) => {
                let Some(dir) = route.local.clone() else {
                    return Err("it needs a folder that the containers of this host share \
                         (SAMPAN_LOCAL_DIR), and TLS or SAMPAN_LOCAL_TRUST=1"
                        .into());
                };
                let local = Local::new(service, dir);
                Arc::new(local.ok_or("no service is called so")?)
            }
            #[cfg(feature = "k8s")]
            Place::Kubernetes(service, port) => Arc::new(Kubernetes::new(service, port)),
            Place::Other(name) => match registry.find(name.scheme()) {
                Some(make) => make(&name)?,
                None => return Err(format!("nobody resolves \"{name}\"").into()),
            },
        };
        Ok(Self::new(resolve, route))
    }

    pub(crate) async fn resolve(&self, why: Why) -> Result<Answer, ResolveError> {
        let resolved = self.resolve.resolve(why).await?;
        let found = resolved.addresses.into_iter().map(|one| {
            let (address, traits) = one.into_parts();
            let route = Arc::clone(&self.route);
            Found {
                site: Site { address, route },
                traits,
                is_gone: false,
            }
        });
        Ok(Answer {
            found: found.collect(),
            valid_for: resolved.valid_for,
            service_config: resolved.service_config,
        })
    }

    pub(crate) async fn changed(&self) {
        self.resolve.changed().await;
    }
}
