//! The only place that orders what a call goes through.

use crate::{
    around::{Around, CallService},
    cache::Cache,
    call::{Begun, Call},
    config::CallSettings,
    credentials::{Credentials, CredentialsOfCall},
    deadline::{Deadline, DeadlinePolicy, Times},
    failure::{Failure, Fault, Progress},
    gate::Gate,
    outbound::{Outbound, Replay, StreamFailure, Streamed},
    policy::{PolicyTable, RetryBudget, ToldConfig},
    pool::Pool,
    retry::{ReplayBudget, Throttle, ThrottleSettings},
    share::Share,
    snapshot::Counters,
};
use bytes::Bytes;
use http::HeaderName;
use sampan_middleware::{
    Body,
    compression::{ShrinkageTable, while_not_packing},
    metrics::client::ClientMetrics,
};
use sampan_transport::Payload;
use sampan_wire::frame::LengthCheck;
use sampan_wire::policy::{CallPolicy, Declared, EffectivePolicy, Method, Sayings};
use std::{
    collections::HashMap,
    future::poll_fn,
    mem,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tonic::Status;

/// Everything between a channel and its endpoints' connections.
///
/// | step | why there |
/// |---|---|
/// | its times are fixed, where one of the next three is there | above everything that waits |
/// | the program's layers ([`ChannelBuilder::layer`](crate::ChannelBuilder::layer)) | outermost: they see each call once, and all that becomes of it |
/// | its interceptors, before the call | below the layers: they see the metadata as it will be sent; above the cache: what they add tells callers apart |
/// | its answer is looked for in the [`Cache`], where its method has one | above all that costs an attempt |
/// | [`Share`] counts the call | above everything that waits from here on: covers calls that are dropped meanwhile |
/// | its method's counts are found | it and each attempt count there, to whatever end |
/// | its [`Times`](crate::deadline::Times) are fixed, where they are not yet | above everything that waits: queueing and all attempts count |
/// | it passes the [`Gate`], where there is one | above retries; before it takes anything |
/// | its turn, where calls are limited | above retries: a call that is tried again is one call |
/// | its body is read | above retries: what is whole can be sent again |
/// | its interceptors, before the attempt | below retries: each attempt may need a token anew |
/// | its credentials are asked for | below retries: what they prove may be over by the next |
/// | an endpoint is picked | below retries: each attempt takes one anew |
/// | the program's layers of attempts ([`ChannelBuilder::attempt_layer`](crate::ChannelBuilder::attempt_layer)) | below the pick: they know where it goes, and each retry and hedge passes them; above compression and the check: messages and answers are plain and valid |
/// | its messages are compressed | once it is known how far they go; what is kept is plain |
/// | a connection takes it | of those that the endpoint has on this runtime |
/// | the response is checked | before retries judge it, and before any other code sees it |
///
/// A call that has to wait for nothing but its response goes through all of that in one poll
/// ([`Flight`](crate::flight::Flight)); the others go on in [`cold`](crate::cold).
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) counters: Counters,
    pub(crate) born: Instant,
    /// None: nothing is counted by method.
    pub(crate) metrics: Option<&'static ClientMetrics>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) replay: Arc<ReplayBudget>,
    pub(crate) turns: Option<Arc<Semaphore>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) methods: HashMap<&'static str, &'static Method>,
    pub(crate) max_message_bytes: Option<usize>,
    deadlines: DeadlinePolicy,
    policies: Option<PolicyTable>,
    /// In place of `policies` where a resolver tells of them.
    told: Option<Arc<ToldConfig>>,
    pub(crate) gate: Option<Box<Gate>>,
    pub(crate) cache: Option<Cache>,
    pub(crate) around: Option<Around>,
    budget: Mutex<RetryBudget>,
    shrinkage: Arc<ShrinkageTable>,
    credentials: Option<Credentials>,
    pub(crate) authority: String,
    bares_credentials: bool,
}

/// A body on its way out, and what is needed to send it again or to tell why it failed.
pub(crate) struct Outgoing {
    /// A body that is one message, until it was sent; longer where there is room for it.
    whole: Option<Bytes>,
    is_kept: bool,
    /// Of a body that is a stream.
    stream: Option<Replay>,
}

/// What a request carries.
pub(crate) enum RequestBody {
    /// One message, encoded.
    Whole(Bytes),
    /// What has to be read first.
    Unread(tonic::body::Body),
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

// === impl Stack ===

impl Stack {
    pub(crate) fn new(
        settings: CallSettings,
        pool: Arc<Pool>,
        metrics: Option<&'static ClientMetrics>,
    ) -> Self {
        let turns = settings.max_concurrent_calls;
        let told = settings.service_config.retry_throttling();
        let throttle = settings.throttle.or(told.map(ThrottleSettings::from));
        let policy = match settings.compression {
            Some(compression) if settings.policy.compression().is_none() => {
                settings.policy.with_compression(compression)
            }
            _ => settings.policy,
        };
        let throttle = Arc::new(Throttle::new(throttle.unwrap_or_default()));
        let told = settings.follows_resolver.then(|| {
            let of_config = settings.throttle.is_none().then(|| Arc::clone(&throttle));
            let given = settings.service_config.clone();
            let told = Arc::new(ToldConfig::new(policy, given, of_config));
            pool.follow_config(Arc::clone(&told));
            told
        });
        let policies = match &told {
            Some(_) => None,
            None => PolicyTable::new(policy, settings.service_config),
        };
        Self {
            counters: Counters::default(),
            born: Instant::now(),
            metrics,
            throttle,
            replay: Arc::default(),
            turns: turns.map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
            pool,
            methods: settings.methods,
            max_message_bytes: settings.max_message_bytes,
            deadlines: DeadlinePolicy {
                limit: settings.deadline,
                response: settings.response_timeout,
            },
            policies,
            told,
            gate: Gate::new(&settings.gate, Instant::now()).map(Box::new),
            cache: Cache::new(settings.cache_bytes, metrics.map(|all| &all.cache)),
            around: settings.around.some(),
            budget: Mutex::new(RetryBudget::new(settings.retry_budget, Instant::now())),
            shrinkage: Arc::default(),
            credentials: settings.credentials,
            authority: settings.authority.unwrap_or_default(),
            bares_credentials: settings.bares_credentials,
        }
    }

    pub(crate) fn begin(&self, call: &mut Call, now: Instant) -> Result<Begun, Failure> {
        if let (Some(policies), None) = (&self.policies, &call.policy) {
            call.follow(policies.of(call.method, call.path.as_str()));
        }
        if let Some(told) = &self.told {
            // Also calls that fail by it are a reason to look whether it is another.
            self.pool.is_needed();
            if let Some(own) = call.take_own() {
                self.merge(call, &own);
            }
            if let (Some(policies), None) = (told.table(), &call.policy) {
                call.follow(policies.of(call.method, call.path.as_str()));
            }
        }
        if call.policy.is_some() || call.declares_compression() {
            call.compress(&self.shrinkage);
        }
        if self.credentials.is_some() && call.credentials().is_none() {
            self.prove(call, None);
        }
        call.begin(now, &self.deadlines)
    }

    /// What attempts pass below the pick, if they do.
    pub(crate) fn attempt_layers(&self) -> Option<CallService> {
        self.around.as_ref()?.of_attempts()
    }

    /// Whether a resolver tells of the policies and has not yet.
    pub(crate) fn awaits_config(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.is_known())
    }

    /// What holds for a call while it waits for that; it then [begins](Self::begin).
    pub(crate) fn await_config(&self, call: &mut Call, now: Instant) -> Result<Begun, Failure> {
        let asked = call.headers.get(GRPC_TIMEOUT).cloned();
        let begun = call.begin(now, &self.deadlines)?;
        if let Some(asked) = asked {
            call.headers.insert(GRPC_TIMEOUT, asked);
        }
        Ok(begun)
    }

    /// Waits until it is known what holds for a call that [awaits it](Self::await_config), and
    /// begins it anew from its first moment.
    pub(crate) async fn begin_when_configured(
        &self,
        call: &mut Call,
        times: &Times,
        progress: &Progress,
    ) -> Result<Begun, Failure> {
        match times.until_head {
            None => self.pool.configured().await?,
            Some(Deadline { at, limit }) => timeout_at(at, self.pool.configured())
                .await
                .map_err(|_| progress.exceeded(limit))??,
        }
        self.begin(call, times.started)
    }

    /// Whether an attempt beyond the first may be made, which it then takes out of the budget.
    pub(crate) fn may_spend(&self, now: Instant) -> bool {
        let calls = self.counters.calls.load(Relaxed);
        // No code that can panic runs under it.
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.withdraw(now, calls)
    }

    /// A call proves who calls, by its own credentials beside the channel's.
    pub(crate) fn prove(&self, call: &mut Call, own: Option<Credentials>) {
        let channel = self.credentials.as_ref();
        if let Some(credentials) = CredentialsOfCall::new(channel, own, self.bares_credentials) {
            call.prove(credentials);
        }
    }

    /// A call says something itself.
    pub(crate) fn hear(&self, call: &mut Call, own: &CallPolicy) {
        self.merge(call, own);
        if self.told.is_some() {
            call.keep(own);
        }
    }

    fn merge(&self, call: &mut Call, own: &CallPolicy) {
        let declared = match call.method {
            Some(method) => Declared::from(method),
            None => Declared::unknown(call.path.as_str()),
        };
        let told = self.told.as_ref().and_then(|told| told.table());
        let policy = match self.policies.as_ref().or(told.as_deref()) {
            Some(policies) => policies.merge(&declared, Some(own)),
            None => EffectivePolicy::merge(&declared, &Sayings::of_call(own)),
        };
        call.follow(Arc::new(policy));
    }
}

impl AsRef<Self> for Stack {
    fn as_ref(&self) -> &Self {
        self
    }
}

// === impl RequestBody ===

impl RequestBody {
    /// As far as it is there.
    pub(crate) async fn read(self, call: &Call) -> Result<Outbound, Status> {
        let mut body = match self {
            Self::Whole(message) => return Ok(Outbound::Whole(message)),
            Self::Unread(body) => body,
        };
        poll_fn(|cx| {
            let body = mem::take(&mut body);
            let read = || Outbound::read(body, call.max_request_bytes(), cx);
            Poll::Ready(match call.compression() {
                None => while_not_packing(read),
                Some(compression) => compression.read(read),
            })
        })
        .await
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Reads what is there of `body`, and keeps it if there is room. What is no single message
    /// comes back as a stream.
    pub(crate) fn read<H: Deref<Target: AsRef<Stack>>>(
        body: RequestBody,
        call: &Call,
        share: &mut Share<H>,
        cx: &mut Context<'_>,
    ) -> Result<(Self, Option<Streamed>), Failure> {
        let max_message_bytes = call.max_request_bytes();
        let outbound = match body {
            RequestBody::Whole(bytes) => Outbound::Whole(bytes),
            RequestBody::Unread(body) => {
                let read = || Outbound::read(body, max_message_bytes, cx);
                match call.compression() {
                    None => while_not_packing(read)?,
                    Some(compression) => compression.read(read)?,
                }
            }
        };
        Ok(match outbound {
            Outbound::Whole(bytes) => {
                LengthCheck::new(max_message_bytes.unwrap_or(usize::MAX))
                    .look(&bytes)
                    .map_err(Fault::from)?;
                let outgoing = Self {
                    is_kept: share.keep(bytes.len()),
                    whole: Some(bytes),
                    stream: None,
                };
                (outgoing, None)
            }
            Outbound::Stream(messages) => {
                let (replay, streamed) = messages.kept(&share.stack().replay);
                let outgoing = Self {
                    is_kept: false,
                    whole: None,
                    stream: Some(replay),
                };
                (outgoing, Some(streamed))
            }
        })
    }

    /// For an attempt.
    pub(crate) fn payload(&self, stream: Option<Streamed>) -> Payload<'_, Streamed> {
        static NOTHING: Bytes = Bytes::new();
        match (stream, &self.whole) {
            (Some(stream), _) => Payload::Stream(stream),
            (None, Some(whole)) => Payload::Whole(whole),
            (None, None) => Payload::Whole(&NOTHING),
        }
    }

    /// For the layers of an attempt.
    pub(crate) fn body(&self, stream: Option<Streamed>) -> tonic::body::Body {
        match self.payload(stream) {
            Payload::Whole(message) => tonic::body::Body::new(Body::from(message.clone())),
            Payload::Stream(stream) => tonic::body::Body::new(stream),
        }
    }

    /// A connection has it.
    pub(crate) fn left(&mut self) {
        if !self.is_kept {
            self.whole = None;
        }
    }

    /// Whether all of it can be sent again.
    pub(crate) fn can_be_sent_again(&self) -> bool {
        self.whole.is_some() || self.stream.as_ref().is_some_and(Replay::can_be_sent_again)
    }

    /// Whether it can be sent twice at a time.
    pub(crate) const fn is_kept_whole(&self) -> bool {
        self.is_kept
    }

    /// For another attempt: its stream from the beginning, where it is one. None when it is not
    /// kept any more.
    pub(crate) fn again(&self) -> Option<Option<Streamed>> {
        match &self.stream {
            Some(stream) => stream.again().map(Some),
            None => self.whole.is_some().then_some(None),
        }
    }

    /// Why its stream failed, if that is what it did.
    pub(crate) fn failure(&self) -> Option<&StreamFailure> {
        self.stream.as_ref().map(Replay::failure)
    }
}
