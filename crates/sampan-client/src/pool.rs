//! The endpoints of a channel and their connections.
//!
//! A call reads one [`View`] and takes an endpoint from it, without a lock. Behind it one task
//! resolves ([`driver`]) and one for each endpoint keeps its connection ([`member`]). They live
//! on the runtime of the call that first found them missing, and are started anew when that
//! runtime has ended.

mod driver;
mod member;
mod view;

use crate::{
    Balance, EndpointSnapshot, Error,
    balance::{Pick, Picker},
    endpoint::{Live, Ticket},
    resolve::Resolver,
};
use arc_swap::ArcSwap;
use driver::Driver;
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use member::Members;
use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
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
    view: ArcSwap<View>,
    /// Tells waiting calls that the view is another.
    changed: watch::Sender<()>,
    /// Picks so far: the driver compares, to see whether the channel is in use.
    picks: AtomicU64,
    /// Whether the driver rests until somebody needs the channel.
    rests: AtomicBool,
    in_use: watch::Sender<bool>,
    /// A connection was lost or refused: the name may have other addresses by now.
    lost: Notify,
    state: Mutex<State>,
}

/// Where the places of a channel come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// They stay.
    Constant(Vec<Resolver>),
    /// They come and go.
    Changing(Changing),
}

/// Places by key, and how they change.
pub(crate) struct Changing {
    changes: Pin<Box<dyn Stream<Item = PlaceChange> + Send>>,
    places: Vec<(u64, Resolver)>,
}

/// A place comes or goes.
#[derive(Debug)]
pub(crate) enum PlaceChange {
    Insert(u64, Resolver),
    Remove(u64),
}

struct State {
    members: Members,
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
            view: ArcSwap::from_pointee(View::idle()),
            changed: watch::Sender::new(()),
            picks: AtomicU64::new(0),
            rests: AtomicBool::new(false),
            in_use: watch::Sender::new(true),
            lost: Notify::new(),
            state: Mutex::new(State {
                members: Members::default(),
                driver: None,
                source: Some(source),
            }),
        }
    }

    /// Takes an endpoint for an attempt that starts `now`.
    pub(crate) fn pick(&self, now: Instant, deadline: Option<Instant>) -> Pick {
        self.picks.fetch_add(1, Ordering::Relaxed);
        if self.rests.load(Ordering::Relaxed) {
            self.wake();
        }
        let view = self.view.load();
        match self.picker.pick(&view.ready, &mut rand::rng()) {
            Some(index) => Pick::Ready(Ticket::new(Arc::clone(&view.ready[index]), now, deadline)),
            None => view.otherwise(),
        }
    }

    /// As [`pick`](Self::pick), but waits for an endpoint while one may come.
    ///
    /// # Errors
    ///
    /// When all endpoints are down.
    pub(crate) async fn wait(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Ticket, Error> {
        // Before the first look, so that no change falls between look and wait.
        let mut changes = self.changed.subscribe();
        loop {
            self.start()?;
            match self.pick(Instant::now(), deadline) {
                Pick::Ready(ticket) => return Ok(ticket),
                Pick::Fail(error) => return Err(error),
                Pick::Queue => {
                    if changes.changed().await.is_err() {
                        return Err(self.is_gone());
                    }
                }
            }
        }
    }

    /// Waits until an endpoint is connected.
    ///
    /// # Errors
    ///
    /// When all endpoints are down.
    pub(crate) async fn wait_ready(self: &Arc<Self>) -> Result<(), Error> {
        let ticket = self.wait(None).await?;
        ticket.give_back();
        Ok(())
    }

    /// What is known of each endpoint, in the order of their addresses.
    pub(crate) fn endpoints(&self) -> Vec<EndpointSnapshot> {
        let now = Instant::now();
        self.lock().members.snapshots(now)
    }

    /// Ends all tasks. Calls under way keep their connections to their end.
    pub(crate) fn shut_down(&self) {
        let driver = self.lock().driver.take();
        if let Some(driver) = driver {
            driver.abort();
        }
        self.update(Members::clear);
    }

    /// Starts the driver where none runs.
    fn start(self: &Arc<Self>) -> Result<(), Error> {
        // None while a driver has it.
        let Some(source) = self.lock().source.take() else {
            return Ok(());
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.lock().source = Some(source);
            return Err(Error::connect("a call was made outside of a tokio runtime"));
        };
        self.wake();
        let driver = Driver::new(Arc::clone(self), source);
        // Not under the lock: a runtime that is ending drops the task here and now.
        let task = runtime.spawn(driver.run()).abort_handle();
        let mut state = self.lock();
        if state.source.is_none() {
            state.driver = Some(task);
        }
        Ok(())
    }

    /// The driver ended, by its runtime's end or the channel's.
    fn driver_ended(&self, source: Source) {
        {
            let mut state = self.lock();
            state.driver = None;
            state.source = Some(source);
        }
        self.update(Members::clear);
    }

    fn wake(&self) {
        self.rests.store(false, Ordering::Relaxed);
        self.in_use.send_replace(true);
    }

    /// Changes members and shows the new state to calls.
    fn update<R>(&self, change: impl FnOnce(&mut Members) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state.members);
        let view = state.members.view(&self.name);
        self.view.store(Arc::new(view));
        drop(state);
        self.changed.send_replace(());
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> Error {
        Error::connect(format!("the channel to {} is gone", self.name))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name)
            .field("ready", &self.view.load().ready.len())
            .finish_non_exhaustive()
    }
}

// === impl Source ===

impl Source {
    /// The resolvers of all places there are now.
    fn resolvers(&self) -> Vec<Resolver> {
        match self {
            Self::Constant(resolvers) => resolvers.clone(),
            Self::Changing(changing) => changing
                .places
                .iter()
                .map(|(_, resolver)| resolver.clone())
                .collect(),
        }
    }

    /// Waits until places have changed.
    async fn changed(&mut self) {
        let Self::Changing(changing) = self else {
            return std::future::pending().await;
        };
        match changing.changes.next().await {
            None => std::future::pending().await,
            Some(change) => changing.apply(change),
        }
        while let Some(Some(change)) = changing.changes.next().now_or_never() {
            changing.apply(change);
        }
    }
}

// === impl Changing ===

impl Changing {
    pub(crate) fn new(changes: impl Stream<Item = PlaceChange> + Send + 'static) -> Self {
        Self {
            changes: Box::pin(changes),
            places: Vec::new(),
        }
    }

    fn apply(&mut self, change: PlaceChange) {
        let (PlaceChange::Insert(key, _) | PlaceChange::Remove(key)) = change;
        self.places.retain(|(known, _)| *known != key);
        if let PlaceChange::Insert(key, resolver) = change {
            self.places.push((key, resolver));
        }
    }
}

impl fmt::Debug for Changing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changing")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}
