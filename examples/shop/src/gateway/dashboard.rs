//! Shows the catalog's replicas as the gateway's own channel sees them, and steers them.

use super::fleet::Fleet;
use crate::{
    proto::{
        KillReplicaRequest, KillRequest, ReplicaAnswer, SlowReplicaRequest, SlowRequest, Snapshot,
        StartReplicaRequest, StartRequest, WatchRequest, dashboard_server,
        keeper_client::KeeperClient, replica_client::ReplicaClient,
    },
    stopping::{self, Stopping},
    upstream,
};
use futures_util::stream::{self, BoxStream};
use sampan::{Channel, Code, Request, Response, Status};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::MissedTickBehavior};

/// Answers calls of the dashboard.
#[derive(Clone, Debug)]
pub(super) struct Dashboard {
    fleet: Arc<Mutex<Fleet>>,
    snapshots: watch::Receiver<Snapshot>,
    stopping: Stopping,
}

const PERIOD: Duration = Duration::from_millis(500);
/// For one call to a replica or its keeper.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A replica's keeper listens at the replica's port plus this.
const KEEPER_OFFSET: u16 = 100;

// === impl Dashboard ===

impl Dashboard {
    /// Begins to look at `catalog`; goes on for as long as somebody can ask.
    pub(super) fn start(catalog: Channel, stopping: Stopping) -> Self {
        let fleet = Arc::new(Mutex::new(Fleet::default()));
        let (tell, snapshots) = watch::channel(Snapshot::default());
        tokio::spawn({
            let fleet = fleet.clone();
            async move {
                let mut ticks = tokio::time::interval(PERIOD);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                while !tell.is_closed() {
                    ticks.tick().await;
                    tell.send_replace(look(&fleet, &catalog));
                }
            }
        });
        Self {
            fleet,
            snapshots,
            stopping,
        }
    }

    /// The address of a replica that the dashboard shows.
    fn known(&self, address: &str) -> Result<SocketAddr, Status> {
        if !locked(&self.fleet).knows(address) {
            let shown: String = address.chars().take(64).collect();
            return Err(Status::not_found(format!(
                "there is no replica `{}`: take an address that Watch shows",
                shown.escape_debug()
            )));
        }
        address.parse().map_err(|_| {
            Status::failed_precondition(format!("{address} is no TCP address: it has no keeper"))
        })
    }
}

#[sampan::async_trait]
impl dashboard_server::Dashboard for Dashboard {
    type WatchStream = BoxStream<'static, Result<Snapshot, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut snapshots = self.snapshots.clone();
        // The newest is worth showing at once.
        snapshots.mark_changed();
        let state = (snapshots, self.stopping.clone());
        let stream = stream::try_unfold(state, async |(mut snapshots, mut stopping)| {
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return Ok(None) },
                () = stopping.wait() => return Err(stopping::cut_short()),
            }
            let snapshot = snapshots.borrow_and_update().clone();
            Ok(Some((snapshot, (snapshots, stopping))))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn slow_replica(
        &self,
        request: Request<SlowReplicaRequest>,
    ) -> Result<Response<ReplicaAnswer>, Status> {
        let SlowReplicaRequest { address, delay } = request.into_inner();
        let replica = self.known(&address)?;
        ReplicaClient::dial(format!("static:///{replica}"))
            .map_err(|error| Status::internal(error.to_string()))?
            .slow(in_time(SlowRequest { delay }))
            .await
            .map_err(|status| upstream::pass_on(&address, &status))?;
        let delay = Duration::try_from(delay.unwrap_or_default()).unwrap_or_default();
        locked(&self.fleet).on_slowed(&address, delay);
        Ok(Response::new(ReplicaAnswer { address }))
    }

    async fn kill_replica(
        &self,
        request: Request<KillReplicaRequest>,
    ) -> Result<Response<ReplicaAnswer>, Status> {
        let KillReplicaRequest { address } = request.into_inner();
        let replica = self.known(&address)?;
        keeper_of(replica)?
            .kill(in_time(KillRequest {}))
            .await
            .map_err(|status| keeper_failed(replica, &status))?;
        locked(&self.fleet).on_killed(&address);
        Ok(Response::new(ReplicaAnswer { address }))
    }

    async fn start_replica(
        &self,
        request: Request<StartReplicaRequest>,
    ) -> Result<Response<ReplicaAnswer>, Status> {
        let StartReplicaRequest { address } = request.into_inner();
        let replica = self.known(&address)?;
        keeper_of(replica)?
            .start(in_time(StartRequest {}))
            .await
            .map_err(|status| keeper_failed(replica, &status))?;
        locked(&self.fleet).on_started(&address);
        Ok(Response::new(ReplicaAnswer { address }))
    }
}

fn look(fleet: &Mutex<Fleet>, catalog: &Channel) -> Snapshot {
    let mut fleet = locked(fleet);
    let sightings = catalog.endpoints().into_iter().map(Into::into).collect();
    fleet.observe(Instant::now(), sightings);
    let counts = catalog.counts();
    Snapshot {
        replicas: fleet.states(),
        calls: counts.calls,
        failed_calls: counts.failed_calls,
        retries: counts.retries,
    }
}

fn locked(fleet: &Mutex<Fleet>) -> MutexGuard<'_, Fleet> {
    fleet.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_time<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

fn keeper_of(replica: SocketAddr) -> Result<KeeperClient<Channel>, Status> {
    let keeper = keeper_address(replica).ok_or_else(|| {
        Status::failed_precondition(format!("{replica} has no keeper: its port is too high"))
    })?;
    KeeperClient::dial(format!("static:///{keeper}"))
        .map_err(|error| Status::internal(error.to_string()))
}

fn keeper_address(replica: SocketAddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(
        replica.ip(),
        replica.port().checked_add(KEEPER_OFFSET)?,
    ))
}

fn keeper_failed(replica: SocketAddr, status: &Status) -> Status {
    let passed = upstream::pass_on("keeper", status);
    if passed.code() == Code::Unavailable {
        Status::unavailable(format!(
            "{}: is {replica} run by a keeper (SHOP_KEEPER_PORT = its port + {KEEPER_OFFSET})?",
            passed.message()
        ))
    } else {
        passed
    }
}
