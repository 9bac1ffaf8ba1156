//! The endpoints of a channel, whatever runtimes are connected to them.

use super::{PoolSettings, member::Member, shard::Shard};
use crate::{
    ConnectivityState, EndpointSnapshot, Error,
    backoff::BackoffPolicy,
    balance::{self, Connects, Keeper, Subset},
    endpoint::{Endpoint, Live},
    resolve::ResolveError,
    site::{Found, Site},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// In the order of the latest answer that counts.
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
        let found = some_of(found, &keeper.subset(settings.max_endpoints));
        let key = |site: &Site| (site.address.clone(), Arc::as_ptr(&site.route));
        let known = self.list.drain(..).map(|one| (key(&one.site), one));
        let mut known: HashMap<_, _> = known.collect();
        let joins_others = found.iter().any(|one| known.contains_key(&key(&one.site)));
        let mut come = 0;
        for found in found {
            if let Some(one) = known.remove(&key(&found.site)) {
                one.learn(found);
                self.list.push(one);
            } else if !found.is_gone {
                // Whoever has no address any more is not begun with.
                come += 1;
                let replica = keeper.replica(now.into_std());
                let zone = settings.zone.clone();
                let new = Endpoint::new(found, replica, zone, joins_others, now);
                self.list.push(Arc::new(new));
            }
        }
        let gone = known.len();
        let is_other = gone > 0 || come > 0;
        // Policies that spread calls do not begin anew because a name server shuffled its answer.
        if is_other || keeper.connects() != Connects::All {
            let places = self.list.iter().enumerate();
            places.for_each(|(place, one)| one.set_place(place));
        }
        self.list.sort_by_key(|one| one.place());
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

    /// In the order of their addresses.
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
        let mut list: Vec<_> = self.list.iter().collect();
        list.sort_by(|a, b| a.site.address.cmp(&b.site.address));
        list.into_iter()
            .map(|endpoint| endpoint.snapshot(state(endpoint), now))
            .collect()
    }
}

/// Those that this channel uses.
fn some_of(found: Vec<Found>, subset: &Subset) -> Vec<Found> {
    if found.len() <= subset.size {
        return found;
    }
    let addresses = found.iter().map(|found| found.site.address.to_string());
    let addresses: Vec<_> = addresses.collect();
    let chosen = subset.choose(addresses.iter().map(String::as_str));
    let places = found.into_iter().enumerate();
    places
        .filter(|(place, _)| chosen.binary_search(place).is_ok())
        .map(|(_, found)| found)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Balance, balance::Balancing, resolve::ResolvedAddress, site::Route};
    use std::sync::LazyLock;

    fn found(ports: impl IntoIterator<Item = u16>) -> Vec<Found> {
        static ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| Arc::new(Route::plain()));
        let found = ports.into_iter().map(|port| {
            let (address, traits) = ResolvedAddress::new(([10, 0, 0, 1], port)).into_parts();
            let route = Arc::clone(&ROUTE);
            Found {
                site: Site { address, route },
                traits,
                is_gone: false,
            }
        });
        found.collect()
    }

    #[tokio::test]
    async fn of_more_endpoints_than_a_channel_may_have_it_uses_the_same_ones_in_any_order() {
        let keeper = Keeper::new(Balancing::default(), None);
        let settings = PoolSettings {
            max_endpoints: 3,
            ..PoolSettings::default()
        };
        let mut endpoints = Endpoints::default();
        let mut count = |ports: Vec<u16>| {
            let change = endpoints.replace(found(ports), &keeper, &settings, Instant::now());
            (endpoints.list().len(), change.is_some())
        };
        assert_eq!(count((1..=3).collect()), (3, true));
        assert_eq!(count((1..=20).collect()).0, 3);
        assert_eq!(count((1..=20).rev().collect()), (3, false));
    }

    #[tokio::test]
    async fn a_shuffled_answer_is_followed_only_where_one_endpoint_is_connected() {
        let answers: [&[u16]; 3] = [&[3, 1, 2], &[2, 3, 1], &[4, 2, 3]];
        for (balance, orders) in [
            (Balance::PickFirst, answers),
            (Balance::RoundRobin, [answers[0], answers[0], answers[2]]),
        ] {
            let keeper = Keeper::new(Balancing::by(balance), None);
            let mut endpoints = Endpoints::default();
            for (answer, order) in answers.into_iter().zip(orders) {
                let settings = PoolSettings::default();
                endpoints.replace(found(answer.to_vec()), &keeper, &settings, Instant::now());
                let labels: Vec<_> = endpoints.list().iter().map(|one| one.label()).collect();
                let expected = order.iter().map(|port| format!("10.0.0.1:{port}"));
                assert_eq!(labels, expected.collect::<Vec<_>>());
            }
        }
    }
}
