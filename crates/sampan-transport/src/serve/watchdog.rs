//! Decides when a connection that does nothing has to go.

use super::{Millis, ServeError, ServeSettings};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// What has happened on a connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    began: AtomicBool,
    calls: AtomicUsize,
    open: AtomicUsize,
}

/// A call that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenCall(Arc<Activity>);

/// Looks at a connection now and then. Calls only count; they never read the clock.
#[derive(Debug)]
pub(crate) struct Watchdog {
    idle_timeout: Option<Millis>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The client may take so long to say something.
    Beginning(Duration),
    /// The calls begun before the last look; None when one was open then.
    Serving(Option<usize>),
    Leaving,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    LookAgain(Instant),
    GoAway(Instant),
    Close(ServeError),
}

/// How long a client without calls may take to leave after GOAWAY.
const TIME_TO_LEAVE: Duration = Duration::from_secs(10);

/// As good as never, and within what timers take.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

// === impl Activity ===

impl Activity {
    pub(super) fn open_call(self: &Arc<Self>) -> OpenCall {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenCall(Arc::clone(self))
    }

    pub(super) fn has_begun(&self) {
        self.began.store(true, Ordering::Relaxed);
    }

    /// As it is now, by a driver that counts itself.
    pub(crate) const fn of(has_begun: bool, calls: usize, open: usize) -> Self {
        Self {
            began: AtomicBool::new(has_begun),
            calls: AtomicUsize::new(calls),
            open: AtomicUsize::new(open),
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Watchdog ===

impl Watchdog {
    pub(crate) fn new(settings: &ServeSettings) -> Self {
        Self {
            idle_timeout: settings.idle_timeout.map(Millis::from),
            state: State::Beginning(settings.preface_timeout),
        }
    }

    /// When a connection is looked at that begins `now`.
    pub(crate) fn first_look(&self, now: Instant) -> Instant {
        match self.state {
            State::Beginning(limit) => now + limit,
            State::Serving(_) | State::Leaving => now,
        }
    }

    pub(crate) fn look(&mut self, now: Instant, activity: &Activity) -> Verdict {
        let calls = activity.calls.load(Ordering::Relaxed);
        let is_open = activity.open.load(Ordering::Relaxed) > 0;
        match self.state {
            State::Beginning(limit) if calls == 0 && !activity.began.load(Ordering::Relaxed) => {
                Verdict::Close(ServeError::PrefaceTimeout(limit))
            }
            State::Serving(Some(before)) if calls == before => {
                self.state = State::Leaving;
                Verdict::GoAway(now + TIME_TO_LEAVE)
            }
            State::Beginning(_) | State::Serving(_) => {
                self.state = State::Serving((!is_open).then_some(calls));
                Verdict::LookAgain(now + self.idle_timeout.map_or(NEVER, Duration::from))
            }
            // Calls that crossed the GOAWAY are finished first.
            State::Leaving if is_open => Verdict::LookAgain(now + TIME_TO_LEAVE),
            State::Leaving => Verdict::Close(ServeError::KeptOpen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> (Watchdog, Arc<Activity>) {
        let activity = Arc::new(Activity::default());
        let watchdog = Watchdog::new(&ServeSettings::default());
        (watchdog, activity)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_connection_that_sends_nothing_is_closed() {
        let (mut watchdog, activity) = watched();
        let first = watchdog.first_look(Instant::now());
        assert!(matches!(
            watchdog.look(first, &activity),
            Verdict::Close(ServeError::PrefaceTimeout(_))
        ));
    }

    #[test]
    fn a_connection_goes_after_a_whole_period_without_calls() {
        let (mut watchdog, activity) = watched();
        activity.has_begun();
        let mut now = watchdog.first_look(Instant::now());
        let mut look = |now: &mut Instant| {
            let verdict = watchdog.look(*now, &activity);
            if let Verdict::LookAgain(at) | Verdict::GoAway(at) = verdict {
                *now = at;
            }
            verdict
        };
        let started = now;
        assert!(matches!(look(&mut now), Verdict::LookAgain(_)));
        assert_eq!(now - started, 5 * MINUTE);

        // A call that came and went, then one that stays open.
        drop(activity.open_call());
        assert!(matches!(look(&mut now), Verdict::LookAgain(_)));
        let open = activity.open_call();
        assert!(matches!(look(&mut now), Verdict::LookAgain(_)));
        assert!(matches!(look(&mut now), Verdict::LookAgain(_)));
        drop(open);

        // It ended just now: the whole period begins here.
        assert!(matches!(look(&mut now), Verdict::LookAgain(_)));
        assert!(matches!(look(&mut now), Verdict::GoAway(_)));
        let late = activity.open_call();
        assert!(matches!(look(&mut now), Verdict::LookAgain(_)));
        drop(late);
        assert!(matches!(
            look(&mut now),
            Verdict::Close(ServeError::KeptOpen)
        ));
    }
}
