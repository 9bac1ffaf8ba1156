//! The endpoints of a channel, whatever runtimes are connected to them.

use super::shard::Shard;
use crate::{
    ConnectivityState, EndpointSnapshot, Error, backoff::BackoffPolicy, endpoint::Endpoint,
    resolve::ResolveError, site::Site,
};
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// Sorted by address.
    list: Vec<Arc<Endpoint>>,
    /// Why the places could not be resolved, while no endpoint is known.
    unresolved: Option<Error>,
}

// === impl Endpoints ===

impl Endpoints {
    /// Takes `sites` as the whole set.
    pub(super) fn replace(&mut self, mut sites: Vec<Site>, now: Instant) {
        self.unresolved = None;
        self.list.retain(|one| sites.contains(&one.site));
        sites.retain(|site| !self.list.iter().any(|one| one.site == *site));
        let new = sites
            .into_iter()
            .map(|site| Arc::new(Endpoint::new(site, now)));
        self.list.extend(new);
        self.list
            .sort_by(|a, b| a.site.address.cmp(&b.site.address));
    }

    /// No endpoint is known, for this reason. Endpoints that are known stay.
    pub(super) fn unresolved(&mut self, error: ResolveError) {
        let hint = error.hint();
        let error = Error::connect("no endpoint is known")
            .with_source(error)
            .with_hint(Some(hint));
        self.unresolved = Some(error);
    }

    pub(super) fn rest(&mut self) {
        self.unresolved = None;
    }

    pub(super) fn failure(&self) -> Option<&Error> {
        self.unresolved.as_ref()
    }

    pub(super) fn list(&self) -> &[Arc<Endpoint>] {
        &self.list
    }

    pub(super) fn contains(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.list.iter().any(|one| Arc::ptr_eq(one, endpoint))
    }

    pub(super) fn backoff(&self) -> BackoffPolicy {
        if self.list.iter().all(|one| one.site.is_near()) {
            BackoffPolicy::IN_CLUSTER
        } else {
            BackoffPolicy::FAR
        }
    }

    pub(super) fn calls_in_flight(&self) -> bool {
        self.list.iter().any(|one| one.in_flight() > 0)
    }

    pub(super) fn snapshots(&self, shards: &[Shard], now: Instant) -> Vec<EndpointSnapshot> {
        let state = |endpoint| {
            shards
                .iter()
                .flat_map(Shard::members)
                .filter(|member| Arc::ptr_eq(&member.endpoint, endpoint))
                .map(|member| member.subchannel.state())
                .max_by_key(|state| rank(*state))
                .unwrap_or(ConnectivityState::Idle)
        };
        self.list
            .iter()
            .map(|endpoint| endpoint.snapshot(state(endpoint), now))
            .collect()
    }
}

/// Of several runtimes' connections the best counts.
const fn rank(state: ConnectivityState) -> u8 {
    match state {
        ConnectivityState::Idle => 0,
        ConnectivityState::TransientFailure => 1,
        ConnectivityState::Connecting => 2,
        ConnectivityState::Ready => 3,
    }
}
