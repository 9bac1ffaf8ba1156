//! The error of programs that both call and serve.

use std::fmt;

/// What went wrong while a channel or a server was set up or ran. Prints the whole chain of
/// causes and a hint, also by `Debug`, so that a `main` that returns it is readable.
pub struct Error(Kind);

enum Kind {
    #[cfg(feature = "client")]
    Client(sampan_client::Error),
    #[cfg(feature = "server")]
    Server(sampan_server::Error),
    Configuration(Box<dyn std::error::Error + Send + Sync>),
    Other(Box<dyn std::error::Error + Send + Sync>),
}

// === impl Error ===

impl Error {
    /// An error of the program itself, to be told like Sampan's own.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Kind::Other(error.into()))
    }

    /// A setting of the program itself that is wrong: [`crate::run`] answers exit code 64.
    pub fn configuration(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Kind::Configuration(error.into()))
    }

    /// Whether a setting is wrong: a target, an environment key, a file's path.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "client")]
            Kind::Client(error) => error.is_configuration(),
            #[cfg(feature = "server")]
            Kind::Server(error) => error.is_configuration(),
            Kind::Configuration(_) => true,
            Kind::Other(_) => false,
        }
    }

    fn inner(&self) -> &(dyn std::error::Error + 'static) {
        match &self.0 {
            #[cfg(feature = "client")]
            Kind::Client(error) => error,
            #[cfg(feature = "server")]
            Kind::Server(error) => error,
            Kind::Configuration(error) | Kind::Other(error) => error.as_ref(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner().source()
    }
}

#[cfg(feature = "client")]
impl From<sampan_client::Error> for Error {
    fn from(error: sampan_client::Error) -> Self {
        Self(Kind::Client(error))
    }
}

#[cfg(feature = "server")]
impl From<sampan_server::Error> for Error {
    fn from(error: sampan_server::Error) -> Self {
        Self(Kind::Server(error))
    }
}
