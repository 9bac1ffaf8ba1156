//! Bounds attempts beyond the first to a part of the calls: however the failures look, they add
//! little to the load.
//!
//! Beside A6's throttle, which looks at failures: a slow service fails nothing and still must
//! not be hedged into overload.
//!
//! Source: linkerd's and Finagle's retry budget.

use tokio::time::Instant;

/// How many attempts beyond the first there may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudgetSettings {
    /// For each call so many, 0 to 1000. Default 0.2.
    pub ratio: f64,
    /// And so many each second, whatever the calls. Default 10.
    pub per_second: u32,
}

/// Counts the calls and the further attempts of the last ten seconds.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    /// What a call gives.
    deposit: i64,
    /// What is there without any call.
    reserve: i64,
    began: Instant,
    /// Up to which all is counted: the second, and the calls by then.
    second: u64,
    calls: u64,
    /// Deposits less withdrawals of each second, in thousandths of an attempt.
    slots: [i64; SECONDS],
}

const SECONDS: usize = 10;
const ONE: i64 = 1000;

// === impl RetryBudgetSettings ===

impl Default for RetryBudgetSettings {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            per_second: 10,
        }
    }
}

// === impl RetryBudget ===

impl RetryBudget {
    /// A budget that begins now, with its reserve.
    #[must_use]
    pub fn new(settings: RetryBudgetSettings, now: Instant) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "between 0 and a million thousandths"
        )]
        let deposit = (settings.ratio.clamp(0.0, 1000.0) * 1000.0) as i64;
        let reserve = i64::from(settings.per_second) * SECONDS as i64 * ONE;
        Self {
            deposit,
            reserve,
            began: now,
            second: 0,
            calls: 0,
            slots: [0; SECONDS],
        }
    }

    /// Takes leave for an attempt beyond the first, after so many `calls` since the budget
    /// began. False: there is none to be sent now.
    ///
    /// Only this costs anything: calls that need no further attempt are counted elsewhere anyway.
    #[must_use]
    pub fn withdraw(&mut self, now: Instant, calls: u64) -> bool {
        self.catch_up(now, calls);
        let balance = self
            .slots
            .iter()
            .fold(self.reserve, |sum, slot| sum.saturating_add(*slot));
        let is_there = balance >= ONE;
        if is_there {
            *self.slot(self.second) -= ONE;
        }
        is_there
    }

    /// Calls since the last time are taken to have come evenly.
    fn catch_up(&mut self, now: Instant, calls: u64) {
        let second = now
            .saturating_duration_since(self.began)
            .as_secs()
            .max(self.second);
        let passed = second - self.second;
        let new = calls.saturating_sub(self.calls);
        let each = new / (passed + 1);
        for second in (self.second + 1..=second).rev().take(SECONDS) {
            *self.slot(second) = self.worth(each);
        }
        let rest = self.worth(new - each * passed);
        if passed == 0 {
            let slot = self.slot(second);
            *slot = slot.saturating_add(rest);
        } else {
            *self.slot(second) = rest;
        }
        (self.second, self.calls) = (second, calls.max(self.calls));
    }

    fn worth(&self, calls: u64) -> i64 {
        i64::try_from(calls)
            .unwrap_or(i64::MAX)
            .saturating_mul(self.deposit)
    }

    fn slot(&mut self, second: u64) -> &mut i64 {
        let index = usize::try_from(second % SECONDS as u64).unwrap_or_default();
        &mut self.slots[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn drain(budget: &mut RetryBudget, now: Instant, calls: u64) -> usize {
        (0..10_000)
            .take_while(|_| budget.withdraw(now, calls))
            .count()
    }

    #[test]
    fn a_fifth_of_the_calls_and_ten_a_second_are_there_and_come_back_after_ten_seconds() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(RetryBudgetSettings::default(), start);
        assert_eq!(drain(&mut budget, start, 500), 100 + 100);
        assert_eq!(drain(&mut budget, start + 9 * SECOND, 500), 0);
        assert_eq!(drain(&mut budget, start + 10 * SECOND, 500), 100);
    }

    #[test]
    fn of_calls_of_a_long_time_only_the_last_ten_seconds_count() {
        let start = Instant::now();
        let settings = RetryBudgetSettings {
            per_second: 0,
            ..RetryBudgetSettings::default()
        };
        let mut budget = RetryBudget::new(settings, start);
        // Ten a second, for an hour.
        let calls = 36_010;
        assert_eq!(drain(&mut budget, start + 3600 * SECOND, calls), 20);
        assert_eq!(drain(&mut budget, start + 7200 * SECOND, calls), 0);
    }

    proptest! {
        /// Over the whole run: no more than the calls and the seconds give.
        #[test]
        fn attempts_never_exceed_their_part(
            ratio in 0.0f64..1.0,
            per_second in 0u32..5,
            steps in prop::collection::vec((0u64..3000, 0u64..20, 0usize..20), 1..30),
        ) {
            let start = Instant::now();
            let mut budget = RetryBudget::new(RetryBudgetSettings { ratio, per_second }, start);
            let (mut now, mut calls, mut attempts) = (start, 0, 0);
            for (wait, begun, wanted) in steps {
                now += Duration::from_millis(wait);
                calls += begun;
                attempts += (0..wanted).filter(|_| budget.withdraw(now, calls)).count();
                let seconds = (now - start).as_secs_f64();
                let reserve = f64::from(per_second) * (seconds + 2.0 * SECONDS as f64);
                prop_assert!(attempts as f64 <= calls as f64 * ratio + reserve + 1e-6);
            }
        }
    }
}
