//! Channels that outlive runtimes, and what is left when they go.

use crate::support::*;
use sampan_client::Channel;
use std::{sync::mpsc, time::Duration};
use tokio::sync::watch;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A server on a thread and a runtime of its own, with the number of its connections.
pub(crate) fn server_aside(handler: Handler) -> (String, watch::Receiver<usize>, impl Drop) {
    struct Stop(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.take();
        }
    }
    let (told, tells) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let server = TestServer::start(handler);
            let open = server.open_connections.clone();
            told.send((server.target(), open)).unwrap();
            let _ = stopped.await;
        });
    });
    let (target, open) = tells.recv().unwrap();
    (target, open, Stop(Some(stop)))
}

#[test]
fn one_channel_serves_twenty_runtimes_one_after_another() {
    let (target, _open, _server) = server_aside(echo());
    let channel = Channel::dial(target).unwrap();
    for round in 0..20 {
        let text = round.to_string();
        let answer = runtime().block_on(async {
            tokio::time::timeout(Duration::from_secs(5), say(&channel, &text)).await
        });
        assert_eq!(answer.unwrap().unwrap(), text);
    }
    assert_eq!(channel.counts().failed_calls, 0);
}

#[test]
fn calls_that_wait_on_another_runtime_go_on_when_the_first_ends() {
    let (target, _open, _server) = server_aside(echo());
    let channel = Channel::dial(target).unwrap();
    let first = runtime();
    first.block_on(say(&channel, "first")).unwrap();
    let second = std::thread::spawn({
        let channel = channel.clone();
        move || {
            runtime().block_on(async {
                let mut answered = 0;
                for _ in 0..200 {
                    // A call that was under way on the first runtime's connection may break.
                    answered += usize::from(say(&channel, "second").await.is_ok());
                }
                answered
            })
        }
    });
    // Serves the other thread's calls for a moment, then ends under them.
    first.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
    drop(first);
    assert!(second.join().unwrap() >= 199);
}

#[tokio::test]
async fn a_channel_that_is_dropped_closes_its_connections() {
    let server = TestServer::start(echo());
    let channel = Channel::dial(server.target()).unwrap();
    say(&channel, "").await.unwrap();
    let mut open = server.open_connections.clone();
    assert_eq!(*open.borrow(), 1);
    drop(channel);
    open.wait_for(|open| *open == 0).await.unwrap();
}

#[tokio::test]
async fn a_channel_that_is_dropped_lets_its_open_calls_finish() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = TestServer::start(handler(move |_| {
        let mut released = released.clone();
        async move {
            let frames = futures_util::stream::once(async move {
                released.wait_for(|is| *is).await.unwrap();
                Ok(message("late"))
            });
            use futures_util::StreamExt;
            respond_with(frames.chain(futures_util::stream::iter([Ok(trailers(0))])))
        }
    }));
    let mut client = Client::new(Channel::dial(server.target()).unwrap());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let request = tonic::Request::new(String::new());
    let mut answers = client
        .server_streaming(request, path, Text)
        .await
        .unwrap()
        .into_inner();
    drop(client);
    release.send(true).unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap(), "late");
    assert_eq!(answers.message().await.unwrap(), None);
    drop(answers);
    let mut open = server.open_connections.clone();
    open.wait_for(|open| *open == 0).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_handler() {
    struct Told(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    let server = TestServer::start(handler(move |_| {
        let told = Told(told.clone());
        async move {
            let _told = told;
            std::future::pending().await
        }
    }));
    let channel = Channel::dial(server.target()).unwrap();
    let call = tokio::spawn({
        let channel = channel.clone();
        async move { say(&channel, "").await }
    });
    while server.calls() == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    tells.recv().await.unwrap();
    assert_eq!(channel.counts().failed_calls, 1);
    assert_eq!(channel.endpoints()[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unused_channel_closes_its_connections_after_five_minutes_and_is_as_good_as_new() {
    let channel = in_memory(&memory_endpoint(), echo());
    say(&channel, "").await.unwrap();
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert_eq!(channel.endpoints().len(), 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(channel.endpoints().is_empty());
    assert_eq!(say(&channel, "again").await.unwrap(), "again");
}
