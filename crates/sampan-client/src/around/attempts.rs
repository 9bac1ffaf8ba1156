//! tower layers around attempts: each retry and each hedge passes them, on its way to the
//! endpoint that was picked for it.

use super::layers::CallService;
use crate::{
    balance::{self, Replica},
    call::Call,
    credentials::Proof,
    deadline::{Times, take_asked},
    dispatch::{Answered, AttemptFailure, Attempted, LayeredAnswer, Sent, check_runtime, send},
    endpoint::{Endpoint, Live},
    failure::{Failure, Progress, Scene},
    flight::{AttemptEnding, Outcome},
    outbound::{Outbound, StreamFailure, Streamed},
    pool::NoEndpoint,
    response::{Answer, CallRef, ResponseBody},
    stack::{Outgoing, RequestBody, Stack},
    tally::message_len,
};
use bytes::Bytes;
use http::Uri;
use sampan_middleware::{Body, CallEnd, Ended};
use sampan_transport::{Payload, WhyNot};
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::ServiceExt;

/// What is known of an attempt: in the extensions of the request that its
/// [layers](crate::ChannelBuilder::attempt_layer) see.
#[derive(Clone, Debug)]
pub struct AttemptInfo {
    endpoint: Arc<Endpoint>,
    previous: u32,
    deadline: Option<Instant>,
}

/// An attempt that goes by way of layers.
pub(crate) struct Layered<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) layers: CallService,
    pub(crate) times: &'a Times,
    pub(crate) previous: u32,
    /// Of the endpoints that the call was tried on, or is; this attempt's own joins them.
    pub(crate) tried: &'a Mutex<Vec<Arc<Replica>>>,
    pub(crate) outgoing: &'a Outgoing,
}

/// What an attempt needs below its layers, and they don't see.
#[derive(Clone)]
struct Carrier(Arc<Underway>);

struct Underway {
    call: Call,
    times: Times,
    previous: u32,
    live: Arc<Live>,
    state: Mutex<State>,
}

/// What happened below the layers.
#[derive(Default)]
struct State {
    ticket: balance::Ticket,
    is_sent: bool,
    /// The connection did not take it.
    is_refused: bool,
    /// How it failed last.
    failed: Option<How>,
}

#[derive(Clone, Copy)]
struct How {
    code: Code,
    was_unsent: bool,
    was_refused: bool,
    is_known: bool,
}

/// A connection may close before an attempt that it was picked for has passed its layers. So often
/// it is picked for again.
const MAX_PICKS: u32 = 16;

// === impl AttemptInfo ===

impl AttemptInfo {
    /// Where it goes: `10.0.0.7:50051`, `unix:/run/orders.sock`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint.label()
    }

    /// How many attempts went before it.
    #[must_use]
    pub const fn previous_attempts(&self) -> u32 {
        self.previous
    }

    /// When the call must have ended.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

// === impl Layered ===

impl Layered<'_> {
    /// Picks an endpoint, and takes the attempt to it and back.
    pub(crate) async fn send(
        self,
        mut call: Call,
        proof: Option<Proof>,
        mut stream: Option<Streamed>,
        progress: &mut Progress,
    ) -> Result<Attempted, Failure> {
        if let Some(proof) = &proof {
            *call.headers_mut() = proof.beside(call.headers());
        }
        let began = Instant::now();
        for _ in 0..MAX_PICKS {
            let (live, ticket) = match self.pick(&call, proof.as_ref(), progress).await? {
                Ok(picked) => picked,
                Err(why) => return Attempted::nowhere(why, &call, began),
            };
            progress.sent_to(&live.endpoint);
            let underway = Arc::new(Underway {
                call: call.clone(),
                times: *self.times,
                previous: self.previous,
                live,
                state: Mutex::new(State {
                    ticket,
                    ..State::default()
                }),
            });
            let body = self.outgoing.body(stream.take());
            let request = underway.request(body);
            let outcome = self.layers.clone().oneshot(request).await;
            match underway.judge(outcome) {
                Some(attempted) => {
                    if !lock(&underway.state).is_sent {
                        progress.was_not_sent();
                    }
                    return Ok(attempted);
                }
                None => progress.was_not_sent(),
            }
            if self.outgoing.failure().is_some() {
                match self.outgoing.again() {
                    Some(beginning) => stream = beginning,
                    None => break,
                }
            }
        }
        let what = "its connections closed before it had passed its layers";
        Ok(Attempted::Nowhere(Failure::fault(Code::Unavailable, what)))
    }

    async fn pick(
        &self,
        call: &Call,
        proof: Option<&Proof>,
        progress: &mut Progress,
    ) -> Result<Result<(Arc<Live>, balance::Ticket), NoEndpoint>, Failure> {
        let take = |live: &Arc<Live>, ()| {
            if let Some(Err(not_secret)) = proof.map(|proof| proof.check(&live.endpoint)) {
                return Ok(Err(not_secret));
            }
            match live.connection.refuses() {
                Some(why) => Err(((), why)),
                None => Ok(Ok(Arc::clone(live))),
            }
        };
        let gate = self.stack.gate.as_ref();
        let waits = gate.map(|gate| gate.wait()).transpose()?;
        let avoided = lock(self.tried).clone();
        let pool = &self.stack.pool;
        let taken = pool
            .offer_until_taken(&call.info(&avoided), (), call.waits_for_ready(), take)
            .await;
        drop(waits);
        let (picked, ticket) = match taken {
            Ok(taken) => taken,
            Err(why) => return Ok(Err(why)),
        };
        let live = picked.map_err(|not_secret| not_secret.failure(progress))?;
        lock(self.tried).push(Arc::clone(&live.endpoint.replica));
        Ok(Ok((live, ticket)))
    }
}

// === impl Underway ===

impl Underway {
    /// As the outermost layer sees it.
    fn request(self: &Arc<Self>, body: tonic::body::Body) -> http::Request<tonic::body::Body> {
        let mut request = http::Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = Uri::from(self.call.path.clone());
        *request.headers_mut() = self.call.headers().clone();
        let extensions = request.extensions_mut();
        if let Some(method) = self.call.method {
            extensions.insert(method);
        }
        extensions.insert(AttemptInfo {
            endpoint: Arc::clone(&self.live.endpoint),
            previous: self.previous,
            deadline: self.times.whole.map(|deadline| deadline.at),
        });
        extensions.insert(Carrier(Arc::clone(self)));
        request
    }

    /// What came of it; None where the connection did not take it.
    fn judge(&self, outcome: Outcome) -> Option<Attempted> {
        let endpoint = Arc::clone(&self.live.endpoint);
        let status = match outcome {
            Ok(response) => {
                let answer = LayeredAnswer { response, endpoint };
                return Some(Attempted::Layered(Box::new(answer)));
            }
            Err(status) => status,
        };
        let state = lock(&self.state);
        if state.is_refused && status.code() == Code::Unavailable {
            return None;
        }
        // Where a layer says something else, that is what happened.
        let how = state.failed.filter(|how| how.code == status.code());
        if how.is_some_and(|how| how.was_unsent) {
            return Some(Attempted::Unsent(Failure::Status(status), endpoint));
        }
        Some(Attempted::Failed(AttemptFailure {
            failure: Failure::Status(status),
            was_refused: how.is_some_and(|how| how.was_refused),
            is_known: how.is_some_and(|how| how.is_known),
            endpoint,
        }))
    }

    /// What is below the last layer.
    async fn go(&self, mut head: http::request::Parts, body: tonic::body::Body) -> Outcome {
        let (mut call, mut times) = (self.call.clone(), self.times);
        if let Some(path) = head.uri.path_and_query() {
            call.path = path.clone();
        }
        match take_asked(&mut head.headers) {
            Ok(None) => {}
            Ok(Some(asked)) => times.shorten(asked),
            Err(failure) => return Err(self.status(failure)),
        }
        *call.headers_mut() = head.headers;
        let failure = StreamFailure::default();
        let (message, stream) = match RequestBody::Unread(body).read(&call).await? {
            Outbound::Whole(message) => (message, None),
            Outbound::Stream(messages) => {
                let stream = messages.alone(Arc::clone(&failure));
                (Bytes::new(), Some(stream))
            }
        };
        check_runtime(stream.as_ref()).map_err(|failure| self.status(failure))?;
        let mut stream = stream;
        let Sent {
            exchange,
            mut ticket,
        } = loop {
            let payload = match stream.take() {
                Some(stream) => Payload::Stream(stream),
                None => Payload::Whole(&message),
            };
            let (now, live) = (Instant::now(), &self.live);
            match send(live, &call, &times, self.previous, now, None, payload) {
                Ok(sent) => break sent,
                // There was room when it was picked.
                Err((back, WhyNot::Full)) => {
                    stream = back;
                    live.connection.stream_free().await;
                }
                Err((_, WhyNot::Closed)) => {
                    lock(&self.state).is_refused = true;
                    return Err(Status::unavailable("its connection takes no more calls"));
                }
            }
        };
        {
            let mut state = lock(&self.state);
            state.is_sent = true;
            ticket.hears(mem::take(&mut state.ticket));
        }
        let result = exchange.await;
        match Attempted::new(result, ticket, &call, Some(&failure)) {
            Attempted::Answered(answered) => {
                Ok(hand_over(answered, call, &times, self.previous + 1))
            }
            Attempted::Unsent(failure, _) | Attempted::Nowhere(failure) => {
                Err(self.fails(failure, None))
            }
            Attempted::Failed(failed) => {
                let how = (failed.was_refused, failed.is_known);
                Err(self.fails(failed.failure, Some(how)))
            }
            Attempted::Layered(answer) => Ok(answer.response),
        }
    }

    fn fails(&self, failure: Failure, sent: Option<(bool, bool)>) -> Status {
        let (was_refused, is_known) = sent.unwrap_or_default();
        let status = self.status(failure);
        lock(&self.state).failed = Some(How {
            code: status.code(),
            was_unsent: sent.is_none(),
            was_refused,
            is_known,
        });
        status
    }

    fn status(&self, failure: Failure) -> Status {
        failure.into_status(Scene {
            path: self.call.path.as_str(),
            endpoint: Some(&self.live.endpoint),
            attempts: self.previous + 1,
            elapsed: self.times.started.elapsed(),
        })
    }
}

/// No code that can panic runs under these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is below the last layer.
pub(super) async fn go(request: http::Request<tonic::body::Body>) -> Outcome {
    let (mut head, body) = request.into_parts();
    match head.extensions.remove::<Carrier>() {
        Some(Carrier(underway)) => underway.go(head, body).await,
        None => Err(super::layers::no_extensions(&head)),
    }
}

/// The answer as layers see it: valid, decompressed, and with the attempt's end in its body's.
fn hand_over(answered: Answered, call: Call, times: &Times, attempts: u32) -> http::Response<Body> {
    let Answered {
        response,
        answer,
        mut ticket,
    } = answered;
    match answer {
        Answer::Ok(data) => {
            ticket.received(message_len(&data));
            ticket.end(Ended::Status(Code::Ok));
            response.map(|_| Body::ok(data))
        }
        Answer::Status => {
            let ended = Ended::from_headers(response.headers());
            ticket.end(ended.unwrap_or(Ended::Failed(Code::Unknown)));
            response.map(|_| Body::empty())
        }
        Answer::Open(doubtful, unpacking) => {
            ticket.begins_to_answer();
            let limit = call.max_message_bytes();
            let origin = CallRef {
                path: call.path,
                live: Arc::clone(ticket.live()),
                attempts,
                started: times.started,
            };
            let timer = times.whole.map(|whole| whole.timer());
            let ending = AttemptEnding::new(ticket);
            let (head, body) = response.into_parts();
            let body = ResponseBody::new(doubtful, body, limit, timer, origin);
            let body = CallEnd::new(&head.headers, body.unpacked(unpacking), ending);
            http::Response::from_parts(head, Body::new(body))
        }
    }
}
