//! What is read from a socket.

use super::shared::{Shared, Wakes};
use crate::buffers;
use bytes::{BufMut, BytesMut};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Bytes for the engine. Those of a long message are read past it, to where they belong.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) bytes: BytesMut,
    /// What the next read takes at most. When a long message has come, what follows is likely another
    /// one, of which only the beginning is read here.
    most: Option<usize>,
}

/// What is read after a long message, to see what comes next.
const AFTER_BULK: usize = 4 << 10;

// === impl Input ===

impl Input {
    pub(crate) fn new(bytes: BytesMut) -> Self {
        Self { bytes, most: None }
    }

    /// Reads once, and says how much: nothing is the end.
    pub(crate) fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        shared: &Shared,
        wakes: &mut Wakes,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.is_empty() {
            if let Some(read) = self.poll_read_past(io, shared, wakes, cx) {
                return read;
            }
            buffers::make_room(&mut self.bytes);
        } else {
            let missing = shared.lock().engine.missing(&self.bytes);
            self.bytes.reserve(missing.max(buffers::READ_BYTES / 2));
        }
        let most = self.most.take().unwrap_or(usize::MAX);
        poll_read_buf(Pin::new(io), cx, &mut (&mut self.bytes).limit(most))
    }

    /// Reads to the message that is arriving, if there is one.
    fn poll_read_past<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        shared: &Shared,
        wakes: &mut Wakes,
        cx: &mut Context<'_>,
    ) -> Option<Poll<io::Result<usize>>> {
        let mut state = shared.lock();
        let (key, left) = state.engine.arriving()?;
        let inbox = &mut state.engine.user_mut(key)?.inbox;
        let Some((mut message, room)) = inbox.lend(left) else {
            if inbox.is_long() {
                self.most = Some(left + AFTER_BULK);
            }
            return None;
        };
        drop(state);
        let read = poll_read_buf(Pin::new(io), cx, &mut (&mut message).limit(room));
        let len = match read {
            Poll::Ready(Ok(len)) => len,
            _ => 0,
        };
        shared.lock().take_back(key, message, len, wakes);
        wakes.wake();
        self.most = Some(AFTER_BULK);
        Some(read)
    }

    /// Gives the buffer back that is not needed while nothing comes.
    pub(crate) fn rest(&mut self) {
        if self.bytes.is_empty() {
            buffers::give(std::mem::take(&mut self.bytes));
        }
    }
}
