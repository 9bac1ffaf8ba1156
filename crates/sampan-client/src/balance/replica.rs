//! What a channel learns of one endpoint, without a lock.

use super::{
    LoadReport, Outcome, Outliers, SlowStart, Verdict,
    estimate::{Estimate, LatencySettings},
    pace::Pace,
    prequal::Reports,
    report::{KnownWeight, Weight, WeightSettings},
    unit,
};
use rand::RngCore;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// One endpoint's load and health, counted by the calls that it gets.
#[derive(Debug)]
pub struct Replica {
    born: Instant,
    learns: Learns,
    outliers: Option<Arc<Outliers>>,
    began: AtomicU64,
    /// Of those that began.
    ended: AtomicU64,
    /// Of those that ended: they never left.
    unsent: AtomicU64,
    failed: AtomicU64,
    /// Of those that failed: it asked to be left alone.
    shed: AtomicU64,
    failures_in_row: AtomicU32,
    /// Nobody compares it with others: it need not learn what only that is for.
    is_alone: AtomicBool,
    /// Why it is not as good as others: nothing, nearly always, and then a pick looks no further.
    cautions: AtomicU32,
    pushed_back_until: AtomicU64,
    warming_since: AtomicU64,
    slow_start: SlowStart,
    latency: Estimate,
    pace: Pace,
    weight: Weight,
    number: u32,
}

/// What a [`Replica`] learns from the ends of calls, beyond counts. Each policy that needs more
/// than counts has its own.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Learns {
    /// Nothing more.
    #[default]
    Nothing,
    /// How long calls take, evenly: what [`LeastTime`](super::LeastTime) goes by.
    Pace,
    /// How long calls take, the slowest above all.
    Latency(LatencySettings),
    /// A weight, from the load reports that come with calls.
    Weight(WeightSettings),
    /// A weight, from the load reports that come beside calls.
    WeightBesideCalls(WeightSettings),
    /// Its load reports, side by side with those of others.
    Reports(Arc<Reports>),
}

const EJECTED: u32 = 1;
const PUSHED_BACK: u32 = 2;
const WARMING: u32 = 4;

/// No endpoint can ask to be left alone for longer.
const MAX_PUSHBACK: Duration = Duration::from_secs(300);

// === impl Replica ===

impl Replica {
    /// One that nothing is known of. It learns what `learns` says, and `outliers` hears when it
    /// fails.
    #[must_use]
    pub fn new(now: Instant, learns: Learns, outliers: Option<Arc<Outliers>>) -> Self {
        let number = match &learns {
            Learns::Reports(reports) => reports.next_number(),
            _ => 0,
        };
        Self {
            born: now,
            learns,
            outliers,
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            failures_in_row: AtomicU32::new(0),
            is_alone: AtomicBool::new(false),
            cautions: AtomicU32::new(0),
            pushed_back_until: AtomicU64::new(0),
            warming_since: AtomicU64::new(0),
            slow_start: SlowStart::default(),
            latency: Estimate::new(),
            pace: Pace::new(),
            weight: Weight::new(),
            number,
        }
    }

    /// The same with another start.
    #[must_use]
    pub const fn with_slow_start(mut self, slow_start: SlowStart) -> Self {
        self.slow_start = slow_start;
        self
    }

    /// An attempt is sent to it. Each has to [`leave`](Self::leave) once.
    pub fn begin(&self) {
        self.began.fetch_add(1, Relaxed);
    }

    /// An attempt is over, to whatever end.
    pub fn leave(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// An attempt never left: it counts nowhere.
    pub fn give_back(&self) {
        self.unsent.fetch_add(1, Relaxed);
    }

    /// Learns how an attempt went.
    pub fn learn(self: &Arc<Self>, now: Instant, outcome: &Outcome) {
        if let Some(pushback) = outcome.pushback {
            self.push_back(now, pushback);
        }
        match outcome.verdict {
            Verdict::Served => {
                if self.failures_in_row.load(Relaxed) != 0 {
                    self.failures_in_row.store(0, Relaxed);
                }
            }
            Verdict::Failed => {
                self.failed.fetch_add(1, Relaxed);
                // One that sheds is left alone for as long as it asks: it is no outlier.
                if outcome.pushback.is_some() {
                    self.shed.fetch_add(1, Relaxed);
                } else {
                    let took = now.saturating_duration_since(outcome.started);
                    let outliers = self.outliers.as_ref();
                    let weight = outliers.map_or(1, |outliers| outliers.weight_of_failure(took));
                    let before = self.failures_in_row.fetch_add(weight, Relaxed);
                    if let Some(outliers) = outliers {
                        outliers.on_failures(self, before, before.saturating_add(weight), now);
                    }
                }
            }
            Verdict::GaveUp => {}
        }
        match &self.learns {
            Learns::Nothing | Learns::WeightBesideCalls(_) => {}
            _ if self.is_alone.load(Relaxed) => {}
            Learns::Pace => self.pace.learn(self.at(now), outcome),
            Learns::Latency(settings) => {
                self.latency.learn(settings, self.at(now), outcome);
            }
            Learns::Weight(settings) => {
                if let Some(report) = &outcome.report {
                    self.weight.learn(settings, self.at(now), report);
                }
            }
            Learns::Reports(reports) => {
                if let Some(report) = &outcome.report {
                    reports.learn(self.number, now, report);
                }
            }
        }
    }

    /// Hears what the endpoint tells of its load beside calls.
    pub fn hear(&self, now: Instant, report: &LoadReport) {
        match &self.learns {
            Learns::WeightBesideCalls(settings) => {
                self.weight.learn(settings, self.at(now), report);
            }
            Learns::Reports(reports) => reports.learn(self.number, now, report),
            Learns::Nothing | Learns::Pace | Learns::Latency(_) | Learns::Weight(_) => {}
        }
    }

    /// Attempts that are not over.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        // In this order: never fewer than there are.
        let ended = self.ended.load(Relaxed);
        let open = self.began.load(Relaxed).saturating_sub(ended);
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    /// Attempts sent to it so far.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        let unsent = self.unsent.load(Relaxed);
        self.began.load(Relaxed).saturating_sub(unsent)
    }

    /// Those that failed by its fault.
    #[must_use]
    pub fn failed_attempts(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Whether it is ejected, be that obeyed now or not.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.cautions.load(Relaxed) & EJECTED != 0
    }

    /// It is connected where others have been for a while: its share grows from little.
    pub fn starts_slowly(&self, now: Instant) {
        if !self.slow_start.window.is_zero() {
            self.warming_since.store(self.at(now), Relaxed);
            self.cautions.fetch_or(WARMING, Relaxed);
        }
    }

    /// It is another process by now, as far as anybody can tell: what was learnt of the one before,
    /// its failures above all, says nothing of it.
    pub fn starts_over(&self) {
        self.weight.forget();
        self.latency.forget();
        self.pace.forget();
        self.failures_in_row.store(0, Relaxed);
    }

    /// Whether it is the only one there is.
    pub(super) fn set_alone(&self, is_alone: bool) {
        self.is_alone.store(is_alone, Relaxed);
    }

    /// Leaves it alone for a while.
    pub fn push_back(&self, now: Instant, pushback: Duration) {
        let until = self.at(now + pushback.min(MAX_PUSHBACK));
        self.pushed_back_until.fetch_max(until, Relaxed);
        self.cautions.fetch_or(PUSHED_BACK, Relaxed);
    }

    pub(super) fn set_ejected(&self, is_ejected: bool) {
        if is_ejected {
            self.cautions.fetch_or(EJECTED, Relaxed);
        } else {
            self.failures_in_row.store(0, Relaxed);
            self.cautions.fetch_and(!EJECTED, Relaxed);
        }
    }

    /// Attempts that ended after they had left, and how many of them failed; those that it shed
    /// are not among them.
    pub(super) fn judged_attempts(&self) -> (u64, u64) {
        let (unsent, shed) = (self.unsent.load(Relaxed), self.shed.load(Relaxed));
        let ended = self.ended.load(Relaxed).saturating_sub(unsent + shed);
        (ended, self.failed.load(Relaxed).saturating_sub(shed))
    }

    /// Whether a pick may stop at it. By chance, while it warms up.
    pub(super) fn admits(&self, now: Instant, rng: &mut dyn RngCore) -> bool {
        let cautions = self.cautions.load(Relaxed);
        cautions == 0 || (!self.is_avoided(cautions, now) && self.is_warm(cautions, now, rng))
    }

    /// Whether it is neither ejected nor pushes back.
    pub(super) fn is_sound(&self, now: Instant) -> bool {
        let cautions = self.cautions.load(Relaxed);
        cautions == 0 || !self.is_avoided(cautions, now)
    }

    /// Whether it is ejected, and that is obeyed now.
    pub(super) fn is_out(&self) -> bool {
        let are_obeyed = |outliers: &Arc<Outliers>| !outliers.is_panicking();
        self.is_ejected() && self.outliers.as_ref().is_some_and(are_obeyed)
    }

    fn is_avoided(&self, cautions: u32, now: Instant) -> bool {
        if cautions & EJECTED != 0 && self.is_out() {
            return true;
        }
        if cautions & PUSHED_BACK == 0 {
            return false;
        }
        let at = self.at(now);
        let holds = |at| at < self.pushed_back_until.load(Relaxed);
        if !holds(at) {
            self.cautions.fetch_and(!PUSHED_BACK, Relaxed);
            // Another may have pushed it back meanwhile.
            if holds(at) {
                self.cautions.fetch_or(PUSHED_BACK, Relaxed);
            }
        }
        holds(at)
    }

    fn is_warm(&self, cautions: u32, now: Instant, rng: &mut dyn RngCore) -> bool {
        if cautions & WARMING == 0 {
            return true;
        }
        let age = self
            .at(now)
            .saturating_sub(self.warming_since.load(Relaxed));
        match self.slow_start.share(Duration::from_nanos(age)) {
            Some(share) => unit(rng) < share,
            None => {
                self.cautions.fetch_and(!WARMING, Relaxed);
                true
            }
        }
    }

    /// How long its calls take, as of now, in microseconds; None before the first has ended.
    pub(super) fn latency(&self, settings: &LatencySettings, now: Instant) -> Option<f32> {
        self.latency.read(settings, self.at(now))
    }

    /// How long its calls take on the average, in microseconds; None before the first has ended.
    pub(super) fn pace(&self) -> Option<f32> {
        self.pace.read()
    }

    /// How long ago that was heard last.
    pub(super) fn age_of_pace(&self, now: Instant) -> Duration {
        self.pace.age(self.at(now))
    }

    /// Whether it has failed so often in a row that little is missing until it is ejected: then it
    /// should be known soon.
    pub(super) fn is_in_doubt(&self) -> bool {
        let failures = self.failures_in_row.load(Relaxed);
        let outliers = self.outliers.as_ref();
        failures > 0
            && !self.is_ejected()
            && outliers.is_some_and(|outliers| outliers.are_many(failures))
    }

    /// What its reports come to; None when they are too few, or too old.
    pub(super) fn weight(&self, settings: &WeightSettings, now: Instant) -> Option<f64> {
        self.weight.read(settings, self.at(now))
    }

    /// The same, and why there is none.
    pub(super) fn known_weight(&self, settings: &WeightSettings, now: Instant) -> KnownWeight {
        self.weight.known(settings, self.at(now))
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Nanoseconds since it was first seen.
    fn at(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born);
        u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::SmallRng};

    #[test]
    fn a_replica_that_pushes_back_is_left_alone_for_that_time_and_no_longer() {
        let start = Instant::now();
        let replica = Arc::new(Replica::new(start, Learns::Nothing, None));
        let mut rng = SmallRng::seed_from_u64(1);
        let mut outcome = Outcome::new(start, Duration::ZERO, Verdict::Failed);
        outcome.pushback = Some(Duration::from_millis(80));
        replica.learn(start, &outcome);
        assert!(!replica.admits(start + Duration::from_millis(79), &mut rng));
        assert!(replica.admits(start + Duration::from_millis(80), &mut rng));
        outcome.pushback = Some(Duration::MAX);
        replica.learn(start, &outcome);
        assert!(!replica.admits(start + Duration::from_secs(299), &mut rng));
        assert!(replica.admits(start + MAX_PUSHBACK, &mut rng));
    }

    #[test]
    fn attempts_that_never_left_count_nowhere() {
        let replica = Replica::new(Instant::now(), Learns::Nothing, None);
        replica.begin();
        replica.begin();
        replica.give_back();
        replica.leave();
        assert_eq!(replica.in_flight(), 1);
        assert_eq!((replica.attempts(), replica.judged_attempts().0), (1, 0));
    }
}
