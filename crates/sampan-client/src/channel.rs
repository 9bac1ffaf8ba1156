//! What users hold.

mod builder;

pub use builder::ChannelBuilder;

use crate::{
    ConnectivityState, Counts, EndpointSnapshot, Error, around,
    balance::Balancing,
    call::Call,
    channelz::{self, ChannelSnapshot},
    config::CallSettings,
    credentials::Credentials,
    flight::{Flight, Outcome},
    pool::{Pool, PoolSettings, Source},
    stack::{RequestBody, Stack},
};
use sampan_middleware::{Body, glue::direct, metrics::client::ClientMetrics};
use sampan_wire::policy::CallPolicy;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::Status;
use tower_service::Service;

/// Calls the services behind a target: finds its endpoints, keeps connections to them, balances
/// calls over them, and keeps each call's deadline and retry policy.
///
/// Cheap to clone; clones share everything. Made without doing anything: the first call
/// resolves and connects. It may be made outside of a runtime and outlive the runtimes it is
/// used on. When the last clone is dropped its tasks and connections end, those of open calls
/// with the calls.
///
/// ```no_run
/// # fn main() -> Result<(), sampan_client::Error> {
/// let channel = sampan_client::Channel::dial("dns:///orders:50051")?;
/// // let mut orders = OrdersClient::new(channel);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

/// The response to a call. Dropping it cancels the call.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    way: Way,
}

enum Way {
    Straight(Box<Flight>),
    /// Through what stands before it.
    Around(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

/// What the clones of a channel, and calls up to the heads of their responses, keep alive.
pub(crate) struct Shared {
    id: u64,
    name: String,
    pool: Arc<Pool>,
    stack: Arc<Stack>,
}

// === impl Channel ===

impl Channel {
    /// A channel to `target` with the default settings.
    ///
    /// `dns:///host:port` or `host:port` means every address of the name (with a name server of
    /// your own, `dns://10.0.0.2:53/host:port`); `static:///a:1,b:2`
    /// several places; `ipv4:`, `ipv6:` and `unix:PATH` addresses; `dns:///_grpc._tcp.name` what
    /// SRV records name; `local:///pkg.Service` the servers on this host that have a service;
    /// `k8s:///service.namespace:port` the endpoints of a Kubernetes Service, with the cargo feature `k8s`;
    /// `http://` and `https://` what tonic means by them; other schemes what is
    /// [registered](crate::resolve) for them.
    ///
    /// # Errors
    ///
    /// When the text is no target, or names `https` and no root certificates can be had.
    pub fn dial(target: impl AsRef<str>) -> Result<Self, Error> {
        Self::configure(target).build()
    }

    /// Begins to make a channel to `target` with other settings.
    pub fn configure(target: impl AsRef<str>) -> ChannelBuilder {
        ChannelBuilder::new(target.as_ref())
    }

    pub(crate) fn new(
        name: String,
        source: Source,
        balancing: Balancing,
        mut calls: CallSettings,
        settings: PoolSettings,
    ) -> Self {
        calls.authority.get_or_insert_with(|| name.clone());
        direct::register::<Self>();
        let canonical = calls.canonical.as_deref().unwrap_or(&name);
        let metrics = (!calls.is_unmeasured).then(|| ClientMetrics::of(canonical));
        let pool = Pool::new(name.clone(), source, balancing, settings, metrics);
        let pool = Arc::new(pool);
        pool.configure(&calls.service_config);
        let stack = Arc::new(Stack::new(calls, Arc::clone(&pool), metrics));
        let shared = Arc::new(Shared {
            id: channelz::next_id(),
            name,
            pool,
            stack,
        });
        channelz::register(&shared);
        Self { shared }
    }

    /// Waits until an endpoint is connected. Calls do this by themselves.
    ///
    /// # Errors
    ///
    /// When no endpoint can be reached.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; connecting goes on.
    pub async fn connect(&self) -> Result<(), Error> {
        self.shared.pool.wait_ready().await
    }

    /// Where the channel stands: READY when an endpoint is connected, and well where its health is
    /// watched; TRANSIENT_FAILURE when none can be reached; IDLE before the first call and when
    /// it was not used for long. Asking does not make it connect; [`connect`](Self::connect) does.
    #[must_use]
    pub fn state(&self) -> ConnectivityState {
        *self.shared.pool.connectivity().borrow()
    }

    /// Waits until the channel stands elsewhere than at `from`, and gives where. States that
    /// passed in between are not seen.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn state_changed(&self, from: ConnectivityState) -> ConnectivityState {
        let mut state = self.shared.pool.connectivity();
        // Its sender lives as long as the channel does.
        let changed = state.wait_for(|state| *state != from).await;
        changed.map_or(from, |state| *state)
    }

    /// What is known of each endpoint, in the order of their addresses. Empty until the first
    /// call.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointSnapshot> {
        self.shared.pool.endpoints()
    }

    /// What the channel has counted since it was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let cache = self.shared.stack.cache.as_ref();
        let cache = cache.map(|cache| cache.counts()).unwrap_or_default();
        let mut counts = self.shared.stack.counters.snapshot();
        counts.cache_hits = cache.hits;
        counts.cache_misses = cache.misses;
        counts.cache_bytes = cache.bytes;
        counts
    }
}

impl Channel {
    /// What was counted of this channel's target, under gRPC's names and as OpenMetrics has it:
    /// attempts and calls by method and status, sizes, connections, ejections, weights. Channels to
    /// one target count together. Empty where the builder left it out.
    ///
    /// A server of the same process shows the same on its probe port, for all channels, and
    /// [`metrics_text`](crate::metrics_text) gives that. Source: gRFC A66, A78, A91, A94, A96.
    #[must_use]
    pub fn metrics(&self) -> String {
        let metrics = self.shared.stack.metrics;
        metrics.map(ClientMetrics::text).unwrap_or_default()
    }
}

impl Channel {
    /// What it does, as gRPC's channelz has it. Source: gRFC A14.
    #[must_use]
    pub fn channelz(&self) -> ChannelSnapshot {
        self.shared.channelz()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("target", &self.shared.name)
            .finish_non_exhaustive()
    }
}

impl Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = ResponseFuture;

    /// Always ready: whatever a call has to wait for counts against its deadline.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> ResponseFuture {
        let stack = &self.shared.stack;
        let (head, body) = request.into_parts();
        // Written where it stays.
        let room = Box::new_uninit();
        let extensions = stack.around.as_ref().map(|_| head.extensions.clone());
        let own_policy = head.extensions.get::<CallPolicy>().copied();
        let own_credentials = head.extensions.get::<Credentials>().cloned();
        let (mut call, body) = match direct::take() {
            Some(direct) => {
                let limit = direct.max_decoding_message_size;
                let call = Call::direct(direct.path, head.headers, direct.method, limit);
                let body = match direct.message {
                    Some(message) => RequestBody::Whole(message),
                    None => RequestBody::Unread(body),
                };
                (call, body)
            }
            None => {
                let call = Call::new(head, &stack.methods, stack.max_message_bytes);
                (call, RequestBody::Unread(body))
            }
        };
        if let Some(policy) = &own_policy {
            stack.hear(&mut call, policy);
        }
        if own_credentials.is_some() {
            stack.prove(&mut call, own_credentials);
        }
        let shared = Arc::clone(&self.shared);
        let way = if extensions.is_some() || stack.caches(&call).is_some() {
            Way::Around(Box::pin(around::answered(shared, call, body, extensions)))
        } else {
            Way::Straight(Box::write(room, Flight::new(shared, call, body)))
        };
        ResponseFuture { way }
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) const fn stack(&self) -> &Arc<Stack> {
        &self.stack
    }

    pub(crate) fn channelz(&self) -> ChannelSnapshot {
        let subchannels = self.pool.subchannels();
        let state = subchannels.iter().map(|one| one.state);
        ChannelSnapshot {
            id: self.id,
            target: self.name.clone(),
            state: state
                .max_by_key(|state| state.rank())
                .unwrap_or(ConnectivityState::Idle),
            calls: self.stack.call_counts(),
            trace: self.pool.history.trace(),
            subchannels,
        }
    }
}

impl AsRef<Stack> for Shared {
    fn as_ref(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pool.shut_down();
    }
}

// === impl ResponseFuture ===

impl Future for ResponseFuture {
    type Output = Result<http::Response<Body>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.way {
            Way::Straight(flight) => Pin::new(&mut **flight).poll(cx),
            Way::Around(call) => call.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
