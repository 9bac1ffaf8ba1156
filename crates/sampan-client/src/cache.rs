//! Answers that are kept, of methods whose .proto says how long they may be.
//!
//! | what is kept is | the call gets | `sampan-cache` says |
//! |---|---|---|
//! | not older than the `ttl` | that | `hit` |
//! | older, within `stale_while_revalidate` | that, and a new one is fetched behind its back | `stale` |
//! | older, within `stale_if_error` | a new one; where none can be had, that | `stale-if-error` |
//! | nothing | a new one | |
//!
//! Those that are kept also say their `age`, in seconds. Calls for the same answer wait for one
//! fetch: whoever began it may leave, and a follower whose deadline is later goes on by itself
//! when the first one's is over.
//!
//! Kept are answers of unary methods that are NO_SIDE_EFFECTS, when their status is OK. The key
//! is the channel, the method, the request's bytes, and the metadata that `vary` names. Nobody sees
//! another's answer: where the scope is not PUBLIC, a call with `authorization`, `cookie` or
//! `proxy-authorization` is not looked up unless `vary` names it, and one with credentials, its own
//! or its channel's, unless `vary` names all that they set. They are asked before it is looked up
//! then, and what they gave is what a fetch for it sends. An answer with `set-cookie`, or `cache-control: no-store`, is not kept.
//!
//! All channels of the process share a fifth of the container's memory, 64 MiB where it has no
//! limit; who was not asked for longest goes first.

mod age;
mod entry;
mod key;
mod single_flight;
mod store;

pub(crate) use single_flight::Cache;

use crate::{
    around::fail,
    call::{Begun, Call},
    channel::Shared,
    credentials::{CalledMethod, Proof},
    deadline::Deadline,
    failure::{Failure, Fault, Phase, Progress},
    flight::{Flight, Outcome},
    inbound,
    outbound::Outbound,
    stack::{RequestBody, Stack},
};
use age::Age;
use bytes::Bytes;
use entry::{Entry, Kept};
use key::Key;
use sampan_wire::{
    Code as WireCode,
    policy::{CachePolicy, Idempotency, MethodKind},
};
use single_flight::{Fetch, Guard};
use std::{mem, sync::Arc};
use tokio::{runtime::Handle, time::Instant};
use tonic::{Code, Status};

// === impl Stack ===

impl Stack {
    /// How long answers to this call may be kept, if they may.
    pub(crate) fn caches(&self, call: &Call) -> Option<&'static CachePolicy> {
        let method = call.method?;
        let policy = method.policy().cache()?;
        // The generator refuses a policy on other methods; a method written by hand may have one.
        let reads = method.idempotency() == Idempotency::NoSideEffects;
        let is_kept = reads && method.kind() == MethodKind::Unary && self.cache.is_some();
        is_kept.then_some(policy)
    }
}

/// A call on its way through the cache.
struct Asked {
    channel: Arc<Shared>,
    call: Call,
    begun: Begun,
    message: Bytes,
    policy: &'static CachePolicy,
    key: Key,
}

/// Takes a call to the head of its response, by what is kept where that will do.
pub(crate) async fn answered(
    channel: Arc<Shared>,
    mut call: Call,
    begun: Begun,
    body: RequestBody,
    policy: &'static CachePolicy,
) -> Outcome {
    let proof = proof(channel.stack(), &call, &begun, policy).await;
    let message = match body.read(&call).await {
        Ok(Outbound::Whole(message)) => Ok(message),
        Ok(Outbound::Stream(stream)) => Err(stream.into_body()),
        Err(status) => return fail(channel, &call, status.into()),
    };
    let cache = channel.stack().cache.as_ref();
    let key = |message| Key::of(cache?.id(), &call, proof.as_ref(), policy, message);
    let body = match message {
        Ok(message) => match key(&message) {
            Some(key) => {
                if let Some(proof) = proof {
                    call.settle_proof(proof);
                }
                let asked = Asked {
                    channel,
                    call,
                    begun,
                    message,
                    policy,
                    key,
                };
                return asked.answer().await;
            }
            None => RequestBody::Whole(message),
        },
        Err(stream) => RequestBody::Unread(stream),
    };
    Flight::begun(channel, call, body, begun).await
}

/// What the call proves, where its answers may differ by that. None also where it cannot be had:
/// the call then goes past the cache, and fails as others do.
async fn proof(stack: &Stack, call: &Call, begun: &Begun, policy: &CachePolicy) -> Option<Proof> {
    let credentials = call.credentials()?;
    if policy.vary.is_empty() {
        return None;
    }
    let called = CalledMethod::new(&stack.authority, call.path.as_str());
    tokio::select! {
        biased;
        proof = credentials.prove(&called) => proof.ok(),
        () = inbound::left(begun.inbound.as_ref()) => None,
        _ = Deadline::over(begun.times.until_head) => None,
    }
}

// === impl Asked ===

impl Asked {
    async fn answer(self) -> Outcome {
        let Some(cache) = &self.channel.stack().cache else {
            return Err(Status::internal("there is no cache"));
        };
        let limit = self.call.max_message_bytes();
        let mut is_counted = false;
        loop {
            let now = Instant::now();
            let kept = cache.find(&self.key);
            let kept = kept.map(|entry| (age::judge(self.policy, entry.age(now)), entry));
            let last_resort = match kept {
                // Its caller takes no message as long as that one.
                Some((_, entry)) if !entry.fits(limit) => None,
                Some((Age::Fresh, entry)) => {
                    cache.hit();
                    return Ok(entry.response(Some(Kept::Hit)));
                }
                Some((Age::Revalidate, entry)) => {
                    cache.hit();
                    self.refresh(cache);
                    return Ok(entry.response(Some(Kept::Stale)));
                }
                Some((Age::IfError, entry)) => Some(entry),
                Some((Age::Gone, _)) | None => None,
            };
            if !mem::replace(&mut is_counted, true) {
                cache.miss();
            }
            let (fetch, is_own) = cache.join(&self.channel, self.policy, &self.key, |guard| {
                self.fetch(Some(self.begun.clone()), guard)
            });
            let end = match self.wait(fetch).await {
                Waited::Ended(end) => end,
                Waited::Late(status) => Err(status),
                Waited::Alone => {
                    return Err(inbound::gone(&self.call.path, self.begun.times.started));
                }
            };
            let is_late = self.is_late();
            let code = end.as_ref().map_or_else(Status::code, |entry| entry.code());
            match (last_resort, end) {
                // Whoever began it had less time, or left.
                _ if !is_own && !is_late && is_of_one(code) => {}
                (Some(entry), _) if is_failure(code) => {
                    return Ok(entry.response(Some(Kept::StaleIfError)));
                }
                (_, Ok(entry)) => {
                    if let Err(too_long) = entry.check(limit) {
                        return Err(self.status(Failure::from(Fault::from(too_long))));
                    }
                    return Ok(entry.response(None));
                }
                (_, Err(status)) => return Err(status),
            }
        }
    }

    /// Fetches a new answer behind the back of everyone.
    fn refresh(&self, cache: &Cache) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (fetch, is_own) = cache.join(&self.channel, self.policy, &self.key, |guard| {
            // Its time is its own: the caller's may be short.
            self.fetch(None, guard)
        });
        if is_own {
            drop(runtime.spawn(fetch));
        }
    }

    fn fetch(
        &self,
        begun: Option<Begun>,
        guard: Guard,
    ) -> impl Future<Output = Result<Arc<Entry>, Status>> + Send + use<> {
        let channel = Arc::clone(&self.channel);
        let body = RequestBody::Whole(self.message.clone());
        let mut call = self.call.clone();
        let begun = match begun {
            Some(begun) => Ok(begun),
            None => channel.stack().begin(&mut call, Instant::now()),
        };
        async move {
            let response = match begun {
                Ok(begun) => Flight::begun(channel, call, body, begun).await?,
                Err(failure) => fail(channel, &call, failure)?,
            };
            let entry = Arc::new(Entry::collect(response).await?);
            guard.keep(&entry);
            Ok(entry)
        }
    }

    async fn wait(&self, fetch: Fetch) -> Waited {
        tokio::select! {
            biased;
            end = fetch => Waited::Ended(end),
            () = inbound::left(self.begun.inbound.as_ref()) => Waited::Alone,
            limit = Deadline::over(self.begun.times.until_head) => {
                let mut progress = Progress::new(self.begun.times.started);
                progress.phase = Phase::Response;
                Waited::Late(self.status(progress.exceeded(limit)))
            }
        }
    }

    fn is_late(&self) -> bool {
        let deadline = self.begun.times.until_head;
        deadline.is_some_and(|deadline| Instant::now() >= deadline.at)
    }

    fn status(&self, failure: Failure) -> Status {
        Progress::new(self.begun.times.started).status(self.call.path.as_str(), failure)
    }
}

/// How the wait for an answer ended.
enum Waited {
    Ended(Result<Arc<Entry>, Status>),
    /// The call's own deadline came first.
    Late(Status),
    /// Nobody waits for the answer any more.
    Alone,
}

/// Whether an end says something of the one that began the fetch, and not of the service.
fn is_of_one(code: Code) -> bool {
    matches!(code, Code::DeadlineExceeded | Code::Cancelled)
}

/// Whether the service is in trouble.
fn is_failure(code: Code) -> bool {
    let code = u8::try_from(code as i32).ok().and_then(WireCode::from_u8);
    code.is_some_and(WireCode::is_endpoint_failure)
}
