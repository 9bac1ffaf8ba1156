//! Tells all that serve how far the server is on its way out.

use std::future::pending;
use tokio::sync::watch;

/// How far a server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    Draining,
    Aborting,
}

/// Hears of the phases.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<Phase>);

// === impl Stop ===

impl Stop {
    pub(super) fn channel() -> (watch::Sender<Phase>, Self) {
        let (phase, heard) = watch::channel(Phase::Serving);
        (phase, Self(heard))
    }

    /// Completes in `phase` and in later ones.
    pub(super) async fn at(&mut self, phase: Phase) {
        let has_come = self.0.wait_for(|now| *now >= phase).await.is_ok();
        if !has_come {
            // The server itself is gone, and this task with it.
            pending().await
        }
    }

    /// Completes when nothing is to be served any more: also when the server was dropped.
    pub(super) async fn aborted(&mut self) {
        self.0.wait_for(|now| *now >= Phase::Aborting).await.ok();
    }
}
