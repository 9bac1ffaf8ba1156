//! Of two endpoints drawn at random, the one that should answer first.

use super::{
    CallInfo, Learns, Member, Pick, Picker, Policy, Seats, estimate::LatencySettings, seats::Seat,
};
use rand::RngCore;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Of two endpoints drawn at random, the one that should answer first: by how long its calls took
/// of late and how many it has in flight.
///
/// A failure counts as a slow answer. Source: Finagle, linkerd.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeakEwma {
    latency: LatencySettings,
}

#[derive(Debug)]
struct PeakEwmaPicker {
    seats: Seats,
    latency: LatencySettings,
}

// === impl PeakEwma ===

impl PeakEwma {
    /// What is this old counts for a third. Default 10 s.
    #[must_use]
    pub const fn with_decay(mut self, decay: Duration) -> Self {
        self.latency.decay = decay;
        self
    }

    /// Stands for endpoints that were never measured, while their first calls are in flight.
    /// Default 30 ms.
    #[must_use]
    pub const fn with_initial(mut self, initial: Duration) -> Self {
        self.latency.initial = initial;
        self
    }

    /// What a failure counts as. Default 5 s.
    #[must_use]
    pub const fn with_penalty(mut self, penalty: Duration) -> Self {
        self.latency.penalty = penalty;
        self
    }
}

impl Policy for PeakEwma {
    fn picker(&self, members: &[Member], _: Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        Arc::new(PeakEwmaPicker {
            seats: Seats::new(members),
            latency: self.latency,
        })
    }

    fn learns(&self) -> Learns {
        Learns::Latency(self.latency)
    }
}

impl Picker for PeakEwmaPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let cost = |seat: &Seat| {
            let pending = seat.replica.in_flight();
            let latency = match seat.replica.latency(&self.latency, now) {
                Some(latency) => latency,
                // Measured soon, or it would never be.
                None if pending == 0 => 0.0,
                None => self.latency.initial.as_secs_f32() * 1e6,
            };
            latency * (pending as f32 + 1.0)
        };
        let is_cheaper = |one: &Seat, other: &Seat, _: &mut dyn RngCore| cost(one) < cost(other);
        Pick::ready(self.seats.best_of(2, call, now, rng, is_cheaper).index)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Bench, *};
    use crate::balance::{Outcome, Verdict};

    #[test]
    fn calls_go_to_the_faster_until_its_queue_makes_up_for_it() {
        let policy = PeakEwma::default();
        let mut bench = Bench::learning(2, &policy.learns());
        for (member, millis) in bench.members.iter().zip([10, 45]) {
            let took = Duration::from_millis(millis);
            let outcome = Outcome::new(bench.start, took, Verdict::Served);
            member.replica.learn(bench.now, &outcome);
        }
        for _ in 0..3 {
            assert_eq!(bench.counts(&policy, 10), [10, 0]);
            bench.members[0].replica.begin();
        }
        bench.members[0].replica.begin();
        assert_eq!(bench.counts(&policy, 10), [0, 10], "5 × 10 > 45");
    }

    #[test]
    fn one_that_was_never_measured_is_tried_first_and_once() {
        let policy = PeakEwma::default();
        let mut bench = Bench::learning(2, &policy.learns());
        let fast = Outcome::new(bench.start, Duration::from_micros(90), Verdict::Served);
        bench.members[0].replica.learn(bench.now, &fast);
        assert_eq!(bench.counts(&policy, 10), [0, 10]);
        bench.members[1].replica.begin();
        assert_eq!(bench.counts(&policy, 10), [10, 0]);
    }

    #[test]
    fn one_that_fails_fast_is_left_alone_and_tried_again_later() {
        let policy = PeakEwma::default();
        let mut bench = Bench::learning(2, &policy.learns());
        let learn = |bench: &Bench, index: usize, verdict| {
            let outcome = Outcome::new(bench.now, Duration::from_millis(10), verdict);
            bench.members[index].replica.learn(bench.now, &outcome);
        };
        learn(&bench, 0, Verdict::Served);
        learn(&bench, 1, Verdict::Failed);
        assert_eq!(bench.counts(&policy, 100), [100, 0]);
        bench.now += Duration::from_secs(70);
        learn(&bench, 0, Verdict::Served);
        assert_eq!(bench.counts(&policy, 100), [0, 100]);
    }
}
