//! The client's side of a connection.

use super::{
    input::Input,
    io::{self, Io, Reader},
    outgoing::Outgoing,
    shared::{Shared, Slot, Wakes},
    stream::StreamBody,
};
use crate::{
    ClientHttp2Settings, Incoming, ResetReason, Spoken, TransportError,
    budget::MemoryBudget,
    connection::{CallError, CallHead, NotStarted, Payload, WhyNot},
    inbox::{End, Failure},
    overlap,
};
use bytes::Bytes;
use http::{HeaderName, Method};
use sampan_h2::{Event, Key, NotOpened, Reason, RequestFields, Role, Settings};
use sampan_wire::timeout;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::AsyncWrite as _,
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};

#[cfg(test)]
mod tests;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The connection as its users hold it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// The response to come. Dropped before, it cancels the call.
pub(crate) struct Reply {
    shared: Arc<Shared>,
    key: Key,
    is_over: bool,
    /// When the last of an answer came that came whole.
    pub(crate) ended_at: Option<std::time::Instant>,
}

/// The task that reads, and writes what callers leave to it.
struct Driver {
    shared: Arc<Shared>,
    reader: Reader,
    input: Input,
    begun: Option<oneshot::Sender<Spoken>>,
    keepalive: Option<Keepalive>,
    /// What is said when the server is leaving.
    leaving: Option<TransportError>,
    /// On a runtime of many threads, a task that is woken by another goes first; the driver lets
    /// others append before it writes.
    lets_others_first: bool,
    has_waited: bool,
    must_flush: bool,
    wakes: Wakes,
}

/// Pings a quiet connection. Source: gRFC A8.
struct Keepalive {
    interval: Duration,
    timeout: Duration,
    while_idle: bool,
    timer: Pin<Box<Sleep>>,
    /// When something came last, if anything has since the timer was set.
    heard_at: Option<Instant>,
    waits: bool,
}

/// A shorter time between keepalive pings is taken for this.
const MIN_KEEPALIVE: Duration = Duration::from_secs(1);

/// Reads in a row before other tasks have a turn.
const MAX_READS: usize = 8;

/// Starts HTTP/2 over `io`. The receiver hears what the server speaks once it has said something.
pub(crate) fn start<T: Io + 'static>(
    io: T,
    settings: &ClientHttp2Settings,
) -> (Arc<Handle>, oneshot::Receiver<Spoken>) {
    let (reader, writer) = io::split(io);
    let mut engine = Settings::default();
    engine.stream_window = settings.initial_stream_window_bytes;
    engine.connection_window = settings.initial_connection_window_bytes;
    engine.max_header_list_bytes = settings.max_header_list_bytes;
    engine.max_frame_bytes = settings.max_frame_bytes;
    let budget = MemoryBudget::new(usize::MAX);
    let shared = Arc::new(Shared::new(Role::Client, engine, writer, budget));
    let (begun, heard) = oneshot::channel();
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    let keepalive_interval = settings.keepalive_interval.map(|i| i.max(MIN_KEEPALIVE));
    let driver = Driver {
        shared: Arc::clone(&shared),
        reader,
        input: Input::default(),
        begun: Some(begun),
        keepalive: keepalive_interval.map(|interval| Keepalive {
            interval,
            timeout: settings.keepalive_timeout,
            while_idle: settings.keepalive_while_idle,
            timer: Box::pin(sleep_until(Instant::now() + interval)),
            heard_at: None,
            waits: false,
        }),
        leaving: None,
        lets_others_first: flavor != tokio::runtime::RuntimeFlavor::CurrentThread,
        has_waited: false,
        must_flush: false,
        wakes: Wakes::default(),
    };
    tokio::spawn(driver);
    (Arc::new(Handle { shared }), heard)
}

/// Up to three digits: calls that have the same time left but for microseconds then have the same
/// head, which both ends remember. Never nothing: the caller's timer ends the call.
fn rounded(left: Duration) -> Duration {
    let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX).max(1);
    let unit = 10_u64.pow(nanos.ilog10().saturating_sub(2));
    Duration::from_nanos(nanos.div_ceil(unit).saturating_mul(unit))
}

// === impl Handle ===

impl Handle {
    pub(crate) fn start<B>(
        &self,
        head: &CallHead<'_>,
        payload: Payload<'_, B>,
    ) -> Result<Reply, NotStarted<B>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let route = head.route;
        let some: Vec<_>;
        let fixed = if head.headers.is_empty() {
            &route.fixed[..]
        } else {
            // What the caller has set itself stands.
            let sets = |(name, _): &(HeaderName, _)| head.headers.contains_key(name);
            if route.fixed.iter().any(sets) {
                let others = route.fixed.iter().filter(|field| !sets(field));
                some = others.cloned().collect();
                &some[..]
            } else {
                &route.fixed[..]
            }
        };
        let mut last = [("", &b""[..]); 2];
        let mut count = 0;
        let (mut time, mut attempts) = ([0; timeout::MAX_LEN], itoa::Buffer::new());
        if let Some(left) = head.timeout {
            last[count] = ("grpc-timeout", timeout::write(rounded(left), &mut time));
            count += 1;
        }
        if head.previous_attempts > 0 {
            let attempts = attempts.format(head.previous_attempts).as_bytes();
            last[count] = ("grpc-previous-rpc-attempts", attempts);
            count += 1;
        }
        let fields = RequestFields {
            method: &Method::POST,
            scheme: route.scheme.as_str(),
            authority: &route.authority,
            path: head.path.as_str(),
            fixed,
            headers: head.headers,
            last: &last[..count],
        };
        let mut state = self.shared.lock();
        if state.gone.is_some() {
            drop(state);
            return Err(payload.not_started(WhyNot::Closed));
        }
        let begins_at = state.position();
        let set_up = |slot: &mut Slot| slot.begins_at = begins_at;
        let key = match state.engine.open(&fields, false, set_up) {
            Ok(key) => key,
            Err(why) => {
                let why = match why {
                    NotOpened::Full => {
                        state.is_awaited = true;
                        WhyNot::Full
                    }
                    NotOpened::Closing => WhyNot::Closed,
                };
                drop(state);
                if why == WhyNot::Closed {
                    self.close();
                }
                return Err(payload.not_started(why));
            }
        };
        match payload {
            Payload::Whole(data) => {
                // Also without data: a request of gRPC ends with a DATA frame.
                state.engine.send_whole(key, data);
                self.shared.flush(state);
            }
            Payload::Stream(body) => {
                // What the body has to give at once leaves together with the head.
                drop(state);
                tokio::spawn(Outgoing::new(body, Arc::clone(&self.shared), key));
            }
        }
        Ok(Reply {
            shared: Arc::clone(&self.shared),
            key,
            is_over: false,
            ended_at: None,
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Why a call that was started now would be refused, if it would be.
    pub(crate) fn refuses(&self) -> Option<WhyNot> {
        let state = self.shared.lock();
        if state.gone.is_some() || state.engine.is_closing() {
            drop(state);
            self.close();
            return Some(WhyNot::Closed);
        }
        (!state.engine.has_room()).then_some(WhyNot::Full)
    }

    /// A connection whose ids are used up closes without a word of the server's.
    #[cold]
    fn close(&self) {
        self.shared.close();
        self.shared.tell_of_room();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_orphan = true;
        let is_over = state.engine.open_streams() == 0;
        drop(state);
        if is_over {
            self.shared.driver.wake();
        }
    }
}

// === impl Reply ===

impl Reply {
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<Incoming>, CallError>> {
        let mut state = self.shared.lock();
        let Some(slot) = state.engine.user_mut(self.key) else {
            let gone = state.gone.clone();
            drop(state);
            self.is_over = true;
            let gone = gone.map_or_else(TransportError::closed, |gone| *gone);
            return Poll::Ready(Err(CallError::Broken(gone)));
        };
        if let Some(head) = slot.head.take() {
            // Nearly always the whole answer has come with its head.
            if let Some((data, end)) = slot.inbox.take_whole() {
                self.ended_at = slot.ended_at;
                self.is_over = true;
                self.shared.release_from(state, self.key);
                return Poll::Ready(Ok(head.into_response(Incoming::whole(data, end))));
            }
            drop(state);
            self.is_over = true;
            let body = StreamBody::new(Arc::clone(&self.shared), self.key, Role::Client);
            return Poll::Ready(Ok(head.into_response(Incoming::stream(body))));
        }
        if let Some(failure) = slot.inbox.failure() {
            let failure = failure.clone();
            drop(state);
            self.is_over = true;
            self.shared.release(self.key);
            return Poll::Ready(Err(CallError::of(failure)));
        }
        match &mut slot.inbox.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.release(self.key);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

// === impl Driver ===

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.driver.register(cx.waker());
        let ended = match this.poll_read(cx) {
            Ok(is_pending) => this
                .poll_write(cx)
                .and_then(|()| this.poll_flush(cx))
                .map(|()| is_pending),
            Err(error) => Err(error),
        };
        match ended {
            Ok(true) => {}
            Ok(false) => cx.waker().wake_by_ref(),
            Err(cause) => {
                this.end(cause);
                return Poll::Ready(());
            }
        }
        if let Err(cause) = this.poll_keepalive(cx) {
            this.end(cause);
            return Poll::Ready(());
        }
        if this.is_over() {
            this.end(TransportError::new("the connection is not used any more"));
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Driver {
    /// Reads what has come. Whether there is no more for now.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, TransportError> {
        let mut is_pending = false;
        let mut result = Ok(());
        for _ in 0..MAX_READS {
            let polled = self
                .input
                .poll_read(&mut self.reader, &self.shared, &mut self.wakes, cx);
            match polled {
                Poll::Pending => {
                    is_pending = true;
                    break;
                }
                Poll::Ready(Ok(0)) => {
                    result = Err(TransportError::closed());
                    break;
                }
                Poll::Ready(Ok(_)) => {
                    if let Some(keepalive) = &mut self.keepalive {
                        keepalive.heard_at = Some(Instant::now());
                    }
                }
                Poll::Ready(Err(error)) => {
                    result = Err(TransportError::io(error));
                    break;
                }
            }
            if let Err(error) = self.take_in() {
                result = Err(error);
                break;
            }
        }
        self.input.rest();
        if let Err(cause) = result {
            return Err(self.leaving.take().unwrap_or(cause));
        }
        Ok(is_pending)
    }

    /// Gives what was read to the engine, and its events to the streams.
    fn take_in(&mut self) -> Result<(), TransportError> {
        if self.input.bytes.is_empty() {
            return Ok(());
        }
        if self.begun.is_some()
            && let Some(spoken) = Spoken::of(&self.input.bytes)
        {
            let is_other = spoken != Spoken::Http2;
            if let Some(begun) = self.begun.take() {
                // Nobody waits when the connect ran out of time.
                let _ = begun.send(spoken);
            }
            if is_other {
                return Err(TransportError::new("the peer does not speak HTTP/2"));
            }
        }
        let shared = Arc::clone(&self.shared);
        let now = Instant::now().into_std();
        let mut state = shared.lock();
        let is_much = state.engine.open_streams() >= overlap::MUCH;
        let result = loop {
            match state.engine.receive(&mut self.input.bytes, now) {
                Ok(Some(event)) => self.on_event(&mut state, event, now),
                Ok(None) => break Ok(()),
                Err(error) => {
                    state.engine.fail(error);
                    break Err(TransportError::protocol(error));
                }
            }
        };
        state.wake_drained(&mut self.wakes);
        state.notice_room(&shared);
        drop(state);
        if is_much {
            overlap::look(now);
        }
        self.wakes.wake();
        result
    }

    fn on_event(
        &mut self,
        state: &mut super::shared::State,
        event: Event,
        now: std::time::Instant,
    ) {
        let wakes = &mut self.wakes;
        match event {
            Event::Response { key, head, is_end } => {
                let Some(slot) = state.engine.user_mut(key) else {
                    return;
                };
                slot.inbox.set_framing(head.is_grpc());
                slot.head = Some(head);
                if is_end {
                    slot.inbox.end(End::Data);
                }
                wakes.add(slot.inbox.reader.take());
            }
            Event::Data { key, data, is_end } => {
                state.take_data(key, data, is_end, &self.shared.budget, wakes);
            }
            Event::Trailers { key, trailers } => {
                if let Some(slot) = state.engine.user_mut(key) {
                    slot.ended_at = Some(now);
                }
                state.end(key, End::Trailers(trailers), wakes);
            }
            Event::Reset {
                key,
                reason,
                by_peer,
            } => {
                let reason = ResetReason::from(reason);
                let failure = if by_peer && reason == ResetReason::Refused {
                    Failure::Refused(TransportError::reset(reason))
                } else {
                    Failure::Reset { reason }
                };
                state.end(key, End::Failed(failure), wakes);
            }
            Event::Refused { key } => {
                let cause = self.leaving.clone();
                let cause = cause.unwrap_or_else(|| TransportError::goaway(Reason::NO_ERROR, b""));
                state.end(key, End::Failed(Failure::Refused(cause)), wakes);
            }
            Event::Goaway { reason, debug } => {
                self.leaving = Some(TransportError::goaway(reason, &debug));
                self.shared.close();
                self.shared.tell_of_room();
            }
            Event::Pong(_) => {
                if let Some(keepalive) = &mut self.keepalive {
                    keepalive.waits = false;
                }
            }
            _ => {}
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let must_yield = state.handover.is_asked() && self.lets_others_first;
        if must_yield && !std::mem::replace(&mut self.has_waited, true) {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        self.has_waited = false;
        let has_output = !state.batch.is_empty() || !state.engine.output().is_empty();
        if !state.handover.driver_comes(has_output) {
            return Ok(());
        }
        loop {
            let mut batch = state.take_batch();
            state.wake_drained(&mut self.wakes);
            state.notice_room(&shared);
            drop(state);
            self.wakes.wake();
            let written = match &mut self.reader {
                Reader::Other(io) => io::poll_write_out(io, &mut batch, cx),
                _ => shared.writer.poll_write_out(&mut batch, cx),
            };
            state = shared.lock();
            state.batch = batch;
            match written {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => {
                    state.handover.is_blocked_now();
                    return Ok(());
                }
                Poll::Ready(Err(error)) => return Err(TransportError::io(error)),
            }
            self.must_flush = true;
            let has_more = !state.engine.output().is_empty();
            if !state.handover.wrote(has_more) {
                return Ok(());
            }
        }
    }

    /// Byte streams of others may keep what was written until they are flushed, as TLS does while
    /// its socket is full.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        let Reader::Other(io) = &mut self.reader else {
            return Ok(());
        };
        if self.must_flush
            && let Poll::Ready(flushed) = Pin::new(io).poll_flush(cx)
        {
            self.must_flush = false;
            flushed.map_err(TransportError::io)?;
        }
        Ok(())
    }

    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        let Some(keepalive) = &mut self.keepalive else {
            return Ok(());
        };
        while keepalive.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if let Some(heard_at) = keepalive.heard_at.take() {
                keepalive.waits = false;
                keepalive
                    .timer
                    .as_mut()
                    .reset(heard_at + keepalive.interval);
                continue;
            }
            if keepalive.waits {
                return Err(TransportError::new("no answer to a keepalive ping"));
            }
            let mut state = self.shared.lock();
            let may_ping = keepalive.while_idle || state.engine.open_streams() > 0;
            if !may_ping {
                drop(state);
                keepalive.timer.as_mut().reset(now + keepalive.interval);
                continue;
            }
            keepalive.waits = true;
            state.engine.ping(*b"keepaliv");
            self.shared.ask_driver(state);
            keepalive.timer.as_mut().reset(now + keepalive.timeout);
        }
        Ok(())
    }

    /// Whether nothing is open and nothing will be.
    fn is_over(&self) -> bool {
        let state = self.shared.lock();
        state.engine.open_streams() == 0
            && (state.is_orphan || state.engine.is_closing())
            && state.batch.is_empty()
            && state.engine.output().is_empty()
    }

    fn end(&mut self, cause: TransportError) {
        tracing::debug!(error = &cause as &dyn std::error::Error, "connection ended");
        // What is to be said last leaves if the socket takes it at once.
        let mut state = self.shared.lock();
        if !state.handover.is_taken() {
            state.engine.begin_goaway("");
            while !state.engine.output().is_empty() || !state.batch.is_empty() {
                let mut batch = state.take_batch();
                let written = match &mut self.reader {
                    Reader::Other(io) => {
                        let mut cx = Context::from_waker(std::task::Waker::noop());
                        io::poll_write_out(io, &mut batch, &mut cx).is_ready()
                    }
                    _ => self.shared.writer.try_write_out(&mut batch).is_ok(),
                };
                if !written {
                    break;
                }
            }
        }
        drop(state);
        self.shared.fail_all(cause);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // With its runtime, or after its end.
        if self.shared.lock().gone.is_none() {
            self.shared
                .fail_all(TransportError::new("the connection's runtime has ended"));
        }
    }
}
