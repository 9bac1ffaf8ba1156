//! Each endpoint in turn, as often as its load reports say that it can.
//!
//! Source: gRFC A58, A114.

use super::{
    Learns, Member, Picker, Policy, RoundRobin, Seats,
    report::{UtilizationMetric, WeightSettings},
    weighted::WeightedPicker,
};
use rand::RngCore;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Each endpoint in turn, by weights that follow from load reports: the calls that it could do
/// each second.
///
/// Endpoints without a weight, for the first 10 s of their reports or because none came for
/// 3 min, get the mean of the others. While fewer than two have one, all get the same.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedRoundRobin {
    weights: WeightSettings,
    update: Duration,
    /// None: reports come with calls.
    reports: Option<Duration>,
}

/// More often would cost more than it gives.
const SHORTEST_UPDATE: Duration = Duration::from_millis(100);

// === impl WeightedRoundRobin ===

impl WeightedRoundRobin {
    /// Reports have to come for this long before they count. Default 10 s.
    #[must_use]
    pub const fn with_blackout(mut self, blackout: Duration) -> Self {
        self.weights.blackout = blackout;
        self
    }

    /// A report counts for this long. Default 3 min.
    #[must_use]
    pub const fn with_expiration(mut self, expiration: Duration) -> Self {
        self.weights.expiration = expiration;
        self
    }

    /// How often weights are taken anew; 100 ms at least. Default 1 s.
    #[must_use]
    pub fn with_update(mut self, update: Duration) -> Self {
        self.update = update.max(SHORTEST_UPDATE);
        self
    }

    /// Takes reports beside calls, asked for this often, in place of those that come with calls:
    /// for calls that are long or few.
    #[must_use]
    pub const fn with_reports_every(mut self, period: Duration) -> Self {
        self.reports = Some(period);
        self
    }

    /// What says how much of an endpoint is in use: the largest of these that its report has.
    /// Default, and where it has none: the application's utilization, else the processor's.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl IntoIterator<Item = UtilizationMetric>) -> Self {
        self.weights.metrics = metrics.into_iter().collect();
        self
    }

    /// How much errors weigh. Default 1.
    #[must_use]
    pub const fn with_error_penalty(mut self, penalty: f64) -> Self {
        self.weights.error_penalty = penalty;
        self
    }
}

impl Default for WeightedRoundRobin {
    fn default() -> Self {
        Self {
            weights: WeightSettings::default(),
            update: Duration::from_secs(1),
            reports: None,
        }
    }
}

impl Policy for WeightedRoundRobin {
    fn picker(&self, members: &[Member], now: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        let told = seats.list().iter();
        let told: Vec<_> = told
            .map(|seat| seat.replica.weight(&self.weights, now))
            .collect();
        let known: Vec<f64> = told.iter().copied().flatten().collect();
        if known.len() < 2 {
            return RoundRobin.picker(members, now, rng);
        }
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let weights: Vec<_> = told.iter().map(|told| told.unwrap_or(mean)).collect();
        Arc::new(WeightedPicker::new(seats, &weights, rng))
    }

    fn refresh(&self) -> Option<Duration> {
        Some(self.update)
    }

    fn learns(&self) -> Learns {
        match self.reports {
            None => Learns::Weight(self.weights.clone()),
            Some(_) => Learns::WeightBesideCalls(self.weights.clone()),
        }
    }

    fn reports_every(&self) -> Option<Duration> {
        self.reports
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Bench, SECOND},
        *,
    };
    use crate::balance::{LoadReport, Outcome, Verdict};

    fn report(bench: &Bench, index: usize, calls_per_second: f64) {
        let mut outcome = Outcome::new(bench.now, Duration::ZERO, Verdict::Served);
        outcome.report = Some(LoadReport {
            cpu_utilization: 0.5,
            calls_per_second,
            ..LoadReport::default()
        });
        bench.members[index].replica.learn(bench.now, &outcome);
    }

    #[test]
    fn shares_follow_what_the_reports_say_and_the_mean_stands_for_none() {
        let policy = WeightedRoundRobin::default();
        let mut bench = Bench::learning(3, &policy.learns());
        report(&bench, 0, 100.0);
        report(&bench, 1, 300.0);
        bench.now += 10 * SECOND;
        let shares = bench.shares(&policy, 30_000);
        for (share, expected) in shares.iter().zip([1.0 / 6.0, 3.0 / 6.0, 2.0 / 6.0]) {
            assert!((share - expected).abs() < 0.005, "{shares:?}");
        }
    }

    #[test]
    fn reports_beside_calls_count_in_place_of_those_with_calls() {
        let policy = WeightedRoundRobin::default().with_reports_every(10 * SECOND);
        assert_eq!(policy.reports_every(), Some(10 * SECOND));
        let mut bench = Bench::learning(2, &policy.learns());
        for (member, calls_per_second) in bench.members.iter().zip([100.0, 300.0]) {
            let told = LoadReport {
                cpu_utilization: 0.5,
                calls_per_second,
                ..LoadReport::default()
            };
            member.replica.hear(bench.now, &told);
        }
        report(&bench, 0, 900.0);
        bench.now += 10 * SECOND;
        let shares = bench.shares(&policy, 10_000);
        assert!((shares[0] - 0.25).abs() < 0.005, "{shares:?}");
    }

    #[test]
    fn all_get_the_same_until_two_have_reported_for_the_blackout() {
        let policy = WeightedRoundRobin::default();
        let mut bench = Bench::learning(3, &policy.learns());
        report(&bench, 0, 900.0);
        bench.now += 10 * SECOND;
        report(&bench, 1, 100.0);
        assert_eq!(bench.counts(&policy, 300), [100; 3]);
        bench.now += 10 * SECOND;
        assert_ne!(bench.counts(&policy, 300), [100; 3]);
    }
}
