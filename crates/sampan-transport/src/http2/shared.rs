//! What callers, handlers, bodies and the driver of one connection share.

use super::{
    handover::{Handover, Step},
    io::Writer,
};
use crate::{
    ResetReason, TransportError,
    budget::{Charge, MemoryBudget},
    inbox::{End, Failure, Inbox, Wish},
    overlap,
};
use bytes::{Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use sampan_h2::{Connection, HIGH_WATER, Key, Output, Reason, ResponseHead, Role, Settings};
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) driver: AtomicWaker,
    pub(crate) writer: Writer,
    pub(crate) budget: MemoryBudget,
    /// A stream has ended, or the server allows more. Of a client.
    pub(crate) room: Option<Box<Notify>>,
    /// Whether no further call is taken. Of a client.
    pub(crate) closed: Option<watch::Sender<bool>>,
}

/// Under the lock nothing waits and no code of users runs.
pub(crate) struct State {
    pub(crate) engine: Connection<Slot>,
    pub(crate) handover: Handover,
    /// What the driver still has to write, or an empty output to reuse.
    pub(crate) batch: Output,
    /// Bytes that have been given to a writer since the beginning.
    pub(crate) taken: u64,
    /// How often something was appended since then.
    appended: u32,
    /// Why the connection is gone.
    pub(crate) gone: Option<Box<TransportError>>,
    /// Nobody can start calls any more.
    pub(crate) is_orphan: bool,
    /// Somebody waits for room.
    pub(crate) is_awaited: bool,
    /// For what nobody reads. Of a server.
    charge: Charge,
    /// Bytes that have come and were not read. Of a server; not of requests that came whole.
    unread: usize,
    /// The next ones are worth a look for whoever waits for streams to drain.
    drained: Vec<Key>,
}

/// What is kept with each stream.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) inbox: Inbox,
    /// Of a response.
    pub(crate) head: Option<ResponseHead>,
    /// Whoever waits to send more.
    pub(crate) sender: Option<Waker>,
    /// When the last of a response came.
    pub(crate) ended_at: Option<std::time::Instant>,
    /// Where in all that was ever written the stream begins.
    pub(crate) begins_at: u64,
    /// The task of a handler that did not answer at once.
    pub(crate) handler: Option<AbortHandle>,
}

/// Tasks to wake when the lock is free again.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Vec<Waker>);

/// A caller that finds so many streams open writes by itself; with more the driver writes for all.
const ALONE: usize = 1;

/// So many requests, or so many bytes of them, do not wait for the driver where the peer works on
/// them meanwhile.
const MANY: u32 = 32;
const MUCH: usize = 16 << 10;

// === impl Shared ===

impl Shared {
    pub(crate) fn new(
        role: Role,
        settings: Settings,
        writer: Writer,
        budget: MemoryBudget,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                engine: Connection::new(role, settings),
                handover: Handover::default(),
                batch: Output::default(),
                taken: 0,
                appended: 0,
                gone: None,
                is_orphan: false,
                is_awaited: false,
                charge: Charge::new(budget.clone()),
                unread: 0,
                drained: Vec::new(),
            }),
            driver: AtomicWaker::new(),
            writer,
            budget,
            room: (role == Role::Client).then(Box::default),
            closed: (role == Role::Client).then(|| watch::Sender::new(false)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under it; a panic of our own left the engine as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that what was appended leaves: by this thread when it is alone, otherwise by
    /// the driver, once for everybody.
    pub(crate) fn flush<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if state.engine.output().is_empty() {
            return;
        }
        let is_alone = state.engine.open_streams() <= ALONE;
        state.appended += 1;
        let len = state.engine.output().len();
        // Long requests make up for a write each.
        let is_long = len / MUCH >= state.appended as usize;
        let is_much = state.appended >= MANY || len >= MUCH;
        let is_much = is_much && (is_long || len >= HIGH_WATER || overlap::pays());
        let may_write = self.writer.is_shared() && (is_alone || is_much);
        match state.handover.appended(may_write) {
            Step::Nothing => return,
            Step::WakeDriver => {
                drop(state);
                return self.driver.wake();
            }
            Step::Write => {}
        }
        let mut wakes = Wakes::default();
        loop {
            let mut batch = state.take_batch();
            state.wake_drained(&mut wakes);
            state.notice_room(self);
            drop(state);
            wakes.wake();
            let written = self.writer.try_write_out(&mut batch);
            state = self.lock();
            state.batch = batch;
            if let Err(error) = written {
                // The driver waits, or meets the same error and ends the connection.
                tracing::trace!(%error, "left to the driver");
                state.handover.is_blocked_now();
                drop(state);
                return self.driver.wake();
            }
            let has_more = !state.engine.output().is_empty();
            if !state.handover.wrote(has_more) {
                return;
            }
        }
    }

    /// Asks the driver to write what was appended.
    pub(crate) fn ask_driver(&self, mut state: MutexGuard<'_, State>) {
        if !state.engine.output().is_empty() && state.handover.appended(false) == Step::WakeDriver {
            drop(state);
            self.driver.wake();
        }
    }

    /// Lets go of a stream; what is told to the peer leaves by the driver.
    pub(crate) fn release(&self, key: Key) {
        self.release_from(self.lock(), key);
    }

    /// As [`release`](Self::release), by somebody who looked at the stream just now.
    pub(crate) fn release_from(&self, mut state: MutexGuard<'_, State>, key: Key) {
        if let Some(slot) = state.engine.user_mut(key) {
            slot.inbox.close();
            let sender = slot.sender.take();
            state.engine.release(key);
            state.notice_room(self);
            let is_over = state.is_orphan && state.engine.open_streams() == 0;
            if is_over {
                drop(state);
                self.driver.wake();
            } else {
                self.ask_driver(state);
            }
            // Its body is sent by a task that has to end.
            if let Some(sender) = sender {
                sender.wake();
            }
        }
    }

    /// Has what stands still [charged for](State::settle).
    pub(crate) fn settle(&self, mut state: MutexGuard<'_, State>) {
        let mut wakes = Wakes::default();
        let handlers = state.settle(&mut wakes);
        self.flush(state);
        for handler in handlers {
            handler.abort();
        }
        wakes.wake();
    }

    /// Whether no further call is taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.as_ref().is_some_and(|closed| *closed.borrow())
    }

    /// Wakes whoever waits for a stream.
    pub(crate) fn tell_of_room(&self) {
        if let Some(room) = &self.room {
            room.notify_waiters();
        }
    }

    /// No further call is taken.
    pub(crate) fn close(&self) {
        if let Some(closed) = &self.closed {
            closed.send_replace(true);
        }
    }

    /// Ends all streams, and the connection with them.
    pub(crate) fn fail_all(&self, cause: TransportError) {
        let mut wakes = Wakes::default();
        let mut handlers = Vec::new();
        {
            let mut state = self.lock();
            let taken = state.taken;
            for (_, slot) in state.engine.users_mut() {
                // Bytes that no writer has seen cannot have left.
                let failure = if slot.begins_at >= taken && slot.head.is_none() {
                    Failure::Unsent(cause.clone())
                } else {
                    Failure::Broken(cause.clone())
                };
                slot.inbox.end(End::Failed(failure));
                wakes.add(slot.inbox.reader.take());
                wakes.add(slot.sender.take());
                handlers.extend(slot.handler.take());
            }
            state.gone.get_or_insert_with(|| Box::new(cause));
            state.engine.output_mut().clear();
            state.batch = Output::default();
            state.handover.end();
        }
        self.close();
        self.tell_of_room();
        for handler in handlers {
            handler.abort();
        }
        wakes.wake();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    /// Takes what is to be written.
    pub(crate) fn take_batch(&mut self) -> Output {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            self.engine.take_output(&mut batch);
            self.taken += batch.len() as u64;
            self.appended = 0;
        }
        batch
    }

    /// Bytes of answers that the client's socket and the connection's window have not taken. What
    /// waits for the window of its own stream stops nobody else, and is [charged](Self::needs_settling):
    /// unless new streams could not be answered either.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let shut = if self.engine.opens_windows() {
            self.engine.shut_bytes()
        } else {
            0
        };
        self.engine.queued_bytes() - shut + self.engine.output().len() + self.batch.len()
    }

    /// What is kept for streams that somebody does not read.
    const fn standing_bytes(&self) -> usize {
        self.engine.shut_bytes() + self.unread + self.engine.header_bytes()
    }

    /// Whether the budget has to hear of what stands still.
    pub(crate) const fn needs_settling(&self) -> bool {
        self.charge.needs_settling(self.standing_bytes())
    }

    /// Charges the budget for what stands still. Where it has no room, the streams that hold most
    /// are reset, except the only one while the process has plenty: one large answer always passes.
    /// Gives the handlers that are to be ended.
    pub(crate) fn settle(&mut self, wakes: &mut Wakes) -> Vec<AbortHandle> {
        let mut handlers = Vec::new();
        while !self.charge.settle(self.standing_bytes()) {
            let unread = |(key, slot): (Key, &mut Slot)| (slot.inbox.unread(), key);
            let mut holders: Vec<_> = self.engine.users_mut().map(unread).collect();
            for (bytes, key) in &mut holders {
                *bytes += self.engine.shut(*key);
            }
            holders.retain(|(bytes, _)| *bytes > 0);
            if holders.len() == 1 && !self.charge.is_short() {
                break;
            }
            let Some((bytes, key)) = holders.into_iter().max_by_key(|(bytes, _)| *bytes) else {
                break;
            };
            tracing::debug!(bytes, "no memory is left for a stream that nobody reads");
            self.engine.reset(key, Reason::ENHANCE_YOUR_CALM);
            let Some(slot) = self.engine.user_mut(key) else {
                break;
            };
            let reason = ResetReason::EnhanceYourCalm;
            slot.inbox.cut(Failure::Reset { reason });
            slot.inbox.note(&mut self.unread);
            wakes.add(slot.inbox.reader.take());
            wakes.add(slot.sender.take());
            let handler = slot.handler.take();
            if handler.is_none() {
                self.release(key);
            }
            handlers.extend(handler);
        }
        handlers
    }

    /// Whether a request that has come is one too many: what is kept of headers has no room.
    pub(crate) fn must_refuse(&mut self) -> bool {
        self.needs_settling()
            && !self.charge.settle(self.standing_bytes())
            && !self.charge.covers(self.engine.header_bytes())
    }

    /// Notes what has come on a stream of a server, or was read.
    pub(crate) fn note(&mut self, key: Key) {
        if let Some(slot) = self.engine.user_mut(key) {
            slot.inbox.note(&mut self.unread);
        }
    }

    /// Lets go of a stream of a server.
    pub(crate) fn release(&mut self, key: Key) {
        // One that still sends stays for that.
        if (self.unread > 0 || self.engine.queued_bytes() > 0)
            && let Some(slot) = self.engine.user_mut(key)
        {
            slot.inbox.leave(&mut self.unread);
        }
        self.engine.release(key);
    }

    /// Gives memory back that a quiet connection does not need.
    pub(crate) fn trim(&mut self) {
        self.engine.trim();
        self.batch.release();
        self.drained = Vec::new();
    }

    /// Where the next bytes stand in all that was ever written.
    pub(crate) fn position(&self) -> u64 {
        self.taken + self.engine.output().len() as u64
    }

    /// Tells whoever waits for a stream that there is one.
    pub(crate) fn notice_room(&mut self, shared: &Shared) {
        if self.is_awaited && self.engine.has_room() {
            self.is_awaited = false;
            shared.tell_of_room();
        }
    }

    /// Takes data of a stream in.
    pub(crate) fn take_data(
        &mut self,
        key: Key,
        data: Bytes,
        is_end: bool,
        budget: &MemoryBudget,
        wakes: &mut Wakes,
    ) {
        let is_server = self.engine.role() == Role::Server;
        let Some(slot) = self.engine.user_mut(key) else {
            return;
        };
        let wish = slot.inbox.push(data, budget);
        if is_end {
            slot.inbox.end(End::Data);
        }
        // Nearly all requests are whole at once, and are taken whole.
        if is_server && (!is_end || slot.inbox.is_noted()) {
            slot.inbox.note(&mut self.unread);
        }
        wakes.add(slot.inbox.reader.take());
        match wish {
            Wish::Nothing => {}
            Wish::Expect(len) => self.engine.expect(key, len),
            // A server's handler still answers.
            Wish::Refuse(_) if is_server => {}
            Wish::Refuse(_) => self.engine.reset(key, Reason::CANCEL),
        }
    }

    /// Takes a message back to which `len` bytes were read.
    pub(crate) fn take_back(&mut self, key: Key, message: BytesMut, len: usize, wakes: &mut Wakes) {
        let is_end = self.engine.arrived(len);
        let Some(slot) = self.engine.user_mut(key) else {
            return;
        };
        let is_whole = slot.inbox.take_back(message);
        if slot.inbox.is_noted() {
            slot.inbox.note(&mut self.unread);
        }
        if is_end {
            slot.inbox.end(End::Data);
        }
        if is_whole || is_end {
            wakes.add(slot.inbox.reader.take());
        }
    }

    /// Ends a stream in both directions.
    pub(crate) fn end(&mut self, key: Key, end: End, wakes: &mut Wakes) -> Option<AbortHandle> {
        let slot = self.engine.user_mut(key)?;
        let has_failed = matches!(end, End::Failed(_));
        slot.inbox.end(end);
        wakes.add(slot.inbox.reader.take());
        if has_failed {
            wakes.add(slot.sender.take());
            return slot.handler.take();
        }
        None
    }

    /// Wakes whoever can send more.
    pub(crate) fn wake_drained(&mut self, wakes: &mut Wakes) {
        if !self.engine.has_drained() {
            return;
        }
        let mut drained = std::mem::take(&mut self.drained);
        self.engine.take_drained(&mut drained);
        for key in drained.drain(..) {
            if let Some(slot) = self.engine.user_mut(key) {
                wakes.add(slot.sender.take());
            }
        }
        self.drained = drained;
    }
}

// === impl Wakes ===

impl Wakes {
    pub(crate) fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn wake(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}
