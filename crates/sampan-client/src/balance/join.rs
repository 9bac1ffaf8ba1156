//! How the share of an endpoint grows that has just been connected.

use std::time::Duration;

/// Gives an endpoint that joins others little at first, and its whole share after a while: caches
/// are cold and code is not compiled yet.
///
/// The share is `(age / window)^(1 / aggression)` of a whole one. The endpoints that a channel
/// starts with are not held back, nor is one that is alone. Source: Envoy, "Slow start mode".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// How long it takes. Zero turns it off. Default 10 s.
    pub window: Duration,
    /// What it begins with, of a whole share. Default 0.1.
    pub least: f64,
    /// More makes the share grow faster at first. Default 1.
    pub aggression: f64,
}

// === impl SlowStart ===

impl SlowStart {
    /// Whole shares from the beginning.
    pub const OFF: Self = Self {
        window: Duration::ZERO,
        least: 1.0,
        aggression: 1.0,
    };

    /// The share at this age; None when it is whole.
    pub(super) fn share(&self, age: Duration) -> Option<f64> {
        (age < self.window).then(|| {
            let grown = age.as_secs_f64() / self.window.as_secs_f64();
            grown.powf(1.0 / self.aggression).max(self.least)
        })
    }
}

impl Default for SlowStart {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            least: 0.1,
            aggression: 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        RoundRobin,
        testing::{Bench, SECOND},
    };

    #[test]
    fn the_share_of_a_replica_that_joins_grows_to_a_whole_one() {
        let mut bench = Bench::new(4);
        bench.members[3].replica.starts_slowly(bench.now);
        let policy = RoundRobin;
        let mut share_after = |seconds: u32| {
            bench.now = bench.start + SECOND * seconds;
            bench.shares(&policy, 20_000)[3]
        };
        let (young, half, grown) = (share_after(0), share_after(5), share_after(10));
        assert!((0.02..0.05).contains(&young), "{young}");
        assert!((0.12..0.17).contains(&half), "{half}");
        assert!((0.249..0.251).contains(&grown), "{grown}");
    }

    #[test]
    fn a_replica_that_is_alone_gets_all_calls_however_young() {
        let mut bench = Bench::new(1);
        bench.members[0].replica.starts_slowly(bench.now);
        assert_eq!(bench.shares(&RoundRobin, 100), [1.0]);
    }
}
