//! Replays the kept corpus of `fuzz/` through the bodies of the fuzz targets.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use fuzz_targets::connection;
use std::path::Path;

fn replay<T>(target: &str, at_least: usize, mut body: impl FnMut(&[u8]) -> T) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut seeds = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let octets = fuzz_targets::seed::parse(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("{}", path.display());
        body(&octets);
        seeds += 1;
    }
    assert!(seeds >= at_least, "{seeds} seeds in {}", folder.display());
}

#[test]
fn the_corpus_of_hpack_holds() {
    replay("hpack", 20, fuzz_targets::hpack::check);
}

/// Also shows that the corpus gets somewhere: every event, and most ways to fail.
#[test]
fn the_corpus_of_the_engine_holds_and_reaches_all_of_it() {
    let mut reached = Vec::new();
    replay("frame", 10, |octets| {
        reached.extend(connection::check_frames(octets))
    });
    replay("server_connection", 25, |octets| {
        reached.extend(connection::check_server(octets))
    });
    replay("client_connection", 15, |octets| {
        reached.extend(connection::check_client(octets))
    });
    let places = [
        "Request {",
        "Response {",
        "Data {",
        "Trailers {",
        "Reset {",
        "Refused {",
        "Goaway {",
        "Pong(",
        "Settings",
        "by_peer: true",
        "by_peer: false",
        "trailers: Ok",
        "trailers: Fields",
        "REFUSED_STREAM",
        "STREAM_CLOSED",
        "FLOW_CONTROL_ERROR",
        "COMPRESSION_ERROR",
        "the preface is not HTTP/2's",
        "a frame is larger than allowed",
        "too many resets",
        "too many frames that bring nothing on",
        "a header block was interrupted",
        "too_many_pings",
        "streams were opened out of order",
        "has an even number",
        "INITIAL_WINDOW_SIZE is too large",
        "the window grew too large",
        "PUSH_PROMISE",
        "ENABLE_PUSH has a wrong value",
        "PING has a wrong size",
        "for an idle stream",
    ];
    for place in places {
        assert!(
            reached.iter().any(|event| event.contains(place)),
            "{place} was not reached"
        );
    }
}
