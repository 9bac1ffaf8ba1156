//! The weights that follow from what endpoints say of their load.
//!
//! Source: gRFC A51, A58, A114.

use sampan_wire::orca::LoadReport;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How reports become weights.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSettings {
    /// Reports have to come for this long before they count. Default 10 s.
    pub blackout: Duration,
    /// A report counts for this long. Default 3 min.
    pub expiration: Duration,
    /// How much errors weigh. Default 1.
    pub error_penalty: f64,
    /// What says how much of an endpoint is in use: the largest of these that a report has.
    /// Default, and where it has none: the application's utilization, else the processor's.
    pub metrics: Arc<[UtilizationMetric]>,
}

/// A part of a load report that says how much of an endpoint is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UtilizationMetric {
    /// [`LoadReport::application_utilization`].
    Application,
    /// [`LoadReport::cpu_utilization`].
    Cpu,
    /// [`LoadReport::memory_utilization`].
    Memory,
    /// Of [`LoadReport::named`].
    Named(String),
    /// Of [`LoadReport::utilization`].
    Utilization(String),
}

/// One endpoint's weight.
#[derive(Debug)]
pub(super) struct Weight {
    bits: AtomicU64,
    reported_at: AtomicU64,
    /// Reports come since then.
    since: AtomicU64,
}

/// What is known of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum KnownWeight {
    Usable(f64),
    /// No reports, or only new ones.
    NotYet,
    /// Only old ones.
    Stale,
}

const NEVER: u64 = u64::MAX;

/// Calls each second that a whole of what was granted would do, less what fails. None when the
/// report does not tell.
fn weight_of(report: &LoadReport, settings: &WeightSettings) -> Option<f64> {
    let told = settings.metrics.iter().filter_map(|one| one.of(report));
    let told = told.filter(|used| *used > 0.0).reduce(f64::max);
    let used = told.unwrap_or(if report.application_utilization > 0.0 {
        report.application_utilization
    } else {
        report.cpu_utilization
    });
    let error_penalty = settings.error_penalty;
    let calls = report.calls_per_second;
    let weight = calls / (used + report.errors_per_second / calls * error_penalty);
    (used > 0.0 && calls > 0.0 && weight > 0.0 && weight.is_finite()).then_some(weight)
}

// === impl WeightSettings ===

impl Default for WeightSettings {
    fn default() -> Self {
        Self {
            blackout: Duration::from_secs(10),
            expiration: Duration::from_secs(180),
            error_penalty: 1.0,
            metrics: Arc::default(),
        }
    }
}

// === impl UtilizationMetric ===

impl UtilizationMetric {
    /// By the name that gRPC has for it: `cpu_utilization`, `mem_utilization`,
    /// `application_utilization`, `named_metrics.` or `utilization.` and a name. None: there is no
    /// such one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.split_once('.') {
            Some(("named_metrics", key)) => Some(Self::Named(key.to_owned())),
            Some(("utilization", key)) => Some(Self::Utilization(key.to_owned())),
            Some(_) => None,
            None => match name {
                "application_utilization" => Some(Self::Application),
                "cpu_utilization" => Some(Self::Cpu),
                "mem_utilization" => Some(Self::Memory),
                _ => None,
            },
        }
    }

    fn of(&self, report: &LoadReport) -> Option<f64> {
        match self {
            Self::Application => Some(report.application_utilization),
            Self::Cpu => Some(report.cpu_utilization),
            Self::Memory => Some(report.memory_utilization),
            Self::Named(name) => report.named.get(name).copied(),
            Self::Utilization(name) => report.utilization.get(name).copied(),
        }
    }
}

// === impl Weight ===

impl Weight {
    pub(super) const fn new() -> Self {
        Self {
            bits: AtomicU64::new(0),
            reported_at: AtomicU64::new(NEVER),
            since: AtomicU64::new(NEVER),
        }
    }

    /// Reports begin anew.
    pub(super) fn forget(&self) {
        self.since.store(NEVER, Relaxed);
        self.reported_at.store(NEVER, Relaxed);
    }

    /// `at` counts nanoseconds since any fixed moment.
    pub(super) fn learn(&self, settings: &WeightSettings, at: u64, report: &LoadReport) {
        let Some(weight) = weight_of(report, settings) else {
            return;
        };
        self.bits.store(weight.to_bits(), Relaxed);
        self.reported_at.store(at, Relaxed);
        if self.since.load(Relaxed) == NEVER {
            self.since.store(at, Relaxed);
        }
    }

    /// None when there are no reports, only new ones, or only old ones.
    pub(super) fn read(&self, settings: &WeightSettings, at: u64) -> Option<f64> {
        match self.known(settings, at) {
            KnownWeight::Usable(weight) => Some(weight),
            KnownWeight::NotYet | KnownWeight::Stale => None,
        }
    }

    pub(super) fn known(&self, settings: &WeightSettings, at: u64) -> KnownWeight {
        let reported_at = self.reported_at.load(Relaxed);
        if reported_at == NEVER {
            return KnownWeight::NotYet;
        }
        let since = self.since.load(Relaxed);
        let age = Duration::from_nanos(at.saturating_sub(reported_at));
        if age >= settings.expiration {
            // The next report begins another blackout.
            let _ = self.since.compare_exchange(since, NEVER, Relaxed, Relaxed);
            return KnownWeight::Stale;
        }
        let known_for = Duration::from_nanos(at.saturating_sub(since));
        if since == NEVER || known_for < settings.blackout {
            return KnownWeight::NotYet;
        }
        KnownWeight::Usable(f64::from_bits(self.bits.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(calls: f64, errors: f64, cpu: f64, application: f64) -> LoadReport {
        LoadReport {
            cpu_utilization: cpu,
            application_utilization: application,
            calls_per_second: calls,
            errors_per_second: errors,
            ..LoadReport::default()
        }
    }

    #[test]
    fn weights_are_those_of_a58() {
        let settings = WeightSettings::default();
        let weight = |report: LoadReport| weight_of(&report, &settings);
        assert_eq!(weight(report(100.0, 0.0, 0.5, 0.0)), Some(200.0));
        assert_eq!(weight(report(100.0, 0.0, 0.5, 0.8)), Some(125.0));
        assert_eq!(weight(report(100.0, 50.0, 0.5, 0.0)), Some(100.0));
        for untold in [
            report(0.0, 0.0, 0.5, 0.0),
            report(100.0, 0.0, 0.0, 0.0),
            report(f64::NAN, 0.0, 0.5, 0.0),
            report(f64::INFINITY, 0.0, 0.5, 0.0),
        ] {
            assert_eq!(weight(untold), None);
        }
    }

    #[test]
    fn the_largest_of_the_metrics_that_are_asked_for_counts() {
        let names = [
            "named_metrics.queue.long",
            "utilization.disk",
            "mem_utilization",
            "no_such_field",
        ];
        let metrics = names.into_iter().filter_map(UtilizationMetric::from_name);
        let settings = WeightSettings {
            metrics: metrics.collect(),
            ..WeightSettings::default()
        };
        let weight = |report: &LoadReport| weight_of(report, &settings);
        let mut told = report(100.0, 0.0, 0.5, 0.2);
        assert_eq!(
            weight(&told),
            Some(500.0),
            "the application's, as A58 has it"
        );
        told.named.insert("queue.long".to_owned(), 0.4);
        told.utilization.insert("disk".to_owned(), f64::NAN);
        assert_eq!(weight(&told), Some(250.0));
        told.utilization.insert("disk".to_owned(), 0.8);
        told.memory_utilization = -1.0;
        assert_eq!(weight(&told), Some(125.0));
        told.memory_utilization = 1.0;
        assert_eq!(weight(&told), Some(100.0));
    }

    #[test]
    fn reports_count_after_the_blackout_and_until_they_expire() {
        const SECOND: u64 = 1_000_000_000;
        let settings = WeightSettings::default();
        let weight = Weight::new();
        let tell = |at| weight.learn(&settings, at, &report(100.0, 0.0, 0.5, 0.0));
        tell(0);
        assert_eq!(weight.read(&settings, 9 * SECOND), None);
        assert_eq!(weight.read(&settings, 10 * SECOND), Some(200.0));
        assert_eq!(weight.read(&settings, 179 * SECOND), Some(200.0));
        assert_eq!(weight.read(&settings, 180 * SECOND), None);
        assert_eq!(weight.known(&settings, 180 * SECOND), KnownWeight::Stale);
        tell(181 * SECOND);
        assert_eq!(weight.read(&settings, 182 * SECOND), None, "blackout again");
        assert_eq!(weight.read(&settings, 191 * SECOND), Some(200.0));
        weight.forget();
        tell(192 * SECOND);
        assert_eq!(weight.read(&settings, 193 * SECOND), None);
    }
}
