//! Tells callers of the server's load, for balancers that share calls out by it: in the trailers
//! of each call, and beside calls to those who ask.
//!
//! Source: gRFC A51.

mod latency;
mod measure;
mod recorder;
mod service;

pub use recorder::{CallMetricsRecorder, ServerMetricsRecorder};

use http::{HeaderName, HeaderValue, Request};
use latency::LatencyByLoad;
use measure::Measures;
use sampan_container::UsageMeter;
use sampan_wire::orca::{self, LoadReport};
use service::OpenRca;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tonic::Code;

/// What a server tells of its load, and how.
///
/// By itself it tells the use of its processor and memory against what its container grants,
/// calls and failed calls each second, and for Prequal the calls in flight and what calls take at
/// that many. Handlers add to it by [`CallMetricsRecorder`], the rest of the program by
/// [`ServerMetricsRecorder`]; the narrower goes before the wider.
///
/// ```
/// use sampan_server::{LoadReporting, Server, ServerMetricsRecorder};
///
/// let recorder = ServerMetricsRecorder::default();
/// let server = Server::new()
///     .load_reports(LoadReporting::new().with_recorder(recorder.clone()));
/// recorder.set_utilization("disk", 0.4);
/// # drop(server);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LoadReporting {
    with_calls: bool,
    beside_calls: Option<Duration>,
    measures: bool,
    recorder: ServerMetricsRecorder,
}

/// The load of a server.
#[derive(Debug)]
pub(crate) struct Loads {
    settings: LoadReporting,
    born: Instant,
    in_flight: AtomicU32,
    calls: AtomicU64,
    errors: AtomicU64,
    latency: LatencyByLoad,
    measures: Measures,
    /// Streams of reports end with it.
    is_over: watch::Sender<bool>,
}

/// A call that counts in the load of its server, to its end.
#[derive(Debug)]
pub(crate) struct CallLoad {
    loads: Arc<Loads>,
    recorder: CallMetricsRecorder,
    started: Instant,
    /// Others that were there when it came; None: it counts no more.
    met: Option<u32>,
    messages: u32,
}

static TRAILER: HeaderName = HeaderName::from_static(orca::TRAILER);

/// The service that tells beside calls, and its method.
pub(crate) const METHOD: (&str, &str) = (orca::SERVICE, "StreamCoreMetrics");

/// More often than this nobody is told beside calls, unless a server says otherwise.
const INTERVAL: Duration = Duration::from_secs(30);

/// Calls that are no work of the server's: they last, or are asked by the way.
const NOT_COUNTED: [&str; 3] = ["/grpc.health.", "/grpc.reflection.", "/xds.service.orca."];

// === impl LoadReporting ===

impl LoadReporting {
    /// Tells with each call, and beside calls every 30 s or as seldom as a caller asks.
    pub fn new() -> Self {
        Self {
            with_calls: true,
            beside_calls: Some(INTERVAL),
            measures: true,
            recorder: ServerMetricsRecorder::default(),
        }
    }

    /// Also tells what is recorded there.
    pub fn with_recorder(mut self, recorder: ServerMetricsRecorder) -> Self {
        self.recorder = recorder;
        self
    }

    /// The shortest time between two reports beside calls, whatever a caller asks. Default 30 s.
    pub const fn with_shortest_interval(mut self, interval: Duration) -> Self {
        self.beside_calls = Some(interval);
        self
    }

    /// Tells nothing beside calls: `OpenRcaService` is not served.
    pub const fn with_calls_only(mut self) -> Self {
        self.beside_calls = None;
        self
    }

    /// Tells nothing in the trailers of calls.
    pub const fn beside_calls_only(mut self) -> Self {
        self.with_calls = false;
        self
    }

    /// Measures nothing by itself: tells what is recorded.
    pub const fn recorded_only(mut self) -> Self {
        self.measures = false;
        self
    }
}

impl Default for LoadReporting {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Loads ===

impl Loads {
    pub(crate) fn new(settings: LoadReporting, cores: usize, now: Instant) -> Arc<Self> {
        let meter = UsageMeter::of_this_process(cores);
        Arc::new(Self {
            settings,
            born: now,
            in_flight: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latency: LatencyByLoad::new(),
            measures: Measures::new(meter),
            is_over: watch::Sender::new(false),
        })
    }

    /// The service that tells beside calls, where it is wanted.
    pub(crate) fn service(self: &Arc<Self>) -> Option<OpenRca> {
        let shortest = self.settings.beside_calls?;
        Some(OpenRca::new(Arc::clone(self), shortest))
    }

    /// A call begins; its handler finds a recorder in its extensions.
    pub(crate) fn begin<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        now: Instant,
    ) -> Option<Box<CallLoad>> {
        let path = request.uri().path();
        if NOT_COUNTED.iter().any(|begin| path.starts_with(begin)) {
            return None;
        }
        let recorder = CallMetricsRecorder::default();
        request.extensions_mut().insert(recorder.clone());
        Some(Box::new(CallLoad {
            loads: Arc::clone(self),
            recorder,
            started: now,
            met: Some(self.in_flight.fetch_add(1, Relaxed)),
            messages: 0,
        }))
    }

    /// Ends the streams of reports, which otherwise hold up the drain to its cap.
    pub(crate) fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// What is told now, without what calls have recorded.
    fn report(&self, now: Instant) -> LoadReport {
        let mut report = LoadReport::default();
        if self.settings.measures {
            let at = now.saturating_duration_since(self.born);
            let counted = (self.calls.load(Relaxed), self.errors.load(Relaxed));
            self.measures.fill(&mut report, at, counted);
            let in_flight = self.in_flight.load(Relaxed);
            report.in_flight = Some(in_flight);
            report.latency = self.latency.median(in_flight, at);
        }
        report.overlay(self.settings.recorder.report());
        report
    }
}

// === impl CallLoad ===

impl CallLoad {
    /// A message of the answer leaves.
    pub(crate) const fn message(&mut self) {
        self.messages = self.messages.saturating_add(1);
    }

    /// The call is over.
    pub(crate) fn end(&mut self, code: Code, now: Instant) {
        let Some(met) = self.met.take() else {
            return;
        };
        let loads = &self.loads;
        loads.in_flight.fetch_sub(1, Relaxed);
        loads.calls.fetch_add(1, Relaxed);
        let code = u8::try_from(code as i32)
            .ok()
            .and_then(sampan_wire::Code::from_u8);
        if code.is_some_and(sampan_wire::Code::is_endpoint_failure) {
            loads.errors.fetch_add(1, Relaxed);
        }
        // How long a stream takes says nothing of the server.
        if self.messages <= 1 {
            let took = now.saturating_duration_since(self.started);
            let at = now.saturating_duration_since(loads.born);
            loads.latency.record(met, took, at);
        }
    }

    /// The trailer that tells the load; None where there is nothing to tell.
    pub(crate) fn trailer(&self, now: Instant) -> Option<(HeaderName, HeaderValue)> {
        let settings = &self.loads.settings;
        if !settings.with_calls {
            return None;
        }
        let mut report = self.loads.report(now);
        report.overlay(self.recorder.report());
        let value = HeaderValue::try_from(report.to_base64()).ok()?;
        (!value.is_empty()).then(|| (TRAILER.clone(), value))
    }
}

impl Drop for CallLoad {
    fn drop(&mut self) {
        if self.met.is_some() {
            self.messages = u32::MAX;
            self.end(Code::Cancelled, self.started);
        }
    }
}
