//! How long to wait before the next connect.

use rand::Rng;
use std::time::Duration;

/// Growing waits with jitter. Source: gRPC "Connection Backoff Protocol".
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BackoffPolicy {
    pub(crate) initial: Duration,
    pub(crate) multiplier: f64,
    pub(crate) max: Duration,
    /// Share of a wait by which it is made longer or shorter.
    pub(crate) jitter: f64,
}

/// Where one series of failures stands.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    policy: BackoffPolicy,
    next: Duration,
}

// === impl BackoffPolicy ===

impl BackoffPolicy {
    /// Inside one host or cluster: a replica is back within a second, and asking costs little.
    pub(crate) const IN_CLUSTER: Self = Self {
        initial: Duration::from_millis(50),
        multiplier: 1.6,
        max: Duration::from_millis(800),
        jitter: 0.2,
    };
    /// gRPC's own numbers, for servers far away.
    pub(crate) const FAR: Self = Self {
        initial: Duration::from_secs(1),
        multiplier: 1.6,
        max: Duration::from_secs(120),
        jitter: 0.2,
    };
}

// === impl Backoff ===

impl Backoff {
    pub(crate) const fn new(policy: BackoffPolicy) -> Self {
        Self {
            policy,
            next: policy.initial,
        }
    }

    pub(crate) const fn policy(&self) -> &BackoffPolicy {
        &self.policy
    }

    /// The wait after one more failure.
    pub(crate) fn failed(&mut self, rng: &mut impl Rng) -> Duration {
        let wait = self.next;
        self.next = wait.mul_f64(self.policy.multiplier).min(self.policy.max);
        let jitter = self.policy.jitter;
        wait.mul_f64(rng.random_range(1.0 - jitter..=1.0 + jitter))
    }

    /// The series is over.
    pub(crate) const fn reset(&mut self) {
        self.next = self.policy.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};

    proptest! {
        #[test]
        fn each_wait_lies_within_the_jitter_of_its_step(seed: u64, failures in 1usize..40) {
            for policy in [BackoffPolicy::IN_CLUSTER, BackoffPolicy::FAR] {
                let mut rng = SmallRng::seed_from_u64(seed);
                let mut backoff = Backoff::new(policy);
                let mut step = policy.initial;
                for _ in 0..failures {
                    let wait = backoff.failed(&mut rng);
                    prop_assert!(wait >= step.mul_f64(0.799) && wait <= step.mul_f64(1.201));
                    step = step.mul_f64(1.6).min(policy.max);
                }
                backoff.reset();
                prop_assert!(backoff.failed(&mut rng) <= policy.initial.mul_f64(1.201));
            }
        }
    }

    #[test]
    fn in_a_cluster_the_waits_grow_from_50_to_800_ms() {
        let policy = BackoffPolicy {
            jitter: 0.0,
            ..BackoffPolicy::IN_CLUSTER
        };
        let mut backoff = Backoff::new(policy);
        let mut rng = SmallRng::seed_from_u64(1);
        let waits: Vec<_> = (0..8)
            .map(|_| backoff.failed(&mut rng).as_millis())
            .collect();
        assert_eq!(waits, [50, 80, 128, 204, 327, 524, 800, 800]);
    }
}
