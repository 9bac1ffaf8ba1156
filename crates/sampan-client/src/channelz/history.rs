//! The latest events.

use super::{Severity, Trace, TraceEvent};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// What happened to something since it was made.
#[derive(Debug)]
pub(crate) struct History {
    created: SystemTime,
    events: Mutex<Events>,
}

#[derive(Debug, Default)]
struct Events {
    logged: u64,
    latest: VecDeque<TraceEvent>,
}

const KEPT: usize = 32;

// === impl History ===

impl History {
    pub(crate) fn new() -> Self {
        Self {
            created: SystemTime::now(),
            events: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, description: impl Into<String>) {
        self.log(Severity::Info, description.into());
    }

    pub(crate) fn warn(&self, description: impl Into<String>) {
        self.log(Severity::Warning, description.into());
    }

    fn log(&self, severity: Severity, description: String) {
        let event = TraceEvent {
            at: SystemTime::now(),
            severity,
            description,
        };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.logged += 1;
        if events.latest.len() == KEPT {
            events.latest.pop_front();
        }
        events.latest.push_back(event);
    }

    pub(crate) fn trace(&self) -> Trace {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        Trace {
            created: self.created,
            events_logged: events.logged,
            events: events.latest.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_events_are_kept_and_all_are_counted() {
        let history = History::new();
        for n in 0..40 {
            history.note(n.to_string());
        }
        history.warn("last");
        let trace = history.trace();
        assert_eq!((trace.events_logged, trace.events.len()), (41, 32));
        assert_eq!(trace.events[0].description, "9");
        let last = &trace.events[31];
        assert_eq!(
            (last.severity, &*last.description),
            (Severity::Warning, "last")
        );
    }
}
