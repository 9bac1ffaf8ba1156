//! Bounds how much may be under way towards one service, so that a slow one does not take the
//! caller's memory and connections with it.
//!
//! Who meets a bound fails at once with UNAVAILABLE, and is not tried again (A32: a drop).
//!
//! Source: gRFC A32; Envoy, "circuit breaking".

use sampan_wire::Code;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How much may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitLimits {
    /// Calls that were given to a connection. Default 1024.
    pub calls: usize,
    /// Calls that wait for one. Default 1024.
    pub pending: usize,
    /// Connections, to all endpoints. Each endpoint has one all the same. Default 1024.
    pub connections: usize,
}

/// Counts what is under way.
#[derive(Debug)]
pub struct CircuitBreaker {
    limits: CircuitLimits,
    calls: AtomicUsize,
    pending: AtomicUsize,
    connections: AtomicUsize,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A call that was given to a connection.
    Call,
    /// A call that waits for one.
    Pending,
    /// A connection.
    Connection,
}

/// A place among those under way, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the place back"]
pub struct Entered<'a> {
    breaker: &'a CircuitBreaker,
    load: Load,
}

/// There is no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit breaker open: {limit} {} under way already", .load.name())]
pub struct CircuitOpen {
    /// Of what.
    pub load: Load,
    /// How many there may be.
    pub limit: usize,
}

// === impl CircuitLimits ===

impl Default for CircuitLimits {
    fn default() -> Self {
        Self {
            calls: 1024,
            pending: 1024,
            connections: 1024,
        }
    }
}

// === impl CircuitBreaker ===

impl CircuitBreaker {
    /// Nothing is under way yet.
    #[must_use]
    pub const fn new(limits: CircuitLimits) -> Self {
        Self {
            limits,
            calls: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub fn enter(&self, load: Load) -> Result<Entered<'_>, CircuitOpen> {
        let (count, limit) = self.counter(load);
        // Taken first: two at a time never both take the last place.
        if count.fetch_add(1, Relaxed) < limit {
            let breaker = self;
            return Ok(Entered { breaker, load });
        }
        count.fetch_sub(1, Relaxed);
        Err(CircuitOpen { load, limit })
    }

    /// Gives a place back that was [kept](Entered::keep).
    pub(crate) fn leave(&self, load: Load) {
        self.counter(load).0.fetch_sub(1, Relaxed);
    }

    /// How much is under way now.
    #[must_use]
    pub fn count(&self, load: Load) -> usize {
        self.counter(load).0.load(Relaxed)
    }

    const fn counter(&self, load: Load) -> (&AtomicUsize, usize) {
        match load {
            Load::Call => (&self.calls, self.limits.calls),
            Load::Pending => (&self.pending, self.limits.pending),
            Load::Connection => (&self.connections, self.limits.connections),
        }
    }
}

// === impl Entered ===

impl Entered<'_> {
    /// Keeps the place beyond this guard.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.breaker.leave(self.load);
    }
}

// === impl CircuitOpen ===

impl CircuitOpen {
    /// What a call ends with that meets a bound.
    pub const CODE: Code = Code::Unavailable;
}

// === impl Load ===

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::Call => "calls",
            Self::Pending => "waiting calls",
            Self::Connection => "connections",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_has_a_bound_of_its_own_that_names_itself() {
        let limits = CircuitLimits {
            calls: 1,
            pending: 0,
            connections: 2,
        };
        let breaker = CircuitBreaker::new(limits);
        let call = breaker.enter(Load::Call).unwrap();
        let open = breaker.enter(Load::Call).unwrap_err();
        assert_eq!(
            open.to_string(),
            "circuit breaker open: 1 calls under way already"
        );
        assert!(breaker.enter(Load::Pending).is_err());
        let connections = [
            breaker.enter(Load::Connection),
            breaker.enter(Load::Connection),
        ];
        assert!(connections.iter().all(Result::is_ok));
        drop(call);
        assert!(breaker.enter(Load::Call).is_ok());
    }

    #[test]
    fn threads_never_hold_more_than_the_bound() {
        let limits = CircuitLimits {
            calls: 3,
            ..CircuitLimits::default()
        };
        let breaker = CircuitBreaker::new(limits);
        let most = AtomicUsize::new(0);
        let held = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if let Ok(_entered) = breaker.enter(Load::Call) {
                            most.fetch_max(held.fetch_add(1, Relaxed) + 1, Relaxed);
                            held.fetch_sub(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert!(most.load(Relaxed) <= 3);
        assert_eq!(breaker.count(Load::Call), 0);
    }

    proptest! {
        #[test]
        fn places_are_given_as_long_as_there_are_some(
            limit in 0usize..5,
            steps in prop::collection::vec(any::<bool>(), 0..40),
        ) {
            let limits = CircuitLimits { calls: limit, ..CircuitLimits::default() };
            let breaker = CircuitBreaker::new(limits);
            let mut held = Vec::new();
            for enters in steps {
                if enters {
                    let entered = breaker.enter(Load::Call);
                    prop_assert_eq!(entered.is_ok(), held.len() < limit);
                    held.extend(entered.ok());
                } else {
                    held.pop();
                }
                prop_assert_eq!(breaker.count(Load::Call), held.len());
            }
        }
    }
}
