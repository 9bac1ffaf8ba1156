//! The times at which a connection has to be looked at, with one timer for all.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// What there is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Whether the connection is in use.
    Look,
    /// The client takes nothing.
    Stall,
    /// GOAWAY must have been heard by now.
    Goaway,
    /// The connection is old.
    Age,
    /// It is old, and was told.
    Grace,
    /// The client was silent.
    Keepalive,
    /// Nothing was called for a while.
    Rest,
}

/// One timer. Setting an alarm costs nothing unless it is the next.
#[derive(Debug)]
pub(super) struct Alarms {
    began: Instant,
    /// In nanoseconds since then: half as long as instants that may be none.
    at: [u64; ALL.len()],
    timer: Pin<Box<Sleep>>,
}

const ALL: [Alarm; 7] = [
    Alarm::Look,
    Alarm::Stall,
    Alarm::Goaway,
    Alarm::Age,
    Alarm::Grace,
    Alarm::Keepalive,
    Alarm::Rest,
];

const OFF: u64 = u64::MAX;

// === impl Alarms ===

impl Alarms {
    /// Alarms of which the first is to look.
    pub(super) fn new(look: Instant) -> Self {
        let mut alarms = Self {
            began: Instant::now(),
            at: [OFF; ALL.len()],
            timer: Box::pin(sleep_until(look)),
        };
        alarms.set(Alarm::Look, Some(look));
        alarms
    }

    pub(super) fn set(&mut self, alarm: Alarm, at: Option<Instant>) {
        self.at[alarm as usize] = at.map_or(OFF, |at| self.since(at));
        if let Some(at) = at
            && at < self.timer.deadline()
        {
            self.timer.as_mut().reset(at);
        }
    }

    pub(super) const fn is_set(&self, alarm: Alarm) -> bool {
        self.at[alarm as usize] != OFF
    }

    fn since(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos()).unwrap_or(OFF)
    }

    /// The next alarm that is due, which is off from then on, and its time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Alarm, Instant)> {
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Late after a pause of the process: what follows is counted from now.
            let now = self.timer.deadline().max(Instant::now());
            let elapsed = self.since(now);
            for alarm in ALL {
                if self.at[alarm as usize] <= elapsed {
                    self.at[alarm as usize] = OFF;
                    return Poll::Ready((alarm, now));
                }
            }
            // None is due: it was moved to a later time.
            let next = self.at.into_iter().min().filter(|next| *next != OFF);
            let Some(next) = next else {
                return Poll::Pending;
            };
            let next = self.began + Duration::from_nanos(next);
            self.timer.as_mut().reset(next);
        }
    }
}
