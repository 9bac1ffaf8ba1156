//! Servers to run the command against, in the test's own runtime.

use sampan::{Address, Server};
use sampan_testing::{Echo, proto};
use std::{
    convert::Infallible,
    task::{Context, Poll},
};
use tonic::{Code, Status, server::NamedService};

/// A server that lives as long as the test's runtime.
pub(crate) struct Peer {
    /// `host:port`, or the path of a socket.
    pub(crate) address: String,
}

/// Answers every call to the echo service with one status that has details.
#[derive(Clone, Debug)]
pub(crate) struct Detailed;

// === impl Peer ===

impl Peer {
    /// The echo service with health and both versions of reflection.
    pub(crate) async fn echo() -> Self {
        let server = Server::builder()
            .add_service(Echo::named("echo").into_service())
            .reflection(proto::FILE_DESCRIPTOR_SET);
        Self::serve(server, "127.0.0.1:0".parse().unwrap()).await
    }

    /// Serves at `address`.
    pub(crate) async fn serve(server: Server, address: Address) -> Self {
        let bound = server.listen(address).bind().await.unwrap();
        let address = match &bound.local_addresses()[0] {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => path.display().to_string(),
        };
        tokio::spawn(bound.serve_until(std::future::pending()));
        Self { address }
    }
}

// === impl Detailed ===

impl NamedService for Detailed {
    const NAME: &'static str = "sampan.testing.v1.Echo";
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Detailed {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        // google.rpc.Status with a RetryInfo of 1.5 s and a type that nobody knows.
        let any = |name: &str, value: &[u8]| {
            let url = format!("type.googleapis.com/{name}");
            let any = prost_types::Any {
                type_url: url,
                value: value.to_vec(),
            };
            let mut field = Vec::new();
            prost::encoding::message::encode(3, &any, &mut field);
            field
        };
        let details = [
            any(
                "google.rpc.RetryInfo",
                &[0x0a, 8, 8, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 1],
            ),
            any("nobody.Knows", &[1, 2]),
        ]
        .concat();
        let status = Status::with_details(Code::Aborted, "not now", details.into());
        std::future::ready(Ok(status.into_http()))
    }
}
