//! The rest of a call that has to wait for more than its response: for its turn, for an
//! endpoint, or for its next attempt.

use crate::{
    around::{self, Layered},
    balance::Replica,
    call::{Begun, Call},
    chance::Dice,
    channel::Shared,
    credentials::{CalledMethod, Proof},
    deadline::{Deadline, Times},
    dispatch::{Attempted, Settled, check_runtime, send},
    endpoint::Live,
    failure::{Failure, Phase, Progress},
    flight::{Outcome, deliver, hand_on},
    inbound,
    outbound::Streamed,
    retry::{Again, Next, hedge_policy, hedged},
    share::Share,
    stack::{Outgoing, RequestBody, Stack},
    timers::sleep_until,
};
use sampan_middleware::Ended;
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};
use tokio::time::Instant;
use tonic::Code;

/// How far a call came.
#[allow(clippy::large_enum_variant, reason = "passed on at once, never stored")]
pub(crate) enum Standing {
    /// The resolver has not told yet what holds for it.
    Config(RequestBody),
    /// It is not its turn.
    Turn(RequestBody),
    /// No connection took it.
    Endpoint(Outgoing, Option<Streamed>),
    /// It may have to be sent again.
    Attempted(Outgoing, Attempted),
}

/// Takes a call from there to the head of its response, within its deadline.
pub(crate) async fn go_on(
    mut share: Share<Arc<Shared>>,
    mut call: Call,
    begun: Begun,
    standing: Standing,
) -> Outcome {
    let Begun { times, inbound } = begun;
    let mut progress = Progress::new(times.started);
    let (times, standing) = match standing {
        Standing::Config(body) => {
            let begun = share
                .stack()
                .begin_when_configured(&mut call, &times, &progress)
                .await;
            let passed = begun.and_then(|begun| {
                share.pass(Instant::now())?;
                Ok(begun.times)
            });
            match passed {
                Ok(times) => (times, Standing::Turn(body)),
                Err(failure) => {
                    share.end(Ended::Failed(failure.code()));
                    return Err(progress.status(call.path.as_str(), failure));
                }
            }
        }
        standing => (times, standing),
    };
    let result = tokio::select! {
        // An answer that is there is not thrown away.
        biased;
        result = answered(&mut share, &mut call, &times, standing, &mut progress) => result,
        () = inbound::left(inbound.as_ref()) => {
            Err(Failure::fault(Code::Cancelled, inbound::GONE))
        }
        limit = Deadline::over(times.until_head) => {
            let exceeded = progress.exceeded(limit);
            Err(match progress.phase {
                Phase::Endpoint => exceeded.because(share.stack().pool.failure()),
                _ => exceeded,
            })
        }
    };
    match result {
        Ok(settled) => {
            let attempts = progress.attempts;
            let inbound = inbound.map(|inbound| (inbound, call.path.clone()));
            let response = match settled {
                Settled::Answered(answered) => {
                    deliver(answered, share, call, times, None, attempts)
                }
                Settled::Layered(answer) => hand_on(answer.response, share),
            };
            Ok(match inbound {
                None => response,
                Some((inbound, path)) => {
                    response.map(|body| inbound::watch(body, &inbound, path, times.started))
                }
            })
        }
        Err(failure) => {
            share.end(Ended::Failed(failure.code()));
            Err(progress.status(call.path.as_str(), failure))
        }
    }
}

async fn answered(
    share: &mut Share<Arc<Shared>>,
    call: &mut Call,
    times: &Times,
    standing: Standing,
    progress: &mut Progress,
) -> Result<Settled, Failure> {
    let (mut outgoing, mut stream, mut attempted) = match standing {
        Standing::Attempted(outgoing, attempted) => {
            if let Some(endpoint) = attempted.endpoint() {
                progress.sent_to(endpoint);
            }
            (outgoing, None, Some(attempted))
        }
        Standing::Endpoint(outgoing, stream) => (outgoing, stream, None),
        Standing::Turn(body) | Standing::Config(body) => {
            take_turn(share, progress).await?;
            let mut body = Some(body);
            let (outgoing, stream) = poll_fn(|cx| {
                let body = body.take();
                let body = body.unwrap_or_else(|| RequestBody::Unread(Default::default()));
                std::task::Poll::Ready(Outgoing::read(body, call, share, cx))
            })
            .await?;
            check_runtime(stream.as_ref())?;
            (outgoing, stream, None)
        }
    };
    if let (None, true, Some(policy)) = (&attempted, outgoing.is_kept_whole(), hedge_policy(call)) {
        let result = hedged(share, call, times, policy, &outgoing, progress).await;
        let hedges = progress.attempts.saturating_sub(1);
        share.repeat(|repeats| repeats.hedges = hedges);
        return result;
    }
    let mut again = Again::new(call);
    let mut previous = 0;
    let mut tried = Vec::new();
    loop {
        let just = match attempted.take() {
            Some(attempted) => attempted,
            None => {
                let stream = stream.take();
                attempt(
                    share,
                    call,
                    times,
                    (previous, &tried),
                    stream,
                    &mut outgoing,
                    progress,
                )
                .await?
            }
        };
        if let Attempted::Nowhere(_) = just {
            progress.went_nowhere(previous);
        }
        if !outgoing.can_be_sent_again() {
            return just.settle(progress);
        }
        let next = again.judge(&just, share.stack(), Instant::now(), &mut Dice);
        if let (false, Some(endpoint)) = (matches!(just, Attempted::Unsent(..)), just.endpoint()) {
            tried.push(Arc::clone(&endpoint.replica));
        }
        if next != Next::Stop {
            // Before it waits: the attempt that failed must read no more of a stream.
            match outgoing.again() {
                Some(beginning) => stream = beginning,
                None => return just.settle(progress),
            }
        }
        match next {
            Next::Stop => return just.settle(progress),
            Next::AtOnce => {
                progress.was_not_sent();
                share.repeat(|repeats| repeats.transparent_retries += 1);
            }
            Next::After(wait) => {
                let began = Instant::now();
                // Nobody would be there for the answer.
                let is_in_time = |at: &Instant| times.whole.is_none_or(|end| *at < end.at);
                let Some(at) = began.checked_add(wait).filter(is_in_time) else {
                    return just.settle(progress);
                };
                just.discard();
                previous += 1;
                progress.attempts = previous;
                share.stack().counters.retries.fetch_add(1, Relaxed);
                progress.phase = Phase::Retry;
                sleep_until(at).await;
                share.repeat(|repeats| {
                    repeats.retries += 1;
                    repeats.retry_delay += began.elapsed();
                });
            }
        }
    }
}

async fn take_turn(share: &mut Share<Arc<Shared>>, progress: &mut Progress) -> Result<(), Failure> {
    if let Some(turns) = share.stack().turns.clone() {
        progress.phase = Phase::Turn;
        let turn = turns.acquire_owned().await;
        // Nobody closes it.
        let gone = |_| Failure::fault(Code::Unavailable, "the channel is gone");
        share.take_turn(turn.map_err(gone)?);
    }
    Ok(())
}

/// What an attempt proves, if its call has credentials.
pub(crate) async fn prove(
    stack: &Stack,
    call: &Call,
    progress: &mut Progress,
) -> Result<Option<Proof>, Failure> {
    let Some(credentials) = call.credentials() else {
        return Ok(None);
    };
    progress.phase = Phase::Credentials;
    let called = CalledMethod::new(&stack.authority, call.path.as_str());
    credentials.prove(&called).await.map(Some)
}

/// Sends the request as soon as a connection takes it, and waits for the head of the response.
async fn attempt(
    share: &Share<Arc<Shared>>,
    call: &Call,
    times: &Times,
    (previous, tried): (u32, &[Arc<Replica>]),
    stream: Option<Streamed>,
    outgoing: &mut Outgoing,
    progress: &mut Progress,
) -> Result<Attempted, Failure> {
    progress.phase = Phase::Around;
    let call = around::attempted(share.stack(), call, previous).await?;
    let began = Instant::now();
    let proof = match prove(share.stack(), &call, progress).await {
        Ok(proof) => proof,
        Err(failure) => return Ok(Attempted::Nowhere(failure)),
    };
    progress.phase = Phase::Endpoint;
    if let Some(layers) = share.stack().attempt_layers() {
        let layered = Layered {
            stack: share.stack(),
            layers,
            times,
            previous,
            tried: &Mutex::new(tried.to_vec()),
            outgoing,
        };
        let call = call.into_owned();
        let attempted = layered.send(call, proof, stream, progress).await?;
        if !matches!(attempted, Attempted::Unsent(..) | Attempted::Nowhere(_)) {
            outgoing.left();
        }
        return Ok(attempted);
    }
    let call = &*call;
    let take = |live: &Arc<Live>, stream| {
        if let Some(Err(not_secret)) = proof.as_ref().map(|proof| proof.check(&live.endpoint)) {
            return Ok(Err(not_secret));
        }
        let payload = outgoing.payload(stream);
        let now = Instant::now();
        send(live, call, times, previous, now, proof.as_ref(), payload).map(Ok)
    };
    let waits = share
        .stack()
        .gate
        .as_ref()
        .map(|gate| gate.wait())
        .transpose()?;
    let pool = &share.stack().pool;
    let for_ready = call.waits_for_ready();
    let taken = pool
        .offer_until_taken(&call.info(tried), stream, for_ready, take)
        .await;
    let (sent, ticket) = match taken {
        Ok(taken) => taken,
        Err(why) => return Attempted::nowhere(why, call, began),
    };
    let mut sent = sent.map_err(|not_secret| not_secret.failure(progress))?;
    sent.ticket.hears(ticket);
    drop(waits);
    outgoing.left();
    progress.sent_to(&sent.ticket.live().endpoint);
    let result = sent.exchange.await;
    Ok(Attempted::new(
        result,
        sent.ticket,
        call,
        outgoing.failure(),
    ))
}
