//! What the errors of a channel say: method, endpoint, attempts, time, and why.

use crate::support::*;
use futures_util::StreamExt as _;
use http::Response;
use sampan_client::Channel;
use sampan_middleware::context::{CallContext, CallScope};
use sampan_wire::policy::CallPolicy;
use std::time::Duration;
use tonic::{Code, Request, Status};

/// What every failure says, and this one.
fn says(status: &Status, code: Code, endpoint: &str, parts: &[&str]) {
    let text = status.message();
    assert_eq!(status.code(), code, "{text}");
    let always = [PATH, endpoint, "after the call began"];
    for part in always.iter().chain(parts) {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A port on which nobody listens.
fn nobody() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

fn patient(timeout: Duration) -> Request<String> {
    let policy = CallPolicy::new().with_wait_for_ready(true);
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(policy);
    request.set_timeout(timeout);
    request
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_named_with_its_cause() {
    let target = nobody();
    let status = say(&Channel::dial(&target).unwrap(), "").await.unwrap_err();
    let parts = ["cannot connect", "refused", "is it listening?", "not sent"];
    says(&status, Code::Unavailable, &target, &parts);
    assert!(std::error::Error::source(&status).is_some());
}

#[tokio::test]
async fn a_deadline_that_comes_while_no_endpoint_is_there_says_why_none_is() {
    let target = nobody();
    let channel = Channel::dial(&target).unwrap();
    let call = send(&channel, patient(Duration::from_millis(300)));
    let status = call.await.unwrap_err();
    let parts = ["an endpoint to be connected", "refused", "not sent"];
    says(&status, Code::DeadlineExceeded, &target, &parts);
}

#[tokio::test]
async fn a_deadline_that_comes_before_the_answer_names_the_attempt() {
    let server = TestServer::start(handler(|_| std::future::pending()));
    let channel = Channel::dial(server.target()).unwrap();
    let mut request = Request::new(String::new());
    request.set_timeout(Duration::from_millis(50));
    let status = send(&channel, request).await.unwrap_err();
    let parts = ["waiting for the response", "attempt 1"];
    says(&status, Code::DeadlineExceeded, &server.target(), &parts);
}

#[tokio::test]
async fn answers_that_are_none_say_what_came_and_from_where() {
    let typed = |code, content_type: &'static str| {
        handler(move |_| async move {
            let mut answer = respond([]);
            *answer.status_mut() = code;
            let content_type = content_type.parse().unwrap();
            answer.headers_mut().insert("content-type", content_type);
            answer
        })
    };
    let html = |code| typed(code, "text/html");
    let web = typed(http::StatusCode::OK, "application/grpc-web+proto");
    let gone = http::StatusCode::SERVICE_UNAVAILABLE;
    for (handler, code, part) in [
        (html(gone), Code::Unavailable, "HTTP 503"),
        (html(http::StatusCode::OK), Code::Unknown, "text/html"),
        (web, Code::Unknown, "application/grpc-web+proto"),
        (
            handler(|_| async { respond([message("half")]) }),
            Code::Internal,
            "without a status",
        ),
    ] {
        let server = TestServer::start(handler);
        let channel = Channel::dial(server.target()).unwrap();
        let status = say(&channel, "").await.unwrap_err();
        says(&status, code, &server.target(), &[part, "attempt 1"]);
    }
}

#[tokio::test]
async fn a_call_whose_inbound_caller_goes_away_says_so_at_every_stage() {
    // Before its head, and behind it.
    for begins in [false, true] {
        let server = TestServer::start(handler(move |_| async move {
            if !begins {
                std::future::pending::<()>().await;
            }
            let never = futures_util::stream::pending();
            respond_with(futures_util::stream::iter([Ok(message("half"))]).chain(never))
        }));
        for is_layered in [false, true] {
            let mut channel = Channel::configure(server.target());
            if is_layered {
                channel = channel.layer(tower::layer::util::Identity::new());
            }
            let channel = channel.build().unwrap();
            let before = server.calls();
            let mut handled = CallScope::new(&http::HeaderMap::new(), None);
            let inbound = handled.enter(None, CallContext::current);
            let call = tokio::spawn(inbound.scope(async move { say(&channel, "").await }));
            while server.calls() == before {
                tokio::task::yield_now().await;
            }
            drop(handled);
            let status = call.await.unwrap().unwrap_err();
            says(&status, Code::Cancelled, "", &["has gone away"]);
        }
    }
}

#[tokio::test]
async fn a_layer_that_drops_what_a_request_carries_is_told_with_the_method() {
    type Request = http::Request<tonic::body::Body>;
    let bare = || {
        tower::util::MapRequestLayer::new(|mut request: Request| {
            request.extensions_mut().clear();
            request
        })
    };
    let server = TestServer::start(echo());
    let channel = || Channel::configure(server.target());
    for channel in [channel().layer(bare()), channel().attempt_layer(bare())] {
        let status = say(&channel.build().unwrap(), "").await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        let text = status.message();
        assert!(
            text.starts_with(PATH) && text.contains("extensions"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_answer_with_headers_over_the_limit_is_resource_exhausted() {
    let server = TestServer::start(handler(|_| async {
        let mut answer = respond([message("half")]);
        let long = "x".repeat(20_000).parse().unwrap();
        answer.headers_mut().insert("x-long", long);
        answer
    }));
    let channel = Channel::dial(server.target()).unwrap();
    let status = say(&channel, "").await.unwrap_err();
    let (code, text) = (status.code(), status.message());
    assert_eq!(code, Code::ResourceExhausted, "{text}");
    assert!(text.contains("the answer's headers of 20"), "{text}");
    assert!(text.contains("over the limit of 16384 bytes"), "{text}");
}

#[tokio::test]
async fn a_connection_that_breaks_says_that_the_server_may_have_run_the_call() {
    let (arrived, mut arrives) = tokio::sync::mpsc::unbounded_channel();
    let server = TestServer::start(handler(move |_| {
        arrived.send(()).unwrap();
        std::future::pending::<Response<ServerBody>>()
    }));
    let target = server.target();
    let channel = Channel::dial(&target).unwrap();
    let call = tokio::spawn(async move { say(&channel, "").await });
    arrives.recv().await.unwrap();
    drop(server);
    let status = call.await.unwrap().unwrap_err();
    let parts = ["may have run the call", "attempt 1"];
    says(&status, Code::Unavailable, &target, &parts);
}
