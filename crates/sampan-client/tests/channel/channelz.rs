//! What channelz tells of a program's channels.

use crate::support::*;
use sampan_client::{
    Channel, ConnectivityState,
    channelz::{self, Severity},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::SystemTime,
};

#[tokio::test]
async fn a_channel_its_endpoints_and_their_connections_tell_what_they_did() {
    let calls = AtomicUsize::new(0);
    let third_fails = handler(move |_| {
        let is_third = calls.fetch_add(1, SeqCst) == 2;
        async move {
            if is_third {
                refuse(tonic::Code::Internal, &[])
            } else {
                respond([message("hello"), trailers(0)])
            }
        }
    });
    let server = TestServer::start(third_fails);
    let began = SystemTime::now();
    let channel = Channel::dial(server.target()).unwrap();
    let before = channel.channelz();
    assert_eq!(before.state, ConnectivityState::Idle);
    assert_eq!((before.calls.started, before.calls.last_started), (0, None));
    for _ in 0..2 {
        say(&channel, "hi").await.unwrap();
    }
    say(&channel, "hi").await.unwrap_err();

    let told = channel.channelz();
    assert_eq!(told.target, server.target());
    assert_eq!(told.state, ConnectivityState::Ready);
    let counts = |calls: channelz::CallCounts| (calls.started, calls.succeeded, calls.failed);
    assert_eq!(counts(told.calls), (3, 2, 1));
    assert!(told.calls.last_started.unwrap() >= began);
    assert_eq!(
        told.trace.events[0].description,
        "1 endpoints: 1 came, 0 went"
    );
    let [endpoint] = &told.subchannels[..] else {
        panic!("{told:?}");
    };
    assert_eq!(endpoint.target, server.target());
    assert_eq!(counts(endpoint.calls), (3, 2, 1));
    assert!(endpoint.calls.last_started.unwrap() >= began);
    let events = endpoint.trace.events.iter();
    let events: Vec<_> = events.map(|event| &*event.description).collect();
    assert_eq!(events, ["CONNECTING", "READY"]);
    let [socket] = &endpoint.sockets[..] else {
        panic!("{endpoint:?}");
    };
    assert_eq!(socket.remote, server.target());
    let streams = (
        socket.streams_started,
        socket.streams_succeeded,
        socket.streams_failed,
    );
    assert_eq!(streams, (3, 2, 1));
    assert!(told.id < endpoint.id && endpoint.id < socket.id);

    let is_listed = || channelz::channels().iter().any(|one| one.id == told.id);
    assert!(is_listed());
    drop(channel);
    assert!(!is_listed());
}

#[tokio::test]
async fn why_an_endpoint_cannot_be_reached_stands_in_its_trace() {
    let gone = TestServer::start(echo()).target();
    let channel = Channel::dial(&gone).unwrap();
    say(&channel, "hi").await.unwrap_err();
    let told = channel.channelz();
    let events = &told.subchannels[0].trace.events;
    let failure = events
        .iter()
        .find(|event| event.severity == Severity::Warning)
        .unwrap();
    assert!(
        failure.description.starts_with("TRANSIENT_FAILURE: "),
        "{failure:?}"
    );
    assert!(failure.description.contains("refused"), "{failure:?}");
}
