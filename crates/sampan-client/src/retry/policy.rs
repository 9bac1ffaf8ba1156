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
    /// Longest wait before the next attempt.
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
                self.backoff = wait.mul_f64(self.policy.backoff_multiplier.max(1.0));
                wait.mul_f64(rng.random_range(0.8..=1.2))
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
        let mut state = RetryState::new(POLICY);
        let throttle = Throttle::new(ThrottleSettings::default());
        let mut rng = SmallRng::seed_from_u64(11);
        outcomes
            .iter()
            .map(|outcome| state.next(outcome, &throttle, &mut rng))
            .collect()
    }

    #[test]
    fn waits_double_with_jitter_and_end_with_the_last_attempt() {
        let verdicts = run(&[failed(Code::Unavailable); 4]);
        for (verdict, step) in verdicts.iter().zip([50.0, 100.0, 200.0]) {
            let Verdict::Retry { after } = verdict else {
                panic!("{verdicts:?}");
            };
            let millis = after.as_secs_f64() * 1000.0;
            assert!((0.8 * step..=1.2 * step).contains(&millis), "{verdicts:?}");
        }
        assert_eq!(verdicts[3], Verdict::Stop);
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
