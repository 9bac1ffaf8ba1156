//! The programs with Sampan's `use` lines.

/// What sampan-build generated.
pub mod proto {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::nursery,
        clippy::pedantic,
        clippy::restriction,
        reason = "generated code"
    )]

    /// `helloworld.proto`
    pub mod helloworld {
        sampan::include_proto!("helloworld");
    }

    /// `routeguide.proto`
    pub mod routeguide {
        sampan::include_proto!("routeguide");
    }

    /// `echo.proto`
    pub mod echo {
        sampan::include_proto!("echo");
    }

    /// `options.proto`
    pub mod options {
        sampan::include_proto!("options");
    }
}

/// One call.
pub mod helloworld {
    use super::proto::helloworld::{
        HelloReply, HelloRequest,
        greeter_client::GreeterClient,
        greeter_server::{Greeter, GreeterServer},
    };
    use crate::BoxError;
    use sampan::transport::Server;
    use sampan::{Request, Response, Status, async_trait};
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;

    include!("programs/helloworld.rs");
}

/// Every shape of call.
pub mod routeguide {
    use super::proto::routeguide::{
        Feature, Point, Rectangle, RouteNote, RouteSummary,
        route_guide_client::RouteGuideClient,
        route_guide_server::{RouteGuide, RouteGuideServer},
    };
    use crate::BoxError;
    use sampan::transport::{Endpoint, Server};
    use sampan::{Request, Response, Status, Streaming, async_trait};
    use std::{pin::Pin, sync::Arc};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::TcpListenerStream;
    use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};

    include!("programs/routeguide.rs");
}

/// Interceptors on both sides, and what they leave for each other.
pub mod interceptor {
    use super::proto::helloworld::{
        HelloReply, HelloRequest,
        greeter_client::GreeterClient,
        greeter_server::{Greeter, GreeterServer},
    };
    use crate::BoxError;
    use sampan::metadata::MetadataValue;
    use sampan::transport::{Channel, Endpoint, Server};
    use sampan::{
        GrpcMethod,
        service::{Interceptor, interceptor::InterceptedService},
    };
    use sampan::{Request, Response, Status, async_trait};
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;

    include!("programs/interceptor.rs");
}

/// Several servers behind one channel.
pub mod load_balance {
    use super::proto::helloworld::{
        HelloReply, HelloRequest,
        greeter_client::GreeterClient,
        greeter_server::{Greeter, GreeterServer},
    };
    use crate::BoxError;
    use sampan::transport::{Channel, Endpoint, Server, channel::Change};
    use sampan::{Request, Response, Status, async_trait};
    use std::collections::BTreeSet;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;

    include!("programs/load_balance.rs");
}

/// TLS, with certificates of clients or without.
pub mod tls {
    use super::helloworld::MyGreeter;
    use super::proto::helloworld::{
        HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer,
    };
    use crate::BoxError;
    use sampan::transport::{
        Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
    };
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;

    include!("programs/tls.rs");
}

/// Unix sockets, by a connector of the user's.
pub mod uds {
    use super::helloworld::MyGreeter;
    use super::proto::helloworld::{
        HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer,
    };
    use crate::BoxError;
    use hyper_util::rt::TokioIo;
    use sampan::Request;
    use sampan::transport::{Endpoint, Server, Uri};
    use std::path::PathBuf;
    use tokio::net::{UnixListener, UnixStream};
    use tokio_stream::wrappers::UnixListenerStream;
    use tower::service_fn;

    include!("programs/uds.rs");
}

/// Streams, metadata, statuses with details, compression.
pub mod streaming {
    use super::proto::echo::{
        EchoRequest, EchoResponse,
        echo_client::EchoClient,
        echo_server::{Echo, EchoServer},
    };
    use crate::BoxError;
    use sampan::codec::CompressionEncoding;
    use sampan::metadata::{MetadataMap, MetadataValue};
    use sampan::transport::{Endpoint, Server};
    use sampan::{Code, Request, Response, Status, Streaming, async_trait};
    use std::{pin::Pin, time::Duration};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::TcpListenerStream;
    use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};

    include!("programs/streaming.rs");
}

/// The health service.
pub mod health {
    use super::helloworld::MyGreeter;
    use super::proto::helloworld::greeter_server::GreeterServer;
    use crate::BoxError;
    use sampan::transport::{Endpoint, Server};
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    include!("programs/health.rs");
}

/// The reflection service.
pub mod reflection {
    use super::helloworld::MyGreeter;
    use super::proto::helloworld::{FILE_DESCRIPTOR_SET, greeter_server::GreeterServer};
    use crate::BoxError;
    use sampan::transport::{Endpoint, Server};
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };

    include!("programs/reflection.rs");
}

/// Code generated with other options, and a codec of the user's.
pub mod options {
    use super::proto::options::{
        Number,
        options_client::OptionsClient,
        options_server::{Options, OptionsServer},
    };
    use crate::BoxError;
    use sampan::codegen::BoxStream;
    use sampan::transport::Server;
    use sampan::{Request, Response, Status, Streaming, async_trait};
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;

    include!("programs/options.rs");
}
