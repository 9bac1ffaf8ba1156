//! Frames that cost a client little.

use crate::{
    code,
    raw::{ACK, DATA, END_STREAM, Ended, GOAWAY, Heard, PING, Raw, SETTINGS, SOON, message, nth},
    target::Scene,
};
use sampan_testing::proto::EchoRequest;
use std::time::Instant;

const OK: &str = "0";
const PADDED: u8 = 8;

fn ok() -> Ended {
    Ended::Status {
        http: "200".to_owned(),
        grpc: OK.to_owned(),
    }
}

#[test]
fn empty_data_frames_are_counted() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    raw.head(0, 1, "ClientStream");
    let code = raw.flood(10_000, |raw, _| raw.frame(DATA, 0, 1, &[]));
    assert_eq!(code, Some(code::ENHANCE_YOUR_CALM));
    scene.ends_well(8);
}

#[test]
fn data_frames_of_padding_alone_are_counted_as_empty() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    raw.head(0, 1, "ClientStream");
    // Two bytes of the window each: too few to close it first.
    let code = raw.flood(10_000, |raw, _| raw.frame(DATA, PADDED, 1, &[1, 0]));
    assert_eq!(code, Some(code::ENHANCE_YOUR_CALM));
    scene.ends_well(8);
}

#[test]
fn many_small_messages_are_lawful() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    raw.head(0, 1, "ClientStream");
    let small = message(&EchoRequest::default());
    for _ in 0..20_000 {
        raw.frame(DATA, 0, 1, &small);
    }
    raw.frame(DATA, END_STREAM, 1, &[]);
    raw.flush().unwrap();
    assert_eq!(raw.end_of(1), ok());
    scene.ends_well(16);
}

#[test]
fn a_message_in_frames_of_one_byte_costs_no_memory() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    raw.head(0, 1, "Unary");
    let bytes = message(&EchoRequest {
        payload: vec![7; 60_000],
        ..EchoRequest::default()
    });
    let code = raw.flood(bytes.len() as u32, |raw, n| {
        let last = if n + 1 == bytes.len() as u32 {
            END_STREAM
        } else {
            0
        };
        raw.frame(DATA, last, 1, &bytes[n as usize..][..1]);
    });
    // Taken or refused; only not by any other code.
    assert!(
        matches!(code, None | Some(code::ENHANCE_YOUR_CALM)),
        "{code:?}"
    );
    scene.ends_well(8);
}

#[test]
fn a_flood_of_pings_is_told_to_calm_down() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    for _ in 0..10 {
        raw.frame(PING, 0, 0, &[0; 8]);
    }
    raw.flush().unwrap();
    let end = Instant::now() + SOON;
    let goodbye = loop {
        match raw.hear(end) {
            Some(Heard::Frame(frame)) if frame.kind == GOAWAY => break frame,
            Some(Heard::Frame(_)) => {}
            other => panic!("{other:?} instead of GOAWAY"),
        }
    };
    assert_eq!(goodbye.payload[4..8], code::ENHANCE_YOUR_CALM.to_be_bytes());
    // What A8 has clients look for, to ping less.
    assert_eq!(&goodbye.payload[8..], b"too_many_pings");
    scene.ends_well(8);
}

#[test]
fn pings_are_lawful_while_calls_are_answered() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    for n in 0..2_000 {
        raw.call(nth(n), &EchoRequest::default());
        raw.frame(PING, 0, 0, &[0; 8]);
        raw.flush().unwrap();
        assert_eq!(raw.end_of(nth(n)), ok());
    }
    assert!(raw.is_alive());
    scene.ends_well(8);
}

#[test]
fn a_flood_of_settings_is_told_to_calm_down() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let code = raw.flood(100_000, |raw, _| raw.frame(SETTINGS, 0, 0, &[]));
    assert_eq!(code, Some(code::ENHANCE_YOUR_CALM));
    scene.ends_well(8);
}

#[test]
fn acknowledgements_that_nobody_asked_for_cost_no_memory() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let code = raw.flood(100_000, |raw, _| raw.frame(PING, ACK, 0, &[0; 8]));
    assert!(
        matches!(code, None | Some(code::ENHANCE_YOUR_CALM)),
        "{code:?}"
    );
    scene.ends_well(8);
}
