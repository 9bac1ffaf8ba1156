//! Header blocks that never end, that unfold, and that lie.

use crate::{
    code,
    raw::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Ended, HEADERS, Raw, block, message, nth,
        string,
    },
    target::Scene,
};
use sampan_testing::proto::EchoRequest;

const UNARY: &str = "/sampan.testing.v1.Echo/Unary";

/// A request with this block, whole.
fn request(raw: &mut Raw, stream: u32, block: &[u8]) {
    raw.frame(HEADERS, END_HEADERS, stream, block);
    raw.frame(DATA, END_STREAM, stream, &message(&EchoRequest::default()));
    raw.flush().unwrap();
}

fn is_ok(end: &Ended) -> bool {
    matches!(end, Ended::Status { grpc, .. } if grpc == "0")
}

#[test]
fn a_header_block_that_never_ends_is_told_to_calm_down() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    raw.frame(HEADERS, 0, 1, &block(UNARY, &[]));
    let mut field = vec![0];
    string(&mut field, "filler");
    string(&mut field, &"x".repeat(1000));
    // 100 MiB, if it is let.
    let code = raw.flood(100_000, |raw, _| raw.frame(CONTINUATION, 0, 1, &field));
    assert_eq!(code, Some(code::ENHANCE_YOUR_CALM));
    scene.ends_well(8);
}

#[test]
fn a_header_block_of_empty_frames_is_told_to_calm_down() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    raw.frame(HEADERS, 0, 1, &block(UNARY, &[]));
    let code = raw.flood(1_000_000, |raw, _| raw.frame(CONTINUATION, 0, 1, &[]));
    assert_eq!(code, Some(code::ENHANCE_YOUR_CALM));
    scene.ends_well(8);
}

#[test]
fn a_header_block_that_unfolds_is_refused_and_not_kept() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    // A field of nearly the whole table, and then 15,000 times its index: 58 MiB.
    let mut bomb = block(UNARY, &[]);
    bomb.push(0x40);
    string(&mut bomb, "bomb");
    string(&mut bomb, &"x".repeat(4000));
    bomb.extend([0x80 | 62; 11_000]);
    for n in 0..20 {
        raw.frame(HEADERS, END_HEADERS | END_STREAM, nth(n), &bomb);
        if raw.flush().is_err() {
            break;
        }
    }
    match raw.end(|stream| stream == 1) {
        Ok(end) => assert!(!is_ok(&end), "{end:?}"),
        Err(code) => assert_eq!(code, Some(code::ENHANCE_YOUR_CALM)),
    }
    scene.ends_well(8);
}

#[test]
fn a_header_list_over_its_limit_fails_its_call_alone() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let long = "x".repeat(10_000);
    let block = block(UNARY, &[("a", &long)]);
    // Under the frame's limit, over the list's with the next frame.
    raw.frame(HEADERS, 0, 1, &block);
    let mut more = vec![0];
    string(&mut more, "b");
    string(&mut more, &long);
    raw.frame(CONTINUATION, END_HEADERS, 1, &more);
    raw.frame(DATA, END_STREAM, 1, &message(&EchoRequest::default()));
    raw.flush().unwrap();
    let refused = Ended::Status {
        http: "200".to_owned(),
        grpc: "8".to_owned(),
    };
    assert_eq!(raw.end_of(1), refused);

    raw.call(3, &EchoRequest::default());
    raw.flush().unwrap();
    assert!(is_ok(&raw.end_of(3)));
    scene.ends_well(8);
}

#[test]
fn a_path_without_a_slash_is_refused() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    let paths = [
        "sampan.testing.v1.Echo/Unary",
        "",
        "*",
        "http://attacked/sampan.testing.v1.Echo/Unary",
    ];
    for (n, path) in (0..).zip(paths) {
        request(&mut raw, nth(n), &block(path, &[]));
        let end = raw.end_of(nth(n));
        let is_refused = match &end {
            Ended::Reset(reason) => *reason == code::PROTOCOL_ERROR,
            Ended::Status { http, grpc } => http == "400" || grpc == "12",
        };
        assert!(is_refused, "{path:?}: {end:?}");
    }
    raw.call(101, &EchoRequest::default());
    raw.flush().unwrap();
    assert!(is_ok(&raw.end_of(101)));
    scene.ends_well(8);
}

#[test]
fn metadata_that_is_no_base64_fails_its_call_alone() {
    let scene = Scene::set();
    let mut raw = Raw::connect(scene.address, &[]);
    request(&mut raw, 1, &block(UNARY, &[("echo-note-bin", "!!!!")]));
    match raw.end_of(1) {
        Ended::Status { http, grpc } => {
            assert_eq!(http, "200");
            assert!(!matches!(grpc.as_str(), "" | "0"), "grpc-status {grpc:?}");
        }
        end @ Ended::Reset(_) => panic!("{end:?} instead of a status"),
    }
    raw.call(3, &EchoRequest::default());
    raw.flush().unwrap();
    assert!(is_ok(&raw.end_of(3)));
    scene.ends_well(8);
}
