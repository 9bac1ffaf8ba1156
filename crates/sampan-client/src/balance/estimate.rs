//! How long an endpoint's calls take: a moving average that believes bad news at once.
//!
//! Source: Finagle's peak EWMA.

use super::{Outcome, Verdict};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How latencies are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencySettings {
    /// What is this old counts for a third. Default 10 s.
    pub decay: Duration,
    /// Stands for endpoints that were never measured, while their first calls are in flight: until
    /// then they go before all others. Default 30 ms.
    pub initial: Duration,
    /// What a failure counts as, unless it says for how long it pushes back: otherwise a replica
    /// that fails fast would look like the best. Default 5 s.
    pub penalty: Duration,
}

/// An average in microseconds and the moment of its last change, in one word: readers and
/// writers need no lock.
#[derive(Debug)]
pub(super) struct Estimate {
    word: AtomicU64,
}

/// The moment is counted in these, of 16 µs, and wraps in 19 h.
pub(super) const TICK_NANOS: u64 = 16_000;
const MAX_PENALTY: Duration = Duration::from_secs(300);
/// Stands for no measurement: below any.
const NEVER: f32 = 0.0;

// === impl LatencySettings ===

impl Default for LatencySettings {
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            initial: Duration::from_millis(30),
            penalty: Duration::from_secs(5),
        }
    }
}

impl LatencySettings {
    /// What is left of an average after so many ticks.
    fn left(&self, ticks: u32) -> f32 {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a share that is read at three digits"
        )]
        let age = ticks as f32 * (TICK_NANOS as f32 / 1e9);
        let part = age / self.decay.as_secs_f32();
        if part < 0.05 {
            // Right within 0.002 %, and nearly always.
            1.0 - part + part * part / 2.0
        } else {
            (-part).exp()
        }
    }
}

// === impl Estimate ===

impl Estimate {
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// `at` counts nanoseconds since any fixed moment.
    pub(super) fn learn(&self, settings: &LatencySettings, at: u64, outcome: &Outcome) {
        let penalty = match (outcome.pushback, outcome.verdict) {
            (Some(pushback), _) => Some(pushback.min(MAX_PENALTY)),
            (None, Verdict::Failed) => Some(settings.penalty),
            (None, Verdict::Served) => None,
            (None, Verdict::GaveUp) => return,
        };
        let round_trip = match (outcome.round_trip, penalty) {
            (Some(took), _) => took.as_secs_f32() * 1e6,
            (None, Some(_)) => NEVER,
            (None, None) => return,
        };
        let stamp = ticks(at);
        let next = |word| {
            let (average, was) = unpack(word);
            let next = match penalty {
                Some(penalty) => average.max(round_trip).max(penalty.as_secs_f32() * 1e6),
                None if average == NEVER || round_trip > average => round_trip,
                None => {
                    let left = settings.left(stamp.wrapping_sub(was));
                    average * left + round_trip * (1.0 - left)
                }
            };
            Some(pack(next.max(f32::MIN_POSITIVE), stamp))
        };
        // It always gives a word.
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    /// As if it was never measured.
    pub(super) fn forget(&self) {
        self.word.store(0, Relaxed);
    }

    /// The average as of now, in microseconds: it sinks while nothing is heard, so that an
    /// endpoint that was slow is tried again. None before the first one. Reading changes nothing.
    pub(super) fn read(&self, settings: &LatencySettings, at: u64) -> Option<f32> {
        let (average, stamp) = unpack(self.word.load(Relaxed));
        if average == NEVER {
            return None;
        }
        let age = ticks(at).wrapping_sub(stamp);
        // Younger than a millisecond, or learnt a moment after `at` was read.
        if !(64..1 << 31).contains(&age) {
            return Some(average);
        }
        Some(average * settings.left(age))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "it wraps")]
pub(super) const fn ticks(nanos: u64) -> u32 {
    (nanos / TICK_NANOS) as u32
}

pub(super) const fn pack(average: f32, stamp: u32) -> u64 {
    (average.to_bits() as u64) << 32 | stamp as u64
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the lower half is the stamp"
)]
pub(super) const fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Instant;

    const SETTINGS: LatencySettings = LatencySettings {
        decay: Duration::from_secs(10),
        initial: Duration::from_millis(30),
        penalty: Duration::from_secs(5),
    };
    const SECOND: u64 = 1_000_000_000;

    fn learn(estimate: &Estimate, at: u64, millis: u64, verdict: Verdict) {
        let outcome = Outcome::new(Instant::now(), Duration::from_millis(millis), verdict);
        estimate.learn(&SETTINGS, at, &outcome);
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_slowly() {
        let estimate = Estimate::new();
        assert_eq!(estimate.read(&SETTINGS, 0), None);
        learn(&estimate, 0, 10, Verdict::Served);
        assert_eq!(estimate.read(&SETTINGS, 0), Some(10_000.0));
        learn(&estimate, SECOND, 1000, Verdict::Served);
        assert_eq!(estimate.read(&SETTINGS, SECOND), Some(1_000_000.0));
        learn(&estimate, 11 * SECOND, 0, Verdict::Served);
        let left = estimate.read(&SETTINGS, 11 * SECOND).unwrap();
        assert!((left - 367_879.0).abs() < 500.0, "{left}");
    }

    #[test]
    fn a_failure_counts_as_slow_however_fast_it_came() {
        let estimate = Estimate::new();
        learn(&estimate, 0, 1, Verdict::Failed);
        assert_eq!(estimate.read(&SETTINGS, 0), Some(5_000_000.0));
        learn(&estimate, 0, 1, Verdict::GaveUp);
        assert_eq!(estimate.read(&SETTINGS, 0), Some(5_000_000.0));
    }

    proptest! {
        #[test]
        fn reading_changes_nothing_and_never_gives_more_than_was_measured(
            ends in prop::collection::vec((0..20 * SECOND, 1u64..3000), 1..20),
            later in 0..100 * SECOND,
        ) {
            let (often, once) = (Estimate::new(), Estimate::new());
            let mut at = 0;
            let most = ends.iter().map(|end| end.1).max().unwrap();
            for (pause, millis) in ends {
                at += pause;
                learn(&often, at, millis, Verdict::Served);
                learn(&once, at, millis, Verdict::Served);
                for _ in 0..3 {
                    often.read(&SETTINGS, at + later);
                }
            }
            prop_assert_eq!(often.read(&SETTINGS, at), once.read(&SETTINGS, at));
            let read = |at| often.read(&SETTINGS, at).unwrap();
            prop_assert!(read(at) <= 1.001 * 1000.0 * most as f32);
            prop_assert!(read(at + later) <= read(at));
        }
    }
}
