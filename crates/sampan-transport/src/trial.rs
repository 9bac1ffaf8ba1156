//! A handler's first poll: in the task of its connection, before it has one of its own.
//!
//! Most handlers answer then. One that waits for nothing but the rest of its request can stay where
//! it is: whatever it waits for passes through the connection. So a trial has a waker that tells
//! whether anybody else keeps it.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// The waker of a thread's trials. It wakes nobody. Once somebody else keeps it the next trials have
/// another: who has this one already would not keep it again.
struct Trial {
    heard: Arc<Heard>,
    waker: Waker,
}

/// Whether it was woken since the last trial began.
#[derive(Default)]
struct Heard(AtomicBool);

/// How a trial ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Done,
    /// It keeps one waker, which was not woken: if a request's body has that one, nothing else can
    /// wake the handler.
    KeepsOne,
    /// It has to be polled in a task.
    Waits,
}

thread_local! {
    static TRIAL: RefCell<Rc<Trial>> = RefCell::new(Rc::new(Trial::new()));
}

/// Whether this poll is a trial: if it is pending, another one with a real waker follows before
/// anything is waited for beyond a millisecond. Timers need not be set for it.
#[must_use]
pub fn is_trial(cx: &Context<'_>) -> bool {
    is_of_trial(cx.waker())
}

/// Whether `waker` is that of this thread's trials.
pub(crate) fn is_of_trial(waker: &Waker) -> bool {
    TRIAL.with_borrow(|trial| trial.waker.will_wake(waker))
}

/// Polls once.
pub(crate) fn poll<F: Future<Output = ()>>(future: Pin<&mut F>) -> Tried {
    let trial = TRIAL.with_borrow(Rc::clone);
    trial.heard.0.store(false, Ordering::Relaxed);
    let before = Arc::strong_count(&trial.heard);
    let polled = future.poll(&mut Context::from_waker(&trial.waker));
    // Counted before it is asked whether it was woken: who wakes and then drops a waker is heard.
    let kept = Arc::strong_count(&trial.heard).wrapping_sub(before);
    let has_woken = trial.heard.0.load(Ordering::Acquire);
    match (polled, kept) {
        (Poll::Ready(()), 0) => Tried::Done,
        (Poll::Pending, 1) if !has_woken => Tried::KeepsOne,
        (polled, _) => {
            TRIAL.set(Rc::new(Trial::new()));
            match polled {
                Poll::Ready(()) => Tried::Done,
                Poll::Pending => Tried::Waits,
            }
        }
    }
}

// === impl Trial ===

impl Trial {
    fn new() -> Self {
        let heard = Arc::new(Heard::default());
        let waker = Waker::from(Arc::clone(&heard));
        Self { heard, waker }
    }
}

// === impl Heard ===

impl Wake for Heard {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn tried(poll: impl FnMut(&mut Context<'_>) -> Poll<()>) -> Tried {
        super::poll(std::pin::pin!(poll_fn(poll)))
    }

    #[test]
    fn who_keeps_or_wakes_a_trials_waker_is_noticed() {
        let mut kept = Vec::new();
        assert_eq!(tried(|_| Poll::Ready(())), Tried::Done);
        assert_eq!(tried(|_| Poll::Pending), Tried::Waits);
        let keep = |cx: &mut Context<'_>| {
            assert!(is_trial(cx));
            kept.push(cx.waker().clone());
            Poll::Pending
        };
        assert_eq!(tried(keep), Tried::KeepsOne);
        let keep_two = |cx: &mut Context<'_>| {
            kept.extend([cx.waker().clone(), cx.waker().clone()]);
            Poll::Pending
        };
        assert_eq!(tried(keep_two), Tried::Waits);
        let wake = |cx: &mut Context<'_>| {
            kept.push(cx.waker().clone());
            cx.waker().wake_by_ref();
            Poll::Pending
        };
        assert_eq!(tried(wake), Tried::Waits);
        assert!(!is_trial(&Context::from_waker(Waker::noop())));
    }

    #[test]
    fn who_has_an_earlier_trials_waker_does_not_have_that_of_a_later_one() {
        let mut shared: Option<Waker> = None;
        let answers = |cx: &mut Context<'_>| {
            shared = Some(cx.waker().clone());
            Poll::Ready(())
        };
        assert_eq!(tried(answers), Tried::Done);
        let is_old = |cx: &mut Context<'_>| {
            assert!(!shared.as_ref().is_some_and(|w| w.will_wake(cx.waker())));
            Poll::Ready(())
        };
        assert_eq!(tried(is_old), Tried::Done);
    }
}
