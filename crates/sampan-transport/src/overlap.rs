//! Whether what is written early is worked on meanwhile.
//!
//! A connection with much to do can write at its end, once for all of it, or in between, so that the
//! peer works on the first part while this side does the rest. In between, two cores do half as much
//! again as in turns; where both sides share a core, or wait for something else, nobody works
//! meanwhile, and each write more is a sixth of what a call costs.
//!
//! What tells the two apart is whether this thread runs all the time. It sleeps when its peers have
//! nothing for it, and it stands still while another thread has its core. Either way writing early has
//! brought nothing, and writes wait for each other for a while before it is tried again.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

/// Of one thread.
#[derive(Clone, Copy, Debug, Default)]
struct Overlap {
    /// When was it looked at last, and how long had the thread run by then?
    last: Option<(Instant, Duration)>,
    /// How often in a row it did not run all the time.
    misses: u32,
    /// Until then writes wait for each other.
    pause: Option<Instant>,
}

/// Long enough to say something.
const PERIOD: Duration = Duration::from_millis(1);
/// What lies this far back is of another load.
const STALE: Duration = Duration::from_millis(20);
/// In a row, and it does not pay: the first period after a pause begins in turns.
const MISSES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// Calls of one connection that are much to do.
pub(crate) const MUCH: usize = 16;

thread_local! {
    static OVERLAP: RefCell<Overlap> = RefCell::new(Overlap::default());
}

/// A connection of this thread has much to do since `now`.
pub(crate) fn look(now: Instant) {
    OVERLAP.with_borrow_mut(|overlap| {
        if overlap.is_due(now) && is_real(now) {
            overlap.look(now, busy());
        }
    });
}

/// A simulated clock does not say how long a thread could have run.
fn is_real(now: Instant) -> bool {
    let real = Instant::now();
    let (early, late) = (now.min(real), now.max(real));
    late.duration_since(early) < PERIOD / 4
}

/// Whether it pays on this thread to write before everything is done.
pub(crate) fn pays() -> bool {
    OVERLAP.with_borrow(|overlap| overlap.pause.is_none())
}

/// How long this thread has run.
#[cfg(target_os = "linux")]
fn busy() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).ok()
}

/// Not known: it pays.
#[cfg(not(target_os = "linux"))]
fn busy() -> Option<Duration> {
    None
}

// === impl Overlap ===

impl Overlap {
    fn is_due(&self, now: Instant) -> bool {
        match (self.pause, self.last) {
            (Some(pause), _) => now >= pause,
            (None, Some((last, _))) => now.saturating_duration_since(last) >= PERIOD,
            (None, None) => true,
        }
    }

    fn look(&mut self, now: Instant, busy: Option<Duration>) {
        let Some(busy) = busy else {
            return;
        };
        let last = self.last.replace((now, busy));
        if self.pause.take().is_some() {
            self.misses = 0;
            return;
        }
        let Some((then, before)) = last else {
            return;
        };
        let passed = now.saturating_duration_since(then);
        if passed > STALE {
            return;
        }
        // Sides that share a core have about half of it each.
        if 3 * busy.saturating_sub(before) >= 2 * passed {
            self.misses = 0;
            return;
        }
        self.misses += 1;
        if self.misses >= MISSES {
            self.pause = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that runs so much of the time, for so many periods. In how many of them it pays.
    fn paying(percent: u32, periods: u32) -> u32 {
        let (mut overlap, start) = (Overlap::default(), Instant::now());
        (0..periods)
            .filter(|&period| {
                let now = start + PERIOD * period;
                if overlap.is_due(now) {
                    overlap.look(now, Some(PERIOD * period * percent / 100));
                }
                overlap.pause.is_none()
            })
            .count()
            .try_into()
            .unwrap_or(u32::MAX)
    }

    #[test]
    fn a_thread_that_always_runs_writes_early() {
        assert_eq!(paying(100, 1000), 1000);
        assert_eq!(paying(70, 1000), 1000);
    }

    #[test]
    fn one_that_shares_its_core_or_sleeps_tries_it_now_and_then() {
        for percent in [0, 20, 50] {
            let tried = paying(percent, 1000);
            assert!((20..=50).contains(&tried), "{tried} at {percent} %");
        }
    }

    #[test]
    fn a_pause_between_two_loads_says_nothing() {
        let (mut overlap, start) = (Overlap::default(), Instant::now());
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert!(overlap.is_due(now));
            overlap.look(now, Some(Duration::ZERO));
        }
        assert!(overlap.pause.is_none());
    }

    #[test]
    fn what_is_not_known_pays() {
        let (mut overlap, start) = (Overlap::default(), Instant::now());
        for period in 0..10 {
            overlap.look(start + PERIOD * period, None);
        }
        assert!(overlap.pause.is_none());
    }
}
