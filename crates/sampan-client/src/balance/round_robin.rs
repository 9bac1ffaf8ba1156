//! Each endpoint in turn.

use super::{Candidate, alive_from};
use rand::Rng;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct RoundRobin {
    next: AtomicUsize,
}

// === impl RoundRobin ===

impl RoundRobin {
    /// Begins at a random endpoint, so that many new clients do not all begin at the same one.
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        Self {
            next: AtomicUsize::new(rng.random_range(0..1 << 16)),
        }
    }

    pub(crate) fn pick<C: Candidate>(&self, from: &[C]) -> Option<usize> {
        if from.is_empty() {
            return None;
        }
        alive_from(from, self.next.fetch_add(1, Ordering::Relaxed) % from.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Stub, *};
    use rand::{SeedableRng, rngs::SmallRng};

    #[test]
    fn shares_are_exactly_even() {
        let picker = RoundRobin::new(&mut SmallRng::seed_from_u64(5));
        let stubs = vec![
            Stub {
                alive: true,
                in_flight: 0
            };
            7
        ];
        let mut counts = [0; 7];
        for _ in 0..700 {
            counts[picker.pick(&stubs).unwrap()] += 1;
        }
        assert_eq!(counts, [100; 7]);
    }
}
