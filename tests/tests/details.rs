//! What statuses say beyond code and message, from a handler to its caller.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use futures_util::{Stream, stream};
use sampan::{
    Address, Code, Request, Response, Server, Status, Streaming,
    details::{
        BadRequest, DebugInfo, ErrorDetail, ErrorDetails, ErrorInfo, Help, LocalizedMessage,
        PreconditionFailure, QuotaFailure, RequestInfo, ResourceInfo, RetryInfo, StatusExt,
    },
};
use sampan_testing::proto::{
    EchoRequest, EchoResponse, FailRequest, StreamRequest,
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};
use std::{collections::HashMap, pin::Pin, time::Duration};

/// Fails, and says all there is to say.
struct Fails;

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

fn all() -> Vec<ErrorDetail> {
    let more = HashMap::from([("zone".to_owned(), "a".to_owned())]);
    vec![
        RetryInfo::new(Some(Duration::from_millis(1500))).into(),
        DebugInfo::new(vec!["main.rs:7".to_owned()], "no luck").into(),
        QuotaFailure::with_violation("project:1", "too many").into(),
        ErrorInfo::new("OUT_OF_STOCK", "shop.example", more).into(),
        PreconditionFailure::with_violation("TOS", "shop.example", "not accepted").into(),
        BadRequest::with_violation("id", "is empty").into(),
        RequestInfo::new("request-1", "data").into(),
        ResourceInfo::new("order", "orders/1", "owner", "is gone").into(),
        Help::with_link("how to", "https://shop.example/help").into(),
        LocalizedMessage::new("de", "leider nicht").into(),
    ]
}

#[tonic::async_trait]
impl Echo for Fails {
    async fn unary(&self, _: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Err(Status::with_error_details_vec(
            Code::FailedPrecondition,
            "no",
            all(),
        ))
    }

    type ServerStreamStream = Answers;

    async fn server_stream(&self, _: Request<StreamRequest>) -> Result<Response<Answers>, Status> {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("count", "is too high");
        let end = Status::with_error_details(Code::InvalidArgument, "no", details);
        let answers = [Ok(EchoResponse::default()), Err(end)];
        Ok(Response::new(Box::pin(stream::iter(answers))))
    }

    async fn client_stream(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        // What claims to be details and is none.
        Err(Status::with_details(
            Code::Aborted,
            "no",
            vec![0xff; 9].into(),
        ))
    }

    type BidiStream = Answers;

    async fn bidi(&self, _: Request<Streaming<EchoRequest>>) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fail(&self, _: Request<FailRequest>) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tokio::test]
async fn every_kind_of_detail_reaches_the_caller() {
    let server = Server::builder()
        .listen("127.0.0.1:0".parse::<Address>().unwrap())
        .lame_duck(Duration::ZERO)
        .add_service(EchoServer::new(Fails))
        .bind()
        .await
        .unwrap();
    let mut client = EchoClient::dial(server.local_addresses()[0].to_string()).unwrap();
    tokio::spawn(server.serve());

    let status = client.unary(EchoRequest::default()).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "no")
    );
    let told = status.check_error_details_vec().unwrap();
    assert_eq!(format!("{told:?}"), format!("{:?}", all()));
    let delay = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_millis(1500)));

    let answers = client.server_stream(StreamRequest::default()).await;
    let mut answers = answers.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let status = answers.message().await.unwrap_err();
    let told = status.get_details_bad_request().unwrap();
    assert_eq!(told.field_violations[0].field, "count");

    let status = client
        .client_stream(stream::iter([EchoRequest::default()]))
        .await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.check_error_details().is_err());
    assert!(status.get_error_details_vec().is_empty());
}
