//! Chooses the endpoint of each attempt.
//!
//! Pickers are pure: they see candidates, a random source, and nothing else.

mod dice;
mod least_request;
mod round_robin;

pub(crate) use dice::Dice;
pub(crate) use least_request::LeastRequest;
pub(crate) use round_robin::RoundRobin;

use crate::Balance;
use rand::Rng;

/// What a picker sees of an endpoint.
pub(crate) trait Candidate {
    /// Whether its connection still takes calls.
    fn is_alive(&self) -> bool;
    /// Calls that have not ended.
    fn in_flight(&self) -> u32;
}

/// The picker that a channel's settings ask for.
#[derive(Debug)]
pub(crate) enum Picker {
    LeastRequest(LeastRequest),
    RoundRobin(RoundRobin),
}

// === impl Picker ===

impl Picker {
    pub(crate) fn new(balance: Balance, rng: &mut impl Rng) -> Self {
        match balance {
            Balance::LeastRequest => Self::LeastRequest(LeastRequest),
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::new(rng)),
        }
    }

    /// The index of the candidate to take; None when none is alive.
    pub(crate) fn pick<C: Candidate>(&self, from: &[C], rng: &mut impl Rng) -> Option<usize> {
        match self {
            Self::LeastRequest(picker) => picker.pick(from, rng),
            Self::RoundRobin(picker) => picker.pick(from),
        }
    }
}

/// The first candidate that is alive at or after `start`, around the end.
fn alive_from<C: Candidate>(from: &[C], start: usize) -> Option<usize> {
    (start..from.len())
        .chain(0..start)
        .find(|&index| from[index].is_alive())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    #[derive(Clone, Debug)]
    pub(super) struct Stub {
        pub(super) alive: bool,
        pub(super) in_flight: u32,
    }

    impl Candidate for Stub {
        fn is_alive(&self) -> bool {
            self.alive
        }

        fn in_flight(&self) -> u32 {
            self.in_flight
        }
    }

    fn stubs() -> impl Strategy<Value = Vec<Stub>> {
        let stub =
            (any::<bool>(), 0u32..50).prop_map(|(alive, in_flight)| Stub { alive, in_flight });
        prop::collection::vec(stub, 0..12)
    }

    proptest! {
        #[test]
        fn a_dead_endpoint_is_never_picked_and_a_live_one_always_found(stubs in stubs(), seed: u64) {
            let mut rng = SmallRng::seed_from_u64(seed);
            for balance in [Balance::LeastRequest, Balance::RoundRobin] {
                let picker = Picker::new(balance, &mut rng);
                for _ in 0..20 {
                    match picker.pick(&stubs, &mut rng) {
                        Some(index) => prop_assert!(stubs[index].alive),
                        None => prop_assert!(stubs.iter().all(|stub| !stub.alive)),
                    }
                }
            }
        }
    }
}
