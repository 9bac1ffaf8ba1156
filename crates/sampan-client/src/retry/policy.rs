//! Whether a call is tried again, and when. Pure.

use super::Throttle;
use rand::Rng;
use sampan_wire::{Code as WireCode, policy::RetryPolicy};
use std::time::Duration;
use tonic::Code;

/// How an attempt went, as far as a retry cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Code,
    /// What the server said about trying again: after so many milliseconds, or not.
    pub(crate) pushback: Option<Result<u32, ()>>,
    /// The response has begun.
    pub(crate) is_committed: bool,
    /// Its connection broke, as another call has told already: one loss fails many calls at once
    /// and says no more of the service than one failure does.
    pub(crate) is_known: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Retry { after: Duration },
    Stop,
}

/// Where one call stands.
#[derive(Debug)]
pub(crate) struct RetryState {
    policy: RetryPolicy,
    /// Attempts made, the first one included.
    attempts: u32,
    /// The wait before the next attempt, before its bound and its jitter.
    backoff: Duration,
}

// === impl RetryState ===

impl RetryState {
    pub(crate) const fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            attempts: 1,
            backoff: policy.initial_backoff,
        }
    }

    /// Judges the attempt that just ended.
    pub(crate) fn next(
        &mut self,
        outcome: &Outcome,
        throttle: &Throttle,
        rng: &mut impl Rng,
    ) -> Verdict {
        if outcome.is_committed || outcome.code == Code::Ok {
            return Verdict::Stop;
        }
        let is_retryable = self.is_retryable(outcome.code);
        if (is_retryable && !outcome.is_known) || outcome.pushback == Some(Err(())) {
            throttle.failed();
        }
        let most = self.policy.max_attempts.min(RetryPolicy::MAX_ATTEMPTS);
        if !is_retryable || self.attempts >= most || !throttle.allows() {
            return Verdict::Stop;
        }
        let after = match outcome.pushback {
            Some(Err(())) => return Verdict::Stop,
            Some(Ok(millis)) => {
                // The server knows when: the series of waits begins anew.
                self.backoff = self.policy.initial_backoff;
                Duration::from_millis(millis.into())
            }
            None => {
                let wait = self.backoff.min(self.policy.max_backoff);
                self.backoff = times(self.backoff, self.policy.backoff_multiplier);
                times(wait, rng.random_range(0.8..=1.2))
            }
        };
        self.attempts += 1;
        Verdict::Retry { after }
    }

    fn is_retryable(&self, code: Code) -> bool {
        u8::try_from(code as i32)
            .ok()
            .and_then(WireCode::from_u8)
            .is_some_and(|code| self.policy.retryable_codes.contains(code))
    }
}

/// What is more than a duration can be is the longest one.
fn times(wait: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::ThrottleSettings, *};
    use rand::{SeedableRng, rngs::SmallRng};

    static POLICY: RetryPolicy = RetryPolicy::new(4, &[WireCode::Unavailable]);

    fn failed(code: Code) -> Outcome {
        Outcome {
            code,
            pushback: None,
            is_committed: false,
            is_known: false,
        }
    }

    fn run(outcomes: &[Outcome]) -> Vec<Verdict> {
        run_with(POLICY, outcomes)
    }

    fn run_with(policy: RetryPolicy, outcomes: &[Outcome]) -> Vec<Verdict> {
        let mut state = RetryState::new(policy);
        let throttle = Throttle::new(ThrottleSettings::default());
        let mut rng = SmallRng::seed_from_u64(11);
        outcomes
            .iter()
            .map(|outcome| state.next(outcome, &throttle, &mut rng))
            .collect()
    }

    fn assert_waits(verdicts: &[Verdict], steps: &[f64]) {
        for (verdict, step) in verdicts.iter().zip(steps) {
            let Verdict::Retry { after } = verdict else {
                panic!("{verdicts:?}");
            };
            let millis = after.as_secs_f64() * 1000.0;
            assert!((0.8 * step..=1.2 * step).contains(&millis), "{verdicts:?}");
        }
    }

    #[test]
    fn waits_double_with_jitter_and_end_with_the_last_attempt() {
        let verdicts = run(&[failed(Code::Unavailable); 4]);
        assert_waits(&verdicts, &[50.0, 100.0, 200.0]);
        assert_eq!(verdicts[3], Verdict::Stop);
    }

    #[test]
    fn waits_follow_every_multiplier_up_to_the_longest_backoff() {
        let most = 1000.0;
        let steps = [
            (0.5, [50.0, 25.0, 12.5]),
            (1e300, [50.0, most, most]),
            (f64::MAX, [50.0, most, most]),
        ];
        for (backoff_multiplier, steps) in steps {
            let policy = RetryPolicy {
                backoff_multiplier,
                ..POLICY
            };
            assert_waits(&run_with(policy, &[failed(Code::Unavailable); 3]), &steps);
        }
        let endless = RetryPolicy {
            initial_backoff: Duration::MAX,
            max_backoff: Duration::MAX,
            ..POLICY
        };
        run_with(endless, &[failed(Code::Unavailable); 3]);
    }

    #[test]
    fn other_codes_and_answers_that_have_begun_are_final() {
        assert_eq!(run(&[failed(Code::NotFound)]), [Verdict::Stop]);
        let begun = Outcome {
            is_committed: true,
            is_known: false,
            ..failed(Code::Unavailable)
        };
        assert_eq!(run(&[begun]), [Verdict::Stop]);
    }

    #[test]
    fn pushback_is_exact_and_a_bad_one_means_stop() {
        let told = |pushback| Outcome {
            pushback: Some(pushback),
            ..failed(Code::Unavailable)
        };
        let after = Duration::from_millis(7);
        assert_eq!(run(&[told(Ok(7))]), [Verdict::Retry { after }]);
        assert_eq!(run(&[told(Err(()))]), [Verdict::Stop]);
    }
}
