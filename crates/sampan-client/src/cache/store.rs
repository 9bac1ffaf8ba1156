//! Where answers are kept, and how many bytes of them.

use super::{entry::Entry, key::Key};
use moka::{Expiry, policy::EvictionPolicy, sync};
use sampan_container::{Grant, Plan};
use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Answers, of one channel or of all that share it.
#[derive(Clone)]
pub(super) struct Store {
    kept: sync::Cache<Key, Stored>,
    max_bytes: u64,
}

#[derive(Clone)]
struct Stored {
    entry: Arc<Entry>,
    weight: u32,
    lifetime: Duration,
    /// Of its channel.
    bytes: Arc<AtomicU64>,
}

struct ByLifetime;

/// Where the container has no limit.
const WITHOUT_A_LIMIT: u64 = 64 << 20;

// === impl Store ===

impl Store {
    pub(super) fn new(max_bytes: u64) -> Self {
        let kept = sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &Key, stored: &Stored| stored.weight)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(ByLifetime)
            .eviction_listener(|_, stored: Stored, _| {
                stored.bytes.fetch_sub(stored.weight.into(), Relaxed);
            })
            .build();
        Self { kept, max_bytes }
    }

    /// That of all channels without one of their own: a fifth of the container's memory.
    pub(super) fn of_the_process() -> &'static Self {
        static STORE: OnceLock<Store> = OnceLock::new();
        STORE.get_or_init(|| {
            let plan = Plan::new(Grant::of_this_process());
            Self::new(plan.cache_bytes.unwrap_or(WITHOUT_A_LIMIT))
        })
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<Entry>> {
        self.kept.get(key).map(|stored| stored.entry)
    }

    /// Keeps it, unless it is too large. `bytes` follows what is kept.
    pub(super) fn keep(
        &self,
        key: Key,
        entry: &Arc<Entry>,
        lifetime: Duration,
        bytes: &Arc<AtomicU64>,
    ) {
        let weight = size_of::<Stored>() + key.len() + entry.weight();
        let fits = |weight: &u32| u64::from(*weight) <= self.max_bytes;
        let Some(weight) = u32::try_from(weight).ok().filter(fits) else {
            return;
        };
        bytes.fetch_add(weight.into(), Relaxed);
        let stored = Stored {
            entry: Arc::clone(entry),
            weight,
            lifetime,
            bytes: Arc::clone(bytes),
        };
        self.kept.insert(key, stored);
        // By itself it would do so later, with far more bytes than it should have.
        self.kept.run_pending_tasks();
    }

    /// What has grown too old no longer counts.
    pub(super) fn tidy(&self) {
        self.kept.run_pending_tasks();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("bytes", &self.kept.weighted_size())
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

// === impl ByLifetime ===

impl Expiry<Key, Stored> for ByLifetime {
    fn expire_after_create(&self, _: &Key, stored: &Stored, _: Instant) -> Option<Duration> {
        Some(stored.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        stored: &Stored,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(stored.lifetime)
    }
}
