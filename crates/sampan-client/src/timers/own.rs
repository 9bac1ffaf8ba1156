//! A timer that is a call's own.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    runtime,
    time::{self, Instant, Sleep},
};

/// Waits on the runtime that polls it, also when that is another each time: a runtime's timers
/// end with it.
pub(crate) struct OwnTimer {
    at: Instant,
    armed: Option<(runtime::Id, Pin<Box<Sleep>>)>,
}

/// Waits until then, whatever runtimes poll it meanwhile.
pub(crate) async fn sleep_until(at: Instant) {
    let mut timer = OwnTimer::new(at);
    poll_fn(|cx| timer.poll(cx)).await;
}

// === impl OwnTimer ===

impl OwnTimer {
    pub(crate) const fn new(at: Instant) -> Self {
        Self { at, armed: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(runtime) = runtime::Handle::try_current() else {
            // Nobody can wake it here; the time is looked at whenever something else does.
            return if Instant::now() >= self.at {
                Poll::Ready(())
            } else {
                Poll::Pending
            };
        };
        let here = runtime.id();
        let sleep = match &mut self.armed {
            Some((id, sleep)) if *id == here => sleep,
            armed => &mut armed.insert((here, Box::pin(time::sleep_until(self.at)))).1,
        };
        sleep.as_mut().poll(cx)
    }
}

impl fmt::Debug for OwnTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTimer").field("at", &self.at).finish()
    }
}
