//! From requests that have come to handlers that answer them.

use super::{
    BoxError, Server,
    answer::{Answering, Task},
};
use crate::{Incoming, clock, http2::stream::StreamBody, overlap, serve::ResponseBody};
use http::Request;
use sampan_h2::{HIGH_WATER, Key, Role};
use std::{
    io,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop::has_budget_remaining,
    time::Instant,
};
use tower_service::Service;

/// Answers that are ready wait so long for those of requests that came with them: less where many
/// are ready, much is left to do, and the client works on the first ones meanwhile.
const HELD: Duration = Duration::from_micros(50);
const MAX_HELD: Duration = Duration::from_micros(200);

/// So many requests are much, and so many answers worth a write.
const MUCH_LEFT: usize = 8;
const SOME: usize = 4;

/// What has been made since the last write.
struct Begun {
    at: Instant,
    /// How many requests waited then.
    left: usize,
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
    /// Gives requests to the service, while the client takes its answers.
    pub(super) fn dispatch(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        // This task writes afterwards: nobody has to wake it for that.
        self.shared.lock().handover.driver_will_come();
        let mut begun = Begun {
            at: clock::recent(),
            left: self.fresh.len(),
        };
        if self.fresh.len() >= overlap::MUCH {
            overlap::look(begun.at.into_std());
        }
        while let Some((key, head)) = self.fresh.pop_front() {
            let body = {
                let mut state = self.shared.lock();
                if state.waiting_bytes() > self.max_waiting {
                    state.engine.hold_window(true);
                    self.fresh.push_front((key, head));
                    return Ok(());
                }
                if !state.engine.may_send(key) {
                    // Reset before anybody has looked at it.
                    state.release(key);
                    continue;
                }
                let slot = state.engine.user_mut(key);
                let whole = slot.and_then(|slot| {
                    let whole = slot.inbox.take_whole()?;
                    Some((whole, slot.inbox.is_noted()))
                });
                match whole {
                    Some(((data, end), is_noted)) => {
                        if is_noted {
                            state.note(key);
                        }
                        Incoming::whole(data, end)
                    }
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
        begun: &mut Begun,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        if left == 0 {
            return Ok(());
        }
        let held = self.shared.lock().engine.output().len();
        let made = begun.left - left;
        // One to three answers that took long would be a write each, a tenth of what they took; some
        // more make up for a write of their own.
        let pays = made >= SOME && (made < MUCH_LEFT || overlap::pays());
        let most = if left >= MUCH_LEFT && pays {
            HELD
        } else {
            MAX_HELD
        };
        // A handler that answered has looked at the clock.
        if held >= HIGH_WATER || clock::recent() - begun.at >= most {
            self.write(cx)?;
            // Writing takes its own time.
            *begun = Begun {
                at: clock::look(),
                left,
            };
        }
        Ok(())
    }

    /// Polls the handler once, here: most answer at once. One that does not gets a task.
    fn answer(&mut self, key: Key, request: Request<Incoming>) {
        let answering = Answering::new(self.service.call(request), Arc::clone(&self.shared), key);
        let mut place = self.spare.take().unwrap_or_else(|| Box::pin(None));
        place.set(Some(answering));
        let is_done = match place.as_mut().as_pin_mut() {
            None => true,
            Some(answering) => {
                // One that finds everything ready would keep the others of its connection waiting.
                // What handlers may do at one go is the connection's budget; those that come when
                // it is used up begin in tasks of their own.
                let mut cx = Context::from_waker(Waker::noop());
                has_budget_remaining() && answering.poll(&mut cx).is_ready()
            }
        };
        if is_done {
            place.set(None);
            self.spare = Some(place);
            return;
        }
        let handle = tokio::spawn(Task(place)).abort_handle();
        if let Some(slot) = self.shared.lock().engine.user_mut(key) {
            slot.handler = Some(handle);
        }
    }
}
