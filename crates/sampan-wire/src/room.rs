//! How much of a body can leave: told by whoever polls it, without a parameter through all that
//! stands between.

use std::cell::Cell;

thread_local! {
    static ROOM: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Polls a body of which `bytes` can leave now.
pub fn with_room<R>(bytes: usize, poll: impl FnOnce() -> R) -> R {
    struct Reset(usize);
    impl Drop for Reset {
        fn drop(&mut self) {
            ROOM.set(self.0);
        }
    }
    let _reset = Reset(ROOM.replace(bytes));
    poll()
}

/// How many bytes can leave of the body that is polled here. Those that it gives beyond them wait
/// in memory. `usize::MAX` where nobody has said.
#[must_use]
pub fn room() -> usize {
    ROOM.get()
}
