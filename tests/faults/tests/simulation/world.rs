//! The simulated network, and what happens in it.

use crate::schedule::{FAULTS_END, Fault, NAMES, Schedule, What};
use faults::{
    proto::{Request, replica_client::ReplicaClient},
    replica::{Behaviour, Journal, Replica},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sampan::{
    Address, Channel, Code,
    client::{ClientHttp2Settings, chance},
    transport::Server,
};
use std::{
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use turmoil::net::{TcpListener, TcpStream};

/// What happened.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// In the order of their ends.
    pub(crate) calls: Vec<Call>,
    /// Which replica ran which call, in that order.
    pub(crate) journal: Vec<(Arc<str>, u64)>,
    /// Calls that replicas had not let go of at the end.
    pub(crate) left_open: usize,
    /// Those that the channel counted as under way.
    pub(crate) in_flight: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) is_read: bool,
    pub(crate) at: Duration,
    pub(crate) took: Duration,
    pub(crate) deadline: Duration,
    pub(crate) outcome: Result<String, (Code, String)>,
}

/// Calls begin until then.
pub(crate) const CALLS_END: Duration = Duration::from_secs(9);
const LONGEST_DEADLINE: Duration = Duration::from_secs(5);
const PORT: u16 = 50051;
/// Of a quiet connection.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// All time passes by it.
pub(crate) const TICK: Duration = Duration::from_millis(4);

/// One host that replicas run on, one after another.
struct Host {
    name: &'static str,
    replica: Replica,
    drain: Arc<Notify>,
}

pub(crate) fn simulate(seed: u64, schedule: &Schedule) -> Run {
    chance::seed_this_thread(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(CALLS_END + Duration::from_secs(30))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_millis(3))
        .build();
    let journal = Arc::<Mutex<Vec<_>>>::default();
    let hosts = NAMES.map(|name| Host {
        name,
        replica: Replica::new(name, Journal::Memory(Arc::clone(&journal))),
        drain: Arc::default(),
    });
    for host in &hosts {
        let (replica, drain) = (host.replica.clone(), Arc::clone(&host.drain));
        sim.host(host.name, move || {
            serve(replica.clone(), Arc::clone(&drain))
        });
    }
    let targets: Vec<_> = NAMES
        .iter()
        .map(|name| format!("{}:{PORT}", sim.lookup(*name)))
        .collect();
    let told = Arc::<Mutex<(Vec<Call>, u32)>>::default();
    let tells = Arc::clone(&told);
    sim.client("client", async move {
        call_on(format!("ipv4:{}", targets.join(",")), seed, tells).await;
        Ok(())
    });
    let mut due = steps(schedule);
    loop {
        while let Some((_, fault, begins)) = due.pop_if(|(at, ..)| *at <= sim.elapsed()) {
            apply(&mut sim, &hosts[fault.replica], fault.what, begins);
        }
        if sim.step().unwrap() {
            break;
        }
    }
    // What is on its way still arrives.
    for _ in 0..100 {
        sim.step().unwrap();
    }
    // A cancel that a partition swallowed leaves its call to the deadline.
    let left_open = || hosts.iter().map(|host| host.replica.open_calls()).sum();
    let mut ticks = LONGEST_DEADLINE.as_millis() / TICK.as_millis();
    while left_open() > 0_usize && ticks > 0 {
        sim.step().unwrap();
        ticks -= 1;
    }
    let left_open = left_open();
    drop(sim);
    let (calls, in_flight) = std::mem::take(&mut *told.lock().unwrap());
    let journal = std::mem::take(&mut *journal.lock().unwrap());
    Run {
        calls,
        journal,
        left_open,
        in_flight,
    }
}

/// Begins and ends of faults, the last one first.
fn steps(schedule: &Schedule) -> Vec<(Duration, Fault, bool)> {
    let both = |fault: &Fault| [(fault.from, *fault, true), (fault.until, *fault, false)];
    let mut steps: Vec<_> = schedule.faults.iter().flat_map(both).collect();
    steps.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    steps
}

fn apply(sim: &mut turmoil::Sim<'_>, host: &Host, what: What, begins: bool) {
    let name = host.name;
    let mut behaviour = Behaviour::default();
    match (what, begins) {
        (What::Crash, true) => sim.crash(name),
        (What::Drain, true) => host.drain.notify_one(),
        (What::Crash | What::Drain, false) => {
            // It may be there already, by the end of another fault.
            if !sim.is_host_running(name) {
                sim.bounce(name);
            }
        }
        (What::Partition, true) => sim.partition(name, "client"),
        (What::Partition, false) => sim.repair(name, "client"),
        (What::Hold, true) => sim.hold(name, "client"),
        (What::Hold, false) => sim.release(name, "client"),
        (What::Slow(by), true) => behaviour.delay = by,
        (What::Fail, true) => behaviour.fails = Some(Code::Unavailable as i32),
        (What::Shed, true) => behaviour.sheds = Some(Duration::from_millis(200)),
        (What::Mute, true) => behaviour.is_mute = true,
        (What::Slow(_) | What::Fail | What::Shed | What::Mute, false) => {}
    }
    if matches!(what, What::Slow(_) | What::Fail | What::Shed | What::Mute) {
        host.replica.behave(behaviour);
    }
}

async fn serve(replica: Replica, drain: Arc<Notify>) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let incoming = futures_util::stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(socket, _)| socket);
        Some((accepted, listener))
    });
    Server::builder()
        // Half of what clients do: some pings come in twos where the network held them.
        .http2_permit_pings(KEEPALIVE / 2)
        .add_service(replica.service())
        .serve_with_incoming_shutdown(incoming, async move { drain.notified().await })
        .await?;
    Ok(())
}

/// Calls until [`CALLS_END`], and waits for all of them.
async fn call_on(target: String, seed: u64, told: Arc<Mutex<(Vec<Call>, u32)>>) {
    let mut rng = StdRng::seed_from_u64(!seed);
    let mut http2 = ClientHttp2Settings::default();
    http2.keepalive_interval = Some(KEEPALIVE);
    http2.keepalive_timeout = Duration::from_millis(500);
    http2.keepalive_while_idle = true;
    let channel = Channel::configure(target)
        .http2(http2)
        .connect_timeout(Duration::from_secs(1))
        // What is to be seen is whom retries go to, not when they stop.
        .retry_throttle(1000, 1.0)
        .connector(connect)
        .build()
        .unwrap();
    let began = Instant::now();
    let mut calls = JoinSet::new();
    let mut id = 0;
    while began.elapsed() < CALLS_END {
        id += 1;
        let is_read = rng.random();
        // Longer than it takes to find out that a connection is dead, or not.
        let deadline = if is_read {
            LONGEST_DEADLINE
        } else {
            Duration::from_millis(rng.random_range(50..2000))
        };
        let (channel, told) = (channel.clone(), Arc::clone(&told));
        calls.spawn(async move {
            let at = began.elapsed();
            let mut client = ReplicaClient::new(channel);
            let mut request = tonic::Request::new(Request { id });
            request.set_timeout(deadline);
            let answer = if is_read {
                client.read(request).await
            } else {
                client.write(request).await
            };
            let outcome = match answer {
                Ok(answer) => Ok(answer.into_inner().name),
                Err(status) => Err((status.code(), status.message().to_owned())),
            };
            let took = began.elapsed() - at;
            let call = Call {
                id,
                is_read,
                at,
                took,
                deadline,
                outcome,
            };
            told.lock().unwrap().0.push(call);
        });
        tokio::time::sleep(Duration::from_millis(rng.random_range(5..40))).await;
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    let in_flight = channel.endpoints().iter().map(|one| one.in_flight).sum();
    told.lock().unwrap().1 = in_flight;
    debug_assert!(CALLS_END > FAULTS_END);
}

async fn connect(address: Address) -> io::Result<TcpStream> {
    match address {
        Address::Tcp(address) => TcpStream::connect(address).await,
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Call {
            id,
            is_read,
            at,
            took,
            deadline,
            outcome,
        } in &self.calls
        {
            let kind = if *is_read { "read" } else { "write" };
            writeln!(
                f,
                "{at:?} {kind} {id} of {deadline:?} took {took:?}: {outcome:?}"
            )?;
        }
        for (name, id) in &self.journal {
            writeln!(f, "{name} ran {id}")?;
        }
        Ok(())
    }
}
