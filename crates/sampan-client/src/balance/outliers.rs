//! Takes endpoints out for a while that fail where others do not.
//!
//! | rule | takes out | Source |
//! |---|---|---|
//! | failures in a row | at once, also of two endpoints | Envoy, linkerd |
//! | success rate | far below the mean, with enough endpoints and calls | gRFC A50 |
//! | failure percentage | above a fixed one, with enough endpoints and calls | gRFC A50 |
//!
//! The last endpoint is never taken out. When more than half are out or not connected, those
//! that are out get calls all the same: then something else is wrong.

use super::{Member, Replica};
use rand::{Rng as _, RngCore};
use sampan_middleware::metrics::client::{Ejection, Upkeep};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// When endpoints are taken out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlierSettings {
    /// How often success rates and failure percentages are judged. Default 10 s.
    pub interval: Duration,
    /// Times the number of times that it was taken out of late, it stays out for so long.
    /// Default 30 s.
    pub base_ejection: Duration,
    /// It stays out no longer than this, or `base_ejection`. Default 300 s.
    pub max_ejection: Duration,
    /// No success rate and no failure percentage takes another one out when so many of a hundred
    /// are. Default 10; the first can always be.
    pub max_ejection_percent: u32,
    /// Takes out whoever fails so often in a row. Default 5, and as long as it is 5 a failure for
    /// which its caller waited half a second or longer counts for half of them: a replica that is
    /// stuck gets few calls, and each has to run into its deadline.
    pub consecutive_failures: Option<u32>,
    /// Default on.
    pub success_rate: Option<SuccessRate>,
    /// Default off.
    pub failure_percentage: Option<FailurePercentage>,
    /// When more than so many of a hundred are out or not connected, ejections are ignored.
    /// Default 50.
    pub panic_percent: u32,
}

/// Takes out whose share of good answers is far below the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// So many standard deviations below. Default 1.9.
    pub stdev_factor: f64,
    /// The chance of it. Default 100 %.
    pub enforcement_percent: u32,
    /// Endpoints with enough calls that there have to be. Default 5.
    pub minimum_hosts: usize,
    /// Calls in the interval that are enough. Default 100.
    pub request_volume: u64,
}

/// Takes out whose share of failures is above a fixed one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailurePercentage {
    /// Default 85 %.
    pub threshold: u32,
    /// The chance of it. Default 100 %.
    pub enforcement_percent: u32,
    /// Endpoints with enough calls that there have to be. Default 5.
    pub minimum_hosts: usize,
    /// Calls in the interval that are enough. Default 50.
    pub request_volume: u64,
}

/// Who is out, of one channel's endpoints.
#[derive(Debug)]
pub struct Outliers {
    settings: OutlierSettings,
    counts: Option<&'static Upkeep>,
    is_panicking: AtomicBool,
    /// Somebody was taken out since the last look.
    has_changed: AtomicBool,
    /// Taken when somebody fails often, comes, goes, or is judged: never by a pick.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    wards: Vec<Ward>,
    judged_at: Option<Instant>,
}

#[derive(Debug)]
struct Ward {
    replica: Weak<Replica>,
    is_ready: bool,
    ejected_at: Option<Instant>,
    times: u32,
    /// Attempts that had ended, and failed, when it was judged last.
    seen: (u64, u64),
}

/// What a ward did since it was judged last.
#[derive(Clone, Copy, Debug)]
struct Record {
    ward: usize,
    calls: u64,
    failures: u64,
}

/// Where nobody says how many.
const CONSECUTIVE_FAILURES: u32 = 5;
/// Whoever has waited for so long was not refused.
const LONG_FAILURE: Duration = Duration::from_millis(500);

// === impl settings ===

impl Default for OutlierSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejection_percent: 10,
            consecutive_failures: Some(CONSECUTIVE_FAILURES),
            success_rate: Some(SuccessRate::default()),
            failure_percentage: None,
            panic_percent: 50,
        }
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self {
            stdev_factor: 1.9,
            enforcement_percent: 100,
            minimum_hosts: 5,
            request_volume: 100,
        }
    }
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self {
            threshold: 85,
            enforcement_percent: 100,
            minimum_hosts: 5,
            request_volume: 50,
        }
    }
}

// === impl Outliers ===

impl Outliers {
    /// Nobody is out.
    #[must_use]
    pub const fn new(settings: OutlierSettings) -> Self {
        Self {
            settings,
            counts: None,
            is_panicking: AtomicBool::new(false),
            has_changed: AtomicBool::new(false),
            state: Mutex::new(State {
                wards: Vec::new(),
                judged_at: None,
            }),
        }
    }

    /// The same, whose ejections are counted there.
    pub(crate) const fn counted_by(mut self, counts: Option<&'static Upkeep>) -> Self {
        self.counts = counts;
        self
    }

    /// These are all endpoints there are.
    pub fn follow(&self, members: &[Member]) {
        let mut state = self.lock();
        let old = std::mem::take(&mut state.wards);
        let mut old: HashMap<_, _> = old
            .into_iter()
            .map(|ward| (ward.replica.as_ptr(), ward))
            .collect();
        let ward = |member: &Member| {
            let known = old.remove(&Arc::as_ptr(&member.replica));
            let mut ward = known.unwrap_or_else(|| Ward::new(&member.replica));
            ward.is_ready = member.is_ready;
            ward
        };
        state.wards = members.iter().map(ward).collect();
        self.judge_panic(&state);
    }

    /// Whether so many are out that ejections are ignored.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.is_panicking.load(Relaxed)
    }

    /// Lets those back in whose time has come, and judges what the others did, when it is time.
    /// Gives whether somebody went or came since this was called last. To be called each second
    /// or so.
    pub fn tick(&self, now: Instant, rng: &mut dyn RngCore) -> bool {
        let mut state = self.lock();
        let mut has_changed = self.has_changed.swap(false, Relaxed);
        for ward in &mut state.wards {
            has_changed |= ward.release(now, &self.settings);
        }
        let judged_at = *state.judged_at.get_or_insert(now);
        if now.saturating_duration_since(judged_at) >= self.settings.interval {
            state.judged_at = Some(now);
            has_changed |= state.judge(self, now, rng);
        }
        if has_changed {
            self.judge_panic(&state);
        }
        has_changed
    }

    /// As how many failures one counts that took so long.
    pub(super) fn weight_of_failure(&self, took: Duration) -> u32 {
        let is_default = self.settings.consecutive_failures == Some(CONSECUTIVE_FAILURES);
        if is_default && took >= LONG_FAILURE {
            CONSECUTIVE_FAILURES.div_ceil(2)
        } else {
            1
        }
    }

    /// Whether half of the failures are there that it takes to be ejected.
    pub(super) fn are_many(&self, failures: u32) -> bool {
        let most = self.settings.consecutive_failures;
        most.is_some_and(|most| failures >= most.div_ceil(2))
    }

    /// A replica has failed in a row as often as `after` says, after `before`.
    pub(super) fn on_failures(
        &self,
        replica: &Arc<Replica>,
        before: u32,
        after: u32,
        now: Instant,
    ) {
        let Some(most) = self.settings.consecutive_failures else {
            return;
        };
        let most = most.max(1);
        // Where it cannot go, only every so often is it asked again.
        if before / most == after / most || replica.is_ejected() {
            return;
        }
        let mut state = self.lock();
        let is_it = |ward: &Ward| std::ptr::eq(ward.replica.as_ptr(), Arc::as_ptr(replica));
        let Some(place) = state.wards.iter().position(is_it) else {
            return;
        };
        if state.eject(place, now) {
            self.ejected(Ejection::ConsecutiveFailures);
            self.has_changed.store(true, Relaxed);
            self.judge_panic(&state);
        }
    }

    fn ejected(&self, by: Ejection) {
        if let Some(counts) = self.counts {
            counts.ejected(by);
        }
    }

    fn judge_panic(&self, state: &State) {
        let out = state.wards.iter().filter(|ward| !ward.is_of_use()).count();
        let is_panicking = out * 100 > state.wards.len() * self.settings.panic_percent as usize;
        self.is_panicking.store(is_panicking, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Takes one out, unless nobody would be left.
    fn eject(&mut self, place: usize, now: Instant) -> bool {
        let mut others = self.wards.iter().enumerate();
        if !others.any(|(at, ward)| at != place && ward.is_of_use()) {
            return false;
        }
        self.wards[place].eject(now)
    }

    fn judge(&mut self, outliers: &Outliers, now: Instant, rng: &mut dyn RngCore) -> bool {
        let settings = &outliers.settings;
        let records: Vec<_> = (0..self.wards.len())
            .filter_map(|ward| self.wards[ward].record(ward))
            .collect();
        for ward in &mut self.wards {
            if ward.ejected_at.is_none() {
                ward.times = ward.times.saturating_sub(1);
            }
        }
        let mut verdicts = Vec::new();
        if let Some(rule) = &settings.success_rate {
            let found = rule.outliers(&records);
            let verdict = |ward| (ward, rule.enforcement_percent, Ejection::SuccessRate);
            verdicts.extend(found.into_iter().map(verdict));
        }
        if let Some(rule) = &settings.failure_percentage {
            let found = rule.outliers(&records);
            let verdict = |ward| (ward, rule.enforcement_percent, Ejection::FailurePercentage);
            verdicts.extend(found.into_iter().map(verdict));
        }
        let mut has_changed = false;
        for (ward, chance, by) in verdicts {
            let spared = |by_chance| {
                if let Some(counts) = outliers.counts {
                    counts.spared(by, by_chance);
                }
            };
            let out = self.wards.iter().filter(|one| one.ejected_at.is_some());
            let is_full =
                out.count() * 100 >= self.wards.len() * settings.max_ejection_percent as usize;
            let are_out = self.wards.iter().any(|one| one.ejected_at.is_some());
            if is_full && are_out {
                spared(false);
                continue;
            }
            if rng.random_range(0..100) >= chance {
                spared(true);
            } else if self.eject(ward, now) {
                outliers.ejected(by);
                has_changed = true;
            }
        }
        has_changed
    }
}

// === impl Ward ===

impl Ward {
    fn new(replica: &Arc<Replica>) -> Self {
        Self {
            replica: Arc::downgrade(replica),
            is_ready: false,
            ejected_at: None,
            times: 0,
            seen: replica.judged_attempts(),
        }
    }

    const fn is_of_use(&self) -> bool {
        self.is_ready && self.ejected_at.is_none()
    }

    fn eject(&mut self, now: Instant) -> bool {
        let Some(replica) = self.replica.upgrade() else {
            return false;
        };
        if self.ejected_at.is_some() {
            return false;
        }
        self.ejected_at = Some(now);
        self.times += 1;
        replica.set_ejected(true);
        true
    }

    fn release(&mut self, now: Instant, settings: &OutlierSettings) -> bool {
        let Some(since) = self.ejected_at else {
            return false;
        };
        let longest = settings.max_ejection.max(settings.base_ejection);
        let time = settings
            .base_ejection
            .saturating_mul(self.times)
            .min(longest);
        if now.saturating_duration_since(since) < time {
            return false;
        }
        self.ejected_at = None;
        if let Some(replica) = self.replica.upgrade() {
            replica.set_ejected(false);
        }
        true
    }

    fn record(&mut self, ward: usize) -> Option<Record> {
        let replica = self.replica.upgrade()?;
        let seen = replica.judged_attempts();
        let (ended, failed) = std::mem::replace(&mut self.seen, seen);
        (self.ejected_at.is_none()).then(|| Record {
            ward,
            calls: seen.0.saturating_sub(ended),
            failures: seen.1.saturating_sub(failed),
        })
    }
}

// === impl rules ===

impl Record {
    #[allow(clippy::cast_precision_loss, reason = "the calls of some seconds")]
    fn failure_percent(&self) -> f64 {
        100.0 * self.failures.min(self.calls) as f64 / self.calls as f64
    }
}

impl SuccessRate {
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    fn outliers(&self, records: &[Record]) -> Vec<usize> {
        let judged = with_volume(records, self.request_volume);
        if judged.is_empty() || judged.len() < self.minimum_hosts {
            return Vec::new();
        }
        let rate = |record: &Record| 100.0 - record.failure_percent();
        let count = judged.len() as f64;
        let mean = judged.iter().map(rate).sum::<f64>() / count;
        let variance = judged
            .iter()
            .map(|one| (rate(one) - mean).powi(2))
            .sum::<f64>()
            / count;
        let least = mean - variance.sqrt() * self.stdev_factor;
        let is_outlier = |record: &&Record| rate(record) < least;
        judged
            .iter()
            .filter(is_outlier)
            .map(|one| one.ward)
            .collect()
    }
}

impl FailurePercentage {
    fn outliers(&self, records: &[Record]) -> Vec<usize> {
        let judged = with_volume(records, self.request_volume);
        if judged.len() < self.minimum_hosts {
            return Vec::new();
        }
        let is_outlier = |record: &&Record| record.failure_percent() > f64::from(self.threshold);
        judged
            .iter()
            .filter(is_outlier)
            .map(|one| one.ward)
            .collect()
    }
}

fn with_volume(records: &[Record], volume: u64) -> Vec<Record> {
    let is_enough = |record: &&Record| record.calls >= volume.max(1);
    records.iter().filter(is_enough).copied().collect()
}

#[cfg(test)]
mod tests;
