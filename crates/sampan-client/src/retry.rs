//! Tries failed calls again.
//!
//! Transparently, by what is known of the failure alone: a request that never left goes
//! elsewhere (the dispatcher does that), and one that was refused unprocessed is sent once more.
//! By policy: a method that may run twice, after the statuses that its policy names, while the
//! throttle lets it.
//!
//! Source: gRFC A6.

mod policy;
mod replay;
mod throttle;

use policy::{Outcome, RetryState, Verdict};
pub(crate) use replay::ReplayBudget;
pub(crate) use throttle::{Throttle, ThrottleSettings};

use crate::{dispatch::Attempted, response::Answer};
use http::{HeaderMap, HeaderName};
use rand::Rng;
use sampan_wire::policy::Method;
use std::time::Duration;
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
pub(crate) fn may_be_tried_again(method: Option<&'static Method>, attempted: &Attempted) -> bool {
    let has_policy = || method.and_then(retry_policy).is_some();
    match attempted {
        Attempted::Unsent(..) => true,
        Attempted::Failed(failed) => failed.was_refused || has_policy(),
        Attempted::Answered(answered) => matches!(answered.answer, Answer::Status) && has_policy(),
    }
}

// === impl Again ===

impl Again {
    pub(crate) fn new(method: Option<&'static Method>) -> Self {
        Self {
            policy: method.and_then(retry_policy).map(RetryState::new),
            may_be_refused: true,
        }
    }

    pub(crate) fn judge(
        &mut self,
        attempted: &Attempted,
        throttle: &Throttle,
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
        match policy.next(&outcome(attempted), throttle, rng) {
            Verdict::Stop => Next::Stop,
            Verdict::Retry { after } => Next::After(after),
        }
    }
}

fn retry_policy(method: &'static Method) -> Option<&'static sampan_wire::policy::RetryPolicy> {
    // The generator refuses a policy on other methods; a method written by hand may have one.
    if method.idempotency().is_repeatable() {
        method.policy().retry()
    } else {
        None
    }
}

fn outcome(attempted: &Attempted) -> Outcome {
    let (code, pushback, is_committed) = match attempted {
        Attempted::Unsent(..) => (Code::Unavailable, None, false),
        Attempted::Failed(failed) => (failed.failure.code(), None, false),
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
    };
    Outcome {
        code,
        pushback,
        is_committed,
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
