//! The only place of the shop that reads the environment.

use super::Environment;

/// What this process was started with.
pub(super) fn of_process() -> Environment {
    Environment::from_pairs(std::env::vars_os().filter_map(|(key, value)| {
        // A key that is not text cannot be one of ours; a value that is not text is named by
        // whoever parses it.
        Some((
            key.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    }))
}
