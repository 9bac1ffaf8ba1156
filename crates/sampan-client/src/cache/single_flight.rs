//! One fetch for all calls that wait for the same answer.

use super::{
    age::lifetime,
    entry::Entry,
    key::Key,
    store::{Room, Store},
};
use crate::channel::Shared as Channel;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use sampan_middleware::metrics::client::CacheSeries;
use sampan_wire::policy::CachePolicy;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tonic::Status;

/// The cache of one channel.
#[derive(Debug)]
pub(crate) struct Cache {
    /// Two channels to one target may be two users: they share no answers.
    id: u64,
    max_bytes: Option<u64>,
    store: OnceLock<Store>,
    hits: AtomicU64,
    misses: AtomicU64,
    room: Arc<Room>,
    series: Option<&'static CacheSeries>,
    fetches: Fetches,
}

/// What a cache has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheCounts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) bytes: u64,
}

/// An answer that is on its way, polled by those who wait for it. When the last of them leaves,
/// the call is cancelled.
pub(super) type Fetch = Shared<BoxFuture<'static, End>>;

type End = Result<Arc<Entry>, Status>;

#[derive(Default)]
struct Fetches(Mutex<HashMap<Key, Begun>>);

struct Begun {
    number: u64,
    fetch: WeakShared<BoxFuture<'static, End>>,
}

/// A fetch's place among those under way.
pub(super) struct Guard {
    channel: Arc<Channel>,
    policy: &'static CachePolicy,
    key: Key,
    number: u64,
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

// === impl Cache ===

impl Cache {
    /// With room for `max_bytes`, or with a share in the process's. None: there is to be none.
    pub(crate) fn new(
        max_bytes: Option<u64>,
        series: Option<&'static CacheSeries>,
    ) -> Option<Self> {
        (max_bytes != Some(0)).then(|| Self {
            id: NUMBERS.fetch_add(1, Relaxed),
            max_bytes,
            store: OnceLock::new(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            room: Arc::new(Room::new(series)),
            series,
            fetches: Fetches::default(),
        })
    }

    pub(crate) fn counts(&self) -> CacheCounts {
        if let Some(store) = self.store.get() {
            store.tidy();
        }
        CacheCounts {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            bytes: self.room.bytes(),
        }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Relaxed);
        if let Some(series) = self.series {
            series.hit();
        }
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
        if let Some(series) = self.series {
            series.miss();
        }
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<Entry>> {
        self.store().find(key)
    }

    /// Made when the first answer could be kept: most channels have none.
    fn store(&self) -> &Store {
        self.store.get_or_init(|| match self.max_bytes {
            Some(max) => Store::new(max),
            None => Store::of_the_process().clone(),
        })
    }

    /// The fetch of this answer that is under way, or one that `begin` begins; then it is true.
    pub(super) fn join<F>(
        &self,
        channel: &Arc<Channel>,
        policy: &'static CachePolicy,
        key: &Key,
        begin: impl FnOnce(Guard) -> F,
    ) -> (Fetch, bool)
    where
        F: Future<Output = End> + Send + 'static,
    {
        let number = NUMBERS.fetch_add(1, Relaxed);
        // A fetch that is dropped looks for itself here: none is dropped under the lock.
        let mut fetches = self.fetches.lock();
        if let Some(fetch) = fetches.get(key).and_then(|begun| begun.fetch.upgrade()) {
            return (fetch, false);
        }
        let guard = Guard {
            channel: Arc::clone(channel),
            policy,
            key: key.clone(),
            number,
        };
        let fetch = begin(guard).boxed().shared();
        if let Some(weak) = fetch.downgrade() {
            let begun = Begun {
                number,
                fetch: weak,
            };
            fetches.insert(key.clone(), begun);
        }
        (fetch, true)
    }
}

// === impl Fetches ===

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Begun>> {
        // No code that can panic runs under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fetches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetches").finish_non_exhaustive()
    }
}

// === impl Guard ===

impl Guard {
    /// Keeps the answer for later calls, if that may be.
    pub(super) fn keep(&self, entry: &Arc<Entry>) {
        if let (Some(cache), true) = (&self.channel.stack().cache, entry.may_be_kept()) {
            let lifetime = lifetime(self.policy);
            let key = self.key.clone();
            cache.store().keep(key, entry, lifetime, &cache.room);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(cache) = &self.channel.stack().cache else {
            return;
        };
        let mut fetches = cache.fetches.lock();
        // Another one may have begun when nobody waited for this one any more.
        if fetches
            .get(&self.key)
            .is_some_and(|begun| begun.number == self.number)
        {
            let gone = fetches.remove(&self.key);
            drop(fetches);
            drop(gone);
        }
    }
}
