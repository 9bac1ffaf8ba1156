//! Clients that stop.

use crate::{
    raw::{Frames, Heard, INITIAL_WINDOW_SIZE, PRIORITY, Raw, SETTINGS, WINDOW_UPDATE, nth},
    target::Scene,
};
use sampan_testing::proto::EchoRequest;
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

const PREFACE_WITHIN: Duration = Duration::from_secs(10);
const STALLED_FOR: Duration = Duration::from_secs(60);
/// What a timer may be late on a machine under attack.
const LATE: Duration = Duration::from_secs(8);

/// Waits until the server closes; gives after how long.
fn closed_after(raw: &Raw, start: Instant, limit: Duration) -> Duration {
    let end = start + limit + LATE;
    loop {
        match raw.hear(end) {
            Some(Heard::Frame(_)) => {}
            Some(Heard::Closed) => return start.elapsed(),
            None => panic!("still open after {:?}", start.elapsed()),
        }
    }
}

#[test]
fn a_client_that_says_nothing_is_left() {
    let scene = Scene::set();
    let start = Instant::now();
    let raws: Vec<_> = (0..100).map(|_| Raw::silent(scene.address)).collect();
    for raw in &raws {
        assert!(
            closed_after(raw, start, PREFACE_WITHIN) >= PREFACE_WITHIN - Duration::from_secs(1)
        );
    }
    scene.ends_well(8);
}

#[test]
fn a_client_that_says_half_a_preface_is_left() {
    let scene = Scene::set();
    let start = Instant::now();
    let mut raw = Raw::silent(scene.address);
    // A byte a second does not help.
    for byte in b"PRI * HTTP/2" {
        raw.write(&[*byte]);
        sleep(Duration::from_millis(700));
    }
    closed_after(&raw, start, PREFACE_WITHIN);
    scene.ends_well(8);
}

#[test]
fn a_client_that_never_reads_its_socket_is_left_and_its_answers_wait_in_bounds() {
    let scene = Scene::set();
    let mut socket = TcpStream::connect(scene.address).unwrap();
    socket
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut wish = Frames::preface(&[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    wish.frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    let request = EchoRequest {
        answer_bytes: 1 << 20,
        ..EchoRequest::default()
    };
    for n in 0..256 {
        wish.call(nth(n), &request);
    }
    socket.write_all(wish.bytes()).unwrap();
    let start = Instant::now();
    let closed = loop {
        sleep(Duration::from_millis(500));
        let mut small = Frames::default();
        small.frame(PRIORITY, 0, 1, &[0; 5]);
        match socket.write_all(small.bytes()) {
            Ok(()) => {}
            // Frames are always read.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it stopped reading"),
            Err(_) => break start.elapsed(),
        }
        assert!(start.elapsed() < STALLED_FOR + LATE, "still open");
    };
    // The kernel's own limit for what is not acknowledged, 20 s, may come first.
    assert!(closed >= STALLED_FOR / 4, "closed after {closed:?}");
    scene.ends_well(24);
}

#[test]
fn a_connection_whose_window_stays_shut_is_left() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    raw.call(
        1,
        &EchoRequest {
            answer_bytes: 1 << 20,
            ..EchoRequest::default()
        },
    );
    raw.flush().unwrap();
    let start = Instant::now();
    let end = start + STALLED_FOR + LATE;
    // What the server says to control frames is no progress.
    while Instant::now() < end {
        let next = Instant::now() + STALLED_FOR / 6;
        loop {
            match raw.hear(next.min(end)) {
                Some(Heard::Frame(_)) => {}
                Some(Heard::Closed) => {
                    assert!(start.elapsed() >= STALLED_FOR / 2);
                    return scene.ends_well(8);
                }
                None => break,
            }
        }
        let mut settings = Frames::default();
        settings.frame(SETTINGS, 0, 0, &[]);
        raw.append(&settings);
        raw.flush().unwrap();
    }
    panic!("still open");
}

fn is_served(address: SocketAddr) -> bool {
    let mut raw = Raw::silent(address);
    let preface = Frames::preface(&[]);
    raw.append(&preface);
    raw.is_alive()
}

#[test]
fn connections_beyond_the_cap_are_closed_and_the_others_stay() {
    let scene = Scene::with(&[("SAMPAN_MAX_CONNECTIONS", "8")]);
    let mut raws: Vec<_> = (0..7).map(|_| Raw::connect(scene.address, &[])).collect();
    for raw in &mut raws {
        assert!(raw.is_alive());
    }
    for _ in 0..50 {
        closed_after(&Raw::silent(scene.address), Instant::now(), Duration::ZERO);
    }
    drop(raws.pop());
    // A place is free again, once the server has seen that.
    let start = Instant::now();
    while !is_served(scene.address) {
        assert!(start.elapsed() < LATE, "no place came free");
    }
    scene.ends_well(8);
}
