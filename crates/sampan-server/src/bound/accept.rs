//! Accepts connections and deals them to the workers.

use super::{
    load::One,
    served::{Connections, Io, Served, Serving, Setup},
    stop::{Phase, Stop},
    workers::{Dealt, Team},
};
use crate::BoxError;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use sampan_transport::{Listener, PeerInfo, Socket};
use std::{fmt, pin::pin, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection and who is at its other end, or why there is none.
pub(crate) type Accepted = Result<(Opened, PeerInfo), BoxError>;

/// A connection that is to be served.
pub(crate) enum Opened {
    /// Any worker can serve it.
    Socket(Socket),
    /// Stays on the runtime that it came from.
    Other(Box<dyn Io>),
}

/// Serves what is accepted at all addresses of a server.
pub(super) struct Acceptor {
    serving: Serving,
    free: Arc<Semaphore>,
    max_connections: usize,
}

/// What a connection holds while it is open.
pub(super) type Held = (OwnedSemaphorePermit, Option<One>);

/// Connections still taken from the backlog when accepting stops.
const LAST_CONNECTIONS: usize = 65_535;

/// The connections that `listener` accepts, without an end.
pub(crate) fn connections(listener: Listener) -> impl Stream<Item = Accepted> {
    stream::unfold(listener, |listener| async {
        let socket = listener.accept().await;
        let peer = socket.peer();
        Some((Ok((Opened::Socket(socket), peer)), listener))
    })
}

// === impl Acceptor ===

impl Acceptor {
    pub(super) fn new(
        served: &Served,
        setup: Arc<Setup>,
        team: &Team,
        max_connections: usize,
    ) -> Self {
        let max_connections = max_connections.min(Semaphore::MAX_PERMITS);
        Self {
            serving: Serving::new(served, setup, team.calls_here()),
            free: Arc::new(Semaphore::new(max_connections)),
            max_connections,
        }
    }

    /// Those of all workers.
    pub(super) fn open_connections(&self) -> usize {
        self.max_connections - self.free.available_permits()
    }

    /// Deals the connections of `incoming` to `team` until it ends or accepting stops, and
    /// serves those that stay here until they have ended.
    pub(super) async fn run(
        &self,
        incoming: impl Stream<Item = Accepted>,
        team: Arc<Team>,
        mut stop: Stop,
    ) {
        let mut connections = Connections::default();
        self.accept(incoming, &team, &mut connections, &mut stop)
            .await;
        // Workers end when nobody deals to them any more.
        drop(team);
        connections.finish(stop).await;
    }

    async fn accept(
        &self,
        incoming: impl Stream<Item = Accepted>,
        team: &Team,
        connections: &mut Connections,
        stop: &mut Stop,
    ) {
        let mut incoming = pin!(incoming);
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.at(Phase::Draining) => break,
                accepted = incoming.next() => accepted,
                Some(()) = connections.ended() => continue,
            };
            match accepted {
                Some(accepted) => self.deal(accepted, team, connections, stop),
                None => return,
            }
        }
        // Whoever has connected already is served, and told to go elsewhere by GOAWAY; closing
        // the listener would reset them.
        for _ in 0..LAST_CONNECTIONS {
            match incoming.next().now_or_never().flatten() {
                Some(accepted) => self.deal(accepted, team, connections, stop),
                None => return,
            }
        }
    }

    fn deal(&self, accepted: Accepted, team: &Team, connections: &mut Connections, stop: &Stop) {
        let (opened, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection failed before it was accepted");
                return;
            }
        };
        // Closed at once rather than left in the backlog, where its calls would hang: so the
        // client tries another endpoint.
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            tracing::debug!(
                ?peer,
                "refused: there are {} connections",
                self.max_connections
            );
            return;
        };
        let io: Box<dyn Io> = match opened {
            Opened::Other(io) => io,
            Opened::Socket(socket) => match team.least_loaded().filter(|w| w.is_working()) {
                None => Box::new(socket),
                Some(worker) => match socket.detach() {
                    Ok(socket) => {
                        let held = (permit, Some(worker.connection()));
                        worker.serve(Dealt { socket, peer, held });
                        return;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a connection cannot change its thread");
                        return;
                    }
                },
            },
        };
        let held: Held = (permit, team.connection_here());
        connections.add(&self.serving, io, peer, stop, held);
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
