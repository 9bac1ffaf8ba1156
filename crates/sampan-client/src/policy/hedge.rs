//! When a call is sent once more without waiting for a failure, and which answer is its own.
//!
//! | an attempt ends with | then |
//! |---|---|
//! | a response, or a code that is fatal | that is the call's; the other attempts are cancelled |
//! | a code that is not fatal | the next attempt is due at once, those after it a delay apart |
//! | the same, with pushback | the next attempt is due after exactly that time |
//! | pushback that says no more | no further attempts; those under way go on |
//! | no leave to go (a picker drops the call, a bound of the channel is reached) | the same |
//!
//! An attempt that never reached a handler (not sent, or refused) does not end here: whoever
//! runs the attempts sends it again in its place.
//!
//! Source: gRFC A6, "Hedging Policy" and "Summary of Retry and Hedging Logic".

use sampan_wire::{
    Code,
    policy::{HedgePolicy, RetryPolicy},
};
use std::time::Duration;
use tokio::time::Instant;

/// Where one hedged call stands. One deadline holds for all of its attempts.
#[derive(Clone, Debug)]
pub struct Hedging {
    policy: HedgePolicy,
    deadline: Option<Instant>,
    sent: u32,
    /// A bit for each attempt under way.
    open: u32,
    /// When the next attempt is due, if there is to be one.
    due: Option<Instant>,
    is_decided: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeStep {
    /// Send this attempt; the first is 0, which is also how many went before it.
    Send(u32),
    /// Ask again then, or as soon as an attempt has ended.
    Until(Instant),
    /// Nothing more is sent: wait for the attempts under way.
    Wait,
    /// Nothing more is sent and nothing is under way: the last failure is the call's own end.
    GiveUp,
}

/// What the end of an attempt means for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeVerdict {
    /// Nothing yet: others are under way, or still to be sent.
    GoOn,
    /// It is the call's own end. The attempts in this set are to be cancelled.
    Take(AttemptSet),
    /// The call has ended before; this comes too late.
    Late,
}

/// Attempts of one call, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptSet(u32);

/// How an attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HedgeOutcome {
    /// OK also for a response that has begun.
    pub code: Code,
    /// What the server said about trying again.
    pub pushback: Option<Pushback>,
}

/// What `grpc-retry-pushback-ms` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// After exactly so long.
    After(Duration),
    /// Not at all: the value was negative, or no number.
    Stop,
}

// === impl Hedging ===

impl Hedging {
    /// A call that begins now and has to end by `deadline`.
    #[must_use]
    pub fn new(policy: &HedgePolicy, now: Instant, deadline: Option<Instant>) -> Self {
        let max_attempts = policy.max_attempts.clamp(1, RetryPolicy::MAX_ATTEMPTS);
        let policy = HedgePolicy {
            max_attempts,
            ..*policy
        };
        Self {
            policy,
            deadline,
            sent: 0,
            open: 0,
            due: Some(now),
            is_decided: false,
        }
    }

    /// What to do at `now`. `may_repeat` is asked when another attempt would be sent, whether
    /// throttle and budget let it; the first needs no leave. Without it the rest of the attempts
    /// is given up, not put off.
    pub fn step(&mut self, now: Instant, may_repeat: impl FnOnce() -> bool) -> HedgeStep {
        let Some(due) = self.due else {
            return self.rest();
        };
        let is_first = self.sent == 0;
        let is_late = |at| !is_first && self.deadline.is_some_and(|deadline| at >= deadline);
        if is_late(due.max(now)) {
            self.due = None;
            return self.rest();
        }
        if due > now {
            return HedgeStep::Until(due);
        }
        if !is_first && !may_repeat() {
            self.due = None;
            return self.rest();
        }
        let attempt = self.sent;
        self.sent += 1;
        self.open |= 1 << attempt;
        self.plan(now.checked_add(self.policy.delay));
        HedgeStep::Send(attempt)
    }

    /// Judges an attempt that has just ended.
    pub fn ended(&mut self, attempt: u32, now: Instant, outcome: &HedgeOutcome) -> HedgeVerdict {
        let bit = 1_u32.checked_shl(attempt).unwrap_or_default();
        if self.is_decided || self.open & bit == 0 {
            return HedgeVerdict::Late;
        }
        self.open &= !bit;
        if !self.policy.non_fatal_codes.contains(outcome.code) || outcome.code == Code::Ok {
            return self.decide();
        }
        match outcome.pushback {
            Some(Pushback::Stop) => self.due = None,
            Some(Pushback::After(wait)) if self.due.is_some() => {
                self.plan(now.checked_add(wait));
            }
            None if self.due.is_some() => self.plan(Some(now)),
            _ => {}
        }
        if self.open == 0 && !self.is_more_to_come(now) {
            return self.decide();
        }
        HedgeVerdict::GoOn
    }

    /// An attempt was not let go, and neither would the next: those under way are the last.
    pub fn refused(&mut self, attempt: u32) -> HedgeVerdict {
        let bit = 1_u32.checked_shl(attempt).unwrap_or_default();
        if self.is_decided || self.open & bit == 0 {
            return HedgeVerdict::Late;
        }
        self.open &= !bit;
        self.due = None;
        if self.open == 0 {
            return self.decide();
        }
        HedgeVerdict::GoOn
    }

    /// The request is no longer kept: the attempt of which most was sent goes on alone. `sent`
    /// says of each attempt under way how many bytes that is.
    pub fn commit(&mut self, sent: impl Fn(u32) -> u64) -> Option<(u32, AttemptSet)> {
        self.due = None;
        let furthest = AttemptSet(self.open)
            .iter()
            .max_by_key(|&attempt| sent(attempt))?;
        let others = AttemptSet(self.open & !(1 << furthest));
        self.open = 1 << furthest;
        Some((furthest, others))
    }

    /// How many attempts were sent.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.sent
    }

    /// Whether this end counts as a failure for the throttle.
    #[must_use]
    pub fn is_throttling(&self, outcome: &HedgeOutcome) -> bool {
        let is_failure = outcome.code != Code::Ok;
        let is_non_fatal = self.policy.non_fatal_codes.contains(outcome.code);
        is_failure && (is_non_fatal || outcome.pushback == Some(Pushback::Stop))
    }

    fn rest(&mut self) -> HedgeStep {
        if self.open != 0 || self.is_decided {
            return HedgeStep::Wait;
        }
        self.is_decided = true;
        HedgeStep::GiveUp
    }

    /// The next attempt, if there is one left.
    fn plan(&mut self, at: Option<Instant>) {
        self.due = at.filter(|_| self.sent < self.policy.max_attempts);
    }

    /// A later attempt that the deadline leaves no room for is none.
    fn is_more_to_come(&self, now: Instant) -> bool {
        let is_in_time = |due: Instant| self.deadline.is_none_or(|end| due.max(now) < end);
        self.due.is_some_and(is_in_time)
    }

    fn decide(&mut self) -> HedgeVerdict {
        self.is_decided = true;
        self.due = None;
        HedgeVerdict::Take(AttemptSet(std::mem::take(&mut self.open)))
    }
}

// === impl AttemptSet ===

impl AttemptSet {
    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their numbers, the first one first.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = u32> {
        (0..u32::BITS).filter(move |attempt| self.0 & 1 << attempt != 0)
    }
}

#[cfg(test)]
mod tests;
