//! The only place that reads the environment.

/// What to log, from `SAMPAN_LOG` or `RUST_LOG`: a level or tracing's directives.
pub(crate) fn log_filter() -> Option<String> {
    variable("SAMPAN_LOG").or_else(|| variable("RUST_LOG"))
}

/// One variable; `None` when it is not set, empty or not UTF-8.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
