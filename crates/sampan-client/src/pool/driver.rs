//! The task that resolves: when calls begin, every few seconds while they go on, when a
//! connection is lost, and not while nobody uses the channel.

use super::{Pool, Source, State, shard::Shard};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    resolve::{Resolve, ResolveError},
    site::Site,
};
use futures_util::future::join_all;
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
/// An unused channel closes its connections after this.
const IDLE: Duration = Duration::from_secs(300);

pub(super) struct Driver {
    pool: Arc<Pool>,
    source: Source,
    failures: Backoff,
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
            failures: Backoff::new(BackoffPolicy::IN_CLUSTER),
            ticked: Instant::now(),
            seen_waits: 0,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let pause = self.resolve().await;
            if !self.wait(pause).await {
                self.rest().await;
            }
        }
    }

    /// Looks everything up and tells the pool; gives the time until the next lookup.
    async fn resolve(&mut self) -> Duration {
        let resolvers = self.source.resolvers();
        let answers = join_all(resolvers.iter().map(Resolve::resolve)).await;
        let is_first = self.pool.lock().endpoints.list().is_empty();
        match settle(answers, is_first) {
            Ok(sites) => {
                self.failures.reset();
                let now = Instant::now();
                let pool = &self.pool;
                pool.update(|state| {
                    state.endpoints.replace(sites, &pool.keeper, now);
                    for shard in &mut state.shards {
                        shard.follow(pool, &state.endpoints);
                    }
                });
                jittered(POLL)
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "lookup failed");
                self.pool.update(|state| state.endpoints.unresolved(error));
                let wait = self.failures.failed(&mut rand::rng());
                if is_first { wait } else { wait.max(FLOOR) }
            }
        }
    }

    /// Waits for a reason to look again; gives whether the channel is in use.
    async fn wait(&mut self, pause: Duration) -> bool {
        let resolved = Instant::now();
        let mut at = resolved + pause;
        loop {
            tokio::select! {
                () = sleep_until(at) => return self.is_used(),
                () = self.source.changed() => return true,
                () = self.pool.lost.notified() => at = at.min(resolved + FLOOR),
                () = sleep_until(self.ticked + self.pool.keeper.pause()) => {
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
        // A call may have come between the last look and the flag.
        if self.is_used() {
            pool.wake();
        }
        let idle = sleep(IDLE);
        tokio::pin!(idle);
        let mut is_idle = false;
        loop {
            tokio::select! {
                _ = in_use.wait_for(|in_use| *in_use) => return,
                // Whoever comes next resolves anyway.
                () = self.source.changed() => {}
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
        let is_idle = |shard: &Shard| shard.unused_for(now) >= IDLE;
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
        let source = mem::replace(&mut self.source, Source::Constant(Vec::new()));
        self.pool.driver_ended(source);
    }
}

/// One set of sites from the answers for all places; an error when there is none to use.
fn settle(
    answers: Vec<Result<Vec<Site>, ResolveError>>,
    is_first: bool,
) -> Result<Vec<Site>, ResolveError> {
    let mut sites: Vec<Site> = Vec::new();
    let mut failure = None;
    for answer in answers {
        match answer {
            Ok(found) => {
                for site in found {
                    if !sites.contains(&site) {
                        sites.push(site);
                    }
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        // A place that nobody could look up may still have the endpoints that it had: until all
        // answers are there, only a first set is taken in part.
        Some(error) if sites.is_empty() || !is_first => Err(error),
        _ => Ok(sites),
    }
}

fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(1.0 - POLL_JITTER..=1.0 + POLL_JITTER))
}
