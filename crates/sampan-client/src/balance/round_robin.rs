//! Each endpoint in turn.

use super::{CallInfo, Member, Pick, Picker, Policy, Seats, below};
use rand::RngCore;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

/// Each endpoint in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

#[derive(Debug)]
struct RoundRobinPicker {
    seats: Seats,
    next: AtomicUsize,
}

// === impl RoundRobin ===

impl Policy for RoundRobin {
    fn picker(&self, members: &[Member], _: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        // Begins at a random one, so that many new clients do not all begin at the same.
        let next = AtomicUsize::new(below(seats.len(), rng));
        Arc::new(RoundRobinPicker { seats, next })
    }
}

impl Picker for RoundRobinPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, _: &CallInfo<'_>) -> Pick {
        let len = self.seats.len();
        // Those that are passed over lose their turns for good: the one behind them gets no more
        // than the others.
        let seat = self
            .seats
            .first_within(len, now, rng, |_| self.next.fetch_add(1, Relaxed) % len);
        Pick::ready(seat.index)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Bench, *};
    use std::time::Duration;

    #[test]
    fn shares_are_exactly_even() {
        assert_eq!(Bench::new(7).counts(&RoundRobin, 700), [100; 7]);
    }

    #[test]
    fn the_calls_of_those_that_are_left_out_go_to_all_others() {
        let mut bench = Bench::new(10);
        for member in &bench.members[2..6] {
            member.replica.push_back(bench.now, Duration::from_secs(1));
        }
        let counts = bench.counts(&RoundRobin, 600);
        assert_eq!(counts, [100, 100, 0, 0, 0, 0, 100, 100, 100, 100]);
    }
}
