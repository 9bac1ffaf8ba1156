//! Where answers are kept, and how many bytes of them.

use super::{entry::Entry, key::Key};
use moka::{Expiry, notification::RemovalCause, policy::EvictionPolicy, sync};
use sampan_container::{Grant, Plan};
use sampan_middleware::metrics::client::CacheSeries;
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
    room: Arc<Room>,
}

/// What is kept for one channel.
#[derive(Debug)]
pub(super) struct Room {
    bytes: AtomicU64,
    series: Option<&'static CacheSeries>,
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
            .eviction_listener(|_, stored: Stored, cause| {
                stored.room.shrink(stored.weight, cause);
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

    /// Keeps it, unless it is too large. `room` follows what is kept.
    pub(super) fn keep(&self, key: Key, entry: &Arc<Entry>, lifetime: Duration, room: &Arc<Room>) {
        let weight = size_of::<Stored>() + key.len() + entry.weight();
        let fits = |weight: &u32| u64::from(*weight) <= self.max_bytes;
        let Some(weight) = u32::try_from(weight).ok().filter(fits) else {
            return;
        };
        room.grow(weight);
        let stored = Stored {
            entry: Arc::clone(entry),
            weight,
            lifetime,
            room: Arc::clone(room),
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

// === impl Room ===

impl Room {
    pub(super) const fn new(series: Option<&'static CacheSeries>) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            series,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    fn grow(&self, weight: u32) {
        self.bytes.fetch_add(weight.into(), Relaxed);
        if let Some(series) = self.series {
            series.grow(weight.into());
        }
    }

    fn shrink(&self, weight: u32, cause: RemovalCause) {
        self.bytes.fetch_sub(weight.into(), Relaxed);
        if let Some(series) = self.series {
            series.shrink(weight.into(), cause == RemovalCause::Size);
        }
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
