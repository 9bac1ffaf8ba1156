//! One side alone, for the other in another container.

use crate::{
    lab::{Caller, Placement, Setup, Wire, current_thread, sample},
    load::{Limit, Metadata, Work},
    sample::Figure,
    usage::Threads,
};
use bench_echo::{
    peer::{Peer, Place, Target},
    service::Handler,
};
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::mpsc,
    time::Duration,
};
use tokio::sync::mpsc as tokio_mpsc;

/// Calls of 32 B to a server elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drive {
    pub(crate) in_flight: usize,
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

/// Serves at `IP:PORT` or `unix:PATH` until the process ends.
///
/// # Errors
/// When that is no address or not free.
pub(crate) fn serve(peer: Peer, address: &str) -> Result<(), String> {
    let place = match target(address)? {
        Target::Unix(path) => Place::Unix(path),
        Target::Tcp(address) | Target::Tls(address, _) => {
            let listener = TcpListener::bind(address).map_err(|e| format!("{address}: {e}"))?;
            let nonblocking = listener.set_nonblocking(true);
            nonblocking.map_err(|error| error.to_string())?;
            Place::Tcp(listener)
        }
    };
    current_thread().block_on(peer.serve(place));
    Ok(())
}

/// Calls the server and prints the figures of one turn on a line, each with its name.
///
/// # Errors
/// When that is no address.
pub(crate) fn drive(peer: Peer, address: &str, drive: Drive) -> Result<(), String> {
    let target = target(address)?;
    let (turns, turns_to_do) = tokio_mpsc::unbounded_channel();
    let (done, outcomes) = mpsc::channel();
    let setup = Setup {
        cores: Placement::TwoCores,
        wire: Wire::Tcp,
        connections: drive.connections,
        work: Work::Unary {
            in_flight: drive.in_flight,
            bytes: 32,
            handler: Handler::Echo,
            metadata: Metadata::None,
        },
        client: None,
    };
    let caller = Caller::new(peer, setup, turns_to_do, done);
    let client = std::thread::spawn(move || current_thread().block_on(caller.run(&target)));
    outcomes.recv().map_err(|_| "nobody answers")?;
    let before = Threads::own().used();
    turns
        .send(Limit::Time(drive.time))
        .map_err(|_| "the client ended")?;
    let outcome = outcomes.recv().map_err(|_| "the client ended")?;
    let used = Threads::own().used() - before;
    let calls = outcome.count;
    let figures = sample(outcome, used, crate::usage::Used::default());
    print!("calls {calls}");
    for figure in [Figure::Rate, Figure::P50, Figure::P99, Figure::ClientCpu] {
        let value = figures.get(&figure).copied().unwrap_or(f64::NAN);
        print!(" {} {value:.2}", figure.key());
    }
    println!();
    drop(turns);
    client.join().map_err(|_| "the client ended badly")?;
    Ok(())
}

fn target(address: &str) -> Result<Target, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Target::Unix(PathBuf::from(path)));
    }
    let socket: Result<SocketAddr, _> = address.parse();
    socket
        .map(Target::Tcp)
        .map_err(|_| format!("{address} is neither IP:PORT nor unix:PATH"))
}
