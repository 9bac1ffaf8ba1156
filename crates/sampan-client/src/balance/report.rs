//! The weights that follow from what endpoints say of their load.
//!
//! Source: gRFC A51, A58.

use sampan_wire::orca::LoadReport;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How reports become weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightSettings {
    /// Reports have to come for this long before they count. Default 10 s.
    pub blackout: Duration,
    /// A report counts for this long. Default 3 min.
    pub expiration: Duration,
    /// How much errors weigh. Default 1.
    pub error_penalty: f64,
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
fn weight_of(report: &LoadReport, error_penalty: f64) -> Option<f64> {
    let used = if report.application_utilization > 0.0 {
        report.application_utilization
    } else {
        report.cpu_utilization
    };
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
        let Some(weight) = weight_of(report, settings.error_penalty) else {
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
        let weight = |report: LoadReport| weight_of(&report, 1.0);
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
