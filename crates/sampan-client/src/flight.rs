//! A call from its first poll to the head of its response: one box, and one poll before and one
//! after the response arrives. Whatever is rare goes on in [`cold`](crate::cold).

use crate::{
    call::{Begun, Call},
    channel::Shared,
    cold::{Standing, go_on},
    deadline::{Deadline, Times},
    dispatch::{Answered, Attempted, CallFailure, check_runtime, send},
    endpoint::Ticket,
    failure::{Failure, Progress},
    response::{Answer, CallRef, ResponseBody},
    retry::{hedge_policy, may_be_tried_again},
    share::Share,
    stack::{Outgoing, RequestBody, Stack},
    tally::{Weighed, message_len},
    timers::Timer,
    trace,
};
use bytes::Bytes;
use http::HeaderMap;
use sampan_middleware::{Body, CallEnd, Ended, OnEnd, context::CallContext};
use sampan_transport::{Call as Exchange, Incoming};
use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Instrument as _;

pub(crate) type Outcome = Result<http::Response<Body>, Status>;

/// A call that has no response yet.
pub(crate) struct Flight {
    stage: Stage,
    /// Until the cold path has it, or the call is over.
    own: Option<Own>,
    /// Here while it waits for its response. In place: a call is not moved on its way.
    away: Option<Away>,
}

enum Stage {
    New(RequestBody),
    /// New, but its times are fixed already.
    Begun(Box<(RequestBody, Begun)>),
    Sent,
    Cold(Pin<Box<dyn Future<Output = Outcome> + Send>>),
    Over,
}

struct Own {
    share: Share<Arc<Shared>>,
    call: Call,
}

struct Away {
    exchange: Exchange,
    ticket: Ticket,
    times: Times,
    timer: Option<Timer>,
    outgoing: Outgoing,
}

/// Hears the end of a call whose response came in pieces.
struct Ending {
    share: Share<Arc<Stack>>,
    attempt: AttemptEnding,
}

/// Hears the end of an attempt whose response came in pieces.
pub(crate) struct AttemptEnding {
    ticket: Ticket,
    received: Weighed,
}

/// It is made, filled and freed for every call.
const _: () = assert!(size_of::<Flight>() <= 560);

// === impl Flight ===

impl Flight {
    pub(crate) fn new(channel: Arc<Shared>, call: Call, body: RequestBody) -> Self {
        let share = Share::new(channel);
        Self {
            stage: Stage::New(body),
            own: Some(Own { share, call }),
            away: None,
        }
    }

    /// A call that has begun before it gets here.
    pub(crate) fn begun(channel: Arc<Shared>, call: Call, body: RequestBody, begun: Begun) -> Self {
        let mut flight = Self::new(channel, call, RequestBody::Whole(Bytes::new()));
        flight.stage = Stage::Begun(Box::new((body, begun)));
        flight
    }

    /// As far as it goes without waiting.
    fn begin(
        &mut self,
        body: RequestBody,
        begun: Option<Begun>,
        cx: &mut Context<'_>,
    ) -> Result<(), Failure> {
        let Some(Own { share, call }) = &mut self.own else {
            return Ok(());
        };
        share.begin();
        let now = Instant::now();
        share.span = trace::call(call.path.path());
        let _entered = share.span.as_ref().map(|span| (**span).clone().entered());
        share.tally = share.stack().tally(call, now);
        // Such a call may have more on its way than there is room for here.
        let has_begun = begun.is_some();
        let Begun { times, inbound } = match begun {
            Some(begun) => begun,
            None if share.stack().awaits_config() => {
                let Begun { times, inbound } = share.stack().await_config(call, now)?;
                self.cool_for(inbound, times, Standing::Config(body));
                return Ok(());
            }
            None => share.stack().begin(call, now)?,
        };
        share.pass(now)?;
        if has_begun
            || inbound.is_some()
            || hedge_policy(call).is_some()
            || call.credentials().is_some()
        {
            self.cool_for(inbound, times, Standing::Turn(body));
            return Ok(());
        }
        if let Some(turns) = &share.stack().turns {
            match Arc::clone(turns).try_acquire_owned() {
                Ok(turn) => share.take_turn(turn),
                Err(_) => {
                    self.cool(times, Standing::Turn(body));
                    return Ok(());
                }
            }
        }
        let (mut outgoing, stream) = Outgoing::read(body, call, share, cx)?;
        check_runtime(stream.as_ref())?;
        let take = |live: &_, stream| {
            let payload = outgoing.payload(stream);
            send(live, call, &times, 0, now, None, payload)
        };
        match share.stack().pool.offer(&call.info(&[]), now, stream, take) {
            Ok((mut sent, ticket)) => {
                sent.ticket.hears(ticket);
                outgoing.left();
                self.away = Some(Away {
                    exchange: sent.exchange,
                    ticket: sent.ticket,
                    timer: times.until_head.map(Deadline::timer),
                    times,
                    outgoing,
                });
                self.stage = Stage::Sent;
            }
            Err((stream, _)) => self.cool(times, Standing::Endpoint(outgoing, stream)),
        }
        Ok(())
    }

    /// Waits for the head of the response; None when the cold path takes over.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        let (Some(own), Some(away)) = (&mut self.own, &mut self.away) else {
            return Poll::Ready(None);
        };
        let Poll::Ready(result) = Pin::new(&mut away.exchange).poll(cx) else {
            let Some(timer) = &mut away.timer else {
                return Poll::Pending;
            };
            ready!(timer.poll(&away.ticket.live().timers, cx));
            let limit = timer.limit;
            let mut progress = Progress::new(away.times.started);
            progress.sent_to(&away.ticket.live().endpoint);
            let failure = progress.exceeded(limit);
            return Poll::Ready(Some(self.fail(&progress, failure)));
        };
        let failed = match result {
            Ok(mut response) => match away.ticket.check(&mut response, &own.call) {
                Ok(Answer::Ok(data)) => {
                    let ended = Ended::Status(Code::Ok);
                    let at = away.exchange.ended_at();
                    if let (Some(tally), Some(_)) =
                        (own.share.tally.take(), away.ticket.tally.take())
                    {
                        let age = own.share.stack().age(at.unwrap_or_else(Instant::now));
                        tally.whole(away.ticket.sent, &data, age);
                    }
                    away.ticket.note(ended, at);
                    own.share.note(ended);
                    self.end();
                    return Poll::Ready(Some(Ok(response.map(|_| Body::ok(data)))));
                }
                Ok(answer) => Ok((response, answer)),
                Err(failure) => Err(CallFailure::Judged(failure)),
            },
            Err(error) => Err(CallFailure::Transport(error)),
        };
        Poll::Ready(self.settle(failed))
    }

    /// Whatever is not a whole answer.
    fn settle(
        &mut self,
        result: Result<(http::Response<Incoming>, Answer), CallFailure>,
    ) -> Option<Outcome> {
        let away = self.away.take()?;
        let failure = away.outgoing.failure();
        let attempted = match result {
            Ok((response, answer)) => Attempted::Answered(Answered {
                response,
                answer,
                ticket: away.ticket,
            }),
            Err(failed) => Attempted::failed(failed, away.ticket, failure),
        };
        let call = &self.own.as_ref()?.call;
        if away.outgoing.can_be_sent_again() && may_be_tried_again(call, &attempted) {
            self.cool(away.times, Standing::Attempted(away.outgoing, attempted));
            return None;
        }
        if let Attempted::Answered(answered) = attempted {
            let Own { share, call } = self.own.take()?;
            self.stage = Stage::Over;
            let response = deliver(answered, share, call, away.times, away.timer, 1);
            return Some(Ok(response));
        }
        let mut progress = Progress::new(away.times.started);
        if let Some(endpoint) = attempted.endpoint() {
            progress.sent_to(endpoint);
        }
        let failure = attempted.settle(&mut progress).err()?;
        Some(self.fail(&progress, failure))
    }

    fn fail(&mut self, progress: &Progress, failure: Failure) -> Outcome {
        let Some(Own { share, call }) = self.own.take() else {
            return Err(Status::internal("polled after its end"));
        };
        self.end();
        share.end(Ended::Failed(failure.code()));
        Err(progress.status(call.path.as_str(), failure))
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.away = None;
        self.own = None;
    }

    fn cool(&mut self, times: Times, standing: Standing) {
        self.cool_for(None, times, standing);
    }

    fn cool_for(&mut self, inbound: Option<CallContext>, times: Times, standing: Standing) {
        self.stage = match self.own.take() {
            Some(Own { share, call }) => {
                let begun = Begun { times, inbound };
                let span = share.span.as_deref().cloned();
                let cold = go_on(share, call, begun, standing);
                Stage::Cold(match span {
                    Some(span) => Box::pin(cold.instrument(span)),
                    None => Box::pin(cold),
                })
            }
            None => Stage::Over,
        };
    }
}

impl Future for Flight {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        if let Stage::New(body) = &mut this.stage {
            let body = mem::replace(body, RequestBody::Whole(Bytes::new()));
            if let Err(failure) = this.begin(body, None, cx) {
                let progress = Progress::new(Instant::now());
                return Poll::Ready(this.fail(&progress, failure));
            }
        }
        if let Stage::Begun(_) = this.stage
            && let Stage::Begun(begun) = mem::replace(&mut this.stage, Stage::Over)
        {
            let (body, begun) = *begun;
            let progress = Progress::new(begun.times.started);
            if let Err(failure) = this.begin(body, Some(begun), cx) {
                return Poll::Ready(this.fail(&progress, failure));
            }
        }
        if let Stage::Sent = this.stage
            && let Some(outcome) = ready!(this.poll_head(cx))
        {
            return Poll::Ready(outcome);
        }
        if let Stage::Cold(cold) = &mut this.stage {
            let outcome = ready!(cold.as_mut().poll(cx));
            this.stage = Stage::Over;
            return Poll::Ready(outcome);
        }
        Poll::Ready(Err(Status::internal("polled after its end")))
    }
}

/// Hands a response to its caller.
pub(crate) fn deliver(
    answered: Answered,
    share: Share<Arc<Shared>>,
    call: Call,
    times: Times,
    timer: Option<Timer>,
    attempts: u32,
) -> http::Response<Body> {
    let Answered {
        response,
        answer,
        mut ticket,
    } = answered;
    match answer {
        Answer::Ok(data) => {
            ticket.received(message_len(&data));
            ticket.end(Ended::Status(Code::Ok));
            share.end(Ended::Status(Code::Ok));
            response.map(|_| Body::ok(data))
        }
        Answer::Status => {
            let ended = Ended::from_headers(response.headers());
            let ended = ended.unwrap_or(Ended::Failed(Code::Unknown));
            ticket.end(ended);
            share.end(ended);
            response.map(|_| Body::empty())
        }
        Answer::Open(doubtful, unpacking) => {
            ticket.begins_to_answer();
            let whole = times.whole;
            let is_same = |timer: &Timer| whole.is_some_and(|whole| timer.at == whole.at);
            let timer = timer
                .filter(is_same)
                .or_else(|| whole.map(|whole| whole.timer()));
            let limit = call.max_message_bytes();
            let origin = CallRef {
                path: call.path,
                live: Arc::clone(ticket.live()),
                attempts,
                started: times.started,
            };
            let stack = Arc::clone(share.holder().stack());
            let share = share.hand_over(stack);
            let attempt = AttemptEnding::new(ticket);
            let ending = Ending { share, attempt };
            let (head, body) = response.into_parts();
            let body = ResponseBody::new(doubtful, body, limit, timer, origin);
            let body = body.unpacked(unpacking);
            let body = CallEnd::new(&head.headers, body, ending);
            http::Response::from_parts(head, Body::new(body))
        }
    }
}

/// Hands on what layers around an attempt made of its response.
pub(crate) fn hand_on(
    response: http::Response<Body>,
    share: Share<Arc<Shared>>,
) -> http::Response<Body> {
    let (head, mut body) = response.into_parts();
    let body = if let Some(data) = body.take_ok() {
        share.end(Ended::Status(Code::Ok));
        Body::ok(data)
    } else {
        let stack = Arc::clone(share.holder().stack());
        let share = share.hand_over(stack);
        let body = CallEnd::new(&head.headers, body, |ended: Ended| share.end(ended));
        if http_body::Body::is_end_stream(&body) {
            Body::empty()
        } else {
            Body::new(body)
        }
    };
    http::Response::from_parts(head, body)
}

// === impl Ending ===

impl OnEnd for Ending {
    fn on_data(&mut self, data: &Bytes) {
        self.attempt.on_data(data);
    }

    fn on_trailers(&mut self, trailers: &HeaderMap) {
        self.attempt.on_trailers(trailers);
    }

    fn on_end(self, ended: Ended) {
        self.attempt.on_end(ended);
        self.share.end(ended);
    }
}

// === impl AttemptEnding ===

impl AttemptEnding {
    pub(crate) fn new(ticket: Ticket) -> Self {
        let received = Weighed::default();
        Self { ticket, received }
    }
}

impl OnEnd for AttemptEnding {
    fn on_data(&mut self, data: &Bytes) {
        self.received.add(data);
    }

    fn on_trailers(&mut self, trailers: &HeaderMap) {
        self.ticket.reads(trailers);
    }

    fn on_end(mut self, ended: Ended) {
        self.ticket.received(self.received.bytes());
        self.ticket.end(ended);
    }
}
