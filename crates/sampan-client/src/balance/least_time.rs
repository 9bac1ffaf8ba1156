//! Least request, but for endpoints that are much slower than others.
//!
//! A client that shares its endpoints with many others has hardly a call in flight for any of
//! them, and comparing noughts tells it nothing of which is slow. How long calls took does. But
//! latencies differ among equals too, so that shares by latency would follow chance: below a ratio
//! that equals seldom reach, only calls in flight count. docs/balancing.md has the measurement.

use super::{
    CallInfo, Learns, Member, Pick, Picker, Policy, Seats, least_request::has_less, pace,
    seats::Seat, unit,
};
use rand::RngCore;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Of two endpoints drawn at random, the one with fewer calls in flight; where one is more than
/// two and a half times as slow as the other, the one that should answer first.
///
/// An endpoint is as slow as its calls were of late on the average. Failures count as slow
/// answers, times under a millisecond are all alike. A slow one that has no call in flight still
/// gets one when it was not heard of for 10 s, and after a second of silence three in a thousand;
/// one fast answer to such a call brings it back. One that is about to be ejected gets one each
/// second, which decides it. Weights count as for
/// [`LeastRequest`](super::LeastRequest).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeastTime;

#[derive(Debug)]
struct LeastTimePicker {
    seats: Seats,
    /// Of the picks that draw a given seat, those that may look at it though it is slow.
    looks: f64,
}

/// Latencies of equals seldom differ by more.
const BAND: f32 = 2.5;
/// Without a call for so long, a slow endpoint gets one.
const HOLD: Duration = Duration::from_secs(10);
/// Before that it gets one call of so many, but not at once.
const LOOKS: f64 = 0.003;
const REST: Duration = Duration::from_secs(1);

// === impl LeastTime ===

impl Policy for LeastTime {
    fn picker(&self, members: &[Member], _: Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        // Two of all are drawn.
        let looks = LOOKS * seats.len() as f64 / 2.0;
        Arc::new(LeastTimePicker { seats, looks })
    }

    fn learns(&self) -> Learns {
        Learns::Pace
    }
}

// === impl LeastTimePicker ===

impl LeastTimePicker {
    fn is_better(&self, one: &Seat, other: &Seat, now: Instant, rng: &mut dyn RngCore) -> bool {
        let (Some(ours), Some(theirs)) = (one.replica.pace(), other.replica.pace()) else {
            return has_less(one, other, rng);
        };
        let (ours, theirs) = (ours.max(pace::LEAST), theirs.max(pace::LEAST));
        if ours > theirs * BAND {
            self.is_due(one, now, rng) || cost(one, ours) < cost(other, theirs)
        } else if theirs > ours * BAND {
            !self.is_due(other, now, rng) && cost(one, ours) < cost(other, theirs)
        } else {
            has_less(one, other, rng)
        }
    }

    /// Whether it is time to see if it is still slow.
    fn is_due(&self, slow: &Seat, now: Instant, rng: &mut dyn RngCore) -> bool {
        if slow.replica.in_flight() > 0 {
            return false;
        }
        let age = slow.replica.age_of_pace(now);
        if age < REST || age >= HOLD {
            return age >= HOLD;
        }
        // Ejection decides on those that fail, and needs some more failures for it.
        slow.replica.is_in_doubt() || unit(rng) < self.looks
    }
}

impl Picker for LeastTimePicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        let is_better =
            |one: &Seat, other: &Seat, rng: &mut dyn RngCore| self.is_better(one, other, now, rng);
        Pick::ready(self.seats.best_of(2, call, now, rng, is_better).index)
    }
}

/// When one more call should be answered there.
#[allow(clippy::cast_precision_loss, reason = "a few thousand")]
fn cost(seat: &Seat, pace: f32) -> f32 {
    let calls = seat.replica.in_flight() as f32 + 1.0;
    pace * calls / seat.weight.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Bench, SECOND},
        *,
    };
    use crate::balance::{Outcome, OutlierSettings, Outliers, Replica, Verdict};

    fn bench(millis: &[u64]) -> Bench {
        let mut bench = Bench::learning(millis.len(), &Learns::Pace);
        bench.now += SECOND;
        for (index, millis) in millis.iter().enumerate() {
            answers(&bench, index, *millis);
        }
        bench
    }

    fn answers(bench: &Bench, index: usize, millis: u64) {
        let took = Duration::from_millis(millis);
        let outcome = Outcome::new(bench.now, took, Verdict::Served);
        bench.members[index].replica.learn(bench.now, &outcome);
    }

    #[test]
    fn among_equals_only_calls_in_flight_count() {
        let mut bench = bench(&[20, 40, 30]);
        for share in bench.shares(&LeastTime, 10_000) {
            assert!((0.31..0.36).contains(&share), "{share}");
        }
        bench.members[0].replica.begin();
        assert_eq!(bench.counts(&LeastTime, 1000)[0], 0);
        bench.members[1].replica.begin();
        bench.members[2].replica.begin();
        assert!(bench.counts(&LeastTime, 1000)[1] > 250);
    }

    #[test]
    fn one_that_is_ten_times_slower_gets_calls_when_the_others_have_ten_times_as_many() {
        let mut bench = bench(&[20, 200]);
        for _ in 0..9 {
            assert_eq!(bench.counts(&LeastTime, 100), [100, 0]);
            bench.members[0].replica.begin();
        }
        bench.members[0].replica.begin();
        assert_eq!(bench.counts(&LeastTime, 100), [0, 100]);
    }

    #[test]
    fn a_slow_one_is_looked_at_now_and_then_and_comes_back_by_one_fast_answer() {
        let mut bench = bench(&[20, 20, 200]);
        assert_eq!(bench.counts(&LeastTime, 1000)[2], 0, "it was just heard of");
        bench.now += 2 * SECOND;
        let looks = bench.shares(&LeastTime, 100_000)[2];
        assert!((0.002..0.004).contains(&looks), "{looks}");
        bench.members[2].replica.begin();
        bench.now += 10 * SECOND;
        assert_eq!(bench.counts(&LeastTime, 1000)[2], 0, "a look is under way");
        bench.members[2].replica.leave();
        let due = bench.shares(&LeastTime, 10_000)[2];
        assert!(due > 0.6, "{due}");
        answers(&bench, 2, 20);
        let back = bench.shares(&LeastTime, 10_000)[2];
        assert!((0.31..0.36).contains(&back), "{back}");
    }

    #[test]
    fn one_that_is_about_to_be_ejected_gets_the_calls_that_decide_it() {
        let mut bench = bench(&[20, 20]);
        let outliers = Arc::new(Outliers::new(OutlierSettings::default()));
        let stuck = Replica::new(bench.start, Learns::Pace, Some(Arc::clone(&outliers)));
        bench.members[1].replica = Arc::new(stuck);
        outliers.follow(&bench.members);
        answers(&bench, 1, 20);
        let late = Outcome::new(bench.start, SECOND, Verdict::Failed);
        bench.members[1].replica.learn(bench.now, &late);
        assert_eq!(bench.counts(&LeastTime, 1000)[1], 0);
        bench.now += SECOND;
        assert_eq!(bench.counts(&LeastTime, 1000)[1], 1000);
        bench.members[1].replica.learn(bench.now, &late);
        assert!(bench.members[1].replica.is_ejected());
    }

    #[test]
    fn what_takes_less_than_a_millisecond_is_no_slower_than_what_takes_nothing() {
        let mut bench = bench(&[0, 1]);
        let share = bench.shares(&LeastTime, 10_000)[1];
        assert!((0.47..0.53).contains(&share), "{share}");
    }
}
