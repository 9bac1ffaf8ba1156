//! Sheds calls that wait too long before they are worked on, for a server that is asked to.
//!
//! A call waits twice: its connection, for a turn on its thread; and the call itself, for those that
//! came with it on that connection. The first is seen by a task of each runtime that sleeps a
//! little and looks how much later it is woken, the second by the clock.

use sampan_middleware::overload::{Priority, Shedder};
use sampan_transport::clock;
use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    runtime::{Handle, Id},
    time::{Instant, sleep_until},
};
use tonic::Status;

/// What the connections of a server share.
#[derive(Debug)]
pub(crate) struct Shedding {
    shedder: Shedder,
    lags: Mutex<Vec<(Id, Weak<Lag>)>>,
}

/// A connection's part in it.
#[derive(Clone, Debug)]
pub(crate) struct Shed {
    shedding: Arc<Shedding>,
    /// Of the runtime that the connection is on. None before its first call.
    lag: Option<Arc<Lag>>,
}

/// How late tasks of a runtime are woken, in nanoseconds.
#[derive(Debug, Default)]
struct Lag(AtomicU64);

/// Between two looks.
const EVERY: Duration = Duration::from_millis(10);

/// Shed last: who asks whether a server is well must hear it from the server.
const HEALTH: &str = "/grpc.health.v1.Health/";

// === impl Shedding ===

impl Shedding {
    pub(crate) fn new(shedder: Shedder) -> Self {
        Self {
            shedder,
            lags: Mutex::default(),
        }
    }

    fn lag_here(&self) -> Arc<Lag> {
        let runtime = Handle::current();
        let id = runtime.id();
        // No code that can panic runs under it.
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.retain(|(_, lag)| lag.strong_count() > 0);
        let here = lags.iter().find(|(other, _)| *other == id);
        if let Some(lag) = here.and_then(|(_, lag)| lag.upgrade()) {
            return lag;
        }
        let lag = Arc::<Lag>::default();
        lags.push((id, Arc::downgrade(&lag)));
        drop(lags);
        runtime.spawn(Lag::watch(Arc::downgrade(&lag)));
        lag
    }
}

// === impl Shed ===

impl Shed {
    pub(crate) const fn new(shedding: Arc<Shedding>) -> Self {
        Self {
            shedding,
            lag: None,
        }
    }

    /// Whether work on a call begins, which must end by `deadline`.
    ///
    /// # Errors
    ///
    /// When it is shed.
    pub(crate) fn admit(&mut self, path: &str, deadline: Option<Instant>) -> Result<(), Status> {
        let shedding = &self.shedding;
        let lag = self.lag.get_or_insert_with(|| shedding.lag_here());
        let now = Instant::now();
        let in_turn = clock::taken_in().map_or(Duration::ZERO, |began| now - began);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let priority = if path.starts_with(HEALTH) {
            Priority::HIGHEST
        } else {
            Priority::DEFAULT
        };
        let waited = in_turn + lag.latest();
        shedding.shedder.admit(now, priority, waited, left)
    }
}

// === impl Lag ===

impl Lag {
    fn latest(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }

    /// Looks while anybody wants to know.
    async fn watch(lag: Weak<Self>) {
        loop {
            let due = Instant::now() + EVERY;
            sleep_until(due).await;
            let late = due.elapsed();
            let Some(lag) = lag.upgrade() else {
                return;
            };
            let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
            lag.0.store(nanos, Relaxed);
        }
    }
}
