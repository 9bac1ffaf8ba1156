//! `methodConfig`: what holds for some methods.

use super::{
    ServiceConfigError,
    json::{Fields, Node},
};
use crate::policy::{CodeSet, HedgePolicy, Repeat, RetryPolicy};
use std::time::Duration;

/// What a service config says about some methods. Source: gRFC A2, A6.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodConfig {
    /// The methods that it is about.
    pub names: Vec<MethodName>,
    /// Whether calls wait while no endpoint can be reached, instead of failing.
    pub wait_for_ready: Option<bool>,
    /// How long a call may take; a call's own earlier deadline holds.
    pub timeout: Option<Duration>,
    /// The longest request message, in bytes.
    pub max_request_bytes: Option<u32>,
    /// The longest response message, in bytes.
    pub max_response_bytes: Option<u32>,
    /// How calls are sent more than once.
    pub repeat: Option<Repeat>,
}

/// A method, all methods of a service, or all methods.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodName {
    /// `pkg.Service`; empty for all.
    pub service: String,
    /// Empty for all of the service.
    pub method: String,
}

// === impl MethodConfig ===

impl MethodConfig {
    pub(super) fn read(node: &Node<'_>) -> Result<Self, ServiceConfigError> {
        let fields = node.object(&[
            "name",
            "waitForReady",
            "timeout",
            "maxRequestMessageBytes",
            "maxResponseMessageBytes",
            "retryPolicy",
            "hedgingPolicy",
        ])?;
        let names = match fields.field("name") {
            None => Vec::new(),
            Some(list) => list
                .list()?
                .iter()
                .map(MethodName::read)
                .collect::<Result<_, _>>()?,
        };
        let retry = fields.optional("retryPolicy", retry)?;
        let hedge = fields.optional("hedgingPolicy", hedge)?;
        let repeat = match (retry, hedge) {
            (Some(_), Some(_)) => {
                let hedging = fields.required("hedgingPolicy", "")?;
                return Err(hedging.wrong("absent where there is a retryPolicy"));
            }
            (Some(retry), None) => Some(Repeat::Retry(retry)),
            (None, Some(hedge)) => Some(Repeat::Hedge(hedge)),
            (None, None) => None,
        };
        let bytes = |name| fields.optional(name, |node| node.unsigned(0..=u32::MAX));
        Ok(Self {
            names,
            wait_for_ready: fields.optional("waitForReady", Node::boolean)?,
            timeout: fields.optional("timeout", Node::duration)?,
            max_request_bytes: bytes("maxRequestMessageBytes")?,
            max_response_bytes: bytes("maxResponseMessageBytes")?,
            repeat,
        })
    }
}

fn retry(node: &Node<'_>) -> Result<RetryPolicy, ServiceConfigError> {
    let fields = node.object(&[
        "maxAttempts",
        "initialBackoff",
        "maxBackoff",
        "backoffMultiplier",
        "retryableStatusCodes",
    ])?;
    let wait = |name| fields.required(name, "a duration")?.positive_duration();
    let codes = fields.required("retryableStatusCodes", "a list of statuses")?;
    let retryable_codes = read_codes(&codes)?;
    if retryable_codes.is_empty() {
        return Err(codes.wrong("a list with at least one status"));
    }
    Ok(RetryPolicy {
        max_attempts: max_attempts(&fields)?,
        retryable_codes,
        initial_backoff: wait("initialBackoff")?,
        max_backoff: wait("maxBackoff")?,
        backoff_multiplier: fields
            .required("backoffMultiplier", "a number")?
            .positive_number()?,
    })
}

fn hedge(node: &Node<'_>) -> Result<HedgePolicy, ServiceConfigError> {
    let fields = node.object(&["maxAttempts", "hedgingDelay", "nonFatalStatusCodes"])?;
    Ok(HedgePolicy {
        max_attempts: max_attempts(&fields)?,
        delay: fields
            .optional("hedgingDelay", Node::duration)?
            .unwrap_or_default(),
        non_fatal_codes: fields
            .optional("nonFatalStatusCodes", read_codes)?
            .unwrap_or_default(),
    })
}

/// More than a client makes is cut to that, without a fault.
fn max_attempts(fields: &Fields<'_>) -> Result<u32, ServiceConfigError> {
    let attempts = fields
        .required("maxAttempts", "a whole number of 2 or more")?
        .integer(2..=u32::MAX)?;
    Ok(attempts.min(RetryPolicy::MAX_ATTEMPTS))
}

fn read_codes(node: &Node<'_>) -> Result<CodeSet, ServiceConfigError> {
    node.list()?.iter().map(Node::code).collect()
}

// === impl MethodName ===

impl MethodName {
    /// `/pkg.Service/Method`; `/pkg.Service/` for all of a service, `/` for all methods.
    #[must_use]
    pub fn path(&self) -> String {
        let Self { service, method } = self;
        match service.as_str() {
            "" => "/".to_owned(),
            service => format!("/{service}/{method}"),
        }
    }

    fn read(node: &Node<'_>) -> Result<Self, ServiceConfigError> {
        let fields = node.object(&["service", "method"])?;
        let text = |name| fields.optional(name, |node| node.text().map(str::to_owned));
        let name = Self {
            service: text("service")?.unwrap_or_default(),
            method: text("method")?.unwrap_or_default(),
        };
        if name.service.is_empty() && !name.method.is_empty() {
            return Err(node.wrong("with a service, or without a method"));
        }
        Ok(name)
    }
}
