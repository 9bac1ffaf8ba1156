//! A call: what its caller asked for and what is known of its method.

use crate::{
    balance::{CallInfo, Replica},
    compressed::CallCompression,
    credentials::{CredentialsOfCall, Proof},
    deadline::{DeadlinePolicy, Times, take_asked},
    failure::Failure,
};
use http::{HeaderMap, HeaderName, request, uri::PathAndQuery};
use sampan_middleware::{
    compression::{Compression, ShrinkageTable},
    context::{CallContext, carry},
    metrics::client::MethodSeries,
};
use sampan_transport::{CallHead, RouteHead};
use sampan_wire::policy::{
    CallFacts, CallPolicy, EffectivePolicy, MaxDecodingMessageSize, Method, MethodKind, Origin,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Code, GrpcMethod};

/// All of a request but its body, kept until the call's last attempt.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    /// Known when a generated client or the channel's settings say so.
    pub(crate) method: Option<&'static Method>,
    kind: Option<MethodKind>,
    /// The longest message that the caller takes; without a limit the longest there is.
    max_message_bytes: u32,
    /// Whether its path is that of a method that generated code has.
    pub(crate) is_generated: bool,
    /// Where its attempts are counted.
    pub(crate) series: Option<&'static MethodSeries>,
    /// Where more is said than the method's own policy and the channel's defaults.
    pub(crate) policy: Option<Arc<EffectivePolicy>>,
    /// What few calls have.
    extras: Option<Box<Extras>>,
}

#[derive(Clone, Default)]
struct Extras {
    /// What its caller says of it, where that has to be merged again.
    own: Option<CallPolicy>,
    compression: Option<CallCompression>,
    credentials: Option<CredentialsOfCall>,
}

/// What is fixed when a call begins.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) times: Times,
    /// The inbound call that it is made for, where that does not drop it by itself.
    pub(crate) inbound: Option<CallContext>,
}

// === impl Call ===

impl Call {
    /// Reads a request of a generated client, or of anyone who makes such requests.
    pub(crate) fn new(
        request: request::Parts,
        methods: &HashMap<&'static str, &'static Method>,
        max_message_bytes: Option<usize>,
    ) -> Self {
        let request::Parts {
            uri,
            headers,
            extensions,
            ..
        } = request;
        let path = uri
            .into_parts()
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let facts = extensions.get::<CallFacts>();
        let told = facts.map(|facts| facts.method);
        let method = match told.or_else(|| extensions.get::<&'static Method>().copied()) {
            Some(method) => Some(method),
            None if methods.is_empty() => None,
            None => methods.get(path.as_str()).copied(),
        };
        let kind = match method {
            Some(method) => Some(method.kind()),
            None => extensions.get::<MethodKind>().copied(),
        };
        let max_message_bytes = facts
            .map(|facts| facts.max_decoding_message_size)
            .or_else(|| Some(extensions.get::<MaxDecodingMessageSize>()?.0))
            .or(max_message_bytes);
        Self {
            path,
            headers,
            method,
            kind,
            max_message_bytes: longest(max_message_bytes.unwrap_or(usize::MAX)),
            is_generated: extensions.get::<GrpcMethod<'static>>().is_some(),
            series: None,
            policy: None,
            extras: None,
        }
    }

    /// A call of a generated client that calls this channel itself.
    pub(crate) fn direct(
        path: PathAndQuery,
        headers: HeaderMap,
        method: &'static Method,
        max_message_bytes: usize,
    ) -> Self {
        Self {
            path,
            headers,
            method: Some(method),
            kind: Some(method.kind()),
            max_message_bytes: longest(max_message_bytes),
            is_generated: true,
            series: None,
            policy: None,
            extras: None,
        }
    }

    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) const fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The call begins: whatever it waits for from now on counts against its deadline.
    ///
    /// # Errors
    ///
    /// When the caller's own deadline is none, and when the inbound call's is over.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        policy: &DeadlinePolicy,
    ) -> Result<Begun, Failure> {
        let asked = take_asked(&mut self.headers)?;
        let told = self
            .policy
            .as_ref()
            .and_then(|policy| policy.deadline.bound);
        let carried = carry(&mut self.headers, now);
        if carried.left.is_some_and(|left| left.is_zero()) {
            let what = "the call that it is made for has no time left";
            return Err(Failure::fault(Code::DeadlineExceeded, what));
        }
        let asked = [asked, told.map(|told| told.value), carried.left]
            .into_iter()
            .flatten()
            .min();
        let bounds = policy.bounds(asked, self.method, self.kind);
        Ok(Begun {
            times: Times::new(now, bounds),
            inbound: carried.detached,
        })
    }

    /// Whether either side sends any number of messages, as far as anybody knows.
    pub(crate) fn streams(&self) -> bool {
        self.kind.is_some_and(|kind| kind != MethodKind::Unary)
    }

    /// What a picker sees of it when it was `tried` on these already.
    pub(crate) fn info<'a>(&'a self, tried: &'a [Arc<Replica>]) -> CallInfo<'a> {
        CallInfo {
            path: self.path.as_str(),
            headers: &self.headers,
            tried,
        }
    }

    /// What is said of it beside its method's own policy.
    pub(crate) fn follow(&mut self, policy: Arc<EffectivePolicy>) {
        let told = policy.max_response_bytes;
        if let (Some(limit), false) = (told.value, told.origin == Origin::Default) {
            self.max_message_bytes = self.max_message_bytes.min(longest(limit));
        }
        self.policy = Some(policy);
    }

    /// What its caller says of it holds beside what becomes known until it begins.
    pub(crate) fn keep(&mut self, own: &CallPolicy) {
        self.extras.get_or_insert_default().own = Some(*own);
    }

    /// What its caller said of it, where it was [kept](Self::keep).
    pub(crate) fn take_own(&mut self) -> Option<CallPolicy> {
        self.extras.as_mut()?.own.take()
    }

    /// Whether its method's author said how its messages are compressed.
    pub(crate) fn declares_compression(&self) -> bool {
        self.method
            .is_some_and(|method| method.policy().compression().is_some())
    }

    /// What its policy says of compression holds, with what was learned so far.
    pub(crate) fn compress(&mut self, table: &Arc<ShrinkageTable>) {
        let told = match (&self.policy, self.method) {
            (Some(policy), _) => Some(policy.compression.value),
            (None, Some(method)) => method.policy().compression().and_then(|way| way.here()),
            (None, None) => None,
        };
        if let Some(told) = told.filter(|told| *told != Compression::none()) {
            let compression = CallCompression::new(told, Arc::clone(table));
            self.extras.get_or_insert_default().compression = Some(compression);
        }
    }

    /// What it sends and takes compressed, if anything.
    pub(crate) fn compression(&self) -> Option<&CallCompression> {
        self.extras.as_ref()?.compression.as_ref()
    }

    /// Each of its attempts proves who calls.
    pub(crate) fn prove(&mut self, credentials: CredentialsOfCall) {
        self.extras.get_or_insert_default().credentials = Some(credentials);
    }

    /// How it proves who calls, if it does.
    pub(crate) fn credentials(&self) -> Option<&CredentialsOfCall> {
        self.extras.as_ref()?.credentials.as_ref()
    }

    /// Each of its attempts proves this, and its credentials are not asked again.
    pub(crate) fn settle_proof(&mut self, proof: Proof) {
        let extras = self.extras.as_mut();
        if let Some(credentials) = extras.and_then(|extras| extras.credentials.as_mut()) {
            credentials.settle(proof);
        }
    }

    /// Whether its caller has set a header.
    pub(crate) fn has_header(&self, name: &HeaderName) -> bool {
        self.headers.contains_key(name)
    }

    /// The longest message that its caller takes.
    pub(crate) fn max_message_bytes(&self) -> Option<usize> {
        if self.max_message_bytes == u32::MAX {
            return None;
        }
        usize::try_from(self.max_message_bytes).ok()
    }

    /// The longest message that it may send.
    pub(crate) fn max_request_bytes(&self) -> Option<usize> {
        self.policy.as_ref()?.max_request_bytes.value
    }

    /// Whether it waits while no endpoint can be reached, instead of failing.
    pub(crate) fn waits_for_ready(&self) -> bool {
        let policy = self.policy.as_ref();
        policy.is_some_and(|policy| policy.wait_for_ready.value)
    }

    /// The head of an attempt with what is left of its deadline.
    pub(crate) fn head<'a>(
        &'a self,
        route: &'a RouteHead,
        previous_attempts: u32,
        timeout: Option<Duration>,
    ) -> CallHead<'a> {
        CallHead {
            route,
            path: &self.path,
            headers: &self.headers,
            timeout,
            previous_attempts,
        }
    }
}

/// No prefix announces more.
fn longest(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}
