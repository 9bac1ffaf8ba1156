//! The times at which a connection has to be looked at, with one timer for all.

use std::{
    pin::Pin,
    task::{Context, Poll},
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
    at: [Option<Instant>; ALL.len()],
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

// === impl Alarms ===

impl Alarms {
    /// Alarms of which the first is to look.
    pub(super) fn new(look: Instant) -> Self {
        let mut at = [None; ALL.len()];
        at[Alarm::Look as usize] = Some(look);
        Self {
            at,
            timer: Box::pin(sleep_until(look)),
        }
    }

    pub(super) fn set(&mut self, alarm: Alarm, at: Option<Instant>) {
        self.at[alarm as usize] = at;
        if let Some(at) = at
            && at < self.timer.deadline()
        {
            self.timer.as_mut().reset(at);
        }
    }

    pub(super) const fn is_set(&self, alarm: Alarm) -> bool {
        self.at[alarm as usize].is_some()
    }

    /// The next alarm that is due, which is off from then on, and its time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Alarm, Instant)> {
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Late after a pause of the process: what follows is counted from now.
            let now = self.timer.deadline().max(Instant::now());
            for alarm in ALL {
                if self.at[alarm as usize].is_some_and(|at| at <= now) {
                    self.at[alarm as usize] = None;
                    return Poll::Ready((alarm, now));
                }
            }
            // None is due: it was moved to a later time.
            let Some(next) = self.at.iter().flatten().min() else {
                return Poll::Pending;
            };
            self.timer.as_mut().reset(*next);
        }
    }
}
