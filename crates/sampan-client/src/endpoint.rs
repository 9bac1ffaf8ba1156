//! What a channel knows of one endpoint.

use crate::{
    latency::LatencyWindow, outbound::RequestBody, site::Site, subchannel::ConnectivityState,
};
use sampan_middleware::Ended;
use sampan_transport::Connection;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
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
    in_flight: AtomicU32,
    attempts: AtomicU64,
    failed_attempts: AtomicU64,
    latency: LatencyWindow,
}

/// An endpoint with the connection that takes its calls now.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) connection: Connection<RequestBody>,
    has_answered: AtomicBool,
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
            in_flight: AtomicU32::new(0),
            attempts: AtomicU64::new(0),
            failed_attempts: AtomicU64::new(0),
            latency: LatencyWindow::new(),
        }
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn snapshot(&self, state: ConnectivityState, now: Instant) -> EndpointSnapshot {
        let quantiles = self.latency.quantiles(now - self.born, [0.5, 0.99]);
        EndpointSnapshot {
            address: self.label.clone(),
            state,
            in_flight: self.in_flight(),
            attempts: self.attempts.load(Relaxed),
            failed_attempts: self.failed_attempts.load(Relaxed),
            p50: quantiles.map(|[p50, _]| p50),
            p99: quantiles.map(|[_, p99]| p99),
        }
    }
}

// === impl Live ===

impl Live {
    pub(crate) const fn new(endpoint: Arc<Endpoint>, connection: Connection<RequestBody>) -> Self {
        Self {
            endpoint,
            connection,
            has_answered: AtomicBool::new(false),
        }
    }

    /// Whether any call got a response on this connection.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered.load(Relaxed)
    }

    pub(crate) fn answers(&self) {
        // Written once, so that the line stays shared among cores.
        if !self.has_answered() {
            self.has_answered.store(true, Relaxed);
        }
    }
}

// === impl Ticket ===

impl Ticket {
    pub(crate) fn new(live: Arc<Live>, started: Instant, deadline: Option<Instant>) -> Self {
        live.endpoint.in_flight.fetch_add(1, Relaxed);
        live.endpoint.attempts.fetch_add(1, Relaxed);
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
        self.live.endpoint.attempts.fetch_sub(1, Relaxed);
    }

    /// The attempt ended so.
    pub(crate) fn end(mut self, ended: Ended) {
        self.note(ended);
    }

    fn note(&mut self, ended: Ended) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let endpoint = &self.live.endpoint;
        let now = Instant::now();
        // Whoever gave up at the deadline did so because of the endpoint.
        let is_late = ended == Ended::Dropped && self.deadline.is_some_and(|at| now >= at);
        if is_late || is_endpoint_failure(ended.code()) {
            endpoint.failed_attempts.fetch_add(1, Relaxed);
        }
        if ended != Ended::Dropped || is_late {
            endpoint
                .latency
                .record(now - endpoint.born, now - self.started);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.note(Ended::Dropped);
        self.live.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}

fn is_endpoint_failure(code: Code) -> bool {
    u8::try_from(code as i32)
        .ok()
        .and_then(sampan_wire::Code::from_u8)
        .is_some_and(sampan_wire::Code::is_endpoint_failure)
}
