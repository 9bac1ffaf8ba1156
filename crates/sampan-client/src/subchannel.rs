//! What one endpoint's connection is doing, and when to try again.

use crate::backoff::{Backoff, BackoffPolicy};
use rand::Rng;
use std::{fmt, time::Duration};

/// Where the connection to an endpoint stands. Source: gRPC "Connectivity Semantics".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectivityState {
    /// Not connected, and nobody needs it now.
    Idle,
    /// Being connected.
    Connecting,
    /// Takes calls.
    Ready,
    /// Connecting failed; will be tried again after a wait.
    TransientFailure,
}

/// The state machine of one endpoint's connection.
#[derive(Clone, Debug)]
pub(crate) struct Subchannel {
    state: ConnectivityState,
    backoff: Backoff,
    /// Connecting again after a failure still counts as failed (gRFC A62), so that calls do not
    /// wait on an endpoint that is down.
    has_failed: bool,
}

// === impl ConnectivityState ===

impl ConnectivityState {
    /// Of several runtimes' connections, or several endpoints, the best counts.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::TransientFailure => 1,
            Self::Connecting => 2,
            Self::Ready => 3,
        }
    }
}

impl fmt::Display for ConnectivityState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "IDLE",
            Self::Connecting => "CONNECTING",
            Self::Ready => "READY",
            Self::TransientFailure => "TRANSIENT_FAILURE",
        })
    }
}

// === impl Subchannel ===

impl Subchannel {
    pub(crate) const fn new(policy: BackoffPolicy) -> Self {
        Self {
            state: ConnectivityState::Idle,
            backoff: Backoff::new(policy),
            has_failed: false,
        }
    }

    pub(crate) const fn state(&self) -> ConnectivityState {
        self.state
    }

    /// Whether calls should not wait for this endpoint.
    pub(crate) const fn is_failing(&self) -> bool {
        self.has_failed
    }

    pub(crate) const fn on_connect(&mut self) {
        self.state = ConnectivityState::Connecting;
    }

    pub(crate) const fn on_connected(&mut self) {
        self.state = ConnectivityState::Ready;
        self.has_failed = false;
    }

    /// Connecting failed: how long to wait before the next try.
    pub(crate) fn on_failed(&mut self, rng: &mut impl Rng) -> Duration {
        self.state = ConnectivityState::TransientFailure;
        self.has_failed = true;
        self.backoff.failed(rng)
    }

    /// It is connected, and says that it is not well.
    pub(crate) const fn on_unwell(&mut self) {
        self.state = ConnectivityState::TransientFailure;
        self.has_failed = true;
    }

    /// A connection takes no more calls, after it `lived` so long and answered some or none: how
    /// long to wait before the next.
    pub(crate) fn on_lost(
        &mut self,
        lived: Duration,
        has_answered: bool,
        rng: &mut impl Rng,
    ) -> Duration {
        self.state = ConnectivityState::Idle;
        // A server that takes connections only to drop them is not asked in a tight loop.
        if has_answered || lived >= self.backoff.policy().initial {
            self.backoff.reset();
            Duration::ZERO
        } else {
            self.backoff.failed(rng)
        }
    }

    /// Nobody uses the channel: the next user starts afresh.
    pub(crate) const fn on_rest(&mut self) {
        self.state = ConnectivityState::Idle;
        self.has_failed = false;
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::SmallRng};

    fn subchannel() -> (Subchannel, SmallRng) {
        let rng = SmallRng::seed_from_u64(7);
        (Subchannel::new(BackoffPolicy::IN_CLUSTER), rng)
    }

    #[test]
    fn a_failed_endpoint_counts_as_failing_until_it_is_ready_again() {
        let (mut subchannel, mut rng) = subchannel();
        subchannel.on_connect();
        assert!(!subchannel.is_failing());
        subchannel.on_failed(&mut rng);
        subchannel.on_connect();
        assert_eq!(subchannel.state(), ConnectivityState::Connecting);
        assert!(subchannel.is_failing());
        subchannel.on_connected();
        assert!(!subchannel.is_failing());
    }

    #[test]
    fn a_connection_that_was_of_use_is_replaced_at_once_and_others_are_waited_for() {
        let (mut subchannel, mut rng) = subchannel();
        let mut lost = |lived, has_answered| {
            subchannel.on_connect();
            subchannel.on_connected();
            subchannel.on_lost(Duration::from_millis(lived), has_answered, &mut rng)
        };
        let first = lost(0, false);
        assert!(first >= Duration::from_millis(40));
        assert!(lost(0, false) > first);
        assert_eq!(lost(60, false), Duration::ZERO);
        assert_eq!(lost(0, true), Duration::ZERO);
        assert!(lost(0, false) <= Duration::from_millis(60));
    }

    #[test]
    fn after_a_rest_nothing_is_held_against_the_endpoint() {
        let (mut subchannel, mut rng) = subchannel();
        for _ in 0..5 {
            subchannel.on_failed(&mut rng);
        }
        subchannel.on_rest();
        assert!(!subchannel.is_failing());
        assert!(subchannel.on_failed(&mut rng) <= Duration::from_millis(60));
    }
}
