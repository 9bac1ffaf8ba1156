//! Streams of which one side does not read.

use crate::support::*;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use sampan_client::Channel;
use std::{future::pending, time::Duration};
use tokio::sync::{mpsc, watch};

const COUNT: usize = 1000;
const LIMIT: Duration = Duration::from_secs(20);

fn text() -> String {
    "x".repeat(1 << 10)
}

async fn begin(
    channel: Channel,
    texts: impl futures_core::Stream<Item = String> + Send + 'static,
) -> tonic::Streaming<String> {
    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    let request = tonic::Request::new(texts);
    let response = client.streaming(request, path, Text).await.unwrap();
    response.into_inner()
}

#[tokio::test]
async fn a_thousand_messages_are_sent_while_nobody_reads_the_answers() {
    let (told, mut tells) = watch::channel(0);
    let server = TestServer::start(handler(move |request| {
        let told = told.clone();
        async move {
            let (echo, echoes) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                let mut body = request.into_body();
                let mut bytes = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
                    echo.send(frame).unwrap();
                    told.send_replace(bytes);
                }
                echo.send(trailers(0)).unwrap();
            });
            let echoes = futures_util::stream::unfold(echoes, |mut echoes| async {
                echoes.recv().await.map(|frame| (Ok(frame), echoes))
            });
            respond_with(echoes)
        }
    }));
    let channel = Channel::dial(server.target()).unwrap();
    let texts = futures_util::stream::repeat_with(text).take(COUNT);
    let mut answers = begin(channel, texts).await;
    let all = COUNT * (text().len() + 5);
    let sent = tells.wait_for(|bytes| *bytes == all);
    tokio::time::timeout(LIMIT, sent).await.unwrap().unwrap();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.len(), text().len());
        count += 1;
    }
    assert_eq!(count, COUNT);
}

#[tokio::test]
async fn a_thousand_answers_are_read_while_nobody_reads_the_messages() {
    let server = TestServer::start(handler(|request| async move {
        let texts = futures_util::stream::repeat_with(|| Ok(message(&text()))).take(COUNT);
        let end = futures_util::stream::once(async move {
            // Held, and not read, to the end.
            drop(request);
            Ok(trailers(0))
        });
        respond_with(texts.chain(end))
    }));
    let channel = Channel::dial(server.target()).unwrap();
    let (read, reads) = watch::channel(0);
    let texts = futures_util::stream::repeat_with(text)
        .inspect(move |_| read.send_modify(|read| *read += 1))
        .chain(futures_util::stream::once(pending()));
    let mut answers = begin(channel, texts).await;
    let count = async {
        let mut count = 0;
        while let Some(answer) = answers.message().await.unwrap() {
            assert_eq!(answer.len(), text().len());
            count += 1;
        }
        count
    };
    assert_eq!(tokio::time::timeout(LIMIT, count).await.unwrap(), COUNT);
    // What nobody reads is not taken from its source: a window, and a little more.
    let bytes = *reads.borrow() * text().len();
    assert!(
        bytes < 600 << 10,
        "{bytes} bytes of an unread stream were taken"
    );
}
