//! Turns the places of a target into addresses.

mod dns;
mod fixed;

pub(crate) use dns::Dns;
pub(crate) use fixed::Fixed;

use crate::{
    site::{Route, Site},
    target::Place,
};
use std::sync::Arc;

/// Finds the addresses of a place.
pub(crate) trait Resolve {
    /// Looks the addresses up, in any order, each once.
    fn resolve(&self) -> impl Future<Output = Result<Vec<Site>, ResolveError>> + Send;
}

/// A lookup without an answer to use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The name has no address: endpoints that it had are not replaced, and go when they fail.
    #[error("the name \"{name}\" has no address")]
    NoAddress { name: String },
    /// Nobody could say. What was known before holds.
    #[error("the name \"{name}\" could not be looked up")]
    Failed {
        name: String,
        source: crate::error::BoxError,
    },
}

/// The resolver of one place.
#[derive(Clone, Debug)]
pub(crate) enum Resolver {
    Fixed(Fixed),
    Dns(Dns),
}

// === impl ResolveError ===

impl ResolveError {
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::NoAddress { .. } => "is the name right, and does its service run?",
            Self::Failed { .. } => "does the name server answer?",
        }
    }
}

// === impl Resolver ===

impl Resolver {
    pub(crate) fn new(place: Place, route: Arc<Route>) -> Self {
        match place {
            Place::Address(address) => Self::Fixed(Fixed::new(Site { address, route })),
            Place::Name { host, port, server } => Self::Dns(Dns::new(host, port, server, route)),
        }
    }
}

impl Resolve for Resolver {
    async fn resolve(&self) -> Result<Vec<Site>, ResolveError> {
        match self {
            Self::Fixed(fixed) => fixed.resolve().await,
            Self::Dns(dns) => dns.resolve().await,
        }
    }
}
