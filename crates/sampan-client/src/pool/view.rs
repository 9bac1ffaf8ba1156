//! What calls see of a pool.

use super::{Live, shard::Local};
use crate::{
    Error,
    balance::{CallInfo, Pick, Picker},
};
use std::sync::Arc;
use tokio::{runtime, sync::Notify};

/// What one runtime's calls see, never changed once they can see it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) runtime: runtime::Id,
    pub(super) local: Arc<Local>,
    pub(super) ready: Vec<Ready>,
    /// Chooses among those that are ready; none while none is.
    pub(super) picker: Option<Arc<dyn Picker>>,
    /// Whether it chooses also where there is one alone.
    pub(super) is_asked_always: bool,
    /// Why no endpoint can be had, when none can.
    pub(super) failure: Option<Error>,
}

/// An endpoint that is connected.
#[derive(Debug)]
pub(super) struct Ready {
    /// Never empty. Calls fill the first before they take the next, so that those which are
    /// not needed any more fall idle.
    pub(super) lives: Vec<Arc<Live>>,
    /// Asks for one more connection.
    pub(super) more: Arc<Notify>,
}

/// So often another endpoint is asked for.
const PICKS: usize = 16;

// === impl View ===

impl View {
    /// The view of the runtime that this is called on. A thread of no runtime may use any
    /// runtime's connections.
    pub(super) fn here(views: &[Self]) -> Option<&Self> {
        match runtime::Handle::try_current() {
            Ok(here) => views.iter().find(|view| view.runtime == here.id()),
            Err(_) => views.first(),
        }
    }

    /// Picks until it is an endpoint that a call was not tried on, a few times: a picker that
    /// leaves it to chance or takes turns soon gives one; another has a reason for its choice.
    pub(super) fn pick_another(&self, call: &CallInfo<'_>, pick: impl Fn() -> Pick) -> Pick {
        let is_tried = |index: &usize| {
            let live = self.ready.get(*index).and_then(|ready| ready.lives.first());
            live.is_some_and(|live| call.was_tried_on(&live.endpoint.replica))
        };
        let mut picked = pick();
        for _ in 0..PICKS {
            match &picked {
                Pick::Ready(index, _) if is_tried(index) => picked = pick(),
                _ => break,
            }
        }
        picked
    }
}

// === impl Ready ===

impl Ready {
    pub(super) fn alive(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.lives
            .iter()
            .filter(|live| !live.connection.is_closed())
    }
}
