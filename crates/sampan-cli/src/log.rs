//! What is logged, on standard error.

use crate::{config::env, failure::Failure};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Logs what the environment asks for, else what `default` says.
pub(crate) fn start(default: &str) -> Result<(), Failure> {
    let wanted = env::log_filter();
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(default)).map_err(|error| {
        let wanted = wanted.as_deref().unwrap_or_default();
        Failure::Configuration(format!("SAMPAN_LOG or RUST_LOG \"{wanted}\": {error}"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && env::variable("NO_COLOR").is_none())
        .with_writer(io::stderr)
        .init();
    Ok(())
}
