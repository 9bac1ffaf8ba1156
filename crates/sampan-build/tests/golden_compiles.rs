//! The golden files are Rust, and their clients and tables say what the .proto says.
//!
//! The crate stands in for the runtime by its own name: `::sampan::__codegen` is the module
//! below, so that the generator is tested without all that it generates for.
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]
#![allow(missing_docs, reason = "a stand-in")]

extern crate self as sampan;

use generated::golden::types::v1 as types;
use generated::golden::v1::{dial_http_methods, store_client, store_methods};
use generated::golden::{self, v1::GetRequest};
use generated::{PingRequest, PingResponse, bare_client, bare_server};
use prost_reflect::DescriptorPool;
use sampan_wire::policy::{CallFacts, Method, MethodKind};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};

/// All that generated code may use of the runtime.
pub mod __codegen {
    use super::{Body, BoxFuture, Context, Poll, Service, http};

    pub use sampan_middleware::glue;
    pub use sampan_wire::{Code, policy::*};
    pub use {prost, prost_types, tonic, tonic_prost};

    #[derive(Clone, Debug)]
    pub struct Channel {
        pub target: String,
    }

    #[derive(Debug)]
    pub struct Error;

    impl Channel {
        pub fn dial(target: &str) -> Result<Self, Error> {
            let target = target.to_owned();
            if target.is_empty() {
                Err(Error)
            } else {
                Ok(Self { target })
            }
        }
    }

    #[derive(Debug)]
    pub struct Endpoint;

    impl Endpoint {
        pub fn new<D: TryInto<Self>>(_: D) -> Result<Self, Error> {
            Ok(Self)
        }

        pub async fn connect(&self) -> Result<Channel, Error> {
            Channel::dial("connected")
        }
    }

    impl Service<http::Request<Body>> for Channel {
        type Response = http::Response<Body>;
        type Error = tonic::Status;
        type Future = BoxFuture<Self::Response, Self::Error>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            Box::pin(async { Err(tonic::Status::unavailable("stands in")) })
        }
    }
}

/// What users write as `sampan::include_proto!`.
mod generated {
    include!("golden/mod.rs");
}

/// Remembers what stubs tell the channel.
#[derive(Clone, Debug, Default)]
struct Recorder {
    told: Arc<Mutex<Vec<(String, Method, usize)>>>,
}

impl Service<http::Request<Body>> for Recorder {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let facts: CallFacts = *request.extensions().get().unwrap();
        let path = request.uri().path().to_owned();
        let limit = facts.max_decoding_message_size;
        self.told.lock().unwrap().push((path, *facts.method, limit));
        let response = http::Response::builder()
            .header("grpc-status", "5")
            .body(Body::empty());
        Box::pin(async { Ok(response.unwrap()) })
    }
}

#[tokio::test]
async fn every_call_tells_the_channel_its_method_and_the_largest_answer_it_takes() {
    let recorder = Recorder::default();
    let mut store = store_client::StoreClient::new(recorder.clone());
    let items = || tokio_stream::iter([golden::v1::Item::default()]);
    store.get(GetRequest::default()).await.unwrap_err();
    store.watch(GetRequest::default()).await.unwrap_err();
    let mut store = store.max_decoding_message_size(7);
    store.upload(items()).await.unwrap_err();
    store.talk(items()).await.unwrap_err();
    store.r#type(()).await.unwrap_err();

    const FOUR_MIB: usize = 4 * 1024 * 1024;
    let expected = [
        (store_methods::GET, FOUR_MIB),
        (store_methods::WATCH, FOUR_MIB),
        (store_methods::UPLOAD, 7),
        (store_methods::TALK, 7),
        (store_methods::TYPE, 7),
    ];
    let expected = expected.map(|(method, limit)| (method.path().to_owned(), method, limit));
    assert_eq!(*recorder.told.lock().unwrap(), expected);
}

#[test]
fn the_table_holds_every_method_in_order() {
    let table: Vec<_> = store_methods::METHODS
        .iter()
        .map(|method| (method.path(), method.kind()))
        .collect();
    assert_eq!(
        table,
        [
            ("/golden.v1.Store/Get", MethodKind::Unary),
            ("/golden.v1.Store/Watch", MethodKind::ServerStreaming),
            ("/golden.v1.Store/Upload", MethodKind::ClientStreaming),
            ("/golden.v1.Store/Talk", MethodKind::Bidirectional),
            ("/golden.v1.Store/Type", MethodKind::Unary),
            ("/golden.v1.Store/Methods", MethodKind::Unary),
            ("/golden.v1.Store/ServiceName", MethodKind::Unary),
        ]
    );
    assert_eq!(store_methods::SERVICE_NAME, "golden.v1.Store");
    assert_eq!(types::nothing_methods::METHODS, []);
}

#[test]
fn policies_are_those_of_the_proto() {
    let get = store_methods::GET;
    let retry = get.policy().retry().unwrap();
    assert_eq!(retry.max_attempts, 4);
    assert_eq!(retry.max_backoff, std::time::Duration::new(2, 5));
    assert_eq!(
        get.policy().cache().unwrap().vary,
        ["accept-language", "x-tenant"]
    );
    assert!(get.idempotency().is_repeatable());
    // Said in pieces, and the rest by default.
    let upload = store_methods::UPLOAD.policy().retry().unwrap().to_owned();
    assert_eq!(
        upload,
        sampan_wire::policy::RetryPolicy::new(2, &[sampan_wire::Code::Unavailable])
    );
    assert_eq!(
        store_methods::WATCH.policy().hedge().unwrap().max_attempts,
        2
    );
    assert!(!store_methods::TALK.idempotency().is_repeatable());
}

#[tokio::test]
async fn dial_makes_a_client_unless_a_method_has_that_name() {
    bare_client::BareClient::dial("").unwrap_err();
    let mut bare = bare_client::BareClient::dial("dns:///bare:50051").unwrap();
    let status = bare.ping(PingRequest {}).await.unwrap_err();
    assert_eq!(status.message(), "stands in");

    let mut other = golden::v1::dial_http_client::DialHttpClient::new(Recorder::default());
    other.dial(golden::v1::Self_::default()).await.unwrap_err();
    assert_eq!(dial_http_methods::DIAL.path(), "/golden.v1.DialHTTP/Dial");
}

struct Bare;

#[tonic::async_trait]
impl bare_server::Bare for Bare {
    async fn ping(
        &self,
        _: tonic::Request<PingRequest>,
    ) -> Result<tonic::Response<PingResponse>, tonic::Status> {
        Ok(tonic::Response::new(PingResponse {}))
    }
}

#[tokio::test]
async fn a_generated_server_answers_a_generated_client() {
    let mut client = bare_client::BareClient::new(bare_server::BareServer::new(Bare));
    client.ping(PingRequest {}).await.unwrap();
}

#[test]
fn the_descriptor_set_stands_alone_and_keeps_options_but_no_comments() {
    let set = store_methods::GET.descriptor_set().unwrap();
    assert_eq!(set, golden::v1::FILE_DESCRIPTOR_SET);
    let pool = DescriptorPool::decode(set).unwrap();
    assert!(
        pool.files()
            .all(|file| file.file_descriptor_proto().source_code_info.is_none())
    );
    let service = pool.get_service_by_name("golden.v1.Store").unwrap();
    let get = service.methods().next().unwrap();
    for name in ["sampan.v1.method", "google.api.http"] {
        let extension = pool.get_extension_by_name(name).unwrap();
        assert!(get.options().has_extension(&extension), "{name}");
    }
    assert_eq!(get.input().full_name(), "golden.v1.GetRequest");
}
