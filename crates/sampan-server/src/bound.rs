//! A server that has its addresses: accepts, serves, drains.

mod accept;
mod load;
mod served;
mod stop;
mod workers;

pub(crate) use accept::{Accepted, Opened, connections};
pub(crate) use served::{Io, Served};

use crate::{
    Error,
    drain::{Drain, Step},
    error::Kind,
    health::Health,
    loads::Loads,
    local::Index,
    probe::Probe,
    secure::Secure,
};
use accept::Acceptor;
use futures_util::{
    Stream, StreamExt,
    future::{join, join_all, pending},
    stream,
};
use sampan_transport::{Address, Listener, Protocols, ServeSettings};
use served::Setup;
use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};
use stop::{Phase, Phases, Stop};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};
use workers::Team;

/// A server whose addresses are bound. Connections wait in the backlog until it serves.
#[derive(Debug)]
pub struct BoundServer {
    listeners: Vec<Listener>,
    addresses: Vec<Address>,
    probe: Option<Listener>,
    /// Sockets for channels on the same host.
    local: Vec<Listener>,
    core: Core,
}

/// A server without its addresses.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) served: Served,
    pub(crate) probe: Probe,
    pub(crate) health: Health,
    pub(crate) loads: Option<Arc<Loads>>,
    pub(crate) connections: ServeSettings,
    pub(crate) tls: Option<Arc<dyn Secure>>,
    pub(crate) max_connections: usize,
    /// Threads that serve, the caller's with them, where its runtime has no more.
    pub(crate) workers: usize,
    pub(crate) lame_duck: Duration,
    pub(crate) drain_timeout: Duration,
    /// What the same-host index says of this server, until it drains.
    pub(crate) index: Mutex<Index>,
}

/// Connections to the probe port at once: scrapers and health checkers are few.
const MAX_PROBE_CONNECTIONS: usize = 64;

/// How long an abort waits for workers whose thread a handler keeps busy.
const ABORT_LIMIT: Duration = Duration::from_secs(1);

// === impl BoundServer ===

impl BoundServer {
    pub(crate) fn new(
        listeners: Vec<Listener>,
        probe: Option<Listener>,
        local: Vec<Listener>,
        core: Core,
    ) -> Self {
        let addresses = listeners
            .iter()
            .map(|l| l.local_address().clone())
            .collect();
        Self {
            listeners,
            addresses,
            probe,
            local,
            core,
        }
    }

    /// The addresses listened on, in the order in which they were given, with the ports that
    /// were taken.
    #[must_use]
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where probes are answered.
    #[must_use]
    pub fn probe_address(&self) -> Option<&Address> {
        self.probe.as_ref().map(Listener::local_address)
    }

    /// Serves until SIGTERM or SIGINT, then drains: health NOT_SERVING, lame duck, no more
    /// connections and GOAWAY, open calls end. What is open at the drain timeout is aborted
    /// and counted in the log; a second signal aborts at once.
    ///
    /// Calls are served on the runtime that this is called from, and on a current-thread one by
    /// [workers](crate::Server::workers) too.
    ///
    /// # Errors
    /// When signals cannot be watched.
    ///
    /// # Panics
    /// When a worker has panicked, with the same payload.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listeners and aborts all calls.
    pub async fn serve(self) -> Result<(), Error> {
        self.run(signals()?).await
    }

    /// Serves until `signal`, then drains as [`serve`](Self::serve) does. Leaves the process's
    /// signals alone.
    ///
    /// # Errors
    /// None today.
    ///
    /// # Panics
    /// When a worker has panicked, with the same payload.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listeners and aborts all calls.
    pub async fn serve_until(self, signal: impl Future<Output = ()>) -> Result<(), Error> {
        self.run(stream::once(signal)).await
    }

    async fn run(self, signals: impl Stream<Item = ()>) -> Result<(), Error> {
        for address in &self.addresses {
            tracing::info!(target: "sampan", "listening on {address}");
        }
        // Probes are answered to the very end: /ready says 503 while calls finish.
        let (_probing, probed) = Stop::channel();
        let probes = async {
            if let Some(listener) = self.probe {
                let address = listener.local_address();
                tracing::info!(target: "sampan", "probes are answered on {address}");
                let settings = ServeSettings {
                    protocols: Protocols::Http1AndHttp2,
                    ..ServeSettings::default()
                };
                let served = Served::http(self.core.probe.clone());
                let setup = Arc::new(Setup {
                    settings,
                    tls: None,
                });
                let team = Arc::new(Team::alone());
                let acceptor = Acceptor::new(&served, setup, &team, MAX_PROBE_CONNECTIONS);
                acceptor.run(connections(listener), team, probed).await;
            }
            pending().await
        };
        let listeners = self.listeners.into_iter().chain(self.local);
        let listeners = listeners.map(connections);
        tokio::select! {
            biased;
            end = self.core.run(listeners, signals) => end,
            end = probes => end,
        }
    }
}

// === impl Core ===

impl Core {
    /// Serves the connections of all `incoming` until they end or the drain after a signal is
    /// over.
    pub(crate) async fn run<I>(
        &self,
        incoming: impl IntoIterator<Item = I>,
        signals: impl Stream<Item = ()>,
    ) -> Result<(), Error>
    where
        I: Stream<Item = Accepted>,
    {
        let (phases, stop) = Stop::channel();
        let setup = Arc::new(Setup {
            settings: self.connections.clone(),
            tls: self.tls.clone(),
        });
        let (team, mut ends) = Team::new(self.workers, &self.served, &setup, &stop);
        let acceptor = Acceptor::new(&self.served, setup, &team, self.max_connections);
        let team = Arc::new(team);
        let acceptors: Vec<_> = incoming
            .into_iter()
            .map(|incoming| acceptor.run(incoming, Arc::clone(&team), stop.clone()))
            .collect();
        // Held by the acceptors alone: with the last of them the workers end.
        drop(team);
        let mut serving = pin!(join(join_all(acceptors), ends.all()));
        let mut give_up_at = None;
        let mut signals = pin!(signals.fuse());
        let mut drain = Drain::new(self.lame_duck, self.drain_timeout);
        loop {
            let next_step = until(drain.wake_at().map(Into::into));
            let step = tokio::select! {
                biased;
                _ = serving.as_mut() => break,
                Some(()) = signals.next() => drain.on_signal(Instant::now().into_std()),
                () = next_step => drain.on_time(Instant::now().into_std()),
                () = until(give_up_at) => {
                    tracing::warn!(target: "sampan", "a handler that never waits outlives the abort");
                    break;
                }
            };
            if let Some(step) = step {
                self.take(step, &phases, &acceptor).await;
                if step == Step::Abort {
                    give_up_at = Some(Instant::now() + ABORT_LIMIT);
                }
            }
        }
        if phases.now() != Phase::Serving {
            tracing::info!(target: "sampan", "the drain is over");
        }
        Ok(())
    }

    fn leave_index(&self) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        drop(std::mem::take(&mut *index));
    }

    async fn take(&self, step: Step, phases: &Phases, acceptor: &Acceptor) {
        match step {
            Step::ReportNotServing => {
                let (lame_duck, cap) = (self.lame_duck, self.drain_timeout);
                tracing::info!(target: "sampan", ?lame_duck, ?cap, "draining");
                self.probe.not_ready();
                self.leave_index();
                self.health.not_serving().await;
            }
            Step::StopAccepting => {
                tracing::info!(target: "sampan", "no more connections are accepted");
                self.health.end_watches().await;
                if let Some(loads) = &self.loads {
                    loads.end();
                }
                phases.enter(Phase::Draining);
            }
            Step::Abort => {
                let connections = acceptor.open_connections();
                match self.served.open_calls() {
                    Some(calls) => tracing::warn!(
                        target: "sampan",
                        "the drain was cut short: {calls} calls on {connections} connections aborted"
                    ),
                    None => tracing::warn!(
                        target: "sampan",
                        "the drain was cut short: {connections} connections aborted"
                    ),
                }
                phases.enter(Phase::Aborting);
            }
        }
    }
}

/// Completes at `time`, if there is one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// An item per SIGTERM or SIGINT.
fn signals() -> Result<impl Stream<Item = ()>, Error> {
    let watch = |kind| signal(kind).map_err(Kind::Signals);
    let (mut terminate, mut interrupt) = (
        watch(SignalKind::terminate())?,
        watch(SignalKind::interrupt())?,
    );
    Ok(stream::poll_fn(move |cx| {
        match (terminate.poll_recv(cx), interrupt.poll_recv(cx)) {
            (Poll::Ready(heard), _) | (_, Poll::Ready(heard)) => Poll::Ready(heard),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    }))
}
