//! Decides when a replica that is down is started again.

use std::time::{Duration, Instant};

/// What the keeper knows about its replica, and so when to start it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How long it stays down after a kill that was asked for; without it until asked for.
    revive: Option<Duration>,
    state: State,
    /// Deaths in a row that came soon after the start.
    early_deaths: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running { since: Instant },
    Down { until: Option<Instant> },
}

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A replica that ran this long starts without a wait that has grown.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

// === impl Plan ===

impl Plan {
    /// Down, and due at once.
    pub(super) fn new(revive: Option<Duration>, now: Instant) -> Self {
        Self {
            revive,
            state: State::Down { until: Some(now) },
            early_deaths: 0,
        }
    }

    /// When to start it; nothing while it runs or is to stay down.
    pub(super) fn start_at(&self) -> Option<Instant> {
        match self.state {
            State::Running { .. } => None,
            State::Down { until } => until,
        }
    }

    pub(super) fn on_start(&mut self, now: Instant) {
        self.state = State::Running { since: now };
    }

    /// It was killed because somebody asked for it.
    pub(super) fn on_kill(&mut self, now: Instant) {
        self.early_deaths = 0;
        self.state = State::Down {
            until: self.revive.map(|wait| now + wait),
        };
    }

    /// It ended by itself.
    pub(super) fn on_death(&mut self, now: Instant) {
        if let State::Running { since } = self.state
            && now.duration_since(since) >= LONG_ENOUGH
        {
            self.early_deaths = 0;
        }
        // 2^5 is past the longest wait.
        let wait = FIRST_WAIT * (1 << self.early_deaths.min(5));
        self.early_deaths += 1;
        self.state = State::Down {
            until: Some(now + wait.min(LONGEST_WAIT)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_after_death(plan: &mut Plan, ran: Duration) -> Duration {
        let now = plan.start_at().unwrap();
        plan.on_start(now);
        plan.on_death(now + ran);
        plan.start_at().unwrap() - (now + ran)
    }

    #[test]
    fn a_replica_that_keeps_dying_waits_longer_and_longer() {
        let mut plan = Plan::new(None, Instant::now());
        let waits: Vec<_> = (0..7)
            .map(|_| wait_after_death(&mut plan, Duration::ZERO).as_millis())
            .collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(wait_after_death(&mut plan, LONG_ENOUGH), FIRST_WAIT);
    }

    #[test]
    fn a_killed_replica_stays_down_until_it_is_revived() {
        let now = Instant::now();
        let mut plan = Plan::new(None, now);
        plan.on_start(now);
        assert_eq!(plan.start_at(), None);
        plan.on_kill(now);
        assert_eq!(plan.start_at(), None);

        let minute = Duration::from_secs(60);
        let mut plan = Plan::new(Some(minute), now);
        plan.on_start(now);
        plan.on_kill(now);
        assert_eq!(plan.start_at(), Some(now + minute));
    }
}
