//! What a thread lends to those of its connections that have calls. A quiet one holds none of it,
//! from its first moment on: memory that was given back later would leave holes.

use crate::http2::shared::{Slot, State};
use sampan_h2::{Key, Memory, RequestHead};
use std::{cell::RefCell, collections::VecDeque, mem};

/// Requests that wait for the service.
pub(super) type Fresh = VecDeque<(Key, RequestHead)>;

#[derive(Default)]
struct Spare {
    memory: Memory<Slot>,
    batch: Vec<u8>,
    fresh: Fresh,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// Room for requests that a thread keeps.
const KEPT: usize = 64;

/// Lends a connection what it needs for calls.
pub(super) fn take(state: &mut State, fresh: &mut Fresh) {
    SPARE.with_borrow_mut(|spare| spare.exchange(state, fresh));
}

/// Takes it back from one that has none. What another has given back meanwhile goes.
pub(super) fn give(state: &mut State, fresh: &mut Fresh) {
    SPARE.with_borrow_mut(|spare| {
        *spare = Spare::default();
        spare.exchange(state, fresh);
        if spare.fresh.capacity() > KEPT {
            spare.fresh = Fresh::new();
        }
    });
}

// === impl Spare ===

impl Spare {
    fn exchange(&mut self, state: &mut State, fresh: &mut Fresh) {
        state.engine.exchange_memory(&mut self.memory);
        state.batch.exchange(&mut self.batch);
        if fresh.is_empty() {
            mem::swap(&mut self.fresh, fresh);
        }
    }
}
