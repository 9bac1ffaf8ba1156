//! The only place that orders what a call goes through.

use crate::{
    call::Call,
    config::CallSettings,
    deadline::{DeadlinePolicy, Times},
    failure::Failure,
    outbound::{Outbound, StreamFailure, Streamed},
    pool::Pool,
    retry::{ReplayBudget, Throttle},
    share::Share,
    snapshot::Counters,
};
use bytes::Bytes;
use sampan_transport::Payload;
use sampan_wire::policy::Method;
use std::{collections::HashMap, ops::Deref, sync::Arc, task::Context};
use tokio::{sync::Semaphore, time::Instant};

/// Everything between a channel and its endpoints' connections.
///
/// | step | why there |
/// |---|---|
/// | [`Share`] counts the call | outermost: covers calls that are dropped while they wait |
/// | its [`Times`] are fixed | above everything that waits: queueing and all attempts count |
/// | its turn, where calls are limited | above retries: a call that is tried again is one call |
/// | its body is read | above retries: what is whole can be sent again |
/// | an endpoint is picked | below retries: each attempt takes one anew |
/// | a connection takes it | of those that the endpoint has on this runtime |
/// | the response is checked | before retries judge it, and before any other code sees it |
///
/// A call that has to wait for nothing but its response goes through all of that in one poll
/// ([`Flight`](crate::flight::Flight)); the others go on in [`cold`](crate::cold).
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) counters: Counters,
    pub(crate) throttle: Throttle,
    pub(crate) replay: ReplayBudget,
    pub(crate) turns: Option<Arc<Semaphore>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) methods: HashMap<&'static str, &'static Method>,
    pub(crate) max_message_bytes: Option<usize>,
    deadlines: DeadlinePolicy,
}

/// A body on its way out, and what is needed to send it again or to tell why it failed.
pub(crate) struct Outgoing {
    /// A body that is one message, until it was sent; longer where there is room for it.
    whole: Option<Bytes>,
    is_kept: bool,
    pub(crate) failure: Option<StreamFailure>,
}

/// What a request carries.
pub(crate) enum RequestBody {
    /// One message, encoded.
    Whole(Bytes),
    /// What has to be read first.
    Unread(tonic::body::Body),
}

// === impl Stack ===

impl Stack {
    pub(crate) fn new(settings: CallSettings, pool: Arc<Pool>) -> Self {
        let turns = settings.max_concurrent_calls;
        Self {
            counters: Counters::default(),
            throttle: Throttle::new(settings.throttle),
            replay: ReplayBudget::default(),
            turns: turns.map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
            pool,
            methods: settings.methods,
            max_message_bytes: settings.max_message_bytes,
            deadlines: DeadlinePolicy {
                limit: settings.deadline,
                response: settings.response_timeout,
            },
        }
    }

    pub(crate) fn begin(&self, call: &mut Call, now: Instant) -> Result<Times, Failure> {
        call.begin(now, &self.deadlines)
    }
}

impl AsRef<Self> for Stack {
    fn as_ref(&self) -> &Self {
        self
    }
}

// === impl Outgoing ===

impl Outgoing {
    /// Reads what is there of `body`, and keeps it if there is room. What is no single message
    /// comes back as a stream.
    pub(crate) fn read<H: Deref<Target: AsRef<Stack>>>(
        body: RequestBody,
        share: &mut Share<H>,
        cx: &mut Context<'_>,
    ) -> Result<(Self, Option<Streamed>), Failure> {
        let outbound = match body {
            RequestBody::Whole(bytes) => Outbound::Whole(bytes),
            RequestBody::Unread(body) => Outbound::read(body, cx)?,
        };
        Ok(match outbound {
            Outbound::Whole(bytes) => {
                let outgoing = Self {
                    is_kept: share.keep(bytes.len()),
                    whole: Some(bytes),
                    failure: None,
                };
                (outgoing, None)
            }
            Outbound::Stream(body) => {
                let outgoing = Self {
                    is_kept: false,
                    whole: None,
                    failure: Some(body.failure()),
                };
                (outgoing, Some(body))
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

    /// A connection has it.
    pub(crate) fn left(&mut self) {
        if !self.is_kept {
            self.whole = None;
        }
    }

    /// Whether all of it can be sent again.
    pub(crate) const fn can_be_sent_again(&self) -> bool {
        self.is_kept
    }
}
