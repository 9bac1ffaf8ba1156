//! Bounds the calls in flight by what their latency says: while answers take no longer than on
//! an idle service the bound grows, and when they queue it shrinks.
//!
//! Every window: limit × (shortest round trip × 1.25) / median + √limit. The shortest round trip
//! is measured anew from time to time, with few calls in flight.
//!
//! Source: Envoy, "adaptive concurrency", gradient controller.

use rand::Rng;
use std::time::Duration;
use tokio::time::Instant;

/// How a bound follows latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveSettings {
    /// Never fewer in flight, and just so many while the shortest round trip is measured.
    /// Default 3.
    pub min_limit: u32,
    /// Never more. Default 1000.
    pub max_limit: u32,
    /// Between two changes. Default 100 ms.
    pub window: Duration,
    /// Between two measurements of the shortest round trip, and 15 % of jitter. Default 60 s.
    pub measure_every: Duration,
    /// Calls of such a measurement. Default 50.
    pub measured_calls: u32,
}

/// A bound of calls in flight.
#[derive(Clone, Debug)]
pub struct AdaptiveConcurrency {
    settings: AdaptiveSettings,
    limit: f64,
    phase: Phase,
    /// Round trips of this window, or of this measurement.
    samples: Vec<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Of the shortest round trip; the limit holds again behind it.
    Measure { since: Instant, limit_before: f64 },
    Follow {
        shortest: Duration,
        window_ends: Instant,
        measure_at: Instant,
    },
}

const BUFFER: f64 = 1.25;
const JITTER: f64 = 0.15;
/// One window changes the limit by no more than this.
const GRADIENT: std::ops::RangeInclusive<f64> = 0.5..=2.0;
/// A window ends with so many, so that its memory is bounded.
const MAX_SAMPLES: usize = 1000;

// === impl AdaptiveSettings ===

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self {
            min_limit: 3,
            max_limit: 1000,
            window: Duration::from_millis(100),
            measure_every: Duration::from_secs(60),
            measured_calls: 50,
        }
    }
}

// === impl AdaptiveConcurrency ===

impl AdaptiveConcurrency {
    /// Begins with a measurement.
    #[must_use]
    pub fn new(settings: AdaptiveSettings, now: Instant) -> Self {
        let min_limit = settings.min_limit.max(1);
        let settings = AdaptiveSettings {
            min_limit,
            max_limit: settings.max_limit.max(min_limit),
            measured_calls: settings.measured_calls.clamp(1, MAX_SAMPLES as u32),
            ..settings
        };
        let limit = f64::from(min_limit);
        Self {
            settings,
            limit,
            phase: Phase::Measure {
                since: now,
                limit_before: limit,
            },
            samples: Vec::new(),
        }
    }

    /// Whether one more may be sent while so many are in flight.
    #[must_use]
    pub fn admits(&self, in_flight: u32) -> bool {
        in_flight < self.limit()
    }

    /// How many may be in flight.
    #[must_use]
    pub fn limit(&self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between the limits of its settings"
        )]
        let limit = self.limit as u32;
        limit
    }

    /// A call has ended that a server worked on: not one that was shed or never sent, which
    /// would look fast.
    pub fn ended(&mut self, started: Instant, now: Instant, rng: &mut impl Rng) {
        let round_trip = now.saturating_duration_since(started);
        match self.phase {
            Phase::Measure {
                since,
                limit_before,
            } => {
                // Those sent before had more beside them.
                if started >= since {
                    self.samples.push(round_trip);
                }
                let is_enough = self.samples.len() >= self.settings.measured_calls as usize;
                // Where there are few calls, few must do.
                let is_over = now >= since + self.settings.measure_every;
                if (is_enough || is_over)
                    && let Some(shortest) = self.take_median()
                {
                    self.limit = limit_before;
                    let wait = self.settings.measure_every;
                    self.phase = Phase::Follow {
                        shortest,
                        window_ends: now + self.settings.window,
                        measure_at: now + wait.mul_f64(1.0 + rng.random_range(0.0..JITTER)),
                    };
                }
            }
            Phase::Follow {
                shortest,
                window_ends,
                measure_at,
            } => {
                self.samples.push(round_trip);
                if now < window_ends && self.samples.len() < MAX_SAMPLES {
                    return;
                }
                if let Some(median) = self.take_median() {
                    self.follow(shortest, median);
                }
                self.phase = Phase::Follow {
                    shortest,
                    window_ends: now + self.settings.window,
                    measure_at,
                };
                if now >= measure_at {
                    self.phase = Phase::Measure {
                        since: now,
                        limit_before: self.limit,
                    };
                    self.limit = f64::from(self.settings.min_limit);
                }
            }
        }
    }

    fn follow(&mut self, shortest: Duration, median: Duration) {
        let median = median.as_secs_f64().max(1e-9);
        let gradient = shortest.as_secs_f64() * BUFFER / median;
        let gradient = gradient.clamp(*GRADIENT.start(), *GRADIENT.end());
        let limit = self.limit * gradient + self.limit.sqrt();
        let (min, max) = (self.settings.min_limit, self.settings.max_limit);
        self.limit = limit.clamp(min.into(), max.into());
    }

    fn take_median(&mut self) -> Option<Duration> {
        let middle = self.samples.len().checked_sub(1)? / 2;
        let (_, &mut median, _) = self.samples.select_nth_unstable(middle);
        self.samples.clear();
        Some(median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    const MILLI: Duration = Duration::from_millis(1);

    /// A service of so many places, each call of 10 ms; whoever finds none waits. All clients
    /// always have a call. Gives the limits over time.
    fn run(places: u32, clients: u32, seconds: u32) -> Vec<u32> {
        let mut rng = SmallRng::seed_from_u64(7);
        let mut now = Instant::now();
        let end = now + Duration::from_secs(seconds.into());
        let mut limit = AdaptiveConcurrency::new(AdaptiveSettings::default(), now);
        let mut limits = Vec::new();
        while now < end {
            let in_flight = (0..clients)
                .take_while(|&count| limit.admits(count))
                .count();
            let queued = (in_flight as f64 / f64::from(places)).max(1.0);
            let round_trip = (10 * MILLI).mul_f64(queued);
            let started = now;
            now += round_trip;
            for _ in 0..in_flight {
                limit.ended(started, now, &mut rng);
            }
            limits.push(limit.limit());
        }
        limits
    }

    #[test]
    fn the_limit_settles_a_little_above_what_the_service_can_do() {
        for places in [5, 20, 100, 400] {
            let limits = run(places, 2_000, 30);
            let last = &limits[limits.len() / 2..];
            let most = f64::from(places) * BUFFER + 2.0 * f64::from(places).sqrt() + 2.0;
            for &limit in last {
                assert!(
                    limit >= places && f64::from(limit) <= most,
                    "{places}: {limit}"
                );
            }
        }
    }

    #[test]
    fn without_queues_the_limit_grows_to_its_end() {
        let limits = run(u32::MAX, 2_000, 30);
        assert_eq!(limits.last(), Some(&1000));
    }

    #[test]
    fn the_shortest_round_trip_is_measured_anew_with_few_in_flight() {
        let limits = run(20, 2_000, 200);
        let settled = limits.iter().position(|&limit| limit > 20).unwrap();
        let later = &limits[settled..];
        let starts = later.windows(2).filter(|pair| pair[0] > 3 && pair[1] == 3);
        // Every 60 s and a little.
        assert!((2..=3).contains(&starts.count()));
    }

    #[test]
    fn calls_sent_before_a_measurement_do_not_count_in_it() {
        let start = Instant::now();
        let mut rng = SmallRng::seed_from_u64(7);
        let mut limit = AdaptiveConcurrency::new(AdaptiveSettings::default(), start + 10 * MILLI);
        for _ in 0..200 {
            limit.ended(start, start + 20 * MILLI, &mut rng);
        }
        assert!(limit.samples.is_empty() && matches!(limit.phase, Phase::Measure { .. }));
    }

    proptest! {
        #[test]
        fn whatever_happens_the_limit_and_the_memory_are_bounded(
            seed in any::<u64>(),
            calls in prop::collection::vec((0u64..500, 0u64..2_000_000), 1..400),
        ) {
            let mut rng = SmallRng::seed_from_u64(seed);
            let start = Instant::now();
            let mut now = start;
            let mut limit = AdaptiveConcurrency::new(AdaptiveSettings::default(), now);
            for (pause, micros) in calls {
                now += MILLI * u32::try_from(pause).unwrap();
                let started = now.checked_sub(Duration::from_micros(micros)).unwrap_or(start);
                limit.ended(started, now, &mut rng);
                prop_assert!((3..=1000).contains(&limit.limit()));
                prop_assert!(limit.samples.len() <= MAX_SAMPLES);
                prop_assert!(limit.admits(0) && !limit.admits(1000));
            }
        }
    }
}
