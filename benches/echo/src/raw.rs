//! The floor: two threads that pass bytes back and forth over blocking sockets.

use crate::{
    lab::{Wire, sample},
    load::{Limit, Outcome},
    sample::Sample,
    usage::{Threads, pin},
};
use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Bytes each way.
const PAYLOAD: usize = 32;

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

pub(crate) struct PingPong {
    near: RefCell<Box<dyn Stream>>,
    core: usize,
    server: Threads,
}

// === impl PingPong ===

impl PingPong {
    /// Both sides on one core.
    pub(crate) fn start(wire: Wire, core: usize) -> Self {
        let (near, mut far) = match wire {
            Wire::Tcp | Wire::Tls => tcp(),
            Wire::Unix => unix(),
        };
        let before = Threads::own();
        let (started, starts) = mpsc::channel();
        thread::spawn(move || {
            pin(&[core]);
            started.send(()).expect("the starter waits");
            let mut bytes = [0; PAYLOAD];
            while far.read_exact(&mut bytes).is_ok() && far.write_all(&bytes).is_ok() {}
        });
        starts.recv().expect("the thread starts");
        Self {
            near: RefCell::new(near),
            core,
            server: Threads::own().without(&before),
        }
    }

    pub(crate) fn turn(&self, limit: Limit) -> Sample {
        let Limit::Time(time) = limit else {
            panic!("raw sockets run for a time");
        };
        // A thread of its own: this one is not pinned.
        let mut near = self.near.borrow_mut();
        thread::scope(|scope| {
            let (near, core) = (&mut **near, self.core);
            let turn = scope.spawn(move || {
                pin(&[core]);
                let before = Threads::current().used();
                let outcome = ping_pong(near, time);
                (outcome, Threads::current().used() - before)
            });
            let before = self.server.used();
            let (outcome, client) = turn.join().expect("the turn ends");
            sample(outcome, client, self.server.used() - before)
        })
    }
}

fn ping_pong(near: &mut dyn Stream, time: Duration) -> Outcome {
    let (mut bytes, mut latencies) = ([7; PAYLOAD], Vec::with_capacity(1 << 16));
    let started = Instant::now();
    let mut before = started;
    while before - started < time {
        near.write_all(&bytes).expect("the other side lives");
        near.read_exact(&mut bytes).expect("the other side lives");
        let now = Instant::now();
        let nanos = (now - before).as_nanos();
        latencies.push(u32::try_from(nanos).unwrap_or(u32::MAX));
        before = now;
    }
    Outcome {
        count: latencies.len() as u64,
        elapsed: before - started,
        latencies,
        bytes: 0,
    }
}

fn tcp() -> (Box<dyn Stream>, Box<dyn Stream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = listener.local_addr().expect("a bound socket has one");
    let near = TcpStream::connect(address).expect("it listens");
    let (far, _) = listener.accept().expect("the other side connected");
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("a socket can be set so");
    }
    (Box::new(near), Box::new(far))
}

fn unix() -> (Box<dyn Stream>, Box<dyn Stream>) {
    let (near, far) = UnixStream::pair().expect("a pair can be made");
    (Box::new(near), Box::new(far))
}
