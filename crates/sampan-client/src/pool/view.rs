//! What calls see of a pool.

use super::Live;
use crate::{Error, balance::Pick};
use std::sync::Arc;

/// One state of the pool, never changed once calls can see it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) ready: Vec<Arc<Live>>,
    /// Why no endpoint can be had, when none can.
    pub(super) failure: Option<Error>,
}

// === impl View ===

impl View {
    pub(super) const fn idle() -> Self {
        Self {
            ready: Vec::new(),
            failure: None,
        }
    }

    /// What to do when no ready endpoint is alive.
    pub(super) fn otherwise(&self) -> Pick {
        match &self.failure {
            Some(error) => Pick::Fail(error.clone()),
            None => Pick::Queue,
        }
    }
}
