//! The floor: two threads that pass 32 bytes back and forth over blocking sockets.

use crate::subject::PAYLOAD;
use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct PingPong(RefCell<TcpStream>);

// === impl PingPong ===

impl PingPong {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
        let address = listener.local_addr().expect("a bound socket has one");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the other side connects");
            stream.set_nodelay(true).expect("a socket can be set so");
            let mut bytes = [0; PAYLOAD];
            while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
        });
        let stream = TcpStream::connect(address).expect("the other side listens");
        stream.set_nodelay(true).expect("a socket can be set so");
        Self(RefCell::new(stream))
    }

    /// The median round trip of one turn.
    pub(crate) fn run(&self, turn: Duration) -> Duration {
        let mut stream = self.0.borrow_mut();
        let (end, mut bytes, mut round_trips) = (Instant::now() + turn, [7; PAYLOAD], Vec::new());
        loop {
            let started = Instant::now();
            stream.write_all(&bytes).expect("the other side lives");
            stream.read_exact(&mut bytes).expect("the other side lives");
            let now = Instant::now();
            round_trips.push(now - started);
            if now >= end {
                let middle = round_trips.len() / 2;
                return *round_trips.select_nth_unstable(middle).1;
            }
        }
    }
}
