//! What the caches of a target's channels did.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts of the answers that are kept.
#[derive(Debug, Default)]
pub struct CacheSeries {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) evictions: AtomicU64,
    grown: AtomicU64,
    shrunk: AtomicU64,
}

// === impl CacheSeries ===

impl CacheSeries {
    /// A call was answered with what is kept, stale or not.
    pub fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    /// What a call asked for was not there, or too old.
    pub fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }

    /// So many bytes more are kept.
    pub fn grow(&self, bytes: u64) {
        self.grown.fetch_add(bytes, Relaxed);
    }

    /// So many bytes are kept no more: because there was no room, or for another reason.
    pub fn shrink(&self, bytes: u64, for_room: bool) {
        self.shrunk.fetch_add(bytes, Relaxed);
        if for_room {
            self.evictions.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn is_used(&self) -> bool {
        self.hits.load(Relaxed) + self.misses.load(Relaxed) > 0
    }

    pub(super) fn bytes(&self) -> u64 {
        // First what is gone: none of it can be missing from what came.
        let shrunk = self.shrunk.load(Relaxed);
        self.grown.load(Relaxed).saturating_sub(shrunk)
    }
}
