//! Of a few endpoints drawn at random, the one with the fewest calls in flight.
//!
//! Source: gRFC A48; "the power of two choices".

use super::{CallInfo, Member, Pick, Picker, Policy, Seats, seats::Seat, unit};
use rand::RngCore;
use std::{sync::Arc, time::Instant};

/// Of a few endpoints drawn at random, the one with the fewest calls in flight: avoids slow
/// endpoints without knowing anything else about them.
///
/// A call is in flight until its last trailer, or the drop of its response. An endpoint of weight 3
/// counts as having a third of its calls, and ties go by weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastRequest {
    choices: u32,
}

#[derive(Debug)]
struct LeastRequestPicker {
    seats: Seats,
    choices: usize,
}

// === impl LeastRequest ===

impl LeastRequest {
    /// Draws so many, from 2 to 10. Default 2.
    #[must_use]
    pub const fn of(choices: u32) -> Self {
        let choices = if choices > 10 { 10 } else { choices };
        Self {
            choices: if choices < 2 { 2 } else { choices },
        }
    }
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self::of(2)
    }
}

impl Policy for LeastRequest {
    fn picker(&self, members: &[Member], _: Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        Arc::new(LeastRequestPicker {
            seats: Seats::new(members),
            choices: self.choices as usize,
        })
    }
}

impl Picker for LeastRequestPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        let seat = self.seats.best_of(self.choices, call, now, rng, has_less);
        Pick::ready(seat.index)
    }
}

/// Whether `one` has fewer calls in flight for its weight. Of two that have as many each gets by its
/// weight.
pub(super) fn has_less(one: &Seat, other: &Seat, rng: &mut dyn RngCore) -> bool {
    let (ours, theirs) = (one.replica.in_flight(), other.replica.in_flight());
    if one.weight == other.weight {
        return ours < theirs;
    }
    let part = |calls: u32, of: u32| u64::from(calls) * u64::from(of);
    let (ours, theirs) = (part(ours, other.weight), part(theirs, one.weight));
    if ours != theirs {
        return ours < theirs;
    }
    let (one, other) = (f64::from(one.weight), f64::from(other.weight));
    unit(rng) * (one + other) < one
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Bench, *};

    #[test]
    fn equal_endpoints_get_equal_shares_and_a_busy_one_nothing() {
        let mut bench = Bench::new(4);
        let even = bench.counts(&LeastRequest::default(), 10_000);
        assert!(even.iter().all(|n| (2300..2700).contains(n)), "{even:?}");
        // It loses against each other one.
        bench.members[2].replica.begin();
        assert_eq!(bench.counts(&LeastRequest::default(), 10_000)[2], 0);
    }

    #[test]
    fn more_choices_find_the_free_one_more_often() {
        let mut bench = Bench::new(20);
        for member in &bench.members[1..] {
            member.replica.begin();
        }
        let two = bench.shares(&LeastRequest::of(2), 20_000)[0];
        let ten = bench.shares(&LeastRequest::of(10), 20_000)[0];
        assert!((0.09..0.11).contains(&two), "{two}");
        assert!((0.37..0.52).contains(&ten), "{ten}");
    }

    #[test]
    fn busy_endpoints_have_calls_in_flight_by_their_weights() {
        let mut bench = Bench::new(3);
        for (member, weight) in bench.members.iter_mut().zip([4, 2, 1]) {
            member.weight = weight;
        }
        for _ in 0..700 {
            let index = bench.picks(&LeastRequest::default(), 1)[0];
            bench.members[index].replica.begin();
        }
        let in_flight = bench.members.iter().map(|one| one.replica.in_flight());
        for (calls, expected) in in_flight.zip([400, 200, 100]) {
            assert!(calls.abs_diff(expected) <= 8, "{calls} for {expected}");
        }
    }

    #[test]
    fn idle_endpoints_get_by_their_weights() {
        let mut bench = Bench::new(2);
        bench.members[0].weight = 3;
        let share = bench.shares(&LeastRequest::default(), 20_000)[0];
        assert!((0.73..0.77).contains(&share), "{share}");
    }
}
