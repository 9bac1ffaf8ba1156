//! The two implementations: the same handler, the same client loop, each with its own code
//! generator's stubs and every default of its own.

use crate::subject::Caller;
use bytes::Bytes;
use std::{net::SocketAddr, pin::Pin, time::Duration};
use tonic::{Request, Response, Status};

type Serving = Pin<Box<dyn Future<Output = ()>>>;

mod sampan_stubs {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
    sampan::include_proto!("bench.v1");
}

mod tonic_stubs {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::use_self,
        clippy::uninlined_format_args,
        missing_debug_implementations,
        reason = "generated code"
    )]
    include!(concat!(env!("OUT_DIR"), "/tonic/bench.v1.rs"));
}

#[derive(Clone)]
struct Echo;

macro_rules! peer {
    ($stubs:ident, $caller:ident, $channel:ty) => {
        #[tonic::async_trait]
        impl $stubs::echo_server::Echo for Echo {
            async fn unary(
                &self,
                request: Request<$stubs::EchoMessage>,
            ) -> Result<Response<$stubs::EchoMessage>, Status> {
                Ok(Response::new(request.into_inner()))
            }
        }

        #[derive(Clone)]
        pub(crate) struct $caller {
            client: $stubs::echo_client::EchoClient<$channel>,
            deadline: Option<Duration>,
        }

        impl Caller for $caller {
            async fn call(&mut self, payload: Bytes) -> Bytes {
                let mut request = Request::new($stubs::EchoMessage { payload });
                if let Some(deadline) = self.deadline {
                    request.set_timeout(deadline);
                }
                let answer = self.client.unary(request).await;
                answer.expect("the echo answers").into_inner().payload
            }
        }
    };
}

peer!(sampan_stubs, SampanCaller, sampan::Channel);
peer!(tonic_stubs, TonicCaller, tonic::transport::Channel);

impl SampanCaller {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let client = sampan_stubs::echo_client::EchoClient::dial(address.to_string());
        // Its deadline of 30 s comes by itself.
        Self {
            client: client.expect("the address is a target"),
            deadline: None,
        }
    }
}

impl TonicCaller {
    pub(crate) async fn connect(address: SocketAddr, deadline: Option<Duration>) -> Self {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        // What the peer's users set: NODELAY is its default, a deadline is not.
        let endpoint = endpoint.expect("the address is a URI").tcp_nodelay(true);
        let channel = endpoint.connect().await.expect("the peer listens");
        Self {
            client: tonic_stubs::echo_client::EchoClient::new(channel),
            deadline,
        }
    }
}

/// Sampan as a service author starts it: metrics, deadlines, panic guard, health.
pub(crate) fn sampan_server(listener: std::net::TcpListener) -> Serving {
    Box::pin(async move {
        let server = sampan::Server::builder()
            .add_service(sampan_stubs::echo_server::EchoServer::new(Echo))
            .listen_on(listener);
        server.serve().await.expect("the server runs");
    })
}

pub(crate) fn tonic_server(listener: std::net::TcpListener) -> Serving {
    Box::pin(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is open");
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .add_service(tonic_stubs::echo_server::EchoServer::new(Echo))
            .serve_with_incoming(incoming)
            .await
            .expect("the server runs");
    })
}
