//! One watch for all channels of the process that dial the same service.

use super::{
    failure::WatchFailure,
    name::Service,
    slices::Slices,
    watch::{BEAT, follow},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// Bounds the wait for the first answer.
const LIMIT: Duration = Duration::from_secs(6);

/// What is known of a service.
#[derive(Debug)]
pub(super) struct Shared {
    service: Service,
    teller: Teller,
    /// Runs on the runtime of a channel; when that ends, or stands still, on another's.
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Where the task says what it finds.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    told: Arc<watch::Sender<Told>>,
    beat: Arc<Mutex<Instant>>,
}

/// What the task found.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Counts what was told.
    pub(super) number: u64,
    /// None: nothing is known yet.
    pub(super) slices: Option<Arc<Slices>>,
    /// Why nothing new is known. What was known before holds.
    pub(super) failure: Option<WatchFailure>,
}

/// A task's life.
struct Ending(Teller);

type Services = HashMap<Service, Weak<Shared>>;

static ALL: Mutex<Option<Services>> = Mutex::new(None);

// === impl Shared ===

impl Shared {
    /// The one of the process.
    pub(super) fn of(service: Service) -> Arc<Self> {
        let mut all = lock(&ALL);
        let all = all.get_or_insert_with(Services::new);
        if let Some(shared) = all.get(&service).and_then(Weak::upgrade) {
            return shared;
        }
        all.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Self {
            service: service.clone(),
            teller: Teller {
                told: Arc::default(),
                beat: Arc::new(Mutex::new(Instant::now())),
            },
            task: Mutex::new(None),
        });
        all.insert(service, Arc::downgrade(&shared));
        shared
    }

    pub(super) const fn service(&self) -> &Service {
        &self.service
    }

    /// What is known; waits for it when that is nothing yet.
    pub(super) async fn told(&self) -> Told {
        self.watch();
        let mut told = self.teller.told.subscribe();
        let is_any = |told: &Told| told.slices.is_some() || told.failure.is_some();
        if let Ok(Ok(told)) = timeout(LIMIT, told.wait_for(is_any)).await {
            return told.clone();
        }
        let mut told = told.borrow().clone();
        told.failure = Some(WatchFailure::silence("of the cluster", LIMIT));
        told
    }

    /// Completes when something else is known than what had this number.
    pub(super) async fn changed(&self, number: u64) {
        let mut told = self.teller.told.subscribe();
        // Its sender is here.
        let _ = told.wait_for(|told| told.number != number).await;
    }

    /// Sees to it that the service is watched.
    fn watch(&self) {
        let mut task = lock(&self.task);
        if let Some(task) = &*task {
            let is_beating = lock(&self.teller.beat).elapsed() < BEAT * 3;
            if !task.is_finished() && is_beating {
                return;
            }
            task.abort();
        }
        self.teller.beat();
        let (service, teller) = (self.service.clone(), self.teller.clone());
        let ending = Ending(teller.clone());
        *task = Some(tokio::spawn(async move {
            let _ending = ending;
            follow(service, teller).await;
        }));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Drop for Ending {
    /// Channels of other runtimes look, and watch on.
    fn drop(&mut self) {
        self.0.told.send_modify(|told| told.number += 1);
    }
}

// === impl Teller ===

impl Teller {
    pub(super) fn tell(&self, slices: &Slices) {
        self.told.send_if_modified(|told| {
            let is_other = told.slices.as_deref() != Some(slices);
            if !is_other && told.failure.is_none() {
                return false;
            }
            if is_other {
                told.slices = Some(Arc::new(slices.clone()));
            }
            told.failure = None;
            told.number += 1;
            true
        });
    }

    pub(super) fn fail(&self, failure: WatchFailure) {
        if self.told.borrow().failure.as_ref() == Some(&failure) {
            return;
        }
        tracing::warn!(target: "sampan", "{failure}");
        self.told.send_modify(|told| {
            told.failure = Some(failure);
            // Who has endpoints has nothing to look at.
            if told.slices.is_none() {
                told.number += 1;
            }
        });
    }

    /// The task runs.
    pub(super) fn beat(&self) {
        *lock(&self.beat) = Instant::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
