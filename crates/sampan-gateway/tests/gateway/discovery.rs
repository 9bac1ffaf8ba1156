//! Services found by asking the upstream.

use crate::{
    client::{Codec, Outcome, Protocol, Shape, Wire, wires},
    talk::{Ask, Talk, descriptor_set},
};
use http::{Request, Response};
use sampan_gateway::{Gateway, Upstream};
use sampan_middleware::Body;
use sampan_wire::Code;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tonic::Status;
use tower::{Service, util::BoxCloneSyncService};

type Reflection = BoxCloneSyncService<
    Request<tonic::body::Body>,
    Response<tonic::body::Body>,
    std::convert::Infallible,
>;

/// A server as it is seen through a channel: `Talk`, and reflection once it is there.
#[derive(Clone)]
struct Remote(Arc<Mutex<State>>);

struct State {
    is_up: bool,
    reflection: Option<(&'static str, Reflection)>,
    asked: usize,
}

impl Remote {
    fn with(reflection: Option<(&'static str, Reflection)>) -> Self {
        Self(Arc::new(Mutex::new(State {
            is_up: true,
            reflection,
            asked: 0,
        })))
    }

    fn gateway(&self) -> Gateway {
        let upstream = Upstream::channel("talk:50051", self.clone());
        Gateway::builder().upstream(upstream).build().unwrap()
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

impl Service<Request<tonic::body::Body>> for Remote {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let mut state = self.0.lock().unwrap();
        if !state.is_up {
            return Box::pin(std::future::ready(Err(Status::unavailable("down"))));
        }
        let path = request.uri().path().to_owned();
        let reflection = match &state.reflection {
            Some((prefix, reflection)) if path.starts_with(prefix) => Some(reflection.clone()),
            _ => None,
        };
        if reflection.is_some() {
            state.asked += 1;
        }
        Box::pin(async move {
            let response = match reflection {
                Some(mut reflection) => reflection.call(request).await,
                None => Talk::default().call(request).await,
            };
            let Ok(response) = response;
            Ok(response.map(Body::from))
        })
    }
}

fn v1() -> Option<(&'static str, Reflection)> {
    let set = descriptor_set();
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(&set)
        .build_v1()
        .unwrap();
    Some(("/grpc.reflection.v1.", BoxCloneSyncService::new(service)))
}

fn v1_alpha() -> Option<(&'static str, Reflection)> {
    let set = descriptor_set();
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(&set)
        .build_v1alpha()
        .unwrap();
    Some((
        "/grpc.reflection.v1alpha.",
        BoxCloneSyncService::new(service),
    ))
}

const JSON: Wire = Wire {
    protocol: Protocol::Connect,
    codec: Codec::Json,
    shape: Shape::Say,
};

async fn call(gateway: &Gateway) -> Outcome {
    JSON.call(gateway, JSON.request(&[Ask::default()])).await
}

#[tokio::test]
async fn services_are_found_by_either_version_of_reflection_when_first_called() {
    for reflection in [v1(), v1_alpha()] {
        let gateway = Remote::with(reflection).gateway();
        assert!(gateway.services().is_empty());
        for wire in wires() {
            let outcome = wire.call(&gateway, wire.request(&[Ask::default()])).await;
            assert_eq!(outcome.code, Code::Ok, "{wire:?}");
        }
        // Its reflection is the upstream's own and not for browsers.
        assert_eq!(gateway.services(), ["test.v1.Talk"]);
    }
}

#[tokio::test]
async fn many_first_calls_ask_the_upstream_once() {
    let remote = Remote::with(v1());
    let gateway = remote.gateway();
    let calls = (0..20).map(|_| call(&gateway));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(outcome.code, Code::Ok);
    }
    assert_eq!(remote.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn unknown_services_do_not_make_the_gateway_ask_again_and_again() {
    let remote = Remote::with(v1());
    let gateway = remote.gateway();
    for _ in 0..50 {
        let mut request = JSON.request(&[Ask::default()]);
        *request.uri_mut() = "/test.v1.Nobody/Say".parse().unwrap();
        let outcome = JSON.call(&gateway, request).await;
        assert_eq!(outcome.code, Code::Unimplemented);
    }
    assert_eq!(remote.asked(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    let mut request = JSON.request(&[Ask::default()]);
    *request.uri_mut() = "/test.v1.Nobody/Say".parse().unwrap();
    JSON.call(&gateway, request).await;
    assert_eq!(remote.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_comes_up_later_is_found_and_one_that_goes_is_remembered() {
    let remote = Remote::with(v1());
    remote.0.lock().unwrap().is_up = false;
    let gateway = remote.gateway();
    let failed = gateway.discover().await.unwrap_err();
    assert!(!failed.is_configuration());
    let text = failed.to_string();
    assert!(
        text.contains("talk:50051") && text.contains("down"),
        "{text}"
    );
    assert_eq!(call(&gateway).await.code, Code::Unavailable);

    remote.0.lock().unwrap().is_up = true;
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(call(&gateway).await.code, Code::Ok);

    remote.0.lock().unwrap().is_up = false;
    gateway.discover().await.unwrap_err();
    assert_eq!(gateway.services(), ["test.v1.Talk"]);
}

#[tokio::test(start_paused = true)]
async fn old_answers_are_renewed_beside_the_next_call() {
    let remote = Remote::with(v1());
    let gateway = remote.gateway();
    gateway.discover().await.unwrap();
    call(&gateway).await;
    assert_eq!(remote.asked(), 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    call(&gateway).await;
    while remote.asked() < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upstream_without_reflection_is_told_by_a_hint() {
    let gateway = Remote::with(None).gateway();
    let text = gateway.discover().await.unwrap_err().to_string();
    assert!(text.contains("give the gateway a descriptor set"), "{text}");
}

#[tokio::test]
async fn a_service_that_two_upstreams_reflect_is_told_by_the_names_of_both() {
    let gateway = Gateway::builder()
        .upstream(Upstream::channel("one", Remote::with(v1())))
        .upstream(Upstream::channel("two", Remote::with(v1())))
        .build()
        .unwrap();
    let clash = gateway.discover().await.unwrap_err();
    assert!(clash.is_configuration());
    assert!(
        clash.to_string().contains("two upstreams, one and two"),
        "{clash}"
    );
    assert_eq!(call(&gateway).await.code, Code::Ok);
}
