//! What two engines say to each other, and how one takes what only a raw peer says.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::CONTENT_LENGTH};
use sampan_h2::{
    Connection, Event, Key, Reason, RequestFields, Role, Settings,
    hpack::{Decoded, Decoder},
};
use std::{
    io::IoSlice,
    time::{Duration, Instant},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GRPC: (HeaderName, HeaderValue) = (
    http::header::CONTENT_TYPE,
    HeaderValue::from_static("application/grpc"),
);

type Engine = Connection<()>;

/// All that an engine has to say.
fn said(from: &mut Engine) -> BytesMut {
    let mut wire = BytesMut::new();
    while !from.output().is_empty() {
        let mut pieces = [IoSlice::new(&[]); 16];
        let count = from.output().pieces(&mut pieces);
        let before = wire.len();
        pieces[..count]
            .iter()
            .for_each(|piece| wire.extend_from_slice(piece));
        let len = wire.len() - before;
        from.output_mut().advance(len);
        from.pump();
    }
    wire
}

fn heard(to: &mut Engine, mut wire: BytesMut) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = to.receive(&mut wire, Instant::now()).unwrap() {
        events.push(event);
    }
    assert!(wire.is_empty());
    events
}

/// A client and a server that know each other's settings.
fn pair(client: Settings) -> (Engine, Engine) {
    let mut client = Engine::new(Role::Client, client);
    let mut server = Engine::new(Role::Server, Settings::default());
    heard(&mut server, said(&mut client));
    heard(&mut client, said(&mut server));
    heard(&mut server, said(&mut client));
    (client, server)
}

fn open(client: &mut Engine, headers: &HeaderMap) -> Key {
    open_with(client, &[GRPC], headers)
}

fn open_with(client: &mut Engine, fixed: &[(HeaderName, HeaderValue)], headers: &HeaderMap) -> Key {
    open_as(client, &Method::POST, fixed, headers)
}

fn open_as(
    client: &mut Engine,
    method: &Method,
    fixed: &[(HeaderName, HeaderValue)],
    headers: &HeaderMap,
) -> Key {
    let fields = RequestFields {
        method,
        scheme: "http",
        authority: &HeaderValue::from_static("a"),
        path: "/s/m",
        fixed,
        headers,
        last: &[],
    };
    client.open(&fields, false, |()| ()).unwrap()
}

/// A server's key of the one request that `wire` brings.
fn taken(server: &mut Engine, wire: BytesMut) -> Key {
    match &heard(server, wire)[..] {
        [.., Event::Request { key, .. }] => *key,
        events => panic!("{events:?}"),
    }
}

/// The header blocks of `wire`, as a stranger reads them.
fn lists(wire: &[u8], decoder: &mut Decoder) -> Vec<Decoded> {
    let (mut rest, mut lists) = (wire, Vec::new());
    while let Some((&[a, b, c, kind, ..], after)) = rest.split_first_chunk::<9>() {
        let (payload, after) = after.split_at(u32::from_be_bytes([0, a, b, c]) as usize);
        if kind == HEADERS {
            lists.push(decoder.decode(payload).unwrap());
        }
        rest = after;
    }
    lists
}

fn list_bytes(fields: &HeaderMap) -> usize {
    let bytes = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    fields.iter().map(bytes).sum()
}

#[test]
fn white_space_around_values_is_not_sent() {
    let headers = HeaderMap::from_iter([
        (
            HeaderName::from_static("note"),
            HeaderValue::from_static(" a b\t"),
        ),
        (
            HeaderName::from_static("x-request-id"),
            HeaderValue::from_static(" 7"),
        ),
    ]);
    let (mut client, mut server) = pair(Settings::default());
    let mut decoder = Decoder::new(4096, usize::MAX);
    // The second time from memory.
    for _ in 0..3 {
        open(&mut client, &headers);
        let wire = said(&mut client);
        let [list] = &lists(&wire, &mut decoder)[..] else {
            panic!("one list");
        };
        assert_eq!(list.fields["note"], "a b");
        assert_eq!(list.fields["x-request-id"], "7");
        let pseudo = [11, 11, 9, 11]
            .map(|bytes| bytes + 32)
            .iter()
            .sum::<usize>();
        assert_eq!(list.list_bytes, list_bytes(&list.fields) + pseudo);
        taken(&mut server, wire);
    }
}

fn field(name: &'static str, len: usize) -> (HeaderName, HeaderValue) {
    let value = "x".repeat(len).parse().unwrap();
    (HeaderName::from_static(name), value)
}

fn code(code: &'static str) -> (HeaderName, HeaderValue) {
    let name = HeaderName::from_static("grpc-status");
    (name, HeaderValue::from_static(code))
}

/// `grpc-status` and `grpc-message` of how a call ended, as the client hears it.
fn ending(client: &mut Engine, wire: BytesMut) -> (String, String) {
    let ends = heard(client, wire)
        .into_iter()
        .find_map(|event| match event {
            Event::Trailers { trailers, .. } => Some(trailers.into()),
            Event::Response {
                head, is_end: true, ..
            } => Some(head.headers().clone()),
            _ => None,
        });
    let headers: HeaderMap = ends.unwrap();
    let text = |name| {
        headers
            .get(name)
            .map_or("", |text: &HeaderValue| text.to_str().unwrap())
    };
    (
        text("grpc-status").to_owned(),
        text("grpc-message").to_owned(),
    )
}

#[test]
fn a_long_status_is_cut_to_what_the_client_takes() {
    let (mut client, mut server) = pair(Settings::default());
    let end = || HeaderMap::from_iter([code("5"), field("grpc-message", 20_000)]);
    for is_alone in [true, false, true, false] {
        open(&mut client, &HeaderMap::new());
        let key = taken(&mut server, said(&mut client));
        if is_alone {
            server.send_response(key, StatusCode::OK, &[GRPC], &end(), true);
        } else {
            server.send_response(key, StatusCode::OK, &[GRPC], &HeaderMap::new(), false);
            server.send_trailers(key, end());
        }
        let (code, message) = ending(&mut client, said(&mut server));
        assert_eq!(code, "5");
        assert!(message.len() > 16_000, "{}", message.len());
    }
}

#[test]
fn an_answer_with_headers_over_the_limit_is_resource_exhausted() {
    let (mut client, mut server) = pair(Settings::default());
    let long = HeaderMap::from_iter([code("0"), field("x-own", 20_000)]);
    for (head, is_end) in [(&long, true), (&long, false), (&HeaderMap::new(), false)] {
        let call = open(&mut client, &HeaderMap::new());
        let key = taken(&mut server, said(&mut client));
        server.send_response(key, StatusCode::OK, &[GRPC], head, is_end);
        if head.is_empty() {
            server.send_trailers(key, long.clone());
        }
        let (code, message) = ending(&mut client, said(&mut server));
        assert_eq!(code, "8");
        assert!(
            message.ends_with("are over the limit of 16384 bytes"),
            "{message}"
        );
        // What the server still says of it harms nobody.
        server.send_data(key, "late".into(), true);
        assert!(heard(&mut client, said(&mut server)).is_empty());
        client.release(call);
        assert_eq!(client.open_streams(), 0);
        heard(&mut server, said(&mut client));
        server.release(key);
    }
}

#[test]
fn a_request_with_headers_over_the_limit_is_told_so_in_its_own_words() {
    let (mut client, mut server) = pair(Settings::default());
    let long = field("x-own", 20_000);
    let other = (GRPC.0, HeaderValue::from_static("application/grpc-web"));
    let mut decoder = Decoder::new(4096, usize::MAX);
    for (fixed, status, code) in [
        ([GRPC, long.clone()], 200, "8"),
        ([long.clone(), GRPC], 200, "8"),
        ([long.clone(), other], 431, ""),
    ] {
        let key = open_with(&mut client, &fixed, &HeaderMap::new());
        assert!(heard(&mut server, said(&mut client)).is_empty());
        let wire = said(&mut server);
        let list = lists(&wire, &mut decoder).remove(0);
        assert_eq!(list.pseudo.status.unwrap(), status);
        assert_eq!(ending(&mut client, wire).0, code);
        client.release(key);
        heard(&mut server, said(&mut client));
    }
}

fn lengths(values: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn a_length_that_is_no_number_or_two_is_malformed() {
    let (mut client, mut server) = pair(Settings::default());
    for (values, is_good) in [
        (&["3"][..], true),
        (&["3", "3"], true),
        (&["3", "4"], false),
        (&["3, 3"], false),
        (&["-3"], false),
        (&["+3"], false),
        (&["3x"], false),
        (&[""], false),
        (&["99999999999999999999"], false),
    ] {
        let headers = lengths(values);
        let call = open(&mut client, &headers);
        let events = heard(&mut server, said(&mut client));
        let is_taken = events
            .iter()
            .any(|event| matches!(event, Event::Request { .. }));
        assert_eq!(is_taken, is_good, "{values:?}");
        client.release(call);
        heard(&mut client, said(&mut server));
        heard(&mut server, said(&mut client));

        open(&mut client, &HeaderMap::new());
        let key = taken(&mut server, said(&mut client));
        server.send_response(key, StatusCode::OK, &[GRPC], &headers, false);
        match &heard(&mut client, said(&mut server))[..] {
            [.., Event::Response { .. }] => assert!(is_good, "{values:?}"),
            [.., Event::Reset { reason, .. }] => {
                assert_eq!(
                    (*reason, is_good),
                    (Reason::PROTOCOL_ERROR, false),
                    "{values:?}"
                );
            }
            events => panic!("{events:?}"),
        }
    }
}

#[test]
fn an_answer_without_the_content_that_it_promises_is_malformed() {
    let (mut client, mut server) = pair(Settings::default());
    for (method, status, is_good) in [
        (Method::POST, StatusCode::OK, false),
        (Method::POST, StatusCode::NOT_MODIFIED, true),
        (Method::HEAD, StatusCode::OK, true),
    ] {
        open_as(&mut client, &method, &[], &HeaderMap::new());
        let key = taken(&mut server, said(&mut client));
        server.send_response(key, status, &[], &lengths(&["3"]), true);
        let events = heard(&mut client, said(&mut server));
        let is_taken = events
            .iter()
            .any(|event| matches!(event, Event::Response { .. }));
        assert_eq!(is_taken, is_good, "{method} {status}: {events:?}");
        server.release(key);
    }
}

#[test]
fn there_is_no_switching_of_protocols() {
    let (mut client, mut server) = pair(Settings::default());
    for (status, is_good) in [(103, true), (101, false)] {
        open(&mut client, &HeaderMap::new());
        let key = taken(&mut server, said(&mut client));
        let status = StatusCode::from_u16(status).unwrap();
        server.send_response(key, status, &[], &HeaderMap::new(), false);
        let events = heard(&mut client, said(&mut server));
        assert_eq!(events.is_empty(), is_good, "{events:?}");
    }
}

/// A frame of sevens.
fn frame(kind: u8, stream: u8, len: usize) -> BytesMut {
    let [_, a, b, c] = (len as u32).to_be_bytes();
    let mut frame = BytesMut::from(&[a, b, c, kind, 0, 0, 0, 0, stream][..]);
    frame.resize(9 + len, 7);
    frame
}

#[test]
fn frames_of_unknown_kinds_are_ignored_up_to_the_size_of_a_frame() {
    let mut settings = Settings::default();
    settings.max_frame_bytes = 128 << 10;
    settings.min_ping_interval = Duration::ZERO;
    let mut server = Engine::new(Role::Server, settings);
    let mut client = Engine::new(Role::Client, Settings::default());
    open(&mut client, &HeaderMap::new());
    let key = taken(&mut server, said(&mut client));
    // Full frames of data are answered by an offer of larger ones.
    heard(&mut server, frame(DATA, 1, 16 << 10));
    for len in [0, 1, 16 << 10, 128 << 10] {
        let mut wire = frame(0xee, 1, len);
        wire.extend_from_slice(&frame(6, 0, 8));
        let mut input = BytesMut::new();
        for chunk in wire.chunks(1000) {
            input.extend_from_slice(chunk);
            assert!(
                server
                    .receive(&mut input, Instant::now())
                    .unwrap()
                    .is_none()
            );
            assert!(input.len() < 17, "nothing of it is kept");
        }
    }
    assert!(server.may_send(key));
    let mut larger = frame(0xee, 1, (128 << 10) + 1);
    let error = server.receive(&mut larger, Instant::now()).unwrap_err();
    assert_eq!(error.reason, Reason::FRAME_SIZE_ERROR);
}

#[test]
fn data_beyond_the_window_of_a_stream_is_counted_with_the_resets() {
    let mut settings = Settings::default();
    (settings.resets, settings.resets_per_second) = (3, 0);
    let mut server = Engine::new(Role::Server, settings);
    let mut client = Engine::new(Role::Client, Settings::default());
    for n in 0..4 {
        open(&mut client, &HeaderMap::new());
        let key = taken(&mut server, said(&mut client));
        for _ in 0..16 {
            heard(&mut server, frame(DATA, 2 * n + 1, 16 << 10));
        }
        let mut beyond = frame(DATA, 2 * n + 1, 1);
        match server.receive(&mut beyond, Instant::now()) {
            Ok(Some(Event::Reset { reason, .. })) => {
                assert_eq!((reason, n < 3), (Reason::FLOW_CONTROL_ERROR, true));
                heard(&mut server, beyond);
            }
            Err(error) => assert_eq!((error.reason, n), (Reason::ENHANCE_YOUR_CALM, 3)),
            other => panic!("{other:?}"),
        }
        server.release(key);
    }
}
