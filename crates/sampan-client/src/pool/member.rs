//! One endpoint on one runtime, and the task that keeps its connections.
//!
//! One connection is enough until a server takes no more streams on it; then there are more, up
//! to ten, and those beyond the first go again when calls need them no more. Source: gRFC A105.

use super::{Pool, eyeballs, health, reports::listen, shard::Local};
use crate::{
    Error,
    backoff::BackoffPolicy,
    balance::Connects,
    chance::Dice,
    endpoint::{Endpoint, Live},
    error::BoxError,
    site::Opened,
    subchannel::Subchannel,
};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use sampan_transport::{ConnectError, Connection};
use std::{
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, interval_at},
};

/// A connection beyond the first is closed when no call began on it for this to twice this.
const SPARE_IDLE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) subchannel: Subchannel,
    pub(super) lives: Vec<Arc<Live>>,
    /// As far as its health is watched.
    pub(super) is_well: bool,
    pub(super) more: Arc<Notify>,
    pub(super) failure: Option<Error>,
    /// Whether it is to be connected at all.
    gate: watch::Sender<bool>,
    pub(super) task: AbortHandle,
}

/// What the task of a member works with.
struct Upkeep {
    pool: Arc<Pool>,
    local: Arc<Local>,
    endpoint: Arc<Endpoint>,
}

/// Weak, so that a connection that nobody needs closes when it is let go of.
type Closing = Pin<Box<dyn Future<Output = Weak<Live>> + Send>>;

// === impl Member ===

impl Member {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        backoff: BackoffPolicy,
        gate: watch::Sender<bool>,
        task: AbortHandle,
    ) -> Self {
        Self {
            endpoint,
            subchannel: Subchannel::new(backoff),
            lives: Vec::new(),
            is_well: true,
            more: Arc::default(),
            failure: None,
            gate,
            task,
        }
    }

    /// Whether calls may be sent to it.
    pub(super) fn is_ready(&self) -> bool {
        self.is_well && !self.lives.is_empty()
    }

    pub(super) fn is_failing(&self) -> bool {
        self.subchannel.is_failing()
    }

    /// Lets it connect or not. One that may not any more finishes its calls, and what it failed
    /// at is forgotten.
    pub(super) fn may_connect(&mut self, may: bool) {
        let has_changed = self
            .gate
            .send_if_modified(|gate| std::mem::replace(gate, may) != may);
        if has_changed && !may {
            self.lives.clear();
            self.subchannel.on_rest();
        }
    }

    pub(super) fn rest(&mut self) {
        if self.lives.is_empty() {
            self.subchannel.on_rest();
        }
    }
}

/// Keeps one endpoint connected while the channel is in use.
pub(super) async fn keep_connected(
    pool: Arc<Pool>,
    local: Arc<Local>,
    endpoint: Arc<Endpoint>,
    mut gate: watch::Receiver<bool>,
) {
    let mut in_use = pool.in_use.subscribe();
    let upkeep = Upkeep {
        pool,
        local,
        endpoint,
    };
    let mut was_away = false;
    loop {
        // Its sender lives in the pool.
        if in_use.wait_for(|in_use| *in_use).await.is_err() {
            return;
        }
        if gate.wait_for(|is_open| *is_open).await.is_err() {
            return;
        }
        upkeep.update(|member| member.subchannel.on_connect());
        upkeep.endpoint.history.note("CONNECTING");
        let Some(connected) = upkeep.connect(&mut gate).await else {
            continue;
        };
        let pause = match connected {
            Err(error) => {
                let failure = upkeep.failed(error);
                was_away = true;
                upkeep
                    .endpoint
                    .history
                    .warn(format!("TRANSIENT_FAILURE: {failure}"));
                upkeep.lost_hope(failure)
            }
            Ok(opened) => {
                let since = Instant::now();
                let was_away = std::mem::take(&mut was_away);
                upkeep.endpoint.connected(was_away, since);
                upkeep.endpoint.history.note("READY");
                let has_answered = upkeep.serve(opened, &mut gate).await;
                upkeep
                    .endpoint
                    .history
                    .note("IDLE: its connections take no more calls");
                upkeep.update(|member| {
                    member
                        .subchannel
                        .on_lost(since.elapsed(), has_answered, &mut Dice)
                })
            }
        };
        upkeep.pool.lost.notify_one();
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause.unwrap_or(Duration::ZERO)) => {}
            // Whoever needs the channel next does not wait for an old failure's pause.
            _ = in_use.wait_for(|in_use| !*in_use) => {}
            _ = gate.wait_for(|is_open| !*is_open) => {}
        }
    }
}

/// Before the view changes: whoever asked for more looks again then, and asks again.
fn forget(more: &Notify) {
    let _ = more.notified().now_or_never();
}

// === impl Upkeep ===

impl Upkeep {
    /// Connects, unless it is told to let it be. Others are looked at when it takes long.
    async fn connect(&self, gate: &mut watch::Receiver<bool>) -> Option<Result<Opened, BoxError>> {
        let mut connecting = std::pin::pin!(self.endpoint.site.connect());
        let mut delay = std::pin::pin!(tokio::time::sleep(eyeballs::DELAY));
        let mut is_alone = self.pool.keeper.load().connects() != Connects::All;
        loop {
            tokio::select! {
                connected = &mut connecting => return Some(connected),
                _ = gate.wait_for(|is_open| !*is_open) => return None,
                () = &mut delay, if is_alone => {
                    is_alone = false;
                    self.pool.update(|_| ());
                }
            }
        }
    }

    /// Shows the connection to calls, and others as they need them, until the last is lost.
    /// Gives whether any of them was of use.
    async fn serve(&self, first: Opened, gate: &mut watch::Receiver<bool>) -> bool {
        let mut is_local = first.is_local;
        self.endpoint.reached(is_local);
        let mut open = FuturesUnordered::new();
        let mut connecting = None;
        let mut moving = None;
        let mut looked = self.pool.looked.subscribe();
        // Source: gRFC A61. There is no other that calls could go to.
        let is_alone = matches!(self.pool.keeper.load().connects(), Connects::One { .. });
        let service = self.pool.service.load().health.clone();
        let service = service.filter(|_| !is_alone);
        let watch = |connection: &Connection| {
            let route = Arc::clone(&self.endpoint.site.route);
            let service = service.as_deref()?;
            Some(health::watch(connection.clone(), route, service))
        };
        let mut health = watch(&first.connection);
        let is_well = health.is_none();
        let Some(more) = self.show(first, &mut open, |member| {
            member.is_well = is_well;
            if is_well {
                member.failure = None;
                member.subchannel.on_connected();
            }
            Arc::clone(&member.more)
        }) else {
            return true;
        };
        let mut spare_check = interval_at(Instant::now() + SPARE_IDLE, SPARE_IDLE);
        let mut has_answered = false;
        let listening = listen(&self.pool, &self.local, &self.endpoint);
        let mut listening = std::pin::pin!(listening);
        loop {
            tokio::select! {
                biased;
                Some(live) = open.next() => {
                    let Some(live) = live.upgrade() else {
                        continue;
                    };
                    has_answered |= live.has_answered();
                    forget(&more);
                    let Some(other) = self.lose(&live) else {
                        return has_answered;
                    };
                    health = watch(&other.connection);
                }
                () = more.notified(), if connecting.is_none()
                    && open.len() < self.pool.service.load().max_connections => {
                    if self.pool.may_have_more_connections() {
                        connecting = Some(Box::pin(self.endpoint.site.connect()));
                    }
                }
                Some(result) = async {
                    match &mut connecting {
                        Some(connecting) => Some(connecting.await),
                        None => None,
                    }
                } => {
                    connecting = None;
                    forget(&more);
                    match result {
                        Ok(opened) => drop(self.show(opened, &mut open, |_| ())),
                        Err(error) => drop(self.failed(error)),
                    }
                }
                Ok(()) = looked.changed(), if !is_local && moving.is_none() => {
                    if self.endpoint.site.local_socket().is_some() {
                        moving = Some(Box::pin(self.endpoint.site.connect_local()));
                    }
                }
                Some(result) = async {
                    match &mut moving {
                        Some(moving) => Some(moving.await),
                        None => None,
                    }
                } => {
                    moving = None;
                    if let Some(connection) = result {
                        is_local = true;
                        self.endpoint.reached(true);
                        health = watch(&connection);
                        // Those by TCP finish their calls.
                        let opened = Opened {
                            connection,
                            is_local,
                        };
                        self.show(opened, &mut open, |member| {
                            let kept = member.lives.len() - 1;
                            member.lives.drain(..kept);
                        });
                    }
                }
                Some(is_well) = async {
                    match &mut health {
                        Some(health) => health.next().await,
                        None => None,
                    }
                } => self.feels(is_well),
                _ = gate.wait_for(|is_open| !*is_open) => return true,
                _ = spare_check.tick(), if open.len() > 1 => {
                    forget(&more);
                    self.drop_spares();
                }
                never = &mut listening => match never {},
            }
        }
    }

    fn show<R>(
        &self,
        opened: Opened,
        open: &mut FuturesUnordered<Closing>,
        change: impl FnOnce(&mut Member) -> R,
    ) -> Option<R> {
        let closed = opened.connection.closed();
        let timers = Arc::clone(&self.local.timers);
        let live = Arc::new(Live::new(Arc::clone(&self.endpoint), opened, timers));
        let shown = Arc::clone(&live);
        let result = self.update(|member| {
            member.lives.push(shown);
            change(member)
        });
        let live = Arc::downgrade(&live);
        let metrics = self.pool.metrics;
        let counted = metrics.map(|metrics| metrics.upkeep.connected());
        open.push(Box::pin(async move {
            let _counted = counted;
            closed.await;
            live
        }));
        result
    }

    /// The service says of itself that it is well, or not.
    fn feels(&self, is_well: bool) {
        let label = self.endpoint.label();
        tracing::debug!(endpoint = label, is_well, "health was told");
        self.update(|member| {
            member.is_well = is_well;
            if is_well {
                member.failure = None;
                member.subchannel.on_connected();
            } else {
                let what = format!("{label}: its health is not SERVING");
                member.failure = Some(Error::connect(what));
                member.subchannel.on_unwell();
            }
        });
    }

    /// Takes out a connection that is lost; gives another that is left.
    fn lose(&self, live: &Arc<Live>) -> Option<Arc<Live>> {
        tracing::debug!(
            endpoint = self.endpoint.label(),
            "connection takes no more calls"
        );
        self.update(|member| {
            member.lives.retain(|one| !Arc::ptr_eq(one, live));
            member.lives.first().cloned()
        })?
    }

    /// Lets go of connections beyond the first that no call began on for a while.
    fn drop_spares(&self) {
        self.update(|member| {
            let mut is_first = true;
            member.lives.retain(|live| {
                let was_used = live.was_used();
                std::mem::take(&mut is_first) || was_used
            });
        });
    }

    fn failed(&self, error: BoxError) -> Error {
        if let Some(metrics) = self.pool.metrics {
            metrics.upkeep.connect_failed();
        }
        tracing::debug!(
            endpoint = self.endpoint.label(),
            error = &*error,
            "connect failed"
        );
        let hint = error
            .downcast_ref::<ConnectError>()
            .and_then(ConnectError::hint);
        Error::connect(self.endpoint.label())
            .with_source(error)
            .with_hint(hint)
    }

    /// Connecting failed: gives how long to wait before the next try. An endpoint that has no
    /// name any more goes.
    fn lost_hope(&self, failure: Error) -> Option<Duration> {
        self.pool.update(|state| {
            let member = state.shard(&self.local)?.find(&self.endpoint)?;
            member.failure = Some(failure);
            let pause = member.subchannel.on_failed(&mut Dice);
            if self.endpoint.is_gone() {
                state.remove(&[Arc::clone(&self.endpoint)], &self.pool);
            }
            Some(pause)
        })
    }

    /// Changes the member, unless it was removed meanwhile.
    fn update<R>(&self, change: impl FnOnce(&mut Member) -> R) -> Option<R> {
        self.pool.update(|state| {
            let shard = state.shard(&self.local)?;
            shard.find(&self.endpoint).map(change)
        })
    }
}
