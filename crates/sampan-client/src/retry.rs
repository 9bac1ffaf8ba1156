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

pub(crate) use policy::{Outcome, RetryState, Verdict};
pub(crate) use replay::ReplayBudget;
pub(crate) use throttle::{Throttle, ThrottleSettings};

use crate::{
    call::{Call, Handle, Head},
    dispatch::{Attempt, AttemptFailure, Dispatch},
    failure::{Failure, Phase},
    outbound::{Outbound, RequestBody},
    snapshot::Counters,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sampan_wire::policy::Method;
use std::sync::{Arc, atomic::Ordering::Relaxed};
use tonic::{Code, Status};

const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Sends each attempt of a call through the dispatcher.
#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) budget: Arc<ReplayBudget>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) next: Dispatch,
}

// === impl Retry ===

impl Handle for Retry {
    async fn handle(
        &self,
        call: Call<'_>,
    ) -> Result<
        http::Response<impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static>,
        Failure,
    > {
        let progress = call.progress;
        let (mut head, mut body, spare) = match Outbound::read(call.body).await? {
            Outbound::Stream { body, failure } => {
                let attempt = Attempt {
                    head: call.head,
                    body,
                    deadline: call.deadline,
                    max_message_bytes: call.max_message_bytes,
                    progress,
                };
                return self.next.send(attempt).await.map_err(|failed| {
                    // The reset that a failing request stream leads to is not the reason.
                    match failure.get() {
                        Some(status) => Failure::Status(status.clone()),
                        None => failed.failure,
                    }
                });
            }
            Outbound::Whole(bytes) => {
                let kept = self.budget.keep(bytes.len());
                let spare = kept.map(|kept| (call.head.clone(), bytes.clone(), kept));
                (call.head, bytes, spare)
            }
        };
        let mut state = spare
            .as_ref()
            .and(call.method)
            .and_then(retry_policy)
            .map(RetryState::new);
        let mut may_be_refused = spare.is_some();
        let mut previous = 0;
        loop {
            let sent = self
                .next
                .send(Attempt {
                    head,
                    body: RequestBody::Once(body),
                    deadline: call.deadline,
                    max_message_bytes: call.max_message_bytes,
                    progress,
                })
                .await;
            let Some((spare_head, spare_body, _)) = &spare else {
                return sent.map_err(|failed| failed.failure);
            };
            if matches!(&sent, Err(failed) if failed.was_refused) && may_be_refused {
                may_be_refused = false;
                progress.was_not_sent();
            } else {
                let Some(state) = &mut state else {
                    return sent.map_err(|failed| failed.failure);
                };
                let outcome = outcome(&sent);
                let verdict = state.next(&outcome, &self.throttle, &mut rand::rng());
                let Verdict::Retry { after } = verdict else {
                    return sent.map_err(|failed| failed.failure);
                };
                // Nobody would be there for the answer.
                let is_too_late = call
                    .deadline
                    .is_some_and(|deadline| tokio::time::Instant::now() + after >= deadline.at);
                if is_too_late {
                    return sent.map_err(|failed| failed.failure);
                }
                drop(sent);
                previous += 1;
                self.counters.retries.fetch_add(1, Relaxed);
                progress.waits_for(Phase::Retry);
                tokio::time::sleep(after).await;
            }
            head = again(spare_head, previous);
            body = spare_body.clone();
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

fn again(head: &Head, previous: u32) -> Head {
    let mut head = head.clone();
    if previous > 0 {
        head.headers
            .insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
    }
    head
}

fn outcome<B>(sent: &Result<http::Response<B>, AttemptFailure>) -> Outcome {
    match sent {
        Err(failed) => Outcome {
            code: failed.failure.code(),
            pushback: None,
            is_committed: false,
        },
        // Trailers alone commit to nothing.
        Ok(response) => match response.headers().get(&Status::GRPC_STATUS) {
            Some(status) => Outcome {
                code: Code::from_bytes(status.as_bytes()),
                pushback: pushback(response.headers()),
                is_committed: false,
            },
            None => Outcome {
                code: Code::Ok,
                pushback: None,
                is_committed: true,
            },
        },
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
