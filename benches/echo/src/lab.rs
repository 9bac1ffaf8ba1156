//! One implementation under load in this process: its server's thread, its client's thread.

use crate::{
    load::{Limit, Outcome, Work, drive},
    sample::{Figure, Sample},
    usage::{Cores, Threads, Used, pin},
};
use bench_echo::{
    peer::{Certificate, Peer, Place, Target},
    service::Client,
};
use std::{
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc as tokio_mpsc, oneshot},
};

/// How client and server are set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) cores: Placement,
    pub(crate) wire: Wire,
    pub(crate) connections: usize,
    pub(crate) work: Work,
    /// None: the implementation's own client.
    pub(crate) client: Option<Peer>,
}

/// Which runtime and core each side has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// A current-thread runtime each, both on one core.
    OneCore,
    /// A current-thread runtime each, a core each.
    TwoCores,
    /// Both inside one `#[tokio::main]`, on two cores.
    Main,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Tcp,
    Unix,
    Tls,
}

pub(crate) struct Lab {
    target: Target,
    // None when it ends.
    turns: Option<tokio_mpsc::UnboundedSender<Limit>>,
    outcomes: mpsc::Receiver<Outcome>,
    client: Threads,
    server: Threads,
    stop: Option<oneshot::Sender<()>>,
    handles: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

/// A server that does not listen by then never will.
const LIMIT: Duration = Duration::from_secs(10);

// === impl Lab ===

impl Lab {
    pub(crate) fn start(peer: Peer, setup: Setup, cores: Cores) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (place, target) = address(setup.wire, &folder);
        let (stop, stopped) = oneshot::channel();
        let (turns, turns_to_do) = tokio_mpsc::unbounded_channel();
        let (done, outcomes) = mpsc::channel();
        let serve = async move {
            tokio::select! {
                () = peer.serve(place) => {}
                _ = stopped => {}
            }
        };
        let caller = Caller::new(peer, setup, turns_to_do, done);
        let before = Threads::own();
        let listening = target.clone();
        let mut handles = Vec::new();
        let (client, server);
        if setup.cores == Placement::Main {
            handles.push(named(peer, "both", &cores.both(), move || {
                multi_thread().block_on(async move {
                    tokio::spawn(serve);
                    await_listener(&target);
                    caller.run(&target).await;
                });
            }));
            outcomes.recv().expect("the first call is answered");
            client = Threads::own().without(&before);
            server = client.without(&client);
        } else {
            handles.push(named(peer, "server", &[cores.first], move || {
                current_thread().block_on(serve);
            }));
            await_listener(&target);
            server = Threads::own().without(&before);
            let core = match setup.cores {
                Placement::OneCore => cores.first,
                Placement::TwoCores | Placement::Main => cores.second,
            };
            handles.push(named(peer, "client", &[core], move || {
                current_thread().block_on(caller.run(&target));
            }));
            outcomes.recv().expect("the first call is answered");
            client = Threads::own().without(&before).without(&server);
        }
        Self {
            target: listening,
            turns: Some(turns),
            outcomes,
            client,
            server,
            stop: Some(stop),
            handles,
            _folder: folder,
        }
    }

    /// Where the server is, for other clients.
    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) const fn server(&self) -> &Threads {
        &self.server
    }

    pub(crate) fn turn(&self, limit: Limit) -> Sample {
        let before = (self.client.used(), self.server.used());
        let turns = self.turns.as_ref().expect("it has not ended");
        turns.send(limit).expect("the client lives");
        let outcome = self.outcomes.recv().expect("the client lives");
        let client = self.client.used() - before.0;
        sample(outcome, client, self.server.used() - before.1)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.turns = None;
        drop(self.stop.take());
        for handle in self.handles.drain(..) {
            handle.join().expect("the threads end well");
        }
    }
}

/// The figures of a turn.
pub(crate) fn sample(mut outcome: Outcome, client: Used, server: Used) -> Sample {
    let count = outcome.count as f64;
    let seconds = outcome.elapsed.as_secs_f64();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
    let mut sample = Sample::from([
        (Figure::Rate, count / seconds),
        (Figure::ClientCpu, each(client.cpu)),
        (Figure::ServerCpu, each(server.cpu)),
        (Figure::Cpu, each(client.cpu + server.cpu)),
        (
            Figure::Switches,
            (client.switches + server.switches) as f64 / count,
        ),
    ]);
    if outcome.bytes > 0 {
        sample.insert(Figure::Megabytes, outcome.bytes as f64 / 1e6 / seconds);
    }
    let last = outcome.latencies.len().saturating_sub(1);
    if last > 0 {
        for (figure, percent) in [(Figure::P50, 50), (Figure::P99, 99)] {
            let (_, value, _) = outcome.latencies.select_nth_unstable(last * percent / 100);
            sample.insert(figure, f64::from(*value) / 1e3);
        }
    }
    sample
}

/// The client's side.
pub(crate) struct Caller {
    peer: Peer,
    setup: Setup,
    turns: tokio_mpsc::UnboundedReceiver<Limit>,
    done: mpsc::Sender<Outcome>,
}

// === impl Caller ===

impl Caller {
    /// Takes its turns from there and tells there what each gave; first that of a warm-up.
    pub(crate) fn new(
        peer: Peer,
        setup: Setup,
        turns: tokio_mpsc::UnboundedReceiver<Limit>,
        done: mpsc::Sender<Outcome>,
    ) -> Self {
        Self {
            peer: setup.client.unwrap_or(peer),
            setup,
            turns,
            done,
        }
    }

    pub(crate) async fn run(self, target: &Target) {
        let connections = self.setup.connections;
        match self.peer {
            Peer::Sampan => {
                let clients = (0..connections).map(|_| target.sampan()).collect();
                self.turns(clients).await;
            }
            Peer::SampanTonicCode => {
                let clients = (0..connections)
                    .map(|_| target.sampan_tonic_code())
                    .collect();
                self.turns(clients).await;
            }
            Peer::SampanBare => {
                let mut clients = Vec::new();
                for _ in 0..connections {
                    clients.push(target.sampan_bare().await);
                }
                self.turns(clients).await;
            }
            Peer::Tonic | Peer::TonicAgain | Peer::TonicDeadline => {
                let mut clients = Vec::new();
                for _ in 0..connections {
                    clients.push(target.tonic().await);
                }
                self.turns(clients).await;
            }
        }
    }

    async fn turns<C: Client>(mut self, clients: Vec<C>) {
        let (work, deadline) = (self.setup.work, self.peer.deadline());
        // Connections are made and threads started when the lab is there.
        let warm_up = drive(&clients, work, deadline, Limit::Calls(256)).await;
        self.done.send(warm_up).expect("the lab waits");
        while let Some(limit) = self.turns.recv().await {
            let outcome = drive(&clients, work, deadline, limit).await;
            self.done.send(outcome).expect("the lab waits");
        }
    }
}

fn address(wire: Wire, folder: &tempfile::TempDir) -> (Place, Target) {
    if wire == Wire::Unix {
        let path = folder.path().join("echo.sock");
        return (Place::Unix(path.clone()), Target::Unix(path));
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let nonblocking = listener.set_nonblocking(true);
    nonblocking.expect("a socket can be set so");
    let address = listener.local_addr().expect("a bound socket has one");
    if wire == Wire::Tcp {
        return (Place::Tcp(listener), Target::Tcp(address));
    }
    let certificate = Certificate::make();
    let target = Target::Tls(address, certificate.clone());
    (Place::Tls(listener, certificate), target)
}

/// Ports listen from their start, paths once the server runs.
fn await_listener(target: &Target) {
    let started = Instant::now();
    let listens = || match target {
        Target::Tcp(address) | Target::Tls(address, _) => TcpStream::connect(address).is_ok(),
        Target::Unix(path) => UnixStream::connect(path).is_ok(),
    };
    while !listens() {
        assert!(started.elapsed() < LIMIT, "nothing listens at {target:?}");
        thread::yield_now();
    }
}

/// Starts a thread that profilers can tell from the others.
fn named(
    peer: Peer,
    side: &str,
    cores: &[usize],
    work: impl FnOnce() + Send + 'static,
) -> JoinHandle<()> {
    let cores = cores.to_vec();
    let thread = thread::Builder::new().name(format!("{} {side}", peer.name()));
    let pinned = move || {
        pin(&cores);
        work();
    };
    thread.spawn(pinned).expect("a thread starts")
}

pub(crate) fn current_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts")
}

fn multi_thread() -> Runtime {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime starts")
}
