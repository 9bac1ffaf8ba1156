//! The endpoints of a channel and their connections.
//!
//! A socket lives on one runtime, so each runtime that calls has connections of its own: a
//! [`Shard`]. A call reads its runtime's [`View`] and takes a connection from it, without a lock.
//! Behind it one task resolves for all ([`driver`]), and in each shard one for each endpoint
//! keeps its connections ([`member`]). When a runtime ends, its shard goes; the next call of
//! another begins to resolve, where that was done on the one that ended.

mod chooser;
mod driver;
mod endpoints;
mod eyeballs;
mod health;
mod member;
mod offer;
mod reports;
mod shard;
mod source;
mod view;

pub(crate) use offer::NoEndpoint;
pub(crate) use source::{PlaceChange, Source};

use crate::{
    ConnectivityState, EndpointSnapshot, Error,
    balance::{Balancing, Connects, Keeper},
    channelz::{History, SubchannelSnapshot},
    endpoint::{Endpoint, Live},
    policy::ToldConfig,
};
use arc_swap::ArcSwap;
use chooser::Seen;
use driver::Driver;
use endpoints::Endpoints;
use sampan_container::{Grant, Plan};
use sampan_middleware::metrics::client::ClientMetrics;
use sampan_wire::service_config::ServiceConfig;
use shard::{KeeperGuard, Local, Shard};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
    time::Instant,
};
use view::View;

/// What a channel says of its endpoints.
#[derive(Clone, Debug)]
pub(crate) struct PoolSettings {
    /// Where the channel itself is.
    pub(crate) zone: Option<Arc<str>>,
    /// The builder says how to balance, whatever a service config says.
    pub(crate) is_balancing_fixed: bool,
    /// After so long without a call its connections are closed; None: never.
    pub(crate) idle_timeout: Option<Duration>,
    /// To all endpoints; each that is used has one all the same.
    pub(crate) max_connections: usize,
    /// Of more endpoints than these only some are used.
    pub(crate) max_endpoints: usize,
}

/// What a service config says of connections.
#[derive(Debug)]
struct ServiceSettings {
    /// The service whose health is watched.
    health: Option<String>,
    /// Of one endpoint.
    max_connections: usize,
}

/// The endpoints of a channel.
pub(crate) struct Pool {
    /// For messages: what the channel was dialled by.
    name: String,
    settings: PoolSettings,
    keeper: ArcSwap<Keeper>,
    metrics: Option<&'static ClientMetrics>,
    pub(crate) history: History,
    /// Where the resolver may tell of another service config.
    told: OnceLock<Arc<ToldConfig>>,
    /// One for each runtime that calls.
    views: ArcSwap<Vec<View>>,
    /// Tells waiting calls that the views are others.
    changed: watch::Sender<()>,
    /// Calls that had to wait: a sign of use, as those that did not are.
    waits: AtomicU64,
    /// No driver runs, or it rests: whoever needs the channel next sees to it.
    is_asleep: AtomicBool,
    in_use: watch::Sender<bool>,
    /// A connection was lost or refused: the name may have other addresses by now.
    lost: Notify,
    service: ArcSwap<ServiceSettings>,
    /// Where its best connection stands.
    connectivity: watch::Sender<ConnectivityState>,
    /// The driver has looked again.
    looked: watch::Sender<()>,
    state: Mutex<State>,
}

struct State {
    endpoints: Endpoints,
    shards: Vec<Shard>,
    /// Whom balancing knows.
    seen: Seen,
    driver: Option<AbortHandle>,
    /// Here while no driver has it.
    source: Option<Source>,
}

// === impl PoolSettings ===

impl Default for PoolSettings {
    fn default() -> Self {
        static MOST: OnceLock<usize> = OnceLock::new();
        let most = *MOST.get_or_init(|| Plan::new(Grant::of_this_process()).channel_connections);
        Self {
            zone: None,
            is_balancing_fixed: false,
            idle_timeout: Some(Duration::from_secs(300)),
            max_connections: most,
            max_endpoints: most,
        }
    }
}

// === impl ServiceSettings ===

impl ServiceSettings {
    /// As many as A105 lets a client have, where nobody says how many.
    const MAX_CONNECTIONS: usize = 10;

    fn of(config: &ServiceConfig) -> Self {
        let told = config.max_connections_per_endpoint();
        let told = told.and_then(|most| usize::try_from(most).ok());
        Self {
            health: config.health_check().map(str::to_owned),
            max_connections: told.unwrap_or(Self::MAX_CONNECTIONS),
        }
    }
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(
        name: String,
        source: Source,
        balancing: Balancing,
        settings: PoolSettings,
        metrics: Option<&'static ClientMetrics>,
    ) -> Self {
        Self {
            name,
            settings,
            keeper: ArcSwap::from_pointee(Keeper::new(balancing, metrics)),
            metrics,
            history: History::new(),
            told: OnceLock::new(),
            views: ArcSwap::default(),
            changed: watch::Sender::new(()),
            waits: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            in_use: watch::Sender::new(true),
            lost: Notify::new(),
            service: ArcSwap::from_pointee(ServiceSettings::of(&ServiceConfig::default())),
            connectivity: watch::Sender::new(ConnectivityState::Idle),
            looked: watch::Sender::new(()),
            state: Mutex::new(State {
                endpoints: Endpoints::default(),
                shards: Vec::new(),
                seen: Seen::default(),
                driver: None,
                source: Some(source),
            }),
        }
    }

    /// What is known of each endpoint, in the order of their addresses.
    pub(crate) fn endpoints(&self) -> Vec<EndpointSnapshot> {
        let now = Instant::now();
        let state = self.lock();
        state.endpoints.snapshots(&state.shards, now)
    }

    /// What channelz tells of each endpoint.
    pub(crate) fn subchannels(&self) -> Vec<SubchannelSnapshot> {
        let all = {
            let state = self.lock();
            state.endpoints.subchannels(&state.shards)
        };
        // Connections have locks of their own: not under this one.
        let snapshot = |(endpoint, state, lives): &(Arc<Endpoint>, _, Vec<Arc<Live>>)| {
            endpoint.channelz(*state, lives)
        };
        all.iter().map(snapshot).collect()
    }

    /// Ends all tasks. Calls under way keep their connections to their end.
    pub(crate) fn shut_down(&self) {
        let driver = self.lock().driver.take();
        if let Some(driver) = driver {
            driver.abort();
        }
        self.update(State::clear);
    }

    /// What its service config says of connections.
    pub(crate) fn configure(&self, config: &ServiceConfig) {
        self.service.store(Arc::new(ServiceSettings::of(config)));
    }

    /// Where the best of its connections stands.
    pub(crate) fn connectivity(&self) -> watch::Receiver<ConnectivityState> {
        self.connectivity.subscribe()
    }

    /// The resolver may tell of another service config than this channel has.
    pub(crate) fn follow_config(&self, told: Arc<ToldConfig>) {
        // Once: a channel has one stack.
        let _ = self.told.set(told);
    }

    /// The resolver has answered, with this service config or none.
    fn hear_config(&self, config: Option<Arc<ServiceConfig>>) {
        let Some(told) = self.told.get() else {
            return;
        };
        let Some(config) = told.tell(config) else {
            return;
        };
        self.service.store(Arc::new(ServiceSettings::of(&config)));
        if !self.settings.is_balancing_fixed {
            let balancing = config.balance().map(Balancing::from).unwrap_or_default();
            self.keeper
                .store(Arc::new(Keeper::new(balancing, self.metrics)));
            // What is known of endpoints is of use to the policy it was learnt for alone.
            self.update(|state| state.endpoints.forget());
        }
    }

    /// Starts what is missing for calls of this runtime.
    fn start(self: &Arc<Self>) -> Result<(), Error> {
        let Ok(runtime) = Handle::try_current() else {
            if self.views.load().is_empty() {
                let what = "a call was made outside of a tokio runtime";
                return Err(Error::connect(what));
            }
            return Ok(());
        };
        self.start_driver(&runtime);
        self.start_shard(&runtime);
        Ok(())
    }

    fn start_driver(self: &Arc<Self>, runtime: &Handle) {
        // None while a driver has it.
        let Some(source) = self.lock().source.take() else {
            return;
        };
        self.wake();
        let driver = Driver::new(Arc::clone(self), source);
        // Not under the lock: a runtime that is ending drops the task here and now.
        let task = runtime.spawn(driver.run()).abort_handle();
        let mut state = self.lock();
        if state.source.is_none() {
            state.driver = Some(task);
        }
    }

    fn start_shard(self: &Arc<Self>, runtime: &Handle) {
        let (here, now) = (runtime.id(), Instant::now());
        let is_there = |view: &View| view.runtime == here;
        if self.views.load().iter().any(is_there) {
            return;
        }
        let local = self.update(|state| {
            if state.shards.iter().any(|shard| shard.runtime() == here) {
                return None;
            }
            let mut shard = Shard::new(runtime.clone(), now);
            shard.follow(self, &state.endpoints);
            let local = Arc::clone(&shard.local);
            state.shards.push(shard);
            Some(local)
        });
        let Some(local) = local else {
            return;
        };
        let guard = KeeperGuard::new(Arc::clone(self), Arc::clone(&local));
        // Not under the lock: a runtime that is ending drops the task here and now.
        let keeper = runtime.spawn(guard.keep()).abort_handle();
        let mut state = self.lock();
        match state.shard(&local) {
            Some(shard) => shard.set_keeper(keeper),
            None => keeper.abort(),
        }
    }

    /// The driver ended, by its runtime's end or the channel's.
    fn driver_ended(&self, source: Source) {
        let mut state = self.lock();
        state.driver = None;
        state.source = Some(source);
        drop(state);
        // The next call starts another.
        self.is_asleep.store(true, Ordering::SeqCst);
        self.update(State::forget_unless_used);
    }

    fn shard_ended(&self, local: &Arc<Local>) {
        self.update(|state| {
            state.end_shards(|shard| Arc::ptr_eq(&shard.local, local));
            state.forget_unless_used();
        });
    }

    /// Somebody calls, however far the call comes.
    pub(crate) fn is_needed(self: &Arc<Self>) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        if self.is_asleep.load(Ordering::Relaxed) {
            self.rouse();
        }
    }

    fn rouse(self: &Arc<Self>) {
        self.wake();
        if let Ok(runtime) = Handle::try_current() {
            self.start_driver(&runtime);
        }
    }

    fn wake(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
        self.in_use.send_replace(true);
    }

    /// Looks who is to be taken out or let in again, and whose load has changed.
    fn tick(&self, now: Instant) {
        if self.keeper.load().tick(now.into_std()) {
            self.show(true, |_| ());
        }
    }

    /// Whether there are fewer connections than there may be.
    fn may_have_more_connections(&self) -> bool {
        let state = self.lock();
        let shards = state.shards.iter();
        shards.map(Shard::connections).sum::<usize>() < self.settings.max_connections
    }

    /// Changes the state and shows the new one to calls.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.show(false, change)
    }

    fn show<R>(&self, are_pickers_due: bool, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let keeper = self.keeper.load();
        if let Connects::One { is_shuffled } = keeper.connects() {
            let now = Instant::now();
            for shard in &mut state.shards {
                shard.steer(is_shuffled, now);
            }
        }
        let State {
            endpoints,
            shards,
            seen,
            ..
        } = &mut *state;
        let members = endpoints.members(shards);
        if seen.has_changed(&members) {
            keeper.follow(&members);
        }
        let unresolved = endpoints.failure();
        let views = shards
            .iter_mut()
            .map(|shard| shard.view(&self.name, unresolved, &keeper, are_pickers_due))
            .collect();
        let old = self.views.swap(Arc::new(views));
        let connectivity = if state.source.is_some() || state.shards.is_empty() {
            ConnectivityState::Idle
        } else {
            match state.endpoints.state(&state.shards) {
                ConnectivityState::Ready => ConnectivityState::Ready,
                _ if self.is_asleep.load(Ordering::SeqCst) => ConnectivityState::Idle,
                other => other,
            }
        };
        self.connectivity.send_if_modified(|known| {
            let is_other = *known != connectivity;
            *known = connectivity;
            is_other
        });
        drop(state);
        // Connections may go with it, and their code is not for under the lock.
        drop(old);
        self.changed.send_replace(());
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn shard(&mut self, local: &Arc<Local>) -> Option<&mut Shard> {
        self.shards
            .iter_mut()
            .find(|shard| Arc::ptr_eq(&shard.local, local))
    }

    fn end_shards(&mut self, which: impl Fn(&Shard) -> bool) {
        self.shards.retain_mut(|shard| {
            let ends = which(shard);
            if ends {
                shard.end();
            }
            !ends
        });
    }

    /// Takes endpoints out; calls under way finish.
    fn remove(&mut self, gone: &[Arc<Endpoint>], pool: &Arc<Pool>) {
        if gone.is_empty() {
            return;
        }
        for endpoint in gone {
            self.endpoints.remove(endpoint);
        }
        for shard in &mut self.shards {
            shard.follow(pool, &self.endpoints);
        }
    }

    fn clear(&mut self) {
        self.end_shards(|_| true);
        self.endpoints = Endpoints::default();
    }

    /// What was known grows old while nobody resolves and nobody is connected.
    fn forget_unless_used(&mut self) {
        if self.shards.is_empty() && self.driver.is_none() {
            self.endpoints = Endpoints::default();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("runtimes", &self.views.load().len())
            .finish_non_exhaustive()
    }
}
