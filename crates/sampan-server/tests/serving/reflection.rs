//! Server reflection, and what descriptors tell besides.

use crate::{
    echo::{Client, Echo, Running, any_port},
    probe::get,
};
use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use sampan_server::Server;
use std::sync::LazyLock;
use tonic::Code;

static DESCRIPTORS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let method = |name: &str| MethodDescriptorProto {
        name: Some(name.to_owned()),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Echo".to_owned()),
        method: vec![method("Unary"), method("Stream")],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("test.proto".to_owned()),
        package: Some("test".to_owned()),
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
});

fn server() -> Server {
    Server::new()
        .listen(any_port())
        .probe(any_port())
        .add_service(Echo::new().0)
}

/// The services that reflection of this version lists.
macro_rules! listed {
    ($version:ident, $client:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            message_request: Some(MessageRequest::ListServices(String::new())),
            ..ServerReflectionRequest::default()
        };
        let origin = http::Uri::from_static("http://test");
        let mut reflection = ServerReflectionClient::with_origin($client, origin);
        let requests = tokio_stream::once(request);
        match reflection.server_reflection_info(requests).await {
            Err(status) => Err(status),
            Ok(answers) => match answers.into_inner().message().await.unwrap().unwrap() {
                answer => match answer.message_response.unwrap() {
                    MessageResponse::ListServicesResponse(list) => Ok(list
                        .service
                        .into_iter()
                        .map(|service| service.name)
                        .collect()),
                    other => panic!("{other:?}"),
                },
            },
        }
    }};
}

#[tokio::test]
async fn both_versions_list_what_is_served() {
    let server = Running::start(server().reflection(&DESCRIPTORS).bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    let v1: Vec<String> = listed!(v1, client.clone()).unwrap();
    let v1alpha: Vec<String> = listed!(v1alpha, client).unwrap();
    assert_eq!(v1, v1alpha);
    for name in [
        "test.Echo",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(
            v1.iter().any(|listed| listed == name),
            "{name} is missing in {v1:?}"
        );
    }
}

#[tokio::test]
async fn reflection_is_off_unless_asked_for() {
    let server = Running::start(server().bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    let listed: Result<Vec<String>, _> = listed!(v1, client);
    assert_eq!(listed.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn descriptors_name_methods_for_hints_and_metrics() {
    let server = Running::start(server().reflection(&DESCRIPTORS).bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    let status = client.call("/test.Echo/Unray", "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(
        status.message().contains("did you mean test.Echo/Unary?"),
        "{status}"
    );
    // Known beforehand: its series are there before its first call.
    let (_, text) = get(server.probe.as_ref().unwrap(), "/metrics").await;
    assert!(text.contains(r#"grpc_server_call_started_total{grpc_method="test.Echo/Stream"} 0"#));
    assert!(!text.contains("Unray"), "{text}");
}

#[tokio::test]
async fn a_broken_descriptor_set_is_a_wrong_configuration() {
    let error = server().reflection(b"\xff\xff").bind().await.unwrap_err();
    assert!(error.is_configuration());
    assert!(error.to_string().contains("FILE_DESCRIPTOR_SET"), "{error}");
}
