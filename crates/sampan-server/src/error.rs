//! What goes wrong while a server is set up or runs.

use crate::config::ConfigError;
use sampan_transport::{Address, ListenError};
use std::{error::Error as StdError, fmt, io};

/// Why a server does not run. Prints the whole chain of causes and a hint, also by `Debug`, so
/// that a `main` that returns it is readable.
pub struct Error(Box<Kind>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error(transparent)]
    Config(ConfigError),
    #[error("the server has no address to listen on")]
    NoListener,
    #[error(transparent)]
    Listen(ListenError),
    #[error("cannot take over the listener at {address}")]
    TakeOver { address: Address, source: io::Error },
    #[error(transparent)]
    Tls(crate::BoxError),
    #[error("the descriptor set given to reflection() cannot be read")]
    Descriptors(#[source] crate::BoxError),
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
    #[error("the TLS settings have no identity")]
    NoIdentity,
}

// === impl Error ===

impl Error {
    /// Whether a setting is wrong: an environment key, an address, a certificate, a descriptor.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match &*self.0 {
            Kind::Config(_)
            | Kind::NoListener
            | Kind::NoIdentity
            | Kind::Tls(_)
            | Kind::Descriptors(_) => true,
            Kind::Listen(_) | Kind::TakeOver { .. } | Kind::Signals(_) | Kind::Runtime(_) => false,
        }
    }

    /// What to do about it, if anything is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match &*self.0 {
            Kind::NoListener => Some("call listen(address), or start from Server::from_env()"),
            Kind::Listen(error) => error.hint(),
            Kind::Descriptors(_) => Some("give it the FILE_DESCRIPTOR_SET of the generated code"),
            _ => None,
        }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(f, &*self.0)?;
        match self.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Writes `error` and its causes, each once.
pub(crate) fn write_chain(f: &mut impl fmt::Write, error: &dyn StdError) -> fmt::Result {
    let mut last = error.to_string();
    f.write_str(&last)?;
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !last.contains(&text) {
            write!(f, ": {text}")?;
            last = text;
        }
        next = cause.source();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn causes_are_told_once_each() {
        let root = Link("refused", None);
        let repeated = Link("socket: refused", Some(Box::new(root)));
        let top = Link("cannot connect", Some(Box::new(repeated)));
        let mut text = String::new();
        write_chain(&mut text, &top).unwrap();
        assert_eq!(text, "cannot connect: socket: refused");
    }
}
