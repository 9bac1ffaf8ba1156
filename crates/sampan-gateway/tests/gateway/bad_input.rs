//! What is wrong with a request is told in its protocol, and harms nobody else.

use crate::{
    client::{Codec, Protocol, Shape, Wire, frame, send, wires},
    talk::{Ask, Talk, before},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use sampan_gateway::Gateway;
use sampan_middleware::Body;
use sampan_wire::Code;

const MIB: usize = 1024 * 1024;

fn gateway() -> Gateway {
    before(&Talk::default()).build().unwrap()
}

fn connect_json() -> Wire {
    Wire {
        protocol: Protocol::Connect,
        codec: Codec::Json,
        shape: Shape::Say,
    }
}

/// Calls with this body, and then that the gateway still answers.
async fn code_of(wire: Wire, gateway: &Gateway, body: Vec<u8>) -> Code {
    let outcome = wire.call(gateway, wire.raw(vec![body.into()])).await;
    let good = wire.call(gateway, wire.request(&[Ask::default()])).await;
    assert_eq!(good.code, Code::Ok, "{wire:?}");
    outcome.code
}

#[tokio::test]
async fn malformed_frames_are_invalid_arguments() {
    let gateway = gateway();
    let framed = |wire: &Wire| wire.protocol != Protocol::Connect || wire.shape != Shape::Say;
    for wire in wires().filter(framed) {
        let text = |bytes: Vec<u8>| match wire.protocol {
            Protocol::GrpcWebText => STANDARD.encode(bytes).into_bytes(),
            _ => bytes,
        };
        for cut in [vec![0], vec![0, 0, 0, 0, 9, 1], frame(0x40, b"")] {
            let code = code_of(wire, &gateway, text(cut)).await;
            assert_eq!(code, Code::InvalidArgument, "{wire:?}");
        }
        let compressed = code_of(wire, &gateway, text(frame(1, b""))).await;
        assert_eq!(compressed, Code::Internal, "{wire:?}");
    }
}

#[tokio::test]
async fn malformed_base64_and_json_are_invalid_arguments() {
    let gateway = gateway();
    for wire in wires() {
        if wire.protocol == Protocol::GrpcWebText {
            let code = code_of(wire, &gateway, b"AA*A".to_vec()).await;
            assert_eq!(code, Code::InvalidArgument, "{wire:?}");
        }
        if wire.codec == Codec::Json {
            for json in ["", "{", r#"{"texd": ""}"#, r#"{"text": "", "text": ""}"#] {
                let body = match (wire.protocol, wire.shape) {
                    (Protocol::Connect, Shape::Say) => json.as_bytes().to_vec(),
                    (Protocol::GrpcWebText, _) => {
                        STANDARD.encode(frame(0, json.as_bytes())).into_bytes()
                    }
                    _ => frame(0, json.as_bytes()),
                };
                let code = code_of(wire, &gateway, body).await;
                assert_eq!(code, Code::InvalidArgument, "{wire:?} {json}");
            }
        }
    }
}

#[tokio::test]
async fn a_message_over_the_limit_exhausts_resources_before_it_is_read() {
    let gateway = gateway();
    for wire in wires() {
        let limit = 4 * MIB;
        let body = match (wire.protocol, wire.shape) {
            (Protocol::Connect, Shape::Say) => vec![b' '; limit + 1],
            (Protocol::GrpcWebText, _) => STANDARD.encode([0, 0, 0x40, 0, 1]).into_bytes(),
            _ => vec![0, 0, 0x40, 0, 1],
        };
        let code = code_of(wire, &gateway, body).await;
        assert_eq!(code, Code::ResourceExhausted, "{wire:?}");
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_exhausts_resources() {
    let gateway = before(&Talk::default())
        .max_answer_bytes(100)
        .build()
        .unwrap();
    for wire in wires().filter(|wire| wire.codec == Codec::Proto && wire.shape == Shape::Join) {
        let text = "a".repeat(60);
        let ask = Ask {
            text,
            ..Ask::default()
        };
        let outcome = wire.call(&gateway, wire.request(&[ask.clone(), ask])).await;
        assert_eq!(outcome.code, Code::ResourceExhausted, "{wire:?}");
    }
}

#[tokio::test]
async fn malformed_timeouts_metadata_and_versions_are_invalid_arguments() {
    let gateway = gateway();
    for wire in wires() {
        let timeout = match wire.protocol {
            Protocol::Connect => "connect-timeout-ms",
            _ => "grpc-timeout",
        };
        for (name, value) in [(timeout, "1x"), (timeout, ""), ("x-key-bin", "*")] {
            let mut request = wire.request(&[Ask::default()]);
            request.headers_mut().insert(name, value.parse().unwrap());
            let outcome = wire.call(&gateway, request).await;
            assert_eq!(outcome.code, Code::InvalidArgument, "{wire:?} {name}");
        }
    }
    let mut request = connect_json().request(&[Ask::default()]);
    request
        .headers_mut()
        .insert("connect-protocol-version", "2".parse().unwrap());
    let outcome = connect_json().call(&gateway, request).await;
    assert_eq!(outcome.code, Code::InvalidArgument);
}

#[tokio::test]
async fn compressed_requests_are_unimplemented() {
    let gateway = gateway();
    for wire in wires() {
        let encoding = match (wire.protocol, wire.shape) {
            (Protocol::Connect, Shape::Say) => "content-encoding",
            (Protocol::Connect, _) => "connect-content-encoding",
            _ => "grpc-encoding",
        };
        let mut request = wire.request(&[Ask::default()]);
        request
            .headers_mut()
            .insert(encoding, "gzip".parse().unwrap());
        let outcome = wire.call(&gateway, request).await;
        assert_eq!(outcome.code, Code::Unimplemented, "{wire:?}");
        assert!(outcome.message.contains("gzip"), "{}", outcome.message);
    }
}

#[tokio::test]
async fn unknown_names_are_unimplemented_with_what_was_meant() {
    let gateway = gateway();
    for wire in wires() {
        for (path, meant) in [
            ("/test.v1.Tolk/Say", "did you mean \"test.v1.Talk\"?"),
            ("/test.v1.Talk/Sey", "did you mean \"Say\"?"),
        ] {
            let mut request = wire.request(&[Ask::default()]);
            *request.uri_mut() = path.parse().unwrap();
            let outcome = wire.call(&gateway, request).await;
            assert_eq!(outcome.code, Code::Unimplemented, "{wire:?}");
            assert!(outcome.message.ends_with(meant), "{}", outcome.message);
            let is_bare = wire.protocol == Protocol::Connect && wire.shape == Shape::Say;
            assert_eq!(outcome.http_status, if is_bare { 404 } else { 200 });
        }
    }
}

#[tokio::test]
async fn one_message_is_not_none_and_not_two() {
    let gateway = gateway();
    let ask = Ask::default();
    for wire in wires() {
        let single = matches!(wire.shape, Shape::Say | Shape::Repeat);
        let bare = wire.protocol == Protocol::Connect && wire.shape == Shape::Say;
        if !single || bare {
            continue;
        }
        for asks in [vec![], vec![ask.clone(), ask.clone()]] {
            let outcome = wire.call(&gateway, wire.request(&asks)).await;
            assert_eq!(outcome.code, Code::Unimplemented, "{wire:?}");
        }
    }
}

#[tokio::test]
async fn what_no_protocol_uses_is_refused_by_http() {
    let gateway = gateway();
    let say = "/test.v1.Talk/Say";
    let post = |content_type: &str, path: &str| {
        Request::post(path)
            .header("content-type", content_type)
            .body(Body::empty())
            .unwrap()
    };

    let refused = send(&gateway, Request::put(say).body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["allow"], "GET, POST");

    for (content_type, path) in [
        ("text/plain", say),
        ("application/grpc-web+thrift", say),
        ("application/connect+json", say),
        ("application/json", "/test.v1.Talk/Chat"),
    ] {
        let refused = send(&gateway, post(content_type, path)).await;
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let accepted = refused.headers()["accept-post"].to_str().unwrap();
        assert!(!accepted.split(", ").any(|offered| offered == content_type));
    }

    let mut old = post("application/grpc", say);
    *old.version_mut() = Version::HTTP_11;
    let refused = send(&gateway, old).await;
    assert_eq!(refused.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
}

#[tokio::test]
async fn a_panic_in_a_service_of_the_process_ends_its_call_alone() {
    let gateway = gateway();
    let ask = Ask {
        panic: true,
        ..Ask::default()
    };
    for wire in wires().filter(|wire| matches!(wire.shape, Shape::Say | Shape::Repeat)) {
        let body = wire.encode(std::slice::from_ref(&ask)).concat();
        assert_eq!(
            code_of(wire, &gateway, body).await,
            Code::Internal,
            "{wire:?}"
        );
    }
}

#[tokio::test]
async fn over_http_1_the_rest_of_a_refused_request_is_read() {
    let gateway = gateway();
    let wire = connect_json();
    let chunks = vec![Bytes::from(vec![b' '; MIB]); 8];
    let (send_rest, rest) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = async_chunks(rest);
    let mut request = wire.raw(Vec::new());
    *request.body_mut() = frames;
    *request.version_mut() = Version::HTTP_11;
    let sender = tokio::spawn(async move {
        for chunk in chunks {
            send_rest.send(chunk).await.unwrap();
        }
    });
    let outcome = wire.call(&gateway, request).await;
    assert_eq!(outcome.code, Code::ResourceExhausted);
    sender.await.unwrap();
}

fn async_chunks(chunks: tokio::sync::mpsc::Receiver<Bytes>) -> Body {
    use tokio_stream::{StreamExt, wrappers::ReceiverStream};
    let frames = ReceiverStream::new(chunks)
        .map(|chunk| Ok::<_, tonic::Status>(http_body::Frame::data(chunk)));
    Body::new(http_body_util::StreamBody::new(frames))
}
