//! Tries failed calls again.
//!
//! Transparently, by what is known of the failure alone: a request that never left goes
//! elsewhere (the dispatcher does that), and one that was refused unprocessed is sent once more.
//! By policy: a method that may run twice, after the statuses that its policy names, while the
//! throttle and the budget let it. Or without waiting for a failure ([`hedged`]).
//!
//! Source: gRFC A6.

mod hedged;
mod policy;
mod replay;
mod throttle;

pub(crate) use hedged::hedged;
use policy::{Outcome, RetryState, Verdict};
pub(crate) use replay::ReplayBudget;
pub(crate) use throttle::{Throttle, ThrottleSettings};

use crate::{call::Call, dispatch::Attempted, response::Answer, stack::Stack};
use http::{HeaderMap, HeaderName};
use rand::Rng;
use sampan_wire::policy::{HedgePolicy, Repeat, RetryPolicy};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Where one call stands that can be sent again.
pub(crate) struct Again {
    policy: Option<RetryState>,
    may_be_refused: bool,
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Stop,
    /// The server did nothing with it: it does not count.
    AtOnce,
    After(Duration),
}

/// Whether [`Again`] has anything to judge. Most attempts end here.
pub(crate) fn may_be_tried_again(call: &Call, attempted: &Attempted) -> bool {
    let has_policy = || retry_policy(call).is_some();
    match attempted {
        Attempted::Unsent(..) => true,
        Attempted::Nowhere(_) => has_policy(),
        Attempted::Failed(failed) => failed.was_refused || has_policy(),
        Attempted::Answered(answered) => matches!(answered.answer, Answer::Status) && has_policy(),
        Attempted::Layered(answer) => answer.status().is_some() && has_policy(),
    }
}

// === impl Again ===

impl Again {
    pub(crate) fn new(call: &Call) -> Self {
        Self {
            policy: retry_policy(call).copied().map(RetryState::new),
            may_be_refused: true,
        }
    }

    pub(crate) fn judge(
        &mut self,
        attempted: &Attempted,
        stack: &Stack,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Next {
        match attempted {
            Attempted::Unsent(..) => return Next::AtOnce,
            Attempted::Failed(failed) if failed.was_refused && self.may_be_refused => {
                self.may_be_refused = false;
                return Next::AtOnce;
            }
            _ => {}
        }
        let Some(policy) = &mut self.policy else {
            return Next::Stop;
        };
        match policy.next(&outcome(attempted), &stack.throttle, rng) {
            Verdict::Retry { after } if stack.may_spend(now) => Next::After(after),
            Verdict::Stop | Verdict::Retry { .. } => Next::Stop,
        }
    }
}

fn retry_policy(call: &Call) -> Option<&RetryPolicy> {
    if let Some(policy) = &call.policy {
        return match &policy.repeat.value {
            Some(Repeat::Retry(retry)) => Some(retry),
            _ => None,
        };
    }
    let method = call.method?;
    // The generator refuses a policy on other methods; a method written by hand may have one.
    if method.idempotency().is_repeatable() {
        method.policy().retry()
    } else {
        None
    }
}

/// How a call is sent more than once without a failure, if it is.
pub(crate) fn hedge_policy(call: &Call) -> Option<&HedgePolicy> {
    if let Some(policy) = &call.policy {
        return match &policy.repeat.value {
            Some(Repeat::Hedge(hedge)) => Some(hedge),
            _ => None,
        };
    }
    let method = call.method?;
    let hedge = method.policy().hedge()?;
    // The generator refuses a policy on other methods; a method written by hand may have one.
    let is_safe = method.idempotency().is_repeatable() && method.kind().has_single_request();
    is_safe.then_some(hedge)
}

fn outcome(attempted: &Attempted) -> Outcome {
    let mut is_known = false;
    let (code, pushback, is_committed) = match attempted {
        Attempted::Unsent(..) => (Code::Unavailable, None, false),
        Attempted::Nowhere(failure) => (failure.code(), None, false),
        Attempted::Failed(failed) => {
            is_known = failed.is_known;
            (failed.failure.code(), None, false)
        }
        Attempted::Answered(answered) => {
            let headers = answered.response.headers();
            match (&answered.answer, headers.get(&Status::GRPC_STATUS)) {
                // Trailers alone commit to nothing.
                (Answer::Status, Some(status)) => {
                    let code = Code::from_bytes(status.as_bytes());
                    (code, pushback(headers), false)
                }
                _ => (Code::Ok, None, true),
            }
        }
        Attempted::Layered(answer) => match answer.status() {
            Some(ended) => (ended.code(), pushback(answer.response.headers()), false),
            None => (Code::Ok, None, true),
        },
    };
    Outcome {
        code,
        pushback,
        is_committed,
        is_known,
    }
}

/// Milliseconds, or an order to stop when it is no such number.
fn pushback(headers: &HeaderMap) -> Option<Result<u32, ()>> {
    let value = headers.get(PUSHBACK)?;
    Some(
        value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(()),
    )
}
