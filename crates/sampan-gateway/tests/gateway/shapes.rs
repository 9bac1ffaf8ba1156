//! Protocol × codec × shape: the same calls have the same outcomes everywhere.

use crate::{
    client::{Codec, Outcome, Protocol, Shape, Wire, send, wires},
    talk::{Ask, BIG, Said, Talk, before, descriptor_set},
};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use sampan_gateway::{Cors, Gateway, Upstream};
use sampan_middleware::Body;
use sampan_wire::Code;

fn ask(text: &str) -> Ask {
    Ask {
        text: text.to_owned(),
        count: 3,
        ..Ask::default()
    }
}

fn said(text: &str, index: u32) -> Said {
    Said {
        text: text.to_owned(),
        index,
        big: BIG,
    }
}

async fn check(wire: Wire) {
    let gateway = before(&Talk::default()).build().unwrap();
    let asks = match wire.shape {
        Shape::Say | Shape::Repeat => vec![ask("höre")],
        Shape::Join | Shape::Chat => vec![ask("a"), ask("b")],
    };
    let expected = match wire.shape {
        Shape::Say => vec![said("höre", 0)],
        Shape::Repeat => (0..3).map(|index| said("höre", index)).collect(),
        Shape::Join => vec![said("a b", 2)],
        Shape::Chat => vec![said("a", 0), said("b", 1)],
    };
    let whole = wire.call(&gateway, wire.request(&asks)).await;
    assert_eq!((whole.said, whole.code), (expected.clone(), Code::Ok));
    assert_eq!(whole.http_status, 200);
    for size in [1, 3, 7] {
        let cut = wire.call(&gateway, wire.request_cut(&asks, size)).await;
        assert_eq!((cut.said, cut.code), (expected.clone(), Code::Ok), "{size}");
    }
    check_failure(wire, &gateway, &asks).await;
}

async fn check_failure(wire: Wire, gateway: &Gateway, asks: &[Ask]) {
    let mut asks = asks.to_vec();
    asks.last_mut().unwrap().fail_with = Code::FailedPrecondition as i32;
    let failed = wire.call(gateway, wire.request(&asks)).await;
    let before_it = match wire.shape {
        Shape::Say | Shape::Join => 0,
        Shape::Repeat => 3,
        Shape::Chat => 1,
    };
    assert_eq!(failed.said.len(), before_it);
    assert_eq!(failed.code, Code::FailedPrecondition);
    assert_eq!(failed.message, "asked to: 100 % é");
    assert!(failed.has_details, "{failed:?}");
    assert_eq!(failed.trailers["x-why"], "asked");
    let is_bare = wire.protocol == Protocol::Connect && wire.shape == Shape::Say;
    assert_eq!(failed.http_status, if is_bare { 400 } else { 200 });
}

#[tokio::test]
async fn every_protocol_codec_and_shape_has_the_same_outcome() {
    for wire in wires() {
        // Names the case in a failure.
        println!("{wire:?}");
        check(wire).await;
    }
}

#[tokio::test]
async fn metadata_passes_both_ways_in_every_protocol() {
    let gateway = before(&Talk::default()).build().unwrap();
    for wire in wires().filter(|wire| wire.shape == Shape::Say) {
        let mut request = wire.request(&[ask("a")]);
        request
            .headers_mut()
            .insert("x-say", "hello".parse().unwrap());
        let outcome = wire.call(&gateway, request).await;
        assert_eq!(outcome.headers["x-say"], "hello", "{wire:?}");
    }
}

#[tokio::test]
async fn a_method_without_side_effects_can_be_asked_by_get() {
    let gateway = before(&Talk::default()).build().unwrap();
    let wire = Wire {
        protocol: Protocol::Connect,
        codec: Codec::Json,
        shape: Shape::Say,
    };
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let query = "connect=v1&encoding=json&message=%7B%22text%22%3A%22a%22%7D";
    let got = wire
        .call(&gateway, get(&format!("/test.v1.Talk/Say?{query}")))
        .await;
    assert_eq!(got.said, [said("a", 0)]);

    let refused = send(&gateway, get(&format!("/test.v1.Talk/Act?{query}"))).await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["allow"], "POST");
}

#[tokio::test]
async fn a_page_of_a_listed_origin_can_read_its_answer_and_no_other_can() {
    let cors = Cors::allow_origins(["https://shop.example"]).unwrap();
    let gateway = before(&Talk::default()).cors(cors).build().unwrap();
    let wire = Wire {
        protocol: Protocol::Connect,
        codec: Codec::Json,
        shape: Shape::Say,
    };
    let call = async |origin: &'static str| -> Outcome {
        let mut request = wire.request(&[ask("a")]);
        request
            .headers_mut()
            .insert("origin", origin.parse().unwrap());
        request.headers_mut().insert("x-say", "b".parse().unwrap());
        wire.call(&gateway, request).await
    };
    let listed = call("https://shop.example").await;
    assert_eq!(
        listed.headers["access-control-allow-origin"],
        "https://shop.example"
    );
    let exposed = listed.headers["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(exposed.contains("x-say"), "{exposed}");
    let other = call("https://other.example").await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    assert_eq!(other.headers["vary"], "origin");

    let preflight = Request::options(wire.path())
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty())
        .unwrap();
    let allowed = send(&gateway, preflight).await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers()["access-control-max-age"], "7200");
}

#[tokio::test]
async fn paths_that_are_no_calls_go_to_the_fallback() {
    let page = tower::service_fn(async |request: Request<tonic::body::Body>| {
        let body = Body::from(bytes::Bytes::from(request.uri().path().to_owned()));
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    });
    let gateway = before(&Talk::default()).fallback(page).build().unwrap();
    for path in ["/", "/index.html", "/assets/app.js", "/a/b/c", "//"] {
        let answer = send(&gateway, Request::get(path).body(Body::empty()).unwrap()).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, path);
    }
    let known = Request::get("/test.v1.Talk/Say")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        send(&gateway, known).await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    let without = before(&Talk::default()).build().unwrap();
    let answer = send(&without, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[test]
fn a_service_of_two_upstreams_is_refused_by_the_names_of_both() {
    let talk = Talk::default();
    let other = Upstream::channel("other:50051", Nowhere).with_descriptor_set(descriptor_set());
    let clash = before(&talk).upstream(other.clone()).build().unwrap_err();
    let text = clash.to_string();
    assert!(clash.is_configuration());
    assert!(
        text.contains("test.v1.Talk")
            && text.contains("in this process")
            && text.contains("other:50051"),
        "{text}"
    );
    let elsewhere = other.with_services(["test.v1.Tolk"]);
    let text = Gateway::builder()
        .upstream(elsewhere)
        .build()
        .unwrap_err()
        .to_string();
    assert!(text.contains("did you mean test.v1.Talk?"), "{text}");
}

/// A channel whose endpoint is never there.
#[derive(Clone)]
struct Nowhere;

impl tower::Service<Request<tonic::body::Body>> for Nowhere {
    type Response = http::Response<Body>;
    type Error = tonic::Status;
    type Future = std::future::Ready<Result<Self::Response, tonic::Status>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), tonic::Status>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<tonic::body::Body>) -> Self::Future {
        std::future::ready(Err(tonic::Status::unavailable("nowhere")))
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_unavailable_in_every_protocol() {
    let described = Upstream::channel("nowhere", Nowhere).with_descriptor_set(descriptor_set());
    let by_reflection = Upstream::channel("nowhere", Nowhere);
    for upstream in [described, by_reflection] {
        let gateway = Gateway::builder().upstream(upstream).build().unwrap();
        for wire in wires() {
            let outcome = wire.call(&gateway, wire.request(&[ask("a")])).await;
            assert_eq!(outcome.code, Code::Unavailable, "{wire:?}");
        }
    }
}
