//! How long an endpoint's calls take of late: an average that one slow call does not move far, and
//! that believes the first call after a pause.

use super::{
    Outcome, Verdict,
    estimate::{TICK_NANOS, pack, ticks, unpack},
};
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What a call tells is lost when another one ends at the same moment: neither waits for the other.
#[derive(Debug)]
pub(super) struct Pace {
    /// The average in microseconds and the moment of its last change.
    word: AtomicU64,
    /// When it last grew.
    grew: AtomicU32,
}

/// Of the average, what one call makes.
const PART: f32 = 0.125;
/// After so long without a call the next one makes all of it, unless it was slow.
const FORGETS: Duration = Duration::from_secs(2);
/// What a failure counts as, of what calls took before it: one alone leaves an endpoint among the
/// others, two do not.
const FAILURE: f32 = 8.0;
const MOST_OF_FAILURE: f32 = 5e6;
/// Faster answers are all alike, in microseconds.
pub(super) const LEAST: f32 = 1000.0;
/// Stands for no call yet.
const NEVER: f32 = 0.0;

// === impl Pace ===

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            grew: AtomicU32::new(0),
        }
    }

    /// `at` counts nanoseconds since any fixed moment.
    pub(super) fn learn(&self, at: u64, outcome: &Outcome) {
        // One that sheds is left alone for as long as it asks.
        let (Some(took), None) = (outcome.round_trip, outcome.pushback) else {
            return;
        };
        let (average, was) = unpack(self.word.load(Relaxed));
        let stamp = ticks(at);
        let took = micros(took);
        let sample = match outcome.verdict {
            Verdict::Served => took,
            Verdict::Failed => {
                let as_much = FAILURE * average.max(took).max(LEAST);
                as_much.min(MOST_OF_FAILURE).max(took)
            }
            // It would have taken longer than that.
            Verdict::GaveUp if took > average && average != NEVER => took,
            Verdict::GaveUp => return,
        };
        let next = if average == NEVER {
            sample
        } else if sample > average {
            // Calls that were under way together tell of the same stop, once.
            if took > age(stamp, self.grew.load(Relaxed)) {
                return;
            }
            self.grew.store(stamp, Relaxed);
            average + PART * (sample - average)
        } else {
            let part = age(stamp, was) / micros(FORGETS);
            average + part.clamp(PART, 1.0) * (sample - average)
        };
        let word = pack(next.max(f32::MIN_POSITIVE), stamp);
        self.word.store(word, Relaxed);
    }

    /// As if there was no call yet.
    pub(super) fn forget(&self) {
        self.word.store(0, Relaxed);
    }

    /// In microseconds; None before the first call has ended.
    pub(super) fn read(&self) -> Option<f32> {
        let (average, _) = unpack(self.word.load(Relaxed));
        (average != NEVER).then_some(average)
    }

    /// For how long nothing was heard.
    pub(super) fn age(&self, at: u64) -> Duration {
        let (_, was) = unpack(self.word.load(Relaxed));
        let ticks = passed(ticks(at), was);
        Duration::from_nanos(u64::from(ticks) * TICK_NANOS)
    }
}

/// In microseconds.
#[allow(clippy::cast_precision_loss, reason = "read at three digits")]
fn age(now: u32, was: u32) -> f32 {
    passed(now, was) as f32 * (TICK_NANOS as f32 / 1e3)
}

/// Another may have learnt a moment after `now` was read.
const fn passed(now: u32, was: u32) -> u32 {
    let ticks = now.wrapping_sub(was);
    if ticks < 1 << 31 { ticks } else { 0 }
}

fn micros(took: Duration) -> f32 {
    took.as_secs_f32() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Instant;

    const MILLI: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MILLI;

    fn learn(pace: &Pace, at: u64, millis: u64, verdict: Verdict) {
        let outcome = Outcome::new(Instant::now(), Duration::from_millis(millis), verdict);
        pace.learn(at, &outcome);
    }

    fn read(pace: &Pace) -> f32 {
        pace.read().unwrap() / 1000.0
    }

    #[test]
    fn calls_that_a_stop_held_up_together_count_once_and_slow_ones_in_a_row_each_time() {
        let pace = Pace::new();
        assert_eq!(pace.read(), None);
        learn(&pace, SECOND, 20, Verdict::Served);
        for late in 0..10 {
            learn(
                &pace,
                2 * SECOND + late * MILLI,
                500 - late,
                Verdict::Served,
            );
        }
        assert!((79.0..81.0).contains(&read(&pace)), "{}", read(&pace));
        learn(&pace, 3 * SECOND, 500, Verdict::Served);
        assert!((131.0..134.0).contains(&read(&pace)), "{}", read(&pace));
    }

    #[test]
    fn a_fast_answer_after_a_pause_is_believed_and_one_among_many_is_not() {
        let pace = Pace::new();
        learn(&pace, SECOND, 500, Verdict::Served);
        learn(&pace, SECOND + MILLI, 1, Verdict::Served);
        assert!(read(&pace) > 430.0);
        learn(&pace, 4 * SECOND, 1, Verdict::Served);
        assert!(read(&pace) < 1.001);
    }

    #[test]
    fn failures_count_as_slow_however_fast_but_sheds_and_callers_that_leave_early_do_not() {
        let pace = Pace::new();
        learn(&pace, SECOND, 20, Verdict::Served);
        learn(&pace, 2 * SECOND, 0, Verdict::Failed);
        let once = read(&pace);
        assert!((37.0..38.0).contains(&once), "{once}");
        learn(&pace, 2 * SECOND + MILLI, 0, Verdict::Failed);
        assert!(read(&pace) > 70.0);
        let before = read(&pace);
        learn(&pace, 3 * SECOND, 10, Verdict::GaveUp);
        let mut shed = Outcome::new(Instant::now(), Duration::ZERO, Verdict::Failed);
        shed.pushback = Some(Duration::from_millis(20));
        pace.learn(3 * SECOND, &shed);
        assert_eq!(read(&pace), before);
        learn(&pace, 4 * SECOND, 900, Verdict::GaveUp);
        assert!(read(&pace) > before);
    }

    proptest! {
        #[test]
        fn it_stays_between_the_fastest_and_the_slowest(
            ends in prop::collection::vec((0..4 * SECOND, 1u64..3000), 1..30),
        ) {
            let pace = Pace::new();
            let mut at = SECOND;
            let least = ends.iter().map(|end| end.1).min().unwrap() as f32;
            let most = ends.iter().map(|end| end.1).max().unwrap() as f32;
            for (pause, millis) in ends {
                at += pause;
                learn(&pace, at, millis, Verdict::Served);
                prop_assert!((0.999 * least..1.001 * most).contains(&read(&pace)));
            }
        }
    }
}
