//! Everything that ends a run early, with its exit code, causes and hint.

use crate::exit;
use std::error::Error;
use tonic::Status;

/// Why the command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line lacks something or contradicts itself.
    #[error("{0}")]
    Usage(String),
    /// A flag, verb or key that does not exist.
    #[error("{what}")]
    Unknown { what: String, meant: Option<String> },
    /// Settings that cannot work together or name what is not there.
    #[error("{0}")]
    Configuration(String),
    /// The call ended with this status.
    #[error("the call ended with {:?}", .0.status.code())]
    Status(Box<EndedWith>),
    /// It failed before there was a status.
    #[error("{what}")]
    Runtime {
        what: String,
        hint: Option<String>,
        source: Option<Box<dyn Error + Send + Sync>>,
    },
}

/// A status and what is known about it.
#[derive(Debug)]
pub(crate) struct EndedWith {
    pub(crate) status: Status,
    /// Its details as JSON.
    pub(crate) details: Vec<String>,
    pub(crate) hint: Option<String>,
    /// Print it as JSON.
    pub(crate) as_json: bool,
}

// === impl Failure ===

impl Failure {
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::Usage(what.into())
    }

    pub(crate) fn runtime(what: impl Into<String>) -> Self {
        Self::Runtime {
            what: what.into(),
            hint: None,
            source: None,
        }
    }

    /// `doing` failed because of `source`.
    pub(crate) fn because(
        doing: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Runtime {
            what: doing.into(),
            hint: None,
            source: Some(source.into()),
        }
    }

    /// Adds what to do about it, where a failure has room for that.
    #[must_use]
    pub(crate) fn with_hint(mut self, advice: Option<String>) -> Self {
        match &mut self {
            Self::Runtime { hint, .. } => *hint = advice,
            Self::Status(ended) => ended.hint = advice,
            Self::Usage(_) | Self::Unknown { .. } | Self::Configuration(_) => {}
        }
        self
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Unknown { .. } | Self::Configuration(_) => exit::CONFIGURATION,
            Self::Status(ended) => exit::of_status(ended.status.code()),
            Self::Runtime { .. } => exit::RUNTIME,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(EndedWith {
            status,
            details: Vec::new(),
            hint: None,
            as_json: false,
        }))
    }
}

/// An error and its causes, outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The messages of an error and its causes, outermost first, leaving out a cause whose words
/// those above it have said already.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for message in causes(error).map(ToString::to_string) {
        if !message.is_empty() && !messages.iter().any(|said| said.contains(&message)) {
            messages.push(message);
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn a_chain_says_each_thing_once() {
        let error = [
            "connect 127.0.0.1:1: refused",
            "connect 127.0.0.1:1: refused",
            "refused",
        ]
        .into_iter()
        .rev()
        .fold(None, |source, text| Some(Box::new(Layer { text, source })))
        .unwrap();
        assert_eq!(chain(&*error), ["connect 127.0.0.1:1: refused"]);
    }

    #[test]
    fn every_failure_has_the_documented_exit_code() {
        assert_eq!(Failure::usage("x").exit_code(), 2);
        assert_eq!(
            Failure::Unknown {
                what: "x".into(),
                meant: None
            }
            .exit_code(),
            64
        );
        assert_eq!(Failure::from(Status::not_found("x")).exit_code(), 69);
        assert_eq!(Failure::runtime("x").exit_code(), 1);
    }
}
