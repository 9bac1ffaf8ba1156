//! What a call passes before it is sent: the bounds that its channel's settings draw.
//!
//! Whoever finds no room fails at once, so that a slow service does not pile up calls here, and
//! is not tried again: no attempt was made.

use crate::{
    failure::Failure,
    policy::{CircuitBreaker, CircuitLimits, CircuitOpen, Entered, Load},
};
use rand::Rng;
use sampan_middleware::{
    Ended,
    overload::{AdaptiveConcurrency, AdaptiveSettings, RateExceeded, RateLimit},
};
use std::{
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tonic::Code;

/// Which bounds there are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct GateSettings {
    pub(crate) circuit: Option<CircuitLimits>,
    pub(crate) adaptive: Option<AdaptiveSettings>,
    /// Calls a second, and at once.
    pub(crate) rate: Option<(f64, u32)>,
}

/// The bounds of a channel that has some.
#[derive(Debug)]
pub(crate) struct Gate {
    circuit: CircuitBreaker,
    adaptive: Option<Mutex<AdaptiveConcurrency>>,
    rate: Option<RateLimit>,
    began: Instant,
}

/// A call has passed: when, in microseconds of the gate's own clock, which begins anew every 71
/// minutes. Small, for every call has room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed(NonZeroU32);

// === impl Gate ===

impl Gate {
    pub(crate) fn new(settings: &GateSettings, now: Instant) -> Option<Self> {
        if *settings == GateSettings::default() {
            return None;
        }
        let unlimited = CircuitLimits {
            calls: usize::MAX,
            pending: usize::MAX,
            connections: usize::MAX,
        };
        let adaptive = |settings| Mutex::new(AdaptiveConcurrency::new(settings, now));
        Some(Self {
            circuit: CircuitBreaker::new(settings.circuit.unwrap_or(unlimited)),
            adaptive: settings.adaptive.map(adaptive),
            rate: settings
                .rate
                .map(|(per_second, burst)| RateLimit::new(per_second, burst, now)),
            began: now,
        })
    }

    /// A call wants to begin; it tells when it has [`left`](Self::left).
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub(crate) fn pass(&self, now: Instant) -> Result<Passed, Failure> {
        let entered = self.circuit.enter(Load::Call)?;
        if let Some(adaptive) = &self.adaptive {
            let others = self.circuit.count(Load::Call).saturating_sub(1);
            let others = u32::try_from(others).unwrap_or(u32::MAX);
            let adaptive = lock(adaptive);
            if !adaptive.admits(others) {
                let limit = adaptive.limit();
                let what = format!("adaptive limit reached: {limit} calls under way already");
                return Err(Failure::fault(Code::Unavailable, what));
            }
        }
        if let Some(rate) = &self.rate {
            rate.admit(now)?;
        }
        entered.keep();
        let micros = NonZeroU32::new(self.micros(now)).unwrap_or(NonZeroU32::MIN);
        Ok(Passed(micros))
    }

    pub(crate) fn left(&self, passed: Passed, ended: Ended, now: Instant, rng: &mut impl Rng) {
        self.circuit.leave(Load::Call);
        // Others say nothing of how long the service takes, or look faster than it is.
        let is_telling = match ended {
            Ended::Status(code) => !matches!(code, Code::Unavailable | Code::ResourceExhausted),
            Ended::Failed(code) => code == Code::DeadlineExceeded,
            Ended::Dropped => false,
        };
        if let (Some(adaptive), true) = (&self.adaptive, is_telling) {
            let elapsed = self.micros(now).wrapping_sub(passed.0.get());
            let elapsed = Duration::from_micros(elapsed.into());
            let started = now.checked_sub(elapsed).unwrap_or(now);
            lock(adaptive).ended(started, now, rng);
        }
    }

    /// A call has to wait for an endpoint, until the guard is dropped.
    ///
    /// # Errors
    ///
    /// When enough wait already.
    pub(crate) fn wait(&self) -> Result<Entered<'_>, Failure> {
        Ok(self.circuit.enter(Load::Pending)?)
    }

    fn micros(&self, now: Instant) -> u32 {
        let micros = now.saturating_duration_since(self.began).as_micros();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "only differences are looked at"
        )]
        let micros = micros as u32;
        micros
    }
}

fn lock(adaptive: &Mutex<AdaptiveConcurrency>) -> MutexGuard<'_, AdaptiveConcurrency> {
    // No code that can panic runs under it.
    adaptive.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Failure ===

impl From<CircuitOpen> for Failure {
    fn from(open: CircuitOpen) -> Self {
        Self::fault(Code::Unavailable, open.to_string())
    }
}

impl From<RateExceeded> for Failure {
    fn from(exceeded: RateExceeded) -> Self {
        Self::Told(exceeded.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::SmallRng};

    #[test]
    fn without_settings_there_is_no_gate() {
        assert!(Gate::new(&GateSettings::default(), Instant::now()).is_none());
    }

    #[test]
    fn who_does_not_pass_takes_no_place() {
        let now = Instant::now();
        let settings = GateSettings {
            rate: Some((1.0, 1)),
            ..GateSettings::default()
        };
        let gate = Gate::new(&settings, now).unwrap();
        gate.pass(now).unwrap();
        assert_eq!(gate.pass(now).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(gate.circuit.count(Load::Call), 1);
    }

    #[test]
    fn an_adaptive_bound_learns_from_what_a_service_worked_on() {
        let mut now = Instant::now();
        let settings = GateSettings {
            adaptive: Some(AdaptiveSettings::default()),
            ..GateSettings::default()
        };
        let gate = Gate::new(&settings, now).unwrap();
        let mut rng = SmallRng::seed_from_u64(5);
        let mut run = |ended, times| {
            for _ in 0..times {
                let passed = gate.pass(now).unwrap();
                now += Duration::from_millis(10);
                gate.left(passed, ended, now, &mut rng);
            }
            lock(gate.adaptive.as_ref().unwrap()).limit()
        };
        assert_eq!(run(Ended::Status(Code::Unavailable), 500), 3);
        assert_eq!(run(Ended::Dropped, 500), 3);
        assert!(run(Ended::Status(Code::NotFound), 500) > 100);
        let full = lock(gate.adaptive.as_ref().unwrap()).limit();
        let passed: Vec<_> = (0..=full).map(|_| gate.pass(now)).collect();
        assert!(passed[..full as usize].iter().all(Result::is_ok));
        let refused = passed[full as usize].as_ref().unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
    }
}
