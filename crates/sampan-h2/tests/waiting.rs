//! What waits behind the windows of streams.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use sampan_h2::{Connection, Event, Key, Output, Reason, RequestFields, Role, Settings};
use std::time::Instant;

const WINDOW: u32 = 65_535;

#[derive(Clone, Debug)]
enum Step {
    Open,
    Send(prop::sample::Index, usize),
    Read(prop::sample::Index, usize),
    ResetByClient(prop::sample::Index),
    ResetByServer(prop::sample::Index),
    Release(prop::sample::Index),
}

/// Both ends, with what crosses them at once.
struct Pair {
    client: Connection<()>,
    server: Connection<()>,
    /// The client's key, and the server's.
    open: Vec<(Key, Key)>,
}

impl Pair {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.stream_window = WINDOW;
        settings.connection_window = i32::MAX as u32;
        Self {
            client: Connection::new(Role::Client, settings.clone()),
            server: Connection::new(Role::Server, settings),
            open: Vec::new(),
        }
    }

    /// Lets everything cross that can; gives the streams that were opened.
    fn cross(&mut self) -> Vec<Key> {
        let mut opened = Vec::new();
        while !self.client.output().is_empty() || !self.server.output().is_empty() {
            let input = bytes_of(&mut self.client);
            receive(&mut self.server, input, |event| {
                if let Event::Request { key, .. } = event {
                    opened.push(key);
                }
            });
            let input = bytes_of(&mut self.server);
            receive(&mut self.client, input, |_| ());
        }
        opened
    }

    fn open(&mut self) {
        let fields = RequestFields {
            method: &Method::POST,
            scheme: "http",
            authority: &HeaderValue::from_static("test"),
            path: "/a.B/C",
            fixed: &[],
            headers: &HeaderMap::new(),
            last: &[],
        };
        let key = self.client.open(&fields, true, |()| ()).unwrap();
        let opened = self.cross()[0];
        self.server
            .send_response(opened, StatusCode::OK, &[], &HeaderMap::new(), false);
        self.open.push((key, opened));
    }
}

fn bytes_of(engine: &mut Connection<()>) -> BytesMut {
    let (mut bytes, mut output) = (BytesMut::new(), Output::default());
    engine.take_output(&mut output);
    while !output.is_empty() {
        let mut piece = [std::io::IoSlice::new(&[])];
        output.pieces(&mut piece);
        let len = piece[0].len();
        bytes.extend_from_slice(&piece[0]);
        output.advance(len);
    }
    bytes
}

fn receive(engine: &mut Connection<()>, mut input: BytesMut, mut seen: impl FnMut(Event)) {
    while let Some(event) = engine.receive(&mut input, Instant::now()).unwrap() {
        seen(event);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        2 => Just(Step::Open),
        4 => (at(), 1usize..200_000).prop_map(|(at, len)| Step::Send(at, len)),
        3 => (at(), 30_000usize..70_000).prop_map(|(at, len)| Step::Read(at, len)),
        1 => at().prop_map(Step::ResetByClient),
        1 => at().prop_map(Step::ResetByServer),
        1 => at().prop_map(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn when_the_connection_takes_all_only_what_its_stream_holds_back_waits(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut pair = Pair::new();
        pair.open();
        for step in steps {
            let open = pair.open.clone();
            match step {
                Step::Open if open.len() < 20 => pair.open(),
                Step::Open => {}
                Step::Send(at, len) => {
                    pair.server.send_data(at.get(&open).1, vec![7; len].into(), false);
                }
                Step::Read(at, len) => pair.client.give_back(at.get(&open).0, len),
                Step::ResetByClient(at) => pair.client.reset(at.get(&open).0, Reason::CANCEL),
                Step::ResetByServer(at) => pair.server.reset(at.get(&open).1, Reason::CANCEL),
                Step::Release(at) => {
                    // What waits still leaves when its window opens.
                    pair.server.send_data(at.get(&open).1, Bytes::new(), true);
                    pair.server.release(at.get(&open).1);
                }
            }
            pair.cross();
            prop_assert_eq!(pair.server.shut_bytes(), pair.server.queued_bytes());
        }
        for (key, opened) in pair.open.clone() {
            pair.client.reset(key, Reason::CANCEL);
            pair.server.release(opened);
        }
        pair.cross();
        prop_assert_eq!((pair.server.shut_bytes(), pair.server.queued_bytes()), (0, 0));
    }
}
