//! Tells long streams that the process was asked to stop.

use sampan::Status;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Learns once that SIGTERM or SIGINT came. A stream that would outlive the drain ends then,
/// and its caller opens it again elsewhere or later.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

// === impl Stopping ===

impl Stopping {
    /// Listens to the process's signals, beside whoever else does.
    ///
    /// # Errors
    /// The system refused the handlers.
    pub(crate) fn on_signal() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tell.send_replace(true);
            // Keeps the channel open: a closed one would look like a signal.
            tell.closed().await;
        });
        Ok(Self(told))
    }

    /// Returns once the process was asked to stop.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn wait(&mut self) {
        // An error means the runtime is going away, which is a stop too.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// How a stream ends that is cut for a stop.
pub(crate) fn cut_short() -> Status {
    Status::unavailable("the service is stopping: open the stream again")
}
