//! What the gateway remembers of the catalog's replicas.
//!
//! The channel forgets an endpoint that its name no longer has. The dashboard shall go on
//! showing one that was killed, so that it can be started again.

use crate::proto::ReplicaState;
use sampan::client::{ConnectivityState, EndpointSnapshot};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Every replica seen of late, by its address.
#[derive(Debug, Default)]
pub(super) struct Fleet(BTreeMap<String, Replica>);

/// What the channel says of an endpoint at one look.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    address: String,
    state: ConnectivityState,
    in_flight: u32,
    attempts: u64,
    failed_attempts: u64,
    p50: Option<Duration>,
    p99: Option<Duration>,
}

/// What is remembered of one replica.
#[derive(Debug)]
struct Replica {
    /// When the channel last had it.
    seen: Instant,
    /// What the channel last said of it.
    last: Sighting,
    /// What it counted before the channel forgot it for a while.
    attempts_before: u64,
    failed_before: u64,
    /// Attempts at recent looks, the oldest first.
    looks: VecDeque<(Instant, u64)>,
    /// What was asked for here.
    delay: Duration,
    was_killed: bool,
}

/// How long a replica that the channel no longer has is remembered.
const MEMORY: Duration = Duration::from_secs(300);
const MAX_REPLICAS: usize = 64;
/// The time that a rate is taken over.
const RATE_OVER: Duration = Duration::from_secs(1);

// === impl Fleet ===

impl Fleet {
    /// Takes in what the channel sees now.
    pub(super) fn observe(&mut self, now: Instant, sightings: Vec<Sighting>) {
        for sighting in sightings {
            if let Some(replica) = self.0.get_mut(&sighting.address) {
                replica.seen = now;
                replica.last = sighting;
            } else if self.0.len() < MAX_REPLICAS {
                self.0
                    .insert(sighting.address.clone(), Replica::new(now, sighting));
            }
        }
        self.0
            .retain(|_, replica| now.duration_since(replica.seen) < MEMORY);
        for replica in self.0.values_mut() {
            if replica.seen < now {
                replica.miss();
            }
            replica.look(now);
        }
    }

    /// All replicas, by address.
    pub(super) fn states(&self) -> Vec<ReplicaState> {
        self.0.values().map(Replica::shown).collect()
    }

    /// Whether there is, or was of late, such a replica.
    pub(super) fn knows(&self, address: &str) -> bool {
        self.0.contains_key(address)
    }

    /// It was slowed by so much.
    pub(super) fn on_slowed(&mut self, address: &str, delay: Duration) {
        if let Some(replica) = self.0.get_mut(address) {
            replica.delay = delay;
        }
    }

    /// It was killed, and its delay with it.
    pub(super) fn on_killed(&mut self, address: &str) {
        if let Some(replica) = self.0.get_mut(address) {
            replica.was_killed = true;
            replica.delay = Duration::ZERO;
        }
    }

    /// It was started.
    pub(super) fn on_started(&mut self, address: &str) {
        if let Some(replica) = self.0.get_mut(address) {
            replica.was_killed = false;
        }
    }
}

// === impl Sighting ===

impl From<EndpointSnapshot> for Sighting {
    fn from(endpoint: EndpointSnapshot) -> Self {
        Self {
            state: endpoint.state,
            in_flight: endpoint.in_flight,
            attempts: endpoint.attempts,
            failed_attempts: endpoint.failed_attempts,
            p50: endpoint.p50,
            p99: endpoint.p99,
            address: endpoint.address,
        }
    }
}

// === impl Replica ===

impl Replica {
    fn new(now: Instant, sighting: Sighting) -> Self {
        Self {
            seen: now,
            last: sighting,
            attempts_before: 0,
            failed_before: 0,
            looks: VecDeque::new(),
            delay: Duration::ZERO,
            was_killed: false,
        }
    }

    /// The channel does not have it now. If it comes back it counts from zero.
    fn miss(&mut self) {
        self.attempts_before += std::mem::take(&mut self.last.attempts);
        self.failed_before += std::mem::take(&mut self.last.failed_attempts);
        self.last.in_flight = 0;
        self.last.state = ConnectivityState::TransientFailure;
        self.last.p50 = None;
        self.last.p99 = None;
    }

    fn look(&mut self, now: Instant) {
        self.looks.push_back((now, self.attempts()));
        // Keeps one look that is old enough to compare with.
        while self
            .looks
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OVER)
        {
            self.looks.pop_front();
        }
    }

    fn attempts(&self) -> u64 {
        self.attempts_before + self.last.attempts
    }

    /// Attempts a second between the oldest and the newest look.
    fn rate(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.looks.front(), self.looks.back())
        else {
            return 0.0;
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        // An attempt that never left is taken back, so the count may go down.
        let attempts = after.saturating_sub(*before);
        if seconds > 0.0 {
            attempts as f64 / seconds
        } else {
            0.0
        }
    }

    fn state(&self) -> ConnectivityState {
        // Without calls the channel has no reason to find out.
        if self.was_killed && self.last.state == ConnectivityState::Idle {
            ConnectivityState::TransientFailure
        } else {
            self.last.state
        }
    }

    fn shown(&self) -> ReplicaState {
        let millis = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64() * 1_000.0;
        ReplicaState {
            address: self.last.address.clone(),
            state: self.state().to_string(),
            in_flight: self.last.in_flight,
            attempts: self.attempts(),
            failed_attempts: self.failed_before + self.last.failed_attempts,
            rate: self.rate(),
            p50_millis: millis(self.last.p50),
            p99_millis: millis(self.last.p99),
            // At most the ten seconds that a replica takes.
            delay: prost_types::Duration::try_from(self.delay).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectivityState::{Idle, Ready, TransientFailure};

    const A: &str = "10.0.0.1:50051";

    fn sighting(state: ConnectivityState, attempts: u64) -> Sighting {
        Sighting {
            address: A.to_owned(),
            state,
            in_flight: 1,
            attempts,
            failed_attempts: 0,
            p50: Some(Duration::from_micros(1_500)),
            p99: None,
        }
    }

    fn only(fleet: &Fleet) -> ReplicaState {
        let mut states = fleet.states();
        assert_eq!(states.len(), 1);
        states.remove(0)
    }

    #[test]
    fn a_rate_is_taken_over_the_last_second() {
        let (mut fleet, start) = (Fleet::default(), Instant::now());
        for (half_seconds, attempts) in [(0, 0), (1, 50), (2, 100), (3, 100), (4, 100)] {
            fleet.observe(
                start + half_seconds * RATE_OVER / 2,
                vec![sighting(Ready, attempts)],
            );
            let rate = only(&fleet).rate;
            let expected = match half_seconds {
                0 | 4 => 0.0,
                3 => 50.0,
                _ => 100.0,
            };
            assert_eq!(rate, expected, "after {half_seconds} half seconds");
        }
        assert_eq!(only(&fleet).p50_millis, 1.5);
    }

    #[test]
    fn a_replica_that_is_gone_is_shown_for_five_minutes_and_counts_on_when_it_is_back() {
        let (mut fleet, start) = (Fleet::default(), Instant::now());
        fleet.observe(start, vec![sighting(Ready, 7)]);
        fleet.observe(start + Duration::from_secs(1), vec![]);
        let gone = only(&fleet);
        assert_eq!(
            (gone.state.as_str(), gone.attempts),
            ("TRANSIENT_FAILURE", 7)
        );
        assert_eq!(gone.in_flight, 0);

        fleet.observe(start + Duration::from_secs(299), vec![sighting(Ready, 1)]);
        assert_eq!(only(&fleet).attempts, 8);
        fleet.observe(start + Duration::from_secs(299) + MEMORY, vec![]);
        assert!(fleet.states().is_empty() && !fleet.knows(A));
    }

    #[test]
    fn a_killed_replica_is_not_shown_as_idle_until_it_is_started() {
        let (mut fleet, start) = (Fleet::default(), Instant::now());
        fleet.observe(start, vec![sighting(Idle, 0)]);
        assert_eq!(only(&fleet).state, "IDLE");
        fleet.on_slowed(A, Duration::from_secs(1));
        fleet.on_killed(A);
        let killed = only(&fleet);
        assert_eq!(killed.state, TransientFailure.to_string());
        assert_eq!(killed.delay, Some(prost_types::Duration::default()));
        fleet.on_started(A);
        assert_eq!(only(&fleet).state, "IDLE");
    }
}
