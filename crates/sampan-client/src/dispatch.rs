//! One attempt: a request given to a connection, and what came of it.

use crate::{
    call::Call,
    credentials::Proof,
    deadline::Times,
    endpoint::{Endpoint, Live, Ticket},
    failure::{Failure, Progress},
    outbound::{StreamFailure, Streamed},
    pool::NoEndpoint,
    response::{Answer, check},
    tally::{AttemptTally, message_len},
    trace,
};
use sampan_middleware::{Body, Ended};
use sampan_transport::{CallError, CallHead, Incoming, Payload, ResetReason, WhyNot};
use std::sync::Arc;
use tokio::{runtime::Handle, time::Instant};
use tonic::Code;

/// A request that left.
pub(crate) struct Sent {
    pub(crate) exchange: sampan_transport::Call,
    pub(crate) ticket: Ticket,
}

/// What came of an attempt.
#[allow(clippy::large_enum_variant, reason = "passed on at once, never stored")]
pub(crate) enum Attempted {
    Answered(Answered),
    /// The request never left, because its connection just closed.
    Unsent(Failure, Arc<Endpoint>),
    Failed(AttemptFailure),
    /// It never got to an endpoint. The next one may.
    Nowhere(Failure),
    Layered(Box<LayeredAnswer>),
}

/// What a call goes on with.
#[allow(clippy::large_enum_variant, reason = "passed on at once, never stored")]
pub(crate) enum Settled {
    Answered(Answered),
    Layered(Box<LayeredAnswer>),
}

/// A response out of layers around an attempt, whose end is told below them.
#[derive(Debug)]
pub(crate) struct LayeredAnswer {
    pub(crate) response: http::Response<Body>,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// A response by gRPC's rules; its status may still be a failure.
pub(crate) struct Answered {
    pub(crate) response: http::Response<Incoming>,
    pub(crate) answer: Answer,
    pub(crate) ticket: Ticket,
}

/// An attempt without a response.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) failure: Failure,
    /// The server did nothing with the request.
    pub(crate) was_refused: bool,
    /// Another call has told already that the connection broke.
    pub(crate) is_known: bool,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// Why an attempt has no response to hand on.
pub(crate) enum CallFailure {
    /// There is one, against the rules.
    Judged(Failure),
    Transport(CallError),
}

/// Gives a request to a connection, if that takes it.
pub(crate) fn send(
    live: &Arc<Live>,
    call: &Call,
    times: &Times,
    previous: u32,
    now: Instant,
    proof: Option<&Proof>,
    mut payload: Payload<'_, Streamed>,
) -> Result<Sent, (Option<Streamed>, WhyNot)> {
    let route = &live.endpoint.site.route.head;
    let mut head = call.head(route, previous, times.left(now));
    let proven;
    if let Some(proof) = proof {
        proven = proof.beside(head.headers);
        head.headers = &proven;
    }
    let mut stream = None;
    if let (Payload::Stream(streamed), Some(_)) = (&mut payload, call.series) {
        stream = Some(streamed.count());
    }
    let mut sent = 0;
    let mut start = |head: &CallHead<'_>, payload: Payload<'_, Streamed>| {
        if let Payload::Whole(message) = &payload {
            sent = message_len(message);
        }
        live.connection.start(head, payload)
    };
    let started = match call.compression() {
        None => start(&head, payload),
        Some(compression) => compression.start(live, &head, payload, start),
    };
    match started {
        Ok(exchange) => {
            let at = times.whole.map(|deadline| deadline.at);
            let mut ticket = Ticket::new(Arc::clone(live), now, at);
            if call.streams() {
                ticket.streams();
            }
            if let Some(span) = trace::attempt(call.path.as_str(), live, previous) {
                ticket.traced(span);
            }
            if let Some(series) = call.series {
                ticket.tally = Some(AttemptTally::begin(series));
                ticket.sent = u32::try_from(sent).unwrap_or(u32::MAX);
                if let Some(stream) = stream {
                    ticket.sends(stream);
                }
            }
            Ok(Sent { exchange, ticket })
        }
        Err(refused) => Err((refused.stream, refused.why)),
    }
}

/// A request stream runs on its caller's runtime.
pub(crate) fn check_runtime(stream: Option<&Streamed>) -> Result<(), Failure> {
    match stream {
        Some(_) if Handle::try_current().is_err() => Err(Failure::fault(
            Code::Unavailable,
            "a stream was begun outside of a tokio runtime",
        )),
        _ => Ok(()),
    }
}

// === impl Attempted ===

impl Attempted {
    pub(crate) fn new(
        result: Result<http::Response<Incoming>, CallError>,
        mut ticket: Ticket,
        call: &Call,
        stream: Option<&StreamFailure>,
    ) -> Self {
        let failed = match result {
            Ok(mut response) => match ticket.check(&mut response, call) {
                Ok(answer) => {
                    return Self::Answered(Answered {
                        response,
                        answer,
                        ticket,
                    });
                }
                Err(failure) => CallFailure::Judged(failure),
            },
            Err(error) => CallFailure::Transport(error),
        };
        Self::failed(failed, ticket, stream)
    }

    pub(crate) fn failed(
        failed: CallFailure,
        ticket: Ticket,
        stream: Option<&StreamFailure>,
    ) -> Self {
        let endpoint = Arc::clone(&ticket.live().endpoint);
        let mut is_known = false;
        let (failure, was_refused) = match failed {
            CallFailure::Judged(failure) => (failure, false),
            CallFailure::Transport(CallError::Unsent(error)) => {
                ticket.give_back();
                return Self::Unsent(Failure::refused(error), endpoint);
            }
            CallFailure::Transport(CallError::Refused(error)) => (Failure::refused(error), true),
            CallFailure::Transport(CallError::Broken(error)) => {
                is_known = !ticket.live().fails_first();
                (Failure::broken(error), false)
            }
            CallFailure::Transport(CallError::Reset(reason, error)) => {
                let failure = if reason == ResetReason::Cancel && ticket.is_late() {
                    Failure::cancelled_late()
                } else {
                    Failure::reset(reason, error)
                };
                (failure, false)
            }
            CallFailure::Transport(_) => (Failure::fault(Code::Unavailable, "not sent"), false),
        };
        // The reset that a failing request stream leads to is not the reason.
        let failure = match stream.and_then(|stream| stream.get()) {
            Some(status) => Failure::Status(status.clone()),
            None => failure,
        };
        ticket.end(Ended::Failed(failure.code()));
        Self::Failed(AttemptFailure {
            failure,
            was_refused,
            is_known,
            endpoint,
        })
    }

    /// An attempt that no connection took. It counts as one all the same.
    ///
    /// # Errors
    ///
    /// When its call is not to be tried again.
    pub(crate) fn nowhere(why: NoEndpoint, call: &Call, began: Instant) -> Result<Self, Failure> {
        let is_final = matches!(why, NoEndpoint::Dropped(_) | NoEndpoint::Never(_));
        let failure = Failure::from(why);
        if let Some(series) = call.series {
            let ended = Ended::Failed(failure.code());
            AttemptTally::begin(series).end(ended, began.elapsed(), 0, 0);
        }
        if is_final {
            return Err(failure);
        }
        Ok(Self::Nowhere(failure))
    }

    pub(crate) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match self {
            Self::Answered(answered) => Some(&answered.ticket.live().endpoint),
            Self::Unsent(_, endpoint) => Some(endpoint),
            Self::Failed(failed) => Some(&failed.endpoint),
            Self::Nowhere(_) => None,
            Self::Layered(answer) => Some(&answer.endpoint),
        }
    }

    /// It is not the call's last: what it said counts for its endpoint all the same.
    pub(crate) fn discard(self) {
        if let Self::Answered(answered) = self
            && matches!(answered.answer, Answer::Status)
        {
            let ended = Ended::from_headers(answered.response.headers());
            answered
                .ticket
                .end(ended.unwrap_or(Ended::Failed(Code::Unknown)));
        }
    }

    /// Takes it for the call's last one.
    pub(crate) fn settle(self, progress: &mut Progress) -> Result<Settled, Failure> {
        match self {
            Self::Answered(answered) => Ok(Settled::Answered(answered)),
            Self::Layered(answer) => Ok(Settled::Layered(answer)),
            Self::Failed(failed) => Err(failed.failure),
            Self::Nowhere(failure) => Err(failure),
            Self::Unsent(failure, _) => {
                progress.was_not_sent();
                Err(failure)
            }
        }
    }
}

// === impl LayeredAnswer ===

impl LayeredAnswer {
    /// What it says of its end, where it is a status and nothing else.
    pub(crate) fn status(&self) -> Option<Ended> {
        let is_over = http_body::Body::is_end_stream(self.response.body());
        let ended = Ended::from_headers(self.response.headers());
        ended.filter(|_| is_over)
    }
}

// === impl Ticket ===

impl Ticket {
    /// Checks the response to its attempt.
    pub(crate) fn check(
        &mut self,
        response: &mut http::Response<Incoming>,
        call: &Call,
    ) -> Result<Answer, Failure> {
        self.live().answers();
        let answer = check(response, call, self.live())?;
        if matches!(answer, Answer::Status) {
            self.reads(response.headers());
            // It is over, also where the call goes on with another attempt.
            let ended = Ended::from_headers(response.headers());
            self.note(ended.unwrap_or(Ended::Failed(Code::Unknown)), None);
        }
        Ok(answer)
    }
}
