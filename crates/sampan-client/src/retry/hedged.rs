//! Sends a call more than once without waiting for a failure; what is dropped is cancelled.

use super::outcome;
use crate::{
    around::{self, Layered},
    balance::Replica,
    call::Call,
    channel::Shared,
    cold::prove,
    deadline::Times,
    dispatch::{Attempted, Settled, send},
    endpoint::Live,
    failure::{Failure, Phase, Progress},
    policy::{HedgeOutcome, HedgeStep, HedgeVerdict, Hedging, Pushback},
    share::Share,
    stack::Outgoing,
    timers::sleep_until,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use sampan_wire::{Code, policy::HedgePolicy};
use std::{
    mem,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

/// How an attempt ended; Err where it was not let go, as none would be.
type End = Result<Attempted, Failure>;

/// Takes a call to the first end that is its own. Its request is one message that is kept.
///
/// # Cancel safety
///
/// Dropping the future cancels every attempt under way.
pub(crate) async fn hedged(
    share: &Share<Arc<Shared>>,
    call: &Call,
    times: &Times,
    policy: &HedgePolicy,
    outgoing: &Outgoing,
    progress: &mut Progress,
) -> Result<Settled, Failure> {
    let stack = share.stack();
    let deadline = times.whole.map(|deadline| deadline.at);
    let mut hedging = Hedging::new(policy, Instant::now(), deadline);
    let tried = Mutex::new(Vec::new());
    let mut open = FuturesUnordered::new();
    let mut last: Option<End> = None;
    loop {
        let now = Instant::now();
        let may_repeat = || stack.throttle.allows() && stack.may_spend(now);
        let wake = match hedging.step(now, may_repeat) {
            HedgeStep::Send(attempt) => {
                if attempt > 0 {
                    stack.counters.hedges.fetch_add(1, Relaxed);
                }
                progress.phase = Phase::Response;
                progress.attempts = hedging.attempts();
                let sent = sent(share, call, times, attempt, outgoing, &tried);
                open.push(async move { (attempt, sent.await) });
                continue;
            }
            HedgeStep::Until(at) => Some(at),
            HedgeStep::Wait => None,
            HedgeStep::GiveUp => break,
        };
        let timer = async {
            match wake {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let (attempt, end) = tokio::select! {
            biased;
            Some(ended) = open.next() => ended,
            () = timer, if wake.is_some() => continue,
            else => break,
        };
        let verdict = match &end {
            Ok(attempted) => {
                let outcome = outcome_of(attempted);
                let is_known = matches!(attempted, Attempted::Failed(failed) if failed.is_known);
                if !is_known && hedging.is_throttling(&outcome) {
                    stack.throttle.failed();
                }
                hedging.ended(attempt, Instant::now(), &outcome)
            }
            Err(_) => {
                progress.was_not_sent();
                hedging.refused(attempt)
            }
        };
        match verdict {
            HedgeVerdict::Take(_) => {
                put(&mut last, end);
                break;
            }
            HedgeVerdict::GoOn => put(&mut last, end),
            HedgeVerdict::Late => {
                if let Ok(late) = end {
                    late.discard();
                }
            }
        }
    }
    match last {
        Some(Ok(attempted)) => {
            progress.endpoint = attempted.endpoint().cloned();
            attempted.settle(progress)
        }
        Some(Err(failure)) => Err(failure),
        // It gives up only behind a failure.
        None => Err(Failure::fault(tonic::Code::Internal, "no attempt was made")),
    }
}

/// What came last counts for the call; the others for their endpoints alone.
fn put(last: &mut Option<End>, end: End) {
    if let Some(Ok(before)) = last.replace(end) {
        before.discard();
    }
}

/// One attempt: again at once where it never left, and once where it was refused unprocessed.
async fn sent(
    share: &Share<Arc<Shared>>,
    call: &Call,
    times: &Times,
    previous: u32,
    outgoing: &Outgoing,
    tried: &Mutex<Vec<Arc<Replica>>>,
) -> End {
    let call = &*around::attempted(share.stack(), call, previous).await?;
    let all_tried = tried;
    let tried = || tried.lock().unwrap_or_else(PoisonError::into_inner);
    let mut may_be_refused = true;
    loop {
        // Its attempts run side by side: what one waits for is not what the call does.
        let mut progress = Progress::new(times.started);
        let began = Instant::now();
        let proof = match prove(share.stack(), call, &mut progress).await {
            Ok(proof) => proof,
            Err(failure) => return Ok(Attempted::Nowhere(failure)),
        };
        if let Some(layers) = share.stack().attempt_layers() {
            let layered = Layered {
                stack: share.stack(),
                layers,
                times,
                previous,
                tried: all_tried,
                outgoing,
            };
            let call = call.clone();
            let attempted = layered.send(call, proof, None, &mut progress).await?;
            if is_over(&attempted, &mut may_be_refused) {
                return Ok(attempted);
            }
            continue;
        }
        let take = |live: &Arc<Live>, stream| {
            if let Some(Err(not_secret)) = proof.as_ref().map(|proof| proof.check(&live.endpoint)) {
                return Ok(Err(not_secret));
            }
            let payload = outgoing.payload(stream);
            let now = Instant::now();
            send(live, call, times, previous, now, proof.as_ref(), payload).map(Ok)
        };
        let gate = share.stack().gate.as_ref();
        let waits = gate.map(|gate| gate.wait()).transpose()?;
        let pool = &share.stack().pool;
        let avoided = tried().clone();
        let taken = pool
            .offer_until_taken(&call.info(&avoided), None, call.waits_for_ready(), take)
            .await;
        let (sent, ticket) = match taken {
            Ok(taken) => taken,
            Err(why) => return Attempted::nowhere(why, call, began),
        };
        let mut sent = sent.map_err(|not_secret| not_secret.failure(&mut progress))?;
        tried().push(Arc::clone(&sent.ticket.live().endpoint.replica));
        sent.ticket.hears(ticket);
        drop(waits);
        let response = sent.exchange.await;
        let attempted = Attempted::new(response, sent.ticket, call, None);
        if is_over(&attempted, &mut may_be_refused) {
            return Ok(attempted);
        }
    }
}

/// Whether it is not sent again at once.
fn is_over(attempted: &Attempted, may_be_refused: &mut bool) -> bool {
    match attempted {
        Attempted::Unsent(..) => false,
        Attempted::Failed(failed) if failed.was_refused => !mem::take(may_be_refused),
        _ => true,
    }
}

fn outcome_of(attempted: &Attempted) -> HedgeOutcome {
    let outcome = outcome(attempted);
    let code = u8::try_from(outcome.code as i32)
        .ok()
        .and_then(Code::from_u8);
    let told = |told: Result<u32, ()>| match told {
        Ok(millis) => Pushback::After(Duration::from_millis(millis.into())),
        Err(()) => Pushback::Stop,
    };
    HedgeOutcome {
        code: code.unwrap_or(Code::Unknown),
        pushback: outcome.pushback.map(told),
    }
}
