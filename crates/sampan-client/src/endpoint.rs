//! What a channel knows of one endpoint.

use crate::{latency::LatencyWindow, site::Site, subchannel::ConnectivityState, timers::Timers};
use sampan_middleware::Ended;
use sampan_transport::Connection;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;
use tonic::Code;

/// One endpoint through all its connections: counts are for calls, so none of it is locked.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) site: Site,
    label: String,
    born: Instant,
    began: AtomicU64,
    /// Of those that began.
    ended: AtomicU64,
    /// Of those that ended: they never left.
    unsent: AtomicU64,
    failed_attempts: AtomicU64,
    latency: LatencyWindow,
}

/// A connection to an endpoint that takes calls.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) connection: Connection,
    /// Of the runtime that the connection lives on.
    pub(crate) timers: Arc<Timers>,
    has_answered: AtomicBool,
    is_used: AtomicBool,
}

/// What a channel knows of one endpoint, at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// Where it is: `10.0.0.7:50051`, `unix:/run/orders.sock`.
    pub address: String,
    /// Its connection.
    pub state: ConnectivityState,
    /// Calls sent to it that have not ended.
    pub in_flight: u32,
    /// Attempts sent to it so far.
    pub attempts: u64,
    /// Those that failed by the endpoint's fault (UNKNOWN, DEADLINE_EXCEEDED, INTERNAL,
    /// UNAVAILABLE, DATA_LOSS).
    pub failed_attempts: u64,
    /// Half of the attempts of the last 5 to 10 seconds took less. None without attempts.
    pub p50: Option<Duration>,
    /// 99 % of the attempts of the last 5 to 10 seconds took less. None without attempts.
    pub p99: Option<Duration>,
}

/// One attempt's claim on an endpoint, from the pick to the attempt's end.
#[derive(Debug)]
pub(crate) struct Ticket {
    live: Arc<Live>,
    started: Instant,
    deadline: Option<Instant>,
    has_ended: bool,
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(site: Site, now: Instant) -> Self {
        Self {
            label: site.address.to_string(),
            site,
            born: now,
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            failed_attempts: AtomicU64::new(0),
            latency: LatencyWindow::new(),
        }
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn in_flight(&self) -> u32 {
        // In this order: never fewer than there are.
        let ended = self.ended.load(Relaxed);
        let open = self.began.load(Relaxed).saturating_sub(ended);
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    pub(crate) fn snapshot(&self, state: ConnectivityState, now: Instant) -> EndpointSnapshot {
        let quantiles = self.latency.quantiles(now - self.born, [0.5, 0.99]);
        EndpointSnapshot {
            address: self.label.clone(),
            state,
            in_flight: self.in_flight(),
            attempts: self.began.load(Relaxed) - self.unsent.load(Relaxed),
            failed_attempts: self.failed_attempts.load(Relaxed),
            p50: quantiles.map(|[p50, _]| p50),
            p99: quantiles.map(|[_, p99]| p99),
        }
    }
}

// === impl Live ===

impl Live {
    pub(crate) const fn new(
        endpoint: Arc<Endpoint>,
        connection: Connection,
        timers: Arc<Timers>,
    ) -> Self {
        Self {
            endpoint,
            connection,
            timers,
            has_answered: AtomicBool::new(false),
            is_used: AtomicBool::new(true),
        }
    }

    /// Whether any call got a response on this connection.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered.load(Relaxed)
    }

    pub(crate) fn answers(&self) {
        raise(&self.has_answered);
    }

    /// Whether calls began on it since this was asked last.
    pub(crate) fn was_used(&self) -> bool {
        self.is_used.swap(false, Relaxed)
    }
}

/// Written once, so that the line stays shared among cores.
pub(crate) fn raise(flag: &AtomicBool) {
    if !flag.load(Relaxed) {
        flag.store(true, Relaxed);
    }
}

// === impl Ticket ===

impl Ticket {
    pub(crate) fn new(live: Arc<Live>, started: Instant, deadline: Option<Instant>) -> Self {
        live.endpoint.began.fetch_add(1, Relaxed);
        raise(&live.is_used);
        Self {
            live,
            started,
            deadline,
            has_ended: false,
        }
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The request never left: it counts nowhere.
    pub(crate) fn give_back(mut self) {
        self.has_ended = true;
        self.live.endpoint.unsent.fetch_add(1, Relaxed);
    }

    /// The attempt ended so.
    pub(crate) fn end(mut self, ended: Ended) {
        self.note(ended, None);
    }

    /// Whether its deadline has come, as far as two clocks can tell.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.is_some_and(has_come)
    }

    /// Counts its end, once.
    pub(crate) fn note(&mut self, ended: Ended, at: Option<Instant>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let endpoint = &self.live.endpoint;
        let now = at.unwrap_or_else(Instant::now);
        // Whoever gave up at the deadline did so because of the endpoint.
        let is_late = ended == Ended::Dropped && self.deadline.is_some_and(|at| now >= at);
        if is_late || is_endpoint_failure(ended.code()) {
            endpoint.failed_attempts.fetch_add(1, Relaxed);
        }
        if ended != Ended::Dropped || is_late {
            endpoint.latency.record(
                now - endpoint.born,
                now.saturating_duration_since(self.started),
            );
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.note(Ended::Dropped, None);
        self.live.endpoint.ended.fetch_add(1, Relaxed);
    }
}

/// Whether a deadline has come, as far as two clocks can tell: a server that sees it first
/// cancels the stream.
pub(crate) fn has_come(deadline: Instant) -> bool {
    Instant::now() + CLOCKS_DIFFER >= deadline
}

/// Timers have a grain of a millisecond, on both sides.
const CLOCKS_DIFFER: Duration = Duration::from_millis(2);

fn is_endpoint_failure(code: Code) -> bool {
    u8::try_from(code as i32)
        .ok()
        .and_then(sampan_wire::Code::from_u8)
        .is_some_and(sampan_wire::Code::is_endpoint_failure)
}
