//! The time, read once for what happens together.
//!
//! A reading costs as much as sending a small message within the process does. A connection of a
//! server reads it when it takes bytes in; the calls among them began then, and each is over
//! when the next one's turn begins.

use std::cell::Cell;
use tokio::time::Instant;

thread_local! {
    /// Only while a connection of this thread is at work.
    static LATEST: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The reading before anything of that was worked on.
    static TAKEN_IN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Ends what [`take_in`] began: the connection's task waits again.
pub(crate) struct AtWork;

/// The latest reading of the connection that this code runs in, or the time where there is none.
#[must_use]
pub fn recent() -> Instant {
    LATEST.get().unwrap_or_else(Instant::now)
}

/// When the connection that this code runs in took in what it is working on. None where there is
/// none.
#[must_use]
pub fn taken_in() -> Option<Instant> {
    TAKEN_IN.get()
}

/// The time; what follows in this connection takes it for [`recent`].
#[must_use]
pub fn look() -> Instant {
    let now = Instant::now();
    if LATEST.get().is_some() {
        LATEST.set(Some(now));
    }
    now
}

/// The time, at which bytes are taken in. Needs an [`AtWork`] that outlives the work.
pub(crate) fn take_in() -> Instant {
    let now = Instant::now();
    LATEST.set(Some(now));
    TAKEN_IN.set(Some(now));
    now
}

// === impl AtWork ===

impl Drop for AtWork {
    fn drop(&mut self) {
        LATEST.set(None);
        TAKEN_IN.set(None);
    }
}
