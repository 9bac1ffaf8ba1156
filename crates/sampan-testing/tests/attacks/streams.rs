//! Streams that are begun, and left.

use crate::{
    code,
    raw::{
        END_HEADERS, END_STREAM, Ended, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, Raw,
        WINDOW_UPDATE, block, nth,
    },
    target::Scene,
};
use sampan_testing::proto::EchoRequest;
use std::collections::HashSet;

#[test]
fn streams_beyond_the_limit_are_refused() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    assert_eq!(raw.streams_allowed(), 256);
    for n in 0..1_000 {
        raw.head(0, nth(n), "ClientStream");
    }
    raw.flush().unwrap();
    for n in 256..1_000 {
        assert_eq!(
            raw.end_of(nth(n)),
            Ended::Reset(code::REFUSED_STREAM),
            "stream {n}"
        );
    }
    // The others still stand.
    raw.frame(0, END_STREAM, nth(0), &[]);
    raw.flush().unwrap();
    assert!(matches!(raw.end_of(nth(0)), Ended::Status { grpc, .. } if grpc == "0"));
    scene.ends_well(16);
}

#[test]
fn open_streams_that_send_nothing_cost_little() {
    let scene = Scene::set();
    let mut raws: Vec<_> = (0..40).map(|_| Raw::connect(scene.address, &[])).collect();
    for raw in &mut raws {
        for n in 0..256 {
            raw.head(0, nth(n), "Unary");
        }
        raw.flush().unwrap();
    }
    for raw in &mut raws {
        assert!(raw.is_alive());
    }
    // 10,240 streams.
    scene.ends_well(32);
}

#[test]
fn headers_of_open_streams_have_a_budget() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let block = block(
        "/sampan.testing.v1.Echo/ClientStream",
        &[("filler", &"x".repeat(8 << 10))],
    );
    for n in 0..256 {
        raw.frame(HEADERS, END_HEADERS, nth(n), &block);
    }
    raw.flush().unwrap();
    let mut refused = HashSet::new();
    // The budget of 256 KiB holds 31 of them; the last one tells that all were looked at.
    while !refused.contains(&nth(255)) {
        let frame = raw.wait_for(|frame| frame.kind == RST_STREAM);
        assert_eq!(frame.payload, code::REFUSED_STREAM.to_be_bytes());
        refused.insert(frame.stream);
    }
    let kept = 256 - refused.len();
    assert!(
        (16..=40).contains(&kept),
        "{kept} streams kept their headers"
    );
    scene.ends_well(8);
}

#[test]
fn answers_that_nobody_opens_a_window_for_wait_in_bounds_and_come_at_last() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[(INITIAL_WINDOW_SIZE, 0)]);
    let request = EchoRequest {
        answer_bytes: 512 << 10,
        ..EchoRequest::default()
    };
    // 128 MiB of answers.
    for n in 0..256 {
        raw.call(nth(n), &request);
    }
    raw.flush().unwrap();
    assert!(raw.is_alive());
    raw.frame(WINDOW_UPDATE, 0, 0, &(256_u32 << 20).to_be_bytes());
    for n in 0..256 {
        raw.frame(WINDOW_UPDATE, 0, nth(n), &(1_u32 << 20).to_be_bytes());
        raw.flush().unwrap();
        let end = raw.end(|_| true).unwrap();
        assert!(
            matches!(&end, Ended::Status { grpc, .. } if grpc == "0"),
            "{end:?}"
        );
    }
    scene.ends_well(24);
}
