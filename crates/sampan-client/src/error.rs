//! The error of setting a channel up, and of its endpoints.

use sampan_transport::ConnectError;
use std::{error::Error as StdError, fmt, sync::Arc};

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong, with every cause and a hint. `Display` and `Debug` print the whole chain.
///
/// It is also the source of every status that the channel makes because it reaches no endpoint.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    what: String,
    hint: Option<String>,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Configuration,
    Connect,
}

// === impl Error ===

impl Error {
    pub(crate) fn configuration(what: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, what.into())
    }

    pub(crate) fn connect(what: impl Into<String>) -> Self {
        Self::new(Kind::Connect, what.into())
    }

    fn new(kind: Kind, what: String) -> Self {
        Self(Arc::new(Inner {
            kind,
            what,
            hint: None,
            source: None,
        }))
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        // While it is being made nobody shares it.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.source = Some(source.into());
        }
        self
    }

    pub(crate) fn with_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.hint = hint.map(Into::into);
        }
        self
    }

    /// Whether the reason is that something took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let mut next: Option<&(dyn StdError + 'static)> = Some(self);
        while let Some(error) = next {
            let is_timeout = matches!(error.downcast_ref(), Some(ConnectError::TimedOut(_)))
                || error.is::<tokio::time::error::Elapsed>();
            if is_timeout {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// Whether no endpoint could be reached: a name that does not resolve, a refused connection.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.0.kind == Kind::Connect
    }

    /// Whether a setting is wrong: a target's text, a certificate.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.0.kind == Kind::Configuration
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some(source) = &self.0.source {
            write!(f, ": {}", Chain(source.as_ref()))?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A `main` that returns it prints this.
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Prints an error and its causes, without those that the text so far already says.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

// === impl Chain ===

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut next = self.0.source();
        while let Some(error) = next {
            let cause = error.to_string();
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
            next = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_chain_is_printed_once_with_its_hint() {
        let inner = std::io::Error::other("connection refused");
        let middle = Error::connect("10.0.0.7:1").with_source(inner);
        let outer = Error::connect("no endpoint can be reached")
            .with_source(middle)
            .with_hint(Some("is it listening?"));
        let text = "no endpoint can be reached: 10.0.0.7:1: connection refused (is it listening?)";
        assert_eq!(outer.to_string(), text);
        assert_eq!(format!("{outer:?}"), text);
        assert!(outer.is_connect() && !outer.is_timeout() && !outer.is_configuration());
    }
}
