//! The programs with tonic's `use` lines.

/// What tonic-build generated.
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
        include!(concat!(env!("OUT_DIR"), "/tonic/helloworld.rs"));

        /// What tonic writes to a file of its own.
        pub const FILE_DESCRIPTOR_SET: &[u8] =
            include_bytes!(concat!(env!("OUT_DIR"), "/tonic/descriptors.bin"));
    }

    /// `routeguide.proto`
    pub mod routeguide {
        include!(concat!(env!("OUT_DIR"), "/tonic/routeguide.rs"));
    }

    /// `echo.proto`
    pub mod echo {
        include!(concat!(env!("OUT_DIR"), "/tonic/echo.rs"));
    }

    /// `options.proto`
    pub mod options {
        include!(concat!(env!("OUT_DIR"), "/tonic/options.rs"));
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
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::Server;
    use tonic::{Request, Response, Status, async_trait};

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
    use std::{pin::Pin, sync::Arc};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::TcpListenerStream;
    use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
    use tonic::transport::{Endpoint, Server};
    use tonic::{Request, Response, Status, Streaming, async_trait};

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
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::metadata::MetadataValue;
    use tonic::transport::{Channel, Endpoint, Server};
    use tonic::{
        GrpcMethod,
        service::{Interceptor, interceptor::InterceptedService},
    };
    use tonic::{Request, Response, Status, async_trait};

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
    use std::collections::BTreeSet;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::{Channel, Endpoint, Server, channel::Change};
    use tonic::{Request, Response, Status, async_trait};

    include!("programs/load_balance.rs");
}

/// TLS, with certificates of clients or without.
pub mod tls {
    use super::helloworld::MyGreeter;
    use super::proto::helloworld::{
        HelloRequest, greeter_client::GreeterClient, greeter_server::GreeterServer,
    };
    use crate::BoxError;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::{
        Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
    };

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
    use std::path::PathBuf;
    use tokio::net::{UnixListener, UnixStream};
    use tokio_stream::wrappers::UnixListenerStream;
    use tonic::Request;
    use tonic::transport::{Endpoint, Server, Uri};
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
    use std::{pin::Pin, time::Duration};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::TcpListenerStream;
    use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
    use tonic::codec::CompressionEncoding;
    use tonic::metadata::{MetadataMap, MetadataValue};
    use tonic::transport::{Endpoint, Server};
    use tonic::{Code, Request, Response, Status, Streaming, async_trait};

    include!("programs/streaming.rs");
}

/// The health service.
pub mod health {
    use super::helloworld::MyGreeter;
    use super::proto::helloworld::greeter_server::GreeterServer;
    use crate::BoxError;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::{Endpoint, Server};
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    include!("programs/health.rs");
}

/// The reflection service.
pub mod reflection {
    use super::helloworld::MyGreeter;
    use super::proto::helloworld::{FILE_DESCRIPTOR_SET, greeter_server::GreeterServer};
    use crate::BoxError;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::{Endpoint, Server};
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
    use std::sync::Arc;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::codegen::BoxStream;
    use tonic::transport::Server;
    use tonic::{Request, Response, Status, Streaming, async_trait};

    include!("programs/options.rs");
}
