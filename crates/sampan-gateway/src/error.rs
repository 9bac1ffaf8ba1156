//! Why a gateway cannot be built or cannot serve.

use crate::{cors::InvalidCors, upstream::ReflectionError};
use std::fmt;

/// A gateway that cannot be built, or whose upstreams cannot be asked. Prints its whole chain.
pub struct Error(Kind);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error(
        "service {service} is offered by two upstreams, {first} and {second}: name for each \
             the services it is for"
    )]
    Clash {
        service: String,
        first: String,
        second: String,
    },
    #[error("the descriptor set of upstream {upstream} is malformed")]
    DescriptorSet {
        upstream: String,
        source: prost_reflect::DescriptorError,
    },
    #[error("the descriptors of upstream {upstream} have no service {service}{hint}")]
    NoSuchService {
        upstream: String,
        service: String,
        hint: String,
    },
    #[error("upstream {upstream}")]
    Reflection {
        upstream: String,
        source: ReflectionError,
    },
    #[error("a gateway needs an upstream")]
    NoUpstream,
    #[error(transparent)]
    Cors(#[from] InvalidCors),
}

// === impl Error ===

impl Error {
    /// Whether the settings are to blame, and not the state of an upstream.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        !matches!(self.0, Kind::Reflection { .. })
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}

impl From<InvalidCors> for Error {
    fn from(invalid: InvalidCors) -> Self {
        Self(invalid.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = std::error::Error::source(&self.0);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
