//! Sheds by how long requests wait before they are worked on, the least important first.
//!
//! While the mean wait of a window is over 20 ms, 5 % fewer are let in than in that window;
//! otherwise 1 % more of those that came. A request is let in by its priority: equal ones fare
//! alike, and one of several levels is cut before the next is touched.
//!
//! Source: DAGOR (Overload Control for Scaling WeChat Microservices, SoCC 2018).

use rand::Rng;
use sampan_wire::Code;
use std::time::Duration;
use tokio::time::Instant;

/// When requests are shed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueDelaySettings {
    /// A longer mean wait is overload. Default 20 ms.
    pub threshold: Duration,
    /// A window ends after so long. Default 1 s.
    pub window: Duration,
    /// Or after so many requests. Default 2000.
    pub window_requests: u32,
}

/// Lets requests in, or sheds them.
#[derive(Clone, Debug)]
pub struct QueueDelay {
    settings: QueueDelaySettings,
    /// Priorities below it are let in; of the one at its whole part, the rest of it is.
    cut: f64,
    mean_wait: Duration,
    window: Window,
}

#[derive(Clone, Debug)]
struct Window {
    ends: Instant,
    /// By priority.
    came: [u32; LEVELS],
    worked_on: u32,
    waited: Duration,
}

/// How important a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8);

/// Shed: UNAVAILABLE, with the time to wait as `grpc-retry-pushback-ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("overloaded: {reason}; try again after {retry_after:?}")]
pub struct Shed {
    /// Until the next window.
    pub retry_after: Duration,
    /// Why.
    pub reason: ShedReason,
}

/// Why a request is shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShedReason {
    /// Requests wait too long, and others are more important.
    QueueDelay,
    /// It would wait longer than its caller does.
    Hopeless,
}

const LEVELS: usize = 128;
const ALL: f64 = LEVELS as f64;
const LESS: f64 = 0.95;
const MORE: f64 = 0.01;

// === impl QueueDelaySettings ===

impl Default for QueueDelaySettings {
    fn default() -> Self {
        Self {
            threshold: Duration::from_millis(20),
            window: Duration::from_secs(1),
            window_requests: 2000,
        }
    }
}

// === impl Priority ===

impl Priority {
    /// Shed last.
    pub const HIGHEST: Self = Self(0);
    /// Where nobody says otherwise.
    pub const DEFAULT: Self = Self(LEVELS as u8 / 2);
    /// Shed first.
    pub const LOWEST: Self = Self(LEVELS as u8 - 1);

    /// 0 is the most important, 127 the least; more is 127.
    #[must_use]
    pub const fn new(level: u8) -> Self {
        if level > Self::LOWEST.0 {
            Self::LOWEST
        } else {
            Self(level)
        }
    }
}

// === impl QueueDelay ===

impl QueueDelay {
    /// Lets everything in at first.
    #[must_use]
    pub fn new(settings: QueueDelaySettings, now: Instant) -> Self {
        Self {
            settings,
            cut: ALL,
            mean_wait: Duration::ZERO,
            window: Window::new(now + settings.window),
        }
    }

    /// A request has come. `left` is what its deadline leaves.
    ///
    /// # Errors
    ///
    /// When it is to be shed.
    pub fn admit(
        &mut self,
        now: Instant,
        priority: Priority,
        left: Option<Duration>,
        rng: &mut impl Rng,
    ) -> Result<(), Shed> {
        self.roll(now);
        let level = usize::from(priority.0);
        self.window.came[level] = self.window.came[level].saturating_add(1);
        let shed = |reason| Shed {
            retry_after: self.window.ends.saturating_duration_since(now),
            reason,
        };
        if left.is_some_and(|left| left <= self.mean_wait) {
            return Err(shed(ShedReason::Hopeless));
        }
        if f64::from(priority.0) + rng.random::<f64>() >= self.cut {
            return Err(shed(ShedReason::QueueDelay));
        }
        Ok(())
    }

    /// A request that was let in is worked on, after it `waited`.
    pub fn worked_on(&mut self, now: Instant, waited: Duration) {
        self.window.worked_on = self.window.worked_on.saturating_add(1);
        self.window.waited = self.window.waited.saturating_add(waited);
        self.roll(now);
    }

    /// Whether some requests are shed for waits.
    #[must_use]
    pub fn is_shedding(&self) -> bool {
        self.cut < ALL
    }

    fn roll(&mut self, now: Instant) {
        let window = &self.window;
        let came: u32 = window
            .came
            .iter()
            .fold(0, |sum, came| sum.saturating_add(*came));
        if now < window.ends && came < self.settings.window_requests.max(1) {
            return;
        }
        self.mean_wait = window
            .waited
            .checked_div(window.worked_on)
            .unwrap_or_default();
        let was_idle = now >= window.ends + self.settings.window;
        self.cut = if was_idle {
            // Nobody came for a whole window: what was known is of no use.
            ALL
        } else if came == 0 {
            self.cut
        } else if self.mean_wait > self.settings.threshold {
            window.cut_for(window.let_in_by(self.cut) * LESS)
        } else {
            window.cut_for(window.let_in_by(self.cut) + f64::from(came) * MORE)
        };
        self.window = Window::new(now + self.settings.window);
    }
}

// === impl Window ===

impl Window {
    const fn new(ends: Instant) -> Self {
        Self {
            ends,
            came: [0; LEVELS],
            worked_on: 0,
            waited: Duration::ZERO,
        }
    }

    /// How many this cut lets in; by chance it was a little more or less.
    fn let_in_by(&self, cut: f64) -> f64 {
        let part = |level: usize| (cut - level as f64).clamp(0.0, 1.0);
        let let_in = self.came.iter().enumerate();
        let_in
            .map(|(level, &came)| f64::from(came) * part(level))
            .sum()
    }

    /// The cut that would have let in so many.
    fn cut_for(&self, wanted: f64) -> f64 {
        let mut left = wanted;
        for (level, &came) in self.came.iter().enumerate() {
            let came = f64::from(came);
            if left < came {
                return level as f64 + left / came;
            }
            left -= came;
        }
        ALL
    }
}

// === impl Shed ===

impl Shed {
    /// What a shed call ends with.
    pub const CODE: Code = Code::Unavailable;
}

// === impl ShedReason ===

impl std::fmt::Display for ShedReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::QueueDelay => "requests wait too long",
            Self::Hopeless => "it would wait longer than its caller does",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    const MILLI: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// A service that works off 1,000 a second from one queue of at most 500, under so many a
    /// second of each priority. Counts what is done and shed in the last half.
    fn run(load: &[(u8, u32)], seconds: u32) -> Vec<(u8, u32, u32)> {
        let mut rng = SmallRng::seed_from_u64(3);
        let start = Instant::now();
        let mut delay = QueueDelay::new(QueueDelaySettings::default(), start);
        let mut queue = std::collections::VecDeque::new();
        let mut counts: Vec<_> = load.iter().map(|&(level, _)| (level, 0, 0)).collect();
        for millis in 0..seconds * 1000 {
            let now = start + MILLI * millis;
            let is_counted = millis >= seconds * 500;
            for (&(level, per_second), counts) in load.iter().zip(&mut counts) {
                let (before, after) = (millis * per_second, (millis + 1) * per_second);
                for _ in before / 1000..after / 1000 {
                    let is_in = delay
                        .admit(now, Priority::new(level), None, &mut rng)
                        .is_ok();
                    if is_in && queue.len() < 500 {
                        queue.push_back((now, level));
                    } else if is_counted {
                        counts.2 += 1;
                    }
                }
            }
            if let Some((came, level)) = queue.pop_front() {
                delay.worked_on(now, now - came);
                if is_counted {
                    counts
                        .iter_mut()
                        .find(|counts| counts.0 == level)
                        .unwrap()
                        .1 += 1;
                }
            }
        }
        counts
    }

    #[test]
    fn nothing_is_shed_below_capacity() {
        assert_eq!(run(&[(64, 900)], 20), [(64, 9_000, 0)]);
    }

    #[test]
    fn at_three_times_the_load_the_service_still_does_what_it_can() {
        let [(_, done, shed)] = run(&[(64, 3_000)], 60)[..] else {
            panic!("one priority");
        };
        assert!(done >= 27_000, "{done} of 30,000");
        assert!(shed >= 50_000, "{shed}");
    }

    #[test]
    fn what_is_important_is_shed_last() {
        let counts = run(&[(10, 500), (60, 1_000), (100, 1_000)], 60);
        let [(_, high, high_shed), (_, middle, _), (_, low, low_shed)] = counts[..] else {
            panic!("three priorities");
        };
        assert!(high >= 14_500 && high_shed < 500, "{counts:?}");
        assert!(
            middle > 10_000 && low < 1_000 && low_shed > 29_000,
            "{counts:?}"
        );
    }

    #[test]
    fn overload_that_is_over_is_forgotten() {
        let mut rng = SmallRng::seed_from_u64(3);
        let start = Instant::now();
        let mut delay = QueueDelay::new(QueueDelaySettings::default(), start);
        let mut admit = |delay: &mut QueueDelay, now| {
            delay.admit(now, Priority::LOWEST, None, &mut rng).is_ok()
        };
        for second in 0..20 {
            let now = start + SECOND * second;
            for _ in 0..100 {
                admit(&mut delay, now);
            }
            delay.worked_on(now, 100 * MILLI);
        }
        assert!(delay.is_shedding());
        admit(&mut delay, start + SECOND * 20);
        assert!(delay.is_shedding(), "a window more or less changes little");
        let later = start + SECOND * 100;
        assert!((0..100).all(|_| admit(&mut delay, later)));
    }

    #[test]
    fn what_was_cut_comes_back_by_one_percent_a_window() {
        let mut rng = SmallRng::seed_from_u64(3);
        let start = Instant::now();
        let mut delay = QueueDelay::new(QueueDelaySettings::default(), start);
        delay.cut = 0.0;
        for second in 0..99 {
            let now = start + SECOND * second;
            for level in [0, 127] {
                let _ = delay.admit(now, Priority::new(level), None, &mut rng);
            }
            assert!(delay.is_shedding(), "{second}");
        }
        for second in 99..102 {
            let now = start + SECOND * second;
            let _ = delay.admit(now, Priority::HIGHEST, None, &mut rng);
        }
        assert!(!delay.is_shedding());
    }

    #[test]
    fn who_would_wait_longer_than_its_caller_is_shed_at_once() {
        let mut rng = SmallRng::seed_from_u64(3);
        let start = Instant::now();
        let mut delay = QueueDelay::new(QueueDelaySettings::default(), start);
        delay
            .admit(start, Priority::HIGHEST, None, &mut rng)
            .unwrap();
        delay.worked_on(start, 15 * MILLI);
        let now = start + SECOND;
        let mut admit = |left| delay.admit(now, Priority::HIGHEST, Some(left), &mut rng);
        let shed = admit(15 * MILLI).unwrap_err();
        assert_eq!(
            (shed.reason, shed.retry_after),
            (ShedReason::Hopeless, SECOND)
        );
        assert_eq!(admit(16 * MILLI), Ok(()));
    }

    proptest! {
        #[test]
        fn no_request_is_shed_while_a_less_important_one_always_passes(
            seed in any::<u64>(),
            steps in prop::collection::vec((0u64..400, any::<u8>(), 0u64..100), 1..300),
        ) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut now = Instant::now();
            let settings = QueueDelaySettings { window_requests: 20, ..Default::default() };
            let mut delay = QueueDelay::new(settings, now);
            for (pause, level, wait) in steps {
                now += MILLI * u32::try_from(pause).unwrap();
                let priority = Priority::new(level);
                let is_in = delay.admit(now, priority, None, &mut rng).is_ok();
                prop_assert!((0.0..=ALL).contains(&delay.cut));
                if is_in {
                    prop_assert!(f64::from(priority.0) < delay.cut);
                    delay.worked_on(now, MILLI * u32::try_from(wait).unwrap());
                } else {
                    prop_assert!(f64::from(priority.0) + 1.0 > delay.cut);
                }
            }
        }
    }
}
