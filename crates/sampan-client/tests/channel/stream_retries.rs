//! Request streams that are sent again.

use crate::support::*;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use sampan_client::Channel;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tonic::{Code, Request, Status};

const RETRY: &str = r#""retryPolicy": {"maxAttempts": 2, "initialBackoff": "0.001s",
    "maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}"#;

fn config(fields: &str) -> String {
    let name = r#"{"service": "test.Text", "method": "Say"}"#;
    format!(r#"{{"methodConfig": [{{"name": [{name}], {fields}}}]}}"#)
}

/// How the first attempt is answered.
#[derive(Clone, Copy)]
enum First {
    /// By a status alone, when so many messages have come.
    RefusesAfter(usize),
    /// By a head, and UNAVAILABLE.
    Begins,
}

/// Answers all but the first attempt with what it was sent.
fn serve(first: First) -> TestServer {
    let attempts = Arc::new(AtomicUsize::new(0));
    TestServer::start(handler(move |request| {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut body = request.into_body();
            if attempt > 0 {
                let mut frames = Vec::new();
                while let Some(Ok(frame)) = body.frame().await {
                    frames.push(Frame::data(frame.into_data().unwrap()));
                }
                frames.push(trailers(0));
                return respond(frames);
            }
            match first {
                First::Begins => respond([message("x"), trailers(14)]),
                First::RefusesAfter(messages) => {
                    let mut bytes = 0;
                    while bytes < messages * 6 {
                        let frame = body.frame().await.unwrap().unwrap();
                        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
                    }
                    refuse(Code::Unavailable, &[])
                }
            }
        }
    }))
}

/// Sends these texts, each as soon as there is time, and reads all answers.
pub(crate) async fn talk(channel: &Channel, texts: Vec<String>) -> Result<Vec<String>, Status> {
    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel.clone());
    client.ready().await.unwrap();
    let texts = futures_util::stream::iter(texts).then(|text| async {
        tokio::task::yield_now().await;
        text
    });
    let answers = client.streaming(Request::new(texts), path, Text).await?;
    let mut answers = answers.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

fn channel(server: &TestServer) -> Channel {
    let channel = Channel::configure(server.target()).service_config(config(RETRY));
    channel.build().unwrap()
}

#[tokio::test]
async fn a_stream_is_sent_again_from_its_beginning() {
    for messages in [0, 1, 3] {
        let server = serve(First::RefusesAfter(messages));
        let channel = channel(&server);
        let texts: Vec<_> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(talk(&channel, texts.clone()).await.unwrap(), texts);
        assert_eq!((server.calls(), channel.counts().retries), (2, 1));
    }
}

#[tokio::test]
async fn a_stream_whose_answer_has_begun_or_that_is_too_long_is_not_sent_again() {
    let server = serve(First::Begins);
    let status = talk(&channel(&server), vec!["a".to_owned()]).await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    assert_eq!(server.calls(), 1);

    let texts = vec!["x".repeat(10 << 10); 30];
    let server = serve(First::RefusesAfter(30 * (10 << 10) / 6));
    let status = talk(&channel(&server), texts).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(server.calls(), 1);
}
