//! Decides what happens when between the first signal and the end of the process.
//!
//! signal → health NOT_SERVING → lame duck (balancers notice, calls are still taken) → stop
//! accepting and GOAWAY → open calls end → done; whatever is left at the cap, or at a second
//! signal, is aborted.

use std::time::{Duration, Instant};

/// Where a drain stands.
#[derive(Debug)]
pub(crate) struct Drain {
    lame_duck: Duration,
    cap: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Serving,
    LameDuck { until: Instant, end: Instant },
    Finishing { end: Instant },
    Aborted,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell health checks and /ready that this server goes.
    ReportNotServing,
    /// Close the listeners and send GOAWAY on every connection.
    StopAccepting,
    /// Drop what is still open.
    Abort,
}

// === impl Drain ===

impl Drain {
    /// A drain that takes at most `cap`, of which the first `lame_duck` still takes new calls.
    pub(crate) const fn new(lame_duck: Duration, cap: Duration) -> Self {
        Self {
            lame_duck,
            cap,
            state: State::Serving,
        }
    }

    pub(crate) fn on_signal(&mut self, now: Instant) -> Option<Step> {
        match self.state {
            State::Serving => {
                let lame_duck = self.lame_duck.min(self.cap);
                self.state = State::LameDuck {
                    until: now + lame_duck,
                    end: now + self.cap,
                };
                Some(Step::ReportNotServing)
            }
            State::LameDuck { .. } | State::Finishing { .. } => {
                self.state = State::Aborted;
                Some(Step::Abort)
            }
            State::Aborted => None,
        }
    }

    /// The next step, when its time has come.
    pub(crate) fn on_time(&mut self, now: Instant) -> Option<Step> {
        match self.state {
            State::LameDuck { until, end } if now >= until => {
                self.state = State::Finishing { end };
                Some(Step::StopAccepting)
            }
            State::Finishing { end } if now >= end => {
                self.state = State::Aborted;
                Some(Step::Abort)
            }
            _ => None,
        }
    }

    /// When [`on_time`](Self::on_time) has to be asked next.
    pub(crate) const fn wake_at(&self) -> Option<Instant> {
        match self.state {
            State::Serving | State::Aborted => None,
            State::LameDuck { until, .. } => Some(until),
            State::Finishing { end } => Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_drain_goes_through_its_steps_in_order() {
        let start = Instant::now();
        let mut drain = Drain::new(5 * SECOND, 25 * SECOND);
        assert_eq!(drain.wake_at(), None);
        assert_eq!(drain.on_time(start), None);
        assert_eq!(drain.on_signal(start), Some(Step::ReportNotServing));
        assert_eq!(drain.wake_at(), Some(start + 5 * SECOND));
        assert_eq!(drain.on_time(start + 4 * SECOND), None);
        assert_eq!(drain.on_time(start + 5 * SECOND), Some(Step::StopAccepting));
        assert_eq!(drain.wake_at(), Some(start + 25 * SECOND));
        assert_eq!(drain.on_time(start + 24 * SECOND), None);
        assert_eq!(drain.on_time(start + 25 * SECOND), Some(Step::Abort));
        assert_eq!(drain.wake_at(), None);
    }

    #[test]
    fn a_second_signal_aborts_at_once() {
        let start = Instant::now();
        for waited in [0, 6] {
            let mut drain = Drain::new(5 * SECOND, 25 * SECOND);
            drain.on_signal(start);
            drain.on_time(start + waited * SECOND);
            assert_eq!(drain.on_signal(start + 7 * SECOND), Some(Step::Abort));
            assert_eq!(drain.on_signal(start + 8 * SECOND), None);
            assert_eq!(drain.on_time(start + 60 * SECOND), None);
        }
    }

    #[test]
    fn the_lame_duck_never_outlives_the_cap() {
        let start = Instant::now();
        let mut drain = Drain::new(30 * SECOND, SECOND);
        drain.on_signal(start);
        assert_eq!(drain.on_time(start + SECOND), Some(Step::StopAccepting));
        assert_eq!(drain.on_time(start + SECOND), Some(Step::Abort));
    }
}
