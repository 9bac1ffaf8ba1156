//! The endpoints of a channel and their connections.
//!
//! A socket lives on one runtime, so each runtime that calls has connections of its own: a
//! [`Shard`]. A call reads its runtime's [`View`] and takes a connection from it, without a lock.
//! Behind it one task resolves for all ([`driver`]), and in each shard one for each endpoint
//! keeps its connections ([`member`]). When a runtime ends, its shard goes; the next call of
//! another begins to resolve, where that was done on the one that ended.

mod driver;
mod endpoints;
mod member;
mod shard;
mod source;
mod view;

pub(crate) use source::{Changing, PlaceChange, Source};

use crate::{
    Balance, EndpointSnapshot, Error,
    balance::{Dice, Picker},
    endpoint::{Live, raise},
    timers::sleep_until,
};
use arc_swap::ArcSwap;
use driver::Driver;
use endpoints::Endpoints;
use futures_util::future::select_all;
use sampan_transport::WhyNot;
use shard::{KeeperGuard, Local, Shard};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

/// The endpoints of a channel.
pub(crate) struct Pool {
    /// For messages: what the channel was dialled by.
    name: String,
    picker: Picker,
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
    state: Mutex<State>,
}

/// Why no connection took a call.
#[derive(Debug)]
pub(crate) enum Nowhere {
    /// An endpoint is being connected.
    Connecting,
    /// No connection takes more streams; there may be room soon. Behind those that wait.
    Full(Queue),
    /// All endpoints are down.
    Down(Error),
}

/// Where calls wait that found no free stream.
type Queue = Arc<tokio::sync::Mutex<()>>;

/// How long a call stands behind others before it looks by itself.
const IMPATIENCE: Duration = Duration::from_millis(50);

struct State {
    endpoints: Endpoints,
    shards: Vec<Shard>,
    driver: Option<AbortHandle>,
    /// Here while no driver has it.
    source: Option<Source>,
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(name: String, source: Source, balance: Balance) -> Self {
        Self {
            name,
            picker: Picker::new(balance, &mut rand::rng()),
            views: ArcSwap::default(),
            changed: watch::Sender::new(()),
            waits: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            in_use: watch::Sender::new(true),
            lost: Notify::new(),
            state: Mutex::new(State {
                endpoints: Endpoints::default(),
                shards: Vec::new(),
                driver: None,
                source: Some(source),
            }),
        }
    }

    /// Offers something to a connection that the picker chooses, and to the others while it is
    /// given back.
    pub(crate) fn offer<T, R>(
        self: &Arc<Self>,
        mut what: T,
        take: impl Fn(&Arc<Live>, T) -> Result<R, (T, WhyNot)>,
    ) -> Result<R, (T, Nowhere)> {
        if self.is_asleep.load(Ordering::Relaxed) {
            self.rouse();
        }
        let views = self.views.load();
        let Some(view) = View::here(&views) else {
            return Err((what, Nowhere::Connecting));
        };
        raise(&view.local.is_used);
        let first = match view.ready.len() {
            // A connection says by itself that it is closed.
            1 => Some(0),
            _ => self.picker.pick(&view.ready, &mut Dice),
        };
        let Some(first) = first else {
            let nowhere = match &view.failure {
                Some(error) => Nowhere::Down(error.clone()),
                None => Nowhere::Connecting,
            };
            return Err((what, nowhere));
        };
        let (before, after) = view.ready.split_at(first);
        let mut is_full = false;
        for ready in after.iter().chain(before) {
            for live in &ready.lives {
                match take(live, what) {
                    Ok(result) => return Ok(result),
                    Err((back, why)) => {
                        what = back;
                        is_full |= why == WhyNot::Full;
                    }
                }
            }
        }
        if !is_full {
            return Err((what, Nowhere::Connecting));
        }
        view.ready[first].more.notify_one();
        Err((what, Nowhere::Full(Arc::clone(&view.local.queue))))
    }

    /// As [`offer`](Self::offer), but waits for a connection while one may come; where
    /// `waits_for_ready`, also while all endpoints are down.
    ///
    /// # Errors
    ///
    /// When all endpoints are down.
    pub(crate) async fn offer_until_taken<T, R>(
        self: &Arc<Self>,
        mut what: T,
        waits_for_ready: bool,
        take: impl Fn(&Arc<Live>, T) -> Result<R, (T, WhyNot)>,
    ) -> Result<R, Error> {
        // Before the first look, so that no change falls between look and wait.
        let mut changes = self.changed.subscribe();
        let mut turn = None;
        loop {
            self.waits.fetch_add(1, Ordering::Relaxed);
            self.start()?;
            let (back, nowhere) = match self.offer(what, &take) {
                Ok(result) => return Ok(result),
                Err(refused) => refused,
            };
            what = back;
            let has_changed = match nowhere {
                Nowhere::Down(error) if !waits_for_ready => return Err(error),
                Nowhere::Down(_) | Nowhere::Connecting => changes.changed().await,
                Nowhere::Full(queue) => tokio::select! {
                    has_changed = changes.changed() => has_changed,
                    next = queue.lock_owned(), if turn.is_none() => {
                        turn = Some(next);
                        Ok(())
                    }
                    () = self.room(), if turn.is_some() => Ok(()),
                    // Whoever is first may not be polled.
                    () = sleep_until(Instant::now() + IMPATIENCE) => Ok(()),
                },
            };
            if has_changed.is_err() {
                let gone = format!("the channel to {} is gone", self.name);
                return Err(Error::connect(gone));
            }
        }
    }

    /// Waits until an endpoint is connected.
    ///
    /// # Errors
    ///
    /// When all endpoints are down.
    pub(crate) async fn wait_ready(self: &Arc<Self>) -> Result<(), Error> {
        self.offer_until_taken((), false, |_, ()| Ok(())).await
    }

    /// What is known of each endpoint, in the order of their addresses.
    pub(crate) fn endpoints(&self) -> Vec<EndpointSnapshot> {
        let now = Instant::now();
        let state = self.lock();
        state.endpoints.snapshots(&state.shards, now)
    }

    /// Ends all tasks. Calls under way keep their connections to their end.
    pub(crate) fn shut_down(&self) {
        let driver = self.lock().driver.take();
        if let Some(driver) = driver {
            driver.abort();
        }
        self.update(State::clear);
    }

    /// Waits until a connection of this runtime takes more streams.
    async fn room(&self) {
        let frees: Vec<_> = {
            let views = self.views.load();
            View::here(&views)
                .into_iter()
                .flat_map(|view| &view.ready)
                .flat_map(view::Ready::alive)
                .map(|live| Box::pin(live.connection.stream_free()))
                .collect()
        };
        if frees.is_empty() {
            // The views are others by now, or the channel's own end is near: both are told.
            return std::future::pending().await;
        }
        select_all(frees).await;
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

    /// Changes the state and shows the new one to calls.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let unresolved = state.endpoints.failure();
        let views = state
            .shards
            .iter()
            .map(|shard| shard.view(&self.name, unresolved))
            .collect();
        let old = self.views.swap(Arc::new(views));
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
