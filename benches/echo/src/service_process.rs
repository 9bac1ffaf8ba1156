//! A server as a process of its own: `serve-sampan` or `serve-tonic`, beside this program.

use crate::usage::pin;
use bench_echo::peer::{Peer, Target};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Ended with this value.
pub(crate) struct ServiceProcess {
    child: Child,
    address: SocketAddr,
    started: Instant,
}

/// What does not listen by then never will.
const LIMIT: Duration = Duration::from_secs(10);

// === impl ServiceProcess ===

impl ServiceProcess {
    /// Starts it on these cores and waits until it listens.
    pub(crate) fn start(peer: Peer, cores: &[usize]) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a port");
        let address = free.local_addr().expect("a bound socket has one");
        drop(free);
        let program = match peer {
            Peer::Sampan | Peer::SampanBare | Peer::SampanTonicCode => "serve-sampan",
            Peer::Tonic | Peer::TonicAgain | Peer::TonicDeadline => "serve-tonic",
        };
        let cores = cores.to_vec();
        // The process has the cores of the thread that starts it.
        let start = move || {
            pin(&cores);
            let started = Instant::now();
            let child = Command::new(beside(program))
                .env("PORT", address.port().to_string())
                .env("SAMPAN_HOST", "127.0.0.1")
                .env("SAMPAN_PROBE_PORT", "0")
                .stderr(Stdio::null())
                .spawn();
            (child, started)
        };
        let (child, started) = thread::spawn(start).join().expect("the thread ends well");
        let child = child.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let service = Self {
            child,
            address,
            started,
        };
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < LIMIT, "{program} does not listen");
            thread::yield_now();
        }
        service
    }

    pub(crate) fn target(&self) -> Target {
        Target::Tcp(self.address)
    }

    /// When it was executed.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A program of this package.
pub(crate) fn beside(program: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the system tells this program's path");
    own.with_file_name(program)
}
