//! What a channel knows of one endpoint.

use crate::{
    balance::{
        self, LoadReport, Member, Nearness, Outcome, Replica, Verdict, load_report, pushback,
    },
    channelz::{self, CallCounts, History, SocketSnapshot, SubchannelSnapshot},
    latency::LatencyWindow,
    resolve::Traits,
    site::{Found, Opened, Site},
    subchannel::ConnectivityState,
    tally::{AttemptTally, since},
    timers::Timers,
    trace,
};
use arc_swap::ArcSwap;
use http::HeaderMap;
use sampan_middleware::Ended;
use sampan_transport::Connection;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};
use tokio::time::Instant;
use tonic::Code;
use tracing::Span;

/// One endpoint through all its connections: counts are for calls, so none of it is locked.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) site: Site,
    pub(crate) replica: Arc<Replica>,
    /// As its resolver said last.
    traits: ArcSwap<Traits>,
    /// Among the others.
    place: AtomicUsize,
    /// Where the channel itself is.
    zone: Option<Arc<str>>,
    /// Its place has no address any more.
    is_gone: AtomicBool,
    /// Reached by a socket that the host's containers share.
    is_local: AtomicBool,
    label: Arc<str>,
    /// Others were there before it, and nobody was connected to it yet.
    is_new: AtomicBool,
    born: Instant,
    latency: LatencyWindow,
    id: u64,
    pub(crate) history: History,
    /// When the last attempt began, in nanoseconds since it was first seen.
    last_started: AtomicU64,
}

/// A connection to an endpoint that takes calls.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) endpoint: Arc<Endpoint>,
    replica: Arc<Replica>,
    pub(crate) connection: Connection,
    /// Of the runtime that the connection lives on.
    pub(crate) timers: Arc<Timers>,
    /// No network lies between.
    pub(crate) is_same_host: bool,
    has_answered: AtomicBool,
    id: u64,
    opened: SystemTime,
    started: AtomicU64,
    /// So many had started when somebody asked last whether it is used.
    seen: AtomicU64,
    failed: AtomicU64,
    has_failed_calls: AtomicBool,
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
    /// It was taken out because it fails where others do not, and gets no calls for a while.
    pub is_ejected: bool,
    /// It is on this host, and reached by a socket that its containers share instead of TCP.
    pub is_local: bool,
}

/// One attempt's claim on an endpoint, from the pick to the attempt's end.
#[derive(Debug)]
pub(crate) struct Ticket {
    live: Arc<Live>,
    /// Nanoseconds after its endpoint was first seen: half as large as an instant.
    started: u64,
    deadline: Option<Instant>,
    has_ended: bool,
    /// It is no single message for a single answer.
    is_stream: bool,
    /// Bytes of its one message.
    pub(crate) sent: u32,
    pub(crate) tally: Option<AttemptTally>,
    rare: Option<Box<Rare>>,
}

/// What few attempts have.
#[derive(Debug, Default)]
struct Rare {
    /// When its answer began to come, which did not come all at once.
    answered: Option<Instant>,
    told: balance::Ticket,
    pushback: Option<Duration>,
    report: Option<LoadReport>,
    /// Its request's stream.
    stream: Option<Arc<AtomicU64>>,
    /// Bytes of the messages of its answer.
    received: u64,
    span: Option<Span>,
}

// === impl Endpoint ===

impl Endpoint {
    pub(crate) fn new(
        found: Found,
        replica: Arc<Replica>,
        zone: Option<Arc<str>>,
        joins_others: bool,
        now: Instant,
    ) -> Self {
        let site = found.site;
        Self {
            replica,
            traits: ArcSwap::new(found.traits),
            place: AtomicUsize::new(0),
            zone,
            is_gone: AtomicBool::new(found.is_gone),
            is_local: AtomicBool::new(false),
            label: site.address.to_string().into(),
            is_new: AtomicBool::new(joins_others),
            site,
            born: now,
            latency: LatencyWindow::new(),
            id: channelz::next_id(),
            history: History::new(),
            last_started: AtomicU64::new(0),
        }
    }

    /// What balancing sees of it.
    pub(crate) fn member(&self, is_ready: bool) -> Member {
        let mut member = Member::new(Arc::clone(&self.label), Arc::clone(&self.replica));
        let traits = self.traits.load();
        member.weight = traits.weight;
        member.priority = traits.priority;
        member.attributes = Arc::clone(&traits.attributes);
        let is_same_zone = self.zone.is_some() && self.zone == traits.zone;
        member.nearness = match self.site.nearness() {
            _ if self.is_local.load(Relaxed) => Nearness::Host,
            Nearness::Elsewhere if is_same_zone => Nearness::Zone,
            nearness => nearness,
        };
        member.is_ready = is_ready;
        member
    }

    /// Its share against the others', as its resolver says.
    pub(crate) fn weight(&self) -> u32 {
        self.traits.load().weight
    }

    /// It was found again.
    pub(crate) fn learn(&self, found: Found) {
        self.is_gone.store(found.is_gone, Relaxed);
        if **self.traits.load() != *found.traits {
            self.traits.store(found.traits);
        }
    }

    pub(crate) fn place(&self) -> usize {
        self.place.load(Relaxed)
    }

    /// Its resolver named so many before it.
    pub(crate) fn set_place(&self, place: usize) {
        self.place.store(place, Relaxed);
    }

    /// Whether it is used only until it fails.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// A connection to it is there. Where it comes to others, or was away, it starts slowly.
    pub(crate) fn connected(&self, was_away: bool, now: Instant) {
        if self.is_new.swap(false, Relaxed) || was_away {
            self.replica.starts_slowly(now.into_std());
        }
        if was_away {
            self.replica.starts_over();
        }
    }

    /// How it is reached from now on.
    pub(crate) fn reached(&self, is_local: bool) {
        self.is_local.store(is_local, Relaxed);
    }

    /// How long it has been known.
    fn nanos(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born);
        u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.replica.in_flight()
    }

    /// What channelz tells of it.
    pub(crate) fn channelz(
        &self,
        state: ConnectivityState,
        lives: &[Arc<Live>],
    ) -> SubchannelSnapshot {
        let (started, failed) = (self.replica.attempts(), self.replica.failed_attempts());
        let open = u64::from(self.in_flight());
        let last = self.last_started.load(Relaxed);
        SubchannelSnapshot {
            id: self.id,
            target: self.label.to_string(),
            state,
            calls: CallCounts {
                started,
                succeeded: started.saturating_sub(failed + open),
                failed,
                last_started: since(self.nanos(Instant::now()), last),
            },
            trace: self.history.trace(),
            sockets: lives.iter().map(|live| live.channelz()).collect(),
        }
    }

    pub(crate) fn snapshot(&self, state: ConnectivityState, now: Instant) -> EndpointSnapshot {
        let quantiles = self.latency.quantiles(now - self.born, [0.5, 0.99]);
        EndpointSnapshot {
            address: self.label.to_string(),
            state,
            in_flight: self.in_flight(),
            attempts: self.replica.attempts(),
            failed_attempts: self.replica.failed_attempts(),
            p50: quantiles.map(|[p50, _]| p50),
            p99: quantiles.map(|[_, p99]| p99),
            is_ejected: self.replica.is_ejected(),
            is_local: self.is_local.load(Relaxed),
        }
    }
}

// === impl Live ===

impl Live {
    pub(crate) fn new(endpoint: Arc<Endpoint>, opened: Opened, timers: Arc<Timers>) -> Self {
        Self {
            replica: Arc::clone(&endpoint.replica),
            is_same_host: opened.is_local || endpoint.site.is_same_host(),
            endpoint,
            connection: opened.connection,
            timers,
            has_answered: AtomicBool::new(false),
            id: channelz::next_id(),
            opened: SystemTime::now(),
            started: AtomicU64::new(0),
            seen: AtomicU64::new(u64::MAX),
            failed: AtomicU64::new(0),
            has_failed_calls: AtomicBool::new(false),
        }
    }

    /// A stream is opened on it that is no call.
    pub(crate) fn opens_stream(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    fn channelz(&self) -> SocketSnapshot {
        let (started, failed) = (self.started.load(Relaxed), self.failed.load(Relaxed));
        let open = self.connection.open_streams() as u64;
        SocketSnapshot {
            id: self.id,
            remote: self.endpoint.label().to_owned(),
            opened: self.opened,
            streams_started: started,
            streams_succeeded: started.saturating_sub(failed + open),
            streams_failed: failed,
        }
    }

    /// Whether any call got a response on this connection.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered.load(Relaxed)
    }

    pub(crate) fn answers(&self) {
        raise(&self.has_answered);
    }

    /// A call failed because the connection broke; gives whether it is the first.
    pub(crate) fn fails_first(&self) -> bool {
        !self.has_failed_calls.swap(true, Relaxed)
    }

    /// Whether calls began on it since this was asked last.
    pub(crate) fn was_used(&self) -> bool {
        let started = self.started.load(Relaxed);
        self.seen.swap(started, Relaxed) != started
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
        live.replica.begin();
        live.started.fetch_add(1, Relaxed);
        let started = live.endpoint.nanos(started);
        live.endpoint.last_started.store(started.max(1), Relaxed);
        Self {
            started,
            live,
            deadline,
            has_ended: false,
            is_stream: false,
            sent: 0,
            tally: None,
            rare: None,
        }
    }

    /// Its call is no single message for a single answer.
    pub(crate) const fn streams(&mut self) {
        self.is_stream = true;
    }

    /// Its answer does not come all at once.
    pub(crate) fn begins_to_answer(&mut self) {
        if !self.is_stream {
            self.rare.get_or_insert_default().answered = Some(Instant::now());
        }
    }

    /// This hears of its end too.
    pub(crate) fn hears(&mut self, ticket: balance::Ticket) {
        if !ticket.is_silent() {
            self.rare.get_or_insert_default().told = ticket;
        }
    }

    /// Somebody watches it.
    pub(crate) fn traced(&mut self, span: Span) {
        self.rare.get_or_insert_default().span = Some(span);
    }

    /// It sends a stream, whose messages are counted.
    pub(crate) fn sends(&mut self, stream: Arc<AtomicU64>) {
        self.rare.get_or_insert_default().stream = Some(stream);
    }

    /// So many bytes of messages came.
    pub(crate) fn received(&mut self, bytes: u64) {
        if self.tally.is_some() && bytes > 0 {
            self.rare.get_or_insert_default().received = bytes;
        }
    }

    /// What the endpoint says of itself at the end of the attempt.
    pub(crate) fn reads(&mut self, trailers: &HeaderMap) {
        if let Some(pushback) = pushback(trailers) {
            self.rare.get_or_insert_default().pushback = Some(pushback);
        }
        if let Some(report) = load_report(trailers) {
            self.rare.get_or_insert_default().report = Some(report);
        }
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The request never left: it counts nowhere.
    pub(crate) fn give_back(mut self) {
        self.has_ended = true;
        self.live.replica.give_back();
        self.live.started.fetch_sub(1, Relaxed);
        if let Some(tally) = self.tally.take() {
            let ended = Ended::Failed(Code::Unavailable);
            tally.end(ended, Duration::ZERO, 0, 0);
        }
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
        let verdict = if is_late || is_endpoint_failure(ended.code()) {
            Verdict::Failed
        } else if ended == Ended::Dropped {
            Verdict::GaveUp
        } else {
            Verdict::Served
        };
        if verdict == Verdict::Failed {
            self.live.failed.fetch_add(1, Relaxed);
        }
        let ended_at = endpoint.nanos(now);
        let took = Duration::from_nanos(ended_at.saturating_sub(self.started));
        let started = endpoint.born + Duration::from_nanos(self.started);
        let mut outcome = Outcome::new(started.into_std(), took, verdict);
        if self.is_stream {
            outcome.round_trip = None;
        }
        if let Some(tally) = self.tally.take() {
            let rare = self.rare.as_deref();
            let stream = rare.and_then(|rare| rare.stream.as_ref());
            let sent = stream.map_or(self.sent.into(), |sent| sent.load(Relaxed));
            tally.end(ended, took, sent, rare.map_or(0, |rare| rare.received));
        }
        let told = self.rare.take().map(|rare| {
            if let Some(span) = rare.span {
                trace::end(&span, ended);
            }
            outcome.pushback = rare.pushback;
            outcome.report = rare.report;
            if let Some(answered) = rare.answered {
                outcome.round_trip = Some(answered - started);
            }
            rare.told
        });
        self.live.replica.learn(now.into_std(), &outcome);
        if let Some(told) = told {
            told.tell(&outcome);
        }
        if verdict != Verdict::GaveUp {
            endpoint
                .latency
                .record(Duration::from_nanos(ended_at), took);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.note(Ended::Dropped, None);
        self.live.replica.leave();
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
