//! The service config that a channel's resolver tells of, and that may change.

use super::PolicyTable;
use crate::retry::{Throttle, ThrottleSettings};
use arc_swap::ArcSwapOption;
use sampan_wire::{policy::CallPolicy, service_config::ServiceConfig};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What holds for calls by the service config that was told last, or by the builder's while none
/// was.
pub(crate) struct ToldConfig {
    channel: CallPolicy,
    /// Of the builder.
    given: Arc<ServiceConfig>,
    /// None: the builder says it.
    throttle: Option<Arc<Throttle>>,
    table: ArcSwapOption<PolicyTable>,
    told: Mutex<Option<Arc<ServiceConfig>>>,
    /// Whether the resolver has answered, so that the first calls do not miss what it says.
    is_known: AtomicBool,
}

// === impl ToldConfig ===

impl ToldConfig {
    pub(crate) fn new(
        channel: CallPolicy,
        given: ServiceConfig,
        throttle: Option<Arc<Throttle>>,
    ) -> Self {
        Self {
            table: ArcSwapOption::new(PolicyTable::new(channel, given.clone()).map(Arc::new)),
            channel,
            given: Arc::new(given),
            throttle,
            told: Mutex::new(None),
            is_known: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    pub(crate) fn table(&self) -> Option<Arc<PolicyTable>> {
        self.table.load_full()
    }

    /// The resolver has answered; gives the config that holds from now on if it is another.
    pub(crate) fn tell(&self, config: Option<Arc<ServiceConfig>>) -> Option<Arc<ServiceConfig>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = *told == config;
        told.clone_from(&config);
        drop(told);
        if is_same {
            self.is_known.store(true, Ordering::Release);
            return None;
        }
        let config = config.unwrap_or_else(|| Arc::clone(&self.given));
        let table = PolicyTable::new(self.channel, ServiceConfig::clone(&config));
        self.table.store(table.map(Arc::new));
        if let Some(throttle) = &self.throttle {
            let settings = config.retry_throttling().map(ThrottleSettings::from);
            throttle.follow(settings.unwrap_or_default());
        }
        self.is_known.store(true, Ordering::Release);
        Some(config)
    }

    /// The resolver has failed: nobody waits for what it says any longer.
    pub(crate) fn give_up(&self) {
        self.is_known.store(true, Ordering::Release);
    }
}

impl fmt::Debug for ToldConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToldConfig")
            .field("is_known", &self.is_known)
            .finish_non_exhaustive()
    }
}
