//! The engine of a connection, driven by whatever a peer may send.
//!
//! Whatever arrives, and however it is cut: no panic, no more streams and no more bytes than
//! allowed, nothing sent beyond the peer's windows, and all that is sent is well-formed.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sampan_h2::{Connection, Event, Key, PREFACE, Reason, RequestFields, Role, Settings};

use crate::frames::{Mark, check_sent};

const STREAMS: u32 = 8;
const HEADERS: u32 = 2048;
/// Reads of this length are followed by a trim.
const TRIMMED: usize = 7;
/// What one call of ours sends at most.
const ANSWER: usize = 40_000;

/// A raw peer of a server: an octet of choices, then what is on the wire. Unless the choices say
/// so, the preface and empty SETTINGS come by themselves. Returns what the engine made of it.
///
/// # Panics
///
/// When something that must hold does not.
pub fn check_server(data: &[u8]) -> Vec<String> {
    check_wire(Role::Server, data)
}

/// The same for a client, which has opened a few streams.
///
/// # Panics
///
/// As [`check_server`].
pub fn check_client(data: &[u8]) -> Vec<String> {
    check_wire(Role::Client, data)
}

/// Whole frames to either role: an octet of choices, of which the lowest bit is the role, then
/// frames as kind, flags, stream, length and payload, one octet each but the last.
///
/// # Panics
///
/// As [`check_server`].
pub fn check_frames(data: &[u8]) -> Vec<String> {
    let Some((&choices, mut rest)) = data.split_first() else {
        return Vec::new();
    };
    let mut wire = Vec::new();
    while let [kind, flags, stream, length, after @ ..] = rest {
        let length = usize::from(*length).min(after.len());
        wire.extend([0, 0, length as u8, *kind, *flags, 0, 0, 0, *stream]);
        wire.extend_from_slice(&after[..length]);
        rest = &after[length..];
    }
    let role = if choices & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    check(role, choices & !1, &begin(role, choices & !1, &wire))
}

fn check_wire(role: Role, data: &[u8]) -> Vec<String> {
    match data.split_first() {
        Some((&choices, wire)) => check(role, choices, &begin(role, choices, wire)),
        None => Vec::new(),
    }
}

fn begin(role: Role, choices: u8, wire: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    if choices & 1 == 0 {
        if role == Role::Server {
            whole.extend_from_slice(PREFACE);
        }
        whole.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    }
    whole.extend_from_slice(wire);
    whole
}

fn check(role: Role, choices: u8, wire: &[u8]) -> Vec<String> {
    let start = Instant::now();
    let whole = play(role, choices, wire, wire.len(), start);
    let steps = if choices & 2 == 0 { 1 } else { TRIMMED };
    let cut = play(role, choices, wire, steps, start);
    assert_eq!(
        whole.events, cut.events,
        "where reads end makes no difference"
    );
    assert_eq!(whole.sent, cut.sent, "where reads end makes no difference");
    check_sent(role, wire, &cut.sent, &cut.marks);
    whole.events
}

#[derive(Default)]
struct Played {
    events: Vec<String>,
    sent: Vec<u8>,
    marks: Vec<Mark>,
}

fn play(role: Role, choices: u8, wire: &[u8], step: usize, now: Instant) -> Played {
    let mut settings = Settings::default();
    settings.max_concurrent_streams = STREAMS;
    settings.max_header_list_bytes = HEADERS;
    settings.header_budget_bytes = 4 * HEADERS as usize;
    settings.stream_window = 1000;
    settings.connection_window = 65_535;
    settings.resets = 20;
    let mut connection = Connection::<u32>::new(role, settings);
    let mut played = Played::default();
    if role == Role::Client {
        for number in 0..4 {
            open(&mut connection, number);
        }
    }
    let mut input = BytesMut::new();
    let mut arrived = 0;
    let mark = |played: &mut Played, connection: &Connection<u32>, read| {
        let sent = played.sent.len() + connection.output().len();
        played.marks.push((read, sent));
    };
    mark(&mut played, &connection, 0);
    for (at, part) in wire.chunks(step.max(1)).enumerate() {
        input.extend_from_slice(part);
        loop {
            let event = match connection.receive(&mut input, now + Duration::from_millis(1)) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    played.events.push(format!("{error:?}"));
                    connection.fail(error);
                    take(&mut connection, &mut played.sent);
                    mark(&mut played, &connection, (at + 1) * step.max(1));
                    return played;
                }
            };
            if let Event::Data { data, .. } = &event {
                arrived += data.len();
            }
            played.events.push(format!("{event:?}"));
            answer(&mut connection, choices, event, played.events.len());
            if role == Role::Server {
                assert!(connection.open_streams() <= STREAMS as usize);
            }
            if connection.output().len() > 1 << 16 {
                take(&mut connection, &mut played.sent);
            }
        }
        let read = (at + 1) * step.max(1);
        mark(&mut played, &connection, read);
        if step == TRIMMED {
            // Nothing is remembered from here on: that must make no difference.
            connection.trim();
        }
        assert!(arrived <= read, "no data that did not arrive");
        assert!(connection.queued_bytes() <= (STREAMS as usize + played.events.len()) * ANSWER);
    }
    take(&mut connection, &mut played.sent);
    mark(&mut played, &connection, wire.len());
    connection.trim();
    played
}

/// What a program of ours might do, by the choices and how far it is.
fn answer(connection: &mut Connection<u32>, choices: u8, event: Event, number: usize) {
    let choice = (usize::from(choices >> 2) + number) % 7;
    match event {
        Event::Request { key, is_end, .. } => {
            *connection.user_mut(key).expect("it is open") = number as u32;
            if is_end || choice == 0 {
                respond(connection, key, choice);
            }
        }
        Event::Data { key, data, is_end } => {
            if choice != 1 {
                connection.give_back(key, data.len());
            }
            if choice == 2 {
                connection.expect(key, 5000);
            }
            if is_end && connection.role() == Role::Server {
                respond(connection, key, choice);
            } else if is_end {
                connection.release(key);
            }
        }
        Event::Response { key, is_end, .. } => {
            if is_end || choice == 3 {
                connection.release(key);
            } else if choice == 4 {
                connection.send_data(key, body(100), true);
            }
        }
        Event::Trailers { key, .. } => {
            if connection.role() == Role::Server {
                respond(connection, key, choice);
            } else {
                connection.release(key);
                open(connection, number as u32);
            }
        }
        Event::Reset { key, .. } | Event::Refused { key } => {
            connection.release(key);
            assert!(connection.user_mut(key).is_none(), "it is gone");
        }
        Event::Pong(_) => connection.ping(*b"againand"),
        Event::Goaway { .. } if choice == 5 => connection.begin_goaway("too"),
        Event::Settings if choice == 6 => connection.ping(*b"settings"),
        _ => {}
    }
}

fn respond(connection: &mut Connection<u32>, key: Key, choice: usize) {
    let fixed = [(
        HeaderName::from_static("content-type"),
        HeaderValue::from_static("application/grpc"),
    )];
    if choice == 1 {
        connection.reset(key, Reason::INTERNAL_ERROR);
        connection.release(key);
        return;
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-choice", HeaderValue::from(choice));
    let is_end = choice == 2;
    connection.send_response(key, StatusCode::OK, &fixed, &headers, is_end);
    match choice {
        2 => {}
        3 => {
            connection.send_data(key, body(100), false);
            connection.send_trailers(key, headers);
        }
        4 => {
            connection.send_data(key, body(ANSWER), true);
        }
        5 => {
            // Still sending: the peer has to end it.
            connection.send_data(key, body(10), false);
            return;
        }
        _ => {
            connection.send_ok(key, body(choice * 2000));
        }
    }
    connection.release(key);
}

fn open(connection: &mut Connection<u32>, number: u32) {
    let fields = RequestFields {
        method: &Method::POST,
        scheme: "http",
        authority: &HeaderValue::from_static("fuzz"),
        path: "/fuzz.v1.Fuzz/Any",
        fixed: &[(
            HeaderName::from_static("te"),
            HeaderValue::from_static("trailers"),
        )],
        headers: &HeaderMap::new(),
        last: &[("grpc-timeout", b"1S")],
    };
    // Full or closing is as good.
    if let Ok(key) = connection.open(&fields, number.is_multiple_of(2), |user| *user = number)
        && !number.is_multiple_of(2)
    {
        connection.send_data(key, body(ANSWER), false);
    }
}

fn body(len: usize) -> Bytes {
    Bytes::from_static(&[b'x'; ANSWER]).slice(..len)
}

/// Writes everything that can be written.
fn take(connection: &mut Connection<u32>, sent: &mut Vec<u8>) {
    loop {
        connection.pump();
        let mut pieces = [IoSlice::new(&[]); 16];
        let count = connection.output().pieces(&mut pieces);
        let before = sent.len();
        for piece in &pieces[..count] {
            sent.extend_from_slice(piece);
        }
        let len = sent.len() - before;
        if len == 0 {
            return;
        }
        connection.output_mut().advance(len);
    }
}
