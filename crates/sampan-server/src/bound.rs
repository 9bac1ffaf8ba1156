//! A server that has its addresses: accepts, serves, drains.

mod accept;

pub(crate) use accept::{Accepted, Served, connections};

use crate::{
    Error,
    drain::{Drain, Step},
    error::Kind,
    health::Health,
    probe::Probe,
};
use accept::{Acceptor, Phase, Stop};
use futures_util::{
    Stream, StreamExt,
    future::{join_all, pending},
    stream,
};
use sampan_transport::{Address, Listener, Protocols, ServeSettings, ServerTls};
use std::{future::Future, pin::pin, task::Poll, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep_until},
};

/// A server whose addresses are bound. Connections wait in the backlog until it serves.
#[derive(Debug)]
pub struct BoundServer {
    listeners: Vec<Listener>,
    addresses: Vec<Address>,
    probe: Option<Listener>,
    core: Core,
}

/// A server without its addresses.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) served: Served,
    pub(crate) probe: Probe,
    pub(crate) health: Health,
    pub(crate) connections: ServeSettings,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) max_connections: usize,
    pub(crate) lame_duck: Duration,
    pub(crate) drain_timeout: Duration,
}

/// Connections to the probe port at once: scrapers and health checkers are few.
const MAX_PROBE_CONNECTIONS: usize = 64;

// === impl BoundServer ===

impl BoundServer {
    pub(crate) fn new(listeners: Vec<Listener>, probe: Option<Listener>, core: Core) -> Self {
        let addresses = listeners
            .iter()
            .map(|l| l.local_address().clone())
            .collect();
        Self {
            listeners,
            addresses,
            probe,
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
    /// # Errors
    /// When signals cannot be watched.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listeners and aborts all calls.
    pub async fn serve(self) -> Result<(), Error> {
        self.run(signals()?).await;
        Ok(())
    }

    /// Serves until `signal`, then drains as [`serve`](Self::serve) does. Leaves the process's
    /// signals alone.
    ///
    /// # Errors
    /// None at present; kept for what may fail later.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listeners and aborts all calls.
    pub async fn serve_until(self, signal: impl Future<Output = ()>) -> Result<(), Error> {
        self.run(stream::once(signal)).await;
        Ok(())
    }

    async fn run(self, signals: impl Stream<Item = ()>) {
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
                let served = Served::new(self.core.probe.clone(), None);
                let acceptor = Acceptor::new(&served, settings, None, MAX_PROBE_CONNECTIONS);
                acceptor.run(connections(listener), probed).await;
            }
            pending().await
        };
        let listeners = self.listeners.into_iter().map(connections);
        tokio::select! {
            biased;
            () = self.core.run(listeners, signals) => {}
            () = probes => {}
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
    ) where
        I: Stream<Item = Accepted>,
    {
        let (phase, stop) = Stop::channel();
        let acceptor = Acceptor::new(
            &self.served,
            self.connections.clone(),
            self.tls.clone(),
            self.max_connections,
        );
        let mut serving = pin!(join_all(
            incoming
                .into_iter()
                .map(|incoming| acceptor.run(incoming, stop.clone()))
        ));
        let mut signals = pin!(signals.fuse());
        let mut drain = Drain::new(self.lame_duck, self.drain_timeout);
        loop {
            let next_step = async {
                match drain.wake_at() {
                    Some(at) => sleep_until(at.into()).await,
                    None => pending().await,
                }
            };
            let step = tokio::select! {
                biased;
                _ = serving.as_mut() => break,
                Some(()) = signals.next() => drain.on_signal(Instant::now().into_std()),
                () = next_step => drain.on_time(Instant::now().into_std()),
            };
            if let Some(step) = step {
                self.take(step, &phase, &acceptor).await;
            }
        }
        if *phase.borrow() != Phase::Serving {
            tracing::info!(target: "sampan", "the drain is over");
        }
    }

    async fn take(&self, step: Step, phase: &watch::Sender<Phase>, acceptor: &Acceptor) {
        match step {
            Step::ReportNotServing => {
                let (lame_duck, cap) = (self.lame_duck, self.drain_timeout);
                tracing::info!(target: "sampan", ?lame_duck, ?cap, "draining");
                self.probe.not_ready();
                self.health.not_serving().await;
            }
            Step::StopAccepting => {
                tracing::info!(target: "sampan", "no more connections are accepted");
                self.health.end_watches().await;
                phase.send_replace(Phase::Draining);
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
                phase.send_replace(Phase::Aborting);
            }
        }
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
