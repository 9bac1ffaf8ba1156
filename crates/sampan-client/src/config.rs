//! The settings of a channel, checked.

pub(crate) mod env;

use crate::{
    Error, around::Around, credentials::Credentials, error::BoxError, gate::GateSettings,
    policy::RetryBudgetSettings, retry::ThrottleSettings,
};
use sampan_wire::{
    compression::Compression,
    policy::{CallPolicy, Method},
    service_config::ServiceConfig,
};
use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where a service config stands.
#[derive(Debug)]
pub(crate) enum ConfigSource {
    Text(String),
    File(PathBuf),
}

/// What holds for the calls of a channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallSettings {
    pub(crate) methods: HashMap<&'static str, &'static Method>,
    /// Bounds every call.
    pub(crate) deadline: Option<Duration>,
    /// Bounds the wait for a response's head, and all of a unary call.
    pub(crate) response_timeout: Option<Duration>,
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) max_concurrent_calls: Option<usize>,
    pub(crate) throttle: Option<ThrottleSettings>,
    pub(crate) retry_budget: RetryBudgetSettings,
    /// None: a share in the process's.
    pub(crate) cache_bytes: Option<u64>,
    pub(crate) gate: GateSettings,
    /// Of all calls.
    pub(crate) policy: CallPolicy,
    pub(crate) compression: Option<Compression>,
    pub(crate) credentials: Option<Credentials>,
    /// What calls are for, as credentials see it.
    pub(crate) authority: Option<String>,
    /// The target as gRPC's metrics name it. None: by the channel's name.
    pub(crate) canonical: Option<String>,
    /// Whether plaintext gets credentials too.
    pub(crate) bares_credentials: bool,
    pub(crate) service_config: ServiceConfig,
    /// Whether nothing is counted by method.
    pub(crate) is_unmeasured: bool,
    /// The resolver may tell of another service config.
    pub(crate) follows_resolver: bool,
    /// What the program puts around them.
    pub(crate) around: Around,
}

// === impl ConfigSource ===

impl ConfigSource {
    /// # Errors
    ///
    /// When the file cannot be read, or what is there is no service config.
    pub(crate) fn read(&self) -> Result<ServiceConfig, Error> {
        let what = match self {
            Self::Text(_) => "cannot use the service config".to_owned(),
            Self::File(path) => format!("cannot use the service config \"{}\"", path.display()),
        };
        let wrong = |source: BoxError| Error::configuration(what).with_source(source);
        let read;
        let text = match self {
            Self::Text(text) => text,
            Self::File(path) => match read_file(path) {
                Ok(text) => {
                    read = text;
                    &read
                }
                Err(error) => return Err(wrong(error.into())),
            },
        };
        ServiceConfig::parse(text).map_err(|error| wrong(error.into()))
    }
}

/// No more than a service config may have, and a byte.
fn read_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(ServiceConfig::MAX_LEN).unwrap_or(u64::MAX);
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    Ok(text)
}
