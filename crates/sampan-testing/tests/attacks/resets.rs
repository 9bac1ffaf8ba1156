//! Streams that are begun only to be reset, by the client or by what it provokes.

use crate::{
    code,
    raw::{
        DATA, END_STREAM, Ended, Frames, INITIAL_WINDOW_SIZE, PRIORITY, Raw, WINDOW_UPDATE,
        message, nth,
    },
    target::Scene,
};
use sampan_testing::proto::EchoRequest;
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Over the 2,000 that a connection has, and what comes back to it meanwhile.
const MANY: u32 = 50_000;

#[test]
fn a_rapid_reset_is_told_to_calm_down() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let code = raw.flood(MANY, |raw, n| {
        raw.head(0, nth(n), "ClientStream");
        raw.reset(nth(n), code::CANCEL);
    });
    assert_eq!(code, Some(code::ENHANCE_YOUR_CALM));
    scene.ends_well(16);
}

#[test]
fn five_hundred_cancels_a_second_are_lawful() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let start = Instant::now();
    // More than a connection has at first.
    for tick in 0..600_u32 {
        for n in 5 * tick..5 * (tick + 1) {
            raw.head(0, nth(n), "ClientStream");
            raw.reset(nth(n), code::CANCEL);
        }
        raw.flush().unwrap();
        let next = start + Duration::from_millis(10) * (tick + 1);
        sleep(next.saturating_duration_since(Instant::now()));
    }
    assert!(raw.is_alive());
    scene.ends_well(16);
}

/// CVE-2025-8671. A server may also take the fault for one of the connection and end it at once.
#[test]
fn streams_that_a_client_makes_the_server_reset_are_counted() {
    type Provoke = fn(&mut Frames, u32);
    let provocations: [(Provoke, u32); 3] = [
        // An increment of nothing.
        (
            |frames, stream| frames.frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
            code::PROTOCOL_ERROR,
        ),
        // More after the end.
        (
            |frames, stream| {
                frames.frame(DATA, END_STREAM, stream, &[]);
                frames.frame(DATA, 0, stream, &[0]);
            },
            code::STREAM_CLOSED,
        ),
        (
            |frames, stream| frames.frame(PRIORITY, 0, stream, &[0]),
            code::FRAME_SIZE_ERROR,
        ),
    ];
    let scene = Scene::set();
    for (provoke, at_once) in provocations {
        let mut raw = Raw::connect(scene.address, &[]);
        let code = raw.flood(MANY, |frames, n| {
            frames.head(0, nth(n), "ClientStream");
            provoke(frames, nth(n));
        });
        // The last: frames on a stream that is forgotten.
        let allowed = [code::ENHANCE_YOUR_CALM, at_once, code::PROTOCOL_ERROR].map(Some);
        assert!(allowed.contains(&code), "{code:?}, not {allowed:?}");
    }
    scene.ends_well(16);
}

#[test]
fn windows_that_overflow_are_counted_with_them() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let overflow = 0x7fff_ffff_u32.to_be_bytes();
    raw.head(0, nth(0), "ClientStream");
    raw.frame(WINDOW_UPDATE, 0, nth(0), &overflow);
    raw.flush().unwrap();
    assert_eq!(raw.end_of(nth(0)), Ended::Reset(code::FLOW_CONTROL_ERROR));
    let code = raw.flood(MANY, |raw, n| {
        raw.head(0, nth(n + 1), "ClientStream");
        raw.frame(WINDOW_UPDATE, 0, nth(n + 1), &overflow);
    });
    assert_eq!(code, Some(code::ENHANCE_YOUR_CALM));
    scene.ends_well(16);
}

#[test]
fn data_beyond_the_window_of_a_stream_ends_that_stream_alone() {
    let scene = Scene::set();
    // Nothing of an answer leaves, so that the handler stops reading.
    let mut raw = Raw::connect(scene.address, &[(INITIAL_WINDOW_SIZE, 0)]);
    let request = EchoRequest {
        payload: vec![7; 1000],
        ..EchoRequest::default()
    };
    let messages = message(&request).repeat(15);
    for n in 0..8 {
        raw.head(0, nth(n), "Bidi");
        // Twice the window.
        for _ in 0..512 * 1024 / messages.len() {
            raw.frame(DATA, 0, nth(n), &messages);
        }
        raw.flush().unwrap();
        assert_eq!(raw.end_of(nth(n)), Ended::Reset(code::FLOW_CONTROL_ERROR));
    }
    assert!(raw.is_alive());
    scene.ends_well(16);
}
