//! The endpoints of a channel, whatever runtimes are connected to them.

use super::{PoolSettings, member::Member, shard::Shard};
use crate::{
    ConnectivityState, EndpointSnapshot, Error,
    backoff::BackoffPolicy,
    balance::{self, Keeper},
    endpoint::{Endpoint, Live},
    resolve::ResolveError,
    site::Found,
};
use std::{collections::HashSet, sync::Arc};
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
    /// Takes `found` as the whole set; tells how that is another.
    pub(super) fn replace(
        &mut self,
        found: Vec<Found>,
        keeper: &Keeper,
        settings: &PoolSettings,
        now: Instant,
    ) -> Option<String> {
        self.unresolved = None;
        let mut found = some_of(found, keeper);
        let before = self.list.len();
        self.list.retain(|one| {
            let still = found.iter().position(|found| found.site == one.site);
            if let Some(still) = still {
                one.learn(found.swap_remove(still));
            }
            still.is_some()
        });
        let (gone, come) = (before - self.list.len(), found.len());
        let joins_others = !self.list.is_empty();
        // Whoever has no address any more is not begun with.
        let new = found.into_iter().filter(|found| !found.is_gone);
        let new = new.map(|found| {
            let replica = keeper.replica(now.into_std());
            let zone = settings.zone.clone();
            Arc::new(Endpoint::new(found, replica, zone, joins_others, now))
        });
        self.list.extend(new);
        self.list
            .sort_by(|a, b| a.site.address.cmp(&b.site.address));
        let is_other = gone > 0 || come > 0;
        let count = self.list.len();
        is_other.then(|| format!("{count} endpoints: {come} came, {gone} went"))
    }

    /// Those whose names have no address any more, and that cannot be connected to.
    pub(super) fn failing(&self, shards: &[Shard]) -> Vec<Arc<Endpoint>> {
        let members = || shards.iter().flat_map(Shard::members);
        let is_failing = |one: &&Arc<Endpoint>| {
            let mut of_it = members().filter(|member| Arc::ptr_eq(&member.endpoint, one));
            one.is_gone() && of_it.any(Member::is_failing)
        };
        self.list.iter().filter(is_failing).cloned().collect()
    }

    /// All are to be known anew.
    pub(super) fn forget(&mut self) {
        self.list.clear();
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, endpoint: &Arc<Endpoint>) {
        self.list.retain(|one| !Arc::ptr_eq(one, endpoint));
    }

    /// No endpoint is known, for this reason. Endpoints that are known stay.
    pub(super) fn unresolved(&mut self, error: ResolveError) {
        let hint = error.hint();
        let error = Error::connect("no endpoint is known")
            .with_source(error)
            .with_hint(hint);
        self.unresolved = Some(error);
    }

    pub(super) fn rest(&mut self) {
        self.unresolved = None;
    }

    /// Of the channel, by those of its endpoints.
    pub(super) fn state(&self, shards: &[Shard]) -> ConnectivityState {
        let members = || shards.iter().flat_map(Shard::members);
        let is_any_hopeful = members().any(|member| !member.is_failing());
        if members().any(Member::is_ready) {
            ConnectivityState::Ready
        } else if is_any_hopeful || (self.list.is_empty() && self.unresolved.is_none()) {
            ConnectivityState::Connecting
        } else {
            ConnectivityState::TransientFailure
        }
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

    /// What balancing sees of all.
    pub(super) fn members(&self, shards: &[Shard]) -> Vec<balance::Member> {
        let shards = shards.iter().flat_map(Shard::members);
        let ready: HashSet<_> = shards
            .filter(|member| member.is_ready())
            .map(|member| Arc::as_ptr(&member.endpoint))
            .collect();
        let endpoints = self.list.iter();
        endpoints
            .map(|one| one.member(ready.contains(&Arc::as_ptr(one))))
            .collect()
    }

    /// Each endpoint with its state and its connections.
    pub(super) fn subchannels(
        &self,
        shards: &[Shard],
    ) -> Vec<(Arc<Endpoint>, ConnectivityState, Vec<Arc<Live>>)> {
        let subchannel = |endpoint: &Arc<Endpoint>| {
            let members = shards.iter().flat_map(Shard::members);
            let members = members.filter(|member| Arc::ptr_eq(&member.endpoint, endpoint));
            let (mut state, mut lives) = (ConnectivityState::Idle, Vec::new());
            for member in members {
                let own = member.subchannel.state();
                if own.rank() > state.rank() {
                    state = own;
                }
                lives.extend(member.lives.iter().cloned());
            }
            (Arc::clone(endpoint), state, lives)
        };
        self.list.iter().map(subchannel).collect()
    }

    pub(super) fn snapshots(&self, shards: &[Shard], now: Instant) -> Vec<EndpointSnapshot> {
        let state = |endpoint| {
            shards
                .iter()
                .flat_map(Shard::members)
                .filter(|member| Arc::ptr_eq(&member.endpoint, endpoint))
                .map(|member| member.subchannel.state())
                .max_by_key(|state| state.rank())
                .unwrap_or(ConnectivityState::Idle)
        };
        self.list
            .iter()
            .map(|endpoint| endpoint.snapshot(state(endpoint), now))
            .collect()
    }
}

/// Those that this channel uses.
fn some_of(found: Vec<Found>, keeper: &Keeper) -> Vec<Found> {
    let Some(subset) = keeper.subset() else {
        return found;
    };
    let addresses = found.iter().map(|found| found.site.address.to_string());
    let addresses: Vec<_> = addresses.collect();
    let chosen = subset.choose(addresses.iter().map(String::as_str));
    let places = found.into_iter().enumerate();
    places
        .filter(|(place, _)| chosen.binary_search(place).is_ok())
        .map(|(_, found)| found)
        .collect()
}
