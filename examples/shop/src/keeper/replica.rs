//! Owns the replica's process.

use super::plan::Plan;
use crate::config::{KEPT_BY, SHOP_KEEPER_PORT};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};

/// The replica's process and what is to become of it.
#[derive(Debug)]
pub(super) struct Replica {
    plan: Plan,
    child: Option<Child>,
    /// Whether it was up and down before, so that its settings are not what is wrong.
    has_run: bool,
    wishes: mpsc::Receiver<(Wish, Answer)>,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

/// Asks for a wish from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Handle(mpsc::Sender<(Wish, Answer)>);

/// Takes the replica's process id, if it runs, or why it could not be started.
type Answer = oneshot::Sender<io::Result<Option<u32>>>;

/// What callers can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Kill,
    Start,
}

/// Why a wish is not granted.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGranted {
    #[error("the keeper is stopping")]
    Stopping,
    #[error("the replica cannot be started: {0}")]
    Start(#[source] io::Error),
}

/// Why a replica is no longer kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error("cannot start the replica's process")]
    Start(#[source] io::Error),
    #[error("cannot watch the replica's process")]
    Wait(#[source] io::Error),
    #[error("the replica refused its settings: it says above what is wrong")]
    Settings,
}

/// What the loop of [`Replica::keep`] woke up for.
enum Event {
    Asked(Option<(Wish, Answer)>),
    Ended(io::Result<ExitStatus>),
    Due,
    Signalled(Signal),
}

/// Exit code of a process whose configuration is wrong.
const USAGE: i32 = 64;
/// Longest wait for the replica's drain, well over what its own hard cap may be set to.
const LONGEST_DRAIN: Duration = Duration::from_secs(300);

// === impl Replica ===

impl Replica {
    /// Takes over the process's signals; the replica is started by [`Self::keep`].
    ///
    /// # Errors
    /// The system refused the signals' handlers.
    pub(super) fn new(revive: Option<Duration>) -> io::Result<(Self, Handle)> {
        let (send, wishes) = mpsc::channel(16);
        let replica = Self {
            plan: Plan::new(revive, Instant::now()),
            child: None,
            has_run: false,
            wishes,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        Ok((replica, Handle(send)))
    }

    /// Keeps the replica until a signal comes, hands that on and returns after its drain.
    ///
    /// # Errors
    /// The replica cannot be started at first, or says then that its settings are wrong.
    pub(super) async fn keep(mut self) -> Result<(), KeepError> {
        loop {
            match self.next_event().await {
                // The server has failed: nobody can ask any more.
                Event::Asked(None) => return self.stop(Signal::TERM).await,
                Event::Asked(Some((wish, answer))) => {
                    let done = match wish {
                        Wish::Kill => {
                            self.kill().await?;
                            Ok(None)
                        }
                        Wish::Start => self.running(),
                    };
                    // Who asked may have left.
                    let _ = answer.send(done);
                }
                Event::Ended(status) => {
                    let status = status.map_err(KeepError::Wait)?;
                    self.child = None;
                    if status.code() == Some(USAGE) && !self.has_run {
                        return Err(KeepError::Settings);
                    }
                    tracing::warn!(%status, "the replica ended; starting it again");
                    self.on_down();
                }
                Event::Due => match self.start() {
                    Err(error) if self.has_run => {
                        tracing::warn!(%error, "the replica cannot be started; trying it again");
                        self.on_down();
                    }
                    started => started.map_err(KeepError::Start)?,
                },
                Event::Signalled(signal) => return self.stop(signal).await,
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let start_at = self.plan.start_at();
        tokio::select! {
            wish = self.wishes.recv() => Event::Asked(wish),
            status = ended(&mut self.child) => Event::Ended(status),
            () = due(start_at) => Event::Due,
            _ = self.terminate.recv() => Event::Signalled(Signal::TERM),
            _ = self.interrupt.recv() => Event::Signalled(Signal::INT),
        }
    }

    /// Its process id; starts it if it is down.
    fn running(&mut self) -> io::Result<Option<u32>> {
        if self.child.is_none() {
            self.start()?;
        }
        Ok(self.child.as_ref().and_then(Child::id))
    }

    fn start(&mut self) -> io::Result<()> {
        let name = std::env::args_os().next().unwrap_or_default();
        let child = Command::new(own_program()?)
            .arg0(name)
            .env_remove(SHOP_KEEPER_PORT.name)
            .env(KEPT_BY, std::process::id().to_string())
            .stdin(Stdio::null())
            // A terminal's Ctrl-C goes to a whole group. The replica shall see it once, from
            // its keeper: a second one would end its drain.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        tracing::info!(pid = child.id(), "the replica has started");
        self.child = Some(child);
        self.plan.on_start(Instant::now());
        Ok(())
    }

    /// It ended by itself, or could not be started.
    fn on_down(&mut self) {
        self.has_run = true;
        self.plan.on_death(Instant::now());
    }

    async fn kill(&mut self) -> Result<(), KeepError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(KeepError::Wait)?;
            tracing::info!("the replica was killed, as asked for");
        }
        self.has_run = true;
        self.plan.on_kill(Instant::now());
        Ok(())
    }

    /// Hands `signal` on and waits for the replica's end. A further signal is handed on too.
    async fn stop(mut self, signal: Signal) -> Result<(), KeepError> {
        self.wishes.close();
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        hand_on(&child, signal);
        let limit = tokio::time::sleep(LONGEST_DRAIN);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.map_err(KeepError::Wait)?;
                    tracing::info!(%status, "the replica has ended");
                    return Ok(());
                }
                _ = self.terminate.recv() => hand_on(&child, Signal::TERM),
                _ = self.interrupt.recv() => hand_on(&child, Signal::INT),
                () = &mut limit => return child.kill().await.map_err(KeepError::Wait),
            }
        }
    }
}

/// This very program, also after its file was replaced by a newer one.
#[cfg(target_os = "linux")]
fn own_program() -> io::Result<PathBuf> {
    Ok(PathBuf::from("/proc/self/exe"))
}

/// This program, as long as its file is there.
#[cfg(not(target_os = "linux"))]
fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Returns when `child` has ended; never without one.
async fn ended(child: &mut Option<Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

/// Returns at `instant`; never without one.
async fn due(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn hand_on(child: &Child, signal: Signal) {
    // Without an id it has been reaped, so there is nobody to signal.
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        tracing::warn!(%error, "cannot signal the replica");
    }
}

// === impl Handle ===

impl Handle {
    /// Waits until it is done; gives the replica's process id if it runs then.
    ///
    /// # Errors
    /// The replica cannot be started, or the keeper is stopping.
    pub(super) async fn ask(&self, wish: Wish) -> Result<Option<u32>, NotGranted> {
        let (answer, answered) = oneshot::channel();
        let asked = self.0.send((wish, answer)).await;
        asked.map_err(|_| NotGranted::Stopping)?;
        let done = answered.await.map_err(|_| NotGranted::Stopping)?;
        done.map_err(NotGranted::Start)
    }
}

// === impl KeepError ===

impl KeepError {
    /// Whether starting it again could not help.
    pub(super) fn is_configuration(&self) -> bool {
        matches!(self, Self::Settings)
    }
}
