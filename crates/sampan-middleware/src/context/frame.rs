//! The context of what this thread polls right now.

use super::{CallContext, Shared};
use http::HeaderMap;
use std::{cell::Cell, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a call that begins here takes from the one that is being handled.
#[derive(Debug, Default)]
pub struct Carried {
    /// How long it may take. Zero: there is no time left.
    pub left: Option<Duration>,
    /// Where it can outlive the handler: whom to ask whether the caller is still there. Otherwise
    /// it is dropped with the handler.
    pub detached: Option<CallContext>,
}

/// What is being polled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing that belongs to a call.
    #[default]
    Outside,
    /// A handler, or its response stream: what it holds is dropped with it.
    Handler,
    /// What was detached from one.
    Detached,
}

struct Frame {
    place: Cell<Place>,
    deadline: Cell<Option<Instant>>,
    /// Made when somebody asks.
    shared: Cell<Option<Arc<Shared>>>,
}

thread_local! {
    static FRAME: Frame = const {
        Frame {
            place: Cell::new(Place::Outside),
            deadline: Cell::new(None),
            shared: Cell::new(None),
        }
    };
}

/// Puts a context in place for as long as it lives, and what was there before back afterwards,
/// also when what is polled panics.
pub(super) struct Entered<'a> {
    shared: &'a mut Option<Arc<Shared>>,
    before: (Place, Option<Instant>, Option<Arc<Shared>>),
}

/// A handler may answer after the calls that it makes have failed for want of time.
const MARGIN_PART: u32 = 20;
const MAX_MARGIN: Duration = Duration::from_millis(5);

/// What a call of a channel that begins now takes from its surroundings; `headers` get the trace.
#[must_use]
pub fn carry(headers: &mut HeaderMap, now: Instant) -> Carried {
    // A thread that ends has none.
    let carried = FRAME.try_with(|frame| {
        if frame.place.get() == Place::Outside {
            return Carried::default();
        }
        frame.carry(headers, now)
    });
    carried.unwrap_or_default()
}

pub(super) fn current() -> CallContext {
    let context = FRAME.try_with(|frame| {
        if frame.place.get() == Place::Outside {
            return CallContext::default();
        }
        let shared = frame.shared.take();
        let shared = shared.unwrap_or_else(|| Shared::new(frame.deadline.get(), Vec::new()));
        frame.shared.set(Some(Arc::clone(&shared)));
        CallContext {
            shared: Some(shared),
        }
    });
    context.unwrap_or_default()
}

// === impl Frame ===

impl Frame {
    #[cold]
    fn carry(&self, headers: &mut HeaderMap, now: Instant) -> Carried {
        let context = CallContext {
            shared: self.shared.take(),
        };
        context.trace(headers);
        let is_detached = self.place.get() == Place::Detached;
        let detached = is_detached.then(|| context.clone());
        self.shared.set(context.shared);
        Carried {
            left: self.deadline.get().map(|at| {
                let left = at.saturating_duration_since(now);
                rounded_down(left - (left / MARGIN_PART).min(MAX_MARGIN))
            }),
            detached,
        }
    }
}

/// To three digits: on the wire a time is rounded up to so many, which must not make it longer than
/// the handled call's.
fn rounded_down(left: Duration) -> Duration {
    let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
    let unit = 10_u64.pow(nanos.max(1).ilog10().saturating_sub(2));
    Duration::from_nanos(nanos - nanos % unit)
}

// === impl Entered ===

impl<'a> Entered<'a> {
    pub(super) fn new(
        place: Place,
        deadline: Option<Instant>,
        shared: &'a mut Option<Arc<Shared>>,
    ) -> Self {
        let before = FRAME.try_with(|frame| {
            (
                frame.place.replace(place),
                frame.deadline.replace(deadline),
                frame.shared.replace(shared.take()),
            )
        });
        Self {
            shared,
            before: before.unwrap_or_default(),
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let (place, deadline, shared) = std::mem::take(&mut self.before);
        let left = FRAME.try_with(|frame| {
            frame.place.set(place);
            frame.deadline.set(deadline);
            frame.shared.replace(shared)
        });
        *self.shared = left.unwrap_or_default();
    }
}
