//! How an attempt gets a connection: it is picked for, it waits, or it fails.

use super::{
    Live, Pool,
    view::{Ready, View},
};
use crate::{
    Error,
    balance::{CallInfo, Pick, Ticket},
    chance::Dice,
    endpoint::raise,
    timers::sleep_until,
};
use futures_util::future::select_all;
use sampan_transport::WhyNot;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;
use tonic::Status;

/// Why no connection took a call.
#[derive(Debug)]
pub(crate) enum Nowhere {
    /// An endpoint is being connected.
    Connecting,
    /// No connection takes more streams; there may be room soon. Behind those that wait.
    Full(Queue),
    /// All endpoints are down.
    Down(Error),
    /// The picker lets it fail.
    Failed(Status),
    /// The picker drops it, whether it would wait or not.
    Dropped(Status),
}

/// Why an attempt gets no endpoint at all.
#[derive(Debug)]
pub(crate) enum NoEndpoint {
    /// All are down.
    Down(Error),
    /// The picker says so.
    Told(Status),
    /// The picker says so, and that the call is not tried again.
    Dropped(Status),
    /// Not by this channel, here or any more.
    Never(Error),
}

/// Where calls wait that found no free stream.
type Queue = Arc<tokio::sync::Mutex<()>>;

/// How long a call stands behind others before it looks by itself.
const IMPATIENCE: Duration = Duration::from_millis(50);

// === impl Pool ===

impl Pool {
    /// Offers something to a connection that the picker chooses, and to the others while it is
    /// given back.
    pub(crate) fn offer<T, R>(
        self: &Arc<Self>,
        call: &CallInfo<'_>,
        now: Instant,
        mut what: T,
        take: impl Fn(&Arc<Live>, T) -> Result<R, (T, WhyNot)>,
    ) -> Result<(R, Ticket), (T, Nowhere)> {
        if self.is_asleep.load(Ordering::Relaxed) {
            self.rouse();
        }
        let views = self.views.load();
        let Some(view) = View::here(&views) else {
            return Err((what, Nowhere::Connecting));
        };
        raise(&view.local.is_used);
        let picked = match &view.picker {
            Some(picker) if view.ready.len() > 1 || view.is_asked_always => {
                let pick = || picker.pick(now.into_std(), &mut Dice, call);
                if call.tried.is_empty() {
                    pick()
                } else {
                    view.pick_another(call, pick)
                }
            }
            Some(_) => Pick::ready(0),
            None => Pick::Queue,
        };
        let (first, ticket) = match picked {
            Pick::Ready(first, ticket) if first < view.ready.len() => (first, ticket),
            Pick::Ready(..) | Pick::Queue => {
                let nowhere = match &view.failure {
                    Some(error) => Nowhere::Down(error.clone()),
                    None => Nowhere::Connecting,
                };
                return Err((what, nowhere));
            }
            Pick::Fail(status) => return Err((what, Nowhere::Failed(status))),
            Pick::Drop(status) => return Err((what, Nowhere::Dropped(status))),
        };
        let mut ticket = Some(ticket);
        let (before, after) = view.ready.split_at(first);
        let mut is_full = false;
        for ready in after.iter().chain(before) {
            for live in &ready.lives {
                match take(live, what) {
                    Ok(result) => return Ok((result, ticket.unwrap_or_default())),
                    Err((back, why)) => {
                        what = back;
                        is_full |= why == WhyNot::Full;
                    }
                }
            }
            // It was for the one that was picked.
            ticket = None;
        }
        if !is_full {
            return Err((what, Nowhere::Connecting));
        }
        view.ready[first].more.notify_one();
        Err((what, Nowhere::Full(Arc::clone(&view.local.queue))))
    }

    /// Why no endpoint can be had here, if none can.
    pub(crate) fn failure(&self) -> Option<Error> {
        View::here(&self.views.load())?.failure.clone()
    }

    /// As [`offer`](Self::offer), but waits for a connection while one may come; where
    /// `waits_for_ready`, also while all endpoints are down.
    ///
    /// # Errors
    ///
    /// When all endpoints are down.
    pub(crate) async fn offer_until_taken<T, R>(
        self: &Arc<Self>,
        call: &CallInfo<'_>,
        mut what: T,
        waits_for_ready: bool,
        take: impl Fn(&Arc<Live>, T) -> Result<R, (T, WhyNot)>,
    ) -> Result<(R, Ticket), NoEndpoint> {
        // Before the first look, so that no change falls between look and wait.
        let mut changes = self.changed.subscribe();
        let mut turn = None;
        loop {
            self.waits.fetch_add(1, Ordering::Relaxed);
            self.start()?;
            let (back, nowhere) = match self.offer(call, Instant::now(), what, &take) {
                Ok(result) => return Ok(result),
                Err(refused) => refused,
            };
            what = back;
            let has_changed = match nowhere {
                Nowhere::Down(error) if !waits_for_ready => return Err(NoEndpoint::Down(error)),
                Nowhere::Failed(status) if !waits_for_ready => {
                    return Err(NoEndpoint::Told(status));
                }
                Nowhere::Dropped(status) => return Err(NoEndpoint::Dropped(status)),
                Nowhere::Down(_) | Nowhere::Failed(_) | Nowhere::Connecting => {
                    changes.changed().await
                }
                Nowhere::Full(queue) => tokio::select! {
                    biased;
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
                return Err(self.gone().into());
            }
        }
    }

    /// Waits until the resolver has told what holds for calls, or could not.
    ///
    /// # Errors
    ///
    /// When the channel is gone.
    pub(crate) async fn configured(self: &Arc<Self>) -> Result<(), NoEndpoint> {
        let mut changes = self.changed.subscribe();
        loop {
            self.waits.fetch_add(1, Ordering::Relaxed);
            self.start()?;
            if self.told.get().is_none_or(|told| told.is_known()) {
                return Ok(());
            }
            if changes.changed().await.is_err() {
                return Err(self.gone().into());
            }
        }
    }

    /// Waits until an endpoint is connected.
    ///
    /// # Errors
    ///
    /// When all endpoints are down.
    pub(crate) async fn wait_ready(self: &Arc<Self>) -> Result<(), Error> {
        let mut changes = self.changed.subscribe();
        loop {
            self.waits.fetch_add(1, Ordering::Relaxed);
            self.start()?;
            {
                let views = self.views.load();
                let view = View::here(&views);
                let is_alive = |ready: &Ready| ready.alive().next().is_some();
                if view.is_some_and(|view| view.ready.iter().any(is_alive)) {
                    return Ok(());
                }
                if let Some(error) = view.and_then(|view| view.failure.as_ref()) {
                    return Err(error.clone());
                }
            }
            if changes.changed().await.is_err() {
                return Err(self.gone());
            }
        }
    }

    /// Waits until a connection of this runtime takes more streams.
    async fn room(&self) {
        let frees: Vec<_> = {
            let views = self.views.load();
            View::here(&views)
                .into_iter()
                .flat_map(|view| &view.ready)
                .flat_map(Ready::alive)
                .map(|live| Box::pin(live.connection.stream_free()))
                .collect()
        };
        if frees.is_empty() {
            // The views are others by now, or the channel's own end is near: both are told.
            return std::future::pending().await;
        }
        select_all(frees).await;
    }

    fn gone(&self) -> Error {
        Error::connect(format!("the channel to {} is gone", self.name))
    }
}

// === impl NoEndpoint ===

impl From<Error> for NoEndpoint {
    fn from(error: Error) -> Self {
        Self::Never(error)
    }
}
