//! The service config: what a service's owner tells every client, as JSON.
//!
//! Source: gRFC A2 (fields, names), A6 (retries, hedging), A21 (what makes a config invalid),
//! A24 (the list of balancers) and grpc.service_config.ServiceConfig.

pub mod balance;
mod choice;
mod error;
mod json;
mod method;

pub use balance::BalanceConfig;
pub use choice::{Client, choose};
pub use error::ServiceConfigError;
pub use method::{MethodConfig, MethodName};

use json::{Document, Node};
use std::collections::HashMap;

/// A service config that holds together.
///
/// Fields that nobody knows are ignored; a known one that is wrong makes the whole invalid, so
/// that whoever reads it keeps the one before.
///
/// ```
/// use sampan_wire::service_config::ServiceConfig;
/// let text = r#"{"methodConfig": [{"name": [{"service": "a.B"}], "waitForReady": true}]}"#;
/// let config = ServiceConfig::parse(text)?;
/// let (found, _) = config.method("/a.B/C").unwrap();
/// assert_eq!(found.wait_for_ready, Some(true));
/// # Ok::<(), sampan_wire::service_config::ServiceConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceConfig {
    methods: Vec<MethodConfig>,
    by_path: HashMap<String, ConfigPlace>,
    balance: Option<BalanceConfig>,
    retry_throttling: Option<RetryThrottling>,
    health_check: Option<String>,
    max_connections_per_endpoint: Option<u32>,
    unknown: Vec<String>,
}

/// When retries stop for a while. Source: gRFC A6.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryThrottling {
    /// Tokens at first and at most, 1 to 1000; a failure takes one.
    pub max_tokens: u32,
    /// What a success gives, in thousandths of a token; at least one.
    pub token_ratio_thousandths: u32,
}

/// Which part of a service config holds for a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigPlace {
    /// In the list `methodConfig`.
    pub index: usize,
    /// How it came to be about the method.
    pub names: Named,
}

/// How a service config names a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By itself.
    Method,
    /// With all of its service.
    Service,
    /// With all methods there are.
    All,
}

/// What a client makes at most, whatever a config says (gRFC A105).
const MAX_CONNECTIONS: u32 = 10;

// === impl ServiceConfig ===

impl ServiceConfig {
    /// A longer text is refused, in bytes: 1 MiB.
    pub const MAX_LEN: usize = 1 << 20;

    /// Reads JSON of at most [`MAX_LEN`](Self::MAX_LEN).
    ///
    /// # Errors
    ///
    /// The first known field that is wrong: where it is, what it is, and what would be right.
    pub fn parse(text: &str) -> Result<Self, ServiceConfigError> {
        let document = Document::parse(text)?;
        let config = Self::read(&document.root())?;
        Ok(Self {
            unknown: document.into_unknown(),
            ..config
        })
    }

    fn read(node: &Node<'_>) -> Result<Self, ServiceConfigError> {
        let fields = node.object(&[
            "methodConfig",
            "loadBalancingConfig",
            "loadBalancingPolicy",
            "retryThrottling",
            "healthCheckConfig",
            "connectionScaling",
        ])?;
        let mut config = Self::default();
        if let Some(list) = fields.field("methodConfig") {
            for (index, node) in list.list()?.iter().enumerate() {
                config.add_method(index, node)?;
            }
        }
        let named = fields.optional("loadBalancingPolicy", balance::named)?;
        let listed = fields.optional("loadBalancingConfig", balance::first_known)?;
        config.balance = listed.or(named);
        config.retry_throttling = fields.optional("retryThrottling", RetryThrottling::read)?;
        let health_check = fields.optional("healthCheckConfig", |node| {
            let fields = node.object(&["serviceName"])?;
            fields.optional("serviceName", |node| node.text().map(str::to_owned))
        })?;
        config.health_check = health_check.flatten();
        let scaling = fields.optional("connectionScaling", |node| {
            let fields = node.object(&["maxConnectionsPerSubchannel"])?;
            fields.optional("maxConnectionsPerSubchannel", |node| {
                node.unsigned(1..=u32::MAX)
            })
        })?;
        config.max_connections_per_endpoint =
            scaling.flatten().map(|most| most.min(MAX_CONNECTIONS));
        Ok(config)
    }

    fn add_method(&mut self, index: usize, node: &Node<'_>) -> Result<(), ServiceConfigError> {
        let method = MethodConfig::read(node)?;
        for (at, name) in method.names.iter().enumerate() {
            let names = match (name.service.is_empty(), name.method.is_empty()) {
                (true, _) => Named::All,
                (false, true) => Named::Service,
                (false, false) => Named::Method,
            };
            let place = ConfigPlace { index, names };
            if let Some(before) = self.by_path.insert(name.path(), place) {
                let named = node.object(&["name"])?.required("name", "a list")?.list()?;
                let wanted = format!("there once; methodConfig[{}] has it too", before.index);
                return Err(named[at].wrong(wanted));
            }
        }
        self.methods.push(method);
        Ok(())
    }

    /// What holds for the method at `/pkg.Service/Method`: what names it by itself, else its
    /// service, else all.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<(&MethodConfig, ConfigPlace)> {
        let service = path.rfind('/').map(|at| &path[..=at]);
        let place = [Some(path), service, Some("/")]
            .into_iter()
            .flatten()
            .find_map(|key| self.by_path.get(key))?;
        Some((self.methods.get(place.index)?, *place))
    }

    /// What it says about methods, in its order.
    #[must_use]
    pub fn methods(&self) -> &[MethodConfig] {
        &self.methods
    }

    /// How endpoints are chosen.
    #[must_use]
    pub const fn balance(&self) -> Option<&BalanceConfig> {
        self.balance.as_ref()
    }

    /// When retries stop for a while.
    #[must_use]
    pub const fn retry_throttling(&self) -> Option<RetryThrottling> {
        self.retry_throttling
    }

    /// The service whose health is watched on each connection (gRFC A17); empty for the server
    /// as a whole.
    #[must_use]
    pub fn health_check(&self) -> Option<&str> {
        self.health_check.as_deref()
    }

    /// How many connections an endpoint may have, 1 to 10 (gRFC A105).
    #[must_use]
    pub const fn max_connections_per_endpoint(&self) -> Option<u32> {
        self.max_connections_per_endpoint
    }

    /// The fields that were ignored, because nobody knows them; with what was probably meant.
    #[must_use]
    pub fn unknown_fields(&self) -> &[String] {
        &self.unknown
    }
}

// === impl RetryThrottling ===

impl RetryThrottling {
    fn read(node: &Node<'_>) -> Result<Self, ServiceConfigError> {
        let fields = node.object(&["maxTokens", "tokenRatio"])?;
        let ratio = fields.required("tokenRatio", "a number of more than 0")?;
        // 1.001 × 1000 is a little less than 1001.
        let thousandths = (ratio.positive_number()? * 1000.0 + 1e-6).min(1_000_000.0);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a million; decimals beyond the third are ignored (A6)"
        )]
        let token_ratio_thousandths = thousandths as u32;
        if token_ratio_thousandths == 0 {
            return Err(ratio.wrong("0.001 or more"));
        }
        Ok(Self {
            max_tokens: fields
                .required("maxTokens", "a whole number from 1 to 1000")?
                .integer(1..=1000)?,
            token_ratio_thousandths,
        })
    }
}

#[cfg(test)]
mod tests;
