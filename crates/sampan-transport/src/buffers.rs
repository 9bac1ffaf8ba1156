//! Read buffers of a thread: an idle connection holds none.

use bytes::BytesMut;
use std::cell::RefCell;

thread_local! {
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// What one read takes at most, unless a larger frame is being read.
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Buffers that a thread keeps.
const KEPT: usize = 4;

/// Makes room for a read in `buffer`, which was read to its end.
pub(crate) fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() == 0 {
        *buffer = FREE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES));
    }
    // Takes the whole buffer again, if nobody reads from it any more, or makes a new one.
    buffer.reserve(READ_BYTES);
}

/// Gives an empty buffer back.
pub(crate) fn give(buffer: BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    FREE.with_borrow_mut(|free| {
        // One that grew for a large frame is not kept.
        if free.len() < KEPT && buffer.capacity() <= 2 * READ_BYTES {
            free.push(buffer);
        }
    });
}
