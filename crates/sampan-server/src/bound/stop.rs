//! Tells all that serve how far the server is on its way out.

use std::{
    future::pending,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::sync::watch;

/// How far a server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    Draining,
    Aborting,
}

/// Moves a server from phase to phase.
#[derive(Debug)]
pub(super) struct Phases {
    now: watch::Sender<Phase>,
    queue: Arc<Queue>,
}

/// Hears of the phases.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    now: watch::Receiver<Phase>,
    queue: Arc<Queue>,
}

/// Completes when connections are to go. Each connection has one and looks at it whenever it is
/// woken: so it is small, and looks at one flag.
#[derive(Debug)]
pub(super) struct Draining {
    queue: Arc<Queue>,
    place: Option<(usize, Waker)>,
}

/// Connections that wait for the drain.
#[derive(Debug, Default)]
struct Queue {
    is_over: AtomicBool,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

// === impl Phases ===

impl Phases {
    pub(super) fn enter(&self, phase: Phase) {
        self.now.send_replace(phase);
        if phase >= Phase::Draining {
            self.queue.end();
        }
    }

    pub(super) fn now(&self) -> Phase {
        *self.now.borrow()
    }
}

// === impl Stop ===

impl Stop {
    pub(super) fn channel() -> (Phases, Self) {
        let (sender, now) = watch::channel(Phase::Serving);
        let queue = Arc::new(Queue::default());
        let phases = Phases {
            now: sender,
            queue: Arc::clone(&queue),
        };
        (phases, Self { now, queue })
    }

    /// Completes in `phase` and in later ones.
    pub(super) async fn at(&mut self, phase: Phase) {
        let has_come = self.now.wait_for(|now| *now >= phase).await.is_ok();
        if !has_come {
            // The server itself is gone, and this task with it.
            pending().await
        }
    }

    /// Completes when connections are to go.
    pub(super) fn draining(&self) -> Draining {
        Draining {
            queue: Arc::clone(&self.queue),
            place: None,
        }
    }

    /// Completes when nothing is to be served any more: also when the server was dropped.
    pub(super) async fn aborted(&mut self) {
        self.now.wait_for(|now| *now >= Phase::Aborting).await.ok();
    }
}

// === impl Draining ===

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.queue.is_over.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        match &mut this.place {
            Some((_, waker)) if waker.will_wake(cx.waker()) => Poll::Pending,
            place => this.queue.wait(place, cx.waker()),
        }
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some((place, waker)) = self.place.take() {
            let mut places = self.queue.lock();
            let kept = places.wakers.get_mut(place).map(Option::take);
            if kept.is_some() {
                places.free.push(place);
            }
            // Wakers may free tasks: not under the lock.
            drop(places);
            drop((kept, waker));
        }
    }
}

// === impl Queue ===

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Places> {
        // No code of others runs under it.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, place: &mut Option<(usize, Waker)>, waker: &Waker) -> Poll<()> {
        let mut places = self.lock();
        // Said under the lock: whoever finds it unsaid is woken.
        if self.is_over.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let at = match place {
            Some((at, _)) => *at,
            None => places.free.pop().unwrap_or_else(|| {
                places.wakers.push(None);
                places.wakers.len() - 1
            }),
        };
        let before = places.wakers[at].replace(waker.clone());
        drop(places);
        drop(before);
        *place = Some((at, waker.clone()));
        Poll::Pending
    }

    fn end(&self) {
        let wakers = {
            let mut places = self.lock();
            self.is_over.store(true, Ordering::Release);
            std::mem::take(&mut *places).wakers
        };
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future::join_all, task::noop_waker_ref};

    #[tokio::test]
    async fn everybody_who_waits_hears_of_the_drain_and_so_does_who_comes_later() {
        let (phases, stop) = Stop::channel();
        let gone = stop.draining().now_or_never();
        assert_eq!(gone, None);
        let waiting = (0..3).map(|_| tokio::spawn(stop.draining()));
        let waiting: Vec<_> = waiting.collect();
        tokio::task::yield_now().await;
        phases.enter(Phase::Draining);
        assert!(join_all(waiting).await.into_iter().all(|end| end.is_ok()));
        assert_eq!(stop.draining().now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn a_connection_that_moves_to_another_task_is_woken_there() {
        let (phases, stop) = Stop::channel();
        let mut draining = Box::pin(stop.draining());
        let mut elsewhere = Context::from_waker(noop_waker_ref());
        assert!(draining.poll_unpin(&mut elsewhere).is_pending());
        let moved = tokio::spawn(draining);
        tokio::task::yield_now().await;
        phases.enter(Phase::Aborting);
        moved.await.unwrap();
    }

    #[test]
    fn places_are_used_again() {
        let (_phases, stop) = Stop::channel();
        for _ in 0..10 {
            let two = [stop.draining(), stop.draining()];
            let mut cx = Context::from_waker(noop_waker_ref());
            let mut both = join_all(two);
            assert!(both.poll_unpin(&mut cx).is_pending());
        }
        assert_eq!(stop.queue.lock().wakers.len(), 2);
    }
}
