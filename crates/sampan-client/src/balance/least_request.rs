//! Of two endpoints drawn at random, the one with fewer calls in flight.
//!
//! Source: gRFC A48 with `choiceCount` 2; "the power of two choices".

use super::{Candidate, alive_from};
use rand::Rng;

#[derive(Debug)]
pub(crate) struct LeastRequest;

// === impl LeastRequest ===

impl LeastRequest {
    pub(crate) fn pick<C: Candidate>(&self, from: &[C], rng: &mut impl Rng) -> Option<usize> {
        if from.len() < 2 {
            return alive_from(from, 0);
        }
        let first = alive_from(from, rng.random_range(0..from.len()))?;
        // Among the others, so that the two differ.
        let mut second = rng.random_range(0..from.len() - 1);
        if second >= first {
            second += 1;
        }
        let second = alive_from(from, second)?;
        // Which of the two came first is random already: that settles a tie.
        if from[second].in_flight() < from[first].in_flight() {
            Some(second)
        } else {
            Some(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Stub, *};
    use rand::{SeedableRng, rngs::SmallRng};

    #[test]
    fn equal_endpoints_get_equal_shares_and_a_busy_one_almost_nothing() {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut stubs = vec![
            Stub {
                alive: true,
                in_flight: 1
            };
            4
        ];
        let mut picks = |stubs: &[Stub]| {
            let mut counts = vec![0; stubs.len()];
            for _ in 0..10_000 {
                counts[LeastRequest.pick(stubs, &mut rng).unwrap()] += 1;
            }
            counts
        };
        let even = picks(&stubs);
        assert!(
            even.iter().all(|count| (2300..2700).contains(count)),
            "{even:?}"
        );
        // It loses against each other one.
        stubs[2].in_flight = 9;
        assert_eq!(picks(&stubs)[2], 0);
    }
}
