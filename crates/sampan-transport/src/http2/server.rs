//! The server's side of a connection.

mod alarms;
mod answer;
mod dispatch;
mod last_words;
mod spare;

use self::{
    alarms::{Alarm, Alarms},
    answer::Place,
    spare::Fresh,
};
use super::{
    input::Input,
    io::{Writer, poll_write_out},
    shared::{Shared, State, Wakes},
};
use crate::{
    Incoming, PeerInfo, ResetReason, ServeError, ServeSettings, TransportError,
    clock::{self, AtWork},
    inbox::{End, Failure},
    serve::{Activity, Millis, ResponseBody, Verdict, Watchdog},
};
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use http::Request;
use pin_project_lite::pin_project;
use sampan_h2::{ConnectionError, Event, HIGH_WATER, Reason, Role, Settings};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves one connection, in the task of whoever polls it.
struct Server<IO, S, F, B> {
    io: IO,
    input: Input,
    shared: Arc<Shared>,
    service: S,
    peer: PeerInfo,
    /// Requests that have come and were not given to the service yet.
    fresh: Fresh,
    /// What the thread lends is here.
    has_spare: bool,
    /// A box for the next handler: one that answers at once leaves it behind.
    spare: Option<Place<F, B>>,
    wakes: Wakes,
    calls: usize,
    watchdog: Watchdog,
    alarms: Alarms,
    keepalive: Option<(Millis, Millis)>,
    grace: Option<Millis>,
    max_waiting: usize,
    max_stall: Millis,
    has_heard: bool,
    awaits_pong: bool,
    is_draining: bool,
    /// Bytes wait, and none has left since.
    is_stalled: bool,
    /// What had left the streams' queues when that was last looked at.
    unqueued: u64,
    has_ended: bool,
    must_flush: bool,
    /// Calls when the connection last gave its memory back, and when it was last seen quiet.
    rested_at: usize,
    quiet_at: usize,
}

/// Without calls for so long, a connection gives its memory back.
const REST: Duration = Duration::from_secs(1);

/// How long a client may take to answer GOAWAY's ping.
const GOAWAY_HEARD: Duration = Duration::from_secs(1);

/// Reads in a row before other tasks have a turn.
const MAX_READS: usize = 8;

pin_project! {
    /// A connection that is served, and how it ends. By hand: an async function would keep room
    /// for its arguments beside what it has made of them.
    pub(crate) struct Serving<IO, S, F, B, D> {
        // None once it has ended.
        server: Option<Server<IO, S, F, B>>,
        #[pin]
        drain: D,
        // In a box: a connection that lives needs no room for its last words.
        last_words: Option<BoxFuture<'static, Result<(), ServeError>>>,
    }
}

/// Serves `io`, of which `input` was read already.
pub(crate) fn serve<IO, S, B, D>(
    io: IO,
    input: BytesMut,
    peer: PeerInfo,
    service: S,
    settings: &ServeSettings,
    drain: D,
) -> Serving<IO, S, S::Future, B, D>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Service<Request<Incoming>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    Serving {
        server: Some(Server::new(io, input, peer, service, settings)),
        drain,
        last_words: None,
    }
}

impl<IO, S, B, D> Future for Serving<IO, S, S::Future, B, D>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = http::Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
    D: Future<Output = ()>,
{
    type Output = Result<(), ServeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(server) = this.server {
            if !server.is_draining && this.drain.poll(cx).is_ready() {
                server.begin_drain("");
            }
            let ended = ready!(server.poll(cx));
            if let Some(mut server) = this.server.take() {
                *this.last_words = Some(Box::pin(async move { server.finish(ended).await }));
            }
        }
        match this.last_words {
            Some(last_words) => last_words.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// How a connection ended.
enum Ended {
    /// The client left, or everything is done.
    Well,
    /// The client broke the protocol or a limit.
    Protocol(ConnectionError),
    Io(io::Error),
    Closed(ServeError),
}

impl<IO, S, B> Server<IO, S, S::Future, B>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Service<Request<Incoming>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn new(io: IO, input: BytesMut, peer: PeerInfo, service: S, settings: &ServeSettings) -> Self {
        let http2 = &settings.http2;
        let mut engine = Settings::default();
        engine.stream_window = http2.stream_window_bytes;
        engine.connection_window = http2.connection_window_bytes;
        engine.max_frame_bytes = http2.max_frame_bytes;
        engine.max_header_list_bytes = http2.max_header_list_bytes;
        engine.header_budget_bytes = http2.header_budget_bytes;
        engine.max_concurrent_streams = http2.max_concurrent_streams;
        engine.resets = http2.max_resets;
        engine.resets_per_second = http2.resets_per_second;
        engine.min_ping_interval = http2.min_ping_interval;
        engine.may_ping_while_idle = http2.may_ping_while_idle;
        let budget = settings.receive_budget.share();
        let shared = Arc::new(Shared::new(Role::Server, engine, Writer::None, budget));
        let watchdog = Watchdog::new(settings);
        let now = Instant::now();
        let mut alarms = Alarms::new(watchdog.first_look(now.into_std()).into());
        let keepalive = http2
            .keepalive_interval
            .map(|interval| (interval.into(), http2.keepalive_timeout.into()));
        if let Some(interval) = http2.keepalive_interval {
            alarms.set(Alarm::Keepalive, now.checked_add(interval));
        }
        if let Some(age) = settings.max_age {
            alarms.set(Alarm::Age, now.checked_add(with_jitter(age)));
        }
        Self {
            io,
            input: Input::new(input),
            shared,
            service,
            peer,
            fresh: Fresh::new(),
            has_spare: false,
            spare: None,
            wakes: Wakes::default(),
            calls: 0,
            watchdog,
            alarms,
            keepalive,
            grace: settings.max_age_grace.map(Millis::from),
            max_waiting: http2.max_waiting_bytes,
            max_stall: http2.stall_timeout.into(),
            has_heard: false,
            awaits_pong: false,
            is_draining: false,
            is_stalled: false,
            unqueued: 0,
            has_ended: false,
            must_flush: false,
            rested_at: 0,
            quiet_at: 0,
        }
    }

    fn begin_drain(&mut self, why: &'static str) {
        self.is_draining = true;
        self.shared.lock().engine.begin_goaway(why);
        let heard_by = Instant::now().checked_add(GOAWAY_HEARD);
        self.alarms.set(Alarm::Goaway, heard_by);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.shared.driver.register(cx.waker());
        let _at_work = AtWork;
        let mut more = true;
        for _ in 0..MAX_READS {
            // What was read before this task began is looked at first.
            let must_yield = match self.take_in() {
                Ok(must_yield) => must_yield,
                Err(error) => return Poll::Ready(Ended::Protocol(error)),
            };
            if let Err(error) = self.dispatch(cx) {
                return Poll::Ready(Ended::Io(error));
            }
            if let Err(error) = self.write(cx) {
                return Poll::Ready(Ended::Io(error));
            }
            if must_yield {
                break;
            }
            match self.poll_read(cx) {
                Poll::Pending => {
                    more = false;
                    break;
                }
                Poll::Ready(Ok(0)) => {
                    self.has_ended = true;
                    return Poll::Ready(Ended::Well);
                }
                Poll::Ready(Ok(_)) => self.has_heard = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Ended::Io(error)),
            }
        }
        self.input.rest();
        // What has left meanwhile may have made room for requests that wait.
        if more || (!self.fresh.is_empty() && self.waiting_bytes() <= self.max_waiting) {
            cx.waker().wake_by_ref();
        }
        if let Some(ended) = self.poll_alarms(cx) {
            return Poll::Ready(ended);
        }
        let mut state = self.shared.lock();
        if state.needs_settling() {
            self.shared.settle(state);
            state = self.shared.lock();
        }
        let has_written = state.batch.is_empty() && state.engine.output().is_empty();
        if has_written && state.engine.is_drained() {
            return Poll::Ready(Ended::Well);
        }
        let is_quiet = state.engine.open_streams() == 0;
        if is_quiet && has_written && self.has_spare && self.fresh.is_empty() {
            self.has_spare = false;
            spare::give(&mut state, &mut self.fresh);
        }
        drop(state);
        if is_quiet && self.rested_at != self.calls && !self.alarms.is_set(Alarm::Rest) {
            self.quiet_at = self.calls;
            self.alarms
                .set(Alarm::Rest, Instant::now().checked_add(REST));
            // The timer has to hear of it.
            if let Some(ended) = self.poll_alarms(cx) {
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input
            .poll_read(&mut self.io, &self.shared, &mut self.wakes, cx)
    }

    /// Gives what was read to the engine, and its events to the streams. Whether handlers were
    /// cut off and are to end, which frees their places, before more is looked at.
    fn take_in(&mut self) -> Result<bool, ConnectionError> {
        if self.input.bytes.is_empty() {
            return Ok(false);
        }
        let shared = Arc::clone(&self.shared);
        let now = clock::take_in().into_std();
        let mut handlers = Vec::new();
        let mut state = shared.lock();
        if !self.has_spare {
            self.has_spare = true;
            spare::take(&mut state, &mut self.fresh);
        }
        let result = loop {
            match state.engine.receive(&mut self.input.bytes, now) {
                Ok(Some(event)) => {
                    handlers.extend(self.on_event(&mut state, event));
                    if !handlers.is_empty() {
                        break Ok(true);
                    }
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        state.wake_drained(&mut self.wakes);
        drop(state);
        for handler in handlers {
            handler.abort();
        }
        self.wakes.wake();
        result
    }

    fn on_event(&mut self, state: &mut State, event: Event) -> Option<tokio::task::AbortHandle> {
        let wakes = &mut self.wakes;
        match event {
            Event::Request { key, head, is_end } => {
                self.calls += 1;
                if state.must_refuse() {
                    state.engine.reset(key, Reason::REFUSED_STREAM);
                    state.release(key);
                    return None;
                }
                if let Some(slot) = state.engine.user_mut(key) {
                    slot.inbox.set_framing(head.is_grpc());
                    if is_end {
                        slot.inbox.end(End::Data);
                    }
                }
                self.fresh.push_back((key, head));
            }
            Event::Data { key, data, is_end } => {
                state.take_data(key, data, is_end, &self.shared.budget, wakes);
            }
            Event::Trailers { key, trailers } => {
                state.end(key, End::Trailers(trailers), wakes);
            }
            Event::Reset { key, reason, .. } => {
                let reason = ResetReason::from(reason);
                let failure = Failure::Reset { reason };
                let handler = state.end(key, End::Failed(failure), wakes);
                if handler.is_none() {
                    // No service has seen it: its place is free at once.
                    state.release(key);
                }
                return handler;
            }
            Event::Pong(_) => self.awaits_pong = false,
            _ => {}
        }
        None
    }

    fn waiting_bytes(&self) -> usize {
        self.shared.lock().waiting_bytes()
    }

    /// Gives back what a connection without calls does not need. One that has had calls since is
    /// looked at again when it is next quiet.
    fn on_rest(&mut self) {
        let mut state = self.shared.lock();
        if self.quiet_at != self.calls || state.engine.open_streams() > 0 {
            return;
        }
        state.trim();
        drop(state);
        self.rested_at = self.calls;
        self.spare = None;
        self.wakes = Wakes::default();
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let mut has_written = false;
        let has_output = !state.batch.is_empty() || !state.engine.output().is_empty();
        let mut goes_on = state.handover.driver_comes(has_output);
        while goes_on {
            let mut batch = state.take_batch();
            state.wake_drained(&mut self.wakes);
            drop(state);
            let others_go_on = !self.wakes.is_empty();
            self.wakes.wake();
            let before = batch.len();
            let written = poll_write_out(&mut self.io, &mut batch, cx);
            has_written |= batch.len() < before;
            let is_empty = batch.is_empty();
            state = shared.lock();
            state.batch = batch;
            if let Poll::Ready(result) = written {
                result?;
            }
            if !is_empty {
                state.handover.is_blocked_now();
                break;
            }
            let left = state.engine.output().len();
            let may_wait = others_go_on && (1..HIGH_WATER).contains(&left);
            goes_on = state.handover.wrote(left > 0 && !may_wait);
            if may_wait {
                // It leaves together with what those have to say who have a turn now.
                state.handover.driver_will_come();
                cx.waker().wake_by_ref();
            }
        }
        let is_shut = state.engine.is_shut();
        let is_stalled = state.handover.is_blocked() || is_shut;
        let unqueued = state.engine.unqueued_bytes();
        drop(state);
        let has_unqueued = std::mem::replace(&mut self.unqueued, unqueued) != unqueued;
        // TLS keeps what it was given while its socket is full.
        self.must_flush |= has_written;
        if self.must_flush
            && let Poll::Ready(flushed) = Pin::new(&mut self.io).poll_flush(cx)
        {
            self.must_flush = false;
            flushed?;
        }
        let is_stalled = is_stalled || self.must_flush;
        // Answers to control frames always leave: behind a shut window they are no progress.
        let has_moved = if is_shut { has_unqueued } else { has_written };
        if is_stalled != self.is_stalled || (is_stalled && has_moved) {
            self.is_stalled = is_stalled;
            let until = is_stalled.then(|| Instant::now() + Duration::from(self.max_stall));
            self.alarms.set(Alarm::Stall, until);
        }
        Ok(())
    }

    fn poll_alarms(&mut self, cx: &mut Context<'_>) -> Option<Ended> {
        while let Poll::Ready((alarm, now)) = self.alarms.poll(cx) {
            match alarm {
                Alarm::Look => {
                    let (has_begun, open) = {
                        let state = self.shared.lock();
                        (state.engine.has_begun(), state.engine.open_streams())
                    };
                    let activity = Activity::of(has_begun, self.calls, open);
                    match self.watchdog.look(now.into_std(), &activity) {
                        Verdict::LookAgain(at) => self.alarms.set(Alarm::Look, Some(at.into())),
                        Verdict::GoAway(at) => {
                            self.begin_drain("max_idle");
                            self.alarms.set(Alarm::Look, Some(at.into()));
                        }
                        Verdict::Close(error) => return Some(Ended::Closed(error)),
                    }
                }
                Alarm::Stall => {
                    let waits = self.max_stall.into();
                    return Some(Ended::Closed(ServeError::Stalled(waits)));
                }
                Alarm::Rest => self.on_rest(),
                Alarm::Goaway => self.shared.lock().engine.finish_goaway(),
                Alarm::Age => {
                    self.begin_drain("max_age");
                    let at = self.grace.and_then(|grace| now.checked_add(grace.into()));
                    self.alarms.set(Alarm::Grace, at);
                }
                Alarm::Grace => return Some(Ended::Closed(ServeError::KeptOpen)),
                Alarm::Keepalive => {
                    let (interval, patience) = self.keepalive?;
                    let patience = Duration::from(patience);
                    let has_heard = std::mem::take(&mut self.has_heard);
                    if self.awaits_pong && !has_heard {
                        return Some(Ended::Closed(ServeError::NoPong(patience)));
                    }
                    self.awaits_pong = !has_heard;
                    let wait = if has_heard { interval.into() } else { patience };
                    self.alarms.set(Alarm::Keepalive, now.checked_add(wait));
                    if !has_heard {
                        self.shared.lock().engine.ping(*b"keepaliv");
                    }
                }
            }
            if let Err(error) = self.write(cx) {
                return Some(Ended::Io(error));
            }
        }
        None
    }
}

impl<IO, S, F, B> Drop for Server<IO, S, F, B> {
    fn drop(&mut self) {
        self.shared.fail_all(TransportError::closed());
    }
}

/// ±10 %, so that connections that began together do not end together. Source: gRFC A9.
fn with_jitter(age: Duration) -> Duration {
    use rand::Rng as _;
    age.mul_f64(rand::rng().random_range(0.9..=1.1))
}
