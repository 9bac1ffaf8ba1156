//! From requests that have come to handlers that answer them.

use super::{
    BoxError, MAX_WAITING, Server,
    alarms::Alarm,
    answer::{Answering, Place, Task},
    parked::{PARKED, Waiting},
};
use crate::{
    Incoming, clock,
    http2::stream::StreamBody,
    overlap,
    serve::ResponseBody,
    trial::{self, Tried},
};
use http::Request;
use sampan_h2::{HIGH_WATER, Key, Role};
use std::{io, sync::Arc, task::Context, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop::has_budget_remaining,
    time::Instant,
};
use tower_service::Service;

/// Answers that are ready wait so long for those of requests that came with them: less where much
/// is left to do and the client works on the first ones meanwhile.
const HELD: Duration = Duration::from_micros(50);
const MAX_HELD: Duration = Duration::from_micros(200);

/// So many requests are much.
const MUCH_LEFT: usize = 8;

/// Boxes that are kept.
const SPARES: usize = 16;

impl<IO, S, B> Server<IO, S, S::Future, B>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Service<Request<Incoming>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Goes on with handlers whose requests went on, and gives new requests to the service while
    /// the client takes its answers.
    pub(super) fn dispatch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.fresh.is_empty() && self.parked.is_empty() {
            return Ok(());
        }
        // This task writes afterwards: nobody has to wake it for that.
        let stirred = {
            let mut state = self.shared.lock();
            state.handover.driver_will_come();
            self.parked.stirred(&mut state)
        };
        let mut begun = clock::recent();
        let mut left = stirred.len() + self.fresh.len();
        if left >= overlap::MUCH {
            overlap::look(begun.into_std());
        }
        for waiting in stirred {
            self.go_on(waiting);
            left -= 1;
            self.write_in_between(left, &mut begun, cx)?;
        }
        while let Some((key, head)) = self.fresh.pop_front() {
            let body = {
                let mut state = self.shared.lock();
                if state.waiting_bytes() > MAX_WAITING {
                    state.engine.hold_window(true);
                    self.fresh.push_front((key, head));
                    return Ok(());
                }
                if !state.engine.may_send(key) {
                    // Reset before anybody has looked at it.
                    state.engine.release(key);
                    continue;
                }
                match state
                    .engine
                    .user_mut(key)
                    .map(|slot| slot.inbox.take_whole())
                {
                    Some(Some((data, end))) => Incoming::whole(data, end),
                    _ => {
                        drop(state);
                        let shared = Arc::clone(&self.shared);
                        Incoming::stream(StreamBody::new(shared, key, Role::Server))
                    }
                }
            };
            let mut request = head.into_request(body);
            request.extensions_mut().insert(self.peer.clone());
            self.answer(key, request);
            self.write_in_between(self.fresh.len(), &mut begun, cx)?;
        }
        self.shared.lock().engine.hold_window(false);
        Ok(())
    }

    /// Answers that are ready do not wait long for those that are `left` to be made.
    fn write_in_between(
        &mut self,
        left: usize,
        begun: &mut Instant,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        if left == 0 {
            return Ok(());
        }
        let held = self.shared.lock().engine.output().len();
        // A handler that answered has looked at the clock.
        let most = if left >= MUCH_LEFT && overlap::pays() {
            HELD
        } else {
            MAX_HELD
        };
        if held >= HIGH_WATER || clock::recent() - *begun >= most {
            self.write(cx)?;
            // Writing takes its own time.
            *begun = clock::look();
        }
        Ok(())
    }

    /// Polls the handler once, here: most answer at once.
    fn answer(&mut self, key: Key, request: Request<Incoming>) {
        let answering = Answering::new(self.service.call(request), Arc::clone(&self.shared), key);
        let mut place = self.spare.pop().unwrap_or_else(|| Box::pin(None));
        place.set(Some(answering));
        self.poll_handler(key, place, None);
    }

    /// Polls a handler again that has waited.
    fn go_on(&mut self, waiting: Waiting<S::Future, B>) {
        let Waiting { key, place, since } = waiting;
        if self.shared.lock().engine.user_mut(key).is_some() {
            self.poll_handler(key, place, Some(since));
            return;
        }
        // Reset by the client. What is left of a handler is its own.
        let dropped = std::panic::AssertUnwindSafe(|| drop(place));
        let _ = std::panic::catch_unwind(dropped);
    }

    /// One that waits for nothing but its request stays here for a while; another gets a task.
    fn poll_handler(&mut self, key: Key, mut place: Place<S::Future, B>, since: Option<Instant>) {
        let tried = match place.as_mut().as_pin_mut() {
            None => Tried::Done,
            // One that finds everything ready would keep the others of its connection waiting. What
            // handlers may do at one go is the connection's budget; those that come when it is used up
            // begin in tasks of their own.
            Some(_) if !has_budget_remaining() => Tried::Waits,
            Some(answering) => trial::poll(answering),
        };
        match tried {
            Tried::Done => {
                place.set(None);
                if self.spare.len() < SPARES {
                    self.spare.push(place);
                }
            }
            Tried::KeepsOne => {
                let since = since.unwrap_or_else(clock::recent);
                let waiting = Waiting { key, place, since };
                let was_empty = self.parked.is_empty();
                let taken = self.parked.take_in(waiting, &mut self.shared.lock());
                match taken {
                    Ok(()) if was_empty => {
                        self.alarms.set(Alarm::Parked, since.checked_add(PARKED))
                    }
                    Ok(()) => {}
                    Err(Waiting { key, place, .. }) => self.spawn(key, place),
                }
            }
            Tried::Waits => self.spawn(key, place),
        }
    }

    pub(super) fn spawn(&self, key: Key, place: Place<S::Future, B>) {
        let handle = tokio::spawn(Task(place)).abort_handle();
        if let Some(slot) = self.shared.lock().engine.user_mut(key) {
            slot.handler = Some(handle);
        }
    }
}
