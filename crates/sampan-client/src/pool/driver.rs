//! The task that resolves: when calls begin, every few seconds while they go on, when a
//! connection is lost, and not while nobody uses the channel.

use super::{Pool, Source, State, shard::Shard};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    chance::Dice,
    resolve::Why,
};
use rand::Rng;
use std::{
    mem,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// Between two lookups, give or take a tenth, so that many clients do not ask at once.
const POLL: Duration = Duration::from_secs(5);
const POLL_JITTER: f64 = 0.1;
/// Between two lookups when connections are lost.
const FLOOR: Duration = Duration::from_secs(1);
/// However long an answer is said to hold.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Between lookups that fail, while there are endpoints from before.
const AFTER_FAILURES: BackoffPolicy = BackoffPolicy {
    initial: FLOOR,
    multiplier: 1.6,
    max: POLL,
    jitter: POLL_JITTER,
};

pub(super) struct Driver {
    pool: Arc<Pool>,
    source: Source,
    failures: Backoff,
    why: Why,
    ticked: Instant,
    /// Calls that had waited at the last look.
    seen_waits: u64,
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(pool: Arc<Pool>, source: Source) -> Self {
        Self {
            pool,
            source,
            failures: Backoff::new(AFTER_FAILURES),
            why: Why::Time,
            ticked: Instant::now(),
            seen_waits: 0,
        }
    }

    pub(super) async fn run(mut self) {
        if let Some(at) = self.source.not_before.take() {
            sleep_until(at).await;
        }
        loop {
            let pause = self.resolve().await;
            if !self.wait(pause).await {
                self.rest().await;
            }
        }
    }

    /// Looks everything up and tells the pool; gives the time until the next lookup.
    async fn resolve(&mut self) -> Duration {
        let why = mem::replace(&mut self.why, Why::Time);
        let resolution = self.source.resolve(why).await;
        let pool = &self.pool;
        match &resolution.failure {
            None => pool.hear_config(resolution.service_config),
            // What was told before holds.
            Some(_) => {
                if let Some(told) = pool.told.get() {
                    told.give_up();
                }
            }
        }
        let now = Instant::now();
        let pause = if resolution.failure.is_none() {
            self.failures.reset();
            jittered(resolution.valid_for.unwrap_or(POLL).clamp(FLOOR, LONGEST))
        } else if resolution.found.is_empty() || resolution.is_partial {
            // Somebody may wait for it.
            FLOOR
        } else {
            self.failures.failed(&mut Dice)
        };
        let is_any_known = resolution.failure.is_none() || !resolution.found.is_empty();
        if let Some(error) = &resolution.failure {
            tracing::debug!(error = error as &dyn std::error::Error, "lookup failed");
            pool.history.warn(format!("the lookup failed: {error}"));
        }
        pool.update(|state| {
            let State {
                endpoints, shards, ..
            } = state;
            if is_any_known {
                let keeper = pool.keeper.load();
                let change = endpoints.replace(resolution.found, &keeper, &pool.settings, now);
                if let Some(change) = change {
                    pool.history.note(change);
                }
                for shard in &mut *shards {
                    shard.follow(pool, endpoints);
                }
                let failing = endpoints.failing(shards);
                state.remove(&failing, pool);
            }
            if let Some(error) = resolution.failure {
                state.endpoints.unresolved(error);
            }
        });
        pool.looked.send_replace(());
        pause
    }

    /// Waits for a reason to look again; gives whether the channel is in use.
    async fn wait(&mut self, pause: Duration) -> bool {
        let resolved = Instant::now();
        let mut at = resolved + pause;
        let idle = self.pool.settings.idle_timeout.unwrap_or(POLL).min(POLL);
        let mut look = resolved + idle;
        let mut was_used = false;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(at) => return self.is_used() || was_used,
                () = sleep_until(look), if look < at => {
                    if !self.is_used() {
                        return false;
                    }
                    was_used = true;
                    look += idle;
                }
                () = self.source.changed() => return true,
                () = self.pool.lost.notified() => {
                    self.why = Why::Loss;
                    at = at.min(resolved + FLOOR);
                }
                () = sleep_until(self.ticked + self.pool.keeper.load().pause()) => {
                    self.ticked = Instant::now();
                    self.pool.tick(self.ticked);
                }
            }
        }
    }

    /// Waits until somebody uses the channel again; closes its connections when that takes long.
    async fn rest(&mut self) {
        let pool = Arc::clone(&self.pool);
        let mut in_use = pool.in_use.subscribe();
        pool.in_use.send_replace(false);
        pool.update(|state| {
            state.endpoints.rest();
            state.shards.iter_mut().for_each(Shard::rest);
        });
        pool.is_asleep.store(true, Ordering::SeqCst);
        pool.update(|_| ());
        // A call may have come between the last look and the flag.
        if self.is_used() {
            pool.wake();
        }
        let idle = sleep(pool.settings.idle_timeout.unwrap_or_default());
        tokio::pin!(idle);
        let mut is_idle = pool.settings.idle_timeout.is_none();
        loop {
            tokio::select! {
                biased;
                _ = in_use.wait_for(|in_use| *in_use) => return,
                // Whoever comes next resolves anyway.
                () = self.source.moved() => {}
                () = &mut idle, if !is_idle => {
                    is_idle = true;
                    pool.update(State::clear);
                }
            }
        }
    }

    /// Whether there were calls since the last look, or are some now. Runtimes that make none
    /// for long lose their connections.
    fn is_used(&mut self) -> bool {
        let waits = self.pool.waits.load(Ordering::SeqCst);
        let mut is_used = mem::replace(&mut self.seen_waits, waits) != waits;
        let now = Instant::now();
        let mut state = self.pool.lock();
        for shard in &mut state.shards {
            is_used |= shard.was_used(now);
        }
        let limit = self.pool.settings.idle_timeout;
        let is_idle = |shard: &Shard| limit.is_some_and(|limit| shard.unused_for(now) >= limit);
        let are_idle = state.shards.iter().any(is_idle);
        is_used |= state.endpoints.calls_in_flight();
        drop(state);
        if is_used && are_idle {
            self.pool.update(|state| state.end_shards(is_idle));
        }
        is_used
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let mut source = mem::replace(&mut self.source, Source::constant(Vec::new()));
        // The next driver would come to the same end, and calls that wait start it at once.
        if std::thread::panicking() {
            source.not_before = Some(Instant::now() + FLOOR);
        }
        self.pool.driver_ended(source);
    }
}

fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(Dice.random_range(1.0 - POLL_JITTER..=1.0 + POLL_JITTER))
}
