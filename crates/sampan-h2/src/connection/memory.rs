//! What a connection needs only while it has streams, so that it can go to another meanwhile.

use super::Connection;
use crate::streams::SpareStreams;

/// Memory that was of use to a connection and will be to the next.
///
/// A connection without streams exchanges what it has for an empty one, and that again for
/// something of use when it is about to have streams: thousands of quiet connections then hold
/// none. Without it every connection has its own.
#[derive(Debug)]
pub struct Memory<T> {
    streams: SpareStreams<T>,
    output: Vec<u8>,
}

// === impl Memory ===

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self {
            streams: SpareStreams::default(),
            output: Vec::new(),
        }
    }
}

// === impl Connection ===

impl<T: Default> Connection<T> {
    /// Exchanges memory with `other`. Nothing is taken that is in use.
    pub fn exchange_memory(&mut self, other: &mut Memory<T>) {
        self.streams.exchange(&mut other.streams);
        self.output.exchange(&mut other.output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Output, RequestFields, Role, Settings};
    use bytes::BytesMut;
    use http::{HeaderMap, HeaderValue, Method, StatusCode};
    use std::time::Instant;

    /// Sends a request and tells what came of it.
    fn call(client: &mut Connection<()>, server: &mut Connection<()>) -> Vec<u8> {
        let fields = RequestFields {
            method: &Method::POST,
            scheme: "http",
            authority: &HeaderValue::from_static("test"),
            path: "/a.B/C",
            fixed: &[],
            headers: &HeaderMap::new(),
            last: &[],
        };
        client.open(&fields, true, |()| ()).unwrap();
        let mut sent = Output::default();
        client.take_output(&mut sent);
        let mut input = BytesMut::from(sent.as_single().unwrap());
        while let Some(event) = server.receive(&mut input, Instant::now()).unwrap() {
            if let Event::Request { key, .. } = event {
                server.send_response(key, StatusCode::OK, &[], &HeaderMap::new(), true);
                server.release(key);
            }
        }
        let mut answer = Output::default();
        server.take_output(&mut answer);
        answer.as_single().unwrap().to_vec()
    }

    #[test]
    fn memory_goes_from_one_connection_to_the_next_and_back() {
        let pair = || {
            let settings = Settings::default();
            let client = Connection::new(Role::Client, settings.clone());
            (client, Connection::new(Role::Server, settings))
        };
        let (mut alone, mut own) = pair();
        let expected: Vec<_> = (0..3).map(|_| call(&mut alone, &mut own)).collect();
        let mut pairs = [pair(), pair()];
        let mut memory = Memory::default();
        for expected in expected {
            for (client, server) in &mut pairs {
                server.exchange_memory(&mut memory);
                assert_eq!(call(client, server), expected);
                server.exchange_memory(&mut memory);
            }
        }
    }
}
