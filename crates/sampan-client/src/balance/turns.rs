//! Turns that are shared out by weights.
//!
//! Turn n falls on the fractional part of n times the golden ratio, and each weight has its part
//! of the span from 0 to 1. Such points fill every part evenly (the three-distance theorem), so
//! that each seat's turns keep nearly the same distance. It is as smooth as a schedule by
//! earliest deadline, needs one counter, and takes any weights; the stride scheduler of gRFC A58
//! has to clamp them.

use rand::RngCore;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug)]
pub(super) struct Turns {
    /// Where each part ends, as a share of 2^64. The last one's end is that of all.
    ends: Box<[u64]>,
    next: AtomicU64,
}

/// 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

// === impl Turns ===

impl Turns {
    /// Weights that are no positive numbers get nothing; when none is, all get the same.
    pub(super) fn new(weights: &[f64], rng: &mut dyn RngCore) -> Self {
        let usable = |weight: &f64| {
            if weight.is_finite() && *weight > 0.0 {
                *weight
            } else {
                0.0
            }
        };
        let mut weights: Vec<f64> = weights.iter().map(usable).collect();
        if weights.iter().all(|weight| *weight == 0.0) {
            weights.fill(1.0);
        }
        let most = weights.iter().copied().fold(0.0, f64::max);
        // First to at most 1 each: the sum of the largest numbers is none.
        let sum: f64 = weights.iter().map(|weight| weight / most).sum();
        let mut before = 0.0;
        let end = |weight: f64| {
            before += weight / most;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of 2^64, and the cast stays within"
            )]
            let end = (before / sum * u64::MAX as f64) as u64;
            end
        };
        Self {
            ends: weights.iter().copied().map(end).collect(),
            next: AtomicU64::new(rng.next_u64()),
        }
    }

    /// Whose turn it is.
    pub(super) fn take(&self) -> usize {
        let point = self.next.fetch_add(STEP, Relaxed);
        let index = self.ends.partition_point(|end| *end <= point);
        // What rounding left over is nobody's.
        if index < self.ends.len() {
            index
        } else {
            self.last_with_weight()
        }
    }

    fn last_with_weight(&self) -> usize {
        let last = self.ends.len().saturating_sub(1);
        let end = self.ends.last().copied().unwrap_or_default();
        self.ends.partition_point(|one| *one < end).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    fn counts(weights: &[f64], turns: usize, seed: u64) -> Vec<usize> {
        let schedule = Turns::new(weights, &mut SmallRng::seed_from_u64(seed));
        let mut counts = vec![0; weights.len()];
        for _ in 0..turns {
            counts[schedule.take()] += 1;
        }
        counts
    }

    #[test]
    fn a_seat_s_turns_come_at_nearly_the_same_distance() {
        let weights = [5.0, 1.0, 1.0, 3.0];
        let schedule = Turns::new(&weights, &mut SmallRng::seed_from_u64(2));
        let turns: Vec<_> = (0..1000).map(|_| schedule.take()).collect();
        for (seat, weight) in weights.iter().enumerate() {
            let at: Vec<_> = (0..1000).filter(|n| turns[*n] == seat).collect();
            let farthest = at.windows(2).map(|two| two[1] - two[0]).max().unwrap();
            assert!(
                farthest as f64 <= 2.0 * 10.0 / weight + 1.0,
                "{seat}: {farthest}"
            );
        }
    }

    #[test]
    fn weights_that_are_none_get_nothing_unless_all_are() {
        assert_eq!(counts(&[0.0, 2.0, f64::NAN, -1.0], 100, 1), [0, 100, 0, 0]);
        let even = counts(&[0.0, f64::INFINITY], 1000, 1);
        assert!((490..=510).contains(&even[0]), "{even:?}");
        assert_eq!(counts(&[f64::MAX, f64::MAX, 0.0], 1000, 1)[2], 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn shares_are_those_of_the_weights_within_one_percent(
            weights in prop::collection::vec(1u32..1000, 1..40),
            seed: u64,
        ) {
            let weights: Vec<_> = weights.into_iter().map(f64::from).collect();
            let sum: f64 = weights.iter().sum();
            let turns = 50_000;
            for (count, weight) in counts(&weights, turns, seed).into_iter().zip(&weights) {
                let expected = turns as f64 * weight / sum;
                let off = (count as f64 - expected).abs();
                // A share of so few turns cannot be met better than within some whole ones.
                prop_assert!(off <= (expected * 0.01).max(3.0), "{count} for {expected}");
            }
        }
    }
}
