//! What a channel counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The calls of a channel, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls that began; those that the cache answered are not among them.
    pub calls: u64,
    /// Calls that ended with another status than OK, those that the caller gave up included.
    pub failed_calls: u64,
    /// Attempts beyond the first of their call, made by a retry policy.
    pub retries: u64,
    /// Attempts beyond the first of their call, made without waiting for a failure.
    pub hedges: u64,
    /// Calls that were answered with what was kept, stale or not.
    pub cache_hits: u64,
    /// Calls whose answer could have been kept, and was not there or too old.
    pub cache_misses: u64,
    /// What is kept for this channel, in bytes.
    pub cache_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) failed_calls: AtomicU64,
    pub(crate) succeeded_calls: AtomicU64,
    /// Nanoseconds after the channel was made; 0 before the first.
    pub(crate) last_started: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) hedges: AtomicU64,
}

// === impl Counters ===

impl Counters {
    pub(crate) fn snapshot(&self) -> Counts {
        Counts {
            calls: self.calls.load(Relaxed),
            failed_calls: self.failed_calls.load(Relaxed),
            retries: self.retries.load(Relaxed),
            hedges: self.hedges.load(Relaxed),
            ..Counts::default()
        }
    }
}
