//! What a program puts around the calls of its channel: layers, then interceptors; below them the
//! cache, and the call. And around their attempts: interceptors, and below the pick layers.
//!
//! Only calls of channels that have some come this way.

mod attempts;
mod layers;

pub use attempts::AttemptInfo;
pub(crate) use attempts::Layered;
pub use layers::CallService;
pub(crate) use layers::{Inside, Layers};

use crate::{
    cache,
    call::{Begun, Call},
    channel::Shared,
    deadline::Deadline,
    failure::{Failure, Phase, Progress},
    flight::{Flight, Outcome},
    inbound,
    interceptor::{EndedCall, Interceptor, OutgoingCall},
    share::Share,
    stack::{RequestBody, Stack},
};
use http::{HeaderMap, uri::PathAndQuery};
use sampan_middleware::{Body, CallEnd, Ended, OnEnd};
use sampan_wire::policy::Method;
use std::{borrow::Cow, fmt, mem, sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Code, metadata::MetadataMap};

/// What stands around calls.
#[derive(Clone, Default)]
pub(crate) struct Around {
    interceptors: Vec<Arc<dyn Interceptor>>,
    layers: Layers,
    /// Of attempts.
    inner: Layers,
}

/// Tells interceptors how a call ended.
struct Hearing {
    interceptors: Vec<Arc<dyn Interceptor>>,
    path: PathAndQuery,
    method: Option<&'static Method>,
    started: Instant,
    trailers: Option<HeaderMap>,
}

/// The call's own timer comes first and knows more; this is for what does not get to it.
const GRACE: Duration = Duration::from_millis(2);

/// Takes a call through all of it, to the head of its response.
pub(crate) async fn answered(
    channel: Arc<Shared>,
    mut call: Call,
    body: RequestBody,
    extensions: Option<http::Extensions>,
) -> Outcome {
    let begun = match begin(channel.stack(), &mut call).await {
        Ok(begun) => begun,
        Err(failure) => return fail(channel, &call, failure),
    };
    let Some(extensions) = extensions else {
        return cached(channel, call, begun, body).await;
    };
    let (path, started) = (call.path.clone(), begun.times.started);
    let inbound = begun.inbound.clone();
    let until = begun.times.until_head.map(|deadline| Deadline {
        at: deadline.at + GRACE,
        ..deadline
    });
    let layers = channel.stack().around.as_ref().and_then(Around::layers);
    let going = async {
        match layers {
            None => intercepted(channel, call, begun, body).await,
            Some(layers) => layers.call(channel, call, begun, body, extensions).await,
        }
    };
    tokio::select! {
        biased;
        outcome = going => outcome,
        () = inbound::left(inbound.as_ref()) => Err(inbound::gone(&path, started)),
        limit = Deadline::over(until) => {
            let mut progress = Progress::new(started);
            progress.phase = Phase::Around;
            let failure = progress.exceeded(limit);
            Err(progress.status(path.as_str(), failure))
        }
    }
}

/// When it is known what holds for it.
async fn begin(stack: &Stack, call: &mut Call) -> Result<Begun, Failure> {
    let now = Instant::now();
    if !stack.awaits_config() {
        return stack.begin(call, now);
    }
    let Begun { times, inbound } = stack.await_config(call, now)?;
    let progress = Progress::new(now);
    let begun = stack.begin_when_configured(call, &times, &progress).await?;
    Ok(Begun { inbound, ..begun })
}

/// Through the interceptors and what is below.
async fn intercepted(
    channel: Arc<Shared>,
    mut call: Call,
    begun: Begun,
    body: RequestBody,
) -> Outcome {
    let around = channel.stack().around.as_ref();
    let interceptors = around.map_or_else(Vec::new, |around| around.interceptors.clone());
    if interceptors.is_empty() {
        return cached(channel, call, begun, body).await;
    }
    let hearing = Hearing {
        path: call.path.clone(),
        method: call.method,
        started: begun.times.started,
        trailers: None,
        interceptors,
    };
    // One that is dropped meanwhile is told as well.
    let mut hearing = Dropped(Some(hearing));
    let mut outgoing = call.outgoing(0, begun.times.whole.map(|whole| whole.at));
    for interceptor in hearing.interceptors() {
        if let Err(status) = interceptor.before_call(&mut outgoing).await {
            hearing.tell(Ended::Failed(status.code()));
            return fail(channel, &call, status.into());
        }
    }
    call.take_back(outgoing);
    match cached(channel, call, begun, body).await {
        Err(status) => {
            hearing.tell(Ended::Failed(status.code()));
            Err(status)
        }
        Ok(response) => Ok(match hearing.0.take() {
            None => response,
            Some(hearing) => watched(response, hearing),
        }),
    }
}

/// Through the cache and what is below.
async fn cached(channel: Arc<Shared>, call: Call, begun: Begun, body: RequestBody) -> Outcome {
    match channel.stack().caches(&call) {
        Some(policy) => cache::answered(channel, call, begun, body, policy).await,
        None => Flight::begun(channel, call, body, begun).await,
    }
}

fn watched(response: http::Response<Body>, hearing: Hearing) -> http::Response<Body> {
    let (head, mut body) = response.into_parts();
    let body = if let Some(data) = body.take_ok() {
        hearing.on_end(Ended::Status(Code::Ok));
        Body::ok(data)
    } else {
        let body = CallEnd::new(&head.headers, body, hearing);
        if http_body::Body::is_end_stream(&body) {
            Body::empty()
        } else {
            Body::new(body)
        }
    };
    http::Response::from_parts(head, body)
}

/// A call that never gets to be sent counts all the same.
pub(crate) fn fail(channel: Arc<Shared>, call: &Call, failure: Failure) -> Outcome {
    let mut share = Share::new(channel);
    share.begin();
    share.end(Ended::Failed(failure.code()));
    Err(Progress::new(Instant::now()).status(call.path.as_str(), failure))
}

/// The call as an attempt is to send it.
pub(crate) async fn attempted<'a>(
    stack: &Stack,
    call: &'a Call,
    previous: u32,
) -> Result<Cow<'a, Call>, Failure> {
    let Some(around) = &stack.around else {
        return Ok(Cow::Borrowed(call));
    };
    if around.interceptors.is_empty() {
        return Ok(Cow::Borrowed(call));
    }
    let mut call = call.clone();
    let mut outgoing = call.outgoing(previous, None);
    for interceptor in &around.interceptors {
        interceptor.before_attempt(&mut outgoing).await?;
    }
    call.take_back(outgoing);
    Ok(Cow::Owned(call))
}

// === impl Around ===

impl Around {
    pub(crate) fn intercept(&mut self, interceptor: impl Interceptor) {
        self.interceptors.push(Arc::new(interceptor));
    }

    /// Those of calls and those of attempts.
    pub(crate) const fn layers_mut(&mut self) -> (&mut Layers, &mut Layers) {
        (&mut self.layers, &mut self.inner)
    }

    /// What attempts pass below the pick, if they do.
    pub(crate) fn of_attempts(&self) -> Option<CallService> {
        self.inner.whole()
    }

    /// None where there is nothing.
    pub(crate) fn some(self) -> Option<Self> {
        let has_layers = !(self.layers.is_empty() && self.inner.is_empty());
        let is_empty = self.interceptors.is_empty() && !has_layers;
        (!is_empty).then_some(self)
    }

    fn layers(&self) -> Option<Layers> {
        (!self.layers.is_empty()).then(|| self.layers.clone())
    }
}

impl fmt::Debug for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Around")
            .field("interceptors", &self.interceptors.len())
            .field("layers", &self.layers)
            .field("inner", &self.inner)
            .finish()
    }
}

// === impl Call ===

impl Call {
    fn outgoing(&mut self, previous_attempts: u32, deadline: Option<Instant>) -> OutgoingCall {
        OutgoingCall {
            path: self.path.clone(),
            method: self.method,
            metadata: MetadataMap::from_headers(mem::take(self.headers_mut())),
            previous_attempts,
            deadline,
        }
    }

    fn take_back(&mut self, outgoing: OutgoingCall) {
        *self.headers_mut() = outgoing.metadata.into_headers();
    }
}

/// Tells of a call that is dropped before it has a response.
struct Dropped(Option<Hearing>);

// === impl Dropped ===

impl Dropped {
    fn interceptors(&self) -> Vec<Arc<dyn Interceptor>> {
        let hearing = self.0.as_ref();
        hearing.map_or_else(Vec::new, |hearing| hearing.interceptors.clone())
    }

    fn tell(&mut self, ended: Ended) {
        if let Some(hearing) = self.0.take() {
            hearing.on_end(ended);
        }
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.tell(Ended::Dropped);
    }
}

// === impl Hearing ===

impl OnEnd for Hearing {
    fn on_trailers(&mut self, trailers: &HeaderMap) {
        self.trailers = Some(trailers.clone());
    }

    fn on_end(self, ended: Ended) {
        let ended = EndedCall {
            path: self.path.as_str(),
            method: self.method,
            code: ended.code(),
            elapsed: self.started.elapsed(),
            trailers: self.trailers.as_ref(),
        };
        // The last one before the call is the first behind it.
        for interceptor in self.interceptors.iter().rev() {
            interceptor.after_call(&ended);
        }
    }
}
