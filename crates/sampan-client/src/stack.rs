//! The only place that orders what a call goes through.

use crate::{
    call::{Call, Handle},
    config::CallSettings,
    deadline::{DeadlineLayer, DeadlinePolicy},
    dispatch::Dispatch,
    failure::Progress,
    limit::LimitLayer,
    pool::Pool,
    retry::{ReplayBudget, Retry, Throttle},
    snapshot::Counters,
};
use sampan_middleware::{Body, CallEnd, Ended};
use sampan_wire::policy::Method;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Code, Status};

/// Everything between a channel and its endpoints' connections.
#[derive(Debug)]
pub(crate) struct Stack {
    counters: Arc<Counters>,
    throttle: Arc<Throttle>,
    methods: HashMap<&'static str, &'static Method>,
    max_message_bytes: Option<usize>,
    layers: DeadlineLayer<LimitLayer<Retry>>,
}

// === impl Stack ===

impl Stack {
    pub(crate) fn new(settings: CallSettings, pool: Arc<Pool>) -> Self {
        let counters = Arc::<Counters>::default();
        let throttle = Arc::new(Throttle::new(settings.throttle));
        // Outermost, in `call`: counts and failures' messages cover all that is below.
        // Above everything that waits: the deadline covers queueing and all attempts together.
        let layers = DeadlineLayer {
            policy: DeadlinePolicy {
                limit: settings.deadline,
                response: settings.response_timeout,
            },
            // Above retry: a call that is tried again is still one call.
            next: LimitLayer {
                permits: settings
                    .max_concurrent_calls
                    .map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
                next: Retry {
                    throttle: Arc::clone(&throttle),
                    budget: Arc::<ReplayBudget>::default(),
                    counters: Arc::clone(&counters),
                    // Below retry: each attempt takes an endpoint anew.
                    next: Dispatch { pool },
                },
            },
        };
        Self {
            counters,
            throttle,
            methods: settings.methods,
            max_message_bytes: settings.max_message_bytes,
            layers,
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) async fn call(
        &self,
        request: http::Request<tonic::body::Body>,
    ) -> Result<http::Response<Body>, Status> {
        self.counters.calls.fetch_add(1, Relaxed);
        // Counts a call whose future is dropped.
        let end = CallCount {
            counters: Arc::clone(&self.counters),
            throttle: Arc::clone(&self.throttle),
            has_ended: false,
        };
        let progress = Progress::new(Instant::now());
        let call = Call::new(request, &self.methods, self.max_message_bytes, &progress);
        let path = call.head.path.clone();
        match self.layers.handle(call).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = CallEnd::new(&head.headers, body, |ended| end.end(ended));
                Ok(http::Response::from_parts(head, Body::new(body)))
            }
            Err(failure) => {
                let status = progress.status(path.as_str(), failure);
                end.end(Ended::Failed(status.code()));
                Err(status)
            }
        }
    }
}

/// Counts the end of one call.
struct CallCount {
    counters: Arc<Counters>,
    throttle: Arc<Throttle>,
    has_ended: bool,
}

// === impl CallCount ===

impl CallCount {
    fn end(mut self, ended: Ended) {
        self.note(ended);
    }

    fn note(&mut self, ended: Ended) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        if ended.code() == Code::Ok {
            self.throttle.succeeded();
        } else {
            self.counters.failed_calls.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for CallCount {
    fn drop(&mut self) {
        self.note(Ended::Dropped);
    }
}
