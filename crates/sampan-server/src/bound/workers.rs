//! Threads that serve connections besides the one that accepts them.

use super::{
    accept::Held,
    load::{Count, Load, One, least},
    served::{Connections, Served, Serving, Setup},
    stop::Stop,
};
use sampan_transport::{DetachedSocket, PeerInfo};
use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::sync_channel},
    thread,
};
use tokio::{
    runtime::{Builder, Handle, LocalOptions, LocalRuntime, RuntimeFlavor},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Who serves: the thread that accepts, and the workers that were added.
#[derive(Debug)]
pub(super) struct Team {
    here: Load,
    added: Vec<Worker>,
}

/// A thread with a runtime of its own, from its first connection on. It ends when nobody deals
/// to it any more and its connections have ended, or when the server aborts or is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    load: Load,
    hand: Mutex<Hand>,
}

#[derive(Debug)]
enum Hand {
    /// Nothing was dealt to it yet.
    Waiting(Box<Beginning>),
    // The cap on connections bounds what waits here.
    Working(UnboundedSender<Dealt>),
}

/// What a worker begins with.
struct Beginning {
    number: usize,
    serving: Serving,
    stop: Stop,
    ended: UnboundedSender<thread::Result<()>>,
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub(super) struct Dealt {
    pub(super) socket: DetachedSocket,
    pub(super) peer: PeerInfo,
    pub(super) held: Held,
}

/// Hears of the ends of workers.
#[derive(Debug)]
pub(super) struct Ends(UnboundedReceiver<thread::Result<()>>);

// === impl Team ===

impl Team {
    /// Only the thread that accepts.
    pub(super) fn alone() -> Self {
        Self {
            here: Load::default(),
            added: Vec::new(),
        }
    }

    /// So many `workers` with this thread, if its runtime has no other threads: a multi-thread
    /// runtime is a team already.
    pub(super) fn new(
        workers: usize,
        served: &Served,
        setup: &Arc<Setup>,
        stop: &Stop,
    ) -> (Self, Ends) {
        let (ended, ends) = unbounded_channel();
        let is_alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        let added = if is_alone { 1..workers } else { 1..1 };
        let added = added.map(|number| {
            let load = Load::default();
            let calls = Some(Arc::clone(&load.calls));
            let beginning = Beginning {
                number,
                serving: Serving::new(served, Arc::clone(setup), calls),
                stop: stop.clone(),
                ended: ended.clone(),
            };
            let hand = Mutex::new(Hand::Waiting(Box::new(beginning)));
            Worker { load, hand }
        });
        let team = Self {
            here: Load::default(),
            added: added.collect(),
        };
        (team, Ends(ends))
    }

    /// Who serves the next connection; None: this thread.
    pub(super) fn least_loaded(&self) -> Option<&Worker> {
        if self.added.is_empty() {
            return None;
        }
        let added = self.added.iter().map(|worker| &worker.load);
        let loads = std::iter::once(&self.here).chain(added);
        let index = least(loads.map(Load::open));
        index.checked_sub(1).and_then(|index| self.added.get(index))
    }

    /// The count of calls on this thread, if somebody asks for it.
    pub(super) fn calls_here(&self) -> Option<Arc<Count>> {
        let is_asked = !self.added.is_empty();
        is_asked.then(|| Arc::clone(&self.here.calls))
    }

    /// Counts a connection on this thread, if somebody asks for it.
    pub(super) fn connection_here(&self) -> Option<One> {
        let is_asked = !self.added.is_empty();
        is_asked.then(|| self.here.connections.one())
    }
}

// === impl Worker ===

impl Worker {
    /// Counts a connection as this worker's.
    pub(super) fn connection(&self) -> One {
        self.load.connections.one()
    }

    /// Begins, if it has not yet: a server with one connection needs no second thread. False:
    /// the system gives no more threads now.
    pub(super) fn is_working(&self) -> bool {
        let mut hand = self.lock();
        let Hand::Waiting(beginning) = &*hand else {
            return true;
        };
        match beginning.begin() {
            Ok(inbox) => {
                *hand = Hand::Working(inbox);
                true
            }
            Err(error) => {
                tracing::warn!(
                    target: "sampan",
                    %error,
                    "cannot start a worker; fewer workers need fewer threads: set SAMPAN_WORKERS"
                );
                false
            }
        }
    }

    /// Serves a connection, of a worker that [is working](Self::is_working). One that a worker
    /// no longer takes is closed: the worker is gone by a panic, which ends the server.
    pub(super) fn serve(&self, dealt: Dealt) {
        if let Hand::Working(inbox) = &*self.lock() {
            inbox.send(dealt).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Beginning ===

impl Beginning {
    fn begin(&self) -> io::Result<UnboundedSender<Dealt>> {
        let (inbox, dealt) = unbounded_channel();
        let (serving, stop) = (self.serving.copy(), self.stop.clone());
        let ended = self.ended.clone();
        let (begun, begins) = sync_channel(1);
        thread::Builder::new()
            .name(format!("sampan-worker-{}", self.number))
            .spawn(move || {
                // Local, as that of `run`: it is made by its own thread.
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default());
                let (runtime, outcome) = match runtime {
                    Ok(runtime) => (Some(runtime), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                // Whoever asked may have gone, here and below.
                begun.send(outcome).ok();
                if let Some(runtime) = runtime {
                    ended.send(run(runtime, &serving, dealt, stop)).ok();
                }
            })?;
        begins.recv().map_err(io::Error::other)??;
        Ok(inbox)
    }
}

impl fmt::Debug for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beginning")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

fn run(
    runtime: LocalRuntime,
    serving: &Serving,
    dealt: UnboundedReceiver<Dealt>,
    stop: Stop,
) -> thread::Result<()> {
    let end = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(serve(serving, dealt, stop));
    }));
    // Drops what handlers have spawned; blocking work of theirs is not waited for.
    runtime.shutdown_background();
    end
}

async fn serve(serving: &Serving, mut dealt: UnboundedReceiver<Dealt>, mut stop: Stop) {
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            biased;
            () = stop.aborted() => break,
            Some(()) = connections.ended() => {}
            next = dealt.recv() => {
                let Some(Dealt { socket, peer, held }) = next else {
                    break;
                };
                match socket.attach() {
                    Ok(socket) => connections.add(serving, Box::new(socket), peer, &stop, held),
                    Err(error) => tracing::debug!(%error, "a connection cannot change its thread"),
                }
            }
        }
    }
    // Those still on their way when the server aborts are closed.
    drop(dealt);
    connections.finish(stop).await;
}

// === impl Ends ===

impl Ends {
    /// Waits until all workers have ended.
    ///
    /// # Panics
    /// When one of them did, with the same payload.
    pub(super) async fn all(&mut self) {
        while let Some(end) = self.0.recv().await {
            if let Err(panic) = end {
                resume_unwind(panic);
            }
        }
    }
}
